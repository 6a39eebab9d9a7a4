//! `wait_for_event`: every way to end, and what the next call makes of it.

use serde_json::{Value, json};

use super::{Client, STATELESS, fields, in_both_lifecycles, inside, subscribers};
use crate::harness::{Bus, deliver, lock_holder, payload, works};

const SHA: &str = "9db2a74ae7ac4b0f5ee9a3b0a4cc1c4a0b7f2b0a";

#[test]
fn what_is_waited_for_is_told_with_a_cursor_and_requests_are_served_meanwhile() {
    in_both_lifecycles(&[], |bus, client| {
        let after = client.mark();
        let asked = json!({"source": "deploy", "match": ["n=2"], "where": "fields.n > 1", "after": after});
        let wait = client.begin("wait_for_event", asked);
        bus.emit("deploy", 1);
        client.mark();
        let id = bus.emit("deploy", 2);
        let told = client.result(wait);
        assert_eq!(told["status"], "matched");
        assert_eq!((&told["cursor"], &told["event"]["event_id"]), (&json!(id), &json!(id)));
        assert_eq!((&told["event"]["source"], &told["event"]["event_type"]), (&json!("deploy"), &json!("finished")));
        assert_eq!(fields(&told["event"])["n"], 2);
        assert_eq!(told.get("verdict"), None, "it was not asked for one");
    });
}

#[test]
fn several_waits_on_one_connection_are_answered_each_by_its_own() {
    in_both_lifecycles(&[], |bus, client| {
        let after = client.mark();
        let asked = |source: &str| json!({"source": [source], "after": after});
        let waits = ["a", "b", "c"].map(|source| client.begin("wait_for_event", asked(source)));
        let both = client.begin("wait_for_event", json!({"first_of": ["a:n=1", "c:n=1"], "after": after}));
        for source in ["c", "b", "a"] {
            bus.emit(source, 1);
        }
        for (source, wait) in ["a", "b", "c"].into_iter().zip(waits) {
            assert_eq!(client.result(wait)["event"]["source"], source);
        }
        let told = client.result(both);
        assert_eq!((&told["event"]["clause"], &told["event"]["source"]), (&json!("c:n=1"), &json!("c")));
    });
}

/// The cursor of a pending wait was that of its call, and what had come while the hub was away was told twice or never.
#[test]
fn a_pending_wait_goes_on_without_a_gap_across_the_death_of_the_hub() {
    in_both_lifecycles(&[], |bus, client| {
        let mut after = client.mark();
        let mut seen = Vec::new();
        for round in 0..3 {
            let told = client.call("wait_for_event", json!({"source": "t", "after": after, "max_wait_seconds": 0}));
            assert_eq!(told["status"], "pending", "{told}");
            after = told["cursor"].as_str().unwrap().to_owned();
            let hub = lock_holder(&bus.runtime().join("hub.lock")).unwrap();
            assert!(works(&["kill", "-KILL", &hub.to_string()]));
            bus.emit_batch("t", 2 * round..2 * round + 2);
            for _ in 0..2 {
                let told = client.call("wait_for_event", json!({"source": "t", "after": after}));
                seen.push(fields(&told["event"])["n"].as_u64().unwrap());
                after = told["cursor"].as_str().unwrap().to_owned();
            }
        }
        assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
    });
}

/// A wait for two things had one of them when its time was up; the next call began after it and waited for ever.
#[test]
fn a_pending_wait_for_several_things_remembers_those_that_have_come() {
    let bus = Bus::new();
    let mut client = Client::new(&bus);
    for asked in ["all_of", "then"] {
        let clauses = json!(["a:n=1", "b:n=1"]);
        let after = client.mark();
        bus.emit("a", 1);
        let told = client.call("wait_for_event", json!({asked: clauses, "after": after, "max_wait_seconds": 0}));
        assert_eq!(told["status"], "pending", "{told}");
        assert_eq!(inside(&told["outstanding"]), json!(["b:n=1"]));
        let wait = client.begin("wait_for_event", json!({asked: clauses, "after": told["cursor"]}));
        bus.emit("b", 1);
        let told = client.result(wait);
        assert_eq!(told["status"], "matched");
        let sources: Vec<_> = told["events"].as_array().unwrap().iter().map(|event| &event["source"]).collect();
        assert_eq!(sources, ["a", "b"], "{asked}");
    }
}

#[test]
fn what_is_in_the_log_answers_a_wait_that_takes_no_time() {
    in_both_lifecycles(&[], |bus, client| {
        bus.emit_batch("t", 0..600);
        let told = client.call("wait_for_event", json!({"match": "n=599", "since": "1h", "max_wait_seconds": 0}));
        assert_eq!(told["status"], "matched", "{told}");
    });
}

#[test]
fn what_must_not_happen_ends_the_wait_with_its_word() {
    let bus = Bus::new();
    let mut client = Client::new(&bus);
    let after = client.mark();
    let wait = client.begin("wait_for_event", json!({"source": "a", "none_of": ["b:n=1"], "after": after}));
    bus.emit("b", 1);
    let told = client.result(wait);
    assert_eq!((&told["status"], &told["verdict"]), (&json!("matched"), &json!("none_of")));
    assert_eq!(told["event"]["source"], "b");
}

