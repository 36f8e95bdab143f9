//! Between the boxes and the TCP connection.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tombolo_link_wire::{FrameDecoder, FrameTooLarge, limits};

use super::outbox::Outbox;

/// What is read at a time: a few TLS records.
const READ: usize = 64 * 1024;
/// How long what quinn said at last may take to leave.
const FLUSH: Duration = Duration::from_secs(2);
/// How long the other side may take to close its side: what it sends meanwhile is read, since a TCP
/// connection that is closed unread is reset, and takes with it what it has not delivered yet.
const LINGER: Duration = Duration::from_secs(1);
/// The other side ends a tunnel once its QUIC connection has ended. What it said of that is in the
/// inbox by then, and is to be read before the tunnel's end is told.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Why nothing comes through a tunnel any more.
#[derive(Debug, thiserror::Error)]
enum PumpError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the other side sent {0}")]
    Frame(#[from] FrameTooLarge),
}

/// Carries packets until the outbox is closed or the connection ends; says why it ended.
pub(super) async fn run(
    stream: impl AsyncRead + AsyncWrite,
    outbox: &Outbox,
    inbox: mpsc::Sender<Bytes>,
) -> String {
    let (read, write) = tokio::io::split(stream);
    let reading = receive(read, inbox);
    let writing = send(write, outbox);
    tokio::pin!(reading, writing);
    let ended = tokio::select! {
        received = &mut reading => match received {
            Ok(()) => {
                tokio::time::sleep(LAST_WORDS).await;
                Ok(())
            }
            error => error,
        },
        sent = &mut writing => match sent {
            Ok(()) => {
                // Whatever it says now, nobody is here to hear it.
                let _ = tokio::time::timeout(LINGER, reading).await;
                Ok(())
            }
            error => error,
        },
        () = flush_over(outbox) => Ok(()),
    };
    // From here on nobody waits for room.
    outbox.close();
    match ended {
        Ok(()) => "the TCP connection was closed".to_owned(),
        Err(error) => format!("the TCP connection failed: {error}"),
    }
}

async fn flush_over(outbox: &Outbox) {
    outbox.closed().await;
    tokio::time::sleep(FLUSH).await;
}

async fn send<S: AsyncRead + AsyncWrite>(
    mut write: WriteHalf<S>,
    outbox: &Outbox,
) -> Result<(), PumpError> {
    let mut frames = Vec::new();
    while outbox.take(&mut frames).await {
        write.write_all(&frames).await?;
        write.flush().await?;
        frames.clear();
    }
    write.shutdown().await?;
    Ok(())
}

async fn receive<S: AsyncRead + AsyncWrite>(
    mut read: ReadHalf<S>,
    inbox: mpsc::Sender<Bytes>,
) -> Result<(), PumpError> {
    let mut decoder = FrameDecoder::new(limits::TUNNELLED);
    let mut buffer = vec![0; READ];
    loop {
        let length = read.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        let mut rest = &buffer[..length];
        while !rest.is_empty() {
            let taken = decoder.push(rest);
            rest = &rest[taken..];
            while let Some(packet) = decoder.poll_frame()? {
                // Without a socket it is read for the sake of an orderly end.
                let _ = inbox.send(packet).await;
            }
        }
    }
}
