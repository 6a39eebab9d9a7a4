//! How fast it is, one question per file: `cargo bench --bench waitbus [-- QUESTION …]`; benches/README.md has the
//! method, and benches/results what came out.
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

mod bus;
mod floor;
mod pace;
mod process;
mod report;
mod versus;
mod wake;

use report::Report;

/// A question: its name, and how it is answered.
type Question = (&'static str, fn(&mut Report));

const QUESTIONS: &[Question] = &[("wake", wake::measure), ("polling", versus::polling::measure)];

/// Questions that rivals answer as well, right after us.
const RIVALS: &[Question] = &[("wake", versus::wake), ("startup", versus::startup), ("ingest", versus::ingest)];

/// What a process of this program does for another one: its name, and what it does with the rest of the arguments.
type Role = (&'static str, fn(&[String]));

const ROLES: &[Role] = &[("receive", bus::receive), ("hop", floor::hop), ("rival", versus::receive)];

fn main() {
    let mut arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.iter().any(|argument| argument == "--test") {
        return;
    }
    if let Some((_, role)) = ROLES.iter().find(|(name, _)| arguments.first().is_some_and(|first| first == name)) {
        arguments.remove(0);
        return role(&arguments);
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
