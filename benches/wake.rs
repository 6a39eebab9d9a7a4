//! How long after something happened its waiter has it, and what waiting costs: `cargo bench --bench wake`.
//!
//! Open loop: each sample is due at a fixed time, and its latency counts from then, also when an earlier one delayed
//! it. Real processes and sockets: the services are the built program, the events come from this process, and a thread
//! of it reads the broadcast socket. Beside each figure stands the floor of the same run: the same commit of the same
//! row and the same two hops, without the program.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and ends when it cannot measure"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use waitbus::client::Publisher;
use waitbus::config::directories::Directories;
use waitbus::ingest::signature::sign;
use waitbus::model::event::{Draft, ingest_method};
use waitbus::store::{LogPaths, Writer};

const SECRET: &[u8] = b"a secret for benchmarks";
const PAYLOAD: &[u8] = include_bytes!("../tests/payloads/github/workflow_run.completed.payload.json");
/// The run that it is about.
const RUN_ID: &str = "289782451";
/// Samples that are thrown away before counting begins.
const WARM_UP: usize = 500;

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let samples = std::env::var("WAITBUS_BENCH_SAMPLES").map_or(2_000, |text| text.parse().unwrap());
    println!("{samples} samples after {WARM_UP}; p50, p90, p99, slowest in µs");
    for rate in [100, 1_000] {
        report(&format!("webhook to recv, {rate}/s"), webhook(rate, samples));
        report(&format!("  floor: new connection, read, commit, write, {rate}/s"), webhook_floor(rate, samples));
    }
    for rate in [100, 1_000] {
        report(&format!("library emit to recv, {rate}/s"), emit(rate, samples));
        report(&format!("  floor: commit, two hops, {rate}/s"), emit_floor(rate, samples));
    }
    throughput();
    start_up();
    costs();
}

fn report(what: &str, mut latencies: Vec<Duration>) {
    latencies.drain(..WARM_UP.min(latencies.len() / 2));
    latencies.sort_unstable();
    let at =
        |permille: usize| latencies[(latencies.len() * permille / 1_000).min(latencies.len() - 1)].as_secs_f64() * 1e6;
    println!("{what:<58} {:>7.0} {:>7.0} {:>7.0} {:>7.0}", at(500), at(900), at(990), at(1_000));
}

/// When each sample is due.
fn schedule(rate: u64, samples: usize) -> impl Iterator<Item = Instant> {
    let start = Instant::now() + Duration::from_millis(50);
    (0..samples as u64 + WARM_UP as u64).map(move |n| start + Duration::from_nanos(n * 1_000_000_000 / rate))
}

fn sleep_until(due: Instant) {
    thread::sleep(due.saturating_duration_since(Instant::now()));
}

// ---- the program ----------------------------------------------------------------------------------------------

struct Bus {
    root: tempfile::TempDir,
}

impl Bus {
    fn new() -> Bus {
        let bus = Bus { root: tempfile::tempdir().unwrap() };
        let credentials = bus.path("state/credentials");
        std::fs::create_dir_all(&credentials).unwrap();
        let secret = credentials.join("github-webhook-secret");
        std::fs::write(&secret, SECRET).unwrap();
        std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        bus
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn directories(&self) -> Directories {
        Directories { runtime: self.path("run"), state: self.path("state"), config: self.path("config") }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waitbus"));
        command.args(arguments).envs(self.directories().variables()).stdin(Stdio::null());
        command
    }

    /// Starts a service; returns it and the line with which it said that it is ready.
    fn start(&self, arguments: &[&str]) -> (Service, String) {
        let mut child = self.command(arguments).env("WAITBUS_LOG", "warn").stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (Service(child), line.trim().to_owned())
    }

    fn subscribe(&self) -> UnixStream {
        let mut stream = UnixStream::connect(self.path("run/broadcast.sock")).unwrap();
        let body = br#"{"heartbeat":false}"#;
        stream.write_all(&u32::try_from(body.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(body).unwrap();
        read_frame(&mut stream);
        stream
    }
}

struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn read_frame(stream: &mut UnixStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body).unwrap();
    body
}

/// Reads frames and notes when each had arrived, in order.
fn receive(mut stream: UnixStream, count: usize) -> mpsc::Receiver<Instant> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for _ in 0..count {
            read_frame(&mut stream);
            sender.send(Instant::now()).unwrap();
        }
    });
    receiver
}

fn latencies(due: &[Instant], received: &mpsc::Receiver<Instant>) -> Vec<Duration> {
    due.iter().map(|due| received.recv().unwrap().duration_since(*due)).collect()
}

