//! The resolvers of libcs and languages.

use std::path::Path;
use std::process::Command;

use crate::questions::{Skills, ask_all};
use crate::servers::{CLUSTER, NODE, Servers};

/// A language with a resolver of its own, which asks for records as they are named.
const OWN_RESOLVER: Skills = Skills {
    tcp: true,
    records: true,
};
/// One that has what libc has.
const LIBC: Skills = Skills {
    tcp: true,
    records: false,
};

/// The source of a program of this test.
fn source(name: &str) -> String {
    let programs = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/clients/programs"
    ));
    programs.join(name).display().to_string()
}

/// Puts all questions to a program that has to be compiled first.
fn ask_compiled(compiler: &[&str], name: &str, libraries: &[&str], skills: Skills) {
    let servers = Servers::start();
    let program = servers.pod.file("lookup");
    let (compiler, arguments) = compiler.split_first().unwrap();
    let status = Command::new(compiler)
        .args(arguments)
        .arg("-o")
        .arg(&program)
        .arg(source(name))
        .args(libraries)
        .status()
        .unwrap_or_else(|error| panic!("{compiler}: {error}"));
    assert!(status.success(), "{compiler} {name}");

    ask_both(&servers, &[&program.display().to_string()], skills);
}

/// Puts all questions to a program that is run from its source.
fn ask_interpreted(interpreter: &str, name: &str) {
    ask_both(
        &Servers::start(),
        &[interpreter, &source(name)],
        OWN_RESOLVER,
    );
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
    ask_compiled(&["cc"], "lookup.c", &["-lresolv"], LIBC);
}

/// Before 1.2.4 musl knew no TCP: it takes what an answer that was cut has.
#[test]
#[ignore = "needs musl-gcc and namespaces: run ./test.sh"]
fn musl() {
    let skills = Skills { tcp: false, ..LIBC };
    ask_compiled(&["musl-gcc"], "lookup.c", &[], skills);
}

#[test]
#[ignore = "needs Go and namespaces: run ./test.sh"]
fn go() {
    ask_compiled(&["go", "build"], "lookup.go", &[], LIBC);
}

#[test]
#[ignore = "needs a JDK and namespaces: run ./test.sh"]
fn java() {
    ask_interpreted("java", "Lookup.java");
}

#[test]
#[ignore = "needs Node and namespaces: run ./test.sh"]
fn node() {
    ask_interpreted("node", "lookup.js");
}
