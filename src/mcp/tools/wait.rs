//! `wait_for_event`: the questions of `waitbus wait`, for as long as a tool call may take.
//!
//! A wait that is not over when its time is up ends with a cursor from which the next call goes on: where this one began.
//! So the next one sees again what may count together with what is still to come, and is told late of no less: what is
//! news is decided by where a call begins. The price is that each call of a series reads the log from there on again, of
//! which the hub does 100,000 rows in a fifth of a second; a cursor that went ahead would save that and lose answers.

use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};

use rmcp::model::{CallToolResult, JsonObject};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Value, json};
use tokio::time::{sleep, sleep_until};

use super::super::arguments::{Arguments, ToolError};
use super::super::{Server, clients, progress, shown};
use crate::client::commit::{meant, recall};
use crate::client::when::{self, newest};
use crate::client::{News, Options, Waiter};
use crate::model::event::Event;
use crate::model::event_frame::event_of;
use crate::model::fence::Fenced;
use crate::model::filter::RepoFilter;
use crate::model::frame::{Gap, GapReason};
use crate::model::id::EventId;
use crate::model::limits::{GRACE, START_TIMEOUT, TOLD_GAPS, WAIT_MAX};
use crate::model::source::SourceStatus;
use crate::model::text::one_line;
use crate::store::{LogPaths, Reader, StoreError};
use crate::waiting::asked::{Asked, Conditions, Spelling};
use crate::waiting::commit;
use crate::waiting::{Ending, Question, Shown};

/// What is asked, before anything is started.
struct Call {
    asked: Asked,
    sha: Option<String>,
    after: Option<EventId>,
    allow_gap: bool,
    wait: Duration,
}

/// The plain conditions among the arguments.
pub(super) fn conditions(arguments: &mut Arguments) -> Result<Conditions, ToolError> {
    Ok(Conditions {
        source: arguments.texts("source")?,
        event_type: arguments.texts("type")?,
        repo: arguments.texts("repo")?,
        matching: arguments.texts("match")?,
        where_: arguments.text("where")?,
    })
}

/// The place to begin among the arguments.
pub(super) fn start(server: &Server, arguments: &mut Arguments) -> Result<Option<EventId>, ToolError> {
    let after = arguments.parsed("after", when::cursor)?;
    let since = arguments.parsed("since", when::when)?;
    match (after, since) {
        // Whoever goes on calls again with the same arguments and a cursor.
        (Some(after), _) => Ok(Some(after)),
        (None, Some(when)) => Ok(Some(when.resolve(&server.directories)?)),
        (None, None) => Ok(None),
    }
}

/// The commit that is meant, and the repositories in which it is looked for.
pub(super) async fn commit(server: &Server, sha: String, repos: &[String]) -> Result<commit::Asked, ToolError> {
    server.scope.check_source("sha", "github")?;
    // Git is another process, and takes as long as it takes.
    let found = tokio::task::spawn_blocking(move || meant(Path::new("."), &sha)).await;
    let found = found.map_err(|ended| ToolError(ended.to_string()))?;
    let (sha, here) = found.map_err(|error| ToolError::argument("sha", error))?;
    let given = repos.iter().map(|name| RepoFilter::parse(name).map_err(|bad| ToolError::argument("repo", bad)));
    let given: Vec<_> = given.collect::<Result<_, _>>()?;
    let within = |repos: Vec<RepoFilter>| {
        repos.into_iter().filter(|repo| server.scope.check_repo("", &repo.to_string()).is_ok())
    };
    let here: Vec<_> = within(here).collect();
    let repos = if !given.is_empty() {
        given
    } else if !here.is_empty() {
        here
    } else {
        server.scope.repos.clone()
    };
    Ok(commit::Asked { repos, ..commit::Asked::of(sha) })
}

