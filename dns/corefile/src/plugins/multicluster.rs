//! `multicluster [ZONES...] { … }`, and `kubernetes ZONES... { multicluster ZONES... }`.

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::rr::Name;

use crate::arguments::{Directive, Line};
use crate::error::{Error, Problem};
use crate::values::{self, DURATION, SECONDS};

const OPTIONS: [&str; 6] = [
    "fallthrough",
    "nameservers",
    "negative_ttl",
    "noendpoints",
    "startup_timeout",
    "ttl",
];
const KUBERNETES_OPTIONS: [&str; 6] = [
    "fallthrough",
    "multicluster",
    "nameservers",
    "negative_ttl",
    "startup_timeout",
    "ttl",
];

/// The zone of the clusterset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multicluster {
    /// Its name; there is one, for a clusterset has one.
    pub zone: Name,
    /// How long answers may be cached, in seconds; by default what the program was told.
    pub ttl: Option<u32>,
    /// As `ttl`, for denials.
    pub negative_ttl: Option<u32>,
    /// Addresses of the zone's server; none: what the program was told.
    pub nameservers: Vec<IpAddr>,
    /// How long to wait for the names before listening; by default as CoreDNS does.
    pub startup_timeout: Option<Duration>,
    /// Names of these zones that do not exist are passed on.
    pub fallthrough: Vec<Name>,
}

// === impl Multicluster ===

impl Multicluster {
    /// Whether both say the same of the zone itself, which is one in the whole program.
    #[must_use]
    pub fn is_same_zone(&self, other: &Self) -> bool {
        let fallthrough = other.fallthrough.clone();
        *other
            == Self {
                fallthrough,
                ..self.clone()
            }
    }

    pub(super) fn new(directive: &Directive, block: &[Name]) -> Result<Self, Error> {
        let is_kubernetes = directive.line.name.text == "kubernetes";
        let mut zones = values::zones_or(&directive.line.arguments, block)?;
        let mut ttl = None;
        let mut negative_ttl = None;
        let mut nameservers = Vec::new();
        let mut startup_timeout = None;
        let mut fallthrough = Vec::new();
        let mut multicluster: Option<&Line> = None;
        for line in &directive.options {
            match line.name.text.as_str() {
                "ttl" => ttl = Some(line.one(SECONDS, values::ttl)?),
                "negative_ttl" => negative_ttl = Some(line.one(SECONDS, values::ttl)?),
                "nameservers" => {
                    line.arguments().required(values::IP)?;
                    for word in &line.arguments {
                        nameservers.push(word.value(values::IP, values::ip)?);
                    }
                }
                "startup_timeout" => {
                    startup_timeout = Some(line.one(DURATION, values::duration)?);
                }
                "fallthrough" => fallthrough = values::zones_or_all(&line.arguments)?,
                "multicluster" if is_kubernetes => multicluster = Some(line),
                // CoreDNS's plugin does without endpoints; here they cost nothing to speak of.
                "noendpoints" if !is_kubernetes => line.no_arguments()?,
                _ if is_kubernetes => return Err(directive.unknown(line, &KUBERNETES_OPTIONS)),
                _ => return Err(directive.unknown(line, &OPTIONS)),
            }
        }
        let name = &directive.line.name;
        if is_kubernetes {
            let Some(line) = multicluster else {
                return Err(name.error(unsupported_cluster_zone("its names")));
            };
            let answered = values::zones_or(&line.arguments, &zones)?;
            if let Some(other) = zones.iter().find(|zone| !answered.contains(zone)) {
                return Err(name.error(unsupported_cluster_zone(&other.to_ascii())));
            }
            zones = answered;
        }
        match <[Name; 1]>::try_from(zones) {
            Ok([zone]) if !zone.is_root() => Ok(Self {
                zone,
                ttl,
                negative_ttl,
                nameservers,
                startup_timeout,
                fallthrough,
            }),
            Ok(_) | Err(_) => Err(name.error(Problem::Unsupported(format!(
                "{} needs one zone, the clusterset's: write `{} clusterset.local`",
                name.text, name.text
            )))),
        }
    }
}

fn unsupported_cluster_zone(zone: &str) -> Problem {
    Problem::Unsupported(format!(
        "only zones of `multicluster` are answered here: {zone} should be forwarded to the \
         cluster's own resolver"
    ))
}
