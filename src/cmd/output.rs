//! Printing: data on standard output, words on standard error, and what a closed pipe means.

use std::io::{self, Write};

use serde_json::{Map, Value};

use crate::model::id::EventId;
use crate::model::text::one_line;

/// The reader of our output has gone, which is its right: `waitbus tail | head -1` is no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed;

/// Prints one line of data, at once.
pub(super) fn line(text: &str) -> Result<(), Closed> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|_| Closed)
}

/// Says something to the person at the terminal, if there still is one.
pub(super) fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// An event as a line: the whole of it with its cursor as JSON, or its summary.
pub(super) fn event(id: EventId, mut body: Map<String, Value>, json: bool) -> String {
    if json {
        body.insert("cursor".into(), id.to_string().into());
        return Value::Object(body).to_string();
    }
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    match text("summary") {
        "" => one_line(&format!("{} {}", text("source"), text("event_type"))),
        summary => one_line(summary),
    }
}
