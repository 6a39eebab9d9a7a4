//! What a container engine says: lines of its event stream, and its answers about containers. Docker and Podman speak
//! the same here, with the differences that [`Engine`] tells.
//!
//! [`lines`] cuts the stream into lines, this reads one, [`container`] reads what the engine answers when it is asked,
//! and the [`Tracker`] makes events of the bus from them: one stop is one verdict, whatever the engine says of it.

pub mod container;
mod draft;
pub mod lines;
pub mod reconcile;
mod signal;
#[cfg(test)]
mod tests;
mod tracker;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use container::Container;
pub use tracker::Tracker;

use crate::model::limits::MAX_CONTAINER_ID_BYTES;
use crate::model::text::one_line;

/// The events that an engine is asked for. An engine ignores the names that it does not know: `died` is what Podman's
/// filter takes for `die`, `remove` is what it says for `destroy`.
pub const EVENTS: [&str; 11] =
    ["start", "die", "died", "kill", "oom", "health_status", "restart", "pause", "unpause", "destroy", "remove"];

/// Which engine speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// dockerd.
    Docker,
    /// `podman system service`.
    Podman,
}

impl Engine {
    /// The engine by the `Server` header of its answers: `Docker/20.10.24 (linux)`, `Libpod/4.3.1 (linux)`.
    #[must_use]
    pub fn of_server(header: &str) -> Engine {
        if header.starts_with("Libpod/") { Engine::Podman } else { Engine::Docker }
    }

    /// Its name, as the field `engine` has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Engine::Docker => "docker",
            Engine::Podman => "podman",
        }
    }
}

/// What has happened to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It runs.
    Start,
    /// It has ended.
    Die,
    /// The engine was asked to send it a signal.
    Kill,
    /// The kernel has killed a process of it for want of memory.
    Oom,
    /// Its health check says something else than before: `healthy`, `unhealthy`.
    Health(String),
    /// The engine was asked to stop it and start it again. Docker says so when it has, Podman before.
    Restart,
    /// It stands still.
    Pause,
    /// It goes on.
    Unpause,
    /// It is not there any more.
    Destroy,
}

impl What {
    /// A short name for it, which tells it from everything else that happens at the same moment.
    fn key(&self) -> &'static str {
        match self {
            What::Start => "start",
            What::Die => "die",
            What::Kill => "kill",
            What::Oom => "oom",
            What::Health(_) => "health",
            What::Restart => "restart",
            What::Pause => "pause",
            What::Unpause => "unpause",
            What::Destroy => "destroy",
        }
    }
}

/// One line of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// When, in nanoseconds since the epoch, on the engine's clock.
    pub time: i64,
    /// The container's id: 64 hexadecimal digits.
    pub container: String,
    /// What has happened.
    pub what: What,
    /// Its labels, and in between them, under names that a label may have as well, what the engine adds.
    pub attributes: BTreeMap<String, String>,
}

/// A line or an answer that makes no sense, in a few words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Senseless(String);

impl From<serde_json::Error> for Senseless {
    fn from(error: serde_json::Error) -> Senseless {
        Senseless(one_line(&error.to_string()))
    }
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(rename = "Action")]
    action: String,
    #[serde(rename = "Actor")]
    actor: Actor,
    #[serde(rename = "timeNano")]
    time: i64,
}

#[derive(Deserialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Attributes", default)]
    attributes: Option<BTreeMap<String, String>>,
}

impl Told {
    /// Reads a line. One that is well and of no concern is none.
    pub fn read(line: &[u8]) -> Result<Option<Told>, Senseless> {
        let line: Line = serde_json::from_slice(line)?;
        let attributes = line.actor.attributes.unwrap_or_default();
        if line.kind != "container" {
            return Ok(None);
        }
        let what = match line.action.as_str() {
            "start" => What::Start,
            "die" | "died" => What::Die,
            "kill" => What::Kill,
            "oom" => What::Oom,
            "restart" => What::Restart,
            "pause" => What::Pause,
            "unpause" => What::Unpause,
            "destroy" | "remove" => What::Destroy,
            action => match health(action, &attributes) {
                Some(health) => What::Health(health),
                None => return Ok(None),
            },
        };
        check_id(&line.actor.id)?;
        // A time before 1970 is none, and sums with it could overflow.
        if line.time <= 0 {
            return Err(Senseless("an event without a time".into()));
        }
        Ok(Some(Told { time: line.time, container: line.actor.id, what, attributes }))
    }
}

/// Docker says `health_status: healthy`; Podman says `health_status` and has the rest in an attribute.
fn health(action: &str, attributes: &BTreeMap<String, String>) -> Option<String> {
    let rest = action.strip_prefix("health_status")?;
    let said = match rest.strip_prefix(':') {
        Some(said) => said,
        None => attributes.get("health_status").or_else(|| attributes.get("containerHealthStatus"))?,
    };
    Some(one_line(said)).filter(|said| !said.is_empty())
}

/// An id goes into keys and into the paths of requests.
pub(super) fn check_id(id: &str) -> Result<(), Senseless> {
    let fine = !id.is_empty() && id.len() <= MAX_CONTAINER_ID_BYTES && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if fine { Ok(()) } else { Err(Senseless("an event whose container has no id".into())) }
}
