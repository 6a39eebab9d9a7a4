//! `waitbus demo`: the whole path on a private bus, with the real program in every role, in a few seconds.

use std::fmt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::{MissedTickBehavior, interval};

use super::exit::{Exit, Failure};
use super::output;
use super::wait::interrupted;
use crate::client::{Feed, Item, Options};
use crate::config::directories::Directories;
use crate::config::{environment, secret};
use crate::ingest::signature;
use crate::model::frame::Subscribe;
use crate::model::limits::GRACE;
use crate::sys::private;

/// GitHub's own example of a workflow run that has succeeded (tests/payloads/github/README.md).
const PAYLOAD: &str = include_str!("../../tests/payloads/github/workflow_run.completed.payload.json");
/// The run of the example.
const RUN_ID: &str = "289782451";
/// Deliveries whose latency is measured, and how many of them a second: enough for a 99th percentile that is more
/// than the slowest one.
const DELIVERIES: usize = 300;
const PER_SECOND: u32 = 100;

/// Show the whole path on a private bus, offline, in a few seconds; nothing is left behind
///
/// A real listener, a signed delivery of GitHub's own example, a real wait that it wakes, one that times out, the
/// measured latencies, and a replay.
#[derive(Debug, Args)]
pub(super) struct Arguments {}

pub(super) async fn run(_: Arguments) -> Result<Exit, Failure> {
    tokio::select! {
        biased;
        exit = interrupted() => exit,
        outcome = show() => outcome.map(|()| Exit::Success),
    }
}

async fn show() -> Result<(), Failure> {
    let bus = Bus::new()?;
    say(format_args!("A private bus in {}\n", bus.root.path().display()));

    let mut serve = bus.start(&["serve", "--addr", "127.0.0.1:0"])?;
    let ready = serve.line().await?;
    let address = ready.rsplit_once("webhook=").map(|(_, address)| address.to_owned());
    let address =
        address.ok_or_else(|| Failure::bus(format!("the listener did not say where it listens: {ready:?}")))?;
    say(format_args!("$ waitbus serve\n  {ready}\n"));

    let arguments = ["wait", "-v", "--source", "github", "--match", "conclusion=success"];
    let mut wait = bus.start(&arguments)?;
    wait.said("attached").await?;
    let mut sender = Sender::connect(&address, &bus.secret).await?;
    let posted = Instant::now();
    let answer = sender.deliver(0).await?;
    let answered = posted.elapsed();
    let summary = wait.line().await?;
    let woken = wait.last_line.duration_since(posted);
    let code = wait.end().await?;
    say(format_args!("$ waitbus wait --source github --match \"conclusion=success\""));
    say(format_args!("  POST /webhook, signed: {answer}"));
    say(format_args!("  {summary}"));
    say(format_args!(
        "  exit code {code}; printed {} after the request, which was answered after {}\n",
        ms(woken),
        ms(answered)
    ));

    let mut late = bus.start(&["wait", "--source", "github", "--match", "conclusion=failure", "--timeout", "300ms"])?;
    let code = late.end().await?;
    say(format_args!("$ waitbus wait --source github --match \"conclusion=failure\" --timeout 300ms"));
    say(format_args!("  exit code {code}: it has not happened, and nothing is guessed\n"));

    let (delivered, durable) = measure(&bus, sender).await?;
    say(format_args!("{DELIVERIES} more deliveries, {PER_SECOND} a second, from the request's first byte:"));
    say(format_args!("  until a subscriber has the event   {delivered}"));
    say(format_args!("  until the sender has the answer    {durable} (the event is on stable storage)\n"));

    let replayed = bus.start(&["replay"])?.count().await?;
    say(format_args!("$ waitbus replay | wc -l\n  {replayed}\n"));
    let code = serve.stop().await?;
    let expected = DELIVERIES + 1;
    if replayed != expected || code != 0 {
        return Err(Failure::bus(format!("{replayed} events instead of {expected}, and serve ended with {code}")));
    }
    say(format_args!("Stopped, and removed."));
    Ok(())
}

/// Sends deliveries at a steady pace, one after the other, and measures each from its first byte.
async fn measure(bus: &Bus, mut sender: Sender) -> Result<(Latencies, Latencies), Failure> {
    let mut feed = Feed::open(&bus.directories, Subscribe::default(), Options { grace: GRACE }).await?;
    let (mut delivered, mut answered) = (Latencies::default(), Latencies::default());
    let mut clock = interval(Duration::from_secs(1) / PER_SECOND);
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 1..=DELIVERIES {
        clock.tick().await;
        let sent = Instant::now();
        let number = i64::try_from(number).map_err(Failure::bus)?;
        let received = async {
            loop {
                if let Item::Event { body, .. } = feed.next().await?
                    && body.get("fields").and_then(|fields| fields.get("run_id")?.as_i64()) == Some(number)
                {
                    return Ok::<_, Failure>(sent.elapsed());
                }
            }
        };
        let posted = async {
            sender.deliver(number).await?;
            Ok::<_, Failure>(sent.elapsed())
        };
        let (received, posted) = tokio::try_join!(received, posted)?;
        delivered.0.push(received);
        answered.0.push(posted);
    }
    Ok((delivered, answered))
}

