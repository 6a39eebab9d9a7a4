//! `waitbus emit`: tell the bus something.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::mem;

use clap::Args;
use serde_json::{Value, json};

use super::exit::{Exit, Failure};
use super::output;
use crate::client::Publisher;
use crate::config::directories::Directories;
use crate::model::event::{Draft, Fields, ingest_method};
use crate::model::limits;
use crate::model::predicate::typed;
use crate::model::telling::{Telling, owner_and_repo};
use crate::store::Appended;

/// Append an event to the log and wake whoever waits for it
///
/// Prints the event's id. Works without a hub: the event is committed, and a hub that starts later delivers it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  waitbus emit --source deploy --type finished --conclusion success --field env=prod
  build-events | waitbus emit --batch")]
pub(super) struct Arguments {
    /// Who says it: letters, digits, `_`, `-` and `.`
    #[arg(long, value_name = "NAME", required_unless_present = "batch")]
    source: Option<String>,

    /// What happened
    #[arg(long = "type", value_name = "NAME", required_unless_present = "batch")]
    event_type: Option<String>,

    /// The repository that it concerns
    #[arg(long, value_name = "OWNER/REPO")]
    repo: Option<String>,

    /// The field `status`, such as `in_progress` or `completed`
    #[arg(long, value_name = "TEXT")]
    status: Option<String>,

    /// The field `conclusion`, such as `success` or `failure`
    #[arg(long, value_name = "TEXT")]
    conclusion: Option<String>,

    /// A field; a value that is JSON has that type: `exit_code=0`, `name="0"`. May be repeated
    #[arg(long = "field", value_name = "KEY=VALUE")]
    fields: Vec<String>,

    /// One line for a person; without it one is made of the source, the type and the conclusion
    #[arg(long, value_name = "TEXT")]
    summary: Option<String>,

    /// What to store with it, unbroadcast: a text, `@FILE`, or `-` for standard input
    #[arg(long, value_name = "TEXT|@FILE|-")]
    payload: Option<String>,

    /// Key under which the source says this only once: the second time is reported and not stored
    #[arg(long, value_name = "KEY")]
    id: Option<String>,

    /// Read events from standard input, one JSON object a line, into one transaction: all of them or none. Keys:
    /// source, type, and optionally id, owner, repo, status, conclusion, summary, fields, payload
    #[arg(long, conflicts_with_all = ["source", "event_type", "repo", "status", "conclusion", "fields", "summary", "payload", "id"])]
    batch: bool,

    /// Print a JSON object an event: `{"event_id", "duplicate"}`
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: Arguments, directories: &Directories) -> Result<Exit, Failure> {
    let json = arguments.json;
    let drafts = if arguments.batch { read_batch(io::stdin().lock())? } else { vec![draft(arguments)?] };
    let outcomes = if drafts.is_empty() { Vec::new() } else { publish(directories, &drafts)? };
    for outcome in outcomes {
        let duplicate = matches!(outcome, Appended::Duplicate { .. });
        let id = outcome.id();
        let text = if json { json!({"event_id": id, "duplicate": duplicate}).to_string() } else { id.to_string() };
        if duplicate && !json {
            output::say(&format!("waitbus: already in the log as {id}; nothing was stored"));
        }
        // It is committed, whether or not anybody reads its name.
        let _ = output::line(&text);
    }
    Ok(Exit::Success)
}

fn publish(directories: &Directories, drafts: &[Draft]) -> Result<Vec<Appended>, Failure> {
    let mut publisher = Publisher::open(directories)?;
    let outcomes = match drafts {
        [draft] => vec![publisher.publish(draft)?],
        drafts => publisher.publish_all(drafts)?,
    };
    // The process is about to end, which closes the log as well, and sooner: SQLite would first give back every piece
    // of memory, and whoever started us waits for that.
    mem::forget(publisher);
    Ok(outcomes)
}

