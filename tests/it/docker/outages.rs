//! The source is killed, the engine is stopped, crashes, or is not there at all: what happens is told once, and what
//! cannot be known is said.

use serde_json::{Value, json};

use super::engine::{Engine, docker, docker_of_its_own, may_run, new_directory};
use super::{event, observer, source, told};
use crate::harness::{Bus, Process, skip, works};
use crate::races::Trace;

const BEGINNING: &str = "00000000000000000000000000";

#[test]
fn a_source_that_was_killed_goes_on_where_it_was() {
    let Some(engine) = docker("a_source_that_was_killed_goes_on_where_it_was") else { return };
    let bus = Bus::new();
    let _hub = bus.hub();
    engine.run("old", "exit 9", &Value::Null);
    engine.ended("old");
    engine.run("across", "while true; do sleep 0.1; done", &Value::Null);
    let mut all =
        bus.subscribe(&json!({"match": ["source=docker", "name~^(old|across|during[0-9]|late)$"], "since": BEGINNING}));
    let mut running = source(&bus, engine);
    for n in 0..3 {
        let name = format!("during{n}");
        engine.run(&name, &format!("exit {n}"), &Value::Null);
        engine.ended(&name);
        engine.remove(&name);
        if n == 1 {
            running.kill();
        }
    }
    // It began before anybody looked, and was asked to end while nobody did.
    engine.tell("kill", "across");
    engine.ended("across");
    engine.remove("across");
    running = source(&bus, engine);
    engine.run("late", "exit 0", &Value::Null);
    let expected = [
        "during0 start",
        "during0 die success",
        "during0 destroy",
        "during1 start",
        "during1 die failure",
        "during1 destroy",
        "during2 start",
        "during2 die failure",
        "during2 destroy",
        "across die cancelled",
        "across destroy",
        "late start",
        "late die success",
    ];
    let found: Vec<_> = expected.iter().map(|_| named(&event(&mut all))).collect();
    assert_eq!(found, expected, "once, in order, and nothing of what was over before the first start");
    running.stop();
    engine.remove("late");
    engine.remove("old");
}

fn named(event: &Value) -> String {
    let text = |key: &str| event["fields"][key].as_str().unwrap_or_default();
    format!("{} {} {}", text("name"), text("action"), text("conclusion")).trim_end().to_owned()
}

/// An engine that was restarted remembers nothing. What its containers are is compared with what they were.
#[test]
fn what_an_engine_has_forgotten_is_found_by_looking() {
    let test = "what_an_engine_has_forgotten_is_found_by_looking";
    let Some((root, engine)) = docker_of_its_own(test) else { return };
    let bus = Bus::new();
    let _hub = bus.hub();
    let loops = "trap 'exit 7' TERM; while true; do sleep 0.1; done";
    engine.run("stays", loops, &Value::Null);
    engine.run("goes", loops, &Value::Null);
    engine.run("back", loops, &json!({"HostConfig": {"RestartPolicy": {"Name": "always"}}}));
    engine.create("new", "exit 4", &Value::Null);
    engine.run("old", "exit 9", &Value::Null);
    engine.ended("old");
    let mut first = source(&bus, &engine);
    engine.run("last", "exit 0", &Value::Null);
    assert_eq!(
        told(&mut bus.subscribe(&json!({"match": "name=last", "since": BEGINNING})), 2),
        ["start", "die success"]
    );
    first.kill();
    engine.remove("goes");
    engine.tell("start", "new");
    engine.ended("new");
    engine.stop();
    let engine = Engine::private(root.path()).unwrap();
    let mut all = bus.subscribe(&json!({"match": ["source=docker", "name~^(stays|goes|back|new|old)$"]}));
    let mut second = source(&bus, &engine);
    engine.remove("back");
    let mut found = Vec::new();
    while found.last().is_none_or(|last| last != "back destroy") {
        let event = event(&mut all);
        if event["fields"]["action"] == "die" && !named(&event).starts_with("back die cancelled") {
            assert_eq!(event["fields"]["recovered"], true, "{event}");
        }
        found.push(named(&event));
    }
    found.sort();
    let expected = [
        "back destroy",
        "back die cancelled",
        "back die unknown",
        "back start",
        "goes die unknown",
        "new die failure",
        "stays die failure",
    ];
    assert_eq!(found, expected);
    // A third look finds nothing that the second has told.
    second.kill();
    let mut third = source(&bus, &engine);
    engine.run("end", "exit 0", &Value::Null);
    let mut end = bus.subscribe(&json!({"match": "name=end", "since": BEGINNING}));
    assert_eq!(told(&mut end, 2), ["start", "die success"]);
    let log = bus.ok(&["replay", "--json"]);
    assert_eq!(log.matches("\"summary\":\"new exited with code 4").count(), 1, "{log}");
    third.stop();
}

