//! `rrl`: the same answer goes to one network only so often, for what asks may not be there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use parking_lot::Mutex;
use tombolo_dns_corefile::plugins::RateLimit;

use crate::metrics::Transport;

use super::query::{Query, Response};

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Sent,
    /// Only that there is one, over TCP: who is really there comes back.
    Cut,
    Withheld,
}

/// Accounts of networks.
pub(super) struct Limit {
    config: RateLimit,
    accounts: quick_cache::sync::Cache<Key, Arc<Mutex<Account>>>,
}

/// Who is answered what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    network: IpAddr,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum What {
    Records(Name, RecordType),
    /// Of a zone: an attacker makes up the names in it.
    Denial(Name),
    Error,
}

#[derive(Debug)]
struct Account {
    /// Answers that are still free; below zero they are withheld.
    balance: f64,
    since: Instant,
    withheld: u32,
}

// === impl Limit ===

impl Limit {
    pub(super) fn new(config: &RateLimit) -> Self {
        Self {
            accounts: quick_cache::sync::Cache::new(config.max_table_size),
            config: config.clone(),
        }
    }

    /// Whether `response` is sent now. Only UDP has forged senders.
    pub(super) fn verdict(&self, query: &Query, response: &Response, now: Instant) -> Verdict {
        if query.transport != Transport::Udp {
            return Verdict::Sent;
        }
        let (what, per_second) = self.what(query, response);
        if per_second == 0 {
            return Verdict::Sent;
        }
        let key = Key {
            network: network(
                query.client.ip(),
                self.config.ipv4_prefix,
                self.config.ipv6_prefix,
            ),
            what,
        };
        let account = self.accounts.get(&key).unwrap_or_else(|| {
            let account = Arc::new(Mutex::new(Account {
                balance: f64::from(per_second),
                since: now,
                withheld: 0,
            }));
            self.accounts.insert(key, Arc::clone(&account));
            account
        });
        let mut account = account.lock();
        if account.take(f64::from(per_second), self.config.window.as_secs_f64(), now) {
            return Verdict::Sent;
        }
        account.withheld = account.withheld.wrapping_add(1);
        let slips = self.config.slip_ratio;
        if slips > 0 && account.withheld.is_multiple_of(slips) {
            Verdict::Cut
        } else {
            Verdict::Withheld
        }
    }

    // All other codes are errors.
    #[allow(clippy::wildcard_enum_match_arm)]
    fn what(&self, query: &Query, response: &Response) -> (What, u32) {
        match response.code {
            ResponseCode::NoError => (
                What::Records(query.name.to_lowercase(), query.record_type),
                self.config.responses_per_second,
            ),
            ResponseCode::NXDomain => {
                let soa = response
                    .authorities
                    .first()
                    .map(|record| record.name.to_lowercase());
                let zone = soa.unwrap_or_else(|| query.name.base_name().to_lowercase());
                (What::Denial(zone), self.config.nxdomains_per_second)
            }
            _ => (What::Error, self.config.errors_per_second),
        }
    }
}

// === impl Account ===

impl Account {
    /// One answer, if the balance allows. What is asked for too often is held against the network
    /// for the window at most.
    fn take(&mut self, per_second: f64, window: f64, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.since).as_secs_f64();
        self.since = now;
        self.balance = (self.balance + passed * per_second).min(per_second);
        self.balance = (self.balance - 1.0).max(-per_second * window);
        self.balance >= 0.0
    }
}

fn network(client: IpAddr, ipv4_prefix: u8, ipv6_prefix: u8) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(ip) => {
            let mask = u32::MAX
                .checked_shl(32 - u32::from(ipv4_prefix))
                .unwrap_or_default();
            Ipv4Addr::from_bits(ip.to_bits() & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX
                .checked_shl(128 - u32::from(ipv6_prefix))
                .unwrap_or_default();
            Ipv6Addr::from_bits(ip.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use hickory_proto::rr::DNSClass;

    use super::*;

    fn limit() -> Limit {
        Limit::new(&RateLimit {
            window: Duration::from_secs(5),
            ipv4_prefix: 24,
            ipv6_prefix: 56,
            responses_per_second: 10,
            nxdomains_per_second: 2,
            errors_per_second: 0,
            slip_ratio: 2,
            max_table_size: 100,
        })
    }

    fn query(client: &str, name: &str) -> Query {
        let client: IpAddr = client.parse().unwrap();
        Query {
            id: 1,
            name: Name::from_ascii(name).unwrap(),
            record_type: RecordType::A,
            class: DNSClass::IN,
            client: SocketAddr::new(client, 5_353),
            transport: Transport::Udp,
            recursion_desired: true,
            checking_disabled: false,
            authentic_data: false,
            edns: None,
            octets: 30,
        }
    }

    fn sent(limit: &Limit, query: &Query, code: ResponseCode, count: usize, now: Instant) -> usize {
        let response = Response::of_code(code);
        let verdicts = (0..count).map(|_| limit.verdict(query, &response, now));
        verdicts.filter(|verdict| *verdict == Verdict::Sent).count()
    }

    #[test]
    fn a_network_gets_the_same_answer_only_so_often() {
        let limit = limit();
        let now = Instant::now();
        let none = ResponseCode::NoError;
        assert_eq!(
            sent(&limit, &query("192.0.2.1", "a.org."), none, 50, now),
            10
        );

        // Of the same network, and of others; another name.
        assert_eq!(
            sent(&limit, &query("192.0.2.200", "A.org."), none, 50, now),
            0
        );
        assert_eq!(
            sent(&limit, &query("192.0.3.1", "a.org."), none, 50, now),
            10
        );
        assert_eq!(
            sent(&limit, &query("::ffff:192.0.3.1", "a.org."), none, 50, now),
            0
        );
        assert_eq!(
            sent(&limit, &query("192.0.2.1", "b.org."), none, 50, now),
            10
        );
        assert_eq!(
            sent(&limit, &query("2001:db8::1", "a.org."), none, 50, now),
            10
        );
        assert_eq!(
            sent(&limit, &query("2001:db8:0:ff::1", "a.org."), none, 50, now),
            0
        );

        // After the window everything is forgiven.
        let later = now + Duration::from_secs(6);
        assert_eq!(
            sent(&limit, &query("192.0.2.1", "a.org."), none, 50, later),
            10
        );
    }

    #[test]
    fn made_up_names_of_a_zone_are_one_and_errors_may_have_no_bound() {
        let limit = limit();
        let now = Instant::now();
        let denied: usize = (0..50)
            .map(|number| {
                let query = query("192.0.2.1", &format!("n{number}.a.org."));
                sent(&limit, &query, ResponseCode::NXDomain, 1, now)
            })
            .sum();
        assert_eq!(denied, 2);
        let failed = query("192.0.2.1", "a.org.");
        assert_eq!(sent(&limit, &failed, ResponseCode::ServFail, 50, now), 50);
    }

    #[test]
    fn some_of_what_is_withheld_leads_to_tcp_which_has_no_bound() {
        let limit = limit();
        let now = Instant::now();
        let mut query = query("192.0.2.1", "a.org.");
        sent(&limit, &query, ResponseCode::NoError, 10, now);

        let response = Response::of_code(ResponseCode::NoError);
        let verdicts = [(); 4].map(|()| limit.verdict(&query, &response, now));
        let [withheld, cut] = [Verdict::Withheld, Verdict::Cut];
        assert_eq!(verdicts, [withheld, cut, withheld, cut]);
        query.transport = Transport::Tcp;
        assert_eq!(limit.verdict(&query, &response, now), Verdict::Sent);
    }
}
