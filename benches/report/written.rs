//! The raw data: one file of JSON for each question, and one for the machine.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use waitbus::measure::Latencies;

/// A directory of results, as it is read back.
pub struct Results {
    pub environment: Value,
    /// In the order in which the program asks.
    pub answers: Vec<Answers>,
    /// Questions of which nothing was written.
    pub missing: Vec<&'static str>,
}

#[derive(Serialize, Deserialize)]
pub struct Answers {
    pub question: String,
    /// The version that was measured, by its commit.
    pub commit: String,
    pub rows: Vec<Row>,
}

impl Answers {
    /// What was done, each once and in its order.
    pub fn whats(&self) -> Vec<&str> {
        let mut whats: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !whats.contains(&&*row.what) {
                whats.push(&row.what);
            }
        }
        whats
    }

    pub fn of<'a>(&'a self, what: &'a str) -> impl Iterator<Item = &'a Row> {
        self.rows.iter().filter(move |row| row.what == what)
    }
}

/// One line of a table.
#[derive(Serialize, Deserialize)]
pub struct Row {
    pub what: String,
    pub who: String,
    #[serde(flatten)]
    pub figure: Figure,
}

impl Row {
    pub fn is_ours(&self) -> bool {
        self.who == "waitbus"
    }

    pub fn is_floor(&self) -> bool {
        self.who.starts_with("floor")
    }

    pub fn latencies(&self) -> Option<&Latencies> {
        if let Figure::Latencies(latencies) = &self.figure { Some(latencies) } else { None }
    }

    pub fn number(&self) -> Option<f64> {
        if let Figure::Number { value, .. } = self.figure { Some(value) } else { None }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Pairs of nanoseconds and how many samples took that long.
    Latencies(#[serde(with = "histogram")] Latencies),
    Number {
        value: f64,
        unit: String,
    },
    Skipped(String),
}

mod histogram {
    use serde::{Deserialize, Deserializer, Serializer};
    use waitbus::measure::Latencies;

    pub fn serialize<S: Serializer>(latencies: &Latencies, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(latencies.counts())
    }

    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Latencies, D::Error> {
        Vec::<(u64, u64)>::deserialize(from).map(Latencies::from_counts)
    }
}

/// A row is a line, so that two results can be compared by lines.
pub fn write(directory: &Path, answers: &Answers) {
    fs::create_dir_all(directory).unwrap();
    let rows: Vec<_> = answers.rows.iter().map(|row| serde_json::to_string(row).unwrap()).collect();
    let Answers { question, commit, .. } = answers;
    let text =
        format!("{{\"question\": {question:?}, \"commit\": {commit:?}, \"rows\": [\n{}\n]}}\n", rows.join(",\n"));
    fs::write(directory.join(format!("{question}.json")), text).unwrap();
}

pub fn write_environment(directory: &Path, environment: &Value) {
    let text = serde_json::to_string_pretty(environment).unwrap();
    fs::write(directory.join("environment.json"), text + "\n").unwrap();
}

pub fn read(directory: &Path) -> Results {
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let environment = serde_json::from_str(&read(&directory.join("environment.json"))).unwrap();
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let files = files.filter(|path| path.file_name().is_some_and(|name| name != "environment.json"));
    let mut answers: Vec<Answers> = files.map(|path| serde_json::from_str(&read(&path)).unwrap()).collect();
    let asked_as = |question: &str| crate::QUESTIONS.iter().position(|(name, _)| *name == question);
    answers.sort_by_key(|answer| (asked_as(&answer.question).unwrap_or(usize::MAX), answer.question.clone()));
    let names = crate::QUESTIONS.iter().map(|(name, _)| *name);
    let missing = names.filter(|name| answers.iter().all(|answer| answer.question != *name)).collect();
    Results { environment, answers, missing }
}
