//! A webhook is answered only when its row is on stable storage, and its wake does not wait for that: the order of
//! the system calls, as the kernel saw them.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use serde_json::json;
use waitbus::ingest::signature::sign;

use crate::harness::{Bus, PATIENCE, Process, SECRET, deliver, payload, read_answer, request, skip, works};

const BODY: &[u8] = b"{}";

fn may_trace(test: &str) -> bool {
    let may = works(&["strace", "-D", "-f", "-o", "/dev/null", "true"]);
    if !may {
        skip(test, "strace is missing, or may not trace");
    }
    may
}

/// A service under `strace`.
struct Traced {
    process: Process,
    address: SocketAddr,
    trace: PathBuf,
}

impl Traced {
    /// Starts it, with what strace is to do to its system calls.
    fn start(bus: &Bus, verb: &str, inject: Option<&str>) -> Traced {
        bus.set_secret();
        let trace = bus.state().join("trace");
        let calls = "-etrace=fdatasync,fsync,write,pwrite64,sendto,writev,utimensat";
        // Detached, so that the process that we start, signal and wait for is the service itself.
        let mut wrapper = vec!["strace", "-D", "-f", "-yy", "-s", "300", "-o", trace.to_str().unwrap(), calls];
        let inject = inject.map(|what| format!("-einject={what}"));
        wrapper.extend(inject.as_deref());
        let mut process = Process::start(bus.wrapped(&wrapper, &[verb, "--addr", "127.0.0.1:0"]));
        let address = process.ready().split_once("webhook=").unwrap().1.parse().unwrap();
        Traced { process, address, trace }
    }

    /// Stops it; the calls that matter, in the order in which they came back (`write`s: in which they began).
    fn calls(mut self) -> Vec<&'static str> {
        self.process.stop();
        let text = fs::read_to_string(&self.trace).unwrap();
        let mut unfinished = Vec::new();
        let mut calls = Vec::new();
        for line in text.lines() {
            let (pid, call) = line.split_once(' ').unwrap();
            let call = call.trim_start();
            let Some(kind) = kind(call) else {
                // A sync counts when it is over.
                if call.starts_with("<... f")
                    && let Some(index) = unfinished.iter().position(|(of, _)| *of == pid)
                {
                    calls.push(unfinished.swap_remove(index).1);
                }
                continue;
            };
            if kind.starts_with("sync") && call.ends_with("<unfinished ...>") {
                unfinished.push((pid, kind));
            } else {
                calls.push(kind);
            }
        }
        calls
    }
}

/// What a call is, in the words of the tests.
fn kind(call: &str) -> Option<&'static str> {
    let (name, arguments) = call.split_once('(')?;
    let on = |file: &str| arguments.split(',').next().unwrap_or_default().contains(file);
    match name {
        "pwrite64" if on("events.db-wal>") => Some("commit"),
        "write" if on("[eventfd]") => Some("eventfd"),
        "sendto" | "write" if on("<UNIX") && arguments.contains("\"\\1\", 1") => Some("doorbell"),
        "utimensat" if on("/wake>") => Some("touch"),
        "fdatasync" if on("events.db-wal>") => Some("sync log"),
        "fsync" if on("/state>") => Some("sync directory"),
        "writev" | "sendto" | "write" if on("<TCP") && arguments.contains("stored") => Some("answer stored"),
        "writev" | "sendto" | "write" if on("<TCP") && arguments.contains("duplicate") => Some("answer duplicate"),
        _ => None,
    }
}

/// The position of the last `kind` in the trace.
#[track_caller]
fn last(calls: &[&str], kind: &str) -> usize {
    calls.iter().rposition(|call| *call == kind).unwrap_or_else(|| panic!("no {kind}: {calls:?}"))
}

#[track_caller]
fn first_after(calls: &[&str], start: usize, kind: &str) -> usize {
    start + calls[start..].iter().position(|call| *call == kind).unwrap_or_else(|| panic!("no {kind}: {calls:?}"))
}

