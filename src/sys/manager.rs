//! What a daemon tells its service manager, and whether there is one.

use std::path::Path;

use sd_notify::NotifyState;

/// Tells the manager that the service is ready, and what it does. Without a manager this does nothing; a manager
/// that cannot be reached is nobody's error but its own.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Tells the manager that the service stops, and why.
pub fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}

/// Whether a systemd user manager serves this session; only then can it be asked to run something.
#[must_use]
pub fn has_user_manager(session_runtime_dir: &Path) -> bool {
    cfg!(target_os = "linux") && session_runtime_dir.join("systemd/private").exists()
}
