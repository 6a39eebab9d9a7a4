//! One connection to the hub, from dialling to its end.

use std::io;
use std::path::Path;

use bytes::BytesMut;
use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::model::codec;
use crate::model::frame::{Control, Gap, HubStatus, RejectReason, Said, Subscribe};
use crate::model::id::EventId;
use crate::model::limits::CLIENT_READ_BYTES;
use crate::model::source::{Demand, SourceStatus};

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
    /// Another user listens there.
    Stranger(u32),
}

impl DialError {
    fn connecting(error: io::Error) -> DialError {
        use rustix::io::Errno;
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT | Errno::CONNREFUSED) => DialError::Nobody(error),
            // EPERM and EACCES from seccomp and from modes, EAFNOSUPPORT from systemd's RestrictAddressFamilies=.
            Some(Errno::PERM | Errno::ACCESS | Errno::AFNOSUPPORT) => DialError::Denied(error),
            _ => DialError::Lost(error),
        }
    }
}

fn clone(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

/// What the hub has sent.
#[derive(Debug)]
pub(super) enum Received {
    /// An event, whole or cut.
    Event { id: EventId, body: Map<String, Value>, whole: bool },
    /// Something is missing.
    Gap(Gap),
    /// A source has come, gone or died, or sees more or less than before.
    Source(SourceStatus),
    /// Who waits for this source.
    Demand(Demand),
    /// The hub tells about itself.
    Status(HubStatus),
    /// Nothing for the reader, but a newer point to resume from.
    Cursor(EventId),
}

/// What the hub says when it acknowledges.
#[derive(Debug)]
pub(super) struct Acknowledged {
    /// The point from which to resume.
    pub(super) cursor: EventId,
    /// Warnings for a person.
    pub(super) notes: Vec<String>,
    /// The log that the hub reads, if it says so.
    pub(super) log_path: String,
}

/// A subscription that has been acknowledged.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    buffer: BytesMut,
    /// What has been said and not been sent, the rest of a frame perhaps.
    unsent: BytesMut,
}

impl Connection {
    /// Connects and subscribes. Returns once the hub has acknowledged, with what it said then.
    pub(super) async fn dial(path: &Path, subscribe: &Subscribe) -> Result<(Connection, Acknowledged), DialError> {
        let stream = UnixStream::connect(path).await.map_err(DialError::connecting)?;
        let hub = stream.peer_cred().map_err(DialError::Lost)?.uid();
        // What another user says is no answer of ours, wherever the directories came from.
        if hub != rustix::process::geteuid().as_raw() {
            return Err(DialError::Stranger(hub));
        }
        let mut connection = Connection { stream, buffer: BytesMut::new(), unsent: BytesMut::new() };
        connection
            .acknowledged(subscribe)
            .await
            .map_err(DialError::Lost)?
            .map(|acknowledged| (connection, acknowledged))
    }

    async fn acknowledged(&mut self, subscribe: &Subscribe) -> io::Result<Result<Acknowledged, DialError>> {
        let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "the subscription does not fit one frame");
        let frame = codec::encode(subscribe).ok_or_else(too_long)?;
        // A hub that refuses may have hung up before it read all of this; what it said is still there to be read.
        let written = self.stream.write_all(&frame).await;
        loop {
            let received = self.frame().await.map_err(|ended| written.as_ref().err().map_or(ended, clone))?;
            match serde_json::from_value(Value::Object(received)) {
                Ok(Control::SubscribeAck { cursor, notes, log_path, .. }) => {
                    return Ok(Ok(Acknowledged { cursor, notes, log_path }));
                }
                Ok(Control::SubscribeRejected { reason, remediation, .. }) => {
                    return Ok(Err(DialError::Rejected(reason, remediation)));
                }
                Ok(Control::Shutdown { .. }) => return Err(io::ErrorKind::ConnectionReset.into()),
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Says something, for a source. It is sent by whatever is done next.
    pub(super) fn say(&mut self, said: &Said) {
        self.unsent.extend_from_slice(&codec::encode(said).unwrap_or_default());
    }

    /// Sends what has been said. Cancelling this loses nothing.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            self.stream.write_buf(&mut self.unsent).await?;
        }
        Ok(())
    }

    /// The next thing that concerns the reader. An error is the end of this connection.
    pub(super) async fn next(&mut self) -> io::Result<Received> {
        self.flush().await?;
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
            self.buffer.reserve(CLIENT_READ_BYTES);
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
        Control::SourceStatus(status) => Some(Received::Source(status)),
        Control::Demand(demand) => Some(Received::Demand(demand)),
        Control::HubStatus(status) => Some(Received::Status(status)),
        Control::DaemonHeartbeat { cursor, .. } | Control::Shutdown { cursor, .. } => Some(Received::Cursor(cursor)),
        Control::SubscribeAck { .. } | Control::SubscribeRejected { .. } => None,
    }
}
