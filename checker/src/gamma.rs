//! Gamma: how far from linearizable a key was, as a time.
//!
//! **Measure.** Gamma is the least widening of all operations that makes the history of a key linearizable: every call is
//! moved `gamma / 2` earlier and every return `gamma / 2` later. It is 0 exactly if the history is linearizable.
//!
//! **How.** A write with the reads of its value forms a *cluster*; clusters linked by successful cas form a *chain*, whose operations
//! must follow each other without anything between. Let `f` be a chain's first return and `s` its last call.
//!
//! ```text
//!          f1 |--------------| s1          chain 1 lasts from f1 to s1 at least
//!                  f2 |-----------| s2     chain 2 from f2 to s2: they conflict
//!                  <------>                cured by a widening of s1 - f2, which lets 2 follow 1,
//!             <------------------->        or of s2 - f1, which lets 1 follow 2
//! ```
//!
//! Three kinds of conflict, each cured by a widening of its own, and gamma is the greatest of them:
//! - A read returned before its write was called: the time between.
//! - In a chain, an operation of an earlier cluster was called after one of a later cluster returned: the time between.
//! - Two chains each have an operation called after one of the other returned: `min(s1 - f2, s2 - f1)`, as far as positive. (This covers
//!   the conflict of two forward zones and of a backward zone within a forward one.)
//!
//! Widening adds no conflict, so curing all of them is enough; and pairs suffice, since a longer cycle of "must come before" contains one
//! of length two. The greatest conflict of pairs is found in O(n log n): in order of `f`, only chains with a greater `s` than all before
//! can matter, and among these `s1 - f2` rises while `s2 - f1` falls.
//!
//! **Unknown outcomes.** An unknown write takes part, without a return, only if a read or a known cas needs its value, directly or
//! through the expectations of unknown cas. A failed cas that says what it saw is a read; one that does not is left out.
//!
//! **Not measured** ([`Unmeasured`]): keys with siblings, with values written twice, or with both deletes and absent results, where
//! it is not known which write a result names.
//!
//! Source: Golab et al., Client-Centric Benchmarking of Eventual Consistency for Cloud Storage Systems (ICDCS 2014).

use std::collections::BTreeMap;

use crate::by_key::{ByKey, KeyHistory};
use crate::history::{Action, History, KeyId, Nanos, Outcome, Seen, ValueId};

/// The score of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gamma {
    /// The key.
    pub key: KeyId,
    /// How many operations took part.
    pub operations: u64,
    /// The score.
    pub score: Score,
}

/// What came out for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Score {
    /// Widening by this makes the key's history linearizable, and less does not.
    Widen {
        /// The time; 0 if the history is linearizable.
        by: Nanos,
        /// If above 0, the conflict that needs it.
        conflict: Option<Conflict>,
    },
    /// No widening does: these operations contradict each other, whenever they happened.
    Never {
        /// A read of what nobody wrote, or several successful cas that cannot all have succeeded.
        operations: Vec<usize>,
    },
    /// This key is not measured.
    Unmeasured(Unmeasured),
}

/// Two operations in the wrong order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Called [`Score::Widen::by`] after `early` had returned, yet it must come before it (or another pair is further apart still).
    pub late: usize,
    /// The one that had returned.
    pub early: usize,
}

/// Why a key is not measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unmeasured {
    /// A read returned siblings: the key is not a register.
    Siblings,
    /// A value was written by several operations.
    ValueRepeated,
    /// With deletes, it is not known which of them an absent result names.
    AbsenceAmbiguous,
}

/// Measures every key, in order of key.
#[must_use]
pub fn check(history: &History) -> Vec<Gamma> {
    let mut scores = Vec::new();
    ByKey::new(history).for_each(|key| {
        let (operations, score) = match Register::read(key) {
            Err(unmeasured) => (0, Score::Unmeasured(unmeasured)),
            Ok(register) => ((register.writes.len() - 1 + register.reads.len()) as u64, register.score()),
        };
        scores.push(Gamma { key: key.key, operations, score });
    });
    scores
}

/// Time, wide enough for before everything and after everything.
type Time = i128;

const BEFORE: Time = Time::MIN / 4;
const AFTER: Time = Time::MAX / 4;

