//! What people look with: `dig`, `nslookup`, `kdig`.

use crate::pod::Pod;
use crate::servers::{CLUSTER, HOSTS, NODE, Servers, TOMBOLO};

const WEB: &str = "web.shop.svc.clusterset.local";

/// The lines that `program` writes for these arguments, sorted.
fn lines(pod: &Pod, resolver: &str, program: &str, arguments: &str) -> Vec<String> {
    let command: Vec<&str> = std::iter::once(program)
        .chain(arguments.split(' '))
        .collect();
    let output = pod.output(resolver, &command, "");
    let mut lines: Vec<String> = output.lines().map(str::to_owned).collect();
    if arguments.contains("+short") {
        // kdig tells there that it asks again over TCP.
        lines.retain(|line| !line.is_empty() && !line.starts_with(';'));
    }
    lines.sort();
    lines
}

#[test]
#[ignore = "needs dig and namespaces: run ./test.sh"]
fn dig() {
    let servers = Servers::start();
    for resolver in [CLUSTER, NODE, TOMBOLO] {
        let dig = |arguments: &str| lines(&servers.pod, resolver, "dig", arguments);

        assert_eq!(dig(&format!("+short {WEB} A")), ["10.96.1.1"]);
        assert_eq!(dig(&format!("+short +tcp {WEB} A")), ["10.96.1.1"]);
        assert_eq!(dig(&format!("+short +noedns {WEB} A")), ["10.96.1.1"]);
        assert_eq!(dig(&format!("+short {WEB} AAAA")), [""; 0]);
        let service = format!("+short _http._tcp.{WEB} SRV");
        assert_eq!(dig(&service).len(), 1);
        assert!(dig(&service)[0].ends_with(&format!(" 80 {WEB}.")));
        let big = "big.shop.svc.clusterset.local";
        assert_eq!(dig(&format!("+short {big} A")).len(), usize::from(HOSTS));
        let cut = dig(&format!("+ignore {big} A")).join("\n");
        assert!(cut.contains(" tc "), "{resolver}: {cut}");
        for (name, record_type, status) in [
            (WEB, "AAAA", "NOERROR"),
            (WEB, "ANY", "NOERROR"),
            ("none.shop.svc.clusterset.local", "A", "NXDOMAIN"),
            ("none.shop.svc.clusterset.local", "TYPE4711", "NXDOMAIN"),
        ] {
            let answer = dig(&format!("{name} {record_type}")).join("\n");
            let expected = format!("status: {status},");
            assert!(answer.contains(&expected), "{resolver}: {answer}");
        }
        // As it was asked, but for the record where CoreDNS keeps it as another has asked.
        let mixed = "wEb.sHoP.sVc.cLuStErSeT.lOcAl.";
        let answer = dig(&format!("{mixed} A"));
        let begins = |begin: &str| answer.iter().any(|line| line.starts_with(begin));
        assert!(begins(&format!(";{mixed}")), "{resolver}: {answer:#?}");
        let is_kept = resolver == CLUSTER;
        assert!(is_kept || begins(mixed), "{resolver}: {answer:#?}");
    }
    for resolver in [CLUSTER, NODE] {
        let found = lines(&servers.pod, resolver, "dig", "+search +short web.shop A");
        assert_eq!(found, ["10.96.1.1"]);
    }
}

#[test]
#[ignore = "needs nslookup and namespaces: run ./test.sh"]
fn nslookup() {
    let servers = Servers::start();
    for resolver in [CLUSTER, NODE] {
        let run = |arguments: &[&str]| {
            let command = [&["nslookup"], arguments].concat();
            let output = servers.pod.run(resolver, &command, "");
            (
                String::from_utf8(output.stdout).unwrap(),
                output.status.success(),
            )
        };
        for name in [WEB, "web.shop"] {
            let (found, succeeded) = run(&[name]);
            assert!(found.contains("\nAddress: 10.96.1.1\n"), "{found}");
            assert!(succeeded, "{found}");
        }
        let (found, _) = run(&["-type=SRV", &format!("_http._tcp.{WEB}")]);
        assert!(found.contains(&format!(" 80 {WEB}.")), "{found}");
        let (denied, succeeded) = run(&["none.shop.svc.clusterset.local"]);
        assert!(denied.contains("NXDOMAIN") && !succeeded, "{denied}");
    }
}

#[test]
#[ignore = "needs kdig and namespaces: run ./test.sh"]
fn kdig() {
    let servers = Servers::start();
    for resolver in [CLUSTER, NODE, TOMBOLO] {
        let kdig = |arguments: &str| {
            let arguments = format!("@{resolver} {arguments}");
            lines(&servers.pod, resolver, "kdig", &arguments)
        };
        assert_eq!(kdig(&format!("+short {WEB} A")), ["10.96.1.1"]);
        assert_eq!(kdig(&format!("+short +cookie {WEB} A")), ["10.96.1.1"]);
        let services = kdig("+short _sql._tcp.big.shop.svc.clusterset.local SRV");
        assert_eq!(services.len(), usize::from(HOSTS));
    }
}
