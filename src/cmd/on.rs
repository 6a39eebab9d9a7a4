//! `waitbus on`: run a command when it happens, once or again and again.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::process::Command;
use std::time::Duration;

use clap::Args;
use rustix::process::Signal;
use tempfile::TempPath;

use super::block_on;
use super::event_data;
use super::exit::{Exit, Failure};
use super::output;
use super::run::{leave, listen};
use super::time;
use super::wait::{Outcome, Wait};
use crate::child::jobs::{Finished, Jobs};
use crate::child::signals::{PASSED_ON, Signals};
use crate::child::{Ended, asks_to_end, signal_name};
use crate::client::{News, Waiter};
use crate::config::directories::Directories;
use crate::model::limits::STOP_TIMEOUT;
use crate::sys::signals::stop_by;
use crate::waiting::Ending;
use crate::waiting::none_of::FORBIDDEN;

/// Run a command when it happens
///
/// Waits as `waitbus wait` does with the same conditions, and runs the command where that would exit with 0; otherwise
/// it exits as that would. There is no shell. The command learns of the event by variables (`WAITBUS_EVENT_…`) and by
/// the file `$WAITBUS_EVENT_FILE`, which is removed afterwards. Once, it runs as with `waitbus run`: with the terminal,
/// and its end is ours. With --loop it runs in a process group of its own, with nothing to read.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  waitbus on --source run --match name=build --verdict -- ./deploy.sh
  waitbus on --loop --restart --source fs -- cargo test
  waitbus on --loop --source github --match conclusion=failure -- sh -c 'jq . \"$WAITBUS_EVENT_FILE\"'")]
pub(super) struct Arguments {
    #[command(flatten)]
    wait: Wait,

    /// Run it again each time it happens. While it runs, what happens is kept in the log, in order
    #[arg(long = "loop")]
    repeat: bool,

    /// When it happens while the command runs, stop the command and start it anew for the newest
    #[arg(long, requires = "repeat", conflicts_with = "jobs")]
    restart: bool,

    /// How many may run at the same time [default: 1]
    #[arg(long, value_name = "N", requires = "repeat")]
    jobs: Option<NonZeroUsize>,

    /// How long a command that is asked to end (SIGTERM) has before it is killed [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = time::duration, requires = "repeat")]
    stop_timeout: Option<Duration>,

    /// The command and its arguments, after `--`
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(super) fn run(arguments: &Arguments, directories: &Directories) -> Result<Exit, Failure> {
    let Some((program, rest)) = arguments.command.split_first() else {
        return Err(Failure::usage("run what? Write the command after `--`"));
    };
    let order = Order { program, rest, directories };
    if arguments.repeat { block_on(repeat(arguments, &order)) } else { once(arguments, &order) }
}

/// What to run.
struct Order<'a> {
    program: &'a OsString,
    rest: &'a [OsString],
    directories: &'a Directories,
}

impl Order<'_> {
    /// The command for an event, and the file that it needs as long as it runs.
    fn command(&self, ending: &Ending) -> Result<(Command, TempPath), Failure> {
        let mut command = Command::new(self.program);
        command.args(self.rest);
        let file = event_data::tell(&mut command, ending, self.directories);
        let file = file.map_err(|error| Failure::bus(format!("the file for the event cannot be written: {error}")))?;
        Ok((command, file))
    }
}

fn once(arguments: &Arguments, order: &Order<'_>) -> Result<Exit, Failure> {
    let mut foreground = listen()?;
    let ending = match block_on(arguments.wait.until_answered(order.directories, &|_| ()))? {
        Outcome::Otherwise(exit) => return Ok(exit),
        Outcome::Answered(ending) => ending,
    };
    match arguments.wait.exit(&ending) {
        Exit::Success => {}
        other => return Ok(other),
    }
    let (command, file) = order.command(&ending)?;
    let outcome = foreground.run(command);
    drop(file);
    leave(order.program, outcome)
}

impl Arguments {
    async fn ask(&self, directories: &Directories) -> Result<Waiter, Failure> {
        let wait = &self.wait;
        wait.patience.ask(directories, wait.asked.question()?, wait.start.cursor(directories)?).await
    }
}

/// What happens next to somebody who runs commands while reading on.
enum Turn {
    Signal(i32),
    Finished(Finished<TempPath>),
    News(News),
    Late,
}

