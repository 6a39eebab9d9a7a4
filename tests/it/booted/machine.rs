//! A machine with systemd as its first process, in namespaces of its own, with an ordinary user `dev` who lingers. Its
//! disk is an overlay in memory, its network is its own, and it ends with the test, however that ends (`boot.sh`).

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::harness::{Answer, PATIENCE, Process, program, read_answer, request};
use crate::manager::Ear;

/// The program, inside.
pub const PROGRAM: &str = "/opt/waitbus";
/// Where a package would put it, and where the units expect it.
const INSTALLED: &str = "/usr/bin/waitbus";
/// The user.
pub const DEV: u32 = 1000;
/// Another one.
pub const OTHER: u32 = 1001;

const BOOT: &str = include_str!("boot.sh");

/// What a login shell of the user has, and nothing else.
const SESSION: [&str; 5] = [
    "PATH=/usr/local/bin:/usr/bin:/bin",
    "HOME=/home/dev",
    "USER=dev",
    "XDG_RUNTIME_DIR=/run/user/1000",
    "DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus",
];

/// A machine that runs.
pub struct Machine {
    /// Which distribution it is.
    pub suite: &'static str,
    /// Its first process, as seen from here.
    leader: u32,
    // The machine runs as long as this is open.
    keep: Option<ChildStdin>,
    kept: Option<JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

impl Machine {
    /// Boots, and returns once both managers have started everything.
    pub fn boot(suite: &'static str, root: &Path) -> Machine {
        let directory = tempfile::tempdir().unwrap();
        let notify = directory.path().join("notify");
        let ear = Ear::at(&notify);
        let console = directory.path().join("console");
        let mut child = supervisor(suite, root, &[])
            .env("NOTIFY_SOCKET", &notify)
            .stdin(Stdio::piped())
            .stdout(fs::File::create(&console).unwrap())
            .stderr(fs::File::options().append(true).open(&console).unwrap())
            .spawn()
            .unwrap();
        let (supervisor, keep) = (child.id(), child.stdin.take());
        let kept = std::thread::spawn(move || {
            let _ = child.wait();
            // If it ends before it is ready, somebody waits for a word.
            let _ = UnixDatagram::unbound().unwrap().send_to(b"ENDED=1", &notify);
        });
        loop {
            let said = ear.hears();
            if said.contains(&"READY=1".to_owned()) {
                break;
            }
            let ended = said.contains(&"ENDED=1".to_owned());
            assert!(!ended, "{suite} did not boot:\n{}", fs::read_to_string(&console).unwrap());
        }
        // unshare, nspawn, and the machine's first process.
        let leader = (0..3).fold(supervisor, |process, _| first_child(process));
        let machine = Machine { suite, leader, keep, kept: Some(kept), _directory: directory };
        machine.root("systemctl is-system-running --wait; systemctl start user@1000.service");
        machine.dev("systemctl --user is-system-running --wait");
        machine
    }

    /// Whether machines of this root filesystem can be had here, and whether the program runs in them.
    pub fn can_run(suite: &str, root: &Path) -> Result<(), String> {
        let mut probe = supervisor(&format!("probe-{suite}"), root, &[PROGRAM, "--version"]);
        let output = probe.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let output = output.and_then(|mut child| {
            // Open until the end.
            let _keep = child.stdin.take();
            child.wait_with_output()
        });
        match output {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => {
                let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
                Err(said.lines().last().unwrap_or("it ended without a word").to_owned())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Puts the program and its units where a package would.
    pub fn install(&self) {
        self.root(&format!("ln -s {PROGRAM} {INSTALLED}"));
        let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("units");
        let place = self.path("/usr/lib/systemd/user");
        for entry in fs::read_dir(units).unwrap() {
            let (name, path) = entry.map(|entry| (entry.file_name(), entry.path())).unwrap();
            if path.is_dir() {
                fs::create_dir(place.join(&name)).unwrap();
                fs::copy(path.join("10-waitbus.conf"), place.join(name).join("10-waitbus.conf")).unwrap();
            } else if path.extension().is_some_and(|extension| extension != "md") {
                fs::copy(&path, place.join(name)).unwrap();
            }
        }
        self.systemctl("daemon-reload");
    }

    /// Installs, and does the one thing that a user has to do.
    pub fn enable(&self) {
        self.install();
        self.systemctl("enable --now waitbus.socket");
    }

    /// Adds to a unit of the user's.
    pub fn drop_in(&self, unit: &str, text: &str) {
        self.write(&format!("/home/dev/.config/systemd/user/{unit}.d/test.conf"), text);
        self.systemctl("daemon-reload");
    }

    /// Waits until a property of a unit of the user's is what is wanted of it.
    #[track_caller]
    pub fn until(&self, unit: &str, name: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.property(unit, name);
            if wanted(&found) {
                return found;
            }
            assert!(Instant::now() < deadline, "{}: {name} of {unit} stays {found:?}", self.suite);
        }
    }

    /// Waits until a unit of the user's is in this state.
    #[track_caller]
    pub fn until_is(&self, unit: &str, state: &str) {
        self.until(unit, "ActiveState", |found| found == state);
    }

    /// Waits until a service of the user's has been started again so many times.
    #[track_caller]
    pub fn until_restarted(&self, unit: &str, times: u64) {
        self.until(unit, "NRestarts", |found| found.parse::<u64>().is_ok_and(|found| found >= times));
    }

    /// A command in the machine, as root, with nothing in its environment.
    pub fn command(&self, command: &[&str]) -> Command {
        let mut nsenter = Command::new("nsenter");
        nsenter.args([
            "--all",
            "--target",
            &self.leader.to_string(),
            // The path of this machine may have nothing in that one.
            "/usr/bin/env",
            "-i",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        ]);
        nsenter.args(command).stdin(Stdio::null());
        nsenter
    }

    /// A command as this user, with nothing in its environment, as `cron` starts one.
    pub fn command_of(&self, uid: u32, command: &[&str]) -> Command {
        let uid = uid.to_string();
        let switch = ["setpriv", "--reuid", &uid, "--regid", &uid, "--clear-groups", "--inh-caps=-all", "--"];
        self.command(&[&switch[..], command].concat())
    }

    /// A command of the user's session.
    pub fn command_of_dev(&self, command: &[&str]) -> Command {
        self.command_of(DEV, &[&["env"][..], &SESSION, command].concat())
    }

    /// Runs a script as root and returns what it printed.
    #[track_caller]
    pub fn root(&self, script: &str) -> String {
        self.good(self.command(&["bash", "-euo", "pipefail", "-c", script]), script)
    }

    /// Runs a script in the user's session and returns what it printed.
    #[track_caller]
    pub fn dev(&self, script: &str) -> String {
        self.good(self.command_of_dev(&["bash", "-euo", "pipefail", "-c", script]), script)
    }

    #[track_caller]
    fn good(&self, mut command: Command, script: &str) -> String {
        let output = command.output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{}: {script}: {}\n{out}{err}", self.suite, output.status);
        out.trim_end().to_owned()
    }

    /// Asks the user's manager for something.
    #[track_caller]
    pub fn systemctl(&self, arguments: &str) -> String {
        self.dev(&format!("systemctl --user {arguments}"))
    }

    /// A property of a unit of the user's.
    #[track_caller]
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.systemctl(&format!("show --property={name} --value {unit}"))
    }

    /// Runs a verb in the user's session; any end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command_of_dev(&[&["waitbus"], arguments].concat()).output().unwrap()
    }

