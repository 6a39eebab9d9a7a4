//! One stop is one verdict, and nobody is told one that nobody knows.

use serde_json::{Value, json};

use super::engine::{docker, podman};
use super::{event, observer, source, told};
use crate::harness::{Bus, skip};

/// Ends at once when it is asked to, with a code of its own.
const HANDLES: &str = "trap 'exit 0' TERM; trap 'exit 0' USR1; echo; while true; do sleep 0.1; done";

#[test]
fn a_container_that_ends_is_one_verdict_by_its_exit_code() {
    for (engine, kind) in [
        (docker("a_container_that_ends_is_one_verdict_by_its_exit_code"), "docker"),
        (podman("a_container_that_ends_is_one_verdict_by_its_exit_code (podman)"), "podman"),
    ] {
        let Some(engine) = engine else { continue };
        let bus = Bus::new();
        let _hub = bus.hub();
        let _source = source(&bus, engine);
        let mut seen = observer(&bus, "ends0");
        engine.run("ends0", "true", &Value::Null);
        assert_eq!(told(&mut seen, 2), ["start", "die success"], "{kind}");
        engine.remove("ends0");
        assert_eq!(told(&mut seen, 1), ["destroy"]);
        let mut seen = observer(&bus, "ends3");
        let labels = json!({"com.docker.compose.project": "shop", "com.docker.compose.service": "web", "team": "core"});
        engine.run("ends3", "exit 3", &json!({"Labels": labels}));
        let start = event(&mut seen);
        assert_eq!((&start["summary"], &start["fields"]["status"]), (&json!("ends3 started"), &json!("running")));
        let end = event(&mut seen);
        let fields = &end["fields"];
        assert_eq!(end["summary"], "ends3 exited with code 3");
        assert_eq!(fields["labels"], labels);
        for (field, value) in [
            ("action", json!("die")),
            ("status", json!("exited")),
            ("conclusion", json!("failure")),
            ("exit_code", json!(3)),
            ("oom_killed", json!(false)),
            ("engine", json!(kind)),
            ("name", json!("ends3")),
            ("compose_project", json!("shop")),
            ("compose_service", json!("web")),
            ("started_at", start["fields"]["started_at"].clone()),
        ] {
            assert_eq!(fields[field], value, "{kind} {field}");
        }
        assert!(fields["image"].as_str().unwrap().contains("box"), "{fields}");
        assert_eq!(fields["container_id"].as_str().unwrap().len(), 64);
        assert!(fields["duration_ms"].as_u64().is_some_and(|duration| duration < 60_000), "{fields}");
        assert_eq!((&fields["recovered"], &fields["signal"]), (&Value::Null, &Value::Null));
        engine.remove("ends3");
    }
}

#[test]
fn who_was_stopped_or_killed_through_the_engine_was_cancelled_and_each_stop_is_one_verdict() {
    let name = "who_was_stopped_or_killed_through_the_engine_was_cancelled_and_each_stop_is_one_verdict";
    let Some(engine) = docker(name) else { return };
    let bus = Bus::new();
    let _hub = bus.hub();
    let _source = source(&bus, engine);
    let mut seen = observer(&bus, "killed");
    engine.run("killed", "sleep 1000", &Value::Null);
    engine.tell("kill", "killed");
    assert_eq!(told(&mut seen, 1), ["start"]);
    let end = event(&mut seen);
    let fields = &end["fields"];
    assert_eq!((&fields["conclusion"], &fields["signal"]), (&json!("cancelled"), &json!("SIGKILL")));
    assert_eq!(end["summary"], "killed was stopped and exited with code 137");
    engine.remove("killed");
    // It says 0 when it is told to stop, and had not come to its end for that.
    let mut seen = observer(&bus, "stopped");
    engine.run("stopped", HANDLES, &Value::Null);
    engine.tell("stop", "stopped");
    engine.tell("start", "stopped");
    engine.tell("restart", "stopped");
    engine.tell("stop", "stopped");
    engine.remove("stopped");
    let expected = ["start", "die cancelled", "start", "die cancelled", "start", "restart", "die cancelled", "destroy"];
    assert_eq!(told(&mut seen, expected.len()), expected);
    // Nobody asked the engine.
    let mut seen = observer(&bus, "murdered");
    engine.run("murdered", "sleep 1000", &Value::Null);
    let pid = engine.inspect("murdered")["State"]["Pid"].as_i64().unwrap();
    assert!(crate::harness::works(&["kill", "-KILL", &pid.to_string()]));
    assert_eq!(told(&mut seen, 2), ["start", "die failure"]);
    engine.remove("murdered");
}

/// Podman 4.3 says of a stop no more than that the container has ended, so only its code is known.
#[test]
fn podman_kills_and_restarts_are_cancelled_and_its_stops_are_what_their_code_says() {
    let Some(engine) = podman("podman_kills_and_restarts_are_cancelled_and_its_stops_are_what_their_code_says") else {
        return;
    };
    let bus = Bus::new();
    let _hub = bus.hub();
    let _source = source(&bus, engine);
    let mut seen = observer(&bus, "pod");
    engine.run("pod", "sleep 1000", &Value::Null);
    engine.tell("kill", "pod");
    engine.ended("pod");
    assert_eq!(told(&mut seen, 2), ["start", "die cancelled"]);
    engine.tell("start", "pod");
    engine.tell("restart?t=0", "pod");
    assert_eq!(told(&mut seen, 4), ["start", "restart", "die cancelled", "start"]);
    engine.tell("stop?t=0", "pod");
    engine.remove("pod");
    assert_eq!(told(&mut seen, 2), ["die failure", "destroy"]);
}

