//! One event as a line of JSON: what `emit --batch` reads, and what a program prints that is a source.

use serde::Deserialize;
use serde_json::Value;

use crate::model::event::{Draft, Fields};
use crate::model::limits::{MAX_FIELDS_BYTES, MAX_POSITION_BYTES};

/// An event as somebody writes it down.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Key under which the source says this only once.
    pub id: Option<String>,
    /// Who says it; whoever reads the line may know that already.
    pub source: Option<String>,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Repository owner.
    #[serde(default)]
    pub owner: String,
    /// Repository name.
    #[serde(default)]
    pub repo: String,
    /// The field `status`.
    pub status: Option<String>,
    /// The field `conclusion`.
    pub conclusion: Option<String>,
    /// One line for a person; one is made where there is none.
    pub summary: Option<String>,
    /// Everything else that is known.
    #[serde(default)]
    pub fields: Fields,
    /// What was received: a text, or JSON that is kept as text.
    pub payload: Option<Value>,
}

/// How far a source has come.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    position: String,
}

/// What a program prints that is a source.
#[derive(Debug, PartialEq)]
pub enum Printed {
    /// Something has happened.
    Event(Box<Draft>),
    /// Everything that was printed before need not be looked at again once it is stored.
    Position(String),
}

impl Line {
    /// Reads one line. The error says what is wrong with it.
    pub fn parse(line: &[u8]) -> Result<Line, String> {
        check_object(line)?;
        serde_json::from_slice(line).map_err(|error| error.to_string())
    }

    /// The event, checked, of a `source` if the line does not name one.
    pub fn into_draft(self, source: Option<&str>, ingest_method: &'static str) -> Result<Draft, String> {
        let source = self.source.or_else(|| source.map(str::to_owned)).ok_or("missing field `source`")?;
        let mut fields = self.fields;
        for (name, value) in [("status", self.status), ("conclusion", self.conclusion)] {
            if let Some(value) = value
                && fields.insert(name.to_owned(), value.into()).is_some()
            {
                return Err(format!("{name} is given twice, as itself and among the fields"));
            }
        }
        let size = serde_json::to_vec(&fields).map_or(usize::MAX, |text| text.len());
        if size > MAX_FIELDS_BYTES {
            return Err(format!("fields: {size} bytes, but at most {MAX_FIELDS_BYTES} are allowed"));
        }
        let summary = self.summary.unwrap_or_else(|| {
            let verdict = fields.get("conclusion").or_else(|| fields.get("status")).and_then(Value::as_str);
            let verdict = verdict.map(|verdict| format!(": {verdict}")).unwrap_or_default();
            format!("{source} {}{verdict}", self.event_type)
        });
        let draft = Draft {
            source,
            event_type: self.event_type,
            owner: self.owner,
            repo: self.repo,
            delivery_id: self.id,
            ingest_method,
            summary,
            fields,
            payload: self.payload.map(|payload| match payload {
                Value::String(text) => text,
                other => other.to_string(),
            }),
        };
        draft.check().map_err(|bad| bad.to_string())?;
        Ok(draft)
    }
}

/// A list would be read as the values of the keys, in the order in which they happen to stand above.
fn check_object(line: &[u8]) -> Result<(), String> {
    if line.trim_ascii_start().starts_with(b"{") { Ok(()) } else { Err("expected a JSON object".to_owned()) }
}

/// Reads one line of the program that is this source.
pub fn printed(line: &[u8], source: &str, ingest_method: &'static str) -> Result<Printed, String> {
    check_object(line)?;
    if let Ok(Position { position }) = serde_json::from_slice(line) {
        return match position {
            long if long.len() > MAX_POSITION_BYTES => {
                Err(format!("position: {} bytes, but at most {MAX_POSITION_BYTES} are allowed", long.len()))
            }
            odd if odd.contains(char::is_control) => Err("position: must be a line of text".to_owned()),
            position => Ok(Printed::Position(position)),
        };
    }
    let line = Line::parse(line)?;
    if let Some(other) = line.source.as_ref().filter(|other| *other != source) {
        return Err(format!("source: this is {source}, not {other:?}; leave it out"));
    }
    line.into_draft(Some(source), ingest_method).map(|draft| Printed::Event(Box::new(draft)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_prints_events_of_its_own_source_and_positions() {
        let read = |text: &str| printed(text.as_bytes(), "disk", "source");
        let Ok(Printed::Event(draft)) = read(r#"{"type":"full","fields":{"n":1},"id":"a"}"#) else { panic!() };
        assert_eq!((&*draft.source, &*draft.summary, draft.delivery_id.as_deref()), ("disk", "disk full", Some("a")));
        assert!(matches!(read(r#"{"type":"full","source":"disk"}"#), Ok(Printed::Event(_))));
        assert_eq!(read(r#"{"position":"17"}"#), Ok(Printed::Position("17".into())));
        let long = format!("{{\"position\":\"{}\"}}", "x".repeat(MAX_POSITION_BYTES + 1));
        for (bad, words) in [
            (r#"{"type":"full","source":"github"}"#, "not \"github\""),
            (r#"{"type":"full","position":"1"}"#, "unknown field `position`"),
            (r#"{"position":1}"#, "position"),
            (r#"{"position":"a\u0000"}"#, "line of text"),
            (&*long, "at most"),
            (r#"["17"]"#, "expected a JSON object"),
            ("", "expected a JSON object"),
            ("nonsense", "expected a JSON object"),
        ] {
            let problem = read(bad).unwrap_err();
            assert!(problem.contains(words), "{bad}: {problem}");
        }
        assert!(printed(b"{\"type\":\"\xff\"}", "disk", "source").is_err());
    }
}
