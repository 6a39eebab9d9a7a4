//! A private bus with the built program in every role, and the process that receives from it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use waitbus::config::directories::Directories;
use waitbus::measure::{Receiver, Seen, receiver};
use waitbus::model::event::{Draft, ingest_method};

pub struct Bus {
    pub root: tempfile::TempDir,
}

impl Bus {
    pub fn new() -> Bus {
        Bus { root: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn directories(&self) -> Directories {
        Directories { runtime: self.path("run"), state: self.path("state"), config: self.path("config") }
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waitbus"));
        command.args(arguments).envs(self.directories().variables()).env("WAITBUS_LOG", "warn").stdin(Stdio::null());
        command
    }

    /// Starts a service; returns it and the line with which it said that it is ready.
    pub fn start(&self, arguments: &[&str]) -> (Service, String) {
        let mut child = self.command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (Service(child), line.trim().to_owned())
    }

    /// A process that receives so many events, with the number of each in the field `n`.
    pub fn receiver(&self, count: u64) -> Receiver {
        let socket = self.path("run/broadcast.sock");
        Receiver::start(role("receive").arg(socket).arg(count.to_string())).unwrap()
    }

    pub fn subscribe(&self) -> UnixStream {
        subscribe(&self.path("run/broadcast.sock"), "{\"heartbeat\":false}")
    }
}

/// A service that is killed when this is dropped.
pub struct Service(pub Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// This program, as something else than the one that measures.
pub fn role(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(name);
    command
}

pub fn subscribe(socket: &std::path::Path, frame: &str) -> UnixStream {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(&u32::try_from(frame.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(frame.as_bytes()).unwrap();
    read_frame(&mut stream, &mut Vec::new());
    stream
}

pub fn read_frame(stream: &mut UnixStream, body: &mut Vec<u8>) {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    body.resize(u32::from_be_bytes(length) as usize, 0);
    stream.read_exact(body).unwrap();
}

/// The role `receive SOCKET COUNT`: a client of PROTOCOL.md that notes each event.
pub fn receive(arguments: &[String]) {
    let count = arguments[1].parse().unwrap();
    let mut stream = subscribe(arguments[0].as_ref(), "{\"heartbeat\":false}");
    let mut out = std::io::stdout();
    Seen::ready(&mut out).unwrap();
    let mut seen = Seen::expecting(count);
    let mut body = Vec::new();
    for _ in 0..count {
        read_frame(&mut stream, &mut body);
        let at = receiver::now();
        let frame: serde_json::Value = serde_json::from_slice(&body).unwrap();
        seen.note(frame["fields"]["n"].as_u64().unwrap(), at);
    }
    seen.tell(&mut out).unwrap();
}

/// An event of the usual size: its frame has about 600 bytes.
pub fn draft(number: u64) -> Draft {
    Draft {
        source: "bench".into(),
        event_type: "finished".into(),
        ingest_method: ingest_method::EMIT,
        summary: "a line of the usual length, for a person to read".into(),
        fields: json!({"n": number, "status": "completed", "conclusion": "success", "text": "x".repeat(300)})
            .as_object()
            .cloned()
            .unwrap(),
        ..Draft::default()
    }
}

/// So many in so many nanoseconds, a second.
#[expect(clippy::cast_precision_loss, reason = "a rate is told to three digits")]
pub fn per_second(count: u64, nanoseconds: u64) -> f64 {
    count as f64 * 1e9 / nanoseconds as f64
}
