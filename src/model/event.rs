//! What the bus carries: a [`Draft`] on its way into the log, an [`Event`] as everybody sees it, and a [`Record`],
//! the event with its place in the log and, where somebody asked for it, its payload.

use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::event_fields::EventFields;
use super::id::{EventId, Seq};
use super::limits;

/// A JSON object: what a source knows about an event, typed.
pub type Fields = Map<String, Value>;

/// Names that `fields` repeats on the wire from the event itself; a source cannot set them there.
pub const ENVELOPE: [&str; 5] = ["source", "event_type", "owner", "repo", "ingest_method"];

/// The field of an event that is told late: when it happened, in nanoseconds since the epoch. Whoever waits for what
/// happens is not told of what had happened before.
pub const HAPPENED_AT: &str = "happened_at";

/// How a row came into the log.
pub mod ingest_method {
    /// A signed delivery to the webhook listener.
    pub const WEBHOOK: &str = "webhook";
    /// `waitbus emit` or the library's publisher.
    pub const EMIT: &str = "emit";
    /// A source that waitbus runs.
    pub const SOURCE: &str = "source";
    /// The column's default: a row that another program inserted itself.
    pub const FOREIGN: &str = "foreign";

    /// Whether waitbus wrote the row, and therefore touched the wake file itself.
    #[must_use]
    pub fn is_ours(method: &str) -> bool {
        matches!(method, WEBHOOK | EMIT | SOURCE)
    }
}

/// An event that has not been committed yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draft {
    /// Who says it: `github`, `pytest`, `deploy` …
    pub source: String,
    /// What happened: `workflow_run`, `finished` …
    pub event_type: String,
    /// Repository owner, or empty.
    pub owner: String,
    /// Repository name, or empty.
    pub repo: String,
    /// Idempotency key within the source; `None` takes the event's own id.
    pub delivery_id: Option<String>,
    /// Whether it has certainly not been told before: with a key that is in the log already it is stored under its own
    /// id.
    pub is_certain: bool,
    /// One of [`ingest_method`].
    pub ingest_method: &'static str,
    /// One line for a person; cleaned when it is stored.
    pub summary: String,
    /// Everything the source knows, without the [`ENVELOPE`] names.
    pub fields: Fields,
    /// What was received, as JSON text or any other text; never broadcast.
    pub payload: Option<String>,
}

/// A draft that breaks a bound or a rule: which part, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part}: {problem}")]
pub struct BadDraft {
    /// The part of the draft, as its user calls it.
    pub part: &'static str,
    /// What is wrong with it and what is allowed.
    pub problem: String,
}

impl Draft {
    /// Checks every bound of [`limits`] that concerns an event.
    pub fn check(&self) -> Result<(), BadDraft> {
        check_name("source", &self.source)?;
        check_name("type", &self.event_type)?;
        for (part, name) in [("owner", &self.owner), ("repo", &self.repo)] {
            check_repo(part, name)?;
        }
        if let Some(key) = &self.delivery_id {
            check_length("id", key.len(), limits::MAX_DELIVERY_ID_BYTES)?;
            if key.is_empty() || key.contains(char::is_control) {
                return Err(BadDraft { part: "id", problem: "must be a non-empty line of text".into() });
            }
        }
        if let Some(name) = ENVELOPE.iter().find(|name| self.fields.contains_key(**name)) {
            return Err(BadDraft {
                part: "fields",
                problem: format!("`{name}` belongs to the event itself and cannot be set as a field"),
            });
        }
        if is_too_deep(&self.fields) {
            let problem = format!("nested more than {} deep", limits::MAX_FIELD_DEPTH);
            return Err(BadDraft { part: "fields", problem });
        }
        if let Some(payload) = &self.payload {
            check_length("payload", payload.len(), limits::MAX_PAYLOAD_BYTES)?;
        }
        Ok(())
    }
}

/// Whether some field is nested deeper than [`limits::MAX_FIELD_DEPTH`].
#[must_use]
pub fn is_too_deep(fields: &Fields) -> bool {
    fn fits(value: &Value, depth: usize) -> bool {
        match value {
            Value::Array(items) => depth > 0 && items.iter().all(|item| fits(item, depth - 1)),
            Value::Object(map) => depth > 0 && map.values().all(|item| fits(item, depth - 1)),
            _ => true,
        }
    }
    !fields.values().all(|value| fits(value, limits::MAX_FIELD_DEPTH))
}

/// The rule of a source's and a type's name.
pub fn check_name(part: &'static str, name: &str) -> Result<(), BadDraft> {
    check_length(part, name.len(), limits::MAX_NAME_BYTES)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || !name.chars().all(allowed) {
        return Err(BadDraft {
            part,
            problem: format!("{name:?} is not a name: use letters, digits, `_`, `-` and `.`"),
        });
    }
    Ok(())
}

