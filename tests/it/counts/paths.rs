//! The hot paths, each driven in a closed loop: the next event is committed when the one before has arrived and everybody
//! sleeps again, so nothing comes together that could have come alone, whatever else the machine has to do.

use std::fs::Permissions;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use waitbus::client::Publisher;
use waitbus::config::directories::Directories;
use waitbus::ingest::signature::sign;
use waitbus::model::event::{Draft, ingest_method};

use super::meter::{Counted, Counts, Meter};
use crate::harness::{Bus, PATIENCE, Process, SECRET, Subscriber, next_answer, payload, request, skip, works};
use crate::races::Trace;

/// What is counted of a path.
pub enum Unit {
    /// From exec to exit.
    Run,
    /// For each event, in runs with so many and with twice as many.
    Event(u64),
}

/// A hot path.
pub struct Path {
    pub name: &'static str,
    pub unit: Unit,
    /// Drives so many events through it, and tells what the process did that is counted.
    pub run: fn(&Meter, u64) -> Counts,
}

/// So many that several looks at the size of the log are among them.
const MANY: Unit = Unit::Event(256);
/// Of a thousand frames each, and so few that no look is among them.
const FEW: Unit = Unit::Event(24);

pub const PATHS: &[Path] = &[
    Path { name: "emit: exec to exit", unit: Unit::Run, run: emit },
    Path { name: "wait, answered by the log: exec to exit", unit: Unit::Run, run: wait_answered_by_the_log },
    Path { name: "wait, answered by an event: exec to exit", unit: Unit::Run, run: wait_answered_by_an_event },
    Path { name: "mcp emit_event: an event", unit: MANY, run: emit_event },
    Path { name: "webhook: a delivery", unit: MANY, run: deliveries },
    Path { name: "hub, 1 subscriber: an event", unit: MANY, run: |meter, events| hub(meter, events, 1, 0) },
    Path { name: "hub, 1 of 1,000 matches: an event", unit: MANY, run: |meter, events| hub(meter, events, 1, 999) },
    Path { name: "hub, 1,000 of 1,000 match: an event", unit: FEW, run: |meter, events| hub(meter, events, 1_000, 0) },
    Path { name: "tail: an event", unit: MANY, run: tail },
];

fn emit(meter: &Meter, _: u64) -> Counts {
    let bus = Bus::new();
    let _hub = heard(&bus);
    let arguments = ["emit", "--source", "deploy", "--type", "finished", "--conclusion", "success", "--field", "n=1"];
    meter.start(&bus, &arguments).end()
}

fn wait_answered_by_the_log(meter: &Meter, _: u64) -> Counts {
    let bus = Bus::new();
    let _hub = heard(&bus);
    meter.start(&bus, &["wait", "--source", "deploy", "--match", "n=0", "--after", START]).end()
}

fn wait_answered_by_an_event(meter: &Meter, _: u64) -> Counts {
    let bus = Bus::new();
    let hub = heard(&bus);
    let mut wait = meter.start(&bus, &["wait", "-v", "--source", "deploy", "--match", "n=1"]);
    wait.process.attached();
    settle(&[&hub, &wait.process]);
    publisher(&bus).publish(&draft(1)).unwrap();
    wait.end()
}

/// Of a process that publishes one event after another; agents have one. It has the protocol of agents in it, too.
fn emit_event(meter: &Meter, events: u64) -> Counts {
    let bus = Bus::new();
    deaf_hub(&bus);
    let mut server = meter.start(&bus, &["mcp"]);
    let mut stdin = server.process.child.stdin.take().unwrap();
    let mut ask = |server: &mut Counted, id: u64, method: &str, params: Value| {
        let line = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
        let answer: Value = serde_json::from_str(&server.process.line()).unwrap();
        assert_eq!(answer["id"], id, "{answer}");
        assert_ne!(answer["result"]["isError"], true, "{answer}");
        settle(&[&server.process]);
    };
    let client = json!({"name": "counts", "version": "1"});
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
    ask(&mut server, 0, "initialize", hello);
    server.begin();
    for n in FIRST..FIRST + events {
        let event = json!({"source": "deploy", "type": "finished", "fields": {"n": n, "conclusion": "success"}});
        ask(&mut server, n, "tools/call", json!({"name": "emit_event", "arguments": event}));
    }
    drop(stdin);
    server.end()
}

/// On one connection, each a run of another number: the same run would be a duplicate.
fn deliveries(meter: &Meter, events: u64) -> Counts {
    let bus = Bus::new();
    deaf_hub(&bus);
    bus.set_secret();
    let mut listener = meter.start(&bus, &["listen", "--addr", "127.0.0.1:0"]);
    let address = listener.process.ready().split_once("webhook=").unwrap().1.to_owned();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let mut body: Value = serde_json::from_slice(&payload("workflow_run.completed.payload.json")).unwrap();
    settle(&[&listener.process]);
    listener.begin();
    for n in FIRST..FIRST + events {
        body["workflow_run"]["id"] = n.into();
        let body = body.to_string().into_bytes();
        let headers = [
            ("content-type", "application/json"),
            ("x-github-event", "workflow_run"),
            ("x-github-delivery", &n.to_string()),
            ("x-hub-signature-256", &sign(SECRET, &body)),
        ];
        stream.write_all(&request("POST", "/webhook", &headers, &body)).unwrap();
        let answer = next_answer(&mut answers);
        assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("stored")), "{answer:?}");
        settle(&[&listener.process]);
    }
    drop((stream, answers));
    listener.stop()
}

