//! The whole of a long log to one reader, and what hub and reader need for it.

use std::io::{BufReader, Write};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use waitbus::store::{LogPaths, Writer};

use crate::bus::{Bus, Service, draft, number, per_second, ratio, read_frame, role, subscribe};
use crate::pace::samples;
use crate::process;
use crate::report::Report;

const EVENTS: u64 = 1_000_000;
/// Of one transaction while the log is made.
const BATCH: u64 = 10_000;

/// From the beginning of the log.
const EVERYTHING: &str = "{\"heartbeat\":false,\"since\":\"00000000000000000000000000\"}";

pub fn measure(report: &mut Report) {
    if let Err(reason) = process::can_tell() {
        return report.skipped("replay", "waitbus", reason);
    }
    let events = samples(EVENTS).next_multiple_of(BATCH);
    let bus = Bus::new();
    fill(&bus, events);
    let (hub, _) = bus.start(&["hub"]);
    let before = process::status(hub.pid(), "VmHWM");
    let mut drain = role("drain");
    drain.arg(bus.socket()).arg(events.to_string());
    let (_drain, told) = Service::start(&mut drain);
    let (nanoseconds, reader) = told.split_once(' ').unwrap();
    let what = format!("replay of {events} events");
    let time = Duration::from_nanos(nanoseconds.parse().unwrap());
    report.number(&*what, "waitbus", per_second(events, time), "/s");
    let after = process::status(hub.pid(), "VmHWM");
    for (of, kibibytes) in [("hub before", before), ("hub", after), ("reader", reader.parse().unwrap())] {
        report.number(format!("{what}, most memory of the {of}"), "waitbus", ratio(kibibytes, 1_024), "MiB");
    }
}

fn fill(bus: &Bus, events: u64) {
    let paths = LogPaths::new(bus.directories().state);
    let mut writer = Writer::open(&paths).unwrap();
    for first in (0..events).step_by(usize::try_from(BATCH).unwrap()) {
        let batch: Vec<_> = (first..first + BATCH).map(draft).collect();
        writer.append_all(&batch, SystemTime::now()).unwrap();
        writer.checkpoint_if_due().unwrap();
    }
}

/// The role `drain SOCKET COUNT`: reads so many events from the beginning, says how long that took in nanoseconds and how
/// much memory it needed in KiB. It looks into the first and the last, and counts the others: parsing them would be
/// measured instead.
pub fn drain(arguments: &[String]) {
    let count: u64 = arguments[1].parse().unwrap();
    let start = Instant::now();
    let mut stream = BufReader::with_capacity(64 * 1024, subscribe(arguments[0].as_ref(), EVERYTHING));
    let mut body = Vec::new();
    for expected in 0..count {
        read_frame(&mut stream, &mut body);
        if expected == 0 || expected == count - 1 {
            let frame: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!((&frame["kind"], number(&frame, "n")), (&"event".into(), expected));
        }
    }
    let time = start.elapsed();
    println!("{} {}", time.as_nanos(), process::status(std::process::id(), "VmHWM"));
    std::io::stdout().flush().unwrap();
}
