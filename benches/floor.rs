//! What the same work costs without the program: the same commit of the same row, and the same hops between processes.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

pub use waitbus::measure::floor::frame;
use waitbus::measure::{Latencies, Receiver, Schedule, floor};
use waitbus::store::{LogPaths, Writer};

use crate::bus::{Service, draft, role};
use crate::pace::{send, warm_up};

/// Two hops between three processes, and nothing else.
pub fn two_hops(rate: u64, samples: u64) -> Latencies {
    ring(rate, samples, Frames::through_a_hop(samples), |_| {})
}

/// Two raw hops, with one commit of the row before the first.
pub fn commit_and_two_hops(rate: u64, samples: u64) -> Latencies {
    let frames = Frames::through_a_hop(samples);
    let mut writer = Writer::open(&LogPaths::new(frames.directory())).unwrap();
    ring(rate, samples, frames, |number| {
        writer.append(&draft(number), SystemTime::now()).unwrap();
    })
}

fn ring(rate: u64, samples: u64, frames: Frames, mut before: impl FnMut(u64)) -> Latencies {
    let mut bell = UnixStream::connect(frames.directory().join("bell")).unwrap();
    let schedule = Schedule::begin(rate);
    for number in 0..samples + warm_up(samples) {
        schedule.wait_for(number);
        before(number);
        bell.write_all(&number.to_be_bytes()).unwrap();
    }
    frames.latencies(|number| schedule.due(number))
}

/// The same by a command for each: it opens the log, commits, rings and ends.
pub fn command(rate: u64, samples: u64) -> Latencies {
    let frames = Frames::through_a_hop(samples);
    let directory = frames.directory().to_owned();
    // As a hub does: whoever opens a log that nobody has open reads its whole write-ahead log first.
    let _held = Writer::open(&LogPaths::new(&directory)).unwrap();
    let schedule = Schedule::begin(rate);
    let prepare = |number: u64| {
        let mut command = role("tell");
        command.arg(&directory).arg(number.to_string());
        command
    };
    send(&schedule, samples + warm_up(samples), prepare, |mut command| assert!(command.status().unwrap().success()));
    frames.latencies(|number| schedule.due(number))
}

/// The role `tell DIRECTORY NUMBER`: that command.
pub fn tell(arguments: &[String]) {
    let directory = Path::new(&arguments[0]);
    let number: u64 = arguments[1].parse().unwrap();
    let mut writer = Writer::open(&LogPaths::new(directory)).unwrap();
    writer.append(&draft(number), SystemTime::now()).unwrap();
    UnixStream::connect(directory.join("bell")).unwrap().write_all(&number.to_be_bytes()).unwrap();
}

/// A process that receives raw frames, and the one that writes them to it.
pub struct Frames {
    // Ends before its directory goes.
    _writer: Service,
    receiver: Receiver,
    samples: u64,
    directory: tempfile::TempDir,
}

impl Frames {
    /// Starts both; returns what the one that writes has said when it was ready. It is told the directory that both
    /// share, with the socket `frames` in it.
    pub fn start(samples: u64, writer: impl FnOnce(&Path) -> Command) -> (Frames, String) {
        let directory = tempfile::tempdir().unwrap();
        let total = samples + warm_up(samples);
        let receiver = Receiver::start(role("frames").arg(directory.path()).arg(total.to_string())).unwrap();
        let (writer, ready) = Service::start(&mut writer(directory.path()));
        (Frames { _writer: writer, receiver, samples, directory }, ready)
    }

    /// One that passes on what comes to the socket `bell`.
    fn through_a_hop(samples: u64) -> Frames {
        let hop = |directory: &Path| {
            let mut command = role("hop");
            command.arg(directory);
            command
        };
        Frames::start(samples, hop).0
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Waits until all have come; tells how long after its cause each did.
    pub fn latencies(self, cause: impl Fn(u64) -> u64) -> Latencies {
        let latencies = self.receiver.latencies_since(cause, warm_up(self.samples)).unwrap();
        assert_eq!(latencies.len(), self.samples, "some are missing");
        latencies
    }
}

/// The role `frames DIRECTORY COUNT`: the process that receives.
pub fn frames(arguments: &[String]) {
    floor::receive(arguments[0].as_ref(), arguments[1].parse().unwrap(), &mut std::io::stdout()).unwrap();
}

/// The role `hop DIRECTORY`: the process between the one that rings and the one that receives.
pub fn hop(arguments: &[String]) {
    let directory = Path::new(&arguments[0]);
    let bell = UnixListener::bind(directory.join("bell")).unwrap();
    let mut out = UnixStream::connect(directory.join("frames")).unwrap();
    println!("ready");
    for ringer in bell.incoming() {
        let mut ringer = ringer.unwrap();
        let mut number = [0; 8];
        while ringer.read_exact(&mut number).is_ok() {
            out.write_all(&frame(u64::from_be_bytes(number))).unwrap();
        }
    }
}
