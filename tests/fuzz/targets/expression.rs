//! What a person or a stranger gives to `--where`: an expression that can be asked of any event without ending anything
//! but itself, or a refusal that points into the text. What it requires is required.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use waitbus::model::event::{Event, Record};
use waitbus::model::expression::Expression;
use waitbus::model::id::Seq;

fuzz_target!(|text: &str| {
    match Expression::compile(text) {
        Ok(expression) => {
            let truth = expression.evaluate(&RECORD).expect("no evaluation panics");
            let required = expression.required().iter().all(|condition| condition.holds(&RECORD));
            assert!(required || !truth, "{text:?} is true without what it requires");
        }
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.column), "{text:?}: column {}", error.column);
            assert!(!error.problem.is_empty());
        }
    }
});

/// One value of every kind, under keys of one letter, which a fuzzer finds.
static RECORD: LazyLock<Record> = LazyLock::new(|| {
    // A panic is caught where it is one event's matter, and here it is a finding all the same: `evaluate` tells.
    std::panic::set_hook(Box::new(|_| {}));
    let fields = json!({
        "a": "success", "b": 12, "c": -1.5, "d": true, "e": null, "f": ["x", {"y": 1}], "g": {"h": "i", "j.k": "l"},
        "m": u64::MAX, "n": i64::MIN, "o": "", "p": "grüße\n",
    });
    let event = Event {
        id: "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().expect("an event id"),
        delivery_id: "d".into(),
        source: "github".into(),
        event_type: "push".into(),
        owner: "octo".into(),
        repo: "hello".into(),
        received_at: 1,
        ingest_method: "webhook".into(),
        summary: "s".into(),
        fields: fields.as_object().cloned().unwrap_or_default(),
    };
    Record::new(Seq(1), event, Some(r#"{"a":{"b":[10,{"c":"deep"}]}}"#.into()))
});
