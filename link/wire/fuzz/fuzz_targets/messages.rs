//! Any bytes as the content of a frame.
//!
//! `cargo +nightly fuzz run messages` in `link/wire`.

#![no_main]

#[path = "../check.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|content: &[u8]| check::messages(content));
