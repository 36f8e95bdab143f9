//! What holds for all bytes that another cluster may send, for the property tests, the fuzz
//! targets and the replay of their corpus.

use std::fmt::Debug;

use bytes::Bytes;
use tombolo_link_wire::{
    Answer, CatalogDecodeError, CatalogMessage, Control, DecodeError, FlowDatagram, FrameDecoder,
    Hello, Preface, ServiceHeadcounts,
};

/// Reads the content of a frame as each kind of message: what is one means the same after it was
/// written and read again, and what is none has a reason.
#[allow(dead_code)]
pub(crate) fn messages(content: &[u8]) {
    let content = Bytes::copy_from_slice(content);
    again(Hello::decode(content.clone()), Hello::encode, Hello::decode);
    again(
        Control::decode(content.clone()),
        |message| message.encode(),
        Control::decode,
    );
    again(
        Preface::decode(content.clone()),
        Preface::encode,
        Preface::decode,
    );
    again(
        Answer::decode(content.clone()),
        Answer::encode,
        Answer::decode,
    );
    again(
        ServiceHeadcounts::decode(content.clone()),
        ServiceHeadcounts::encode,
        ServiceHeadcounts::decode,
    );
    match CatalogMessage::decode(content) {
        Ok(message) => {
            let written = CatalogMessage::encode(&message).slice(4..);
            assert_eq!(CatalogMessage::decode(written), Ok(message));
        }
        Err(CatalogDecodeError::Broken(error)) => assert!(!error.reason().is_empty()),
        Err(CatalogDecodeError::Rejected(rejected)) => {
            assert!(!rejected.rejection.reason().is_empty());
        }
    }
}

fn again<T: Debug + PartialEq>(
    read: Result<T, DecodeError>,
    write: impl Fn(&T) -> Bytes,
    read_again: impl Fn(Bytes) -> Result<T, DecodeError>,
) {
    match read {
        Ok(message) => assert_eq!(read_again(write(&message).slice(4..)), Ok(message)),
        Err(error) => {
            assert!(!error.reason().is_empty());
            // Errors end in logs: they must not grow with what a stranger sent.
            assert!(error.to_string().len() < 1024, "{error}");
        }
    }
}

/// Reads a datagram: its flow and its payload are the same after they were written and read again,
/// and never take more bytes than it had.
#[allow(dead_code)]
pub(crate) fn datagram(bytes: &[u8]) {
    match FlowDatagram::decode(Bytes::copy_from_slice(bytes)) {
        Ok(read) => {
            let written = FlowDatagram::encode(read.flow, &read.payload);
            assert!(written.len() <= bytes.len());
            assert!(bytes.ends_with(&read.payload));
            assert_eq!(FlowDatagram::decode(written), Ok(read));
        }
        Err(error) => {
            assert!(bytes.len() < 8);
            assert_eq!(error.reason(), "FlowIdCutShort");
        }
    }
}

/// Cuts bytes into frames, in pieces of `piece` bytes: the same frames come out as from all bytes
/// at once, and none is longer than `limit`.
#[allow(dead_code)]
pub(crate) fn frames(bytes: &[u8], limit: usize, piece: usize) {
    let whole = cut(bytes, limit, bytes.len().max(1));
    assert_eq!(cut(bytes, limit, piece.max(1)), whole);
    let (frames, too_large) = whole;
    assert!(frames.iter().all(|frame| frame.len() <= limit));
    let taken: usize = frames.iter().map(|frame| 4 + frame.len()).sum();
    assert!(taken <= bytes.len());
    if let Some(length) = too_large {
        assert!(length > limit);
    }
}

fn cut(bytes: &[u8], limit: usize, piece: usize) -> (Vec<Bytes>, Option<usize>) {
    let mut decoder = FrameDecoder::new(limit);
    let mut frames = Vec::new();
    for mut piece in bytes.chunks(piece) {
        loop {
            match decoder.poll_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) if piece.is_empty() => break,
                Ok(None) => {
                    let taken = decoder.push(piece);
                    assert!(taken > 0);
                    piece = &piece[taken..];
                }
                Err(error) => return (frames, Some(error.length)),
            }
        }
    }
    (frames, None)
}
