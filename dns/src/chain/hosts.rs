//! `hosts`: names of a file, and of the Corefile itself.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use tokio::time::MissedTickBehavior;
use tokio_util::task::AbortOnDropHandle;
use tombolo_dns_corefile::plugins::{Hosts as Config, HostsSource};

use super::query::{Query, Response};

/// More is not a hosts file, but an accident.
const MAX_OCTETS: u64 = 64 << 20;

/// Names with addresses.
pub(super) struct Hosts {
    config: Config,
    table: Arc<ArcSwap<Table>>,
    /// Looks for changes of the file.
    _reload: Option<AbortOnDropHandle<()>>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Table {
    addresses: HashMap<Name, Vec<IpAddr>>,
    names: HashMap<Name, Vec<Name>>,
}

// === impl Hosts ===

impl Hosts {
    /// Reads the file now, and again whenever it changes. A file that is not there has no names.
    pub(super) fn new(config: &Config) -> Self {
        let table = Arc::new(ArcSwap::from_pointee(Table::read(&config.source)));
        let reload = (!config.source.reload.is_zero()).then(|| {
            let task = follow(config.source.clone(), Arc::clone(&table));
            AbortOnDropHandle::new(tokio::spawn(task))
        });
        Self {
            config: config.clone(),
            table,
            _reload: reload,
        }
    }

    /// None if the question is for another plugin.
    pub(super) fn answer(&self, query: &Query) -> Option<Response> {
        let name = query.name.to_lowercase();
        let is_here = self.config.zones.iter().any(|zone| zone.zone_of(&name));
        if !is_here || query.class != DNSClass::IN {
            return None;
        }
        let table = self.table.load();
        let (exists, data) = table.find(&name, query.record_type, self.config.reverse);
        if !data.is_empty() {
            let record = |data| Record::from_rdata(query.name.clone(), self.config.ttl, data);
            let answers = data.into_iter().map(record).collect();
            return Some(Response::of_hosts(ResponseCode::NoError, answers));
        }
        if exists {
            return Some(Response::of_hosts(ResponseCode::NoError, Vec::new()));
        }
        let passes_on = self
            .config
            .fallthrough
            .iter()
            .any(|zone| zone.zone_of(&name));
        (!passes_on).then(|| Response::of_hosts(ResponseCode::NXDomain, Vec::new()))
    }
}

// === impl Table ===

impl Table {
    fn read(source: &HostsSource) -> Self {
        let mut table = Self::default();
        let length = std::fs::metadata(&source.file).map(|metadata| metadata.len());
        match length.and_then(|length| {
            if length > MAX_OCTETS {
                return Err(std::io::Error::other("too large"));
            }
            std::fs::read_to_string(&source.file)
        }) {
            Ok(text) => table.add_file(&text),
            Err(error) => tracing::debug!(file = source.file, %error, "no hosts of a file"),
        }
        for (address, names) in &source.inline {
            for name in names {
                table.add(*address, name.clone());
            }
        }
        table
    }

    fn add_file(&mut self, text: &str) {
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(address) = words
                .next()
                .and_then(|word| word.split('%').next()?.parse().ok())
            else {
                continue;
            };
            for word in words {
                if let Ok(mut name) = Name::from_ascii(word.to_ascii_lowercase()) {
                    name.set_fqdn(true);
                    self.add(address, name);
                }
            }
        }
    }

    fn add(&mut self, address: IpAddr, name: Name) {
        let addresses = self.addresses.entry(name.clone()).or_default();
        if !addresses.contains(&address) {
            addresses.push(address);
        }
        let names = self
            .names
            .entry(Name::from(address).to_lowercase())
            .or_default();
        if !names.contains(&name) {
            names.push(name);
        }
    }

    /// Whether the name is there, and its records.
    // Names of hosts have no other records.
    #[allow(clippy::wildcard_enum_match_arm)]
    fn find(&self, name: &Name, record_type: RecordType, reverse: bool) -> (bool, Vec<RData>) {
        if let Some(addresses) = self.addresses.get(name) {
            let data = addresses
                .iter()
                .filter_map(|address| match (record_type, address) {
                    (RecordType::A, IpAddr::V4(address)) => Some(RData::A(A(*address))),
                    (RecordType::AAAA, IpAddr::V6(address)) => Some(RData::AAAA(AAAA(*address))),
                    _ => None,
                });
            return (true, data.collect());
        }
        match self.names.get(name) {
            Some(names) if reverse => {
                let data = names.iter().map(|name| RData::PTR(PTR(name.clone())));
                (
                    true,
                    if record_type == RecordType::PTR {
                        data.collect()
                    } else {
                        Vec::new()
                    },
                )
            }
            Some(_) | None => (false, Vec::new()),
        }
    }
}

async fn follow(source: HostsSource, table: Arc<ArcSwap<Table>>) {
    let mut ticks = tokio::time::interval(source.reload.max(Duration::from_millis(100)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = modified(&source.file).await;
    loop {
        ticks.tick().await;
        let now = modified(&source.file).await;
        if now != last {
            last = now;
            let read = {
                let source = source.clone();
                tokio::task::spawn_blocking(move || Table::read(&source)).await
            };
            if let Ok(read) = read {
                table.store(Arc::new(read));
            }
        }
    }
}

async fn modified(file: &str) -> Option<(std::time::SystemTime, u64)> {
    let metadata = tokio::fs::metadata(file).await.ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
