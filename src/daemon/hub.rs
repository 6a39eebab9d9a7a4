//! The broadcast service: the loop that carries rows from the log to the hub and bytes from the hub to the sockets.
//!
//! It sleeps until the bell rings, a connection has something to say, or a deadline that the hub itself set is
//! reached; with nothing to do it makes no system call. One pass reads one page and then writes, so that a long
//! replay delays nobody by more than a page.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, watch};
use tracing::{debug, error, info, warn};

use super::arrivals::Arrivals;
use super::connection::Fact;
use super::judge::Judge;
use super::names::Names;
use super::signals::{Asked, Signals};
use super::watchdog::Pulse;
use crate::hub::{Hub, Identity, Read, SubscriberId, Subscription};
use crate::model::event::ingest_method;
use crate::model::frame::{Said, Subscribe};
use crate::model::limits::{ACCEPT_BACK_OFF, CHECKPOINT_LOOK_EVERY, DRAIN_TIMEOUT, PAGE_BYTES, WRITE_SLICES};
use crate::model::row::Row;
use crate::store::checkpoint::Checkpoints;
use crate::store::{LogPaths, Reader, StoreError};
use crate::sys::peer::Peer;
use crate::sys::place::Place;
use crate::sys::wake::{TouchFile, WakeWatch};

/// Why the service has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to stop.
    Stopped,
    /// Another hub has taken over.
    HandedOver,
    /// Nobody was there for the agreed time.
    Idle,
}

/// The service could not go on.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The log cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its file is another one now.
    #[error("the log {} has been removed or replaced; the next hub serves from what is there", .0.display())]
    LostLog(PathBuf),
    /// A socket or the bell is broken.
    #[error("the hub's sockets failed: {0}")]
    Io(#[from] io::Error),
}

/// What else there is in the process of a hub.
#[derive(Debug)]
pub struct Company {
    /// The loop's part in the watchdog.
    pub pulse: Pulse,
    /// Since when the listener of the same process has not been in use; none while it is.
    pub elsewhere: watch::Receiver<Option<Instant>>,
}

/// What the service was started with.
#[derive(Debug)]
pub struct Service {
    hub: Hub,
    reader: Reader,
    wake: TouchFile,
    silent_bell: Option<WakeWatch>,
    place: Option<Place>,
    log: Place,
    pulse: Pulse,
    elsewhere: watch::Receiver<Option<Instant>>,
    checkpoints: Checkpoints,
    rows_since_checkpoint: usize,
    peers: HashMap<SubscriberId, Arc<Peer>>,
    judge: Judge,
    names: Names,
    facts: mpsc::UnboundedReceiver<Fact>,
    sender: mpsc::UnboundedSender<Fact>,
}

impl Service {
    /// Opens the log. What connections send to the returned sender is heard once [`Service::run`] runs. A hub whose
    /// sockets are not its own (`place`) was activated.
    pub fn open(
        paths: &LogPaths,
        place: Option<Place>,
        idle_exit: Option<Duration>,
        company: Company,
    ) -> Result<Service, HubError> {
        let reader = Reader::open_or_create(paths)?;
        let tail = reader.newest()?;
        let log_path = paths.database().display().to_string();
        let (pid, activated) = (std::process::id(), place.is_none());
        let identity = Identity { pid, activated, log_path, started: Instant::now(), idle_exit };
        let (sender, facts) = mpsc::unbounded_channel();
        let names = Names::open(paths, &reader, sender.clone())?;
        let wake = touch_file(&paths.wake())?;
        // For rows that other programs committed while no hub ran, and told nobody.
        wake.touch();
        Ok(Service {
            hub: Hub::new(identity, tail),
            reader,
            wake,
            silent_bell: silent_bell(paths)?,
            place,
            log: Place::of(&paths.database())?,
            pulse: company.pulse,
            elsewhere: company.elsewhere,
            checkpoints: Checkpoints::start(paths, |error| {
                warn!(%error, "the write-ahead log could not be checkpointed");
            })?,
            rows_since_checkpoint: 0,
            peers: HashMap::new(),
            judge: Judge::new(paths, sender.clone()),
            names,
            facts,
            sender,
        })
    }

    /// Where connections say what they have to say.
    #[must_use]
    pub fn facts(&self) -> mpsc::UnboundedSender<Fact> {
        self.sender.clone()
    }

