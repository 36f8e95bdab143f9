//! The keys of server blocks: `tls://example.org:853`, `10.0.0.0/24`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::rr::Name;
use ipnet::IpNet;

use crate::values;

/// How clients speak to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// UDP and TCP.
    Dns,
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over QUIC (RFC 9250).
    Quic,
    /// DNS over HTTPS (RFC 8484).
    Https,
}

/// A zone that a server block answers, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// How.
    pub scheme: Scheme,
    /// In lower case.
    pub zone: Name,
    /// Default: the scheme's.
    pub port: u16,
}

// === impl Scheme ===

impl Scheme {
    const ALL: [Self; 4] = [Self::Dns, Self::Tls, Self::Quic, Self::Https];

    /// As it is written before `://`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Quic => "quic",
            Self::Https => "https",
        }
    }

    /// The port where nothing else is said.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Dns => 53,
            Self::Tls | Self::Quic => 853,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

// === impl Key ===

impl Key {
    /// Of a word with scheme, zone or network, and port; a network may be several zones.
    pub(crate) fn parse(text: &str) -> Option<Vec<Self>> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (
                Scheme::ALL
                    .into_iter()
                    .find(|known| known.as_str() == scheme)?,
                rest,
            ),
            None => (Scheme::Dns, text),
        };
        let (zone, port) = match rest.rsplit_once(':') {
            // An IPv6 network has colons, and no port unless one follows its length.
            Some((zone, port)) if !is_network(rest) => (zone, Some(port.parse().ok()?)),
            Some(_) | None => (rest, None),
        };
        let port = port.unwrap_or_else(|| scheme.port());
        let zones = zones(zone)?.into_iter();
        Some(zones.map(|zone| Self { scheme, zone, port }).collect())
    }
}

fn is_network(text: &str) -> bool {
    text.parse::<IpNet>().is_ok()
}

/// A zone, or all the reverse zones of a network: `10.0.0.0/23` is `0.0.10.in-addr.arpa` and
/// `1.0.10.in-addr.arpa`, for names are cut at whole octets (IPv6: at hexadecimal digits).
pub(crate) fn zones(text: &str) -> Option<Vec<Name>> {
    if !text.contains('/') {
        return values::name(text)
            .filter(|name| !name.is_wildcard() && !text.is_empty())
            .map(|name| vec![name]);
    }
    let network: IpNet = text.parse().ok()?;
    // CoreDNS reads 10.0.0.1/8 as 10.0.0.0/8 too.
    let network = network.trunc();
    let step = match network {
        IpNet::V4(_) => 8,
        IpNet::V6(_) => 4,
    };
    let length = network.prefix_len().div_ceil(step) * step;
    let labels = usize::from(length / step);
    let subnets = network.subnets(length).ok()?;
    subnets
        .map(|subnet| reverse(subnet.addr(), labels))
        .collect()
}

/// Of the first `labels` octets, or hexadecimal digits, of an address.
fn reverse(address: IpAddr, labels: usize) -> Option<Name> {
    let (parts, suffix): (Vec<String>, _) = match address {
        IpAddr::V4(address) => (ipv4_parts(address), "in-addr.arpa."),
        IpAddr::V6(address) => {
            let digits = address.octets().into_iter();
            let digits = digits.flat_map(|octet| [octet >> 4, octet & 0xf]);
            (
                digits.map(|digit| format!("{digit:x}")).collect(),
                "ip6.arpa.",
            )
        }
    };
    let mut text = String::new();
    for part in parts.iter().take(labels).rev() {
        text.push_str(part);
        text.push('.');
    }
    text.push_str(suffix);
    values::name(&text)
}

fn ipv4_parts(address: Ipv4Addr) -> Vec<String> {
    address.octets().iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Option<Vec<String>> {
        let keys = Key::parse(text)?;
        let keys = keys
            .iter()
            .map(|Key { scheme, zone, port }| format!("{scheme}://{zone}:{port}"));
        Some(keys.collect())
    }

    #[test]
    fn keys_have_scheme_zone_and_port() {
        for (text, expected) in [
            (".", "dns://.:53"),
            (".:1053", "dns://.:1053"),
            ("Example.ORG", "dns://example.org.:53"),
            ("tls://example.org", "tls://example.org.:853"),
            ("quic://.:8853", "quic://.:8853"),
            ("https://.", "https://.:443"),
            ("10.0.0.0/8", "dns://10.in-addr.arpa.:53"),
            ("10.1.0.0/16:1053", "dns://1.10.in-addr.arpa.:1053"),
            ("2001:db8::/32", "dns://8.b.d.0.1.0.0.2.ip6.arpa.:53"),
            ("_tcp.example.org", "dns://_tcp.example.org.:53"),
        ] {
            assert_eq!(written(text), Some(vec![expected.to_owned()]), "{text}");
        }
        for bad in [
            "",
            "gopher://.",
            ".:",
            ".:dns",
            ":53x",
            "a..b",
            "10.0.0.0/33",
            "*.example.org",
        ] {
            assert_eq!(written(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_network_between_octets_is_several_zones() {
        let zones = written("10.0.4.0/22").unwrap();
        assert_eq!(
            zones,
            [4, 5, 6, 7].map(|octet| format!("dns://{octet}.0.10.in-addr.arpa.:53"))
        );
        assert_eq!(written("0.0.0.0/0").unwrap(), ["dns://in-addr.arpa.:53"]);
    }
}
