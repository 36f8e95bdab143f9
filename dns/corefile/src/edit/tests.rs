use proptest::prelude::*;

use super::*;

const ZONE: &str = "clusterset.local";

/// As kubeadm writes it, and a user has edited it.
const KUBEADM: &str = r#"# Managed by: platform team
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure   # needed by the old mesh
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}

# the office
corp.example:53	{
    forward . 192.0.2.1 192.0.2.2
    template IN ANY {
        answer "{{ .Name }} 60 IN TXT \"a } brace\""
    }
}
"#;

const BLOCK: &str = "\
# BEGIN tombolo: the names of the clusterset. Changes in this block are lost.
clusterset.local:53 {
    errors
    cache {
        success 9984 5 0
        denial 9984 1 0
    }
    loadbalance
    forward . 10.96.0.53 {
        max_concurrent 1000
    }
}
# END tombolo
";

fn server() -> IpAddr {
    "10.96.0.53".parse().unwrap()
}

fn install_into(corefile: &str) -> String {
    install(corefile, ZONE, server()).unwrap()
}

fn remove_from(corefile: &str) -> String {
    remove(corefile, ZONE).unwrap()
}

/// What kubeadm's migration makes of a file: comments and layout are lost.
fn migrated(corefile: &str) -> String {
    let blocks = corefile
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    blocks
        .map(|line| format!("{}\n", line.split('#').next().unwrap_or_default().trim()))
        .collect()
}

#[test]
fn the_block_goes_before_everything_and_nothing_else_changes() {
    assert_eq!(install_into(KUBEADM), format!("{BLOCK}{KUBEADM}"));
}

#[test]
fn removing_restores_every_byte() {
    for former in [
        KUBEADM,
        KUBEADM.trim_end(),
        "",
        "\n\n",
        "# nothing but a comment",
        "\u{feff}.:53 {\n whoami\n}",
        ".:53\n{\n    whoami\n}\n",
        ".:53 {\r\n    whoami\r\n}\r\n",
        "(log) {\n log\n}\n\n. {\n import log\n}\nimport /etc/coredns/custom/*.server\n",
    ] {
        let installed = install_into(former);

        assert!(installed.contains(BLOCK));
        assert_eq!(remove_from(&installed), former);
        assert_eq!(remove_from(former), former);
    }
}

#[test]
fn a_node_local_cache_listens_for_the_zone_where_it_listens_for_all() {
    // As the add-on ships it.
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
    forward . __PILLAR__CLUSTER__DNS__ {
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
    forward . __PILLAR__UPSTREAM__SERVERS__
    prometheus :9253
    }
";
    let installed = install_into(nodelocal);

    let bound = BLOCK.replace(
        "    errors\n",
        "    bind 169.254.20.10 10.96.0.10\n    errors\n",
    );
    assert_eq!(installed, format!("{bound}{nodelocal}"));
    assert_eq!(install_into(&installed), installed);
    assert_eq!(remove_from(&installed), nodelocal);
    // Without the markers it is known by its shape.
    let migrated = migrated(&installed);
    assert_eq!(words(&remove_from(&migrated)), words(nodelocal));
    // Blocks that listen in different places say nothing about ours.
    let apart = nodelocal.replacen("bind 169.254.20.10 10.96.0.10", "bind 169.254.20.10", 1);
    assert_eq!(install_into(&apart), format!("{BLOCK}{apart}"));
}

#[test]
fn markers_in_any_order_between_two_blocks_of_ours_do_no_harm() {
    let bare = "clusterset.local {\nloadbalance\nforward . 10.0.0.1:53\ncache 5\nerrors\n}\n";
    for between in [
        "# BEGIN tombolo\n# END tombolo\n",
        "# END tombolo\n# BEGIN tombolo\n",
        "# BEGIN tombolo\n# END tombolo\n# BEGIN tombolo\n# END tombolo\n",
    ] {
        let installed = install_into(&format!("{bare}{between}{BLOCK}"));

        assert!(installed.starts_with(BLOCK), "{installed}");
        assert_eq!(installed.matches("clusterset.local:53").count(), 1);
        assert_eq!(install_into(&installed), installed);
    }
}

#[test]
fn an_empty_text_becomes_the_block_and_empty_again() {
    assert_eq!(install_into(""), BLOCK);
    assert_eq!(remove_from(BLOCK), "");
}

#[test]
fn installing_again_changes_nothing() {
    let installed = install_into(KUBEADM);

    assert_eq!(install_into(&installed), installed);
}

