//! How everybody else reaches the bus: [`Feed`] to hear events, [`Waiter`] to have a question answered by them,
//! [`Publisher`] to tell them, [`Announced`] to be a source that is known to be there, [`Inbox`] and [`message`] for
//! messages between agents, [`status`] to ask the hub about itself.
//!
//! A feed is the hub's broadcast where sockets may be used, and the log alone where they may not; whoever reads it
//! sees no difference. It starts the hub if nobody serves, and resumes from its cursor when the hub goes away.

mod announcement;
pub mod checkout;
pub mod commit;
mod connection;
mod feed;
mod forge;
mod handed;
mod inbox;
mod log_alone;
pub mod message;
mod publish;
mod reporter;
mod same_log;
mod start;
pub mod status;
mod waiter;
pub mod when;

use std::io;
use std::path::PathBuf;

use serde_json::{Map, Value};

pub use announcement::Announced;
pub use feed::{Feed, Mode, Options, news_since};
pub use forge::Forge;
pub use inbox::{Begin, Inbox, Letter, Mail};
pub use publish::Publisher;
pub use reporter::{Receipt, Reporter, Told};
pub use waiter::{News, Waiter};

use crate::config::directories::BadDirectory;
use crate::model::frame::{Gap, RejectReason};
use crate::model::id::EventId;
use crate::model::source::SourceStatus;
use crate::store::StoreError;

/// What a feed brings.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// An event, in full.
    Event {
        /// Its name, and the cursor from which to go on.
        id: EventId,
        /// The event as the wire has it.
        body: Map<String, Value>,
    },
    /// Something that could not be delivered.
    Gap(Gap),
    /// A source that the subscription could concern has come, gone or died, or has become silent. Whatever it had committed
    /// until then has been brought before.
    Source(SourceStatus),
}

impl Item {
    /// The point from which to go on after this, where it moves it.
    #[must_use]
    pub fn cursor(&self) -> Option<EventId> {
        match self {
            Item::Event { id, .. } => Some(*id),
            Item::Gap(gap) => Some(gap.resumed_at),
            Item::Source(_) => None,
        }
    }
}

/// The bus cannot be used. Each message says what was tried and what helps.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// A directory cannot be used.
    #[error(transparent)]
    Directory(#[from] BadDirectory),
    /// The log cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The hub refused the subscription.
    #[error("the hub refused the subscription: {remediation}")]
    Rejected {
        /// Its reason.
        reason: RejectReason,
        /// Its advice.
        remediation: String,
    },
    /// Somebody else's hub.
    #[error("the hub at {} belongs to uid {uid}, so what it says is not believed: set WAITBUS_RUNTIME_DIR to a directory of your own", path.display())]
    Stranger {
        /// The broadcast socket.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// The hub could not be started.
    #[error("the hub could not be started: {problem}")]
    Start {
        /// What it said.
        problem: String,
    },
    /// The hub was there and is not, or was never there.
    #[error("the hub at {} could not be reached within {seconds} s: {problem}", path.display())]
    Unreachable {
        /// The broadcast socket.
        path: PathBuf,
        /// For how long that was tried.
        seconds: f64,
        /// The last error.
        problem: String,
    },
    /// The hub reads another log than this process writes, so it would never deliver what is emitted here.
    #[error(
        "the hub at {} reads {hub}, and this command uses {}: what is emitted into the one is never delivered from the \
         other. Set the same WAITBUS_STATE_DIR for both, or another WAITBUS_RUNTIME_DIR for a bus of its own",
        path.display(), ours.display()
    )]
    OtherLog {
        /// The broadcast socket.
        path: PathBuf,
        /// The log of the hub, as it names it.
        hub: String,
        /// The log of this process.
        ours: PathBuf,
    },
    /// Neither the socket nor the log may be used.
    #[error(
        "this process may not use AF_UNIX sockets ({socket}), and the event log cannot be read either ({log}): it runs in \
         a sandbox. Allow AF_UNIX sockets there (Claude Code: sandbox.network.allowAllUnixSockets), let it read the \
         state directory, or have an MCP server ask, which an agent's host starts outside of the sandbox"
    )]
    Denied {
        /// What the socket said.
        socket: io::Error,
        /// What the log said.
        log: Box<BusError>,
    },
    /// The hub sends what this client cannot read. Asking again would bring the same again.
    #[error("the hub at {} does not speak this protocol: {problem}", path.display())]
    Protocol {
        /// The broadcast socket.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The place of an inbox cannot be kept.
    #[error("up to where these messages have been read could not be written to {}: {problem}", path.display())]
    Place {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// Whoever reads has ended before it was written down.
    #[error("what has been read could not be written down in time: the event log was busy")]
    Unsettled,
    /// The kernel's file notification cannot be used.
    #[error("the state directory {} cannot be watched: {problem}", path.display())]
    Watch {
        /// The directory.
        path: PathBuf,
        /// Why.
        problem: String,
    },
}
