//! Asking a hub about itself, without starting one.

use super::connection::{Connection, DialError, Received};
use crate::config::directories::{BadDirectory, Directories};
use crate::model::frame::{HubStatus, Subscribe};
use crate::model::limits::STATUS_TIMEOUT;
use crate::sys::lock::{Holder, HubLock};

/// What is known about the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HubState {
    /// Nobody has the lock.
    NotRunning,
    /// It answered.
    Running(HubStatus),
    /// Somebody has the lock and does not answer, or may not be asked; or nobody can tell who has it.
    Silent {
        /// The process that has the lock.
        pid: Option<u32>,
        /// Why there is no answer.
        problem: String,
    },
}

/// Asks. A socket that a service manager holds for a hub that does not run is not touched, because that would start
/// it.
pub async fn hub(directories: &Directories) -> Result<HubState, BadDirectory> {
    let lock = directories.hub_lock();
    let held = HubLock::open_existing(&lock).and_then(|lock| lock.map_or(Ok(Holder::Nobody), |lock| lock.held_by()));
    let pid = match held {
        Ok(Holder::Nobody) => return Ok(HubState::NotRunning),
        Ok(Holder::Somebody(pid)) => pid,
        Err(error) => {
            let problem = format!("who has {} cannot be asked: {error}", lock.display());
            return Ok(HubState::Silent { pid: None, problem });
        }
    };
    let path = directories.broadcast()?;
    // A filter that no event passes: this subscriber wants nothing but the status.
    let nothing = vec![vec!["event_id=null".to_owned()]];
    let subscribe = Subscribe { status: true, heartbeat: false, alternatives: nothing, ..Subscribe::default() };
    let asked = async {
        let (mut connection, _) = Connection::dial(&path, &subscribe).await.map_err(|error| match error {
            DialError::Nobody(error) | DialError::Denied(error) | DialError::Lost(error) => error.to_string(),
            DialError::Rejected(_, remediation) => remediation,
            DialError::Stranger(uid) => format!("it belongs to uid {uid}"),
        })?;
        loop {
            if let Received::Status(status) = connection.next().await.map_err(|error| error.to_string())? {
                return Ok(status);
            }
        }
    };
    let late = || Err(format!("it did not answer within {} s", STATUS_TIMEOUT.as_secs()));
    Ok(match tokio::time::timeout(STATUS_TIMEOUT, asked).await.unwrap_or_else(|_| late()) {
        Ok(status) => HubState::Running(status),
        Err(problem) => HubState::Silent { pid, problem },
    })
}
