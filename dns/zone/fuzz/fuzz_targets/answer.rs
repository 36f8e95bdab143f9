//! Any DNS message put to a zone: no panic, and every answer well-formed.
//!
//! `cargo +nightly fuzz run answer` in `dns/zone`.

#![no_main]

#[path = "../check.rs"]
mod check;
#[path = "../message.rs"]
mod message;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| message::put(bytes));
