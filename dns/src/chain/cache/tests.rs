use std::net::Ipv4Addr;

use hickory_proto::rr::Record;
use hickory_proto::rr::rdata::{A, SOA};
use prometheus_client::registry::Registry;
use tombolo_dns_corefile::plugins::{Prefetch, ServeStale};

use super::super::metrics::CoreMetrics;
use super::*;
use crate::metrics::Transport;

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn config() -> Config {
    let kind = |max_ttl| CacheKind {
        capacity: 100,
        max_ttl,
        min_ttl: 5,
        disabled: Vec::new(),
    };
    Config {
        zones: vec![name("org.")],
        success: kind(3_600),
        denial: kind(1_800),
        prefetch: None,
        serve_stale: None,
        servfail: Duration::from_secs(5),
        keep_ttl: false,
    }
}

fn cache(config: &Config) -> Cache {
    let metrics = CoreMetrics::register(&mut Registry::default());
    Cache::new(config, &metrics.chain("dns://:53", &Name::root()))
}

fn query(text: &str) -> Query {
    Query {
        id: 1,
        name: name(text),
        record_type: RecordType::A,
        class: DNSClass::IN,
        client: (Ipv4Addr::LOCALHOST, 5_353).into(),
        transport: Transport::Udp,
        recursion_desired: true,
        checking_disabled: false,
        authentic_data: false,
        edns: None,
        octets: 30,
    }
}

fn address(text: &str, ttl: u32) -> Response {
    let record = Record::from_rdata(name(text), ttl, RData::A(A::new(192, 0, 2, 1)));
    Response::of_hosts(ResponseCode::NoError, vec![record])
}

fn denial(code: ResponseCode, ttl: u32, minimum: u32) -> Response {
    let soa = SOA::new(name("ns.org."), name("x.org."), 1, 1, 1, 1, minimum);
    let record = Record::from_rdata(name("org."), ttl, RData::SOA(soa));
    Response {
        authorities: vec![record],
        ..Response::of_hosts(code, Vec::new())
    }
}

fn failure() -> Response {
    Response::error("no upstream".to_owned())
}

/// `code ttl`, with what is to be done besides.
fn lookup(cache: &Cache, text: &str, now: Instant) -> String {
    let told = |what: &str, response: &Response| {
        let ttl = response.all_records().next().map_or(0, |record| record.ttl);
        format!("{what} {} {ttl}", u16::from(response.code))
    };
    match cache.get(&query(text), now) {
        Lookup::Hit(response) => told("hit", &response),
        Lookup::Refresh(response) => told("refresh", &response),
        Lookup::Stale(response) => told("stale", &response),
        Lookup::Miss => "miss".to_owned(),
    }
}

