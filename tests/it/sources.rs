//! Sources that announce themselves: alive while their connection is open, gone after a goodbye, dead without one, and
//! known to be so at once, in the right order, by those whom it concerns and by nobody else.

use std::os::unix::net::UnixListener;

use serde_json::{Value, json};
use waitbus::client::{Announced, Options};
use waitbus::config::directories::Directories;
use waitbus::model::limits::{GRACE, MAX_SOURCES};
use waitbus::model::source::Announcement;

use crate::harness::{Bus, Subscriber};

const BEGINNING: &str = "00000000000000000000000000";

/// A connection that is a source and wants no events.
fn announce(bus: &Bus, source: &str, detail: &Value) -> Subscriber {
    bus.subscribe(&json!({
        "match": [format!("source={source}"), "event_id=null"], "heartbeat": false,
        "announce": {"source": source, "detail": detail},
    }))
}

fn bye(mut source: Subscriber) {
    source.send(br#"{"kind":"bye"}"#);
}

#[track_caller]
fn state(subscriber: &mut Subscriber) -> (String, String) {
    let frame = subscriber.frame();
    assert_eq!(frame["kind"], "source_status", "{frame}");
    let text = |key: &str| frame[key].as_str().unwrap().to_owned();
    (text("source"), text("state"))
}

fn of(source: &str, state: &str) -> (String, String) {
    (source.to_owned(), state.to_owned())
}

#[test]
fn a_source_is_alive_gone_after_a_goodbye_and_dead_without_one() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut waiter = bus.subscribe(&json!({"match": "source=docker"}));
    let source = announce(&bus, "docker", &json!({"start": "waitbus source docker"}));
    assert_eq!(state(&mut waiter), of("docker", "alive"));
    assert!(bus.ok(&["status"]).contains("source docker: alive"));
    drop(source);
    let dead = waiter.frame();
    let golden = json!({"kind": "source_status", "source": "docker", "state": "dead",
                        "detail": {"start": "waitbus source docker"}});
    assert_eq!(dead, golden);
    let status = bus.ok(&["status"]);
    assert!(status.contains("dead") && status.contains("to have it back: waitbus source docker"), "{status}");
    let source = announce(&bus, "docker", &Value::Null);
    assert_eq!(state(&mut waiter), of("docker", "alive"), "it came back");
    bye(source);
    assert_eq!(state(&mut waiter), of("docker", "gone"));
    // A goodbye in the same packet as the announcement is heard as well.
    let mut hasty = Subscriber::connect(&bus.broadcast());
    hasty.send(json!({"match": "event_id=null", "announce": {"source": "docker"}}).to_string().as_bytes());
    bye(hasty);
    assert_eq!(state(&mut waiter), of("docker", "alive"));
    assert_eq!(state(&mut waiter), of("docker", "gone"));
}

/// A source commits, rings or does not get to, and dies. A waiter that heard of the death first would end with "the
/// source failed" although its answer was in the log.
#[test]
fn whoever_hears_that_a_source_is_dead_has_heard_everything_that_it_said() {
    use std::time::SystemTime;
    use waitbus::model::event::{Draft, ingest_method};
    use waitbus::store::{LogPaths, Writer};

    let bus = Bus::new();
    let _hub = bus.hub();
    let mut writer = Writer::open(&LogPaths::new(bus.state())).unwrap();
    let mut live = bus.subscribe(&json!({"match": "source=fs"}));
    for n in 0..20 {
        let source = announce(&bus, "fs", &json!({}));
        assert_eq!(state(&mut live), of("fs", "alive"));
        let draft = |n: u64| Draft {
            source: "fs".into(),
            event_type: "finished".into(),
            ingest_method: ingest_method::EMIT,
            fields: json!({"n": n}).as_object().cloned().unwrap(),
            ..Draft::default()
        };
        // More than a page, and nobody rings.
        let last = (0..300).map(|index| draft(300 * n + index)).collect::<Vec<_>>();
        writer.append_all(&last, SystemTime::now()).unwrap();
        drop(source);
        assert_eq!(live.numbers(300), (300 * n..300 * (n + 1)).collect::<Vec<_>>());
        assert_eq!(state(&mut live), of("fs", "dead"));
    }
    // One that comes later hears it after what it asked for.
    let mut late = bus.subscribe(&json!({"match": "source=fs", "since": BEGINNING}));
    assert_eq!(late.numbers(6_000).len(), 6_000);
    assert_eq!(state(&mut late), of("fs", "dead"));
    let mut from_now_on = bus.subscribe(&json!({"match": "source=fs"}));
    assert_eq!(state(&mut from_now_on), of("fs", "dead"), "right after the acknowledgement");
}

#[test]
fn only_those_whom_a_source_could_concern_hear_of_it() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut any = bus.subscribe(&json!({"match": "conclusion=success"}));
    let mut other = bus.subscribe(&json!({"match": "source=pytest"}));
    let mut same = announce(&bus, "docker", &Value::Null);
    assert_eq!(state(&mut any), of("docker", "alive"));
    drop(announce(&bus, "docker", &Value::Null));
    // Somebody else still speaks for it.
    let second = announce(&bus, "pytest", &Value::Null);
    assert_eq!(state(&mut any), of("pytest", "alive"));
    assert_eq!(state(&mut other), of("pytest", "alive"), "and nothing of docker");
    drop(second);
    assert_eq!(state(&mut any), of("pytest", "dead"));
    bus.emit("docker", 7);
    bus.emit("pytest", 8);
    assert_eq!(state(&mut other), of("pytest", "dead"));
    assert_eq!(other.numbers(1), [8]);
    same.send(br#"{"kind":"something newer"}"#);
    bye(same);
    assert_eq!(state(&mut any), of("docker", "gone"));
}

