use crate::world::{World, servers};

fn keys(text: &str) -> Vec<Vec<String>> {
    let servers = servers(text).into_iter();
    let keys = servers.map(|server| {
        let keys = server.keys.iter();
        keys.map(|key| format!("{}://{}:{}", key.scheme, key.zone, key.port))
            .collect()
    });
    keys.collect()
}

#[test]
fn a_block_answers_several_zones_at_several_places() {
    assert_eq!(
        keys("example.org example.com:1053 {\n log\n}\n10.0.0.0/24, 2001:db8::/32 {\n}\n"),
        [
            vec!["dns://example.org.:53", "dns://example.com.:1053"],
            vec![
                "dns://0.0.10.in-addr.arpa.:53",
                "dns://8.b.d.0.1.0.0.2.ip6.arpa.:53"
            ],
        ]
    );
    assert_eq!(
        keys("a.org,\n  b.org,\nc.org\n{\n log\n}\n"),
        [["dns://a.org.:53", "dns://b.org.:53", "dns://c.org.:53"]]
    );
}

#[test]
fn a_single_block_needs_no_braces() {
    let servers = servers("example.org:1053\nlog\nforward . 9.9.9.9 {\n policy sequential\n}\n");

    assert_eq!(servers.len(), 1);
    assert_eq!(servers[0].plugins.names(), ["log", "forward"]);
}

#[test]
fn listening_places_are_those_of_bind_and_port() {
    let servers = servers(".:53 a.org:53 {\n bind 127.0.0.1 ::1\n}\nb.org:1053 {\n}\n");

    let addresses = |index: usize| -> Vec<String> {
        let addresses = servers[index].addresses().into_iter();
        addresses.map(|(_, address)| address.to_string()).collect()
    };
    assert_eq!(addresses(0), ["127.0.0.1:53", "[::1]:53"]);
    assert_eq!(addresses(1), ["[::]:1053"]);
}

#[test]
fn blocks_bound_apart_may_answer_the_same_zone() {
    let servers = servers(".:53 {\n bind 127.0.0.1\n}\n.:53 {\n bind 127.0.0.2\n}\n");

    assert_eq!(servers.len(), 2);
}

#[test]
fn snippets_stand_for_their_lines() {
    let text = "\
(common) {
    errors
    cache 30 {
        success 100
    }
}
(all) {
    import common
    log
}
a.org {
    import all
    forward . 9.9.9.9
}
b.org {
    forward . 9.9.9.9
    import common
}
";
    let servers = servers(text);

    assert_eq!(
        servers[0].plugins.names(),
        ["errors", "log", "cache", "forward"]
    );
    assert_eq!(servers[1].plugins.names(), ["errors", "cache", "forward"]);
    assert_eq!(
        servers[0].plugins.cache.as_ref().unwrap().success.capacity,
        100
    );
}

#[test]
fn an_import_may_bring_options_and_whole_blocks() {
    let world = World::default()
        .with_file("custom/b.server", "b.org {\n log\n}\n")
        .with_file("custom/a.server", "a.org {\n errors\n}")
        .with_file("upstreams", "policy sequential\nmax_concurrent 7\n");
    let text = "import custom/*.server\n. {\n forward . 9.9.9.9 {\n  import upstreams\n }\n}\nimport none/*.conf\n";

    let servers = world.parse(text).unwrap().servers;

    let zones: Vec<String> = servers
        .iter()
        .map(|server| server.keys[0].zone.to_ascii())
        .collect();
    assert_eq!(zones, ["a.org.", "b.org.", "."]);
    assert_eq!(servers[2].plugins.forward[0].max_concurrent, 7);
    assert_eq!(&*servers[1].at.file, "custom/b.server");
}

#[test]
fn variables_are_replaced_in_both_notations_and_never_twice() {
    let world = World::default()
        .with_variable("ZONE", "example.org")
        .with_variable("UPSTREAM", "9.9.9.9")
        .with_variable("SELF", "{$SELF}")
        .with_variable("PLUGIN", "log");
    let text = "{$ZONE}:{%PORT%}1053 {\n {$PLUGIN}\n forward . {%UPSTREAM%}:5{$NONE}3\n log . \"{$SELF} {$} x\"\n}\n";

    let servers = world.parse(text).unwrap().servers;

    assert_eq!(servers[0].keys[0].port, 1053);
    assert_eq!(servers[0].keys[0].zone.to_ascii(), "example.org.");
    let upstream = &servers[0].plugins.forward[0].upstreams[0];
    assert_eq!(upstream.address.to_string(), "9.9.9.9:53");
    assert_eq!(servers[0].plugins.log[1].format, "{$SELF} {$} x");
}

#[test]
fn comments_quotes_and_odd_line_ends_are_understood() {
    let text =
        "\u{feff}# first\r\n. { # open\r\n log . \"{remote} \\\"quoted\\\" # none\"\r\n}\r\n";

    assert_eq!(
        servers(text)[0].plugins.log[0].format,
        "{remote} \"quoted\" # none"
    );
}

#[test]
fn the_corefiles_of_kubeadm_and_of_nodelocal_are_read() {
    let nodelocal = "\
cluster.local:53 {
    errors
    cache {
        success 9984 30
        denial 9984 5
    }
    reload
    loop
    bind 169.254.20.10 10.96.0.10
    forward . 10.96.0.11 {
        force_tcp
    }
    prometheus :9253
    health 169.254.20.10:8080
}
.:53 {
    errors
    cache 30
    reload
    loop
    bind 169.254.20.10 10.96.0.10
    forward . /etc/resolv.conf
    prometheus :9253
}
";
    let world = World::default().with_file(
        "/etc/resolv.conf",
        "search x\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\n",
    );

    let servers = world.parse(nodelocal).unwrap().servers;

    let cache = servers[0].plugins.cache.as_ref().unwrap();
    assert_eq!((cache.denial.max_ttl, cache.denial.min_ttl), (5, 5));
    assert!(servers[0].plugins.forward[0].force_tcp);
    let upstreams: Vec<String> = servers[1].plugins.forward[0]
        .upstreams
        .iter()
        .map(|upstream| upstream.address.to_string())
        .collect();
    assert_eq!(upstreams, ["192.0.2.1:53", "[fe80::1]:53"]);
}
