//! An inbox: what is addressed to a name, in the order of the log, and what has been read of it.
//!
//! It begins in the log, which needs no hub, and goes on as a subscription from the place that it has reached. While it
//! is subscribed the name is announced, so that others know that somebody is there.
//!
//! What has been read is known in two ways. Of a message to the name there is a receipt, an event, once it has been
//! handed over. And the name has a place in the log before which everything has been handed over, which is kept in a
//! file; what is said to everybody has no receipts, and is read when the place is behind it. A message is handed over at
//! least once: whoever is killed in between gets it again.

use std::future::ready;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::timeout;

use super::feed::compile;
use super::handed::{Handed, read_place};
use super::log_alone::Pages;
use super::{BusError, Feed, Item, Options};
use crate::config::directories::Directories;
use crate::model::event::Draft;
use crate::model::event_frame::event_of;
use crate::model::frame::{Gap, GapReason, Subscribe};
use crate::model::id::{EventId, Seq};
use crate::model::message::{Message, SOURCE, Wanted, presence, receipt_key};
use crate::store::{LogPaths, Reader, StoreError};

/// Where an inbox begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With what has not been read yet under its name. A name that has never read gets everything that was sent to it,
    /// and nothing of what was said to everybody before.
    Unread,
    /// After this cursor, whether it has been read or not. The place of the name stays as it is.
    After(EventId),
}

/// What an inbox brings.
#[derive(Clone, Debug, PartialEq)]
pub enum Mail {
    /// A message.
    Letter(Box<Letter>),
    /// Something is missing, so a message may be, too. Asking on means to put up with it.
    Gap(Gap),
}

/// A message that has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Letter {
    /// The message.
    pub message: Message,
    /// Its event as the wire has it, whole.
    pub event: Map<String, Value>,
}

/// An open inbox.
#[derive(Debug)]
pub struct Inbox {
    directories: Directories,
    wanted: Wanted,
    options: Options,
    source: Source,
    /// The point up to which it has brought everything.
    cursor: EventId,
    /// Whether the place of the name moves with it.
    keeps_place: bool,
    /// Whether the name has never read.
    is_new: bool,
    /// Receipts from before this were given for what others have read.
    opened: Seq,
    /// For each letter that has been brought, until it has been handed over, its receipt; none for what was said to
    /// everybody.
    brought: Vec<Option<Draft>>,
    handed: Handed,
}

#[derive(Debug)]
enum Source {
    /// Nothing has ever happened here.
    Nothing,
    /// What is in the log.
    Log(Box<Pages>),
    /// What comes.
    Live(Box<Feed>),
}

impl Inbox {
    /// Opens it. No hub is needed.
    pub fn open(directories: &Directories, wanted: Wanted, begin: Begin, options: Options) -> Result<Inbox, BusError> {
        let (keeps_place, place) = match begin {
            Begin::Unread => (true, read_place(&directories.inbox(wanted.name.as_str()), &wanted.name)),
            Begin::After(cursor) => (false, Some(cursor)),
        };
        let (source, cursor, opened) = match Reader::open(&LogPaths::new(&directories.state)) {
            Ok(reader) => {
                let opened = reader.newest()?.seq;
                // The oldest that is left: what was pruned before anybody asked is nobody's question.
                let since = place.map_or_else(|| Ok(reader.beginning()?.id), Ok::<_, StoreError>)?;
                let pages = Pages::at(reader, compile(&wanted.subscription())?, Some(since))?;
                (Source::Log(Box::new(pages)), since, opened)
            }
            Err(StoreError::Missing(_)) => (Source::Nothing, place.unwrap_or(EventId::ZERO), Seq::START),
            Err(error) => return Err(error.into()),
        };
        let handed = Handed::new(directories, &wanted.name, place.filter(|_| keeps_place));
        Ok(Inbox {
            directories: directories.clone(),
            wanted,
            options,
            source,
            cursor,
            keeps_place,
            is_new: place.is_none(),
            opened,
            brought: Vec::new(),
            handed,
        })
    }

    /// Subscribes to what comes after what it has brought, and announces the name. When this returns, nothing that is
    /// committed from now on is missed. Of what is unread, [`Inbox::here`] has to have brought what the log has already:
    /// the hub does not know what has been read.
    pub async fn attach(&mut self) -> Result<(), BusError> {
        if self.feed().is_none() {
            let (since, announce) = (Some(self.cursor), Some(presence(&self.wanted.name)));
            let subscribe = Subscribe { since, announce, ..self.wanted.subscription() };
            let feed = Feed::open(&self.directories, subscribe, self.options).await?;
            self.source = Source::Live(Box::new(feed));
        }
        Ok(())
    }

