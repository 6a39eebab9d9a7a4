//! Every way in which a `wait` ends: the exit code and every word of it, because scripts branch on the one and people
//! read the other.

use std::process::Stdio;

use regex::Regex;
use serde_json::json;

use crate::harness::{Bus, Process, Subscriber};

/// What happens once the wait is attached.
#[derive(Clone, Copy)]
enum Then {
    Nothing,
    /// Events: source and conclusion, or no conclusion.
    Emit(&'static [(&'static str, &'static str)]),
    Signal(&'static str),
    /// The source `docker`, which has announced itself, ends without a goodbye.
    SourceDies,
    /// The hub dies, and none can be started any more.
    HubIsLost,
    /// A row that cannot be read is committed.
    BadRow,
}

use Then::{BadRow, Emit, HubIsLost, Nothing, Signal, SourceDies};

struct Case {
    arguments: &'static [&'static str],
    then: Then,
    code: i32,
    out: &'static str,
    err: &'static str,
}

const fn case(arguments: &'static [&'static str], then: Then, code: i32, out: &'static str, err: &'static str) -> Case {
    Case { arguments, then, code, out, err }
}

const FORBIDDEN: &str = "waitbus: what --none-of forbids has happened";
const LOST: &str = "waitbus: the source docker is dead: it ended without a goodbye, so the answer may never come; start it \
                    again with `waitbus source docker` (--allow-absent waits for it)";

