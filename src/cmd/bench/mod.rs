//! `waitbus bench`: how fast the bus is on this machine, beside what the same work costs without it.

mod plot;
mod shown;

use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use tokio::task::JoinHandle;
use tokio::time::interval;

use super::exit::{Exit, Failure};
use super::output;
use crate::child::signals::{ASK_TO_END, Signals};
use crate::client::status::{HubState, hub};
use crate::client::{Feed, Options};
use crate::config::directories::Directories;
use crate::config::environment;
use crate::measure::bus::{Attached, SAMPLE, SOURCE};
use crate::measure::private::{Hub, Room};
use crate::measure::{Latencies, Pace, Progress, Unmeasured, bus, floor};
use crate::model::frame::Subscribe;
use crate::model::id::EventId;
use crate::model::limits::{
    GRACE, MEASURE_CROWD_RATE, MEASURE_EVENTS, MEASURE_PACES, MEASURE_RATE, MEASURE_SECONDS, MEASURE_SUBSCRIBERS,
};
use crate::sys::memory::{self, Memory};
use crate::sys::terminal;

/// The hidden verb of the processes that are started to measure.
pub(super) const ROLE: &str = "bench-role";

/// Measure how fast the bus is on this machine, beside what the same work costs without it
///
/// A private bus of this program, on the file system of the log, with real processes; it takes a little more than a
/// minute, and nothing is left behind. An event is due at a fixed time, whatever became of those before it, and its
/// latency counts from then until a process has received it. The floor is the same commit of the same row and two bare
/// hops between processes. Ranges in brackets are 95 % intervals.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  waitbus bench
  waitbus bench --rate 5 --seconds 60
  waitbus bench --live --json")]
pub(super) struct Arguments {
    /// Measure the hub that runs, under whatever load it has. Its log keeps the events: of source `bench`, type
    /// `bench_sample`, with one field `bench` and no verdict. Only those hear them who ask for these, or for everything
    #[arg(long)]
    live: bool,

    /// For how many seconds samples are taken for each figure. What fewer than 1,000 samples cannot tell is left out
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=MEASURE_SECONDS))]
    seconds: u64,

    /// Events a second. May be repeated [default: 100 and 1000]
    #[arg(long = "rate", value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MEASURE_RATE))]
    rates: Vec<u64>,

    /// How many subscribers are measured together; 0 leaves that out
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = subscribers)]
    subscribers: usize,

    /// Print one JSON object, with every latency that occurred and how often. Times are in nanoseconds
    #[arg(long)]
    json: bool,
}

fn subscribers(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|&count| count <= MEASURE_SUBSCRIBERS);
    count.ok_or_else(|| format!("a number from 0 to {MEASURE_SUBSCRIBERS}"))
}

/// What such a process does.
#[derive(Debug, Subcommand)]
pub(super) enum Role {
    Receive { socket: PathBuf, frame: String, count: usize, clients: usize },
    Frames { directory: PathBuf, count: usize },
    Pass { directory: PathBuf },
}

/// Does it. Whoever has started it sees that it has not done everything, and says so.
pub(super) fn play(role: Role) -> Result<Exit, Failure> {
    let mut out = io::stdout();
    let played = match role {
        Role::Receive { socket, frame, count, clients } => bus::receive(&socket, &frame, count, clients, &mut out),
        Role::Frames { directory, count } => floor::receive(&directory, count, &mut out),
        Role::Pass { directory } => floor::pass(&directory, &mut out),
    };
    played.map(|()| Exit::Success).map_err(Failure::bus)
}

/// What was found out.
struct Found {
    live: bool,
    seconds: u64,
    paces: Vec<Compared>,
    /// The hub with nobody but what was there already.
    memory: Option<Memory>,
    crowd: Option<Crowd>,
}

/// One pace: the floor and the bus.
struct Compared {
    rate: u64,
    floor: Latencies,
    bus: Latencies,
}