    /// Serves until a signal, the idle deadline or an error ends it; subscribers are told.
    pub async fn run(mut self, arrivals: Arrivals<'_>, signals: &mut Signals) -> Result<Ended, HubError> {
        let outcome = self.serve(arrivals, signals).await;
        let reason = match &outcome {
            Ok(Ended::Stopped) => "stopping",
            Ok(Ended::HandedOver) => "handover",
            Ok(Ended::Idle) => "idle",
            Err(_) => "error",
        };
        // However it ends, another one may serve from the same log.
        self.hub.shut_down(reason, true);
        self.drain().await;
        outcome
    }

    async fn serve(&mut self, arrivals: Arrivals<'_>, signals: &mut Signals) -> Result<Ended, HubError> {
        loop {
            let busy = self.pass()?;
            let deadline = self.hub.deadline().map(tokio::time::Instant::from_std);
            tokio::select! {
                biased;
                asked = signals.next() => return Ok(match asked {
                    Asked::Stop => Ended::Stopped,
                    Asked::HandOver => Ended::HandedOver,
                }),
                Some(fact) = self.facts.recv() => {
                    self.learn(fact)?;
                    while let Ok(fact) = self.facts.try_recv() {
                        self.learn(fact)?;
                    }
                }
                () = arrivals.bell.rung() => {
                    // Who rings has committed, to the log that is there now.
                    if self.log.is_lost() {
                        return Err(HubError::LostLog(self.log.path().to_owned()));
                    }
                    self.hub.rang();
                }
                () = touched(self.silent_bell.as_ref()) => {
                    if self.place.as_ref().is_some_and(Place::is_lost) {
                        warn!("the hub's socket has been removed or replaced; leaving, so that its subscribers find the new one");
                        return Ok(Ended::HandedOver);
                    }
                    self.hub.rang();
                }
                Ok(()) = self.elsewhere.changed(), if self.hub.is_used_elsewhere() => self.look_elsewhere(),
                () = tokio::task::yield_now(), if busy => {}
                () = until(deadline), if deadline.is_some() => {
                    let now = Instant::now();
                    if !self.hub.is_idle(now) {
                        self.hub.tick(now, SystemTime::now());
                    } else if arrivals.at_the_door() {
                        self.hub.knocked(now);
                    } else {
                        self.look_elsewhere();
                        if self.hub.is_idle(now) {
                            return Ok(Ended::Idle);
                        }
                    }
                }
            }
        }
    }

    /// Only when the hub would leave: to hear of each connection would wake this loop twice for every delivery.
    fn look_elsewhere(&mut self) {
        match *self.elsewhere.borrow_and_update() {
            None => self.hub.used_elsewhere(),
            Some(since) => self.hub.unused_elsewhere(since),
        }
    }

    /// Reads one page, if one is needed, and writes what can be written. Returns whether there is more to do.
    fn pass(&mut self) -> Result<bool, HubError> {
        if let Some(read) = self.hub.next_read() {
            self.read_page(&read)?;
        }
        while let Some(id) = self.hub.next_write() {
            self.write(id);
        }
        // After the writes: the threads that answer take a processor, which those who need no answer are waiting for.
        while let Some(question) = self.hub.next_question() {
            self.judge.ask(question)?;
        }
        // Also when nothing was read: what has just been written may have made room for more.
        Ok(self.hub.wants_rows())
    }