/// A delivery about another run each time, because what is said twice is stored once; all of the same length.
fn delivery(number: usize) -> Vec<u8> {
    let run = (100_000_000 + number).to_string();
    let body = String::from_utf8(PAYLOAD.to_vec()).unwrap().replace(RUN_ID, &run);
    let head = format!(
        "POST /webhook HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nx-github-event: workflow_run\r\n\
         x-github-delivery: {number}\r\nx-hub-signature-256: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        sign(SECRET, body.as_bytes()),
        body.len()
    );
    (head + &body).into_bytes()
}

/// Posts each delivery on a connection of its own when it is due, from a few threads, as webhooks come.
fn post(address: &str, rate: u64, samples: usize) -> Vec<Instant> {
    const SENDERS: usize = 4;
    let due: Vec<_> = schedule(rate, samples).collect();
    let threads: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let mine: Vec<_> = due.iter().copied().enumerate().skip(sender).step_by(SENDERS).collect();
            let address = address.to_owned();
            thread::spawn(move || {
                for (number, due) in mine {
                    let request = delivery(number);
                    sleep_until(due);
                    let mut stream = TcpStream::connect(&address).unwrap();
                    stream.write_all(&request).unwrap();
                    let mut answer = String::new();
                    stream.read_to_string(&mut answer).unwrap();
                    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    due
}

fn webhook(rate: u64, samples: usize) -> Vec<Duration> {
    let bus = Bus::new();
    let (_service, ready) = bus.start(&["serve", "--addr", "127.0.0.1:0"]);
    let address = ready.rsplit_once("webhook=").unwrap().1.to_owned();
    let received = receive(bus.subscribe(), samples + WARM_UP);
    let due = post(&address, rate, samples);
    latencies(&due, &received)
}

fn emit(rate: u64, samples: usize) -> Vec<Duration> {
    let bus = Bus::new();
    let (_service, _) = bus.start(&["hub"]);
    let received = receive(bus.subscribe(), samples + WARM_UP);
    let mut publisher = Publisher::open(&bus.directories()).unwrap();
    let mut due = Vec::new();
    for moment in schedule(rate, samples) {
        sleep_until(moment);
        publisher.publish(&draft()).unwrap();
        due.push(moment);
    }
    latencies(&due, &received)
}

fn draft() -> Draft {
    Draft {
        source: "bench".into(),
        event_type: "finished".into(),
        ingest_method: ingest_method::EMIT,
        summary: "a line of the usual length, for a person to read".into(),
        fields: json!({"status": "completed", "conclusion": "success", "text": "x".repeat(300)})
            .as_object()
            .cloned()
            .unwrap(),
        ..Draft::default()
    }
}

// ---- the floors -----------------------------------------------------------------------------------------------

/// A server that reads the request, commits the row and writes the frame: no signature, no parsing, no hub.
fn webhook_floor(rate: u64, samples: usize) -> Vec<Duration> {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (mut sender, receiver) = UnixStream::pair().unwrap();
    let mut writer = Writer::open(&LogPaths::new(directory.path())).unwrap();
    let received = receive(receiver, samples + WARM_UP);
    thread::spawn(move || {
        let (draft, frame) =
            (Draft { payload: Some(String::from_utf8(PAYLOAD.to_vec()).unwrap()), ..draft() }, frame());
        let mut request = vec![0; delivery(0).len() + 16];
        for stream in listener.incoming().take(samples + WARM_UP) {
            let mut stream = stream.unwrap();
            let mut length = 0;
            while length < PAYLOAD.len() || !request[..length].ends_with(&PAYLOAD[PAYLOAD.len() - 16..]) {
                length += stream.read(&mut request[length..]).unwrap();
            }
            writer.append(&draft, SystemTime::now()).unwrap();
            sender.write_all(&frame).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        }
    });
    let due = post(&address, rate, samples);
    latencies(&due, &received)
}

/// A commit, a byte to a thread, a frame from there.
fn emit_floor(rate: u64, samples: usize) -> Vec<Duration> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hop.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let (mut sender, receiver) = UnixStream::pair().unwrap();
    thread::spawn(move || {
        let (mut bell, frame) = (listener.accept().unwrap().0, frame());
        while bell.read_exact(&mut [0]).is_ok() {
            sender.write_all(&frame).unwrap();
        }
    });
    let received = receive(receiver, samples + WARM_UP);
    let mut writer = Writer::open(&LogPaths::new(directory.path())).unwrap();
    let mut bell = UnixStream::connect(&path).unwrap();
    let mut due = Vec::new();
    for moment in schedule(rate, samples) {
        sleep_until(moment);
        writer.append(&draft(), SystemTime::now()).unwrap();
        bell.write_all(&[1]).unwrap();
        due.push(moment);
    }
    latencies(&due, &received)
}

fn frame() -> Vec<u8> {
    let body = vec![b'x'; 600];
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
}

// ---- what it costs --------------------------------------------------------------------------------------------

fn throughput() {
    const EVENTS: usize = 20_000;
    let bus = Bus::new();
    let (_service, _) = bus.start(&["hub"]);
    let received = receive(bus.subscribe(), EVENTS);
    let mut publisher = Publisher::open(&bus.directories()).unwrap();
    let start = Instant::now();
    for _ in 0..EVENTS {
        publisher.publish(&draft()).unwrap();
    }
    let published = start.elapsed();
    for _ in 0..EVENTS {
        received.recv().unwrap();
    }
    println!(
        "emits a second, one by one, and as delivered               {:>7.0} {:>7.0}",
        per_second(EVENTS, published),
        per_second(EVENTS, start.elapsed())
    );
    deliveries();
}

fn deliveries() {
    const SENDERS: usize = 8;
    const EACH: usize = 1_000;
    let bus = Bus::new();
    let (_service, ready) = bus.start(&["serve", "--addr", "127.0.0.1:0"]);
    let address = ready.rsplit_once("webhook=").unwrap().1.to_owned();
    let received = receive(bus.subscribe(), SENDERS * EACH);
    let start = Instant::now();
    let threads: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let address = address.clone();
            thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_nodelay(true).unwrap();
                let mut answer = [0; 4_096];
                for number in 0..EACH {
                    let request = delivery(sender * EACH + number);
                    let request = String::from_utf8(request).unwrap().replacen("connection: close\r\n", "", 1);
                    stream.write_all(request.as_bytes()).unwrap();
                    let length = stream.read(&mut answer).unwrap();
                    assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    for _ in 0..SENDERS * EACH {
        received.recv().unwrap();
    }
    println!(
        "signed webhooks a second, synced, 8 connections            {:>7.0}",
        per_second(SENDERS * EACH, start.elapsed())
    );
}

#[allow(clippy::cast_precision_loss, reason = "a few thousand")]
fn per_second(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

fn start_up() {
    let bus = Bus::new();
    let (_service, _) = bus.start(&["hub"]);
    let id = String::from_utf8(bus.command(&["mark"]).output().unwrap().stdout).unwrap();
    let emit = ["emit", "--source", "bench", "--type", "finished"];
    let wait = ["wait", "--source", "bench", "--after", id.trim()];
    let timed = |what: &str, mut command: Command| {
        let times = (0..200 + WARM_UP / 10).map(|_| {
            let start = Instant::now();
            assert!(command.stdout(Stdio::null()).status().unwrap().success());
            start.elapsed()
        });
        let times: Vec<_> = times.collect();
        report(what, times.into_iter().skip(WARM_UP / 10).collect());
    };
    timed("`true`, exec to exit", Command::new("true"));
    timed("`waitbus emit`, exec to exit", bus.command(&emit));
    timed("`waitbus wait` whose answer is in the log, exec to exit", bus.command(&wait));
}

fn costs() {
    const WAITERS: u32 = 500;
    let bus = Bus::new();
    let (hub, _) = bus.start(&["hub"]);
    let memory = |pid: u32| number(pid, "VmRSS");
    let idle = memory(hub.0.id());
    println!("idle hub: {idle} KiB resident ({} KiB of them its own)", number(hub.0.id(), "RssAnon"));
    let mut wait = bus.command(&["wait", "-v", "--source", "nobody"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(wait.stderr.take().unwrap()).read_line(&mut line).unwrap();
    println!("blocked wait: {} KiB resident ({} KiB of them its own)", memory(wait.id()), number(wait.id(), "RssAnon"));
    let subscribers: Vec<_> = (0..WAITERS).map(|_| bus.subscribe()).collect();
    println!(
        "each of {WAITERS} more subscribers: {:.1} KiB in the hub",
        f64::from(u32::try_from(memory(hub.0.id()) - idle).unwrap()) / f64::from(WAITERS)
    );
    let switches = || number(hub.0.id(), "voluntary_ctxt_switches") + number(wait.id(), "voluntary_ctxt_switches");
    // What has just happened is over, and both sleep.
    thread::sleep(Duration::from_secs(1));
    let before = switches();
    thread::sleep(Duration::from_mins(1));
    println!("wake-ups of hub and wait in an idle minute: {}", switches() - before);
    drop(subscribers);
    let _ = wait.kill();
    let _ = wait.wait();
}

fn number(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
