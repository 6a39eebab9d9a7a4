//! The table: who took how long, against the floor and against us, and what was to be reached.

use std::fmt::Write;

use serde_json::Value;

use super::plot::Picture;
use super::written::{Answers, Figure, Results, Row};
use crate::targets::{self, Target};
use waitbus::measure::ratio::{Ratio, float, interval, number};

pub fn of(results: &Results, pictures: &[Picture<'_>]) -> String {
    let mut text = String::from("# Results\n\n");
    let environment = &results.environment;
    if environment["trial"] == true {
        text += "**A trial** with fewer samples than a result needs: it shows that measuring works, and no more.\n\n";
    }
    if !results.missing.is_empty() {
        let _ = writeln!(text, "Not asked: {}.\n", results.missing.join(", "));
    }
    text += "| | |\n|---|---|\n";
    let named = ["waitbus", "commit", "taken", "cpu", "cores", "memory", "kernel", "filesystem", "rustc"];
    for name in named {
        let value = match &environment[name] {
            Value::String(text) => text.clone(),
            Value::Null => "unknown".into(),
            other => other.to_string(),
        };
        let _ = writeln!(text, "| {name} | {value} |");
    }
    text += "\nTimes are percentiles with their 95 % intervals, and ratios have the ends that follow from those. \
             [benches/README.md](../../README.md) says what is measured and how.\n\n";
    reached(&mut text, &results.answers);
    pictured(&mut text, pictures, None, None);
    for answer in &results.answers {
        let question = Some(&*answer.question);
        let _ = writeln!(text, "## {}\n", answer.question);
        if environment["commit"] != *answer.commit {
            let _ = writeln!(text, "Measured at commit {}.\n", answer.commit);
        }
        pictured(&mut text, pictures, question, None);
        for what in answer.whats() {
            let rows: Vec<_> = answer.of(what).collect();
            let _ = writeln!(text, "### {what}\n");
            latencies(&mut text, &rows);
            numbers(&mut text, &rows);
            skipped(&mut text, &rows);
            pictured(&mut text, pictures, question, Some(what));
        }
    }
    text.trim_end().to_owned() + "\n"
}

/// The pictures that belong here.
fn pictured(text: &mut String, pictures: &[Picture<'_>], question: Option<&str>, what: Option<&str>) {
    for picture in pictures.iter().filter(|picture| picture.question == question && picture.what == what) {
        let _ = writeln!(*text, "![{}]({})\n", what.or(question).unwrap_or("all medians"), picture.file);
    }
}

/// What was to be reached, and what of it was.
fn reached(text: &mut String, answers: &[Answers]) {
    *text += "## To reach\n\n| work | to reach | measured | |\n|---|---|---|---|\n";
    for target in targets::ALL {
        let Target { work, reach, .. } = target;
        let found = target.measured(answers);
        if found.is_empty() {
            let _ = writeln!(*text, "| {work} | {reach} | | not measured |");
        }
        for targets::Reached { what, measured, outcome } in found {
            let _ = writeln!(*text, "| {work} ({what}) | {reach} | {measured} | {} |", verdict(outcome));
        }
    }
    text.push('\n');
}

fn verdict(outcome: targets::Outcome) -> &'static str {
    match outcome {
        targets::Outcome::Met => "met",
        targets::Outcome::Missed => "**not met**",
        targets::Outcome::Undecided => "**undecided**",
    }
}

fn latencies(text: &mut String, rows: &[&Row]) {
    let timed: Vec<_> = rows.iter().filter_map(|row| Some((row, row.latencies()?))).collect();
    if timed.is_empty() {
        return;
    }
    let one = |is: fn(&Row) -> bool| timed.iter().find(|(row, _)| is(row)).map(|(_, latencies)| *latencies);
    let (floor, ours) = (one(Row::is_floor), one(Row::is_ours));
    *text += "| who | p50 | p90 | p99 | samples | p50 ÷ floor | p50 ÷ waitbus | p99 ÷ waitbus |\n|---|---|---|---|---|---|---|---|\n";
    for (row, latencies) in &timed {
        let _ = write!(*text, "| {} |", row.who);
        for quantile in [0.5, 0.9, 0.99] {
            let told = quantile <= latencies.furthest();
            let _ = write!(*text, " {} |", if told { interval(latencies.at(quantile)) } else { String::new() });
        }
        let _ = write!(*text, " {} |", number(float(latencies.len())));
        for (other, quantile) in [(floor, 0.5), (ours, 0.5), (ours, 0.99)] {
            let told = other.filter(|other| {
                !std::ptr::eq(*other, *latencies) && quantile <= other.furthest().min(latencies.furthest())
            });
            let ratio = told.map(|other| Ratio::of(latencies.at(quantile), other.at(quantile)).to_string());
            let _ = write!(*text, " {} |", ratio.unwrap_or_default());
        }
        text.push('\n');
    }
    text.push('\n');
}

fn numbers(text: &mut String, rows: &[&Row]) {
    let counted: Vec<_> = rows.iter().filter(|row| row.number().is_some()).collect();
    if counted.is_empty() {
        return;
    }
    let ours = counted.iter().find(|row| row.is_ours()).and_then(|row| row.number());
    *text += "| who | figure | ÷ waitbus |\n|---|---|---|\n";
    for row in counted {
        let Figure::Number { value, unit } = &row.figure else { continue };
        let ratio = ours.filter(|ours| !row.is_ours() && *ours > 0.0).map(|ours| number(value / ours));
        let _ = writeln!(*text, "| {} | {} {unit} | {} |", row.who, number(*value), ratio.unwrap_or_default());
    }
    text.push('\n');
}

fn skipped(text: &mut String, rows: &[&Row]) {
    let mut any = false;
    for row in rows {
        if let Figure::Skipped(reason) = &row.figure {
            let _ = writeln!(*text, "- {}: skipped, {reason}", row.who);
            any = true;
        }
    }
    if any {
        text.push('\n');
    }
}
