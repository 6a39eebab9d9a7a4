//! `waitbus source`: runs one source in the foreground.

mod files;

use std::ffi::OsString;

use clap::{Args, Subcommand};

use super::exit::{Exit, Failure};
use super::{block_on, output, wait};
use crate::config::directories::Directories;
use crate::config::section::Section;
use crate::config::settings::Settings;
use crate::model::nearest::nearest;
use crate::source::Setup;
use crate::source::service::{Plan, SourceError, run as run_source};
use crate::sys::logging::{self, Level};
use crate::sys::manager;

/// Run a source in the foreground, or say what sources there are
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Fs(files::Arguments),
    /// Run the source of this name, until stopped; what it is told is `[source.NAME]` in waitbus.toml
    #[command(external_subcommand)]
    Run(Vec<OsString>),
}

pub(super) fn run(arguments: Arguments, directories: Directories) -> Result<Exit, Failure> {
    let settings = Settings::load(&directories).map_err(Failure::usage)?;
    let (name, setup) = match arguments.what {
        What::Fs(arguments) => ("fs".to_owned(), arguments.setup(setup(&settings, "fs")?)?),
        What::Run(words) => {
            let name = words.first().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            let setup = setup(&settings, &name)?;
            (name, setup)
        }
    };
    logging::start(settings.log.unwrap_or(Level::INFO));
    let start = format!("waitbus source {name}");
    block_on(serve(Plan { directories, name, setup, start }))
}

/// What a source was told.
fn setup(settings: &Settings, name: &str) -> Result<Setup, Failure> {
    let built_in = Setup::BUILT_IN.contains(&name).then(|| Section::empty(name));
    match settings.sources.get(name).or(built_in.as_ref()) {
        Some(section) => Setup::of(section).map_err(Failure::usage),
        None => {
            let known = settings.sources.keys().map(String::as_str).chain(Setup::BUILT_IN);
            Err(Failure::usage(match nearest(name, known) {
                Some(meant) => format!("there is no source {name:?}: did you mean {meant:?}?"),
                None => format!("there is no source {name:?}: add [source.{name}] to waitbus.toml"),
            }))
        }
    }
}

async fn serve(plan: Plan) -> Result<Exit, Failure> {
    let name = plan.name.clone();
    let stop = async {
        // Without handlers a signal ends the process by itself.
        if wait::interrupted().await.is_err() {
            std::future::pending::<()>().await;
        }
        manager::stopping("Stopping");
    };
    let ready = || {
        let _ = output::line(&format!("ready source={name}"));
        manager::ready("Watching");
    };
    match run_source(plan, stop, ready).await {
        Ok(()) => Ok(Exit::Success),
        Err(SourceError::Bus(error)) => Err(error.into()),
        Err(broken @ SourceError::Broken { .. }) => Err(Failure::bus(broken)),
    }
}
