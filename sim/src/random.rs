//! All randomness of a run, from its seed.
//!
//! **Promise.** Every purpose draws from a stream of its own, named by a label. Taking one kind of fault out of a run, or a
//! client, leaves all other streams as they were: that is what makes a failing run small without losing its failure.
//!
//! A story that is told, not searched for, wants no chance at all: its streams draw the [lowest](Random::lowest) number always.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random(Source);

#[derive(Clone, Debug)]
enum Source {
    Seeded(Xoshiro256PlusPlus),
    Lowest,
}

impl Random {
    /// The stream of one purpose within a seed.
    pub(crate) fn of(seed: u64, purpose: &str) -> Self {
        Self(Source::Seeded(Xoshiro256PlusPlus::seed_from_u64(xxh3_64_with_seed(purpose.as_bytes(), seed))))
    }

    /// The stream of one of several that share a purpose.
    pub(crate) fn numbered(seed: u64, purpose: &str, number: u64) -> Self {
        Self::of(xxh3_64_with_seed(&number.to_le_bytes(), seed), purpose)
    }

    /// The stream that draws the lowest number always: no jitter, the first of everything, and whatever has a chance happens. What it
    /// shuffles begins with the second and ends with the first.
    pub(crate) fn lowest() -> Self {
        Self(Source::Lowest)
    }

    pub(crate) fn next(&mut self) -> u64 {
        match &mut self.0 {
            Source::Seeded(generator) => generator.next_u64(),
            Source::Lowest => 0,
        }
    }

    /// Below `bound`, which is at least 1.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        debug_assert!(bound > 0, "there is a number to draw");
        // The bias of 2^-64 * bound is far below what any run could show.
        u64::try_from((u128::from(self.next()) * u128::from(bound)) >> 64).expect("the product of two 64-bit numbers has 128 bits")
    }

    /// From `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True in `permille` of 1000 draws.
    pub(crate) fn chance(&mut self, permille: u32) -> bool {
        permille > 0 && self.below(1000) < u64::from(permille)
    }

    /// An index below `length`, which is at least 1.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("below a usize")
    }

    /// One of `items`, of which there is at least one.
    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.index(items.len())]
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.index(end + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_one_seed_differ_by_purpose_and_repeat() {
        let draw = |purpose| Random::of(7, purpose).next();
        assert_eq!(draw("network"), draw("network"));
        assert_ne!(draw("network"), draw("faults"));
        assert_ne!(Random::numbered(7, "client", 0).next(), Random::numbered(7, "client", 1).next());
    }

    #[test]
    fn the_lowest_draws_leave_nothing_to_chance() {
        let mut random = Random::lowest();
        let mut items = [1, 2, 3, 4];
        random.shuffle(&mut items);
        assert_eq!(items, [2, 3, 4, 1]);
        assert_eq!((random.between(3, 5), random.pick(&items), random.chance(1), random.chance(0)), (3, 2, true, false));
    }

    #[test]
    fn draws_stay_within_their_bounds() {
        let mut random = Random::of(1, "bounds");
        let draws: Vec<u64> = (0..1000).map(|_| random.between(3, 5)).collect();
        assert!(draws.iter().all(|draw| (3..=5).contains(draw)) && [3, 4, 5].iter().all(|bound| draws.contains(bound)));
        assert!(!random.chance(0) && random.chance(1000));
    }
}
