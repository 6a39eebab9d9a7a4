//! What waiting holds in memory: resident, and of that what is its own and not pages of the program's file.

use waitbus::client::Publisher;

use crate::bus::{Bus, draft, ratio};
use crate::crowd::{Bystanders, Conditions};
use crate::mcp;
use crate::pace::samples;
use crate::process::{self, status};
use crate::report::Report;

const SUBSCRIBERS: u64 = 1_000;
const EVENTS: u64 = 1_000;

pub fn measure(report: &mut Report) {
    if let Err(reason) = process::can_tell() {
        return report.skipped("memory", "waitbus", reason);
    }
    let bus = Bus::new();
    let (hub, _) = bus.start(&["hub"]);
    resident(report, "idle hub", hub.pid());
    let mut publisher = Publisher::open(&bus.directories()).unwrap();
    for number in 0..EVENTS {
        publisher.publish(&draft(number)).unwrap();
    }
    // It answers once it has read them.
    bus.subscribers();
    resident(report, "idle hub after 1,000 events", hub.pid());
    let wait = bus.blocked_wait();
    resident(report, "blocked `waitbus wait`", wait.pid());
    let (server, _keep) = mcp::idle_server();
    resident(report, "idle `waitbus mcp`", server);
    let subscribers = samples(SUBSCRIBERS);
    let before = status(hub.pid(), "VmRSS");
    let _bystanders = Bystanders::start(&bus.socket(), subscribers, Conditions::None);
    let more = status(hub.pid(), "VmRSS").saturating_sub(before);
    report.number(format!("each of {subscribers} subscribers, in the hub"), "waitbus", ratio(more, subscribers), "KiB");
}

fn resident(report: &mut Report, what: &str, pid: u32) {
    for (name, of) in [("VmRSS", "resident"), ("RssAnon", "its own")] {
        report.number(format!("{what}, {of}"), "waitbus", ratio(status(pid, name), 1_024), "MiB");
    }
}
