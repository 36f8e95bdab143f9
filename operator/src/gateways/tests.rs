use k8s_openapi::api::coordination::v1::LeaseSpec;
use k8s_openapi::api::core::v1::{PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_replica_found_at_the_start_is_unheard_until_it_renews() {
    let now = Instant::now();
    let mut gateways = started(now, &[lease("gw-0", 1)]);
    assert!(!gateways.listings().next().unwrap().heard);

    gateways.handle_lease(now, &lease("gw-0", 2));

    assert_eq!(gateways.poll_changes(), BTreeSet::from([Change::Replicas]));
    assert!(gateways.listings().next().unwrap().heard);
}

#[test]
fn a_replica_that_appears_is_heard() {
    let now = Instant::now();
    let mut gateways = started(now, &[]);
    gateways.handle_lease(now, &lease("gw-0", 1));

    assert_eq!(gateways.poll_changes(), BTreeSet::from([Change::Replicas]));
    assert!(gateways.listings().next().unwrap().heard);
}

#[test]
fn a_renewal_changes_nothing_for_the_imports() {
    let now = Instant::now();
    let mut gateways = started(now, &[lease("gw-0", 1)]);
    gateways.handle_lease(now, &lease("gw-0", 2));
    let _ = gateways.poll_changes();

    gateways.handle_lease(now + SECOND, &lease("gw-0", 3));

    assert_eq!(gateways.poll_changes(), BTreeSet::new());
    assert_eq!(gateways.poll_timeout(), Some(now + SECOND + SILENCE));
}

#[test]
fn a_replica_whose_process_has_ended_leaves_at_once_and_comes_back_with_the_next_ones_heartbeat() {
    let now = Instant::now();
    let mut gateways = started(now, &[]);
    gateways.handle_lease(now, &lease("gw-0", 1));
    gateways.handle_lease(now, &lease("gw-1", 1));
    let _ = gateways.poll_changes();

    gateways.handle_hangup(now, "gw-0");
    assert_eq!(gateways.poll_changes(), BTreeSet::from([Change::Replicas]));
    assert_eq!(gateways.listings().count(), 1);

    // Its last words are still on their way.
    gateways.handle_lease(now + SECOND, &lease("gw-0", 2));
    assert_eq!(gateways.poll_changes(), BTreeSet::new());
    gateways.handle_answer("gw-0");
    assert_eq!(gateways.poll_changes(), BTreeSet::new());

    gateways.handle_lease(now + SECOND, &lease("gw-0", 3));

    assert_eq!(gateways.poll_changes(), BTreeSet::from([Change::Replicas]));
    assert_eq!(gateways.listings().count(), 2);
}

#[test]
fn a_replica_that_hung_up_is_believed_its_heartbeats_if_only_we_do_not_reach_it() {
    let now = Instant::now();
    let mut gateways = started(now, &[]);
    gateways.handle_lease(now, &lease("gw-0", 1));
    gateways.handle_hangup(now, "gw-0");
    let _ = gateways.poll_changes();

    gateways.handle_lease(now + SECOND, &lease("gw-0", 2));
    assert_eq!(gateways.poll_changes(), BTreeSet::new());
    gateways.handle_lease(now + SILENCE, &lease("gw-0", 3));

    assert_eq!(gateways.poll_changes(), BTreeSet::from([Change::Replicas]));
    assert_eq!(gateways.listings().count(), 1);
}

#[test]
fn an_answer_is_no_news_of_a_replica_that_never_hung_up() {
    let now = Instant::now();
    let mut gateways = started(now, &[]);
    gateways.handle_lease(now, &lease("gw-0", 1));
    let _ = gateways.poll_changes();

    gateways.handle_answer("gw-0");

    assert_eq!(gateways.poll_changes(), BTreeSet::new());
    assert_eq!(gateways.listings().count(), 1);
}

#[test]
fn a_silent_replica_leaves_once_a_read_confirms_it() {
    let now = Instant::now();
    let mut gateways = started(now, &[lease("gw-0", 1), lease("gw-1", 1)]);
    gateways.handle_lease(now + SECOND, &lease("gw-1", 2));
    let _ = gateways.poll_changes();
    let late = now + SILENCE;
    assert!(!gateways.handle_timeout(late - Duration::from_millis(1)));
    assert!(gateways.handle_timeout(late));

    gateways.handle_read(late, Some(&[lease("gw-0", 1), lease("gw-1", 2)]));

    assert_eq!(gateways.poll_changes(), BTreeSet::from([Change::Replicas]));
    assert_eq!(gateways.listings().count(), 1);
    assert_eq!(gateways.poll_timeout(), Some(now + SECOND + SILENCE));
}

#[test]
fn a_watch_that_hangs_silences_nobody() {
    let now = Instant::now();
    let mut gateways = started(now, &[lease("gw-0", 1)]);

    gateways.handle_read(now + SILENCE, Some(&[lease("gw-0", 4)]));

    let _ = gateways.poll_changes();
    assert_eq!(gateways.listings().count(), 1);
    assert_eq!(gateways.poll_timeout(), Some(now + SILENCE * 2));
}

#[test]
fn an_api_server_that_was_away_gives_replicas_time_to_renew() {
    let now = Instant::now();
    let mut gateways = started(now, &[lease("gw-0", 1)]);
    gateways.handle_read(now + SILENCE, None);
    gateways.handle_read(now + SILENCE * 2, Some(&[lease("gw-0", 1)]));
    assert_eq!(gateways.poll_changes(), BTreeSet::new());

    gateways.handle_read(now + SILENCE * 3, Some(&[lease("gw-0", 1)]));

    assert_eq!(gateways.poll_changes(), BTreeSet::from([Change::Replicas]));
    assert_eq!(gateways.listings().count(), 0);
}

#[test]
fn nobody_is_silent_while_the_watch_is_broken_and_clocks_start_anew_after_it() {
    let now = Instant::now();
    let mut gateways = started(now, &[lease("gw-0", 1)]);
    gateways.handle_watch_broken();
    assert_eq!(gateways.poll_timeout(), None);
    assert!(!gateways.handle_timeout(now + SILENCE * 10));

    gateways.handle_leases(now + SILENCE * 10, &[lease("gw-0", 1)]);

    assert_eq!(gateways.poll_timeout(), Some(now + SILENCE * 11));
    assert_eq!(gateways.poll_changes(), BTreeSet::new());
}

#[test]
fn a_silent_replica_that_renews_comes_back() {
    let now = Instant::now();
    let mut gateways = started(now, &[lease("gw-0", 1)]);
    gateways.handle_read(now + SILENCE, Some(&[lease("gw-0", 1)]));
    let _ = gateways.poll_changes();
    assert_eq!(gateways.listings().count(), 0);

    gateways.handle_lease(now + SILENCE * 2, &lease("gw-0", 2));

    assert_eq!(gateways.poll_changes(), BTreeSet::from([Change::Replicas]));
    assert!(gateways.listings().next().unwrap().heard);
}

#[test]
fn a_deleted_pod_or_lease_leaves_at_once() {
    let now = Instant::now();
    let mut gateways = started(now, &[lease("gw-0", 1), lease("gw-1", 1)]);
    let mut dying = pod("gw-0");
    dying.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));

    gateways.handle_pod(&dying);
    gateways.handle_lease_gone("gw-1");

    assert_eq!(gateways.poll_changes(), BTreeSet::from([Change::Replicas]));
    assert_eq!(gateways.listings().count(), 0);
}

