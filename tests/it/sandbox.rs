//! The log alone: agents run in sandboxes that forbid `AF_UNIX` sockets, and some that let them write nothing. The same
//! commands work there, woken by the kernel's file notification.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use serde_json::{Value, json};
use waitbus::client::Publisher;
use waitbus::config::directories::Directories;
use waitbus::model::event::Draft;
use waitbus::model::limits::RECEIPTS_PER_COMMIT;

use crate::harness::{Bus, Process, skip, works};
use crate::kinds::{self, KINDS};
use crate::races::Trace;
use crate::users::{Ordinary, may_switch};

const EPERM: u32 = 1;
const EACCES: u32 = 13;
const AF_UNIX: u64 = 1;

/// What a sandbox forbids, and how.
#[derive(Clone, Copy, Debug)]
enum Denied {
    Socket(u32),
    Connect(u32),
}

const ALL: [Denied; 4] =
    [Denied::Socket(EPERM), Denied::Socket(EACCES), Denied::Connect(EPERM), Denied::Connect(EACCES)];

impl Denied {
    fn filter(self) -> BpfProgram {
        let (socket, connect) = if cfg!(target_arch = "x86_64") { (41, 42) } else { (198, 203) };
        let unix = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, AF_UNIX).unwrap();
        let (call, rules, error) = match self {
            Denied::Socket(error) => (socket, vec![SeccompRule::new(vec![unix]).unwrap()], error),
            Denied::Connect(error) => (connect, Vec::new(), error),
        };
        let architecture = std::env::consts::ARCH.try_into().unwrap();
        let rules = BTreeMap::from([(call, rules)]);
        let denied = SeccompAction::Errno(error);
        SeccompFilter::new(rules, SeccompAction::Allow, denied, architecture).unwrap().try_into().unwrap()
    }

    /// Starts a process under it. The filter is that of a thread which starts nothing else.
    fn start(self, command: Command) -> Process {
        let confined = move || {
            seccompiler::apply_filter(&self.filter()).unwrap();
            Process::start(command)
        };
        std::thread::spawn(confined).join().unwrap()
    }
}

/// Whether a filter can be set here.
fn may_filter(test: &str) -> bool {
    let set = std::thread::spawn(|| seccompiler::apply_filter(&Denied::Socket(EPERM).filter())).join().unwrap();
    if let Err(error) = &set {
        skip(test, &format!("seccomp does not work here: {error}"));
    }
    set.is_ok()
}

/// Runs a command where the bus's state directory cannot be written.
fn read_only(bus: &Bus) -> [String; 6] {
    let state = bus.state().display().to_string();
    let script = "mount --bind \"$0\" \"$0\" && mount -o remount,ro,bind \"$0\" \"$0\" && exec \"$@\"";
    ["unshare", "-m", "sh", "-c", script, &state].map(str::to_owned)
}

fn may_mount(test: &str) -> bool {
    let may = works(&["unshare", "-m", "sh", "-c", "mount --bind /tmp /tmp && mount -o remount,ro,bind /tmp /tmp"]);
    if !may {
        skip(test, "it takes root to mount something read-only");
    }
    may
}

/// An emitter outside the sandbox, and what it emits.
fn publisher(bus: &Bus) -> Publisher {
    let config = bus.state().with_file_name("config");
    Publisher::open(&Directories { runtime: bus.runtime(), state: bus.state(), config }).unwrap()
}

fn draft(n: u64) -> Draft {
    Draft {
        source: "deploy".to_owned(),
        event_type: "finished".to_owned(),
        owner: String::new(),
        repo: String::new(),
        delivery_id: None,
        is_certain: false,
        ingest_method: "emit",
        summary: String::new(),
        fields: json!({"n": n}).as_object().unwrap().clone(),
        payload: None,
    }
}

#[track_caller]
fn number(line: &str) -> u64 {
    serde_json::from_str::<Value>(line).unwrap()["fields"]["n"].as_u64().unwrap()
}

