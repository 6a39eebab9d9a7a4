//! The hub's memory of names: learned from every row that the loop reads, written down by a thread of its own, because
//! the log's write lock may be somebody else's for a while, and asked when somebody subscribes.

use std::io;
use std::sync::mpsc as thread_mpsc;
use std::thread;

use tokio::sync::mpsc;
use tracing::warn;

use super::connection::Fact;
use crate::hub::Hub;
use crate::model::filter::Filter;
use crate::model::id::Seq;
use crate::model::limits::NAMES_WRITTEN_EVERY;
use crate::model::row::{Position, Row};
use crate::model::vocabulary::{Name, Vocabulary};
use crate::store::{Learned, LogPaths, Reader, Scribe, StoreError};

#[derive(Debug)]
pub(super) struct Names {
    vocabulary: Vocabulary,
    /// Whether every row before the hub's tail is in it.
    complete: bool,
    /// New ones that are not written down yet.
    new: Vec<Name>,
    rows: usize,
    paths: LogPaths,
    thread: Option<thread_mpsc::Sender<Task>>,
    facts: mpsc::UnboundedSender<Fact>,
}

enum Task {
    /// Write these down; the names of all rows up to there are.
    Write(Vec<Name>, Seq),
    /// Read the names of all rows after this place.
    ReadOn(Seq),
}

impl Names {
    pub(super) fn open(
        paths: &LogPaths,
        reader: &Reader,
        facts: mpsc::UnboundedSender<Fact>,
    ) -> Result<Names, StoreError> {
        let mut learned = reader.names()?;
        let written = learned.place;
        let complete = reader.learn_at_once(&mut learned)?;
        let Learned { vocabulary, new, place } = learned;
        let (rows, thread) = (0, None);
        let mut names = Names { vocabulary, complete, new, rows, paths: paths.clone(), thread, facts };
        // A hub that cannot remember names delivers all the same.
        if place > written {
            names.write(place);
        }
        if !complete && names.send(Task::ReadOn(place)).is_err() {
            warn!("the names of older events cannot be read; nobody is warned of a mistyped one");
        }
        Ok(names)
    }

    /// A row that the hub has read at the end of the log.
    pub(super) fn learn(&mut self, row: &Row) {
        self.rows += 1;
        if let Row::Event(record) = row {
            self.new.extend(self.vocabulary.learn(record));
        }
    }

    /// The hub has come so far.
    pub(super) fn reached(&mut self, tail: Position) {
        if !self.new.is_empty() || self.rows >= NAMES_WRITTEN_EVERY {
            self.rows = 0;
            self.write(if self.complete { tail.seq } else { Seq::START });
        }
    }

    /// The names of older rows have been read.
    pub(super) fn merge(&mut self, older: &Vocabulary) {
        for (kind, name) in older.names() {
            self.vocabulary.add(kind, name);
        }
        self.complete = true;
    }

    /// Warnings for a new subscriber.
    pub(super) fn notes(&self, filter: &Filter, hub: &Hub, reader: &Reader) -> Result<Vec<String>, StoreError> {
        let announced = |source: &str| hub.knows_source(source);
        let notes = if self.complete { self.vocabulary.notes(filter, &announced) } else { Vec::new() };
        if notes.is_empty() {
            return Ok(notes);
        }
        // The answer may be in rows that the hub has not come to yet.
        let mut learned = Learned { vocabulary: self.vocabulary.clone(), new: Vec::new(), place: hub.tail().seq };
        let complete = reader.learn_at_once(&mut learned)?;
        Ok(if complete { learned.vocabulary.notes(filter, &announced) } else { Vec::new() })
    }

    fn write(&mut self, read: Seq) {
        let new = std::mem::take(&mut self.new);
        if let Err(error) = self.send(Task::Write(new, read)) {
            warn!(%error, "names of events cannot be written down");
        }
    }

    fn send(&mut self, task: Task) -> io::Result<()> {
        let thread = match &self.thread {
            Some(thread) => thread,
            None => self.thread.insert(start(self.paths.clone(), self.facts.clone())?),
        };
        thread.send(task).map_err(|_| io::Error::other("the thread for it has ended"))
    }
}

/// Starts the thread that writes. It ends when the loop does.
fn start(paths: LogPaths, facts: mpsc::UnboundedSender<Fact>) -> io::Result<thread_mpsc::Sender<Task>> {
    let (sender, tasks) = thread_mpsc::channel();
    thread::Builder::new().name("names".into()).spawn(move || {
        let mut scribe = None;
        // What could not be written is tried again with what comes next.
        let (mut unwritten, mut reached) = (Vec::new(), Seq::START);
        while let Ok(task) = tasks.recv() {
            match task {
                Task::Write(names, read) => {
                    unwritten.extend(names);
                    reached = reached.max(read);
                }
                Task::ReadOn(place) => match read_on(&paths, place) {
                    Ok(Learned { vocabulary, new, place }) => {
                        unwritten.extend(new);
                        reached = reached.max(place);
                        if facts.send(Fact::Names(vocabulary)).is_err() {
                            return;
                        }
                    }
                    Err(error) => warn!(%error, "the names of older events cannot be read"),
                },
            }
            match write(&paths, &mut scribe, &unwritten, reached) {
                Ok(()) => unwritten.clear(),
                Err(error) => warn!(%error, "names of events cannot be written down for now"),
            }
        }
    })?;
    Ok(sender)
}

fn read_on(paths: &LogPaths, place: Seq) -> Result<Learned, StoreError> {
    let reader = Reader::open(paths)?;
    let mut learned = Learned { place, ..Learned::default() };
    while !reader.learn(&mut learned)? {}
    Ok(learned)
}

fn write(paths: &LogPaths, scribe: &mut Option<Scribe>, names: &[Name], read: Seq) -> Result<(), StoreError> {
    let scribe = match scribe {
        Some(scribe) => scribe,
        none => none.insert(Scribe::open(paths)?),
    };
    scribe.write(names, read)
}
