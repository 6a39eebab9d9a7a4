//! `wait` and `tail` as a person at two terminals meets them.

use serde_json::Value;

use crate::harness::{Bus, deliver, payload};

#[test]
fn a_signed_webhook_wakes_the_wait_of_the_first_example() {
    let bus = Bus::new();
    let (_serve, address) = bus.serve();
    let mut wait = bus.wait(&["--source", "github", "--match", "conclusion=success", "--json"]);
    let answer = deliver(address, "workflow_run", "d1", &payload("workflow_run.completed.payload.json"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let event: Value = serde_json::from_str(&wait.line()).unwrap();
    assert_eq!(event["event_id"], answer.json()["event_id"]);
    assert_eq!(event["cursor"], event["event_id"]);
    assert_eq!(event["fields"]["conclusion"], "success");
    assert_eq!(wait.code(), 0);
}

#[test]
fn the_first_wait_starts_a_hub_that_outlives_it() {
    let bus = Bus::new();
    let mut wait = bus.wait(&["--source", "deploy"]);
    let id = bus.emit("deploy", 1);
    assert_eq!(wait.line(), "deploy finished");
    assert_eq!(wait.code(), 0);
    assert!(bus.ok(&["status"]).starts_with("hub: running"), "{}", bus.ok(&["status"]));
    assert_eq!(bus.ok(&["mark"]), id);
}
