//! A file that is written in a directory that is watched. A sample counts from the return of the `write` that changed
//! the file, which is when its sender notes the time; the file is closed at once, because that is what says that it is
//! whole.

use std::fs::File;
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::path::Path;

use waitbus::measure::{Latencies, Schedule, receiver};

use crate::bus::{Bus, role};
use crate::floor::{Frames, frame};
use crate::pace::warm_up;

/// The source `fs`, with so much quiet for each path before it is told. "0s" is the shortest that can be set: each file
/// is told when its writer has closed it, and whoever saves in several steps is told of each step.
pub fn waitbus(quiet: &str, rate: u64, samples: u64) -> Latencies {
    let bus = Bus::new();
    let directory = bus.path("watched");
    std::fs::create_dir(&directory).unwrap();
    bus.write("config/waitbus.toml", format!("[source.fs]\nquiet = \"{quiet}\"\n").as_bytes());
    let (_hub, _) = bus.start(&["hub"]);
    let (_source, _) = bus.start(&["source", "fs", directory.to_str().unwrap()]);
    let receiver =
        bus.receiver_of(samples + warm_up(samples), "{\"heartbeat\":false,\"event_types\":[\"fs_change\"]}", "name");
    let changed = write(&directory, rate, samples);
    let latencies = receiver.latencies_since(since(&changed), warm_up(samples)).unwrap();
    assert_eq!(latencies.len(), samples, "some are missing");
    latencies
}

/// Writes a file for each number when it is due; returns when each had been written.
fn write(directory: &Path, rate: u64, samples: u64) -> Vec<u64> {
    let schedule = Schedule::begin(rate);
    let change = |number| {
        let path = directory.join(format!("{number:09}"));
        schedule.wait_for(number);
        let mut file = File::create_new(path).unwrap();
        file.write_all(b"x").unwrap();
        receiver::now()
    };
    (0..samples + warm_up(samples)).map(change).collect()
}

fn since(changed: &[u64]) -> impl Fn(u64) -> u64 {
    |number| changed[usize::try_from(number).unwrap()]
}

/// A process that reads the kernel's event and writes a frame.
#[cfg(target_os = "linux")]
pub fn floor(rate: u64, samples: u64) -> Latencies {
    let watch = |directory: &Path| {
        let mut command = role("watch");
        command.arg(directory);
        command
    };
    let (frames, _) = Frames::start(samples, watch);
    let changed = write(&frames.directory().join("watched"), rate, samples);
    frames.latencies(since(&changed))
}

/// The role `watch DIRECTORY`: that process.
#[cfg(target_os = "linux")]
pub fn watch(arguments: &[String]) {
    use rustix::fs::inotify;

    let directory = Path::new(&arguments[0]);
    let watched = directory.join("watched");
    std::fs::create_dir(&watched).unwrap();
    let events = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&events, &watched, inotify::WatchFlags::CLOSE_WRITE).unwrap();
    let mut out = UnixStream::connect(directory.join("frames")).unwrap();
    println!("ready");
    let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
    let mut reader = inotify::Reader::new(&events, &mut buffer);
    loop {
        let event = reader.next().unwrap();
        // Only the end of the watch, with its directory, has no name.
        let Some(name) = event.file_name() else { return };
        let number = name.to_str().unwrap().parse().unwrap();
        out.write_all(&frame(number)).unwrap();
    }
}
