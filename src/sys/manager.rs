//! What a daemon tells its service manager, and whether there is one.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

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
    tell(&["READY=1".to_owned(), status_line(status)]);
}

/// Tells the manager that the service stops, and why.
pub fn stopping(status: &str) {
    tell(&["STOPPING=1".to_owned(), status_line(status)]);
}

/// Tells the manager that the service reads its configuration again; [`ready`] says when it has. The time is what
/// `Type=notify-reload` tells this reload from another one by.
pub fn reloading() {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let microseconds = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
    tell(&["RELOADING=1".to_owned(), format!("MONOTONIC_USEC={microseconds}")]);
}

/// Tells the manager what the service does now.
pub fn status(status: &str) {
    tell(&[status_line(status)]);
}

/// How long the manager waits for a sign of life before it kills this process; none if it does not.
#[cfg(target_os = "linux")]
#[must_use]
pub fn watchdog() -> Option<Duration> {
    libsystemd::daemon::watchdog_enabled(false).filter(|period| !period.is_zero())
}

/// Other managers have none.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn watchdog() -> Option<Duration> {
    None
}

/// Gives the manager a sign of life, with the status if it is another one than before.
pub fn alive(status: Option<&str>) {
    tell(&[Some("WATCHDOG=1".to_owned()), status.map(status_line)].into_iter().flatten().collect::<Vec<_>>());
}

/// Has the manager expect signs of life at this distance from now on, and none at all for zero.
pub fn watch_every(period: Duration, status: Option<&str>) {
    let change = format!("WATCHDOG_USEC={}", period.as_micros());
    tell(&[Some(change), status.map(status_line)].into_iter().flatten().collect::<Vec<_>>());
}

fn status_line(status: &str) -> String {
    format!("STATUS={status}")
}

// `sd-notify` takes an abstract socket's name for a path, so this is libsystemd's.
#[cfg(target_os = "linux")]
fn tell(said: &[String]) {
    use libsystemd::daemon::{NotifyState, notify};
    let said: Vec<_> = said.iter().cloned().map(NotifyState::Other).collect();
    if let Err(error) = notify(false, &said) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}

#[cfg(not(target_os = "linux"))]
fn tell(_said: &[String]) {}

/// Whether a process runs this very file, and not another one that was there before; `None` where that cannot be told.
#[must_use]
pub fn runs(process: &str, program: &Path) -> Option<bool> {
    let identity = |path: &Path| path.metadata().ok().map(|file| (file.dev(), file.ino()));
    let running = identity(&Path::new("/proc").join(process).join("exe"))?;
    Some(running == identity(program)?)
}

/// Whether systemd runs this process as this unit: its control group says so, of which there may be several kinds. A process
/// that somebody starts in a terminal belongs to that terminal's.
#[must_use]
pub fn belongs_to(unit: &str) -> bool {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    groups.lines().filter_map(|line| line.rsplit_once('/')).any(|(_, group)| group == unit)
}

/// Whether a systemd user manager serves this session; only then can it be asked to run something.
#[must_use]
pub fn has_user_manager(session_runtime_dir: &Path) -> bool {
    cfg!(target_os = "linux") && session_runtime_dir.join("systemd/private").exists()
}
