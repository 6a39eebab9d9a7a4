//! What a wait survives, and what it never misses: marks, emitters that race with the attachment, hubs that die under
//! every kind of question, a terminal; and what it costs while nothing concerns it.

#[cfg(target_os = "linux")]
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use waitbus::client::Publisher;
use waitbus::config::directories::Directories;
use waitbus::model::event::{Draft, ingest_method};

use crate::harness::{Bus, Process, lock_holder, seeds};
#[cfg(target_os = "linux")]
use crate::harness::{skip, works};
use crate::kinds::{self, Event, KINDS};
use crate::random::Random;
#[cfg(target_os = "linux")]
use crate::terminal::Terminal;

fn publisher(bus: &Bus) -> Publisher {
    let config = bus.root().join("config");
    Publisher::open(&Directories { runtime: bus.runtime(), state: bus.state(), config }).unwrap()
}

fn draft(source: &str, n: u64) -> Draft {
    Draft {
        source: source.to_owned(),
        event_type: "t".to_owned(),
        ingest_method: ingest_method::EMIT,
        fields: json!({"n": n}).as_object().unwrap().clone(),
        ..Draft::default()
    }
}

fn number(line: &str) -> u64 {
    serde_json::from_str::<Value>(line).unwrap()["fields"]["n"].as_u64().unwrap()
}

#[test]
fn what_was_emitted_after_a_mark_is_never_missed() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut publisher = publisher(&bus);
    for n in seeds(1_000) {
        let mark = bus.ok(&["mark"]);
        publisher.publish(&draft("race", n)).unwrap();
        assert_eq!(number(&bus.ok(&["wait", "--after", &mark, "--source", "race", "--json", "--timeout", "60s"])), n);
    }
}

#[test]
fn an_event_that_races_with_the_attachment_is_seen_or_lies_before_it() {
    // An earlier implementation missed events that were emitted right after `wait` had started, because it did not wait
    // for the acknowledgement.
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut publisher = publisher(&bus);
    let (mut before, mut after) = (0, 0);
    for seed in seeds(1_000) {
        let mut random = Random::new(seed);
        let mut wait = Process::start(bus.command(&["wait", "-v", "--source", "race", "--json"]));
        // From before it has begun until long after it is attached: it takes a few milliseconds.
        let due = Instant::now() + Duration::from_micros(random.within(0..=6_000) as u64);
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        let raced = publisher.publish(&draft("race", 1)).unwrap().id().to_string();
        let attached = wait.attached();
        let expected = if attached == raced {
            before += 1;
            // It lies before the cursor that the wait has told, so the wait is for what comes next.
            publisher.publish(&draft("race", 2)).unwrap();
            2
        } else {
            after += 1;
            1
        };
        assert_eq!(number(&wait.line()), expected, "to repeat this: WAITBUS_SEED={seed} WAITBUS_SEEDS=1");
        assert_eq!(wait.code(), 0);
    }
    println!("{before} before the attachment, {after} after it");
}

