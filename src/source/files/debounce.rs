//! When to look at what has been hinted at: once it has been quiet for a while and nobody is known to be writing, and at
//! the latest after a bound, so that what is written for ever is told all the same. The clock is an argument.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

use crate::ingest::files::Origin;

/// This moment, on the clock that only goes on and on the one of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) at: Instant,
    /// A time of the files, in nanoseconds since the epoch, before which there was nothing of which the kernel has not
    /// told us.
    pub(super) wall: i128,
}

/// What a hint says of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// It has been made, and may be filled yet.
    Made,
    /// Somebody writes to it and has not closed it.
    Written,
    /// Its writer has closed it, or the path is another file now: there is nothing left to wait for.
    Whole,
    /// Something may have changed.
    Look,
    /// It has been found among what changed since a time, and may have been told since then.
    Found,
    /// Something certainly has.
    Changed,
}

/// What is known of a path that has to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not one state")]
pub(super) struct Pending<K> {
    /// The first hint since it was last looked at.
    pub(super) first: Moment,
    /// Whether a writer is known that has not closed it.
    pub(super) is_open: bool,
    /// Whether its content has certainly been changed, whatever its times say.
    pub(super) is_written: bool,
    /// Whether it has been made and nothing has been said of its content yet.
    pub(super) is_made: bool,
    /// Whether it may have been told already as it is.
    pub(super) may_be_told: bool,
    /// The least usual way in which it was noticed.
    pub(super) origin: Origin,
    /// The other end of a rename, for which this one waits …
    follows: Option<K>,
    /// … and which waits for this one.
    followed_by: Option<K>,
    due: (Instant, u64),
}

/// Paths to look at, by when.
#[derive(Debug)]
pub(super) struct Debounce<K> {
    quiet: Duration,
    at_most: Duration,
    pending: HashMap<K, Pending<K>>,
    queue: BTreeSet<((Instant, u64), Sorted<K>)>,
    /// Counts hints, so that of two paths that are due at the same time the one that changed last comes last.
    hints: u64,
}

/// A key in a set that is sorted by something unique beside it.
#[derive(Clone, Debug)]
struct Sorted<K>(K);

impl<K> PartialEq for Sorted<K> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl<K> Eq for Sorted<K> {}
impl<K> PartialOrd for Sorted<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Sorted<K> {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl<K: Clone + Eq + Hash> Debounce<K> {
    /// Looks after `quiet` without a hint, and after `at_most` in any case.
    pub(super) fn new(quiet: Duration, at_most: Duration) -> Debounce<K> {
        Debounce { quiet, at_most, pending: HashMap::new(), queue: BTreeSet::new(), hints: 0 }
    }

    /// How many paths are to be looked at.
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether a path waits to be looked at.
    pub(super) fn is_waiting(&self, key: &K) -> bool {
        self.pending.contains_key(key)
    }

    /// Something is said of a path.
    pub(super) fn hint(&mut self, key: K, hint: Hint, origin: Origin, now: Moment) {
        self.hints += 1;
        let due = (now.at, self.hints);
        let new = || Pending {
            first: now,
            is_open: false,
            is_written: false,
            is_made: false,
            may_be_told: false,
            origin,
            follows: None,
            followed_by: None,
            due,
        };
        let pending = self.pending.entry(key.clone()).or_insert_with(new);
        self.queue.remove(&(pending.due, Sorted(key.clone())));
        pending.origin = pending.origin.max(origin);
        match hint {
            Hint::Made => (pending.is_open, pending.is_made) = (false, true),
            Hint::Written => (pending.is_open, pending.is_written, pending.is_made) = (true, true, false),
            Hint::Whole => (pending.is_open, pending.is_made) = (false, false),
            Hint::Changed => pending.is_written = true,
            Hint::Found => pending.may_be_told = true,
            Hint::Look => {}
        }
        let latest = pending.first.at + self.at_most;
        pending.due = (if pending.is_open { latest } else { latest.min(now.at + self.quiet) }, self.hints);
        self.queue.insert((pending.due, Sorted(key)));
    }

    /// The first path is where the second was before a rename: they are looked at together, so that one of them is not
    /// told as gone while the other waits.
    pub(super) fn follow(&mut self, from: &K, to: K) {
        if *from == to || !self.pending.contains_key(from) {
            return;
        }
        if let Some(pending) = self.pending.get_mut(&to) {
            pending.followed_by = Some(from.clone());
            self.pending.entry(from.clone()).and_modify(|pending| pending.follows = Some(to));
        }
    }

    /// When the next path is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|((due, _), _)| *due)
    }

    /// The time of the files since which something may have happened that has not been told yet.
    pub(super) fn untold_since(&self) -> Option<i128> {
        self.pending.values().map(|pending| pending.first.wall).min()
    }

