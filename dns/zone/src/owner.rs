//! Where in the zone's tree a name is.

use hickory_proto::rr::Name;

use crate::Zone;

/// Longest name in octets (RFC 1035): dots in place of length octets.
const MAX_NAME: usize = 255;

/// A name of the zone without the origin, in lower case.
pub(crate) struct RelativeName {
    /// In place, for it is made for each question.
    octets: [u8; MAX_NAME],
    length: usize,
    /// A label has an octet that no name of this zone has, so the text is not the name.
    foreign: bool,
}

/// A place in the zone's tree; services and namespaces need not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner<'a> {
    Apex,
    /// `dns-version`
    SchemaVersion,
    /// `dns`, above the name server
    Dns,
    /// `ns.dns`
    Nameserver,
    /// `svc`
    Services,
    /// `<ns>.svc`
    Namespace(&'a str),
    /// `<svc>.<ns>.svc`, as `<svc>.<ns>`
    Service(&'a str),
    /// `_<proto>.<svc>.<ns>.svc`
    Protocol {
        service: &'a str,
        protocol: &'a str,
    },
    /// `_<port>._<proto>.<svc>.<ns>.svc`
    Port {
        service: &'a str,
        protocol: &'a str,
        port: &'a str,
    },
    /// Any other name below a service: `<cluster>`, `<host>.<cluster>`, or above a dotted cluster ID
    Below {
        service: &'a str,
        name: &'a str,
    },
    /// A name that cannot exist
    Nowhere,
}

// === impl RelativeName ===

impl RelativeName {
    /// `name` relative to the zone's origin; none if it is not in the zone.
    pub(crate) fn new(zone: &Zone, name: &Name) -> Option<Self> {
        let mut labels = name.iter();
        for expected in zone.labels() {
            if !labels.next_back()?.eq_ignore_ascii_case(expected) {
                return None;
            }
        }
        Self::from_labels(labels)
    }

    /// The name of these labels; none if they are longer than any name.
    pub(crate) fn from_labels<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut name = Self {
            octets: [0; MAX_NAME],
            length: 0,
            foreign: false,
        };
        for (position, label) in labels.enumerate() {
            if position > 0 {
                name.push(b'.')?;
            }
            for octet in label {
                name.foreign |= !(octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'));
                name.push(octet.to_ascii_lowercase())?;
            }
        }
        Some(name)
    }

    pub(crate) fn owner(&self) -> Owner<'_> {
        if self.foreign {
            return Owner::Nowhere;
        }
        let (rest, top) = pop(self.text());
        match (rest, top) {
            ("", "") => Owner::Apex,
            ("", "dns-version") => Owner::SchemaVersion,
            ("", "dns") => Owner::Dns,
            ("ns", "dns") => Owner::Nameserver,
            ("", "svc") => Owner::Services,
            (rest, "svc") => below_services(rest),
            _ => Owner::Nowhere,
        }
    }

    /// Empty if it is foreign.
    fn text(&self) -> &str {
        str::from_utf8(&self.octets[..self.length]).unwrap_or_default()
    }

    fn push(&mut self, octet: u8) -> Option<()> {
        *self.octets.get_mut(self.length)? = octet;
        self.length += 1;
        Some(())
    }
}

/// The place of `name`, which is relative to `svc`.
fn below_services(name: &str) -> Owner<'_> {
    let (rest, namespace) = pop(name);
    if rest.is_empty() {
        return Owner::Namespace(namespace);
    }
    let (rest, service) = pop(rest);
    // The service's label, the dot and the namespace's, as they stand side by side in the name.
    let service = &name[name.len() - service.len() - 1 - namespace.len()..];
    if rest.is_empty() {
        return Owner::Service(service);
    }
    let (above, nearest) = pop(rest);
    let Some(protocol) = nearest.strip_prefix('_') else {
        return Owner::Below {
            service,
            name: rest,
        };
    };
    match above.strip_prefix('_') {
        None if above.is_empty() => Owner::Protocol { service, protocol },
        Some(port) if !port.contains('.') => Owner::Port {
            service,
            protocol,
            port,
        },
        None | Some(_) => Owner::Nowhere,
    }
}

/// Splits the last label off.
fn pop(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or(("", name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner_of(name: &str, check: impl Fn(Option<Owner<'_>>)) {
        let zone = Zone::new("clusterset.local", 5, 0).unwrap();
        let relative = RelativeName::new(&zone, &Name::from_ascii(name).unwrap());
        check(relative.as_ref().map(RelativeName::owner));
    }

    #[test]
    fn places() {
        let service = "web.shop";
        for (name, expected) in [
            ("", Owner::Apex),
            ("dns-version.", Owner::SchemaVersion),
            ("dns.", Owner::Dns),
            ("ns.dns.", Owner::Nameserver),
            ("svc.", Owner::Services),
            ("Shop.SVC.", Owner::Namespace("shop")),
            ("Web.Shop.Svc.", Owner::Service(service)),
            (
                "_TCP.web.shop.svc.",
                Owner::Protocol {
                    service,
                    protocol: "tcp",
                },
            ),
            (
                "_http._tcp.web.shop.svc.",
                Owner::Port {
                    service,
                    protocol: "tcp",
                    port: "http",
                },
            ),
            (
                "east.web.shop.svc.",
                Owner::Below {
                    service,
                    name: "east",
                },
            ),
            (
                "pod-0.east.web.shop.svc.",
                Owner::Below {
                    service,
                    name: "pod-0.east",
                },
            ),
            (
                "p.a.b.c.web.shop.svc.",
                Owner::Below {
                    service,
                    name: "p.a.b.c",
                },
            ),
            ("svc.svc.svc.", Owner::Service("svc.svc")),
            ("x._http._tcp.web.shop.svc.", Owner::Nowhere),
            ("http._tcp.web.shop.svc.", Owner::Nowhere),
            ("x.dns-version.", Owner::Nowhere),
            ("x.ns.dns.", Owner::Nowhere),
            ("other.", Owner::Nowhere),
            ("*.shop.svc.", Owner::Nowhere),
            ("a\\.b.shop.svc.", Owner::Nowhere),
        ] {
            owner_of(&format!("{name}clusterset.local."), |owner| {
                assert_eq!(owner, Some(expected), "{name}");
            });
            owner_of(&format!("{name}ClusterSet.LOCAL."), |owner| {
                assert_eq!(owner, Some(expected), "{name}");
            });
        }
    }

    #[test]
    fn names_outside() {
        for name in [
            ".",
            "local.",
            "xclusterset.local.",
            "clusterset.local.example.",
            "svc.",
        ] {
            owner_of(name, |owner| assert_eq!(owner, None, "{name}"));
        }
    }
}
