//! How long until the last of many subscribers has what all of them want, and what each delivery costs the hub. They are
//! one process. The floor is a process that writes the same frame to as many sockets, one after the other.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use waitbus::client::Publisher;
use waitbus::measure::{Latencies, Receiver, Schedule};
use waitbus::sys::limits::raise_open_files;

use crate::bus::{Bus, Service, draft, ratio, role};
use crate::floor::frame;
use crate::pace::{samples, warm_up};
use crate::process;
use crate::report::Report;

/// How many, at so many events a second: the next one comes long after the last subscriber has been served.
const CROWDS: [(u64, u64); 5] = [(1, 20), (10, 20), (100, 20), (1_000, 10), (10_000, 2)];
const EVENTS: u64 = 20;

/// Descriptors that a process needs besides.
const BESIDES: usize = 100;

pub fn measure(report: &mut Report) {
    for (subscribers, rate) in CROWDS {
        let what =
            format!("{subscribers} {}, last served", if subscribers == 1 { "subscriber" } else { "subscribers" });
        let events = samples(if subscribers < 10_000 { EVENTS } else { EVENTS / 2 });
        let files = raise_open_files();
        if usize::try_from(subscribers).unwrap() + BESIDES > files {
            report.skipped(what, "waitbus", format!("a process may have {files} open files here (ulimit -Hn)"));
            continue;
        }
        for (who, served) in [
            ("floor: a write to each", raw(subscribers, rate, events)),
            ("waitbus", waitbus(subscribers, rate, events)),
        ] {
            let deliveries = subscribers * (events + warm_up(events));
            report.latencies(&*what, who, served.latencies);
            let each = format!("processor time for each of {subscribers} deliveries");
            report.number(each, who, ratio(served.processor_time, deliveries * 1_000), "µs");
        }
    }
}

struct Served {
    latencies: Latencies,
    /// Of the hub, for all deliveries, in nanoseconds.
    processor_time: u64,
}

fn waitbus(subscribers: u64, rate: u64, events: u64) -> Served {
    let bus = Bus::new();
    let (hub, _) = bus.start(&["hub"]);
    let crowd = crowd(&bus.socket(), subscribers, events, "events");
    let mut publisher = Publisher::open(&bus.directories()).unwrap();
    serve(hub.pid(), crowd, rate, events, |number| {
        publisher.publish(&draft(number)).unwrap();
    })
}

fn raw(subscribers: u64, rate: u64, events: u64) -> Served {
    let directory = tempfile::tempdir().unwrap();
    let (hub, _) = Service::start(role("hub-floor").arg(directory.path()).arg(subscribers.to_string()));
    let crowd = crowd(&directory.path().join("frames"), subscribers, events, "raw");
    let mut bell = UnixStream::connect(directory.path().join("bell")).unwrap();
    serve(hub.pid(), crowd, rate, events, |number| bell.write_all(&number.to_be_bytes()).unwrap())
}

fn crowd(socket: &Path, subscribers: u64, events: u64, kind: &str) -> Receiver {
    let mut crowd = role("crowd");
    crowd.arg(socket).args([subscribers, events + warm_up(events)].map(|n| n.to_string())).arg(kind);
    Receiver::start(&mut crowd).unwrap()
}

fn serve(hub: u32, crowd: Receiver, rate: u64, events: u64, mut send: impl FnMut(u64)) -> Served {
    let before = process::processor_time(hub);
    let schedule = Schedule::begin(rate);
    for number in 0..events + warm_up(events) {
        schedule.wait_for(number);
        send(number);
    }
    let latencies = crowd.latencies(&schedule, warm_up(events)).unwrap();
    Served { latencies, processor_time: process::processor_time(hub) - before }
}

/// The role `hub-floor DIRECTORY SUBSCRIBERS`: passes on what comes to the socket `bell` to everybody on `frames`.
pub fn hub(arguments: &[String]) {
    let directory = Path::new(&arguments[0]);
    let subscribers = arguments[1].parse().unwrap();
    let _ = raise_open_files();
    let [frames, bell] = ["frames", "bell"].map(|name| UnixListener::bind(directory.join(name)).unwrap());
    println!("ready");
    let mut subscribers: Vec<_> = frames.incoming().take(subscribers).map(Result::unwrap).collect();
    let mut bell = bell.accept().unwrap().0;
    let mut number = [0; 8];
    while bell.read_exact(&mut number).is_ok() {
        let frame = frame(u64::from_be_bytes(number));
        for subscriber in &mut subscribers {
            subscriber.write_all(&frame).unwrap();
        }
    }
}
