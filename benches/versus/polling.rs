//! What asks again and again, as tools do and tell people to do: how much later it knows, and what an hour of it costs.
//! Real loops of a shell with real commands; the events come at random moments of a period. Beside them `waitbus wait`,
//! in the same shell.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use waitbus::client::Publisher;
use waitbus::measure::{Latencies, receiver};

use super::server;
use crate::bus::{Bus, Service, draft};
use crate::process;
use crate::report::Report;

const WHAT: &str = "event to the next line of a script";
const MEAN: &str = "the same, half of a period by the formula";
const WORST: &str = "the same, 99 % of a period by the formula";
const COST: &str = "processor time of an hour of waiting";

/// Loops that run side by side. They sleep nearly always.
const TOGETHER: u32 = 36;

/// From when the first of them begins until the last one does.
const SPREAD: Duration = Duration::from_secs(1);

/// How often each of them waits for something.
const ROUNDS: u32 = 3;

/// From the part of a period in which one of them happens to that of the next: far, and through all of them, because it
/// has no factor in common with how many there are.
const STEP: u32 = 31;

/// Where the random moments begin, so that every run has the same.
const SEED: u64 = 0x5eed;

const HOUR: f64 = 3_600.0;

/// What is asked again and again.
struct Poll {
    who: &'static str,
    program: &'static [&'static str],
    /// Seconds from one question to the next.
    period: u32,
    /// The condition of bash that is true as long as nothing has happened to `$1`.
    still: &'static str,
    /// Whether what happens is a file that is there, and not that a server says something else.
    file: bool,
}

const POLLS: [Poll; 3] = [
    Poll {
        who: "gh run watch: every 3 s, here curl to a local server",
        program: &["curl", "--version"],
        period: 3,
        still: r#"[[ $(curl -s "http://$API/runs/$1") == *in_progress* ]]"#,
        file: false,
    },
    Poll {
        who: "docker ps every 2 s, a local server as the engine",
        program: &["docker", "--version"],
        period: 2,
        still: r#"[[ -n $(docker ps -q --filter id="$1") ]]"#,
        file: false,
    },
    Poll {
        who: "[ -e FILE ] every 1 s",
        program: &["bash", "--version"],
        period: 1,
        still: "[[ ! -e $1 ]]",
        file: true,
    },
];

/// What one script told.
struct Sample {
    /// How long after the event its next line was reached, in nanoseconds.
    delay: u64,
    /// How long it waited, and the processor time of it and its children meanwhile, in seconds.
    waited: f64,
    spent: f64,
}

pub fn measure(report: &mut Report) {
    let bus = Bus::new();
    let (_hub, _) = bus.start(&["hub"]);
    let blocked = blocked(&bus);
    let standin = Standin::start().unwrap();
    let waits = samples(1, |number, moment| wait(&bus, number, moment));
    let polled = thread::scope(|scope| {
        let polls = POLLS.each_ref().map(|poll| scope.spawn(|| polls(poll, &standin)));
        polls.map(|polls| polls.join().unwrap())
    });
    match waits {
        // It waits once an hour, and is woken meanwhile as often as the one was that has been blocked all the time.
        Ok(waits) => tell(report, "waitbus", &waits, |sample| sample.spent + blocked.share() * HOUR),
        Err(error) => report.skipped(WHAT, "waitbus", error),
    }
    for (poll, polled) in POLLS.iter().zip(polled) {
        match polled {
            Ok(samples) => {
                let shell = shell().unwrap_or_default();
                tell(report, poll.who, &samples, |sample| {
                    // The first question is asked at once, and the last one finds it.
                    let questions = (sample.waited / f64::from(poll.period)).round() + 1.0;
                    let each = (sample.spent - shell).max(0.0) / questions;
                    shell + each * HOUR / f64::from(poll.period)
                });
                report.number(MEAN, poll.who, f64::from(poll.period) * 500.0, "ms");
                report.number(WORST, poll.who, f64::from(poll.period) * 990.0, "ms");
            }
            Err(error) => report.skipped(WHAT, poll.who, error),
        }
    }
}

fn tell(report: &mut Report, who: &str, samples: &[Sample], cost: impl Fn(&Sample) -> f64) {
    let mut latencies = Latencies::default();
    for sample in samples {
        latencies.record(sample.delay);
    }
    report.latencies(WHAT, who, latencies);
    let count = f64::from(u32::try_from(samples.len()).unwrap_or(u32::MAX));
    report.number(COST, who, samples.iter().map(cost).sum::<f64>() / count * 1_000.0, "ms");
}

