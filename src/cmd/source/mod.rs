//! `waitbus source`: runs one source in the foreground, says what sources there are, and has the service manager run them.

mod docker;
mod enabling;
mod files;
mod github;
mod known;
mod list;
pub(super) mod overview;
mod start;

use std::ffi::OsString;

use clap::{Args, Subcommand};

use super::exit::{Exit, Failure};
use super::{block_on, output, wait};
use crate::config::directories::Directories;
use crate::config::section::Section;
use crate::config::settings::Settings;
use crate::model::event::check_name;
use crate::model::limits::SERVICE_LOG_BYTES;
use crate::source::service::{Plan, SourceError, run as run_source};
use crate::source::{Setup, command};
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
    List(list::Arguments),
    Enable(enabling::EnableArguments),
    Disable(enabling::DisableArguments),
    Docker(docker::Arguments),
    Fs(files::Arguments),
    Github(github::Arguments),
    /// Run the source of this name, until stopped; what it is told is `[source.NAME]` in waitbus.toml, or, after `--`, a
    /// program that prints events as JSON lines
    #[command(external_subcommand)]
    Run(Vec<OsString>),
}

pub(super) fn run(arguments: Arguments, directories: Directories) -> Result<Exit, Failure> {
    match arguments.what {
        What::List(arguments) => block_on(list::run(&arguments, &directories)),
        What::Enable(arguments) => enabling::enable(&arguments, &directories),
        What::Disable(arguments) => enabling::disable(&arguments, &directories),
        What::Docker(arguments) => work("docker", directories, |settings| match arguments.setup()? {
            Some(told) => Ok(Setup::Docker(told)),
            None => setup(settings, "docker"),
        }),
        What::Fs(arguments) => work("fs", directories, |settings| arguments.setup(setup(settings, "fs")?)),
        What::Github(arguments) => work("github", directories, |settings| arguments.setup(setup(settings, "github")?)),
        What::Run(words) => {
            let mut words = words.into_iter();
            let name = words.next().unwrap_or_default().to_string_lossy().into_owned();
            check_name("its name", &name).map_err(Failure::usage)?;
            match words.next() {
                None => work(&name, directories, |settings| setup(settings, &name)),
                Some(dashes) if dashes == "--" => {
                    work(&name, directories, |_| program(&name, words.collect()).map(Setup::Command))
                }
                Some(_) if Setup::BUILT_IN.contains(&&*name) => Err(Failure::usage(format!(
                    "{name} takes no arguments: what it is told is [source.{name}] in waitbus.toml"
                ))),
                Some(word) => {
                    let meant = format!("waitbus source {name} -- {}", word.to_string_lossy());
                    let asked = "what comes after the name? A program comes after `--`";
                    Err(Failure::usage(format!("{asked}: {meant} …")))
                }
            }
        }
    }
}

/// Runs a source with what it was `told`.
fn work(
    name: &str,
    directories: Directories,
    told: impl FnOnce(&Settings) -> Result<Setup, Failure>,
) -> Result<Exit, Failure> {
    let run = || {
        let settings = Settings::load(&directories).map_err(Failure::usage)?;
        let setup = told(&settings)?;
        // launchd appends what it says to a file; what cannot be looked at is not ours to empty.
        let _ = logging::keep_short(&directories.source_log(name), SERVICE_LOG_BYTES);
        logging::start(settings.log.unwrap_or(Level::INFO));
        block_on(serve(Plan { directories, name: name.to_owned(), setup, start: start::of(name) }))
    };
    // Whoever has a manager start it sees its standard error nowhere, unless they know where the journal is.
    run().inspect_err(|failure| manager::status(&failure.to_string()))
}

/// What a source was told.
fn setup(settings: &Settings, name: &str) -> Result<Setup, Failure> {
    let built_in = Setup::BUILT_IN.contains(&name).then(|| Section::empty(name));
    match settings.sources.get(name).or(built_in.as_ref()) {
        Some(section) => Setup::of(section).map_err(Failure::usage),
        None => Err(Failure::usage(known::there_is_no(name, settings))),
    }
}

/// A program on the command line.
fn program(name: &str, command: Vec<OsString>) -> Result<command::Setup, Failure> {
    if Setup::BUILT_IN.contains(&name) {
        return Err(Failure::usage(format!("{name} is a source that waitbus has: give the program another name")));
    }
    if command.first().is_none_or(|program| program.is_empty()) {
        return Err(Failure::usage(format!("which program? waitbus source {name} -- PROGRAM [ARGUMENT]…")));
    }
    Ok(command::Setup { command, directory: None })
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
        Err(error) => Err(Failure::bus(error)),
    }
}
