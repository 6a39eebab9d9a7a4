//! A private bus in a temporary directory, and the means to drive it: the program itself in a cleared environment, a
//! subscriber and an HTTP client of our own that share no code with the program's.
//!
//! Nothing here waits for the clock. A process is ready when it says so, a wait is attached when it says so, and the
//! patience below only keeps a broken program from hanging the tests.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long anything may take before the test gives up on it.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The secret of every test bus.
pub const SECRET: &[u8] = b"a secret for tests";

/// A bus of its own. Dropping it removes its files; processes are killed by their own guards.
pub struct Bus {
    root: tempfile::TempDir,
}

impl Bus {
    /// A bus that nobody has used yet.
    pub fn new() -> Bus {
        hear_signals();
        Bus { root: tempfile::Builder::new().prefix("waitbus-").tempdir().unwrap() }
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    pub fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    pub fn runtime(&self) -> PathBuf {
        self.root.path().join("run")
    }

    pub fn broadcast(&self) -> PathBuf {
        self.runtime().join("broadcast.sock")
    }

    pub fn doorbell(&self) -> PathBuf {
        self.runtime().join("doorbell.sock")
    }

    pub fn database(&self) -> PathBuf {
        self.state().join("events.db")
    }

    /// The program, in an environment that has nothing but this bus.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.root.path())
            .env("WAITBUS_RUNTIME_DIR", self.runtime())
            .env("WAITBUS_STATE_DIR", self.state())
            .env("WAITBUS_CONFIG_DIR", self.root.path().join("config"))
            .current_dir(self.root.path())
            .stdin(Stdio::null());
        command
    }

    /// The program under another one, such as `strace -f`, in the same environment.
    pub fn wrapped(&self, wrapper: &[&str], arguments: &[&str]) -> Command {
        let bare = self.command(&[]);
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(bare.get_program()).args(arguments).env_clear();
        command.envs(bare.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(self.root.path()).stdin(Stdio::null());
        command
    }

    /// Runs a verb to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a verb to its end, which has to be a good one, and returns what it printed.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "waitbus {arguments:?}: {}\n{out}{err}", output.status);
        out.trim_end().to_owned()
    }

    /// Emits an event of type `finished` with one field `n`, and returns its id.
    #[track_caller]
    pub fn emit(&self, source: &str, n: u64) -> String {
        self.ok(&["emit", "--source", source, "--type", "finished", "--field", &format!("n={n}")])
    }

    /// Emits `range` as one batch, with one ring: events of `source` with the field `n`.
    #[track_caller]
    pub fn emit_batch(&self, source: &str, range: std::ops::Range<u64>) {
        let event = |n| json!({"source": source, "type": "finished", "fields": {"n": n}}).to_string();
        let lines = range.map(event).collect::<Vec<_>>().join("\n");
        let mut child = self.command(&["emit", "--batch"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// Starts the hub and returns once it is ready.
    pub fn hub(&self) -> Process {
        let mut hub = Process::start(self.command(&["hub"]));
        hub.ready();
        hub
    }

    /// Starts hub and listener in one process, with the test secret in place; returns the listener's address.
    pub fn serve(&self) -> (Process, SocketAddr) {
        self.set_secret();
        let mut process = Process::start(self.command(&["serve", "--addr", "127.0.0.1:0"]));
        let address = process.ready_webhook();
        (process, address)
    }

    /// Starts the listener alone, with the test secret in place.
    pub fn listen(&self) -> (Process, SocketAddr) {
        self.set_secret();
        let mut process = Process::start(self.command(&["listen", "--addr", "127.0.0.1:0"]));
        let address = process.ready_webhook();
        (process, address)
    }

    /// Puts the test secret where the listener looks for it.
    pub fn set_secret(&self) {
        let directory = self.state().join("credentials");
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("github-webhook-secret");
        std::fs::write(&path, SECRET).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Starts a `wait` and returns once it is attached.
    pub fn wait(&self, arguments: &[&str]) -> Process {
        let mut process = Process::start(self.command(&[&["wait", "-v"], arguments].concat()));
        process.attached();
        process
    }

    /// Subscribes to a hub that runs; the acknowledgement has been read.
    pub fn subscribe(&self, frame: &Value) -> Subscriber {
        let (subscriber, ack) = self.subscribe_with_ack(frame);
        assert_eq!(ack["kind"], "subscribe_ack", "{ack}");
        subscriber
    }

    /// Subscribes, and returns the first frame as well.
    pub fn subscribe_with_ack(&self, frame: &Value) -> (Subscriber, Value) {
        let mut subscriber = Subscriber::connect(&self.broadcast());
        subscriber.send(frame.to_string().as_bytes());
        let ack = subscriber.frame();
        (subscriber, ack)
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        // A hub that a client started is nobody's child. Its lock names it, and it goes when it is asked to.
        if let Some(pid) = lock_holder(&self.runtime().join("hub.lock")) {
            let _ = Command::new("kill").args(["-TERM", &pid.to_string()]).status();
        }
    }
}

/// The process that holds a POSIX lock on a file.
pub fn lock_holder(path: &Path) -> Option<u32> {
    use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};
    let file = std::fs::File::options().write(true).read(true).open(path).ok()?;
    let whole = Flock { start: 0, length: 0, pid: None, typ: FlockType::WriteLock, offset_type: FlockOffsetType::Set };
    let pid = fcntl_getlk(&file, &whole).ok()??.pid?;
    u32::try_from(pid.as_raw_nonzero().get()).ok()
}

/// Whoever runs the tests in the background of a shell has them ignore these signals, and with them every process that
/// they start. A handler is what a new program does not inherit.
fn hear_signals() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
            if waitbus::sys::signals::is_ignored(signal) {
                signal_hook::flag::register(signal, std::sync::Arc::default()).unwrap();
            }
        }
    });
}

