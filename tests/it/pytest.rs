//! The pytest plugin, built as its users get it, in real sessions of pytest and pytest-xdist.
//!
//! `.ci/run` makes the virtual environments, which `WAITBUS_TEST_VENVS` names; where they are not, every test here skips
//! by name.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Bus, PATIENCE, environment, program, skip};

/// The environments: the newest pytest with pytest-xdist and pytest-rerunfailures, and the oldest that is supported.
const NEWEST: &str = "pytest";
const OLDEST: &str = "pytest-7";

fn python(name: &str) -> PathBuf {
    environment(name).join("bin/python")
}

/// The plugin as a wheel, installed into a directory of its own, or why it could not be.
static PLUGIN: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| {
    for environment in [NEWEST, OLDEST] {
        let python = python(environment);
        if !python.exists() {
            return Err(format!("there is no {}, which `.ci/run` makes", python.display()));
        }
    }
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pytest-plugin");
    let _ = fs::remove_dir_all(&directory);
    let (wheels, site) = (directory.join("wheels"), directory.join("site"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/pytest");
    let offline = ["-q", "--disable-pip-version-check", "--no-cache-dir", "--no-deps", "--no-index"];
    pip(&[&["wheel", "--no-build-isolation", "-w"], &offline[..]].concat(), &[&wheels, &source]);
    let wheel = fs::read_dir(&wheels).unwrap().next().unwrap().unwrap().path();
    pip(&[&["install", "--target"], &offline[..]].concat(), &[&site, &wheel]);
    Ok(site)
});

fn pip(arguments: &[&str], paths: &[&Path]) {
    // The option that takes the first path comes first.
    let (takes, others) = arguments.split_at(arguments.iter().position(|word| *word == "-q").unwrap());
    let mut command = Command::new(python(NEWEST));
    command.args(["-m", "pip"]).args(takes).arg(paths[0]).args(others).arg(paths[1]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A bus and a directory with tests.
struct Project {
    bus: Bus,
    site: &'static Path,
}

impl Project {
    /// `None`, said by name, where there is no pytest.
    fn new(name: &str) -> Option<Project> {
        match &*PLUGIN {
            Ok(site) => Some(Project { bus: Bus::new(), site }),
            Err(reason) => {
                skip(name, reason);
                None
            }
        }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.directory().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn directory(&self) -> PathBuf {
        self.bus.root().join("project")
    }

    /// A session that is to be told, where every warning is an error.
    fn command(&self, environment: &str, arguments: &[&str]) -> Command {
        let bare = self.bus.command(&[]);
        let mut command = Command::new(python(environment));
        command.args(["-m", "pytest", "-p", "no:cacheprovider", "-W", "error"]).args(arguments);
        command.env_clear().envs(bare.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("PYTHONPATH", self.site).env("PYTHONDONTWRITEBYTECODE", "1").env("WAITBUS_PYTEST", "1");
        command.env("PATH", format!("{}:/usr/bin:/bin", Path::new(program()).parent().unwrap().display()));
        command.current_dir(self.directory());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(NEWEST, arguments).output().unwrap()
    }

    /// The fields of what the plugin has told.
    fn told(&self) -> Vec<Value> {
        if !self.bus.database().exists() {
            return Vec::new();
        }
        let lines = self.bus.ok(&["replay", "--json", "--source", "pytest"]);
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["fields"].take()).collect()
    }

    /// The fields of the one event that there is.
    #[track_caller]
    fn one(&self, output: &Output) -> Value {
        let told = self.told();
        assert_eq!(told.len(), 1, "{told:#?}\n{}", text(output));
        told.into_iter().next().unwrap()
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

const OF_EVERY_KIND: &str = r#"
import pytest
def test_passes(): pass
def test_fails(): assert 1 == 2
@pytest.fixture
def broken(): raise RuntimeError("x")
def test_has_an_error(broken): pass
@pytest.fixture
def breaks(): yield; raise RuntimeError("x")
def test_passes_and_has_an_error(breaks): pass
@pytest.mark.skip
def test_is_skipped(): pass
@pytest.mark.xfail
def test_fails_as_expected(): assert 0
@pytest.mark.xfail
def test_passes_unexpectedly(): pass
"#;

#[test]
fn a_session_is_one_event_with_its_whole_verdict() {
    for environment in [NEWEST, OLDEST] {
        let name = "a_session_is_one_event_with_its_whole_verdict";
        let Some(project) = Project::new(name) else { return };
        project.write("test_a.py", OF_EVERY_KIND);
        project.bus.emit("something-else", 1);
        let output = project.command(environment, &[]).output().unwrap();
        assert!(text(&output).contains("waitbus: the bus is told how this session ends"), "{}", text(&output));
        let mut fields = project.one(&output);
        for varying in ["duration_ms", "session_id"] {
            assert!(!fields.as_object_mut().unwrap().remove(varying).unwrap().is_null());
        }
        let expected = json!({
            "source": "pytest", "event_type": "pytest_session", "owner": "", "repo": "", "ingest_method": "foreign",
            "status": "completed", "conclusion": "failure", "exit_code": 1,
            "passed": 2, "failed": 1, "errors": 2, "skipped": 1, "xfailed": 1, "xpassed": 1,
            "failing_tests": [
                "test_a.py::test_fails", "test_a.py::test_has_an_error", "test_a.py::test_passes_and_has_an_error",
            ],
            "failing_tests_total": 3, "name": "project", "cwd": project.directory(),
        });
        assert_eq!(fields, expected, "{environment}");
        let summary = project.bus.ok(&["replay", "--source", "pytest"]);
        assert!(summary.contains("pytest project: failure: 2 passed, 1 failed, 2 errors, 1 skipped"), "{summary}");
    }
}

const PASSES: &str = "def test_a(): pass\n";
const FAILS: &str = "def test_a(): pass\ndef test_b(): assert 0\ndef test_c(): pass\n";
const INTERRUPTED: &str = "def test_a(): pass\ndef test_b(): raise KeyboardInterrupt\n";
const FAILED_AND_INTERRUPTED: &str = "def test_a(): assert 0\ndef test_b(): raise KeyboardInterrupt\n";
const LEFT: &str = "import pytest\ndef test_a(): pytest.exit('enough', returncode=0)\n";
const BROKEN_PYTEST: &str =
    "import pytest\ndef pytest_runtest_protocol(item): raise RuntimeError('a plugin is broken')\n";
const OTHER_CODE: &str = "def pytest_sessionfinish(session): session.exitstatus = 42\n";

#[test]
fn every_end_of_a_session_has_its_conclusion_and_ends_a_wait_for_it_accordingly() {
    let name = "every_end_of_a_session_has_its_conclusion_and_ends_a_wait_for_it_accordingly";
    let none: &[&str] = &[];
    // The tests, a conftest, arguments; pytest's exit code; the conclusion; how the wait ends.
    for (tests, conftest, arguments, code, conclusion, waited) in [
        (PASSES, "", none, 0, "success", 0),
        (FAILS, "", none, 1, "failure", 1),
        (FAILS, "", &["-x"], 1, "failure", 1),
        (FAILS, "", &["-x", "-n2"], 2, "failure", 1),
        ("import nothing_of_that_name\n", "", none, 2, "failure", 1),
        ("import nothing_of_that_name\n", "", &["-n2"], 1, "failure", 1),
        ("", "", none, 5, "neutral", 4),
        (PASSES, "", &["-k", "nothing"], 5, "neutral", 4),
        (INTERRUPTED, "", none, 2, "cancelled", 1),
        (FAILED_AND_INTERRUPTED, "", none, 2, "failure", 1),
        (LEFT, "", none, 0, "cancelled", 1),
        (PASSES, BROKEN_PYTEST, none, 3, "failure", 1),
        (PASSES, OTHER_CODE, none, 42, "failure", 1),
        (PASSES, "", &["test_nowhere.py"], 4, "startup_failure", 1),
    ] {
        let Some(project) = Project::new(name) else { return };
        project.write("test_a.py", tests);
        project.write("conftest.py", conftest);
        let mut wait = project.bus.wait(&["--source", "pytest", "--verdict"]);
        let output = project.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?} {tests}{conftest}: {}", text(&output));
        let fields = project.one(&output);
        assert_eq!(fields["conclusion"], conclusion, "{arguments:?} {tests}{conftest}: {fields}");
        assert_eq!(fields["exit_code"], code);
        assert_eq!(wait.code(), waited, "{arguments:?} {tests}{conftest}: {}", wait.errors());
    }
}

/// pytest ended with 7, because coverage was too low, or with 1, because a hook was broken, and its event said `success`:
/// how the hooks that end a session had ended was not asked.
#[test]
fn what_a_session_ends_with_after_its_last_test_is_its_verdict() {
    let name = "what_a_session_ends_with_after_its_last_test_is_its_verdict";
    for (hook, code) in [
        ("def pytest_sessionfinish(): pytest.exit('coverage too low', returncode=7)", 7),
        ("def pytest_sessionfinish(): raise RuntimeError('late')", 1),
        ("def pytest_sessionfinish(): raise SystemExit(3)", 3),
        ("def pytest_unconfigure(): raise RuntimeError('later')", 1),
        ("def pytest_unconfigure(): pytest.exit('later', returncode=7)", 1),
        (
            "@pytest.hookimpl(hookwrapper=True, tryfirst=True)\ndef pytest_sessionfinish(session):\n    yield\n    session.exitstatus = 42",
            42,
        ),
    ] {
        for environment in [NEWEST, OLDEST] {
            let Some(project) = Project::new(name) else { return };
            project.write("test_a.py", PASSES);
            project.write("conftest.py", &format!("import pytest\n{hook}\n"));
            let mut wait = project.bus.wait(&["--source", "pytest", "--verdict"]);
            let output = project.command(environment, &[]).output().unwrap();
            assert_eq!(output.status.code(), Some(code), "{environment} {hook}: {}", text(&output));
            let fields = project.one(&output);
            let told = [&fields["conclusion"], &fields["exit_code"], &fields["passed"]];
            assert_eq!(told, [&json!("failure"), &json!(code), &json!(1)], "{environment} {hook}: {fields}");
            assert_eq!(wait.code(), 1, "{environment} {hook}: {}", wait.errors());
        }
    }
}

/// A `conftest.py` that could not be loaded ended pytest with 4, and whoever waited for a verdict waited on.
#[test]
fn a_session_that_ends_before_its_first_test_is_told() {
    let name = "a_session_that_ends_before_its_first_test_is_told";
    for (conftest, code, conclusion) in [
        ("import nothing_of_that_name", 4, "startup_failure"),
        ("import pytest\nraise pytest.UsageError('no')", 4, "startup_failure"),
        ("import sys\nsys.exit(9)", 9, "failure"),
        ("def pytest_configure(): raise RuntimeError('no')", 3, "failure"),
        ("import pytest\ndef pytest_configure(): raise pytest.UsageError('no')", 4, "startup_failure"),
        ("import pytest\ndef pytest_sessionstart(): pytest.exit('no', returncode=8)", 8, "cancelled"),
    ] {
        for environment in [NEWEST, OLDEST] {
            let Some(project) = Project::new(name) else { return };
            project.write("test_a.py", PASSES);
            project.write("conftest.py", &format!("{conftest}\n"));
            let output = project.command(environment, &[]).output().unwrap();
            assert_eq!(output.status.code(), Some(code), "{environment} {conftest}: {}", text(&output));
            let fields = project.one(&output);
            let told = [&fields["conclusion"], &fields["exit_code"], &fields["passed"], &fields["name"]];
            let expected = [&json!(conclusion), &json!(code), &json!(0), &json!("project")];
            assert_eq!(told, expected, "{environment} {conftest}: {fields}");
        }
    }
}

#[test]
fn a_conftest_that_cannot_be_loaded_is_told_to_nobody_where_nobody_meant_to_test() {
    let name = "a_conftest_that_cannot_be_loaded_is_told_to_nobody_where_nobody_meant_to_test";
    let Some(project) = Project::new(name) else { return };
    project.write("test_a.py", PASSES);
    project.write("conftest.py", "import nothing_of_that_name\n");
    for environment in [NEWEST, OLDEST] {
        for arguments in [&["--collect-only"][..], &["--markers"], &["--help"]] {
            let output = project.command(environment, arguments).output().unwrap();
            assert!(project.told().is_empty(), "{environment} {arguments:?}: {}", text(&output));
        }
        let output = project.command(environment, &[]).env("WAITBUS_PYTEST", "0").output().unwrap();
        assert!(project.told().is_empty(), "{environment}: {}", text(&output));
    }
}

/// With `-q` there is no header, and a session without a bus said nothing at all.
#[test]
fn the_last_line_says_that_and_why_the_bus_was_not_told() {
    let name = "the_last_line_says_that_and_why_the_bus_was_not_told";
    for environment in [NEWEST, OLDEST] {
        for (variable, value, why) in
            [("PATH", "/usr/bin:/bin", "there is no bus here"), ("WAITBUS_STATE_DIR", "not/absolute", "absolute")]
        {
            let Some(project) = Project::new(name) else { return };
            project.write("test_a.py", PASSES);
            let last = |project: &Project, arguments: &[&str]| {
                let output = project.command(environment, arguments).env(variable, value).output().unwrap();
                let said = text(&output);
                let line = said.lines().find(|line| line.starts_with("waitbus: the bus was not told: "));
                assert!(line.is_some_and(|line| line.contains(why)), "{environment} {arguments:?}: {said}");
                let printed = String::from_utf8_lossy(&output.stdout).into_owned();
                printed.lines().last().unwrap_or_default().to_owned()
            };
            for arguments in [&["-q"][..], &["-qq"], &[]] {
                assert!(last(&project, arguments).starts_with("waitbus: "), "{environment} {arguments:?}");
            }
            project.write("conftest.py", "import nothing_of_that_name\n");
            last(&project, &["-q"]);
        }
    }
}

#[test]
fn what_runs_no_test_says_nothing() {
    // A session that only lists has the exit code 0, which would be a success without a test.
    let Some(project) = Project::new("what_runs_no_test_says_nothing") else { return };
    project.write("test_a.py", FAILS);
    for arguments in [&["--collect-only"], &["--setup-plan"], &["--fixtures"], &["--markers"]] {
        let output = project.run(arguments);
        assert_eq!((output.status.code(), project.told()), (Some(0), Vec::new()), "{arguments:?}: {}", text(&output));
    }
    let output = project.run(&[]);
    assert_eq!(project.one(&output)["conclusion"], "failure");
}

#[test]
fn with_xdist_a_session_is_one_session_also_when_a_worker_crashes() {
    let name = "with_xdist_a_session_is_one_session_also_when_a_worker_crashes";
    let Some(project) = Project::new(name) else { return };
    project.write("test_a.py", OF_EVERY_KIND);
    let mut output = project.run(&["-n2"]);
    let fields = project.one(&output);
    let counts = ["passed", "failed", "errors", "skipped", "xfailed", "xpassed"].map(|name| fields[name].as_u64());
    assert_eq!(counts, [2, 1, 2, 1, 1, 1].map(Some), "{fields}");

    let Some(project) = Project::new(name) else { return };
    project.write("test_a.py", "import os\ndef test_a(): os._exit(7)\ndef test_b(): pass\ndef test_c(): pass\n");
    output = project.run(&["-n2"]);
    let fields = project.one(&output);
    let told = [&fields["conclusion"], &fields["failed"], &fields["passed"], &fields["failing_tests"]];
    assert_eq!(told, [&json!("failure"), &json!(1), &json!(2), &json!(["test_a.py::test_a"])], "{fields}");
}

#[test]
fn a_test_that_is_run_again_counts_once_and_with_its_last_outcome() {
    let name = "a_test_that_is_run_again_counts_once_and_with_its_last_outcome";
    let Some(project) = Project::new(name) else { return };
    let tests = "tries = []\ndef test_a():\n    tries.append(1)\n    assert len(tries) == 3\ndef test_b(): pass\n";
    project.write("test_a.py", tests);
    let output = project.command(NEWEST, &["--reruns", "4"]).env("WAITBUS_PYTEST_FAILURES", "1").output().unwrap();
    let fields = project.one(&output);
    assert!(text(&output).contains("2 rerun"), "{}", text(&output));
    assert_eq!(
        (&fields["conclusion"], &fields["passed"], &fields["failed"]),
        (&json!("success"), &json!(2), &json!(0))
    );
}

/// A test that passes if the plugin is loaded, or if it is not; which of them stands behind this.
const LOOKS: &str = "import sys\ndef test_a(): assert ('pytest_waitbus.session' in sys.modules) == ";

#[test]
fn what_is_not_switched_on_says_nothing_and_loads_nothing() {
    let name = "what_is_not_switched_on_says_nothing_and_loads_nothing";
    // The variable, the ini file, whether it is on.
    for (variable, ini, on) in [
        (None, "", false),
        (Some(""), "", false),
        (Some("0"), "", false),
        (Some("0"), "waitbus = true", false),
        (None, "waitbus = true", true),
        (Some(""), "waitbus = true", true),
        (Some("1"), "waitbus = false", true),
    ] {
        let Some(project) = Project::new(name) else { return };
        project.write("test_a.py", &format!("{LOOKS}{}\n", if on { "True" } else { "False" }));
        project.write("pytest.ini", &format!("[pytest]\n{ini}\n"));
        let mut command = project.command(NEWEST, &[]);
        command.env_remove("WAITBUS_PYTEST");
        if let Some(variable) = variable {
            command.env("WAITBUS_PYTEST", variable);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{variable:?} {ini:?}: {}", text(&output));
        assert_eq!(project.told().len(), usize::from(on), "{variable:?} {ini:?}");
        assert_eq!(text(&output).contains("waitbus: "), on, "{}", text(&output));
        assert_eq!(project.bus.state().exists(), on, "nothing is made");
    }
}

/// A `waitbus` that notes that it was called.
fn note_calls(project: &Project) -> (PathBuf, PathBuf) {
    let (bin, calls) = (project.bus.root().join("bin"), project.bus.root().join("calls"));
    fs::create_dir_all(&bin).unwrap();
    let script = format!("#!/bin/sh\necho called >>{}\nexec {} \"$@\"\n", calls.display(), program());
    executable(&bin.join("waitbus"), &script);
    (bin, calls)
}

fn executable(path: &Path, script: &str) {
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_process_is_started_once_at_most_and_only_where_there_is_no_log() {
    let name = "a_process_is_started_once_at_most_and_only_where_there_is_no_log";
    let Some(project) = Project::new(name) else { return };
    project.write("test_a.py", "import pytest\n@pytest.mark.parametrize('n', range(9))\ndef test_a(n): assert 0\n");
    let (bin, calls) = note_calls(&project);
    let run = |path: &str| {
        let mut command = project.command(NEWEST, &[]);
        let output = command.env("PATH", path).env("WAITBUS_PYTEST_FAILURES", "1").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        text(&output)
    };
    // A program that cannot help is not asked again for the next test.
    let failing = project.bus.root().join("failing");
    fs::create_dir_all(&failing).unwrap();
    let script = format!("#!/bin/sh\necho called >>{}\necho the disk is full >&2\nexit 3\n", calls.display());
    executable(&failing.join("waitbus"), &script);
    let said = run(&format!("{}:/bin", failing.display()));
    assert!(said.contains("waitbus: the bus was not told: the disk is full"), "{said}");
    assert_eq!(fs::read_to_string(&calls).unwrap(), "called\n");
    fs::remove_file(&calls).unwrap();
    // Neither a log nor a program.
    let said = run("/usr/bin:/bin");
    assert!(said.contains("waitbus: the bus is not told: there is no bus here"), "{said}");
    assert!(!project.bus.state().exists());
    for (times, path) in [(10, format!("{}:/bin", bin.display())), (20, format!("{}:/bin", bin.display()))] {
        let said = run(&path);
        assert!(!said.contains("not told"), "{said}");
        assert_eq!(project.told().len(), times, "{said}");
        assert_eq!(fs::read_to_string(&calls).unwrap(), "called\n");
    }
    // The log alone is enough.
    assert!(!run("/usr/bin:/bin").contains("not told"));
    assert_eq!(project.told().len(), 30);
}

/// Breaks a bus, or how the session finds it; what has to be held for that is returned.
type Breaks = fn(&Project, &mut Command) -> Option<rusqlite::Connection>;

#[test]
fn a_bus_that_is_broken_neither_fails_nor_holds_up_a_session() {
    let name = "a_bus_that_is_broken_neither_fails_nor_holds_up_a_session";
    let cases: [(Breaks, &str); 5] = [
        (
            |project, _| {
                let log = rusqlite::Connection::open(project.bus.database()).unwrap();
                log.execute_batch("BEGIN IMMEDIATE").unwrap();
                Some(log)
            },
            "database is locked",
        ),
        (|project, _| fs::write(project.bus.database(), "no database").map(|()| None).unwrap(), "not a database"),
        (
            |project, _| {
                fs::remove_file(project.bus.database()).unwrap();
                fs::create_dir(project.bus.database()).map(|()| None).unwrap()
            },
            "unable to open",
        ),
        (|_, command| command.env("WAITBUS_STATE_DIR", "not/absolute").get_args().next().and(None), "absolute"),
        (
            |project, command| {
                let log = rusqlite::Connection::open(project.bus.database()).unwrap();
                log.execute_batch("PRAGMA user_version = 99").unwrap();
                command.env("PATH", "/usr/bin:/bin");
                None
            },
            "not one that this plugin knows",
        ),
    ];
    for (breaks, why) in cases {
        let Some(project) = Project::new(name) else { return };
        project.write("test_a.py", FAILS);
        project.bus.emit("something-else", 1);
        let mut command = project.command(NEWEST, &[]);
        let _held = breaks(&project, &mut command);
        let began = Instant::now();
        let output = command.output().unwrap();
        let said = text(&output);
        assert_eq!(output.status.code(), Some(1), "{why}: {said}");
        assert!(said.contains("waitbus: the bus ") && said.contains("not told: ") && said.contains(why), "{said}");
        assert!(said.contains("1 failed, 2 passed") && !said.contains("Traceback"), "{said}");
        // Three seconds at the end, and what pytest takes on a busy machine.
        assert!(began.elapsed() < Duration::from_secs(3) + PATIENCE / 4, "{why}: {:?}", began.elapsed());
    }
}

#[test]
fn thousands_of_failing_tests_are_told_within_their_bounds() {
    let Some(project) = Project::new("thousands_of_failing_tests_are_told_within_their_bounds") else { return };
    let long = "ü".repeat(300);
    let tests =
        format!("import pytest\n@pytest.mark.parametrize('n', range(3000))\ndef test_{long}(n): assert 0, 'x' * 999\n");
    project.write("test_a.py", &tests);
    let _hub = project.bus.hub();
    let mut subscriber = project.bus.subscribe(&json!({"heartbeat": false}));
    let mut command = project.command(NEWEST, &["--tb=line", "-q"]);
    let output = command.env("WAITBUS_PYTEST_FAILURES", "1").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    for n in 0..100 {
        let frame = subscriber.frame();
        assert_eq!((&frame["kind"], &frame["event_type"]), (&json!("event"), &json!("pytest_failure")), "{n}: {frame}");
        assert!(frame["fields"]["message"].as_str().unwrap().len() <= 300, "{frame}");
    }
    let frame = subscriber.frame();
    assert_eq!((&frame["kind"], &frame["event_type"]), (&json!("event"), &json!("pytest_session")), "{frame}");
    let fields = &frame["fields"];
    assert_eq!((&fields["failed"], &fields["failing_tests_total"]), (&json!(3000), &json!(3000)));
    let named = fields["failing_tests"].as_array().unwrap();
    assert!(named.len() == 100 && named.iter().all(|name| name.as_str().unwrap().len() <= 300), "{frame}");
}

#[test]
fn hostile_names_and_messages_are_clean_single_lines() {
    let Some(project) = Project::new("hostile_names_and_messages_are_clean_single_lines") else { return };
    let hostile = r#"
import pytest
class Item(pytest.Item):
    def runtest(self): raise RuntimeError("\x1b]0;owned\x07\u202e\u200b\udc80 end")
class File(pytest.File):
    def collect(self): yield Item.from_parent(self, name="\x1b[31mred\r\n\x00\u202e\u2066\udcff'; DROP TABLE events; --")
def pytest_collect_file(file_path, parent):
    if file_path.suffix == ".hostile": return File.from_parent(parent, path=file_path)
"#;
    project.write("conftest.py", hostile);
    project.write("a.hostile", "");
    let output = project.command(NEWEST, &[]).env("WAITBUS_PYTEST_FAILURES", "1").output().unwrap();
    let told = project.told();
    assert_eq!(told.len(), 2, "{}", text(&output));
    let texts =
        [&told[0]["test"], &told[0]["message"], &told[1]["failing_tests"][0]].map(|text| text.as_str().unwrap());
    for text in texts {
        let bad = |c: char| c.is_control() || "\u{202e}\u{2066}\u{200b}".contains(c);
        assert!(!text.contains(bad) && !text.is_empty(), "{text:?}");
    }
    assert!(
        texts[0].contains("red") && texts[0].ends_with("DROP TABLE events; --") && texts[1].contains("end"),
        "{texts:?}"
    );
}

#[test]
fn only_the_process_that_began_the_session_speaks_for_it() {
    // A test that forks has a copy of pytest in the child, which comes to the end of the session as well; one that runs
    // pytest would announce the failures that it provokes.
    let Some(project) = Project::new("only_the_process_that_began_the_session_speaks_for_it") else { return };
    project.write("inner/test_inner.py", "def test_inner(): assert 0\n");
    let tests = r#"
import os, subprocess, sys, pytest
def test_in_a_process(): assert subprocess.run([sys.executable, "-m", "pytest", "inner"]).returncode == 1
def test_here(): assert pytest.main(["inner"]) == 1
def test_forks():
    child = os.fork()
    assert child != 0
    os.waitpid(child, 0)
"#;
    project.write("test_a.py", tests);
    let output = project.command(NEWEST, &["test_a.py"]).env("WAITBUS_PYTEST_FAILURES", "1").output().unwrap();
    let fields = project.one(&output);
    assert_eq!((&fields["conclusion"], &fields["passed"]), (&json!("success"), &json!(3)), "{}", text(&output));
}

#[test]
fn a_process_that_ends_without_pytest_says_nothing_and_run_tells_of_it() {
    let name = "a_process_that_ends_without_pytest_says_nothing_and_run_tells_of_it";
    let Some(project) = Project::new(name) else { return };
    project.write("test_a.py", "import os\ndef test_a(): os._exit(9)\n");
    let bare = project.command(NEWEST, &[]);
    let mut command = Command::new(program());
    command.args(["run", "--"]).arg(bare.get_program()).args(bare.get_args()).current_dir(project.directory());
    command.env_clear().envs(bare.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().unwrap();
    assert_eq!((output.status.code(), project.told()), (Some(9), Vec::new()), "{}", text(&output));
    let runs = project.bus.ok(&["replay", "--json", "--source", "run", "--type", "finished"]);
    let run: Value = serde_json::from_str(&runs).unwrap();
    assert_eq!((&run["fields"]["conclusion"], &run["fields"]["exit_code"]), (&json!("failure"), &json!(9)));
}
