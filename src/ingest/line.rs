//! The lines that a program prints that is a source: events, as they are told everywhere, and how far it has come.

use serde::Deserialize;

use crate::model::event::Draft;
use crate::model::limits::MAX_POSITION_BYTES;
use crate::model::telling::Telling;

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

/// A list would be read as the values of the keys, in the order in which they happen to stand.
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
    let told: Telling = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    if let Some(other) = told.source.as_ref().filter(|other| *other != source) {
        return Err(format!("source: this is {source}, not {other:?}; leave it out"));
    }
    let draft = told.into_draft(Some(source), ingest_method).map_err(|bad| bad.to_string())?;
    Ok(Printed::Event(Box::new(draft)))
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
