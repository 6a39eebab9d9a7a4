//! What a service tells its manager while it runs: signs of life when there is something to do and none when there is
//! not, and that it has read its configuration again.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::harness::{Bus, Process, deliver, exchange, payload, request, works};
use crate::manager::{Ear, Sockets, activate};

/// The manager's period in these tests, and how it is told.
const PERIOD: &str = "400000";
const SET: &str = "WATCHDOG_USEC=400000";
const SUSPENDED: &str = "WATCHDOG_USEC=0";
const ALIVE: &str = "WATCHDOG=1";

/// Starts a service that a manager watches; it is ready, and idle.
fn watched(bus: &Bus, arguments: &[&str]) -> (Process, Ear) {
    fs::create_dir_all(bus.state()).unwrap();
    let path = bus.state().join("notify");
    let ear = Ear::at(&path);
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", PERIOD)];
    let process = activate(bus, arguments, "", &[], &variables);
    // On a busy machine it works for longer than half a period before it is ready.
    ear.hears_of("READY=1");
    ear.hears_of(SUSPENDED);
    (process, ear)
}

fn ring(doorbell: &Path) {
    UnixStream::connect(doorbell).unwrap().write_all(b"x").unwrap();
}

#[test]
fn the_watchdog_is_set_before_any_work_and_suspended_when_there_is_none() {
    let bus = Bus::new();
    let (mut hub, ear) = watched(&bus, &["hub"]);
    for n in 0..3 {
        // It sleeps. Nothing is said until it is woken, and what it then says first is that it has to be watched.
        hub.signal("STOP");
        bus.emit("deploy", n);
        hub.signal("CONT");
        assert_eq!(ear.hears(), [SET]);
        // Its own proof of life, then sleep.
        assert!(ear.hears().contains(&ALIVE.to_owned()));
        assert!(ear.hears().contains(&SUSPENDED.to_owned()));
    }
    hub.stop();
}

#[test]
fn a_watched_loop_says_little_however_much_it_does() {
    // One system call to the manager per event would cost more than the event.
    let bus = Bus::new();
    let (mut hub, ear) = watched(&bus, &["hub"]);
    let mut subscriber = bus.subscribe(&json!({}));
    for n in 0..500 {
        ring(&bus.doorbell());
        if n % 50 == 0 {
            bus.emit("deploy", n);
            assert_eq!(subscriber.numbers(1), [n]);
        }
    }
    hub.stop();
    let mut said = Vec::new();
    while !said.iter().any(|line| line == "STOPPING=1") {
        said.extend(ear.hears());
    }
    let signs = said.iter().filter(|line| line.starts_with("WATCHDOG")).count();
    assert!(signs < 100, "{signs} signs of life for 500 rings");
    assert_eq!(said[0], SET);
}

/// Starts hub and listener in one process that a manager watches; both are ready, and idle.
fn watched_serve(bus: &Bus) -> (Process, Ear, SocketAddr) {
    bus.set_secret();
    fs::create_dir_all(bus.state()).unwrap();
    let path = bus.state().join("notify");
    let ear = Ear::at(&path);
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", PERIOD)];
    let sockets = Sockets::bind(bus);
    let address = sockets.webhook.local_addr().unwrap();
    let names = ["broadcast", "doorbell", "webhook"];
    let process = activate(bus, &["serve"], &names.join(":"), &names.map(|name| sockets.named(name)), &variables);
    ear.hears_of("READY=1");
    ear.hears_of(SUSPENDED);
    (process, ear, address)
}

/// Has the loop that hears signals hang, and only that loop: it reads a configuration that nobody writes.
fn hang(bus: &Bus, process: &Process) -> PathBuf {
    let configuration = bus.root().join("config/waitbus.toml");
    fs::create_dir_all(configuration.parent().unwrap()).unwrap();
    assert!(works(&["mkfifo", configuration.to_str().unwrap()]));
    process.signal("HUP");
    configuration
}

/// Lets more than two periods pass, by the clock of the thing itself: another bus.
fn let_periods_pass() {
    let other = Bus::new();
    let _hub = other.hub();
    let timed_out = other.run(&["wait", "--source", "nobody", "--timeout", "1s"]);
    assert_eq!(timed_out.status.code(), Some(124));
}

#[test]
fn a_loop_that_hangs_is_silent_although_its_process_lives_and_one_that_goes_on_is_not() {
    let bus = Bus::new();
    let (mut hub, ear) = watched(&bus, &["hub"]);
    let configuration = hang(&bus, &hub);
    assert_eq!(ear.hears(), [SET], "before it looks at what has woken it");
    assert_eq!(ear.hears()[0], "RELOADING=1");
    let_periods_pass();
    // A thread that fed beside the loop would be heard by now, and so would one that laid it to rest.
    assert_eq!(ear.has_heard(), Vec::<Vec<String>>::new(), "the manager would have killed it");
    fs::write(configuration, "").unwrap();
    ear.hears_of("READY=1");
    ear.hears_of(ALIVE);
    ear.hears_of(SUSPENDED);
    hub.stop();
}

