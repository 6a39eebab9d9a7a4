//! Setting up, where there is no service manager or where none is needed: units that systemd accepts, secrets in their
//! file, what `doctor` says, and what is generated from the command line's definition.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::{Bus, Process, deliver, program, skip, works};

const NAME: &str = "github-webhook-secret";

/// The program in a session without a manager, whatever the session of the tests has.
fn alone(bus: &Bus, arguments: &[&str]) -> Command {
    let mut command = bus.command(arguments);
    command.env("XDG_RUNTIME_DIR", bus.root());
    command
}

fn run(bus: &Bus, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = alone(bus, arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may refuse before it reads.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn secret_file(bus: &Bus) -> PathBuf {
    bus.state().join("credentials").join(NAME)
}

#[test]
fn without_a_user_manager_nothing_is_installed_and_the_message_says_what_works() {
    let bus = Bus::new();
    for arguments in [&["install"][..], &["install", "--dry-run"]] {
        let output = run(&bus, arguments, b"");
        assert_eq!(output.status.code(), Some(3), "{arguments:?}");
        let said = said(&output);
        assert!(said.contains("no systemd user manager") && said.contains("waitbus serve"), "{said}");
        assert!(said.contains("enable-linger"), "{said}");
    }
    assert_eq!(fs::read_dir(bus.root()).unwrap().count(), 0);
}

#[test]
fn what_waitbus_has_written_goes_without_a_user_manager_as_well_and_nothing_else() {
    // It ended with 3 and left everything, the secret first of all.
    let bus = Bus::new();
    let units = bus.root().join(".config/systemd/user");
    let wants = units.join("sockets.target.wants");
    let drop_ins = units.join("waitbus-webhook.service.d");
    for directory in [&wants, &drop_ins] {
        fs::create_dir_all(directory).unwrap();
    }
    let ours = "# Written by `waitbus install`, which writes it anew.\n";
    let written = [
        units.join("waitbus.socket"),
        units.join("waitbus-webhook.service"),
        drop_ins.join(format!("waitbus-{NAME}.conf")),
        units.join(format!("waitbus-secret-{NAME}.socket")),
    ];
    for path in &written {
        fs::write(path, ours).unwrap();
    }
    std::os::unix::fs::symlink(&written[0], wants.join("waitbus.socket")).unwrap();
    let kept = [units.join("mine.service"), drop_ins.join("override.conf"), units.join("waitbus.service")];
    for path in &kept {
        fs::write(path, "[Service]\n").unwrap();
    }
    bus.set_secret();
    bus.emit("deploy", 1);

    let shown = run(&bus, &["uninstall", "--dry-run"], b"");
    assert!(shown.status.success() && secret_file(&bus).exists() && written[0].exists(), "{}", said(&shown));
    for again in [false, true] {
        let output = run(&bus, &["uninstall"], b"");
        let (out, said) = (String::from_utf8_lossy(&output.stdout).into_owned(), said(&output));
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains("could not be told") && said.contains("systemctl --user stop"), "{said}");
        assert_eq!(out.contains("nothing has to be done"), again, "{out}");
        assert!(written.iter().all(|path| !path.exists()) && !wants.exists(), "{out}");
        assert!(!bus.state().join("credentials").exists() && bus.database().exists(), "{out}");
        assert!(kept.iter().all(|path| path.exists()), "{out}");
    }
}

#[test]
fn systemd_accepts_the_units_whatever_the_program_is_called() {
    let name = "systemd_accepts_the_units_whatever_the_program_is_called";
    if !works(&["systemd-analyze", "--version"]) {
        return skip(name, "it takes systemd-analyze");
    }
    for directory in ["plain", "with space", "100% $HOME", "it's \"quoted\" \\n"] {
        let bus = Bus::new();
        let place = bus.root().join(directory);
        fs::create_dir(&place).unwrap();
        let copy = place.join("waitbus");
        std::os::unix::fs::symlink(program(), &copy).unwrap();
        let root = bus.root().to_str().unwrap();
        bus.ok(&["install", "--system-wide", "--root", root, "--program", copy.to_str().unwrap()]);
        let units = bus.root().join("usr/lib/systemd/user");
        let files = fs::read_dir(&units).unwrap().map(|entry| entry.unwrap().path());
        let mut verify = Command::new("systemd-analyze");
        verify.args(["--user", "--man=no", "verify"]).args(files).env("XDG_RUNTIME_DIR", bus.root());
        let output = verify.output().unwrap();
        // An unknown setting is only said, not failed for.
        assert!(output.status.success() && output.stderr.is_empty(), "{directory}: {}", said(&output));
    }
}

#[test]
fn a_secret_is_stored_for_its_owner_alone_replaced_whole_and_used() {
    let bus = Bus::new();
    let set = run(&bus, &["secret", "set", NAME], b"a secret for tests\r\n");
    assert!(set.status.success() && set.stdout.is_empty(), "{}", said(&set));
    assert_eq!(fs::read(secret_file(&bus)).unwrap(), b"a secret for tests");
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(secret_file(&bus)), mode(bus.state().join("credentials"))), (0o600, 0o700));
    let (_listener, address) = bus.listen();
    assert_eq!(deliver(address, "ping", "d1", b"{}").status, 200);

    // A link in its place is replaced, not followed.
    let elsewhere = bus.root().join("elsewhere");
    fs::rename(secret_file(&bus), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, secret_file(&bus)).unwrap();
    let rotated = run(&bus, &["secret", "rotate", NAME, "--generate"], b"");
    let printed = String::from_utf8(rotated.stdout).unwrap();
    assert!(printed.trim_end().len() == 64 && printed.trim_end().bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(fs::read_to_string(secret_file(&bus)).unwrap(), printed.trim_end());
    assert_eq!(fs::read(&elsewhere).unwrap(), b"a secret for tests");
    assert_eq!(fs::read_dir(bus.state().join("credentials")).unwrap().count(), 1, "nothing is left beside it");

    let listed = run(&bus, &["secret", "list", "--json"], b"").stdout;
    let listed: Vec<Value> = serde_json::Deserializer::from_slice(&listed).into_iter().map(Result::unwrap).collect();
    let listed: Vec<_> = listed.iter().map(|one| (one["name"].as_str().unwrap(), one["stored"].as_str())).collect();
    assert_eq!(listed, [(NAME, Some("file")), ("alertmanager-webhook-secret", None)]);
}

