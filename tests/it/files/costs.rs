//! What watching costs, and what happens when there is too much of it.

use std::fs;
use std::path::PathBuf;

use super::Watched;
use crate::harness::{Process, skip, works};

/// How many watches a process has.
fn watches(process: &Process) -> usize {
    let directory = PathBuf::from(format!("/proc/{}/fdinfo", process.child.id()));
    let infos =
        fs::read_dir(directory).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap_or_default());
    infos.map(|info| info.lines().filter(|line| line.starts_with("inotify ")).count()).sum()
}

#[test]
fn ignored_files_are_neither_watched_nor_looked_at() {
    let name = "ignored_files_are_neither_watched_nor_looked_at";
    let mut watched = Watched::with("", |directory| {
        fs::write(directory.join(".gitignore"), "node_modules/\n").unwrap();
        fs::create_dir(directory.join("src")).unwrap();
        for n in 0..500 {
            fs::create_dir_all(directory.join(format!("node_modules/p{n}"))).unwrap();
            for m in 0..20 {
                fs::write(directory.join(format!("node_modules/p{n}/f{m}")), "").unwrap();
            }
        }
    });
    assert_eq!(watched.told(), [""; 0]);
    // The directory above, the directory itself, and `src`.
    assert_eq!(watches(&watched.source), 3);
    fs::write(watched.path("node_modules/p1/f1"), "x").unwrap();
    assert_eq!(watched.told(), [""; 0]);
    watched.source.stop();
    if !works(&["strace", "-o", "/dev/null", "true"]) {
        return skip(name, "strace is missing, or may not trace");
    }
    let trace = watched.bus.root().join("trace");
    let wrapper = ["strace", "-D", "-f", "-o", trace.to_str().unwrap(), "-e", "trace=file"];
    watched.source = Process::start(watched.bus.wrapped(&wrapper, &["source", "fs"]));
    watched.source.ready();
    assert_eq!(watched.told(), [""; 0]);
    watched.source.stop();
    let trace = fs::read_to_string(trace).unwrap();
    assert!(trace.contains("watched/src"), "{trace}");
    assert_eq!(trace.lines().filter(|line| line.contains("node_modules/")).count(), 0);
}

#[test]
fn a_burst_is_told_whole_and_in_order() {
    const FILES: usize = 10_000;
    let mut watched = Watched::new();
    watched.shell(&format!("mkdir d; for ((n = 0; n < {FILES}; n++)); do echo x >d/$n; done"));
    let told = watched.told();
    assert_eq!(told.len(), FILES + 1);
    assert_eq!(told[0], "create d");
    watched.shell("rm -r d");
    let told = watched.told();
    assert_eq!(told.len(), FILES + 1);
    assert_eq!(told[FILES], "delete d");
}

/// The kernel keeps 16,384 hints for a process. What it drops is found by looking.
#[test]
fn what_the_kernel_drops_is_found_and_said() {
    const FILES: usize = 12_000;
    let mut watched = Watched::new();
    fs::create_dir(watched.path("d")).unwrap();
    assert_eq!(watched.told(), ["create d"]);
    watched.source.signal("STOP");
    // Three hints for each.
    watched.shell(&format!("for ((n = 0; n < {FILES}; n++)); do echo x >d/$n; done; rm d/1; mkdir d/e; echo x >d/e/f"));
    watched.source.signal("CONT");
    watched.source.said("more has changed at once than the kernel remembers");
    let mut found = 0;
    let mut rescanned = 0;
    while found < FILES {
        let fields = watched.event();
        found += usize::from(fields["is_directory"] == false);
        rescanned += usize::from(fields["rescan"] == true);
    }
    assert!(rescanned > 0);
    watched.source.said("sees again");
    assert_eq!(watched.told(), [""; 0], "each once");
}

#[test]
fn a_source_at_rest_is_not_woken_by_what_others_say() {
    let mut watched = Watched::new();
    assert_eq!(watched.told(), [""; 0]);
    let woken = |source: &Process| -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", source.child.id())).unwrap();
        let read = |task: fs::DirEntry| fs::read_to_string(task.path().join("status")).unwrap();
        let lines = tasks.flat_map(|task| read(task.unwrap()).lines().map(str::to_owned).collect::<Vec<_>>());
        let counts = lines.filter_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse::<u64>().ok());
        counts.sum()
    };
    let before = woken(&watched.source);
    assert!(before > 0);
    for n in 0..100 {
        watched.bus.emit("deploy", n);
    }
    // Its own last commit may still be on its way to rest.
    assert!(woken(&watched.source) - before < 10);
}
