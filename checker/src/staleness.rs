//! How far behind a read was.
//!
//! **Measure.** For every read: `k`, the number of acknowledged writes that had returned before the read was called and are newer than
//! what it returned, and `t`, the time from the first of their returns to the read's call. Fresh is `k == 0`. Never overstated: a write
//! counts only if it is provably newer.
//!
//! **Newer.** A write is newer than a result if it was called after *every* write in the result had returned (so for siblings: newer than
//! the freshest of them; an unknown write never returns, so nothing is provably newer). An absent result stands for the initial state or
//! for any delete called before the read ended, whichever is newest. Further:
//! - *Registers* (keys on which nobody saw siblings and nobody says what was covered): deletes count as writes.
//! - *Siblings*: a missing value does not count if a delete called before the read ended may have removed it, and deletes do not count,
//!   for what they removed is not known; except where covers say so:
//! - *With `covers`* a write or delete is also newer than a result of one value if it covered that value, directly or through others,
//!   even where the two overlapped.
//!
//! **P(fresh | t).** The curve of probabilistically bounded staleness: each read is put into a bucket by the time from the last
//! acknowledgement on its key to its call; reads before the first are in none. As `k` is never overstated, the curve is an upper bound.
//!
//! **Limits.** At most [`NEWER_MAX`] writes are looked at for one read: `k` stops growing there. A failed cas that says what it saw is a
//! read, on a register. Reads of values that nobody or several operations wrote count as unjudged.
//!
//! **Complexity.** O(n log n), plus the writes that each read is behind.
//!
//! Source: Bailis et al., Probabilistically Bounded Staleness for Practical Partial Quorums (VLDB 2012).

use std::collections::BTreeMap;

use crate::by_key::ByKey;
use crate::history::{History, KeyId, Nanos, WordId};
use crate::lineage::{Coverers, Lineage, Model, Reading};

/// Writes looked at for one read. A read that is further behind is hopelessly stale, and the exact number tells nobody anything.
pub const NEWER_MAX: usize = 1_000;

/// One read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staleness {
    /// The read.
    pub read: usize,
    /// The key.
    pub key: KeyId,
    /// How many newer acknowledged writes it missed; 0 is fresh.
    pub k: u32,
    /// Time from the first of these writes' returns to the read's call; 0 if fresh.
    pub t: Nanos,
    /// The first of these writes to return.
    pub first_missed: Option<usize>,
    /// Time from the last acknowledgement of any write on the key to the read's call; `None` if there was none.
    pub since_ack: Option<Nanos>,
}

/// The reads of one level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// Reads judged.
    pub reads: u64,
    /// Reads that prove nothing, because it is not known who wrote what they returned.
    pub unjudged: u64,
    /// How many reads were `k` behind; 0 is fresh.
    pub k: BTreeMap<u32, u64>,
    /// The `t` of all stale reads, ascending.
    pub t: Vec<Nanos>,
    /// P(fresh | t), by time since the last acknowledgement.
    pub curve: Curve,
}

impl Level {
    /// Reads that were behind.
    #[must_use]
    pub fn stale(&self) -> u64 {
        self.reads - self.k.get(&0).copied().unwrap_or(0)
    }

    /// The `t` that a fraction `rank` (0 to 1) of the *stale* reads did not exceed; `None` if no read was stale.
    #[must_use]
    #[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "a rank for reports")]
    pub fn t_quantile(&self, rank: f64) -> Option<Nanos> {
        let last = self.t.len().checked_sub(1)?;
        let place = (rank.clamp(0.0, 1.0) * self.t.len() as f64).ceil() as usize;
        Some(self.t[place.saturating_sub(1).min(last)])
    }
}

/// Reads by the time since the last acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Curve {
    /// In order of time; the last one has no upper bound.
    pub buckets: Vec<Bucket>,
}

/// One step of a curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Reads in it were called later than the bound of the bucket before, and at most this long after the acknowledgement.
    pub within: Option<Nanos>,
    /// Reads.
    pub reads: u64,
    /// Those of them that were fresh.
    pub fresh: u64,
}

impl Bucket {
    /// The fraction that was fresh; `None` without reads.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate for reports")]
    pub fn p_fresh(&self) -> Option<f64> {
        (self.reads > 0).then(|| self.fresh as f64 / self.reads as f64)
    }
}

impl Curve {
    /// Bounds that serve from a local cluster to another continent: 1, 2 and 5 of each decade from 100 us to 10 s.
    pub const BOUNDS: [Nanos; 16] = {
        let mut bounds = [0; 16];
        let (mut i, mut decade) = (0, 100_000);
        while i < 16 {
            bounds[i] = decade * [1, 2, 5][i % 3];
            if i % 3 == 2 {
                decade *= 10;
            }
            i += 1;
        }
        bounds
    };

    fn new(bounds: &[Nanos]) -> Self {
        let within = bounds.iter().copied().map(Some).chain([None]);
        Curve { buckets: within.map(|within| Bucket { within, reads: 0, fresh: 0 }).collect() }
    }

    fn count(&mut self, since_ack: Nanos, fresh: bool) {
        let place = self.buckets.partition_point(|bucket| bucket.within.is_some_and(|within| within < since_ack));
        self.buckets[place].reads += 1;
        self.buckets[place].fresh += u64::from(fresh);
    }
}

/// The staleness of all reads of a history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// By the read's level; `None` where no level is said.
    pub levels: BTreeMap<Option<WordId>, Level>,
    /// The stale reads, in order of key and call.
    pub stale: Vec<Staleness>,
}

