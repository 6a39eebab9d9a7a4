//! A program that prints events, one JSON object a line, and is kept running.
//!
//! It is started again when it ends, after a pause that grows while it keeps ending, and each end is an event. What it
//! prints is stored in its order; a line that is no event is named and stops nothing. A line `{"position": …}` is stored
//! together with the events before it and handed to the next start, so a program that begins there neither loses nor
//! doubles, whatever has been killed.

mod lines;
mod process;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::{sleep, sleep_until, timeout};
use tracing::{info, warn};

use super::{Broken, Outlet};
use crate::child::{Ended, NotStarted, signal_name};
use crate::config::environment::{OF_ONE_SERVICE, SOURCE_NAME, SOURCE_POSITION};
use crate::config::section::Section;
use crate::config::settings::BadSettings;
use crate::ingest::line::{Printed, printed};
use crate::model::event::{Draft, Fields, ingest_method};
use crate::model::limits::{
    COMMAND_BATCH_BYTES, COMMAND_BATCH_LINES, COMMAND_DRAIN_TIMEOUT, COMMAND_MUTE_AFTER, COMMAND_NAMED_LINES,
    COMMAND_RESTART_MAX, COMMAND_RESTART_MIN, COMMAND_WELL_AFTER,
};
use crate::model::text::one_line;
use lines::Line;
use process::Process;

/// The type of the event that tells how a program has ended.
const EXITED: &str = "source_exited";

/// What it was told.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// Where it is started; none for where we are.
    pub directory: Option<PathBuf>,
}

impl Setup {
    /// What the configuration says.
    pub fn of(section: &Section) -> Result<Setup, BadSettings> {
        section.only(&["command", "directory"])?;
        let command: Vec<OsString> = section.texts("command")?.into_iter().map(OsString::from).collect();
        let directory = section.text("directory")?.map(PathBuf::from);
        match command.first() {
            None => return Err(section.incomplete("it needs a `command`: an array of the program and its arguments")),
            Some(program) if program.is_empty() => return Err(section.bad("command", "it names no program")),
            // A service has no place from which anybody would look.
            Some(program) if program.to_string_lossy().contains('/') && !Path::new(program).is_absolute() => {
                return Err(
                    section.bad("command", "the program is a name that is looked for in PATH, or an absolute path")
                );
            }
            Some(_) => {}
        }
        if directory.as_ref().is_some_and(|directory| !directory.is_absolute()) {
            return Err(section.bad("directory", "it must be an absolute path"));
        }
        Ok(Setup { command, directory })
    }

    /// The file name of the program: that much of the command may be known to everybody.
    fn program(&self) -> String {
        let name = self.command.first().map(Path::new).and_then(Path::file_name).unwrap_or_default();
        one_line(&name.to_string_lossy())
    }
}

/// Works until it is cancelled, or the program cannot even be started for the first time.
pub async fn run(setup: Setup, outlet: Outlet) -> Broken {
    let program = setup.program();
    let mut position = outlet.position().map(str::to_owned);
    let mut pause = COMMAND_RESTART_MIN;
    let mut first = true;
    loop {
        let began = Instant::now();
        let told =
            [(SOURCE_NAME, Some(OsStr::new(outlet.name()))), (SOURCE_POSITION, position.as_deref().map(OsStr::new))];
        let command = process::command(&setup.command, setup.directory.as_ref(), told, &OF_ONE_SERVICE);
        let how = match Process::start(command, outlet.name()) {
            Ok(process) => {
                let run = Run { outlet: &outlet, program: &program, process, refused: 0, position: &mut position };
                run.until_it_ends(began).await
            }
            Err(problem) if first => return cannot_start(&setup, &problem),
            Err(problem) => problem.to_string(),
        };
        first = false;
        if began.elapsed() >= COMMAND_WELL_AFTER {
            pause = COMMAND_RESTART_MIN;
        }
        outlet.silent(format!("{program}: {how}; it is started again in {} s", pause.as_secs()));
        sleep(pause).await;
        pause = (pause * 2).min(COMMAND_RESTART_MAX);
    }
}

fn cannot_start(setup: &Setup, problem: &NotStarted) -> Broken {
    let program = setup.command.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default();
    let place = setup.directory.as_ref().map_or_else(String::new, |at| format!(" in {}", at.display()));
    Broken(format!(
        "{}{}: {problem}; name a program that is there and may be executed",
        one_line(&program),
        one_line(&place)
    ))
}

/// One run of the program.
struct Run<'a> {
    outlet: &'a Outlet,
    program: &'a str,
    process: Process,
    /// How many of its lines were no events.
    refused: u64,
    position: &'a mut Option<String>,
}