#[test]
fn a_source_that_is_started_on_demand_is_there_after_its_goodbye_and_not_after_a_crash() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut waiter = bus.subscribe(&json!({"match": "source=github"}));
    let on_demand = json!({"on_demand": true});
    let source = announce(&bus, "github", &on_demand);
    assert_eq!(state(&mut waiter), of("github", "alive"));
    bye(source);
    drop(announce(&bus, "github", &on_demand));
    assert_eq!(state(&mut waiter), of("github", "dead"), "nothing was told in between: it was there all the time");
}

#[test]
fn the_hub_knows_a_bounded_number_of_sources_and_prefers_those_that_are_there() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let name = |n: usize| format!("source-{n}");
    let detail = json!({"x": "y".repeat(700)});
    let mut there: Vec<_> = (0..MAX_SOURCES).map(|n| announce(&bus, &name(n), &detail)).collect();
    let frame = json!({"match": "event_id=null", "announce": {"source": "one-more"}});
    let (_refused, ack) = bus.subscribe_with_ack(&frame);
    assert!(ack["notes"][0].as_str().unwrap().contains("one-more"), "{ack}");
    let sources = || {
        let mut asking = bus.subscribe(&json!({"match": ["source=nobody", "event_id=null"], "status": true}));
        asking.frame()["sources"].as_array().unwrap().clone()
    };
    assert_eq!(sources().len(), MAX_SOURCES);
    there.remove(0);
    while sources().iter().all(|source| source["state"] == "alive") {}
    let (_welcome, ack) = bus.subscribe_with_ack(&frame);
    assert_eq!(ack["notes"], json!([]));
    let names: Vec<_> = sources().iter().map(|source| source["source"].clone()).collect();
    assert!(names.contains(&json!("one-more")) && !names.contains(&json!(name(0))), "{names:?}");
}

/// Under load a source left when a new hub had heard its announcement and the source not yet that it had been heard. The
/// hub saw that connection end without a goodbye, and told everybody that the source was dead.
#[test]
fn a_goodbye_reaches_a_hub_that_has_not_answered_the_announcement_yet() {
    let bus = Bus::new();
    std::fs::create_dir_all(bus.runtime()).unwrap();
    let listener = UnixListener::bind(bus.broadcast()).unwrap();
    // A hub that dies after its first answer, and comes back.
    let called = |listener: &UnixListener| {
        let mut source = Subscriber { stream: listener.accept().unwrap().0 };
        assert_eq!(source.frame()["announce"]["source"], "fs");
        source
    };
    let ack = json!({"kind": "subscribe_ack", "proto": 1, "caught_up_at": null, "heartbeat_sec": 0,
                     "max_frame_bytes": 65_536, "cursor": BEGINNING, "notes": []});
    let directories = Directories { runtime: bus.runtime(), state: bus.state(), config: bus.root().join("config") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let answer = ack.to_string();
        let hub = tokio::task::spawn_blocking(move || {
            called(&listener).send(answer.as_bytes());
            (called(&listener), listener)
        });
        let announcement = Announcement { source: "fs".into(), ..Announcement::default() };
        let mut source = Announced::open(&directories, announcement, Options { grace: GRACE }).await.unwrap();
        let (mut hub, _listener) = tokio::select! {
            ended = source.keep() => panic!("{ended:?}"),
            hub = hub => hub.unwrap(),
        };
        hub.send(ack.to_string().as_bytes());
        source.bye().await;
        assert_eq!(hub.try_frame(), Some(json!({"kind": "bye"})));
    });
}

#[test]
fn an_announcement_outlives_its_hub_and_ends_with_a_goodbye() {
    let bus = Bus::new();
    let mut hub = bus.hub();
    let directories = Directories { runtime: bus.runtime(), state: bus.state(), config: bus.root().join("config") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let announcement = Announcement { source: "fs".into(), ..Announcement::default() };
        let mut source = Announced::open(&directories, announcement, Options { grace: GRACE }).await.unwrap();
        assert!(source.notes().is_empty());
        let mut waiter = bus.subscribe(&json!({"match": "source=fs"}));
        hub.stop();
        assert_eq!(waiter.frame()["kind"], "shutdown", "a hub that stops buries nobody");
        hub = bus.hub();
        let mut waiter = bus.subscribe(&json!({"match": "source=fs"}));
        let blocking = tokio::task::spawn_blocking(move || {
            let alive = state(&mut waiter);
            (waiter, alive)
        });
        let (mut waiter, alive) = tokio::select! {
            ended = source.keep() => panic!("{ended:?}"),
            heard = blocking => heard.unwrap(),
        };
        assert_eq!(alive, of("fs", "alive"));
        source.bye().await;
        assert_eq!(state(&mut waiter), of("fs", "gone"));
    });
}