/// Many subscribers, all of which get every event.
struct Crowd {
    subscribers: usize,
    /// Bytes that the hub takes for each of them.
    bytes_each: Option<u64>,
    /// Until the last of them had the event.
    last_served: Latencies,
}

/// What is going to be measured.
struct Plan {
    directories: Directories,
    /// The process of the hub that runs, to measure that.
    live: Option<u32>,
    seconds: u64,
    rates: Vec<u64>,
    subscribers: usize,
}

impl Plan {
    fn paces(&self) -> impl Iterator<Item = Pace> + '_ {
        self.rates.iter().map(|&rate| Pace { rate, samples: rate * self.seconds })
    }

    fn crowd(&self) -> Option<Pace> {
        (self.subscribers > 0).then_some(Pace { rate: MEASURE_CROWD_RATE, samples: MEASURE_CROWD_RATE * self.seconds })
    }

    /// Events that the bus is going to have.
    fn events(&self) -> u64 {
        self.paces().chain(self.crowd()).map(Pace::total).sum()
    }

    /// Samples, those of the floor and of every warm-up too.
    fn samples(&self) -> u64 {
        self.paces().map(|pace| 2 * pace.total()).sum::<u64>() + self.crowd().map_or(0, Pace::total)
    }
}

pub(super) async fn run(arguments: Arguments, directories: Directories) -> Result<Exit, Failure> {
    let mut rates = if arguments.rates.is_empty() { vec![100, 1_000] } else { arguments.rates };
    rates.sort_unstable();
    rates.dedup();
    if rates.len() > MEASURE_PACES {
        return Err(Failure::usage(format!("--rate may be given {MEASURE_PACES} times at most")));
    }
    let Arguments { live, seconds, subscribers, json, .. } = arguments;
    let mut plan = Plan { directories, live: None, seconds, rates, subscribers };
    let events = plan.events();
    if events > MEASURE_EVENTS {
        let problem = format!("that is {events} events, and the log that is measured takes {MEASURE_EVENTS} at most");
        return Err(Failure::usage(problem + ": ask for fewer --seconds, or a smaller --rate"));
    }
    if live {
        plan.live = Some(running(&plan.directories).await?);
        output::say(&format!("waitbus: {events} events of source {SOURCE}, type {SAMPLE}, will stay in the log"));
    }
    // Before anything is started: from then on an interrupt is ours to handle.
    let refused = |error| Failure::bus(format!("the system refuses signal handlers: {error}"));
    let mut signals = Signals::listen(&ASK_TO_END).map_err(refused)?;
    let progress = Arc::new(Progress::default());
    let samples = plan.samples();
    let mut work = tokio::task::spawn_blocking({
        let progress = Arc::clone(&progress);
        move || measure(&plan, &progress)
    });
    let found = tokio::select! {
        biased;
        signal = signals.next() => {
            progress.stop();
            // It ends at its next sample, and takes its processes and directories with it.
            let _ = work.await;
            clear();
            return Ok(Exit::Signal(u8::try_from(signal).unwrap_or(0)));
        }
        found = shown_while(&mut work, &progress, samples) => found?,
    };
    let lines = if json { vec![shown::json(&found)] } else { shown::text(&found) };
    for line in lines {
        if output::line(&line).is_err() {
            break;
        }
    }
    Ok(Exit::Success)
}

/// The process of the hub that runs.
async fn running(directories: &Directories) -> Result<u32, Failure> {
    match hub(directories).await.map_err(Failure::usage)? {
        HubState::Running(status) => {
            // A hub of another log would never tell of what is emitted here; whoever subscribes is told so.
            Feed::open(directories, Subscribe { heartbeat: false, ..Subscribe::default() }, Options { grace: GRACE })
                .await?;
            Ok(status.pid)
        }
        HubState::NotRunning => Err(Failure::bus(
            "no hub is running, so there is none to measure; without --live a private one is measured",
        )),
        HubState::Silent { problem, .. } => Err(Failure::bus(format!("the hub does not answer: {problem}"))),
    }
}

