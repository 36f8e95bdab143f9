//! Properties of the allotment of gateway ports, over any sequence of events.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use tombolo_catalog::{EndpointName, PortAllotter, PortClaim, PortKey, ServiceName};
use tombolo_crds::well_known::{FIRST_IMPORT_PORT, LAST_IMPORT_PORT};

const REST: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
enum Event {
    Allot(PortKey),
    Release(PortKey),
    Retain(ServiceName, Vec<PortKey>),
    Wait(Duration),
    Restart,
}

proptest! {
    #[test]
    fn a_port_belongs_to_one_and_rests_in_between(
        events in vec(event(), 1..200)
    ) {
        let mut now = Instant::now();
        let mut allotter = PortAllotter::new(REST);
        let mut held: BTreeMap<PortKey, u16> = BTreeMap::new();
        let mut freed: BTreeMap<u16, (PortKey, Instant)> = BTreeMap::new();
        for event in events {
            match event {
                Event::Allot(key) => {
                    let port = allotter.allot(&key, now).expect("few of many are in use");
                    prop_assert!((FIRST_IMPORT_PORT..=LAST_IMPORT_PORT).contains(&port));
                    if let Some(before) = held.insert(key.clone(), port) {
                        prop_assert_eq!(before, port);
                    }
                    if let Some((owner, at)) = freed.remove(&port) {
                        prop_assert!(owner == key || now - at >= REST, "{} had no rest", port);
                    }
                }
                Event::Release(key) => {
                    allotter.release(&key, now);
                    if let Some(port) = held.remove(&key) {
                        freed.insert(port, (key, now));
                    }
                }
                Event::Retain(service, keep) => {
                    allotter.retain(&service, &keep, now);
                    let gone: Vec<_> = held
                        .extract_if(.., |key, _| key.service == service && !keep.contains(key))
                        .collect();
                    freed.extend(gone.into_iter().map(|(key, port)| (port, (key, now))));
                }
                Event::Wait(time) => now += time,
                Event::Restart => {
                    freed.clear();
                    let rebuilt = PortAllotter::rebuild(REST, claims(&held));
                    prop_assert!(rebuilt.double_claims.is_empty());
                    prop_assert!(rebuilt.out_of_range.is_empty());
                    allotter = rebuilt.allotter;
                }
            }
            prop_assert_eq!(allotter.len(), held.len());
            let mut ports: Vec<u16> = held.values().copied().collect();
            ports.sort_unstable();
            prop_assert!(ports.is_sorted_by(|a, b| a < b), "one port was given twice");
            for (key, port) in &held {
                prop_assert_eq!(allotter.get(key), Some(*port));
            }
        }
    }

    #[test]
    fn of_any_claims_each_port_has_one_holder_and_each_other_claim_is_told(
        claims in vec((key(), 10_000_u16..10_004, 0_i64..3), 0..20)
    ) {
        let claims: Vec<PortClaim> = claims
            .into_iter()
            .map(|(key, gateway_port, seconds)| PortClaim {
                key,
                gateway_port,
                claimed_at: Time(Timestamp::from_second(seconds).expect("it is small")),
            })
            .collect();
        let mut reversed = claims.clone();
        reversed.reverse();

        let rebuilt = PortAllotter::rebuild(REST, claims.clone());
        let again = PortAllotter::rebuild(REST, reversed);

        prop_assert_eq!(&rebuilt.double_claims, &again.double_claims);
        for claim in &claims {
            let port = rebuilt.allotter.get(&claim.key);
            prop_assert_eq!(port, again.allotter.get(&claim.key));
            let lost = rebuilt.double_claims.iter().any(|double| double.loser == claim.key);
            prop_assert!(port.is_some() != lost, "{:?} has {port:?}, lost {lost}", claim.key);
        }
    }
}

fn claims(held: &BTreeMap<PortKey, u16>) -> Vec<PortClaim> {
    held.iter()
        .map(|(key, port)| PortClaim {
            key: key.clone(),
            gateway_port: *port,
            claimed_at: Time(Timestamp::UNIX_EPOCH),
        })
        .collect()
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        5 => key().prop_map(Event::Allot),
        3 => key().prop_map(Event::Release),
        1 => (service(), vec(key(), 0..3)).prop_map(|(service, keep)| Event::Retain(service, keep)),
        2 => (0_u64..90).prop_map(|seconds| Event::Wait(Duration::from_secs(seconds))),
        1 => Just(Event::Restart),
    ]
}

fn key() -> impl Strategy<Value = PortKey> {
    let endpoint =
        prop::option::of((0..2).prop_map(|n| EndpointName::new("east", format!("e{n}"))));
    let protocol = prop_oneof![Just("TCP"), Just("UDP")];
    (service(), endpoint, protocol, 1_u16..4).prop_map(|(service, endpoint, protocol, port)| {
        PortKey {
            service,
            endpoint,
            protocol: protocol.to_owned(),
            port,
        }
    })
}

fn service() -> impl Strategy<Value = ServiceName> {
    (0..4).prop_map(|n| ServiceName::new("demo", format!("s{n}")))
}
