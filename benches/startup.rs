//! How long each verb that ends by itself takes, from `exec` to the exit, beside `true`. They take turns, so that
//! whatever else happens to the machine happens to all of them.

use std::process::{Command, Stdio};
use std::time::Instant;

use waitbus::measure::Latencies;

use crate::bus::{Bus, draft};
use crate::pace::{samples, warm_up};
use crate::report::Report;

const RUNS: u64 = 100;

pub fn measure(report: &mut Report) {
    let bus = Bus::new();
    let (_hub, _) = bus.start(&["hub"]);
    let mark = String::from_utf8(bus.command(&["mark"]).output().unwrap().stdout).unwrap();
    let mark = mark.trim();
    let mut publisher = waitbus::client::Publisher::open(&bus.directories()).unwrap();
    publisher.publish(&draft(0)).unwrap();
    let mut commands = vec![("`true`".to_owned(), Command::new("true"))];
    for verb in [
        &["emit", "--source", "bench", "--type", "finished"][..],
        &["wait", "--source", "bench", "--after", mark],
        &["on", "--source", "bench", "--after", mark, "--", "true"],
        &["run", "--", "true"],
        &["message", "send", "other", "text", "--as", "bench"],
        &["message", "inbox", "--as", "bench"],
        &["message", "who"],
        &["replay", "--since", "1s"],
        &["mark"],
        &["mcp"],
        &["prune", "--keep-rows", "1000000"],
        &["status"],
        &["doctor"],
        &["source", "list"],
        &["secret", "list"],
        &["completions", "bash"],
        &["man"],
        &["--version"],
    ] {
        commands.push((format!("`waitbus {}`", verb.join(" ").replace(mark, "MARK")), bus.command(verb)));
    }
    let runs = samples(RUNS);
    let mut latencies = vec![Latencies::default(); commands.len()];
    for run in 0..runs + warm_up(runs) {
        for ((name, command), latencies) in commands.iter_mut().zip(&mut latencies) {
            let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let start = Instant::now();
            let status = command.status().unwrap();
            let time = start.elapsed();
            assert!(status.success(), "{name}: {status}");
            if run >= warm_up(runs) {
                latencies.record(u64::try_from(time.as_nanos()).unwrap());
            }
        }
    }
    for ((name, _), latencies) in commands.into_iter().zip(latencies) {
        let who = if name == "`true`" { "floor" } else { "waitbus" };
        report.latencies(format!("{name}, exec to exit"), who, latencies);
    }
}
