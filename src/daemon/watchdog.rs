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
    loops: Loops,
    /// What the manager has been told last.
    told: Option<String>,
}

/// When each loop has last shown itself; none while it is suspended.
#[derive(Debug, Default)]
struct Loops(Vec<Option<Instant>>);

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

impl Loops {
    /// One more, which is watched; its place.
    fn join(&mut self, now: Instant) -> usize {
        self.0.push(Some(now));
        self.0.len() - 1
    }

    /// One has woken up. Returns whether the watchdog has to be set.
    fn rouse(&mut self, place: usize, now: Instant) -> bool {
        let first = self.0.iter().all(Option::is_none);
        self.0[place] = Some(now);
        first
    }

    /// One has nothing to do. Returns whether the watchdog has to be suspended.
    fn rest(&mut self, place: usize) -> bool {
        self.0[place] = None;
        self.0.iter().all(Option::is_none)
    }

    /// One has shown itself. Returns whether the manager may hear of it: unless another one has been silent for too long.
    fn seen(&mut self, place: usize, now: Instant, period: Duration) -> bool {
        self.0[place] = Some(now);
        self.0.iter().flatten().all(|&seen| now.saturating_duration_since(seen) <= period)
    }

    /// Whether one that is watched has not shown itself for so long.
    fn is_late(&self, place: usize, now: Instant, after: Duration) -> bool {
        self.0[place].is_some_and(|seen| now.saturating_duration_since(seen) > after)
    }
}

impl Shared {
    fn join(&self) -> usize {
        self.lock().loops.join(Instant::now())
    }

    fn rouse(&self, place: usize) {
        // Told under the lock, so that no other loop's word can overtake it.
        let mut state = self.lock();
        if state.loops.rouse(place, Instant::now()) {
            manager::watch_every(self.period, None);
        }
    }

    fn rest(&self, place: usize) {
        let mut state = self.lock();
        if state.loops.rest(place) {
            manager::watch_every(Duration::ZERO, self.news(&mut state));
        }
    }

    fn seen(&self, place: usize) {
        let mut state = self.lock();
        if state.loops.seen(place, Instant::now(), self.period) {
            manager::alive(self.news(&mut state));
        }
    }

    fn seen_late(&self, place: usize) {
        let late = self.lock().loops.is_late(place, Instant::now(), self.period / 2);
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

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(30);

    #[test]
    fn the_watchdog_is_set_with_the_first_loop_that_wakes_and_suspended_with_the_last_that_sleeps() {
        let now = Instant::now();
        let mut loops = Loops::default();
        let (hub, listener) = (loops.join(now), loops.join(now));
        assert!(!loops.rest(hub), "the listener works");
        assert!(loops.rest(listener));
        assert!(loops.rouse(hub, now));
        assert!(!loops.rouse(listener, now), "it is set already");
        assert!(!loops.rest(hub));
        assert!(!loops.rouse(hub, now));
        assert!(!loops.rest(listener));
        assert!(loops.rest(hub));
    }

    #[test]
    fn a_loop_that_hangs_is_not_hidden_by_one_that_works() {
        let start = Instant::now();
        let mut loops = Loops::default();
        let (hub, listener) = (loops.join(start), loops.join(start));
        let half = PERIOD / 2;
        assert!(loops.seen(hub, start + half, PERIOD) && loops.seen(hub, start + PERIOD, PERIOD));
        for beat in 3..10 {
            assert!(!loops.seen(hub, start + half * beat, PERIOD), "the listener has hung for {beat} half periods");
        }
        // Sleeping and waking again is no way around it.
        assert!(!loops.rest(hub) && !loops.rouse(hub, start + PERIOD * 6));
        assert!(!loops.seen(hub, start + PERIOD * 6, PERIOD));
        assert!(loops.is_late(listener, start + PERIOD * 6, half));
        assert!(loops.seen(listener, start + PERIOD * 6, PERIOD));
        // One that sleeps is not missed.
        assert!(!loops.rest(listener) && !loops.is_late(listener, start + PERIOD * 9, half));
        assert!(loops.seen(hub, start + PERIOD * 9, PERIOD));
    }
}
