//! The driver between a feed and a question: what it takes for an answer, and what it reads from the log.

use std::time::{Duration, Instant};

use serde_json::json;
use waitbus::client::{News, Options, Publisher, Waiter};
use waitbus::config::directories::Directories;
use waitbus::model::clause::Clause;
use waitbus::model::event::{Draft, ingest_method};
use waitbus::model::frame::{GapReason, Subscribe};
use waitbus::model::limits::GRACE;
use waitbus::waiting::Ending;
use waitbus::waiting::all_of::AllOf;
use waitbus::waiting::matches::Plain;
use waitbus::waiting::quiet::Quiet;

use crate::harness::{Bus, PATIENCE};

fn directories(bus: &Bus) -> Directories {
    Directories { runtime: bus.runtime(), state: bus.state(), config: bus.root().join("config") }
}

fn quiet(duration: Duration) -> Box<Quiet> {
    let subscribe = Subscribe { alternatives: vec![vec!["source=a".to_owned()]], ..Subscribe::default() };
    let plain = Plain { subscribe, sources: vec!["a".to_owned()], typed: "--source a".to_owned() };
    Box::new(Quiet::new(plain, duration))
}

fn draft(fields: &serde_json::Value, payload: Option<&str>) -> Draft {
    Draft {
        source: "a".to_owned(),
        event_type: "t".to_owned(),
        ingest_method: ingest_method::EMIT,
        fields: fields.as_object().unwrap().clone(),
        payload: payload.map(str::to_owned),
        ..Draft::default()
    }
}

/// How long `next` may take without an answer before there is none.
const WHILE: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_silence_is_told_only_when_the_log_is_silent_too() {
    // A hub that is away, or slow, is no silence: the event is in the log, and the time of the question has run out.
    let bus = Bus::new();
    let hub = bus.hub();
    let mut publisher = Publisher::open(&directories(&bus)).unwrap();
    let options = Options { grace: GRACE };
    let mut waiter = Waiter::open(&directories(&bus), quiet(WHILE / 10), None, options).await.unwrap();
    hub.signal("STOP");
    publisher.publish(&draft(&json!({}), None)).unwrap();
    assert!(tokio::time::timeout(WHILE, waiter.next()).await.is_err(), "the hub owes it an event");
    hub.signal("CONT");
    let Ok(News::Ends(Ending { shown, .. })) = waiter.next().await else { panic!("it is quiet now") };
    assert_eq!(shown[0].json["matched"], 1);
    // And where the log is silent, the hub need not be there.
    let mut waiter = Waiter::open(&directories(&bus), quiet(WHILE / 10), None, options).await.unwrap();
    hub.signal("STOP");
    let silent = tokio::time::timeout(PATIENCE, waiter.next()).await.unwrap();
    assert!(matches!(silent, Ok(News::Ends(_))), "{silent:?}");
    hub.signal("CONT");
}

#[tokio::test]
async fn a_silence_begins_when_the_wait_is_attached() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut publisher = Publisher::open(&directories(&bus)).unwrap();
    publisher.publish(&draft(&json!({}), None)).unwrap();
    let start = Instant::now();
    let since = Some(waitbus::model::id::EventId::ZERO);
    let mut waiter = Waiter::open(&directories(&bus), quiet(WHILE), since, Options { grace: GRACE }).await.unwrap();
    let Ok(News::Ends(Ending { shown, .. })) = waiter.next().await else { panic!("it is quiet") };
    assert_eq!(shown[0].json["matched"], 1, "the past is read, too");
    assert!(start.elapsed() >= WHILE, "never too early");
}

#[test]
fn what_was_committed_while_the_hub_was_away_is_judged_as_a_whole() {
    // Told one after the other, the success would have been an answer, and the failure that is in the log already not.
    let bus = Bus::new();
    let mut hub = bus.hub();
    let mut wait = bus.wait(&["--all-of", "a:conclusion=success", "--none-of", "b:event_type?"]);
    let elsewhere = bus.root().join("elsewhere");
    std::fs::rename(bus.runtime(), &elsewhere).unwrap();
    std::fs::write(bus.runtime(), "so that nobody starts another one").unwrap();
    hub.kill();
    for (source, conclusion) in [("a", "success"), ("a", "failure"), ("b", "success")] {
        bus.ok(&["emit", "--source", source, "--type", "t", "--conclusion", conclusion]);
    }
    std::fs::remove_file(bus.runtime()).unwrap();
    std::fs::rename(&elsewhere, bus.runtime()).unwrap();
    let (code, out, _) = wait.ending();
    assert_eq!((code, &*out), (Some(1), "b:event_type?: b t: success"));
}

