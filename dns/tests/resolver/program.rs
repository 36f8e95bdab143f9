//! The whole program, with no API server to be reached.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use serde_json::json;

use crate::client::{ask_udp, data, query};
use crate::state::{kubeconfig_to_nowhere, save};

const WEB: &str = "web.shop.svc.clusterset.local.";

/// A process that is killed in the end.
struct Program {
    process: Child,
    address: SocketAddr,
}

impl Program {
    /// Starts with what is in `dir`, and waits until the log has all `words`, in any order.
    fn start(dir: &Path, words: &[&str]) -> Self {
        let kubeconfig = dir.join("kubeconfig");
        fs::write(&kubeconfig, kubeconfig_to_nowhere().to_string()).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_tombolo-dns"))
            .args(["--listen", "127.0.0.1:0", "--admin-address", "127.0.0.1:0"])
            .args(["--api-patience", "0.1", "--state-dir"])
            .arg(dir)
            .env("KUBECONFIG", kubeconfig)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut address = None;
        let mut missing = words.to_vec();
        while address.is_none() || !missing.is_empty() {
            let line = log.next().expect("the program goes on").unwrap();
            missing.retain(|word| !line.contains(word));
            if line.contains("listening") {
                let word = line
                    .split_whitespace()
                    .find_map(|word| word.strip_prefix("address="));
                address = Some(word.unwrap().parse().unwrap());
            }
        }
        // Else the program would meet a closed pipe.
        std::thread::spawn(move || log.for_each(drop));
        Self {
            process,
            address: address.unwrap(),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A zone with the service `web`, and the headless `db` with one host.
pub(crate) fn save_zone(dir: &Path) {
    let web = json!({
        "headless": false,
        "addresses": ["10.96.0.1"],
        "ports": [{"name": "http", "protocol": "TCP", "number": 80}],
    });
    let db = json!({"headless": true, "addresses": [], "ports": []});
    let slice = json!({
        "service": "db",
        "cluster": "east",
        "endpoints": [{"hostname": "db-0", "addresses": ["10.0.0.1"]}],
        "ports": [{"name": "sql", "protocol": "TCP", "number": 5432}],
    });
    save(
        dir,
        "serviceimports",
        &json!([["shop", "db", db], ["shop", "web", web]]),
    );
    save(dir, "endpointslices", &json!([["shop", "db-east", slice]]));
}

#[test]
fn the_saved_state_is_served_while_the_api_server_is_away() {
    let dir = tempfile::tempdir().unwrap();
    save_zone(dir.path());

    let program = Program::start(dir.path(), &["objects=2", "objects=1"]);

    // The last list may have been loaded, but not yet be published.
    let good = loop {
        let (answer, _) = ask_udp(program.address, &query(WEB, RecordType::A));
        if answer.metadata.response_code != ResponseCode::ServFail {
            break answer;
        }
    };
    assert_eq!(data(&good), ["10.96.0.1"]);
    let host = "db-0.east.db.shop.svc.clusterset.local.";
    assert_eq!(
        data(&ask_udp(program.address, &query(host, RecordType::A)).0),
        ["10.0.0.1"]
    );
    let (denied, _) = ask_udp(
        program.address,
        &query("x.clusterset.local.", RecordType::A),
    );
    assert_eq!(denied.metadata.response_code, ResponseCode::NXDomain);
}

#[test]
fn without_a_saved_state_nothing_is_denied() {
    let dir = tempfile::tempdir().unwrap();

    let program = Program::start(dir.path(), &["serviceimports", "endpointslices"]);

    let (answer, _) = ask_udp(program.address, &query(WEB, RecordType::A));
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
}

#[test]
fn half_a_saved_state_denies_nothing_either() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), "endpointslices", &json!([]));

    let program = Program::start(dir.path(), &["objects=0", "nothing saved"]);

    let (answer, _) = ask_udp(program.address, &query(WEB, RecordType::A));
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
}