    /// The next path that is due, with the other ends of its renames.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(K, Pending<K>)> {
        while let Some((due, Sorted(key))) = self.queue.first().filter(|((due, _), _)| *due <= now).cloned() {
            self.queue.remove(&(due, Sorted(key.clone())));
            let Some(pending) = self.pending.get(&key) else { continue };
            let latest = pending.first.at + self.at_most;
            let (from, to) = (pending.followed_by.clone(), pending.follows.clone());
            let later = to.as_ref().and_then(|to| self.pending.get(to)).map(|to| to.due.0.min(latest));
            if let Some(later) = later.filter(|later| *later > now) {
                self.pending.entry(key.clone()).and_modify(|pending| pending.due.0 = later);
                self.queue.insert(((later, due.1), Sorted(key)));
                continue;
            }
            return [from, Some(key), to].into_iter().flatten().filter_map(|key| self.take(key)).collect();
        }
        Vec::new()
    }

    /// Puts back a path that was due, as one that somebody has open: to be looked at again at the latest time, or when
    /// more is said of it.
    pub(super) fn hold(&mut self, key: K, mut pending: Pending<K>) {
        (pending.is_open, pending.is_made) = (true, false);
        pending.due.0 = pending.first.at + self.at_most;
        self.queue.insert((pending.due, Sorted(key.clone())));
        self.pending.insert(key, pending);
    }

    fn take(&mut self, key: K) -> Option<(K, Pending<K>)> {
        let pending = self.pending.remove(&key)?;
        self.queue.remove(&(pending.due, Sorted(key.clone())));
        Some((key, pending))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_millis(50);
    const AT_MOST: Duration = Duration::from_secs(2);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn at(at: Instant) -> Moment {
        Moment { at, wall: 0 }
    }

    fn keys(due: Vec<(u32, Pending<u32>)>) -> Vec<u32> {
        due.into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn a_path_is_due_when_it_has_been_quiet() {
        let start = Instant::now();
        let mut debounce = Debounce::new(QUIET, AT_MOST);
        debounce.hint(1, Hint::Look, Origin::Live, at(start));
        debounce.hint(1, Hint::Look, Origin::Live, at(start + ms(30)));
        assert_eq!(debounce.next(), Some(start + ms(80)));
        assert!(debounce.due(start + ms(79)).is_empty());
        assert_eq!(keys(debounce.due(start + ms(80))), [1]);
        assert_eq!((debounce.next(), debounce.len()), (None, 0));
    }

    #[test]
    fn what_is_open_is_due_when_it_is_closed_and_what_is_never_closed_or_quiet_at_the_latest_time() {
        let start = Instant::now();
        let mut debounce = Debounce::new(QUIET, AT_MOST);
        debounce.hint(1, Hint::Written, Origin::Live, at(start));
        assert_eq!(debounce.next(), Some(start + AT_MOST));
        debounce.hint(1, Hint::Whole, Origin::Live, at(start + ms(100)));
        assert_eq!(debounce.next(), Some(start + ms(150)));
        for busy in 0..1_000 {
            debounce.hint(1, Hint::Look, Origin::Live, at(start + ms(100 + busy * 10)));
        }
        assert_eq!(debounce.next(), Some(start + AT_MOST));
    }

    #[test]
    fn both_ends_of_a_rename_are_due_together_and_two_that_wait_for_each_other_do_not_wait_for_ever() {
        let start = Instant::now();
        let mut debounce = Debounce::new(QUIET, AT_MOST);
        debounce.hint(1, Hint::Look, Origin::Live, at(start));
        debounce.hint(2, Hint::Look, Origin::Live, at(start));
        debounce.follow(&1, 2);
        debounce.hint(2, Hint::Written, Origin::Live, at(start + ms(10)));
        assert!(debounce.due(start + ms(60)).is_empty());
        debounce.hint(2, Hint::Whole, Origin::Live, at(start + ms(500)));
        assert_eq!(keys(debounce.due(start + ms(550))), [1, 2]);
        for key in [3, 4] {
            debounce.hint(key, Hint::Look, Origin::Live, at(start));
        }
        debounce.follow(&3, 4);
        debounce.follow(&4, 3);
        assert_eq!(keys(debounce.due(start + AT_MOST)), [4, 3]);
        debounce.hint(5, Hint::Look, Origin::Live, at(start));
        debounce.follow(&5, 5);
        assert_eq!(keys(debounce.due(start + AT_MOST)), [5]);
    }

    #[test]
    fn the_order_is_that_of_the_last_hints() {
        let start = Instant::now();
        let mut debounce = Debounce::new(QUIET, AT_MOST);
        for key in [1, 2, 3, 1] {
            debounce.hint(key, Hint::Look, Origin::Live, at(start));
        }
        let order: Vec<u32> = (0..3).flat_map(|_| keys(debounce.due(start + AT_MOST))).collect();
        assert_eq!(order, [2, 3, 1]);
    }
}
