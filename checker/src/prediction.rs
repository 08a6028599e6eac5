//! How likely a read is to show the last write, as the delays of messages alone would have it.
//!
//! **Model** (PBS, the four delays called WARS). A write goes to all N home replicas and is acknowledged once W of them have answered. A
//! read begins a time `t` after that acknowledgement, asks some replicas and is answered by the first R of them. It is fresh if the
//! request reached one of these R after the write had.
//!
//! ```text
//!                     commit      + t
//! writer    |------------|----------------------------------->
//!            \  write   / ack
//! replica     o--------o---------o----------------------o---->
//!                               / read                   \ reply
//! reader                       |--------------------------|-->
//! ```
//!
//! One node coordinates the write and one the read, each a home replica, drawn evenly and independently. A coordinator reaches itself at
//! once; it asks itself first, and then others at random.
//!
//! **How.** Monte Carlo from a seed. Each trial draws every delay from the samples and gives the least `t` with which the read is fresh:
//!
//! ```text
//! needed = min over the R repliers i of (write[i] - read[i]) - commit,   at least 0
//! ```
//!
//! P(fresh | t) is the share of trials with `needed <= t`. So one pass gives the whole curve, and it never falls. Its standard error is at most
//! `1 / (2 sqrt(trials))`: 0.16 percentage points with [`TRIALS`].
//!
//! **Limits of the model.**
//! - Delays are independent of each other and of the time. Really slow replicas are slow again and again.
//! - No message is lost and nobody is down; nothing is repaired, hinted or hedged. Faults make reads staler than predicted, repairs fresher.
//! - Samples should hold all that passes between sending and having: if a replica writes to its disk before it acknowledges, that is
//!   part of its `ack`. What is not in the samples is not in the curve.
//! - There is one write. With another before it, a read that misses both counts once.
//!
//! Source: Bailis et al., Probabilistically Bounded Staleness for Practical Partial Quorums (VLDB 2012), sections 4 and 5.

use crate::history::Nanos;

/// Trials that give a curve no eye can tell from the true one.
pub const TRIALS: u32 = 100_000;
/// More home replicas than any cluster has; a bound for the work of one trial.
pub const REPLICAS_MAX: u8 = 62;

/// How many replicas take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quorums {
    /// Home replicas (N), from 1 to [`REPLICAS_MAX`].
    pub n: u8,
    /// Replies that a read waits for, from 1 to `asks`.
    pub r: u8,
    /// Acknowledgements that a write waits for, from 1 to N.
    pub w: u8,
    /// Replicas that a read asks, from `r` to N. A store that asks no more than it needs has `r` here, Dynamo has N.
    pub asks: u8,
}

/// Samples of one-way delays between nodes. The four may be the same.
#[derive(Clone, Copy, Debug)]
pub struct Delays<'a> {
    /// From the coordinator's sending of a write until the replica has it.
    pub write: &'a [Nanos],
    /// From then until the coordinator has the acknowledgement.
    pub ack: &'a [Nanos],
    /// From the coordinator's sending of a read until the replica looks.
    pub read: &'a [Nanos],
    /// From then until the coordinator has the reply.
    pub reply: &'a [Nanos],
}

/// A predicted curve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prediction {
    /// Of each trial the least time after the acknowledgement with which a read is fresh, ascending; not empty.
    needed: Vec<Nanos>,
}

/// Predicts from delays; `None` if one of the four has no samples. The same seed gives the same prediction.
///
/// # Panics
/// If `trials` is 0, or the quorums are not in their bounds.
#[must_use]
pub fn predict(delays: &Delays<'_>, quorums: Quorums, seed: u64, trials: u32) -> Option<Prediction> {
    let Quorums { n, r, w, asks } = quorums;
    assert!(n <= REPLICAS_MAX && (1..=n).contains(&w) && (1..=asks).contains(&r) && asks <= n, "quorums within their bounds");
    assert!(trials > 0, "no trials predict nothing");
    if [delays.write, delays.ack, delays.read, delays.reply].iter().any(|samples| samples.is_empty()) {
        return None;
    }
    let mut trial = Trial { draws: Draws(seed), arrivals: Vec::new(), acks: Vec::new(), asked: Vec::new() };
    let mut needed: Vec<Nanos> = (0..trials).map(|_| trial.run(delays, quorums)).collect();
    needed.sort_unstable();
    Some(Prediction { needed })
}

