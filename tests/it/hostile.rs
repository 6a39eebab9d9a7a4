//! Subscribers that ask for as much as they may: patterns over long texts, expressions at their bounds, payloads of ten
//! megabytes, frames that are full. None of them may slow or end the hub for those who ask for something simple.

use std::time::Instant;

use serde_json::{Value, json};
use waitbus::model::limits::{MAX_EXPRESSION_BYTES, MAX_FRAME_BYTES, MAX_PAYLOAD_BYTES};

use crate::harness::{Bus, Subscriber};

/// Subscribers of a kind. Each is a descriptor here and two in the hub.
const CROWD: u64 = 600;

fn quiet(mut frame: Value) -> Value {
    frame["heartbeat"] = json!(false);
    frame
}

/// Conditions that take long, and none of which holds: nobody shares a pattern with anybody.
fn patterns(n: u64) -> Value {
    let hard = |k: u64| format!("text~(?i)[a-y]{{2,30}}[0-9]+[a-z]*z{n}x{k}$");
    quiet(json!({"match": (0..30).map(|k| vec!["source=load".to_owned(), hard(k)]).collect::<Vec<_>>()}))
}

/// An expression as large as one may be.
fn expression(n: u64) -> Value {
    let mut text = format!("source == 'load' && (fields.n == {n}000000");
    for k in 0.. {
        let more = format!(" || fields.text.contains('z{n}x{k}')");
        if text.len() + more.len() + 1 > MAX_EXPRESSION_BYTES {
            break;
        }
        text += &more;
    }
    quiet(json!({"where": text + ")"}))
}

fn payload(n: u64) -> Value {
    quiet(json!({"match": [["source=load", format!("payload.list.{n}=-1")], [format!("payload.text~z{n}$")]]}))
}

/// Something large, which everybody above has to look at.
fn load(bus: &Bus, n: u64) {
    let payload = json!({"list": vec![n; 100_000], "text": "abc ".repeat(250_000)}).to_string();
    assert!(payload.len() < MAX_PAYLOAD_BYTES);
    let line = json!({
        "source": "load", "type": "finished", "payload": payload,
        "fields": {"n": n, "text": "abcdefgh 12345 ".repeat(10_000)},
    });
    emit_line(bus, &line);
}

