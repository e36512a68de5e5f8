//! ZeroMQ frames of any bytes; what they publish is read on.
//! `cargo +nightly fuzz run frames`
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use misp_sentinel_relay::intake::frame::{Content, Frame};
use misp_sentinel_relay::notice::What;

mod sound;

fuzz_target!(|frame: &[u8]| {
    let frame = Bytes::copy_from_slice(frame);
    let content = Frame::split(&frame).and_then(Frame::read);
    if let Ok(Content::Notice(What::Published(document))) = content {
        sound::document(&document);
    }
});
