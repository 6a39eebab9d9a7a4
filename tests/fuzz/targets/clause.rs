//! What a person or a stranger gives to `--all-of` and its like: a clause that can be asked of any event, and whose
//! conditions the hub can read, or a refusal that points into the text.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use waitbus::model::clause::Clause;
use waitbus::model::event::{Event, Record};
use waitbus::model::id::Seq;
use waitbus::model::predicate::{Condition, Conjunction};

fuzz_target!(|text: &str| {
    match Clause::parse(text) {
        Ok(clause) => {
            let satisfied = clause.is_satisfied_by(&RECORD);
            assert!(!satisfied || clause.concerns(&RECORD), "{text:?} is satisfied outside of its scope");
            // Whatever decides about the clause has to pass what the hub is asked for.
            assert!(!clause.concerns(&RECORD) || passes(&clause.scope()), "{text:?}: {:?}", clause.scope());
            assert!(!satisfied || passes(&clause.satisfaction()), "{text:?}: {:?}", clause.satisfaction());
        }
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.column), "{text:?}: column {}", error.column);
            assert!(!error.problem.is_empty());
        }
    }
});

fn passes(texts: &[String]) -> bool {
    let read = |text: &String| Condition::parse(text).expect("a condition that was read before");
    Conjunction::new(texts.iter().map(read).collect()).holds(&RECORD)
}

/// One value of every kind, under keys of one letter, which a fuzzer finds.
static RECORD: LazyLock<Record> = LazyLock::new(|| {
    let fields = json!({
        "a": "success", "b": 12, "c": -1.5, "d": true, "e": null, "f": ["x,y]", {"y": 1}], "g": {"h": "i", "j.k": "l"},
        "o": "", "p": "grüße\n",
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
        fields: fields.as_object().cloned().unwrap_or_default(),
    };
    Record::new(Seq(1), event, Some(r#"{"a":{"b":[10,{"c":"deep"}]}}"#.into()))
});