    fn read_page(&mut self, read: &Read) -> Result<(), HubError> {
        let Service { hub, reader, names, .. } = self;
        let (mut rows, mut bytes) = (0, 0);
        let mut foreign = false;
        let exhausted = reader.scan(read.after, read.limit, false, &mut |row| {
            rows += 1;
            if read.reader.is_none() {
                foreign |= is_foreign(&row);
                announce(&row);
                names.learn(&row);
            }
            bytes += row.weight();
            hub.offer(read, row)?;
            // A few large rows are a page too.
            if bytes > PAGE_BYTES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        hub.read_done(read, exhausted);
        names.reached(hub.tail());
        if foreign {
            // Its writer may not have told the readers that have no socket.
            self.wake.touch();
        }
        if read.reader.is_none() {
            self.rows_since_checkpoint += rows;
            if self.rows_since_checkpoint >= CHECKPOINT_LOOK_EVERY {
                self.rows_since_checkpoint = 0;
                self.checkpoints.look();
            }
        }
        Ok(())
    }

    fn learn(&mut self, fact: Fact) -> Result<(), HubError> {
        match fact {
            Fact::Subscribe { subscribe, filter, peer, answer } => {
                let Subscribe { since, heartbeat, status, announce, .. } = *subscribe;
                let since = since.map(|cursor| self.reader.resolve(cursor).map(|found| (cursor, found))).transpose()?;
                let newest = self.reader.newest()?;
                let notes = self.names.notes(&filter, &self.hub, &self.reader)?;
                let subscription = Subscription { filter, since, newest, heartbeat, status, announce, notes };
                let id = self.hub.subscribe(subscription, Instant::now());
                self.peers.insert(id, peer);
                self.pulse.subscribers(self.hub.subscribers());
                if answer.send(id).is_err() {
                    self.forget(id);
                }
            }
            Fact::Came => self.hub.came(),
            Fact::Went => self.hub.went(Instant::now()),
            Fact::Said(id, Said::Bye) => self.hub.bye(id),
            Fact::Said(id, Said::Failed { reason }) => self.hub.failed(id, reason),
            Fact::Said(id, Said::Health(health)) => self.hub.health(id, health, Instant::now()),
            Fact::Gone(id) => self.forget(id),
            Fact::Writable(id) => self.hub.writable(id),
            Fact::Judged(question, opinions) => self.hub.judged(*question, &opinions?),
            Fact::Names(older) => self.names.merge(&older),
        }
        Ok(())
    }

    fn forget(&mut self, id: SubscriberId) {
        self.peers.remove(&id);
        self.hub.disconnected(id, Instant::now());
        self.pulse.subscribers(self.hub.subscribers());
    }

    fn write(&mut self, id: SubscriberId) {
        let Some(peer) = self.peers.get(&id) else { return };
        let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
        let mut used = 0;
        for (slot, bytes) in slices.iter_mut().zip(self.hub.outbox(id)) {
            *slot = IoSlice::new(bytes);
            used += 1;
        }
        match peer.write(&slices[..used]) {
            Ok(bytes) => {
                if self.hub.wrote(id, bytes) {
                    self.forget(id);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.hub.blocked(id);
                let (peer, sender) = (Arc::clone(peer), self.sender.clone());
                tokio::spawn(async move {
                    if peer.room().await.is_err() {
                        tokio::time::sleep(ACCEPT_BACK_OFF).await;
                    }
                    let _ = sender.send(Fact::Writable(id));
                });
            }
            // What it has said last may not have been read yet, and decides how it has gone.
            Err(_) if self.hub.is_source(id) => self.hub.blocked(id),
            Err(error) => {
                debug!(%error, "a subscriber is gone");
                self.forget(id);
            }
        }
    }

    /// Writes the last frames, as long as subscribers take them.
    async fn drain(&mut self) {
        let all = async {
            while !self.peers.is_empty() {
                while let Some(id) = self.hub.next_write() {
                    self.write(id);
                }
                if self.peers.is_empty() {
                    return;
                }
                match self.facts.recv().await {
                    Some(Fact::Gone(id)) => self.forget(id),
                    Some(Fact::Writable(id)) => self.hub.writable(id),
                    // Whoever comes now finds a closed door, and knocks again.
                    Some(_) | None => {}
                }
            }
        };
        if tokio::time::timeout(DRAIN_TIMEOUT, all).await.is_err() {
            info!(subscribers = self.peers.len(), "some subscribers did not read their last frame");
        }
    }
}

fn touch_file(path: &Path) -> io::Result<TouchFile> {
    TouchFile::open(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// The bell of those who cannot ring. Without it they are heard at the next ring of somebody else.
fn silent_bell(paths: &LogPaths) -> io::Result<Option<WakeWatch>> {
    // Whoever serves this log from a place that is gone hears that somebody else has come.
    touch_file(&paths.bell())?.touch();
    match WakeWatch::of_this(&paths.bell()) {
        Ok(watch) => Ok(Some(watch)),
        Err(error) => {
            warn!(%error, "writers that may not use sockets will be heard late: their bell cannot be watched");
            Ok(None)
        }
    }
}

async fn touched(bell: Option<&WakeWatch>) {
    match bell {
        Some(bell) => bell.touched().await,
        None => std::future::pending().await,
    }
}

pub(super) async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn is_foreign(row: &Row) -> bool {
    match row {
        Row::Event(record) => !ingest_method::is_ours(&record.event.ingest_method),
        Row::Unreadable(_) => true,
        Row::Lost(_) => false,
    }
}

fn announce(row: &Row) {
    match row {
        Row::Event(_) => {}
        Row::Unreadable(row) => error!(seq = row.seq.0, problem = %row.problem, "a row of the log cannot be read"),
        Row::Lost(lost) => warn!(rows = lost.missed, "rows were pruned before they were read"),
    }
}
