//! How often hub and `wait` wake up in a minute in which nothing happens.

use std::thread;
use std::time::Duration;

use crate::bus::{Bus, ratio};
use crate::pace::samples;
use crate::process::{self, switches};
use crate::report::Report;

/// Until what has just happened is over, and both sleep.
const SETTLES: Duration = Duration::from_secs(1);

pub fn measure(report: &mut Report) {
    if let Err(reason) = process::can_tell() {
        return report.skipped("wake-ups", "waitbus", reason);
    }
    let bus = Bus::new();
    let (hub, _) = bus.start(&["hub"]);
    let wait = bus.blocked_wait();
    thread::sleep(SETTLES);
    let counts = || [hub.pid(), wait.pid()].map(switches);
    let before = counts();
    let seconds = samples(60);
    thread::sleep(Duration::from_secs(seconds));
    for ((what, before), after) in ["hub", "`waitbus wait`"].into_iter().zip(before).zip(counts()) {
        let what = format!("wake-ups in {seconds} idle seconds, {what}");
        report.number(what, "waitbus", ratio(after - before, 1), "times");
    }
}
