//! A whole program: this test's binary started again as a child, which is told by an environment
//! variable what program to be, and stopped by signals.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use clap::Parser;
use k8s_openapi::api::core::v1::ConfigMap;
use tombolo_runtime::{
    Runtime, RuntimeArgs,
    watch::{Event, from_fn},
};

/// More than any of this takes on the slowest machine.
const LONG: Duration = Duration::from_secs(60);
const PROGRAM: &str = "TEST_PROGRAM";

#[test]
fn without_an_api_server_a_program_lives_becomes_ready_from_its_saved_state_and_drains() {
    let dir = tempfile::tempdir().unwrap();
    let state = r#"{"format":1,"watch":"maps","newestVersion":7,"objects":[["demo","a","1"]]}"#;
    fs::write(dir.path().join("maps.json"), state).unwrap();

    let mut program = Program::start("drains", dir.path());
    assert!(program.get("/livez").starts_with("HTTP/1.1 200"));
    program.until_logged("index has");
    program.until("/readyz", "HTTP/1.1 200");
    let metrics = program.get("/metrics");
    for line in [
        "tombolo_build_info{program=\"test\",",
        "tombolo_watch_from_file{watch=\"maps\"} 1",
        "process_open_fds ",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }

    program.signal("TERM");
    program.until_logged("draining");
    let answer = program.get("/readyz");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    program.signal("USR1");
    assert!(program.exit().success());
}

#[test]
fn without_an_api_server_or_a_saved_state_a_program_says_what_holds_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = Program::start("drains", dir.path());

    program.until_logged("nothing saved");
    let answer = program.get("/readyz");

    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.ends_with("not ready: maps\n"), "{answer}");
}

#[test]
fn a_second_signal_aborts() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = Program::start("drains", dir.path());

    program.signal("INT");
    program.until_logged("draining");
    program.signal("TERM");

    assert!(program.exit().success());
}

#[test]
fn a_critical_task_that_fails_ends_the_program_with_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = Program::start("fails", dir.path());

    program.until_logged("critical task ended");

    assert!(!program.exit().success());
}

/// What the child is; nothing when the tests run.
#[test]
fn program() {
    let Ok(program) = env::var(PROGRAM) else {
        return;
    };
    let failed = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(run(&program));
    if let Err(error) = failed {
        panic!("{error}");
    }
}

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    runtime: RuntimeArgs,
}

async fn run(program: &str) -> Result<(), Box<dyn std::error::Error>> {
    // The flags are the test harness's; this program's are in the environment.
    let args = Args::parse_from(["program"]);
    let runtime = Runtime::build("test", args.runtime).await?;
    if program == "fails" {
        runtime
            .tasks
            .spawn_critical("link", async { Err("no more ports") });
    }
    let index = from_fn(|event: Event<'_, String>| tracing::info!(?event, "index has"));
    let value = |map: ConfigMap| map.data?.remove("value");
    runtime
        .watches
        .all::<ConfigMap>("maps")
        .feed_persisted(value, index);
    let drain = runtime.tasks.drain().clone();
    let mut finish = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::user_defined1())?;
    if program == "drains" {
        runtime.tasks.spawn("connection", async move {
            drain.cancelled().await;
            finish.recv().await;
        });
    }
    runtime.run().await?;
    Ok(())
}

struct Program {
    child: Child,
    log: BufReader<ChildStderr>,
    admin: String,
}

impl Program {
    fn start(program: &str, dir: &Path) -> Self {
        // Nothing listens on port 1.
        let kubeconfig = dir.join("kubeconfig");
        let text = "{apiVersion: v1, kind: Config, current-context: c, \
            clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], \
            contexts: [{name: c, context: {cluster: c, user: u}}], users: [{name: u, user: {}}]}";
        fs::write(&kubeconfig, text).unwrap();
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "program", "--nocapture"])
            .env(PROGRAM, program)
            .env("KUBECONFIG", kubeconfig)
            .env("TOMBOLO_ADMIN_ADDRESS", "127.0.0.1:0")
            .env("TOMBOLO_STATE_DIR", dir)
            .env("TOMBOLO_API_PATIENCE", "0.2")
            .env("TOMBOLO_GRACE_PERIOD", "3600")
            .env("TOMBOLO_LOG", "info")
            .env("TOMBOLO_LOG_FORMAT", "text")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut program = Self {
            child,
            log,
            admin: String::new(),
        };
        let line = program.until_logged("admin_address=");
        let (_, address) = line.split_once("admin_address=").unwrap();
        program.admin = address.split_whitespace().next().unwrap().to_owned();
        program
    }

    /// The next line of the log with this in it. Ends with the child at the latest.
    fn until_logged(&mut self, text: &str) -> String {
        let mut all = String::new();
        loop {
            let start = all.len();
            let length = self.log.read_line(&mut all).unwrap();
            assert!(length > 0, "{text:?} is not in the log:\n{all}");
            if all[start..].contains(text) {
                return all[start..].to_owned();
            }
        }
    }

    fn until(&self, path: &str, status: &str) {
        let start = Instant::now();
        loop {
            let answer = self.get(path);
            if answer.starts_with(status) {
                return;
            }
            assert!(start.elapsed() < LONG, "{path}: {answer}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.admin).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", signal, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    fn exit(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < LONG, "still there");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended; either way it leaves no zombie.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
