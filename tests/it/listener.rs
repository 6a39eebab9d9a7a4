//! The webhook listener as a process: where it listens, what it counts, what it keeps to itself, how it stops.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use serde_json::json;
use waitbus::ingest::signature::sign;

use crate::harness::{
    Bus, PATIENCE, Process, SECRET, answer_head, deliver, exchange, next_answer, payload, read_answer, request,
};

/// Runs a service that has to refuse to start; what it says.
#[track_caller]
fn refuses(bus: &Bus, verb: &str, address: &str, by_variable: bool) -> String {
    let mut command = bus.command(&[verb]);
    if by_variable {
        command.env("WAITBUS_WEBHOOK_ADDR", address)
    } else {
        command.args(["--addr", address])
    };
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{verb} {address}: {said}");
    assert_eq!(output.stdout, b"", "it was never ready");
    said
}

/// A damaged log is to be moved away, says its error, and a new one is made. The listener went on with the one that was
/// moved, and said of each delivery that it was stored.
#[test]
fn a_delivery_goes_into_the_log_that_is_there() {
    let bus = Bus::new();
    let (_listen, address) = bus.listen();
    assert_eq!(deliver(address, "push", "before", &payload("push.payload.json")).status, 200);
    let away = bus.root().join("away");
    fs::create_dir(&away).unwrap();
    for name in ["events.db", "events.db-wal", "events.db-shm"] {
        fs::rename(bus.state().join(name), away.join(name)).unwrap();
    }
    for id in ["after", "later"] {
        assert_eq!(deliver(address, "push", id, &payload("push.payload.json")).json()["status"], "stored");
    }
    assert_eq!(bus.ok(&["replay", "--json"]).lines().count(), 2);
}

#[test]
fn only_a_loopback_address_is_ever_bound() {
    let bus = Bus::new();
    for verb in ["listen", "serve"] {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9000", "[2001:db8::1]:1", "[::ffff:127.0.0.1]:0"] {
            for by_variable in [false, true] {
                let said = refuses(&bus, verb, address, by_variable);
                assert!(said.contains(address) && said.contains("loopback"), "{said}");
            }
        }
    }
    let said = refuses(&bus, "listen", "localhost", false);
    assert!(said.contains("--addr"), "{said}");
    let said = refuses(&bus, "listen", "localhost", true);
    assert!(said.contains("WAITBUS_WEBHOOK_ADDR") && said.contains("IP:PORT"), "{said}");

    let mut process = Process::start(bus.command(&["listen", "--addr", "127.0.0.7:0"]));
    assert!(process.ready().contains("webhook=127.0.0.7:"));
}

#[test]
fn an_address_in_use_is_named_with_the_flag_and_the_variable_that_help() {
    // The port was fixed.
    let bus = Bus::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for verb in ["listen", "serve"] {
        let said = refuses(&bus, verb, &address, false);
        assert!([&address, "--addr", "WAITBUS_WEBHOOK_ADDR"].iter().all(|part| said.contains(*part)), "{said}");
        assert_eq!(said.trim_end().lines().filter(|line| line.starts_with("waitbus: ")).count(), 1, "{said}");
    }
    // The variable is heard, and the flag comes first.
    let mut command = bus.command(&["listen", "--addr", "127.0.0.1:0"]);
    command.env("WAITBUS_WEBHOOK_ADDR", &address);
    Process::start(command).ready();
}

