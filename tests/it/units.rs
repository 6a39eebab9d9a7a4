//! The unit files: what systemd's own tools think of them, and that their sandbox is in force in a real user manager.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;
use waitbus::config::directories::Directories;
use waitbus::config::secret::KNOWN;
use waitbus::config::settings::WEBHOOK_ADDRESS;
use waitbus::sys::activation;

use crate::harness::{program, skip, works};
use crate::user_manager::{in_session, may_run};
use crate::users::Ordinary;

const SERVICES: [&str; 2] = ["waitbus.service", "waitbus-webhook.service"];
const SOCKETS: [&str; 3] = ["waitbus.socket", "waitbus-doorbell.socket", "waitbus-webhook.socket"];

fn units() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("units")
}

/// The units, with the program where it was built, in a directory of their own.
fn installed() -> tempfile::TempDir {
    let directory = tempfile::Builder::new().prefix("waitbus-").tempdir().unwrap();
    for name in SERVICES.iter().chain(&SOCKETS) {
        let text = fs::read_to_string(units().join(name)).unwrap().replace("/usr/bin/waitbus", program());
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn analyze(directory: &Path, arguments: &[&str], files: &[&str]) -> std::process::Output {
    let mut command = Command::new("systemd-analyze");
    command.args(arguments).args(files.iter().map(|name| directory.join(name)));
    command.env("XDG_RUNTIME_DIR", directory).output().unwrap()
}

/// The settings of a unit with this name, in their order.
fn settings(unit: &str, name: &str) -> Vec<String> {
    let text = fs::read_to_string(units().join(unit)).unwrap();
    let prefix = format!("{name}=");
    text.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect()
}

#[test]
fn the_units_name_what_the_program_knows() {
    let directories =
        Directories { runtime: "%t/waitbus".into(), state: "%h/.local/state/waitbus".into(), config: "".into() };
    let state = directories.state.to_str().unwrap();
    let (broadcast, doorbell) = (directories.broadcast().unwrap(), directories.doorbell().unwrap());
    let webhook = WEBHOOK_ADDRESS.to_string();
    let kept = directories.credentials().display().to_string();
    let (helpers, handed_over) = (directories.helpers().display().to_string(), "%t/credentials");
    for (unit, listens, name, service) in [
        ("waitbus.socket", broadcast.to_str().unwrap(), activation::BROADCAST, "waitbus.service"),
        ("waitbus-doorbell.socket", doorbell.to_str().unwrap(), activation::DOORBELL, "waitbus.service"),
        ("waitbus-webhook.socket", &webhook, activation::WEBHOOK, "waitbus-webhook.service"),
    ] {
        assert_eq!(settings(unit, "ListenStream"), [listens], "{unit}");
        assert_eq!(settings(unit, "FileDescriptorName"), [name], "{unit}");
        assert_eq!(settings(unit, "Service"), [service], "{unit}");
        assert!(settings(service, "Sockets")[0].split(' ').any(|socket| socket == unit), "{service}: {unit}");
        if listens.starts_with('%') {
            let modes = ["SocketMode", "DirectoryMode", "RemoveOnStop"].map(|name| settings(unit, name).concat());
            assert_eq!(modes, ["0600", "0700", "yes"], "{unit}");
        }
        // What is not there when a service starts cannot be closed to it.
        let made = settings(unit, "ExecStartPre");
        let all = format!("mkdir -p -m 0700 {state} {kept} {} {helpers} {handed_over}", directories.runtime.display());
        assert!(made.iter().all(|made| *made == all), "{unit}: {made:?}");
    }
    for (service, verb) in [("waitbus.service", "hub"), ("waitbus-webhook.service", "listen")] {
        assert_eq!(settings(service, "ExecStart"), [format!("/usr/bin/waitbus {verb}")]);
        assert!(works(&[program(), verb, "--help"]));
        assert!(settings(service, "ReadWritePaths")[0].split(' ').any(|path| path == format!("-{state}")), "{service}");
        let hidden = settings(service, "InaccessiblePaths").concat();
        let hidden = |place: &str| hidden.split(' ').any(|path| path == format!("-{place}"));
        assert!(hidden(&kept) && hidden(&helpers), "{service}");
        assert_eq!(hidden(handed_over), verb == "hub", "the listener is handed it there");
    }
    for service in SERVICES {
        let (mut loaded, mut without) = (Vec::new(), Vec::new());
        for known in KNOWN.iter().filter(|known| known.service == service) {
            loaded.push(format!("{}:{}", known.name, directories.credentials().join(known.name).display()));
            without.push(format!("{}:\\n", known.name));
            assert!(known.remedy().contains(known.name));
        }
        assert_eq!(settings(service, "LoadCredential"), loaded);
        assert_eq!(settings(service, "SetCredential"), without, "a line break counts as none");
        assert_eq!(loaded.is_empty(), service == "waitbus.service", "the hub has no secret");
    }
    let listed = fs::read_dir(units()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut listed: Vec<_> = listed.filter(|name| name != "README.md").collect();
    listed.sort();
    let mut known = [&SERVICES[..], &SOCKETS[..]].concat();
    known.sort_unstable();
    assert_eq!(listed, known);
}

#[test]
fn systemd_has_nothing_to_say_about_the_units() {
    let name = "systemd_has_nothing_to_say_about_the_units";
    if !works(&["systemd-analyze", "--version"]) {
        return skip(name, "it takes systemd-analyze");
    }
    let directory = installed();
    let output = analyze(directory.path(), &["verify", "--user", "--man=no"], &[&SERVICES[..], &SOCKETS[..]].concat());
    // It ends with 0 whatever it does not know.
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
}

#[test]
fn the_sandbox_does_not_get_wider() {
    let name = "the_sandbox_does_not_get_wider";
    if !works(&["systemd-analyze", "--version"]) {
        return skip(name, "it takes systemd-analyze");
    }
    let directory = installed();
    // Tenths of what 252 finds; 257 finds less.
    for (service, exposure) in [("waitbus.service", "21"), ("waitbus-webhook.service", "29")] {
        let threshold = format!("--threshold={exposure}");
        let output = analyze(directory.path(), &["security", "--user", "--offline=true", &threshold], &[service]);
        assert!(output.status.success(), "{service}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

/// Runs in place of a service, in its sandbox, and says line by line whether it holds. Only what fails for the sandbox's
/// reason counts as refused. Without arguments it notes what there is outside.
const PROBE: &str = r#"
import ctypes, errno, json, mmap, os, resource, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
home, session = os.environ["HOME"], os.environ["XDG_RUNTIME_DIR"]
state = home + "/.local/state/waitbus"
place = lambda path: [os.stat(path).st_dev, os.stat(path).st_ino]
places = {path: place(path) for path in ["/dev", "/tmp", "/proc/self/ns/ipc", "/proc/self/ns/net"]}
if len(sys.argv) == 1:
    json.dump(places, open(home + "/outside.json", "w"))
    sys.exit()
outside = json.load(open(home + "/outside.json"))
shared = lambda path: places[path] == outside[path]
forbidden = map(int, sys.argv[2].split(","))

def refused(number, work):
    try:
        result = work()
        return result == -1 and ctypes.get_errno() == number
    except OSError as error:
        return error.errno == number

def read_only(path):
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)

def connects(path):
    with socket.socket(socket.AF_UNIX) as peer:
        return peer.connect(path)

def executable_and_writable():
    return mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)

def setuid_file():
    open(state + "/probe", "w").close()
    try:
        return os.chmod(state + "/probe", 0o4755)
    finally:
        os.unlink(state + "/probe")

status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
umask = os.umask(0)
os.umask(umask)
for name, holds in {
    "PrivateUsers": lambda: open("/proc/self/uid_map").read().split() == [str(os.getuid())] * 2 + ["1"]
        and refused(errno.EACCES, lambda: os.readlink(f"/proc/{os.getppid()}/root")),
    "CapabilityBoundingSet": lambda: int(status["CapBnd"], 16) == 0,
    "NoNewPrivileges": lambda: status["NoNewPrivs"] == "1",
    "ProtectSystem": lambda: all(map(read_only, ["/usr", "/etc", "/var", "/"])),
    "ReadOnlyPaths": lambda: read_only(home) and read_only(session),
    "ReadWritePaths": lambda: not read_only(state) and not read_only(sys.argv[1]),
    "InaccessiblePaths": lambda: refused(errno.EACCES, lambda: connects(session + "/systemd/private"))
        and refused(errno.EACCES, lambda: os.listdir(state + "/credentials")),
    "ProtectControlGroups": lambda: read_only("/sys/fs/cgroup"),
    "PrivateDevices": lambda: not shared("/dev"),
    "PrivateTmp": lambda: not shared("/tmp"),
    "PrivateIPC": lambda: not shared("/proc/self/ns/ipc"),
    "PrivateNetwork": lambda: len(open("/proc/self/net/dev").readlines()) == 3
        and not shared("/proc/self/ns/net"),
    "RestrictAddressFamilies": lambda: all(refused(errno.EAFNOSUPPORT, lambda: socket.socket(family, socket.SOCK_DGRAM))
        for family in forbidden),
    "RestrictNamespaces": lambda: refused(errno.EPERM, lambda: libc.unshare(0x10000000)),
    "RestrictSUIDSGID": lambda: refused(errno.EPERM, setuid_file),
    "LockPersonality": lambda: refused(errno.EPERM, lambda: libc.personality(0x0040000)),
    "MemoryDenyWriteExecute": lambda: refused(errno.EPERM, executable_and_writable),
    "SystemCallFilter": lambda: all(refused(errno.EPERM, lambda: work()) for work in [
        lambda: os.nice(1), lambda: libc.mlock(ctypes.create_string_buffer(1), 1), lambda: os.chown(state, -1, -1),
        lambda: os.setuid(os.getuid())]),
    "UMask": lambda: umask == 0o077,
    "LimitCORE": lambda: resource.getrlimit(resource.RLIMIT_CORE) == (0, 0),
    "Seccomp": lambda: status["Seccomp"] == "2",
}.items():
    try:
        print(name, "holds" if holds() else "does not hold", flush=True)
    except Exception as error:
        print(name, "cannot be told:", repr(error), flush=True)
"#;

/// Lines of a sandbox that need no probe of their own.
const WITHOUT_A_PROBE: [&str; 2] = [
    // Takes a program of another architecture.
    "SystemCallArchitectures",
    // Every refusal of SystemCallFilter is one with this number.
    "SystemCallErrorNumber",
];

/// What one of the services does without: the listener has a network, and the hub no secret that a core dump could hold.
const NOT_OF_ALL: [(&str, &str); 2] = [("waitbus-webhook.service", "PrivateNetwork"), ("waitbus.service", "LimitCORE")];

/// Each probe in the place of its service.
const PROBES: &str = r#"
mkdir -p "$HOME/.local/state/waitbus/credentials" "$XDG_RUNTIME_DIR/waitbus"
python3 "$HOME/probe.py"
for service in waitbus.service waitbus-webhook.service; do
    systemctl --user start "$service" || systemctl --user status "$service"
done
"#;

/// The settings of a unit's sandbox, which is everything in its last part.
fn sandbox(service: &str) -> Vec<String> {
    let text = fs::read_to_string(units().join(service)).unwrap();
    let (_, lines) = text.split_once("# ---- Sandbox").unwrap();
    let lines = lines.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.split_once('=')?.0.to_owned())).collect()
}

#[test]
fn every_line_of_the_sandbox_is_in_force_in_a_user_manager() {
    let name = "every_line_of_the_sandbox_is_in_force_in_a_user_manager";
    if !may_run(name) {
        return;
    }
    if !works(&["python3", "-c", ""]) {
        return skip(name, "it takes python3");
    }
    let user = Ordinary::new();
    let home = user.bus.root();
    fs::write(home.join("probe.py"), PROBE).unwrap();
    let config = home.join(".config/systemd/user");
    fs::create_dir_all(&config).unwrap();
    for service in SERVICES {
        fs::write(config.join(service), probing(service)).unwrap();
    }
    let output = in_session(&user, PROBES);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    for service in SERVICES {
        let said = fs::read_to_string(home.join(format!("{service}.said"))).unwrap_or_default();
        let told: BTreeMap<_, _> = said.lines().filter_map(|line| line.split_once(' ')).collect();
        for setting in sandbox(service).iter().filter(|setting| !WITHOUT_A_PROBE.contains(&setting.as_str())) {
            assert!(told.contains_key(setting.as_str()), "{service}: nobody looks at {setting}\n{said}{out}{err}");
        }
        for (setting, verdict) in told.iter().filter(|(setting, _)| !NOT_OF_ALL.contains(&(service, **setting))) {
            assert_eq!(*verdict, "holds", "{service}: {setting}\n{said}{out}{err}");
        }
    }
}

/// The unit with the probe in place of the program. The probe ends by itself and waits for no socket; everything else is
/// the unit's own.
fn probing(service: &str) -> String {
    let text = fs::read_to_string(units().join(service)).unwrap();
    let arguments = if service == "waitbus.service" { "%t/waitbus 2,10,16" } else { "%h/.local/state/waitbus 16,17" };
    let probe = format!("ExecStart=/usr/bin/python3 %h/probe.py {arguments}");
    let text = Regex::new(r"(?m)^ExecStart=.*$").unwrap().replace(&text, probe);
    let text = Regex::new(r"(?m)^(Requires|Sockets|Restart|WatchdogSec)=.*\n").unwrap().replace_all(&text, "");
    let text = text.replace("Type=notify", "Type=oneshot");
    format!("{text}StandardOutput=append:%h/{service}.said\nStandardError=append:%h/{service}.said\n")
}