#[test]
fn a_secret_that_does_not_fit_on_the_disk_is_refused_with_the_place_it_is_for() {
    // The message named a temporary file, which was gone by then.
    let bus = Bus::new();
    let script = "ulimit -f 0; trap '' XFSZ; exec \"$0\" \"$@\"";
    let mut command = bus.wrapped(&["sh", "-c", script], &["secret", "set", NAME, "--generate"]);
    let output = command.env("XDG_RUNTIME_DIR", bus.root()).output().unwrap();
    let said = said(&output);
    assert!(output.status.code() == Some(3) && said.contains(secret_file(&bus).to_str().unwrap()), "{said}");
    assert!(!said.contains(".waitbus-"), "{said}");
    assert_eq!(fs::read_dir(bus.state().join("credentials")).unwrap().count(), 0);
}

#[test]
fn what_is_no_secret_is_refused_with_the_reason_and_changes_nothing() {
    let bus = Bus::new();
    let long = vec![b'x'; 4_097];
    let refused: [(&[&str], &[u8], &str); 6] = [
        (&["secret", "set", NAME], b"", "empty"),
        (&["secret", "set", NAME], b"\n\r\n", "empty"),
        (&["secret", "set", NAME], &long, "4096 bytes"),
        (&["secret", "set", "nonsense"], b"value", NAME),
        (&["secret", "set", NAME, "--file", "/nowhere"], b"", "/nowhere"),
        (&["secret", "rotate", NAME], b"value", "secret set"),
    ];
    for (arguments, input, reason) in refused {
        let output = run(&bus, arguments, input);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(said(&output).contains(reason), "{arguments:?}: {}", said(&output));
    }
    assert!(!secret_file(&bus).exists());
    // The longest that is one.
    assert!(run(&bus, &["secret", "set", NAME], &long[1..]).status.success());
    let short = run(&bus, &["secret", "set", NAME], b"short");
    assert!(short.status.success() && said(&short).contains("guessed"), "{}", said(&short));
}

