//! Sockets that a service manager passes by name, readiness, stop, idle exit and the next start.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;

use serde_json::json;
use waitbus::sys::knock::is_waiting;

use crate::harness::{Bus, Process, Subscriber, deliver, exchange, payload, read_answer, request};
use crate::manager::{Ear, Sockets, activate, knocked};

const NAMES: [&str; 3] = ["broadcast", "doorbell", "webhook"];

fn identity(path: &std::path::Path) -> (u64, std::time::SystemTime) {
    let found = std::fs::symlink_metadata(path).unwrap();
    (found.ino(), found.modified().unwrap())
}

#[test]
fn the_order_of_the_passed_sockets_never_matters() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let bus = Bus::new();
        bus.set_secret();
        let sockets = Sockets::bind(&bus);
        let address = sockets.webhook.local_addr().unwrap();
        let before = identity(&bus.broadcast());
        let mut serve = sockets.start(&bus, &["serve"], &order.map(|place| NAMES[place]));
        assert!(serve.ready().ends_with(&format!("webhook={address}")));
        let mut tail = Process::start(bus.command(&["tail", "-v", "--count", "2"]));
        tail.attached();
        assert_eq!(deliver(address, "push", "d1", &payload("push.payload.json")).status, 200);
        tail.line();
        bus.emit("deploy", 1);
        tail.line();
        assert_eq!(tail.code(), 0);
        serve.stop();
        assert_eq!(identity(&bus.broadcast()), before);
    }
    for order in [["broadcast", "doorbell"], ["doorbell", "broadcast"]] {
        let bus = Bus::new();
        let sockets = Sockets::bind(&bus);
        let mut hub = sockets.start(&bus, &["hub"], &order);
        hub.ready();
        let mut wait = bus.wait(&["--source", "deploy"]);
        bus.emit("deploy", 1);
        assert_eq!(wait.code(), 0);
        hub.stop();
    }
}

#[test]
fn what_is_not_passed_is_bound_by_the_service_itself() {
    let bus = Bus::new();
    bus.set_secret();
    let sockets = Sockets::bind(&bus);
    let address = sockets.webhook.local_addr().unwrap();
    drop((sockets.broadcast, sockets.doorbell));
    let mut serve = activate(&bus, &["serve"], "webhook", &[sockets.webhook.as_fd()], &[]);
    serve.ready();
    let mut wait = bus.wait(&["--source", "github"]);
    assert_eq!(deliver(address, "push", "d1", &payload("push.payload.json")).status, 200);
    assert_eq!(wait.code(), 0);

    let listen = Bus::new();
    listen.set_secret();
    let socket = TcpListener::bind("[::1]:0").or_else(|_| TcpListener::bind("127.0.0.1:0")).unwrap();
    let mut process = activate(&listen, &["listen"], "webhook", &[socket.as_fd()], &[]);
    process.ready();
    let health = exchange(socket.local_addr().unwrap(), &request("GET", "/healthz", &[], b""));
    assert_eq!(health.json()["status"], "ok");
}

