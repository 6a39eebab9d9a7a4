//! Lines as engines wrote them, and histories that no test can have a real engine make at will.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::reconcile::Look;
use super::{Container, Engine, Told, Tracker, What};
use crate::model::event::Draft;
use crate::model::limits::{MAX_CONTAINER_LABEL_BYTES, MAX_CONTAINER_LABELS, MAX_WATCHED_CONTAINERS};

const SECOND: i64 = 1_000_000_000;

/// Of dockerd 20.10, 28 (with `execDuration`), and Podman 4.3 and 5.
const DOCKER: &str = r#"{"status":"die","id":"b5c0","from":"box:1","Type":"container","Action":"die","Actor":{"ID":"b5c0","Attributes":{"com.docker.compose.project":"p","execDuration":"1","exitCode":"3","image":"box:1","name":"a3"}},"scope":"local","time":1795772045,"timeNano":1795772045597958686}"#;
const PODMAN: &str = r#"{"status":"die","id":"50c3","from":"docker.io/library/box:1","Type":"container","Action":"die","Actor":{"ID":"50c3","Attributes":{"containerExitCode":"3","exitCode":"3","image":"docker.io/library/box:1","name":"b03","podId":""}},"scope":"local","time":1795772330,"timeNano":1795772330249011539}"#;

fn told(second: i64, id: &str, what: What, attributes: &[(&str, &str)]) -> Told {
    let named = [("name", id), ("image", "box")];
    let attributes = named.iter().chain(attributes).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Told { time: second * SECOND, container: id.to_owned(), what, attributes: attributes.collect() }
}

fn container(running: bool, started: i64, finished: i64, exit_code: i64) -> Container {
    let name = "looked-at".to_owned();
    let [started, finished] = [started, finished].map(|second| Some(second * SECOND).filter(|time| *time > 0));
    Container { name, running, started, finished, exit_code, ..Container::default() }
}

fn look(containers: &[(&str, Container)]) -> Look {
    let containers = containers.iter().map(|(id, container)| ((*id).to_owned(), container.clone()));
    Look { containers: containers.collect(), complete: true }
}

/// A tracker that has looked at an engine without containers.
fn settled() -> Tracker {
    let mut tracker = Tracker::new(SECOND);
    tracker.begin_look();
    assert_eq!(tracker.end_look(Engine::Docker, &look(&[])), []);
    tracker
}

fn words(drafts: &[Draft]) -> Vec<String> {
    let word = |draft: &Draft, key: &str| draft.fields.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
    drafts.iter().map(|draft| format!("{} {}", word(draft, "action"), word(draft, "conclusion"))).collect()
}

#[test]
fn lines_of_every_engine_are_read_and_those_of_no_concern_are_left_out() {
    for (line, engine, name) in [(DOCKER, Engine::Docker, "a3"), (PODMAN, Engine::Podman, "b03")] {
        let told = Told::read(line.as_bytes()).unwrap().unwrap();
        assert_eq!((&told.what, told.time % 10), (&What::Die, if name == "a3" { 6 } else { 9 }));
        let mut tracker = settled();
        let answer = Container { exit_code: 3, ..Container::default() };
        let draft = tracker.apply(engine, &told, Some(&answer)).remove(0);
        assert_eq!((&draft.fields["exit_code"], &draft.fields["name"]), (&json!(3), &json!(name)));
        assert_eq!(draft.delivery_id.unwrap(), format!("{}/die/{}", told.container, told.time));
        draft
            .fields
            .get("labels")
            .into_iter()
            .for_each(|labels| assert_eq!(*labels, json!({"com.docker.compose.project": "p"})));
    }
    let action = |action: &str| Told::read(DOCKER.replace("\"die\"", &format!("\"{action}\"")).as_bytes()).unwrap();
    assert_eq!(action("health_status: healthy").unwrap().what, What::Health("healthy".into()));
    assert_eq!(action("exec_create: /bin/sh -c test -e /ok"), None);
    assert_eq!(action("health_status"), None);
    assert_eq!(action("remove").unwrap().what, What::Destroy);
    assert_eq!(Told::read(DOCKER.replace("\"container\"", "\"network\"").as_bytes()), Ok(None));
    for bad in ["", "{}", "[1]", &DOCKER.replace("b5c0", "../x"), &DOCKER.replace("1795772045597958686", "0")] {
        Told::read(bad.as_bytes()).unwrap_err();
    }
}