#[test]
fn an_engine_that_stops_or_crashes_is_missed_and_seen_again() {
    let test = "an_engine_that_stops_or_crashes_is_missed_and_seen_again";
    let Some((root, engine)) = docker_of_its_own(test) else { return };
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut running = source(&bus, &engine);
    let mut seen = observer(&bus, "service");
    engine.run("service", "trap 'exit 0' TERM; while true; do sleep 0.1; done", &Value::Null);
    assert_eq!(told(&mut seen, 1), ["start"]);
    engine.stop();
    assert_eq!(told(&mut seen, 1), ["die cancelled"], "the engine has stopped it");
    running.said(&format!("{}", root.path().join("docker.sock").display()));
    let engine = Engine::private(root.path()).unwrap();
    running.said("watches its containers");
    engine.tell("start", "service");
    assert_eq!(told(&mut seen, 1), ["start"]);
    engine.crash();
    // The next engine finds its container, and ends it, because it is not its own any more.
    let engine = Engine::private(root.path()).unwrap();
    running.said("watches its containers");
    let end = event(&mut seen);
    assert_eq!(end["fields"]["action"], "die", "{end}");
    assert_ne!(end["fields"]["conclusion"], "success", "{end}");
    engine.remove("service");
    assert_eq!(told(&mut seen, 1), ["destroy"], "one end is one verdict");
    running.stop();
}

#[test]
fn an_engine_that_is_not_there_yet_is_waited_for_without_polling() {
    let test = "an_engine_that_is_not_there_yet_is_waited_for_without_polling";
    if !may_run("docker", test) {
        return;
    }
    let root = new_directory();
    let directory = root.path().join("later");
    let bus = Bus::new();
    let _hub = bus.hub();
    let host = format!("unix://{}/docker.sock", directory.display());
    let mut running = Process::start(bus.command(&["source", "docker", "--host", &host]));
    running.ready();
    running.said("there is no engine at");
    std::fs::create_dir(&directory).unwrap();
    let Some(engine) = Engine::private(&directory) else {
        return skip(test, "dockerd does not start here");
    };
    running.said("watches its containers");
    let mut seen = observer(&bus, "first");
    engine.run("first", "exit 0", &Value::Null);
    assert_eq!(told(&mut seen, 2), ["start", "die success"]);
    running.stop();
}

/// A source that looks at the clock, or is woken for what nobody asked for, is a drain on every laptop.
#[test]
fn a_source_makes_no_system_call_while_its_engine_is_quiet() {
    let test = "a_source_makes_no_system_call_while_its_engine_is_quiet";
    if !works(&["strace", "-o", "/dev/null", "true"]) {
        return skip(test, "strace is missing, or may not trace");
    }
    let Some((_root, engine)) = docker_of_its_own(test) else { return };
    let bus = Bus::new();
    let _hub = bus.hub();
    engine.create("quiet0", "true", &Value::Null);
    let mut running = source(&bus, &engine);
    let trace = Trace::start(&bus, 0, &running);
    // What nobody wants is not even told, and what others put on the bus concerns them.
    for n in 0..50 {
        engine.tell(&format!("rename?name=quiet{}", n + 1), &format!("quiet{n}"));
        bus.emit_batch("others", n..n + 1);
    }
    let calls = trace.calls();
    let woken = |call: &&String| {
        call.contains(" = ")
            && ["epoll_wait(", "epoll_pwait", "read(", "recv", "write(", "send"].iter().any(|name| call.contains(name))
    };
    let woken: Vec<_> = calls.iter().filter(woken).collect();
    assert!(woken.is_empty(), "{woken:?}");
    engine.tell("start", "quiet50");
    assert_eq!(
        told(&mut bus.subscribe(&json!({"match": "name=quiet50", "since": BEGINNING})), 2),
        ["start", "die success"]
    );
    assert!(trace.calls().len() > calls.len(), "and the trace sees what it does");
    running.stop();
}