fn draft(arguments: Arguments) -> Result<Draft, Failure> {
    let mut fields = Fields::new();
    for field in &arguments.fields {
        let (key, value) = field
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| Failure::usage(format!("--field {field:?}: write key=value")))?;
        fields.insert(key.to_owned(), typed(value));
    }
    let (owner, repo) = match &arguments.repo {
        None => ("", ""),
        Some(name) => {
            owner_and_repo(name).ok_or_else(|| Failure::usage(format!("--repo {name:?}: write owner/repo")))?
        }
    };
    let told = Telling {
        id: arguments.id,
        source: Some(arguments.source.unwrap_or_default()),
        event_type: arguments.event_type.unwrap_or_default(),
        owner: owner.to_owned(),
        repo: repo.to_owned(),
        status: arguments.status,
        conclusion: arguments.conclusion,
        summary: arguments.summary,
        fields,
        payload: arguments
            .payload
            .map(|payload| read_text("--payload", &payload, limits::MAX_PAYLOAD_BYTES))
            .transpose()?
            .map(Value::String),
    };
    told.into_draft(None, ingest_method::EMIT).map_err(Failure::usage)
}

/// A text as it was typed, of a file (`@FILE`) or of standard input (`-`). What is longer than `limit` is read only as
/// far as that shows.
pub(super) fn read_text(what: &str, argument: &str, limit: usize) -> Result<String, Failure> {
    let read = |source: &mut dyn Read, name: &str| {
        let mut text = String::new();
        source
            .take(limit as u64 + 1)
            .read_to_string(&mut text)
            .map_err(|error| Failure::usage(format!("{what} {name}: {error}")))?;
        Ok(text)
    };
    match argument.strip_prefix('@') {
        _ if argument == "-" => read(&mut io::stdin().lock(), "-"),
        Some(path) => {
            let mut file = File::open(path).map_err(|error| Failure::usage(format!("{what} @{path}: {error}")))?;
            read(&mut file, argument)
        }
        None => Ok(argument.to_owned()),
    }
}

fn read_batch(input: impl Read) -> Result<Vec<Draft>, Failure> {
    let mut input = BufReader::new(input);
    let mut drafts = Vec::new();
    for number in 1.. {
        let wrong = |problem: &dyn std::fmt::Display| {
            Failure::usage(format!("standard input, line {number}: {problem}; nothing was stored"))
        };
        let mut line = Vec::new();
        let mut bounded = (&mut input).take(limits::MAX_BATCH_LINE_BYTES as u64 + 1);
        if bounded.read_until(b'\n', &mut line).map_err(|error| wrong(&error))? == 0 {
            break;
        }
        if line.len() > limits::MAX_BATCH_LINE_BYTES {
            return Err(wrong(&format!("more than {} bytes", limits::MAX_BATCH_LINE_BYTES)));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        if drafts.len() == limits::MAX_BATCH_LINES {
            return Err(wrong(&format!("more than {} events", limits::MAX_BATCH_LINES)));
        }
        let told: Telling = serde_json::from_slice(&line).map_err(|error| wrong(&error))?;
        drafts.push(told.into_draft(None, ingest_method::EMIT).map_err(|problem| wrong(&problem))?);
    }
    Ok(drafts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(text: &str) -> Result<Vec<Draft>, String> {
        read_batch(text.as_bytes()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_line_needs_only_a_source_and_a_type() {
        let drafts = batch("{\"source\":\"a\",\"type\":\"b\"}\n\n{\"source\":\"a\",\"type\":\"b\",\"conclusion\":\"success\",\"payload\":{\"x\":1}}").unwrap();
        assert_eq!(drafts.len(), 2);
        assert_eq!(drafts[0].summary, "a b");
        assert_eq!(drafts[1].summary, "a b: success");
        assert_eq!(drafts[1].payload.as_deref(), Some("{\"x\":1}"));
    }

    #[test]
    fn one_bad_line_refuses_the_batch_and_is_named() {
        for (line, problem) in [
            ("{\"source\":\"a\"}", "missing field `type`"),
            ("{\"source\":\"a\",\"type\":\"b\",\"colour\":1}", "unknown field `colour`"),
            ("{\"source\":\"a b\",\"type\":\"b\"}", "is not a name"),
            ("{\"source\":\"a\",\"type\":\"b\",\"status\":\"x\",\"fields\":{\"status\":\"y\"}}", "given twice"),
            ("nonsense", "expected"),
        ] {
            let message = batch(&format!("{{\"source\":\"a\",\"type\":\"b\"}}\n{line}\n")).unwrap_err();
            assert!(message.contains("line 2") && message.contains(problem), "{message}");
        }
    }
}