/// In the log before each of them: `old` has succeeded, then failed.
const ENDINGS: &[Case] = &[
    // What was asked for happened.
    case(&["--source", "a"], Emit(&[("a", "")]), 0, "a t", ""),
    case(&["--source", "a"], Emit(&[("b", "failure"), ("a", "failure")]), 0, "a t: failure", ""),
    case(&["--source", "a", "--count", "2"], Emit(&[("a", ""), ("a", "success")]), 0, "a t\na t: success", ""),
    case(&["--where", "source == 'a'"], Emit(&[("b", ""), ("a", "")]), 0, "a t", ""),
    case(&["--source", "old", "--since", "1h"], Nothing, 0, "old t: success", ""),
    case(
        &["--all-of", "a:conclusion=success", "--all-of", "b:conclusion=success"],
        Emit(&[("a", "success"), ("a", "failure"), ("b", "success"), ("a", "success")]),
        0,
        "a:conclusion=success: a t: success\nb:conclusion=success: b t: success",
        "",
    ),
    case(
        &["--all-of", "a:conclusion=success", "--all-of", "b:conclusion=success", "--sticky"],
        Emit(&[("a", "success"), ("a", "failure"), ("b", "success")]),
        0,
        "a:conclusion=success: a t: success\nb:conclusion=success: b t: success",
        "",
    ),
    case(
        &["--first-of", "a:conclusion=success", "--first-of", "b:event_type?"],
        Emit(&[("a", "failure"), ("b", "")]),
        0,
        "b:event_type?: b t",
        "",
    ),
    case(
        &["--then", "a:conclusion=failure", "--then", "a:conclusion=success"],
        Emit(&[("a", "success"), ("a", "failure"), ("a", "success")]),
        0,
        "a:conclusion=failure: a t: failure\na:conclusion=success: a t: success",
        "",
    ),
    case(&["--source", "a", "--quiet-for", "50ms"], Nothing, 0, "quiet for 0.05 s", ""),
    case(&["--none-of", "a:conclusion=failure", "--quiet-for", "50ms"], Nothing, 0, "quiet for 0.05 s", ""),
    // A verdict.
    case(&["--source", "a", "--verdict"], Emit(&[("a", ""), ("a", "success")]), 0, "a t: success", ""),
    case(&["--source", "a", "--verdict"], Emit(&[("a", "cancelled")]), 1, "a t: cancelled", ""),
    case(&["--source", "a", "--verdict"], Emit(&[("a", "neutral")]), 4, "a t: neutral", ""),
    case(
        &["--source", "a", "--verdict", "--exit-on", "neutral=0", "--exit-on", "skipped=7"],
        Emit(&[("a", "neutral")]),
        0,
        "a t: neutral",
        "",
    ),
    case(
        &["--source", "a", "--verdict", "--exit-on", "neutral=0", "--exit-on", "skipped=7"],
        Emit(&[("a", "skipped")]),
        7,
        "a t: skipped",
        "",
    ),
    case(&["--first-of", "a:conclusion?", "--verdict"], Emit(&[("a", "stale")]), 4, "a:conclusion?: a t: stale", ""),
    case(
        &["--source", "a", "--none-of", "b:conclusion=failure"],
        Emit(&[("b", "success"), ("b", "failure")]),
        1,
        "b:conclusion=failure: b t: failure",
        FORBIDDEN,
    ),
    case(
        &["--source", "a", "--none-of", "b:conclusion=failure", "--exit-on", "none_of=9", "-q"],
        Emit(&[("b", "failure")]),
        9,
        "b:conclusion=failure: b t: failure",
        "",
    ),
    // Time.
    case(
        &["--source", "a", "--match", "x=1", "--count", "3", "--timeout", "300ms"],
        Nothing,
        124,
        "",
        "waitbus: timed out after 0.3 s; still outstanding:\n  --source a --match x=1 (another 3 times)",
    ),
    case(
        &["--since", "1h", "--all-of", "old:conclusion=success", "--all-of", "b[x=1]:y=2", "--timeout", "300ms"],
        Nothing,
        124,
        "",
        "waitbus: timed out after 0.3 s; still outstanding:\n  old:conclusion=success\n  b[x=1]:y=2",
    ),
    case(
        // It has succeeded, and then failed: what counts is how it stands.
        &["--since", "1h", "--all-of", "old:conclusion=success", "--timeout", "300ms"],
        Nothing,
        124,
        "",
        "waitbus: timed out after 0.3 s; still outstanding:\n  old:conclusion=success",
    ),
    case(
        &["--since", "1h", "--then", "old:conclusion=failure", "--then", "b:y=2", "--timeout", "300ms"],
        Nothing,
        124,
        "old:conclusion=failure: old t: failure",
        "waitbus: timed out after 0.3 s; still outstanding:\n  b:y=2",
    ),
    case(&["--source", "a", "--timeout", "1ms", "-q"], Nothing, 124, "", ""),
    // What cannot be known.
    case(
        &["--source", "a", "--after", "7ZZZZZZZZZ0000000000000000"],
        Nothing,
        3,
        "",
        "waitbus: an unknown number of event(s) after ID may be missing, because this log has never had that cursor, so \
         the answer is unknown (--allow-gap goes on)",
    ),
    case(
        &["--source", "a", "--after", "7ZZZZZZZZZ0000000000000000", "--allow-gap"],
        Emit(&[("a", "")]),
        0,
        "a t",
        "waitbus: an unknown number of event(s) after ID may be missing, because this log has never had that cursor; \
         going on",
    ),
    case(
        &["--source", "a"],
        BadRow,
        3,
        "",
        "waitbus: 1 event(s) after ID in the log cannot be read, so the answer is unknown (--allow-gap goes on)",
    ),
    case(&["--source", "docker"], SourceDies, 3, "", LOST),
    case(&["--all-of", "docker:x=1", "--all-of", "a:x=1"], SourceDies, 3, "", LOST),
    case(&["--source", "a", "--none-of", "docker:x=1"], SourceDies, 3, "", LOST),
    case(&["--source", "docker", "--quiet-for", "1h"], SourceDies, 3, "", LOST),
    case(
        &["--source", "a", "--grace", "100ms"],
        HubIsLost,
        3,
        "",
        "waitbus: the hub at ROOT/run/broadcast.sock could not be reached within 0.1 s: Not a directory (os error 20)",
    ),
    // Signals.
    case(&["--source", "a"], Signal("INT"), 130, "", ""),
    case(&["--source", "a"], Signal("TERM"), 143, "", ""),
    case(&["--source", "a"], Signal("HUP"), 129, "", ""),
];