    /// Runs a verb in the user's session to its end, which has to be a good one, and returns what it printed.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        self.good(self.command_of_dev(&[&["waitbus"], arguments].concat()), &arguments.join(" "))
    }

    /// Emits an event of `source` with the field `n`.
    #[track_caller]
    pub fn emit(&self, source: &str, n: u64) -> String {
        self.ok(&["emit", "--source", source, "--type", "finished", "--field", &format!("n={n}")])
    }

    /// Starts a verb in the user's session.
    pub fn start(&self, arguments: &[&str]) -> Process {
        Process::start(self.command_of_dev(&[&["waitbus"], arguments].concat()))
    }

    /// Starts a `wait` and returns once it is attached.
    pub fn wait(&self, arguments: &[&str]) -> Process {
        let mut process = self.start(&[&["wait", "-v"], arguments].concat());
        process.attached();
        process
    }

    /// Posts a delivery, signed with `secret`, to the listener's address.
    #[track_caller]
    pub fn deliver(&self, id: &str, body: &[u8], secret: &[u8]) -> Answer {
        let signature = waitbus::ingest::signature::sign(secret, body);
        let headers = [
            ("content-type", "application/json"),
            ("x-github-event", "push"),
            ("x-github-delivery", id),
            ("x-hub-signature-256", &signature),
        ];
        self.post("/webhook", &headers, body)
    }

    /// Posts something to the listener's address.
    #[track_caller]
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut socat = self.command_of_dev(&["socat", "-t", "60", "-", "TCP:127.0.0.1:9000"]);
        let mut socat = socat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        socat.stdin.take().unwrap().write_all(&request("POST", path, headers, body)).unwrap();
        let answer = read_answer(&mut socat.stdout.take().unwrap());
        socat.wait().unwrap();
        answer
    }

    /// Where a path of the machine is here.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.leader))
    }

    /// Writes a file of the user's, with the directories above it.
    pub fn write(&self, inside: &str, text: &str) {
        let path = self.path(inside);
        if !path.parent().unwrap().exists() {
            self.dev(&format!("mkdir -p \"$(dirname '{inside}')\""));
        }
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        chown(&path, Some(DEV), Some(DEV)).unwrap();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let journal =
                self.command(&["journalctl", "--no-pager", "--lines=80", "--output=short-monotonic"]).output();
            let journal = journal.map(|output| output.stdout).unwrap_or_default();
            println!("the journal of {}:\n{}", self.suite, String::from_utf8_lossy(&journal));
        }
        drop(self.keep.take());
        if let Some(kept) = self.kept.take() {
            let _ = kept.join();
        }
    }
}

/// What boots a machine, or runs one command in it, as long as its standard input is open.
fn supervisor(name: &str, root: &Path, command: &[&str]) -> Command {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("waitbus-{name}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let mut supervisor = Command::new("unshare");
    supervisor.args(["--mount", "bash", "-c", BOOT, "boot.sh", &name]).arg(root).arg(program()).args(command);
    supervisor.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    supervisor
}

fn first_child(process: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
    let first = children.split_whitespace().next().unwrap_or_else(|| panic!("process {process} has no child"));
    first.parse().unwrap()
}