#[test]
fn a_delivery_is_committed_then_announced_then_durable_and_only_then_answered() {
    if !may_trace("a_delivery_is_committed_then_announced_then_durable_and_only_then_answered") {
        return;
    }
    for (verb, ring) in [("listen", "doorbell"), ("serve", "eventfd")] {
        let bus = Bus::new();
        let _hub = (verb == "listen").then(|| bus.hub());
        let traced = Traced::start(&bus, verb, None);
        assert_eq!(deliver(traced.address, "push", "d1", BODY).json()["status"], "stored");
        assert_eq!(deliver(traced.address, "push", "d1", BODY).json()["status"], "duplicate");
        let calls = traced.calls();
        // The hub in the same process writes to the log as well, once it has been rung.
        let answer = first_after(&calls, 0, "answer stored");
        let touched = last(&calls[..answer], "touch");
        let committed = last(&calls[..touched], "commit");
        let rung = first_after(&calls, touched, ring);
        let directory = first_after(&calls, committed, "sync directory");
        let durable = first_after(&calls, rung, "sync log");
        let answered = first_after(&calls, durable, "answer stored");
        assert!(directory < answered, "the log's directory entry is durable too: {calls:?}");
        assert_eq!(calls[committed..].iter().position(|call| *call == "sync log"), Some(durable - committed));
        let again = first_after(&calls, answered, "sync log");
        assert!(again < first_after(&calls, answered, "answer duplicate"), "a duplicate waits as well: {calls:?}");
        assert_eq!(calls.iter().filter(|call| call.starts_with("answer")).count(), 2);
    }
}

/// Sends a delivery without waiting for its answer.
fn send(address: SocketAddr, id: &str) -> TcpStream {
    let signature = sign(SECRET, BODY);
    let headers = [("x-github-event", "push"), ("x-github-delivery", id), ("x-hub-signature-256", &*signature)];
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&request("POST", "/webhook", &headers, BODY)).unwrap();
    stream
}

#[track_caller]
fn unanswered(stream: &mut TcpStream) {
    stream.set_nonblocking(true).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    stream.set_nonblocking(false).unwrap();
}

#[test]
fn a_waiter_is_awake_while_the_disk_still_works_and_neither_the_sender_nor_its_repetition_is_answered() {
    if !may_trace("a_waiter_is_awake_while_the_disk_still_works_and_neither_the_sender_nor_its_repetition_is_answered")
    {
        return;
    }
    let bus = Bus::new();
    // Every sync takes three seconds.
    let traced = Traced::start(&bus, "serve", Some("fdatasync:delay_enter=3000000"));
    let mut wait = bus.wait(&["--source", "github"]);
    let mut first = send(traced.address, "d1");
    assert_eq!(wait.code(), 0);
    let mut again = send(traced.address, "d1");
    unanswered(&mut first);
    unanswered(&mut again);
    assert_eq!(read_answer(&mut first).json()["status"], "stored");
    // Its first copy was committed before the sync that was under way, but nobody can know that.
    unanswered(&mut again);
    assert_eq!(read_answer(&mut again).json()["status"], "duplicate");
    let calls = traced.calls();
    assert_eq!(calls.iter().filter(|call| **call == "sync log").count(), 2, "{calls:?}");
}

#[test]
fn deliveries_that_come_together_share_a_sync() {
    if !may_trace("deliveries_that_come_together_share_a_sync") {
        return;
    }
    let bus = Bus::new();
    let traced = Traced::start(&bus, "serve", Some("fdatasync:delay_enter=1000000"));
    let mut streams: Vec<_> = (0..8).map(|n| send(traced.address, &format!("d{n}"))).collect();
    for stream in &mut streams {
        assert_eq!(read_answer(stream).json()["status"], "stored");
    }
    let calls = traced.calls();
    let syncs = calls.iter().filter(|call| **call == "sync log").count();
    assert!((1..=3).contains(&syncs), "{syncs} syncs for 8 deliveries: {calls:?}");
    assert_eq!(calls.iter().filter(|call| **call == "answer stored").count(), 8);
}

#[test]
fn a_sync_that_fails_is_never_answered_with_success_not_even_later() {
    if !may_trace("a_sync_that_fails_is_never_answered_with_success_not_even_later") {
        return;
    }
    // After a failed sync the kernel may have dropped the pages, and the next one says that all is well.
    let bus = Bus::new();
    let traced = Traced::start(&bus, "serve", Some("fdatasync:error=EIO:when=1"));
    for id in ["d1", "d1", "d2"] {
        let answer = deliver(traced.address, "push", id, &payload("push.payload.json"));
        assert_eq!((answer.status, &answer.json()["reason"]), (500, &json!("sync_failed")), "{answer:?}");
    }
    let calls = traced.calls();
    assert_eq!(calls.iter().filter(|call| call.starts_with("answer")).count(), 0, "{calls:?}");
}
