//! Clients' connections across a link.

use bytes::Bytes;
use tombolo_link::{Event, OpenError, RefusalReason, Stopped, StreamCode, StreamError};

use crate::cluster::{Cluster, Gateway, connect, exchange, patiently, read_all};

#[tokio::test(flavor = "multi_thread")]
async fn bytes_cross_in_both_directions_whoever_dialled() {
    let (east, west) = linked().await;
    let (east, _echo_in_east) = east.echo();
    let (west, _echo_in_west) = west.echo();

    let there = west.open("east", &connect()).await.unwrap();
    assert_eq!(there.replica.as_ref(), "east-1");
    assert_eq!(exchange(there, "to east").await, "to east");
    let back = east.open("west", &connect()).await.unwrap();
    assert_eq!(exchange(back, "to west").await, "to west");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_far_gateway_sees_what_was_asked_and_by_whom() {
    let (mut east, west) = linked().await;
    let mut asked = connect();
    asked.source.cluster = "west".to_owned();
    asked.source.pod = "client-0".to_owned();
    asked.source.address = Some("10.0.0.7:40000".parse().unwrap());
    asked.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned();

    let opening = asked.clone();
    let links = west.links.clone();
    let opened = tokio::spawn(async move { links.open("east", &opening).await });
    let incoming = east.next_incoming().await;

    assert_eq!(*incoming.connect, asked);
    assert_eq!(incoming.peer.as_ref(), "west");
    assert_eq!(incoming.replica.as_ref(), "west-1");
    drop(incoming);
    let error = patiently(opened).await.unwrap().unwrap_err();
    assert_eq!(error.reason(), "Lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_comes_with_its_reason() {
    let (mut east, west) = linked().await;
    let links = west.links.clone();
    let opened = tokio::spawn(async move { links.open("east", &connect()).await });

    let incoming = east.next_incoming().await;
    let message = "demo/web has no ready endpoint";
    incoming
        .responder
        .refused(RefusalReason::NoReadyEndpoint, message)
        .await;

    let Err(OpenError::Refused(refusal)) = patiently(opened).await.unwrap() else {
        panic!("not refused");
    };
    assert_eq!(refusal.reason, RefusalReason::NoReadyEndpoint);
    assert_eq!(refusal.message, message);
    assert_eq!(east.count(Event::StreamIn, "NoReadyEndpoint"), 1);
    assert_eq!(west.count(Event::StreamOut, "NoReadyEndpoint"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preface_that_claims_too_much_is_refused() {
    let (_east, west) = linked().await;
    let refused = async |connect| match west.links.open("east", &connect).await {
        Err(OpenError::Refused(refusal)) => refusal.reason,
        other => panic!("{other:?}"),
    };

    let mut of_another_cluster = connect();
    of_another_cluster.source.cluster = "north".to_owned();
    assert_eq!(refused(of_another_cluster).await, RefusalReason::Malformed);
    let mut passed_east_before = connect();
    passed_east_before.path = vec!["north".to_owned(), "east".to_owned()];
    assert_eq!(refused(passed_east_before).await, RefusalReason::Loop);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_a_rule_is_not_sent() {
    let (_east, west) = linked().await;
    let mut malformed = connect();
    malformed.service.name = "Not A Label".to_owned();

    let error = west.links.open("east", &malformed).await.unwrap_err();

    assert_eq!(error.reason(), "Malformed");
    let error = west.links.open("north", &connect()).await.unwrap_err();
    assert_eq!(error, OpenError::UnknownCluster("north".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_half_ends_on_its_own() {
    let (mut east, west) = linked().await;
    let (mut client, mut server) = opened(&mut east, &west).await;

    client.send.write_chunk("question".into()).await.unwrap();
    client.send.finish();
    assert_eq!(read_all(&mut server).await, "question");
    server.send.write_chunk("answer".into()).await.unwrap();
    server.send.finish();

    assert_eq!(read_all(&mut client).await, "answer");
    assert_eq!(patiently(server.send.stopped()).await, Stopped::Received);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_a_reset_at_the_other_end() {
    let (mut east, west) = linked().await;
    let (mut client, mut server) = opened(&mut east, &west).await;

    client.send.reset(StreamCode::TcpReset);
    client.recv.stop(StreamCode::TcpReset);

    let read = patiently(server.recv.read_chunk(1)).await;
    assert_eq!(read, Err(StreamError::Reset(StreamCode::TcpReset)));
    let stopped = patiently(server.send.stopped()).await;
    assert_eq!(stopped, Stopped::Stopped(StreamCode::TcpReset));
    let written = server.send.write_chunk("late".into()).await;
    assert_eq!(written, Err(StreamError::Stopped(StreamCode::TcpReset)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_stream_never_looks_complete() {
    let (mut east, west) = linked().await;
    let (mut client, mut server) = opened(&mut east, &west).await;
    client.send.write_chunk("half of it".into()).await.unwrap();

    drop(client);

    let last = loop {
        match patiently(server.recv.read_chunk(4096)).await {
            Ok(Some(_)) => {}
            last => break last,
        }
    };
    assert_eq!(last, Err(StreamError::Reset(StreamCode::Abandoned)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_waits_holds_its_own_writer_only() {
    let (mut east, west) = linked().await;
    let (mut stalled, stalled_server) = opened(&mut east, &west).await;
    let chunk = Bytes::from(vec![0; 1024 * 1024]);

    // The window is 4 MiB: the writer must stop long before this is through.
    let writer = tokio::spawn(async move {
        let mut written = 0;
        for _ in 0..64 {
            stalled.send.write_chunk(chunk.clone()).await?;
            written += chunk.len();
        }
        stalled.send.finish();
        stalled.send.stopped().await;
        Ok::<usize, StreamError>(written)
    });
    let (client, mut server) = opened(&mut east, &west).await;
    let question = tokio::spawn(exchange(client, "past it"));
    assert_eq!(read_all(&mut server).await, "past it");
    server.send.finish();
    assert_eq!(patiently(question).await.unwrap(), "");
    assert!(!writer.is_finished());

    let mut stalled_server = stalled_server;
    let mut read = 0;
    while let Some(chunk) = patiently(stalled_server.recv.read_chunk(1 << 20))
        .await
        .unwrap()
    {
        read += chunk.len();
    }
    assert_eq!(read, 64 * 1024 * 1024);
    assert_eq!(patiently(writer).await.unwrap(), Ok(read));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_streams_than_allowed_are_refused_instead_of_hanging() {
    let east = Cluster::new("east");
    let west = Cluster::new("west");
    let mut in_east = east.gateway_with("east-1", &east.issue(), |config| config.max_streams = 2);
    let in_west = west.gateway("west-1");
    in_east.links.set_peers(vec![west.peer(&[])]);
    in_west
        .links
        .set_peers(vec![east.peer(&[in_east.address()])]);
    in_west.connected("east").await;

    let mut held = Vec::new();
    let error = loop {
        let links = in_west.links.clone();
        let mut opening = tokio::spawn(async move { links.open("east", &connect()).await });
        let answer = tokio::select! {
            incoming = in_east.next_incoming() => {
                held.push(incoming.responder.opened().await.unwrap());
                patiently(opening).await.unwrap()
            }
            answer = &mut opening => answer.unwrap(),
        };
        match answer {
            Ok(stream) => held.push(stream),
            Err(error) => break error,
        }
    };

    assert_eq!(error.reason(), "Overloaded");
    // Of the eight beyond the limit the control stream takes one, and that of headcounts one if it
    // was quicker than these.
    let held_streams = held.len() / 2;
    assert!(
        (2 + 8 - 2..=2 + 8 - 1).contains(&held_streams),
        "{held_streams}"
    );
    held.clear();
    let (in_east, _echo) = in_east.echo();
    let stream = loop {
        if let Ok(stream) = in_west.links.open("east", &connect()).await {
            break stream;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    assert_eq!(exchange(stream, "again").await, "again");
    drop(in_east);
}

/// Ten jumbo packets are more than one call with segment offload takes.
#[tokio::test(flavor = "multi_thread")]
async fn jumbo_packets_are_found_and_lost_by_nobody() {
    let east = Cluster::new("east");
    let west = Cluster::new("west");
    let mut in_east = east.gateway("east-1");
    let in_west = west.gateway("west-1");
    in_east.links.set_peers(vec![west.peer(&[])]);
    in_west
        .links
        .set_peers(vec![east.peer(&[in_east.address()])]);
    in_west.connected("east").await;
    let (mut client, mut server) = opened(&mut in_east, &in_west).await;

    let chunk = Bytes::from(vec![0; 1024 * 1024]);
    let reader = tokio::spawn(async move {
        let mut read = 0;
        while let Ok(Some(chunk)) = server.recv.read_chunk(1 << 20).await {
            read += chunk.len();
        }
        read
    });
    for _ in 0..64 {
        patiently(client.send.write_chunk(chunk.clone()))
            .await
            .unwrap();
    }
    client.send.finish();

    assert_eq!(patiently(reader).await.unwrap(), 64 * 1024 * 1024);
    let connections = in_west.links.connections();
    assert_eq!(connections[0].mtu, 8972);
    assert_eq!(connections[0].black_holes, 0);
}

/// A gateway in each of two clusters; west dials.
async fn linked() -> (Gateway, Gateway) {
    let east = Cluster::new("east");
    let west = Cluster::new("west");
    let in_east = east.gateway("east-1");
    let in_west = west.gateway("west-1");
    in_east.links.set_peers(vec![west.peer(&[])]);
    in_west
        .links
        .set_peers(vec![east.peer(&[in_east.address()])]);
    in_west.connected("east").await;
    in_east.connected("west").await;
    (in_east, in_west)
}

/// Both ends of a stream.
async fn opened(
    east: &mut Gateway,
    west: &Gateway,
) -> (tombolo_link::LinkStream, tombolo_link::LinkStream) {
    let links = west.links.clone();
    let opening = tokio::spawn(async move { links.open("east", &connect()).await });
    let server = east.next_incoming().await.responder.opened().await.unwrap();
    (patiently(opening).await.unwrap().unwrap(), server)
}
