//! A feed: subscribe once, hear everything, across every restart of the hub.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::time::timeout;

use super::connection::{Acknowledged, Connection, DialError, Received};
use super::log_alone::{LogAlone, newest_wanted};
use super::start::NotStarted;
use super::{BusError, Item, same_log, start};
use crate::config::directories::Directories;
use crate::model::event_frame::event_body;
use crate::model::filter::Filter;
use crate::model::frame::{Said, Subscribe};
use crate::model::id::EventId;
use crate::model::limits::{CLOCK_MARGIN, RETRY_MAX, RETRY_MIN, START_TIMEOUT};
use crate::model::source::{SourceState, SourceStatus};
use crate::store::{LogPaths, Reader};
use crate::sys::wake::TouchFile;

/// The time before which nothing is news for whoever begins after this event, or now, in nanoseconds since the epoch. What
/// a source tells late it dates by somebody else's clock, so there is a margin: to be told of something a moment too old
/// is better than to miss something.
#[must_use]
pub fn news_since(since: Option<EventId>) -> i64 {
    let begins = since.map_or_else(
        || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
        |id| Duration::from_millis(id.timestamp_ms()),
    );
    i64::try_from(begins.saturating_sub(CLOCK_MARGIN).as_nanos()).unwrap_or(i64::MAX)
}

/// How a feed behaves when the hub is not there.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long the hub may be away before the feed gives up.
    pub grace: Duration,
}

/// Where a feed comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The hub's broadcast.
    Hub,
    /// The log, because this process may not use sockets.
    LogAlone,
}

/// An open subscription.
#[derive(Debug)]
pub struct Feed {
    directories: Directories,
    subscribe: Subscribe,
    options: Options,
    path: PathBuf,
    cursor: EventId,
    notes: Vec<String>,
    source: Source,
    backlog: Backlog,
    /// The sources that are silent, as this hub tells it …
    silent: HashSet<String>,
    /// … and those of which it has been told, so that each silence is told once, whatever becomes of the hub.
    told_silent: HashSet<String>,
    /// Whether one has been silent since that was asked last.
    was_blind: bool,
}

/// What is known of the events that were committed before this feed was attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backlog {
    /// They have been brought, or nobody asked for them.
    None,
    /// There may be some.
    Unknown,
    /// This is the last one.
    Until(EventId),
}

#[derive(Debug)]
enum Source {
    Hub(Connection),
    Log(Box<LogAlone>),
}

impl Feed {
    /// Subscribes, starting a hub if there is none. When this returns, the subscription is acknowledged: nothing that
    /// is committed from now on is missed.
    pub async fn open(directories: &Directories, subscribe: Subscribe, options: Options) -> Result<Feed, BusError> {
        let path = directories.broadcast()?;
        let dialled = dial(directories, &path, &subscribe, START_TIMEOUT).await;
        let (source, cursor, notes) = match dialled {
            Ok((connection, cursor, notes)) => (Source::Hub(connection), cursor, notes),
            Err(Failure::Denied(socket)) => {
                let log =
                    open_log(directories, &subscribe).map_err(|log| BusError::Denied { socket, log: Box::new(log) })?;
                let (cursor, notes) = (log.cursor(), log.notes());
                (Source::Log(Box::new(log)), cursor, notes)
            }
            Err(Failure::Bus(error)) => return Err(error),
        };
        let backlog = if subscribe.since.is_some() { Backlog::Unknown } else { Backlog::None };
        Ok(Feed {
            directories: directories.clone(),
            subscribe,
            options,
            path,
            cursor,
            notes,
            source,
            backlog,
            silent: HashSet::new(),
            told_silent: HashSet::new(),
            was_blind: false,
        })
    }