/// Shows how far it is, if there is a terminal to show it on.
async fn shown_while(
    work: &mut JoinHandle<Result<Found, Unmeasured>>,
    progress: &Progress,
    samples: u64,
) -> Result<Found, Failure> {
    const BAR: usize = 40;
    /// What stands around it, and the place of the cursor.
    const AROUND: usize = 9;
    let terminal = terminal::is_terminal(&io::stderr());
    let mut clock = interval(Duration::from_millis(250));
    let found = loop {
        tokio::select! {
            biased;
            found = &mut *work => break found,
            _ = clock.tick(), if terminal => {
                let done = usize::try_from(progress.sent() * 100 / samples.max(1)).unwrap_or(100).min(100);
                // A line that wraps is not where it was when it is written anew.
                let room = terminal::columns(&io::stderr()).map_or(BAR, |columns| columns.saturating_sub(AROUND));
                let width = BAR.min(room);
                let bar = "#".repeat(done * width / 100);
                output::progress(&format!("[{bar:.<width$}] {done:>3} %"));
            }
        }
    };
    clear();
    found.map_err(Failure::bus)?.map_err(Failure::bus)
}

/// Takes the bar away, if there was one.
fn clear() {
    if terminal::is_terminal(&io::stderr()) {
        output::progress("");
    }
}

fn measure(plan: &Plan, progress: &Progress) -> Result<Found, Unmeasured> {
    let room = Room::beside(&plan.directories)?;
    let private = if plan.live.is_none() { Some(Hub::start(&room)?) } else { None };
    let hub = private.as_ref().map(Hub::process).or(plan.live);
    measure_hub(plan, progress, &room, hub).map_err(|problem| match (problem, private) {
        (Unmeasured::Failed { .. }, Some(private)) if private.has_ended() => Unmeasured::HubEnded,
        (problem, _) => problem,
    })
}

fn measure_hub(plan: &Plan, progress: &Progress, room: &Room, hub: Option<u32>) -> Result<Found, Unmeasured> {
    let directories = if plan.live.is_some() { plan.directories.clone() } else { room.directories() };
    let run = EventId::at(SystemTime::now()).to_string();
    let attach = |pace, subscribers| Attached::start(&directories, &run, pace, subscribers, &role);

    let compare = |pace: Pace| {
        let floor = floor::commit_and_two_hops(room.state(), room.sockets(), pace, &role, progress)?;
        Ok(Compared { rate: pace.rate, floor, bus: attach(pace, 1)?.measure(progress)? })
    };
    let paces = plan.paces().map(compare).collect::<Result<_, Unmeasured>>()?;
    let memory = hub.and_then(memory::of);
    let crowd = plan.crowd().map(|pace| {
        let attached = attach(pace, plan.subscribers)?;
        let bytes_each = bytes_each(memory, hub.and_then(memory::of), plan.subscribers);
        Ok::<_, Unmeasured>(Crowd {
            subscribers: plan.subscribers,
            bytes_each,
            last_served: attached.measure(progress)?,
        })
    });
    Ok(Found { live: plan.live.is_some(), seconds: plan.seconds, paces, memory, crowd: crowd.transpose()? })
}

/// A process of this program in a role. It has a group of its own: an interrupt at the terminal is ours to handle.
fn role(name: &str) -> Command {
    // Without a path of its own the program is looked for as any other, and that it is not there is said there.
    let mut command = Command::new(environment::program().unwrap_or_else(|_| "waitbus".into()));
    command.args([ROLE, name]).stderr(Stdio::null()).process_group(0);
    command
}

/// Nothing of a few: they fit into what the hub has.
fn bytes_each(before: Option<Memory>, after: Option<Memory>, subscribers: usize) -> Option<u64> {
    const ENOUGH: usize = 100;
    let grown = after?.own.checked_sub(before?.own).filter(|_| subscribers >= ENOUGH)?;
    Some(grown / u64::try_from(subscribers).ok()?)
}
