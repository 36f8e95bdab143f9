//! The corpus of the fuzz target, replayed.

#[path = "../fuzz/check.rs"]
mod check;
#[path = "../fuzz/message.rs"]
mod message;

use std::fs;
use std::path::Path;

#[test]
fn every_message_of_the_corpus_is_answered_well() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/answer");
    let mut replayed = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        message::put(&fs::read(entry.unwrap().path()).unwrap());
        replayed += 1;
    }
    assert!(replayed >= 20, "only {replayed} messages");
}
