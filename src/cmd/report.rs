//! What the bus is told about a command that is run: the events of the source `run` (PROTOCOL.md).

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use super::exit::{Exit, Failure};
use crate::child::{Ended, NotStarted, asks_to_end, signal_name};
use crate::client::checkout::Checkout;
use crate::config::environment;
use crate::ingest::junit;
use crate::model::event::{Draft, Fields, ingest_method};
use crate::model::id::IdGenerator;
use crate::model::limits::{MAX_JUNIT_BYTES, STDERR_TAIL_LINES};
use crate::model::sha::Sha;
use crate::model::text::{last_lines, one_line};

/// The source of these events.
const SOURCE: &str = "run";

/// A command that is run once, as its events tell it from all others.
pub(super) struct Run {
    id: String,
    name: String,
    /// What both events say.
    fields: Fields,
    directory: Option<PathBuf>,
    /// What git said of the directory when the run began, once it has been asked.
    checkout: Arc<OnceLock<Checkout>>,
}

/// How it ended.
pub(super) struct Finish<'a> {
    pub(super) outcome: &'a Result<Ended, NotStarted>,
    pub(super) was_asked_to_end: bool,
    pub(super) duration: Duration,
    pub(super) standard_error: &'a [u8],
    pub(super) report: Option<&'a Result<junit::Report, String>>,
}

impl Run {
    /// A new run. Of what was typed, only the command's own name is told: its arguments may hold secrets.
    pub(super) fn of(program: &OsStr, name: Option<&str>) -> Result<Run, Failure> {
        let command = one_line(&Path::new(program).file_name().unwrap_or(program).to_string_lossy());
        if program.is_empty() {
            return Err(Failure::usage("the command is empty: write what to run after `--`"));
        }
        let name = name.map_or_else(|| command.clone(), one_line);
        if name.is_empty() {
            return Err(Failure::usage("--name is empty: give a name that somebody can wait for"));
        }
        let id = IdGenerator::default().next(SystemTime::now()).to_string();
        let mut fields = Fields::new();
        fields.insert("run_id".into(), id.clone().into());
        fields.insert("name".into(), name.clone().into());
        fields.insert("command".into(), command.into());
        let directory = environment::current_directory().ok();
        if let Some(directory) = &directory {
            fields.insert("cwd".into(), directory.to_string_lossy().into());
        }
        Ok(Run { id, name, fields, directory, checkout: Arc::default() })
    }

    /// Its start.
    pub(super) fn started(&self) -> impl FnOnce() -> Draft + Send + 'static {
        let mut fields = self.fields.clone();
        fields.insert("status".into(), "in_progress".into());
        self.draft("started", format!("{} started", self.name), fields)
    }

    /// Its end.
    pub(super) fn finished(&self, finish: &Finish<'_>) -> impl FnOnce() -> Draft + Send + 'static {
        let mut fields = self.fields.clone();
        let conclusion = finish.conclusion();
        let milliseconds = u64::try_from(finish.duration.as_millis()).unwrap_or(u64::MAX);
        fields.insert("status".into(), "completed".into());
        fields.insert("conclusion".into(), conclusion.into());
        fields.insert("exit_code".into(), finish.code().into());
        fields.insert("duration_ms".into(), milliseconds.into());
        if let Ok(Ended::Signal(signal)) = finish.outcome {
            fields.insert("signal".into(), signal_name(*signal).into());
        }
        if conclusion != "success" {
            let tail = last_lines(&String::from_utf8_lossy(finish.standard_error), STDERR_TAIL_LINES);
            if !tail.is_empty() {
                fields.insert("stderr_tail".into(), tail.into());
            }
        }
        match finish.report {
            None => {}
            Some(Ok(report)) => fields.extend(of_tests(report)),
            Some(Err(problem)) => drop(fields.insert("junit_problem".into(), one_line(problem).into())),
        }
        self.draft("finished", finish.summary(&self.name), fields)
    }

    /// What makes the draft. It asks git, unless that has been done, so it is for somebody else to do.
    fn draft(
        &self,
        event_type: &str,
        summary: String,
        fields: Fields,
    ) -> impl FnOnce() -> Draft + Send + 'static + use<> {
        let draft = Draft {
            source: SOURCE.into(),
            event_type: event_type.into(),
            delivery_id: Some(format!("{}.{event_type}", self.id)),
            ingest_method: ingest_method::EMIT,
            summary,
            fields,
            ..Draft::default()
        };
        let (checkout, directory) = (Arc::clone(&self.checkout), self.directory.clone());
        move || {
            let ask = || directory.as_deref().and_then(Checkout::of).unwrap_or_default();
            in_checkout(draft, checkout.get_or_init(ask))
        }
    }
}