const fn seconds_after(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn answers_are_kept_for_their_ttl_which_runs_down() {
    let cache = cache(&config());
    let start = Instant::now();
    assert_eq!(lookup(&cache, "a.org.", start), "miss");

    cache.put(&query("a.org."), &mut address("a.org.", 60), start);

    assert_eq!(
        lookup(&cache, "A.ORG.", start + seconds_after(20)),
        "hit 0 40"
    );
    assert_eq!(
        lookup(&cache, "a.org.", start + seconds_after(59)),
        "hit 0 1"
    );
    assert_eq!(lookup(&cache, "a.org.", start + seconds_after(60)), "miss");
}

#[test]
fn times_are_kept_in_bounds_by_the_kind_of_answer() {
    let cache = cache(&config());
    let start = Instant::now();
    let none = ResponseCode::NoError;
    for (text, response, expected) in [
        ("short.org.", address("short.org.", 1), "hit 0 5"),
        ("long.org.", address("long.org.", 90_000), "hit 0 3600"),
        (
            "gone.org.",
            denial(ResponseCode::NXDomain, 90_000, 90_000),
            "hit 3 1800",
        ),
        // RFC 2308: the lower of the SOA's TTL and its minimum.
        ("minimum.org.", denial(none, 600, 30), "hit 0 30"),
        ("failed.org.", failure(), "hit 2 0"),
    ] {
        cache.put(&query(text), &mut response.clone(), start);
        assert_eq!(lookup(&cache, text, start), expected, "{text}");
    }
    assert_eq!(
        lookup(&cache, "failed.org.", start + seconds_after(5)),
        "miss"
    );
}

#[test]
fn what_must_not_be_kept_is_not() {
    let mut disabled = config();
    disabled.success.disabled = vec![name("off.org.")];
    let cache = cache(&disabled);
    let start = Instant::now();
    let truncated = Response {
        truncated: true,
        ..address("cut.org.", 60)
    };
    let other = Response::of_code(ResponseCode::Refused);
    let no_soa = Response::of_code(ResponseCode::NXDomain);
    for (text, response) in [
        ("cut.org.", truncated),
        ("refused.org.", other),
        ("nosoa.org.", no_soa),
        ("x.off.org.", address("x.off.org.", 60)),
    ] {
        cache.put(&query(text), &mut response.clone(), start);
        assert_eq!(lookup(&cache, text, start), "miss", "{text}");
    }
    assert!(!cache.concerns(&query("a.com.")));
}

#[test]
fn questions_that_differ_in_what_they_want_do_not_share_an_answer() {
    let cache = cache(&config());
    let start = Instant::now();
    cache.put(&query("a.org."), &mut address("a.org.", 60), start);

    let mut dnssec = query("a.org.");
    dnssec.edns = Some((1_232, true));
    assert!(matches!(cache.get(&dnssec, start), Lookup::Miss));
    let mut unchecked = query("a.org.");
    unchecked.checking_disabled = true;
    assert!(matches!(cache.get(&unchecked, start), Lookup::Miss));
}

#[test]
fn popular_answers_are_asked_for_again_once_before_they_expire() {
    let mut config = config();
    config.prefetch = Some(Prefetch {
        amount: 3,
        duration: Duration::from_secs(60),
        percentage: 20,
    });
    let cache = cache(&config);
    let start = Instant::now();
    cache.put(&query("a.org."), &mut address("a.org.", 60), start);

    for _ in 0..3 {
        assert_eq!(
            lookup(&cache, "a.org.", start + seconds_after(10)),
            "hit 0 50"
        );
    }
    assert_eq!(
        lookup(&cache, "a.org.", start + seconds_after(50)),
        "refresh 0 10"
    );
    assert_eq!(
        lookup(&cache, "a.org.", start + seconds_after(51)),
        "hit 0 9"
    );

    // What could not be had may be asked for again; what was had takes its place.
    cache.refreshed(&query("a.org."), failure(), start + seconds_after(52));
    assert_eq!(
        lookup(&cache, "a.org.", start + seconds_after(53)),
        "refresh 0 7"
    );
    cache.refreshed(
        &query("a.org."),
        address("a.org.", 60),
        start + seconds_after(54),
    );
    assert_eq!(
        lookup(&cache, "a.org.", start + seconds_after(54)),
        "hit 0 60"
    );
}

#[test]
fn an_answer_past_its_time_is_given_while_there_is_no_better_one() {
    let mut config = config();
    config.serve_stale = Some(ServeStale {
        duration: Duration::from_secs(3_600),
        verify: false,
    });
    let immediate = cache(&config);
    let start = Instant::now();
    immediate.put(&query("a.org."), &mut address("a.org.", 60), start);

    assert_eq!(
        lookup(&immediate, "a.org.", start + seconds_after(100)),
        "refresh 0 0"
    );
    assert_eq!(
        lookup(&immediate, "a.org.", start + seconds_after(100)),
        "hit 0 0"
    );
    // A failure does not take its place.
    immediate.put(&query("a.org."), &mut failure(), start + seconds_after(101));
    assert_eq!(
        lookup(&immediate, "a.org.", start + seconds_after(102)),
        "hit 0 0"
    );
    assert_eq!(
        lookup(&immediate, "a.org.", start + seconds_after(3_660)),
        "miss"
    );

    config.serve_stale = Some(ServeStale {
        duration: Duration::from_secs(3_600),
        verify: true,
    });
    let verifying = cache(&config);
    verifying.put(&query("a.org."), &mut address("a.org.", 60), start);
    assert_eq!(
        lookup(&verifying, "a.org.", start + seconds_after(100)),
        "stale 0 0"
    );
}

#[test]
fn a_full_cache_keeps_its_bound() {
    let cache = cache(&config());
    let start = Instant::now();
    for number in 0..1_000 {
        let text = format!("n{number}.org.");
        cache.put(&query(&text), &mut address(&text, 60), start);
    }
    assert!(
        cache.success.len() <= 100 + cache.success.num_shards(),
        "{}",
        cache.success.len()
    );
}