#[test]
fn a_source_that_has_died_is_an_answer_and_no_error() {
    in_both_lifecycles(&[], |bus, client| {
        let _hub = bus.hub();
        let mut watcher = bus.subscribe(&json!({"match": "source=docker"}));
        drop(bus.subscribe(&json!({
            "match": ["source=docker", "event_id=null"],
            "announce": {"source": "docker", "detail": {"start": "waitbus source <docker>"}},
        })));
        while watcher.frame()["state"] != "dead" {}
        let told = client.call("wait_for_event", json!({"source": "docker"}));
        assert_eq!(told["status"], "source_failed", "{told}");
        assert_eq!(told["failed_source"], "docker");
        assert_eq!(inside(&told["failed_source_detail"])["start"], "waitbus source <docker>");
        assert_eq!(told["cursor"], "0".repeat(26));
    });
}

#[test]
fn a_gap_is_an_answer_and_says_where_to_go_on() {
    let bus = Bus::new();
    let mut client = Client::new(&bus);
    let first = bus.emit("t", 1);
    bus.emit_batch("t", 2..50);
    bus.ok(&["prune", "--keep-rows", "5"]);
    let told = client.call("wait_for_event", json!({"match": "n=0", "after": first, "max_wait_seconds": 1}));
    assert_eq!((&told["status"], &told["gap"]["reason"]), (&json!("gap"), &json!("pruned")), "{told}");
    let told = client.call("wait_for_event", json!({"match": "n=45", "after": told["cursor"]}));
    assert_eq!(told["status"], "matched", "{told}");
    let told = client.call("list_events", json!({"after": first}));
    assert_eq!(told["gap"]["reason"], "pruned", "{told}");
    assert_eq!(told["events"].as_array().unwrap().len(), 5);
}

#[test]
fn a_cancelled_wait_ends_at_once_and_says_nothing_more() {
    for revision in ["2025-11-25", STATELESS] {
        let bus = Bus::new();
        let _hub = bus.hub();
        let mut client = Client::start(&bus, revision, &[]);
        let wait = client.begin("wait_for_event", json!({"source": "t"}));
        subscribers(&bus, 1);
        client.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": wait}}));
        subscribers(&bus, 0);
        bus.emit("t", 1);
        assert_eq!(client.unread(), Vec::<Value>::new());
    }
}

/// Reading messages took as long and told nothing of it, so clients that count from the last word gave up on it.
#[test]
fn progress_is_told_to_those_who_want_it() {
    let bus = Bus::new();
    let calls = [
        ("wait_for_event", json!({"source": "nobody", "max_wait_seconds": 16})),
        ("read_messages", json!({"as": "nobody", "max_wait_seconds": 16})),
    ];
    let mut begun = Vec::new();
    for revision in ["2025-11-25", STATELESS] {
        for (tool, asked) in &calls {
            let mut client = Client::start(&bus, revision, &[]);
            let call = json!({"name": tool, "arguments": asked, "_meta": {"progressToken": revision}});
            let with = client.request("tools/call", call);
            let without = client.begin(tool, asked.clone());
            begun.push((client, revision, with, without));
        }
    }
    for (mut client, revision, with, without) in begun {
        let told = client.notification("notifications/progress");
        assert_eq!(told["progressToken"], revision);
        assert_eq!(told["total"], 16.0);
        assert!(told["progress"].as_f64().unwrap() >= 15.0, "{told}");
        assert_eq!(client.result(with)["status"], "pending");
        assert_eq!(client.result(without)["status"], "pending");
        assert_eq!(client.unread(), Vec::<Value>::new());
    }
}

#[test]
fn the_verdict_on_a_commit_is_told_and_waited_for() {
    let bus = Bus::new();
    let (_serve, address) = bus.serve();
    let mut client = Client::new(&bus);
    let run: Value = serde_json::from_slice(&payload("workflow_run.completed.payload.json")).unwrap();
    let mut open = run.clone();
    open["action"] = json!("in_progress");
    open["workflow_run"]["status"] = json!("in_progress");
    open["workflow_run"]["conclusion"] = Value::Null;
    let mut failed = run.clone();
    failed["workflow_run"]["conclusion"] = json!("failure");
    for value in [&mut open, &mut failed] {
        value["workflow_run"]["head_sha"] = json!(SHA);
    }
    deliver(address, "workflow_run", "1", open.to_string().as_bytes());

    let known = client.call("ci_status", json!({"sha": &SHA[..9]}));
    assert_eq!((&known["sha"], &known["verdict"], &known["runs"]), (&json!(SHA), &Value::Null, &json!(1)));
    assert_eq!(inside(&known["report"])["runs"][0]["status"], "in_progress");
    let repo = run["repository"]["full_name"].as_str().unwrap();
    assert_eq!(client.call("ci_status", json!({"repo": repo}))["sha"], SHA);

    let pending = client.call("wait_for_event", json!({"sha": SHA, "max_wait_seconds": 0}));
    assert_eq!(pending["status"], "pending", "{pending}");
    assert!(inside(&pending["outstanding"])[0].as_str().unwrap().contains("in_progress"));
    let wait = client.begin("wait_for_event", json!({"sha": SHA, "after": pending["cursor"]}));
    deliver(address, "workflow_run", "2", failed.to_string().as_bytes());
    let told = client.result(wait);
    assert_eq!((&told["status"], &told["verdict"]), (&json!("matched"), &json!("failure")), "{told}");
    assert_eq!(inside(&told["report"])["runs"][0]["conclusion"], "failure");

    let known = client.call("ci_status", json!({"repo": repo, "branch": run["workflow_run"]["head_branch"]}));
    assert_eq!((&known["verdict"], &known["failing"]), (&json!("failure"), &json!(1)), "{known}");
    assert!(client.refusal("ci_status", json!({})).starts_with("of what?"));
    assert!(client.refusal("ci_status", json!({"pr_number": 1})).starts_with("pr_number: goes with repo"));
    assert!(client.refusal("ci_status", json!({"repo": "no/body"})).contains("no commit of no/body"));
}
