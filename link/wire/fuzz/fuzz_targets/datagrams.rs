//! Any bytes as a datagram of a connection.
//!
//! `cargo +nightly fuzz run datagrams` in `link/wire`.

#![no_main]

#[path = "../check.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| check::datagram(bytes));
