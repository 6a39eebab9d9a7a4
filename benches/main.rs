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

mod bus;
mod floor;
mod report;
mod targets;
mod wake;

use report::Report;

/// A question: its name, and how it is answered.
type Question = (&'static str, fn(&mut Report));

const QUESTIONS: &[Question] = &[("wake", wake::measure)];

/// What a process of this program does for another one: its name, and what it does with the rest of the arguments.
type Role = (&'static str, fn(&[String]));

const ROLES: &[Role] = &[("receive", bus::receive), ("pass", floor::pass), ("hop", floor::hop)];

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
        }
    }
    report.finish();
}
