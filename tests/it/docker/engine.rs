//! Real engines, private to the tests: a dockerd or a Podman service on a socket, a store and an image of its own, spoken
//! to over HTTP. A shell stands between it and us and ends it with everything that it has started when the tests are
//! over, however they end: it reads a pipe of which we have the other end.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::{PATIENCE, skip, works};

/// The image that every engine has: busybox, and links to it.
pub const IMAGE: &str = "box";

/// Where dockerd and its like are, whatever `PATH` the tests were started with.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Starts an engine, waits for its end or ours, and leaves nothing behind. `$1` is its directory.
const DOCKER: &str = r#"
    dockerd --host "unix://$1/docker.sock" --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" \
        --bridge=none --iptables=false --ip6tables=false >"$1/log" 2>&1 </dev/null &
    engine=$!
    read -r how
    if [ "$how" = crash ]; then
        kill -KILL $engine $(cat "$1/exec/containerd/containerd.pid"); wait $engine
        # Where nobody reaps it at once, the next engine takes it to be alive.
        rm -f "$1/exec/containerd/containerd.pid"
        exit
    fi
    [ "$how" = stop ] || DOCKER_HOST="unix://$1/docker.sock" docker ps -q | DOCKER_HOST="unix://$1/docker.sock" xargs -r docker kill >/dev/null 2>&1
    kill -TERM $engine; wait $engine
    # It mounts its store onto itself and does not always take that back.
    umount "$1/data" 2>/dev/null
"#;
const PODMAN: &str = r#"
    export HOME="$1/home" XDG_RUNTIME_DIR="$1/xdg" CONTAINERS_CONF="$1/containers.conf" TMPDIR="$1"
    mkdir -p "$1/home" "$1/xdg"
    cat >"$1/containers.conf" <<'END'
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
END
    podman="podman --root $1/root --runroot $1/runroot --tmpdir $1/tmp --storage-driver vfs --runtime runc"
    $podman system service --time=0 "unix://$1/docker.sock" >"$1/log" 2>&1 </dev/null &
    engine=$!
    read -r how
    $podman rm --all --force --time 0 >/dev/null 2>&1
    kill -TERM $engine; wait $engine
"#;

/// An engine that runs.
pub struct Engine {
    pub directory: PathBuf,
    kind: &'static str,
    guard: Child,
    /// Closed, or written to, it ends the engine.
    pipe: Option<ChildStdin>,
    /// Whether the directory goes with it.
    _root: Option<tempfile::TempDir>,
}

/// The dockerd that most tests share, or nothing where there can be none.
pub fn docker(test: &str) -> Option<&'static Engine> {
    static SHARED: OnceLock<Option<Engine>> = OnceLock::new();
    shared(&SHARED, "docker", test)
}

/// A dockerd for one test, which may stop it, and the directory in which it may be started again.
pub fn docker_of_its_own(test: &str) -> Option<(tempfile::TempDir, Engine)> {
    if !may_run("docker", test) {
        return None;
    }
    let root = new_directory();
    let engine = Engine::private(root.path());
    if engine.is_none() {
        skip(test, "dockerd does not start here");
    }
    Some((root, engine?))
}

/// The Podman that most tests share.
pub fn podman(test: &str) -> Option<&'static Engine> {
    static SHARED: OnceLock<Option<Engine>> = OnceLock::new();
    shared(&SHARED, "podman", test)
}

fn shared(engine: &'static OnceLock<Option<Engine>>, kind: &'static str, test: &str) -> Option<&'static Engine> {
    if !may_run(kind, test) {
        return None;
    }
    let engine = engine.get_or_init(|| Engine::start_in(kind, new_directory()));
    if engine.is_none() {
        skip(test, &format!("{kind} is installed and does not start here"));
    }
    engine.as_ref()
}

/// Whether this machine can run such an engine; says so if not.
pub fn may_run(kind: &str, test: &str) -> bool {
    let command = if kind == "docker" { "dockerd" } else { "podman" };
    let reason = if !rustix::process::geteuid().is_root() {
        "starting an engine takes root".to_owned()
    } else if !works(&[
        "sh",
        "-c",
        &format!("PATH={PATH}; command -v {command} && command -v runc && command -v docker"),
    ]) {
        format!("{command}, runc or docker is not installed")
    } else if !Path::new("/bin/busybox").exists() {
        "there is no static busybox to make an image of".to_owned()
    } else {
        return true;
    };
    skip(test, &reason);
    false
}

/// Short, because a socket's path may not be long, and on a file system that can hold a store.
pub fn new_directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("wb-engine-").tempdir_in("/var/tmp").unwrap()
}

impl Engine {
    /// A dockerd in a directory that is somebody else's.
    pub fn private(root: &Path) -> Option<Engine> {
        Engine::start("docker", root, None)
    }

    fn start_in(kind: &'static str, root: tempfile::TempDir) -> Option<Engine> {
        let path = root.path().to_owned();
        Engine::start(kind, &path, Some(root))
    }

