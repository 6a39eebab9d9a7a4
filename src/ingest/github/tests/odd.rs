//! Payloads that are signed but odd: whatever they say, the draft stays within bounds.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::limits::{MAX_FIELD_TEXT_BYTES, MAX_SUMMARY_CHARS};

#[test]
fn a_repository_is_found_where_the_payload_has_it_and_a_bad_name_is_left_out() {
    let place = |payload: Value| {
        let draft = draft_of("push", &payload.to_string());
        format!("{}/{}", draft.owner, draft.repo)
    };
    assert_eq!(place(json!({"repository": {"name": "r", "owner": {"name": "o"}}})), "o/r");
    assert_eq!(place(json!({"repository": {"full_name": "o/r"}})), "o/r");
    assert_eq!(place(json!({"organization": {"login": "o"}})), "o/");
    assert_eq!(place(json!({"repository": {"full_name": "o"}})), "/");
    assert_eq!(place(json!({"repository": {"full_name": "o/r/s", "name": 7}})), "o/");
    assert_eq!(place(json!({"repository": {"full_name": "o o/r\u{1b}", "owner": "o"}})), "/");
    assert_eq!(place(json!({"repository": {"name": "r".repeat(MAX_REPO_BYTES + 1)}})), "/");
}

#[test]
fn a_text_that_is_too_long_is_cut_between_characters_and_marked() {
    let body = json!({"pull_request": {"title": "é".repeat(MAX_FIELD_TEXT_BYTES)}}).to_string();
    let draft = draft_of("pull_request", &body);
    let title = draft.fields["title"].as_str().unwrap();
    assert!(title.len() <= MAX_FIELD_TEXT_BYTES && title.ends_with("é…"), "{title}");
    assert_eq!(draft.payload.as_deref(), Some(body.as_str()));
}

#[test]
fn a_value_of_another_type_is_left_out() {
    let run = json!({"id": "7", "run_attempt": 1.5, "status": null, "conclusion": ["success"], "head_branch": {}});
    let fields = draft_of("workflow_run", &json!({"action": 1, "workflow_run": run}).to_string()).fields;
    assert!(fields.is_empty(), "{fields:?}");
}

#[test]
fn a_summary_carries_no_escape_from_a_title() {
    let body = json!({"action": "opened", "pull_request": {"number": 7, "title": "\u{1b}[31mred\n\u{202e}x"}});
    assert_eq!(draft_of("pull_request", &body.to_string()).summary, "pull request #7 opened: red x");
}

const EXAMPLES: [(&str, &str); 13] = [
    ("check_run", payload!("check_run.completed")),
    ("check_suite", payload!("check_suite.completed")),
    ("deployment_status", payload!("deployment_status")),
    ("issue_comment", payload!("issue_comment.created")),
    ("pull_request", payload!("pull_request.closed")),
    ("pull_request_review", payload!("pull_request_review.submitted")),
    ("push", PUSH),
    ("status", payload!("status")),
    ("workflow_job", payload!("workflow_job.completed.failure.with-organization")),
    ("workflow_job", payload!("workflow_job.in_progress")),
    ("workflow_job", payload!("workflow_job.queued")),
    ("workflow_run", payload!("workflow_run.completed")),
    ("workflow_run", payload!("workflow_run.requested")),
];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        ("\\PC{1,3}", 1..5_000usize).prop_map(|(text, times)| text.repeat(times).into()),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{1,12}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Every place in a payload that something is read from, and all that encloses it.
fn places(event: &str, payload: &Value) -> Vec<String> {
    let repository = ["/repository/name", "/repository/owner/login", "/repository/full_name"];
    let rows = tables::EVERY_EVENT.iter().chain(tables::table(event)).map(|(_, _, pointer)| *pointer);
    let read: Vec<&str> = rows.chain(repository).collect();
    let enclosing =
        |pointer: &str| pointer.match_indices('/').skip(1).map(|(end, _)| pointer[..end].to_owned()).collect();
    let mut places: Vec<String> = read.iter().flat_map(|pointer| -> Vec<String> { enclosing(pointer) }).collect();
    places.extend(read.into_iter().map(str::to_owned));
    places.retain(|place| payload.pointer(place).is_some());
    places
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        event in "[a-z_]{1,12}|.{0,70}",
        id in "[ -~]{0,130}|.{0,10}",
        content_type in prop::option::of(prop_oneof![
            Just(JSON.unwrap().to_owned()), Just(FORM.unwrap().to_owned()), any::<String>(),
        ]),
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            any_json().prop_map(|value| value.to_string().into_bytes()),
        ],
    ) {
        let delivery = Delivery { event: &event, id: &id, content_type: content_type.as_deref(), body: &body };
        if let Ok(Accepted::Event(draft)) = accept(&delivery) {
            prop_assert_eq!(draft.check(), Ok(()));
        }
    }

    #[test]
    fn a_payload_with_anything_in_any_place_still_gives_a_draft_within_bounds(
        (event, text) in prop::sample::select(&EXAMPLES[..]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any_json()), 1..12),
    ) {
        let mut payload: Value = serde_json::from_str(text).unwrap();
        for (which, value) in changes {
            let places = places(event, &payload);
            *payload.pointer_mut(&places[which.index(places.len())]).unwrap() = value;
        }
        let text = payload.to_string();
        let draft = draft_of(event, &text);
        // What was read of it is all that is asked for.
        let all = told(event, &payload, ingest_method::WEBHOOK);
        prop_assert_eq!(told(event, &payload::read(event, &text).unwrap(), ingest_method::WEBHOOK), all);
        for value in draft.fields.values() {
            let fits = |text: &str| !text.is_empty() && text.len() <= MAX_FIELD_TEXT_BYTES;
            prop_assert!(value.as_str().map_or(value.is_boolean() || value.is_i64(), fits), "{value}");
        }
        prop_assert!(draft.summary.chars().count() <= MAX_SUMMARY_CHARS);
    }
}