/// Commits a thousand events, each only when the one before has been seen: a wake that is missed is made good by no
/// later one. Then a thousand as fast as they come.
#[track_caller]
fn misses_nothing(bus: &Bus, start: impl Fn(&[&str]) -> Process) {
    let mut publisher = publisher(bus);
    let arguments = ["tail", "-v", "--json", "--count", "1000"];
    let mut tail = start(&arguments);
    tail.attached();
    let mut latencies = Vec::new();
    for n in 0..1_000 {
        publisher.publish(&draft(n)).unwrap();
        let committed = Instant::now();
        assert_eq!(number(&tail.line()), n);
        latencies.push(committed.elapsed());
    }
    // Between the commit and here lie the notification, the read, a pipe and a thread. The machine decides how long it
    // takes, so this is told and not demanded.
    latencies.sort_unstable();
    println!("commit to line: p50 {:?}, p99 {:?}", latencies[500], latencies[990]);
    assert_eq!(tail.code(), 0, "{}", tail.errors());
    let mut tail = start(&arguments);
    tail.attached();
    for n in 0..1_000 {
        publisher.publish(&draft(n)).unwrap();
    }
    for n in 0..1_000 {
        assert_eq!(number(&tail.line()), n);
    }
    assert_eq!(tail.code(), 0, "{}", tail.errors());
}

#[test]
fn a_wait_that_may_use_no_sockets_works_from_the_log_and_says_so_once() {
    if !may_filter("a_wait_that_may_use_no_sockets_works_from_the_log_and_says_so_once") {
        return;
    }
    for denied in ALL {
        // With a hub that it cannot reach, without one, and on a machine that has never seen an event.
        for (hub, log) in [(true, true), (false, true), (false, false)] {
            let bus = Bus::new();
            let _hub = hub.then(|| bus.hub());
            if log {
                bus.emit("deploy", 0);
            }
            let mut wait = denied.start(bus.command(&["wait", "-v", "--source", "deploy", "--match", "n=2"]));
            wait.said("AF_UNIX sockets are forbidden here; reading the event log directly");
            wait.attached();
            bus.emit("deploy", 1);
            bus.emit("deploy", 2);
            assert_eq!(wait.line(), "deploy finished");
            assert_eq!(wait.code(), 0, "{denied:?}");
            assert_eq!(wait.errors(), "", "it is said once");
            let mut timed_out = denied.start(bus.command(&["wait", "--source", "deploy", "--timeout", "50ms"]));
            assert_eq!(timed_out.code(), 124);
            let mut quiet =
                denied.start(bus.command(&["wait", "-q", "--source", "deploy", "--after", &"0".repeat(26)]));
            assert_eq!(quiet.code(), 0);
            assert_eq!(quiet.errors(), "");
        }
    }
}

#[test]
fn a_mistyped_name_is_told_and_an_expression_decides_without_sockets_as_well() {
    if !may_filter("a_mistyped_name_is_told_and_an_expression_decides_without_sockets_as_well") {
        return;
    }
    let bus = Bus::new();
    bus.emit("deploy", 0);
    let command = bus.command(&["wait", "-v", "--where", "source == 'deploy' && fields.n > 1 || source == 'depoly'"]);
    let mut wait = ALL[0].start(command);
    wait.said("no event so far has the source `depoly`; did you mean `deploy`?");
    wait.attached();
    bus.emit("deploy", 1);
    bus.emit("deploy", 2);
    assert_eq!((wait.line().as_str(), wait.code()), ("deploy finished", 0));
}

#[test]
fn no_commit_is_missed_without_sockets() {
    if !may_filter("no_commit_is_missed_without_sockets") {
        return;
    }
    for denied in [Denied::Socket(EPERM), Denied::Connect(EACCES)] {
        let bus = Bus::new();
        misses_nothing(&bus, |arguments| denied.start(bus.command(arguments)));
    }
}

#[test]
fn every_kind_of_wait_is_answered_from_the_log_alone_for_an_ordinary_user() {
    let name = "every_kind_of_wait_is_answered_from_the_log_alone_for_an_ordinary_user";
    if !may_filter(name) || !may_switch(name) {
        return;
    }
    for (kind, denied) in KINDS.iter().zip([Denied::Socket(EPERM), Denied::Connect(EACCES)].iter().cycle()) {
        let user = Ordinary::new();
        let mut wait = denied.start(user.command(&[], &[&["wait", "-v"], kind.arguments].concat()));
        wait.said("reading the event log directly");
        wait.attached();
        for event in kind.before.iter().chain(kind.after) {
            // From within the same sandbox: the state directory may be written.
            let emit = user.command(&[], &kinds::emit(event).each_ref().map(String::as_str));
            assert_eq!(denied.start(emit).code(), 0);
        }
        let (code, out, err) = wait.ending();
        let last = out.lines().last().unwrap_or_default();
        assert_eq!((code, last), (Some(kind.code), kind.last), "{:?}: {err}", kind.arguments);
    }
}

