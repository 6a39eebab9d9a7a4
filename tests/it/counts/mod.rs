//! What the hot paths cost, in what repeats exactly: system calls, instructions and allocations of each event. Times are
//! measured in `benches/` and asserted nowhere; a call or a copy too many is found here, on any machine and under any
//! load.
//!
//! [`paths`] drives the built program, [`meter`] counts what a process does from its start to its end, and [`table`]
//! compares that with `expected.json`. What an event costs is the difference between a run with twice as many events
//! and a run, divided by the events: so what starting and stopping cost is out of it, and what came first has warmed up.

mod meter;
mod paths;
mod table;

use meter::Meter;
use paths::{PATHS, Path, Unit};
use table::{Costs, Table};

use crate::harness::skip;

#[test]
fn every_hot_path_makes_the_system_calls_that_are_written_down() {
    // A look at the state of the log after each commit costs about as much as the commit, and no test of what the program
    // does would notice it.
    judge("every_hot_path_makes_the_system_calls_that_are_written_down", &meter::calls());
}

#[test]
fn every_hot_path_takes_the_instructions_and_allocations_that_are_written_down() {
    judge("every_hot_path_takes_the_instructions_and_allocations_that_are_written_down", &meter::work());
}

#[test]
fn an_idle_hub_and_a_blocked_wait_make_no_system_call() {
    paths::nothing_happens("an_idle_hub_and_a_blocked_wait_make_no_system_call");
}

fn judge(test: &str, meter: &Result<Meter, String>) {
    match meter {
        Ok(meter) => table::judge(meter.what(), || all(meter)),
        Err(reason) => skip(test, reason),
    }
}

/// What each path costs. They do not disturb each other, because nothing here depends on when it happens.
fn all(meter: &Meter) -> Table {
    std::thread::scope(|scope| {
        let running: Vec<_> =
            PATHS.iter().map(|path| (path.name.to_owned(), scope.spawn(|| cost(path, meter)))).collect();
        running.into_iter().map(|(name, path)| (name, path.join().unwrap())).collect()
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts are below 2^52")]
fn cost(path: &Path, meter: &Meter) -> Costs {
    let run = |events| (path.run)(meter, events);
    match path.unit {
        Unit::Run => run(1).into_iter().map(|(what, count)| (what, count as f64)).collect(),
        Unit::Event(events) => {
            let (once, twice) = (run(events), run(2 * events));
            let each = |(what, count): (String, u64)| {
                let before = once.get(&what).copied().unwrap_or_default();
                (what, (count as f64 - before as f64) / events as f64)
            };
            twice.into_iter().map(each).collect()
        }
    }
}
