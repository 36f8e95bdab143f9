use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::rr::{Name, RecordType};
use tombolo_dns_corefile::plugins::{
    AclAction, AnswerRewrite, LogClass, Policy, Prefetch, ServeStale,
};

use crate::world::{server, servers};

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

#[test]
fn forward_has_the_defaults_of_coredns() {
    let forward = server("forward example.org 9.9.9.9 [2620:fe::9]:5353")
        .plugins
        .forward
        .remove(0);

    assert_eq!(forward.from, [name("example.org.")]);
    assert_eq!(forward.policy, Policy::Random);
    assert_eq!((forward.max_fails, forward.max_concurrent), (2, 0));
    assert_eq!(forward.expire, Duration::from_secs(10));
    assert_eq!(forward.health_check.interval, Duration::from_millis(500));
    let addresses: Vec<String> = forward
        .upstreams
        .iter()
        .map(|upstream| upstream.address.to_string())
        .collect();
    assert_eq!(addresses, ["9.9.9.9:53", "[2620:fe::9]:5353"]);
}

#[test]
fn forward_takes_every_option() {
    let lines = "forward . tls://9.9.9.9%dns.quad9.net tls://1.1.1.1:8853 {
        except a.org b.org
        policy round_robin
        expire 30s
        max_fails 3
        max_concurrent 1000
        max_connect_attempts 4
        tls_servername one.one
        tls /ca.pem
        health_check 2s no_rec domain probe.org
        next NXDOMAIN SERVFAIL
        prefer_udp
        failfast_all_unhealthy_upstreams
    }";
    let forward = server(lines).plugins.forward.remove(0);

    assert_eq!(forward.except, [name("a.org."), name("b.org.")]);
    assert_eq!(forward.policy, Policy::RoundRobin);
    assert_eq!(
        forward.upstreams[0].server_name.as_deref(),
        Some("dns.quad9.net")
    );
    assert_eq!(forward.upstreams[0].address.to_string(), "9.9.9.9:853");
    assert_eq!(forward.upstreams[1].address.to_string(), "1.1.1.1:8853");
    assert_eq!(forward.tls.server_name.as_deref(), Some("one.one"));
    assert_eq!(forward.tls.authority.as_deref(), Some("/ca.pem"));
    assert!(!forward.health_check.recursion);
    assert_eq!(forward.health_check.domain, name("probe.org."));
    assert_eq!(forward.next, [3, 2]);
    assert!(forward.prefer_udp && forward.fail_fast);
}

#[test]
fn cache_has_sizes_and_times_of_both_kinds() {
    let cache = server("cache").plugins.cache.unwrap();
    assert_eq!(
        (
            cache.success.max_ttl,
            cache.success.min_ttl,
            cache.success.capacity
        ),
        (3_600, 5, 9_984)
    );
    assert_eq!((cache.denial.max_ttl, cache.denial.min_ttl), (1_800, 5));
    assert_eq!((cache.serve_stale, cache.prefetch), (None, None));

    let cache = server("cache 30 example.org {\n success 100 60 2\n denial 50 0\n prefetch 10 1m 20%\n serve_stale 2h verify\n servfail 0\n disable denial x.org\n}").plugins.cache.unwrap();
    assert_eq!(cache.zones, [name("example.org.")]);
    assert_eq!(
        (
            cache.success.max_ttl,
            cache.success.min_ttl,
            cache.success.capacity
        ),
        (60, 2, 100)
    );
    assert_eq!(
        (
            cache.denial.max_ttl,
            cache.denial.min_ttl,
            cache.denial.capacity
        ),
        (0, 0, 50)
    );
    assert_eq!(cache.denial.disabled, [name("x.org.")]);
    assert_eq!(
        cache.prefetch,
        Some(Prefetch {
            amount: 10,
            duration: Duration::from_secs(60),
            percentage: 20
        })
    );
    assert_eq!(
        cache.serve_stale,
        Some(ServeStale {
            duration: Duration::from_secs(7_200),
            verify: true
        })
    );
    assert_eq!(cache.servfail, Duration::ZERO);
}

#[test]
fn the_zone_of_the_clusterset_is_named_in_two_ways() {
    let texts = [
        "clusterset.local {\n multicluster {\n  ttl 7\n }\n}",
        ". {\n multicluster clusterset.local {\n  ttl 7\n }\n}",
        ". {\n kubernetes clusterset.local {\n  multicluster clusterset.local\n  ttl 7\n }\n}",
        "clusterset.local {\n kubernetes {\n  multicluster\n  ttl 7\n }\n}",
    ];
    for text in texts {
        let zone = servers(text).remove(0).plugins.multicluster.unwrap();
        assert_eq!(
            (zone.zone, zone.ttl, zone.startup_timeout),
            (name("clusterset.local."), Some(7), None),
            "{text}"
        );
    }
}

#[test]
fn the_names_of_the_clusterset_are_waited_for_as_long_as_one_says() {
    for text in [
        "clusterset.local {\n multicluster {\n  startup_timeout 1m30s\n }\n}",
        "clusterset.local {\n kubernetes {\n  multicluster\n  startup_timeout 90s\n }\n}",
    ] {
        let zone = servers(text).remove(0).plugins.multicluster.unwrap();
        assert_eq!(
            zone.startup_timeout,
            Some(Duration::from_secs(90)),
            "{text}"
        );
    }
}

