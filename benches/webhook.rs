//! Signed deliveries of GitHub, as they come: each on a connection of its own, from a few senders. And the server that
//! does nothing with one but what has to be done.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::SystemTime;

use waitbus::ingest::github::{Accepted, Delivery, accept as read_delivery};
use waitbus::ingest::signature::sign;
use waitbus::measure::{Latencies, Schedule};
use waitbus::model::event::Draft;
use waitbus::store::{LogPaths, Writer};

use crate::bus::{Bus, NUMBERS, PLAIN, SECRET, role};
use crate::floor::{Frames, frame};
use crate::pace::{send, warm_up};

const PAYLOAD: &str = include_str!("../tests/payloads/github/workflow_run.completed.payload.json");
/// The run that it is about; a number of as many digits takes its place.
const RUN_ID: &str = "289782451";

/// A delivery about another run each time, because what is said twice is stored once; all of the same length.
pub fn delivery(number: u64, connection: &str) -> Vec<u8> {
    let body = PAYLOAD.replace(RUN_ID, &(NUMBERS + number).to_string());
    let head = format!(
        "POST /webhook HTTP/1.1\r\nx-github-delivery: {number:09}\r\nhost: localhost\r\n\
         content-type: application/json\r\nx-github-event: workflow_run\r\nx-hub-signature-256: {}\r\n\
         content-length: {}\r\nconnection: {connection}\r\n\r\n",
        sign(SECRET, body.as_bytes()),
        body.len()
    );
    (head + &body).into_bytes()
}

/// The number of a delivery is at a fixed place: whoever measures the floor need not look for it.
const NUMBER_AT: std::ops::Range<usize> = 43..52;

/// From when the first byte of a delivery is due until the waiter has its event.
pub fn waitbus(rate: u64, samples: u64) -> Latencies {
    let bus = Bus::new();
    let (_service, address) = bus.serve();
    let total = samples + warm_up(samples);
    let receiver = bus.receiver_of(total, PLAIN, "run_id");
    let schedule = Schedule::begin(rate);
    post(&address, &schedule, total);
    receiver.latencies(&schedule, warm_up(samples)).unwrap()
}

/// A server that reads the request, commits the row and writes the frame: no signature, no parsing, no hub, no sync.
pub fn floor(rate: u64, samples: u64) -> Latencies {
    let total = samples + warm_up(samples);
    let server = |directory: &Path| {
        let mut command = role("accept");
        command.arg(directory);
        command
    };
    let (frames, address) = Frames::start(samples, server);
    let schedule = Schedule::begin(rate);
    post(&address, &schedule, total);
    frames.latencies(|number| schedule.due(number))
}

fn post(address: &str, schedule: &Schedule, total: u64) {
    send(
        schedule,
        total,
        |number| delivery(number, "close"),
        |request| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&request).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        },
    );
}

/// The role `accept DIRECTORY`: that server.
pub fn accept(arguments: &[String]) {
    let directory = Path::new(&arguments[0]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut receiver = UnixStream::connect(directory.join("frames")).unwrap();
    let mut writer = Writer::open(&LogPaths::new(directory)).unwrap();
    let row = row();
    let mut request = delivery(0, "close");
    println!("{}", listener.local_addr().unwrap());
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        stream.read_exact(&mut request).unwrap();
        writer.append(&row, SystemTime::now()).unwrap();
        let number = str::from_utf8(&request[NUMBER_AT]).unwrap().parse().unwrap();
        receiver.write_all(&frame(number)).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
    }
}

/// The row that a delivery becomes, with its own id as its key.
fn row() -> Draft {
    let (event, id, content_type) = ("workflow_run", "0", Some("application/json"));
    let delivery = Delivery { event, id, content_type, body: PAYLOAD.as_bytes() };
    let Ok(Accepted::Event(draft)) = read_delivery(&delivery) else { panic!("the payload is no event") };
    Draft { delivery_id: None, ..*draft }
}