/// The index of the write that made the key absent at the start, which no operation did.
const INITIAL: usize = usize::MAX;

#[derive(Clone, Copy, Debug)]
struct Write {
    op: usize,
    call: Time,
    end: Time,
    /// `None` is a delete or the initial state.
    value: Option<ValueId>,
    /// What a cas expected.
    expect: Option<Option<ValueId>>,
    known: bool,
}

#[derive(Clone, Copy, Debug)]
struct Read {
    op: usize,
    call: Time,
    end: Time,
    value: Option<ValueId>,
}

/// The operations of one key that take part. The initial state is the first write.
struct Register {
    writes: Vec<Write>,
    reads: Vec<Read>,
    /// The values written, and where.
    places: BTreeMap<Option<ValueId>, usize>,
}

impl Register {
    fn read(key: &KeyHistory<'_>) -> Result<Self, Unmeasured> {
        let initial = Write { op: INITIAL, call: BEFORE, end: BEFORE, value: None, expect: None, known: true };
        let mut register = Register { writes: vec![initial], reads: Vec::new(), places: BTreeMap::from([(None, 0)]) };
        for (op, operation) in key.operations() {
            let (call, known) = (Time::from(operation.call), operation.outcome == Outcome::Ok);
            let end = operation.end.map_or(AFTER, Time::from);
            let mut write = |value, expect| register.writes.push(Write { op, call, end, value, expect, known });
            let seen = match (&operation.action, operation.outcome) {
                (Action::Cas { observed: Some(observed), .. }, Outcome::Fail) => *observed,
                (Action::CasSiblings(_), _) => return Err(Unmeasured::Siblings),
                (_, Outcome::Fail) => continue,
                (Action::Read { .. }, _) => match KeyHistory::seen(operation) {
                    None => continue,
                    Some(Seen::Many(_)) => return Err(Unmeasured::Siblings),
                    Some(seen) => seen.values().first().copied(),
                },
                (Action::Write { value }, _) => {
                    write(Some(*value), None);
                    continue;
                }
                (Action::Delete, _) => {
                    write(None, None);
                    continue;
                }
                (Action::Cas { expect, value, .. }, _) => {
                    write(Some(*value), Some(*expect));
                    continue;
                }
            };
            register.reads.push(Read { op, call, end, value: seen });
        }
        register.drop_unneeded();
        register.place()?;
        Ok(register)
    }

    /// Drops the unknown writes whose values nobody needs.
    fn drop_unneeded(&mut self) {
        let mut expects: BTreeMap<ValueId, Vec<Option<ValueId>>> = BTreeMap::new();
        let mut needed: Vec<Option<ValueId>> = self.reads.iter().map(|read| read.value).collect();
        for write in &self.writes {
            match (write.known, write.value, write.expect) {
                (true, _, Some(expect)) => needed.push(expect),
                (false, Some(value), Some(expect)) => expects.entry(value).or_default().push(expect),
                _ => {}
            }
        }
        let mut kept: Vec<Option<ValueId>> = Vec::new();
        while let Some(value) = needed.pop() {
            kept.push(value);
            needed.extend(value.and_then(|value| expects.remove(&value)).into_iter().flatten());
        }
        kept.sort_unstable();
        self.writes.retain(|write| write.known || kept.binary_search(&write.value).is_ok());
    }

    fn place(&mut self) -> Result<(), Unmeasured> {
        let deletes = self.writes.iter().skip(1).any(|write| write.value.is_none());
        let absent_read = self.reads.iter().any(|read| read.value.is_none());
        if deletes && (absent_read || self.writes.iter().any(|write| write.expect == Some(None))) {
            return Err(Unmeasured::AbsenceAmbiguous);
        }
        for (place, write) in self.writes.iter().enumerate().skip(1).filter(|(_, write)| write.value.is_some()) {
            if self.places.insert(write.value, place).is_some() {
                return Err(Unmeasured::ValueRepeated);
            }
        }
        Ok(())
    }

