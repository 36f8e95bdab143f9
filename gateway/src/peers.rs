//! Which Peers are believed, and what is said about the others.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv6Addr;

use tombolo_catalog::{is_dns_label, is_dns_subdomain};
use tombolo_crds::Peer;

/// Why a Peer is not used: the condition `Accepted` is False.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// `clusterID` cannot be an ID.
    #[error("clusterID {0:?} is not a DNS label")]
    InvalidClusterId(String),
    /// A cluster is not its own peer.
    #[error("{0} is the ID of this very cluster")]
    OwnClusterId(String),
    /// An older Peer has the same ID, and serves.
    #[error("the older Peer {older} has the ID {cluster} already")]
    DuplicateClusterId {
        /// The ID that both have.
        cluster: String,
        /// Name of the Peer that serves.
        older: String,
    },
    /// `caBundle` holds no usable certificate.
    #[error("caBundle: {0}")]
    InvalidCaBundle(String),
    /// An address is not `host:port`.
    #[error("address {0:?} is not host:port")]
    InvalidAddress(String),
}

impl Rejection {
    /// Reason of the condition, and label for metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidClusterId(_) => "InvalidClusterID",
            Self::OwnClusterId(_) => "OwnClusterID",
            Self::DuplicateClusterId { .. } => "DuplicateClusterID",
            Self::InvalidCaBundle(_) => "InvalidCABundle",
            Self::InvalidAddress(_) => "InvalidAddress",
        }
    }

    /// Whether the Peer can still be the one through which a cluster was reached before.
    #[must_use]
    pub fn names_a_cluster(&self) -> bool {
        match self {
            Self::InvalidCaBundle(_) | Self::InvalidAddress(_) => true,
            Self::InvalidClusterId(_) | Self::OwnClusterId(_) | Self::DuplicateClusterId { .. } => {
                false
            }
        }
    }
}

/// Judges every Peer that is not being deleted, by name. `check_bundle` says what is wrong with a
/// CA bundle.
///
/// Of Peers with one ID the oldest that is otherwise sound serves: a broken one must not stand in
/// the way of one that works.
pub fn evaluate<'a>(
    own_cluster: &str,
    peers: impl IntoIterator<Item = &'a Peer>,
    check_bundle: impl Fn(&str) -> Result<(), String>,
) -> BTreeMap<&'a str, Result<&'a Peer, Rejection>> {
    let mut by_age: Vec<&Peer> = peers
        .into_iter()
        .filter(|peer| peer.metadata.deletion_timestamp.is_none())
        .collect();
    by_age.sort_by_key(|peer| {
        (
            peer.metadata.creation_timestamp.as_ref().map(|time| time.0),
            &peer.metadata.name,
        )
    });
    let mut serving: HashMap<&str, &str> = HashMap::new();
    let mut verdicts = BTreeMap::new();
    for peer in by_age {
        let Some(name) = peer.metadata.name.as_deref() else {
            continue;
        };
        let verdict = check(own_cluster, peer, &check_bundle).and_then(|()| {
            let cluster = peer.spec.cluster_id.as_str();
            if let Some(older) = serving.get(cluster) {
                return Err(Rejection::DuplicateClusterId {
                    cluster: cluster.to_owned(),
                    older: (*older).to_owned(),
                });
            }
            serving.insert(cluster, name);
            Ok(peer)
        });
        verdicts.insert(name, verdict);
    }
    verdicts
}

fn check(
    own_cluster: &str,
    peer: &Peer,
    check_bundle: impl Fn(&str) -> Result<(), String>,
) -> Result<(), Rejection> {
    let cluster = &peer.spec.cluster_id;
    if !is_dns_label(cluster) {
        return Err(Rejection::InvalidClusterId(cluster.clone()));
    }
    if cluster == own_cluster {
        return Err(Rejection::OwnClusterId(cluster.clone()));
    }
    check_bundle(&peer.spec.ca_bundle).map_err(Rejection::InvalidCaBundle)?;
    match peer
        .spec
        .addresses
        .iter()
        .find(|address| !is_host_and_port(address))
    {
        Some(address) => Err(Rejection::InvalidAddress(address.clone())),
        None => Ok(()),
    }
}

