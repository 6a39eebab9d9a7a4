//! Sources: what a workstation knows, from the real thing to the bus.
//!
//! Each is one worker with one signature, `run(setup, outlet) -> Broken`: it looks at its part of the world and hands
//! what it sees to its [`Outlet`], until it is cancelled or cannot go on. [`service`] runs one: it commits what the worker
//! hands over, announces the source, and says goodbye for it. A worker knows neither the log nor the hub.

pub mod alertmanager;
pub mod command;
mod commits;
pub mod docker;
pub mod files;
mod flood;
pub mod github;
mod outlet;
pub mod service;
mod throttle;

pub use outlet::Outlet;

use crate::config::section::Section;
use crate::config::settings::BadSettings;
use crate::model::event::check_name;

/// Why a worker cannot go on: what is wrong, where, and what to do. What may get better by itself is no reason, but a
/// matter of [`Outlet::silent`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub String);

/// A source and what it was told.
#[derive(Clone, Debug)]
pub enum Setup {
    /// The heartbeat of an Alertmanager; its alerts arrive at the webhook listener.
    Alertmanager(alertmanager::Setup),
    /// A program that prints events.
    Command(command::Setup),
    /// A container engine.
    Docker(docker::Setup),
    /// Files and directories.
    Files(files::Setup),
    /// GitHub, asked instead of listened to.
    Github(github::Setup),
}

impl Setup {
    /// The sources that need no program of the user's.
    pub const BUILT_IN: [&str; 4] = ["alertmanager", "docker", "fs", "github"];

    /// What the configuration says of a source; without a section it is what the source does when nothing was set.
    pub fn of(section: &Section) -> Result<Setup, BadSettings> {
        check_name("its name", section.name()).map_err(|bad| section.incomplete(bad))?;
        match section.name() {
            "alertmanager" => alertmanager::Setup::of(section).map(Setup::Alertmanager),
            "docker" => docker::Setup::of(section).map(Setup::Docker),
            "fs" => files::Setup::of(section).map(Setup::Files),
            "github" => github::Setup::of(section).map(Setup::Github),
            _ => command::Setup::of(section).map(Setup::Command),
        }
    }

    /// Whether the source does more while somebody waits for it. The others are not woken by those who come and go.
    fn follows_demand(&self) -> bool {
        matches!(self, Setup::Github(_))
    }

    /// The work of the source. It may be cancelled at any time.
    async fn work(self, outlet: Outlet) -> Broken {
        match self {
            Setup::Alertmanager(setup) => alertmanager::run(setup, outlet).await,
            Setup::Command(setup) => command::run(setup, outlet).await,
            Setup::Docker(setup) => docker::run(setup, outlet).await,
            Setup::Files(setup) => files::run(setup, outlet).await,
            Setup::Github(setup) => github::run(setup, outlet).await,
        }
    }
}
