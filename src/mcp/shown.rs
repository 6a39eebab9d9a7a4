//! How an agent sees an event: what waitbus made, and words from a fixed list, as keys of their own; everything that came
//! from outside in one fenced text.

use jiff::Timestamp;
use rmcp::model::{CallToolResult, ContentBlock, JsonObject};
use serde_json::{Map, Value, json};

use crate::model::event::{Event, ingest_method};
use crate::model::event_frame::event_body;
use crate::model::fence::Fenced;
use crate::model::id::EventId;
use crate::model::limits::{FENCED_BYTES, MAX_NAME_BYTES};
use crate::model::text::one_line;

/// What GitHub says of an author's standing in the repository.
const ASSOCIATIONS: [&str; 8] =
    ["COLLABORATOR", "CONTRIBUTOR", "FIRST_TIMER", "FIRST_TIME_CONTRIBUTOR", "MANNEQUIN", "MEMBER", "NONE", "OWNER"];

/// An event without its payload.
pub(super) fn event(event: &Event) -> JsonObject {
    let mut shown = Map::new();
    shown.insert("event_id".into(), json!(event.id));
    shown.insert("source".into(), event.source.clone().into());
    shown.insert("event_type".into(), event.event_type.clone().into());
    shown.insert("received_at".into(), event.received_at.into());
    if let Ok(time) = Timestamp::from_nanosecond(i128::from(event.received_at)) {
        shown.insert("time".into(), time.to_string().into());
    }
    for name in ["status", "conclusion"] {
        if let Some(word) = word(event, name) {
            shown.insert(name.into(), word.into());
        }
    }
    if let Some(trust) = association(event) {
        shown.insert("author_association".into(), trust.into());
    }
    let data = data(event);
    if data.text().len() > FENCED_BYTES {
        shown.insert("data_truncated".into(), true.into());
        shown.insert("data_size_bytes".into(), data.text().len().into());
        shown.insert("raw_uri".into(), raw_uri(event.id).into());
    }
    shown.insert("data".into(), data.preview(FENCED_BYTES).into());
    shown
}

/// Everything that an event's source has said, but for the payload.
pub(super) fn data(event: &Event) -> Fenced {
    let mut body = event_body(event);
    let keys = ["summary", "owner", "repo", "delivery_id", "fields"];
    let mut data: Map<_, _> = keys.iter().filter_map(|&key| Some((key.to_owned(), body.remove(key)?))).collect();
    if let Some(fields) = data.get_mut("fields").and_then(Value::as_object_mut) {
        // They are beside it already.
        for name in ["source", "event_type", "owner", "repo"] {
            fields.remove(name);
        }
    }
    Fenced::of(Value::Object(data))
}

/// The payload, or what stands for one that is too long.
pub(super) fn payload(id: EventId, payload: Option<&str>) -> JsonObject {
    let mut shown = Map::new();
    let Some(fenced) = payload.map(Fenced::of_stored) else {
        shown.insert("payload".into(), Value::Null);
        return shown;
    };
    let size = fenced.text().len();
    if size <= FENCED_BYTES {
        shown.insert("payload".into(), fenced.into());
    } else {
        shown.insert("truncated".into(), true.into());
        shown.insert("full_size_bytes".into(), size.into());
        shown.insert("raw_uri".into(), raw_uri(id).into());
        shown.insert("fenced_preview".into(), fenced.preview(FENCED_BYTES).into());
    }
    shown
}

/// The address of all of it.
pub(super) fn raw_uri(id: EventId) -> String {
    format!("waitbus://event/{id}/raw")
}

/// An event in a line.
pub(super) fn line(event: &Event) -> String {
    let summary = Fenced::of(one_line(&event.summary).into());
    format!("{} {} {} {}", event.source, event.event_type, event.id, summary.text())
}

/// A field that is one word, which then can say nothing but itself.
fn word<'a>(event: &'a Event, name: &str) -> Option<&'a str> {
    event.fields.get(name).and_then(Value::as_str).filter(|word| is_word(word))
}

fn is_word(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c == '_';
    !text.is_empty() && text.len() <= MAX_NAME_BYTES && text.chars().all(allowed)
}

/// The word of a verdict. One that is no word is neither success nor failure, and the report has it.
pub(super) fn verdict(word: &str) -> &str {
    if is_word(word) { word } else { "other" }
}

/// GitHub's word for its author, where it is GitHub that has said it.
fn association(event: &Event) -> Option<&'static str> {
    let said = event.fields.get("author_association")?.as_str()?;
    let by_github = event.source == "github" && event.ingest_method == ingest_method::WEBHOOK;
    ASSOCIATIONS.into_iter().find(|&known| by_github && known == said)
}

/// The result of a tool: a line for a person, the same for a program, and once more as text for clients that hand
/// nothing else to their model.
pub(super) fn result(line: &str, structured: JsonObject) -> CallToolResult {
    let structured = Value::Object(structured);
    let mut result =
        CallToolResult::success(vec![ContentBlock::text(line), ContentBlock::text(structured.to_string())]);
    result.structured_content = Some(structured);
    result
}