/// Waits.
pub(in crate::mcp) async fn call(
    server: &Server,
    mut arguments: Arguments,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResult, ToolError> {
    let longest = arguments.number("max_wait_seconds", 0..=WAIT_MAX.as_secs())?.map(Duration::from_secs);
    let client = context.client_info();
    let wait = clients::wait(
        client.as_ref().map(|client| &*client.name),
        longest,
        context.meta.get_progress_token().is_some(),
    );
    let call = Call {
        asked: Asked {
            conditions: conditions(&mut arguments)?,
            all_of: arguments.texts("all_of")?,
            first_of: arguments.texts("first_of")?,
            then: arguments.texts("then")?,
            none_of: arguments.texts("none_of")?,
            ..Asked::default()
        },
        sha: arguments.text("sha")?,
        after: start(server, &mut arguments)?,
        allow_gap: arguments.flag("allow_gap")?,
        wait,
    };
    let began = Instant::now();
    let answer = progress::beside(context, wait, call.answer(server)).await;
    let mut answer = answer.ok_or_else(|| ToolError("cancelled".into()))??;
    let waited = began.elapsed().as_millis();
    answer.structured.insert("waited_seconds".into(), json!(u32::try_from(waited).map_or(0.0, f64::from) / 1_000.0));
    Ok(shown::result(&answer.line, answer.structured))
}

/// What is said to the client.
struct Answer {
    line: String,
    structured: JsonObject,
}

impl Answer {
    fn new(status: &str, cursor: EventId, line: &str) -> Answer {
        let structured = super::object(json!({"status": status, "cursor": cursor}));
        Answer { line: format!("{status}: {line}"), structured }
    }

    fn with(mut self, key: &str, value: impl Into<Value>) -> Answer {
        self.structured.insert(key.to_owned(), value.into());
        self
    }
}

/// What a question has come to when it has been put.
enum Opened {
    Answered(Ending, EventId),
    Missing(Gap),
    Waiting(Box<Waiter>),
}

/// What there is to say beside the answer.
#[derive(Default)]
struct Aside {
    notes: Vec<String>,
    /// What is missing and was put up with, as much of it as is told …
    gaps: Vec<Value>,
    /// … and how many more there are.
    more_gaps: u64,
}

impl Aside {
    fn put_up_with(&mut self, missing: &Gap) {
        if self.gaps.len() < TOLD_GAPS { self.gaps.push(gap_json(missing)) } else { self.more_gaps += 1 }
    }

    fn beside(mut self, mut answer: Answer) -> Answer {
        if !self.gaps.is_empty() {
            answer = answer.with("gaps", self.gaps);
        }
        if self.more_gaps > 0 {
            self.notes.push(format!("{} more gaps are not told one by one", self.more_gaps));
        }
        if self.notes.is_empty() { answer } else { answer.with("notes", Fenced::of(json!(self.notes))) }
    }
}

impl Call {
    async fn answer(&self, server: &Server) -> Result<Answer, ToolError> {
        let question = self.question(server).await?;
        // Taken before anything is waited for: what is committed while a hub starts counts. Of a commit everything counts
        // that the log has, and the zeros say so also when it has been pruned meanwhile.
        let now = if question.is_err() { EventId::ZERO } else { newest(&server.directories)? };
        let begin = self.after.unwrap_or(now);
        let mut aside = Aside::default();
        let answer = self.waited(server, question, begin, &mut aside).await?;
        Ok(aside.beside(answer))
    }

    async fn waited(
        &self,
        server: &Server,
        question: Result<Box<dyn Question>, commit::Asked>,
        begin: EventId,
        aside: &mut Aside,
    ) -> Result<Answer, ToolError> {
        let began = Instant::now();
        let remembers = !question.as_ref().is_ok_and(|question| question.is_memoryless());
        let go_on = || if remembers { Ok(begin) } else { left_of(server, begin) };
        let opened = tokio::select! {
            biased;
            opened = self.open(server, question, begin, aside) => opened?,
            // A call that waits for nothing still wants to know what there is.
            () = sleep(self.wait.max(START_TIMEOUT)) => return Ok(pending(begin, &[])),
            () = server.closing() => return Ok(pending(begin, &[])),
        };
        let mut waiter = match opened {
            Opened::Answered(ending, cursor) => return Ok(matched(&ending, &[], cursor)),
            Opened::Missing(missing) => return Ok(gap(&missing)),
            Opened::Waiting(waiter) => waiter,
        };
        if server.scope.is_everything() {
            aside.notes.extend_from_slice(waiter.feed().notes());
        }
        let mut counted = Vec::new();
        let mut late = pin!(sleep_until((began + self.wait).into()));
        loop {
            let news = tokio::select! {
                biased;
                news = waiter.next() => Some(news?),
                // What was committed in time counts, and the hub may be just about to say it.
                () = &mut late => None,
                () = server.closing() => return Ok(pending(begin, &waiter.outstanding())),
            };
            let news = match news {
                None => waiter.left().await?,
                some => some,
            };
            let Some(news) = news else { return Ok(pending(go_on()?, &waiter.outstanding())) };
            match news {
                News::Counts(shown) => counted.push(shown),
                News::Gap(missing) if self.allow_gap => aside.put_up_with(&missing),
                News::Gap(missing) => return Ok(gap(&missing)),
                // What is outside of the filter is not there.
                News::Silent(status) | News::Dead(status) if !server.scope.has_source(&status.source) => {}
                News::Silent(status) => aside.notes.push(silence(&status)),
                News::Dead(status) => return Ok(source_failed(&status, go_on()?)),
                News::Ends(ending) => return Ok(matched(&ending, &counted, waiter.feed().cursor())),
            }
        }
    }

    /// The question, unless it is about a commit.
    async fn question(&self, server: &Server) -> Result<Result<Box<dyn Question>, commit::Asked>, ToolError> {
        let asked = Asked { sha: self.sha.is_some(), ..self.asked.clone() };
        server.scope.check(&asked)?;
        match &self.sha {
            None => Ok(Ok(server.scope.narrow(asked.question(Spelling::Arguments)?))),
            Some(sha) => {
                asked.check()?;
                Ok(Err(commit(server, sha.clone(), &asked.conditions.repo).await?))
            }
        }
    }

    async fn open(
        &self,
        server: &Server,
        question: Result<Box<dyn Question>, commit::Asked>,
        begin: EventId,
        aside: &mut Aside,
    ) -> Result<Opened, ToolError> {
        let (question, since) = match question {
            Ok(question) => (question, begin),
            Err(asked) => {
                let recalled = recall(&server.directories, asked, begin).await?.for_waiting(&server.directories).await;
                for missing in &recalled.gaps {
                    if !self.allow_gap {
                        return Ok(Opened::Missing(*missing));
                    }
                    aside.put_up_with(missing);
                }
                if let Some(ending) = recalled.ending {
                    return Ok(Opened::Answered(ending, recalled.since));
                }
                (Box::new(recalled.commit) as Box<dyn Question>, recalled.since)
            }
        };
        let options = Options { grace: GRACE };
        let waiter = Waiter::open(&server.directories, question, Some(since), options).await?;
        Ok(Opened::Waiting(Box::new(waiter)))
    }
}

/// The place from which a question that remembers nothing goes on that has seen everything after `begin`: the same, or
/// the beginning of what has been left of it, because to go back over what was pruned since would be a gap.
fn left_of(server: &Server, begin: EventId) -> Result<EventId, ToolError> {
    let reader = match Reader::open(&LogPaths::new(&server.directories.state)) {
        Err(StoreError::Missing(_)) => return Ok(begin),
        other => other?,
    };
    let (place, beginning) = (reader.resolve(begin)?, reader.beginning()?);
    let is_pruned = place.gap == Some(GapReason::Pruned) || place.position.seq < beginning.seq;
    Ok(if is_pruned { beginning.id } else { begin })
}

fn pending(cursor: EventId, outstanding: &[String]) -> Answer {
    let line = format!("nothing yet; call again with the same arguments and after={cursor}");
    let answer = Answer::new("pending", cursor, &line);
    // The names of runs are among it.
    if outstanding.is_empty() { answer } else { answer.with("outstanding", Fenced::of(json!(outstanding))) }
}

fn gap(missing: &Gap) -> Answer {
    let line = format!(
        "events are missing, and the answer may be among them; go on with after={}, or ask the same with allow_gap",
        missing.resumed_at
    );
    Answer::new("gap", missing.resumed_at, &line).with("gap", gap_json(missing))
}

/// What is missing, for a program.
pub(super) fn gap_json(gap: &Gap) -> Value {
    json!({"reason": reason(gap.reason), "since": gap.since, "resumed_at": gap.resumed_at, "missed": gap.missed})
}

/// The word of the wire.
fn reason(reason: GapReason) -> Value {
    serde_json::to_value(reason).unwrap_or_default()
}

fn source_failed(status: &SourceStatus, cursor: EventId) -> Answer {
    // Its own words are in its detail, fenced.
    let how = if status.reason().is_some() { "it cannot go on" } else { "it ended without a goodbye" };
    let line = format!("{} is dead: {how}, so the answer may never come", status.source);
    Answer::new("source_failed", cursor, &line)
        .with("failed_source", status.source.clone())
        .with("failed_source_detail", Fenced::of(Value::Object(status.detail.clone())))
}

/// A source goes on trying to see, and so the wait goes on; whoever asked gets to read why it may take long.
fn silence(status: &SourceStatus) -> String {
    let reason = one_line(status.reason().unwrap_or("it has not told why"));
    format!("the source {} sees nothing, and goes on trying: {reason}", status.source)
}

fn matched(ending: &Ending, counted: &[Shown], cursor: EventId) -> Answer {
    let all: Vec<_> = counted.iter().chain(&ending.shown).collect();
    let events: Vec<_> = all.iter().filter_map(|shown| Some((event_of(&shown.json)?, *shown))).collect();
    let line = match (events.last(), ending.shown.last()) {
        (Some((event, _)), _) => shown::line(event),
        (None, Some(shown)) => Fenced::of(one_line(&shown.line).into()).text().to_owned(),
        (None, None) => String::new(),
    };
    let cursor =
        ending.shown.last().and_then(|shown| shown.json.get("cursor")?.as_str()?.parse().ok()).unwrap_or(cursor);
    let mut answer = Answer::new("matched", cursor, &line);
    if let Some(event) = events.last() {
        answer = answer.with("event", event_json(event));
    }
    if events.len() > 1 {
        answer = answer.with("events", events.iter().map(event_json).collect::<Vec<_>>());
    }
    if let Some(report) = ending.shown.iter().find(|shown| event_of(&shown.json).is_none()) {
        answer = answer.with("report", Fenced::of(Value::Object(report.json.clone())));
    }
    // The verdict of a question that has none of its own is that it is answered.
    let asked = events.is_empty() || ending.verdict != crate::model::verdict::Verdict::Success;
    if asked { answer.with("verdict", shown::verdict(ending.verdict.word())) } else { answer }
}

fn event_json((event, shown): &(Event, &Shown)) -> Value {
    let mut json = shown::event(event);
    if let Some(clause) = shown.json.get("clause") {
        json.insert("clause".into(), clause.clone());
    }
    Value::Object(json)
}