impl Run<'_> {
    /// Stores what it prints until it ends, and tells how it has; the words for that.
    async fn until_it_ends(mut self, began: Instant) -> String {
        let well = tokio::time::Instant::now() + COMMAND_WELL_AFTER;
        let (mut prints, mut speaks, mut is_well) = (true, true, false);
        let (mut mute, mut is_mute) = (well, false);
        loop {
            let Process { printed, errors, running } = &mut self.process;
            tokio::select! {
                biased;
                line = printed.next(), if prints => match line {
                    Ok(Some(line)) => self.store(line).await,
                    _ => {
                        prints = false;
                        mute = tokio::time::Instant::now() + COMMAND_MUTE_AFTER;
                    }
                },
                more = errors.log(), if speaks => speaks = more.unwrap_or(false),
                _ = running.ended() => break,
                () = sleep_until(well), if prints && !is_well => {
                    is_well = true;
                    self.outlet.seeing();
                }
                () = sleep_until(mute), if !prints && !is_mute => {
                    is_mute = true;
                    let closed = "has closed its standard output and runs on, so it can say nothing until it is started again";
                    self.outlet.silent(format!("{} {closed}; end it, and it is", self.program));
                }
            }
        }
        // What it has left behind goes with it; then the pipes end, unless somebody has taken them out of the group.
        let ended = self.process.running.reap();
        let _ = timeout(COMMAND_DRAIN_TIMEOUT, self.drain()).await;
        let (how, draft) = self.told(ended.ok(), began.elapsed());
        self.outlet.publish(vec![draft], None).await;
        how
    }

    async fn drain(&mut self) {
        while let Ok(Some(line)) = self.process.printed.next().await {
            self.store(line).await;
        }
        while matches!(self.process.errors.log().await, Ok(true)) {}
    }

    /// Stores a line, and with it what has been printed already.
    async fn store(&mut self, line: Line) {
        let (mut drafts, mut position, mut lines, mut bytes) = (Vec::new(), None, 0, 0);
        let mut next = Some(line);
        while let Some(line) = next {
            lines += 1;
            bytes += line.bytes.len();
            match self.read(&line) {
                Some(Printed::Event(draft)) => drafts.push(*draft),
                Some(Printed::Position(reached)) => position = Some(reached),
                None => {}
            }
            let is_full = lines >= COMMAND_BATCH_LINES || bytes > COMMAND_BATCH_BYTES;
            next = if is_full { None } else { self.process.printed.ready() };
        }
        let others = lines - drafts.len();
        if !drafts.is_empty() || position.is_some() {
            self.outlet.publish(drafts, position.clone()).await;
            if position.is_some() {
                *self.position = position;
            }
            self.outlet.seeing();
        }
        // A flood of lines that are no events takes a processor as well, and one of positions the log.
        self.outlet.hold_back(others).await;
    }

    fn read(&mut self, line: &Line) -> Option<Printed> {
        if !line.is_cut && line.bytes.trim_ascii().is_empty() {
            return None;
        }
        let said = if line.is_cut {
            Err(format!("longer than {} bytes", line.bytes.len()))
        } else {
            printed(&line.bytes, self.outlet.name(), ingest_method::SOURCE)
        };
        match said {
            Ok(Printed::Event(mut draft)) => {
                draft.fields.entry("program").or_insert_with(|| self.program.into());
                Some(Printed::Event(draft))
            }
            Ok(position) => Some(position),
            Err(problem) => {
                self.refused += 1;
                if self.refused <= COMMAND_NAMED_LINES {
                    let beginning = one_line(&String::from_utf8_lossy(&line.bytes[..line.bytes.len().min(1_024)]));
                    let problem = one_line(&problem);
                    warn!(
                        source = self.outlet.name(),
                        problem,
                        line = beginning,
                        "the program printed what is no event"
                    );
                }
                None
            }
        }
    }

    /// How it has ended, in words and as an event.
    fn told(&mut self, ended: Option<Ended>, lasted: Duration) -> (String, Draft) {
        let mut fields = Fields::new();
        fields.insert("program".into(), self.program.into());
        fields.insert("status".into(), "completed".into());
        let conclusion = if ended == Some(Ended::Code(0)) { "success" } else { "failure" };
        fields.insert("conclusion".into(), conclusion.into());
        let how = match ended {
            Some(Ended::Code(code)) => format!("ended with exit code {code}"),
            Some(Ended::Signal(signal)) => {
                fields.insert("signal".into(), signal_name(signal).into());
                format!("was ended by {}", signal_name(signal))
            }
            None => "ended, and nobody knows how".to_owned(),
        };
        if let Some(ended) = ended {
            fields.insert("exit_code".into(), ended.code().into());
        }
        fields.insert("duration_ms".into(), u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX).into());
        let tail = self.process.errors.tail();
        if !tail.is_empty() {
            fields.insert("stderr_tail".into(), tail.into());
        }
        if self.refused > 0 {
            fields.insert("lines_refused".into(), Value::from(self.refused));
        }
        info!(source = self.outlet.name(), refused = self.refused, "the program {how}");
        let summary = format!("{}: {} {how}", self.outlet.name(), self.program);
        let source = self.outlet.name().to_owned();
        (how, Draft { source, event_type: EXITED.to_owned(), summary, fields, ..Draft::default() })
    }
}
