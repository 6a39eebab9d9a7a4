//! From a payload to typed fields, by the rows of [`tables`](super::tables).
//!
//! A field is there only when the payload says it: a value that is missing, null, empty or of another type gives no
//! field. No verdict is ever made up: `conclusion` is GitHub's own word, except for `status` and `deployment_status`,
//! which have a single `state` ([`conclude`]).

use serde_json::Value;

use super::tables::{EVERY_EVENT, Kind, table};
use crate::model::event::Fields;
use crate::model::limits::MAX_FIELD_TEXT_BYTES;
use crate::model::text::cut;

/// Everything that is known about an event.
pub(super) fn extract(event: &str, payload: &Value) -> Fields {
    let mut fields = Fields::new();
    for (name, kind, pointer) in EVERY_EVENT.iter().chain(table(event)) {
        if !fields.contains_key(*name)
            && let Some(value) = payload.pointer(pointer).and_then(|value| kind.read(value))
        {
            fields.insert((*name).to_owned(), value);
        }
    }
    match event {
        "status" | "deployment_status" => conclude(&mut fields),
        "issue_comment" => name_pull_request(payload, &mut fields),
        _ => {}
    }
    fields
}

/// `status` and `conclusion` for the two events that have one `state` for both. `error` is a failure to be told apart
/// by `state`. Whatever is not clearly an end stays a status without a conclusion: that covers `pending` and its like,
/// and a deployment's `inactive`, which says that a later one took its place and nothing about how it went.
fn conclude(fields: &mut Fields) {
    let Some(state) = fields.get("state").and_then(Value::as_str) else { return };
    let conclusion = match state {
        "success" => Some("success"),
        "failure" | "error" => Some("failure"),
        _ => None,
    };
    let status = if conclusion.is_some() { "completed" } else { state };
    let status = Value::from(status);
    fields.insert("status".to_owned(), status);
    if let Some(conclusion) = conclusion {
        fields.insert("conclusion".to_owned(), conclusion.into());
    }
}

/// To GitHub every pull request is an issue; `issue.pull_request` says which are.
fn name_pull_request(payload: &Value, fields: &mut Fields) {
    let is_pull_request = payload.pointer("/issue/pull_request").is_some_and(Value::is_object);
    if is_pull_request && let Some(number) = fields.get("issue_number").cloned() {
        fields.insert("pr_number".to_owned(), number);
    }
}

impl Kind {
    fn read(self, value: &Value) -> Option<Value> {
        match self {
            Kind::Text => value.as_str().filter(|text| !text.is_empty()).map(bounded),
            Kind::Under(prefix) => value.as_str()?.strip_prefix(prefix).filter(|text| !text.is_empty()).map(bounded),
            Kind::Commit => value.as_str().filter(|id| id.bytes().any(|byte| byte != b'0')).map(bounded),
            Kind::Number => value.as_i64().map(Value::from),
            Kind::Flag => value.as_bool().map(Value::from),
            Kind::Count => value.as_array().map(|items| Value::from(items.len())),
        }
    }
}

fn bounded(text: &str) -> Value {
    cut(text, MAX_FIELD_TEXT_BYTES).into()
}
