//! A network namespace as a pod's, and what runs in it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::Process;

const PATIENCE: Duration = Duration::from_secs(60);

/// Holds the namespaces until its standard input ends. As root of a user namespace it may make them.
const HOLDER: &str = r#"
ip link set lo up
for address; do ip address add "$address/32" dev lo; done
echo ready
cat
"#;

/// The client sees the resolver that it is given, and nothing of how this machine resolves names.
const CLIENT: &str = r#"
mount --bind "$1/resolv.conf" /etc/resolv.conf
mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf
shift
exec "$@"
"#;

/// Namespaces that end with it.
pub(crate) struct Pod {
    holder: Child,
    stdin: Option<ChildStdin>,
    dir: tempfile::TempDir,
}

// === impl Pod ===

impl Pod {
    /// One that has these addresses.
    pub(crate) fn new(addresses: &[&str]) -> Self {
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", "--mount"])
            .args(["sh", "-ec", HOLDER, "sh"])
            .args(addresses)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(holder.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "no namespaces");
        Self {
            stdin: holder.stdin.take(),
            holder,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// A file of the pod's, written now.
    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.file(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A command of the node's.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.args(self.entering()).arg(program);
        command
    }

    /// A server that runs until it is dropped.
    pub(crate) fn start(&self, name: &str, program: &Path, arguments: &[&str]) -> Process {
        let mut all = self.entering();
        all.push(program.display().to_string());
        all.extend(arguments.iter().map(|&argument| argument.to_owned()));
        let kubeconfig = self.file("kubeconfig").display().to_string();
        let log = self.file(&format!("{name}.log"));
        Process::start(
            Path::new("nsenter"),
            &all,
            &[("KUBECONFIG", kubeconfig)],
            &log,
        )
    }

    /// What a client that asks `resolver` writes, given `input`. Its search list and options are those
    /// that a kubelet writes for the namespace `shop`, with one domain of the user's (`dnsConfig`).
    pub(crate) fn run(&self, resolver: &str, command: &[&str], input: &str) -> Output {
        let config = format!(
            "search shop.svc.cluster.local svc.cluster.local cluster.local svc.clusterset.local\n\
             nameserver {resolver}\noptions ndots:5\n"
        );
        self.write(&format!("{resolver}/resolv.conf"), &config);
        self.write(&format!("{resolver}/nsswitch.conf"), "hosts: files dns\n");
        let mut client = Command::new("nsenter")
            .args(self.entering())
            .args(["unshare", "--mount", "sh", "-ec", CLIENT, "sh"])
            .arg(self.file(resolver))
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = client.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        client.wait_with_output().unwrap()
    }

    /// The standard output of a client that reports no error.
    pub(crate) fn output(&self, resolver: &str, command: &[&str], input: &str) -> String {
        let output = self.run(resolver, command, input);
        assert!(output.status.success(), "{command:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits until `server` answers `name` with a record.
    pub(crate) fn wait_for(&self, server: &str, name: &str, record_type: &str) {
        let limit = Instant::now() + PATIENCE;
        let at = format!("@{server}");
        let command = [
            "kdig",
            &at,
            "+short",
            "+time=1",
            "+retry=0",
            name,
            record_type,
        ];
        while self
            .run(server, &command, "")
            .stdout
            .trim_ascii()
            .is_empty()
        {
            assert!(Instant::now() < limit, "{server} has no {name}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn entering(&self) -> Vec<String> {
        let target = format!("--target={}", self.holder.id());
        [&target, "--user", "--preserve-credentials", "--net", "--"]
            .map(str::to_owned)
            .into()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        drop(self.stdin.take());
        self.holder.wait().unwrap();
    }
}
