//! What is known of the containers of one engine, and the events that follow from what it tells.
//!
//! `docker stop` is a `kill`, perhaps another, a `die` and a `stop`: the `kill` is remembered, the `die` becomes the one
//! event that has a verdict. The exit code decides it, unless somebody asked the engine to end the container: then
//! whether it would have gone well is not known, whatever code it left, and the verdict is `cancelled`.
//!
//! A container's labels come in the same object as what the engine adds, and in Docker they win: with a label
//! `exitCode=0`, every end says 0. No event but an end has an exit code, so such a label shows when the container
//! starts, and whoever has it is asked about instead of believed.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::draft::{self, PROJECT, SERVICE, Subject};
use super::{Container, Engine, Told, What, signal};
use crate::model::event::Draft;
use crate::model::limits::{
    ENGINE_ORDER_SLACK, MAX_FIELD_TEXT_BYTES, MAX_RECENT_ENGINE_EVENTS, MAX_WATCHED_CONTAINERS,
};
use crate::model::text::cut;

/// Names that a label may have and that mean something else in the events of an engine.
const AMBIGUOUS: [&str; 2] = ["exitCode", "signal"];

/// How far the events of one engine are known, and which of its containers run. It is kept with the events that were
/// made of it, so a source that starts again goes on where it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tracker {
    /// What happened before the source first looked is nobody's news.
    from: i64,
    /// The newest event that has been taken in.
    since: i64,
    /// What has been taken in of the last [`ENGINE_ORDER_SLACK`], which the engine tells again after an outage.
    #[serde(default)]
    recent: BTreeSet<(i64, String)>,
    /// Whether the containers that were there from the beginning are known.
    pub(super) settled: bool,
    pub(super) running: BTreeMap<String, Running>,
    /// Ends that were found by looking, and when they were: the engine may still tell of them.
    #[serde(default)]
    pub(super) ended: BTreeMap<String, i64>,
    /// The time since when something may have happened that the engine has not told.
    #[serde(default)]
    pub(super) unsure_since: Option<i64>,
    /// Of what the engine has told something newer since a look at all containers began: of that it is to be believed,
    /// and not the look.
    #[serde(skip)]
    pub(super) told: Option<HashSet<String>>,
}

/// A container that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Running {
    pub name: String,
    pub image: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub project: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service: String,
    pub started: i64,
    #[serde(default)]
    pub asked: Asked,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    #[serde(default)]
    pub oom: bool,
    /// One of its labels reads like the engine's own word.
    #[serde(default)]
    pub ambiguous: bool,
}

/// Whether somebody has asked the engine to end a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Asked {
    #[default]
    No,
    /// A signal was sent, and which one is not told.
    Perhaps,
    Yes,
}

impl Tracker {
    /// Of an engine that nobody has looked at yet; `now` is its own time, in nanoseconds since the epoch.
    #[must_use]
    pub fn new(now: i64) -> Tracker {
        Tracker { from: now, since: now, ..Tracker::default() }
    }

    /// The newest time of which it is known what happened.
    #[must_use]
    pub fn since(&self) -> i64 {
        self.since
    }

    /// From when on the engine is to tell again. Its events are not told quite in the order of their times; what comes
    /// twice has the same key.
    #[must_use]
    pub fn resume_at(&self) -> i64 {
        self.from.max(self.since - slack())
    }

    /// Whether what was told cannot be judged without asking the engine about the container.
    #[must_use]
    pub fn must_ask(&self, engine: Engine, told: &Told) -> bool {
        let run = self.running.get(&told.container);
        match told.what {
            _ if engine == Engine::Podman => false,
            What::Die => !self.has_ended(told) && run.is_none_or(|run| run.ambiguous),
            What::Kill => run.is_some_and(|run| !run.ambiguous) && !told.signal().is_some_and(signal::asks_to_end),
            _ => false,
        }
    }

