//! The corpus of the fuzz target, replayed.

#[path = "../fuzz/check.rs"]
mod check;

use std::fs;
use std::path::Path;

#[test]
fn every_text_of_the_corpus_is_read_or_refused_with_its_place() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/corefile");
    let mut replayed = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        if let Ok(text) = std::str::from_utf8(&bytes) {
            check::read(text);
        }
        replayed += 1;
    }
    assert!(replayed >= 20, "only {replayed} texts");
}
