//! The structure that ARCHITECTURE.md promises, kept true: who may import whom, where the outside world is touched, and
//! that the documents say what the program does. These are plain searches through the text; they are there to be
//! noticed, not to be outwitted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;
use waitbus::cmd::Exit;

use crate::harness::program;

const README: &str = include_str!("../../README.md");
const WAITING: &str = include_str!("../../WAITING.md");
const ARCHITECTURE: &str = include_str!("../../ARCHITECTURE.md");
const PLATFORM: &str = include_str!("../../PLATFORM.md");

/// Lines of code that a file of `src` may have; the tests at its end are not counted.
const LONGEST_FILE: usize = 400;

/// Where the program may pause, and why. Everything else waits for the thing itself.
const SLEEPERS: &[(&str, &str)] = &[
    ("src/child/jobs.rs", "--stop-timeout is a time"),
    ("src/client/feed.rs", "between two attempts to reach a hub, which tells nobody that it has come"),
    ("src/client/waiter.rs", "a question may have a deadline: --quiet-for is a time"),
    ("src/cmd/wait.rs", "--timeout is a time"),
    ("src/measure/schedule.rs", "a sample is due at a time, whatever became of the one before"),
    ("src/mcp/tools/messages.rs", "max_wait_seconds is a time"),
    ("src/mcp/tools/wait.rs", "max_wait_seconds is a time, and a client has its own"),
    ("src/daemon/bind.rs", "a socket that was just bound may not be listened on yet, and nobody tells when it is"),
    ("src/daemon/mod.rs", "descriptors have run out, and nobody tells when one is free"),
    ("src/daemon/hub.rs", "the services' own deadlines: heartbeats and idle exit"),
    ("src/source/alertmanager.rs", "a heartbeat is expected within a time"),
    ("src/source/command/mod.rs", "a program that keeps ending is started again later and later"),
    ("src/source/commits.rs", "the log is locked or full, and nobody tells when it is not any more"),
    ("src/source/files/mod.rs", "the kernel gives no file notification, and nobody tells when it does"),
    ("src/source/flood.rs", "a flood is over when nothing has come for a time"),
    ("src/source/github/mod.rs", "GitHub tells nobody who asks when something has happened"),
    ("src/source/outlet.rs", "a source that says too much is held back for a time"),
    ("src/daemon/watchdog.rs", "a sign of life has its time, and only while there is something to do"),
];

#[test]
fn layers_import_only_what_architecture_md_allows() {
    let allowed = allowed_imports();
    let import = Regex::new(r"\bcrate::(\w+|\{)").unwrap();
    let mut found = Vec::new();
    for file in sources() {
        let Some(layer) = file.layer() else { continue };
        let may = allowed.get(layer).unwrap_or_else(|| panic!("ARCHITECTURE.md does not have the layer {layer}"));
        for used in import.captures_iter(&file.all_code) {
            if &used[1] != layer && !may.contains(&used[1]) {
                found.push(format!("{} uses {}", file.path, &used[1]));
            }
        }
    }
    none(&found);
    let layers: BTreeSet<_> = sources().iter().filter_map(|file| file.layer().map(str::to_owned)).collect();
    assert_eq!(layers, allowed.keys().cloned().collect());
    let main = fs::read_to_string(root().join("src/main.rs")).unwrap();
    assert_eq!(main.matches("waitbus::").count(), main.matches("waitbus::cmd").count(), "main uses cmd only");
}

/// The table "Layers" of ARCHITECTURE.md.
fn allowed_imports() -> BTreeMap<String, BTreeSet<String>> {
    let rows = table(ARCHITECTURE, "| layer | may use |");
    let names = |text: &str| text.split(", ").filter(|name| !name.is_empty()).map(str::to_owned).collect();
    rows.iter().map(|row| (row[0].clone(), names(&row[1]))).collect()
}

#[test]
fn unsafe_code_is_only_in_sys() {
    none(&outside(r"\bunsafe\b|\ballow\(unsafe_code", &["src/sys/"]));
}

#[test]
fn the_environment_is_read_only_in_config() {
    // Activation has to clear the variables of the service manager before any thread exists.
    none(&outside(r"\bstd::env\b|\benv::", &["src/config/", "src/sys/activation/systemd.rs"]));
}

#[test]
fn sql_is_only_in_store() {
    none(&outside(r"\brusqlite\b|\b(SELECT|INSERT|DELETE|UPDATE|PRAGMA) ", &["src/store/"]));
}

#[test]
fn printing_is_only_in_cmd() {
    // The daemons' log goes to standard error.
    none(&outside(
        r"\be?println?!|\bdbg!|\bio::std(out|err)\b|\bstd(out|err)\(\)",
        &["src/cmd/", "src/sys/logging.rs"],
    ));
}

