//! What is decided beside the loop: questions go out, opinions come in.
//!
//! A subscriber whose filter is costly is never offered a row directly. A row that it could want, as far as the loop
//! can tell in a short time, makes it fall behind; its page, from memory or from the log, becomes a [`Question`]; and
//! when that comes back with opinions, its rows are offered in order and the cursor moves. So it is a subscriber like
//! any other: behind, filled, caught up. It has one question out at most, and a lane a bounded number, so that what the
//! questions hold is bounded, and whoever asks much waits for its turn like everybody else.

use std::collections::VecDeque;
use std::sync::Arc;

use super::ring::Entry;
use super::{Hub, Read, SubscriberId};
use crate::model::filter::Filter;
use crate::model::limits::{JUDGED_BYTES, JUDGED_ROWS, PAGE_ROWS, QUESTIONS_PER_LANE};
use crate::model::row::{Position, Row};

/// Who decides: those who use expressions must slow nobody who does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Conditions on texts and payloads, and very many conditions.
    Patterns,
    /// Expressions, whatever else is asked with them.
    Expressions,
}

impl Lane {
    /// All of them.
    pub const ALL: [Lane; 2] = [Lane::Patterns, Lane::Expressions];

    pub(super) fn of(filter: &Filter) -> Option<Lane> {
        let lane = if filter.where_.is_some() { Lane::Expressions } else { Lane::Patterns };
        filter.is_costly().then_some(lane)
    }
}

/// Which of these rows does this filter want? It comes back as it went out.
#[derive(Debug)]
pub struct Question {
    id: SubscriberId,
    /// Whose turn it is to decide.
    pub lane: Lane,
    /// Whose filter.
    pub filter: Arc<Filter>,
    page: Page,
}

impl Question {
    /// The rows, in order. One that is no event needs no opinion: it is wanted.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.page.rows.iter().map(|(_, entry)| &entry.row)
    }
}

/// What was found about a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opinion {
    /// The filter wants it.
    Wanted,
    /// It does not.
    Unwanted,
    /// It is not in the log any more, and without its payload nobody can tell.
    Lost,
}

/// Some rows after a place: those of which somebody else has to decide, each with the place before it.
#[derive(Debug)]
pub(super) struct Page {
    rows: Vec<(Position, Arc<Entry>)>,
    /// The place after all of them, and after those that are no question.
    reached: Position,
    seen: usize,
    bytes: usize,
}

impl Page {
    fn after(place: Position) -> Page {
        Page { rows: Vec::new(), reached: place, seen: 0, bytes: 0 }
    }

    fn is_full(&self) -> bool {
        self.seen >= PAGE_ROWS || self.rows.len() >= JUDGED_ROWS || self.bytes > JUDGED_BYTES
    }

    fn add(&mut self, filter: &Filter, entry: &Arc<Entry>) {
        let from = self.reached;
        let reached = entry.row.position(from);
        if reached.seq <= from.seq {
            return;
        }
        self.seen += 1;
        self.reached = reached;
        if filter.may_concern(&entry.row) {
            self.bytes += entry.row.weight();
            self.rows.push((from, Arc::clone(entry)));
        }
    }
}

/// The questions that are out and those that have to wait.
#[derive(Debug, Default)]
pub(super) struct Docket {
    out: [usize; Lane::ALL.len()],
    waiting: [VecDeque<SubscriberId>; Lane::ALL.len()],
    ready: VecDeque<Question>,
}

impl Docket {
    fn has_place(&self, lane: Lane) -> bool {
        self.out[lane as usize] < QUESTIONS_PER_LANE
    }

    /// Whether somebody waits for a place that there is.
    pub(super) fn has_turns(&self) -> bool {
        Lane::ALL.iter().any(|&lane| self.has_place(lane) && !self.waiting[lane as usize].is_empty())
    }

    /// Those whose turn it is.
    pub(super) fn turns(&mut self) -> Vec<SubscriberId> {
        let mut turns = Vec::new();
        for lane in Lane::ALL {
            let waiting = &mut self.waiting[lane as usize];
            let places = QUESTIONS_PER_LANE.saturating_sub(self.out[lane as usize]).min(waiting.len());
            turns.extend(waiting.drain(..places));
        }
        turns
    }

    /// Nobody asks any more.
    pub(super) fn close(&mut self) {
        self.ready.clear();
        self.waiting = <[VecDeque<SubscriberId>; Lane::ALL.len()]>::default();
    }
}