    /// Where it comes from.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match self.source {
            Source::Hub(_) => Mode::Hub,
            Source::Log(_) => Mode::LogAlone,
        }
    }

    /// The point from which another feed would go on.
    #[must_use]
    pub fn cursor(&self) -> EventId {
        self.cursor
    }

    /// What the hub had to say about the subscription.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether the log has an event for this feed that it has not brought. This reads the log.
    pub async fn is_behind(&mut self) -> Result<bool, BusError> {
        if !matches!(self.backlog, Backlog::Until(_)) {
            let last = newest_wanted(&self.directories, compile(&self.subscribe)?, self.cursor).await?;
            self.backlog = last.map_or(Backlog::None, Backlog::Until);
        }
        Ok(self.backlog != Backlog::None)
    }

    /// The same for what was committed before this feed was attached. Once that has been brought, this costs nothing.
    pub async fn is_replaying(&mut self) -> Result<bool, BusError> {
        match self.backlog {
            Backlog::None => Ok(false),
            Backlog::Unknown | Backlog::Until(_) => self.is_behind().await,
        }
    }

    /// The next item. Waits as long as it takes, and comes back from every end of the hub that is not final. May be
    /// cancelled at any time without losing anything.
    pub async fn next(&mut self) -> Result<Item, BusError> {
        loop {
            let received = match &mut self.source {
                Source::Log(log) => {
                    let item = log.next().await?;
                    self.reached(&item);
                    return Ok(item);
                }
                Source::Hub(connection) => connection.next().await,
            };
            match received {
                Ok(Received::Event { id, body, whole }) => {
                    let body = if whole { body } else { self.whole_event(id).unwrap_or(body) };
                    let item = Item::Event { id, body };
                    self.reached(&item);
                    return Ok(item);
                }
                Ok(Received::Gap(gap)) => {
                    let item = Item::Gap(gap);
                    self.reached(&item);
                    return Ok(item);
                }
                Ok(Received::Source(status)) => {
                    if self.is_news(&status) {
                        return Ok(Item::Source(status));
                    }
                }
                Ok(Received::Cursor(cursor)) => self.cursor = cursor,
                Ok(Received::Status(_) | Received::Demand(_)) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(BusError::Protocol { path: self.path.clone(), problem: error.to_string() });
                }
                Err(_end) => self.resume().await?,
            }
        }
    }

    /// Whether a status says something new. A hub tells whoever comes back of those that are silent still.
    fn is_news(&mut self, status: &SourceStatus) -> bool {
        if status.state == SourceState::Silent {
            self.was_blind = true;
            self.silent.insert(status.source.clone());
            return self.told_silent.insert(status.source.clone());
        }
        self.silent.remove(&status.source);
        self.told_silent.remove(&status.source);
        true
    }

    /// Whether since this was asked last a source saw nothing that could have had something for this feed. What has not
    /// come then may have happened all the same.
    pub(super) fn was_blind(&mut self) -> bool {
        std::mem::replace(&mut self.was_blind, !self.silent.is_empty())
    }

    /// Ends the subscription, with a goodbye if it was announced as a source.
    pub async fn leave(self) {
        if let Source::Hub(mut connection) = self.source
            && self.subscribe.announce.is_some()
        {
            // A hub that is gone need not be told.
            connection.say(&Said::Bye);
            let _ = connection.flush().await;
        }
    }

    fn reached(&mut self, item: &Item) {
        let Some(cursor) = item.cursor() else { return };
        self.cursor = cursor;
        self.backlog = match (self.backlog, item) {
            (Backlog::Until(last), _) if last == cursor => Backlog::None,
            // What was known to be there may be among what is not there any more.
            (Backlog::Until(_), Item::Gap(_)) => Backlog::Unknown,
            (backlog, _) => backlog,
        };
    }

    /// Subscribes again, after what has been seen.
    async fn resume(&mut self) -> Result<(), BusError> {
        let subscribe = Subscribe { since: Some(self.cursor), ..self.subscribe.clone() };
        match dial(&self.directories, &self.path, &subscribe, self.options.grace).await {
            Ok((connection, _, _)) => {
                self.source = Source::Hub(connection);
                self.backlog = Backlog::Unknown;
                // This hub tells who is silent now.
                self.silent.clear();
                Ok(())
            }
            Err(failure) => Err(failure.into_error(&self.path, self.options.grace)),
        }
    }

    /// What a frame was too small for. If the log cannot be read, what came has to do.
    fn whole_event(&self, id: EventId) -> Option<serde_json::Map<String, serde_json::Value>> {
        let reader = Reader::open(&LogPaths::new(&self.directories.state)).ok()?;
        let (record, _) = reader.find(id).ok()??;
        Some(event_body(&record.event))
    }
}

