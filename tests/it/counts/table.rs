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
/// compilers differ. Repeated runs of one program mostly differed by less than 1.4 %.
const INSTRUCTIONS_WITHIN: f64 = 0.03;
/// How far any other number may be off. An event that costs one call or one allocation more differs by a whole one; what
/// happens once in a while, such as a page of the log that is split, moves a number by less.
const WITHIN: f64 = 0.5;
/// The same where an event is delivered to a thousand, as a fraction: whether one or all of them are woken together moves
/// it by 3 %, and one more for each of them doubles it.
const MANY: (f64, f64) = (500.0, 0.05);
/// Calls that depend on who comes first: whoever is about to sleep when the news comes is not woken, and whoever is woken
/// late finds more of it. There may be fewer of them, and twice as many and two.
const WAKING: [&str; 2] = ["epoll_wait", "futex"];

/// How often a number that is not as expected is counted again. A lock that somebody happens to hold is asked for twice,
/// and what a thread does once may fall into the longer of two runs; a change shows each time.
const ROUNDS: usize = 4;

/// Compares what is found of one kind (`calls`, `work`) with what is written down, or writes it down.
#[track_caller]
pub fn judge(kind: &str, measure: impl Fn() -> Table) {
    // Two tests record.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    if std::env::var_os("WAITBUS_RECORD").is_some() {
        let found = measure();
        let _turn = ONE_AT_A_TIME.lock();
        return record(read(), kind, found);
    }
    let expected = read().remove(kind).unwrap_or_default();
    let mut wrong = differences(&expected, &measure());
    for _ in 1..ROUNDS {
        if wrong.is_empty() {
            return;
        }
        let again = differences(&expected, &measure());
        wrong.retain(|number, _| again.contains_key(number));
    }
    let head = format!("{:<44} {:<18} {:>14} {:>14}", "path", "what", "expected", "found");
    let lines = wrong.into_iter().fold(String::new(), |mut lines, ((path, what), (expected, found))| {
        writeln!(lines, "{path:<44} {what:<18} {expected:>14.2} {found:>14.2}").unwrap();
        lines
    });
    let file = file();
    assert!(
        lines.is_empty(),
        "\n{head}\n{lines}\nIf that is meant, `.ci/counts --accept` writes it into {}\n",
        file.display()
    );
}

/// What is not as expected: path and number, with what was expected and what was found.
fn differences(expected: &Table, found: &Table) -> BTreeMap<(String, String), (f64, f64)> {
    let numbers = |table: &Table| -> BTreeSet<_> {
        table.iter().flat_map(|(path, costs)| costs.keys().map(|what| (path.clone(), what.clone()))).collect()
    };
    let of = |table: &Table, (path, what): &(String, String)| {
        table.get(path).and_then(|costs| costs.get(what)).copied().unwrap_or_default()
    };
    let all = &numbers(expected) | &numbers(found);
    all.into_iter()
        .map(|number| (of(expected, &number), of(found, &number), number))
        .filter(|(expected, found, (_, what))| !is_as_expected(what, *found, *expected))
        .map(|(expected, found, number)| (number, (expected, found)))
        .collect()
}

fn is_as_expected(what: &str, found: f64, expected: f64) -> bool {
    match what {
        "instructions" => (found - expected).abs() <= expected * INSTRUCTIONS_WITHIN,
        what if WAKING.contains(&what) => found <= 2.0 * expected + 2.0,
        _ if expected > MANY.0 => (found - expected).abs() <= expected * MANY.1,
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
