//! `waitbus serve`, `hub` and `listen`: the services, together or one by one.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::exit::{Exit, Failure};
use super::output;
use super::time;
use crate::config::directories::Directories;
use crate::config::environment;
use crate::config::settings::{BadSettings, Settings, Stay, WEBHOOK_ADDRESS};
use crate::daemon::boot::{DaemonError, Plan, Ready, run};
use crate::daemon::hub::Ended;
use crate::model::limits::{IDLE_EXIT, SERVICE_LOG_BYTES};
use crate::sys::activation::Passed;
use crate::sys::detach;
use crate::sys::logging::{self, Level};

/// Run the hub and the webhook listener in the foreground, until stopped
#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    #[command(flatten)]
    address: Address,

    #[command(flatten)]
    idle: Idle,
}

/// Run the hub: broadcast events to whoever waits
///
/// Prints one line when it is ready. Takes the sockets of a service manager, else binds its own.
#[derive(Debug, Args)]
pub(super) struct HubArguments {
    #[command(flatten)]
    idle: Idle,

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

    #[command(flatten)]
    idle: Idle,
}

/// How long to stay.
#[derive(Debug, Args)]
struct Idle {
    /// Leave after this long without subscribers and connections; when a service manager passed all sockets, `idle_exit`
    /// of the configuration, or 10m; else never
    #[arg(long, value_name = "DURATION", value_parser = time::duration)]
    idle_exit: Option<Duration>,
}

impl Idle {
    /// Without an order of its own a service leaves only if the manager, who has its sockets, starts it again.
    fn get(&self, settings: &Settings, manager_keeps_the_sockets: bool) -> Option<Duration> {
        self.idle_exit.or(match settings.idle_exit {
            _ if !manager_keeps_the_sockets => None,
            None => Some(IDLE_EXIT),
            Some(Stay::For(duration)) => Some(duration),
            Some(Stay::Forever) => None,
        })
    }
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
            None => Ok(WEBHOOK_ADDRESS),
            Some(text) => text.parse().map_err(|_| {
                Failure::usage(format!("{} is {text:?}, but it must be IP:PORT", environment::WEBHOOK_ADDR))
            }),
        }
    }
}

pub(super) fn serve(arguments: &ServeArguments, directories: Directories, passed: Passed) -> Result<Exit, Failure> {
    let settings = settings(&directories)?;
    let webhook = Some(arguments.address.get()?);
    let all = passed.broadcast.is_some() && passed.doorbell.is_some() && passed.webhook.is_some();
    let idle_exit = arguments.idle.get(&settings, all);
    start(Plan { directories, passed, hub: true, webhook, idle_exit }, &settings, false)
}

pub(super) fn hub(arguments: &HubArguments, directories: Directories, passed: Passed) -> Result<Exit, Failure> {
    if arguments.detach {
        detach::from_terminal();
    }
    let settings = settings(&directories)?;
    if passed.webhook.is_some() {
        return Err(Failure::usage(
            "a socket named webhook was passed to the hub, which would leave it unserved: pass it to `waitbus listen`",
        ));
    }
    // The doorbell alone is no reason to stay: the next subscriber starts a hub, and it reads what was committed.
    let idle_exit = arguments.idle.get(&settings, passed.broadcast.is_some());
    start(Plan { directories, passed, hub: true, webhook: None, idle_exit }, &settings, arguments.detach)
}

pub(super) fn listen(arguments: &ListenArguments, directories: Directories, passed: Passed) -> Result<Exit, Failure> {
    let settings = settings(&directories)?;
    let webhook = Some(arguments.address.get()?);
    if passed.broadcast.is_some() || passed.doorbell.is_some() {
        return Err(Failure::usage(
            "a socket of the hub was passed to the listener, which would leave it unserved: pass it to `waitbus hub`",
        ));
    }
    let idle_exit = arguments.idle.get(&settings, passed.webhook.is_some());
    start(Plan { directories, passed, hub: false, webhook, idle_exit }, &settings, false)
}

fn settings(directories: &Directories) -> Result<Settings, Failure> {
    Settings::load(directories).map_err(|error: BadSettings| Failure::usage(error))
}

fn start(plan: Plan, settings: &Settings, detached: bool) -> Result<Exit, Failure> {
    let log = if plan.hub { plan.directories.hub_log() } else { plan.directories.listen_log() };
    // What cannot be looked at is not ours to empty, and no reason not to serve.
    let _ = logging::keep_short(&log, SERVICE_LOG_BYTES);
    logging::start(settings.log.unwrap_or(Level::INFO));
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
