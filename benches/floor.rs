//! What the same work costs without the program: the same commit of the same row, and the same hops between processes.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::SystemTime;

use waitbus::measure::{Latencies, Receiver, Schedule, Seen, receiver, warm_up};
use waitbus::store::{LogPaths, Writer};

use crate::bus::{draft, role};

/// Two raw hops, with one commit of the row before the first.
pub fn commit_and_two_hops(rate: u64, samples: u64) -> Latencies {
    let directory = tempfile::tempdir().unwrap();
    let total = samples + warm_up(samples);
    let receiver = hops(directory.path(), total);
    let mut writer = Writer::open(&LogPaths::new(directory.path())).unwrap();
    let mut bell = UnixStream::connect(directory.path().join("bell")).unwrap();
    let schedule = Schedule::begin(rate);
    for number in 0..total {
        schedule.wait_for(number);
        writer.append(&draft(number), SystemTime::now()).unwrap();
        bell.write_all(&number.to_be_bytes()).unwrap();
    }
    receiver.latencies(&schedule, warm_up(samples)).unwrap()
}

/// Starts a process that passes on what comes to the socket `bell`, as a frame, to a process that receives it.
fn hops(directory: &std::path::Path, total: u64) -> Receiver {
    Receiver::start(role("hop").arg(directory).arg(total.to_string())).unwrap()
}

/// The role `hop DIRECTORY COUNT`: both of these processes. The one that hops is the child, because the one that
/// receives has to talk to whoever has started it.
pub fn hop(arguments: &[String]) {
    let directory = std::path::Path::new(&arguments[0]);
    let total: usize = arguments[1].parse().unwrap();
    let frames = directory.join("frames");
    if let Some("pass") = arguments.get(2).map(String::as_str) {
        let bell = UnixListener::bind(directory.join("bell")).unwrap();
        let mut out = UnixStream::connect(frames).unwrap();
        out.write_all(&[0]).unwrap();
        let mut bell = bell.accept().unwrap().0;
        let mut frame = vec![b'x'; 604];
        let mut number = [0; 8];
        while bell.read_exact(&mut number).is_ok() {
            frame[..8].copy_from_slice(&number);
            out.write_all(&frame).unwrap();
        }
        return;
    }
    let listener = UnixListener::bind(&frames).unwrap();
    let mut passing = role("hop").args(arguments).arg("pass").spawn().unwrap();
    let mut stream = listener.accept().unwrap().0;
    stream.read_exact(&mut [0]).unwrap();
    let mut out = std::io::stdout();
    Seen::ready(&mut out).unwrap();
    let mut seen = Seen::expecting(total);
    let mut frame = vec![0; 604];
    for _ in 0..total {
        stream.read_exact(&mut frame[..4]).unwrap();
        stream.read_exact(&mut frame[4..]).unwrap();
        let at = receiver::now();
        seen.note(u64::from_be_bytes(frame[..8].try_into().unwrap()), at);
    }
    seen.tell(&mut out).unwrap();
    passing.wait().unwrap();
}