fn emit_line(bus: &Bus, line: &Value) {
    use std::io::Write;
    use std::process::Stdio;
    let mut child = bus.command(&["emit", "--batch"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(line.to_string().as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

fn raise_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

fn status(bus: &Bus) -> Value {
    let status: Value = serde_json::from_str(&bus.ok(&["status", "--json"])).unwrap();
    status["hub"]["status"].clone()
}

/// An earlier shape evaluated every filter in the loop: one subscriber with thirty patterns and one long text held up
/// everybody for as long as that took.
#[test]
fn a_thousand_costly_subscribers_do_not_hold_up_a_simple_one() {
    raise_limit();
    let bus = Bus::new();
    let mut hub = bus.hub();
    let mut crowd: Vec<Subscriber> = Vec::new();
    for n in 0..CROWD {
        crowd.push(bus.subscribe(&patterns(n)));
        crowd.push(bus.subscribe(&expression(n)));
        crowd.push(bus.subscribe(&payload(n)));
    }
    let mut simple = bus.subscribe(&quiet(json!({"match": "source=deploy"})));
    let mut latencies = Vec::new();
    for n in 0..30 {
        if n % 10 == 0 {
            load(&bus, n);
        }
        let start = Instant::now();
        bus.emit("deploy", n);
        assert_eq!(simple.numbers(1), [n]);
        latencies.push(start.elapsed());
    }
    // By then the crowd has not got far with what it asked for: nobody has waited for it.
    let status = status(&bus);
    assert!(status["lagging"].as_u64().unwrap() > CROWD, "{status}");
    latencies.sort_unstable();
    println!("emit to receive under load: median {:?}, worst {:?}", latencies[15], latencies[29]);
    drop(crowd);
    hub.stop();
}

#[test]
fn expressions_and_patterns_do_not_hold_up_each_other() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let _patterns: Vec<_> = (0..60).map(|n| bus.subscribe(&patterns(n))).collect();
    let mut expression = bus.subscribe(&quiet(json!({"where": "source == 'deploy' && fields.n >= 0"})));
    // The patterns take longer than the expression, but on a busy machine not every time. If it had to wait for them, none
    // would ever be left when it is done.
    let is_first = |round| {
        load(&bus, round);
        bus.emit_batch("deploy", 0..200);
        assert_eq!(expression.numbers(200), (0..200).collect::<Vec<_>>());
        status(&bus)["lagging"].as_u64().unwrap() > 0
    };
    assert!((0..20).any(is_first), "the expression was never done before the patterns");
}

#[test]
fn a_payload_of_ten_megabytes_is_searched_for_those_who_ask_and_for_nobody_else() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut asks = bus.subscribe(&quiet(json!({"match": ["payload.kind=large", "payload.text~needle$"]})));
    let mut as_well = bus.subscribe(&quiet(json!({"where": "payload.kind == 'large' && payload.list[2] == 3"})));
    let mut other = bus.subscribe(&quiet(json!({"match": "payload.kind=small"})));
    let text = "x".repeat(MAX_PAYLOAD_BYTES - 100) + "needle";
    let large = json!({"kind": "large", "list": [1, 2, 3], "text": text}).to_string();
    for (n, payload) in [(1, json!({"kind": "small"}).to_string()), (2, large), (3, "no JSON".to_owned())] {
        emit_line(&bus, &json!({"source": "x", "type": "y", "fields": {"n": n}, "payload": payload}));
    }
    assert_eq!((asks.numbers(1), as_well.numbers(1), other.numbers(1)), (vec![2], vec![2], vec![1]));
}

#[test]
fn full_frames_and_refused_expressions_leave_the_hub_as_it_was() {
    let bus = Bus::new();
    let mut hub = bus.hub();
    let mut simple = bus.subscribe(&quiet(json!({"match": "source=deploy"})));
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(900), close.repeat(900));
    let long = |text: &str| text.repeat(60_000 / text.len());
    for n in 0..20 {
        for text in [deep("(", ")"), deep("[", "]"), deep("-(", ")"), long("a.b || "), long("["), long("\u{1f980}")] {
            let (_, answer) = bus.subscribe_with_ack(&json!({"where": text}));
            assert_eq!(answer["reason"], "bad_field", "{answer}");
        }
        let (_, answer) = bus.subscribe_with_ack(&json!({"where": "[1, 2].all(x, [3].all(y, x == y))"}));
        assert!(answer["remediation"].as_str().unwrap().contains("refused"), "{answer}");
        let mut full = json!({"match": vec![format!("text~{}", "a{1,20}[b-x]".repeat(70)); 64]});
        full["padding"] = json!("x".repeat(MAX_FRAME_BYTES.saturating_sub(full.to_string().len() + 13)));
        assert_eq!(full.to_string().len(), MAX_FRAME_BYTES);
        let (_, answer) = bus.subscribe_with_ack(&full);
        assert!(["subscribe_ack", "subscribe_rejected"].map(Value::from).contains(&answer["kind"]), "{answer}");
        bus.emit("deploy", n);
        assert_eq!(simple.numbers(1), [n]);
    }
    hub.stop();
}

#[test]
fn costly_conditions_deliver_everything_once_and_in_order() {
    let bus = Bus::new();
    let _hub = bus.hub();
    bus.emit_batch("deploy", 0..700);
    let beginning = "00000000000000000000000000";
    let mut replays: Vec<_> = [
        json!({"since": beginning, "match": "source~^dep"}),
        json!({"since": beginning, "where": "fields.n % 2 == 0 || source == 'deploy'"}),
        json!({"since": beginning, "match": "source*=dep*", "where": "has(fields.n)"}),
    ]
    .iter()
    .map(|frame| bus.subscribe(&quiet(frame.clone())))
    .collect();
    bus.emit_batch("other", 0..300);
    bus.emit_batch("deploy", 700..1_000);
    for (replay, others) in replays.iter_mut().zip([false, true, false]) {
        let mut heard = Vec::new();
        while heard.last() != Some(&999) {
            let frame = replay.frame();
            match frame["source"].as_str() {
                Some("deploy") => heard.push(frame["fields"]["n"].as_u64().unwrap()),
                Some("other") if others => assert_eq!(frame["fields"]["n"].as_u64().unwrap() % 2, 0),
                _ => panic!("{frame}"),
            }
        }
        assert_eq!(heard, (0..1_000).collect::<Vec<_>>());
    }
}