#[test]
fn catching_up_concerns_only_the_ports_since() {
    let now = Instant::now();
    let mut gateways = started(now, &[]);
    let mut heartbeat = lease("gw-0", 1);
    annotate(&mut heartbeat, LISTENING_ANNOTATION, "7");
    gateways.handle_lease(now, &heartbeat);
    let _ = gateways.poll_changes();

    annotate(&mut heartbeat, LISTENING_ANNOTATION, "12");
    gateways.handle_lease(now, &heartbeat);

    let caught_up = Change::Listening { after: 7, upto: 12 };
    assert_eq!(gateways.poll_changes(), BTreeSet::from([caught_up]));
}

#[test]
fn annotations_are_read_and_nonsense_in_them_is_ignored() {
    let now = Instant::now();
    let mut gateways = started(now, &[]);
    let mut heartbeat = lease("gw-0", 1);
    annotate(&mut heartbeat, LINKED_CLUSTERS_ANNOTATION, "west, north,");
    annotate(&mut heartbeat, LISTENING_ANNOTATION, "soon");
    annotate(&mut heartbeat, REFUSED_PORTS_ANNOTATION, "10001,x,70000");
    let endpoints = "demo/db=fd00::7,demo/db,db=10.0.0.1,demo/web=nowhere";
    annotate(&mut heartbeat, REFUSED_ENDPOINTS_ANNOTATION, endpoints);
    gateways.handle_lease(now, &heartbeat);
    let _ = gateways.poll_changes();

    let listing = gateways.listings().next().unwrap();
    assert_eq!(
        listing.linked,
        BTreeSet::from(["north".to_owned(), "west".to_owned()])
    );
    assert_eq!(listing.listening, None);
    assert_eq!(listing.refused, BTreeSet::from([10_001]));
    let db = ServiceName::new("demo", "db");
    let address = "fd00::7".parse().unwrap();
    assert_eq!(listing.refused_endpoints, BTreeMap::from([(db, address)]));
}

#[test]
fn endpoints_that_are_refused_concern_no_import() {
    let now = Instant::now();
    let mut gateways = started(now, &[]);
    let mut heartbeat = lease("gw-0", 1);
    annotate(&mut heartbeat, LISTENING_ANNOTATION, "7");
    gateways.handle_lease(now, &heartbeat);
    let _ = gateways.poll_changes();

    annotate(
        &mut heartbeat,
        REFUSED_ENDPOINTS_ANNOTATION,
        "demo/db=10.0.0.1",
    );
    gateways.handle_lease(now, &heartbeat);

    let changes = gateways.poll_changes();
    assert_eq!(changes, BTreeSet::from([Change::RefusedEndpoints]));
    assert_eq!(gateways.poll_changes(), BTreeSet::new());
}

fn started(now: Instant, leases: &[Lease]) -> Gateways {
    let mut gateways = Gateways::default();
    gateways.handle_pods(&[pod("gw-0"), pod("gw-1")]);
    gateways.handle_leases(now, leases);
    let _ = gateways.poll_changes();
    gateways
}

fn pod(name: &str) -> Pod {
    Pod {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        status: Some(PodStatus {
            pod_ips: Some(vec![PodIP {
                ip: "10.0.0.1".to_owned(),
            }]),
            ..PodStatus::default()
        }),
        ..Pod::default()
    }
}

fn lease(name: &str, second: i64) -> Lease {
    let renewed = Timestamp::from_second(second).unwrap();
    Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            renew_time: Some(MicroTime(renewed)),
            ..LeaseSpec::default()
        }),
    }
}

fn annotate(lease: &mut Lease, key: &str, value: &str) {
    let annotations = lease.metadata.annotations.get_or_insert_default();
    annotations.insert(key.to_owned(), value.to_owned());
}
