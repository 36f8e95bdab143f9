//! What the plugins of a server block are told.

mod access;
mod cache;
mod errors;
mod forward;
mod hosts;
mod limit;
mod log;
mod multicluster;
mod observe;
mod rewrite;
mod tls;

use hickory_proto::rr::Name;

use crate::arguments::{Directive, Line};
use crate::error::{Error, Problem};
use crate::surroundings::Surroundings;

pub use self::access::{Acl, AclAction, AclRule};
pub use self::cache::{Cache, CacheKind, Prefetch, ServeStale};
pub use self::errors::{Consolidate, Errors};
pub use self::forward::{Forward, HealthCheck, Policy, Upstream, UpstreamTls};
pub use self::hosts::{Hosts, HostsSource};
pub use self::limit::RateLimit;
pub use self::log::{Log, LogClass};
pub use self::multicluster::Multicluster;
pub use self::observe::{Health, Reload};
pub use self::rewrite::{AnswerRewrite, NameMatch, Rewrite, replace_groups};
pub use self::tls::Tls;

/// Every plugin, in the order in which a question passes them.
const KNOWN: [&str; 19] = [
    "bind",
    "reload",
    "tls",
    "health",
    "ready",
    "prometheus",
    "errors",
    "log",
    "rrl",
    "acl",
    "loadbalance",
    "cache",
    "rewrite",
    "hosts",
    "multicluster",
    "kubernetes",
    "loop",
    "forward",
    "import",
];

/// The plugins of a server block, each with what it was told. The order of a Corefile's lines does
/// not matter, as in CoreDNS, but for the rules of one plugin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plugins {
    /// Certificate and key for clients.
    pub tls: Option<Tls>,
    /// Whether and how often a changed Corefile is looked for.
    pub reload: Option<Reload>,
    /// Where it is told that the program lives.
    pub health: Option<Health>,
    /// Where it is told that the program can answer.
    pub ready: Option<std::net::SocketAddr>,
    /// Where metrics are.
    pub prometheus: Option<std::net::SocketAddr>,
    /// Whether errors are logged.
    pub errors: Option<Errors>,
    /// Which questions are logged, and how.
    pub log: Vec<Log>,
    /// How often one client is answered.
    pub limit: Option<RateLimit>,
    /// Who is answered.
    pub acl: Vec<Acl>,
    /// Whether records of an answer change places.
    pub loadbalance: bool,
    /// Which answers are kept.
    pub cache: Option<Cache>,
    /// Names that are asked in the place of others.
    pub rewrite: Vec<Rewrite>,
    /// Names from a file or the Corefile itself.
    pub hosts: Option<Hosts>,
    /// The names of the clusterset.
    pub multicluster: Option<Multicluster>,
    /// Whether a question that comes back to its sender is looked for.
    pub detect_loop: bool,
    /// Who else is asked.
    pub forward: Vec<Forward>,
}

// === impl Plugins ===

impl Plugins {
    pub(crate) fn new(
        directives: &[&Directive],
        zones: &[Name],
        surroundings: &dyn Surroundings,
    ) -> Result<Self, Error> {
        let mut plugins = Self::default();
        let mut seen: Vec<&Directive> = Vec::new();
        for directive in directives {
            let name = directive.line.name.text.as_str();
            // `kubernetes` is another name for `multicluster` here.
            let may_repeat = matches!(name, "log" | "acl" | "rewrite" | "forward");
            let same = |other: &&&Directive| other.line.name.text == name;
            if !may_repeat && let Some(other) = seen.iter().find(same) {
                return Err(directive.line.name.error(Problem::Twice {
                    what: name.to_owned(),
                    first: other.line.name.at.clone(),
                }));
            }
            plugins.add(directive, zones, surroundings)?;
            seen.push(directive);
        }
        Ok(plugins)
    }

    fn add(
        &mut self,
        directive: &Directive,
        zones: &[Name],
        surroundings: &dyn Surroundings,
    ) -> Result<(), Error> {
        match directive.line.name.text.as_str() {
            "tls" => self.tls = Some(Tls::new(directive)?),
            "reload" => self.reload = Reload::new(directive)?,
            "health" => self.health = Some(Health::new(directive)?),
            "ready" => self.ready = Some(observe::ready(directive)?),
            "prometheus" => self.prometheus = Some(observe::prometheus(directive)?),
            "errors" => self.errors = Some(Errors::new(directive)?),
            "log" => self.log.append(&mut Log::rules(directive)?),
            "rrl" => self.limit = Some(RateLimit::new(directive)?),
            "acl" => self.acl.push(Acl::new(directive, zones)?),
            "loadbalance" => {
                directive.no_options()?;
                let is_policy = |text: &str| (text == "round_robin").then_some(());
                let mut arguments = directive.line.arguments();
                arguments.optional("round_robin, the only policy here", is_policy)?;
                arguments.end()?;
                self.loadbalance = true;
            }
            "cache" => self.cache = Some(Cache::new(directive, zones)?),
            "rewrite" => self.rewrite.push(Rewrite::new(directive)?),
            "hosts" => self.hosts = Some(Hosts::new(directive, zones)?),
            "multicluster" | "kubernetes" => {
                if self.multicluster.is_some() {
                    return Err(directive.line.name.error(Problem::Unsupported(
                        "the names of the clusterset are answered by one plugin of a block"
                            .to_owned(),
                    )));
                }
                self.multicluster = Some(Multicluster::new(directive, zones)?);
            }
            "loop" => {
                directive.no_options()?;
                directive.line.no_arguments()?;
                self.detect_loop = true;
            }
            "forward" => self.forward.push(Forward::new(directive, surroundings)?),
            _ => {
                return Err(directive.line.name.error(Problem::UnknownPlugin {
                    name: directive.line.name.text.clone(),
                    known: &KNOWN,
                }));
            }
        }
        Ok(())
    }

    /// The names of those that are there, as CoreDNS writes them in `coredns_plugin_enabled`.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let all = [
            ("prometheus", self.prometheus.is_some()),
            ("errors", self.errors.is_some()),
            ("log", !self.log.is_empty()),
            ("rrl", self.limit.is_some()),
            ("acl", !self.acl.is_empty()),
            ("loadbalance", self.loadbalance),
            ("cache", self.cache.is_some()),
            ("rewrite", !self.rewrite.is_empty()),
            ("hosts", self.hosts.is_some()),
            ("multicluster", self.multicluster.is_some()),
            ("loop", self.detect_loop),
            ("forward", !self.forward.is_empty()),
        ];
        let there = all.into_iter().filter(|(_, is_there)| *is_there);
        there.map(|(name, _)| name).collect()
    }
}

pub(crate) fn without_repeats<T: PartialEq>(
    line: &Line,
    values: &mut Vec<T>,
) -> Result<Vec<T>, Error> {
    let mut kept: Vec<T> = Vec::new();
    for (position, value) in std::mem::take(values).into_iter().enumerate() {
        if kept.contains(&value) {
            let word = line.arguments.get(position).unwrap_or(&line.name);
            return Err(word.error(Problem::Twice {
                what: word.text.clone(),
                first: line.name.at.clone(),
            }));
        }
        kept.push(value);
    }
    Ok(kept)
}
