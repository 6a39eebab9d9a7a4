//! The source `docker` against real engines: what becomes of what they tell, and that an outage of either side neither
//! doubles nor loses. What a real engine cannot be made to do is in `fake`.

mod engine;
mod fake;
mod outages;
mod verdicts;

use serde_json::{Value, json};

use self::engine::Engine;
use crate::harness::{Bus, Process, Subscriber};

/// Starts the source on an engine and returns once it has found what there is.
fn source(bus: &Bus, engine: &Engine) -> Process {
    let mut source = Process::start(bus.command(&["source", "docker", "--host", &engine.host()]));
    source.ready();
    source.said("watches its containers");
    source
}

/// Whoever wants the events of one container.
fn observer(bus: &Bus, name: &str) -> Subscriber {
    bus.subscribe(&json!({"match": ["source=docker", format!("name={name}")]}))
}

/// The next event. How the source is has other tests.
#[track_caller]
fn event(observer: &mut Subscriber) -> Value {
    loop {
        let frame = observer.frame();
        if frame["kind"] != "source_status" {
            assert_eq!(frame["event_type"], "docker_container", "{frame}");
            return frame;
        }
    }
}

/// What was done and the verdict, where there is one, of the next events.
#[track_caller]
fn told(observer: &mut Subscriber, count: usize) -> Vec<String> {
    let one = |observer: &mut Subscriber| {
        let fields = &event(observer)["fields"];
        let word = |key: &str| fields[key].as_str().map(|word| format!(" {word}")).unwrap_or_default();
        format!("{}{}", fields["action"].as_str().unwrap(), word("conclusion"))
    };
    (0..count).map(|_| one(observer)).collect()
}
