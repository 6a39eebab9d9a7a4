//! What the hot paths are known to cost, and what is said when one of them costs something else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;

/// What an event, or a run, costs, by the name of what is counted.
pub type Costs = BTreeMap<String, f64>;
/// The same of each path.
pub type Table = BTreeMap<String, Costs>;

/// How far the number of instructions may be off, as a fraction: hash tables are seeded anew in each process, and
/// compilers differ. Repeated runs of one program differed by 1.4 % at most, and mostly by less than 0.1 %.
const INSTRUCTIONS_WITHIN: f64 = 0.03;
/// How far any other number may be off. An event that costs one call or one allocation more differs by a whole one; what
/// happens once in a while, such as a page of the log that is split, moves a number by less.
const WITHIN: f64 = 0.5;
/// Calls that depend on who comes first: whoever is about to sleep when the news comes is not woken, and whoever is woken
/// late finds more of it. There may be fewer of them, and twice as many and two.
const WAKING: [&str; 2] = ["epoll_wait", "futex"];

/// Compares what was found of one kind (`calls`, `work`) with what is written down, or writes it down.
#[track_caller]
pub fn judge(kind: &str, found: Table) {
    // Two tests record.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock();
    let mut all = read();
    if std::env::var_os("WAITBUS_RECORD").is_some() {
        return record(all, kind, found);
    }
    let wrong = differences(&all.remove(kind).unwrap_or_default(), &found);
    let head = format!("{:<44} {:<18} {:>14} {:>14}", "path", "what", "expected", "found");
    let file = file();
    assert!(
        wrong.is_empty(),
        "\n{head}\n{wrong}\nIf that is meant, `.ci/counts --accept` writes it into {}\n",
        file.display()
    );
}

/// A line for each number that is not as expected.
fn differences(expected: &Table, found: &Table) -> String {
    let nothing = Costs::new();
    let mut lines = String::new();
    for path in found.keys().chain(expected.keys()).collect::<BTreeSet<_>>() {
        let [found, expected] = [found, expected].map(|table| table.get(path).unwrap_or(&nothing));
        for what in found.keys().chain(expected.keys()).collect::<BTreeSet<_>>() {
            let [found, expected] = [found, expected].map(|costs| costs.get(what).copied().unwrap_or_default());
            if !is_as_expected(what, found, expected) {
                writeln!(lines, "{path:<44} {what:<18} {expected:>14.2} {found:>14.2}").unwrap();
            }
        }
    }
    lines
}

fn is_as_expected(what: &str, found: f64, expected: f64) -> bool {
    match what {
        "instructions" => (found - expected).abs() <= expected * INSTRUCTIONS_WITHIN,
        what if WAKING.contains(&what) => found <= 2.0 * expected + 2.0,
        _ => (found - expected).abs() < WITHIN,
    }
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/counts/expected.json")
}

fn read() -> BTreeMap<String, Table> {
    let text = std::fs::read_to_string(file()).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file().display()))
}

/// Replaces what is known of one kind. What comes less than once in twenty events is left out.
fn record(mut all: BTreeMap<String, Table>, kind: &str, mut found: Table) {
    for costs in found.values_mut() {
        costs.retain(|_, count| count.abs() >= 0.05);
        for count in costs.values_mut() {
            *count = (*count * 100.0).round() / 100.0;
        }
    }
    all.insert(kind.to_owned(), found);
    std::fs::write(file(), serde_json::to_string_pretty(&all).unwrap() + "\n").unwrap();
}
