//! Starting a hub for a client that found none: detached from the terminal, without any of the client's descriptors,
//! with the same directories, and gone again when nobody has needed it for a while.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};

use crate::config::directories::Directories;
use crate::config::environment;
use crate::model::limits::{IDLE_EXIT, START_TIMEOUT};
use crate::sys::{descriptors, manager, private};

/// Starts a hub and waits until it is ready. An error says what it said; it may also mean that another client was
/// faster, so the caller looks once more.
pub(super) async fn hub(directories: &Directories) -> io::Result<()> {
    let directories = directories.clone();
    let started = tokio::task::spawn_blocking(move || start(&directories));
    let late = || Err(io::Error::new(io::ErrorKind::TimedOut, "it is not ready yet"));
    tokio::time::timeout(START_TIMEOUT, started).await.map_or_else(|_| late(), |done| done.map_err(io::Error::other)?)
}

fn start(directories: &Directories) -> io::Result<()> {
    let program = environment::program()?;
    let idle = format!("{}s", IDLE_EXIT.as_secs());
    let arguments = ["hub", "--idle-exit", &idle];
    descriptors::keep_to_ourselves();
    if Directories::session_runtime().is_some_and(|session| manager::has_user_manager(&session)) {
        let mut command = Command::new("systemd-run");
        // `notify` makes systemd-run return when the hub is ready.
        command.args([
            "--user",
            "--quiet",
            "--collect",
            "--service-type=notify",
            "--description=waitbus hub, started on demand",
        ]);
        for (name, path) in directories.variables() {
            command.arg(format!("--setenv={name}={}", path.display()));
        }
        let outcome = command.arg("--").arg(&program).args(arguments).stdin(Stdio::null()).output();
        if outcome.is_ok_and(|output| output.status.success()) {
            return Ok(());
        }
    }
    private::directory(&directories.state)?;
    let log = directories.hub_log();
    let errors = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&log)?;
    let mut child = Command::new(&program)
        .args(arguments)
        .arg("--detach")
        .envs(directories.variables())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()?;
    let mut line = String::new();
    // It prints one line when it is ready, and nothing when it cannot become so.
    let read = child.stdout.take().map(|stdout| BufReader::new(stdout).read_line(&mut line)).transpose()?;
    if read.unwrap_or(0) > 0 {
        return Ok(());
    }
    child.wait()?;
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    let said = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it ended without a word");
    Err(io::Error::other(said.trim_start_matches("waitbus: ").to_owned()))
}