fn say(text: fmt::Arguments<'_>) {
    // Whoever stops reading has seen enough; the demo still cleans up.
    let _ = output::line(&text.to_string());
}

fn ms(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

/// How long things took.
#[derive(Debug, Default)]
struct Latencies(Vec<Duration>);

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = |percent: usize| sorted.get(sorted.len() * percent / 100).copied().unwrap_or_default();
        write!(f, "p50 {}  p99 {}", ms(at(50)), ms(at(99)))
    }
}

/// A bus that goes away with its directory.
struct Bus {
    root: TempDir,
    directories: Directories,
    secret: secret::Secret,
}

impl Bus {
    fn new() -> Result<Bus, Failure> {
        let failed = |error: std::io::Error| Failure::bus(format!("no temporary directory can be made: {error}"));
        let root = tempfile::Builder::new()
            .prefix("waitbus-demo-")
            .tempdir_in(environment::temporary_directory())
            .map_err(failed)?;
        let path = |name: &str| root.path().join(name);
        let directories = Directories { runtime: path("run"), state: path("state"), config: path("config") };
        let secret = write_secret(&directories.credentials()).map_err(failed)?;
        Ok(Bus { root, directories, secret })
    }

    fn start(&self, arguments: &[&str]) -> Result<Running, Failure> {
        let failed = |error: std::io::Error| Failure::bus(format!("waitbus {} does not start: {error}", arguments[0]));
        let mut child = Command::new(environment::program().map_err(failed)?)
            .args(arguments)
            .envs(self.directories.variables())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let no_pipe = || failed(std::io::ErrorKind::BrokenPipe.into());
        let out = BufReader::new(child.stdout.take().ok_or_else(no_pipe)?).lines();
        let err = BufReader::new(child.stderr.take().ok_or_else(no_pipe)?).lines();
        Ok(Running { child, out, err, last_line: Instant::now() })
    }
}

fn write_secret(directory: &Path) -> std::io::Result<secret::Secret> {
    private::directory(directory)?;
    let secret = secret::Secret::generate()?;
    let path = directory.join(secret::GITHUB_WEBHOOK.name);
    std::fs::write(&path, secret.expose())?;
    private::file(&path)?;
    Ok(secret)
}

/// One of our own processes.
struct Running {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    err: Lines<BufReader<ChildStderr>>,
    last_line: Instant,
}

impl Running {
    async fn line(&mut self) -> Result<String, Failure> {
        let line = self.out.next_line().await.ok().flatten();
        self.last_line = Instant::now();
        match line {
            Some(line) => Ok(line),
            None => {
                Err(Failure::bus(self.err.next_line().await.ok().flatten().unwrap_or_else(|| "it ended early".into())))
            }
        }
    }

    async fn said(&mut self, text: &str) -> Result<(), Failure> {
        while let Some(line) = self.err.next_line().await.map_err(Failure::bus)? {
            if line.contains(text) {
                return Ok(());
            }
        }
        Err(Failure::bus(format!("a process ended before it said that it was {text}")))
    }

    async fn count(&mut self) -> Result<usize, Failure> {
        let mut lines = 0;
        while self.out.next_line().await.map_err(Failure::bus)?.is_some() {
            lines += 1;
        }
        Ok(lines)
    }

    async fn end(&mut self) -> Result<i32, Failure> {
        let status = self.child.wait().await.map_err(Failure::bus)?;
        Ok(status.code().unwrap_or(-1))
    }

    async fn stop(&mut self) -> Result<i32, Failure> {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM).map_err(Failure::bus)?;
        }
        self.end().await
    }
}

/// Posts deliveries as GitHub does, on one connection.
struct Sender {
    stream: TcpStream,
    secret: secret::Secret,
}

impl Sender {
    async fn connect(address: &str, secret: &secret::Secret) -> Result<Sender, Failure> {
        let stream = TcpStream::connect(address).await.map_err(Failure::bus)?;
        stream.set_nodelay(true).map_err(Failure::bus)?;
        Ok(Sender { stream, secret: secret.clone() })
    }

    /// Returns what the listener answered. Each delivery is about another run, because what is said twice is stored once.
    async fn deliver(&mut self, run: i64) -> Result<String, Failure> {
        let payload = PAYLOAD.replace(RUN_ID, &run.to_string());
        let request = format!(
            "POST /webhook HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nx-github-event: workflow_run\r\n\
             x-github-delivery: demo-{run}\r\nx-hub-signature-256: {}\r\ncontent-length: {}\r\n\r\n{payload}",
            signature::sign(self.secret.expose(), payload.as_bytes()),
            payload.len()
        );
        self.stream.write_all(request.as_bytes()).await.map_err(Failure::bus)?;
        let mut answer = Vec::new();
        // The answer is one small JSON object, so its end is its closing brace.
        while !answer.ends_with(b"}") {
            if self.stream.read_buf(&mut answer).await.map_err(Failure::bus)? == 0 {
                return Err(Failure::bus("the listener closed the connection"));
            }
        }
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        let status = head.lines().next().unwrap_or_default().trim_start_matches("HTTP/1.1 ");
        if status == "200 OK" { Ok(format!("{status} {body}")) } else { Err(Failure::bus(format!("{status}: {body}"))) }
    }
}
