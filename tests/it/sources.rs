//! Sources that announce themselves: alive while their connection is open, gone after a goodbye, dead without one, and
//! known to be so at once, in the right order, by those whom it concerns and by nobody else.

use std::os::unix::net::UnixListener;

use serde_json::{Value, json};
use waitbus::client::{Announced, Options};
use waitbus::config::directories::Directories;
use waitbus::model::filter::RepoFilter;
use waitbus::model::frame::Health;
use waitbus::model::limits::{GRACE, MAX_DEMAND_FILTERS, MAX_SOURCES};
use waitbus::model::source::{Announcement, Demand};

use crate::harness::{Bus, Process, Subscriber};

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
    let mut source = announce(&bus, "docker", &Value::Null);
    assert_eq!(state(&mut waiter), of("docker", "alive"), "it came back");
    source.send(br#"{"kind":"failed","reason":"no\nengine"}"#);
    drop(source);
    let why = json!({"kind": "source_status", "source": "docker", "state": "dead", "detail": {"reason": "no engine"}});
    assert_eq!(waiter.frame(), why);
    assert!(bus.ok(&["status"]).contains("dead, it cannot go on: no engine"));
    let source = announce(&bus, "docker", &Value::Null);
    assert_eq!(state(&mut waiter), of("docker", "alive"));
    bye(source);
    assert_eq!(state(&mut waiter), of("docker", "gone"));
    // A goodbye in the same packet as the announcement is heard as well.
    let mut hasty = Subscriber::connect(&bus.broadcast());
    hasty.send(json!({"match": "event_id=null", "announce": {"source": "docker"}}).to_string().as_bytes());
    bye(hasty);
    assert_eq!(state(&mut waiter), of("docker", "alive"));
    assert_eq!(state(&mut waiter), of("docker", "gone"));
}