/// Measures every read. `bounds` are those of the curve's buckets, ascending; [`Curve::BOUNDS`] will do.
#[must_use]
pub fn check(history: &History, bounds: &[Nanos]) -> Report {
    let mut report = Report::default();
    measure(history, |read, staleness| {
        let level = report.levels.entry(history.operations[read].level).or_insert_with(|| Level {
            reads: 0,
            unjudged: 0,
            k: BTreeMap::new(),
            t: Vec::new(),
            curve: Curve::new(bounds),
        });
        let Some(staleness) = staleness else {
            level.unjudged += 1;
            return;
        };
        level.reads += 1;
        *level.k.entry(staleness.k).or_default() += 1;
        if let Some(since_ack) = staleness.since_ack {
            level.curve.count(since_ack, staleness.k == 0);
        }
        if staleness.k > 0 {
            level.t.push(staleness.t);
            report.stale.push(staleness);
        }
    });
    report.levels.values_mut().for_each(|level| level.t.sort_unstable());
    report
}

/// Measures every read, fresh ones too, in order of key and call: its index and its staleness, `None` if it proves nothing.
pub fn measure(history: &History, mut visit: impl FnMut(usize, Option<Staleness>)) {
    ByKey::new(history).for_each(|key| {
        let lineage = Lineage::new(key);
        let mut acks: Vec<Nanos> = lineage.writes.iter().filter(|write| write.acked).map(|write| write.end).collect();
        acks.sort_unstable();
        let mut newer = Newer::new(&lineage);
        for read in &lineage.reads {
            let acked = acks.partition_point(|ack| *ack < read.call);
            let since_ack = acked.checked_sub(1).map(|last| read.call - acks[last]);
            let staleness = (!read.opaque).then(|| {
                let (k, first) = newer.than(read);
                let t = first.map_or(0, |node| read.call - lineage.node(node).end);
                Staleness { read: read.op, key: key.key, k, t, first_missed: first.map(|node| lineage.node(node).op), since_ack }
            });
            visit(read.op, staleness);
        }
    });
}

/// Finds what is newer than a result.
struct Newer<'a> {
    lineage: &'a Lineage,
    coverers: Option<Coverers>,
    /// Deletes in order of call: `(call, end)`, `end` being the latest so far.
    deletes: Vec<(Nanos, Nanos)>,
    stamps: Vec<u32>,
    stamp: u32,
}

/// The writes counted for one read, and the first of them to return.
struct Count {
    k: u32,
    first: Option<(Nanos, u32)>,
}

impl<'a> Newer<'a> {
    fn new(lineage: &'a Lineage) -> Self {
        let (mut deletes, mut latest) = (Vec::new(), 0);
        for delete in lineage.writes.iter().filter(|node| node.value.is_none()) {
            latest = latest.max(delete.end);
            deletes.push((delete.call, latest));
        }
        let coverers = (lineage.model == Model::Listed).then(|| lineage.coverers());
        Newer { lineage, coverers, deletes, stamps: vec![0; lineage.writes.len()], stamp: 0 }
    }

    fn than(&mut self, read: &Reading) -> (u32, Option<u32>) {
        let mut count = Count { k: 0, first: None };
        let freshest = self.freshest(read);
        let start = self.lineage.writes.partition_point(|write| Some(write.call) <= freshest);
        let rest = self.lineage.nodes().skip(start).take(NEWER_MAX).take_while(|node| self.lineage.node(*node).call < read.call);
        for node in rest {
            if self.counts(read, node) {
                count.add(self.lineage, node);
            }
        }
        if let [value] = self.lineage.shown(read) {
            self.causally(read, *value, freshest, &mut count);
        }
        (count.k, count.first.map(|first| first.1))
    }

    /// By when all that the result may stand for had returned; `None` is before everything.
    fn freshest(&self, read: &Reading) -> Option<Nanos> {
        let shown = self.lineage.shown(read);
        if shown.is_empty() {
            let before = self.deletes.partition_point(|(call, _)| *call <= read.end);
            return before.checked_sub(1).map(|last| self.deletes[last].1);
        }
        shown.iter().map(|node| self.lineage.node(*node).end).max()
    }

    /// Whether a write called after the freshest had returned is missed by the read.
    fn counts(&self, read: &Reading, node: u32) -> bool {
        let (lineage, write) = (self.lineage, self.lineage.node(node));
        if !write.acked || write.twin || write.end >= read.call {
            return false;
        }
        match lineage.model {
            Model::Register => true,
            Model::Listed => write.value.is_some() && !lineage.removed_by(node, read.end),
            Model::Open => write.value.is_some() && lineage.latest_removal(read.end) < Some(write.call),
        }
    }

    /// Counts what covered the value, directly or through others, as far as it was not counted for being called later.
    fn causally(&mut self, read: &Reading, value: u32, freshest: Option<Nanos>, count: &mut Count) {
        let Some(coverers) = &self.coverers else { return };
        self.stamp += 1;
        let (mut stack, mut steps) = (vec![value], 0);
        while let Some(below) = stack.pop() {
            for node in coverers.of(below).iter().copied() {
                steps += 1;
                let write = self.lineage.node(node);
                if steps > NEWER_MAX
                    || write.call >= read.call
                    || std::mem::replace(&mut self.stamps[node as usize], self.stamp) == self.stamp
                {
                    continue;
                }
                stack.push(node);
                let counted = write.value.is_some() && Some(write.call) > freshest;
                if node != value
                    && !counted
                    && write.acked
                    && !write.twin
                    && write.end < read.call
                    && !self.lineage.removed_by(node, read.end)
                {
                    count.add(self.lineage, node);
                }
            }
        }
    }
}

impl Count {
    fn add(&mut self, lineage: &Lineage, node: u32) {
        self.k += 1;
        let first = (lineage.node(node).end, node);
        self.first = Some(self.first.map_or(first, |other| other.min(first)));
    }
}

#[cfg(test)]
mod tests;
