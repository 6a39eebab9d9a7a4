//! `wait_for_event`, asked again and again: short calls answer what one long wait would have answered.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{Client, inside, subscribers};
use crate::harness::Bus;

const SHA: &str = "9db2a74ae7ac4b0f5ee9a3b0a4cc1c4a0b7f2b0a";

fn insert(bus: &Bus, columns_and_values: &str) {
    let log = rusqlite::Connection::open(bus.database()).unwrap();
    log.execute_batch(&format!("INSERT INTO events {columns_and_values}")).unwrap();
}

/// A run of the commit that ended well, as another program writes it.
fn insert_run(bus: &Bus, received_at: u128) {
    let fields =
        json!({"head_sha": SHA, "run_id": 1, "workflow_name": "ci", "status": "completed", "conclusion": "success"});
    let row = format!("('github', 'workflow_run', 'octo', 'a', {received_at}, '{fields}')");
    insert(bus, &format!("(source, event_type, owner, repo, received_at, fields) VALUES {row}"));
}

/// An event that was somebody else's moved the cursor of a pending wait, and with it the time before which nothing is
/// news. What GitHub told late of a run that had ended in between was skipped by the next call and by all after it.
#[test]
fn what_is_told_late_counts_in_the_next_call_as_it_would_in_one_long_wait() {
    for (flags, asked) in [
        (&["--repo", "octo/a"][..], json!({"source": "github", "match": "conclusion~.*"})),
        (&[], json!({"source": "github", "where": "fields.n == 2", "none_of": ["x:y=1"]})),
    ] {
        let bus = Bus::new();
        let mut client = Client::start(&bus, "2025-11-25", flags);
        let tell = |repo: &str, n: &str, more: &[&str]| {
            let told = [
                "emit",
                "--source",
                "github",
                "--type",
                "workflow_run",
                "--repo",
                repo,
                "--field",
                n,
                "--conclusion",
                "failure",
            ];
            bus.ok(&[&told, more].concat())
        };
        let begin = tell("octo/a", "n=0", &[]);
        let began = client.call("get_event", json!({"event_id": begin}))["event"]["received_at"].as_i64().unwrap();
        let call = |client: &mut Client, after: &Value| {
            let mut asked = asked.clone();
            (asked["after"], asked["max_wait_seconds"]) = (after.clone(), json!(0));
            client.call("wait_for_event", asked)
        };
        tell("octo/other", "n=1", &[]);
        let pending = call(&mut client, &json!(begin));
        assert_eq!(pending["status"], "pending", "{pending}");
        // As old as may be for who began there, and older than may be for who begins after the other event.
        let late = tell("octo/a", "n=2", &["--field", &format!("happened_at={}", began - 5_000_000_000)]);
        let told = call(&mut client, &pending["cursor"]);
        assert_eq!((&told["status"], &told["event"]["event_id"]), (&json!("matched"), &json!(late)), "{asked}: {told}");
        assert_eq!(call(&mut client, &json!(begin))["status"], "matched", "as the long wait");
    }
}

/// The cursor of a pending wait was the place from which it had begun, and when that was pruned meanwhile the next call
/// ended with a gap, although the first had seen everything that is gone.
#[test]
fn a_pending_wait_does_not_go_back_over_a_prune_that_it_has_seen() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut client = Client::new(&bus);
    let begin = bus.emit("t", 0);
    let wait = client.begin("wait_for_event", json!({"source": "u", "after": begin, "max_wait_seconds": 2}));
    subscribers(&bus, 1);
    bus.emit_batch("t", 1..50);
    bus.ok(&["prune", "--keep-rows", "5"]);
    let mut told = client.result(wait);
    for _ in 0..2 {
        assert_eq!(told["status"], "pending", "{told}");
        let asked = json!({"source": "u", "after": told["cursor"], "max_wait_seconds": 0});
        told = client.call("wait_for_event", asked);
    }
    assert_eq!(told["status"], "pending", "{told}");
}

/// What a replay brought was dated by when it was read: a commit that had ended long ago settled anew in each call, and
/// never within one that was shorter than the settle time.
#[test]
fn a_commit_that_has_settled_answers_calls_after_a_place_that_are_shorter_than_that() {
    let bus = Bus::new();
    let mut client = Client::new(&bus);
    let after = bus.emit("t", 1);
    let asked = json!({"sha": SHA, "after": after, "max_wait_seconds": 0});
    insert_run(&bus, SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos());
    let pending = client.call("wait_for_event", asked.clone());
    assert_eq!((&pending["status"], &pending["cursor"]), (&json!("pending"), &json!(after)), "{pending}");
    let log = rusqlite::Connection::open(bus.database()).unwrap();
    log.execute("UPDATE events SET received_at = received_at - 11000000000 WHERE source = 'github'", []).unwrap();
    let told = client.call("wait_for_event", asked);
    assert_eq!((&told["status"], &told["verdict"]), (&json!("matched"), &json!("success")), "{told}");
    let told = client.call("wait_for_event", json!({"sha": SHA, "after": told["cursor"], "max_wait_seconds": 0}));
    assert_eq!(told["status"], "pending", "what came before does not count: {told}");
}

/// The cursor of a wait for a commit that had no place to begin was the beginning of the log, which is another one after
/// each prune: the next call ended with a gap that the first would not have found.
#[test]
fn a_pending_wait_for_a_commit_survives_a_prune() {
    let bus = Bus::new();
    let mut client = Client::new(&bus);
    bus.emit_batch("t", 0..20);
    bus.ok(&["prune", "--keep-rows", "10"]);
    let told = client.call("wait_for_event", json!({"sha": SHA, "max_wait_seconds": 0}));
    assert_eq!(told["status"], "pending", "{told}");
    insert_run(&bus, 1);
    bus.ok(&["prune", "--keep-rows", "5"]);
    let told = client.call("wait_for_event", json!({"sha": SHA, "after": told["cursor"], "max_wait_seconds": 0}));
    assert_eq!(told["status"], "matched", "{told}");
}