/// The built program.
pub fn program() -> &'static str {
    env!("CARGO_BIN_EXE_waitbus")
}

/// A running process, killed when it is dropped. Its output is read by threads, so that it never blocks on us.
pub struct Process {
    pub child: Child,
    out: mpsc::Receiver<String>,
    err: mpsc::Receiver<String>,
}

impl Process {
    pub fn start(mut command: Command) -> Process {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = lines(child.stdout.take().unwrap());
        let err = lines(child.stderr.take().unwrap());
        Process { child, out, err }
    }

    /// The next line that it prints.
    #[track_caller]
    pub fn line(&mut self) -> String {
        self.out.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line came; standard error: {}", self.errors()))
    }

    /// Waits until it says that it is ready.
    #[track_caller]
    pub fn ready(&mut self) -> String {
        let line = self.line();
        assert!(line.starts_with("ready"), "{line}");
        line
    }

    #[track_caller]
    fn ready_webhook(&mut self) -> SocketAddr {
        let line = self.ready();
        line.split_once("webhook=").unwrap().1.parse().unwrap()
    }

    /// Waits until it says that it is attached, and returns the cursor.
    #[track_caller]
    pub fn attached(&mut self) -> String {
        self.said("attached after ").rsplit(' ').next().unwrap().to_owned()
    }

    /// Waits for a line on standard error that contains `text`.
    #[track_caller]
    pub fn said(&mut self, text: &str) -> String {
        let mut before = String::new();
        loop {
            match self.err.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => before += &(line + "\n"),
                Err(error) => panic!("{error}: it never said {text:?}; it said:\n{before}"),
            }
        }
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        // The pipe ends with the process, and a thread reads it; only then is the exit status asked for.
        loop {
            match self.out.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return self.child.wait().unwrap(),
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it did not end; it said:\n{}", self.errors()),
            }
        }
    }

    /// Waits for its end and returns how it ended, and what is left of what it printed and said.
    #[track_caller]
    pub fn ending(&mut self) -> (Option<i32>, String, String) {
        let mut lines = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.out.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => lines.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it did not end; it said:\n{}", self.errors()),
            }
        }
        let status = self.child.wait().unwrap();
        (status.code(), lines.join("\n"), self.errors())
    }

    /// Waits for its end and returns its exit code.
    #[track_caller]
    pub fn code(&mut self) -> i32 {
        self.end().code().expect("it ended by itself")
    }

    /// What is left on standard error: all of it, once the process has ended.
    pub fn errors(&mut self) -> String {
        let ended = self.child.try_wait().is_ok_and(|status| status.is_some());
        let patience = if ended { PATIENCE } else { Duration::ZERO };
        let mut lines = Vec::new();
        while let Ok(line) = self.err.recv_timeout(patience) {
            lines.push(line);
        }
        lines.join("\n")
    }

    /// Sends it a signal by its number or name.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Ends it the way a crash does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and waits until it has.
    #[track_caller]
    pub fn stop(&mut self) {
        self.signal("TERM");
        assert_eq!(self.code(), 0, "{}", self.errors());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

trait Pipe: Read + Send + 'static {}
impl Pipe for ChildStdout {}
impl Pipe for ChildStderr {}

fn lines(pipe: impl Pipe) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// What a process has said in lines of JSON, and nobody has asked for yet.
#[derive(Default)]
pub struct Said(VecDeque<Value>);

impl Said {
    /// The next of its lines for which this holds; others are kept.
    #[track_caller]
    pub fn first(&mut self, process: &mut Process, holds: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.0.iter().position(&holds) {
            return self.0.remove(at).expect("it is there");
        }
        loop {
            let line = process.line();
            let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            if holds(&said) {
                return said;
            }
            self.0.push_back(said);
        }
    }

    /// Everything that nobody has asked for.
    pub fn rest(&mut self) -> Vec<Value> {
        self.0.drain(..).collect()
    }
}

/// A subscriber that knows nothing but PROTOCOL.md.
pub struct Subscriber {
    pub stream: UnixStream,
}

impl Subscriber {
    pub fn connect(path: &Path) -> Subscriber {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Subscriber { stream }
    }

    pub fn send(&mut self, body: &[u8]) {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        self.stream.write_all(&[&length, body].concat()).unwrap();
    }

    /// The next frame.
    #[track_caller]
    pub fn frame(&mut self) -> Value {
        self.try_frame().expect("a frame, not the end")
    }

    /// The next frame, or `None` at the end of the stream.
    #[track_caller]
    pub fn try_frame(&mut self) -> Option<Value> {
        let mut length = [0; 4];
        if let Err(error) = self.stream.read_exact(&mut length) {
            assert!(
                matches!(error.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset),
                "{error}"
            );
            return None;
        }
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut body).unwrap();
        Some(serde_json::from_slice(&body).unwrap())
    }

    /// The field `n` of the next `count` events; any other frame fails the test.
    #[track_caller]
    pub fn numbers(&mut self, count: usize) -> Vec<u64> {
        let number = |frame: Value| frame["fields"]["n"].as_u64().unwrap_or_else(|| panic!("{frame}"));
        (0..count).map(|_| number(self.frame())).collect()
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: String,
    pub body: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Reads one HTTP answer with a content length; what comes after it is lost.
#[track_caller]
pub fn read_answer(stream: &mut impl Read) -> Answer {
    next_answer(&mut BufReader::new(stream))
}

/// Reads one HTTP answer with a content length, and nothing beyond it.
#[track_caller]
pub fn next_answer(stream: &mut impl BufRead) -> Answer {
    let headers = answer_head(stream);
    let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
    let length = headers.split_once("content-length: ").unwrap().1.split("\r\n").next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    Answer { status, headers, body: String::from_utf8(body).unwrap() }
}

/// Reads the head of an HTTP answer, in lower case.
#[track_caller]
pub fn answer_head(stream: &mut impl BufRead) -> String {
    let mut headers = String::new();
    loop {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).unwrap() > 0, "the connection ended within the head: {headers:?}");
        if line == "\r\n" {
            return headers;
        }
        headers += &line.to_ascii_lowercase();
    }
}