    /// Where it comes from, once it is attached.
    #[must_use]
    pub fn feed(&self) -> Option<&Feed> {
        match &self.source {
            Source::Live(feed) => Some(feed),
            Source::Nothing | Source::Log(_) => None,
        }
    }

    /// The point from which another inbox would go on.
    #[must_use]
    pub fn cursor(&self) -> EventId {
        self.cursor
    }

    /// The next mail that is there already, or `None` if there is none for now. May be cancelled at any time without
    /// losing anything, and lets others have a turn.
    pub async fn here(&mut self) -> Result<Option<Mail>, BusError> {
        if self.handed.is_much() {
            self.settle().await;
        }
        loop {
            let item = match &mut self.source {
                Source::Nothing => None,
                Source::Log(pages) => match pages.ready.pop_front() {
                    None if !pages.read()? || !pages.ready.is_empty() => {
                        tokio::task::yield_now().await;
                        continue;
                    }
                    None => {
                        // Everything up to here has been looked at.
                        self.cursor = pages.position.id;
                        None
                    }
                    item => item,
                },
                Source::Live(feed) => tokio::select! {
                    biased;
                    item = feed.next() => Some(item?),
                    () = ready(()) => None,
                },
            };
            let Some(item) = item else {
                self.settle().await;
                return Ok(None);
            };
            if let Some(mail) = self.mail(item)? {
                return Ok(Some(mail));
            }
        }
    }

    /// The next mail, whenever it comes. Attaches if that has not been done. May be cancelled at any time without losing
    /// anything.
    pub async fn next(&mut self) -> Result<Mail, BusError> {
        loop {
            if let Some(mail) = self.here().await? {
                return Ok(mail);
            }
            self.attach().await?;
            if let Source::Live(feed) = &mut self.source {
                let item = feed.next().await?;
                if let Some(mail) = self.mail(item)? {
                    return Ok(mail);
                }
            }
        }
    }

    /// The letters that were brought have reached their reader. Their receipts are given, and the place of the name moved,
    /// when there is nothing more to be handed over for now. What has not been handed over is brought again to the next
    /// inbox of this name.
    pub fn handed_over(&mut self) {
        self.handed.owe(self.brought.drain(..).flatten());
    }

    /// Writes down what has been handed over, as [`Inbox::here`] does when there is nothing more. The log may be locked
    /// for a while; whoever does not wait for it loses nothing.
    pub async fn settle(&mut self) {
        let place = (self.keeps_place && self.brought.is_empty()).then_some(self.cursor);
        self.handed.settle(place).await;
    }

    /// Why receipts could not be given, or the place not be kept, since this was asked last. What was handed over may
    /// be brought again.
    pub fn take_problem(&mut self) -> Option<BusError> {
        self.handed.take_problem()
    }

    /// Gives the receipts of what has been handed over, for which it waits for so long, and leaves. Returns what
    /// [`Inbox::take_problem`] would.
    pub async fn close(mut self, within: Duration) -> Option<BusError> {
        if timeout(within, self.settle()).await.is_err() {
            self.handed.give_up();
        }
        let problem = self.take_problem();
        self.leave().await;
        problem
    }

    /// Leaves, and says goodbye. What has not been written down yet is not.
    pub async fn leave(self) {
        if let Source::Live(feed) = self.source {
            feed.leave().await;
        }
    }

    /// What an item is for whoever reads.
    fn mail(&mut self, item: Item) -> Result<Option<Mail>, BusError> {
        let (before, cursor) = (self.cursor, item.cursor());
        self.cursor = cursor.unwrap_or(before);
        let body = match item {
            Item::Source(_) => return Ok(None),
            Item::Gap(gap) => return Ok(Some(Mail::Gap(gap))),
            Item::Event { body, .. } => body,
        };
        // It was too large for a frame, and has gone from the log since.
        let Some(event) = event_of(&body) else {
            let (reason, missed) = (GapReason::Pruned, Some(1));
            return Ok(Some(Mail::Gap(Gap { reason, since: before, resumed_at: self.cursor, missed })));
        };
        let message = match Message::of(&event) {
            Some(message) if !message.is_own_broadcast(&self.wanted.name) => message,
            _ => return Ok(None),
        };
        if let Source::Log(pages) = &self.source
            && self.keeps_place
        {
            let is_old = self.is_new && message.is_for_everybody();
            let key = receipt_key(message.id, &self.wanted.name);
            if is_old || pages.reader.said(SOURCE, &key)?.is_some_and(|given| given <= self.opened) {
                return Ok(None);
            }
        }
        self.brought.push(message.receipt(&self.wanted.name));
        Ok(Some(Mail::Letter(Box::new(Letter { message, event: body }))))
    }
}