#[test]
fn labels_are_bounded_and_say_what_was_left_out() {
    let many: Vec<_> = (0..2 * MAX_CONTAINER_LABELS).map(|n| format!("label{n:03}")).collect();
    let long = "é".repeat(MAX_CONTAINER_LABEL_BYTES);
    let mut attributes: Vec<_> = many.iter().map(|name| (name.as_str(), long.as_str())).collect();
    attributes.push((&long, "x"));
    let start = settled().apply(Engine::Docker, &told(2, "a", What::Start, &attributes), None).remove(0);
    let labels = start.fields["labels"].as_object().unwrap();
    assert_eq!(
        (labels.len(), &start.fields["labels_left_out"]),
        (MAX_CONTAINER_LABELS, &json!(MAX_CONTAINER_LABELS + 1))
    );
    assert!(labels.values().all(|value| value.as_str().unwrap().len() <= MAX_CONTAINER_LABEL_BYTES));
    start.check().unwrap();
}

#[test]
fn the_first_look_is_the_beginning_and_the_next_ones_find_what_was_missed() {
    let mut tracker = Tracker::new(100 * SECOND);
    tracker.begin_look();
    let there = [
        ("a", container(true, 50, 0, 0)),
        ("b", container(true, 60, 0, 0)),
        ("c", container(true, 70, 0, 0)),
        ("d", container(false, 10, 20, 9)),
    ];
    assert_eq!(tracker.end_look(Engine::Docker, &look(&there)), [], "nothing is news that was so before");
    tracker.begin_look();
    let now = [
        ("a", container(false, 50, 110, 3)),
        ("c", container(true, 120, 115, 0)),
        ("d", container(false, 10, 20, 9)),
        ("e", container(false, 130, 131, 0)),
        ("f", container(true, 140, 0, 0)),
    ];
    let found = tracker.end_look(Engine::Docker, &look(&now));
    let expected = ["die failure", "die unknown", "die unknown", "start -", "die success", "start -"];
    assert_eq!(words(&found), expected, "of a, b, c and c, e, f");
    assert!(found.iter().all(|draft| draft.fields["recovered"] == true));
    assert_eq!(found[0].fields["duration_ms"], 60_000);
    tracker.begin_look();
    assert_eq!(tracker.end_look(Engine::Docker, &look(&now)), [], "once");
    // What the engine tells late of an end that was found is not a second one.
    let late = told(131, "e", What::Die, &[("exitCode", "0")]);
    assert!(!tracker.must_ask(Engine::Docker, &late));
    assert_eq!(tracker.apply(Engine::Docker, &late, None), []);
    assert_eq!(tracker.apply(Engine::Docker, &told(140, "f", What::Start, &[]), None), []);
}

#[test]
fn what_the_engine_tells_during_a_look_is_believed_and_the_look_is_not() {
    let mut tracker = settled();
    tracker.apply(Engine::Docker, &told(2, "a", What::Start, &[]), None);
    tracker.begin_look();
    let end = told(3, "a", What::Die, &[("exitCode", "0")]);
    assert_eq!(words(&tracker.apply(Engine::Docker, &end, None)), ["die success"]);
    assert_eq!(words(&tracker.apply(Engine::Docker, &told(4, "b", What::Start, &[]), None)), ["start -"]);
    // The look was answered in between.
    let before = [("a", container(true, 2, 0, 0)), ("b", container(false, 0, 0, 0))];
    assert_eq!(tracker.end_look(Engine::Docker, &look(&before)), []);
    // A look that came to no end leaves its doubt to the next one.
    tracker.begin_look();
    tracker.apply(Engine::Docker, &told(9, "c", What::Start, &[]), None);
    tracker.begin_look();
    let found = [("b", container(true, 4, 0, 0)), ("c", container(true, 9, 0, 0)), ("d", container(false, 5, 6, 1))];
    assert_eq!(words(&tracker.end_look(Engine::Docker, &look(&found))), ["die failure"], "of d, from before 9");
}

#[test]
fn a_look_that_is_not_complete_takes_nobody_for_gone() {
    let mut tracker = settled();
    tracker.apply(Engine::Docker, &told(2, "a", What::Start, &[]), None);
    tracker.begin_look();
    assert_eq!(tracker.end_look(Engine::Docker, &Look { complete: false, ..Look::default() }), []);
    tracker.begin_look();
    assert_eq!(words(&tracker.end_look(Engine::Docker, &look(&[]))), ["die unknown"]);
}