    fn score(&self) -> Score {
        let chains = match self.chains() {
            Ok(chains) => chains,
            Err(operations) => return Score::Never { operations },
        };
        let mut clusters: Vec<Zone> = self.writes.iter().map(|write| Zone::of(write.call, write.end, write.op)).collect();
        let mut worst = Worst::default();
        for read in &self.reads {
            let Some(place) = self.places.get(&read.value) else { return Score::Never { operations: vec![read.op] } };
            let write = &self.writes[*place];
            worst.take(write.call - read.end, write.op, read.op);
            clusters[*place].add(Zone::of(read.call, read.end, read.op));
        }
        let mut zones: Vec<Zone> = Vec::with_capacity(chains.len());
        for chain in &chains {
            let mut zone = clusters[chain[0]];
            for place in &chain[1..] {
                let next = clusters[*place];
                worst.take(zone.last_call.0 - next.first_end.0, zone.last_call.1, next.first_end.1);
                zone.add(next);
            }
            zones.push(zone);
        }
        worst.take_pairs(&mut zones);
        let by = Nanos::try_from(worst.widen).expect("a difference of two times");
        Score::Widen { by, conflict: worst.conflict }
    }

    /// The clusters of each chain, in order; or operations that contradict each other.
    fn chains(&self) -> Result<Vec<Vec<usize>>, Vec<usize>> {
        let mut next: Vec<Option<usize>> = vec![None; self.writes.len()];
        let mut heads: Vec<usize> = Vec::new();
        for (place, write) in self.writes.iter().enumerate() {
            let Some(expect) = write.expect else {
                heads.push(place);
                continue;
            };
            let Some(before) = self.places.get(&expect) else { return Err(vec![write.op]) };
            if let Some(other) = next[*before].replace(place) {
                return Err(vec![self.writes[other].op, write.op]);
            }
        }
        let (mut chains, mut reached) = (Vec::with_capacity(heads.len()), vec![false; self.writes.len()]);
        for head in heads {
            let chain: Vec<usize> = std::iter::successors(Some(head), |place| next[*place]).collect();
            chain.iter().for_each(|place| reached[*place] = true);
            chains.push(chain);
        }
        // Whatever no chain reaches expects its own consequences.
        let circle: Vec<usize> = (0..reached.len()).filter(|place| !reached[*place]).map(|place| self.writes[place].op).collect();
        if circle.is_empty() { Ok(chains) } else { Err(circle) }
    }
}

/// The first return and the last call of some operations, and whose they are.
#[derive(Clone, Copy, Debug)]
struct Zone {
    first_end: (Time, usize),
    last_call: (Time, usize),
}

impl Zone {
    fn of(call: Time, end: Time, op: usize) -> Self {
        Zone { first_end: (end, op), last_call: (call, op) }
    }

    fn add(&mut self, other: Zone) {
        self.first_end = self.first_end.min(other.first_end);
        self.last_call = self.last_call.max(other.last_call);
    }
}

/// The greatest widening needed so far.
#[derive(Default)]
struct Worst {
    widen: Time,
    conflict: Option<Conflict>,
}

impl Worst {
    fn take(&mut self, widen: Time, late: usize, early: usize) {
        if widen > self.widen {
            self.widen = widen;
            self.conflict = Some(Conflict { late, early });
        }
    }

    /// Takes the cheaper cure of the conflict of two chains.
    fn take_pair(&mut self, a: &Zone, b: &Zone) {
        let one = (a.last_call.0 - b.first_end.0, a.last_call.1, b.first_end.1);
        let other = (b.last_call.0 - a.first_end.0, b.last_call.1, a.first_end.1);
        let (widen, late, early) = one.min(other);
        self.take(widen, late, early);
    }

    fn take_pairs(&mut self, zones: &mut [Zone]) {
        zones.sort_unstable_by_key(|zone| zone.first_end);
        let mut tops: Vec<Zone> = Vec::new();
        for zone in zones.iter() {
            // Among the tops the first term rises and the second falls: the best is where they cross.
            let cross = tops.partition_point(|top| top.last_call.0 - zone.first_end.0 < zone.last_call.0 - top.first_end.0);
            for top in tops[cross.saturating_sub(1)..].iter().take(2) {
                self.take_pair(top, zone);
            }
            if tops.last().is_none_or(|top| top.last_call.0 < zone.last_call.0) {
                tops.push(*zone);
            }
        }
    }
}

#[cfg(test)]
mod tests;
