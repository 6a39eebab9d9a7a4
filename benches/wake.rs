//! How long after something happened its waiter has it, by what happened and how often; each beside the floor of the
//! same run.

use std::process::Stdio;
use std::thread;
use std::time::Instant;

use waitbus::client::Publisher;
use waitbus::measure::{Latencies, Schedule};

use crate::bus::{Bus, draft, per_second};
use crate::pace::{FOR_P99, samples, send, warm_up};
use crate::report::Report;
use crate::{files, floor, webhook};

/// How often something happens a second, and how many samples are taken. The percentiles of a floor that lie far out
/// compare less well than its median, so it may have fewer.
struct Pace {
    rate: u64,
    /// Of ours, where a p99 is told of it.
    ours: u64,
    floor: u64,
    /// Of everything else.
    others: u64,
}

const PACES: [Pace; 3] = [
    Pace { rate: 5, ours: 15, floor: 15, others: 15 },
    Pace { rate: 100, ours: FOR_P99, floor: 2_000, others: 500 },
    Pace { rate: 1_000, ours: FOR_P99, floor: FOR_P99, others: FOR_P99 },
];

pub fn measure(report: &mut Report) {
    for Pace { rate, ours, floor, others } in PACES {
        let [ours, few, others] = [ours, floor, others].map(samples);
        let what = format!("webhook to recv, {rate}/s");
        report.latencies(&*what, "floor: new connection, read, commit, write", webhook::floor(rate, few));
        report.latencies(what, "waitbus", webhook::waitbus(rate, ours));

        let what = format!("library emit to recv, {rate}/s");
        report.latencies(&*what, "floor: commit, two hops", floor::commit_and_two_hops(rate, few));
        report.latencies(&*what, "floor: two hops, no commit", floor::two_hops(rate, others));
        report.latencies(what, "waitbus", library(rate, ours));

        commands(report, rate, others);
        changes(report, rate, others);
    }
}

/// From when the call of the library is due.
fn library(rate: u64, samples: u64) -> Latencies {
    let bus = Bus::new();
    let (_hub, _) = bus.start(&["hub"]);
    let total = samples + warm_up(samples);
    let receiver = bus.receiver(total);
    let mut publisher = Publisher::open(&bus.directories()).unwrap();
    let schedule = Schedule::begin(rate);
    for number in 0..total {
        schedule.wait_for(number);
        publisher.publish(&draft(number)).unwrap();
    }
    receiver.latencies(&schedule, warm_up(samples)).unwrap()
}

fn commands(report: &mut Report, rate: u64, samples: u64) {
    let what = format!("`waitbus emit`, exec to recv, {rate}/s");
    let most = commands_a_second();
    // Beyond it every sample would only tell how long the queue has become.
    if most < 2.0 * f64::from(u32::try_from(rate).unwrap()) {
        return report.skipped(what, "waitbus", format!("at most {most:.0} commands a second can be started here"));
    }
    report.latencies(&*what, "floor: exec, open the log, commit, two hops", floor::command(rate, samples));
    report.latencies(what, "waitbus", command(rate, samples));
}

/// From when the `exec` of the command is due.
fn command(rate: u64, samples: u64) -> Latencies {
    let bus = Bus::new();
    let (_hub, _) = bus.start(&["hub"]);
    let total = samples + warm_up(samples);
    let receiver = bus.receiver(total);
    let schedule = Schedule::begin(rate);
    send(&schedule, total, |number| emit(&bus, number), |mut command| assert!(command.status().unwrap().success()));
    receiver.latencies(&schedule, warm_up(samples)).unwrap()
}

fn emit(bus: &Bus, number: u64) -> std::process::Command {
    let (number, text) = (format!("n={number}"), format!("text={}", "x".repeat(300)));
    let fields = ["--field", &number, "--field", &text, "--status", "completed", "--conclusion", "success"];
    let mut command = bus.command(&["emit", "--source", "bench", "--type", "finished"]);
    command.args(fields).stdout(Stdio::null());
    command
}

/// How many commands this machine can run a second, two at a time.
fn commands_a_second() -> f64 {
    const EACH: u64 = 50;
    let bus = Bus::new();
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..EACH).for_each(|number| assert!(emit(&bus, number).status().unwrap().success())));
        }
    });
    per_second(2 * EACH, start.elapsed())
}

/// The shortest quiet that can be set; at one pace also the one without a setting, to which it adds that much.
fn changes(report: &mut Report, rate: u64, samples: u64) {
    #[cfg(target_os = "linux")]
    let floor = files::floor(rate, samples);
    for quiet in if rate == 100 { &["0s", "50ms"][..] } else { &["0s"] } {
        let what = format!("file written to recv, quiet = {quiet:?}, {rate}/s");
        #[cfg(target_os = "linux")]
        report.latencies(&*what, "floor: inotify read, one hop", floor.clone());
        report.latencies(what, "waitbus", files::waitbus(quiet, rate, samples));
    }
}
