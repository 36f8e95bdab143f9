//! What is alike in telling a peer the catalog and the headcounts: it opened a stream for them, and
//! is told until it stops the stream.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tombolo_link_wire::StreamCode;

use crate::connection::{Connection, MAX_SUBSCRIPTIONS};
use crate::counts::Event;
use crate::local::Local;
use crate::stream::{InFlight, LinkStream, SendHalf, StreamError};

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
