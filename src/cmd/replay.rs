//! `waitbus replay`: what has happened, from the log, without a hub.

use std::ops::ControlFlow;

use clap::Args;

use super::conditions::Conditions;
use super::exit::{Exit, Failure};
use super::output;
use super::time::{self, When};
use crate::config::directories::Directories;
use crate::model::event_frame::event_body;
use crate::model::filter::Filter;
use crate::model::frame::GapReason;
use crate::model::id::Seq;
use crate::model::limits::PAGE_ROWS;
use crate::model::row::{Resolved, Row};
use crate::store::{LogPaths, Reader, StoreError};

/// Print the log from a point on, oldest first, then stop
///
/// Reads the log itself: no hub is needed and none is started. What cannot be read is named on standard error, and the
/// exit code is then 3.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    conditions: Conditions,

    /// Where to begin: `10m` (ago), an RFC 3339 time, epoch seconds, or a cursor; without it at the oldest event there is
    #[arg(long, value_name = "WHEN", value_parser = time::when)]
    since: Option<When>,

    /// Print each event as one JSON object with its cursor, instead of its summary
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, directories: &Directories) -> Result<Exit, Failure> {
    let filter = arguments.conditions.subscribe()?.filter().map_err(Failure::usage)?;
    let reader = match Reader::open(&LogPaths::new(&directories.state)) {
        Err(StoreError::Missing(_)) => return Ok(Exit::Success),
        other => other?,
    };
    let start = match arguments.since {
        Some(when) => reader.resolve(when.resolve(directories)?)?,
        // All that there is; what was pruned is nobody's question.
        None => Resolved { position: reader.beginning()?, gap: None },
    };
    let mut replay =
        Replay { filter, json: arguments.json, reached: start.position.seq, complete: true, closed: false };
    match start.gap {
        None => {}
        Some(GapReason::UnknownCursor) => replay.warn("this log has never had that cursor; beginning at its time"),
        Some(_) => replay.warn("events after that point were pruned"),
    }
    // What is committed while this prints belongs to the next replay.
    let end = reader.newest()?.seq;
    while !replay.closed && replay.reached < end {
        let exhausted =
            reader.scan(replay.reached, PAGE_ROWS, replay.filter.reads_payload(), &mut |row| replay.print(row, end))?;
        if exhausted {
            break;
        }
    }
    Ok(if replay.complete { Exit::Success } else { Exit::Bus })
}

struct Replay {
    filter: Filter,
    json: bool,
    reached: Seq,
    complete: bool,
    closed: bool,
}

impl Replay {
    fn print(&mut self, row: Row, end: Seq) -> ControlFlow<()> {
        match row {
            Row::Event(record) if record.seq > end => {
                self.reached = end;
                return ControlFlow::Break(());
            }
            Row::Event(record) => {
                self.reached = record.seq;
                if self.filter.wants(&record) {
                    let body = event_body(&record.event).as_object().cloned().unwrap_or_default();
                    self.closed = output::line(&output::event(record.event.id, body, self.json)).is_err();
                }
            }
            Row::Unreadable(row) => {
                self.reached = row.seq;
                if self.filter.could_want(&row.envelope) {
                    self.warn(&format!("row {} of the log cannot be read: {}", row.seq.0, row.problem));
                }
            }
            Row::Lost(lost) => {
                self.reached = lost.through.seq;
                self.warn(&format!("{} events were pruned", lost.missed));
            }
        }
        if self.closed { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn warn(&mut self, text: &str) {
        self.complete = false;
        output::say(&format!("waitbus: {text}"));
    }
}