#[test]
fn platforms_are_told_apart_only_in_sys() {
    // A bound that the kernels set differently, and where the platforms keep a user's files: values, not code.
    let exceptions = ["src/sys/", "src/model/limits/", "src/config/directories.rs"];
    none(&outside(r"\btarget_os\b", &exceptions));
}

/// What touches the world outside, by the kinds of PLATFORM.md.
const TOUCHES: [(&str, &str); 8] = [
    (
        "files",
        r"\bfs::|\bFile::|\bOpenOptions\b|\b(tempfile|rusqlite|notify)::|\.(exists|is_dir|is_file|(symlink_)?metadata)\(\)",
    ),
    ("sockets", r"\b(Unix|Tcp)(Listener|Stream)\b|\b(rustix::net|ureq)\b"),
    ("signals", r"\bSignalKind::|\b(kill_process|pidfd_send_signal)\("),
    ("clock", r"::now\(\)|\bsleep(_until)?\(|\btimeout\("),
    ("processes", r"\bCommand::new\(|\bprocess::(id|exit|abort)\(|\b(setsid|current_exe)\("),
    ("environment", r"\benv::\w"),
    ("terminal", r"\bio::std(in|out|err)\b|\b(stdio|termios)::"),
    (
        "system",
        r"\btarget_os\b|\bunsafe\b|\brustix::(process|io|event|pipe|time|rand|thread|system)\b|\b(sd_notify|libsystemd|tracing_journald)::",
    ),
];

#[test]
fn the_outside_world_is_touched_where_platform_md_says_and_nowhere_else() {
    let kinds = TOUCHES.map(|(kind, pattern)| (kind, Regex::new(pattern).unwrap()));
    let touched: BTreeMap<String, String> = sources()
        .into_iter()
        .map(|file| {
            let found: Vec<_> =
                kinds.iter().filter(|(_, pattern)| pattern.is_match(&file.code)).map(|(kind, _)| *kind).collect();
            (file.path, found.join(", "))
        })
        .filter(|(_, found)| !found.is_empty())
        .collect();
    let rows = table(PLATFORM, "| file | touches | what for |");
    let documented: BTreeMap<_, _> =
        rows.into_iter().map(|row| (row[0].trim_matches('`').to_owned(), row[1].clone())).collect();
    let nothing = "nothing".to_owned();
    let mut wrong = Vec::new();
    for path in touched.keys().chain(documented.keys()).collect::<BTreeSet<_>>() {
        let [code, document] = [&touched, &documented].map(|of| of.get(path).unwrap_or(&nothing));
        if code != document {
            wrong.push(format!("{path} touches {code}; PLATFORM.md says {document}"));
        }
    }
    none(&wrong);
}

#[test]
fn platform_md_says_what_differs_wherever_the_code_does() {
    let differs = Regex::new(r"\btarget_os\b").unwrap();
    let code: BTreeSet<_> =
        sources().into_iter().filter(|file| differs.is_match(&file.code)).map(|file| file.path).collect();
    let rows = table(PLATFORM, "| what | Linux | macOS | where |");
    let places =
        |row: &Vec<String>| row[3].split(", ").map(|path| path.trim_matches('`').to_owned()).collect::<Vec<_>>();
    let documented: BTreeSet<_> = rows.iter().flat_map(places).collect();
    assert_eq!(code, documented, "left: src, right: PLATFORM.md");
}

#[test]
fn the_inner_layers_have_no_io_and_no_clock() {
    let io = r"\bstd::(fs|io|net|os|process|thread)\b|\b(tokio|rustix|hyper)::|::now\(\)";
    none(&within(io, &["src/model/", "src/hub/", "src/ingest/", "src/waiting/"]));
    none(&within(r"::now\(\)", &["src/store/"]));
}

#[test]
fn only_the_services_log() {
    let silent = ["model", "config", "store", "ingest", "hub", "waiting", "setup", "child", "client", "mcp"]
        .map(|layer| format!("src/{layer}/"));
    let silent = silent.each_ref().map(String::as_str);
    none(&within(r"\btracing\b|\b(trace|debug|info|warn|error)!", &silent));
}

#[test]
fn nobody_sleeps() {
    let sleep = Regex::new(r"\bsleep(_until|_ms)?\(").unwrap();
    let mut sleepers = BTreeSet::new();
    for file in sources() {
        assert!(!sleep.is_match(&file.test_code), "{}: a test waits for the thing itself", file.path);
        if sleep.is_match(&file.code) {
            sleepers.insert(file.path);
        }
    }
    assert_eq!(sleepers, SLEEPERS.iter().map(|(file, _)| (*file).to_owned()).collect());
    let found = tests().into_iter().filter(|file| sleep.is_match(&file.all_code)).map(|file| file.path);
    none(&found.collect::<Vec<_>>());
}