/// Starts `serve` with sockets that it has to refuse; what it says.
#[track_caller]
fn refused(bus: &Bus, names: &str, sockets: &[BorrowedFd<'_>], variables: &[(&str, &str)]) -> String {
    let mut process = activate(bus, &["serve", "--addr", "127.0.0.1:0"], names, sockets, variables);
    let code = process.code();
    let said = process.errors();
    assert!(matches!(code, 2 | 3), "{code}: {said}");
    assert!(said.starts_with("waitbus: ") && !said.contains("panicked"), "{said}");
    said
}

#[test]
fn a_socket_of_the_wrong_kind_is_refused_by_its_name() {
    let bus = Bus::new();
    let sockets = Sockets::bind(&bus);
    let datagram = UnixDatagram::unbound().unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    let (connected, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
    let silent = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
    for (name, socket, problem) in [
        ("broadcast", sockets.webhook.as_fd(), "AF_UNIX"),
        ("doorbell", sockets.webhook.as_fd(), "AF_UNIX"),
        ("webhook", sockets.doorbell.as_fd(), "TCP"),
        ("broadcast", datagram.as_fd(), "AF_UNIX"),
        ("webhook", udp.as_fd(), "TCP"),
        ("doorbell", file.as_fd(), "AF_UNIX"),
        ("broadcast", connected.as_fd(), "does not listen"),
        ("doorbell", connected.as_fd(), "does not listen"),
        ("webhook", silent.as_fd(), "does not listen"),
    ] {
        let said = refused(&bus, name, &[socket], &[]);
        assert!(said.contains(&format!("{name:?}")) && said.contains(problem), "{said}");
        // Also beside sockets that are good.
        let other = if name == "webhook" { "broadcast" } else { "webhook" };
        let said = refused(&bus, &format!("{other}:{name}"), &[sockets.named(other), socket], &[]);
        assert!(said.contains(&format!("{name:?}")) && said.contains(problem), "{said}");
    }
}

#[test]
fn names_that_are_unknown_doubled_or_miscounted_are_refused() {
    let bus = Bus::new();
    let sockets = Sockets::bind(&bus);
    let (broadcast, doorbell) = (sockets.broadcast.as_fd(), sockets.doorbell.as_fd());
    for (names, passed, problem) in [
        ("unknown", vec![broadcast], "\"unknown\""),
        ("broadcast:brodcast", vec![broadcast, doorbell], "\"brodcast\""),
        ("broadcast:waitbus.socket", vec![broadcast, doorbell], "FileDescriptorName=broadcast"),
        ("broadcast:broadcast", vec![broadcast, doorbell], "two passed sockets are named \"broadcast\""),
        ("broadcast", vec![broadcast, doorbell], "2 sockets but 1 names"),
        ("broadcast:doorbell:webhook", vec![broadcast, doorbell], "2 sockets but 3 names"),
    ] {
        let said = refused(&bus, names, &passed, &[]);
        let expected = problem.replace("FileDescriptorName=broadcast", "FileDescriptorName= to broadcast");
        assert!(said.contains(&expected), "{names}: {said}");
    }
    let said = refused(&bus, "broadcast", &[broadcast], &[("LISTEN_FDS", "many")]);
    assert!(said.contains("service manager"), "{said}");
}

#[test]
fn a_passed_socket_that_the_network_reaches_is_refused() {
    for address in ["0.0.0.0:0", "[::]:0"] {
        let Ok(socket) = TcpListener::bind(address) else { continue };
        for verb in ["listen", "serve"] {
            let bus = Bus::new();
            let mut process = activate(&bus, &[verb], "webhook", &[socket.as_fd()], &[]);
            assert_eq!(process.code(), 2);
            let said = process.errors();
            assert!(said.contains("not a loopback address"), "{said}");
        }
    }
}

#[test]
fn a_service_says_that_it_is_ready_and_that_it_stops_wherever_the_manager_listens() {
    let bus = Bus::new();
    let name = format!("waitbus-test-{}", std::process::id());
    let path = bus.state().join("notify");
    std::fs::create_dir_all(bus.state()).unwrap();
    let abstract_name = format!("@{name}");
    for (ear, variable) in [(Ear::at(&path), path.to_str().unwrap()), (Ear::without_a_path(&name), &*abstract_name)] {
        for verb in ["hub", "serve", "listen"] {
            let arguments: &[&str] = if verb == "hub" { &["hub"] } else { &[verb, "--addr", "127.0.0.1:0"] };
            let mut process = activate(&bus, arguments, "", &[], &[("NOTIFY_SOCKET", variable)]);
            let said = ear.hears();
            assert!(said.contains(&"READY=1".to_owned()), "{verb} {variable}: {said:?}");
            assert!(said.iter().any(|line| line.starts_with("STATUS=")), "{said:?}");
            // Ready means ready: whoever connects now is served.
            if verb != "listen" {
                bus.subscribe(&json!({}));
            }
            process.stop();
            let said = ear.hears();
            assert!(said.contains(&"STOPPING=1".to_owned()), "{verb} {variable}: {said:?}");
            assert!(said.iter().any(|line| line.starts_with("STATUS=")), "{said:?}");
        }
    }
}

#[test]
fn a_service_that_cannot_start_is_never_ready() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let path = bus.state().join("notify");
    let ear = Ear::at(&path);
    let mut process = activate(&bus, &["hub"], "", &[], &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    assert_eq!(process.code(), 3);
    let said = ear.hears();
    assert!(!said.contains(&"READY=1".to_owned()), "{said:?}");
}

/// The variables of the protocol concern the service alone, not what it starts.
#[test]
fn variables_for_another_process_are_not_ours() {
    let bus = Bus::new();
    let mut command = bus.command(&["hub"]);
    command.envs([("LISTEN_PID", "1"), ("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "broadcast:doorbell")]);
    let mut hub = Process::start(command);
    hub.ready();
    bus.subscribe(&json!({}));
    hub.stop();
}

#[test]
fn an_idle_hub_leaves_and_whoever_connects_meanwhile_is_served_by_the_next() {
    // What was committed while the hub was down never went out live.
    let bus = Bus::new();
    let sockets = Sockets::bind(&bus);
    let before = identity(&bus.broadcast());
    let start = || sockets.start(&bus, &["hub", "--idle-exit", "100ms"], &["doorbell", "broadcast"]);
    let mut cursor = "0".repeat(26);
    for round in 0..5 {
        let mut hub = start();
        hub.ready();
        assert_eq!(hub.code(), 0, "{}", hub.errors());
        // Nobody is there: the socket queues, the log keeps, the doorbell remembers.
        bus.emit("deploy", round);
        let mut early = Subscriber::connect(&bus.broadcast());
        early.send(json!({"since": cursor}).to_string().as_bytes());
        let mut wait = Process::start(bus.command(&["wait", "-v", "--source", "deploy", "--after", &cursor]));
        bus.emit("deploy", round + 100);
        knocked(&sockets.broadcast);
        let mut next = start();
        next.ready();
        assert_eq!(early.frame()["kind"], "subscribe_ack");
        assert_eq!(early.numbers(2), [round, round + 100]);
        assert_eq!(wait.code(), 0, "{}", wait.errors());
        cursor = bus.emit("deploy", round + 200);
        assert_eq!(early.numbers(1), [round + 200]);
        drop(early);
        assert_eq!(next.code(), 0, "idle once more");
        assert_eq!(identity(&bus.broadcast()), before);
    }
}

/// Under load a hub took longer from its start to its first look at the sockets than it was to stay, and left those who
/// had it started standing at the door.
#[test]
fn a_hub_lets_in_whoever_is_at_the_door_before_it_leaves() {
    let bus = Bus::new();
    let sockets = Sockets::bind(&bus);
    bus.emit("deploy", 1);
    let mut early = Subscriber::connect(&bus.broadcast());
    early.send(json!({"since": "0".repeat(26)}).to_string().as_bytes());
    let mut hub = sockets.start(&bus, &["hub", "--idle-exit", "0s"], &["broadcast", "doorbell"]);
    assert_eq!(early.frame()["kind"], "subscribe_ack");
    assert_eq!(early.numbers(1), [1]);
    drop(early);
    assert_eq!(hub.code(), 0);
}

/// Of 300 connections to a hub that was about to leave 6 were reset: it had let them in, and left before it had heard what
/// they wanted.
#[test]
fn a_hub_does_not_leave_before_whoever_has_come_in_has_said_what_they_want() {
    let bus = Bus::new();
    let mut hub = Process::start(bus.command(&["hub", "--idle-exit", "100ms"]));
    hub.ready();
    let mut slow = std::os::unix::net::UnixStream::connect(bus.broadcast()).unwrap();
    // Longer than the idle time, by the clock of the thing itself. This hub is not asked for it.
    let other = Bus::new();
    let _hub = other.hub();
    let timed_out = other.run(&["wait", "--source", "nobody", "--timeout", "300ms"]);
    assert_eq!(timed_out.status.code(), Some(124));
    slow.write_all(&[&2_u32.to_be_bytes()[..], b"{}"].concat()).unwrap();
    let mut slow = Subscriber { stream: slow };
    assert_eq!(slow.frame()["kind"], "subscribe_ack");
    drop(slow);
    assert_eq!(hub.code(), 0);
    // Those who only look in do not keep it for ever.
    let mut hub = Process::start(bus.command(&["hub", "--idle-exit", "100ms"]));
    hub.ready();
    drop(std::os::unix::net::UnixStream::connect(bus.broadcast()));
    assert_eq!(hub.code(), 0);
}

/// A ring that nobody takes off the socket has the manager start the next hub at once, and the next.
#[test]
fn a_ring_alone_starts_a_hub_that_hears_it_and_leaves_again() {
    for idle_exit in ["0s", "100ms"] {
        let bus = Bus::new();
        let sockets = Sockets::bind(&bus);
        bus.emit("deploy", 1);
        knocked(&sockets.doorbell);
        let mut hub = sockets.start(&bus, &["hub", "--idle-exit", idle_exit], &["broadcast", "doorbell"]);
        hub.ready();
        assert_eq!(hub.code(), 0);
        assert!(!is_waiting(&sockets.doorbell), "the ring is still there");
    }
}

#[test]
fn a_hub_with_a_subscriber_is_not_idle_and_one_that_a_person_started_never_is() {
    let bus = Bus::new();
    let mut hub = Process::start(bus.command(&["hub", "--idle-exit", "100ms"]));
    hub.ready();
    let mut subscriber = bus.subscribe(&json!({}));
    for n in 0..5 {
        // Longer than the idle time, by the clock of the thing itself: a wait that times out.
        let timed_out = bus.run(&["wait", "--source", "nobody", "--timeout", "120ms"]);
        assert_eq!(timed_out.status.code(), Some(124));
        bus.emit("deploy", n);
        assert_eq!(subscriber.numbers(1), [n]);
    }
    drop(subscriber);
    assert_eq!(hub.code(), 0);
}

#[test]
fn a_passed_webhook_socket_keeps_deliveries_that_come_before_the_service() {
    let bus = Bus::new();
    bus.set_secret();
    let sockets = Sockets::bind(&bus);
    let address: SocketAddr = sockets.webhook.local_addr().unwrap();
    let body = payload("push.payload.json");
    std::thread::scope(|scope| {
        let early = scope.spawn(|| deliver(address, "push", "d1", &body));
        knocked(&sockets.webhook);
        let mut listen = sockets.start(&bus, &["listen"], &["webhook"]);
        listen.ready();
        assert_eq!(early.join().unwrap().status, 200);
    });
}

#[test]
fn an_idle_listener_leaves_and_a_delivery_that_comes_meanwhile_is_answered_by_the_next() {
    let bus = Bus::new();
    bus.set_secret();
    let sockets = Sockets::bind(&bus);
    let address = sockets.webhook.local_addr().unwrap();
    let body = payload("push.payload.json");
    let start = || sockets.start(&bus, &["listen", "--idle-exit", "100ms"], &["webhook"]);
    for round in 0..3 {
        let mut listen = start();
        listen.ready();
        assert_eq!(listen.code(), 0, "{}", listen.errors());
        std::thread::scope(|scope| {
            let delivery = scope.spawn(|| deliver(address, "push", &format!("d{round}"), &body));
            knocked(&sockets.webhook);
            let mut next = start();
            next.ready();
            let answer = delivery.join().unwrap();
            assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("stored")), "{answer:?}");
            assert_eq!(next.code(), 0, "idle once more");
        });
    }
}

#[test]
fn a_listener_with_a_connection_is_not_idle() {
    let bus = Bus::new();
    bus.set_secret();
    let sockets = Sockets::bind(&bus);
    let address = sockets.webhook.local_addr().unwrap();
    let mut listen = sockets.start(&bus, &["listen", "--idle-exit", "100ms"], &["webhook"]);
    listen.ready();
    let body = payload("push.payload.json");
    let signature = waitbus::ingest::signature::sign(crate::harness::SECRET, &body);
    let headers = [
        ("content-type", "application/json"),
        ("x-github-event", "push"),
        ("x-github-delivery", "slow"),
        ("x-hub-signature-256", &signature),
    ];
    let delivery = request("POST", "/webhook", &headers, &body);
    let (first, rest) = delivery.split_at(delivery.len() / 2);
    let mut slow = std::net::TcpStream::connect(address).unwrap();
    slow.write_all(first).unwrap();
    // Longer than the idle time, by the clock of the thing itself.
    let timed_out = bus.run(&["wait", "--source", "nobody", "--timeout", "300ms"]);
    assert_eq!(timed_out.status.code(), Some(124));
    // It is not on its way out either: it takes others.
    assert_eq!(deliver(address, "push", "meanwhile", &body).status, 200);
    slow.write_all(rest).unwrap();
    assert_eq!(read_answer(&mut slow).status, 200);
    drop(slow);
    assert_eq!(listen.code(), 0, "{}", listen.errors());
}

#[test]
fn serve_is_idle_when_both_of_its_parts_are() {
    let bus = Bus::new();
    bus.set_secret();
    let sockets = Sockets::bind(&bus);
    let address = sockets.webhook.local_addr().unwrap();
    let mut serve = sockets.start(&bus, &["serve", "--idle-exit", "100ms"], &NAMES);
    serve.ready();
    let subscriber = bus.subscribe(&json!({}));
    let connection = std::net::TcpStream::connect(address).unwrap();
    // Longer than the idle time, by the clock of the thing itself. This hub is not asked for it.
    let other = Bus::new();
    let _hub = other.hub();
    let idle_time = || {
        let timed_out = other.run(&["wait", "--source", "nobody", "--timeout", "300ms"]);
        assert_eq!(timed_out.status.code(), Some(124));
    };
    idle_time();
    drop(subscriber);
    idle_time();
    assert_eq!(serve.child.try_wait().unwrap(), None, "there is a connection: {}", serve.errors());
    drop(connection);
    assert_eq!(serve.code(), 0, "{}", serve.errors());
}

#[test]
fn a_service_with_sockets_of_its_own_stays() {
    // What came after it would find nobody, because no manager keeps that socket.
    let bus = Bus::new();
    std::fs::create_dir_all(bus.root().join("config")).unwrap();
    std::fs::write(bus.root().join("config/waitbus.toml"), "idle_exit = '50ms'").unwrap();
    let (mut own, _) = bus.listen();
    let person = Bus::new();
    std::fs::create_dir_all(person.root().join("config")).unwrap();
    std::fs::write(person.root().join("config/waitbus.toml"), "idle_exit = '50ms'").unwrap();
    let mut hub = person.hub();
    let sockets = Sockets::bind(&bus);
    let mut passed = sockets.start(&bus, &["listen"], &["webhook"]);
    passed.ready();
    assert_eq!(passed.code(), 0, "the configuration says so: {}", passed.errors());
    assert_eq!((own.child.try_wait().unwrap(), hub.child.try_wait().unwrap()), (None, None));
    own.stop();
    hub.stop();
}
