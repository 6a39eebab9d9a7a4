//! How long an agent waits for what it has asked for: `cargo bench --bench mcp`.
//!
//! The server is the built program with JSON lines on its streams, the events come from this process. A commit counts
//! from when it has returned; the wait for it was attached before, which a look at the hub's own count has shown.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and ends when it cannot measure"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use waitbus::client::Publisher;
use waitbus::client::status::{HubState, hub};
use waitbus::config::directories::Directories;
use waitbus::model::event::{Draft, ingest_method};

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let samples = std::env::var("WAITBUS_BENCH_SAMPLES").map_or(500, |text| text.parse().unwrap());
    println!("{samples} samples; p50, p90, p99, slowest in µs");
    report("exec to the answer of initialize", (0..samples).map(|_| Client::start(&Bus::new()).1).collect());
    report("commit to the result of wait_for_event", results(samples));
    report("commit to notifications/resources/updated", rings(samples));
    report("end of the input to the end of the server, a wait pending", ends(samples));
    memory();
}

fn report(what: &str, mut latencies: Vec<Duration>) {
    latencies.sort_unstable();
    let at =
        |permille: usize| latencies[(latencies.len() * permille / 1_000).min(latencies.len() - 1)].as_secs_f64() * 1e6;
    println!("{what:<58} {:>7.0} {:>7.0} {:>7.0} {:>7.0}", at(500), at(900), at(990), at(1_000));
}

struct Bus(tempfile::TempDir);

impl Bus {
    fn new() -> Bus {
        Bus(tempfile::tempdir().unwrap())
    }

    fn directories(&self) -> Directories {
        let root = self.0.path();
        Directories { runtime: root.join("run"), state: root.join("state"), config: root.join("config") }
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waitbus"));
        command.arg(verb).envs(self.directories().variables()).env("WAITBUS_LOG", "warn").stdout(Stdio::piped());
        command
    }

    fn hub(&self) -> Hub {
        let mut child = self.command("hub").stdin(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Hub(child)
    }

    /// Waits until so many are attached to the hub.
    fn attached(&self, count: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        while !matches!(runtime.block_on(hub(&self.directories())), Ok(HubState::Running(status)) if status.subscribers == count)
        {
            thread::yield_now();
        }
    }
}

struct Hub(Child);

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
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
        let mut child = bus.command("mcp").stdin(Stdio::piped()).spawn().unwrap();
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

    fn wait(&mut self, id: usize) {
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

fn draft() -> Draft {
    let (source, event_type) = ("bench".to_owned(), "finished".to_owned());
    Draft { source, event_type, ingest_method: ingest_method::EMIT, ..Draft::default() }
}

fn results(samples: usize) -> Vec<Duration> {
    let bus = Bus::new();
    let _hub = bus.hub();
    let (mut client, _) = Client::start(&bus);
    let mut publisher = Publisher::open(&bus.directories()).unwrap();
    let sample = |id| {
        bus.attached(0);
        client.wait(id);
        bus.attached(1);
        publisher.publish(&draft()).unwrap();
        let committed = Instant::now();
        assert_eq!(client.next()["result"]["structuredContent"]["status"], "matched");
        committed.elapsed()
    };
    (1..=samples).map(sample).collect()
}

fn rings(samples: usize) -> Vec<Duration> {
    let bus = Bus::new();
    let _hub = bus.hub();
    let (mut client, _) = Client::start(&bus);
    client.send(&json!({"id": 1, "method": "resources/subscribe", "params": {"uri": "waitbus://current"}}));
    client.next();
    let mut publisher = Publisher::open(&bus.directories()).unwrap();
    let sample = |_| {
        publisher.publish(&draft()).unwrap();
        let committed = Instant::now();
        assert_eq!(client.next()["method"], "notifications/resources/updated");
        committed.elapsed()
    };
    (0..samples).map(sample).collect()
}

fn ends(samples: usize) -> Vec<Duration> {
    let bus = Bus::new();
    let _hub = bus.hub();
    let sample = |_| {
        let (mut client, _) = Client::start(&bus);
        bus.attached(0);
        client.wait(1);
        bus.attached(1);
        let start = Instant::now();
        drop(client.child.stdin.take());
        client.child.wait().unwrap();
        start.elapsed()
    };
    (0..samples.min(200)).map(sample).collect()
}

fn memory() {
    let bus = Bus::new();
    let (mut client, _) = Client::start(&bus);
    client.send(&json!({"id": 1, "method": "tools/list", "params": {}}));
    client.next();
    let status = Path::new("/proc").join(client.child.id().to_string()).join("status");
    let status = std::fs::read_to_string(status).unwrap();
    let number =
        |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap().split_whitespace().nth(1).unwrap();
    println!("idle server: {} KiB resident ({} KiB of them its own)", number("VmRSS"), number("RssAnon"));
}