#[test]
fn a_hub_that_is_killed_under_any_kind_of_wait_changes_nothing_of_its_end() {
    for kind in KINDS {
        let bus = Bus::new();
        let emit = |events: &[Event]| {
            for event in events {
                bus.ok(&kinds::emit(event).each_ref().map(String::as_str));
            }
        };
        let mut hub = bus.hub();
        let mut wait = bus.wait(kind.arguments);
        emit(kind.before);
        hub.kill();
        emit(kind.after);
        // It has started another one, and that one dies as well, if it is there already.
        if let Some(pid) = lock_holder(&bus.runtime().join("hub.lock")) {
            let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let (code, out, err) = wait.ending();
        let last = out.lines().last().unwrap_or_default();
        assert_eq!((code, last), (Some(kind.code), kind.last), "{:?}: {err}", kind.arguments);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_blocked_wait_makes_no_system_call_whatever_happens_to_others() {
    let name = "a_blocked_wait_makes_no_system_call_whatever_happens_to_others";
    if !works(&["strace", "-o", "/dev/null", "true"]) {
        return skip(name, "strace is missing, or may not trace");
    }
    let bus = Bus::new();
    let _hub = bus.hub();
    let kinds: [&[&str]; 4] = [
        &["--source", "a", "--match", "x=1"],
        &["--source", "a", "--verdict"],
        &["--all-of", "a[x=1]:y=2", "--all-of", "b[x=1]:y=2", "--timeout", "10h"],
        &["--source", "c", "--none-of", "a[x=1]:y=2", "--quiet-for", "10h"],
    ];
    let waits: Vec<_> = kinds.iter().map(|arguments| bus.wait(arguments)).collect();
    let traces: Vec<_> = waits.iter().enumerate().map(|(n, wait)| Trace::start(&bus, n, wait)).collect();
    // Of the same sources, and for somebody else: they are delivered when that one has them.
    let mut neighbour = bus.subscribe(&json!({"match": "n>=0", "heartbeat": is_full()}));
    let mut publisher = publisher(&bus);
    for n in 0..200 {
        publisher.publish(&draft(["a", "b"][usize::try_from(n % 2).unwrap()], n)).unwrap();
        assert_eq!(neighbour.numbers(1), [n]);
    }
    if is_full() {
        // The full tier: the hub sends its neighbour a heartbeat when nothing has happened for a minute.
        neighbour.stream.set_read_timeout(None).unwrap();
        assert_eq!(neighbour.frame()["kind"], "daemon_heartbeat");
    }
    for (trace, arguments) in traces.iter().zip(kinds) {
        let calls = trace.calls();
        // The one in which it sleeps, once for each of its threads.
        assert!(calls.iter().all(|call| call.contains("epoll_wait(") || call.contains("futex(")), "{calls:?}");
        assert!(!calls.iter().any(|call| call.contains(" = ")), "{arguments:?}: {calls:?}");
    }
}

/// Whether the full tier is asked for: more than one seed.
#[cfg(target_os = "linux")]
fn is_full() -> bool {
    seeds(1).count() > 1
}

/// A tracer of a process that runs already.
#[cfg(target_os = "linux")]
pub struct Trace {
    tracer: Process,
    file: std::path::PathBuf,
}

#[cfg(target_os = "linux")]
impl Trace {
    pub fn start(bus: &Bus, n: usize, process: &Process) -> Trace {
        let file = bus.root().join(format!("trace-{n}"));
        let mut command = std::process::Command::new("strace");
        command.args(["-f", "-o"]).arg(&file).args(["-p", &process.child.id().to_string()]).stdin(Stdio::null());
        let mut tracer = Process::start(command);
        tracer.said("attached");
        let trace = Trace { tracer, file };
        // It is attached to a call that goes on, and tells that.
        while trace.calls().is_empty() {
            std::thread::yield_now();
        }
        trace
    }

    /// All that it has traced, once the process has ended.
    pub fn ended(mut self) -> Vec<String> {
        self.tracer.end();
        self.calls()
    }

    /// What it has traced so far, a line a call.
    pub fn calls(&self) -> Vec<String> {
        std::fs::read_to_string(&self.file).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_on_a_terminal_ends_a_wait_with_130_and_the_shell_goes_on() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut terminal = Terminal::shell(&bus);
    for arguments in ["--source a", "--all-of a:b=1 --timeout 1h", "--source a --quiet-for 1h"] {
        terminal.line(&format!("$waitbus wait -v {arguments}; echo \"code:$?\""));
        terminal.shows("attached after");
        terminal.keys("\x03");
        let shown = terminal.shows("code:130");
        assert!(!shown.contains("waitbus:"), "there is nothing to say: {shown:?}");
    }
    terminal.line("$waitbus wait -v --source a; echo \"code:$?\"");
    terminal.shows("attached after");
    bus.emit("a", 1);
    terminal.shows("a finished");
    terminal.shows("code:0");
    assert!(terminal.end().success());
}
