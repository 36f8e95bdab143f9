//! Values that several plugins have: durations as Go writes them, addresses, zones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::rr::Name;

use crate::arguments::Word;
use crate::error::Error;
use crate::key;

pub(crate) const DURATION: &str = "a duration like 500ms, 5s or 1h30m";
pub(crate) const SECONDS: &str = "a number of seconds";
pub(crate) const NUMBER: &str = "a number";
pub(crate) const ADDRESS: &str = "an address with a port, like :8080 or 127.0.0.1:8080";
pub(crate) const IP: &str = "an IP address";
pub(crate) const ZONE: &str = "a zone like example.org, or 10.0.0.0/8 for its reverse zone";

/// Ten years: further, points in time overflow.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// `1h30m`, `500ms`, `0`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 7] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3_600.0),
    ];
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut seconds = 0.0;
    let mut left = text;
    loop {
        let digits = left.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let number: f64 = left[..digits].parse().ok()?;
        let rest = &left[digits..];
        let unit = rest
            .find(|char: char| char.is_ascii_digit() || char == '.')
            .unwrap_or(rest.len());
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == &rest[..unit])?;
        seconds += number * factor;
        left = &rest[unit..];
        if left.is_empty() {
            break;
        }
    }
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| *duration <= LONGEST)
}

/// A duration, or seconds without a unit, as some options of CoreDNS take them.
pub(crate) fn duration_or_seconds(text: &str) -> Option<Duration> {
    duration(text).or_else(|| {
        text.parse()
            .ok()
            .map(|seconds: u32| seconds.into())
            .map(Duration::from_secs)
    })
}

/// RFC 2181, section 8.
pub(crate) fn ttl(text: &str) -> Option<u32> {
    text.parse().ok().filter(|ttl| *ttl <= i32::MAX as u32)
}

pub(crate) fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// Where to listen: `:8080` is every address, `localhost:9153` is loopback.
pub(crate) fn listen(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let ip = match host {
        "" => Ipv6Addr::UNSPECIFIED.into(),
        "localhost" => Ipv4Addr::LOCALHOST.into(),
        _ => ip(host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host))?,
    };
    Some(SocketAddr::new(ip, port))
}

pub(crate) fn ip(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

/// A name with its last dot, in lower case.
pub(crate) fn name(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text.to_ascii_lowercase()).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// The zones that a word stands for; a network stands for its reverse zones.
pub(crate) fn zones(words: &[Word]) -> Result<Vec<Name>, Error> {
    let mut zones = Vec::new();
    for word in words {
        zones.append(&mut word.value(ZONE, key::zones)?);
    }
    Ok(zones)
}

/// Zones, by default every one.
pub(crate) fn zones_or_all(words: &[Word]) -> Result<Vec<Name>, Error> {
    let zones = zones(words)?;
    Ok(if zones.is_empty() {
        vec![Name::root()]
    } else {
        zones
    })
}

/// Zones, by default those of the server block.
pub(crate) fn zones_or(words: &[Word], block: &[Name]) -> Result<Vec<Name>, Error> {
    let zones = zones(words)?;
    Ok(if zones.is_empty() {
        block.to_vec()
    } else {
        zones
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (text, seconds) in [
            ("5s", 5.0),
            ("1h30m", 5_400.0),
            ("500ms", 0.5),
            ("1.5s", 1.5),
            ("0", 0.0),
            ("2us", 2e-6),
        ] {
            assert_eq!(
                duration(text),
                Some(Duration::from_secs_f64(seconds)),
                "{text}"
            );
        }
        for bad in [
            "",
            "5",
            "s",
            "5 s",
            "-1s",
            "1d",
            "1e400h",
            "999999999h",
            ".s",
        ] {
            assert_eq!(duration(bad), None, "{bad}");
        }
        assert_eq!(duration_or_seconds("30"), Some(Duration::from_secs(30)));
    }

    #[test]
    fn places_to_listen_have_a_port() {
        for (text, expected) in [
            (":8080", "[::]:8080"),
            ("localhost:9153", "127.0.0.1:9153"),
            ("0.0.0.0:9153", "0.0.0.0:9153"),
            ("[::1]:53", "[::1]:53"),
        ] {
            assert_eq!(listen(text), expected.parse().ok(), "{text}");
        }
        for bad in ["", "8080", "host:80", ":http", ":70000"] {
            assert_eq!(listen(bad), None, "{bad}");
        }
    }
}
