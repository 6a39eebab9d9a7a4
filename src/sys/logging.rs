//! Where the daemons' log lines go: to the journal with their fields when it reads our standard error, else to
//! standard error as text. The level can change while they run.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;

/// How much is logged.
pub type Level = LevelFilter;

/// The levels by name, from silent to verbose.
pub const LEVELS: [(&str, Level); 6] = [
    ("off", Level::OFF),
    ("error", Level::ERROR),
    ("warn", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
    ("trace", Level::TRACE),
];

/// The level of this process, once it logs.
static LEVEL: OnceLock<Handle<Level, Registry>> = OnceLock::new();

/// The level of this name.
#[must_use]
pub fn level(name: &str) -> Option<Level> {
    LEVELS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|&(_, level)| level)
}

/// Starts logging. Verbs that are not daemons do not log; they print.
pub fn start(level: Level) {
    let (level, handle) = reload::Layer::new(level);
    let _ = LEVEL.set(handle);
    let registry = tracing_subscriber::registry().with(level);
    #[cfg(target_os = "linux")]
    if libsystemd::logging::connected_to_journal()
        && let Ok(journal) = tracing_journald::layer()
    {
        registry.with(journal.with_field_prefix(None)).init();
        return;
    }
    let text = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(false)
        // Standard error may be a closed pipe; complaining there would be a panic.
        .log_internal_errors(false);
    registry.with(text).init();
}

/// Empties the file at `log` if our standard error is appended to it and it has grown larger than `bytes`: launchd opens
/// it for us, and makes no end by itself.
pub fn keep_short(log: &Path, bytes: u64) -> io::Result<()> {
    let ours = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let (opened, named) = (ours.metadata()?, log.metadata()?);
    let is_it = (opened.dev(), opened.ino()) == (named.dev(), named.ino());
    if is_it && opened.len() > bytes { ours.set_len(0) } else { Ok(()) }
}

/// Logs more or less from now on.
pub fn set_level(level: Level) {
    if let Some(handle) = LEVEL.get() {
        // It fails when nothing logs any more.
        let _ = handle.reload(level);
    }
}
