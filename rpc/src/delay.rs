//! How long messages take to another process and back, each way for itself, as far as two clocks can tell.
//!
//! **Promise.** The two delays of an exchange add up to its round trip, and neither is negative. A way that has become slower than it
//! was within the last [`SPAN`] shows in its own direction, not in the other one.
//!
//! **How.** A request leaves at `sent`, the other process answers with what its clock shows, the answer is here at `heard`. Between the
//! two clocks lies an offset that nobody knows. What the far clock showed, less `sent`, is the way out plus the offset; `heard`, less
//! what it showed, is the way back minus the offset. The offset is the same in every exchange, so the least of each is a fastest way,
//! and the two together are a round trip without any waiting. That one is split in halves: then the offset is known, and with it both
//! ways of every exchange.
//!
//! ```text
//! here   sent ----.                    .----> heard
//! there            `----> shown ------'
//!        |<- out ->|<------ back ----->|
//! ```
//!
//! **What it cannot know.** By how much the fastest way out and the fastest way back differ: no exchange of messages between two clocks
//! tells. Delays are wrong by half that difference, the one by as much too high as the other too low. So a way that is slow from the
//! first exchange on, or for longer than twice [`SPAN`], passes for half as slow, and the way back for slow too. Clocks drift apart,
//! which is why old exchanges are forgotten: two that drift by 1 us in a second make delays wrong by 60 us at most. And what is
//! measured ends where the processes look at their clocks: time spent in their queues counts as time on the way.
//!
//! Sources: Cristian, *Probabilistic clock synchronization* (1989): the round trip bounds the offset. RFC 5905 §10: of the last
//! exchanges the fastest tells most. Unlike there, the fastest way out and the fastest way back need not belong to one exchange.

use std::time::Duration;

use tokio::time::Instant;

/// How long a fastest way is remembered, at least; at most twice as long. Longer than faults last that one makes on purpose, short
/// enough for clocks that nobody steers.
pub const SPAN: Duration = Duration::from_secs(60);

/// A question and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// When the question was asked.
    pub sent: Instant,
    /// What the other process's monotonic clock showed when it answered, in microseconds.
    pub shown: u64,
    /// When the answer was here.
    pub heard: Instant,
}

impl Exchange {
    /// How long it took in all, in microseconds.
    #[must_use]
    pub fn round_trip_micros(&self) -> u64 {
        u64::try_from(self.heard.saturating_duration_since(self.sent).as_micros()).unwrap_or(u64::MAX)
    }
}

/// How long one exchange took, each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// From here to there.
    pub out: Duration,
    /// From there to here.
    pub back: Duration,
}

/// What is known of the ways to one other process. It holds for that process only, so for one connection to it.
#[derive(Clone, Debug)]
pub struct Ways {
    /// Where this process's clock begins to count.
    origin: Instant,
    out: Fastest,
    back: Fastest,
}

impl Ways {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { origin: now, out: Fastest::new(now), back: Fastest::new(now) }
    }

    /// How long an exchange took each way, in the light of it and of those before it. The first is split in halves.
    pub fn measure(&mut self, exchange: &Exchange) -> Delays {
        let Exchange { sent, shown, heard } = *exchange;
        let shown = i128::from(shown) * 1_000;
        // The way out plus the offset, and the way back minus the offset.
        let (out, back) = (shown - self.nanos(sent), self.nanos(heard) - shown);
        let fastest_out = self.out.take_in(out, heard);
        let fastest_back = self.back.take_in(back, heard);
        // Too short, perhaps below zero, if the clocks have drifted apart meanwhile.
        let fastest_round_trip = fastest_out + fastest_back;
        let round_trip = out + back;
        let out = (out - fastest_out + fastest_round_trip / 2).clamp(0, round_trip.max(0));
        Delays { out: duration(out), back: duration(round_trip - out) }
    }

    fn nanos(&self, at: Instant) -> i128 {
        let nanos = |time: Duration| i128::try_from(time.as_nanos()).unwrap_or(i128::MAX / 4);
        match at.checked_duration_since(self.origin) {
            Some(later) => nanos(later),
            None => -nanos(self.origin - at),
        }
    }
}

/// The least of what was taken in within the last one to two spans.
#[derive(Clone, Debug)]
struct Fastest {
    before: Option<i128>,
    current: Option<i128>,
    current_since: Instant,
}

impl Fastest {
    fn new(now: Instant) -> Self {
        Self { before: None, current: None, current_since: now }
    }

    fn take_in(&mut self, way: i128, now: Instant) -> i128 {
        if now.saturating_duration_since(self.current_since) >= SPAN {
            self.before = self.current.take();
            self.current_since = now;
        }
        let current = self.current.map_or(way, |fastest| fastest.min(way));
        self.current = Some(current);
        self.before.map_or(current, |before| before.min(current))
    }
}

