//! The hub and the log's paging, simulated against a naive model: thousands of histories, each a seed.
//!
//! A history is what chance makes of publishing, ringing or forgetting to, subscribing, reading, stalling, hanging up
//! and coming back, pruning, waiting, stopping and killing. The model keeps every row that was ever committed and knows
//! for each client which of them it is owed. What the hub writes is parsed from its bytes; nothing is asked of its
//! insides but the size of its buffers. Whatever a client is owed has to come exactly once, in commit order, across all
//! its connections, or a `gap` has to say what does not come.
//!
//! A history that fails names its seed: `WAITBUS_SEED=… WAITBUS_SEEDS=1 cargo test simulation` repeats it.

mod client;
mod crowd;
mod history;
mod log;
mod shelf;
mod wanted;
mod world;

use crate::harness::seeds;
use world::World;

/// What the histories of one test are like.
#[derive(Clone, Copy)]
pub struct Profile {
    /// Steps of a history, at most.
    steps: usize,
    /// How many of a hundred publications are bursts …
    bursts: usize,
    /// … and of how many events, at most.
    burst: usize,
    /// Sizes of an event, in bytes.
    sizes: &'static [usize],
}

/// Says how to repeat a history that failed.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("to repeat it: WAITBUS_SEED={} WAITBUS_SEEDS=1", self.0);
        }
    }
}

fn simulate(count: u64, profile: Profile) {
    for seed in seeds(count) {
        let _repeat = Seed(seed);
        let mut world = World::new(seed, profile);
        for _ in 0..world.random.within(5..=profile.steps) {
            world.step();
        }
        world.finish();
    }
}

/// The rival resumed from cursors that it did not know without a word, stopped for good at a row that it could not
/// decode, and began at the newest row after a restart.
#[test]
fn every_client_hears_what_it_asked_for_once_and_in_order_or_what_is_missing() {
    simulate(1_500, Profile { steps: 60, bursts: 15, burst: 12, sizes: &[0, 0, 10, 100, 2_000] });
}

/// Bounded buffers: a slow reader is served later, from memory or from the log, and an event over the frame cap still
/// matches its predicate.
#[test]
fn a_stalled_client_gets_everything_later_and_its_buffer_stays_bounded() {
    simulate(200, Profile { steps: 60, bursts: 30, burst: 8, sizes: &[10, 5_000, 30_000, 64_000, 70_000] });
}

/// A burst larger than a page went out one page for each ring, and replay stopped at 500 rows that were counted before
/// the filter.
#[test]
fn a_burst_of_many_pages_needs_one_ring_and_one_cursor() {
    simulate(80, Profile { steps: 40, bursts: 30, burst: 700, sizes: &[0, 0, 200] });
}
