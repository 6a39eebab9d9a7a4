//! One connection to the hub, from dialling to its end.

use std::io;
use std::path::Path;

use bytes::BytesMut;
use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::model::codec;
use crate::model::frame::{Control, Gap, HubStatus, RejectReason, Subscribe};
use crate::model::id::EventId;

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum DialError {
    /// Nobody listens.
    Nobody(io::Error),
    /// This process may not use sockets of this kind.
    Denied(io::Error),
    /// Somebody listened and went away before answering, or anything else that may be different next time.
    Lost(io::Error),
    /// The hub refused.
    Rejected(RejectReason, String),
}

/// What the hub has sent.
#[derive(Debug)]
pub(super) enum Received {
    /// An event, whole or cut.
    Event { id: EventId, body: Map<String, Value>, whole: bool },
    /// Something is missing.
    Gap(Gap),
    /// The hub tells about itself.
    Status(HubStatus),
    /// Nothing for the reader, but a newer point to resume from.
    Cursor(EventId),
}

/// A subscription that has been acknowledged.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    buffer: BytesMut,
}

impl Connection {
    /// Connects and subscribes. Returns once the hub has acknowledged, with the cursor and the notes of that.
    pub(super) async fn dial(
        path: &Path,
        subscribe: &Subscribe,
    ) -> Result<(Connection, EventId, Vec<String>), DialError> {
        let stream = UnixStream::connect(path).await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => DialError::Nobody(error),
            io::ErrorKind::PermissionDenied => DialError::Denied(error),
            _ => DialError::Lost(error),
        })?;
        let mut connection = Connection { stream, buffer: BytesMut::new() };
        connection
            .acknowledged(subscribe)
            .await
            .map_err(DialError::Lost)?
            .map(|(cursor, notes)| (connection, cursor, notes))
    }

    async fn acknowledged(&mut self, subscribe: &Subscribe) -> io::Result<Result<(EventId, Vec<String>), DialError>> {
        let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "the subscription does not fit one frame");
        let frame = codec::encode(subscribe).ok_or_else(too_long)?;
        self.stream.write_all(&frame).await?;
        loop {
            match serde_json::from_value(Value::Object(self.frame().await?)) {
                Ok(Control::SubscribeAck { cursor, notes, .. }) => return Ok(Ok((cursor, notes))),
                Ok(Control::SubscribeRejected { reason, remediation, .. }) => {
                    return Ok(Err(DialError::Rejected(reason, remediation)));
                }
                Ok(Control::Shutdown { .. }) => return Err(io::ErrorKind::ConnectionReset.into()),
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// The next thing that concerns the reader. An error is the end of this connection.
    pub(super) async fn next(&mut self) -> io::Result<Received> {
        loop {
            let frame = self.frame().await?;
            if let Some(received) = understand(frame) {
                return Ok(received);
            }
        }
    }

    /// The next frame. Cancelling this loses nothing: what has arrived stays in the buffer.
    async fn frame(&mut self) -> io::Result<Map<String, Value>> {
        let broken = |problem: &str| io::Error::new(io::ErrorKind::InvalidData, problem.to_owned());
        loop {
            let next = codec::next_frame(&mut self.buffer).map_err(|error| broken(&error.to_string()))?;
            if let Some(body) = next {
                return match serde_json::from_slice(&body) {
                    Ok(Value::Object(frame)) => Ok(frame),
                    Ok(_) => Err(broken("the hub sent a frame that is no object")),
                    Err(error) => Err(broken(&format!("the hub sent a frame that is not JSON: {error}"))),
                };
            }
            if self.buffer.is_empty() {
                // A waiter may be blocked for days: it keeps no memory for its last burst.
                self.buffer = BytesMut::new();
                self.stream.readable().await?;
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// Sorts a frame; `None` is for kinds that say nothing to this client, or are newer than it.
fn understand(frame: Map<String, Value>) -> Option<Received> {
    let kind = frame.get("kind")?.as_str()?;
    if matches!(kind, "event" | "truncated") {
        let id = frame.get("event_id")?.as_str()?.parse().ok()?;
        return Some(Received::Event { id, whole: kind == "event", body: frame });
    }
    match serde_json::from_value(Value::Object(frame)).ok()? {
        Control::Gap(gap) => Some(Received::Gap(gap)),
        Control::HubStatus(status) => Some(Received::Status(status)),
        Control::DaemonHeartbeat { cursor, .. } | Control::Shutdown { cursor, .. } => Some(Received::Cursor(cursor)),
        Control::SubscribeAck { .. } | Control::SubscribeRejected { .. } => None,
    }
}