fn duration(nanos: i128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFSET: u64 = 7_000_000_000;

    fn micros(count: u64) -> Duration {
        Duration::from_micros(count)
    }

    /// Two processes whose clocks differ.
    struct Pair {
        start: Instant,
        ways: Ways,
    }

    impl Pair {
        fn new() -> Self {
            let start = Instant::now();
            Self { start, ways: Ways::new(start) }
        }

        /// What is measured of an exchange that begins `at` and truly takes so long each way, all in microseconds.
        fn exchange(&mut self, at: u64, out: u64, back: u64) -> (u64, u64) {
            let sent = self.start + micros(at);
            let exchange = Exchange { sent, shown: OFFSET + at + out, heard: sent + micros(out + back) };
            let Delays { out, back } = self.ways.measure(&exchange);
            (u64::try_from(out.as_micros()).expect("short"), u64::try_from(back.as_micros()).expect("short"))
        }
    }

    #[test]
    fn a_way_that_becomes_slow_shows_in_its_own_direction() {
        let mut pair = Pair::new();
        assert_eq!(pair.exchange(0, 50, 50), (50, 50));
        assert_eq!(pair.exchange(1_000, 20_050, 60), (20_050, 60));
        assert_eq!(pair.exchange(2_000, 70, 30_050), (70, 30_050));
        assert_eq!(pair.exchange(3_000, 55, 50), (55, 50), "and passes again");
    }

    /// The fastest way out and the fastest way back are of different exchanges, none of which was fast both ways.
    #[test]
    fn each_direction_has_a_fastest_of_its_own() {
        let mut pair = Pair::new();
        assert_eq!(pair.exchange(0, 40, 900), (470, 470), "the first is split in halves");
        pair.exchange(1_000, 900, 40);
        assert_eq!(pair.exchange(2_000, 40, 900), (40, 900));
        assert_eq!(pair.exchange(3_000, 250, 100), (250, 100));
    }

    #[test]
    fn a_lasting_difference_of_the_fastest_ways_is_split_in_halves() {
        let mut pair = Pair::new();
        pair.exchange(0, 30_000, 100);
        assert_eq!(pair.exchange(1_000, 30_000, 100), (15_050, 15_050));
        assert_eq!(pair.exchange(2_000, 31_000, 100), (16_050, 15_050), "what comes on top is told apart");
    }

    #[test]
    fn a_fastest_way_is_remembered_for_a_span_and_forgotten_after_two() {
        let (mut pair, span) = (Pair::new(), u64::try_from(SPAN.as_micros()).expect("short"));
        pair.exchange(0, 50, 50);
        for at in (1..=20).map(|step| step * span / 10) {
            let measured = pair.exchange(at, 10_050, 50);
            assert!(at >= 2 * span || measured == (10_050, 50), "{at} {measured:?}");
        }
        assert_eq!(pair.exchange(2 * span + 1, 10_050, 50), (5_050, 5_050));
    }

    /// The far clock runs by 50 in a million faster or slower, for an hour.
    #[test]
    fn drifting_clocks_do_not_add_up() {
        for (numerator, sign) in [(50_i64, 1), (50, -1)] {
            let start = Instant::now();
            let mut ways = Ways::new(start);
            for second in 0..3_600_i64 {
                let sent = start + Duration::from_secs(second.unsigned_abs());
                let drift = sign * second * numerator;
                let shown = (1_000_000_000 + second * 1_000_000 + 200 + drift).unsigned_abs();
                let Delays { out, back } = ways.measure(&Exchange { sent, shown, heard: sent + micros(400) });
                assert_eq!(out + back, micros(400), "{second}");
            }
            let sent = start + Duration::from_secs(3_600);
            let shown = (1_000_000_000 + 3_600 * 1_000_000 + 20_200 + sign * 3_600 * numerator).unsigned_abs();
            let Delays { out, .. } = ways.measure(&Exchange { sent, shown, heard: sent + micros(40_400) });
            let wrong = out.abs_diff(micros(20_200));
            assert!(wrong <= micros(50 * 60), "{sign} {wrong:?}");
        }
    }

    #[test]
    fn delays_are_never_negative_and_add_up_to_the_round_trip() {
        let mut pair = Pair::new();
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % 10_000
        };
        for at in (0..20_000_000).step_by(7_777) {
            let (out, back) = (next(), next());
            let measured = pair.exchange(at, out, back);
            // Each is rounded down here.
            assert!((out + back) - (measured.0 + measured.1) <= 1, "{out} {back} {measured:?}");
        }
    }
}
