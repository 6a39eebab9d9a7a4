//! The same work done by somebody else: other buses, the earlier waitbus in Python, the kernel's tools for files, and
//! the loops that ask again and again. All of them are programs of their own on private directories, and none is a
//! dependency. The sender is this process and the receiver another one, as for waitbus; a rival that is not installed
//! is skipped by its name. `benches/run` installs them.
//!
//! What becomes of a message is part of a rival's name, because it is what the time buys: waitbus has committed an
//! event to its log before anybody hears of it, so the event survives the process, and it has synced a webhook before
//! it answers.

mod dbus;
mod files;
mod mosquitto;
mod nats;
pub mod polling;
mod python;
mod redis;
mod server;

use std::io;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use waitbus::measure::{Latencies, Receiver, Schedule, Seen, receiver};

use crate::bus::{Service, role};
use crate::pace::{FOR_P99, samples, warm_up};
use crate::report::Report;
use server::Outcome;

/// Bytes of a message, as many as the frame of an event has.
const MESSAGE: usize = 600;

/// Digits at the beginning of a message, which are its number.
const DIGITS: usize = 20;

/// How long the receiver of a rival that has lost something waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Somebody who carries messages.
struct Rival {
    /// What the receiver is called, for the process that is it.
    inbox: &'static str,
    /// The name, and what becomes of a message.
    who: (&'static str, &'static str),
    /// The program that has to be installed, and how it tells its version.
    program: &'static [&'static str],
    /// Starts it in this private directory; nothing is returned if there is nothing to be run.
    serve: fn(&Path) -> Outcome<Option<Service>>,
    outbox: fn(&Path) -> Outcome<Box<dyn Outbox>>,
}

/// The end that sends.
trait Outbox {
    /// Returns when the message is as safe as its carrier ever says. A sample counts from when it was due, or from the
    /// time that is returned.
    fn send(&mut self, number: u64) -> io::Result<Option<u64>>;
}

/// The end that receives.
trait Inbox {
    /// Returns when the next thing has been read.
    fn receive(&mut self) -> io::Result<()>;
    /// The number of what was read, if it is one of the messages.
    fn number(&self) -> Option<u64>;
}

type Open = fn(&Path) -> Outcome<Box<dyn Inbox>>;

const INBOXES: &[(&str, Open)] = &[
    ("redis-stream", redis::stream),
    ("redis-channel", redis::channel),
    ("nats", nats::core),
    ("jetstream", nats::jetstream),
    ("mosquitto", mosquitto::inbox),
    ("dbus", dbus::inbox),
    ("lines", files::lines),
    ("newest-line", files::newest),
    ("python", python::inbox),
];

const BUSES: &[&Rival] = &[
    &redis::CHANNEL,
    &redis::EVERYSEC,
    &redis::ALWAYS,
    &nats::CORE,
    &nats::JETSTREAM,
    &mosquitto::QOS_1,
    &dbus::SIGNAL,
];

/// How long after something happened its waiter has it.
pub fn wake(report: &mut Report) {
    for (rate, full) in [(100, 2_000), (1_000, FOR_P99)] {
        let samples = samples(full);
        for rival in BUSES {
            told(report, &format!("library emit to recv, {rate}/s"), rival, rate, samples);
        }
        told(report, &format!("file written to recv, quiet = \"0s\", {rate}/s"), &files::INOTIFYWAIT, rate, samples);
    }
    // entr looks away for 50 ms after each run of its command, so it is asked slowly.
    told(report, "file written to recv, quiet = \"50ms\", 5/s", &files::ENTR, 5, samples(50));
    python::wake(report);
}

/// Commands, from the call of exec to the exit.
pub fn startup(report: &mut Report) {
    python::startup(report);
}

/// As many as come through.
pub fn ingest(report: &mut Report) {
    python::ingest(report);
}

fn told(report: &mut Report, what: &str, rival: &Rival, rate: u64, samples: u64) {
    let (name, becomes) = rival.who;
    match server::version(rival.program).and_then(|version| Ok((version, measure(rival, rate, samples)?))) {
        Ok((version, latencies)) => report.latencies(what, format!("{name} {version}, {becomes}"), latencies),
        Err(error) => report.skipped(what, format!("{name}, {becomes}"), error),
    }
}

fn measure(rival: &Rival, rate: u64, samples: u64) -> Outcome<Latencies> {
    let directory = tempfile::tempdir()?;
    let _server = (rival.serve)(directory.path())?;
    let total = samples + warm_up(samples);
    let receiver = Receiver::start(&mut receiving(rival.inbox, directory.path(), total, total / rate))?;
    let mut outbox = (rival.outbox)(directory.path())?;
    let mut causes = Vec::with_capacity(usize::try_from(total)?);
    let schedule = Schedule::begin(rate);
    for number in 0..total {
        schedule.wait_for(number);
        causes.push(outbox.send(number)?.unwrap_or_else(|| schedule.due(number)));
    }
    let cause = |number| usize::try_from(number).map_or(0, |number| causes[number]);
    all(receiver.latencies_since(cause, warm_up(samples))?, samples)
}

/// Nothing is told of somebody who has lost a message.
fn all(latencies: Latencies, samples: u64) -> Outcome<Latencies> {
    if latencies.len() == samples {
        return Ok(latencies);
    }
    Err(format!("{} of {samples} messages arrived", latencies.len()).into())
}

/// The process that receives so many, sent within so many seconds.
fn receiving(inbox: &str, directory: &Path, total: u64, seconds: u64) -> Command {
    let mut command = role("rival");
    command.arg(inbox).arg(directory).arg(total.to_string()).arg(seconds.to_string());
    command
}

/// The role `rival INBOX DIRECTORY COUNT SECONDS`: receives so many from a rival. It ends without a word when they have
/// not come long after they were sent.
pub fn receive(arguments: &[String]) {
    let [inbox, directory, count, seconds] = arguments else { panic!("{arguments:?}") };
    let (_, open) = INBOXES.iter().find(|(name, _)| name == inbox).unwrap();
    let (total, mut left): (usize, u64) = (count.parse().unwrap(), count.parse().unwrap());
    let patience = PATIENCE + Duration::from_secs(seconds.parse().unwrap());
    thread::spawn(move || {
        thread::sleep(patience);
        std::process::exit(1);
    });
    let mut inbox = open(directory.as_ref()).unwrap();
    let mut out = io::stdout();
    Seen::ready(&mut out).unwrap();
    let mut seen = Seen::expecting(total);
    while left > 0 {
        inbox.receive().unwrap();
        let at = receiver::now();
        if let Some(number) = inbox.number() {
            seen.note(number, at);
            left -= 1;
        }
    }
    seen.tell(&mut out).unwrap();
}

/// A message: its number, and then as much as makes it one of the usual size.
fn message(number: u64) -> String {
    format!("{number:0DIGITS$}{:x<1$}", "", MESSAGE - DIGITS)
}

/// The number of a message; none of what is no message.
fn number_of(message: &[u8]) -> Option<u64> {
    std::str::from_utf8(message.get(..DIGITS)?).ok()?.parse().ok()
}
