//! Those who tell the bus something: emitting processes, batches, and a sender of webhooks that sends again whatever was
//! not acknowledged, as GitHub's operator would.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::sync::Mutex;

use serde_json::{Value, json};

use super::{Run, Ticks};
use crate::harness::{PATIENCE, SECRET, request};

/// Processes of `emit`, one after the other.
pub const EMITS: u64 = 40;
/// Webhooks.
pub const DELIVERIES: u64 = 40;
/// Batches …
pub const BATCHES: u64 = 4;
/// … and events of each.
pub const BATCH: usize = 250;

/// The process that does the work at the moment. It can be killed from outside without hitting another one, because it
/// is reaped under the lock.
#[derive(Default)]
pub struct Slot(Mutex<Option<Child>>);

impl Slot {
    pub fn kill(&self) {
        if let Some(child) = &mut *self.0.lock().unwrap() {
            child.kill().unwrap();
        }
    }

    /// Starts `waitbus emit …`, lets `feed` write to it, and returns what it printed and whether it ended well.
    fn run(&self, run: &Run, arguments: &[&str], feed: impl FnOnce(&mut dyn Write)) -> (String, bool) {
        let mut command = run.bus.command(&[&["emit"], arguments].concat());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        *self.0.lock().unwrap() = Some(child);
        feed(&mut stdin);
        drop(stdin);
        let mut printed = String::new();
        stdout.read_to_string(&mut printed).unwrap();
        let mut child = self.0.lock().unwrap();
        let ended_well = child.take().unwrap().wait().unwrap().success();
        (printed, ended_well)
    }
}

/// Emits one event after the other. Returns the ids that were printed: each of them is a promise, even if its process
/// was killed right after it.
pub fn emit(run: &Run, ticks: &Ticks) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..EMITS {
        let field = format!("n={n}");
        let arguments = ["--source", "deploy", "--type", "finished", "--field", &field];
        let (printed, _) = run.emit.run(run, &arguments, |_| {});
        if let Some(id) = printed.strip_suffix('\n') {
            ids.push(id.to_owned());
            let _ = ticks.send(());
        }
    }
    ids
}

/// Emits batches; those with a cut are killed once so many of their lines are written. Returns the numbers of those
/// that exited 0.
pub fn batches(run: &Run, cuts: &[Option<usize>], ticks: &Ticks) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    for (number, &cut) in (0..).zip(cuts) {
        let feed = |stdin: &mut dyn Write| {
            for n in 0..BATCH {
                if cut == Some(n) {
                    run.batch.kill();
                }
                let fields = json!({"batch": number, "n": n, "text": "x".repeat(500)});
                let line = json!({"source": "batch", "type": "finished", "fields": fields});
                // It may be dead already.
                let _ = writeln!(stdin, "{line}");
            }
        };
        let (_, ended_well) = run.batch.run(run, &["--batch"], feed);
        if ended_well {
            acknowledged.push(number);
            let _ = ticks.send(());
        }
    }
    acknowledged
}

/// Posts deliveries, each until it is answered with 2xx. Returns the ids that the answers name.
pub fn deliver(run: &Run, ticks: &Ticks) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..DELIVERIES {
        let body = json!({"action": "created", "n": n}).to_string();
        let answer = loop {
            // While the listener is down this waits for its successor.
            let address = run.listener.lock().unwrap().1;
            if let Some(answer) = post(address, &format!("delivery-{n}"), body.as_bytes()) {
                break answer;
            }
        };
        ids.push(answer["event_id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned());
        let _ = ticks.send(());
    }
    ids
}

/// The body of a 2xx, or `None` if there was no whole answer. Any other answer fails the test.
fn post(address: SocketAddr, id: &str, body: &[u8]) -> Option<Value> {
    let signature = waitbus::ingest::signature::sign(SECRET, body);
    let headers = [
        ("content-type", "application/json"),
        ("connection", "close"),
        ("x-github-event", "issues"),
        ("x-github-delivery", id),
        ("x-hub-signature-256", &signature),
    ];
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&request("POST", "/webhook", &headers, body)).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 2"), "{answer}");
    serde_json::from_str(body).ok()
}