#[test]
fn every_ending_has_its_code_and_its_words() {
    let mut wrong = Vec::new();
    for case in ENDINGS {
        let bus = Bus::new();
        emit(&bus, "old", "success");
        emit(&bus, "old", "failure");
        let mut hub = bus.hub();
        let source = announced(&bus);
        let mut wait = Process::start(bus.command(&[&["wait", "-v"], case.arguments].concat()));
        // `-q` and `-v` do not go together; what is quiet is not waited for, and has a mark instead.
        if case.arguments.contains(&"-q") {
            drop(wait);
            let mark = bus.ok(&["mark"]);
            wait = Process::start(bus.command(&[&["wait", "--after", &mark], case.arguments].concat()));
        } else {
            wait.attached();
        }
        happen(case.then, &bus, &wait, &mut hub, source);
        let (code, out, err) = wait.ending();
        let told = (code, plain(&bus, &out), plain(&bus, &err));
        let expected = (Some(case.code), case.out.to_owned(), case.err.to_owned());
        if told != expected {
            wrong.push(format!("{:?}\n  told     {told:?}\n  expected {expected:?}", case.arguments));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn emit(bus: &Bus, source: &str, conclusion: &str) {
    let mut arguments = vec!["emit", "--source", source, "--type", "t"];
    if !conclusion.is_empty() {
        arguments.extend(["--conclusion", conclusion]);
    }
    bus.ok(&arguments);
}

/// A source that is there for as long as this connection is.
fn announced(bus: &Bus) -> Subscriber {
    let announce = json!({"source": "docker", "detail": {"start": "waitbus source docker"}});
    bus.subscribe(&json!({"announce": announce, "match": ["source=docker", "event_id=null"]}))
}

fn happen(then: Then, bus: &Bus, wait: &Process, hub: &mut Process, source: Subscriber) {
    match then {
        Nothing => {}
        Emit(events) => events.iter().for_each(|(source, conclusion)| emit(bus, source, conclusion)),
        Signal(name) => wait.signal(name),
        SourceDies => drop(source),
        HubIsLost => {
            std::fs::rename(bus.runtime(), bus.root().join("elsewhere")).unwrap();
            std::fs::write(bus.runtime(), "in the way").unwrap();
            hub.kill();
        }
        BadRow => {
            let insert = "INSERT INTO events (source, event_type, fields) VALUES ('a', 't', 'no JSON')";
            rusqlite::Connection::open(bus.database()).unwrap().execute_batch(insert).unwrap();
            emit(bus, "b", "");
        }
    }
}

fn plain(bus: &Bus, text: &str) -> String {
    let ids = Regex::new("[0-7][0-9A-HJKMNP-TV-Z]{25}").unwrap().replace_all(text, "ID");
    ids.replace(&*bus.root().to_string_lossy(), "ROOT")
}

#[test]
fn what_makes_no_sense_ends_with_2_and_a_sentence_and_nothing_is_started() {
    let bus = Bus::new();
    for (arguments, sentence) in [
        (&[][..], "wait for what?"),
        (
            &["--all-of", "github:conclusion==success"],
            "--all-of \"github:conclusion==success\", column 19: equality is a",
        ),
        (&["--none-of", "a:b=1"], "--none-of alone could only fail"),
        (&["--source", "a", "--exit-on", "neutral=0"], "--exit-on is about verdicts"),
        (&["--source", "a", "--verdict", "--exit-on", "neutral"], "write WORD=CODE"),
        (&["--source", "a", "--verdict", "--exit-on", "neutral=3"], "3 means that there is no verdict"),
        (&["--source", "a", "--verdict", "--exit-on", "neutral=124"], "124 is taken"),
        (&["--source", "a", "--quiet-for", "5m", "--timeout", "5m"], "it would always come first"),
        (&["--source", "a", "--quiet-for", "5"], "is not a duration"),
        (&["--source", "a", "--since", "1h", "--after", "0"], "--after"),
        (&["--source", "a", "-q", "-v"], "cannot be used with"),
        (&["--source", "a", "--count", "0"], "--count"),
    ] {
        let output = bus.run(&[&["wait"], arguments].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(sentence) && output.stdout.is_empty(), "{arguments:?}: {said}");
    }
    assert!(!bus.runtime().exists() && !bus.state().exists(), "nothing was started");
}

/// What was typed was shown as it was: it broke the line of the message, and its escapes reached the terminal.
#[test]
fn what_makes_no_sense_is_shown_without_its_control_characters() {
    let bus = Bus::new();
    let wrong = "a\nb\u{1b}[31m\u{9b}\u{202e}";
    for arguments in [
        &["--all-of", &format!("{wrong}:b")][..],
        &["--then", &format!("a:b>{wrong}")],
        &["--match", &format!("a~{wrong}(")],
        &["--match", "a*=[\u{9b}-\n]"],
        &["--where", wrong],
        &["--repo", wrong],
        &["--sha", wrong],
        &["--exit-on", wrong],
        &["--exit-on", &format!("a={wrong}")],
        &["--timeout", wrong],
        &["--since", wrong],
        &["--after", wrong],
        &["--count", wrong],
        &[wrong],
        &[&format!("--{wrong}")],
    ] {
        let output = bus.run(&[&["wait"], arguments].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        let acts = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said:?}");
        assert!(!said.contains(acts) && said.contains("\\n") && !said.contains("a\nb"), "{arguments:?}: {said:?}");
        let is_ours = said.starts_with("waitbus: ");
        assert!(!is_ours || said.lines().count() == 1, "{arguments:?}: {said:?}");
    }
}

#[test]
fn a_source_that_is_dead_already_ends_the_wait_and_may_be_waited_for() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut witness = bus.subscribe(&json!({"match": "source=docker"}));
    drop(announced(&bus));
    while witness.frame()["state"] != "dead" {}
    let (code, _, err) = Process::start(bus.command(&["wait", "--source", "docker"])).ending();
    assert_eq!((code, &*err), (Some(3), LOST));
    // What has been said before is still an answer.
    emit(&bus, "docker", "success");
    assert_eq!(bus.ok(&["wait", "--source", "docker", "--since", "1h"]), "docker t: success");
    // Another source may answer as well, and whoever names none may be answered by any.
    for arguments in [&["--source", "docker", "--source", "a"][..], &["--match", "event_type=t"]] {
        let mut wait = bus.wait(arguments);
        emit(&bus, "a", "");
        assert_eq!(wait.ending(), (Some(0), "a t".to_owned(), String::new()));
    }
    let mut patient = bus.wait(&["--source", "docker", "--allow-absent"]);
    let _alive = announced(&bus);
    emit(&bus, "docker", "");
    assert_eq!(patient.ending(), (Some(0), "docker t".to_owned(), String::new()));
}

/// A death was judged only when it was heard of. Of a source that had said what was asked of it and then died, somebody
/// else took that back, and the wait went on as if it could be said again.
#[test]
fn what_a_dead_source_had_said_and_is_taken_back_ends_the_wait() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut witness = bus.subscribe(&json!({"match": ["source=docker", "event_id=null"]}));
    let asked = ["--all-of", "docker:conclusion=success", "--all-of", "a:conclusion=success"];
    let mut wait = bus.wait(&asked);
    let mut patient = bus.wait(&[&asked[..], &["--allow-absent"]].concat());
    emit(&bus, "docker", "success");
    drop(announced(&bus));
    while witness.frame()["state"] != "dead" {}
    emit(&bus, "docker", "failure");
    assert_eq!(wait.ending(), (Some(3), String::new(), LOST.to_owned()));
    let mut wait = bus.wait(&asked[..2]);
    assert_eq!(wait.ending(), (Some(3), String::new(), LOST.to_owned()), "it is still dead");
    let _alive = announced(&bus);
    let mut wait = bus.wait(&asked);
    emit(&bus, "docker", "success");
    emit(&bus, "docker", "failure");
    emit(&bus, "docker", "success");
    emit(&bus, "a", "success");
    for process in [&mut wait, &mut patient] {
        let (code, out, err) = process.ending();
        assert_eq!((code, out.lines().count(), &*err), (Some(0), 2, ""));
    }
}

/// One that comes back is no reason to end, although it was dead under the same wait.
#[test]
fn a_source_that_has_come_back_may_take_back_what_it_has_said() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut witness = bus.subscribe(&json!({"match": ["source=docker", "event_id=null"]}));
    let mut wait = bus.wait(&["--all-of", "docker:conclusion=success", "--all-of", "a:conclusion=success"]);
    emit(&bus, "docker", "success");
    drop(announced(&bus));
    while witness.frame()["state"] != "dead" {}
    let _alive = announced(&bus);
    for (source, conclusion) in [("docker", "failure"), ("a", "success"), ("docker", "success")] {
        emit(&bus, source, conclusion);
    }
    let (code, out, err) = wait.ending();
    assert_eq!((code, out.lines().count(), &*err), (Some(0), 2, ""));
}

