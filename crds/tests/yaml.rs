//! The checked-in YAML is what the types say.

use std::collections::BTreeSet;
use std::path::PathBuf;

#[test]
fn checked_in_yaml_is_current() {
    for crd in tombolo_crds::all() {
        let path = folder().join(tombolo_crds::yaml_file(&crd));
        let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
        let generated = serde_norway::to_string(&crd).expect("a CRD serializes");
        assert!(
            checked_in == generated,
            "{} is not current: cargo run -p tombolo-crds --example write_yaml",
            path.display()
        );
    }
}

#[test]
fn no_other_yaml_is_checked_in() {
    let expected: BTreeSet<String> = tombolo_crds::all()
        .iter()
        .map(tombolo_crds::yaml_file)
        .collect();
    let found: BTreeSet<String> = std::fs::read_dir(folder())
        .expect("the folder is there")
        .map(|entry| {
            entry
                .expect("it can be read")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    assert_eq!(found, expected);
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("yaml")
}
