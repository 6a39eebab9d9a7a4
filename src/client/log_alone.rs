//! The log without the hub, for a process that may not use sockets: the same rows, the same filter, woken by the
//! kernel's notification of the wake file.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use super::{BusError, Item};
use crate::config::directories::Directories;
use crate::model::event_frame::event_body;
use crate::model::filter::Filter;
use crate::model::frame::{Gap, GapReason};
use crate::model::id::EventId;
use crate::model::limits::PAGE_ROWS;
use crate::model::row::{Position, Row};
use crate::store::{LogPaths, Reader};
use crate::sys::wake::WakeWatch;

/// A reader of the log that waits at its end.
#[derive(Debug)]
pub(super) struct LogAlone {
    reader: Reader,
    watch: WakeWatch,
    filter: Filter,
    position: Position,
    ready: VecDeque<Item>,
}

impl LogAlone {
    /// Opens the log at `since`, or at its end.
    pub(super) fn open(
        directories: &Directories,
        filter: Filter,
        since: Option<EventId>,
    ) -> Result<LogAlone, BusError> {
        let paths = LogPaths::new(&directories.state);
        let reader = match Reader::open(&paths) {
            Err(crate::store::StoreError::Missing(_)) => Reader::open_or_create(&paths)?,
            other => other?,
        };
        // Watched before it is read: what is committed in between is read, and what comes later wakes.
        let watch = WakeWatch::of_any(&paths.wake())
            .map_err(|error| BusError::Watch { path: paths.directory().to_owned(), problem: error.to_string() })?;
        let mut ready = VecDeque::new();
        let position = match since {
            None => reader.newest()?,
            Some(cursor) => {
                let found = reader.resolve(cursor)?;
                if let Some(reason) = found.gap {
                    let gap = Gap { reason, since: cursor, resumed_at: found.position.id, missed: None };
                    ready.push_back(Item::Gap(gap));
                }
                found.position
            }
        };
        Ok(LogAlone { reader, watch, filter, position, ready })
    }

    /// Where it begins, before the first item.
    pub(super) fn cursor(&self) -> EventId {
        self.position.id
    }

    /// The next item.
    pub(super) async fn next(&mut self) -> Result<Item, BusError> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(item);
            }
            if self.read_page()? && self.ready.is_empty() {
                self.watch.touched().await;
            }
        }
    }

    /// Reads one page into `ready`. Returns whether the end of the log was reached.
    fn read_page(&mut self) -> Result<bool, BusError> {
        let LogAlone { reader, filter, position, ready, .. } = self;
        let end = reader.scan(position.seq, PAGE_ROWS, filter.reads_payload(), &mut |row| {
            let (reached, item) = look_at(filter, *position, row);
            ready.extend(item);
            *position = reached;
            ControlFlow::Continue(())
        })?;
        Ok(end)
    }
}

fn look_at(filter: &Filter, from: Position, row: Row) -> (Position, Option<Item>) {
    match row {
        Row::Event(record) => {
            let id = record.event.id;
            let body = || event_body(&record.event).as_object().cloned().unwrap_or_default();
            let item = filter.wants(&record).then(|| Item::Event { id, body: body() });
            (Position { seq: record.seq, id }, item)
        }
        Row::Unreadable(row) => {
            let reached = Position { seq: row.seq, id: row.id.unwrap_or(from.id) };
            let gap = Gap { reason: GapReason::UnreadableRow, since: from.id, resumed_at: reached.id, missed: Some(1) };
            (reached, filter.could_want(&row.envelope).then_some(Item::Gap(gap)))
        }
        Row::Lost(lost) => {
            let gap = Gap {
                reason: GapReason::Pruned,
                since: from.id,
                resumed_at: lost.through.id,
                missed: Some(lost.missed),
            };
            (lost.through, Some(Item::Gap(gap)))
        }
    }
}
