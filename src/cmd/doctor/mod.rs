//! `waitbus doctor`: what could be wrong here, and what to do about it. Looks, and changes nothing.
//!
//! Each check is a function of what is known about this machine ([`Here`]) that returns what it found. A new one is a
//! function and its line in [`CHECKS`].

mod bus;
mod services;
mod sources;

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::exit::{Exit, Failure};
use super::output;
use crate::client::status::{HubState, hub};
use crate::config::directories::Directories;
use crate::config::environment;
use crate::model::text::one_line;
use crate::setup::SetupError;
use crate::setup::systemd::manager::Manager;

/// Look for what could be wrong, and name the fix
///
/// One line for each thing that was looked at: ok, warning (the bus works, something could be better) or problem.
/// Exits 0 when nothing is a problem, else 3. Changes nothing, and starts no service.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print one JSON object for each finding
    #[arg(long)]
    json: bool,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Ok,
    Warning,
    Problem,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Problem => "problem",
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    level: Level,
    /// What is so.
    what: String,
    /// What to do about it, if it is not as it should be.
    fix: Option<String>,
}

impl Finding {
    fn ok(what: impl Into<String>) -> Finding {
        Finding { level: Level::Ok, what: what.into(), fix: None }
    }

    fn warning(what: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { level: Level::Warning, what: what.into(), fix: Some(fix.into()) }
    }

    fn problem(what: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { level: Level::Problem, what: what.into(), fix: Some(fix.into()) }
    }
}

/// What is known about this machine before anything is checked.
struct Here {
    directories: Directories,
    program: PathBuf,
    hub: HubState,
    manager: Result<Manager, SetupError>,
}

/// One thing to look at.
type Check = fn(&Here) -> Vec<Finding>;

/// Everything that is looked at, from the files to what runs.
const CHECKS: [(&str, Check); 15] = [
    ("directories", bus::directories),
    ("configuration", bus::configuration),
    ("log", bus::log),
    ("sockets", bus::sockets),
    ("hub", bus::hub),
    ("store", bus::store),
    ("manager", services::manager),
    ("units", services::units),
    ("drop-ins", services::drop_ins),
    ("enabled", services::enabled),
    ("running", services::running),
    ("linger", services::linger),
    ("sources", sources::sources),
    ("secret", services::secret),
    ("secret-store", services::secret_store),
];

pub(super) async fn run(arguments: Arguments, directories: &Directories) -> Result<Exit, Failure> {
    let here = Here {
        hub: hub(directories).await.map_err(Failure::usage)?,
        program: environment::program_as_called()
            .map_err(|error| Failure::bus(format!("where this program is: {error}")))?,
        manager: Manager::find(),
        directories: directories.clone(),
    };
    let mut exit = Exit::Success;
    for (name, check) in CHECKS {
        for finding in check(&here) {
            if finding.level == Level::Problem {
                exit = Exit::Bus;
            }
            let _ = output::line(&if arguments.json { as_json(name, &finding) } else { as_line(name, &finding) });
        }
    }
    Ok(exit)
}

fn as_json(name: &str, finding: &Finding) -> String {
    json!({"check": name, "level": finding.level.name(), "message": finding.what, "fix": finding.fix}).to_string()
}

fn as_line(name: &str, finding: &Finding) -> String {
    let fix = finding.fix.as_deref().map(|fix| format!(". {fix}")).unwrap_or_default();
    format!("{:<8} {name}: {}", finding.level.name(), one_line(&format!("{}{fix}", finding.what)))
}
