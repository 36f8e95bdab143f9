//! `forward FROM TO... { … }`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::rr::Name;

use crate::arguments::{Directive, Line, Word};
use crate::error::{Error, Problem};
use crate::surroundings::Surroundings;
use crate::values::{self, DURATION, NUMBER};

const OPTIONS: [&str; 13] = [
    "except",
    "force_tcp",
    "prefer_udp",
    "expire",
    "max_fails",
    "max_connect_attempts",
    "tls",
    "tls_servername",
    "policy",
    "health_check",
    "max_concurrent",
    "next",
    "failfast_all_unhealthy_upstreams",
];
/// As CoreDNS has them.
const EXPIRE: Duration = Duration::from_secs(10);
const HEALTH_CHECK: Duration = Duration::from_millis(500);
const MAX_FAILS: u32 = 2;
const MAX_UPSTREAMS: usize = 15;
const UPSTREAM: &str =
    "an address (tls:// before it for DNS over TLS), or a file like /etc/resolv.conf";

/// Who is asked for names that nobody here knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// For which names.
    pub from: Vec<Name>,
    /// But not for these.
    pub except: Vec<Name>,
    /// At least one.
    pub upstreams: Vec<Upstream>,
    /// In which order they are asked.
    pub policy: Policy,
    /// Whether they are asked over TCP whatever the client came by.
    pub force_tcp: bool,
    /// Whether they are asked over UDP whatever the client came by.
    pub prefer_udp: bool,
    /// How long a connection without questions is kept.
    pub expire: Duration,
    /// After how many failures of health checks an upstream counts as down; 0: never.
    pub max_fails: u32,
    /// How many upstreams a question is put to at most, as long as time is left; 0: no bound.
    pub max_connect_attempts: u32,
    /// How upstreams that fail are looked at.
    pub health_check: HealthCheck,
    /// How many questions may wait at once; 0: no bound.
    pub max_concurrent: usize,
    /// With these response codes the next `forward` is asked.
    pub next: Vec<u16>,
    /// Whether there is no answer, rather than one of an upstream that seems to be down.
    pub fail_fast: bool,
    /// How TLS is spoken with those that want it.
    pub tls: UpstreamTls,
}

/// Another resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Where.
    pub address: SocketAddr,
    /// Whether over TLS.
    pub tls: bool,
    /// The name in its certificate, if it is not that of the whole plugin.
    pub server_name: Option<String>,
}

/// How TLS is spoken with upstreams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Certificate and key to show.
    pub identity: Option<(String, String)>,
    /// Who vouches for them; by default whom the system trusts.
    pub authority: Option<String>,
    /// The name in their certificate.
    pub server_name: Option<String>,
}

/// In which order upstreams are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Any.
    Random,
    /// Each in turn.
    RoundRobin,
    /// As they are written.
    Sequential,
}

/// How an upstream that failed is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// How often.
    pub interval: Duration,
    /// Whether recursion is asked for.
    pub recursion: bool,
    /// What it is asked.
    pub domain: Name,
}

// === impl Forward ===

impl Forward {
    pub(super) fn new(
        directive: &Directive,
        surroundings: &dyn Surroundings,
    ) -> Result<Self, Error> {
        let mut arguments = directive.line.arguments();
        let from = values::zones(std::slice::from_ref(arguments.required(values::ZONE)?))?;
        let mut upstreams = upstreams(arguments.required(UPSTREAM)?, surroundings)?;
        for word in arguments.rest() {
            upstreams.append(&mut self::upstreams(word, surroundings)?);
        }
        if upstreams.len() > MAX_UPSTREAMS {
            return Err(directive.line.name.error(Problem::Unsupported(format!(
                "{} upstreams are more than {MAX_UPSTREAMS}",
                upstreams.len()
            ))));
        }
        let mut forward = Self {
            from,
            except: Vec::new(),
            upstreams,
            policy: Policy::Random,
            force_tcp: false,
            prefer_udp: false,
            expire: EXPIRE,
            max_fails: MAX_FAILS,
            max_connect_attempts: 0,
            health_check: HealthCheck {
                interval: HEALTH_CHECK,
                recursion: true,
                domain: Name::root(),
            },
            max_concurrent: 0,
            next: Vec::new(),
            fail_fast: false,
            tls: UpstreamTls::default(),
        };
        for line in &directive.options {
            forward.option(directive, line)?;
        }
        forward.check(directive)?;
        Ok(forward)
    }

    fn option(&mut self, directive: &Directive, line: &Line) -> Result<(), Error> {
        match line.name.text.as_str() {
            "except" => {
                line.arguments().required(values::ZONE)?;
                self.except.append(&mut values::zones(&line.arguments)?);
            }
            "force_tcp" => {
                line.no_arguments()?;
                self.force_tcp = true;
            }
            "prefer_udp" => {
                line.no_arguments()?;
                self.prefer_udp = true;
            }
            "failfast_all_unhealthy_upstreams" => {
                line.no_arguments()?;
                self.fail_fast = true;
            }
            "expire" => self.expire = line.one(DURATION, values::duration)?,
            "max_fails" => self.max_fails = line.one(NUMBER, values::number)?,
            "max_connect_attempts" => {
                self.max_connect_attempts = line.one(NUMBER, values::number)?
            }
            "max_concurrent" => self.max_concurrent = line.one(NUMBER, values::number)?,
            "policy" => {
                self.policy = line.one("random, round_robin or sequential", |text| match text {
                    "random" => Some(Policy::Random),
                    "round_robin" => Some(Policy::RoundRobin),
                    "sequential" => Some(Policy::Sequential),
                    _ => None,
                })?;
            }
            "tls" => self.tls.files(line)?,
            "tls_servername" => {
                self.tls.server_name = Some(line.one("a host name", |text| Some(text.to_owned()))?);
            }
            "health_check" => self.health_check.set(line)?,
            "next" => {
                line.arguments()
                    .required("a response code, like NXDOMAIN")?;
                for word in &line.arguments {
                    self.next
                        .push(word.value("a response code, like NXDOMAIN", response_code)?);
                }
            }
            _ => return Err(directive.unknown(line, &OPTIONS)),
        }
        Ok(())
    }