    /// Takes in what the engine has told, with its answer about the container where that had to be asked for.
    pub fn apply(&mut self, engine: Engine, told: &Told, answer: Option<&Container>) -> Vec<Draft> {
        if told.time < self.from || !self.is_new(told) {
            return Vec::new();
        }
        let is_newer = self.unsure_since.is_none_or(|since| told.time > since);
        if let Some(of) = self.told.as_mut().filter(|_| is_newer) {
            of.insert(told.container.clone());
        }
        let subject = told.subject(engine);
        let event = |action: &str, status: &str, says: &str| {
            subject.draft(action, status, &format!("{action}/{}", told.time), says)
        };
        let run = self.running.get_mut(&told.container);
        match &told.what {
            What::Start => return self.start(engine, told),
            What::Die => return self.die(engine, told, answer).into_iter().collect(),
            What::Destroy => {
                let lost = self.lost(engine, &told.container);
                return lost.into_iter().chain([event("destroy", "removed", "was removed")]).collect();
            }
            What::Kill => {
                if let Some(run) = run {
                    run.asked_by(told, answer);
                }
                return Vec::new();
            }
            What::Oom => {
                if let Some(run) = run {
                    run.oom = true;
                }
            }
            What::Restart if engine == Engine::Podman => {
                if let Some(run) = run {
                    run.asked = Asked::Yes;
                }
            }
            _ => {}
        }
        vec![match &told.what {
            What::Oom => event("oom", "running", "ran out of memory"),
            What::Restart => event("restart", "running", "was restarted"),
            What::Pause => event("pause", "paused", "was paused"),
            What::Unpause => event("unpause", "running", "goes on"),
            What::Health(health) => {
                let mut draft = event("health_status", "running", &format!("is {health}"));
                draft.fields.insert("health".into(), health.as_str().into());
                draft
            }
            What::Start | What::Die | What::Kill | What::Destroy => return Vec::new(),
        }]
    }

    /// Whether this has not been taken in before, and notes that it has been now.
    fn is_new(&mut self, told: &Told) -> bool {
        let key = (told.time, format!("{}/{}", told.what.key(), told.container));
        let is_new = self.recent.insert(key);
        self.since = self.since.max(told.time);
        while let Some((oldest, _)) = self.recent.first()
            && (self.since - *oldest > slack() || self.recent.len() > MAX_RECENT_ENGINE_EVENTS)
        {
            self.recent.pop_first();
        }
        is_new
    }

    fn start(&mut self, engine: Engine, told: &Told) -> Vec<Draft> {
        let known = self.running.get(&told.container);
        if known.is_some_and(|run| told.time - run.started <= slack()) {
            return Vec::new();
        }
        self.ended.remove(&told.container);
        let lost = self.lost(engine, &told.container);
        let subject = told.subject(engine);
        let mut draft = subject.draft("start", "running", &format!("start/{}", told.time), "started");
        draft.fields.extend(draft::time(told.time).map(|time| ("started_at".into(), time)));
        self.insert(&subject, told.time);
        lost.into_iter().chain([draft]).collect()
    }

    /// Remembers that a container runs.
    pub(super) fn insert(&mut self, subject: &Subject<'_>, started: i64) {
        let short = |text: &str| cut(text, MAX_FIELD_TEXT_BYTES);
        let label = |name| subject.labels.get(name).map(|text| short(text)).unwrap_or_default();
        let run = Running {
            name: short(subject.name),
            image: short(subject.image),
            project: label(PROJECT),
            service: label(SERVICE),
            started,
            ambiguous: AMBIGUOUS.iter().any(|name| subject.labels.contains_key(*name)),
            ..Running::default()
        };
        if !self.is_full() {
            self.running.insert(subject.id.to_owned(), run);
        }
    }

    /// Whether there are more containers than are remembered: of those nothing is recovered.
    pub(super) fn is_full(&self) -> bool {
        self.running.len() >= MAX_WATCHED_CONTAINERS
    }

    /// Whether an end that is told now was found before by looking.
    fn has_ended(&self, told: &Told) -> bool {
        self.ended.get(&told.container).is_some_and(|finished| told.time - finished <= slack())
    }

    fn die(&mut self, engine: Engine, told: &Told, answer: Option<&Container>) -> Option<Draft> {
        if self.has_ended(told) {
            return None;
        }
        let code = if self.must_ask(engine, told) {
            // One that runs again has forgotten how it ended.
            answer.filter(|container| !container.running).map(|container| container.exit_code)
        } else {
            told.exit_code()
        };
        let run = self.running.remove(&told.container).unwrap_or_default();
        let end = End { code, at: told.time, key: format!("die/{}", told.time), recovered: false };
        Some(run.end(&told.subject(engine), &end))
    }