    fn start(kind: &'static str, directory: &Path, root: Option<tempfile::TempDir>) -> Option<Engine> {
        let script = if kind == "docker" { DOCKER } else { PODMAN };
        // What is left of a directory that nobody drops, the shared one's, goes with the engine.
        let script = if root.is_some() { format!("{script}\n rm -rf \"$1\"") } else { script.to_owned() };
        // In a session of its own: what ends the tests from a terminal must not end the guard before the engine.
        let mut guard = Command::new("setsid")
            .args(["bash", "-c", &script, "engine"])
            .arg(directory)
            .env_clear()
            .env("PATH", PATH)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pipe = guard.stdin.take();
        let mut engine = Engine { directory: directory.to_owned(), kind, guard, pipe, _root: root };
        let deadline = Instant::now() + PATIENCE;
        while engine.try_api("GET", "/_ping", b"").is_none() {
            if Instant::now() > deadline || engine.guard.try_wait().unwrap().is_some() {
                return None;
            }
            std::thread::yield_now();
        }
        if engine.try_api("GET", &format!("/images/{IMAGE}/json"), b"")?.0 != 200 {
            engine.import();
        }
        Some(engine)
    }

    fn import(&self) {
        let files = tempfile::tempdir().unwrap();
        let bin = files.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        std::fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
        for name in ["sh", "sleep", "true", "test"] {
            std::os::unix::fs::symlink("busybox", bin.join(name)).unwrap();
        }
        let tar = Command::new("tar").arg("-C").arg(files.path()).args(["-c", "."]).output().unwrap().stdout;
        // Without a tag, which Podman does not listen to here.
        let (status, _) = self.raw("POST", &format!("/images/create?fromSrc=-&repo={IMAGE}"), &tar);
        assert_eq!(status, 200);
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.join("docker.sock")
    }

    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Stops it as an administrator does: its containers are stopped first.
    pub fn stop(mut self) {
        self.end(b"stop\n");
    }

    /// Kills it and its containerd, as a crash would: its containers live on, in nobody's care.
    pub fn crash(mut self) {
        self.end(b"crash\n");
    }

    fn end(&mut self, how: &[u8]) {
        if let Some(mut pipe) = self.pipe.take() {
            let _ = pipe.write_all(how);
        }
        self.guard.wait().unwrap();
    }

    /// Asks it, and fails the test if it refuses.
    #[track_caller]
    pub fn api(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, answer) = self.raw(method, path, body.as_bytes());
        assert!(status < 400, "{} {method} {path}: {status} {answer}", self.kind);
        serde_json::from_str(&answer).unwrap_or(Value::Null)
    }

    #[track_caller]
    fn raw(&self, method: &str, path: &str, body: &[u8]) -> (u16, String) {
        self.try_api(method, path, body).unwrap_or_else(|| panic!("{} does not answer {method} {path}", self.kind))
    }

    fn try_api(&self, method: &str, path: &str, body: &[u8]) -> Option<(u16, String)> {
        let mut stream = UnixStream::connect(self.socket()).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        // An answer of HTTP/1.0 ends with its connection and has no pieces.
        let mut head = format!("{method} {path} HTTP/1.0\r\nHost: engine\r\nContent-Length: {}\r\n", body.len());
        let _ = write!(
            head,
            "Content-Type: {}\r\n\r\n",
            if body.starts_with(b"{") { "application/json" } else { "application/x-tar" }
        );
        stream.write_all(&[head.as_bytes(), body].concat()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
    }

    /// Makes a container of a command of the shell. `more` adds to what it is made of.
    #[track_caller]
    pub fn create(&self, name: &str, script: &str, more: &Value) {
        let mut made = json!({"Image": IMAGE, "Cmd": ["sh", "-c", script], "HostConfig": {"NetworkMode": "none"}});
        for (key, value) in more.as_object().into_iter().flatten() {
            made[key] = value.clone();
        }
        made["HostConfig"]["NetworkMode"] = "none".into();
        self.api("POST", &format!("/containers/create?name={name}"), &made);
    }

    /// Makes one and starts it.
    #[track_caller]
    pub fn run(&self, name: &str, script: &str, more: &Value) {
        self.create(name, script, more);
        self.tell("start", name);
    }

    /// Has the engine do something with a container: `start`, `stop?t=0`, `kill`, `pause`, …
    #[track_caller]
    pub fn tell(&self, what: &str, name: &str) {
        self.api("POST", &format!("/containers/{name}/{what}"), &Value::Null);
    }

    /// Waits until a container has ended, and removes it.
    #[track_caller]
    pub fn remove(&self, name: &str) {
        self.api("DELETE", &format!("/containers/{name}?force=1"), &Value::Null);
    }

    /// Waits until a container has ended.
    #[track_caller]
    pub fn ended(&self, name: &str) {
        self.tell("wait", name);
    }

    pub fn inspect(&self, name: &str) -> Value {
        self.api("GET", &format!("/containers/{name}/json"), &Value::Null)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.end(b"\n");
    }
}