/// It said what was outstanding, as if that could have happened, and nothing of the bus that was not there.
#[test]
fn a_timeout_before_the_bus_has_answered_says_so() {
    let bus = Bus::new();
    std::fs::create_dir_all(bus.state()).unwrap();
    std::fs::write(bus.database(), "no log").unwrap();
    for arguments in [&["wait"][..], &["on", "--loop"]] {
        let arguments = [
            arguments,
            &["--source", "a", "--timeout", "300ms"],
            if arguments[0] == "on" { &["--", "true"] } else { &[] },
        ];
        let (code, out, err) = Process::start(bus.command(&arguments.concat())).ending();
        let said = "waitbus: timed out after 0.3 s, before the hub or the log had answered; if that was long enough, \
                    `waitbus doctor` says what is wrong";
        assert_eq!((code, &*out, &*err), (Some(124), "", said));
    }
}

#[test]
fn an_answer_that_nobody_reads_is_still_an_answer() {
    let bus = Bus::new();
    emit(&bus, "a", "failure");
    for (arguments, code) in [(&["--source", "a"][..], 0), (&["--source", "a", "--verdict"], 1)] {
        let arguments = [&["wait", "--since", "1h"], arguments].concat();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut wait = bus.command(&arguments);
        let output = wait.stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!((output.status.code(), &*output.stderr), (Some(code), &b""[..]));
        let mut shell = bus.wrapped(&["sh", "-c", "exec \"$0\" \"$@\" >&-"], &arguments);
        assert_eq!(shell.output().unwrap().status.code(), Some(code), "standard output is closed");
    }
}
