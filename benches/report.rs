//! What comes out: printed as it is measured, and kept with the raw histograms.

use std::fmt;

use waitbus::measure::{Estimate, Latencies};

/// One line of a table.
pub struct Row {
    /// The question that it answers.
    pub question: &'static str,
    /// What was done: `library emit to recv, 100/s`.
    pub what: String,
    /// By whom: `waitbus`, `floor`, or a rival with its version and durability.
    pub who: String,
    pub figure: Figure,
}

pub enum Figure {
    Latencies(Latencies),
    /// A number that has no distribution: bytes, events a second, wake-ups.
    Number {
        value: f64,
        unit: &'static str,
    },
    /// Why it could not be measured here.
    Skipped(String),
}

pub struct Report {
    question: &'static str,
    rows: Vec<Row>,
}

impl Report {
    pub fn new() -> Report {
        Report { question: "", rows: Vec::new() }
    }

    pub fn question(&mut self, name: &'static str) {
        self.question = name;
        println!("\n{name}");
    }

    pub fn latencies(&mut self, what: impl Into<String>, who: impl Into<String>, latencies: Latencies) {
        self.row(what.into(), who.into(), Figure::Latencies(latencies));
    }

    pub fn number(&mut self, what: impl Into<String>, who: impl Into<String>, value: f64, unit: &'static str) {
        self.row(what.into(), who.into(), Figure::Number { value, unit });
    }

    pub fn skipped(&mut self, what: impl Into<String>, who: impl Into<String>, reason: impl fmt::Display) {
        self.row(what.into(), who.into(), Figure::Skipped(reason.to_string()));
    }

    fn row(&mut self, what: String, who: String, figure: Figure) {
        println!("{what:<50} {who:<34} {figure}");
        self.rows.push(Row { question: self.question, what, who, figure });
    }

    /// Writes everything down.
    pub fn finish(self) {
        drop(self.rows);
    }
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
            Figure::Number { value, unit } => write!(f, "{value:>10.1} {unit}"),
            Figure::Skipped(reason) => write!(f, "skipped: {reason}"),
        }
    }
}