#[test]
fn rewrites_change_a_name_in_each_way() {
    for (rule, from, to) in [
        ("name a.org b.org", "A.org.", Some("b.org.")),
        ("name a.org b.org", "x.a.org.", None),
        ("name exact a.org. b.org.", "a.org.", Some("b.org.")),
        (
            "name prefix dev- prod-",
            "dev-1.a.org.",
            Some("prod-1.a.org."),
        ),
        (
            "name suffix .east.example .svc.clusterset.local",
            "web.shop.east.example.",
            Some("web.shop.svc.clusterset.local."),
        ),
        (
            "stop name substring east west",
            "x.east.east.org.",
            Some("x.west.west.org."),
        ),
        (
            "continue name regex (.*)-(us|eu)\\.org {1}.{2}.org answer auto",
            "db-eu.org.",
            Some("db.eu.org."),
        ),
        (
            "name regex (.*)-(us|eu)\\.org {1}.{2}.org",
            "db-ap.org.",
            None,
        ),
        // What would be no name is left alone.
        ("name suffix .a.org ..", "x.a.org.", None),
    ] {
        let rule = server(&format!("rewrite {rule}")).plugins.rewrite.remove(0);
        let rewritten = rule.name.rewrite(&name(from));
        assert_eq!(rewritten, to.map(name), "{from}");
    }
}

#[test]
fn rewrites_of_the_answer_come_with_the_rule() {
    let lines = "rewrite continue {\n name regex (.*)\\.x\\.org {1}.y.org\n answer name (.*)\\.y\\.org {1}.x.org\n answer value (.*)\\.y\\.org {1}.x.org\n}";
    let rule = server(lines).plugins.rewrite.remove(0);

    assert!(rule.goes_on);
    assert!(matches!(
        rule.answers.as_slice(),
        [AnswerRewrite::Name(..), AnswerRewrite::Value(..)]
    ));
    // The whole name can always be put back.
    let exact = server("rewrite name a.org b.org").plugins.rewrite.remove(0);
    assert_eq!(exact.answers, [AnswerRewrite::Auto]);
}

#[test]
fn hosts_are_of_a_file_and_of_the_corefile() {
    let hosts = server("hosts /etc/more a.org {\n 10.0.0.1 x.a.org y.a.org\n ::1 z.a.org\n ttl 60\n no_reverse\n fallthrough\n}").plugins.hosts.unwrap();

    assert_eq!(hosts.source.file, "/etc/more");
    assert_eq!(hosts.source.inline.len(), 2);
    assert_eq!((hosts.ttl, hosts.reverse), (60, false));
    assert_eq!(hosts.fallthrough, [Name::root()]);
}

#[test]
fn the_first_rule_of_an_access_list_that_fits_decides() {
    let acl = server("acl a.org {\n allow net 10.1.0.0/16\n drop type ANY net 192.0.2.1\n block type A net 10.0.0.0/8 ::1\n filter net *\n}").plugins.acl.remove(0);
    let action = |client: &str, record_type| {
        acl.action(
            &name("x.a.org."),
            record_type,
            client.parse::<IpAddr>().unwrap(),
        )
    };

    assert_eq!(action("10.1.2.3", RecordType::A), AclAction::Allow);
    assert_eq!(action("10.2.2.3", RecordType::A), AclAction::Block);
    assert_eq!(action("::ffff:10.2.2.3", RecordType::A), AclAction::Block);
    assert_eq!(action("::1", RecordType::A), AclAction::Block);
    assert_eq!(action("10.2.2.3", RecordType::AAAA), AclAction::Filter);
    assert_eq!(action("192.0.2.1", RecordType::TXT), AclAction::Drop);
    let elsewhere = acl.action(&name("b.org."), RecordType::A, "10.2.2.3".parse().unwrap());
    assert_eq!(elsewhere, AclAction::Allow);
}

#[test]
fn what_tells_of_the_program_has_the_ports_of_coredns() {
    let plugins = server("health {\n lameduck 5s\n}\nready\nprometheus\nreload\nerrors\nlog . {\n class denial error\n}").plugins;

    let health = plugins.health.unwrap();
    assert_eq!(
        (health.address.port(), health.lameduck),
        (8_080, Duration::from_secs(5))
    );
    assert_eq!(plugins.ready.unwrap().port(), 8_181);
    assert_eq!(plugins.prometheus.unwrap().to_string(), "127.0.0.1:9153");
    let reload = plugins.reload.unwrap();
    assert_eq!(
        (reload.interval.as_secs(), reload.jitter.as_secs()),
        (30, 15)
    );
    assert_eq!(plugins.log[0].classes, [LogClass::Denial, LogClass::Error]);
    assert!(
        plugins.log[0]
            .format
            .starts_with("{remote}:{port} - {>id} \"{type} ")
    );
    assert!(server("reload off").plugins.reload.is_none());
}

#[test]
fn limits_of_other_answers_are_that_of_answers() {
    let limit = server("rrl {\n responses-per-second 20\n errors-per-second 5\n window 30\n}")
        .plugins
        .limit
        .unwrap();

    assert_eq!(
        (
            limit.responses_per_second,
            limit.nxdomains_per_second,
            limit.errors_per_second
        ),
        (20, 20, 5)
    );
    assert_eq!(
        (limit.window.as_secs(), limit.ipv4_prefix, limit.ipv6_prefix),
        (30, 24, 56)
    );
}
