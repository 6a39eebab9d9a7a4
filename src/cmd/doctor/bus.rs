//! The bus itself: its directories, its log, its sockets and who answers there.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::{Finding, Here};
use crate::client::status::HubState;
use crate::config::settings::Settings;
use crate::model::limits::MAX_CHECKED_LOG_BYTES;
use crate::store::{LogPaths, Reader, StoreError};

pub(super) fn directories(here: &Here) -> Vec<Finding> {
    let all = here.directories.variables();
    all.into_iter().map(|(variable, path)| directory(variable, path, path == here.directories.config)).collect()
}

/// The configuration is no secret: others may read it, and not write it. A group's right to write says nothing, because
/// with the umask of many desktops every new directory has it.
fn directory(variable: &str, path: &Path, is_configuration: bool) -> Finding {
    let shown = path.display();
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Finding::ok(format!("{shown} is made when it is needed"));
        }
        Err(error) => return Finding::problem(format!("{shown}: {error}"), format!("Set {variable} to another one")),
    };
    let ours = rustix::process::geteuid().as_raw();
    if !found.is_dir() {
        Finding::problem(format!("{shown} is no directory"), format!("Move it away, or set {variable}"))
    } else if found.uid() != ours {
        Finding::problem(format!("{shown} belongs to uid {}", found.uid()), format!("Set {variable} to one of yours"))
    } else if is_configuration {
        match found.mode() & 0o777 {
            mode if mode & 0o002 != 0 => Finding::warning(
                format!("others may write to {shown} (mode {mode:03o})"),
                format!("Run `chmod go-w {shown}`"),
            ),
            _ => Finding::ok(format!("{shown} is yours to write")),
        }
    } else if found.mode() & 0o077 != 0 {
        let mode = found.mode() & 0o777;
        Finding::warning(format!("{shown} is open to others (mode {mode:03o})"), format!("Run `chmod 700 {shown}`"))
    } else {
        Finding::ok(format!("{shown} is yours alone"))
    }
}

pub(super) fn configuration(here: &Here) -> Vec<Finding> {
    match Settings::load(&here.directories) {
        Ok(_) => Vec::new(),
        Err(error) => vec![Finding::problem(error.to_string(), "The services do not start like this")],
    }
}

/// Two logs are two buses: what is emitted into one is never delivered from the other.
pub(super) fn store(here: &Here) -> Vec<Finding> {
    let ours = LogPaths::new(&here.directories.state).database();
    match &here.hub {
        HubState::Running(status) if status.log_path.is_empty() => Vec::new(),
        HubState::Running(status) if Path::new(&status.log_path) == ours => {
            vec![Finding::ok("the hub and the command line use the same log")]
        }
        HubState::Running(status) => {
            let what = format!("the hub reads {}, the command line writes {}", status.log_path, ours.display());
            vec![Finding::problem(
                what,
                "Set the same WAITBUS_STATE_DIR for both: `waitbus install` does it for services",
            )]
        }
        HubState::NotRunning | HubState::Silent { .. } => Vec::new(),
    }
}

pub(super) fn log(here: &Here) -> Vec<Finding> {
    let paths = LogPaths::new(&here.directories.state);
    let path = paths.database();
    let looked = || -> Result<Finding, StoreError> {
        let reader = Reader::open(&paths)?;
        let size = reader.size()?;
        let text = format!("{}: {} events, {} KiB", path.display(), size.rows, size.bytes / 1_024);
        if size.bytes > MAX_CHECKED_LOG_BYTES {
            return Ok(Finding::ok(format!("{text}, too large to be checked in passing")));
        }
        Ok(match reader.quick_check()? {
            None => Finding::ok(format!("{text}, sound")),
            Some(problem) => Finding::problem(
                format!("{text}, damaged: {problem}"),
                "Stop the services, keep a copy, and have `sqlite3 events.db .recover` make a new one",
            ),
        })
    };
    let found = looked().unwrap_or_else(|error| match error {
        StoreError::Missing(path) => Finding::ok(format!("{} is made with the first event", path.display())),
        StoreError::TooNew { .. } => Finding::problem(error.to_string(), "Another waitbus than this one is in use"),
        other => Finding::problem(other.to_string(), "The log has to be readable for anything to be delivered"),
    });
    let open = fs::metadata(&path).is_ok_and(|found| found.mode() & 0o077 != 0);
    let open = open.then(|| {
        let shown = path.display();
        Finding::warning(format!("{shown} can be read by others"), format!("Run `chmod 600 {shown}`"))
    });
    [found].into_iter().chain(open).collect()
}

pub(super) fn sockets(here: &Here) -> Vec<Finding> {
    let paths = [here.directories.broadcast(), here.directories.doorbell()];
    paths
        .into_iter()
        .map(|path| match path {
            Ok(path) => socket(&path),
            Err(error) => Finding::problem(error.to_string(), "Nobody can connect before that"),
        })
        .collect()
}

fn socket(path: &Path) -> Finding {
    let shown = path.display();
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Finding::ok(format!("{shown} is not there; whoever serves makes it"))
        }
        Err(error) => Finding::problem(format!("{shown}: {error}"), "The directory has to be readable"),
        Ok(found) if !found.file_type().is_socket() => {
            Finding::problem(format!("{shown} is in the way and is no socket"), "Move it away")
        }
        Ok(found) if found.mode() & 0o077 != 0 => {
            Finding::warning(format!("{shown} is open to others"), format!("Run `chmod 600 {shown}`"))
        }
        Ok(_) => Finding::ok(format!("{shown} is yours alone")),
    }
}

pub(super) fn hub(here: &Here) -> Vec<Finding> {
    let ours = env!("CARGO_PKG_VERSION");
    vec![match &here.hub {
        HubState::NotRunning => Finding::ok("none runs; the first wait starts it"),
        HubState::Silent { pid, problem } => {
            let pid = pid.map_or_else(|| "of unknown number".to_owned(), |pid| pid.to_string());
            let what = format!("process {pid} has the hub's lock and does not answer: {problem}");
            Finding::problem(what, "Stop that process; the next wait starts another hub")
        }
        HubState::Running(status) if status.version != ours => {
            let what = format!("process {} answers; it is version {}, this is {ours}", status.pid, status.version);
            Finding::warning(what, format!("Run `kill {}`: the next wait starts this version", status.pid))
        }
        HubState::Running(status) => {
            let by = if status.activated { "for the service manager" } else { "on its own" };
            Finding::ok(format!("process {} answers; it runs {by}, version {ours}", status.pid))
        }
    }]
}
