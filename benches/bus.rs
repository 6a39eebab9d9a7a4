//! A private bus with the built program in every role, and the process that receives from it.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use waitbus::config::directories::Directories;
pub use waitbus::measure::bus::draft;
use waitbus::measure::{Receiver, Seen, bus, receiver};

/// What the deliveries are signed with.
pub const SECRET: &[u8] = b"a secret for benchmarks";

/// Everything from now on, and nothing else.
pub const PLAIN: &str = "{\"heartbeat\":false}";

/// Numbers come back below this one: what carries them may need one of a certain length.
pub const NUMBERS: u64 = 100_000_000;

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

    /// Where subscribers connect.
    pub fn socket(&self) -> PathBuf {
        self.path("run/broadcast.sock")
    }

    pub fn directories(&self) -> Directories {
        Directories { runtime: self.path("run"), state: self.path("state"), config: self.path("config") }
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waitbus"));
        command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.directories().variables()).env("WAITBUS_LOG", "warn").stdin(Stdio::null());
        command
    }

    /// Starts a service; returns it and the line with which it said that it is ready.
    pub fn start(&self, arguments: &[&str]) -> (Service, String) {
        Service::start(&mut self.command(arguments))
    }

    /// Hub and webhook listener in one process, and the listener's address.
    pub fn serve(&self) -> (Service, String) {
        self.write("state/credentials/github-webhook-secret", SECRET);
        let (service, ready) = self.start(&["serve", "--addr", "127.0.0.1:0"]);
        (service, ready.rsplit_once("webhook=").unwrap().1.to_owned())
    }

    /// Writes a file that only its user may read.
    pub fn write(&self, name: &str, text: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    }

    /// A `wait` for what never comes, which is attached.
    pub fn blocked_wait(&self) -> Service {
        let mut command = self.command(&["wait", "-v", "--source", "nobody"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.contains("attached after ")), "the wait has ended");
        Service(child)
    }

    /// A process that receives so many events, with the number of each in the field `n`.
    pub fn receiver(&self, count: u64) -> Receiver {
        self.receiver_of(count, PLAIN, "n")
    }

    /// The same of what `subscribe` asks for, with the number in another field.
    pub fn receiver_of(&self, count: u64, subscribe: &str, field: &str) -> Receiver {
        let mut command = role("receive");
        command.arg(self.socket()).arg(count.to_string()).arg(subscribe).arg(field);
        Receiver::start(&mut command).unwrap()
    }

    /// How many subscribe to the hub, as it says itself.
    pub fn subscribers(&self) -> u64 {
        let mut stream = subscribe(&self.socket(), "{\"heartbeat\":false,\"status\":true}");
        let mut body = Vec::new();
        read_frame(&mut stream, &mut body);
        let status: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(status["kind"], "hub_status");
        status["subscribers"].as_u64().unwrap()
    }
}

/// A service that is killed when this is dropped.
pub struct Service(pub Child);

impl Service {
    /// Starts it; returns it and the line with which it said that it is ready.
    pub fn start(command: &mut Command) -> (Service, String) {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "{command:?} has ended");
        (Service(child), line.trim().to_owned())
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// This program, as something else than the one that measures.
pub fn role(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(name).stdin(Stdio::null());
    command
}

/// Connects, asks for what the frame says, and reads the acknowledgement.
pub fn subscribe(socket: &Path, frame: &str) -> UnixStream {
    let stream = bus::subscribe(socket, frame).unwrap();
    // What some questions ask may take its time.
    stream.set_read_timeout(None).unwrap();
    stream
}

pub fn read_frame(stream: &mut impl Read, body: &mut Vec<u8>) {
    bus::read_frame(stream, body).unwrap();
}

/// The number that an event carries in a field: as a number, or as the text that a file's name is.
pub fn number(frame: &Value, field: &str) -> u64 {
    let value = &frame["fields"][field];
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap() % NUMBERS
}

/// The role `receive SOCKET COUNT SUBSCRIBE FIELD`: a client of PROTOCOL.md that notes each event.
pub fn receive(arguments: &[String]) {
    let [socket, count, frame, field] = arguments else { panic!("{arguments:?}") };
    let count = count.parse().unwrap();
    let mut stream = subscribe(socket.as_ref(), frame);
    let mut out = std::io::stdout();
    Seen::ready(&mut out).unwrap();
    let mut seen = Seen::expecting(count);
    let mut body = Vec::new();
    let mut left = count;
    while left > 0 {
        read_frame(&mut stream, &mut body);
        let at = receiver::now();
        let frame: Value = serde_json::from_slice(&body).unwrap();
        if frame["kind"] == "event" {
            seen.note(number(&frame, field), at);
            left -= 1;
        }
    }
    seen.tell(&mut out).unwrap();
}

/// So many in that time, a second.
pub fn per_second(count: u64, time: Duration) -> f64 {
    ratio(count, 1) / time.as_secs_f64()
}

/// How often the one contains the other.
#[expect(clippy::cast_precision_loss, reason = "what is measured is told to three digits")]
pub fn ratio(of: u64, to: u64) -> f64 {
    of as f64 / to as f64
}
