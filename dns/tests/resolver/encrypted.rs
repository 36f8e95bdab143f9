//! Clients over TLS and HTTPS: those of Knot DNS, which share no code with the server; over QUIC, of
//! which Debian's build of them knows nothing, hickory's.

use std::fs;
use std::path::Path;
use std::process::Command;

use futures::StreamExt;
use hickory_net::quic::QuicClientStream;
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::xfer::{DnsExchange, DnsHandle};
use hickory_proto::op::{DnsRequest, DnsRequestOptions, ResponseCode};
use hickory_proto::rr::RecordType;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Runtime;

use crate::client::{ask_udp, data, query};
use crate::corefile::{Program, free};
use crate::program::save_zone;

/// A certificate of its own authority, as files.
fn identity(dir: &Path) {
    let key = KeyPair::generate().unwrap();
    let parameters = CertificateParams::new(vec!["dns.example".to_owned()]).unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    fs::write(dir.join("tls.crt"), certificate.pem()).unwrap();
    fs::write(dir.join("tls.key"), key.serialize_pem()).unwrap();
}

fn kdig(port: u16, arguments: &[&str]) -> String {
    let output = Command::new("kdig")
        .args(["@127.0.0.1", "-p", &port.to_string()])
        .args(arguments)
        .args(["+timeout=10", "web.shop.svc.clusterset.local", "A"])
        .output()
        .expect("kdig of the package knot-dnsutils");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "needs kdig: run ./test.sh"]
fn real_clients_are_answered_over_tls_and_https_and_acl_says_who() {
    let dir = tempfile::tempdir().unwrap();
    save_zone(dir.path());
    identity(dir.path());
    let [tls, https, closed] = [(); 3].map(|()| free().port());
    let corefile = format!(
        "(open) {{
            bind 127.0.0.1
            tls tls.crt tls.key
            multicluster clusterset.local
        }}
        tls://.:{tls} https://.:{https} {{
            import open
        }}
        tls://.:{closed} {{
            import open
            acl {{
                allow net 192.0.2.0/24
                block
            }}
        }}"
    );
    let _program = Program::start(dir.path(), &with_paths(dir.path(), &corefile));
    let authority = format!("+tls-ca={}", dir.path().join("tls.crt").display());
    let name = "+tls-hostname=dns.example";

    for (port, transport) in [(tls, "+tls"), (https, "+https")] {
        let answer = kdig(port, &[transport, &authority, name]);
        assert!(answer.contains("\t10.96.0.1\n"), "{transport}: {answer}");
    }
    let refused = kdig(closed, &["+tls", &authority, name]);
    assert!(refused.contains("status: REFUSED"), "{refused}");
    let elsewhere = kdig(tls, &["+tls", &authority, "+tls-hostname=other.example"]);
    assert!(!elsewhere.contains("10.96.0.1"), "{elsewhere}");
}

#[test]
fn clients_are_answered_over_quic() {
    let dir = tempfile::tempdir().unwrap();
    save_zone(dir.path());
    identity(dir.path());
    let server = free();
    let corefile = format!(
        "quic://.:{} {{
            bind 127.0.0.1
            tls tls.crt tls.key
            multicluster clusterset.local
        }}",
        server.port()
    );
    let _program = Program::start(dir.path(), &with_paths(dir.path(), &corefile));

    let answer = Runtime::new().unwrap().block_on(async {
        let client = QuicClientStream::builder()
            .crypto_config(trusting(dir.path()))
            .build(server, "dns.example".into());
        let (exchange, background) =
            DnsExchange::<TokioRuntimeProvider>::from_stream(client.await.unwrap());
        tokio::spawn(background);
        let question = query("web.shop.svc.clusterset.local.", RecordType::A);
        let mut answers = exchange.send(DnsRequest::new(question, DnsRequestOptions::default()));
        answers.next().await.unwrap().unwrap().into_message()
    });

    assert_eq!(data(&answer), ["10.96.0.1"]);
}

#[test]
fn upstreams_are_asked_over_tls_by_their_name() {
    let (up_dir, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    identity(up_dir.path());
    identity(dir.path());
    let (upstream, server) = (free(), free());
    let secret = format!(
        "tls://.:{} {{\n bind 127.0.0.1\n tls tls.crt tls.key\n hosts {{\n  10.0.0.8 a.example.org\n }}\n}}\n",
        upstream.port()
    );
    let forward = |zone: &str, authority: &Path, name: &str| {
        format!(
            "{zone}:{} {{\n bind 127.0.0.1\n forward . tls://{upstream} {{\n  tls {}\n  tls_servername {name}\n }}\n}}\n",
            server.port(),
            authority.join("tls.crt").display(),
        )
    };
    let corefile = [
        forward("example.org", up_dir.path(), "dns.example"),
        forward("a.example.org", up_dir.path(), "dns.example"),
        forward("name.a.example.org", up_dir.path(), "other.example"),
        forward("stranger.a.example.org", dir.path(), "dns.example"),
    ]
    .concat();
    let _upstream = Program::start(up_dir.path(), &with_paths(up_dir.path(), &secret));
    let _program = Program::start(dir.path(), &corefile);

    let ask = |name: &str| ask_udp(server, &query(name, RecordType::A)).0;
    assert_eq!(data(&ask("a.example.org.")), ["10.0.0.8"]);
    // Another name than the certificate's, or another authority: nobody is asked.
    for name in ["name.a.example.org.", "stranger.a.example.org."] {
        assert_eq!(
            ask(name).metadata.response_code,
            ResponseCode::ServFail,
            "{name}"
        );
    }
}

/// The files of [`identity`] in the place of their names.
fn with_paths(dir: &Path, corefile: &str) -> String {
    let path = |name: &str| dir.join(name).display().to_string();
    let files = format!("tls {} {}", path("tls.crt"), path("tls.key"));
    corefile.replace("tls tls.crt tls.key", &files)
}

fn trusting(dir: &Path) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(dir.join("tls.crt")).unwrap();
    roots.add(certificate).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}
