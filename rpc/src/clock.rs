//! Another process's monotonic clock, as far as it can be known from here.
//!
//! **Promise.** [`FarClock::at_least`] is never above what the other clock shows at that moment. A time limit translated by it may
//! fall due early, never late.
//!
//! **How.** A process says what its clock shows; whoever hears it notes what its own clock shows then. The way took some time, so
//! the other clock showed at least that much at that moment, and has gone on since. How long the way took need not be known: a slow
//! way only makes the bound lower.
//!
//! **What it rests on.** Clocks whose rates differ by less than 1 in 100, and that do not stand still while their process is there.
//! Clocks that a time service steers differ by 1 in 1000 at most. A stopped process is no trouble (its clock goes on, and it must not
//! know that it was stopped), a suspended machine is: its monotonic clock stands still with it.
//!
//! Source: Cristian, *Probabilistic clock synchronization* (1989), of whose two bounds one is enough here.

use std::time::Duration;

use tokio::time::Instant;

/// Two clocks drift apart by less than one part in so many.
const RATE_DIVISOR: u64 = 100;

/// What is known of another process's clock. It holds for that process only, so for one connection to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FarClock {
    tick: u64,
    heard: Instant,
}

impl FarClock {
    /// A clock that showed `tick`, in microseconds, at some moment before `heard`.
    #[must_use]
    pub fn new(tick: u64, heard: Instant) -> Self {
        Self { tick, heard }
    }

    /// What it shows at least, in microseconds, when the clock here shows `at`.
    #[must_use]
    pub fn at_least(&self, at: Instant) -> u64 {
        match at.checked_duration_since(self.heard) {
            Some(later) => self.tick.saturating_add(micros(later) - drift(later)),
            None => {
                let earlier = self.heard - at;
                self.tick.saturating_sub(micros(earlier).saturating_add(drift(earlier)))
            }
        }
    }

    /// Takes in that it showed `tick` at some moment before `heard`, if that tells more than what was known.
    pub fn hear(&mut self, tick: u64, heard: Instant) {
        if tick >= self.at_least(heard) {
            *self = Self { tick, heard };
        }
    }

    /// Whether what is known of it is older than `age`; the bound has then become that much lower than it need be.
    #[must_use]
    pub fn is_older_than(&self, age: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.heard) > age
    }
}

/// How far two clocks may drift apart within a time, in microseconds, rounded up.
fn drift(time: Duration) -> u64 {
    micros(time).div_ceil(RATE_DIVISOR)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_bound_goes_on_a_little_slower_than_the_clock_here() {
        let heard = Instant::now();
        let far = FarClock::new(5_000_000, heard);
        assert_eq!(far.at_least(heard), 5_000_000);
        assert_eq!(far.at_least(heard + SECOND), 5_990_000);
        assert_eq!(far.at_least(heard + Duration::from_micros(1)), 5_000_000, "rounded down");
    }

    #[test]
    fn a_moment_before_it_was_heard_is_bounded_from_below_too() {
        let heard = Instant::now() + 10 * SECOND;
        let far = FarClock::new(5_000_000, heard);
        assert_eq!(far.at_least(heard - SECOND), 3_990_000);
        assert_eq!(far.at_least(heard - 9 * SECOND), 0);
    }

    /// The far clock runs as fast as it may, or as slowly, and the way takes any time: the bound is below what it shows.
    #[test]
    fn the_bound_is_never_above_what_the_clock_shows() {
        let start = Instant::now();
        for permille in [991_u64, 1_000, 1_009] {
            let shows = |after: u64| 1_000 + after * permille / 1_000;
            for way in [0, 70, 900_000] {
                let mut far = FarClock::new(shows(0), start + Duration::from_micros(way));
                for after in (1_000_000_u64..30_000_000).step_by(777_777) {
                    let now = start + Duration::from_micros(after);
                    assert!(far.at_least(now) <= shows(after), "{permille} {way} {after}");
                    far.hear(shows(after - way), now);
                    assert!(far.at_least(now) <= shows(after), "{permille} {way} {after}");
                }
            }
        }
    }

    #[test]
    fn a_slower_exchange_does_not_make_a_good_bound_worse() {
        let heard = Instant::now();
        let mut far = FarClock::new(5_000_000, heard);
        let later = heard + SECOND;
        far.hear(5_500_000, later);
        assert_eq!(far, FarClock::new(5_000_000, heard), "it came half a second late");
        far.hear(5_999_000, later);
        assert_eq!(far.at_least(later), 5_999_000);
        assert!(!far.is_older_than(SECOND, later) && far.is_older_than(SECOND, later + 2 * SECOND));
    }
}
