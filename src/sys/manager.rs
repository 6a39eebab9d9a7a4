//! What a daemon tells its service manager, and whether there is one.

use std::path::Path;

/// The service managers that start waitbus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Units of the user manager.
    Systemd,
    /// Agents of the session.
    Launchd,
}

/// The one that this platform has, if it runs at all.
pub const KIND: Kind = if cfg!(target_os = "macos") { Kind::Launchd } else { Kind::Systemd };

/// Tells the manager that the service is ready, and what it does. Without a manager this does nothing; a manager
/// that cannot be reached is nobody's error but its own.
pub fn ready(status: &str) {
    tell("READY=1", status);
}

/// Tells the manager that the service stops, and why.
pub fn stopping(status: &str) {
    tell("STOPPING=1", status);
}

// `sd-notify` takes an abstract socket's name for a path, so this is libsystemd's.
#[cfg(target_os = "linux")]
fn tell(change: &str, status: &str) {
    use libsystemd::daemon::{NotifyState, notify};
    let said = [NotifyState::Other(change.to_owned()), NotifyState::Status(status.to_owned())];
    if let Err(error) = notify(false, &said) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}

#[cfg(not(target_os = "linux"))]
fn tell(_change: &str, _status: &str) {}

/// Whether a systemd user manager serves this session; only then can it be asked to run something.
#[must_use]
pub fn has_user_manager(session_runtime_dir: &Path) -> bool {
    cfg!(target_os = "linux") && session_runtime_dir.join("systemd/private").exists()
}
