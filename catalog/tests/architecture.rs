//! The arrows between the crates of the workspace, and what each of them cannot reach.
//!
//! `deny.toml` says the same to whoever has cargo-deny; this needs nothing but cargo.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Each crate and which others of the workspace it may use. Arrows only point up.
const ARROWS: [(&str, &[&str]); 13] = [
    ("tombolo-crds", &[]),
    ("tombolo-catalog", &["tombolo-crds"]),
    ("tombolo-link-wire", &["tombolo-crds", "tombolo-catalog"]),
    (
        "tombolo-link",
        &["tombolo-crds", "tombolo-catalog", "tombolo-link-wire"],
    ),
    ("tombolo-dns-zone", &["tombolo-crds", "tombolo-catalog"]),
    ("tombolo-dns-corefile", &[]),
    ("tombolo-dns-datagrams", &[]),
    ("tombolo-runtime", &[]),
    (
        "tombolo-operator",
        &[
            "tombolo-crds",
            "tombolo-catalog",
            "tombolo-link-wire",
            "tombolo-link",
            "tombolo-runtime",
        ],
    ),
    (
        "tombolo-gateway",
        &[
            "tombolo-crds",
            "tombolo-catalog",
            "tombolo-link-wire",
            "tombolo-link",
            "tombolo-runtime",
        ],
    ),
    (
        "tombolo-dns",
        &[
            "tombolo-crds",
            "tombolo-catalog",
            "tombolo-dns-zone",
            "tombolo-dns-corefile",
            "tombolo-dns-datagrams",
            "tombolo-runtime",
        ],
    ),
    ("tombolo-demo-clusters", &["tombolo-crds"]),
    (
        "tombolo-bench",
        &[
            "tombolo-crds",
            "tombolo-catalog",
            "tombolo-link",
            "tombolo-runtime",
            "tombolo-gateway",
        ],
    ),
];

/// Crates without I/O, clock or tasks.
const PURE: [&str; 5] = [
    "tombolo-crds",
    "tombolo-catalog",
    "tombolo-link-wire",
    "tombolo-dns-zone",
    "tombolo-dns-corefile",
];

/// What a pure crate cannot reach, at any depth.
const IMPURE: [&str; 10] = [
    "tokio",
    "mio",
    "socket2",
    "kube",
    "kube-client",
    "kube-runtime",
    "quinn",
    "quinn-proto",
    "quinn-udp",
    "rustls",
];

/// A dependency and the only crates of the workspace that may name it.
const NAMED_BY: [(&str, &[&str]); 6] = [
    ("quinn", &["tombolo-link"]),
    ("quinn-proto", &["tombolo-link"]),
    ("tokio-rustls", &["tombolo-link"]),
    // Of QUIC it has nothing: it sends and receives datagrams by the batch.
    ("quinn-udp", &["tombolo-dns"]),
    ("hickory-server", &["tombolo-dns"]),
    (
        "kube",
        &[
            "tombolo-runtime",
            "tombolo-operator",
            "tombolo-gateway",
            "tombolo-dns",
            "tombolo-demo-clusters",
        ],
    ),
];

/// Cryptography is aws-lc-rs alone, and nothing links the system's OpenSSL.
const BANNED: [&str; 4] = ["ring", "openssl", "openssl-sys", "native-tls"];

#[test]
fn arrows_only_point_up() {
    for (index, (name, may_use)) in ARROWS.iter().enumerate() {
        let above: Vec<&str> = ARROWS[..index].iter().map(|(name, _)| *name).collect();
        assert!(
            may_use.iter().all(|used| above.contains(used)),
            "{name} points down"
        );
    }

    let members = members();
    let known: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        members.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        known
    );
    for (name, may_use) in ARROWS {
        for used in members[name]
            .iter()
            .filter(|used| known.contains(used.as_str()))
        {
            assert!(may_use.contains(&used.as_str()), "{name} uses {used}");
        }
    }
}

#[test]
fn only_certain_crates_name_certain_dependencies() {
    let members = members();
    for (dependency, allowed) in NAMED_BY {
        for (name, _) in members.iter().filter(|(_, uses)| uses.contains(dependency)) {
            assert!(
                allowed.contains(&name.as_str()),
                "{name} names {dependency}"
            );
        }
    }
}

#[test]
fn pure_crates_reach_no_runtime_socket_or_cluster() {
    for name in PURE {
        let reached = reached(&["--package", name, "--edges", "normal,build"]);
        assert!(
            reached.contains(name),
            "cargo tree tells what {name} reaches"
        );
        for impure in IMPURE {
            assert!(!reached.contains(impure), "{name} reaches {impure}");
        }
    }
}

#[test]
fn banned_crates_are_nowhere_in_the_tree() {
    for features in [&[][..], &["--all-features"]] {
        let arguments = ["--workspace", "--edges", "normal,build,dev"];
        let reached = reached(&[&arguments, features].concat());
        assert!(
            reached.contains("aws-lc-rs"),
            "cargo tree tells what the workspace reaches"
        );
        for banned in BANNED {
            assert!(!reached.contains(banned), "{banned} is in the tree");
        }
    }
}

/// Each crate of the workspace and the names of all that its manifest depends on.
fn members() -> BTreeMap<String, BTreeSet<String>> {
    let output = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&output).expect("cargo metadata writes JSON");
    let names = |packages: &Value| -> BTreeSet<String> {
        packages
            .as_array()
            .expect("a list")
            .iter()
            .map(|package| package["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    let packages = metadata["packages"].as_array().expect("a list");
    packages
        .iter()
        .map(|package| {
            let name = package["name"].as_str().expect("a name").to_owned();
            (name, names(&package["dependencies"]))
        })
        .collect()
}

/// Names of the crates that `cargo tree` lists. Other than `cargo metadata` it leaves out optional
/// dependencies that no enabled feature asks for.
fn reached(selection: &[&str]) -> BTreeSet<String> {
    let format = ["tree", "--locked", "--prefix", "none", "--format", "{p}"];
    let output = cargo(&[&format, selection].concat());
    output
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

fn cargo(arguments: &[&str]) -> String {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .arg("--offline")
        .current_dir(workspace)
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "cargo {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}
