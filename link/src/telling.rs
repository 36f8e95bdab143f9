//! What is alike in telling a peer the catalog and the headcounts: it opens a stream for them, and is
//! told until it stops the stream.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tombolo_link_wire::{Preface, StreamCode};

use crate::connection::{Connection, MAX_SUBSCRIPTIONS};
use crate::counts::Event;
use crate::local::Local;
use crate::stream::{InFlight, LinkStream, SendHalf, StreamError};

/// Opens a stream on which the peer is to tell what `preface` asks for.
pub(crate) async fn ask<E>(connection: &Arc<Connection>, preface: &Preface) -> Result<LinkStream, E>
where
    E: From<quinn::ConnectionError> + From<StreamError>,
{
    let (send, recv) = connection.quic.open_bi().await?;
    let mut stream = connection.stream(send, recv).uncounted();
    stream.send.write_chunk(preface.encode()).await?;
    stream.send.finish();
    Ok(stream)
}

/// Has `tell` write to `stream` until it fails, or has no more to tell. How that ended is counted as
/// `event`.
pub(crate) async fn serve<T>(
    local: Arc<Local>,
    connection: Arc<Connection>,
    stream: LinkStream,
    event: Event,
    tell: T,
) where
    T: AsyncFnOnce(&Local, &mut SendHalf) -> Result<(), StreamError>,
{
    let LinkStream {
        mut send,
        recv: _kept,
        ..
    } = stream.uncounted();
    let _counted = InFlight::new(&connection.subscriptions);
    if connection.subscriptions.load(Ordering::Relaxed) > MAX_SUBSCRIPTIONS {
        send.reset(StreamCode::Overloaded);
        local.counts.add(event, "Overloaded");
        return;
    }
    let reason = match tell(&local, &mut send).await {
        Ok(()) => {
            send.reset(StreamCode::Shutdown);
            "Shutdown"
        }
        Err(error) => error.reason(),
    };
    local.counts.add(event, reason);
}
