//! Programs that are run: whether they are installed, which version they are, and when they are ready.

use std::error::Error;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use regex::bytes::Regex;

use crate::bus::Service;

/// Why a rival could not be measured, for the table.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// How often a server is asked whether it is ready, and how long the pause before the next time is. Together it is
/// longer than the slowest takes.
const ATTEMPTS: u32 = 3_000;
const PAUSE: Duration = Duration::from_millis(10);

/// A program that has no end of its own: the kernel ends it with this process, whatever that has ended by.
pub fn service(name: &str) -> Command {
    let mut command = program("setpriv");
    command.args(["--pdeathsig", "KILL", "--", name]);
    command
}

/// A program that inherits nothing but where programs are.
pub fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Starts a server, and returns when it says by `ready` that it is one.
pub fn start(command: &mut Command, ready: impl Fn() -> bool) -> Outcome<Service> {
    let mut service = Service(command.spawn()?);
    for _ in 0..ATTEMPTS {
        if ready() {
            return Ok(service);
        }
        if let Some(status) = service.0.try_wait()? {
            return Err(format!("{command:?} has ended: {status}").into());
        }
        thread::sleep(PAUSE);
    }
    Err(format!("{command:?} does not become ready").into())
}

/// The version that a program tells when it is run with these arguments, whatever else it says.
pub fn version(arguments: &[&str]) -> Outcome<String> {
    let [name, arguments @ ..] = arguments else { return Err("no program".into()) };
    let mut command = program(name);
    let said = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).output();
    let said = said.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("{name} is not installed"),
        _ => format!("{name}: {error}"),
    })?;
    let number = Regex::new(r"\d+(\.\d+)+")?;
    let found = number.find(&said.stdout).or_else(|| number.find(&said.stderr));
    let found = found.ok_or_else(|| format!("{name} does not tell its version"))?;
    Ok(String::from_utf8_lossy(found.as_bytes()).into_owned())
}

/// A port of the loopback interface that is free now, for programs that cannot be told to find one.
pub fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