#[test]
fn health_and_metrics_answer_and_no_label_comes_from_a_request() {
    // An unauthenticated path became a metric label.
    let bus = Bus::new();
    let (_serve, address) = bus.serve();
    let hostile = "hostile_d5f1";
    exchange(address, &request("GET", &format!("/{hostile}"), &[], b""));
    exchange(address, &request(&hostile.to_uppercase(), "/webhook", &[], b""));
    exchange(address, &request("POST", "/webhook", &[("x-github-event", hostile)], b"{}"));
    deliver(address, hostile, "d1", b"{}");
    deliver(address, hostile, "d1", b"{}");
    deliver(address, "Not A Name hostile_d5f1", "d2", b"{}");
    deliver(address, "push", "d3", format!("\"{hostile}\"").as_bytes());
    deliver(address, "ping", hostile, b"{}");

    let health = exchange(address, &request("GET", "/healthz", &[], b""));
    assert_eq!((health.status, health.json()["status"].clone()), (200, json!("ok")), "{health:?}");
    let metrics = exchange(address, &request("GET", "/metrics", &[], b""));
    assert!(metrics.headers.contains("content-type: application/openmetrics-text; version=1.0.0"), "{metrics:?}");
    let mut counted: Vec<_> = metrics.body.lines().filter(|line| !line.starts_with('#')).collect();
    counted.sort_unstable();
    let expected = [
        ("bad_event_name", 1),
        ("duplicate", 1),
        ("method_not_allowed", 1),
        ("not_an_object", 1),
        ("not_found", 1),
        ("ping", 1),
        ("signature_missing", 1),
        ("stored", 1),
    ];
    let expected =
        expected.map(|(name, count)| format!("waitbus_webhook_requests_total{{outcome=\"{name}\"}} {count}"));
    assert_eq!(counted, expected);
    assert!(!metrics.body.to_lowercase().contains(hostile), "{}", metrics.body);
    assert!(metrics.body.ends_with("# EOF\n"));

    for path in ["/healthz", "/metrics"] {
        let mut stream = BufReader::new(TcpStream::connect(address).unwrap());
        let head = format!("HEAD {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.get_mut().write_all(head.as_bytes()).unwrap();
        assert!(answer_head(&mut stream).starts_with("http/1.1 200 "));
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "a head has no body");
    }
}

/// A delivery whose head the listener has read and whose body it waits for.
fn half_delivered(address: SocketAddr, id: &str, body: &[u8]) -> BufReader<TcpStream> {
    let signature = sign(SECRET, body);
    let headers = [
        ("x-github-event", "push"),
        ("x-github-delivery", id),
        ("x-hub-signature-256", &signature),
        ("expect", "100-continue"),
    ];
    let whole = request("POST", "/webhook", &headers, body);
    let mut stream = BufReader::new(TcpStream::connect(address).unwrap());
    stream.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    stream.get_mut().write_all(&whole[..whole.len() - body.len()]).unwrap();
    assert!(answer_head(&mut stream).starts_with("http/1.1 100 "));
    stream
}

#[test]
fn a_service_that_is_told_to_stop_finishes_what_is_under_way() {
    for (verb, signal) in [("serve", "TERM"), ("listen", "TERM"), ("serve", "INT")] {
        let bus = Bus::new();
        let (mut process, address) = if verb == "serve" { bus.serve() } else { bus.listen() };
        let body = payload("push.payload.json");
        let mut idle = BufReader::new(TcpStream::connect(address).unwrap());
        idle.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
        idle.get_mut().write_all(&request("GET", "/healthz", &[], b"")).unwrap();
        assert_eq!(next_answer(&mut idle).status, 200);
        let mut slow = half_delivered(address, "d1", &body);

        process.signal(signal);
        assert_eq!(idle.read(&mut [0]).unwrap(), 0, "a kept connection is closed at once");
        slow.get_mut().write_all(&body).unwrap();
        let answer = next_answer(&mut slow);
        assert_eq!((answer.status, answer.json()["status"].clone()), (200, json!("stored")), "{answer:?}");
        assert_eq!(slow.read(&mut [0]).unwrap(), 0);
        assert_eq!(process.code(), 0, "{}", process.errors());
        assert_eq!(bus.ok(&["replay"]).lines().count(), 1);
    }
}

#[test]
fn a_service_without_work_stops_at_once() {
    let bus = Bus::new();
    for start in [Bus::serve, Bus::listen] {
        start(&bus).0.stop();
    }
}

