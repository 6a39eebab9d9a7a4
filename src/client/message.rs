//! Sending messages, and finding one, and finding out who is there. Reading them is [`Inbox`](super::Inbox)'s.

use super::status::{HubState, hub};
use super::{BusError, Feed, Item, Options, Publisher};
use crate::config::directories::{BadDirectory, Directories};
use crate::model::event::Draft;
use crate::model::frame::Subscribe;
use crate::model::id::EventId;
use crate::model::message::{AgentName, Message, Present, SOURCE, present, receipt_key, receipt_of};
use crate::store::{LogPaths, Reader, StoreError};

/// A message that has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The event.
    pub id: EventId,
    /// A cursor from before it was sent: whatever answers it comes after that.
    pub mark: EventId,
}

/// Commits a message and rings. No hub is needed.
pub fn send(directories: &Directories, draft: &Draft) -> Result<Sent, BusError> {
    let mark = match Reader::open(&LogPaths::new(&directories.state)) {
        Ok(reader) => reader.newest()?.id,
        // Nothing has ever happened here.
        Err(StoreError::Missing(_)) => EventId::ZERO,
        Err(error) => return Err(error.into()),
    };
    let id = Publisher::open(directories)?.publish(draft)?.id();
    Ok(Sent { id, mark })
}

/// What the log has under an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A message.
    Message(Box<Message>),
    /// An event that is none.
    Another,
    /// Nothing.
    Nothing,
}

/// Looks for a message in the log.
pub fn find(directories: &Directories, id: EventId) -> Result<Found, BusError> {
    let found = match Reader::open(&LogPaths::new(&directories.state)) {
        Ok(reader) => reader.find(id)?,
        Err(StoreError::Missing(_)) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(match found.map(|(record, _)| Message::of(&record.event)) {
        Some(Some(message)) => Found::Message(Box::new(message)),
        Some(None) => Found::Another,
        None => Found::Nothing,
    })
}

/// Whether a message has been handed to whoever reads under this name. Whoever has left has given its receipts before.
pub fn is_received(directories: &Directories, sent: Sent, reader: &AgentName) -> Result<bool, BusError> {
    let log = Reader::open(&LogPaths::new(&directories.state))?;
    Ok(log.said(SOURCE, &receipt_key(sent.id, reader))?.is_some())
}

/// Who is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// These are; there is nobody where no hub runs.
    Known(Vec<Present>),
    /// Nobody can tell, for this reason.
    Unknown(String),
}

/// Asks who is there, without starting a hub.
pub async fn who(directories: &Directories) -> Result<Who, BadDirectory> {
    Ok(match hub(directories).await? {
        HubState::NotRunning => Who::Known(Vec::new()),
        HubState::Running(status) => Who::Known(present(&status.sources)),
        HubState::Silent { problem, .. } => Who::Unknown(problem),
    })
}

/// Whether a message has been handed to its reader, to be waited for.
#[derive(Debug)]
pub struct AwaitedReceipt(Feed);

impl AwaitedReceipt {
    /// Subscribes to the receipt, also to one that has been given already.
    pub async fn open(directories: &Directories, sent: Sent, options: Options) -> Result<AwaitedReceipt, BusError> {
        let subscribe = Subscribe { since: Some(sent.mark), ..receipt_of(sent.id) };
        Feed::open(directories, subscribe, options).await.map(AwaitedReceipt)
    }

    /// Where it comes from.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.0
    }

    /// The receipt, as the wire has it; or a gap that may hide it, after which it can be waited for again. May be
    /// cancelled at any time without losing anything.
    pub async fn next(&mut self) -> Result<Item, BusError> {
        loop {
            match self.0.next().await? {
                // A reader that dies may be followed by another.
                Item::Source(_) => {}
                item => return Ok(item),
            }
        }
    }
}