    fn check(&self, directive: &Directive) -> Result<(), Error> {
        let error = |problem: &str| {
            Err(directive
                .line
                .name
                .error(Problem::Unsupported(problem.to_owned())))
        };
        let unnamed = self
            .upstreams
            .iter()
            .any(|upstream| upstream.tls && upstream.server_name.is_none());
        if unnamed && self.tls.server_name.is_none() && self.tls.authority.is_none() {
            return error(
                "an upstream with tls:// needs a tls_servername, else anybody's certificate would do",
            );
        }
        if self.health_check.interval.is_zero() && self.max_fails > 0 {
            return error("health_check needs an interval, or max_fails 0");
        }
        Ok(())
    }
}

// === impl UpstreamTls ===

impl UpstreamTls {
    /// Nothing; an authority; certificate and key; or all three.
    fn files(&mut self, line: &Line) -> Result<(), Error> {
        let texts: Vec<String> = line
            .arguments
            .iter()
            .map(|word| word.text.clone())
            .collect();
        match texts.as_slice() {
            [] => {}
            [authority] => self.authority = Some(authority.clone()),
            [certificate, key] => self.identity = Some((certificate.clone(), key.clone())),
            [certificate, key, authority] => {
                self.identity = Some((certificate.clone(), key.clone()));
                self.authority = Some(authority.clone());
            }
            [_, _, _, more, ..] => {
                return Err(line.arguments[3].error(Problem::TooMany(more.clone())));
            }
        }
        Ok(())
    }
}

// === impl HealthCheck ===

impl HealthCheck {
    /// `DURATION [no_rec] [domain NAME]`.
    fn set(&mut self, line: &Line) -> Result<(), Error> {
        let mut arguments = line.arguments();
        self.interval = arguments.value(DURATION, values::duration)?;
        while let Some(word) = arguments.next() {
            match word.text.as_str() {
                "no_rec" => self.recursion = false,
                "domain" => self.domain = arguments.value("a name", values::name)?,
                _ => return Err(word.is_not("no_rec or domain")),
            }
        }
        Ok(())
    }
}

/// The upstream that a word names, or those of a file like `/etc/resolv.conf`.
fn upstreams(word: &Word, surroundings: &dyn Surroundings) -> Result<Vec<Upstream>, Error> {
    if let Some(upstream) = upstream(&word.text) {
        return Ok(vec![upstream]);
    }
    if !word.text.contains('/') || word.text.contains("://") {
        return Err(word.is_not(UPSTREAM));
    }
    let failed = |why: String| {
        word.error(Problem::Import {
            what: word.text.clone(),
            why,
        })
    };
    let files = surroundings
        .files(&word.at.file, &word.text)
        .map_err(failed)?;
    let lines = files.iter().flat_map(|file| file.text.lines());
    let servers: Vec<Upstream> = lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("nameserver"))
                .then(|| words.next())
                .flatten()
        })
        // A link-local address has its interface behind it, which is the host's own business.
        .filter_map(|text| upstream(text.split('%').next().unwrap_or(text)))
        .collect();
    if servers.is_empty() {
        return Err(failed("it names no server".to_owned()));
    }
    Ok(servers)
}

/// `9.9.9.9`, `[::1]:1053`, `dns://9.9.9.9`, `tls://9.9.9.9%dns.quad9.net`.
fn upstream(text: &str) -> Option<Upstream> {
    let (tls, rest) = match text.split_once("://") {
        Some(("dns", rest)) => (false, rest),
        Some(("tls", rest)) => (true, rest),
        Some(_) => return None,
        None => (false, text),
    };
    let (rest, server_name) = match rest.split_once('%') {
        Some((rest, name)) if tls => {
            // A port may come behind the name.
            let (name, port) = match name.rsplit_once(':') {
                Some((name, port)) => (name, format!(":{port}")),
                None => (name, String::new()),
            };
            (format!("{rest}{port}"), Some(name.to_owned()))
        }
        Some(_) => return None,
        None => (rest.to_owned(), None),
    };
    let port = if tls { 853 } else { 53 };
    let address = rest
        .parse::<IpAddr>()
        .map(|ip| SocketAddr::new(ip, port))
        .or_else(|_| rest.parse())
        .or_else(|_| {
            let bare = rest.trim_start_matches('[').trim_end_matches(']');
            bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, port))
        });
    Some(Upstream {
        address: address.ok()?,
        tls,
        server_name,
    })
}

fn response_code(text: &str) -> Option<u16> {
    const CODES: [(&str, u16); 6] = [
        ("NOERROR", 0),
        ("FORMERR", 1),
        ("SERVFAIL", 2),
        ("NXDOMAIN", 3),
        ("NOTIMP", 4),
        ("REFUSED", 5),
    ];
    let upper = text.to_ascii_uppercase();
    CODES
        .into_iter()
        .find(|(name, _)| *name == upper)
        .map(|(_, code)| code)
}
