//! Instructions for what crosses a link with each stream, frame and datagram: `bench/instructions.sh`.

#![allow(
    missing_docs,
    unused_qualifications,
    reason = "of what gungraun's macros make"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use gungraun::prelude::*;
use tombolo_catalog::ServiceName;
use tombolo_link_wire::{
    Answer, Connect, FlowDatagram, FlowId, FrameDecoder, Preface, Protocol, Source, frame_payload,
    limits,
};

/// About what fits into a datagram of a path of 1,500 bytes.
const DATAGRAM: usize = 1_200;
const LARGE: usize = 16 << 10;

/// As a gateway that knows its clients writes it.
fn preface() -> Preface {
    Preface::Connect(Box::new(Connect {
        service: ServiceName::new("shop", "checkout"),
        protocol: Protocol::Tcp,
        port: 8080,
        endpoint: None,
        source: Source {
            cluster: "east".to_owned(),
            namespace: "shop".to_owned(),
            pod: "frontend-7c9d6b5f4-x2vqp".to_owned(),
            service_account: "frontend".to_owned(),
            address: Some(SocketAddr::new(
                Ipv4Addr::new(10, 244, 1, 17).into(),
                41_234,
            )),
        },
        path: Vec::new(),
        traceparent: String::new(),
        selector: BTreeMap::new(),
        zone: "eu-central-1a".to_owned(),
        affinity: None,
    }))
}

fn framed_preface() -> Bytes {
    preface().encode()
}

fn framed_payload(length: usize) -> Bytes {
    frame_payload(&vec![7; length])
}

fn framed_answer() -> Bytes {
    Answer::Opened.encode()
}

fn flow() -> FlowId {
    FlowId::of_stream(4_242)
}

fn payload(length: usize) -> Vec<u8> {
    vec![7; length]
}

fn datagram(length: usize) -> Bytes {
    FlowDatagram::encode(flow(), &payload(length))
}

/// The content of the first frame of what came, as a stream's reader has it.
fn unframe(stream: &[u8], limit: usize) -> Option<Bytes> {
    let mut decoder = FrameDecoder::new(limit);
    let mut taken = 0;
    while taken < stream.len() {
        taken += decoder.push(&stream[taken..]);
        if let Some(frame) = decoder.poll_frame().ok()? {
            return Some(frame);
        }
    }
    None
}

#[library_benchmark]
#[bench::connect(setup = preface)]
fn encode_preface(preface: Preface) -> (Preface, Bytes) {
    let encoded = black_box(&preface).encode();
    (preface, encoded)
}

#[library_benchmark]
#[bench::connect(setup = framed_preface)]
fn decode_preface(stream: Bytes) -> (Bytes, Preface) {
    let content = unframe(black_box(&stream), limits::PREFACE).expect("a whole frame");
    let preface = Preface::decode(content).expect("what was encoded");
    (stream, preface)
}

#[library_benchmark]
#[bench::opened()]
fn encode_answer() -> Bytes {
    black_box(Answer::Opened).encode()
}

#[library_benchmark]
#[bench::opened(setup = framed_answer)]
fn decode_answer(stream: Bytes) -> (Bytes, Answer) {
    let content = unframe(black_box(&stream), limits::ANSWER).expect("a whole frame");
    let answer = Answer::decode(content).expect("what was encoded");
    (stream, answer)
}

#[library_benchmark]
#[bench::bytes_16384(args = (LARGE), setup = payload)]
fn encode_frame(payload: Vec<u8>) -> (Vec<u8>, Bytes) {
    let frame = frame_payload(black_box(&payload));
    (payload, frame)
}

#[library_benchmark]
#[bench::bytes_16384(args = (LARGE), setup = framed_payload)]
fn decode_frame(stream: Bytes) -> (Bytes, Bytes) {
    let content = unframe(black_box(&stream), LARGE).expect("a whole frame");
    (stream, content)
}

#[library_benchmark]
#[bench::bytes_1200(args = (DATAGRAM), setup = payload)]
fn encode_datagram(payload: Vec<u8>) -> (Vec<u8>, Bytes) {
    let datagram = FlowDatagram::encode(black_box(flow()), black_box(&payload));
    (payload, datagram)
}

#[library_benchmark]
#[bench::bytes_1200(args = (DATAGRAM), setup = datagram)]
fn decode_datagram(datagram: Bytes) -> FlowDatagram {
    FlowDatagram::decode(black_box(datagram)).expect("what was encoded")
}

library_benchmark_group!(
    name = streams,
    benchmarks = [encode_preface, decode_preface, encode_answer, decode_answer]
);
library_benchmark_group!(
    name = flows,
    benchmarks = [encode_frame, decode_frame, encode_datagram, decode_datagram]
);

main!(library_benchmark_groups = [streams, flows]);
