//! What was measured on: everything that could change a figure, and nothing that says whose machine it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

/// Fewer samples than a result needs, to try something out.
const SAMPLES: &str = "WAITBUS_BENCH_SAMPLES";

/// Where results of this day and this machine go. A trial goes below the target directory, which is not committed.
pub fn directory() -> PathBuf {
    let day = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let results = if is_trial() {
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-trials")
    } else {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results")
    };
    results.join(format!("{day}-{}-{}-cores", slug(&cpu()), cores()))
}

pub fn is_trial() -> bool {
    std::env::var_os(SAMPLES).is_some_and(|samples| !samples.is_empty())
}

/// The commit of the program, marked if its sources are not exactly that.
pub fn commit() -> String {
    let commit = said("git", &["rev-parse", "--short=12", "HEAD"]);
    let changed = ["diff", "--quiet", "HEAD", "--", "src", "benches/*.rs", "Cargo.toml", "Cargo.lock"];
    let same = git(&changed).status().is_ok_and(|status| status.success());
    commit.map_or_else(|| "unknown".into(), |commit| if same { commit } else { commit + ", changed" })
}

pub fn environment(commit: &str) -> Value {
    let temporary = std::env::temp_dir();
    json!({
        "waitbus": env!("CARGO_PKG_VERSION"),
        "commit": commit,
        "trial": is_trial(),
        "taken": jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
        "kernel": said("uname", &["-s", "-r", "-m"]),
        "cpu": cpu(),
        "cores": cores(),
        "memory": memory().map(|bytes| format!("{} GiB", bytes >> 30)),
        // The log of each bus lies there.
        "filesystem": said("stat", &["-f", "-c", "%T", temporary.to_str().unwrap_or("/tmp")]),
        "rustc": said("rustc", &["--version"]),
    })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// In bytes.
fn memory() -> Option<u64> {
    let linux = || value_of(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal");
    let kibibytes = linux().and_then(|text| text.strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.map(|kibibytes| kibibytes * 1_024).or_else(|| said("sysctl", &["-n", "hw.memsize"])?.parse().ok())
}

fn cpu() -> String {
    let linux = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| value_of(&text, "model name"));
    let model = linux.or_else(|| said("sysctl", &["-n", "machdep.cpu.brand_string"]));
    model.unwrap_or_else(|| std::env::consts::ARCH.into())
}

/// The value of the first line `NAME : VALUE`.
fn value_of(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// What a program says, if there is one.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = if program == "git" { git(arguments) } else { Command::new(program) };
    if program != "git" {
        command.args(arguments);
    }
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
}

fn git(arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(env!("CARGO_MANIFEST_DIR")).args(arguments);
    command
}

/// A name for a file: `Intel(R) Xeon(R) Processor @ 2.90GHz` is `intel-xeon`.
fn slug(cpu: &str) -> String {
    let plain = cpu.to_lowercase().replace("(r)", "").replace("(tm)", "");
    let (model, _) = plain.split_once('@').unwrap_or((&plain, ""));
    let words = model.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<_> = words.filter(|word| !["", "cpu", "processor"].contains(word)).collect();
    words.join("-")
}
