//! Sending the own catalog on a stream that a peer opened for it.

use std::sync::Arc;

use super::sender::CatalogSender;
use crate::connection::Connection;
use crate::counts::Event;
use crate::local::Local;
use crate::stream::{LinkStream, SendHalf, StreamError};
use crate::telling;

/// Sends snapshot and changes until the peer stops the stream.
pub(crate) async fn serve(local: Arc<Local>, connection: Arc<Connection>, stream: LinkStream) {
    telling::serve(local, connection, stream, Event::CatalogOut, tell).await;
}

/// Returns when there is nobody any more who changes the catalog.
async fn tell(local: &Local, send: &mut SendHalf) -> Result<(), StreamError> {
    let mut catalog = local.catalog.clone();
    let mut sender = CatalogSender::new(&local.own.cluster);
    let stopped = send.stopped();
    tokio::pin!(stopped);
    loop {
        let complete = catalog.borrow_and_update().clone();
        if let Some(snapshot) = complete {
            for frame in sender.advance(snapshot) {
                send.write_chunk(frame).await?;
            }
        }
        tokio::select! {
            changed = catalog.changed() => match changed {
                Ok(()) => {}
                Err(_) => return Ok(()),
            },
            stopped = &mut stopped => return Err(stopped.into()),
        }
    }
}
