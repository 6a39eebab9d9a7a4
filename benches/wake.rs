//! How long after something happened its waiter has it, by source and rate.

use waitbus::client::Publisher;
use waitbus::measure::{Latencies, Schedule, warm_up};

use crate::bus::{Bus, draft};
use crate::floor;
use crate::report::Report;

pub fn measure(report: &mut Report) {
    for rate in [100, 1_000] {
        let what = format!("library emit to recv, {rate}/s");
        report.latencies(&*what, "floor: commit, two hops", floor::commit_and_two_hops(rate, 2_000));
        report.latencies(what, "waitbus", emit(rate, 2_000));
    }
}

fn emit(rate: u64, samples: u64) -> Latencies {
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
