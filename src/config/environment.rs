//! The environment variables that mean something to waitbus. An empty one counts as unset.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

/// Directory of the sockets.
pub const RUNTIME_DIR: &str = "WAITBUS_RUNTIME_DIR";
/// Directory of the log.
pub const STATE_DIR: &str = "WAITBUS_STATE_DIR";
/// Directory of the configuration.
pub const CONFIG_DIR: &str = "WAITBUS_CONFIG_DIR";
/// Address of the webhook listener.
pub const WEBHOOK_ADDR: &str = "WAITBUS_WEBHOOK_ADDR";
/// Level of the daemons' log: `error`, `warn`, `info`, `debug` or `trace`.
pub const LOG: &str = "WAITBUS_LOG";

/// The file with the event for which `on` runs its command.
pub const EVENT_FILE: &str = "WAITBUS_EVENT_FILE";
/// `owner/repo` of that event.
pub const EVENT_REPO: &str = "WAITBUS_EVENT_REPO";

/// What else the command of `on` is told of the event by variables: the event's own keys, and those of its fields that
/// mean the same for every source.
pub const OF_AN_EVENT: [(&str, &str); 14] = [
    ("event_id", "WAITBUS_EVENT_ID"),
    ("source", "WAITBUS_EVENT_SOURCE"),
    ("event_type", "WAITBUS_EVENT_TYPE"),
    ("summary", "WAITBUS_EVENT_SUMMARY"),
    ("status", "WAITBUS_EVENT_STATUS"),
    ("conclusion", "WAITBUS_EVENT_CONCLUSION"),
    ("action", "WAITBUS_EVENT_ACTION"),
    ("name", "WAITBUS_EVENT_NAME"),
    ("run_id", "WAITBUS_EVENT_RUN_ID"),
    ("head_branch", "WAITBUS_EVENT_HEAD_BRANCH"),
    ("head_sha", "WAITBUS_EVENT_HEAD_SHA"),
    ("pr_number", "WAITBUS_EVENT_PR_NUMBER"),
    ("actor", "WAITBUS_EVENT_ACTOR"),
    ("url", "WAITBUS_EVENT_URL"),
];

/// What a service manager tells one process about itself (systemd.exec(5), `sd_listen_fds(3)`, `sd_notify(3)`). It is
/// wrong for any other: a hub that a client starts is not the service, does not have its sockets and secrets, does not
/// feed its watchdog, and does not write to its journal stream.
pub const OF_ONE_SERVICE: [&str; 25] = [
    "NOTIFY_SOCKET",
    "MAINPID",
    "MANAGERPID",
    "MANAGERPIDFDID",
    "SYSTEMD_EXEC_PID",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "PIDFILE",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "FDSTORE",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_FDS_FIRST_FD",
    "CREDENTIALS_DIRECTORY",
    "RUNTIME_DIRECTORY",
    "STATE_DIRECTORY",
    "CACHE_DIRECTORY",
    "LOGS_DIRECTORY",
    "CONFIGURATION_DIRECTORY",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "REMOTE_ADDR",
];

/// The value of a variable, if it has one.
#[must_use]
pub fn get(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// The value of a variable as text; one that is no UTF-8 is as good as none.
#[must_use]
pub fn get_text(name: &str) -> Option<String> {
    get(name)?.into_string().ok()
}

/// The program that runs, to start another of its kind. One that has been replaced on disk while it ran is found where
/// its successor lies.
pub fn program() -> io::Result<PathBuf> {
    let path = env::current_exe()?;
    let replaced = path.to_str().and_then(|path| path.strip_suffix(" (deleted)")).map(PathBuf::from);
    Ok(replaced.filter(|path| path.exists()).unwrap_or(path))
}

/// The directory that this process works in, as far as it still exists.
pub fn current_directory() -> io::Result<PathBuf> {
    env::current_dir()
}

/// Where temporary files go.
#[must_use]
pub fn temporary_directory() -> PathBuf {
    env::temp_dir()
}
