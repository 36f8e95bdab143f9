//! The gateway's flags.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::ArgAction;
use ipnet::IpNet;
use tombolo_crds::well_known::LINK_PORT;
use tombolo_runtime::RuntimeArgs;

/// Carries connections and catalogs between this cluster and its peers
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "tombolo-gateway", version)]
pub struct Args {
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,

    /// Directory with tls.crt and tls.key, the certificate that the operator issued
    #[arg(
        long,
        env = "TOMBOLO_IDENTITY_DIR",
        default_value = "/etc/tombolo/identity"
    )]
    pub(crate) identity_dir: PathBuf,

    /// UDP address for links from other clusters
    #[arg(long, env = "TOMBOLO_LINK_ADDRESS", default_value_t = SocketAddr::new(
        IpAddr::V6(Ipv6Addr::UNSPECIFIED), LINK_PORT,
    ))]
    pub(crate) link_address: SocketAddr,

    /// TCP address that takes connections while this gateway is ready: links from clusters whose UDP
    /// is blocked, who dial the port of --link-address, and the checks of load balancers
    #[arg(long, env = "TOMBOLO_HEALTH_ADDRESS", default_value_t = SocketAddr::new(
        IpAddr::V6(Ipv6Addr::UNSPECIFIED), LINK_PORT,
    ))]
    pub(crate) health_address: SocketAddr,

    /// Address on which clients of imports are accepted
    #[arg(long, env = "TOMBOLO_IMPORT_ADDRESS", default_value_t = Ipv6Addr::UNSPECIFIED.into())]
    pub(crate) import_address: IpAddr,

    /// Ranges in which endpoints of exported services need not be pods of the service's namespace
    #[arg(long, env = "TOMBOLO_ALLOWED_ENDPOINT_CIDRS", value_delimiter = ',')]
    pub(crate) allowed_endpoint_cidrs: Vec<IpNet>,

    /// Which congestion controller the links use
    #[arg(long, env = "TOMBOLO_CONGESTION", value_enum, default_value_t = Congestion::Bbr)]
    pub(crate) congestion: Congestion,

    /// Whether links go over TLS over TCP where nobody answers over UDP
    #[arg(long, env = "TOMBOLO_TCP_FALLBACK", default_value_t = true, action = ArgAction::Set)]
    pub(crate) tcp_fallback: bool,

    /// QUIC connections to each gateway of another cluster: each is a thread's work, and has a
    /// congestion window of its own
    #[arg(long, env = "TOMBOLO_LINK_CONNECTIONS", default_value = "1",
        value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) link_connections: u8,

    /// How long the exports of a cluster stand that is not reached, in seconds
    #[arg(long, env = "TOMBOLO_EXPORT_LEASE", default_value = "3600",
        value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub(crate) export_lease: u64,

    /// Threads that carry connections [default: the CPUs that this process may use]
    #[arg(long, env = "TOMBOLO_WORKERS")]
    pub(crate) workers: Option<NonZeroUsize>,

    /// This pod's address, which is never dialled
    #[arg(long, env = "POD_IP")]
    pub(crate) pod_ip: Option<IpAddr>,

    /// All addresses of this pod: UDP clients of imports are served on each of them
    #[arg(long, env = "POD_IPS", value_delimiter = ',')]
    pub(crate) pod_ips: Vec<IpAddr>,

    /// Address of the API server's Service, which is never dialled
    #[arg(long, env = "KUBERNETES_SERVICE_HOST", hide = true)]
    pub(crate) api_server: Option<String>,
}

/// A congestion controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Congestion {
    /// Holds its rate where packets are lost for other reasons than congestion
    Bbr,
    /// RFC 9438, as most of TCP: slow on long paths that lose packets
    Cubic,
}

impl From<Congestion> for tombolo_link::Congestion {
    fn from(congestion: Congestion) -> Self {
        match congestion {
            Congestion::Cubic => Self::Cubic,
            Congestion::Bbr => Self::Bbr,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn defaults_need_no_flag() {
        let args = Args::parse_from(["tombolo-gateway"]);

        assert_eq!(args.link_address, "[::]:7843".parse().unwrap());
        assert!(args.tcp_fallback);
        assert!(args.import_address.is_unspecified());
        assert!(args.allowed_endpoint_cidrs.is_empty());
    }

    #[test]
    fn the_fallback_can_be_turned_off() {
        let args = Args::parse_from(["tombolo-gateway", "--tcp-fallback=false"]);

        assert!(!args.tcp_fallback);
    }

    #[test]
    fn ranges_are_separated_by_commas() {
        let flag = "--allowed-endpoint-cidrs=10.1.0.0/16,fd00::/8";
        let args = Args::parse_from(["tombolo-gateway", flag]);

        assert_eq!(args.allowed_endpoint_cidrs.len(), 2);
        Args::try_parse_from(["tombolo-gateway", "--allowed-endpoint-cidrs=10.1.0.0/99"])
            .unwrap_err();
    }
}
