//! The events that the bus gets: fields first, and a summary that says nothing else.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::Engine;
use crate::model::event::{Draft, Fields, ingest_method};
use crate::model::limits::{MAX_CONTAINER_LABEL_BYTES, MAX_CONTAINER_LABELS, MAX_FIELD_TEXT_BYTES};
use crate::model::text::cut;

/// The source and the type of every event.
const SOURCE: &str = "docker";
const EVENT_TYPE: &str = "docker_container";

/// What engines put between the labels of a container.
const ENGINES_OWN: [&str; 11] = [
    "image",
    "name",
    "exitCode",
    "signal",
    "execDuration",
    "execID",
    "oldName",
    "containerExitCode",
    "podId",
    "health_status",
    "containerHealthStatus",
];

/// The labels that compose puts on what it makes.
pub(super) const PROJECT: &str = "com.docker.compose.project";
pub(super) const SERVICE: &str = "com.docker.compose.service";

/// The container that an event is about.
pub(super) struct Subject<'a> {
    pub engine: Engine,
    pub id: &'a str,
    pub name: &'a str,
    pub image: &'a str,
    pub labels: &'a BTreeMap<String, String>,
}

impl Subject<'_> {
    /// What a person calls it.
    fn called(&self) -> &str {
        if self.name.is_empty() { self.id.get(..12).unwrap_or(self.id) } else { self.name }
    }

    /// An event of it. `key` tells it from every other of this container; `says` follows the name in the summary.
    pub(super) fn draft(&self, action: &str, status: &str, key: &str, says: &str) -> Draft {
        let mut fields = Fields::new();
        let texts = [
            ("action", action),
            ("status", status),
            ("engine", self.engine.name()),
            ("container_id", self.id),
            ("name", self.name),
            ("image", self.image),
            ("compose_project", self.label(PROJECT)),
            ("compose_service", self.label(SERVICE)),
        ];
        for (field, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            fields.insert(field.to_owned(), cut(text, MAX_FIELD_TEXT_BYTES).into());
        }
        self.add_labels(&mut fields);
        Draft {
            source: SOURCE.to_owned(),
            event_type: EVENT_TYPE.to_owned(),
            delivery_id: Some(format!("{}/{key}", self.id)),
            ingest_method: ingest_method::SOURCE,
            summary: format!("{} {says}", self.called()),
            fields,
            ..Draft::default()
        }
    }

    fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    fn add_labels(&self, fields: &mut Fields) {
        let labels = || self.labels.iter().filter(|(name, _)| !ENGINES_OWN.contains(&name.as_str()));
        let kept: Fields = labels()
            .filter(|(name, _)| name.len() <= MAX_CONTAINER_LABEL_BYTES)
            .take(MAX_CONTAINER_LABELS)
            .map(|(name, value)| (name.clone(), cut(value, MAX_CONTAINER_LABEL_BYTES).into()))
            .collect();
        let left_out = labels().count() - kept.len();
        if left_out > 0 {
            fields.insert("labels_left_out".to_owned(), left_out.into());
        }
        if !kept.is_empty() {
            fields.insert("labels".to_owned(), Value::Object(kept));
        }
    }
}

/// A time as a field.
pub(super) fn time(nanoseconds: i64) -> Option<Value> {
    Timestamp::from_nanosecond(nanoseconds.into()).ok().map(|time| time.to_string().into())
}