#[test]
fn a_new_address_is_put_in_its_place() {
    let moved = format!("{KUBEADM}\n{BLOCK}# the end\n");
    let updated = install(&moved, ZONE, "fd00::53".parse().unwrap()).unwrap();

    assert_eq!(updated, moved.replace("10.96.0.53", "fd00::53"));
    assert_eq!(remove_from(&updated), format!("{KUBEADM}\n# the end\n"));
}

#[test]
fn a_block_of_an_earlier_form_is_replaced() {
    let old = BLOCK.replace("    loadbalance\n", "    log\n    cache 60\n");

    assert_eq!(
        install_into(&format!("{old}{KUBEADM}")),
        format!("{BLOCK}{KUBEADM}")
    );
    assert_eq!(remove_from(&format!("{old}{KUBEADM}")), KUBEADM);
}

#[test]
fn lost_markers_are_no_matter() {
    let rewritten = migrated(&install_into(KUBEADM));
    let former = migrated(KUBEADM);
    assert!(!rewritten.contains("tombolo"));

    assert_eq!(remove_from(&rewritten), former);
    let again = install_into(&rewritten);
    assert_eq!(again, format!("{BLOCK}{former}"));
    assert_eq!(remove_from(&again), former);
}

#[test]
fn one_lost_marker_leaves_no_other_behind() {
    for lost in [BEGIN, END] {
        let kept = |line: &&str| !line.starts_with(lost);
        let partial: String = BLOCK.split_inclusive('\n').filter(kept).collect();

        assert_eq!(
            remove_from(&format!("{partial}{KUBEADM}")),
            KUBEADM,
            "{lost}"
        );
    }
}

#[test]
fn what_others_put_between_the_markers_stays() {
    let note = "# a note\n";
    let other = "example.com:53 {\n    whoami\n}\n";
    let (begin, rest) = BLOCK.split_at(BLOCK.find(ZONE).unwrap());
    let (block, end) = rest.split_at(rest.find(END).unwrap());

    let edited = format!("{begin}{note}{block}{note}{end}{KUBEADM}");
    assert_eq!(remove_from(&edited), format!("{note}{note}{KUBEADM}"));

    let edited = format!("{begin}{block}{other}{end}{KUBEADM}");
    assert!(remove_from(&edited).starts_with(other));
}

#[test]
fn several_blocks_of_ours_become_one() {
    let second = migrated(BLOCK);

    assert_eq!(
        install_into(&format!("{BLOCK}{KUBEADM}{second}")),
        format!("{BLOCK}{KUBEADM}")
    );
}

#[test]
fn a_neighbour_on_the_same_line_stays() {
    let block = "clusterset.local {\nerrors\ncache\nloadbalance\nforward . 10.0.0.1\n}";

    assert_eq!(
        remove_from(&format!("{block} # ours\n. {{\n}}\n")),
        " # ours\n. {\n}\n"
    );
}

#[test]
fn somebody_elses_block_for_the_zone_is_left_alone() {
    for (corefile, expected_line, expected_key) in [
        (
            "clusterset.local:53 {\n    forward . 10.1.1.1\n}\n",
            1,
            "clusterset.local:53",
        ),
        ("\nClusterSet.Local. {\n}\n", 2, "ClusterSet.Local."),
        (
            "dns://clusterset.local:5353 {\n}\n",
            1,
            "dns://clusterset.local:5353",
        ),
        (". clusterset.local {\n}\n", 1, "clusterset.local"),
        (
            "example.com,\nclusterset.local {\n}\n",
            1,
            "clusterset.local",
        ),
        ("svc.clusterset.local {\n}\n", 1, "svc.clusterset.local"),
        (
            "clusterset.local {\nerrors\ncache\nloadbalance\nforward . 10.0.0.1 10.0.0.2\n}\n",
            1,
            "clusterset.local",
        ),
    ] {
        let (line, key) = (expected_line, expected_key.to_owned());
        let refusal = install(corefile, ZONE, server()).unwrap_err();

        assert_eq!(refusal, Refusal::ZoneTaken { line, key }, "{corefile}");
        assert_eq!(refusal.reason(), "ZoneTaken");
        assert_eq!(remove_from(corefile), corefile);
    }
    let neighbours = "local {\n}\nxclusterset.local {\n}\nclusterset.local.example {\n}\n";
    assert_eq!(install_into(neighbours), format!("{BLOCK}{neighbours}"));
}

#[test]
fn a_zone_that_coredns_answers_itself_is_left_alone() {
    let corefile = ".:53 {\n  kubernetes cluster.local clusterset.local {\n    \
                    multicluster clusterset.local\n  }\n}\n";

    let refusal = install(corefile, ZONE, server()).unwrap_err();

    assert_eq!(refusal, Refusal::Multicluster { line: 3 });
    assert!(install(corefile, "other.local", server()).is_ok());
}