#[test]
fn a_wait_without_sockets_does_not_poll() {
    let name = "a_wait_without_sockets_does_not_poll";
    if !may_filter(name) {
        return;
    }
    if !works(&["strace", "-o", "/dev/null", "true"]) {
        return skip(name, "strace is missing, or may not trace");
    }
    let bus = Bus::new();
    let mut wait = Denied::Socket(EPERM).start(bus.command(&["wait", "-v", "--source", "deploy", "--match", "n=2"]));
    wait.attached();
    let trace = Trace::start(&bus, 0, &wait);
    bus.emit("deploy", 1);
    bus.emit("deploy", 2);
    assert_eq!(wait.code(), 0);
    let calls = trace.ended();
    // Whatever it blocks in, nothing but an event ends it: no call has a timeout.
    let blocking: Vec<_> =
        calls.iter().filter(|call| call.contains("epoll_wait") || call.contains("FUTEX_WAIT")).collect();
    assert!(blocking.iter().any(|call| call.contains("epoll_wait")), "{calls:?}");
    for call in blocking {
        let forever =
            call.contains("<unfinished") || call.contains(", -1)") || call.contains(", 0)") || call.contains("NULL");
        assert!(forever, "{call}");
    }
}

#[test]
fn no_commit_is_missed_in_a_read_only_directory_without_sockets() {
    let name = "no_commit_is_missed_in_a_read_only_directory_without_sockets";
    if !may_filter(name) || !may_mount(name) {
        return;
    }
    let bus = Bus::new();
    bus.emit("deploy", 0);
    let wrapper = read_only(&bus);
    let wrapper = wrapper.each_ref().map(String::as_str);
    misses_nothing(&bus, |arguments| Denied::Socket(EPERM).start(bus.wrapped(&wrapper, arguments)));
    // It is what it is meant to be.
    let mut emit = Denied::Socket(EPERM).start(bus.wrapped(&wrapper, &["emit", "--source", "a", "--type", "b"]));
    assert_eq!(emit.code(), 3);
    assert!(emit.errors().contains("waitbus: the "), "{}", emit.errors());
}

#[test]
fn an_event_from_within_the_sandbox_is_heard_within_and_kept() {
    if !may_filter("an_event_from_within_the_sandbox_is_heard_within_and_kept") {
        return;
    }
    for denied in ALL {
        let bus = Bus::new();
        let mut wait = denied.start(bus.command(&["wait", "-v", "--source", "agent"]));
        wait.attached();
        let mut emit = denied.start(bus.command(&["emit", "--source", "agent", "--type", "done"]));
        let id = emit.line();
        assert_eq!(emit.code(), 0);
        assert_eq!(emit.errors(), "", "that nobody could be rung is no error");
        assert_eq!(wait.line(), "agent done");
        assert_eq!(wait.code(), 0);
        assert_eq!(bus.ok(&["mark"]), id);
    }
}

#[test]
fn an_ordinary_users_wait_works_without_sockets_and_without_writing() {
    let name = "an_ordinary_users_wait_works_without_sockets_and_without_writing";
    if !may_filter(name) || !may_switch(name) || !may_mount(name) {
        return;
    }
    let user = Ordinary::new();
    let emit = |n: u64| {
        let field = format!("n={n}");
        let output =
            user.command(&[], &["emit", "--source", "deploy", "--type", "finished", "--field", &field]).output();
        assert!(output.unwrap().status.success());
    };
    emit(0);
    let wrapper = read_only(&user.bus);
    let wrapper = wrapper.each_ref().map(String::as_str);
    for first in [&[][..], &wrapper] {
        let mut tail = Denied::Socket(EPERM).start(user.command(first, &["tail", "-v", "--json", "--count", "20"]));
        tail.said("reading the event log directly");
        tail.attached();
        for n in 0..20 {
            emit(n);
            assert_eq!(number(&tail.line()), n);
        }
        assert_eq!(tail.code(), 0);
    }
}

