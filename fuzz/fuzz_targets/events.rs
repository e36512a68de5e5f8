//! Documents of any bytes, from reading to context objects: no panic, and what comes out is sound.
//! `cargo +nightly fuzz run events`
#![no_main]

use libfuzzer_sys::fuzz_target;

mod sound;

fuzz_target!(|document: &[u8]| sound::document(document));