#[test]
fn no_test_is_ignored() {
    let ignored = Regex::new(r"#\[(ignore\b|cfg_attr\(.*\bignore\b)").unwrap();
    let files = sources().into_iter().chain(tests());
    let found = files.filter(|file| ignored.is_match(&file.all_code)).map(|file| file.path);
    none(&found.collect::<Vec<_>>());
}

#[test]
fn every_bound_has_a_reason_and_a_use() {
    let read = |file: &File| fs::read_to_string(root().join(&file.path)).unwrap();
    let limits: String = sources().iter().filter(|file| file.path.starts_with("src/model/limits/")).map(read).collect();
    let code: String = sources().into_iter().map(|file| file.code).collect();
    let definition = Regex::new(r"^pub const (\w+):").unwrap();
    let lines: Vec<_> = limits.lines().collect();
    let mut found = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let Some(name) = definition.captures(line).map(|captures| captures[1].to_owned()) else { continue };
        if number == 0 || !lines[number - 1].starts_with("/// ") {
            found.push(format!("{name} has no reason"));
        }
        if Regex::new(&format!(r"\b{name}\b")).unwrap().find_iter(&code).count() < 2 {
            found.push(format!("{name} bounds nothing"));
        }
    }
    none(&found);
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let mut found = Vec::new();
    for file in sources().into_iter().chain(tests()) {
        let text = fs::read_to_string(root().join(&file.path)).unwrap();
        if !text.starts_with("//! ") {
            found.push(format!("{} does not begin with what lives in it", file.path));
        }
        let lines = file.code.lines().count();
        if file.path.starts_with("src/") && lines > LONGEST_FILE {
            found.push(format!("{} has {lines} lines of code, more than {LONGEST_FILE}", file.path));
        }
    }
    none(&found);
}

#[test]
fn every_dependency_has_its_reason_and_a_use() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let code: String = sources().into_iter().map(|file| file.code).collect();
    let (mut section, mut listed, mut found) = ("", BTreeSet::new(), Vec::new());
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.ends_with("dependencies]")
            && let Some((name, _)) = line.split_once(" = ")
            && !name.starts_with('#')
        {
            listed.insert(name.to_owned());
            let used = Regex::new(&format!(r"\b{}::", name.replace('-', "_"))).unwrap();
            if !section.ends_with("dev-dependencies]") && !used.is_match(&code) {
                found.push(format!("{name} is not used"));
            }
        }
    }
    none(&found);
    let reasons = table(ARCHITECTURE, "| crate | why |");
    let justified: BTreeSet<_> = reasons.iter().filter(|row| !row[1].is_empty()).map(|row| row[0].clone()).collect();
    assert_eq!(justified, listed, "left: ARCHITECTURE.md, right: Cargo.toml");
}

#[test]
fn the_readme_has_every_verb() {
    let help = Command::new(program()).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let verb = Regex::new(r"(?m)^  (\w+) ").unwrap();
    let (commands, _) = commands.split_once("\n\n").unwrap();
    let mut verbs: BTreeSet<_> = verb.captures_iter(commands).map(|captures| captures[1].to_owned()).collect();
    assert!(verbs.remove("help"));
    let documented = table(README, "| verb | does |").iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    assert_eq!(verbs, documented, "left: --help, right: README.md");
}

#[test]
fn the_readme_has_every_exit_code() {
    /// What a code is called in the table; a new one does not compile until it is here.
    fn spelling(exit: Exit) -> String {
        match exit {
            // The command's own, or what was asked for, whatever it is.
            Exit::Command(_) | Exit::Mapped(_) => String::new(),
            Exit::Signal(n) => format!("{}+n", exit.code() - n),
            Exit::Success
            | Exit::Failed
            | Exit::Usage
            | Exit::Bus
            | Exit::Neither
            | Exit::TimedOut
            | Exit::CannotExecute
            | Exit::NotFound => exit.code().to_string(),
        }
    }
    let exits = [
        Exit::Success,
        Exit::Failed,
        Exit::Usage,
        Exit::Bus,
        Exit::Neither,
        Exit::TimedOut,
        Exit::CannotExecute,
        Exit::NotFound,
        Exit::Signal(2),
    ]
    .map(spelling);
    let documented = table(README, "| code | means |");
    assert_eq!(documented.iter().map(|row| row[0].clone()).collect::<Vec<_>>(), exits);
    let help = Command::new(program()).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, told) = help.split_once("Exit codes:\n").unwrap();
    let told: Vec<_> = told.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(told, exits, "left: --help");
}