#[test]
fn a_listener_that_is_started_by_hand_says_that_the_secret_is_encrypted_for_the_service() {
    // Its remedy was to set the secret, which had been done, and would have been done in the same place again.
    let bus = Bus::new();
    bus.set_secret();
    fs::rename(secret_file(&bus), secret_file(&bus).with_extension("cred")).unwrap();
    let mut listener = Process::start(bus.command(&["listen", "--addr", "127.0.0.1:0"]));
    let ready = listener.ready();
    let address = ready.split_once("webhook=").unwrap().1.parse().unwrap();
    let answer = deliver(address, "ping", "d1", b"{}");
    assert!(answer.status == 503 && answer.body.contains("--plain"), "{answer:?}");
    // Without the manager that hands it over it is not replaced by half.
    let output = run(&bus, &["secret", "set", NAME, "--plain"], b"another secret for tests");
    assert!(output.status.code() == Some(3) && !secret_file(&bus).exists(), "{}", said(&output));
}

/// Types a secret at a terminal of its own, and shows what that terminal showed.
const TERMINAL: &str = r"
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
shown = b''
while b'Enter):' not in shown:
    shown += os.read(terminal, 1024)
os.write(terminal, os.environb[b'TYPED'])
try:
    while True:
        part = os.read(terminal, 1024)
        if not part: break
        shown += part
except OSError:
    pass
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode())
";

#[test]
fn a_secret_that_is_typed_is_not_shown_and_ctrl_c_stores_none() {
    let name = "a_secret_that_is_typed_is_not_shown_and_ctrl_c_stores_none";
    if !works(&["python3", "--version"]) {
        return skip(name, "it takes python3");
    }
    let bus = Bus::new();
    let typed = |keys: &str| {
        let mut command = bus.wrapped(&["python3", "-c", TERMINAL], &["secret", "set", NAME]);
        let output = command.env("XDG_RUNTIME_DIR", bus.root()).env("TYPED", keys).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let shown = typed("half of it\u{3}");
    assert!(shown.starts_with("130 ") && !shown.contains("half"), "{shown}");
    assert!(!secret_file(&bus).exists());
    let shown = typed("typed by a person\n");
    assert!(shown.starts_with("0 ") && !shown.contains("typed by"), "{shown}");
    assert_eq!(fs::read(secret_file(&bus)).unwrap(), b"typed by a person");
}

#[test]
fn doctor_names_what_is_wrong_with_its_fix_and_fails_for_problems_alone() {
    let bus = Bus::new();
    let doctor = || {
        let output = run(&bus, &["doctor", "--json"], b"");
        let findings: Vec<Value> =
            output.stdout.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        let bad = findings.iter().filter(|finding| finding["level"] != "ok");
        let bad = bad.map(|finding| format!("{} {} {}", finding["level"], finding["check"], finding["fix"]));
        (output.status.code().unwrap(), bad.collect::<Vec<_>>().join("\n").replace('"', ""))
    };
    let (code, found) = doctor();
    assert_eq!((code, found.lines().count()), (0, 1), "{found}");
    assert!(found.starts_with("warning manager"), "{found}");

    // An ordinary `mkdir` of the configuration, which holds no secret, was warned of.
    let configuration = bus.root().join("config");
    fs::create_dir(&configuration).unwrap();
    for (mode, warned) in [(0o755, false), (0o775, false), (0o777, true), (0o700, false)] {
        fs::set_permissions(&configuration, fs::Permissions::from_mode(mode)).unwrap();
        let (code, found) = doctor();
        assert!(code == 0 && found.contains("directories Run `chmod go-w ") == warned, "{mode:o}: {found}");
        assert_eq!(found.contains("directories"), warned, "{mode:o}: {found}");
    }

    bus.emit("deploy", 1);
    fs::set_permissions(bus.state(), fs::Permissions::from_mode(0o755)).unwrap();
    bus.set_secret();
    fs::set_permissions(secret_file(&bus), fs::Permissions::from_mode(0o644)).unwrap();
    fs::create_dir(bus.runtime()).unwrap();
    fs::write(bus.broadcast(), "").unwrap();
    let (code, found) = doctor();
    assert_eq!(code, 3, "{found}");
    for expected in
        ["warning directories Run `chmod 700 ", "problem sockets Move it away", "problem secret Run `chmod 600 "]
    {
        assert!(found.contains(expected), "{expected}\n{found}");
    }
    assert_eq!(fs::metadata(bus.state()).unwrap().permissions().mode() & 0o777, 0o755, "it looks and changes nothing");

    // systemd starts no unit whose credential is there and cannot be read, and says so in the journal alone.
    fs::set_permissions(secret_file(&bus), fs::Permissions::from_mode(0o000)).unwrap();
    let (code, found) = doctor();
    assert!(code == 3 && found.contains("problem secret Run `chmod 600 "), "{found}");
    assert!(found.contains("waitbus secret rotate github-webhook-secret"), "{found}");

    // A page of the log is overwritten.
    let mut log = fs::read(bus.database()).unwrap();
    for database in ["events.db-wal", "events.db-shm"] {
        fs::remove_file(bus.state().join(database)).unwrap();
    }
    let page = log.len() - 4_096;
    log[page..].fill(0xa5);
    fs::write(bus.database(), log).unwrap();
    let (code, found) = doctor();
    assert!(code == 3 && found.contains("problem log"), "{found}");
}

#[test]
fn doctor_sees_that_the_hub_reads_another_log_than_the_command_line_writes() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let doctor = |state: PathBuf| {
        let output = alone(&bus, &["doctor"]).env("WAITBUS_STATE_DIR", state).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, found) = doctor(bus.state());
    assert!(code == Some(0) && found.contains("ok       store: "), "{found}");
    let (code, found) = doctor(bus.root().join("elsewhere"));
    assert!(code == Some(3) && found.contains("problem  store: the hub reads "), "{found}");
}

