//! A question put to a feed, to its answer. Whoever waits, a command or a tool of an agent, does it through this; what
//! to show, how long to wait and what a gap means stay with them.

use std::slice;
use std::time::Instant;

use serde_json::{Map, Value};

use super::feed::news_since;
use super::{BusError, Feed, Item, Options};
use crate::config::directories::Directories;
use crate::model::event::Record;
use crate::model::event_frame::event_of;
use crate::model::frame::{Gap, GapReason, Subscribe};
use crate::model::id::{EventId, Seq};
use crate::model::source::{SourceState, SourceStatus};
use crate::store::{LogPaths, Reader};
use crate::waiting::{Ending, Question, Shown, Step};

/// What happens on the way to an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// An event counts, and the question is still open.
    Counts(Shown),
    /// Something is missing, so the answer may be wrong. Asking on means to put up with it.
    Gap(Gap),
    /// A source has died, and without it there is no answer to be had, or none to be believed. Asking on means to wait
    /// for it to come back.
    Dead(SourceStatus),
    /// A source that the question could concern sees nothing just now, and goes on trying. The answer may be late, and is
    /// not lost: what the source has missed it makes up for when it sees again.
    Silent(SourceStatus),
    /// The answer. There is nothing after it.
    Ends(Ending),
}

/// A feed that is asked one question.
pub struct Waiter {
    directories: Directories,
    feed: Feed,
    question: Box<dyn Question>,
    /// The newest that is known of each source that is dead, in the order in which they died.
    dead: Vec<SourceStatus>,
    /// Whether it has been told that the question is lost.
    told_lost: bool,
}

impl Waiter {
    /// Subscribes to what the question needs, after `since` or from now on. When this returns, nothing that is committed
    /// from now on is missed.
    pub async fn open(
        directories: &Directories,
        mut question: Box<dyn Question>,
        since: Option<EventId>,
        options: Options,
    ) -> Result<Waiter, BusError> {
        let not_before = (!question.counts_the_past()).then(|| news_since(since));
        let subscribe = Subscribe { since, not_before, heartbeat: false, ..question.subscription() };
        let feed = Feed::open(directories, subscribe, options).await?;
        question.begin(Instant::now());
        Ok(Waiter { directories: directories.clone(), feed, question, dead: Vec::new(), told_lost: false })
    }

    /// Puts another question of the same subscription, about what comes after the last answer.
    pub fn ask_again(&mut self, mut question: Box<dyn Question>) {
        question.begin(Instant::now());
        self.question = question;
        self.told_lost = false;
    }

    /// Where the events come from.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// What is still missing, each part as it was typed.
    #[must_use]
    pub fn outstanding(&self) -> Vec<String> {
        self.question.outstanding()
    }

    /// The next thing to tell. May be cancelled at any time without losing anything.
    pub async fn next(&mut self) -> Result<News, BusError> {
        loop {
            if let Some(news) = self.stands().await? {
                return Ok(news);
            }
            let news = match self.item_in_time().await? {
                Some(item) => self.take(item)?,
                // That nothing has come says nothing while a source is blind.
                None if self.feed.was_blind() => {
                    self.question.count_anew(Instant::now());
                    None
                }
                None => self.question.tick(Instant::now()).map(|ending| self.ends(ending)),
            };
            if let Some(news) = news {
                return Ok(news);
            }
        }
    }

    /// The next thing to tell of what is in the log by now, for whoever stops waiting; nothing if there is none.
    pub async fn left(&mut self) -> Result<Option<News>, BusError> {
        loop {
            if let Some(news) = self.stands().await? {
                return Ok(Some(news));
            }
            if !self.feed.is_behind().await? {
                return Ok(None);
            }
            let item = self.feed.next().await?;
            if let Some(news) = self.take(item)? {
                return Ok(Some(news));
            }
        }
    }

