//! ZeroMQ frames of any bytes; what they publish is read on.
//! `cargo +nightly fuzz run frames`
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use misp_sentinel_relay::intake::frame::{self, Said};

mod sound;

fuzz_target!(|frame: &[u8]| {
    if let Ok(Said::Published(document)) = frame::read(&Bytes::copy_from_slice(frame)) {
        sound::document(&document);
    }
});