#[test]
fn deliveries_to_a_listener_of_its_own_wake_the_hub_of_another_process_whichever_came_first() {
    for hub_first in [true, false] {
        let bus = Bus::new();
        let early = hub_first.then(|| bus.hub());
        let (_listen, address) = bus.listen();
        let hub = early.unwrap_or_else(|| bus.hub());
        let mut tail = Process::start(bus.command(&["tail", "-v", "--count", "3"]));
        tail.attached();
        for id in ["a", "b", "c"] {
            assert_eq!(deliver(address, "push", id, &payload("push.payload.json")).status, 200);
            tail.line();
        }
        assert_eq!(tail.code(), 0);
        drop(hub);
    }
}

/// Everything that other processes of this user, or a log's reader, could see of a process.
fn visible(process: &Process) -> Vec<u8> {
    let base = format!("/proc/{}", process.child.id());
    ["cmdline", "environ"].iter().flat_map(|file| fs::read(format!("{base}/{file}")).unwrap_or_default()).collect()
}

#[test]
fn the_secret_is_in_no_argument_no_environment_no_log_line_no_answer_and_not_in_the_event_log() {
    // The webhook secret stood in a forwarder's command line.
    let bus = Bus::new();
    bus.set_secret();
    let secret = String::from_utf8(SECRET.to_vec()).unwrap();
    let start = |arguments: &[&str]| {
        let mut command = bus.command(arguments);
        command.env("WAITBUS_LOG", "trace");
        let mut process = Process::start(command);
        let line = process.ready();
        (process, line)
    };
    let (hub, _) = start(&["hub"]);
    let (listen, line) = start(&["listen", "--addr", "127.0.0.1:0"]);
    let address: SocketAddr = line.split_once("webhook=").unwrap().1.parse().unwrap();
    let wait = bus.wait(&["--source", "nobody"]);

    let mut seen: Vec<u8> = [&hub, &listen, &wait].into_iter().flat_map(visible).collect();
    let body = payload("push.payload.json");
    for answer in [
        deliver(address, "push", "d1", &body),
        deliver(address, "push", "d1", &body),
        deliver(address, "push", "d2", b"nonsense"),
        exchange(address, &request("POST", "/webhook", &[("x-hub-signature-256", "sha256=00")], b"{}")),
        exchange(address, &request("POST", "/webhook", &[("x-hub-signature-256", &sign(b"x", b"{}"))], b"{}")),
        exchange(address, &request("GET", "/healthz", &[], b"")),
        exchange(address, &request("GET", "/metrics", &[], b"")),
    ] {
        seen.extend(format!("{answer:?}").into_bytes());
    }
    // Else it would start another hub when this one stops.
    drop(wait);
    for mut process in [listen, hub] {
        process.stop();
        seen.extend(process.errors().into_bytes());
    }
    assert!(String::from_utf8_lossy(&seen).contains("delivery"), "the log lines are among what was looked at");
    let mut places = vec![("what a process shows".to_owned(), seen)];
    for entry in fs::read_dir(bus.state()).unwrap().chain(fs::read_dir(bus.runtime()).unwrap()).map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            places.push((entry.path().display().to_string(), fs::read(entry.path()).unwrap()));
        }
    }
    for (place, bytes) in places {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{place}");
    }
}

#[test]
fn a_listener_that_dies_loses_nothing_that_it_has_answered() {
    let bus = Bus::new();
    let (mut serve, address) = bus.serve();
    let body = payload("push.payload.json");
    let mut half = half_delivered(address, "never", &body);
    let answer = deliver(address, "push", "d1", &body);
    serve.kill();
    let mut rest = Vec::new();
    let _ = half.read_to_end(&mut rest);
    assert_eq!(rest, b"");
    let stored: serde_json::Value = serde_json::from_str(&bus.ok(&["replay", "--json"])).unwrap();
    assert_eq!(stored["event_id"], answer.json()["event_id"]);
    let (_serve, address) = bus.serve();
    let again = read_answer(&mut {
        let mut stream = TcpStream::connect(address).unwrap();
        let signature = sign(SECRET, &body);
        let headers = [("x-github-event", "push"), ("x-github-delivery", "d1"), ("x-hub-signature-256", &*signature)];
        stream.write_all(&request("POST", "/webhook", &headers, &body)).unwrap();
        stream
    });
    assert_eq!(again.json(), json!({"status": "duplicate", "event_id": stored["event_id"]}));
}