impl Prediction {
    /// P(fresh | t), from 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate for reports")]
    pub fn fresh_at(&self, t: Nanos) -> f64 {
        self.needed.partition_point(|needed| *needed <= t) as f64 / self.needed.len() as f64
    }

    /// At most `steps + 2` points `(t, P(fresh | t))` that draw the curve with straight lines: ascending in both, the first at time 0,
    /// the last at the time from which on every trial was fresh.
    #[must_use]
    pub fn points(&self, steps: usize) -> Vec<(Nanos, f64)> {
        let late = &self.needed[self.needed.partition_point(|needed| *needed == 0)..];
        let places = (1..=steps).map(|step| (late.len() * step / steps.max(1)).saturating_sub(1));
        let mut times: Vec<Nanos> = std::iter::once(0).chain(places.filter_map(|place| late.get(place).copied())).collect();
        times.extend(late.last());
        times.dedup();
        times.into_iter().map(|t| (t, self.fresh_at(t))).collect()
    }

    /// How many trials there were.
    #[must_use]
    pub fn trials(&self) -> usize {
        self.needed.len()
    }
}

/// One write and one read, with room that the next trial uses again.
struct Trial {
    draws: Draws,
    /// When the write arrives at each replica.
    arrivals: Vec<Nanos>,
    acks: Vec<Nanos>,
    /// Of each replica asked: when its reply is there, and the `needed` of a read that it alone answers.
    asked: Vec<(Nanos, Nanos)>,
}

impl Trial {
    fn run(&mut self, delays: &Delays<'_>, Quorums { n, r, w, asks }: Quorums) -> Nanos {
        let (writer, reader) = (self.draws.below(n.into()), self.draws.below(n.into()));
        self.arrivals.clear();
        self.acks.clear();
        for replica in 0..u64::from(n) {
            let (arrival, ack) = if replica == writer { (0, 0) } else { (self.draws.of(delays.write), self.draws.of(delays.ack)) };
            self.arrivals.push(arrival);
            self.acks.push(arrival.saturating_add(ack));
        }
        let commit = *self.acks.select_nth_unstable(usize::from(w) - 1).1;
        self.asked.clear();
        let others = u64::from(n) - 1;
        let mut wanted = u64::from(asks) - 1;
        for (place, replica) in (0..u64::from(n)).filter(|replica| *replica != reader).enumerate() {
            // Each set of `asks - 1` others is as likely: take one with the share of those still wanted among those still left.
            let left = others - place as u64;
            if self.draws.below(left) < wanted {
                wanted -= 1;
                let (read, reply) = (self.draws.of(delays.read), self.draws.of(delays.reply));
                self.ask(replica, read, reply, commit);
            }
        }
        self.ask(reader, 0, 0, commit);
        self.asked.sort_unstable();
        self.asked[..usize::from(r)].iter().map(|(_, needed)| *needed).min().expect("a read waits for one reply at least")
    }

    fn ask(&mut self, replica: u64, read: Nanos, reply: Nanos, commit: Nanos) {
        let arrival = self.arrivals[usize::try_from(replica).expect("few replicas")];
        self.asked.push((read.saturating_add(reply), arrival.saturating_sub(read).saturating_sub(commit)));
    }
}