/// The rule of an owner's and a repository's name.
pub(super) fn check_repo(part: &'static str, name: &str) -> Result<(), BadDraft> {
    check_length(part, name.len(), limits::MAX_REPO_BYTES)?;
    if name.contains(|c: char| c.is_control() || c.is_whitespace() || c == '/') {
        return Err(BadDraft { part, problem: "may not contain white space or `/`".into() });
    }
    Ok(())
}

pub(super) fn check_length(part: &'static str, length: usize, limit: usize) -> Result<(), BadDraft> {
    if length > limit {
        return Err(BadDraft { part, problem: format!("{length} bytes, but at most {limit} are allowed") });
    }
    Ok(())
}

/// A committed event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Public name and cursor.
    pub id: EventId,
    /// Idempotency key within the source.
    pub delivery_id: String,
    /// Who said it.
    pub source: String,
    /// What happened.
    pub event_type: String,
    /// Repository owner, or empty.
    pub owner: String,
    /// Repository name, or empty.
    pub repo: String,
    /// Nanoseconds since the epoch, on the clock of the process that stored it.
    pub received_at: i64,
    /// How it came into the log.
    pub ingest_method: String,
    /// One line for a person, without control characters.
    pub summary: String,
    /// Everything the source knows, without the [`ENVELOPE`] names.
    pub fields: EventFields,
}

impl Event {
    /// The text of one of the [`ENVELOPE`] names.
    #[must_use]
    pub fn own(&self, name: &str) -> Option<&str> {
        match name {
            "source" => Some(&self.source),
            "event_type" => Some(&self.event_type),
            "owner" => Some(&self.owner),
            "repo" => Some(&self.repo),
            "ingest_method" => Some(&self.ingest_method),
            _ => None,
        }
    }

    /// When it happened, if it was told so late that its source says so: the field [`HAPPENED_AT`].
    #[must_use]
    pub fn happened_at(&self) -> Option<i64> {
        self.fields.get(HAPPENED_AT)?.as_i64()
    }
}

/// A value found in an event by [`Record::lookup`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Found<'a> {
    /// A text that the event holds outside `fields`.
    Text(&'a str),
    /// An id; it reads like a text.
    Id(EventId),
    /// A number that the event holds outside `fields`.
    Integer(i64),
    /// The `fields` object itself, without the [`ENVELOPE`] names.
    Fields(&'a Fields),
    /// Anything inside `fields` or the payload.
    Json(&'a Value),
}

/// An event and its place in the log.
#[derive(Debug)]
pub struct Record {
    /// Its place.
    pub seq: Seq,
    /// The event.
    pub event: Event,
    payload: Option<String>,
    parsed_payload: OnceLock<Option<Value>>,
}

impl Record {
    /// A record; `payload` is `None` when there is none or nobody asked for it.
    #[must_use]
    pub fn new(seq: Seq, event: Event, payload: Option<String>) -> Record {
        Record { seq, event, payload, parsed_payload: OnceLock::new() }
    }

    /// Bytes of text that this record holds, as an estimate of what keeping it costs.
    #[must_use]
    pub fn weight(&self) -> usize {
        let event = &self.event;
        let object = || event.fields.iter().map(|(name, value)| name.len() + json_weight(value)).sum();
        let fields = event.fields.text().map_or_else(object, str::len);
        fields + event.summary.len() + event.delivery_id.len() + self.payload.as_ref().map_or(0, String::len)
    }

    /// The value at a dotted path. The first segment is looked for among the [`ENVELOPE`] names, then in `fields`,
    /// then among the event's own keys as they are on the wire, `payload` last. At each step a key that is the
    /// whole rest of the path wins over going deeper, so `labels.com.example.team` finds the label
    /// `com.example.team`.
    #[must_use]
    pub fn lookup(&self, path: &str) -> Option<Found<'_>> {
        let event = &self.event;
        if let Some(text) = event.own(path) {
            return Some(Found::Text(text));
        }
        if let Some(value) = descend(&event.fields, path) {
            return Some(Found::Json(value));
        }
        match path.split_once('.') {
            None => match path {
                "event_id" => Some(Found::Id(event.id)),
                "delivery_id" => Some(Found::Text(&event.delivery_id)),
                "received_at" => Some(Found::Integer(event.received_at)),
                "summary" => Some(Found::Text(&event.summary)),
                "fields" => Some(Found::Fields(&event.fields)),
                "payload" => self.payload().map(Found::Json),
                _ => None,
            },
            Some(("fields", rest)) if ENVELOPE.contains(&rest) => self.lookup(rest),
            Some(("fields", rest)) => descend(&event.fields, rest).map(Found::Json),
            Some(("payload", rest)) => descend_value(self.payload()?, rest).map(Found::Json),
            Some(_) => None,
        }
    }

    /// The payload as JSON, parsed at most once and only when asked for.
    pub(super) fn payload(&self) -> Option<&Value> {
        self.parsed_payload.get_or_init(|| serde_json::from_str(self.payload.as_deref()?).ok()).as_ref()
    }
}

fn json_weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(json_weight).sum(),
        Value::Object(map) => map.iter().map(|(name, value)| name.len() + json_weight(value)).sum(),
        _ => size_of::<Value>(),
    }
}

