//! Those who hear: a reader that resumes from its last cursor, in a few lines from PROTOCOL.md, and `waitbus tail`.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use serde_json::{Value, json};

use super::{Run, Ticks};
use crate::harness::{PATIENCE, Process};

const BEGINNING: &str = "00000000000000000000000000";

/// Reads to the event of source `end`, over as many connections as it takes. Returns the ids of the events.
pub fn resume(run: &Run, ticks: &Ticks) -> Vec<String> {
    let mut ids = Vec::<String>::new();
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        // While the hub is down this waits for its successor.
        drop(run.hub.lock().unwrap());
        let cursor = ids.last().map_or(BEGINNING, |id| id).to_owned();
        let Some(mut stream) = subscribe(run, &cursor) else { continue };
        let Some(ack) = frame(&mut stream) else { continue };
        assert_eq!((&ack["kind"], &ack["cursor"]), (&json!("subscribe_ack"), &json!(cursor)), "{ack}");
        while let Some(frame) = frame(&mut stream) {
            assert_eq!(frame["kind"], "event", "{frame}");
            ids.push(frame["event_id"].as_str().unwrap().to_owned());
            let _ = ticks.send(());
            if frame["source"] == "end" {
                return ids;
            }
        }
    }
    panic!("the last event never came; {} came before it", ids.len());
}

fn subscribe(run: &Run, cursor: &str) -> Option<UnixStream> {
    let mut stream = UnixStream::connect(run.bus.broadcast()).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let body = json!({"proto": 1, "since": cursor, "heartbeat": false}).to_string();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length, body.as_bytes()].concat()).ok()?;
    Some(stream)
}

/// The next whole frame, or `None` if the hub died before it was sent.
fn frame(stream: &mut UnixStream) -> Option<Value> {
    let mut length = [0; 4];
    read(stream, &mut length)?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    read(stream, &mut body)?;
    Some(serde_json::from_slice(&body).unwrap())
}

fn read(stream: &mut UnixStream, buffer: &mut [u8]) -> Option<()> {
    match stream.read_exact(buffer) {
        Ok(()) => Some(()),
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof) => None,
        Err(error) => panic!("{error}"),
    }
}

/// A `tail` from the beginning, attached. It has started the hub itself.
pub fn tail(run: &Run) -> Process {
    let mut tail = Process::start(run.bus.command(&["tail", "--json", "-v", "--after", BEGINNING]));
    tail.attached();
    tail
}

/// What it prints, to the event of source `end`. Returns the ids of the events.
pub fn printed(tail: &mut Process, ticks: &Ticks) -> Vec<String> {
    let mut ids = Vec::new();
    loop {
        let event: Value = serde_json::from_str(&tail.line()).unwrap();
        ids.push(event["event_id"].as_str().unwrap().to_owned());
        let _ = ticks.send(());
        if event["source"] == "end" {
            return ids;
        }
    }
}
