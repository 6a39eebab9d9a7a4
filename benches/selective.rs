//! Whether it costs the one who is meant anything that a thousand others ask for something else, and whether those are
//! woken.

use waitbus::client::Publisher;
use waitbus::measure::{Latencies, Schedule};
use waitbus::model::event::Draft;

use crate::bus::{Bus, draft, ratio};
use crate::crowd::{Bystanders, Conditions};
use crate::pace::{samples, warm_up};
use crate::report::Report;

const OTHERS: u64 = 1_000;
const RATE: u64 = 100;

/// What the one who is meant asks for.
const MEANT: &str = "{\"heartbeat\":false,\"match\":\"waiter=0\"}";

pub fn measure(report: &mut Report) {
    let samples = samples(500);
    for (others, conditions) in [("`--match`", Conditions::Match), ("`--where`", Conditions::Where)] {
        let what = format!("emit to recv of one, beside {OTHERS} with another {others}, {RATE}/s");
        let (latencies, (frames, wakes)) = beside(OTHERS, conditions, samples);
        // Measured anew each time: a machine is not the same a minute later.
        let (alone, _) = beside(0, Conditions::None, samples);
        report.latencies(&*what, "floor: the same waiter alone", alone);
        report.latencies(what, "waitbus", latencies);
        report.number(format!("frames to {OTHERS} with another {others}"), "waitbus", ratio(frames, 1), "frames");
        report.number(format!("wake-ups of {OTHERS} with another {others}"), "waitbus", ratio(wakes, 1), "times");
    }
}

fn beside(others: u64, conditions: Conditions, samples: u64) -> (Latencies, (u64, u64)) {
    let bus = Bus::new();
    let (_hub, _) = bus.start(&["hub"]);
    let bystanders = Bystanders::start(&bus.socket(), others, conditions);
    let total = samples + warm_up(samples);
    let receiver = bus.receiver_of(total, MEANT, "n");
    assert_eq!(bus.subscribers().1, others + 1);
    let mut publisher = Publisher::open(&bus.directories()).unwrap();
    let schedule = Schedule::begin(RATE);
    for number in 0..total {
        schedule.wait_for(number);
        publisher.publish(&meant(number)).unwrap();
    }
    let latencies = receiver.latencies(&schedule, warm_up(samples)).unwrap();
    (latencies, bystanders.leave())
}

/// An event for the one with the number 0.
fn meant(number: u64) -> Draft {
    let mut draft = draft(number);
    draft.fields.insert("waiter".to_owned(), 0.into());
    draft
}