#[test]
fn a_wait_for_a_commit_tells_what_is_missing_after_its_place() {
    let bus = Bus::new();
    let mut client = Client::new(&bus);
    let first = bus.emit("t", 0);
    bus.emit_batch("t", 1..20);
    insert_run(&bus, 1);
    bus.ok(&["prune", "--keep-rows", "5"]);
    let mut asked = json!({"sha": SHA, "after": first, "max_wait_seconds": 0});
    let told = client.call("wait_for_event", asked.clone());
    assert_eq!((&told["status"], &told["gap"]["reason"]), (&json!("gap"), &json!("pruned")), "{told}");
    asked["allow_gap"] = json!(true);
    let told = client.call("wait_for_event", asked);
    assert_eq!((&told["status"], &told["gaps"][0]["reason"]), (&json!("matched"), &json!("pruned")), "{told}");

    insert(&bus, &format!("(source, event_type, fields) VALUES ('github', 'x', '{{\"head_sha\":\"{SHA}\"')"));
    let mut asked = json!({"sha": SHA, "max_wait_seconds": 0});
    let told = client.call("wait_for_event", asked.clone());
    assert_eq!((&told["status"], &told["gap"]["reason"]), (&json!("gap"), &json!("unreadable_row")), "{told}");
    asked["allow_gap"] = json!(true);
    assert_eq!(client.call("wait_for_event", asked)["status"], "matched");
}

/// The cursor was that of the last clause as they were typed, so an event that came after it answered once more.
#[test]
fn a_wait_after_an_answer_does_not_count_what_has_answered() {
    let bus = Bus::new();
    let mut client = Client::new(&bus);
    let after = client.mark();
    bus.emit("b", 1);
    let last = bus.emit("a", 1);
    let told = client.call("wait_for_event", json!({"all_of": ["a:n=1", "b:n=1"], "after": after}));
    assert_eq!((&told["status"], &told["cursor"]), (&json!("matched"), &json!(last)), "{told}");
    let asked = json!({"source": "a", "after": told["cursor"], "max_wait_seconds": 0});
    assert_eq!(client.call("wait_for_event", asked)["status"], "pending");
}

/// A question about several events that lay on both sides of a row that cannot be read had no answer: it ended at the
/// row, and what came before did not count when it was asked again from behind.
#[test]
fn a_question_that_allows_gaps_is_answered_past_them_and_tells_of_them() {
    let bus = Bus::new();
    let mut client = Client::new(&bus);
    let after = bus.emit("t", 1);
    bus.emit("a", 1);
    insert(&bus, "(source, event_type, fields) VALUES ('b', 'x', CAST(x'7b22ff' AS TEXT))");
    bus.emit("b", 1);
    let mut asked = json!({"all_of": ["b:n=1", "a:n=1"], "after": after, "max_wait_seconds": 0});
    let told = client.call("wait_for_event", asked.clone());
    assert_eq!((&told["status"], &told["gap"]["reason"]), (&json!("gap"), &json!("unreadable_row")), "{told}");
    asked["allow_gap"] = json!(true);
    let told = client.call("wait_for_event", asked.clone());
    assert_eq!(told["status"], "matched", "{told}");
    assert_eq!((&told["gaps"][0]["reason"], &told["gaps"][0]["missed"]), (&json!("unreadable_row"), &json!(1)));
    assert_eq!(told.get("gap"), None, "it is no end");
    asked["all_of"] = json!(["b:n=1", "c:n=1"]);
    let told = client.call("wait_for_event", asked);
    assert_eq!((&told["status"], &told["gaps"].as_array().unwrap().len()), (&json!("pending"), &1), "{told}");
    assert_eq!(inside(&told["outstanding"]), json!(["c:n=1"]));
    assert!(
        client.refusal("wait_for_event", json!({"source": "a", "allow_gap": "yes"})).starts_with("allow_gap: must")
    );
}

/// However many places cannot be read, what is told of them has an end.
#[test]
fn of_many_gaps_the_first_are_told_and_the_rest_are_counted() {
    let bus = Bus::new();
    let mut client = Client::new(&bus);
    bus.emit("t", 1);
    let rows = vec!["('b', 'x', 'no JSON')"; 25].join(", ");
    insert(&bus, &format!("(source, event_type, fields) VALUES {rows}"));
    bus.emit("b", 1);
    let told = client.call("wait_for_event", json!({"match": "n=1", "source": "b", "since": "1h", "allow_gap": true}));
    assert_eq!((&told["status"], told["gaps"].as_array().unwrap().len()), (&json!("matched"), 20), "{told}");
    assert!(inside(&told["notes"]).to_string().contains("5 more"), "{told}");
}

/// An agent that did what a pending wait says, and called again with the same arguments and the cursor, was refused.
#[test]
fn the_same_arguments_and_the_cursor_go_on_whatever_they_were() {
    let bus = Bus::new();
    let mut client = Client::new(&bus);
    bus.emit("t", 1);
    for tool in ["wait_for_event", "list_events"] {
        let mut asked = json!({"source": ["q"], "since": "1m"});
        if tool == "wait_for_event" {
            asked["max_wait_seconds"] = json!(0);
        }
        let told = client.call(tool, asked.clone());
        asked["after"] = told["cursor"].clone();
        client.call(tool, asked);
    }
    let asked = json!({"source": "t", "since": "1h", "after": client.mark(), "max_wait_seconds": 0});
    assert_eq!(client.call("wait_for_event", asked)["status"], "pending", "`after` is where it begins");
}
