//! How long an agent waits for what it has asked for.
//!
//! The server is the built program with JSON lines on its streams, the events come from this process. One sample begins
//! when the one before is over, so these are times of a quiet machine. An event counts from the call that emits it; the
//! wait for it was attached before, which a look at the hub's own count has shown.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use waitbus::client::Publisher;
use waitbus::measure::Latencies;

use crate::bus::{Bus, draft};
use crate::pace::{samples, warm_up};
use crate::report::Report;

const SAMPLES: u64 = 300;

pub fn measure(report: &mut Report) {
    let samples = samples(SAMPLES);
    for (what, times) in [
        ("mcp: exec to the answer of initialize", starts(samples)),
        ("mcp: library emit to the result of wait_for_event", results(samples)),
        ("mcp: library emit to notifications/resources/updated", rings(samples)),
        ("mcp: end of the input to exit, a wait pending", ends(samples)),
    ] {
        report.latencies(what, "waitbus", times);
    }
}

/// Takes so many samples, and some before them that do not count.
fn each(samples: u64, mut sample: impl FnMut(u64) -> Duration) -> Latencies {
    let mut latencies = Latencies::default();
    for number in 0..samples + warm_up(samples) {
        let time = sample(number);
        if number >= warm_up(samples) {
            latencies.record(u64::try_from(time.as_nanos()).unwrap());
        }
    }
    latencies
}

/// Waits until so many are attached to the hub.
fn attached(bus: &Bus, count: u64) {
    while bus.subscribers() != count {
        thread::yield_now();
    }
}

struct Client {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Client {
    /// A server that has been shaken hands with, and how long that took from its exec on.
    fn start(bus: &Bus) -> (Client, Duration) {
        let start = Instant::now();
        let mut child = bus.command(&["mcp"]).stdout(Stdio::piped()).stdin(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut client = Client { child, lines };
        let me = json!({"name": "bench", "version": "1"});
        client.send(&json!({"id": 0, "method": "initialize", "params":
            {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": me}}));
        client.next();
        (client, start.elapsed())
    }

    fn send(&mut self, message: &Value) {
        let mut message = message.clone();
        message["jsonrpc"] = json!("2.0");
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(format!("{message}\n").as_bytes()).unwrap();
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn wait(&mut self, id: u64) {
        let arguments = json!({"source": ["bench"]});
        self.send(
            &json!({"id": id, "method": "tools/call", "params": {"name": "wait_for_event", "arguments": arguments}}),
        );
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn starts(samples: u64) -> Latencies {
    let bus = Bus::new();
    each(samples, |_| Client::start(&bus).1)
}

fn results(samples: u64) -> Latencies {
    let bus = Bus::new();
    let (_hub, _) = bus.start(&["hub"]);
    let (mut client, _) = Client::start(&bus);
    let mut publisher = Publisher::open(&bus.directories()).unwrap();
    each(samples, |number| {
        attached(&bus, 0);
        client.wait(number + 1);
        attached(&bus, 1);
        let start = Instant::now();
        publisher.publish(&draft(number)).unwrap();
        assert_eq!(client.next()["result"]["structuredContent"]["status"], "matched");
        start.elapsed()
    })
}

fn rings(samples: u64) -> Latencies {
    let bus = Bus::new();
    let (_hub, _) = bus.start(&["hub"]);
    let (mut client, _) = Client::start(&bus);
    client.send(&json!({"id": 1, "method": "resources/subscribe", "params": {"uri": "waitbus://current"}}));
    client.next();
    let mut publisher = Publisher::open(&bus.directories()).unwrap();
    each(samples, |number| {
        let start = Instant::now();
        publisher.publish(&draft(number)).unwrap();
        assert_eq!(client.next()["method"], "notifications/resources/updated");
        start.elapsed()
    })
}

fn ends(samples: u64) -> Latencies {
    let bus = Bus::new();
    let (_hub, _) = bus.start(&["hub"]);
    each(samples, |_| {
        let (mut client, _) = Client::start(&bus);
        attached(&bus, 0);
        client.wait(1);
        attached(&bus, 1);
        let start = Instant::now();
        drop(client.child.stdin.take());
        client.child.wait().unwrap();
        start.elapsed()
    })
}

/// A server that has told its tools and is asked for nothing more; it lives as long as what is returned with its pid.
#[cfg(target_os = "linux")]
pub fn idle_server() -> (u32, impl Sized) {
    let bus = Bus::new();
    let (mut client, _) = Client::start(&bus);
    client.send(&json!({"id": 1, "method": "tools/list", "params": {}}));
    client.next();
    (client.child.id(), (client, bus))
}
