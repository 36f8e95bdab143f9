//! UDP flows across a link.

use std::sync::Arc;

use tokio::sync::mpsc;
use tombolo_link::{
    Connect, Deliver, Event, FlowError, LinkFlow, NotSent, Protocol, StreamCode, StreamError,
};

use crate::cluster::{Cluster, Gateway, connect, patiently};

#[tokio::test(flavor = "multi_thread")]
async fn payloads_cross_both_ways_in_the_flow_of_their_own() {
    let (mut east, west) = linked().await;
    let (first, mut to_first, first_there, mut from_first) = open(&west, &mut east).await;
    let (second, mut to_second, second_there, mut from_second) = open(&west, &mut east).await;

    first.sender.send(b"one").unwrap();
    second.sender.send(b"two").unwrap();
    first_there.sender.send(b"").unwrap();
    second_there.sender.send(b"four").unwrap();

    assert_eq!(patiently(from_first.recv()).await.unwrap(), b"one");
    assert_eq!(patiently(from_second.recv()).await.unwrap(), b"two");
    assert_eq!(patiently(to_first.recv()).await.unwrap(), b"");
    assert_eq!(patiently(to_second.recv()).await.unwrap(), b"four");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fits_into_no_datagram_crosses_by_the_stream() {
    let (mut east, west) = linked().await;
    let (mut here, _, mut there, _) = open(&west, &mut east).await;
    let large = vec![7; 65_507];

    assert_eq!(here.sender.send(&large), Err(NotSent::TooLarge));
    here.writer.write(&large).await.unwrap();
    here.writer.write(b"").await.unwrap();

    assert_eq!(next(&mut there).await.unwrap().unwrap(), large);
    assert_eq!(next(&mut there).await.unwrap().unwrap(), b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_side_hears_how_a_flow_ended() {
    let (mut east, west) = linked().await;
    let (mut finished, _, mut there, _) = open(&west, &mut east).await;
    finished.writer.finish();
    assert_eq!(next(&mut there).await, Ok(None));

    let (mut over, _, mut there, _) = open(&west, &mut east).await;
    over.writer.reset(StreamCode::FlowOver);
    let reset = FlowError::Stream(StreamError::Reset(StreamCode::FlowOver));
    assert_eq!(next(&mut there).await, Err(reset));

    let (dropped, _, mut there, _) = open(&west, &mut east).await;
    drop(dropped);
    let reset = FlowError::Stream(StreamError::Reset(StreamCode::Abandoned));
    assert_eq!(next(&mut there).await, Err(reset));

    let (_lost, _, mut there, _) = open(&west, &mut east).await;
    west.links.close().await;
    let lost = next(&mut there).await;
    assert!(
        matches!(lost, Err(FlowError::Stream(StreamError::Lost(_)))),
        "{lost:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_of_a_flow_that_is_over_are_counted_and_hurt_no_other() {
    let (mut east, west) = linked().await;
    let (late, _, there, _) = open(&west, &mut east).await;
    drop(there);

    late.sender.send(b"late").unwrap();

    east.counted(Event::StrayPayload, "UnknownFlow").await;
    let (here, _, _there, mut arrives) = open(&west, &mut east).await;
    here.sender.send(b"in time").unwrap();
    assert_eq!(patiently(arrives.recv()).await.unwrap(), b"in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_no_payload_can_have_ends_the_flow() {
    let (mut east, west) = linked().await;
    let opening = opening(&west);
    let (deliver, _) = inbox();
    let responder = east.next_incoming().await.responder;
    let mut there = responder.opened_flow(deliver).await.unwrap();
    let mut stream = patiently(opening).await.unwrap();

    let length = 65_528_u32.to_be_bytes();
    let _ = stream.send.write_chunk(length.to_vec().into()).await;

    let ended = next(&mut there).await;
    assert!(matches!(ended, Err(FlowError::Malformed(_))), "{ended:?}");
}

// On one thread: nothing is transmitted while this test does not wait.
#[tokio::test]
async fn a_flood_is_dropped_where_it_is_sent() {
    let (mut east, west) = linked().await;
    let (here, _, _there, _arrives) = open(&west, &mut east).await;

    let sent: Vec<_> = (0..1000).map(|_| here.sender.send(&[0; 1000])).collect();

    let taken = sent.iter().take_while(|sent| sent.is_ok()).count();
    assert!((100..300).contains(&taken), "{taken} were taken");
    assert!(
        sent[taken..]
            .iter()
            .all(|sent| *sent == Err(NotSent::QueueFull))
    );
}

async fn linked() -> (Gateway, Gateway) {
    let (east, west) = (Cluster::new("east"), Cluster::new("west"));
    let (at_east, at_west) = (east.gateway("east-1"), west.gateway("west-1"));
    at_east.links.set_peers(vec![west.peer(&[])]);
    at_west
        .links
        .set_peers(vec![east.peer(&[at_east.address()])]);
    at_west.connected("east").await;
    (at_east, at_west)
}

type Inbox = mpsc::UnboundedReceiver<Vec<u8>>;

/// A flow from `near` to `far`: its two ends, each with what arrives there as datagrams.
async fn open(near: &Gateway, far: &mut Gateway) -> (LinkFlow, Inbox, LinkFlow, Inbox) {
    let opening = opening(near);
    let (deliver, arrives) = inbox();
    let responder = far.next_incoming().await.responder;
    let there = responder.opened_flow(deliver).await.unwrap();
    let stream = patiently(opening).await.unwrap();
    let (deliver, replies) = inbox();
    (stream.into_flow(deliver), replies, there, arrives)
}

fn opening(near: &Gateway) -> tokio::task::JoinHandle<tombolo_link::LinkStream> {
    let links = near.links.clone();
    let connect = Connect {
        protocol: Protocol::Udp,
        ..connect()
    };
    tokio::spawn(async move { links.open("east", &connect).await.unwrap() })
}

fn inbox() -> (Deliver, Inbox) {
    let (sender, inbox) = mpsc::unbounded_channel();
    let deliver = move |payload: &[u8]| {
        let _ = sender.send(payload.to_vec());
    };
    (Arc::new(deliver), inbox)
}

async fn next(flow: &mut LinkFlow) -> Result<Option<Vec<u8>>, FlowError> {
    let payload = patiently(flow.reader.next()).await?;
    Ok(payload.map(|payload| payload.to_vec()))
}
