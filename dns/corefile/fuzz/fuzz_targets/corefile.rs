//! Any text as a Corefile: no panic, no endless import, and every error has its place.
//!
//! `cargo +nightly fuzz run corefile` in `dns/corefile`.

#![no_main]

#[path = "../check.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        check::read(text);
    }
});