#[test]
fn completions_and_manual_pages_have_every_verb_and_flag() {
    let bus = Bus::new();
    let help = bus.ok(&["wait", "--help"]);
    let flags: Vec<_> = help.split_whitespace().filter(|word| word.starts_with("--") && word.len() > 3).collect();
    assert!(flags.len() > 8, "{flags:?}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = bus.ok(&["completions", shell]);
        for flag in &flags {
            let name = flag.trim_matches(|c: char| !c.is_alphanumeric());
            assert!(script.contains(name), "{shell}: {flag}");
        }
    }
    let pages = bus.root().join("man");
    bus.ok(&["man", "--dir", pages.to_str().unwrap()]);
    let verbs = bus.ok(&["--help"]);
    let (_, verbs) = verbs.split_once("Commands:\n").unwrap();
    let verbs = verbs.lines().take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    for verb in verbs.filter_map(|line| line.split_whitespace().next()).filter(|verb| *verb != "help") {
        let page = pages.join(format!("waitbus-{verb}.1"));
        assert!(page.exists(), "{verb}");
    }
    let page = fs::read_to_string(pages.join("waitbus-wait.1")).unwrap();
    assert_eq!(page.trim_end(), bus.ok(&["man", "wait"]));
    assert!(pages.join("waitbus-secret-set.1").exists());
    assert_eq!(bus.run(&["man", "nonsense"]).status.code(), Some(2));
    if works(&["bash", "--version"]) {
        let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
        bash.stdin.take().unwrap().write_all(bus.ok(&["completions", "bash"]).as_bytes()).unwrap();
        assert!(bash.wait().unwrap().success());
    }
}

#[test]
fn the_package_has_the_version_of_the_program() {
    let changelog = include_str!("../../packaging/debian/changelog");
    assert!(changelog.starts_with(&format!("waitbus ({}) ", env!("CARGO_PKG_VERSION"))));
}
