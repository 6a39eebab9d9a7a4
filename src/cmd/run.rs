//! `waitbus run`: run a command as it is, and tell the bus about its start and its end.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use clap::Args;

use super::exit::{Exit, Failure};
use super::output;
use super::report::{Finish, Report, Run};
use crate::child::foreground::Foreground;
use crate::child::stderr::{Standard, Tail, copy_all};
use crate::child::{Ended, NotStarted};
use crate::client::{Receipt, Reporter, Told};
use crate::config::directories::Directories;
use crate::config::environment;
use crate::model::limits::{TELL_END_TIMEOUT, TELL_START_TIMEOUT};
use crate::sys::{detach, signals};

/// Run a command as it is, and emit its start and its end as events
///
/// The command has the terminal, the descriptors, the signals and the process group that it would have without
/// `waitbus run`, and its exit code or signal is ours. That the bus cannot be told is said once and changes nothing.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  waitbus run -- cargo test
  waitbus run --name tests --junit report.xml -- pytest --junit-xml report.xml
  waitbus wait --source run --type finished --match name=tests --verdict")]
pub(super) struct Arguments {
    /// What to call it in the events [default: the name of the command]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// A JUnit report that the command writes: adds the number of its tests and the names of the failing ones
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Say nothing on standard error when the bus cannot be told
    #[arg(short, long)]
    quiet: bool,

    /// The command and its arguments, after `--`
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(super) fn run(arguments: &Arguments, directories: Result<Directories, Failure>) -> Result<Exit, Failure> {
    let mut foreground = listen()?;
    let Some((program, rest)) = arguments.command.split_first() else {
        return Err(Failure::usage("run what? Write the command after `--`"));
    };
    let mut bus = Bus::open(directories, arguments.quiet);
    let run = Run::of(program, arguments.name.as_deref())?;
    let report = arguments.junit.as_deref().map(Report::expect);
    bus.tell_start(&run);

    let mut command = Command::new(program);
    command.args(rest);
    let standard = Standard { output: rustix::stdio::stdout(), error: rustix::stdio::stderr() };
    let tail = Tail::keep(&mut command, standard);
    let began = Instant::now();
    let outcome = foreground.run(command);
    let duration = began.elapsed();
    let last_words = tail.finish(relay);
    let report = report.map(|report| report.read());
    if let Some(Err(problem)) = &report {
        bus.say(&format!("--junit {problem}"));
    }
    let finish = Finish {
        outcome: &outcome,
        was_asked_to_end: foreground.was_asked_to_end(),
        duration,
        standard_error: &last_words,
        report: report.as_ref(),
    };
    bus.tell_end(&run, &finish);
    leave(program, outcome)
}

/// Begins to hear what is sent to the command that is about to run.
pub(super) fn listen() -> Result<Foreground, Failure> {
    let refused = |error| Failure::of(Exit::CannotExecute, format!("the system refuses signal handlers: {error}"));
    Foreground::listen().map_err(refused)
}

/// Ends as the command has ended.
pub(super) fn leave(program: &OsString, outcome: Result<Ended, NotStarted>) -> Result<Exit, Failure> {
    match outcome {
        Ok(Ended::Code(code)) => Ok(Exit::Command(code)),
        Ok(ended @ Ended::Signal(signal)) => {
            // A shell tells a command that a signal ended from one that exits with the code for it.
            signals::end_by(signal);
            Ok(Exit::Command(ended.code()))
        }
        Err(problem) => Err(Failure::of(Exit::from(&problem), format!("{}: {problem}", program.display()))),
    }
}

/// The bus as a command sees it that must not fail or wait because of it.
struct Bus {
    reporter: Option<Reporter>,
    /// What was told of the start and may still be answered.
    start: Option<Receipt>,
    /// Whether there is nothing more to say about the bus.
    silent: bool,
    quiet: bool,
}

impl Bus {
    fn open(directories: Result<Directories, Failure>, quiet: bool) -> Bus {
        let mut bus = Bus { reporter: None, start: None, silent: false, quiet };
        match directories {
            Ok(directories) => bus.reporter = Some(Reporter::start(directories)),
            Err(problem) => bus.complain(&problem.to_string()),
        }
        bus
    }

    fn tell_start(&mut self, run: &Run) {
        let Some(reporter) = &self.reporter else { return };
        let receipt = reporter.tell(run.started());
        match receipt.wait(TELL_START_TIMEOUT) {
            Told::Committed => {}
            Told::NotYet => self.start = Some(receipt),
            Told::Failed(error) => self.complain(&error.to_string()),
        }
    }

    fn tell_end(&mut self, run: &Run, finish: &Finish<'_>) {
        let Some(reporter) = &self.reporter else { return };
        let receipt = reporter.tell(run.finished(finish));
        let told = receipt.wait(TELL_END_TIMEOUT);
        // In the order in which they were told, so the start's answer is there if the end's is.
        if let Some(Told::Failed(error)) = self.start.take().map(|start| start.wait(std::time::Duration::ZERO)) {
            self.complain(&error.to_string());
        }
        match told {
            Told::Committed => {}
            Told::NotYet => self.complain("the event log does not answer"),
            Told::Failed(error) => self.complain(&error.to_string()),
        }
    }

    /// Says once that the bus does not know of the command.
    fn complain(&mut self, problem: &str) {
        if !std::mem::replace(&mut self.silent, true) {
            self.say(&format!("the bus is not told of this command: {problem}"));
        }
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            output::say(&format!("waitbus: {text}"));
        }
    }
}

/// What goes on copying standard error for what a command has left behind.
fn relay() -> Option<Command> {
    let mut command = Command::new(environment::program().ok()?);
    command.arg(RELAY).stderr(Stdio::inherit());
    Some(command)
}

/// The verb of [`relay`], which is nobody else's.
pub(super) const RELAY: &str = "relay-stderr";

/// Copies standard input to standard error until nobody writes any more.
pub(super) fn run_relay() -> Exit {
    // What interrupts the terminal's next command is not meant for what the last one left behind.
    detach::from_terminal();
    copy_all(rustix::stdio::stdin(), rustix::stdio::stderr());
    Exit::Success
}
