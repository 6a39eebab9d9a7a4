//! How long whoever connects first has to wait, on each systemd that is here: as root, and with the root filesystems of
//! the booted tests. From `connect` to the first frame, in the machine and as its user, with the service stopped before
//! each sample. Beside it stands the floor of the same run: a service that does nothing but answer, started by the same
//! manager, with the hub's sandbox and without.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use waitbus::measure::Latencies;
use waitbus::sys::activation::Passed;

use crate::booted::machine::Machine;
use crate::booted::roots;
use crate::pace::{samples, warm_up};
use crate::report::Report;

/// This program, inside the machine.
const INSIDE: &str = "/opt/bench";
const SAMPLES: u64 = 15;
const FRAME: &[u8] = b"\0\0\0\x02{}";

pub fn measure(report: &mut Report) {
    match roots::here() {
        Ok(roots) => roots.for_each(|(suite, root)| measure_on(report, suite, root)),
        Err(reason) => report.skipped("connect to first frame, cold", "waitbus", reason),
    }
}

/// The role `connect SOCKET`: one subscription, and the time until its first frame in ns.
pub fn connect(arguments: &[String]) {
    let start = Instant::now();
    let mut stream = UnixStream::connect(&arguments[0]).unwrap();
    stream.write_all(FRAME).unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    println!("{}", start.elapsed().as_nanos());
}

/// The role `answer`: the service of the floor.
pub fn answer(_: &[String]) {
    let socket = Passed::take().unwrap().broadcast.unwrap();
    socket.set_nonblocking(false).unwrap();
    let (mut stream, _) = socket.accept().unwrap();
    stream.read_exact(&mut [0; FRAME.len()]).unwrap();
    stream.write_all(FRAME).unwrap();
}

fn measure_on(report: &mut Report, suite: &'static str, root: &Path) {
    let machine = Machine::boot(suite, root);
    std::fs::copy(std::env::current_exe().unwrap(), machine.path(INSIDE)).unwrap();
    machine.enable();
    let version = machine.dev("systemctl --version | head -n 1");
    let version = version.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let cold = format!("connect to first frame, cold, {version}");
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
        let latencies = each(|| sample(&machine, &format!("{name}.service"), name));
        report.latencies(&*cold, format!("floor: a service that answers, {name}"), latencies);
    }
    report.latencies(cold, "waitbus", each(|| sample(&machine, "waitbus.service", "broadcast")));
    let mut wait = machine.wait(&["--source", "nobody"]);
    let running = format!("connect to first frame, running, {version}");
    report.latencies(running, "waitbus", each(|| first_frame(&machine, "broadcast")));
    wait.kill();
}

fn each(mut sample: impl FnMut() -> u64) -> Latencies {
    let samples = samples(SAMPLES);
    for _ in 0..warm_up(samples) {
        sample();
    }
    let mut latencies = Latencies::default();
    (0..samples).for_each(|_| latencies.record(sample()));
    latencies
}

/// Stops the service, and has its socket start it again.
fn sample(machine: &Machine, service: &str, socket: &str) -> u64 {
    machine.systemctl(&format!("stop {service}"));
    first_frame(machine, socket)
}

/// In nanoseconds.
fn first_frame(machine: &Machine, socket: &str) -> u64 {
    machine.dev(&format!("{INSIDE} connect $XDG_RUNTIME_DIR/waitbus/{socket}.sock")).parse().unwrap()
}