async fn repeat(arguments: &Arguments, order: &Order<'_>) -> Result<Exit, Failure> {
    let (commit, _) = arguments.wait.question()?;
    if commit.is_some() {
        return Err(Failure::usage("--loop and --sha do not go together: a commit has one verdict"));
    }
    let refused = |error| Failure::bus(format!("the system refuses signal handlers: {error}"));
    let mut signals = Signals::listen(&PASSED_ON).map_err(refused)?;
    let mut repeater = Repeater { arguments, order, jobs: Jobs::new().map_err(refused)?, next: None, end: None };
    let mut late = pin!(arguments.wait.late());
    let mut waiter = loop {
        tokio::select! {
            biased;
            signal = signals.next() => repeater.hear(signal),
            waiter = arguments.ask(order.directories) => break waiter?,
            () = &mut late => return Ok(arguments.wait.timed_out(None)),
        }
        if let Some(end) = repeater.end.take() {
            return end;
        }
    };
    let mut was_reading = true;
    loop {
        let reads = repeater.end.is_none() && (repeater.next.is_none() || arguments.restart);
        if reads && !was_reading {
            // What has happened meanwhile is in the log, and nobody was late to tell it.
            late.set(arguments.wait.late());
        }
        was_reading = reads;
        let turn = tokio::select! {
            biased;
            signal = signals.next() => Ok(Turn::Signal(signal)),
            finished = repeater.jobs.finished() => finished.map(Turn::Finished).map_err(Failure::bus),
            news = waiter.next(), if reads => news.map(Turn::News).map_err(Failure::from),
            () = &mut late, if reads => Ok(Turn::Late),
        };
        match turn {
            Ok(Turn::Signal(signal)) => repeater.hear(signal),
            Ok(Turn::Finished(job)) => repeater.take_note(&job),
            Ok(Turn::News(news)) => {
                if repeater.learn(news, &mut waiter) {
                    late.set(arguments.wait.late());
                }
            }
            Ok(Turn::Late) => repeater.end = Some(Ok(arguments.wait.timed_out(Some(&waiter.outstanding())))),
            Err(failure) => repeater.end = Some(Err(failure)),
        }
        repeater.start_next();
        // What runs is not ended because no more is to come.
        if repeater.jobs.count() == 0
            && let Some(end) = repeater.end.take()
        {
            return end;
        }
    }
}

/// The commands that run, and what they are run for.
struct Repeater<'a> {
    arguments: &'a Arguments,
    order: &'a Order<'a>,
    jobs: Jobs<TempPath>,
    /// The answer for which there is no room yet. Those after it are still in the log.
    next: Option<Ending>,
    /// How we end, once nothing runs any more.
    end: Option<Result<Exit, Failure>>,
}

impl Repeater<'_> {
    fn stop_timeout(&self) -> Duration {
        self.arguments.stop_timeout.unwrap_or(STOP_TIMEOUT)
    }

    /// A signal: all commands get it, because none of them has got it by itself.
    fn hear(&mut self, signal: i32) {
        let Some(named) = Signal::from_named_raw(signal) else { return };
        match named {
            _ if asks_to_end(signal) && matches!(self.end, Some(Ok(Exit::Signal(_)))) => self.jobs.kill(),
            _ if asks_to_end(signal) => {
                self.jobs.stop(named, self.stop_timeout());
                self.end = Some(Ok(Exit::Signal(u8::try_from(signal).unwrap_or(0))));
                self.next = None;
            }
            Signal::TSTP => {
                self.jobs.signal(Signal::STOP);
                stop_by(signal);
                self.jobs.signal(Signal::CONT);
            }
            other => self.jobs.signal(other),
        }
    }

    /// Something from the bus; whether it is an answer.
    fn learn(&mut self, news: News, waiter: &mut Waiter) -> bool {
        let wait = &self.arguments.wait;
        let outcome = match news {
            News::Gap(gap) => wait.patience.gap(&gap),
            News::Dead(status) => wait.asked.dead(&status),
            News::Silent(status) => {
                wait.patience.silent(&status);
                Ok(())
            }
            News::Counts(_) => Ok(()),
            News::Ends(ending) => return self.answered(ending, waiter),
        };
        if let Err(failure) = outcome {
            self.end = Some(Err(failure));
        }
        false
    }

    fn answered(&mut self, ending: Ending, waiter: &mut Waiter) -> bool {
        match self.arguments.wait.exit(&ending) {
            Exit::Success => self.next = Some(ending),
            // That is what it is for.
            exit if ending.verdict.word() == FORBIDDEN => self.end = Some(Ok(exit)),
            _ => {}
        }
        match self.arguments.wait.question() {
            Ok((_, question)) => waiter.ask_again(question),
            Err(failure) => self.end = Some(Err(failure)),
        }
        true
    }

    /// A command has ended; its file goes with it.
    fn take_note(&self, job: &Finished<TempPath>) {
        let how = match job.ended {
            Ended::Code(0) => return,
            Ended::Code(code) => format!("ended with exit code {code}"),
            Ended::Signal(signal) => format!("was ended by {}", signal_name(signal)),
        };
        if !job.was_stopped && !self.arguments.wait.patience.is_quiet() {
            output::say(&format!("waitbus: {} {how}", self.order.program.display()));
        }
    }

    /// Starts the command for what has happened, if there is room; with --restart, makes room.
    fn start_next(&mut self) {
        let room = self.arguments.jobs.map_or(1, NonZeroUsize::get);
        if self.next.is_none() {
        } else if self.jobs.count() < room {
            if let Err(failure) = self.start() {
                self.end = Some(Err(failure));
                self.next = None;
            }
        } else if self.arguments.restart && !self.jobs.are_stopping() {
            self.jobs.stop(Signal::TERM, self.stop_timeout());
        }
    }

    fn start(&mut self) -> Result<(), Failure> {
        let Some(ending) = self.next.take() else { return Ok(()) };
        let (command, file) = self.order.command(&ending)?;
        self.jobs.start(command, file).map_err(|problem| {
            Failure::of(Exit::from(&problem), format!("{}: {problem}", self.order.program.display()))
        })
    }
}
