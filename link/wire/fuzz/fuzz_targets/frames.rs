//! Any bytes as a stream of frames, in pieces of any length.
//!
//! `cargo +nightly fuzz run frames` in `link/wire`.

#![no_main]

#[path = "../check.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: (u8, u8, &[u8])| {
    let (limit, piece, bytes) = input;
    check::frames(bytes, limit.into(), piece.into());
});
