//! `docs/conformance.md` names tests that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_test_that_the_table_of_rules_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let document = fs::read_to_string(root.join("docs/conformance.md")).unwrap();
    let mut defined = BTreeSet::new();
    for file in sources(root) {
        let text = fs::read_to_string(&file).unwrap();
        defined.extend(tests_of(&text));
    }

    let named: BTreeSet<&str> = document.lines().filter_map(row).flatten().collect();

    let missing: Vec<_> = named
        .iter()
        .filter(|name| !defined.contains(**name))
        .collect();
    assert!(missing.is_empty(), "no such tests: {missing:?}");
    assert!(named.len() > 30, "the table was not understood: {named:?}");
}

/// The tests in the last column of a row: every name in backquotes.
fn row(line: &str) -> Option<impl Iterator<Item = &str>> {
    let cells: Vec<&str> = line
        .strip_prefix('|')?
        .strip_suffix('|')?
        .split('|')
        .collect();
    let last = cells.last()?;
    Some(last.split('`').skip(1).step_by(2))
}

/// Names of functions that follow an attribute of a test.
fn tests_of(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        }
        let name = line
            .strip_prefix("async ")
            .unwrap_or(line)
            .strip_prefix("fn ");
        if let Some(name) = name.and_then(|rest| rest.split(['(', '<']).next())
            && std::mem::take(&mut is_test)
        {
            found.push(name.to_owned());
        }
    }
    found
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files.extend(sources(&path));
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
    files
}
