//! Printing: data on standard output, words on standard error, and what a closed pipe means.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value};

use crate::model::id::EventId;
use crate::model::text::{escaped, is_invisible, one_line};
use crate::waiting::Shown;

/// The reader of our output has gone, which is its right: `waitbus tail | head -1` is no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed;

/// Whether data was lost on its way out, as on a full disk. A verb that succeeded then has not.
static LOST: AtomicBool = AtomicBool::new(false);

/// Prints one line of data, at once.
pub(super) fn line(text: &str) -> Result<(), Closed> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| {
        if error.kind() != io::ErrorKind::BrokenPipe && !LOST.swap(true, Ordering::Relaxed) {
            say(&format!("waitbus: standard output could not be written: {error}"));
        }
        Closed
    })
}

/// Whether data that was to be printed could not be, for another reason than that nobody reads it.
pub(super) fn was_lost() -> bool {
    LOST.load(Ordering::Relaxed)
}

/// Says something to the person at the terminal, if there still is one, and nothing that only the terminal would read.
pub(super) fn say(text: &str) {
    let shown: Vec<_> = text.lines().map(escaped).collect();
    let _ = writeln!(io::stderr().lock(), "{}", shown.join("\n"));
}

/// Shows how far something is, in the place of what was shown of it before; nothing ends that. For a terminal.
pub(super) fn progress(text: &str) {
    let mut err = io::stderr().lock();
    let _ = write!(err, "\r{text}\x1b[K").and_then(|()| err.flush());
}

/// An event as a line: the whole of it with its cursor as JSON, or its summary.
pub(super) fn event(id: EventId, mut body: Map<String, Value>, json: bool) -> String {
    if json {
        body.insert("cursor".into(), id.to_string().into());
        return printable(&Value::Object(body).to_string());
    }
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    match text("summary") {
        "" => one_line(&format!("{} {}", text("source"), text("event_type"))),
        summary => one_line(summary),
    }
}

/// What a question has to show: one line for a person, or the same for a program.
pub(super) fn shown(shown: &Shown, json: bool) -> String {
    if json { printable(&Value::Object(shown.json.clone()).to_string()) } else { shown.line.clone() }
}

/// JSON text that means the same and that a terminal shows as it is. Serializing escapes only what the format forbids,
/// which U+009B is not; outside its strings JSON has none of these characters.
fn printable(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_control() || is_invisible(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(text, "\\u{unit:04x}");
            }
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_on_a_terminal_is_only_text_and_means_the_same() {
        let body = json!({"a\u{7f}": "\u{9b}31m \u{1b}[0m\n \u{202e}\u{200b} \u{e0041} é 🙂 \\u009b"});
        let line = event(EventId::ZERO, body.as_object().cloned().unwrap(), true);
        assert!(!line.contains(|c: char| c.is_control() || is_invisible(c)), "{line:?}");
        assert!(line.contains("é 🙂") && line.contains("\\udb40\\udc41"), "{line}");
        let parsed: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(parsed.get("a\u{7f}"), body.get("a\u{7f}"));
    }
}
