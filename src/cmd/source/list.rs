//! `waitbus source list`: every source, how it is, and what is missing.

use std::time::SystemTime;

use clap::Args;
use serde_json::json;

use super::overview::{Here, Row, rows};
use crate::client::status::hub;
use crate::cmd::exit::{Exit, Failure};
use crate::cmd::output;
use crate::config::directories::Directories;
use crate::config::settings::Settings;
use crate::model::text::one_line;

/// Say which sources there are, how each is, and what is missing for the rest
///
/// Those of waitbus itself, those of waitbus.toml, and those that arrive otherwise: by webhook, by a plugin, or from a
/// program that announces itself. Starts nothing, and works without a hub and without a service manager.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print one JSON object for each
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments, directories: &Directories) -> Result<Exit, Failure> {
    let hub = hub(directories).await.map_err(Failure::usage)?;
    let settings = Settings::load(directories).map_err(Failure::usage)?;
    let rows = rows(&Here { directories, hub: &hub, settings: &settings });
    let lines = if arguments.json { rows.iter().map(as_json).collect() } else { as_table(&rows, SystemTime::now()) };
    // A reader that has gone has read enough.
    let _ = lines.iter().try_for_each(|line| output::line(line));
    Ok(Exit::Success)
}

fn as_json(row: &Row) -> String {
    let since = row.since().and_then(|since| jiff::Timestamp::try_from(since).ok());
    json!({
        "source": row.source,
        "by": row.by.name(),
        "state": row.state(),
        "since": since.map(|since| since.to_string()),
        "reason": row.reason(),
        "section": row.section,
        "unit": row.service.as_ref().map(|unit| json!({"enabled": unit.enabled, "active": unit.active})),
        "secret": row.secret.map(|(known, set)| json!({"name": known.name, "set": set})),
        "seen": row.seen,
        "next": row.next(),
    })
    .to_string()
}

/// Columns of what is short, and at the end what may be long.
fn as_table(rows: &[Row], now: SystemTime) -> Vec<String> {
    let state = |row: &Row| match row.since().and_then(|since| now.duration_since(since).ok()) {
        Some(age) => format!("{} for {}", row.state(), rough(age.as_secs())),
        None => row.state(),
    };
    let cells: Vec<_> = rows.iter().map(|row| [one_line(&row.source), row.by.name().to_owned(), state(row)]).collect();
    let heads = ["SOURCE", "BY", "STATE"].map(str::to_owned);
    let width = |column: usize| cells.iter().chain([&heads]).map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let line = |[source, by, state]: &[String; 3], rest: &str| {
        let [one, two, three] = widths;
        format!("{source:one$}  {by:two$}  {state:three$}  {rest}").trim_end().to_owned()
    };
    let rest = |row: &Row| match (row.reason(), row.next()) {
        (Some(reason), Some(next)) => one_line(&format!("{reason}; {next}")),
        (Some(reason), None) => one_line(reason),
        (None, next) => one_line(&next.unwrap_or_default()),
    };
    let lines = rows.iter().zip(&cells).map(|(row, cells)| line(cells, &rest(row)));
    [line(&heads, "NEXT")].into_iter().chain(lines).collect()
}

/// A duration in its largest unit.
fn rough(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_told_in_its_largest_unit() {
        assert_eq!(
            [0, 59, 60, 3_599, 3_600, 86_399, 86_400].map(rough),
            ["0 s", "59 s", "1 min", "59 min", "1 h", "23 h", "1 d"]
        );
    }
}
