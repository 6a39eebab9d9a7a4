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
use crate::model::limits::{PAGE_BYTES, PAGE_ROWS};
use crate::model::row::{Position, Row};
use crate::store::{LogPaths, Reader};
use crate::sys::wake::WakeWatch;

/// A reader of the log that waits at its end.
#[derive(Debug)]
pub(super) struct LogAlone {
    pages: Pages,
    watch: WakeWatch,
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
        Ok(LogAlone { pages: Pages::at(reader, filter, since)?, watch })
    }

    /// What there is to say about the filter, as far as the log tells in a short time. Whoever only reads is not held up
    /// by names that cannot be read.
    pub(super) fn notes(&self) -> Vec<String> {
        let Pages { reader, filter, .. } = &self.pages;
        let Ok(mut learned) = reader.names() else { return Vec::new() };
        let complete = reader.learn_at_once(&mut learned).unwrap_or(false);
        if complete { learned.vocabulary.notes(filter, &|_| false) } else { Vec::new() }
    }

    /// Where it begins, before the first item.
    pub(super) fn cursor(&self) -> EventId {
        self.pages.position.id
    }

    /// The next item.
    pub(super) async fn next(&mut self) -> Result<Item, BusError> {
        loop {
            if let Some(item) = self.pages.ready.pop_front() {
                return Ok(item);
            }
            if !self.pages.read()? {
                // A long way to the end must not keep whoever waits from its timeout or its signals.
                tokio::task::yield_now().await;
            } else if self.pages.ready.is_empty() {
                self.watch.touched().await;
            }
        }
    }
}

/// The log after a point, page by page, as far as a filter lets it pass.
#[derive(Debug)]
pub(super) struct Pages {
    pub(super) reader: Reader,
    filter: Filter,
    pub(super) position: Position,
    pub(super) ready: VecDeque<Item>,
}

impl Pages {
    pub(super) fn at(reader: Reader, filter: Filter, since: Option<EventId>) -> Result<Pages, BusError> {
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
        Ok(Pages { reader, filter, position, ready })
    }

    /// Reads one page into `ready`. Returns whether the end of the log was reached.
    pub(super) fn read(&mut self) -> Result<bool, BusError> {
        let Pages { reader, filter, position, ready } = self;
        let mut bytes = 0;
        let end = reader.scan(position.seq, PAGE_ROWS, filter.reads_payload(), &mut |row| {
            bytes += row.weight();
            if filter.concerns(&row) {
                ready.extend(item(&row, *position));
            }
            *position = row.position(*position);
            if bytes > PAGE_BYTES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(end)
    }
}

/// The newest event after a cursor that a filter lets pass. A row that cannot be read counts as one if it has a name by
/// which its reader gets past it; what was pruned is not there to be waited for.
pub(super) async fn newest_wanted(
    directories: &Directories,
    filter: Filter,
    after: EventId,
) -> Result<Option<EventId>, BusError> {
    let reader = Reader::open(&LogPaths::new(&directories.state))?;
    let mut pages = Pages::at(reader, filter, Some(after))?;
    let mut newest = None;
    loop {
        let end = pages.read()?;
        for item in pages.ready.drain(..) {
            match item {
                Item::Event { id, .. } => newest = Some(id),
                Item::Gap(gap) if gap.reason == GapReason::UnreadableRow && gap.resumed_at != gap.since => {
                    newest = Some(gap.resumed_at);
                }
                Item::Gap(_) | Item::Source(_) => {}
            }
        }
        if end {
            return Ok(newest);
        }
        tokio::task::yield_now().await;
    }
}

fn item(row: &Row, from: Position) -> Option<Item> {
    match row {
        Row::Event(record) => Some(Item::Event { id: record.event.id, body: event_body(&record.event) }),
        Row::Unreadable(_) | Row::Lost(_) => row.gap(from).map(Item::Gap),
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;
    use std::time::SystemTime;

    use super::*;
    use crate::model::event::{Draft, ingest_method};
    use crate::model::id::Seq;
    use crate::model::predicate::{Condition, Conjunction};
    use crate::store::Writer;

    /// Where a reader that finds nothing is when it first lets others have a turn.
    fn reached(rows: usize, payload: &str, condition: &str) -> Seq {
        let home = tempfile::tempdir().unwrap();
        let [runtime, state, config] = ["runtime", "state", "config"].map(|name| home.path().join(name));
        let directories = Directories { runtime, state, config };
        let draft = Draft {
            source: "load".into(),
            event_type: "x".into(),
            ingest_method: ingest_method::EMIT,
            payload: Some(payload.into()),
            ..Draft::default()
        };
        let mut writer = Writer::open(&LogPaths::new(&directories.state)).unwrap();
        writer.append_all(&vec![draft; rows], SystemTime::UNIX_EPOCH).unwrap();
        let filter = Filter {
            alternatives: vec![Conjunction::new(vec![Condition::parse(condition).unwrap()])],
            ..Filter::default()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut log = LogAlone::open(&directories, filter, Some(EventId::ZERO)).unwrap();
            {
                let mut next = pin!(log.next());
                let first = poll_fn(|context| Poll::Ready(next.as_mut().poll(context).is_pending())).await;
                assert!(first, "nothing is wanted");
            }
            log.pages.position.seq
        })
    }

    #[test]
    fn a_long_way_to_the_end_is_interrupted_after_each_page() {
        assert_eq!(reached(3 * PAGE_ROWS, "", "source=deploy").0, i64::try_from(PAGE_ROWS).unwrap());
        let large = format!("\"{}\"", "x".repeat(PAGE_BYTES / 2));
        assert_eq!(reached(10, &large, "payload=y").0, 2, "a page has bytes, too");
        assert_eq!(reached(10, &large, "source=deploy").0, 10, "of what is read");
    }
}