/// With so many who want each event, and so many others of whom each waits for something else.
fn hub(meter: &Meter, events: u64, matching: u64, others: u64) -> Counts {
    allow_descriptors();
    let bus = Bus::new();
    let mut hub = meter.start(&bus, &["hub"]);
    hub.process.ready();
    let subscribe = |lane: u64| {
        let subscriber = bus.subscribe(&json!({"match": format!("lane={lane}"), "heartbeat": false}));
        settle(&[&hub.process]);
        subscriber
    };
    let others: Vec<_> = (1..=others).map(subscribe).collect();
    let mut waiting: Vec<_> = (0..matching).map(|_| subscribe(0)).collect();
    let mut publisher = publisher(&bus);
    settle(&[&hub.process]);
    hub.begin();
    for n in FIRST..FIRST + events {
        publisher.publish(&draft(n)).unwrap();
        waiting.iter_mut().for_each(pass_over);
        settle(&[&hub.process]);
    }
    let counts = hub.stop();
    drop(others);
    counts
}

fn tail(meter: &Meter, events: u64) -> Counts {
    let bus = Bus::new();
    let hub = heard(&bus);
    let mut tail = meter.start(&bus, &["tail", "--source", "deploy", "--after", START]);
    tail.process.line();
    let mut publisher = publisher(&bus);
    settle(&[&hub, &tail.process]);
    tail.begin();
    for n in FIRST..FIRST + events {
        publisher.publish(&draft(n)).unwrap();
        tail.process.line();
        settle(&[&hub, &tail.process]);
    }
    tail.stop()
}

/// Nothing at all. The read is what takes the time.
pub fn nothing_happens(test: &str) {
    if !works(&["strace", "-o", "/dev/null", "true"]) {
        return skip(test, "strace is missing, or may not trace");
    }
    let bus = Bus::new();
    let hub = heard(&bus);
    let wait = bus.wait(&["--source", "deploy", "--match", "n=1"]);
    let mut quiet = bus.subscribe(&json!({"heartbeat": false}));
    let traces = [&hub, &wait].into_iter().enumerate().map(|(n, process)| Trace::start(&bus, n, process));
    let traces: Vec<_> = traces.collect();
    quiet.stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    assert!(quiet.stream.read(&mut [0]).is_err());
    for trace in traces {
        let calls = trace.calls();
        assert!(!calls.iter().any(|call| call.contains(" = ")), "{calls:?}");
    }
}

// ---- what they share ------------------------------------------------------------------------------------------

/// The cursor before everything.
const START: &str = "00000000000000000000000000";
/// The number of the first event; the numbers of all of them have as many digits.
const FIRST: u64 = 1_000;

/// A hub that has heard an event, so everything is there that is made once.
fn heard(bus: &Bus) -> Process {
    let hub = bus.hub();
    let mut subscriber = bus.subscribe(&json!({"heartbeat": false}));
    publisher(bus).publish(&draft(0)).unwrap();
    assert_eq!(subscriber.numbers(1), [0]);
    settle(&[&hub]);
    hub
}

/// A doorbell that somebody answers who does not read the log: a hub that does would hold, now and then, the lock of
/// SQLite that a writer tries first.
fn deaf_hub(bus: &Bus) {
    std::fs::create_dir_all(bus.runtime()).unwrap();
    std::fs::set_permissions(bus.runtime(), Permissions::from_mode(0o700)).unwrap();
    let listener = UnixListener::bind(bus.doorbell()).unwrap();
    std::thread::spawn(move || {
        // One writer, and then nobody: the thread ends with it.
        let mut writer = listener.accept().unwrap().0;
        std::io::copy(&mut writer, &mut std::io::sink())
    });
}

/// Waits until all threads of these processes sleep, and none of them has run while that was looked at.
fn settle(processes: &[&Process]) {
    let look = || processes.iter().map(|process| asleep(process.child.id())).collect::<Option<Vec<_>>>();
    let (mut before, deadline) = (None, Instant::now() + PATIENCE);
    while Instant::now() < deadline {
        let now = look();
        if now.is_some() && now == before {
            return;
        }
        before = now;
        std::thread::yield_now();
    }
    panic!("it does not come to rest, or has ended");
}

/// How often each thread of a process has gone to sleep, if all of them sleep.
fn asleep(process: u32) -> Option<Vec<String>> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let sleeps = |status: String| {
        let slept = |line: &&str| line.starts_with("Pid:") || line.contains("ctxt_switches");
        status.contains("State:\tS").then(|| status.lines().filter(slept).collect())
    };
    // A thread may end between the two looks.
    threads.map(|thread| sleeps(std::fs::read_to_string(thread.unwrap().path().join("status")).ok()?)).collect()
}

fn publisher(bus: &Bus) -> Publisher {
    let config = bus.root().join("config");
    Publisher::open(&Directories { runtime: bus.runtime(), state: bus.state(), config }).unwrap()
}

/// An event of the usual size: its frame has about 600 bytes.
fn draft(n: u64) -> Draft {
    let fields = json!({"n": n, "lane": 0, "conclusion": "success", "text": "x".repeat(300)});
    Draft {
        source: "deploy".to_owned(),
        event_type: "finished".to_owned(),
        ingest_method: ingest_method::EMIT,
        summary: "a line of the usual length, for a person to read".to_owned(),
        fields: fields.as_object().unwrap().clone(),
        ..Draft::default()
    }
}

/// Takes a frame without a look into it.
fn pass_over(subscriber: &mut Subscriber) {
    let mut length = [0; 4];
    subscriber.stream.read_exact(&mut length).unwrap();
    subscriber.stream.read_exact(&mut vec![0; u32::from_be_bytes(length) as usize]).unwrap();
}

/// This process has the sockets of all subscribers, and so have its neighbours' tests.
fn allow_descriptors() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}
