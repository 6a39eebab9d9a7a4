//! What comes out: printed as it is measured, written down raw after each question, and shown from what was written.

mod machine;
mod plot;
mod svg;
mod table;
pub mod written;

use std::fmt;
use std::path::{Path, PathBuf};

use waitbus::measure::ratio::number;
use waitbus::measure::{Estimate, Latencies};

use written::{Answers, Figure, Row};

pub struct Report {
    directory: PathBuf,
    commit: String,
    asked: Option<(&'static str, Vec<Row>)>,
}

impl Report {
    pub fn new() -> Report {
        Report { directory: machine::directory(), commit: machine::commit(), asked: None }
    }

    /// What is measured from here on answers this question.
    pub fn question(&mut self, name: &'static str) {
        self.write();
        self.asked = Some((name, Vec::new()));
        println!("\n{name}");
    }

    /// Says how long something took. `what` was done: `library emit to recv, 100/s`, the pace included; `who` did it:
    /// `waitbus`, `floor: …`, or a rival with its version and durability.
    pub fn latencies(&mut self, what: impl Into<String>, who: impl Into<String>, latencies: Latencies) {
        self.row(what.into(), who.into(), Figure::Latencies(latencies));
    }

    /// Says a number that has no distribution: bytes, events a second, wake-ups.
    pub fn number(&mut self, what: impl Into<String>, who: impl Into<String>, value: f64, unit: &'static str) {
        self.row(what.into(), who.into(), Figure::Number { value, unit: unit.into() });
    }

    /// Says why somebody could not be measured here.
    pub fn skipped(&mut self, what: impl Into<String>, who: impl Into<String>, reason: impl fmt::Display) {
        self.row(what.into(), who.into(), Figure::Skipped(reason.to_string()));
    }

    fn row(&mut self, what: String, who: String, figure: Figure) {
        println!("{what:<50} {who:<34} {figure}");
        let (_, rows) = self.asked.as_mut().expect("main asks before it has anything measured");
        rows.push(Row { what, who, figure });
    }

    /// Shows everything that was written.
    pub fn finish(mut self) {
        self.write();
        draw(&self.directory);
        println!("\n{}", self.directory.join("table.md").display());
    }

    /// Writes the question down that was asked last, so that a run that breaks off later has it.
    fn write(&mut self) {
        if let Some((question, rows)) = self.asked.take() {
            let answers = Answers { question: question.into(), commit: self.commit.clone(), rows };
            written::write(&self.directory, &answers);
            written::write_environment(&self.directory, &machine::environment(&self.commit));
        }
    }
}

/// Makes the table and the plots of a directory anew, from its raw data.
pub fn draw(directory: &Path) {
    let results = written::read(directory);
    let pictures = plot::all(&results.answers);
    for path in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if path.extension().is_some_and(|extension| extension == "svg") {
            std::fs::remove_file(path).unwrap();
        }
    }
    for picture in &pictures {
        std::fs::write(directory.join(&picture.file), &picture.svg).unwrap();
    }
    std::fs::write(directory.join("table.md"), table::of(&results, &pictures)).unwrap();
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Figure::Latencies(latencies) => {
                for quantile in [0.5, 0.9, 0.99] {
                    if quantile <= latencies.furthest() {
                        let Estimate { low, at, high } = latencies.at(quantile);
                        write!(f, "{:>8} µs [{}, {}]", at / 1_000, low / 1_000, high / 1_000)?;
                    }
                }
                write!(f, "  n={}", latencies.len())
            }
            Figure::Number { value, unit } => write!(f, "{} {unit}", number(*value)),
            Figure::Skipped(reason) => write!(f, "skipped: {reason}"),
        }
    }
}
