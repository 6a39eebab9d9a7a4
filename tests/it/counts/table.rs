//! What the hot paths are known to cost, and what is said when one of them costs something else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;

/// What an event, or a run, costs, by the name of what is counted.
pub type Costs = BTreeMap<String, f64>;

/// How far the number of instructions may be off, as a fraction: hash tables are seeded anew in each process, and
/// compilers differ. Repeated runs of one program differed by less than a tenth of this.
const INSTRUCTIONS_WITHIN: f64 = 0.03;
/// How far any other number may be off. An event that costs one call or one allocation more differs by a whole one; what
/// happens once in a while, such as a page of the log that is split, moves a number by less.
const WITHIN: f64 = 0.5;
/// Calls that depend on who comes first: whoever is about to sleep when the news comes is not woken, and whoever is woken
/// late finds more of it. There may be fewer of them, and so many more.
const WAKING: [&str; 2] = ["epoll_wait", "futex"];
const WAKING_WITHIN: f64 = 2.0;

/// Compares what was found of one kind (`calls`, `work`) with what is written down, or writes it down.
#[track_caller]
pub fn judge(kind: &str, found: &BTreeMap<&'static str, Costs>) {
    if std::env::var_os("WAITBUS_RECORD").is_some() {
        return record(kind, found);
    }
    let expected = read();
    let mut wrong = String::new();
    for (path, found) in found {
        let nothing = Costs::new();
        let expected = expected.get(&key(path, kind)).unwrap_or(&nothing);
        for what in found.keys().chain(expected.keys()).collect::<BTreeSet<_>>() {
            let [found, expected] = [found, expected].map(|costs| costs.get(what).copied().unwrap_or_default());
            if !is_as_expected(what, found, expected) {
                writeln!(wrong, "{path:<44} {what:<18} {expected:>14.2} {found:>14.2}").unwrap();
            }
        }
    }
    let head = format!("{:<44} {:<18} {:>14} {:>14}", "path", "what", "expected", "found");
    assert!(
        wrong.is_empty(),
        "\n{head}\n{wrong}\nIf that is meant, `.ci/counts --accept` writes it into {}\n",
        file().display()
    );
}

fn is_as_expected(what: &str, found: f64, expected: f64) -> bool {
    match what {
        "instructions" => (found - expected).abs() <= expected * INSTRUCTIONS_WITHIN,
        what if WAKING.contains(&what) => found < expected + WAKING_WITHIN,
        _ => (found - expected).abs() < WITHIN,
    }
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/counts/expected.json")
}

fn key(path: &str, kind: &str) -> String {
    format!("{path}: {kind}")
}

fn read() -> BTreeMap<String, Costs> {
    let text = std::fs::read_to_string(file()).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file().display()))
}

/// Replaces what is known of these paths. What comes less than once in twenty events is left out.
fn record(kind: &str, found: &BTreeMap<&'static str, Costs>) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap();
    let mut all = read();
    for (path, costs) in found {
        let told = costs.iter().filter(|(_, count)| count.abs() >= 0.05);
        let rounded = told.map(|(what, count)| (what.clone(), (count * 100.0).round() / 100.0));
        all.insert(key(path, kind), rounded.collect());
    }
    std::fs::write(file(), serde_json::to_string_pretty(&all).unwrap() + "\n").unwrap();
}