/// The signal with which an image wants to be stopped may be any: nginx has SIGQUIT, Apache SIGWINCH. But a signal that
/// only has a program read its configuration again does not make its later end a stop.
#[test]
fn a_signal_is_a_request_to_end_if_it_is_the_containers_own() {
    let Some(engine) = docker("a_signal_is_a_request_to_end_if_it_is_the_containers_own") else { return };
    let bus = Bus::new();
    let _hub = bus.hub();
    let _source = source(&bus, engine);
    for (name, more, conclusion) in [
        ("own-signal", json!({"StopSignal": "SIGUSR1"}), "die cancelled"),
        ("other-signal", Value::Null, "die success"),
    ] {
        let mut seen = observer(&bus, name);
        engine.run(name, HANDLES, &more);
        engine.tell("kill?signal=USR1", name);
        assert_eq!(told(&mut seen, 2), ["start", conclusion]);
        engine.remove(name);
    }
}

/// Docker puts a container's labels over its own words, so with the label `exitCode=0` every end said 0.
#[test]
fn a_label_forges_no_exit_code() {
    let Some(engine) = docker("a_label_forges_no_exit_code") else { return };
    let bus = Bus::new();
    let _hub = bus.hub();
    let _source = source(&bus, engine);
    let mut seen = observer(&bus, "forged");
    engine.run("forged", "exit 3", &json!({"Labels": {"exitCode": "0", "signal": "15", "name": "other"}}));
    assert_eq!(told(&mut seen, 1), ["start"]);
    let end = event(&mut seen);
    assert_eq!((&end["fields"]["exit_code"], &end["fields"]["conclusion"]), (&json!(3), &json!("failure")), "{end}");
    engine.remove("forged");
}

#[test]
fn a_container_that_runs_out_of_memory_says_so_in_its_one_verdict() {
    let name = "a_container_that_runs_out_of_memory_says_so_in_its_one_verdict";
    let Some(engine) = docker(name) else { return };
    let bus = Bus::new();
    let _hub = bus.hub();
    let _source = source(&bus, engine);
    let mut seen = observer(&bus, "hungry");
    let memory = json!({"HostConfig": {"Memory": 20 << 20}});
    engine.run("hungry", "x=a; while true; do x=$x$x; done", &memory);
    engine.ended("hungry");
    if engine.inspect("hungry")["State"]["OOMKilled"] != true {
        engine.remove("hungry");
        return skip(name, "the cgroups of this machine do not bound memory");
    }
    assert_eq!(told(&mut seen, 2), ["start", "oom"]);
    let end = event(&mut seen);
    assert_eq!(end["summary"], "hungry exited with code 137 (out of memory)");
    let fields = &end["fields"];
    assert_eq!((&fields["oom_killed"], &fields["conclusion"]), (&json!(true), &json!("failure")));
    engine.remove("hungry");
    assert_eq!(told(&mut seen, 1), ["destroy"]);
}

#[test]
fn health_and_pauses_are_told_and_are_no_verdict() {
    let Some(engine) = docker("health_and_pauses_are_told_and_are_no_verdict") else { return };
    let bus = Bus::new();
    let _hub = bus.hub();
    let _source = source(&bus, engine);
    let mut seen = observer(&bus, "checked");
    let check = json!({"Test": ["CMD", "test", "-e", "/ok"], "Interval": 100_000_000, "Retries": 1});
    engine.run("checked", "sleep 0.5; echo > /ok; while true; do sleep 0.1; done", &json!({"Healthcheck": check}));
    let mut health =
        bus.subscribe(&json!({"match": ["name=checked", "health=healthy"], "since": "00000000000000000000000000"}));
    let healthy = event(&mut health);
    assert_eq!(healthy["summary"], "checked is healthy");
    assert_eq!(
        (&healthy["fields"]["action"], &healthy["fields"]["conclusion"]),
        (&json!("health_status"), &Value::Null)
    );
    engine.tell("pause", "checked");
    engine.tell("unpause", "checked");
    engine.remove("checked");
    let told: Vec<_> =
        std::iter::from_fn(|| Some(told(&mut seen, 1).remove(0)).filter(|told| told != "destroy")).collect();
    let rest: Vec<_> = told.iter().filter(|told| *told != "health_status").collect();
    assert_eq!(rest, ["start", "pause", "unpause", "die cancelled"]);
}

#[test]
fn a_wait_for_the_verdict_on_a_container_ends_with_it() {
    let Some(engine) = docker("a_wait_for_the_verdict_on_a_container_ends_with_it") else { return };
    let bus = Bus::new();
    let _hub = bus.hub();
    let _source = source(&bus, engine);
    for (script, code) in [("exit 0", 0), ("exit 7", 1)] {
        let mut wait = bus.wait(&["--source", "docker", "--match", "name=web", "--verdict", "--timeout", "1m"]);
        engine.run("web", script, &Value::Null);
        let line = wait.line();
        assert_eq!((wait.code(), line.contains("web exited with code")), (code, true), "{line}");
        engine.remove("web");
    }
}