fn descend<'a>(map: &'a Fields, path: &str) -> Option<&'a Value> {
    if let Some(value) = map.get(path) {
        return Some(value);
    }
    let (head, rest) = path.split_once('.')?;
    descend_value(map.get(head)?, rest)
}

fn descend_value<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => descend(map, path),
        Value::Array(items) => {
            let (head, rest) = path.split_once('.').map_or((path, None), |(head, rest)| (head, Some(rest)));
            let item = items.get(head.parse::<usize>().ok()?)?;
            rest.map_or(Some(item), |rest| descend_value(item, rest))
        }
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// An event with the given fields, for tests of everything that looks at events.
    pub(crate) fn record(seq: i64, source: &str, fields: &Value) -> Record {
        let id = EventId::at(std::time::UNIX_EPOCH + std::time::Duration::from_millis(u64::try_from(seq).unwrap()));
        let event = Event {
            id,
            delivery_id: format!("d{seq}"),
            source: source.into(),
            event_type: "finished".into(),
            owner: "octo".into(),
            repo: "hello".into(),
            received_at: seq * 1_000_000,
            ingest_method: ingest_method::EMIT.into(),
            summary: format!("event {seq}"),
            fields: fields.as_object().cloned().unwrap().into(),
        };
        Record::new(Seq(seq), event, Some(r#"{"a":{"b":[10,{"c":"deep"}]}}"#.into()))
    }

    #[test]
    fn a_path_finds_fields_first_then_the_event_then_the_payload() {
        let record =
            record(7, "github", &json!({"summary": "mine", "labels": {"com.example.team": "core", "x": {"y": 1}}}));
        let text = |path| match record.lookup(path) {
            Some(Found::Text(text)) => text.to_owned(),
            Some(Found::Id(id)) => id.to_string(),
            Some(Found::Integer(n)) => n.to_string(),
            Some(Found::Json(value)) => value.to_string(),
            Some(Found::Fields(_)) => "fields".to_owned(),
            None => "-".to_owned(),
        };
        for (path, expected) in [
            ("source", "github"),
            ("fields.source", "github"),
            ("summary", "\"mine\""),
            ("labels.com.example.team", "\"core\""),
            ("fields.labels.x.y", "1"),
            ("labels.x.z", "-"),
            ("received_at", "7000000"),
            ("event_id", "00000000070000000000000000"),
            ("delivery_id", "d7"),
            ("fields", "fields"),
            ("payload.a.b.0", "10"),
            ("payload.a.b.1.c", "\"deep\""),
            ("payload.a.b.2", "-"),
            ("payload.a.b.c", "-"),
            ("nothing", "-"),
            ("nothing.at.all", "-"),
        ] {
            assert_eq!(text(path), expected, "{path}");
        }
    }

    #[test]
    fn a_draft_that_breaks_a_rule_says_which() {
        let good = Draft { source: "deploy".into(), event_type: "finished".into(), ..Draft::default() };
        assert_eq!(good.check(), Ok(()));
        let part = |draft: Draft| draft.check().unwrap_err().part;
        assert_eq!(part(Draft { source: String::new(), ..good.clone() }), "source");
        assert_eq!(part(Draft { source: "a b".into(), ..good.clone() }), "source");
        assert_eq!(part(Draft { event_type: "x".repeat(65), ..good.clone() }), "type");
        assert_eq!(part(Draft { repo: "a/b".into(), ..good.clone() }), "repo");
        assert_eq!(part(Draft { delivery_id: Some(String::new()), ..good.clone() }), "id");
        let fields = |value: &Value| value.as_object().cloned().unwrap();
        assert_eq!(part(Draft { fields: fields(&json!({"owner": "me"})), ..good.clone() }), "fields");
        let nested = |depth| (0..depth).fold(json!(1), |inner, _| json!([inner]));
        let deep = Draft { fields: fields(&json!({"x": nested(limits::MAX_FIELD_DEPTH)})), ..good.clone() };
        assert_eq!(deep.check(), Ok(()));
        assert_eq!(
            part(Draft { fields: fields(&json!({"x": nested(limits::MAX_FIELD_DEPTH + 1)})), ..good }),
            "fields"
        );
    }
}
