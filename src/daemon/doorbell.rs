//! The doorbell socket: whoever has committed something connects and sends a byte.

use std::io;
use std::sync::Arc;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::warn;

use super::{ACCEPT_BACK_OFF, AcceptError, accept_error};
use crate::model::limits::MAX_RINGERS;
use crate::sys::bell::Bell;

/// Serves the doorbell until the socket breaks. Each writer that stays connected is one of `ringers`.
pub async fn serve(listener: UnixListener, bell: Bell, ringers: &mut JoinSet<()>) -> io::Error {
    let places = Arc::new(Semaphore::new(MAX_RINGERS));
    loop {
        // With all places taken the backlog fills, and a full backlog means that the bell has been rung.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return io::Error::other("closed") };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = ringers.join_next() => continue,
        };
        match accepted.map_err(accept_error) {
            Ok((ringer, _)) => {
                // It commits before it connects; its byte may come later or never.
                bell.ring();
                let bell = bell.clone();
                ringers.spawn(async move {
                    let _place = place;
                    listen_to(&ringer, &bell).await;
                });
            }
            Err(AcceptError::Retry) => {}
            Err(AcceptError::BackOff) => {
                bell.ring();
                warn!("the doorbell cannot take connections: descriptors have run out");
                tokio::time::sleep(ACCEPT_BACK_OFF).await;
            }
            Err(AcceptError::Fatal(error)) => return error,
        }
    }
}

/// Rings for every byte, many at a time, until the writer hangs up.
async fn listen_to(ringer: &UnixStream, bell: &Bell) {
    let mut bytes = [0; 64];
    loop {
        if ringer.readable().await.is_err() {
            return;
        }
        match ringer.try_read(&mut bytes) {
            Ok(0) => return,
            Ok(_) => bell.ring(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
