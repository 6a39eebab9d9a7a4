//! How fast it is, one question per file: `cargo bench --bench waitbus [-- QUESTION …]`; benches/README.md has the
//! method, and benches/results what came out. `-- draw DIRECTORY` makes its table and plots anew.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and ends when it cannot measure"
)]
// Some questions are answered with what only Linux has: epoll, inotify, /proc.
#![cfg_attr(not(target_os = "linux"), allow(dead_code, unused_imports))]

#[cfg(target_os = "linux")]
mod activation;
mod bus;
#[cfg(target_os = "linux")]
mod crowd;
#[cfg(target_os = "linux")]
mod fanout;
mod files;
mod floor;
#[cfg(target_os = "linux")]
mod idle;
mod ingest;
mod mcp;
#[cfg(target_os = "linux")]
mod memory;
mod pace;
mod predicate;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod replay;
mod report;
#[cfg(target_os = "linux")]
mod selective;
mod startup;
mod targets;
#[cfg(target_os = "linux")]
mod versus;
mod wake;
mod webhook;

// The machines of the booted tests, whose harness has more than is needed here.
#[cfg(target_os = "linux")]
#[allow(dead_code)]
#[path = "../tests/it/harness.rs"]
mod harness;
#[cfg(target_os = "linux")]
#[allow(dead_code)]
#[path = "../tests/it/manager.rs"]
mod manager;
#[cfg(target_os = "linux")]
#[allow(dead_code)]
#[path = "../tests/it/booted"]
mod booted {
    pub mod machine;
    pub mod roots;
}

use report::Report;

/// A question: its name, and how it is answered.
type Question = (&'static str, fn(&mut Report));

/// In this order: what is idle comes last, when nothing else has anything left to do.
const QUESTIONS: &[Question] = &[
    ("wake", wake::measure),
    #[cfg(target_os = "linux")]
    ("fanout", fanout::measure),
    #[cfg(target_os = "linux")]
    ("selective", selective::measure),
    ("ingest", ingest::measure),
    #[cfg(target_os = "linux")]
    ("replay", replay::measure),
    #[cfg(target_os = "linux")]
    ("memory", memory::measure),
    ("predicate", predicate::measure),
    ("startup", startup::measure),
    ("mcp", mcp::measure),
    #[cfg(target_os = "linux")]
    ("activation", activation::measure),
    #[cfg(target_os = "linux")]
    ("polling", versus::polling::measure),
    #[cfg(target_os = "linux")]
    ("idle", idle::measure),
];

/// Questions that rivals answer as well, right after us.
const RIVALS: &[Question] = &[
    #[cfg(target_os = "linux")]
    ("wake", versus::wake),
    #[cfg(target_os = "linux")]
    ("ingest", versus::ingest),
    #[cfg(target_os = "linux")]
    ("startup", versus::startup),
];

/// What a process of this program does for another one: its name, and what it does with the rest of the arguments.
type Role = (&'static str, fn(&[String]));

const ROLES: &[Role] = &[
    ("receive", bus::receive),
    ("frames", floor::frames),
    ("hop", floor::hop),
    ("tell", floor::tell),
    ("accept", webhook::accept),
    #[cfg(target_os = "linux")]
    ("watch", files::watch),
    #[cfg(target_os = "linux")]
    ("crowd", crowd::crowd),
    #[cfg(target_os = "linux")]
    ("bystanders", crowd::bystanders),
    #[cfg(target_os = "linux")]
    ("hub-floor", fanout::hub),
    #[cfg(target_os = "linux")]
    ("drain", replay::drain),
    #[cfg(target_os = "linux")]
    ("connect", activation::connect),
    #[cfg(target_os = "linux")]
    ("answer", activation::answer),
    #[cfg(target_os = "linux")]
    ("rival", versus::receive),
];

fn main() {
    let mut arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.iter().any(|argument| argument == "--test") {
        return;
    }
    if let Some((_, role)) = ROLES.iter().find(|(name, _)| arguments.first().is_some_and(|first| first == name)) {
        arguments.remove(0);
        return role(&arguments);
    }
    if let [draw, directory] = &arguments[..]
        && draw == "draw"
    {
        return report::draw(directory.as_ref());
    }
    let unknown: Vec<_> = arguments.iter().filter(|asked| QUESTIONS.iter().all(|(name, _)| name != asked)).collect();
    assert!(
        unknown.is_empty(),
        "no such question: {unknown:?}; there are {:?}",
        QUESTIONS.iter().map(|(name, _)| name).collect::<Vec<_>>()
    );
    let mut report = Report::new();
    for (name, measure) in QUESTIONS {
        if arguments.is_empty() || arguments.iter().any(|asked| asked == name) {
            report.question(name);
            measure(&mut report);
            for (_, measure) in RIVALS.iter().filter(|(answered, _)| answered == name) {
                measure(&mut report);
            }
        }
    }
    report.finish();
}
