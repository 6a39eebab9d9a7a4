//! Where the daemons' log lines go: to the journal with their fields when it reads our standard error, else to
//! standard error as text.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging. Verbs that are not daemons do not log; they print.
pub fn start(level: LevelFilter) {
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
