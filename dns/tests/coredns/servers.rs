//! The two programs.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use crate::api_server::Cluster;
use crate::go_modules::build;
use crate::process::Process;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    process: Process,
}

impl Server {
    pub(crate) fn core_dns(cluster: &Cluster) -> Self {
        let [program] = build(["coredns"]);
        let address = free();
        let corefile = format!(
            "clusterset.local:{port} {{
                bind {ip}
                errors
                kubernetes clusterset.local {{
                    kubeconfig {kubeconfig}
                    multicluster clusterset.local
                }}
            }}",
            port = address.port(),
            ip = address.ip(),
            kubeconfig = cluster.admin_kubeconfig().display(),
        );
        let path = cluster.file("Corefile");
        fs::write(&path, corefile).unwrap();
        let args = ["-conf".to_owned(), path.display().to_string()];
        let process = Process::start(&program, &args, &[], &cluster.file("coredns.log"));
        Self { address, process }
    }

    /// With the TTLs and the nameserver's address that CoreDNS has.
    pub(crate) fn tombolo(cluster: &Cluster) -> Self {
        let address = free();
        let args = [
            format!("--listen={address}"),
            "--admin-address=127.0.0.1:0".to_owned(),
            "--ttl=5".to_owned(),
            "--negative-ttl=5".to_owned(),
            format!("--nameserver-addresses={}", address.ip()),
        ];
        let kubeconfig = cluster.admin_kubeconfig().display().to_string();
        let env = [("KUBECONFIG", kubeconfig)];
        let program = Path::new(env!("CARGO_BIN_EXE_tombolo-dns"));
        let process = Process::start(program, &args, &env, &cluster.file("tombolo-dns.log"));
        Self { address, process }
    }

    pub(crate) fn log(&self) -> String {
        self.process.log()
    }
}

/// An address that was free a moment ago, for UDP and TCP.
fn free() -> SocketAddr {
    loop {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = udp.local_addr().unwrap();
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
