//! `waitbus prune`: trim the log from its oldest end, while everything runs.

use std::time::{Duration, SystemTime};

use clap::Args;

use super::exit::{Exit, Failure};
use super::output;
use super::time;
use crate::config::directories::Directories;
use crate::store::prune::Keep;
use crate::store::{LogPaths, Writer};

/// Remove the oldest events, while everything runs
///
/// At least one bound is needed; an event goes when any of them says so. Whoever resumes from a cursor that is gone is
/// told that events are missing.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Remove events that are older than this, such as `30d` or `12h`
    #[arg(long, value_name = "DURATION", value_parser = time::duration, required_unless_present_any = ["keep_rows", "keep_bytes"])]
    older_than: Option<Duration>,

    /// Keep at most this many events
    #[arg(long, value_name = "N")]
    keep_rows: Option<u64>,

    /// Keep the log at or below this many bytes
    #[arg(long, value_name = "BYTES")]
    keep_bytes: Option<u64>,

    /// Print a JSON object: `{"removed"}`
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, directories: &Directories) -> Result<Exit, Failure> {
    let keep = Keep { age: arguments.older_than, rows: arguments.keep_rows, bytes: arguments.keep_bytes };
    let paths = LogPaths::new(&directories.state);
    let mut removed = 0;
    // Where there is no log there is nothing to remove, and none is made.
    if paths.database().exists() {
        let mut writer = Writer::open(&paths)?;
        let now = SystemTime::now();
        loop {
            match writer.prune_step(&keep, now)? {
                0 => break,
                rows => removed += rows,
            }
            writer.checkpoint_if_due()?;
        }
    }
    let text = if arguments.json {
        serde_json::json!({"removed": removed}).to_string()
    } else {
        format!("{removed} events removed")
    };
    let _ = output::line(&text);
    Ok(Exit::Success)
}
