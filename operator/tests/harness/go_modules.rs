//! Programs of other projects, which are Go modules.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where these programs of other projects are: those that are missing are built.
pub(crate) fn build<const N: usize>(names: [&str; N]) -> [PathBuf; N] {
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo-clusters/binaries/build.sh");
    println!(
        "{}: {} builds what is missing",
        names.join(", "),
        build.display()
    );
    let output = Command::new(&build)
        .args(names)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{} failed", build.display());
    let paths = String::from_utf8(output.stdout).unwrap();
    let paths: Vec<PathBuf> = paths.lines().map(PathBuf::from).collect();
    paths.try_into().unwrap()
}
