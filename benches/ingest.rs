//! How much goes through when nobody paces it. Everything that is counted has been delivered to a subscriber.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime};

use waitbus::client::Publisher;
use waitbus::measure::Receiver;
use waitbus::measure::receiver::now;
use waitbus::store::{LogPaths, Writer};

use crate::bus::{Bus, PLAIN, draft, per_second};
use crate::pace::samples;
use crate::report::Report;
use crate::webhook::delivery;

const EMITS: u64 = 20_000;
const BATCHED: u64 = 100_000;
const BATCH: u64 = 100;
const CONNECTIONS: u64 = 8;
const DELIVERIES: u64 = 4_000;

pub fn measure(report: &mut Report) {
    let emits = samples(EMITS);
    report.number("emits one by one, committed", "floor: commit", per_second(emits, commits(emits)), "/s");
    one_by_one(report, emits);
    in_batches(report, samples(BATCHED).next_multiple_of(BATCH));
    webhooks(report, samples(DELIVERIES).next_multiple_of(CONNECTIONS));
}

/// What the log alone takes.
fn commits(count: u64) -> Duration {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(&LogPaths::new(directory.path())).unwrap();
    let start = Instant::now();
    for number in 0..count {
        writer.append(&draft(number), SystemTime::now()).unwrap();
    }
    start.elapsed()
}

fn one_by_one(report: &mut Report, count: u64) {
    let bus = Bus::new();
    let (_hub, _) = bus.start(&["hub"]);
    let receiver = bus.receiver(count);
    let mut publisher = Publisher::open(&bus.directories()).unwrap();
    let (start, began) = (Instant::now(), now());
    for number in 0..count {
        publisher.publish(&draft(number)).unwrap();
    }
    let committed = start.elapsed();
    report.number("emits one by one, committed", "waitbus", per_second(count, committed), "/s");
    report.number("emits one by one, delivered", "waitbus", per_second(count, delivered(receiver, began)), "/s");
}

fn in_batches(report: &mut Report, count: u64) {
    let bus = Bus::new();
    let (_hub, _) = bus.start(&["hub"]);
    let receiver = bus.receiver(count);
    let mut publisher = Publisher::open(&bus.directories()).unwrap();
    let (start, began) = (Instant::now(), now());
    for first in (0..count).step_by(usize::try_from(BATCH).unwrap()) {
        let batch: Vec<_> = (first..first + BATCH).map(draft).collect();
        publisher.publish_all(&batch).unwrap();
    }
    let committed = start.elapsed();
    let what = format!("emits in batches of {BATCH}");
    report.number(format!("{what}, committed"), "waitbus", per_second(count, committed), "/s");
    report.number(format!("{what}, delivered"), "waitbus", per_second(count, delivered(receiver, began)), "/s");
}

/// Each connection posts its next delivery when the one before has been answered. All are signed beforehand.
fn webhooks(report: &mut Report, count: u64) {
    let bus = Bus::new();
    let (_service, address) = bus.serve();
    let receiver = bus.receiver_of(count, PLAIN, "run_id");
    let each = count / CONNECTIONS;
    let connections: Vec<Vec<_>> = (0..CONNECTIONS)
        .map(|connection| (0..each).map(|n| delivery(connection * each + n, "keep-alive")).collect())
        .collect();
    let began = now();
    std::thread::scope(|scope| {
        for requests in &connections {
            scope.spawn(|| post(&address, requests));
        }
    });
    report.number(
        format!("signed webhooks synced and delivered, {CONNECTIONS} keep-alive connections"),
        "waitbus",
        per_second(count, delivered(receiver, began)),
        "/s",
    );
}

fn post(address: &str, requests: &[Vec<u8>]) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut answer = [0; 4_096];
    for request in requests {
        stream.write_all(request).unwrap();
        let length = stream.read(&mut answer).unwrap();
        assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
    }
}

/// How long after that time the receiver had everything, to three digits.
fn delivered(receiver: Receiver, start: u64) -> Duration {
    let latencies = receiver.latencies_since(|_| start, 0).unwrap();
    Duration::from_nanos(latencies.at(1.0).at)
}
