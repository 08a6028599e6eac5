//! Many runs, added up.
//!
//! **Promise.** A campaign says what it tried: operations by outcome, faults by kind, branches taken. A branch that was never taken, or
//! a kind of fault that never took effect, was not tested, whatever the verdict.

use std::collections::BTreeMap;

use quorate_checker::history::Outcome;
use quorate_protocol::notes::Mark;

use crate::fault::FaultKind;
use crate::run::Report;

/// Runs from which on a campaign must have taken every branch and seen every fault.
pub const ENOUGH_SEEDS: u64 = 2_000;

/// Branches that chance comes to too seldom for a campaign to ask for them; each is taken by a script.
pub const RARE: [Mark; 1] = [Mark::AcceptDirty];

/// How often what happened, in one run or in many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Operations by outcome.
    pub operations: BTreeMap<Outcome, u64>,
    /// Faults that took effect, by kind.
    pub faults: BTreeMap<FaultKind, u64>,
    /// Branches taken, by mark.
    pub marks: BTreeMap<Mark, u64>,
    /// Keys with linearizable operations of which it is known whether these were linearizable.
    pub keys_decided: u64,
    /// Those of which it is not: the search for an order was given up.
    pub keys_undecided: u64,
    /// States of chains that were chosen.
    pub chosen: u64,
    /// Unsynced changes that crashes took.
    pub lost_changes: u64,
    /// Events.
    pub events: u64,
    /// Virtual time, in microseconds.
    pub virtual_micros: u64,
}

impl Tally {
    /// Adds another.
    pub fn add(&mut self, more: &Self) {
        add(&mut self.operations, &more.operations);
        add(&mut self.faults, &more.faults);
        add(&mut self.marks, &more.marks);
        self.keys_decided += more.keys_decided;
        self.keys_undecided += more.keys_undecided;
        self.chosen += more.chosen;
        self.lost_changes += more.lost_changes;
        self.events += more.events;
        self.virtual_micros += more.virtual_micros;
    }
}

/// What many runs did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Campaign {
    /// Runs.
    pub seeds: u64,
    /// Runs that broke a promise.
    pub failed: u64,
    /// All of them together.
    pub tally: Tally,
}

impl Campaign {
    /// Adds a run.
    pub fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.failed += u64::from(!report.violations.is_empty());
        self.tally.add(&report.tally);
    }

    /// Adds another campaign.
    pub fn merge(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.failed += other.failed;
        self.tally.add(&other.tally);
    }

    /// Branches that no run took, although chance comes to them.
    #[must_use]
    pub fn missing_marks(&self) -> Vec<Mark> {
        Mark::ALL.iter().copied().filter(|mark| !self.tally.marks.contains_key(mark) && !RARE.contains(mark)).collect()
    }

    /// Kinds of fault that took effect in no run.
    #[must_use]
    pub fn missing_faults(&self) -> Vec<FaultKind> {
        FaultKind::ALL.iter().copied().filter(|kind| !self.tally.faults.contains_key(kind)).collect()
    }

    /// Operations of 1000 that succeeded.
    #[must_use]
    pub fn success_permille(&self) -> u64 {
        let all: u64 = self.tally.operations.values().sum();
        self.tally.operations.get(&Outcome::Ok).copied().unwrap_or(0) * 1000 / all.max(1)
    }
}

fn add<K: Copy + Ord>(sum: &mut BTreeMap<K, u64>, more: &BTreeMap<K, u64>) {
    for (key, count) in more {
        *sum.entry(*key).or_default() += count;
    }
}
