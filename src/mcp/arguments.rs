//! The arguments of a tool: taken one by one, each checked where it is taken, so that a mistake is told with the name of
//! the argument and what it may be.

use rmcp::model::JsonObject;
use serde_json::Value;

use crate::client::BusError;
use crate::client::commit::RecallError;
use crate::model::event::BadDraft;
use crate::store::StoreError;
use crate::waiting::asked::{BadQuestion, Spelling};

/// A tool could not do what it was asked for: a sentence for the model, which may do better next time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ToolError(pub(super) String);

impl ToolError {
    /// This argument makes no sense.
    pub(super) fn argument(name: &str, problem: impl std::fmt::Display) -> ToolError {
        ToolError(format!("{name}: {problem}"))
    }
}

impl From<BusError> for ToolError {
    fn from(error: BusError) -> ToolError {
        ToolError(error.to_string())
    }
}

impl From<RecallError> for ToolError {
    fn from(error: RecallError) -> ToolError {
        match error {
            RecallError::Ambiguous(ambiguous) => ToolError::argument("sha", ambiguous),
            RecallError::Bus(error) => error.into(),
        }
    }
}

impl From<StoreError> for ToolError {
    fn from(error: StoreError) -> ToolError {
        ToolError(error.to_string())
    }
}

impl From<BadQuestion> for ToolError {
    fn from(bad: BadQuestion) -> ToolError {
        ToolError(bad.told(Spelling::Arguments))
    }
}

impl From<BadDraft> for ToolError {
    fn from(bad: BadDraft) -> ToolError {
        ToolError(bad.to_string())
    }
}

/// What a call brought.
#[derive(Debug)]
pub(super) struct Arguments(JsonObject);

impl Arguments {
    /// The arguments of a call, all of which the schema of the tool has to know. One that is null counts as left out.
    pub(super) fn new(given: Option<JsonObject>, schema: &JsonObject) -> Result<Arguments, ToolError> {
        let mut given = given.unwrap_or_default();
        given.retain(|_, value| !value.is_null());
        let known = schema.get("properties").and_then(Value::as_object);
        let names: Vec<_> = known.into_iter().flat_map(|known| known.keys().map(String::as_str)).collect();
        match given.keys().find(|name| !names.contains(&name.as_str())) {
            Some(name) if names.is_empty() => Err(ToolError::argument(name, "this tool takes no arguments")),
            Some(name) => {
                Err(ToolError::argument(name, format!("there is no such argument; there are {}", names.join(", "))))
            }
            None => Ok(Arguments(given)),
        }
    }

    /// A text.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, ToolError> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(ToolError::argument(name, format!("must be a string, not {}", kind(&other)))),
        }
    }

    /// A text that has to be there.
    pub(super) fn required(&mut self, name: &str) -> Result<String, ToolError> {
        self.text(name)?.ok_or_else(|| ToolError::argument(name, "is missing, and has to be a string"))
    }

    /// A list of texts; one text alone is a list of one.
    pub(super) fn texts(&mut self, name: &str) -> Result<Vec<String>, ToolError> {
        let must = |other: &Value| ToolError::argument(name, format!("must be a list of strings, not {}", kind(other)));
        match self.0.remove(name) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text]),
            Some(Value::Array(items)) => items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) => Ok(text),
                    other => Err(ToolError::argument(
                        name,
                        format!("must be a list of strings, and one of its items is {}", kind(&other)),
                    )),
                })
                .collect(),
            Some(other) => Err(must(&other)),
        }
    }

    /// A whole number in a range.
    pub(super) fn number(
        &mut self,
        name: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, ToolError> {
        let Some(value) = self.0.remove(name) else { return Ok(None) };
        // Models write 60.0 for 60.
        let whole = value.as_u64().or_else(|| value.as_f64().and_then(as_whole));
        let (least, most) = (range.start(), range.end());
        whole
            .filter(|number| range.contains(number))
            .map(Some)
            .ok_or_else(|| ToolError::argument(name, format!("must be a whole number from {least} to {most}")))
    }

    /// Whether something is so; it is not where nothing is said.
    pub(super) fn flag(&mut self, name: &str) -> Result<bool, ToolError> {
        match self.0.remove(name) {
            None => Ok(false),
            Some(Value::Bool(so)) => Ok(so),
            Some(other) => Err(ToolError::argument(name, format!("must be true or false, not {}", kind(&other)))),
        }
    }

    /// An object.
    pub(super) fn object(&mut self, name: &str) -> Result<JsonObject, ToolError> {
        match self.0.remove(name) {
            None => Ok(JsonObject::new()),
            Some(Value::Object(map)) => Ok(map),
            Some(other) => Err(ToolError::argument(name, format!("must be an object, not {}", kind(&other)))),
        }
    }

    /// Something that is written as a text.
    pub(super) fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ToolError> {
        let text = self.text(name)?;
        text.map(|text| parse(&text).map_err(|problem| ToolError::argument(name, problem))).transpose()
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a whole number in the range")]
fn as_whole(number: f64) -> Option<u64> {
    (number.fract() == 0.0 && (0.0..9e15).contains(&number)).then_some(number as u64)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
