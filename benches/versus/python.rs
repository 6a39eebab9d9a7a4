//! The earlier waitbus, 0.2.0, a package of Python: the same webhooks, commands and subscriber. It commits an event to
//! its `SQLite` log as ours does (a write-ahead log with `synchronous=NORMAL`); unlike ours it does not sync a webhook.
//!
//! `benches/run` installs it below the user's cache directory. What is done to it is what its own units do, but for two
//! things: its directories are private, and its listener gets a free port. The port is a constant of the module, so the
//! listener is started by a line of Python that sets it and then calls the module's `main`.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use waitbus::measure::{Latencies, Receiver, Schedule, receiver};

use super::server::{self, Outcome};
use super::{Inbox, all, receiving};
use crate::bus::{NUMBERS, SECRET, Service, per_second, read_frame, subscribe};
use crate::pace::{samples, send, warm_up};
use crate::report::Report;
use crate::webhook::delivery;

/// How long a service may take to say that it is ready.
const START: Duration = Duration::from_secs(30);

/// Webhooks for the rate at which they come through, and connections over which they come.
const MANY: u64 = 1_500;
const CONNECTIONS: u64 = 8;

/// How often each command is run.
const COMMANDS: u64 = 20;

pub fn wake(report: &mut Report) {
    told(report, "webhook to recv, 100/s", "committed, not synced", webhook, Report::latencies);
}

pub fn ingest(report: &mut Report) {
    let what = "signed webhooks synced and delivered, 8 keep-alive connections";
    // It speaks HTTP/1.0: each of the eight ends with an answer, and is opened again.
    told(report, what, "committed, not synced, not kept alive", flood, |report, what, who, rate| {
        report.number(what, who, rate, "/s");
    });
}

/// What is done is what ours is told for; its flags have other names.
pub fn startup(report: &mut Report) {
    let what = "`waitbus emit --source bench --type finished`, exec to exit";
    told(report, what, "committed, not synced", emit, Report::latencies);
    let what = "`waitbus wait --source bench --after MARK`, exec to exit";
    told(report, what, "replayed by its hub", wait, Report::latencies);
}

