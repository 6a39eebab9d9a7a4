//! The event that the targets ask.

use std::sync::LazyLock;

use serde_json::json;
use waitbus::model::event::{Event, Record};
use waitbus::model::id::Seq;

/// One value of every kind, under keys of one letter, which a fuzzer finds.
pub static RECORD: LazyLock<Record> = LazyLock::new(|| {
    let fields = json!({
        "a": "success", "b": 12, "c": -1.5, "d": true, "e": null, "f": ["x,y]", {"y": 1}], "g": {"h": "i", "j.k": "l"},
        "m": u64::MAX, "n": i64::MIN, "o": "", "p": "grüße\n",
    });
    let event = Event {
        id: "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().expect("an event id"),
        delivery_id: "d".into(),
        source: "a".into(),
        event_type: "push".into(),
        owner: "octo".into(),
        repo: "hello".into(),
        received_at: 1,
        ingest_method: "webhook".into(),
        summary: "s".into(),
        fields: fields.as_object().cloned().unwrap_or_default().into(),
    };
    Record::new(Seq(1), event, Some(r#"{"a":{"b":[10,{"c":"deep"}]}}"#.into()))
});