#[test]
fn containers_that_are_remembered_are_bounded_and_beyond_that_ends_are_told_all_the_same() {
    let mut tracker = settled();
    for n in 0..=MAX_WATCHED_CONTAINERS {
        tracker.apply(Engine::Docker, &told(2, &format!("{n:x}"), What::Start, &[]), None);
    }
    assert!(serde_json::to_string(&tracker).unwrap().len() < 200 * MAX_WATCHED_CONTAINERS);
    let last = format!("{MAX_WATCHED_CONTAINERS:x}");
    let end = told(9, &last, What::Die, &[("exitCode", "0")]);
    assert!(tracker.must_ask(Engine::Docker, &end), "of its labels nothing is known");
    assert_eq!(words(&tracker.apply(Engine::Docker, &end, None)), ["die unknown"]);
    let (answer, again) = (container(false, 9, 10, 4), told(10, &last, What::Die, &[("exitCode", "0")]));
    assert_eq!(words(&tracker.apply(Engine::Docker, &again, Some(&answer))), ["die failure"]);
}

#[test]
fn a_signal_that_podman_does_not_name_counts_if_the_container_obeyed_one() {
    for (code, expected) in
        [("137", "die cancelled"), ("143", "die cancelled"), ("0", "die success"), ("1", "die failure")]
    {
        let mut tracker = settled();
        tracker.apply(Engine::Podman, &told(2, "a", What::Start, &[]), None);
        tracker.apply(Engine::Podman, &told(3, "a", What::Kill, &[]), None);
        let end = told(4, "a", What::Die, &[("exitCode", code)]);
        assert_eq!(words(&tracker.apply(Engine::Podman, &end, None)), [expected]);
    }
}

/// One container and what can be told of it.
fn history() -> impl Strategy<Value = Vec<Told>> {
    let what = prop::sample::select(vec![
        What::Start,
        What::Die,
        What::Kill,
        What::Oom,
        What::Restart,
        What::Pause,
        What::Destroy,
    ]);
    let one = (what, prop::sample::select(vec!["a", "b"]), prop::sample::select(vec!["0", "3", "137"]), 0..3_i64);
    prop::collection::vec(one, 0..20).prop_map(|all| {
        let mut second = 2;
        let tell = |(what, id, code, pause)| {
            second += pause;
            let attributes: &[_] = match what {
                What::Die => &[("exitCode", code)],
                What::Kill => &[("signal", "15")],
                _ => &[],
            };
            let mut told = told(second, id, what, attributes);
            // No two events have the same time.
            told.time += i64::from(code.len() == 1) + second % 7;
            told
        };
        all.into_iter().map(tell).collect()
    })
}

proptest! {
    /// A source that is killed anywhere begins again with its last committed position, and the engine tells again from
    /// then on: every event comes once, with the verdict that it would have had.
    #[test]
    fn whatever_is_told_again_after_a_kill_has_the_same_key_and_the_same_verdict(
        history in history(), killed in 0..20_usize,
    ) {
        let apply = |tracker: &mut Tracker, told: &Told| tracker.apply(Engine::Podman, told, None);
        let keyed = |drafts: Vec<Draft>| drafts.into_iter().map(|draft| (draft.delivery_id.clone().unwrap(), draft));
        let mut tracker = settled();
        let mut whole = BTreeMap::new();
        for told in &history {
            keyed(apply(&mut tracker, told)).for_each(|(key, draft)| { whole.entry(key).or_insert(draft); });
        }
        let mut tracker = settled();
        let mut position = serde_json::to_string(&tracker).unwrap();
        let mut parts = BTreeMap::new();
        for told in history.iter().take(killed) {
            let drafts = apply(&mut tracker, told);
            if !drafts.is_empty() {
                position = serde_json::to_string(&tracker).unwrap();
            }
            keyed(drafts).for_each(|(key, draft)| { parts.entry(key).or_insert(draft); });
        }
        let mut tracker: Tracker = serde_json::from_str(&position).unwrap();
        let resume_at = tracker.resume_at();
        for told in history.iter().filter(|told| told.time >= resume_at) {
            keyed(apply(&mut tracker, told)).for_each(|(key, draft)| { parts.entry(key).or_insert(draft); });
        }
        prop_assert_eq!(parts, whole);
    }
}