/// Sends raw bytes on a new connection and reads the answer.
#[track_caller]
pub fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The other side may answer and close before it has read everything.
    let _ = stream.write_all(request);
    read_answer(&mut stream)
}

/// A request with a body, as bytes.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    [text.as_bytes(), b"\r\n", body].concat()
}

/// Posts a delivery as GitHub does, signed with the test secret.
#[track_caller]
pub fn deliver(address: SocketAddr, event: &str, id: &str, body: &[u8]) -> Answer {
    let signature = waitbus::ingest::signature::sign(SECRET, body);
    let headers = [
        ("content-type", "application/json"),
        ("x-github-event", event),
        ("x-github-delivery", id),
        ("x-hub-signature-256", &signature),
    ];
    exchange(address, &request("POST", "/webhook", &headers, body))
}

/// One of GitHub's own example payloads.
pub fn payload(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/payloads/github").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// How many seeds a seeded test runs, from `WAITBUS_SEEDS` or `default`; the first one is `WAITBUS_SEED`.
pub fn seeds(default: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first = number("WAITBUS_SEED").unwrap_or(0);
    first..first + number("WAITBUS_SEEDS").unwrap_or(default)
}

/// Where `.ci/run` keeps what tests run from package registries: virtual environments and node modules, by their names.
pub fn environment(name: &str) -> PathBuf {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let environments = variable("WAITBUS_TEST_VENVS").unwrap_or_else(|| {
        let cache = variable("XDG_CACHE_HOME").unwrap_or_else(|| variable("HOME").unwrap_or_default().join(".cache"));
        cache.join("waitbus-ci/venvs")
    });
    environments.join(name)
}

/// Whether a process is gone, or goes while this waits: the kernel tells it to whoever asks.
#[cfg(target_os = "linux")]
pub fn is_gone(pid: &str) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let Ok(process) = pidfd_open(Pid::from_raw(pid.parse().unwrap()).unwrap(), PidfdFlags::empty()) else {
        return true;
    };
    let patience = Timespec { tv_sec: 60, tv_nsec: 0 };
    poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience)).unwrap() == 1
}

/// Whether a command that a test needs works here.
pub fn works(command: &[&str]) -> bool {
    let output = Command::new(command[0]).args(&command[1..]).stdin(Stdio::null()).output();
    output.is_ok_and(|output| output.status.success())
}

/// Names a test that this machine cannot run, and why. It is counted in the last line of `.ci/run`.
pub fn skip(name: &str, reason: &str) {
    let line = format!("{name}: {reason}\n");
    // What a test prints by a macro is shown only if it fails.
    std::io::stderr().write_all(format!("skipped: {line}").as_bytes()).unwrap();
    if let Some(path) = std::env::var_os("WAITBUS_TEST_SKIPS") {
        let mut file = std::fs::File::options().append(true).create(true).open(path).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}
