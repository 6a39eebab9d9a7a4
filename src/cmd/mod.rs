//! The command line: one file per verb, the only printing, the only exit codes.
//!
//! A verb turns what was typed into what was meant, calls the layer that does it, and ends in an [`Exit`]. Errors
//! become text and a code here and nowhere else.

mod asked;
mod bench;
mod commit;
mod completions;
mod conditions;
mod demo;
mod doctor;
mod emit;
mod event_data;
mod exit;
mod install;
mod man;
mod mark;
mod mcp;
mod message;
mod on;
mod output;
mod prune;
mod quick;
mod replay;
mod report;
mod run;
mod secret;
mod serve;
mod source;
mod status;
mod tail;
mod time;
mod wait;

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser, Subcommand};

pub use exit::{Exit, Failure};

use crate::config::directories::Directories;
use crate::config::environment;
use crate::model::text::escaped;
use crate::sys::activation::Passed;

/// The event bus of a workstation: wait for CI runs, commands and whatever programs emit, instead of polling.
#[derive(Debug, Parser)]
#[command(name = "waitbus", version, max_term_width = 100, after_help = exit::HELP)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Wait(Box<wait::Arguments>),
    On(Box<on::Arguments>),
    Run(run::Arguments),
    Emit(emit::Arguments),
    Tail(tail::Arguments),
    Replay(replay::Arguments),
    Mark(mark::Arguments),
    Mcp(mcp::Arguments),
    Message(message::Arguments),
    Prune(prune::Arguments),
    Status(status::Arguments),
    Doctor(doctor::Arguments),
    Serve(serve::ServeArguments),
    Hub(serve::HubArguments),
    Listen(serve::ListenArguments),
    Source(source::Arguments),
    Secret(secret::Arguments),
    Install(install::Arguments),
    Uninstall(install::UninstallArguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
    Demo(demo::Arguments),
    Bench(bench::Arguments),
    /// What `run` leaves behind when its command does
    #[command(name = run::RELAY, hide = true)]
    Relay,
    /// What a process of `bench` does beside the one that measures
    #[command(name = bench::ROLE, hide = true, subcommand)]
    BenchRole(bench::Role),
}

/// Runs the program: the arguments of the process, its environment, its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = environment::arguments();
    let quick = quick::parse(&arguments[1.min(arguments.len())..]);
    let verb = match quick.map_or_else(|| Cli::try_parse_from(arguments).map(|cli| cli.verb), Ok) {
        Ok(verb) => verb,
        Err(mut message) => {
            escape_typed(&mut message);
            // Help goes to standard output and ends well; anything else is a usage error.
            let _ = message.print();
            return if message.use_stderr() { Exit::Usage } else { Exit::Success }.into();
        }
    };
    match run(verb) {
        Ok(Exit::Success) if output::was_lost() => Exit::Bus.into(),
        Ok(exit) => exit.into(),
        Err(failure) => {
            output::say(&format!("waitbus: {failure}"));
            failure.exit.into()
        }
    }
}

/// Escapes what a message about the command line repeats of it.
fn escape_typed(message: &mut clap::Error) {
    let typed = |(kind, value): (ContextKind, &ContextValue)| match value {
        ContextValue::String(text) => Some((kind, escaped(text))).filter(|(_, shown)| shown != text),
        _ => None,
    };
    let found: Vec<_> = message.context().filter_map(typed).collect();
    for (kind, shown) in found {
        message.insert(kind, ContextValue::String(shown));
        // Advice repeats it as well.
        message.remove(ContextKind::Suggested);
    }
}

fn run(verb: Verb) -> Result<Exit, Failure> {
    let directories = Directories::from_environment().map_err(Failure::usage);
    match verb {
        // These work where nobody has a home: a command runs whether or not there is a bus.
        Verb::Run(arguments) => run::run(&arguments, directories),
        Verb::Relay => Ok(run::run_relay()),
        Verb::BenchRole(role) => bench::play(role),
        Verb::Completions(arguments) => completions::run(&arguments, &Cli::command()),
        Verb::Man(arguments) => man::run(&arguments, Cli::command()),

        Verb::Serve(arguments) => serve::serve(&arguments, directories?, passed()?),
        Verb::Hub(arguments) => serve::hub(&arguments, directories?, passed()?),
        Verb::Listen(arguments) => serve::listen(&arguments, directories?, passed()?),

        Verb::Source(arguments) => source::run(arguments, directories?),

        Verb::Emit(arguments) => emit::run(arguments, &directories?),
        Verb::Replay(arguments) => replay::run(&arguments, &directories?),
        Verb::Mark(arguments) => mark::run(&arguments, &directories?),
        Verb::Prune(arguments) => prune::run(&arguments, &directories?),
        Verb::Secret(arguments) => secret::run(&arguments, &directories?),
        Verb::Install(arguments) => install::install(&arguments, &directories?),
        Verb::Uninstall(arguments) => install::uninstall(&arguments, &directories?),
        Verb::On(arguments) => on::run(&arguments, &directories?),

        Verb::Wait(arguments) => block_on(wait::run(*arguments, &directories?)),
        Verb::Tail(arguments) => block_on(tail::run(arguments, &directories?)),
        Verb::Mcp(arguments) => block_on(mcp::run(&arguments, &directories?)),
        Verb::Message(arguments) => block_on(message::run(arguments, &directories?)),
        Verb::Status(arguments) => block_on(status::run(arguments, &directories?)),
        Verb::Doctor(arguments) => block_on(doctor::run(arguments, &directories?)),
        Verb::Demo(arguments) => block_on(demo::run(arguments)),
        Verb::Bench(arguments) => block_on(bench::run(arguments, directories?)),
    }
}

fn passed() -> Result<Passed, Failure> {
    Passed::take().map_err(Failure::bus)
}

fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::bus(format!("the system refuses an event loop: {error}")))?;
    let outcome = runtime.block_on(work);
    // A thread that still waits for a hub to start must not keep us.
    runtime.shutdown_background();
    outcome
}