/// While its engine was away nothing came of a source, and that was taken for silence: `--quiet-for` ended with 0.
#[test]
fn what_does_not_come_while_a_source_is_blind_is_no_silence() {
    let bus = Bus::new();
    let mut hub = bus.hub();
    let mut source = announce(&bus, "docker", &Value::Null);
    source.send(br#"{"kind":"health","state":"silent","reason":"no engine"}"#);
    let output = bus.run(&["wait", "--source", "docker", "--quiet-for", "200ms", "--timeout", "2s"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(124) && said.contains("sees nothing"), "{said}");
    // Of a source that nobody asks for it does not matter.
    let other = bus.run(&["wait", "--source", "other", "--quiet-for", "200ms", "--timeout", "1m"]);
    assert_eq!(other.status.code(), Some(0));
    let mut wait = Process::start(bus.command(&["wait", "--source", "docker", "--quiet-for", "200ms"]));
    wait.said("sees nothing");
    source.send(br#"{"kind":"health","state":"alive"}"#);
    assert_eq!(wait.code(), 0);
    source.send(br#"{"kind":"health","state":"silent","reason":"no engine"}"#);
    let mut wait = Process::start(bus.command(&["wait", "--source", "docker", "--quiet-for", "200ms"]));
    wait.said("sees nothing");
    hub.kill();
    let _next = bus.hub();
    assert_eq!(wait.code(), 0, "of this source the next hub knows nothing");
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

/// A waiter for a source whose producer was away waited without a word, and nobody could tell it from one that had
/// nothing to say.
#[test]
fn a_source_that_sees_nothing_is_known_to_be_silent_after_all_that_it_had_said() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut waiter = bus.subscribe(&json!({"match": "source=docker"}));
    let mut source = announce(&bus, "docker", &json!({"start": "x"}));
    assert_eq!(state(&mut waiter), of("docker", "alive"));
    bus.emit_batch("docker", 0..300);
    source.send(json!({"kind": "health", "state": "silent", "reason": "no\u{1b}[31m engine\n"}).to_string().as_bytes());
    assert_eq!(waiter.numbers(300), (0..300).collect::<Vec<_>>());
    let silent = waiter.frame();
    let golden = json!({"kind": "source_status", "source": "docker", "state": "silent",
                        "detail": {"start": "x", "reason": "no engine"}});
    assert_eq!(silent, golden);
    assert!(bus.ok(&["status"]).contains("source docker: silent, it sees nothing and goes on trying: no engine"));
    let mut late = bus.subscribe(&json!({"match": "source=docker"}));
    assert_eq!(state(&mut late), of("docker", "silent"));
    // Another one speaks for it and sees, and leaves again.
    let second = announce(&bus, "docker", &json!({"start": "x"}));
    assert_eq!(state(&mut waiter), of("docker", "alive"));
    bye(second);
    assert_eq!(state(&mut waiter), of("docker", "silent"));
    source.send(br#"{"kind":"health","state":"alive"}"#);
    assert_eq!(
        waiter.frame(),
        json!({"kind": "source_status", "source": "docker", "state": "alive", "detail": {"start": "x"}})
    );
    drop(source);
    assert_eq!(state(&mut waiter), of("docker", "dead"));
    let frame =
        json!({"match": ["source=docker", "event_id=null"], "announce": {"source": "docker", "silent": "still"}});
    let _source = bus.subscribe(&frame);
    assert_eq!(waiter.frame()["detail"], json!({"reason": "still"}), "it was never said to be alive");
}

/// A connection that is a source and wants to hear who waits for it; what it was told first.
fn announce_and_listen(bus: &Bus, source: &str) -> (Subscriber, Value) {
    let mut listener = bus.subscribe(&json!({
        "match": [format!("source={source}"), "event_id=null"], "heartbeat": false,
        "announce": {"source": source, "demand": true},
    }));
    let first = listener.frame();
    assert_eq!(first["kind"], "demand", "{first}");
    (listener, first["filters"].clone())
}

#[test]
fn a_source_hears_who_waits_for_it_by_name_and_when_that_changes() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let _tail = bus.subscribe(&json!({}));
    let _somebody_elses = bus.subscribe(&json!({"match": "source=docker"}));
    let earlier = bus.subscribe(&json!({"match": "source=github", "filters": ["Octo/Hello"]}));
    let (mut source, first) = announce_and_listen(&bus, "github");
    assert_eq!(first, json!(["octo/hello"]));
    let told = |source: &mut Subscriber| source.frame()["filters"].clone();
    let any = bus.subscribe(&json!({"match": [["source=x"], ["source=github", "conclusion=success"]]}));
    assert_eq!(told(&mut source), json!(["*", "octo/hello"]));
    // Neither the end of one who asks for the same is news, nor another connection of the source.
    let same = bus.subscribe(&json!({"match": "source=github", "filters": ["octo/hello"]}));
    assert_eq!(told(&mut source), json!(["*", "octo/hello"]));
    drop(same);
    let (_second, first) = announce_and_listen(&bus, "github");
    assert_eq!(first, json!(["*", "octo/hello"]));
    drop(earlier);
    assert_eq!(told(&mut source), json!(["*"]));
    drop(any);
    assert_eq!(told(&mut source), json!([]));
    let _impossible = bus.subscribe(&json!({"match": "source=github", "filters": ["o".repeat(200) + "/r"]}));
    let _by_condition = bus.subscribe(&json!({"match": ["source=github", "owner=octo", "repo=other"]}));
    assert_eq!(told(&mut source), json!(["octo/other"]));
    // A source of the same name that does not ask is not told.
    let mut deaf = announce(&bus, "github", &Value::Null);
    deaf.stream.set_nonblocking(true).unwrap();
    assert_eq!(std::io::Read::read(&mut deaf.stream, &mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

/// Beside a permanent `tail` nobody was seen to come, so nothing was looked at for them.
#[test]
fn a_source_hears_of_everybody_who_comes_and_for_what() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let _tail = bus.subscribe(&json!({"match": "source=github"}));
    let _wait = bus.subscribe(&json!({"match": "source=github", "filters": ["octo/hello"]}));
    let mut source = bus.subscribe(&json!({
        "match": ["source=github", "event_id=null"], "heartbeat": false,
        "announce": {"source": "github", "demand": true},
    }));
    let mut told = || serde_json::from_value::<Demand>(source.frame()).unwrap();
    let first = told();
    let again = bus.subscribe(&json!({"match": "source=github", "filters": ["octo/hello"]}));
    let second = told();
    assert_eq!(second.filters, first.filters);
    let newcomers: Vec<_> = second.newcomers(&first).map(ToString::to_string).collect();
    assert_eq!(newcomers, ["octo/hello"]);
    drop(again);
    let _other = bus.subscribe(&json!({"match": "source=github", "filters": ["octo/other"]}));
    let third = told();
    let newcomers: Vec<_> = third.newcomers(&second).map(ToString::to_string).collect();
    assert_eq!((newcomers, third.newcomers(&third).count()), (vec!["octo/other".to_owned()], 0));
}

/// A frame for each of a thousand waiters would each have named all of them.
#[test]
fn a_thousand_waiters_are_few_words_to_a_source() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let (mut source, _) = announce_and_listen(&bus, "github");
    let waiter = |n: usize| bus.subscribe(&json!({"match": "source=github", "filters": [format!("octo/r{n}")]}));
    let waiters: Vec<_> = (0..1_000).map(waiter).collect();
    let mut frames = 1;
    while source.frame()["filters"] != json!(["*"]) {
        frames += 1;
    }
    assert!(frames <= MAX_DEMAND_FILTERS + 1, "{frames}");
    source.stream.set_nonblocking(true).unwrap();
    let mut left = [0; 1];
    assert_eq!(std::io::Read::read(&mut source.stream, &mut left).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    source.stream.set_nonblocking(false).unwrap();
    drop(waiters);
    let mut frames = 1;
    while source.frame()["filters"] != json!([]) {
        frames += 1;
    }
    assert!(frames <= MAX_DEMAND_FILTERS + 1, "{frames}");
}

#[test]
fn the_next_hub_is_told_of_a_silence_and_tells_who_waits() {
    let bus = Bus::new();
    let mut hub = bus.hub();
    let directories = Directories { runtime: bus.runtime(), state: bus.state(), config: bus.root().join("config") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let announcement = Announcement { source: "fs".into(), demand: true, ..Announcement::default() };
        let mut source = Announced::open(&directories, announcement, Options { grace: GRACE }).await.unwrap();
        let (health, mut demand) = (source.health(), source.demand());
        let kept = tokio::spawn(async move { source.keep().await });
        let mut wait = bus.wait(&["--source", "fs", "--repo", "octo/hello"]);
        let wanted = |demand: &Demand| demand.filters == [RepoFilter::parse("octo/hello").unwrap()];
        demand.wait_for(wanted).await.unwrap();
        health.send_replace(Health::Silent { reason: "the disk is away".into() });
        let (wait, line) = tokio::task::spawn_blocking(move || {
            let line = wait.said("fs");
            (wait, line)
        })
        .await
        .unwrap();
        assert_eq!(line, "waitbus: the source fs sees nothing, and goes on trying: the disk is away");
        hub.kill();
        hub = bus.hub();
        let told = tokio::task::spawn_blocking(move || {
            let mut wait = wait;
            // It comes back to the next hub in its own time.
            while !bus.ok(&["status"]).contains("source fs: silent") {}
            bus.ok(&["emit", "--source", "fs", "--type", "change", "--repo", "octo/hello"]);
            wait.ending()
        });
        let (code, _, errors) = told.await.unwrap();
        assert_eq!((code, &*errors), (Some(0), ""), "it goes on waiting, and says it once");
        demand.wait_for(|demand| demand.filters.is_empty()).await.unwrap();
        kept.abort();
    });
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