/// Numbers from a seed (splitmix64).
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, evenly but for what no report shows.
    fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("less than the bound")
    }

    fn of(&mut self, samples: &[Nanos]) -> Nanos {
        let place = self.below(samples.len() as u64);
        samples[usize::try_from(place).expect("less than a length")]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn same(samples: &[Nanos]) -> Delays<'_> {
        Delays { write: samples, ack: samples, read: samples, reply: samples }
    }

    fn quorums(n: u8, r: u8, w: u8) -> Quorums {
        Quorums { n, r, w, asks: r }
    }

    fn predicted(delays: &Delays<'_>, quorums: Quorums) -> Prediction {
        predict(delays, quorums, 7, 20_000).expect("there are samples")
    }

    /// With N = 3, R = W = 1 and every message 10 under way: the reader is the writer in a third of the trials and fresh at once; else
    /// it must wait for the write to arrive.
    #[test]
    fn a_read_elsewhere_waits_for_the_write() {
        let curve = predicted(&same(&[10]), quorums(3, 1, 1));
        let third = curve.fresh_at(0);
        assert!((third - 1.0 / 3.0).abs() < 0.02, "{third}");
        assert_eq!((curve.fresh_at(9).to_bits(), curve.fresh_at(10).to_bits()), (third.to_bits(), 1.0_f64.to_bits()));
        assert_eq!(curve.points(8), [(0, third), (10, 1.0)]);
    }

    /// N = 2, W = 1, R = 1, acks and reads at once; the write takes 0 or 100. Stale at 50: the reader is not the writer (1/2) and the write is slow
    /// (1/2).
    #[test]
    fn slow_writes_are_as_likely_as_their_samples() {
        let delays = Delays { write: &[0, 100], ack: &[0], read: &[0], reply: &[0] };
        let curve = predicted(&delays, quorums(2, 1, 1));
        assert!((curve.fresh_at(50) - 0.75).abs() < 0.02, "{}", curve.fresh_at(50));
        assert_eq!(curve.fresh_at(100).to_bits(), 1.0_f64.to_bits());
    }

    /// Asking all and taking the first, as Dynamo does, is not fresher than asking one: the coordinator itself is the first.
    #[test]
    fn the_first_reply_is_the_coordinators_own() {
        let delays = same(&[10, 20]);
        let one = predicted(&delays, quorums(3, 1, 1)).fresh_at(0);
        let first = predicted(&delays, Quorums { asks: 3, ..quorums(3, 1, 1) }).fresh_at(0);
        assert!((one - first).abs() < 0.02, "{one} {first}");
    }

    #[test]
    fn without_samples_nothing_is_predicted() {
        assert_eq!(predict(&Delays { read: &[], ..same(&[1]) }, quorums(3, 1, 1), 1, 10), None);
    }

    proptest! {
        #[test]
        fn overlapping_quorums_are_always_fresh(
            samples in prop::collection::vec(0_u64..1_000, 1..20), n in 1_u8..6, r in 1_u8..6, w in 1_u8..6, seed: u64,
        ) {
            let (r, w) = (r.min(n), w.min(n));
            let curve = predict(&same(&samples), quorums(n, r, w), seed, 200).expect("there are samples");
            if r + w > n {
                prop_assert_eq!(curve.fresh_at(0).to_bits(), 1.0_f64.to_bits());
            }
            let points = curve.points(10);
            prop_assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1), "{:?}", points);
            prop_assert!(points.len() <= 12 && points[0].0 == 0);
            prop_assert_eq!(points.last().expect("the first").1.to_bits(), 1.0_f64.to_bits());
        }

        /// More replies and more acknowledgements do no harm.
        #[test]
        fn stricter_quorums_are_not_staler(samples in prop::collection::vec(0_u64..1_000, 1..20), t in 0_u64..1_000) {
            let at = |r, w| predicted(&same(&samples), quorums(4, r, w)).fresh_at(t);
            prop_assert!(at(2, 1) >= at(1, 1) - 0.02);
            prop_assert!(at(1, 2) >= at(1, 1) - 0.02);
        }
    }
}
