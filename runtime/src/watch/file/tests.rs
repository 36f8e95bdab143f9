use super::*;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Export {
    port: u16,
    names: Vec<String>,
}

#[test]
fn what_was_saved_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let store = store::<Export>(&dir.path().join("not/there/yet"), "exports");
    assert_eq!(store.load().unwrap(), None);

    store.save(&state(1)).unwrap();
    store.save(&state(2)).unwrap();

    assert_eq!(store.load().unwrap(), Some(state(2)));
    let left: Vec<_> = fs::read_dir(dir.path().join("not/there/yet"))
        .unwrap()
        .collect();
    assert_eq!(left.len(), 1, "no temporary file: {left:?}");
}

#[test]
fn an_empty_state_is_a_state() {
    let dir = tempfile::tempdir().unwrap();
    let store = store::<Export>(dir.path(), "exports");

    store
        .save(&Saved {
            newest: 0,
            objects: BTreeMap::new(),
        })
        .unwrap();

    assert_eq!(
        store.load().unwrap(),
        Some(Saved {
            newest: 0,
            objects: BTreeMap::new()
        })
    );
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = store::<Export>(dir.path(), "exports");
    store.save(&state(2)).unwrap();
    let path = dir.path().join("exports.json");
    let whole = fs::read(&path).unwrap();

    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let error = store.load().unwrap_err();
        assert_eq!(error.reason(), "Corrupt", "{length} bytes");
    }
}

#[test]
fn a_file_of_another_watch_or_format_or_shape_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("exports.json");
    let store = store::<Export>(dir.path(), "exports");

    for (text, reason) in [
        (
            r#"{"format":1,"watch":"pods","newestVersion":1,"objects":[]}"#,
            "Foreign",
        ),
        (r#"{"format":2,"watch":"exports","entries":{}}"#, "Foreign"),
        (
            r#"{"format":1,"watch":"exports","newestVersion":1,"objects":[["a","b",7]]}"#,
            "Corrupt",
        ),
        ("garbage", "Corrupt"),
    ] {
        fs::write(&path, text).unwrap();
        assert_eq!(store.load().unwrap_err().reason(), reason, "{text}");
    }
}

#[test]
fn a_save_that_fails_leaves_the_file_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = store::<Export>(dir.path(), "exports");
    store.save(&state(1)).unwrap();
    fs::create_dir(dir.path().join("exports.json.new")).unwrap();

    let error = store.save(&state(2)).unwrap_err();

    assert_eq!(error.reason(), "Unwritable");
    assert_eq!(store.load().unwrap(), Some(state(1)));
}

fn state(port: u16) -> Saved<Export> {
    let export = |port| {
        Arc::new(Export {
            port,
            names: vec!["böse \"names\"\n".to_owned()],
        })
    };
    let objects = [
        (Key::new("", "cluster-scoped"), export(port)),
        (Key::new("demo", "hello"), export(80)),
    ];
    Saved {
        newest: u64::MAX,
        objects: objects.into(),
    }
}
