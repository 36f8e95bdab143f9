//! The corpus of the fuzz targets, replayed.

#![allow(
    clippy::unwrap_used,
    reason = "what a test does not expect is its failure"
)]

#[path = "../fuzz/check.rs"]
mod check;

use std::fs;
use std::path::Path;

#[test]
fn every_message_of_the_corpus_is_read_or_refused() {
    let replayed = replay("messages", check::messages);
    assert!(replayed >= 20, "only {replayed} messages");
}

#[test]
fn every_stream_of_the_corpus_is_cut_into_the_same_frames() {
    let replayed = replay("frames", |bytes| {
        for piece in [1, 3, 4, 7] {
            for limit in [0, 16, 4096] {
                check::frames(bytes, limit, piece);
            }
        }
    });
    assert!(replayed >= 4, "only {replayed} streams");
}

#[test]
fn every_datagram_of_the_corpus_is_read_or_refused() {
    let replayed = replay("datagrams", check::datagram);
    assert!(replayed >= 6, "only {replayed} datagrams");
}

fn replay(target: &str, check: impl Fn(&[u8])) -> usize {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut replayed = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        check(&fs::read(entry.unwrap().path()).unwrap());
        replayed += 1;
    }
    replayed
}