#[test]
fn the_documents_have_every_environment_variable() {
    let known = fs::read_to_string(root().join("src/config/environment.rs")).unwrap();
    let variable = Regex::new(r#""(WAITBUS_\w+)""#).unwrap();
    let names = |text: &str| variable.captures_iter(text).map(|captures| captures[1].to_owned()).collect();
    let known: BTreeSet<String> = names(&known);
    let documented = [table(README, "| variable | means |"), table(WAITING, "| variable | is |")].concat();
    let documented = documented.iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    assert_eq!(known, documented, "left: src/config/environment.rs, right: README.md and WAITING.md");
    let used: BTreeSet<String> = sources().iter().flat_map(|file| names(&file.code)).collect();
    assert_eq!(used, known, "every variable is named in src/config/environment.rs only");
}

#[test]
fn every_invariant_names_a_test_that_exists() {
    let (_, invariants) = ARCHITECTURE.split_once("\n## Invariants\n").unwrap();
    let (invariants, _) = invariants.split_once("\n## ").unwrap();
    let files: Vec<_> = sources().into_iter().chain(files("tests/it")).collect();
    let name = Regex::new(r"`(?:(\w+)::)?([a-z0-9]+(?:_[a-z0-9]+){2,})`").unwrap();
    let mut found = Vec::new();
    for captures in name.captures_iter(invariants) {
        let home = captures.get(1).map(|module| format!("tests/it/{}.rs", module.as_str()));
        let function = format!("fn {}(", &captures[2]);
        let mut homes = files.iter().filter(|file| home.as_ref().is_none_or(|home| *home == file.path));
        if !homes.any(|file| file.all_code.contains(&function)) {
            found.push(captures[0].to_owned());
        }
    }
    none(&found);
}

// ---- helpers --------------------------------------------------------------------------------------------------

/// A source file without its comments.
struct File {
    /// Path from the root of the repository.
    path: String,
    /// What is built into the program.
    code: String,
    /// The tests in it.
    test_code: String,
    /// Both.
    all_code: String,
}

impl File {
    fn read(path: &Path) -> File {
        let text = fs::read_to_string(path).unwrap();
        let comment = Regex::new(r"(?m)^[ \t]*//.*$|[ \t]//[ \t].*$").unwrap();
        let all_code = comment.replace_all(&text, "").into_owned();
        let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let (code, test_code) = if path.starts_with("tests/") || path.contains("/tests") {
            ("", &*all_code)
        } else {
            // A `#[cfg(test)] mod tests;` is one line and the file goes on.
            let at = all_code
                .find("#[cfg(test)]\nmod tests {")
                .or_else(|| all_code.find("#[cfg(test)]\npub(crate) mod tests {"));
            all_code.split_at(at.unwrap_or(all_code.len()))
        };
        File { code: code.to_owned(), test_code: test_code.to_owned(), path, all_code }
    }

    /// The layer that it is part of.
    fn layer(&self) -> Option<&str> {
        self.path.strip_prefix("src/")?.split_once('/').map(|(layer, _)| layer)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<File> {
    files("src")
}

/// The integration tests; not this file, which has to name what it looks for.
fn tests() -> Vec<File> {
    files("tests/it").into_iter().filter(|file| file.path != "tests/it/tidy.rs").collect()
}

fn files(directory: &str) -> Vec<File> {
    let mut found = Vec::new();
    let mut left = vec![root().join(directory)];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(File::read(&path));
            }
        }
    }
    assert!(!found.is_empty());
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Lines of the program that match, in files that do not begin with one of `homes`.
fn outside(pattern: &str, homes: &[&str]) -> Vec<String> {
    matching(pattern, |path| !homes.iter().any(|home| path.starts_with(home)))
}

/// Lines of the program that match, in files that do begin with one of `places`.
fn within(pattern: &str, places: &[&str]) -> Vec<String> {
    matching(pattern, |path| places.iter().any(|place| path.starts_with(place)))
}

fn matching(pattern: &str, concerns: impl Fn(&str) -> bool) -> Vec<String> {
    let pattern = Regex::new(pattern).unwrap();
    let mut found = Vec::new();
    for file in sources().into_iter().filter(|file| concerns(&file.path)) {
        let lines = file.code.lines().enumerate().filter(|(_, line)| pattern.is_match(line));
        found.extend(lines.map(|(number, line)| format!("{}:{}: {}", file.path, number + 1, line.trim())));
    }
    found
}

/// The rows of the table with this head.
fn table(document: &str, head: &str) -> Vec<Vec<String>> {
    let (_, table) = document.split_once(&format!("\n{head}\n")).unwrap_or_else(|| panic!("there is no table {head}"));
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    rows.map(cells).collect()
}

#[track_caller]
fn none(found: &[String]) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}
