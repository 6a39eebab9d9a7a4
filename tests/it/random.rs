//! Chance that repeats itself: one seed, one sequence (`SplitMix64`).

use std::ops::RangeInclusive;

pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(1))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number of the range; both ends are in it.
    pub fn within(&mut self, range: RangeInclusive<usize>) -> usize {
        let width = (range.end() - range.start()) as u64 + 1;
        range.start() + usize::try_from(self.next() % width).unwrap()
    }

    /// True so many times in a hundred.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.within(1..=100) <= percent
    }

    pub fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.within(0..=items.len() - 1)].clone()
    }

    /// As many of the items as come up, each with even odds.
    pub fn some<T: Clone>(&mut self, items: &[T]) -> Vec<T> {
        items.iter().filter(|_| self.chance(50)).cloned().collect()
    }
}
