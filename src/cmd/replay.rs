//! `waitbus replay`: what has happened, from the log, without a hub.

use std::ops::ControlFlow;

use clap::Args;

use super::conditions::Conditions;
use super::exit::{Exit, Failure};
use super::output::{self, Closed};
use super::time::{self, When};
use crate::config::directories::Directories;
use crate::model::event_frame::event_body;
use crate::model::filter::Filter;
use crate::model::frame::GapReason;
use crate::model::id::Seq;
use crate::model::limits::{PAGE_BYTES, PAGE_ROWS};
use crate::model::row::{Position, Resolved, Row};
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
    // What is committed while this prints belongs to the next replay.
    let end = reader.newest()?.seq;
    let mut replay = Replay { filter, json: arguments.json, reached: start.position, end, complete: true };
    match start.gap {
        None => {}
        Some(GapReason::UnknownCursor) => replay.warn("this log has never had that cursor; beginning at its time"),
        Some(_) => replay.warn("events after that point were pruned"),
    }
    while replay.reached.seq < end {
        // Printed when the statement is over: a pager that is left open would keep the log from being checkpointed.
        let (rows, exhausted) = replay.page(&reader)?;
        let closed = rows.iter().any(|row| replay.print(row).is_err());
        if closed || exhausted {
            break;
        }
    }
    Ok(if replay.complete { Exit::Success } else { Exit::Bus })
}

struct Replay {
    filter: Filter,
    json: bool,
    reached: Position,
    end: Seq,
    complete: bool,
}

impl Replay {
    /// The next rows, and whether they are the last ones.
    fn page(&self, reader: &Reader) -> Result<(Vec<Row>, bool), StoreError> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        let exhausted = reader.scan(self.reached.seq, PAGE_ROWS, self.filter.reads_payload(), &mut |row| {
            bytes += row.weight();
            rows.push(row);
            if bytes > PAGE_BYTES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok((rows, exhausted))
    }

    /// Prints a row that lies before the end, and moves past it.
    fn print(&mut self, row: &Row) -> Result<(), Closed> {
        let from = self.reached;
        // Of rows that were pruned while this ran, those before the end are missed.
        if from.seq >= self.end || (row.position(from).seq > self.end && !matches!(row, Row::Lost(_))) {
            self.reached.seq = self.end;
            return Ok(());
        }
        self.reached = row.position(from);
        if !self.filter.concerns(row) {
            return Ok(());
        }
        match row {
            Row::Event(record) => {
                let line = output::event(record.event.id, event_body(&record.event), self.json);
                output::line(&line)?;
            }
            Row::Unreadable(row) => {
                self.warn(&format!("row {} of the log cannot be read: {}", row.seq.0, row.problem));
            }
            Row::Lost(lost) => {
                let missed = lost.through.seq.0.min(self.end.0) - from.seq.0;
                self.warn(&format!("{missed} events were pruned"));
            }
        }
        Ok(())
    }

    fn warn(&mut self, text: &str) {
        self.complete = false;
        output::say(&format!("waitbus: {text}"));
    }
}
