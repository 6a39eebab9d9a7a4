//! `waitbus serve`, `hub` and `listen`: the services, together or one by one.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use tracing::level_filters::LevelFilter;

use super::exit::{Exit, Failure};
use super::output;
use super::time;
use crate::config::directories::Directories;
use crate::config::environment;
use crate::daemon::boot::{DaemonError, Plan, Ready, run};
use crate::daemon::hub::Ended;
use crate::model::limits::{IDLE_EXIT, SERVICE_LOG_BYTES};
use crate::sys::activation::Passed;
use crate::sys::{detach, logging};

/// Run the hub and the webhook listener in the foreground, until stopped
#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    #[command(flatten)]
    address: Address,
}

/// Run the hub: broadcast events to whoever waits
///
/// Prints one line when it is ready. Takes the sockets of a service manager, else binds its own.
#[derive(Debug, Args)]
pub(super) struct HubArguments {
    /// Leave after this long without subscribers; 10m when a service manager passed the sockets, else never
    #[arg(long, value_name = "DURATION", value_parser = time::duration)]
    idle_exit: Option<Duration>,

    /// Leave the terminal of whoever started it
    #[arg(long, hide = true)]
    detach: bool,
}

/// Run the webhook listener: verify signed deliveries and store them
///
/// Prints one line when it is ready. Takes the socket of a service manager, else binds its own, on loopback only.
#[derive(Debug, Args)]
pub(super) struct ListenArguments {
    #[command(flatten)]
    address: Address,
}

/// Where the listener listens.
#[derive(Debug, Args)]
struct Address {
    /// Loopback address of the webhook listener; also `$WAITBUS_WEBHOOK_ADDR` [default: 127.0.0.1:9000]
    #[arg(long, value_name = "IP:PORT")]
    addr: Option<SocketAddr>,
}

impl Address {
    fn get(&self) -> Result<SocketAddr, Failure> {
        if let Some(address) = self.addr {
            return Ok(address);
        }
        match environment::get_text(environment::WEBHOOK_ADDR) {
            None => Ok(environment::DEFAULT_WEBHOOK_ADDRESS),
            Some(text) => text.parse().map_err(|_| {
                Failure::usage(format!("{} is {text:?}, but it must be IP:PORT", environment::WEBHOOK_ADDR))
            }),
        }
    }
}

pub(super) fn serve(arguments: &ServeArguments, directories: Directories, passed: Passed) -> Result<Exit, Failure> {
    let webhook = Some(arguments.address.get()?);
    // A person started it, so it stays, unless a service manager did.
    let idle_exit = passed.broadcast.is_some().then_some(IDLE_EXIT);
    start(Plan { directories, passed, hub: true, webhook, idle_exit }, false)
}

pub(super) fn hub(arguments: &HubArguments, directories: Directories, passed: Passed) -> Result<Exit, Failure> {
    if arguments.detach {
        detach::from_terminal();
    }
    if passed.webhook.is_some() {
        return Err(Failure::usage(
            "a socket named webhook was passed to the hub, which would leave it unserved: pass it to `waitbus listen`",
        ));
    }
    let idle_exit = arguments.idle_exit.or_else(|| passed.broadcast.is_some().then_some(IDLE_EXIT));
    start(Plan { directories, passed, hub: true, webhook: None, idle_exit }, arguments.detach)
}

pub(super) fn listen(arguments: &ListenArguments, directories: Directories, passed: Passed) -> Result<Exit, Failure> {
    let webhook = Some(arguments.address.get()?);
    if passed.broadcast.is_some() || passed.doorbell.is_some() {
        return Err(Failure::usage(
            "a socket of the hub was passed to the listener, which would leave it unserved: pass it to `waitbus hub`",
        ));
    }
    start(Plan { directories, passed, hub: false, webhook, idle_exit: None }, false)
}

fn start(plan: Plan, detached: bool) -> Result<Exit, Failure> {
    let log = if plan.hub { plan.directories.hub_log() } else { plan.directories.listen_log() };
    // What cannot be looked at is not ours to empty, and no reason not to serve.
    let _ = logging::keep_short(&log, SERVICE_LOG_BYTES);
    logging::start(log_level()?);
    let ended = run(plan, |ready| {
        // Whoever started us may not read it, and that is no reason not to serve.
        let _ = output::line(&ready_line(ready));
        if detached {
            detach::from_output();
        }
    });
    match ended {
        Ok(Ended::Stopped | Ended::HandedOver | Ended::Idle) => Ok(Exit::Success),
        Err(error @ (DaemonError::Bind(_) | DaemonError::Directory(_))) => Err(Failure::usage(error)),
        Err(error) => Err(Failure::bus(error)),
    }
}

/// `ready broadcast=PATH doorbell=PATH webhook=IP:PORT`, each where it is served.
fn ready_line(ready: &Ready) -> String {
    let mut line = "ready".to_owned();
    for (name, path) in [("broadcast", &ready.broadcast), ("doorbell", &ready.doorbell)] {
        if let Some(path) = path {
            // Writing to a String cannot fail.
            let _ = write!(line, " {name}={}", path.display());
        }
    }
    if let Some(address) = ready.webhook {
        let _ = write!(line, " webhook={address}");
    }
    line
}

fn log_level() -> Result<LevelFilter, Failure> {
    match environment::get_text(environment::LOG) {
        None => Ok(LevelFilter::INFO),
        Some(text) => text.parse().map_err(|_| {
            Failure::usage(format!(
                "{} is {text:?}, but it must be off, error, warn, info, debug or trace",
                environment::LOG
            ))
        }),
    }
}
