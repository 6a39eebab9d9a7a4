//! Counting what a process does, from its start to its end, all its threads together.
//!
//! Two tools, because each counts what the other does not see: strace the system calls, callgrind the instructions, and
//! with them the calls of the allocator, which the program takes from the C library under its own name. So the program
//! that is counted is the one that is shipped: nothing is built for counting, and nothing is built into it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use regex::Regex;

use crate::harness::{Bus, Process, program, works};

/// How often each thing was done, by its name.
pub type Counts = BTreeMap<String, u64>;

/// Who counts.
pub struct Meter {
    program: PathBuf,
    tool: Tool,
}

#[derive(Clone, Copy)]
enum Tool {
    Strace,
    Callgrind,
}

/// Counts system calls, of the program that is tested. Or the reason why that cannot be done here.
pub fn calls() -> Result<Meter, String> {
    known_processor()?;
    if !works(&["strace", "-D", "-f", "-o", "/dev/null", "true"]) {
        return Err("strace is missing, or may not trace".to_owned());
    }
    Ok(Meter { program: program().into(), tool: Tool::Strace })
}

/// Counts instructions and allocations, of the program that is shipped. Or the reason why that cannot be done here.
pub fn work() -> Result<Meter, String> {
    known_processor()?;
    let Some(program) = std::env::var_os("WAITBUS_TEST_RELEASE").map(PathBuf::from) else {
        return Err("WAITBUS_TEST_RELEASE names no release build of the program".to_owned());
    };
    assert!(program.is_file(), "WAITBUS_TEST_RELEASE: {} is no file", program.display());
    if !works(&["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "true"]) {
        return Err("valgrind is missing, or does not work".to_owned());
    }
    Ok(Meter { program, tool: Tool::Callgrind })
}

/// Other processors have other instructions, and other names for system calls.
fn known_processor() -> Result<(), String> {
    if cfg!(target_arch = "x86_64") { Ok(()) } else { Err("what is written down is of x86_64".to_owned()) }
}

impl Meter {
    /// What it counts, in a word.
    pub fn what(&self) -> &'static str {
        match self.tool {
            Tool::Strace => "calls",
            Tool::Callgrind => "work",
        }
    }

    /// Starts a verb that is counted. What it reads is a pipe.
    pub fn start(&self, bus: &Bus, arguments: &[&str]) -> Counted {
        let file = bus.root().join("counted");
        let out = file.to_str().unwrap();
        let wrapper = match self.tool {
            Tool::Strace => format!("strace -D -f -o {out}"),
            Tool::Callgrind => format!(
                "valgrind -q --tool=callgrind --fair-sched=yes --compress-strings=no --callgrind-out-file={out}"
            ),
        };
        let bare = bus.command(&[]);
        let mut wrapper = wrapper.split(' ');
        let mut command = Command::new(wrapper.next().unwrap());
        command.args(wrapper).arg(&self.program).args(arguments).env_clear();
        command.envs(bare.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(bus.root()).stdin(Stdio::piped());
        Counted { process: Process::start(command), tool: self.tool, file, begun: 0 }
    }
}

/// A process that is counted.
pub struct Counted {
    pub process: Process,
    tool: Tool,
    file: PathBuf,
    /// Bytes of the file that are not counted.
    begun: usize,
}

impl Counted {
    /// Leaves out what has been done so far by a process that sleeps: the starts of two processes differ, with a thousand
    /// subscribers by more than an event costs.
    pub fn begin(&mut self) {
        match self.tool {
            Tool::Strace => self.begun = usize::try_from(std::fs::metadata(&self.file).unwrap().len()).unwrap(),
            Tool::Callgrind => {
                let zero =
                    Command::new("callgrind_control").args(["-z", &self.process.child.id().to_string()]).output();
                let zero = zero.unwrap();
                let said = String::from_utf8_lossy(&zero.stdout);
                assert!(zero.status.success() && said.contains("OK"), "{zero:?}");
            }
        }
    }

    /// Waits for its end, and tells what it did.
    #[track_caller]
    pub fn end(mut self) -> Counts {
        // Its output ends with the tool that counts, so everything is written by then.
        self.process.end();
        let text = std::fs::read_to_string(&self.file).unwrap();
        match self.tool {
            Tool::Strace if self.begun > 0 => system_calls(&text[self.begun..]),
            Tool::Strace => system_calls(after_the_loader(&text)),
            Tool::Callgrind => work_done(&text),
        }
    }

    /// Asks it to stop, and tells what it did.
    #[track_caller]
    pub fn stop(self) -> Counts {
        self.process.signal("TERM");
        self.end()
    }
}

/// Calls that the allocator makes when it sees fit.
const MEMORY: [&str; 5] = ["brk", "madvise", "mmap", "mprotect", "munmap"];

/// What the loader does before Rust's runtime begins, whose first call is `poll`, is the C library's affair and differs
/// between its versions.
fn after_the_loader(trace: &str) -> &str {
    &trace[trace.find(" poll(").unwrap()..]
}

/// How often each system call was begun.
fn system_calls(trace: &str) -> Counts {
    static CALL: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^\d+ +(\w+)\(").unwrap());
    let mut counts = Counts::new();
    for call in trace.lines().filter_map(|line| Some(CALL.captures(line)?.extract::<1>().1[0])) {
        if !MEMORY.contains(&call) {
            // One call of two names, of which each version of the C library has its favourite.
            let call = if call == "newfstatat" { "fstat" } else { call };
            *counts.entry(call.to_owned()).or_default() += 1;
        }
    }
    counts
}

/// Names of the C library's allocator.
const ALLOCATOR: [&str; 5] = ["aligned_alloc", "calloc", "malloc", "posix_memalign", "realloc"];

/// Reads a profile of callgrind: the line `totals:`, and the calls to each function of the allocator (`cfn=` names who is
/// called, and the next line how often).
fn work_done(profile: &str) -> Counts {
    let (mut instructions, mut allocations, mut called) = (0, 0, "");
    for line in profile.lines() {
        if let Some(name) = line.strip_prefix("cfn=") {
            called = name;
        } else if let Some(calls) = line.strip_prefix("calls=") {
            if ALLOCATOR.contains(&called) {
                allocations += calls.split(' ').next().unwrap().parse::<u64>().unwrap();
            }
        } else if let Some(total) = line.strip_prefix("totals: ") {
            instructions = total.trim().parse().unwrap();
        }
    }
    assert!(
        instructions > 0 && allocations > 0,
        "a profile that tells nothing: {}",
        &profile[..profile.len().min(500)]
    );
    [("instructions".to_owned(), instructions), ("allocations".to_owned(), allocations)].into()
}
