//! One delivery of an Alertmanager's webhook, already believed: a group of alerts, each of which is an event of its own.
//!
//! An Alertmanager repeats a group for as long as one of its alerts fires, and several of a cluster may say the same. So
//! what an alert gives is not an event yet but a [`Change`]: it becomes one if something else was said of the alert
//! before. The alert that is the heartbeat is no news while it fires; it comes out beside the others.

use serde_json::{Map, Value};

use crate::model::change::Change;
use crate::model::event::{Draft, Fields, ingest_method};
use crate::model::limits::MAX_ALERTS;

mod alert;
#[cfg(test)]
mod tests;

/// The `source` of every event from here.
pub const SOURCE: &str = "alertmanager";
/// The type of an alert that fires or is resolved.
pub const ALERT: &str = "prometheus_alert";
/// The type of the heartbeat.
pub const HEARTBEAT: &str = "prometheus_heartbeat";
/// The type of what is said when there are alerts that are not told.
const TRUNCATED: &str = "prometheus_truncated";

/// The version of the format. Others may mean something else by the same words.
const VERSION: &str = "4";

/// What a delivery says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delivery {
    /// One for each alert, in its order.
    pub changes: Vec<Change>,
    /// The heartbeat, if it fires.
    pub heartbeat: Option<Draft>,
    /// Alerts that the sender, or we, left out …
    pub truncated: u64,
    /// … and entries that are no alerts.
    pub unreadable: usize,
}

/// Why a delivery is refused. The messages are for its sender.
#[derive(Debug, thiserror::Error)]
pub enum Reject {
    /// The body is not JSON, or nested too deeply to be read safely.
    #[error("the body is not JSON: {0}")]
    BadJson(serde_json::Error),
    /// The body is JSON, and not what an Alertmanager sends.
    #[error("the body must be an object with a list of `alerts`")]
    NotAGroup,
    /// Another version of the format.
    #[error("the version of the body must be \"{VERSION}\"")]
    BadVersion,
    /// There is nothing in it to tell.
    #[error(
        "there is no alert in it that can be read: each must be an object with a `status` in one word and with `labels`"
    )]
    NoAlert,
}

impl Reject {
    /// A stable label for metrics, from a closed set.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Reject::BadJson(_) => "bad_json",
            Reject::NotAGroup => "not_a_group",
            Reject::BadVersion => "bad_version",
            Reject::NoAlert => "no_alert",
        }
    }
}

/// Reads a delivery whose sender is believed. `heartbeat` is the name of the alert that always fires.
pub fn accept(body: &[u8], heartbeat: &str) -> Result<Delivery, Reject> {
    let group: Map<String, Value> = match serde_json::from_slice(body).map_err(Reject::BadJson)? {
        Value::Object(group) => group,
        _ => return Err(Reject::NotAGroup),
    };
    let Some(alerts) = group.get("alerts").and_then(Value::as_array) else { return Err(Reject::NotAGroup) };
    if group.get("version").and_then(Value::as_str) != Some(VERSION) {
        return Err(Reject::BadVersion);
    }
    let left_out = alerts.len().saturating_sub(MAX_ALERTS);
    let truncated = group.get("truncatedAlerts").and_then(Value::as_u64).unwrap_or_default();
    let truncated = truncated.saturating_add(u64::try_from(left_out).unwrap_or(u64::MAX));
    let shared = shared(&group, truncated);
    let mut delivery = Delivery { truncated, ..Delivery::default() };
    for alert in &alerts[..alerts.len() - left_out] {
        let Some(change) = alert.as_object().and_then(|alert| alert::change(alert, &shared, heartbeat)) else {
            delivery.unreadable += 1;
            continue;
        };
        if change.draft.event_type == HEARTBEAT && change.draft.fields["status"] == "firing" {
            delivery.heartbeat = Some(change.draft);
        } else {
            delivery.changes.push(change);
        }
    }
    delivery.changes.extend((truncated > 0).then(|| left_out_of(&shared, truncated)));
    if delivery.changes.is_empty() && delivery.heartbeat.is_none() {
        return Err(Reject::NoAlert);
    }
    Ok(delivery)
}

/// What every event of a group says.
fn shared(group: &Map<String, Value>, truncated: u64) -> Fields {
    let mut fields = Fields::new();
    for (name, key) in [("receiver", "receiver"), ("group_key", "groupKey"), ("external_url", "externalURL")] {
        alert::insert_text(&mut fields, name, group.get(key));
    }
    if truncated > 0 {
        fields.insert("truncated_alerts".to_owned(), truncated.into());
    }
    fields
}

/// That there are more alerts in this group than have been told: for somebody who believes to see all of them. What they
/// are is not known, so it has no conclusion.
fn left_out_of(shared: &Fields, truncated: u64) -> Change {
    let text = |key: &str| shared.get(key).and_then(Value::as_str).unwrap_or_default();
    let group = format!("{}\n{}", text("receiver"), text("group_key"));
    let draft = Draft {
        summary: format!("{truncated} alerts of the group {} were left out", text("group_key")),
        ..draft(TRUNCATED, shared.clone())
    };
    Change { of: format!("group {}", alert::digest(group.as_bytes())), state: truncated.to_string(), draft }
}

fn draft(event_type: &str, fields: Fields) -> Draft {
    Draft {
        source: SOURCE.to_owned(),
        event_type: event_type.to_owned(),
        ingest_method: ingest_method::WEBHOOK,
        fields,
        ..Draft::default()
    }
}
