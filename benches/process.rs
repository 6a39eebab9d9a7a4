//! What the kernel tells of a process, in /proc. Where there is none, nothing can be told.

use std::fs;
use std::path::PathBuf;

/// A number of `/proc/PID/status`: `VmRSS` and `RssAnon` in KiB, `VmHWM` for the largest that it has been.
pub fn status(pid: u32, name: &str) -> u64 {
    number(&fs::read_to_string(of(pid).join("status")).unwrap(), name)
}

/// How often all threads of a process have gone to sleep and so were woken again.
pub fn switches(pid: u32) -> u64 {
    tasks(pid).map(|task| number(&fs::read_to_string(task.join("status")).unwrap(), "voluntary_ctxt_switches")).sum()
}

/// The processor time of all threads that it has now, in nanoseconds.
pub fn processor_time(pid: u32) -> u64 {
    let time = |task: PathBuf| {
        let text = fs::read_to_string(task.join("schedstat")).unwrap();
        text.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    tasks(pid).map(time).sum()
}

/// Whether there is anything to be told here.
pub fn can_tell() -> Result<(), &'static str> {
    let there = fs::exists("/proc/self/schedstat").is_ok_and(|there| there);
    if there { Ok(()) } else { Err("there is no /proc here that tells of processes") }
}

fn of(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}

fn tasks(pid: u32) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(of(pid).join("task")).unwrap().map(|task| task.unwrap().path())
}

fn number(status: &str, name: &str) -> u64 {
    let line = status.lines().find(|line| line.split_once(':').is_some_and(|(key, _)| key == name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
