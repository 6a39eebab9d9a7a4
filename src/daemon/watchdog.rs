//! The watchdog of a service manager, fed by the event loops themselves: a loop that hangs feeds nobody, and the manager
//! kills the process and starts another one.
//!
//! A watchdog that is always on would wake an idle process for nothing, so it is suspended while every loop sleeps. The
//! order is what makes it safe: a loop that wakes has the watchdog set *before* it looks at what woke it, and has it
//! suspended only as the last thing before it sleeps, when nothing is left to do. Whatever a loop does, it does watched;
//! one that hangs never gets to the place where it is suspended.
//!
//! Telling the manager takes a few system calls, which no event should pay for. A loop that was set therefore stays so,
//! over any number of sleeps, for half of the manager's period. Then its timer, a task like any other and so the loop's
//! own proof of life, feeds, and allows the next sleep to suspend. Under load that makes three messages in half a
//! period, whatever the load; after the last event one wake-up follows, and then none. Within it costs two atomic loads
//! per sleep.
//!
//! There is one watchdog and a loop per service ([`Pulse`]). It is fed as long as every loop that is not suspended has
//! shown itself within the period, so the hang of one is not hidden by the other; it ends the process after two periods
//! at most. What cannot be told from idleness is a loop that sleeps although it should not.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::sync::Notify;

use crate::sys::manager;

/// The watchdog of this process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Watchdog(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    period: Duration,
    state: Mutex<State>,
    subscribers: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    /// When each loop has last shown itself; none while it is suspended.
    seen: Vec<Option<Instant>>,
    /// What the manager has been told last.
    told: Option<String>,
}

/// One loop's part in it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pulse(Option<Arc<Lane>>);

#[derive(Debug)]
struct Lane {
    shared: Arc<Shared>,
    place: usize,
    watched: AtomicBool,
    /// Whether the next sleep may suspend it.
    may_rest: AtomicBool,
    roused: Notify,
}

/// There are no subscribers to speak of.
const NO_HUB: usize = usize::MAX;

impl Watchdog {
    /// The one that the service manager has set for this process, if it has.
    #[must_use]
    pub fn of_this_process() -> Watchdog {
        Watchdog(manager::watchdog().map(|period| {
            let subscribers = AtomicUsize::new(NO_HUB);
            Arc::new(Shared { period, state: Mutex::default(), subscribers })
        }))
    }

    /// A loop's part. It is watched from now on, as the manager watches from the moment at which the service is ready.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        Pulse(self.0.as_ref().map(|shared| {
            let place = shared.join();
            let shared = Arc::clone(shared);
            let (watched, may_rest) = (AtomicBool::new(true), AtomicBool::new(false));
            Arc::new(Lane { shared, place, watched, may_rest, roused: Notify::new() })
        }))
    }
}

impl Pulse {
    /// Has the runtime that is built rouse it and lay it to rest.
    pub fn attend(&self, runtime: &mut Builder) {
        if let Some(lane) = &self.0 {
            let (waking, sleeping) = (Arc::clone(lane), Arc::clone(lane));
            runtime.on_thread_unpark(move || waking.rouse()).on_thread_park(move || sleeping.rest());
        }
    }

    /// The timer. It has to run as a task of the loop that it speaks for.
    pub async fn beat(self) {
        let Some(lane) = self.0 else { return };
        loop {
            if lane.watched.load(Ordering::Relaxed) {
                tokio::time::sleep(lane.shared.period / 2).await;
                lane.shared.seen(lane.place);
                lane.may_rest.store(true, Ordering::Relaxed);
            }
            lane.roused.notified().await;
        }
    }

    /// The loop has waited for something other than its work, within a bound, and lives.
    pub fn has_waited(&self) {
        if let Some(lane) = &self.0 {
            lane.shared.seen_late(lane.place);
        }
    }

    /// How many subscribers there are; told with the next sign of life.
    pub fn subscribers(&self, count: usize) {
        if let Some(lane) = &self.0 {
            lane.shared.subscribers.store(count, Ordering::Relaxed);
        }
    }
}

impl Lane {
    fn rouse(&self) {
        if !self.watched.swap(true, Ordering::Relaxed) {
            self.shared.rouse(self.place);
            self.roused.notify_one();
        }
    }

    fn rest(&self) {
        if self.may_rest.swap(false, Ordering::Relaxed) {
            self.watched.store(false, Ordering::Relaxed);
            self.shared.rest(self.place);
        }
    }
}

impl Shared {
    fn join(&self) -> usize {
        let mut state = self.lock();
        state.seen.push(Some(Instant::now()));
        state.seen.len() - 1
    }

    fn rouse(&self, place: usize) {
        let mut state = self.lock();
        let first = state.seen.iter().all(Option::is_none);
        state.seen[place] = Some(Instant::now());
        if first {
            manager::watch_every(self.period, None);
        }
    }

    fn rest(&self, place: usize) {
        let mut state = self.lock();
        state.seen[place] = None;
        if state.seen.iter().all(Option::is_none) {
            manager::watch_every(Duration::ZERO, self.news(&mut state));
        }
    }

    /// A loop has shown itself. The manager hears of it unless another one has been silent for too long.
    fn seen(&self, place: usize) {
        let mut state = self.lock();
        let now = Instant::now();
        state.seen[place] = Some(now);
        if state.seen.iter().flatten().all(|&seen| now.duration_since(seen) <= self.period) {
            manager::alive(self.news(&mut state));
        }
    }

    fn seen_late(&self, place: usize) {
        let late = self.lock().seen[place].is_some_and(|seen| seen.elapsed() > self.period / 2);
        if late {
            self.seen(place);
        }
    }

    /// The status, if it is another one than the manager knows.
    fn news<'s>(&self, state: &'s mut State) -> Option<&'s str> {
        let status = match self.subscribers.load(Ordering::Relaxed) {
            NO_HUB => return None,
            1 => "Serving 1 subscriber".to_owned(),
            count => format!("Serving {count} subscribers"),
        };
        if state.told.as_ref() == Some(&status) {
            return None;
        }
        Some(state.told.insert(status))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
