use crate::world::{World, error};

#[test]
fn what_is_not_known_is_refused_with_its_place_and_what_is_known() {
    let unknown = error(". {\n    errors\n    template IN A\n}\n");
    assert!(
        unknown.starts_with(
            "Corefile:3:5: plugin \"template\" is not known; known are: bind, reload, "
        ),
        "{unknown}"
    );

    let option = error(". {\n cache {\n  sucess 5\n }\n}\n");
    assert_eq!(
        option,
        "Corefile:3:3: cache has no option \"sucess\"; known are: success, denial, prefetch, \
         serve_stale, servfail, disable, keepttl"
    );
}

#[test]
fn every_problem_has_its_place() {
    for (text, expected) in [
        (". {\n log\n", "1:3: a block is not closed"),
        (
            ". {\n log }\n",
            "2:6: the closing brace should be on a line of its own",
        ),
        ("}\n", "1:1: a closing brace has no opening one"),
        ("{\n}\n", "1:1: a block has no zone"),
        ("a.org, {\n}\n", "1:8: another zone should follow the comma"),
        ("a.org,\n", "1:1: another zone should follow the comma"),
        (". {\n log \"x\n}\n", "2:6: a quote is not closed"),
        ("(a) {\n", "1:1: a snippet is not closed"),
        (
            "(a) {\n}\n(a) {\n}\n",
            "3:1: snippet (a) is there already, at Corefile:1:1",
        ),
        (
            ". {\n import nothing\n}\n",
            "2:2: cannot import \"nothing\": no such file",
        ),
        (". {\n import\n}\n", "2:2: import needs a snippet or a file"),
        (". {\n import a b\n}\n", "2:11: \"b\" is one word too many"),
        (
            "a.org a.org {\n}\n",
            "1:7: a.org is there already, at Corefile:1:1",
        ),
        (
            ".:53 {\n}\na.org .:53 {\n}\n",
            "3:1: dns://.:53 is there already, at Corefile:1:1",
        ),
        (
            ". {\n cache\n cache\n}\n",
            "3:2: cache is there already, at Corefile:2:2",
        ),
        ("a..org {\n}\n", "1:1: \"a..org\" is not a zone like"),
        ("tls://. {\n}\n", "1:1: tls needs a certificate"),
        (". {\n forward .\n}\n", "2:10: . needs an address"),
        (
            ". {\n forward . 1.2.3\n}\n",
            "2:12: \"1.2.3\" is not an address",
        ),
        (
            ". {\n forward . tls://9.9.9.9\n}\n",
            "2:2: an upstream with tls:// needs a tls_servername",
        ),
        (
            ". {\n forward . 9.9.9.9 {\n  policy best\n }\n}\n",
            "3:10: \"best\" is not random, round_robin or sequential",
        ),
        (
            ". {\n forward . 9.9.9.9 {\n  expire 5\n }\n}\n",
            "3:10: \"5\" is not a duration",
        ),
        (
            ". {\n forward . 9.9.9.9 {\n  tls {\n }\n}\n",
            "3:7: no option here has a block",
        ),
        (
            ". {\n rewrite type A AAAA\n}\n",
            "2:10: \"type\" is not name, the only field",
        ),
        (
            ". {\n rewrite name regex ( x\n}\n",
            "2:21: \"(\" is no regular expression",
        ),
        (
            ". {\n kubernetes cluster.local\n}\n",
            "2:2: only zones of `multicluster` are answered here",
        ),
        (
            ". {\n kubernetes cluster.local clusterset.local {\n  multicluster clusterset.local\n }\n}\n",
            "2:2: only zones of `multicluster` are answered here: cluster.local.",
        ),
        (
            ". {\n multicluster clusterset.local\n}\na.org {\n multicluster other.local\n}\n",
            "4:1: the clusterset has one zone",
        ),
        (
            ". {\n multicluster\n}\n",
            "2:2: multicluster needs one zone",
        ),
        (
            ". {\n reload 1s\n}\n",
            "2:9: \"1s\" is not a duration of at least 2s",
        ),
        (
            ". {\n acl {\n  deny net 10.0.0.0/8\n }\n}\n",
            "3:3: acl has no option \"deny\"; known are: allow",
        ),
        (
            ". {\n acl {\n  block net 10.0.0.0/99\n }\n}\n",
            "3:13: \"10.0.0.0/99\" is not a network",
        ),
        (
            ". {\n loadbalance weighted\n}\n",
            "2:14: \"weighted\" is not round_robin",
        ),
        (". {\n bind eth0\n}\n", "2:7: \"eth0\" is not an IP address"),
    ] {
        let error = error(text);
        assert!(
            error.starts_with(&format!("Corefile:{expected}")),
            "{error}\n{text}"
        );
    }
}

#[test]
fn an_error_in_an_imported_file_names_that_file() {
    let world = World::default().with_file("more", "log\n  nonsense\n");

    let error = world.parse(". {\n import more\n}\n").unwrap_err();

    assert_eq!(
        (error.at.to_string().as_str(), error.reason()),
        ("more:2:3", "UnknownPlugin")
    );
}

#[test]
fn imports_that_never_end_are_refused() {
    let world = World::default().with_file("loop", "import loop\n");
    let error = world.parse(". {\n import loop\n}\n").unwrap_err();
    assert_eq!(error.reason(), "Import");
    assert!(error.to_string().ends_with("it imports itself"), "{error}");

    // Ten lines that would be a billion words.
    let mut text = "(s0) {\n a b c d e f g h\n}\n".to_owned();
    for level in 1..10 {
        let line = format!(" import s{}\n", level - 1).repeat(9);
        text.push_str(&format!("(s{level}) {{\n{line}}}\n"));
    }
    text.push_str(". {\n log {\n import s9\n }\n}\n");
    let error = World::default().parse(&text).unwrap_err();
    assert!(
        error.to_string().ends_with("too much is imported"),
        "{error}"
    );
}
