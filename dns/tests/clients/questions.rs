//! What programs are asked for, and what they must find.

use crate::pod::Pod;
use crate::servers::HOSTS;

/// What must be found.
enum Found {
    /// These, in any order.
    All(Vec<String>),
    /// At least so many of these: for a client that knows no TCP.
    Some(usize, Vec<String>),
}

/// What a program can do beside the names that libc finds.
#[derive(Clone, Copy)]
pub(crate) struct Skills {
    /// It asks again over TCP where an answer was cut.
    pub(crate) tcp: bool,
    /// It has a resolver beside libc's, of which records are asked as they are named.
    pub(crate) records: bool,
}

/// Puts all questions to a program that asks `resolver`, and checks what it finds.
pub(crate) fn ask_all(pod: &Pod, resolver: &str, program: &[&str], skills: Skills) {
    let questions = questions(skills);
    let input: String = questions
        .iter()
        .map(|(line, _)| format!("{line}\n"))
        .collect();

    let output = pod.output(resolver, program, &input);

    let mut lines = output.lines();
    for (question, expected) in questions {
        let line = lines.next().unwrap_or_default();
        let context = format!("{program:?} at {resolver}: {line}");
        let (asked, found) = line.split_once(':').expect(&context);
        assert_eq!(asked, question, "{context}");
        expected.check(found, &context);
    }
    assert_eq!(lines.next(), None);
}

fn questions(skills: Skills) -> Vec<(&'static str, Found)> {
    let addresses = || (0..HOSTS).map(|n| format!("10.0.0.{n}")).collect();
    let hosts = || {
        let host = |n| format!("5432/big-{n}.east.big.shop.svc.clusterset.local");
        (0..HOSTS).map(host).collect()
    };
    let many = |all: Vec<String>, at_least: usize| {
        if skills.tcp {
            Found::All(all)
        } else {
            Found::Some(at_least, all)
        }
    };
    let mut questions = vec![
        // By the search list first: four dots are fewer than five.
        (
            "addresses web.shop.svc.clusterset.local",
            Found::all(&["10.96.1.1"]),
        ),
        (
            "addresses web.shop.svc.clusterset.local.",
            Found::all(&["10.96.1.1"]),
        ),
        (
            "addresses WEB.Shop.sVc.ClusterSet.Local",
            Found::all(&["10.96.1.1"]),
        ),
        ("addresses web.shop", Found::all(&["10.96.1.1"])),
        (
            "addresses dual.shop.svc.clusterset.local",
            Found::all(&["10.96.1.2", "fd00::2"]),
        ),
        (
            "addresses big-7.east.big.shop.svc.clusterset.local",
            Found::all(&["10.0.0.7"]),
        ),
        (
            "addresses kubernetes.default.svc",
            Found::all(&["10.96.0.1"]),
        ),
        (
            "addresses none.shop.svc.clusterset.local",
            Found::all(&["not-found"]),
        ),
        // There is nothing at this name, but below it.
        (
            "addresses shop.svc.clusterset.local",
            Found::all(&["not-found"]),
        ),
        (
            "addresses big.shop.svc.clusterset.local",
            many(addresses(), 20),
        ),
        (
            "services _http._tcp.web.shop.svc.clusterset.local",
            Found::all(&["80/web.shop.svc.clusterset.local"]),
        ),
        (
            "services _none._tcp.web.shop.svc.clusterset.local",
            Found::all(&["not-found"]),
        ),
        (
            "services _sql._tcp.big.shop.svc.clusterset.local",
            many(hosts(), 5),
        ),
    ];
    if skills.records {
        questions.extend([
            (
                "records web.shop.svc.clusterset.local",
                Found::all(&["10.96.1.1"]),
            ),
            (
                "records dual.shop.svc.clusterset.local",
                Found::all(&["10.96.1.2", "fd00::2"]),
            ),
            (
                "records none.shop.svc.clusterset.local",
                Found::all(&["not-found"]),
            ),
            (
                "records big.shop.svc.clusterset.local",
                Found::All(addresses()),
            ),
        ]);
    }
    questions
}

// === impl Found ===

impl Found {
    fn all(words: &[&str]) -> Self {
        Self::All(words.iter().map(|&word| word.to_owned()).collect())
    }

    fn check(self, found: &str, context: &str) {
        let mut found: Vec<String> = found.split_whitespace().map(normalized).collect();
        found.sort();
        match self {
            Self::All(mut expected) => {
                expected.sort();
                assert_eq!(found, expected, "{context}");
            }
            Self::Some(at_least, all) => {
                assert!(found.len() >= at_least, "{context}");
                assert!(found.iter().all(|one| all.contains(one)), "{context}");
            }
        }
    }
}

/// Some write the dot at the end of a target, and some an address whole.
fn normalized(word: &str) -> String {
    let word = word.trim_end_matches('.');
    let address = word.parse::<std::net::IpAddr>();
    address.map_or_else(|_| word.to_owned(), |address| address.to_string())
}
