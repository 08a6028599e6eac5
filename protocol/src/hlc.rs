//! A hybrid logical clock: wall time that never runs backwards and counts within a millisecond.
//!
//! **Promise.** Stamps given out by one clock grow strictly, whatever the wall clock does, and grow past every stamp the
//! clock has observed from others. No safety argument rests on them: they order versions for display only.
//!
//! A stamp from another node that is more than [`AHEAD_MS_MAX`] ahead of our wall clock is not followed, so one node with a
//! wrong clock cannot drag the whole cluster into the future.
//!
//! Sources: Kulkarni et al., *Logical Physical Clocks* (2014).

use std::fmt;

use serde::{Deserialize, Serialize};

/// How far a foreign stamp may be ahead of our wall clock and still be followed, in milliseconds.
pub const AHEAD_MS_MAX: u64 = 500;

/// Bits that count events within one millisecond.
const COUNTER_BITS: u32 = 16;

/// A stamp: 48 bits of milliseconds since 1970, then 16 bits of counter. Compares in time order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hlc(pub u64);

impl Hlc {
    /// The first stamp of a millisecond.
    #[must_use]
    pub fn at_ms(ms: u64) -> Self {
        Self(ms << COUNTER_BITS)
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn ms(self) -> u64 {
        self.0 >> COUNTER_BITS
    }
}

impl fmt::Display for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.ms(), self.0 & ((1 << COUNTER_BITS) - 1))
    }
}

/// A foreign stamp was too far ahead of our wall clock and was not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TooFarAhead {
    /// How far ahead of our wall clock it was, in milliseconds.
    pub ahead_ms: u64,
}

/// The highest stamp given out or followed so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HybridClock {
    highest: Hlc,
}

impl HybridClock {
    /// A clock that has already given out everything up to `highest`.
    #[must_use]
    pub fn resume(highest: Hlc) -> Self {
        Self { highest }
    }

    /// Gives out the next stamp, with the wall clock at `now_ms`.
    pub fn tick(&mut self, now_ms: u64) -> Hlc {
        self.highest = Hlc(self.highest.0 + 1).max(Hlc::at_ms(now_ms));
        self.highest
    }

    /// Follows a stamp seen from elsewhere, with the wall clock at `now_ms`.
    ///
    /// # Errors
    /// [`TooFarAhead`] if it lies more than [`AHEAD_MS_MAX`] in the future; the clock is unchanged.
    pub fn observe(&mut self, stamp: Hlc, now_ms: u64) -> Result<(), TooFarAhead> {
        let ahead_ms = stamp.ms().saturating_sub(now_ms);
        if ahead_ms > AHEAD_MS_MAX {
            return Err(TooFarAhead { ahead_ms });
        }
        self.highest = self.highest.max(stamp);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_grow_when_the_wall_clock_steps_back() {
        let mut clock = HybridClock::default();
        let first = clock.tick(1_000);
        let second = clock.tick(10);
        assert!(second > first);
        assert_eq!(second.ms(), 1_000);
    }

    #[test]
    fn a_stamp_from_the_near_future_is_followed_and_from_the_far_future_refused() {
        let mut clock = HybridClock::default();
        clock.observe(Hlc::at_ms(1_400), 1_000).expect("within the bound");
        assert!(clock.tick(1_000) > Hlc::at_ms(1_400));
        assert_eq!(clock.observe(Hlc::at_ms(9_000), 1_000), Err(TooFarAhead { ahead_ms: 8_000 }));
        assert!(clock.tick(1_000) < Hlc::at_ms(9_000));
    }
}
