//! The resolvers of libcs and languages.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::questions::{Skills, ask_all};
use crate::servers::{CLUSTER, NODE, Servers};

/// The source of a program of this test.
fn source(name: &str) -> PathBuf {
    Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/clients/programs"
    ))
    .join(name)
}

/// Compiles to `output`.
fn compile(compiler: &str, arguments: &[&str], output: &Path) {
    let mut words = compiler.split(' ');
    let status = Command::new(words.next().unwrap())
        .args(words)
        .arg("-o")
        .arg(output)
        .args(arguments)
        .status()
        .unwrap_or_else(|error| panic!("{compiler}: {error}"));
    assert!(status.success(), "{compiler} {arguments:?}");
}

/// By CoreDNS's forward, and from the resolver of the node.
fn ask_both(servers: &Servers, program: &[&str], skills: Skills) {
    for resolver in [CLUSTER, NODE] {
        ask_all(&servers.pod, resolver, program, skills);
    }
}

#[test]
#[ignore = "needs a C compiler and namespaces: run ./test.sh"]
fn glibc() {
    let servers = Servers::start();
    let program = servers.pod.file("lookup");
    let source = source("lookup.c").display().to_string();
    compile("cc", &[&source, "-lresolv"], &program);

    let skills = Skills {
        tcp: true,
        records: false,
    };
    ask_both(&servers, &[&program.display().to_string()], skills);
}

/// Before 1.2.4 musl knew no TCP: it takes what an answer that was cut has.
#[test]
#[ignore = "needs musl-gcc and namespaces: run ./test.sh"]
fn musl() {
    let servers = Servers::start();
    let program = servers.pod.file("lookup");
    let source = source("lookup.c").display().to_string();
    compile("musl-gcc", &[&source], &program);

    let skills = Skills {
        tcp: false,
        records: false,
    };
    ask_both(&servers, &[&program.display().to_string()], skills);
}

#[test]
#[ignore = "needs Go and namespaces: run ./test.sh"]
fn go() {
    let servers = Servers::start();
    let program = servers.pod.file("lookup");
    let source = source("lookup.go").display().to_string();
    compile("go build", &[&source], &program);

    let skills = Skills {
        tcp: true,
        records: false,
    };
    ask_both(&servers, &[&program.display().to_string()], skills);
}

#[test]
#[ignore = "needs a JDK and namespaces: run ./test.sh"]
fn java() {
    let servers = Servers::start();
    let source = source("Lookup.java").display().to_string();

    let skills = Skills {
        tcp: true,
        records: true,
    };
    ask_both(&servers, &["java", &source], skills);
}

#[test]
#[ignore = "needs Node and namespaces: run ./test.sh"]
fn node() {
    let servers = Servers::start();
    let source = source("lookup.js").display().to_string();

    let skills = Skills {
        tcp: true,
        records: true,
    };
    ask_both(&servers, &["node", &source], skills);
}
