//! A whole Corefile.

use std::net::{IpAddr, SocketAddr};

use hickory_proto::rr::Name;

use crate::arguments::Directive;
use crate::error::{Error, Position, Problem};
use crate::key::{Key, Scheme};
use crate::parser::{self, Block};
use crate::plugins::{self, Plugins};
use crate::surroundings::Surroundings;
use crate::values;

/// What a Corefile says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// In the order in which they are written.
    pub servers: Vec<Server>,
}

/// A server block.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// What it answers; at least one.
    pub keys: Vec<Key>,
    /// The addresses to listen on (`bind`); none: all of the host.
    pub bind: Vec<IpAddr>,
    /// What it does with a question.
    pub plugins: Plugins,
    /// Where its first key is.
    pub at: Position,
}

/// Reads `text`, which is called `file` in errors.
///
/// # Errors
/// If there is something in it that cannot be followed.
pub fn parse(file: &str, text: &str, surroundings: &dyn Surroundings) -> Result<Config, Error> {
    let mut config = Config::default();
    for block in parser::blocks(file, text, surroundings)? {
        let server = Server::new(&block, surroundings)?;
        config.refuse_twice(&server, &block)?;
        config.refuse_another_clusterset(&server)?;
        config.servers.push(server);
    }
    Ok(config)
}

// === impl Config ===

impl Config {
    /// A zone is answered by one block at each place.
    fn refuse_twice(&self, server: &Server, block: &Block) -> Result<(), Error> {
        let clash = self.servers.iter().find_map(|other| {
            let key = server.keys.iter().find(|key| other.keys.contains(key))?;
            let apart = !server.bind.is_empty()
                && !other.bind.is_empty()
                && server
                    .bind
                    .iter()
                    .all(|address| !other.bind.contains(address));
            (!apart).then_some((other, key))
        });
        let (Some((other, key)), Some(word)) = (clash, block.keys.first()) else {
            return Ok(());
        };
        Err(word.error(Problem::Twice {
            what: format!("{}://{}:{}", key.scheme, key.zone, key.port),
            first: other.at.clone(),
        }))
    }

    /// There is one, so what is said of its zone is the same wherever it is answered.
    fn refuse_another_clusterset(&self, server: &Server) -> Result<(), Error> {
        let Some(zone) = &server.plugins.multicluster else {
            return Ok(());
        };
        let others = self
            .servers
            .iter()
            .filter_map(|other| Some((other, other.plugins.multicluster.as_ref()?)));
        for (other, there) in others {
            if !there.is_same_zone(zone) {
                return Err(Error {
                    at: server.at.clone(),
                    problem: Problem::Unsupported(format!(
                        "the clusterset has one zone: `multicluster` should say the same of it, its \
                         TTLs and its nameservers here as in the block at {}",
                        other.at
                    )),
                });
            }
        }
        Ok(())
    }
}

// === impl Server ===

impl Server {
    fn new(block: &Block, surroundings: &dyn Surroundings) -> Result<Self, Error> {
        let mut keys: Vec<Key> = Vec::new();
        for word in &block.keys {
            for key in word.value(values::ZONE, Key::parse)? {
                if keys.contains(&key) {
                    return Err(word.error(Problem::Twice {
                        what: word.text.clone(),
                        first: block.keys[0].at.clone(),
                    }));
                }
                keys.push(key);
            }
        }
        let zones = zones_of(&keys);
        let mut bind = Vec::new();
        let mut others: Vec<&Directive> = Vec::new();
        for directive in &block.directives {
            if directive.line.name.text == "bind" {
                bind.append(&mut bound(directive)?);
            } else {
                others.push(directive);
            }
        }
        let plugins = Plugins::new(&others, &zones, surroundings)?;
        let first = &block.keys[0];
        let encrypted = keys.iter().find(|key| key.scheme != Scheme::Dns);
        if let Some(key) = encrypted
            && plugins.tls.is_none()
        {
            return Err(first.error(Problem::Unsupported(format!(
                "{} needs a certificate: add `tls CERTIFICATE KEY` to the block",
                key.scheme
            ))));
        }
        Ok(Self {
            keys,
            bind,
            plugins,
            at: first.at.clone(),
        })
    }

    /// Where it listens, and how.
    #[must_use]
    pub fn addresses(&self) -> Vec<(Scheme, SocketAddr)> {
        let any = [IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED)];
        let bind = if self.bind.is_empty() {
            &any
        } else {
            self.bind.as_slice()
        };
        let mut addresses = Vec::new();
        for key in &self.keys {
            for ip in bind {
                let address = (key.scheme, SocketAddr::new(*ip, key.port));
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        addresses
    }
}

fn zones_of(keys: &[Key]) -> Vec<Name> {
    let mut zones: Vec<Name> = Vec::new();
    for key in keys {
        if !zones.contains(&key.zone) {
            zones.push(key.zone.clone());
        }
    }
    zones
}

fn bound(directive: &Directive) -> Result<Vec<IpAddr>, Error> {
    directive.no_options()?;
    let mut arguments = directive.line.arguments();
    let mut addresses = vec![arguments.value(values::IP, values::ip)?];
    for word in arguments.rest() {
        addresses.push(word.value(values::IP, values::ip)?);
    }
    plugins::without_repeats(&directive.line, &mut addresses)
}