#[test]
fn a_hub_that_hangs_is_not_hidden_by_the_listener_of_its_process() {
    let bus = Bus::new();
    let (mut serve, ear, address) = watched_serve(&bus);
    let configuration = hang(&bus, &serve);
    ear.hears_of("RELOADING=1");
    let_periods_pass();
    ear.has_heard();
    // The listener works, wakes and sleeps; for the manager the process is as silent as its hub.
    let health = || exchange(address, &request("GET", "/healthz", &[], b""));
    for _ in 0..4 {
        assert_eq!(health().status, 200);
        let_periods_pass();
    }
    assert_eq!(ear.has_heard(), Vec::<Vec<String>>::new());
    fs::write(configuration, "").unwrap();
    ear.hears_of("READY=1");
    ear.hears_of(SUSPENDED);
    serve.stop();
}

#[test]
fn both_loops_of_serve_are_watched_as_one() {
    let bus = Bus::new();
    let (mut serve, ear, address) = watched_serve(&bus);
    assert_eq!(deliver(address, "push", "d1", &payload("push.payload.json")).status, 200);
    assert_eq!(ear.hears(), [SET], "whichever loop is first");
    ear.hears_of(SUSPENDED);
    serve.stop();
}

#[test]
fn the_status_says_how_many_are_served() {
    let bus = Bus::new();
    let (mut hub, ear) = watched(&bus, &["hub"]);
    let one = bus.subscribe(&json!({}));
    ear.hears_of("STATUS=Serving 1 subscriber");
    let two = bus.subscribe(&json!({}));
    ear.hears_of("STATUS=Serving 2 subscribers");
    drop((one, two));
    ear.hears_of("STATUS=Serving 0 subscribers");
    hub.stop();
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let bus = Bus::new();
    fs::create_dir_all(bus.state()).unwrap();
    let path = bus.state().join("notify");
    let ear = Ear::at(&path);
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")];
    let mut hub = activate(&bus, &["hub"], "", &[], &variables);
    assert!(ear.hears().contains(&"READY=1".to_owned()));
    let _subscriber = bus.subscribe(&json!({}));
    bus.emit("deploy", 1);
    hub.stop();
    assert!(ear.hears().contains(&"STOPPING=1".to_owned()), "and nothing in between");
}

// ---- the configuration ----------------------------------------------------------------------------------------

/// Writes the configuration.
fn configure(bus: &Bus, text: &str) {
    let directory = bus.root().join("config");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("waitbus.toml"), text).unwrap();
}

/// Starts a hub without a terminal, because one that has a terminal ends with it.
fn hub(bus: &Bus, variables: &[(&str, &str)]) -> Process {
    let mut command = bus.wrapped(&["setsid"], &["hub"]);
    command.envs(variables.iter().copied());
    let mut hub = Process::start(command);
    hub.ready();
    hub
}

/// Asks it to read its configuration again, and returns what it tells its manager.
fn reload(hub: &Process, ear: &Ear) -> Vec<String> {
    hub.signal("HUP");
    let begun = ear.hears();
    assert_eq!(begun[0], "RELOADING=1");
    let clock: u64 = begun[1].strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
    assert!(clock > 0);
    ear.hears()
}

#[test]
fn a_reload_changes_how_much_is_logged_and_tells_the_manager_when() {
    let bus = Bus::new();
    fs::create_dir_all(bus.state()).unwrap();
    let path = bus.state().join("notify");
    let ear = Ear::at(&path);
    configure(&bus, "log = 'error'");
    let mut hub = hub(&bus, &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    ear.hears_of("READY=1");
    configure(&bus, "log = 'debug'");
    assert!(reload(&hub, &ear).contains(&"READY=1".to_owned()));
    hub.said("read again");

    // One that makes no sense changes nothing, and says where.
    configure(&bus, "\nlgo = 'info'");
    let told = reload(&hub, &ear);
    assert!(told.contains(&"READY=1".to_owned()) && told[1].contains("waitbus.toml, line 2"), "{told:?}");
    let said = hub.said("stays as it was");
    assert!(said.contains("did you mean \\\"log\\\"") || said.contains("did you mean \"log\""), "{said}");

    // Without the key it is what it was without the file.
    configure(&bus, "log = 'off'");
    reload(&hub, &ear);
    configure(&bus, "log = 'loud'");
    reload(&hub, &ear);
    fs::remove_file(bus.root().join("config/waitbus.toml")).unwrap();
    reload(&hub, &ear);
    let said = hub.said("the configuration");
    assert!(
        said.contains("read again") && said.contains("info"),
        "nothing was said while it was off, nor of what changes nothing: {said}"
    );
    hub.stop();
    assert!(!hub.errors().contains("panicked"));
}

#[test]
fn the_environment_wins_over_the_configuration() {
    let bus = Bus::new();
    configure(&bus, "log = 'off'");
    let mut hub = hub(&bus, &[("WAITBUS_LOG", "info")]);
    hub.said("ready");
    hub.signal("HUP");
    hub.said("read again");
    hub.stop();
}

#[test]
fn a_configuration_that_makes_no_sense_is_named_with_its_line_before_anything_starts() {
    let bus = Bus::new();
    configure(&bus, "# mine\nidle_exti = '1h'\n");
    for verb in ["hub", "listen", "serve"] {
        let output = bus.run(&[verb]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{verb}: {said}");
        let path = bus.root().join("config/waitbus.toml");
        assert!(said.contains(&format!("{}, line 2", path.display())), "{said}");
        assert!(said.contains("\"idle_exti\"") && said.contains("did you mean \"idle_exit\"?"), "{said}");
        assert!(!bus.runtime().join("hub.lock").exists());
    }
    // Who only asks does not need it.
    bus.ok(&["mark"]);
}