#[test]
fn where_neither_sockets_nor_the_log_may_be_used_the_message_names_the_sandbox() {
    let name = "where_neither_sockets_nor_the_log_may_be_used_the_message_names_the_sandbox";
    if !may_filter(name) {
        return;
    }
    let check = |bus: &Bus, mut wait: Process| {
        assert_eq!(wait.code(), 3);
        let said = wait.errors();
        let state = bus.state().display().to_string();
        let parts = ["AF_UNIX", "os error 1)", &state, "sandbox", "allowAllUnixSockets", "MCP"];
        assert!(parts.iter().all(|part| said.contains(*part)), "{said}");
        assert!(!said.contains("reading the event log directly"), "{said}");
    };
    let arguments = ["wait", "--source", "deploy"];
    if may_switch(name) {
        let user = Ordinary::new();
        std::fs::create_dir(user.bus.state()).unwrap();
        check(&user.bus, Denied::Socket(EPERM).start(user.command(&[], &arguments)));
    }
    if may_mount(name) {
        let bus = Bus::new();
        std::fs::create_dir(bus.state()).unwrap();
        let wrapper = read_only(&bus);
        check(&bus, Denied::Socket(EPERM).start(bus.wrapped(&wrapper.each_ref().map(String::as_str), &arguments)));
    }
}

/// An agent's shell is such a sandbox. Nobody knows that it is there, but it sends and reads as anybody does.
#[test]
fn messages_are_sent_and_read_without_sockets() {
    if !may_filter("messages_are_sent_and_read_without_sockets") {
        return;
    }
    for denied in ALL {
        let bus = Bus::new();
        let message = |arguments: &[&str]| bus.command(&[&["message"], arguments].concat());
        let mut inbox = denied.start(message(&["inbox", "--as", "bob", "--wait", "-v"]));
        inbox.said("AF_UNIX sockets are forbidden here");
        inbox.attached();
        let mut request = denied.start(message(&["request", "bob", "?", "--as", "alice", "-v"]));
        let asked = inbox.line();
        assert_eq!((inbox.line(), inbox.code()), ("  ?".to_owned(), 0));
        let id = asked.split(' ').next().unwrap();
        let mut reply = denied.start(message(&["reply", id, "!", "--as", "bob"]));
        assert_eq!((reply.code(), request.line(), request.code()), (0, "!".to_owned(), 0));
        assert_eq!(bus.ok(&["replay", "--type", "agent_receipt"]).lines().count(), 2);
    }
}

/// Where nothing can be written, what was read cannot be remembered, and that is said once.
#[test]
fn messages_are_read_where_nothing_can_be_written() {
    if !(may_filter("messages_are_read_where_nothing_can_be_written")
        && may_mount("messages_are_read_where_nothing_can_be_written"))
    {
        return;
    }
    let bus = Bus::new();
    // More than are noted together, so that there is more than one occasion to say it.
    let fields = json!({"msg_to": "bob", "msg_from": "alice", "msg_body": "hello"});
    let line = json!({"source": "agent", "type": "agent_message", "fields": fields}).to_string() + "\n";
    let mut emit = bus.command(&["emit", "--batch"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    emit.stdin.take().unwrap().write_all(line.repeat(2 * RECEIPTS_PER_COMMIT).as_bytes()).unwrap();
    assert!(emit.wait().unwrap().success());
    let wrapper = read_only(&bus);
    let wrapper = wrapper.each_ref().map(String::as_str);
    for _ in 0..2 {
        let inbox = bus.wrapped(&wrapper, &["message", "inbox", "--as", "bob"]);
        let (code, out, err) = Denied::Socket(EPERM).start(inbox).ending();
        assert_eq!((code, out.lines().count()), (Some(0), 4 * RECEIPTS_PER_COMMIT), "{out}{err}");
        assert_eq!(err.matches("what has been printed may be printed again").count(), 1, "{err}");
    }
}