fn open_log(directories: &Directories, subscribe: &Subscribe) -> Result<LogAlone, BusError> {
    LogAlone::open(directories, compile(subscribe)?, subscribe.since)
}

pub(super) fn compile(subscribe: &Subscribe) -> Result<Filter, BusError> {
    subscribe
        .filter()
        .map_err(|rejection| BusError::Rejected { reason: rejection.reason, remediation: rejection.remediation })
}

pub(super) enum Failure {
    /// Sockets are forbidden.
    Denied(io::Error),
    /// It is over.
    Bus(BusError),
}

impl Failure {
    /// For whoever cannot do without the hub.
    pub(super) fn into_error(self, path: &Path, patience: Duration) -> BusError {
        match self {
            Failure::Bus(error) => error,
            Failure::Denied(socket) => BusError::Unreachable {
                path: path.to_owned(),
                seconds: patience.as_secs_f64(),
                problem: socket.to_string(),
            },
        }
    }
}

/// Connects, starts a hub where nobody listens, and keeps trying until `patience` has run out. Whatever is waited for
/// on the way, also for a hub that accepts and then says nothing, is waited for no longer than that.
pub(super) async fn dial(
    directories: &Directories,
    path: &Path,
    subscribe: &Subscribe,
    patience: Duration,
) -> Result<(Connection, EventId, Vec<String>), Failure> {
    let mut problem = "it accepts connections and does not answer".to_owned();
    match timeout(patience, keep_dialling(directories, path, subscribe, &mut problem)).await {
        Ok(outcome) => outcome,
        Err(_late) => {
            let seconds = patience.as_secs_f64();
            Err(Failure::Bus(BusError::Unreachable { path: path.to_owned(), seconds, problem }))
        }
    }
}

async fn keep_dialling(
    directories: &Directories,
    path: &Path,
    subscribe: &Subscribe,
    problem: &mut String,
) -> Result<(Connection, EventId, Vec<String>), Failure> {
    let mut pause = RETRY_MIN;
    let mut started = false;
    // What a hub said that could not start says more than that nobody listens since.
    let mut explained = false;
    loop {
        let nobody = match Connection::dial(path, subscribe).await {
            Ok((connection, Acknowledged { cursor, mut notes, log_path })) => {
                notes.extend(same_log::check(directories, path, &log_path).map_err(Failure::Bus)?);
                return Ok((connection, cursor, notes));
            }
            Err(DialError::Denied(error)) => return Err(Failure::Denied(error)),
            Err(DialError::Rejected(reason, remediation)) => {
                return Err(Failure::Bus(BusError::Rejected { reason, remediation }));
            }
            Err(DialError::Stranger(uid)) => {
                return Err(Failure::Bus(BusError::Stranger { path: path.to_owned(), uid }));
            }
            Err(DialError::Lost(error)) => {
                (*problem, explained) = (error.to_string(), false);
                false
            }
            Err(DialError::Nobody(error)) => {
                if !explained {
                    *problem = error.to_string();
                }
                true
            }
        };
        // Whoever has the lock and has lost its socket learns it from the bell.
        if nobody && start::is_held(directories) {
            if let Ok(bell) = TouchFile::open(&LogPaths::new(&directories.state).bell()) {
                bell.touch();
            }
        } else if nobody && !started {
            match start::hub(directories).await {
                Ok(()) => {
                    (started, explained) = (true, false);
                    continue;
                }
                Err(NotStarted::ForNow(error)) => (*problem, explained) = (error.to_string(), true),
                Err(NotStarted::AtAll(error)) => return Err(Failure::Bus(error)),
            }
        }
        started = false;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}
