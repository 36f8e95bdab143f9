//! A resolver in front that validates: unbound, below a root that is signed as the real one is.

use std::fs;
use std::path::Path;

use crate::pod::Pod;
use crate::process::Process;
use crate::servers::{HOSTS, OTHER, Servers, TOMBOLO};

/// What `docs/dns.md` tells users of unbound to set.
const SETTINGS: &str = r#"server:
    domain-insecure: "clusterset.local"
forward-zone:
    name: "clusterset.local"
    forward-addr: 10.96.0.53
"#;

/// Where the root is served.
const ROOT: &str = "127.0.0.1";
const ROOT_ZONE: &str = "\
. 300 IN SOA ns. hostmaster. 1 7200 1800 86400 300
. 300 IN NS ns.
ns. 300 IN A 127.0.0.1
signed. 300 IN A 192.0.2.1
";

/// The servers, and unbound in front of them.
struct Validating {
    // Both end before the servers' namespaces.
    _unbound: Process,
    _root: Process,
    servers: Servers,
}

/// Knot with a root zone that it signs.
fn start_root(pod: &Pod) -> Process {
    let zone = pod.write("root.zone", ROOT_ZONE);
    let storage = pod.file("knot");
    fs::create_dir(&storage).unwrap();
    let config = format!(
        "server:
  listen: {ROOT}@53
  rundir: {storage}
database:
  storage: {storage}
policy:
  - id: one-key
    algorithm: ecdsap256sha256
    single-type-signing: on
zone:
  - domain: .
    storage: {storage}
    file: {zone}
    zonefile-sync: -1
    zonefile-load: difference
    dnssec-signing: on
    dnssec-policy: one-key
",
        storage = storage.display(),
        zone = zone.display(),
    );
    let config = pod.write("knot.conf", &config).display().to_string();
    let process = pod.start("knot", Path::new("knotd"), &["--config", &config]);
    pod.wait_for(ROOT, ".", "DNSKEY");
    process
}

/// unbound, which trusts that root and validates, with `settings`.
fn start_unbound(pod: &Pod, settings: &str) -> Process {
    let at = format!("@{ROOT}");
    let key = pod.output(ROOT, &["kdig", &at, "+short", ".", "DNSKEY"], "");
    let anchor = pod.write("root.key", &format!(". IN DNSKEY {key}"));
    let config = format!(
        "server:
    interface: {OTHER}
    access-control: 0.0.0.0/0 allow
    username: \"\"
    chroot: \"\"
    pidfile: \"\"
    directory: \"{dir}\"
    use-syslog: no
    do-not-query-localhost: no
    use-caps-for-id: yes
    trust-anchor-file: \"{anchor}\"
stub-zone:
    name: \".\"
    stub-addr: {ROOT}
remote-control:
    control-enable: no
{settings}",
        dir = pod.file("").display(),
        anchor = anchor.display(),
    );
    let config = pod.write("unbound.conf", &config).display().to_string();
    let process = pod.start("unbound", Path::new("unbound"), &["-d", "-c", &config]);
    pod.wait_for(OTHER, "signed", "A");
    process
}

// === impl Validating ===

impl Validating {
    fn start(settings: &str) -> Self {
        let servers = Servers::start();
        let root = start_root(&servers.pod);
        Self {
            _unbound: start_unbound(&servers.pod, settings),
            _root: root,
            servers,
        }
    }

    /// What dig says of unbound's answer, in full.
    fn dig(&self, name: &str, record_type: &str) -> String {
        let dig = ["dig", "+dnssec", "+timeout=30", name, record_type];
        self.servers.pod.output(OTHER, &dig, "")
    }
}

#[test]
#[ignore = "needs unbound, Knot and namespaces: run ./test.sh"]
fn unbound_validates_and_has_the_clusterset() {
    assert!(SETTINGS.contains(TOMBOLO));
    let unbound = Validating::start(SETTINGS);

    // It does validate.
    let signed = unbound.dig("signed", "A");
    assert!(signed.contains(" ad;"), "{signed}");

    let web = "web.shop.svc.clusterset.local";
    for (name, record_type, status, records) in [
        (web, "A", "NOERROR", 1),
        (web, "AAAA", "NOERROR", 0),
        (
            "_http._tcp.web.shop.svc.clusterset.local",
            "SRV",
            "NOERROR",
            1,
        ),
        ("dns-version.clusterset.local", "TXT", "NOERROR", 1),
        ("big.shop.svc.clusterset.local", "A", "NOERROR", HOSTS),
        ("none.shop.svc.clusterset.local", "A", "NXDOMAIN", 0),
    ] {
        let answer = unbound.dig(name, record_type);
        let expected = format!("status: {status},");
        assert!(answer.contains(&expected), "{answer}");
        assert!(answer.contains(&format!("ANSWER: {records},")), "{answer}");
        assert!(!answer.contains(" ad;"), "{answer}");
    }
}

/// The root says, and signs, that there is no `local`: without an exception nothing below it can be.
#[test]
#[ignore = "needs unbound, Knot and namespaces: run ./test.sh"]
fn unbound_needs_the_exception() {
    let settings = SETTINGS.replace("    domain-insecure: \"clusterset.local\"\n", "");
    let unbound = Validating::start(&settings);

    let answer = unbound.dig("web.shop.svc.clusterset.local", "A");

    assert!(answer.contains("status: SERVFAIL,"), "{answer}");
}

#[test]
fn the_document_has_these_settings() {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/dns.md");
    let document = fs::read_to_string(document).unwrap();
    assert!(document.contains(SETTINGS), "{SETTINGS}");
}
