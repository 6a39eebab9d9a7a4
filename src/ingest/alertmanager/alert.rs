//! One alert of a group, and what is known of it.
//!
//! A verdict is not guessed. Whoever writes an alerting rule says what must not hold, so an alert that fires is a
//! `failure` and one that is resolved a `success`, whatever its labels say of how bad it is. A status that is neither has
//! no conclusion, and neither has the heartbeat, which fires as long as all is well.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{ALERT, HEARTBEAT, draft};
use crate::model::change::Change;
use crate::model::event::{Draft, Fields};
use crate::model::limits::{
    MAX_ALERT_LABELS, MAX_ALERT_WORD_BYTES, MAX_FIELD_TEXT_BYTES, MAX_LABEL_NAME_BYTES, MAX_LABELS_BYTES,
};
use crate::model::text::cut;

/// The time that an Alertmanager writes for "none".
const NEVER: &str = "0001-01-01T00:00:00Z";

/// What an alert says; `None` if it has no status or no labels, and so is none.
pub(super) fn change(alert: &Map<String, Value>, shared: &Fields, heartbeat: &str) -> Option<Change> {
    let status = alert.get("status")?.as_str().filter(|status| is_word(status))?;
    let labels = alert.get("labels")?.as_object()?;
    let text =
        |map: &Map<String, Value>, key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let name = text(labels, "alertname");
    let is_heartbeat = name == heartbeat;

    let mut fields = shared.clone();
    fields.insert("status".to_owned(), status.into());
    if let Some(conclusion) = conclusion(status).filter(|_| !is_heartbeat) {
        fields.insert("conclusion".to_owned(), conclusion.into());
    }
    let fingerprint = match text(alert, "fingerprint") {
        given if is_word(&given) => given,
        // What it is for: the same labels are the same alert.
        _ => digest(Value::Object(labels.clone()).to_string().as_bytes()),
    };
    fields.insert("alert_fingerprint".to_owned(), fingerprint.clone().into());
    for (field, label) in [("alert_name", "alertname"), ("alert_severity", "severity")] {
        insert_text(&mut fields, field, labels.get(label));
    }
    for (field, key) in [("starts_at", "startsAt"), ("ends_at", "endsAt"), ("generator_url", "generatorURL")] {
        insert_text(&mut fields, field, alert.get(key).filter(|time| *time != NEVER));
    }
    let mut omitted = 0;
    for (field, key) in [("labels", "labels"), ("annotations", "annotations")] {
        let Some(pairs) = alert.get(key).and_then(Value::as_object) else { continue };
        let kept = bounded(pairs);
        omitted += pairs.len() - kept.len();
        fields.insert(field.to_owned(), Value::Object(kept));
    }
    if omitted > 0 {
        fields.insert("omitted".to_owned(), omitted.into());
    }
    let draft = Draft {
        summary: summary(status, &name, alert),
        payload: Some(Value::Object(alert.clone()).to_string()),
        ..draft(if is_heartbeat { HEARTBEAT } else { ALERT }, fields)
    };
    // With the time since which, because one that fires again may not have been told to be resolved in between.
    let since = text(alert, "startsAt");
    let since = if is_time(&since) { since } else { digest(since.as_bytes()) };
    Some(Change { of: fingerprint, state: format!("{status} {since}"), draft })
}

fn conclusion(status: &str) -> Option<&'static str> {
    match status {
        "firing" => Some("failure"),
        "resolved" => Some("success"),
        _ => None,
    }
}

fn summary(status: &str, name: &str, alert: &Map<String, Value>) -> String {
    let text = |pointer: &[&str]| -> Option<&str> {
        let (last, path) = pointer.split_last()?;
        let map = path.iter().try_fold(alert, |map, key| map.get(*key)?.as_object())?;
        map.get(*last)?.as_str().filter(|text| !text.trim().is_empty())
    };
    let severity = text(&["labels", "severity"]).map(|severity| format!(" ({severity})")).unwrap_or_default();
    let said = text(&["annotations", "summary"]).or_else(|| text(&["annotations", "description"]));
    let said = said.map(|said| format!(": {said}")).unwrap_or_default();
    format!("{name}{severity} {status}{said}")
}

/// As many pairs of text as fit; a value that is too long is cut. The payload has all of them.
fn bounded(pairs: &Map<String, Value>) -> Map<String, Value> {
    let mut kept = Map::new();
    let mut bytes = 0;
    for (name, value) in pairs {
        let Some(text) = value.as_str() else { continue };
        let value = cut(text, MAX_FIELD_TEXT_BYTES);
        bytes += name.len() + value.len();
        if kept.len() == MAX_ALERT_LABELS || bytes > MAX_LABELS_BYTES {
            break;
        }
        if name.len() <= MAX_LABEL_NAME_BYTES {
            kept.insert(name.clone(), value.into());
        }
    }
    kept
}

/// Inserts a text that is there and not empty.
pub(super) fn insert_text(fields: &mut Fields, name: &str, value: Option<&Value>) {
    if let Some(text) = value.and_then(Value::as_str).filter(|text| !text.is_empty()) {
        fields.insert(name.to_owned(), cut(text, MAX_FIELD_TEXT_BYTES).into());
    }
}

/// A word that may be part of a key: letters and digits.
fn is_word(text: &str) -> bool {
    (1..=MAX_ALERT_WORD_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// What a time looks like, as far as it has to be part of a key.
fn is_time(text: &str) -> bool {
    (1..=MAX_ALERT_WORD_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b':' | b'.' | b'+'))
}

/// A short name for something that is too long or too odd to be one, as long as a fingerprint.
pub(super) fn digest(bytes: &[u8]) -> String {
    let mut digits = String::new();
    for byte in &Sha256::digest(bytes)[..8] {
        // Writing to a String cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}