    /// A container that was thought to run has ended, and the engine has not told how.
    pub(super) fn lost(&mut self, engine: Engine, id: &str) -> Option<Draft> {
        let run = self.running.remove(id)?;
        let labels = [(PROJECT, &run.project), (SERVICE, &run.service)].into_iter();
        let labels = labels.filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name.to_owned(), text.clone()));
        let subject = Subject { engine, id, name: &run.name, image: &run.image, labels: &labels.collect() };
        let end = End { code: None, at: 0, key: format!("lost/{}", run.started), recovered: true };
        Some(run.end(&subject, &end))
    }
}

/// How a container has ended, as far as it is known.
pub(super) struct End {
    pub code: Option<i64>,
    /// When; 0 if that is not known.
    pub at: i64,
    pub key: String,
    /// Whether it was found out afterwards.
    pub recovered: bool,
}

impl Running {
    fn asked_by(&mut self, told: &Told, answer: Option<&Container>) {
        let number = told.signal().filter(|_| !self.ambiguous);
        let wanted = answer.and_then(|container| container.stop_signal);
        match number {
            Some(number) if signal::asks_to_end(number) || wanted == Some(number) => {
                self.asked = Asked::Yes;
                self.signal = Some(number);
            }
            None if self.asked == Asked::No => self.asked = Asked::Perhaps,
            Some(_) | None => {}
        }
    }

    /// The word for an end. Only an exit code says that one went well, and only if nobody had asked for it.
    fn conclusion(&self, code: Option<i64>) -> &'static str {
        // The codes from 129 on are of those whom a signal has ended.
        let obeyed = |code: Option<i64>| code.is_some_and(|code| code > 128);
        match code {
            _ if self.asked == Asked::Yes || self.asked == Asked::Perhaps && obeyed(code) => "cancelled",
            Some(0) => "success",
            Some(_) => "failure",
            None => "unknown",
        }
    }

    /// The one event of an end.
    pub(super) fn end(&self, subject: &Subject<'_>, end: &End) -> Draft {
        let conclusion = self.conclusion(end.code);
        let code = end.code.map_or_else(|| "an unknown code".to_owned(), |code| format!("code {code}"));
        let memory = if self.oom && end.code != Some(0) { " (out of memory)" } else { "" };
        let away = if end.recovered { " while nobody watched" } else { "" };
        let says = match conclusion {
            "cancelled" => format!("was stopped and exited with {code}{memory}{away}"),
            "unknown" => format!("has ended{away}, and how is not known"),
            _ => format!("exited with {code}{memory}{away}"),
        };
        let mut draft = subject.draft("die", "exited", &end.key, &says);
        let known = |at: i64| (at > 0).then_some(at);
        let duration = known(end.at).zip(known(self.started)).map(|(at, started)| (at - started).max(0) / 1_000_000);
        let fields: [(&str, Option<Value>); 8] = [
            ("conclusion", Some(conclusion.into())),
            ("exit_code", end.code.map(Value::from)),
            ("oom_killed", end.code.map(|_| self.oom.into())),
            ("signal", self.signal.map(|number| signal::name(number).into())),
            ("started_at", known(self.started).and_then(draft::time)),
            ("finished_at", known(end.at).and_then(draft::time)),
            ("duration_ms", duration.map(Value::from)),
            ("recovered", end.recovered.then_some(true.into())),
        ];
        draft.fields.extend(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        draft
    }
}

impl Told {
    fn subject(&self, engine: Engine) -> Subject<'_> {
        let text = |name| self.attributes.get(name).map_or("", String::as_str);
        let (name, image) = (text("name"), text("image"));
        Subject { engine, id: &self.container, name, image, labels: &self.attributes }
    }

    fn signal(&self) -> Option<i32> {
        signal::number(self.attributes.get("signal")?)
    }

    fn exit_code(&self) -> Option<i64> {
        let said = self.attributes.get("exitCode").or_else(|| self.attributes.get("containerExitCode"))?;
        said.parse().ok()
    }
}

/// How far the order of events may differ from that of their times, in nanoseconds.
pub(super) fn slack() -> i64 {
    i64::try_from(ENGINE_ORDER_SLACK.as_nanos()).unwrap_or(i64::MAX)
}
