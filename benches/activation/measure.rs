//! From `connect` to the first frame, in the machine and as its user, with the service stopped before each sample.
//! Beside it stands the floor of the same run: a service that does nothing but answer, started by the same manager, with
//! the hub's sandbox and without.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use waitbus::sys::activation::Passed;

use crate::booted::machine::Machine;
use crate::booted::roots;

/// This program, inside the machine.
const INSIDE: &str = "/opt/bench";
const SAMPLES: usize = 50;
const FRAME: &[u8] = b"\0\0\0\x02{}";

pub fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match &*arguments.iter().map(|argument| &**argument).collect::<Vec<_>>() {
        ["connect", path] => connect(path),
        ["answer"] => answer(),
        arguments if arguments.contains(&"--test") => {}
        _ => match roots::here() {
            Ok(roots) => roots.for_each(|(suite, root)| measure(suite, root)),
            Err(reason) => println!("skipped: {reason}"),
        },
    }
}

/// The client: one subscription, and the time until its first frame in ns.
fn connect(path: &str) {
    let start = Instant::now();
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(FRAME).unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    println!("{}", start.elapsed().as_nanos());
}

/// The service of the floor.
fn answer() {
    let socket = Passed::take().unwrap().broadcast.unwrap();
    socket.set_nonblocking(false).unwrap();
    let (mut stream, _) = socket.accept().unwrap();
    stream.read_exact(&mut [0; FRAME.len()]).unwrap();
    stream.write_all(FRAME).unwrap();
}

fn measure(suite: &'static str, root: &Path) {
    let machine = Machine::boot(suite, root);
    std::fs::copy(std::env::current_exe().unwrap(), machine.path(INSIDE)).unwrap();
    machine.enable();
    let version = machine.dev("systemctl --version | head -n 1");
    println!("{suite}, {version}: connect to first frame, {SAMPLES} times; fastest, median, slowest in ms");
    let hub = std::fs::read_to_string(machine.path("/usr/lib/systemd/user/waitbus.service")).unwrap();
    let (_, sandbox) = hub.split_once("# ---- Sandbox").unwrap();
    for (name, settings) in [("bare", ""), ("sandboxed", sandbox)] {
        let unit = |kind: &str| format!("/home/dev/.config/systemd/user/{name}.{kind}");
        machine.write(
            &unit("socket"),
            &format!("[Socket]\nListenStream=%t/waitbus/{name}.sock\nFileDescriptorName=broadcast\nTriggerLimitIntervalSec=0\n"),
        );
        machine.write(
            &unit("service"),
            &format!("[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart={INSIDE} answer\n#{settings}"),
        );
        machine.systemctl(&format!("daemon-reload; systemctl --user start {name}.socket"));
        report(&format!("  floor, {name}"), || sample(&machine, &format!("{name}.service"), name));
    }
    report("  hub, cold", || sample(&machine, "waitbus.service", "broadcast"));
    let mut wait = machine.wait(&["--source", "nobody"]);
    report("  hub, running", || first_frame(&machine, "broadcast"));
    wait.kill();
}

/// Stops the service, and has its socket start it again.
fn sample(machine: &Machine, service: &str, socket: &str) -> f64 {
    machine.systemctl(&format!("stop {service}"));
    first_frame(machine, socket)
}

fn first_frame(machine: &Machine, socket: &str) -> f64 {
    let printed = machine.dev(&format!("{INSIDE} connect $XDG_RUNTIME_DIR/waitbus/{socket}.sock"));
    printed.parse::<f64>().unwrap() / 1e6
}

fn report(what: &str, sample: impl FnMut() -> f64) {
    let mut found: Vec<_> = std::iter::repeat_with(sample).take(SAMPLES).collect();
    found.sort_unstable_by(f64::total_cmp);
    println!("{what:<24} {:>7.1} {:>7.1} {:>7.1}", found[0], found[SAMPLES / 2], found[SAMPLES - 1]);
}
