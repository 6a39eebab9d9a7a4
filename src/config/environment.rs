//! The environment variables that mean something to waitbus. An empty one counts as unset.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// Directory of the sockets.
pub const RUNTIME_DIR: &str = "WAITBUS_RUNTIME_DIR";
/// Directory of the log.
pub const STATE_DIR: &str = "WAITBUS_STATE_DIR";
/// Directory of the configuration.
pub const CONFIG_DIR: &str = "WAITBUS_CONFIG_DIR";
/// Address of the webhook listener.
pub const WEBHOOK_ADDR: &str = "WAITBUS_WEBHOOK_ADDR";
/// Name under which this process sends and reads messages.
pub const AGENT: &str = "WAITBUS_AGENT";
/// Level of the daemons' log: `off`, `error`, `warn`, `info`, `debug` or `trace`.
pub const LOG: &str = "WAITBUS_LOG";

/// The name of the source that a program is.
pub const SOURCE_NAME: &str = "WAITBUS_SOURCE_NAME";
/// The position that the program of a source has printed last.
pub const SOURCE_POSITION: &str = "WAITBUS_SOURCE_POSITION";

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

/// Whether this user's terminal shows UTF-8, by the locale: of these variables the first that is set says it.
#[must_use]
pub fn shows_utf8() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(get_text);
    locale.is_some_and(|locale| names_utf8(&locale))
}

fn names_utf8(locale: &str) -> bool {
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// The program that runs, to start another of its kind. One that has been replaced on disk while it ran is found where
/// its successor lies.
pub fn program() -> io::Result<PathBuf> {
    let path = env::current_exe()?;
    let replaced = path.to_str().and_then(|path| path.strip_suffix(" (deleted)")).map(PathBuf::from);
    Ok(replaced.filter(|path| path.exists()).unwrap_or(path))
}

/// The program that runs, by the name under which it was called: a link that a package manager turns to each new
/// version stays one, while the directory that it is in is named as it is.
pub fn program_as_called() -> io::Result<PathBuf> {
    let program = program()?;
    let called = env::args_os().next().and_then(|name| called_as(Path::new(&name), get("PATH"), &program));
    Ok(called.unwrap_or(program))
}

/// The command line of this process, the name under which it was called first.
#[must_use]
pub fn arguments() -> Vec<OsString> {
    env::args_os().collect()
}

/// The same as far as it is text.
#[must_use]
pub fn command_line() -> Vec<String> {
    env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect()
}

/// The name under which launchd runs this process, if it is one of its services.
#[must_use]
pub fn launchd_service() -> Option<String> {
    get_text("XPC_SERVICE_NAME")
}

/// A name of the program, if it leads to it.
fn called_as(name: &Path, path: Option<OsString>, program: &Path) -> Option<PathBuf> {
    let found = if name.components().count() > 1 {
        name.to_owned()
    } else {
        env::split_paths(&path?).map(|directory| directory.join(name)).find(|path| path.is_file())?
    };
    let named = found.parent()?.canonicalize().ok()?.join(found.file_name()?);
    (named.canonicalize().ok()? == program.canonicalize().ok()?).then_some(named)
}

/// Whether a file is where services have a directory of their own (`PrivateTmp=`), and do not see this one.
#[must_use]
pub fn is_temporary(path: &Path) -> bool {
    ["/tmp", "/var/tmp"].iter().any(|temporary| path.starts_with(temporary))
}

/// The directory that this process works in, as far as it still exists.
pub fn current_directory() -> io::Result<PathBuf> {
    env::current_dir()
}

/// The path that a person means: an absolute one, or one below their home that begins with `~/`.
#[must_use]
pub fn below_home(text: &str) -> Option<PathBuf> {
    let path = match text.strip_prefix('~') {
        Some("") => env::home_dir()?,
        Some(rest) => env::home_dir()?.join(rest.strip_prefix('/')?),
        None => PathBuf::from(text),
    };
    path.is_absolute().then_some(path)
}

/// Where temporary files go.
#[must_use]
pub fn temporary_directory() -> PathBuf {
    env::temp_dir()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_locale_says_whether_it_is_utf_8() {
        let told = ["en_GB.UTF-8", "C.utf8", "C", "POSIX", "de_DE@euro"].map(names_utf8);
        assert_eq!(told, [true, true, false, false, false]);
    }

    #[test]
    fn a_program_keeps_the_link_by_which_it_was_called_if_that_leads_to_it() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let (version, links) = (root.join("0.3.0"), root.join("links"));
        std::fs::create_dir(&version).unwrap();
        let program = version.join("waitbus");
        std::fs::write(&program, "").unwrap();
        std::fs::create_dir(&links).unwrap();
        symlink(&program, links.join("waitbus")).unwrap();
        symlink(&links, root.join("bin")).unwrap();
        let link = Some(links.join("waitbus"));
        assert_eq!(called_as(&root.join("bin/waitbus"), None, &program), link);
        let path = env::join_paths([root.join("nowhere"), root.join("bin")]).unwrap();
        assert_eq!(called_as(Path::new("waitbus"), Some(path.clone()), &program), link);
        std::fs::write(root.join("other"), "").unwrap();
        assert_eq!(called_as(Path::new("waitbus"), Some(path), &root.join("other")), None, "another program's name");
        assert_eq!(called_as(Path::new("waitbus"), None, &program), None);
        assert_eq!(called_as(Path::new("nonsense"), Some(links.into()), &program), None);
    }
}