/// The draft with the repository, the branch and the commit, as far as there are such.
fn in_checkout(plain: Draft, checkout: &Checkout) -> Draft {
    let mut draft = plain.clone();
    if let Some(origin) = &checkout.origin {
        (draft.owner, draft.repo) = (origin.owner.clone(), origin.repo.clone());
    }
    for (name, value) in
        [("head_branch", checkout.branch.as_deref()), ("head_sha", checkout.commit.as_ref().map(Sha::as_str))]
    {
        if let Some(value) = value {
            draft.fields.insert(name.into(), value.into());
        }
    }
    // Whatever somebody calls a repository, the run is told.
    if draft.check().is_ok() { draft } else { plain }
}

fn of_tests(report: &junit::Report) -> Fields {
    let counts = [
        ("tests_total", report.total()),
        ("tests_passed", report.passed),
        ("tests_failed", report.failed),
        ("tests_errors", report.errors),
        ("tests_skipped", report.skipped),
    ];
    let mut fields: Fields = counts.into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect();
    if !report.failing.is_empty() {
        fields.insert("failing_tests".into(), report.failing.clone().into());
    }
    fields
}

impl Finish<'_> {
    /// A word of the same list as GitHub's, so that one condition fits all sources.
    fn conclusion(&self) -> &'static str {
        match self.outcome {
            Err(_) => "startup_failure",
            Ok(Ended::Code(0)) => "success",
            Ok(Ended::Signal(signal)) if asks_to_end(*signal) => "cancelled",
            Ok(_) if self.was_asked_to_end => "cancelled",
            Ok(_) => "failure",
        }
    }

    /// What a shell shows for it.
    fn code(&self) -> u8 {
        match self.outcome {
            Ok(ended) => ended.code(),
            Err(problem) => Exit::from(problem).code(),
        }
    }

    fn summary(&self, name: &str) -> String {
        let what = match self.outcome {
            Err(problem) => return format!("{name} could not be started: {problem}"),
            Ok(Ended::Code(0)) => "succeeded".to_owned(),
            Ok(Ended::Code(code)) => format!("ended with exit code {code}"),
            Ok(Ended::Signal(signal)) => format!("was ended by {}", signal_name(*signal)),
        };
        let tests = match self.report {
            Some(Ok(report)) if report.failed + report.errors > 0 => {
                format!(", {} of {} tests failed", report.failed + report.errors, report.total())
            }
            _ => String::new(),
        };
        format!("{name} {what} after {:.1} s{tests}", self.duration.as_secs_f64())
    }
}

/// A JUnit report that the command is expected to write.
pub(super) struct Report {
    path: PathBuf,
    before: Option<Version>,
}

/// What tells a file from the one that was there before.
type Version = (u64, u64, i64, i64, u64);

fn version(file: &Metadata) -> Version {
    (file.dev(), file.ino(), file.mtime(), file.mtime_nsec(), file.size())
}

impl Report {
    /// To be called before the command is started: the report of an earlier run says nothing about this one.
    pub(super) fn expect(path: &Path) -> Report {
        Report { path: path.to_owned(), before: std::fs::metadata(path).ok().as_ref().map(version) }
    }

    /// What the command has written, or why that cannot be told.
    pub(super) fn read(&self) -> Result<junit::Report, String> {
        let named = |problem: &dyn std::fmt::Display| format!("{}: {problem}", self.path.display());
        // Before it is opened, because opening something else may take for ever.
        let found = std::fs::metadata(&self.path).map_err(|error| named(&error))?;
        if !found.is_file() {
            return Err(named(&"it is not a file"));
        }
        if self.before == Some(version(&found)) {
            return Err(named(&"this command has not written it, and what is there is older"));
        }
        let mut text = Vec::new();
        let file = File::open(&self.path).map_err(|error| named(&error))?;
        file.take(MAX_JUNIT_BYTES + 1).read_to_end(&mut text).map_err(|error| named(&error))?;
        if text.len() as u64 > MAX_JUNIT_BYTES {
            return Err(named(&format!("more than {MAX_JUNIT_BYTES} bytes")));
        }
        junit::read(&text).map_err(|problem| named(&problem))
    }
}