fn told<T>(
    report: &mut Report,
    what: &'static str,
    how: &str,
    measure: fn(&Python) -> Outcome<T>,
    tell: impl FnOnce(&mut Report, &'static str, String, T),
) {
    let measured = Python::new().and_then(|python| Ok((measure(&python)?, python.version)));
    match measured {
        Ok((figure, version)) => tell(report, what, format!("waitbus {version} (Python), {how}"), figure),
        Err(error) => report.skipped(what, "waitbus (Python)", error),
    }
}

/// A private bus of that waitbus.
struct Python {
    programs: PathBuf,
    version: String,
    root: tempfile::TempDir,
}

impl Python {
    fn new() -> Outcome<Python> {
        let cache = std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
        let cache = cache.or_else(|| Some(std::env::home_dir()?.join(".cache"))).ok_or("no cache directory")?;
        let programs = cache.join("waitbus-bench/bin");
        let version = server::version(&[&programs.join("waitbus").to_string_lossy(), "--version"])?;
        let python = Python { programs, version, root: tempfile::tempdir()? };
        let state = python.directory("state");
        fs::create_dir(&state)?;
        let secrets = state.join("secrets.json");
        fs::write(&secrets, serde_json::json!({"github-webhook-secret": str::from_utf8(SECRET)?}).to_string())?;
        fs::set_permissions(secrets, PermissionsExt::from_mode(0o600))?;
        Ok(python)
    }

    fn directory(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.private(server::program(&self.path("waitbus")), arguments)
    }

    fn path(&self, program: &str) -> String {
        self.programs.join(program).to_string_lossy().into_owned()
    }

    fn private(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.args(arguments).env("HOME", self.root.path()).env("WAITBUS_LOG_LEVEL", "WARNING");
        for (variable, name) in
            [("WAITBUS_STATE_DIR", "state"), ("WAITBUS_RUNTIME_DIR", "run"), ("WAITBUS_CONFIG_DIR", "config")]
        {
            command.env(variable, self.directory(name));
        }
        command
    }

    /// Starts a service, which says as systemd wants it when it is ready.
    fn service(&self, program: &str, arguments: &[&str]) -> Outcome<Service> {
        let path = self.directory("ready");
        let ready = UnixDatagram::bind(&path)?;
        ready.set_read_timeout(Some(START))?;
        let service =
            Service(self.private(server::service(&self.path(program)), arguments).env("NOTIFY_SOCKET", &path).spawn()?);
        let mut text = [0; 256];
        loop {
            let length = ready.recv(&mut text).map_err(|error| format!("{program} {arguments:?}: {error}"))?;
            if text[..length].starts_with(b"READY=1") {
                fs::remove_file(path)?;
                return Ok(service);
            }
        }
    }

    fn hub(&self) -> Outcome<Service> {
        self.service("waitbus", &["broadcast", "serve"])
    }

    /// Starts the listener on a free port.
    fn listener(&self) -> Outcome<(Service, u16)> {
        const START_AT: &str = "import sys, waitbus.listener as listener; listener.LISTEN_PORT = int(sys.argv[1]); \
                                sys.exit(listener.main())";
        let port = server::free_port()?;
        Ok((self.service("python", &["-c", START_AT, &port.to_string()])?, port))
    }
}

/// A subscriber of its broadcast socket, whose protocol is the one that ours grew out of.
struct Subscriber {
    stream: UnixStream,
    body: Vec<u8>,
}

#[expect(clippy::unnecessary_wraps, reason = "it is one of those that can fail")]
pub fn inbox(directory: &Path) -> Outcome<Box<dyn Inbox>> {
    let stream = subscribe(&directory.join("run/broadcast.sock"), r#"{"proto":1,"filters":["*"]}"#);
    Ok(Box::new(Subscriber { stream, body: Vec::new() }))
}

impl Inbox for Subscriber {
    fn receive(&mut self) -> io::Result<()> {
        read_frame(&mut self.stream, &mut self.body);
        Ok(())
    }

    fn number(&self) -> Option<u64> {
        let frame: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        (frame["kind"] == "event").then(|| frame["fields"]["run_id"].as_u64())?.map(|id| id % NUMBERS)
    }
}

/// Posts a delivery, whose answer ends with the connection.
fn post(port: u16, delivery: &[u8]) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(delivery).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
}

fn webhook(python: &Python) -> Outcome<Latencies> {
    const RATE: u64 = 100;
    let (_hub, (_listener, port)) = (python.hub()?, python.listener()?);
    let samples = samples(5_000);
    let total = samples + warm_up(samples);
    let receiver = Receiver::start(&mut receiving("python", python.root.path(), total, total / RATE))?;
    let schedule = Schedule::begin(RATE);
    send(&schedule, total, |number| delivery(number, "close"), |delivery| post(port, &delivery));
    all(receiver.latencies(&schedule, warm_up(samples))?, samples)
}

/// Webhooks a second, from the first until the subscriber has all of them.
fn flood(python: &Python) -> Outcome<f64> {
    let (_hub, (_listener, port)) = (python.hub()?, python.listener()?);
    let total = samples(MANY);
    let receiver = Receiver::start(&mut receiving("python", python.root.path(), total, 60))?;
    let deliveries: Vec<_> = (0..total).map(|number| delivery(number, "close")).collect();
    let next = AtomicU64::new(0);
    let start = receiver::now();
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let number = || usize::try_from(next.fetch_add(1, Ordering::Relaxed)).ok();
                while let Some(delivery) = number().and_then(|number| deliveries.get(number)) {
                    post(port, delivery);
                }
            });
        }
    });
    let latencies = all(receiver.latencies_since(|_| start, 0)?, total)?;
    Ok(per_second(total, Duration::from_nanos(latencies.at(1.0).at)))
}

fn emit(python: &Python) -> Outcome<Latencies> {
    let _hub = python.hub()?;
    commands(|number| python.command(&emission(&number.to_string())))
}

fn emission(id: &str) -> [&str; 17] {
    [
        "emit",
        "--delivery-id",
        id,
        "--source",
        "pytest",
        "--event-type",
        "pytest_session",
        "--owner",
        "waitbus",
        "--repo",
        "bench",
        "--received-at",
        "2026-01-01T00:00:00Z",
        "--payload-json",
        "{}",
        "--ingest-method",
        "bench",
    ]
}

fn wait(python: &Python) -> Outcome<Latencies> {
    let _hub = python.hub()?;
    if !python.command(&emission("answer")).status()?.success() {
        return Err("its emit fails".into());
    }
    // A cursor that it does not know means everything that there is.
    let all = "0".repeat(26);
    commands(|_| python.command(&["wait", "--source", "pytest", "--since", &all, "--timeout", "30s"]))
}

/// Runs commands one after the other; each takes from the call of exec to its exit.
fn commands(command: impl Fn(u64) -> Command) -> Outcome<Latencies> {
    let samples = samples(COMMANDS);
    let total = samples + warm_up(samples).min(samples);
    let mut latencies = Latencies::default();
    for number in 0..total {
        let mut command = command(number);
        let start = receiver::now();
        let status = command.stdout(Stdio::null()).status()?;
        let took = receiver::now() - start;
        if !status.success() {
            return Err(format!("{command:?}: {status}").into());
        }
        if number >= total - samples {
            latencies.record(took);
        }
    }
    Ok(latencies)
}
