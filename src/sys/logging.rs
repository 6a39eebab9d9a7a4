//! Where the daemons' log lines go: to the journal with their fields when it reads our standard error, else to
//! standard error as text. The level can change while they run.

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
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(false)
        // Standard error may be a closed pipe; complaining there would be a panic.
        .log_internal_errors(false);
    registry.with(text).init();
}

/// Logs more or less from now on.
pub fn set_level(level: Level) {
    if let Some(handle) = LEVEL.get() {
        // It fails when nothing logs any more.
        let _ = handle.reload(level);
    }
}