    /// What holds as it stands, once everything that was there before has been seen.
    async fn stands(&mut self) -> Result<Option<News>, BusError> {
        if let Some(ending) = self.question.standing()
            && !self.feed.is_replaying().await?
        {
            return Ok(Some(self.ends(ending)));
        }
        if let Some(status) = self.fatal_death()
            && !self.feed.is_replaying().await?
        {
            self.told_lost = true;
            return Ok(Some(News::Dead(status)));
        }
        Ok(None)
    }

    /// What an item is for the question.
    fn take(&mut self, item: Item) -> Result<Option<News>, BusError> {
        let record = match item {
            Item::Gap(gap) => return Ok(Some(News::Gap(gap))),
            Item::Source(status) => {
                self.learn(&status);
                if status.state == SourceState::Silent {
                    return Ok(Some(News::Silent(status)));
                }
                if self.feed.was_blind() {
                    self.question.count_anew(Instant::now());
                }
                return Ok(None);
            }
            Item::Event { id, body } => self.record(id, &body)?,
        };
        let Some(record) = record else {
            let cursor = self.feed.cursor();
            // It was read when it was brought, so it has gone since.
            let reason = GapReason::Pruned;
            return Ok(Some(News::Gap(Gap { reason, since: cursor, resumed_at: cursor, missed: Some(1) })));
        };
        Ok(match self.question.see(&record, Instant::now()) {
            Step::Aside => None,
            Step::Counts(shown) => Some(News::Counts(shown)),
            Step::Ends(ending) => Some(self.ends(ending)),
        })
    }

    /// The answer, with the place from which another question would go on. What answers several clauses is shown in their
    /// order and not in that of the log, so that place is none of the events' own but that of the last of them.
    fn ends(&self, mut ending: Ending) -> News {
        for shown in &mut ending.shown {
            shown.json.insert("cursor".to_owned(), self.feed.cursor().to_string().into());
        }
        News::Ends(ending)
    }

    fn learn(&mut self, status: &SourceStatus) {
        self.dead.retain(|known| known.source != status.source);
        if status.state == SourceState::Dead {
            self.dead.push(status.clone());
        }
    }

    /// The death with which the question is lost, until that has been told. It need not be news: an event can take back
    /// what a source had said before it died.
    fn fatal_death(&mut self) -> Option<SourceStatus> {
        let question = &self.question;
        let lost = |dead: &[SourceStatus]| {
            question.is_lost_without(&dead.iter().map(|status| status.source.clone()).collect())
        };
        self.told_lost &= lost(&self.dead);
        if self.told_lost || !lost(&self.dead) {
            return None;
        }
        let alone = self.dead.iter().rev().find(|status| lost(slice::from_ref(status)));
        alone.or(self.dead.last()).cloned()
    }

    /// The next item, or `None` when the question's deadline has come first and the log has nothing that was committed
    /// before it: the hub may be away, or just about to say it.
    async fn item_in_time(&mut self) -> Result<Option<Item>, BusError> {
        let Some(deadline) = self.question.deadline() else { return self.feed.next().await.map(Some) };
        tokio::select! {
            biased;
            item = self.feed.next() => return item.map(Some),
            () = tokio::time::sleep_until(deadline.into()) => {}
        }
        if self.feed.is_behind().await? { self.feed.next().await.map(Some) } else { Ok(None) }
    }

    /// The event that a feed has brought, with its payload where the question reads that; `None` if it is needed from
    /// the log and is not there.
    fn record(&self, id: EventId, body: &Map<String, Value>) -> Result<Option<Record>, BusError> {
        if !self.question.reads_payload()
            && let Some(event) = event_of(body)
        {
            // Where it is in the log does not travel, and no question asks.
            return Ok(Some(Record::new(Seq::START, event, None)));
        }
        let found = Reader::open(&LogPaths::new(&self.directories.state))?.find(id)?;
        Ok(found.map(|(record, payload)| Record::new(record.seq, record.event, payload)))
    }
}