fn is_host_and_port(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let port_is_good = port.parse::<u16>().is_ok_and(|port| port != 0);
    let host_is_good = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
        None => is_dns_subdomain(&host.trim_end_matches('.').to_ascii_lowercase()),
    };
    port_is_good && host_is_good
}

#[cfg(test)]
mod tests {
    use tombolo_crds::PeerSpec;

    use super::*;

    #[test]
    fn a_sound_peer_is_accepted() {
        let peers = [peer("east", "east", 1)];

        assert_eq!(reasons(&peers), BTreeMap::from([("east", "Accepted")]));
    }

    #[test]
    fn each_mistake_has_its_reason_and_touches_no_other_peer() {
        let mut bad_bundle = peer("bundle", "north", 1);
        bad_bundle.spec.ca_bundle = "no certificate".to_owned();
        let mut bad_address = peer("address", "south", 2);
        bad_address.spec.addresses.push("nonsense".to_owned());
        let peers = [
            bad_bundle,
            bad_address,
            peer("id", "Not A Label", 3),
            peer("own", "west", 4),
            peer("good", "east", 5),
        ];

        let expected = BTreeMap::from([
            ("bundle", "InvalidCABundle"),
            ("address", "InvalidAddress"),
            ("id", "InvalidClusterID"),
            ("own", "OwnClusterID"),
            ("good", "Accepted"),
        ]);
        assert_eq!(reasons(&peers), expected);
    }

    #[test]
    fn of_two_peers_with_one_id_the_older_serves() {
        let peers = [peer("a-younger", "east", 2), peer("b-older", "east", 1)];

        let expected =
            BTreeMap::from([("a-younger", "DuplicateClusterID"), ("b-older", "Accepted")]);
        assert_eq!(reasons(&peers), expected);
    }

    #[test]
    fn a_broken_or_leaving_older_peer_does_not_stand_in_the_way() {
        let mut broken = peer("broken", "east", 1);
        broken.spec.ca_bundle = "no certificate".to_owned();
        let mut leaving = peer("leaving", "east", 2);
        leaving.metadata.deletion_timestamp = leaving.metadata.creation_timestamp.clone();
        let peers = [broken, leaving, peer("new", "east", 3)];

        let expected = BTreeMap::from([("broken", "InvalidCABundle"), ("new", "Accepted")]);
        assert_eq!(reasons(&peers), expected);
    }

    #[test]
    fn addresses_are_host_and_port() {
        for good in [
            "east.example:7843",
            "East.Example.:1",
            "192.0.2.1:65535",
            "[2001:db8::1]:1",
        ] {
            assert!(is_host_and_port(good), "{good}");
        }
        for bad in [
            "",
            ":1",
            "east",
            "east:0",
            "east:65536",
            "east:",
            "2001:db8::1:7843",
            "[east]:1",
        ] {
            assert!(!is_host_and_port(bad), "{bad}");
        }
    }

    fn reasons(peers: &[Peer]) -> BTreeMap<&str, &'static str> {
        let check_bundle = |bundle: &str| match bundle {
            "certificate" => Ok(()),
            _ => Err("no certificate".to_owned()),
        };
        evaluate("west", peers, check_bundle)
            .into_iter()
            .map(|(name, verdict)| (name, verdict.map_or_else(|e| e.reason(), |_| "Accepted")))
            .collect()
    }

    fn peer(name: &str, cluster: &str, age: i64) -> Peer {
        let mut peer = Peer::new(
            name,
            PeerSpec {
                cluster_id: cluster.to_owned(),
                addresses: vec!["192.0.2.1:7843".to_owned()],
                ca_bundle: "certificate".to_owned(),
            },
        );
        let created = jiff::Timestamp::from_second(age).unwrap();
        peer.metadata.creation_timestamp = Some(
            k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(created),
        );
        peer
    }
}