/// Has something waited for by many at a time, and often: by each at a moment of another small part of the period, and at
/// a random one of that part.
fn samples(period: u32, sample: impl Fn(u64, u64) -> io::Result<Sample> + Sync) -> Result<Vec<Sample>, String> {
    let period = Duration::from_secs(u64::from(period));
    let mut random = SEED;
    let mut all = Vec::new();
    for round in 0..ROUNDS {
        let numbers = round * TOGETHER..(round + 1) * TOGETHER;
        let phases = numbers.map(|number| {
            let part = number * STEP % (ROUNDS * TOGETHER);
            (number, (f64::from(part) + fraction(&mut random)) / f64::from(ROUNDS * TOGETHER))
        });
        let phases: Vec<_> = phases.collect();
        thread::scope(|scope| {
            let one = |(number, phase): (u32, f64)| {
                let sample = &sample;
                scope.spawn(move || {
                    // Not all at the same time, because then they would wait for each other.
                    thread::sleep(SPREAD * (number % TOGETHER) / TOGETHER);
                    sample(u64::from(number), receiver::now() + nanoseconds(period.mul_f64(1.0 + phase)))
                })
            };
            let threads: Vec<_> = phases.into_iter().map(one).collect();
            all.extend(threads.into_iter().map(|thread| thread.join().unwrap()));
        });
    }
    all.into_iter().collect::<io::Result<_>>().map_err(|error| error.to_string())
}

fn polls(poll: &Poll, standin: &Standin) -> Result<Vec<Sample>, String> {
    server::version(poll.program).map_err(|error| error.to_string())?;
    samples(poll.period, |number, moment| {
        // The first digits of a container's id, and as good a name for a run or a file.
        let name = format!("{:04x}{number:08x}", poll.period);
        standin.expect(&name, moment);
        let script = format!("while {}; do sleep {}; done; times", poll.still, poll.period);
        let mut bash = server::program("bash");
        bash.args(["-c", &script, "bash", &name]).envs(standin.variables()).current_dir(&standin.directory);
        script_of(&mut bash, moment, || if poll.file { standin.make_file(&name, moment) } else { Ok(()) })
    })
}

/// What the shell costs that asks nothing, in seconds of processor time.
fn shell() -> io::Result<f64> {
    let mut bash = server::program("bash");
    bash.args(["-c", "while false; do sleep 1; done; times"]);
    let now = receiver::now();
    script_of(&mut bash, now, || Ok(())).map(|sample| sample.spent)
}