impl Hub {
    /// The next question to be asked. It comes back through [`Hub::judged`], also when its subscriber has gone.
    pub fn next_question(&mut self) -> Option<Question> {
        self.docket.ready.pop_front()
    }

    /// A question comes back with opinions on the first of its rows: one at least, and the others are asked again.
    pub fn judged(&mut self, question: Question, opinions: &[Opinion]) {
        let Question { id, lane, page, .. } = question;
        self.docket.out[lane as usize] -= 1;
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        subscriber.asked = false;
        if subscriber.closing {
            return;
        }
        let mut reached = page.reached;
        let mut opinions = opinions.iter();
        for (from, entry) in &page.rows {
            let opinion = opinions.next().filter(|_| subscriber.has_room());
            match opinion {
                Some(Opinion::Wanted) => self.delivered += subscriber.deliver(entry, *from),
                Some(Opinion::Unwanted) => {}
                Some(Opinion::Lost) | None => {
                    // What is not in the log any more is announced by the log.
                    subscriber.past_memory = opinion.is_some();
                    reached = *from;
                    break;
                }
            }
        }
        subscriber.cursor = reached;
        self.settle(id, false);
    }

    /// Makes a page of what follows in memory, or says what to read for one.
    pub(super) fn gather(&mut self, id: SubscriberId, lane: Lane) -> Option<Read> {
        let has_place = self.docket.has_place(lane);
        let subscriber = self.subscribers.get_mut(&id)?;
        if subscriber.live || subscriber.asked || !subscriber.has_room() {
            return None;
        }
        if !has_place {
            subscriber.queued = true;
            self.docket.waiting[lane as usize].push_back(id);
            return None;
        }
        let after = subscriber.cursor.seq;
        let past_memory = std::mem::take(&mut subscriber.past_memory);
        let Some(page) = self.page_in_memory(id).filter(|_| !past_memory) else {
            return Some(Read { reader: Some(id), after, limit: PAGE_ROWS });
        };
        self.ask(id, lane, page, false);
        None
    }

    /// A page of what is in memory, if everything that follows is.
    fn page_in_memory(&self, id: SubscriberId) -> Option<Page> {
        let subscriber = self.subscribers.get(&id)?;
        let mut page = Page::after(subscriber.cursor);
        for entry in self.ring.after(subscriber.cursor.seq)? {
            if page.is_full() {
                break;
            }
            page.add(&subscriber.filter, entry);
        }
        Some(page)
    }

    /// One row of the log for somebody's page. Returns whether that can take more.
    pub(super) fn gather_from_log(&mut self, id: SubscriberId, row: Row) -> bool {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return false };
        let page = subscriber.page.get_or_insert_with(|| Page::after(subscriber.cursor));
        page.add(&subscriber.filter, &Arc::new(Entry::new(row)));
        !page.is_full()
    }

    /// The rows of somebody's page have been read.
    pub(super) fn gathered_from_log(&mut self, id: SubscriberId, lane: Lane, exhausted: bool) {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        let page = subscriber.page.take().unwrap_or_else(|| Page::after(subscriber.cursor));
        // It may have read further than the hub, which then follows on its own.
        self.rung |= page.reached.seq > self.ring.tail().seq;
        self.ask(id, lane, page, exhausted);
    }

    fn ask(&mut self, id: SubscriberId, lane: Lane, page: Page, exhausted: bool) {
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        if page.rows.is_empty() {
            subscriber.cursor = page.reached;
            return self.settle(id, exhausted);
        }
        subscriber.asked = true;
        let filter = Arc::clone(&subscriber.filter);
        self.docket.out[lane as usize] += 1;
        self.docket.ready.push_back(Question { id, lane, filter, page });
    }

    /// A subscriber has come further: it has caught up, or wants more. `exhausted` says that there is nothing after it.
    pub(super) fn settle(&mut self, id: SubscriberId, exhausted: bool) {
        let tail = self.ring.tail().seq;
        let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
        if !subscriber.outbox.is_empty() && !subscriber.blocked {
            self.sendable.push_back(id);
        }
        if exhausted || subscriber.cursor.seq >= tail {
            subscriber.live = true;
        } else if subscriber.has_room() {
            self.queue(id);
        }
        self.tell(id);
    }
}
