//! An engine that does what a real one cannot be made to do: refuse, break off, flood, talk nonsense.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc;

use serde_json::{Value, json};

use super::{event, told};
use crate::harness::{Bus, Process, Subscriber};

/// The socket of an engine that does as the test says.
struct Fake {
    host: String,
    requests: mpsc::Receiver<(String, UnixStream)>,
}

impl Fake {
    fn new(bus: &Bus) -> Fake {
        let path: PathBuf = bus.root().join("fake.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let (sender, requests) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let request = lines.next().unwrap().unwrap();
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                let path = request.split(' ').nth(1).unwrap().to_owned();
                if sender.send((path, stream)).is_err() {
                    return;
                }
            }
        });
        Fake { host: format!("unix://{}", path.display()), requests }
    }

    fn source(&self, bus: &Bus) -> Process {
        let mut source = Process::start(bus.command(&["source", "docker", "--host", &self.host]));
        source.ready();
        source
    }

    /// The connection of the next request, which must be for this path.
    #[track_caller]
    fn asked(&self, path: &str) -> UnixStream {
        let (asked, stream) = self.requests.recv_timeout(crate::harness::PATIENCE).unwrap();
        assert!(asked.starts_with(path), "{asked}");
        stream
    }

    #[track_caller]
    fn answers(&self, path: &str, status: &str, body: &str) {
        let mut stream = self.asked(path);
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    }

    /// The first look at an engine without containers, up to its stream.
    #[track_caller]
    fn opens(&self) -> Stream {
        self.answers("/info", "200 OK", r#"{"SystemTime":"2026-11-27T09:00:00.000000001Z"}"#);
        self.opens_again()
    }

    #[track_caller]
    fn opens_again(&self) -> Stream {
        let mut stream = self.asked("/events?");
        write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        self.answers("/containers/json", "200 OK", "[]");
        Stream(stream)
    }
}

struct Stream(UnixStream);

impl Stream {
    fn send(&mut self, text: &str) {
        write!(self.0, "{:x}\r\n{text}\r\n", text.len()).unwrap();
    }

    fn tell(&mut self, second: i64, action: &str, more: &Value) {
        let mut attributes = json!({"name": "fake", "image": "box:1"});
        attributes.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let time = 1_795_770_000_000_000_001 + second * 1_000_000_000;
        let actor = json!({"ID": "ab".repeat(32), "Attributes": attributes});
        self.send(&format!("{}\n", json!({"Type": "container", "Action": action, "Actor": actor, "timeNano": time})));
    }
}

/// An engine whose source has looked at it, and listens; and whoever sees what is told of it.
fn watched(bus: &Bus) -> (Fake, Process, Stream, Subscriber) {
    let fake = Fake::new(bus);
    let seen = bus.subscribe(&json!({"match": "source=docker"}));
    let mut source = fake.source(bus);
    let stream = fake.opens();
    source.said("watches its containers");
    (fake, source, stream, seen)
}

#[test]
fn an_engine_that_refuses_is_named_with_its_words_and_asked_again() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let fake = Fake::new(&bus);
    let mut source = fake.source(&bus);
    fake.answers("/info", "500 Internal Server Error", r#"{"message":"the \u001b[31mdisk is full"}"#);
    let said = source.said("answers 500");
    assert!(said.contains("disk is full") && !said.contains("\u{1b}[31m"), "{said}");
    // It is asked again, at once and then after longer and longer pauses.
    fake.answers("/info", "200 OK", "nonsense");
    source.said("makes no sense");
    drop(fake.asked("/info"));
    source.said("closed the stream");
    let _stream = fake.opens();
    source.said("watches its containers");
    source.stop();
}

/// A piece that breaks off, a line that never ends, one that is none: nothing grows, and what was lost is looked for.
#[test]
fn what_cannot_be_read_is_passed_over_and_looked_for() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let (fake, mut source, mut stream, mut seen) = watched(&bus);
    stream.tell(1, "start", &Value::Null);
    assert_eq!(told(&mut seen, 1), ["start"]);
    // The end of the container is in a line of a megabyte.
    stream.send(&"x".repeat(1 << 20));
    stream.send("\n");
    source.said("an event cannot be read");
    let state = json!({"Running": false, "ExitCode": 5, "StartedAt": "2026-11-27T09:00:01.5Z", "FinishedAt": "2026-11-27T09:00:02Z"});
    let container = json!({"Name": "/fake", "State": state, "Config": {"Image": "box:1", "Labels": null}});
    fake.answers("/containers/json", "200 OK", &json!([{"Id": "ab".repeat(32)}]).to_string());
    fake.answers("/containers/abab", "200 OK", &container.to_string());
    let end = event(&mut seen);
    assert_eq!(end["summary"], "fake exited with code 5 while nobody watched");
    assert_eq!((&end["fields"]["recovered"], &end["fields"]["exit_code"]), (&json!(true), &json!(5)));
    // It is told all the same, a little later, and is not a second one.
    stream.tell(2, "die", &json!({"exitCode": "5"}));
    stream.send("[1,2]\n{\"Type\":\"container\"}\n");
    source.said("an event cannot be read");
    fake.answers("/containers/json", "200 OK", "[]");
    stream.tell(4, "start", &Value::Null);
    assert_eq!(told(&mut seen, 1), ["start"]);
    write!(stream.0, "ffff\r\n{{\"Type\":").unwrap();
    drop(stream);
    source.said("closed the stream");
    let mut stream = fake.opens_again();
    source.said("watches its containers");
    let lost = event(&mut seen);
    assert_eq!(lost["summary"], "fake has ended while nobody watched, and how is not known");
    assert_eq!(lost["fields"]["conclusion"], "unknown");
    stream.tell(6, "start", &Value::Null);
    stream.tell(7, "destroy", &Value::Null);
    assert_eq!(told(&mut seen, 3), ["start", "die unknown", "destroy"], "it must have ended before it was removed");
    source.stop();
}

#[test]
fn a_flood_is_taken_in_whole_and_in_order() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let (_fake, mut source, mut stream, mut seen) = watched(&bus);
    let many = 2_000;
    let writer = std::thread::spawn(move || {
        for second in 0..many {
            stream.tell(10 * second, "start", &json!({"n": second.to_string()}));
            stream.tell(10 * second + 5, "die", &json!({"exitCode": "0", "n": second.to_string()}));
        }
        stream
    });
    for second in 0..many {
        for action in ["start", "die"] {
            let event = event(&mut seen);
            assert_eq!(
                (&event["fields"]["action"], &event["fields"]["labels"]["n"]),
                (&json!(action), &json!(second.to_string()))
            );
        }
    }
    drop(writer.join().unwrap());
    source.stop();
}

#[test]
fn a_host_that_cannot_be_watched_is_refused_with_what_to_do() {
    let bus = Bus::new();
    for (arguments, words) in [
        (&["source", "docker", "--host", "tcp://127.0.0.1:2375"][..], "ssh -L"),
        (&["source", "docker", "--host", "docker.sock"], "absolute"),
    ] {
        let output = bus.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(words), "{said}");
    }
    let output = bus.command(&["source", "docker"]).env("DOCKER_HOST", "ssh://far").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("DOCKER_HOST") && said.contains("ssh://far"), "{said}");
    std::fs::create_dir_all(bus.root().join("config")).unwrap();
    std::fs::write(bus.root().join("config/waitbus.toml"), "[source.docker]\nhosts = ['tcp://far']\n").unwrap();
    let output = bus.run(&["source", "docker"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("line 2") && said.contains("hosts") && said.contains("tcp://far"), "{said}");
}