fn wait(bus: &Bus, number: u64, moment: u64) -> io::Result<Sample> {
    let mut publisher = Publisher::open(&bus.directories()).map_err(io::Error::other)?;
    let waitbus = env!("CARGO_BIN_EXE_waitbus");
    let script = format!(r#"'{waitbus}' wait --source bench --match "n=$1" > /dev/null; times"#);
    let mut bash = server::program("bash");
    bash.args(["-c", &script, "bash", &number.to_string()]).envs(bus.directories().variables());
    script_of(&mut bash, moment, || {
        sleep_until(moment);
        publisher.publish(&draft(number)).map(drop).map_err(io::Error::other)
    })
}

/// Runs a script that waits for what happens at a moment and ends with `times`.
fn script_of(bash: &mut Command, moment: u64, happen: impl FnOnce() -> io::Result<()>) -> io::Result<Sample> {
    let start = receiver::now();
    let mut child = bash.stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take();
    let _service = Service(child);
    happen()?;
    let mut told = String::new();
    if let Some(mut stdout) = stdout {
        stdout.read_to_string(&mut told)?;
    }
    let end = receiver::now();
    let spent: Option<Vec<f64>> = told.split_whitespace().map(seconds).collect();
    let spent = spent.filter(|times| times.len() == 4).ok_or_else(|| io::Error::other(format!("times: {told:?}")))?;
    let delay = end.checked_sub(moment).ok_or_else(|| io::Error::other("it ended before anything had happened"))?;
    let waited = Duration::from_nanos(end - start).as_secs_f64();
    Ok(Sample { delay, waited, spent: spent.iter().sum() })
}

/// A time as `times` tells it: `0m0.002s`.
fn seconds(text: &str) -> Option<f64> {
    let (minutes, seconds) = text.strip_suffix('s')?.split_once('m')?;
    Some(minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?)
}

/// A `wait` that is blocked, and the processor time that it has had since.
struct Blocked {
    service: Service,
    since: u64,
    had: u64,
}

fn blocked(bus: &Bus) -> Blocked {
    let service = bus.blocked_wait();
    Blocked { since: receiver::now(), had: process::processor_time(service.pid()), service }
}

impl Blocked {
    /// The share of a processor that it has.
    fn share(&self) -> f64 {
        let had = Duration::from_nanos(process::processor_time(self.service.pid()) - self.had);
        had.as_secs_f64() / Duration::from_nanos(receiver::now() - self.since).as_secs_f64()
    }
}

/// Says as a server of HTTP, in place of GitHub and of a container engine, what has not happened yet.
struct Standin {
    directory: PathBuf,
    _root: tempfile::TempDir,
    api: String,
    moments: Arc<Moments>,
}

/// When what has a name happens.
type Moments = Mutex<HashMap<String, u64>>;

impl Standin {
    fn start() -> io::Result<Standin> {
        let root = tempfile::tempdir()?;
        let moments = Arc::default();
        let api = TcpListener::bind(("127.0.0.1", 0))?;
        let address = api.local_addr()?.to_string();
        let engine = UnixListener::bind(root.path().join("docker.sock"))?;
        let [for_api, for_engine] = [Arc::clone(&moments), Arc::clone(&moments)];
        thread::spawn(move || api.incoming().flatten().for_each(|stream| serve(stream, &for_api)));
        thread::spawn(move || engine.incoming().flatten().for_each(|stream| serve(stream, &for_engine)));
        Ok(Standin { directory: root.path().to_owned(), _root: root, api: address, moments })
    }

    fn expect(&self, name: &str, moment: u64) {
        self.moments.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), moment);
    }

    fn variables(&self) -> [(&'static str, String); 3] {
        let docker = format!("unix://{}", self.directory.join("docker.sock").display());
        [("API", self.api.clone()), ("DOCKER_HOST", docker), ("HOME", self.directory.display().to_string())]
    }

    fn make_file(&self, name: &str, moment: u64) -> io::Result<()> {
        sleep_until(moment);
        File::create(self.directory.join(name)).map(drop)
    }
}

/// Answers the requests of one connection, on a thread of its own.
fn serve<S: Read + Write + Send + 'static>(stream: S, moments: &Arc<Moments>) {
    let moments = Arc::clone(moments);
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        while let Some(request) = request(&mut stream) {
            let answer = answer(&request, &moments);
            let body = if request.starts_with("HEAD ") { "" } else { &*answer };
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nApi-Version: 1.41\r\nOstype: linux\r\n";
            let text = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
            if stream.get_mut().write_all(text.as_bytes()).is_err() {
                return;
            }
        }
    });
}

/// The first line of a request; none of them has a body.
fn request(stream: &mut impl BufRead) -> Option<String> {
    let mut lines = stream.lines().map_while(Result::ok);
    let first = lines.next()?;
    lines.find(String::is_empty)?;
    Some(first)
}

/// What there is to say of whatever the request names.
fn answer(request: &str, moments: &Moments) -> String {
    let now = receiver::now();
    let moments = moments.lock().unwrap_or_else(PoisonError::into_inner);
    let open = moments.iter().find(|(name, moment)| request.contains(&***name) && now < **moment).map(|(name, _)| name);
    match open {
        _ if request.contains("/_ping") => "OK".to_owned(),
        Some(id) if request.contains("/containers/json") => {
            serde_json::json!([{"Id": id, "Names": ["/job"], "Image": "job", "State": "running"}]).to_string()
        }
        None if request.contains("/containers/json") => "[]".to_owned(),
        Some(_) => r#"{"status":"in_progress"}"#.to_owned(),
        None => r#"{"status":"completed"}"#.to_owned(),
    }
}

fn sleep_until(moment: u64) {
    thread::sleep(Duration::from_nanos(moment.saturating_sub(receiver::now())));
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The next of a row of numbers from 0 to 1 that looks random (`SplitMix64`).
fn fraction(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    f64::from(u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}
