//! What the same work costs without the program: the same commit of the same row, and the same hops between processes.

use waitbus::measure::{Latencies, Pace, Progress, floor};

use crate::bus::role;

/// Two raw hops, with one commit of the row before the first.
pub fn commit_and_two_hops(rate: u64, samples: u64) -> Latencies {
    let directory = tempfile::tempdir().unwrap();
    let (path, pace) = (directory.path(), Pace { rate, samples });
    floor::commit_and_two_hops(path, path, pace, &role, &Progress::default()).unwrap()
}

/// The role `pass DIRECTORY`.
pub fn pass(arguments: &[String]) {
    floor::pass(arguments[0].as_ref(), &mut std::io::stdout()).unwrap();
}

/// The role `hop DIRECTORY COUNT`.
pub fn hop(arguments: &[String]) {
    floor::hop(arguments[0].as_ref(), arguments[1].parse().unwrap(), &mut std::io::stdout()).unwrap();
}
