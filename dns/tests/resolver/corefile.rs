//! The whole program with a Corefile, and no API server to be reached.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;

use crate::client::{ask_tcp, ask_udp, data, query, udp, with_edns};
use crate::program::save_zone;
use crate::state::kubeconfig_to_nowhere;
use crate::upstream::Upstream;

const PATIENCE: Duration = Duration::from_secs(60);

/// A process that is killed in the end.
pub(crate) struct Program(Child);

impl Program {
    /// Starts with `corefile`, and waits until it listens.
    pub(crate) fn start(dir: &Path, corefile: &str) -> Self {
        let (mut process, mut log) = spawn(dir, corefile);
        loop {
            match log.next() {
                Some(line) if line.as_ref().unwrap().contains("listening") => break,
                Some(_) => {}
                None => panic!("it ended: {:?}", process.wait()),
            }
        }
        // Else the program would meet a closed pipe.
        std::thread::spawn(move || log.for_each(drop));
        Self(process)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

type Log = std::io::Lines<BufReader<std::process::ChildStderr>>;

fn spawn(dir: &Path, corefile: &str) -> (Child, Log) {
    fs::write(dir.join("Corefile"), corefile).unwrap();
    let kubeconfig = dir.join("kubeconfig");
    fs::write(&kubeconfig, kubeconfig_to_nowhere().to_string()).unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_tombolo-dns"))
        .args([
            "--admin-address",
            "127.0.0.1:0",
            "--api-patience",
            "0.1",
            "--corefile",
        ])
        .arg(dir.join("Corefile"))
        .arg("--state-dir")
        .arg(dir)
        .env("KUBECONFIG", kubeconfig)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(process.stderr.take().unwrap()).lines();
    (process, log)
}

/// An address that was free a moment ago, for UDP and TCP.
pub(crate) fn free() -> SocketAddr {
    loop {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = udp.local_addr().unwrap();
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// Body of a page, and its status.
fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let (head, body) = page.split_once("\r\n\r\n").unwrap();
    (body.to_owned(), head.lines().next().unwrap().to_owned())
}

fn ask(server: SocketAddr, name: &str) -> Message {
    ask_udp(server, &query(name, RecordType::A)).0
}

fn terminate(process: &Child) {
    let id = process.id().to_string();
    assert!(Command::new("kill").arg(id).status().unwrap().success());
}

/// None if there is no answer in time.
fn ask_within(time: Duration, server: SocketAddr, name: &str) -> Option<Message> {
    let socket = udp(server);
    socket.set_read_timeout(Some(time)).unwrap();
    let query = query(name, RecordType::A).to_vec().unwrap();
    socket.send(&query).unwrap();
    let mut buffer = [0; 4_096];
    let length = socket.recv(&mut buffer).ok()?;
    Some(Message::from_vec(&buffer[..length]).unwrap())
}

/// Asks until the answer is good.
fn ask_until(server: SocketAddr, name: &str, is_good: impl Fn(&Message) -> bool) -> Message {
    let limit = Instant::now() + PATIENCE;
    loop {
        let answer = ask(server, name);
        if is_good(&answer) {
            return answer;
        }
        assert!(Instant::now() < limit, "{answer}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn each_plugin_does_its_part() {
    let dir = tempfile::tempdir().unwrap();
    save_zone(dir.path());
    let upstream = Upstream::start(7);
    let (server, health, ready, metrics) = (free(), free(), free(), free());
    let corefile = format!(
        ".:{port} {{
            bind 127.0.0.1
            errors
            log
            health {health}
            ready {ready}
            prometheus {metrics}
            loadbalance
            cache 30
            rewrite name suffix .east.example .svc.clusterset.local answer auto
            rewrite name old.example.org new.example.org
            hosts {{
                10.0.0.9 router.example.org
                fallthrough
            }}
            multicluster clusterset.local
            forward . {upstream} {{
                except secret.example.org
            }}
            acl {{
                block type TXT
            }}
        }}
        apart.example.org:{port} {{
            bind 127.0.0.1
            hosts {{
                10.0.0.1 apart.example.org
            }}
        }}",
        port = server.port(),
        upstream = upstream.address,
    );
    let _program = Program::start(dir.path(), &corefile);

    // The clusterset, by its own name and by another.
    let web = ask_until(server, "web.shop.svc.clusterset.local.", |answer| {
        !answer.answers.is_empty()
    });
    assert_eq!(data(&web), ["10.96.0.1"]);
    assert!(web.metadata.authoritative);
    let rewritten = ask(server, "web.shop.east.example.");
    assert_eq!(data(&rewritten), ["10.96.0.1"]);
    assert_eq!(
        rewritten.answers[0].name.to_ascii(),
        "web.shop.east.example."
    );
    let (reverse, _) = ask_udp(server, &query("1.0.96.10.in-addr.arpa.", RecordType::PTR));
    assert_eq!(data(&reverse), ["web.shop.svc.clusterset.local."]);
    let denied = ask(server, "x.shop.svc.clusterset.local.");
    assert_eq!(denied.metadata.response_code, ResponseCode::NXDomain);

    // Upstream, once.
    let before = upstream.asked();
    for _ in 0..3 {
        let answer = ask(server, "WWW.example.org.");
        assert_eq!(data(&answer), ["192.0.2.7"]);
        assert!(answer.answers[0].ttl <= 30);
        assert_eq!(answer.queries[0].name().to_ascii(), "WWW.example.org.");
    }
    assert_eq!(upstream.asked(), before + 1);
    let exact = ask(server, "old.example.org.");
    assert_eq!(
        (data(&exact), exact.answers[0].name.to_ascii()),
        (vec!["192.0.2.7".to_owned()], "old.example.org.".to_owned())
    );
    let none = ask(server, "none.example.org.");
    assert_eq!(none.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(none.authorities.len(), 1);

    // Cut over UDP, whole over TCP.
    assert!(ask(server, "big.example.org.").metadata.truncation);
    let whole = ask_tcp(server, &[query("big.example.org.", RecordType::A)]).remove(0);
    assert_eq!(data(&whole), ["192.0.2.7"]);

    // Hosts, blocks and what is kept out.
    assert_eq!(data(&ask(server, "router.example.org.")), ["10.0.0.9"]);
    assert_eq!(data(&ask(server, "apart.example.org.")), ["10.0.0.1"]);
    let elsewhere = ask(server, "x.apart.example.org.");
    assert_eq!(elsewhere.metadata.response_code, ResponseCode::NXDomain);
    let secret = ask(server, "secret.example.org.");
    assert_eq!(secret.metadata.response_code, ResponseCode::ServFail);
    let (blocked, _) = ask_udp(server, &query("www.example.org.", RecordType::TXT));
    assert_eq!(blocked.metadata.response_code, ResponseCode::Refused);
    let (edns, _) = ask_udp(
        server,
        &with_edns(query("www.example.org.", RecordType::A), 4_096),
    );
    assert_eq!(edns.edns.unwrap().max_payload(), 1_232);

    // What is told of it, as CoreDNS tells it.
    assert_eq!(
        get(health, "/health"),
        ("OK".to_owned(), "HTTP/1.1 200 OK".to_owned())
    );
    assert_eq!(get(ready, "/ready").0, "OK");
    let (metrics, _) = get(metrics, "/metrics");
    let label = format!("dns://{server}");
    for line in [
        format!(
            r#"coredns_dns_requests_total{{server="{label}",zone=".",view="",proto="udp",family="1",type="A"}} "#
        ),
        format!(
            r#"coredns_dns_responses_total{{server="{label}",zone=".",view="",rcode="NOERROR",plugin="forward"}} "#
        ),
        format!(
            r#"coredns_dns_request_duration_seconds_count{{server="{label}",zone=".",view=""}} "#
        ),
        format!(
            r#"coredns_cache_hits_total{{server="{label}",type="success",zones=".",view=""}} "#
        ),
        format!(
            r#"coredns_proxy_request_duration_seconds_count{{proxy_name="forward",to="{}",rcode="NOERROR"}} "#,
            upstream.address
        ),
        format!(r#"coredns_plugin_enabled{{server="{label}",zone=".",view="",name="cache"}} 1"#),
        "coredns_acl_blocked_requests_total".to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
}

#[test]
fn the_clusterset_is_the_same_over_udp_and_tcp() {
    let dir = tempfile::tempdir().unwrap();
    save_zone(dir.path());
    let (server, metrics) = (free(), free());
    let corefile = format!(
        "clusterset.local:{} {{\n errors\n bind 127.0.0.1\n multicluster\n loadbalance\n prometheus {metrics}\n}}\n",
        server.port(),
    );
    let _program = Program::start(dir.path(), &corefile);
    let web = "web.shop.svc.clusterset.local.";
    ask_until(server, web, |answer| !answer.answers.is_empty());

    for (name, record_type) in [
        ("WEB.shop.svc.clusterset.local.", RecordType::A),
        (web, RecordType::AAAA),
        (web, RecordType::SRV),
        ("_http._tcp.web.shop.svc.clusterset.local.", RecordType::SRV),
        ("db-0.east.db.shop.svc.clusterset.local.", RecordType::A),
        ("x.shop.svc.clusterset.local.", RecordType::A),
        ("clusterset.local.", RecordType::SOA),
        ("example.org.", RecordType::A),
    ] {
        let query = with_edns(query(name, record_type), 1_232);
        let (by_udp, _) = ask_udp(server, &query);
        let by_tcp = ask_tcp(server, &[query]).remove(0);
        assert_eq!(by_udp, by_tcp, "{name} {record_type}");
    }
    let (metrics, _) = get(metrics, "/metrics");
    for proto in ["udp", "tcp"] {
        let line = format!(
            r#"coredns_dns_requests_total{{server="dns://{server}",zone="clusterset.local.",view="",proto="{proto}",family="1",type="AAAA"}} 1"#
        );
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
}

#[test]
fn an_upstream_that_is_down_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Upstream::start(8);
    let (server, down) = (free(), free());
    let corefile = format!(
        ".:{port} {{
            bind 127.0.0.1
            forward . {down} {up} {{
                policy sequential
                max_fails 1
                health_check 100ms
            }}
        }}
        down.org:{port} {{
            bind 127.0.0.1
            forward . {down}
        }}",
        port = server.port(),
        up = upstream.address,
    );
    let _program = Program::start(dir.path(), &corefile);

    for number in 0..20 {
        let answer = ask(server, &format!("n{number}.example.org."));
        assert_eq!(data(&answer), ["192.0.2.8"]);
    }
    let started = Instant::now();
    let failed = ask(server, "x.down.org.");
    assert_eq!(failed.metadata.response_code, ResponseCode::ServFail);
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn a_changed_corefile_is_followed_and_a_broken_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (server, second) = (free(), free());
    let with = |port: u16, address: &str| {
        format!(
            ".:{port} {{
                bind 127.0.0.1
                reload 2s 0s
                hosts {{
                    {address} a.example.org
                }}
            }}"
        )
    };
    let _program = Program::start(dir.path(), &with(server.port(), "10.0.0.1"));
    assert_eq!(data(&ask(server, "a.example.org.")), ["10.0.0.1"]);

    let write = |text: &str| fs::write(dir.path().join("Corefile"), text).unwrap();
    write(&with(server.port(), "10.0.0.2"));
    ask_until(server, "a.example.org.", |answer| {
        data(answer) == ["10.0.0.2"]
    });

    // Broken: what was there goes on. Then another place is listened on, too.
    write(". {\n nonsense\n}\n");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(data(&ask(server, "a.example.org.")), ["10.0.0.2"]);
    let both = format!(
        "{}\n{}",
        with(server.port(), "10.0.0.3"),
        with(second.port(), "10.0.0.4")
    );
    write(&both);
    ask_until(server, "a.example.org.", |answer| {
        data(answer) == ["10.0.0.3"]
    });
    assert_eq!(data(&ask(second, "a.example.org.")), ["10.0.0.4"]);
}

#[test]
fn the_next_version_takes_over_while_questions_come() {
    let dir = tempfile::tempdir().unwrap();
    let next_dir = tempfile::tempdir().unwrap();
    save_zone(dir.path());
    save_zone(next_dir.path());
    let server = free();
    let corefile = format!(
        "clusterset.local:{} {{\n bind 127.0.0.1\n multicluster\n health {} {{\n  lameduck 2s\n }}\n}}\n",
        server.port(),
        free(),
    );
    let name = "web.shop.svc.clusterset.local.";
    let mut first = Program::start(dir.path(), &corefile);
    assert_eq!(data(&ask(server, name)), ["10.96.0.1"]);

    let _second = Program::start(next_dir.path(), &corefile);
    terminate(&first.0);
    // Each question comes from another port, so both programs are asked. One that is in the first
    // one's socket when that ends is lost, as any datagram may be: clients ask again.
    let mut lost = 0;
    let mut answered = 0;
    let mut ask_for_web = || match ask_within(Duration::from_secs(5), server, name) {
        Some(answer) => {
            assert_eq!(data(&answer), ["10.96.0.1"]);
            answered += 1;
        }
        None => lost += 1,
    };
    while first.0.try_wait().unwrap().is_none() {
        ask_for_web();
    }
    for _ in 0..20 {
        ask_for_web();
    }
    assert!(answered > 20, "only {answered} questions");
    assert!(lost <= 1, "{lost} of {answered} lost");
    let by_tcp = ask_tcp(server, &[query(name, RecordType::A)]);
    assert_eq!(data(&by_tcp[0]), ["10.96.0.1"]);
}

#[test]
fn a_program_that_is_told_to_go_before_it_knows_the_names_goes() {
    let dir = tempfile::tempdir().unwrap();
    let corefile = format!(
        "clusterset.local:{} {{\n bind 127.0.0.1\n multicluster {{\n  startup_timeout 1h\n }}\n}}\n",
        free().port(),
    );
    let (mut process, mut log) = spawn(dir.path(), &corefile);
    let is_starting = |line: std::io::Result<String>| line.unwrap().contains("starting");
    assert!(log.any(is_starting), "it ended: {:?}", process.wait());

    terminate(&process);

    let rest: Vec<String> = log.map(Result::unwrap).collect();
    assert!(process.wait().unwrap().success(), "{rest:#?}");
    let has = |word| rest.iter().any(|line| line.contains(word));
    assert!(has("draining") && !has("listening"), "{rest:#?}");
}

#[test]
fn a_loop_ends_the_program_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let server = free();
    let corefile = format!(
        ".:{} {{\n bind 127.0.0.1\n loop\n forward . {server}\n}}\n",
        server.port()
    );
    let (mut process, log) = spawn(dir.path(), &corefile);

    let log: Vec<String> = log.map(Result::unwrap).collect();

    assert!(!process.wait().unwrap().success());
    assert!(
        log.iter()
            .any(|line| line.contains("loop detected for zone .")),
        "{log:#?}"
    );
}

#[test]
fn a_corefile_that_is_not_understood_ends_the_program_with_its_place() {
    let dir = tempfile::tempdir().unwrap();

    let (mut process, log) = spawn(dir.path(), ".:1053 {\n    errors\n    autopath\n}\n");
    let log: Vec<String> = log.map(Result::unwrap).collect();

    assert!(!process.wait().unwrap().success());
    let place = "Corefile:3:5: plugin \"autopath\" is not known; known are: ";
    assert!(log.iter().any(|line| line.contains(place)), "{log:#?}");
}
