//! The test.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::{fs, thread};

use hickory_proto::rr::RecordType;

use crate::answer::Said;
use crate::api_server::Cluster;
use crate::ask::{Question, Transport, ask};
use crate::differences::{ALL, Case};
use crate::objects;
use crate::patience::eventually;
use crate::questions::{Asked, questions};
use crate::servers::Server;

/// What is printed of differences that nobody expects: so many of each kind.
const EXAMPLES: usize = 2;

#[tokio::test]
async fn what_is_answered_differently_is_documented() {
    let cluster = Cluster::start();
    let client = cluster.admin().await;
    let imports = objects::imports();
    objects::write(&client, &imports).await;
    let (tombolo, core_dns) = (Server::tombolo(&cluster), Server::core_dns(&cluster));
    is_ready(&tombolo).await;
    is_ready(&core_dns).await;

    let asked = questions(&imports);
    let put: Vec<Question> = asked.iter().map(|asked| asked.question.clone()).collect();
    let (ours, theirs) = thread::scope(|scope| {
        let ask = |address: SocketAddr| {
            let put = &put;
            scope.spawn(move || ask(address, put))
        };
        let (ours, theirs) = (ask(tombolo.address), ask(core_dns.address));
        (ours.join().unwrap(), theirs.join().unwrap())
    });

    let mut counts: BTreeMap<&str, usize> = ALL.iter().map(|it| (it.name, 0)).collect();
    let mut unexpected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut same = 0;
    for ((asked, ours), theirs) in asked.iter().zip(ours).zip(theirs) {
        let ours = Said::new(&asked.question, &ours);
        let theirs = Said::new(&asked.question, &theirs);
        let as_asked = format!("{asked}\nours:   {ours}theirs: {theirs}");
        let mut case = Case {
            asked,
            ours,
            theirs,
        };
        let mut settled = false;
        for difference in ALL {
            if difference.settle(&mut case) {
                *counts.get_mut(difference.name).unwrap() += 1;
                settled = true;
            }
        }
        if !case.differ() {
            same += usize::from(!settled);
        } else {
            let kind = kind(&case);
            unexpected.entry(kind).or_default().push(as_asked);
        }
    }
    println!("{} questions, {same} with the same answer", asked.len());
    for (name, count) in &counts {
        println!("{count:>7}  {name}");
    }
    for (kind, cases) in &unexpected {
        println!("--- not documented, {} times: {kind}", cases.len());
        for case in cases.iter().take(EXAMPLES) {
            println!("{case}");
        }
    }
    assert!(unexpected.is_empty(), "see above");
    for (name, count) in counts {
        assert!(count > 0, "documented, but not so any more: {name}");
        assert!(
            documentation().contains(&format!("| {name} |")),
            "not documented: {name}"
        );
    }
}

/// Waits until all that there is has been heard of.
async fn is_ready(server: &Server) {
    let question = Question {
        name: "web.shop.svc.clusterset.local.".to_owned(),
        record_type: RecordType::A,
        class: 1,
        transport: Transport::Tcp,
    };
    eventually("the server answers", async || {
        if std::net::TcpStream::connect(server.address).is_err() {
            return Err(server.log());
        }
        let answers = ask(server.address, std::slice::from_ref(&question));
        let said = Said::new(&question, &answers[0]);
        if said.answers.is_empty() {
            return Err(format!("{said}\n{}", server.log()));
        }
        Ok(())
    })
    .await;
}

fn documentation() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/dns.md")).unwrap()
}

/// Cases of one kind most likely have one reason.
fn kind(case: &Case<'_>) -> String {
    let Case {
        asked,
        ours,
        theirs,
    } = case;
    let Asked { question, place } = asked;
    let mut differ = Vec::new();
    for (what, is_different) in [
        ("AA", ours.authoritative != theirs.authoritative),
        ("TC", ours.truncated != theirs.truncated),
        ("answers", ours.answers != theirs.answers),
        ("authorities", ours.authorities != theirs.authorities),
        ("additionals", ours.additionals != theirs.additionals),
        ("EDNS", ours.edns != theirs.edns),
    ] {
        if is_different {
            differ.push(what);
        }
    }
    let class = question.class;
    format!(
        "{place:?} {} (class {class}): {} / {} {differ:?}",
        question.record_type, ours.code, theirs.code
    )
}
