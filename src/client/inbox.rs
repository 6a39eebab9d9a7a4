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
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Map, Value};
use tempfile::NamedTempFile;

use super::feed::compile;
use super::log_alone::Pages;
use super::{BusError, Feed, Item, Options, Publisher};
use crate::config::directories::Directories;
use crate::model::event::Draft;
use crate::model::event_frame::event_of;
use crate::model::frame::{Gap, GapReason, Subscribe};
use crate::model::id::{EventId, Seq};
use crate::model::limits::RECEIPTS_PER_COMMIT;
use crate::model::message::{AgentName, Message, SOURCE, Wanted, presence, receipt_key};
use crate::store::{LogPaths, Reader, StoreError};
use crate::sys::private;

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
    /// The letter that has been brought last, until it has been handed over.
    last: Option<Message>,
    /// The receipts that have not been committed yet.
    receipts: Vec<Draft>,
    /// The place that has been written down last.
    place: Option<EventId>,
    publisher: Option<Publisher>,
    problem: Option<BusError>,
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
        Ok(Inbox {
            directories: directories.clone(),
            wanted,
            options,
            source,
            cursor,
            keeps_place,
            is_new: place.is_none(),
            opened,
            last: None,
            receipts: Vec::new(),
            place: place.filter(|_| keeps_place),
            publisher: None,
            problem: None,
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
                self.settle();
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

    /// The letter that was brought last has reached its reader. Its receipt is given, and the place of the name moved,
    /// when there is nothing more to be handed over for now. What has not been handed over is brought again to the next
    /// inbox of this name.
    pub fn handed_over(&mut self) {
        let Some(message) = self.last.take() else { return };
        self.receipts.extend(message.receipt(&self.wanted.name));
        if self.receipts.len() >= RECEIPTS_PER_COMMIT {
            self.settle();
        }
    }

    /// Why receipts could not be given, or the place not be kept, since this was asked last. What was handed over may
    /// be brought again.
    pub fn take_problem(&mut self) -> Option<BusError> {
        self.problem.take()
    }

    /// Gives the receipts of what has been handed over, and leaves. Returns what [`Inbox::take_problem`] would.
    pub async fn close(mut self) -> Option<BusError> {
        self.settle();
        if let Source::Live(feed) = self.source {
            feed.leave().await;
        }
        self.problem
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
        self.last = Some(message.clone());
        Ok(Some(Mail::Letter(Box::new(Letter { message, event: body }))))
    }

    /// Writes down what has been handed over. What cannot be is tried again with what comes next.
    fn settle(&mut self) {
        if let Err(error) = self.write_down() {
            self.receipts.truncate(RECEIPTS_PER_COMMIT);
            self.problem = Some(error);
        }
    }

    fn write_down(&mut self) -> Result<(), BusError> {
        if !self.receipts.is_empty() {
            let publisher = match &mut self.publisher {
                Some(open) => open,
                none => none.insert(Publisher::open(&self.directories)?),
            };
            publisher.publish_all(&self.receipts)?;
            self.receipts.clear();
        }
        // The receipts first: whoever is killed in between is not handed the same again.
        if self.keeps_place && self.last.is_none() && self.place != Some(self.cursor) {
            let path = self.directories.inbox(self.wanted.name.as_str());
            write_place(&path, &self.wanted.name, self.cursor)
                .map_err(|error| BusError::Place { path, problem: error.to_string() })?;
            self.place = Some(self.cursor);
        }
        Ok(())
    }
}

/// The place that is written down for a name. What is no such file, or another name's where files do not tell `Bob` from
/// `bob`, says nothing.
fn read_place(path: &Path, name: &AgentName) -> Option<EventId> {
    let text = std::fs::read_to_string(path).ok()?;
    let (written, cursor) = text.trim_end().split_once(' ')?;
    (written == name.as_str()).then(|| cursor.parse().ok())?
}

/// Replaces the file as a whole, so that nobody reads half of it.
fn write_place(path: &Path, name: &AgentName, cursor: EventId) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    private::directory(directory)?;
    let mut file = NamedTempFile::with_prefix_in(".", directory)?;
    writeln!(file, "{name} {cursor}")?;
    file.persist(path)?;
    Ok(())
}