#[test]
fn a_corefile_that_is_not_understood_is_left_alone() {
    for (corefile, expected_line) in [
        (".:53 {\n    errors\n", 1),
        (".:53 {\n    health {\n}\n", 1),
        ("}\n", 1),
        (".:53 {\n}\n}\n", 3),
        ("\n{\n}\n", 2),
        (".:53\n    errors\n", 2),
        ("example.com", 1),
        ("example.com,\n", 1),
        (".:53 {\n    log \"{common}\n}\n", 2),
        ("example.com{\n    errors\n}\n", 2),
    ] {
        for refusal in [
            install(corefile, ZONE, server()).unwrap_err(),
            remove(&format!("{corefile}# {ZONE}"), ZONE).unwrap_err(),
        ] {
            assert_eq!(refusal.reason(), "Syntax", "{corefile}");
            assert!(
                matches!(refusal, Refusal::Syntax { line, .. } if line == expected_line),
                "{corefile}: {refusal}"
            );
        }
        assert_eq!(remove_from(corefile), corefile);
    }
}

#[test]
fn a_reload_is_seen_where_it_is_a_word() {
    assert!(reloads(KUBEADM));
    assert!(!reloads(". {\n    # reload\n    errors\n}\n"));
}

#[test]
fn a_byte_order_mark_is_no_text_beside_our_block() {
    let ours =
        "\u{feff} clusterset.local {\nloadbalance\nforward . 10.0.0.1:53\ncache 5\nerrors\n}\n";

    let installed = install(ours, ZONE, server()).unwrap();

    assert_eq!(installed, format!("\u{feff}{BLOCK}"));
    assert_eq!(remove(&installed, ZONE).unwrap(), "\u{feff}");
}

/// Pieces that others write, some of which make no sense.
const OTHERS: [&str; 15] = [
    ".:53 {\n    errors\n    cache 30 {\n        success 9984\n    }\n}\n",
    "example.com {\n    template IN ANY {\n        answer \"\\\"}\"\n    }\n}\n",
    "(common) {\nlog\n}\n",
    "import custom/*.server\n",
    "# a comment {\n",
    "a.example,\nb.example\n{\n}\n",
    "\n",
    " ",
    "\r\n",
    "\u{a0}",
    "é {\n}\n",
    "{",
    "}",
    "\"",
    "word",
];

/// Pieces of our block, in this form or another.
const OURS: [&str; 5] = [
    BLOCK,
    "# BEGIN tombolo\n",
    "# END tombolo\n",
    "clusterset.local {\nloadbalance\nforward . 10.0.0.1:53\ncache 5\nerrors\n}\n",
    "clusterset.local:53 { # all\n    log\n}\n",
];

/// A byte order mark is one at the beginning only: elsewhere it would become one if what is before it
/// were ours.
fn corefile_of(pieces: Vec<&'static str>) -> impl Strategy<Value = String> {
    let mark = proptest::sample::select(vec!["", "", "", "\u{feff}"]);
    let piece = proptest::sample::select(pieces);
    let pieces = proptest::collection::vec(piece, 0..6);
    (mark, pieces).prop_map(|(mark, pieces)| mark.to_owned() + &pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_is_installed_can_be_removed_and_leaves_the_rest(
        corefile in corefile_of([&OTHERS[..], &OURS[..]].concat()),
    ) {
        let clean = remove(&corefile, ZONE);
        if let Ok(installed) = install(&corefile, ZONE, server()) {
            prop_assert!(blocks::parse(&installed).is_ok(), "{installed:?}");
            prop_assert_eq!(install(&installed, ZONE, server()), Ok(installed.clone()));
            let removed = remove(&installed, ZONE).unwrap();
            prop_assert_eq!(words(&removed), words(&clean.unwrap()));
        }
    }

    #[test]
    fn a_corefile_without_our_block_is_restored_to_the_byte(
        corefile in corefile_of(OTHERS.to_vec()),
    ) {
        if let Ok(installed) = install(&corefile, ZONE, server()) {
            prop_assert_eq!(remove(&corefile, ZONE), Ok(corefile.clone()));
            prop_assert_eq!(remove(&installed, ZONE), Ok(corefile));
        }
    }
}

/// None if a quote is not closed: what stood behind a removed block may then begin with one.
fn words(corefile: &str) -> Option<Vec<String>> {
    let words = lex(corefile).ok()?.into_iter();
    Some(words.map(|token| token.text.into_owned()).collect())
}