/// The cursor in the last line was that of the last clause as they were typed, and who went on from there was told of an
/// event that had answered already.
#[test]
fn each_line_of_an_answer_says_from_where_another_wait_goes_on() {
    let bus = Bus::new();
    let mark = bus.ok(&["mark"]);
    bus.emit("b", 1);
    let last = bus.emit("a", 1);
    let asked = ["--all-of", "a:n=1", "--all-of", "b:n=1", "--after", &mark];
    for more in [&["--json"][..], &["--json", "--sticky"]] {
        let said = bus.ok(&[&["wait"], &asked[..], more].concat());
        let lines: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line["cursor"] == *last), "{said}");
    }
}

#[test]
fn a_clause_may_ask_for_what_does_not_travel() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut publisher = Publisher::open(&directories(&bus)).unwrap();
    let mut payload = bus.wait(&["--all-of", "a:payload.jobs.0=unit", "--all-of", "a[payload.n>1]:x=1"]);
    // Of these fields the frame has room for the first only.
    let mut large = bus.wait(&["--first-of", "a:zzz=1", "--json"]);
    publisher.publish(&draft(&json!({"x": 1}), Some(r#"{"jobs": ["unit"], "n": 1}"#))).unwrap();
    publisher.publish(&draft(&json!({"x": 1}), Some(r#"{"jobs": ["unit"], "n": 2}"#))).unwrap();
    let (code, out, err) = payload.ending();
    assert_eq!((code, out.lines().count(), &*err), (Some(0), 2, ""), "{out}");
    publisher.publish(&draft(&json!({"aaa": "x".repeat(60_000), "bbb": "x".repeat(60_000), "zzz": 1}), None)).unwrap();
    let event: serde_json::Value = serde_json::from_str(&large.line()).unwrap();
    assert_eq!((&event["kind"], &event["fields"]["zzz"]), (&json!("event"), &json!(1)));
    assert_eq!(large.code(), 0);
}

#[test]
fn waits_chain_by_the_cursor_that_each_prints() {
    let bus = Bus::new();
    let _hub = bus.hub();
    for n in 0..4 {
        bus.emit(["a", "b"][n % 2], n as u64);
    }
    let mut after = "0".repeat(26);
    let mut seen = Vec::new();
    for arguments in [&["--first-of", "a:n?"][..], &["--source", "b"], &["--all-of", "a:n?", "--sticky"]] {
        let line = bus.ok(&[&["wait", "--json", "--after", &after], arguments].concat());
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        event["cursor"].as_str().unwrap().clone_into(&mut after);
        seen.push(event["fields"]["n"].as_u64().unwrap());
    }
    assert_eq!(seen, [0, 1, 2]);
    let quiet = bus.ok(&["wait", "--json", "--after", &after, "--source", "b", "--quiet-for", "20ms"]);
    let quiet: serde_json::Value = serde_json::from_str(&quiet).unwrap();
    assert_eq!((&quiet["kind"], &quiet["matched"]), (&json!("quiet"), &json!(1)));
    assert_eq!(quiet["cursor"], bus.ok(&["mark"]));
}

/// What was pruned before it could be read was called unreadable, as if the log were damaged.
#[tokio::test]
async fn what_is_pruned_between_its_frame_and_its_payload_is_missing_because_it_was_pruned() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut witness = bus.subscribe(&json!({"match": "source=a"}));
    let mut publisher = Publisher::open(&directories(&bus)).unwrap();
    let clause = Clause::parse("a:payload.x=1").unwrap();
    let question = Box::new(AllOf::new(vec![clause], Vec::new(), false));
    let mut waiter = Waiter::open(&directories(&bus), question, None, Options { grace: GRACE }).await.unwrap();
    publisher.publish(&draft(&json!({}), Some(r#"{"x": 1}"#))).unwrap();
    assert_eq!(witness.frame()["kind"], "event", "the hub has read it");
    bus.ok(&["prune", "--keep-rows", "0"]);
    let Ok(News::Gap(gap)) = waiter.next().await else { panic!("it cannot be judged") };
    assert_eq!((gap.reason, gap.missed), (GapReason::Pruned, Some(1)));
}
