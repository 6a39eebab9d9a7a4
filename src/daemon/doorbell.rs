//! The doorbell socket: whoever has committed something connects and sends a byte.

use std::io;
use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Accepting;
use crate::model::limits::MAX_RINGERS;
use crate::sys::bell::Bell;

/// Serves the doorbell until the socket breaks. Each writer that stays connected is one of `ringers`.
pub async fn serve(listener: &UnixListener, bell: Bell, ringers: &mut JoinSet<()>) -> io::Error {
    let places = Arc::new(Semaphore::new(MAX_RINGERS));
    let mut accepting = Accepting::on("doorbell");
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = ringers.join_next() => continue,
        };
        // It commits before it connects; its byte may come later or never. One that could not connect has committed too.
        bell.ring();
        match accepted {
            Ok((ringer, _)) => {
                accepting.taken();
                // Without a place it is hung up on, and its next ring is its next connection.
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                let bell = bell.clone();
                ringers.spawn(async move {
                    let _place = place;
                    listen_to(ringer, &bell).await;
                });
            }
            Err(error) => {
                if let Err(error) = accepting.failed(error).await {
                    return error;
                }
            }
        }
    }
}

/// Rings for every byte, many at a time, until the writer hangs up.
async fn listen_to(mut ringer: UnixStream, bell: &Bell) {
    let mut bytes = [0; 1_024];
    // One that never stops ringing takes its turn like everybody else: the runtime counts what a task reads.
    while let Ok(1..) = ringer.read(&mut bytes).await {
        bell.ring();
    }
}
