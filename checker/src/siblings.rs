//! Nothing missing, nothing back from the dead, nothing invented.
//!
//! **Promise checked.** A put made with the context of a read overwrites exactly what that read returned. So, after heal and
//! quiescence, every replica holds exactly the maximal elements: each acknowledged write that no other replaced, and none that was.
//! And at any time a read shows only values that were written, by operations that did not definitely fail.
//!
//! **Who takes part.** *Views*: each replica's final state, and each read called at or after `quiet` (a time when all faults were
//! healed and repairs done), if every acknowledged change of its key had returned by then. Views with the same live values are judged
//! once.
//!
//! **Rules.** For each view:
//! - *Lost*: an acknowledged value is not live, and cannot be reached over covers from the live values, from a delete that did not fail
//!   or from a write that may have vanished. Why that proves it: a replica drops a version only because the context of a later one covers
//!   it. The later one is itself live there, a delete, or dropped in the same way; so the covers lead from something live, or from a
//!   delete, down to everything that was rightly dropped. In particular an unknown write that left no trace replaced nothing.
//! - *Resurrected*: a value is live although a write that certainly took effect covered it, directly or through others. Certain are
//!   acknowledged writes and deletes, and whatever a read or the view itself shows.
//!
//! For each result and view, at any time:
//! - *Invented*: nobody wrote the value; or it was read before its write was called.
//! - *FailedButApplied*: only operations that definitely failed wrote it.
//!
//! **Allowances.** A write that may have vanished is neither missed nor relied on, unless it is live. A write applied by two tries may
//! come back after it was replaced, and what it covered is not certain.
//!
//! **Without `covers`** a value is lost only if it was called after everything live, and every delete, had returned; nothing but a
//! cas (which replaces what it expects) can prove a resurrection.
//!
//! A *case* is a view's value or missing write, or a value of a result. O(n log n), times the distinct views of a key.

use std::collections::BTreeSet;
use std::fmt;

use crate::by_key::{ByKey, KeyHistory};
use crate::finding::{Allowances, At, Evidence, Judgement, Place, op};
use crate::history::{History, KeyId, Nanos, ValueId};
use crate::lineage::{Lineage, Writer};

/// How a set of siblings is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// An acknowledged write is missing, and nothing there replaced it.
    Lost {
        /// The key.
        key: KeyId,
        /// The write.
        write: usize,
        /// Where it is missing.
        place: Place,
    },
    /// A value is there again that was replaced.
    Resurrected {
        /// The key.
        key: KeyId,
        /// The write of the value.
        write: usize,
        /// The write or delete that covered it.
        by: usize,
        /// Where it is.
        place: Place,
    },
    /// A value is there that nobody wrote.
    Invented {
        /// The key.
        key: KeyId,
        /// The value.
        value: ValueId,
        /// The write, if there is one, that was called only after the value was read.
        write: Option<usize>,
        /// Where it is.
        place: Place,
    },
    /// A value is there whose write definitely failed.
    FailedButApplied {
        /// The key.
        key: KeyId,
        /// The write.
        write: usize,
        /// Where it is.
        place: Place,
    },
}

impl Evidence for Violation {
    fn kind(&self) -> &'static str {
        match self {
            Violation::Lost { .. } => "lost-write",
            Violation::Resurrected { .. } => "resurrected",
            Violation::Invented { .. } => "invented",
            Violation::FailedButApplied { .. } => "failed-but-applied",
        }
    }

    fn key(&self) -> KeyId {
        match self {
            Violation::Lost { key, .. }
            | Violation::Resurrected { key, .. }
            | Violation::Invented { key, .. }
            | Violation::FailedButApplied { key, .. } => *key,
        }
    }

    fn operations(&self) -> Vec<usize> {
        match self {
            Violation::Lost { write, place, .. } | Violation::FailedButApplied { write, place, .. } => {
                [*write].into_iter().chain(place.operation()).collect()
            }
            Violation::Resurrected { write, by, place, .. } => [*write, *by].into_iter().chain(place.operation()).collect(),
            Violation::Invented { write, place, .. } => write.iter().copied().chain(place.operation()).collect(),
        }
    }

    fn tell(&self, history: &History, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Lost { write, place: Place::Replica(replica), .. } => {
                let replica = history.names.word_text(*replica);
                write!(f, "{}; at the end, {replica} does not hold it, nor anything that replaced it", op(history, *write))
            }
            Violation::Lost { write, place: Place::Read(read), .. } => {
                write!(
                    f,
                    "{}; after all was quiet, {}, which has neither it nor anything that replaced it",
                    op(history, *write),
                    op(history, *read)
                )
            }
            Violation::Resurrected { write, by, place, .. } => {
                write!(f, "{}; {} replaced it; {} it again", op(history, *write), op(history, *by), At { history, place: *place })
            }
            Violation::Invented { value, write: None, place, .. } => {
                write!(f, "{} {}, which nobody wrote", At { history, place: *place }, history.names.value_text(*value))
            }
            Violation::Invented { write: Some(write), place, .. } => {
                write!(f, "{} it already; only then {}", At { history, place: *place }, op(history, *write))
            }
            Violation::FailedButApplied { write, place, .. } => {
                write!(f, "{}; {} its value", op(history, *write), At { history, place: *place })
            }
        }
    }
}

/// Judges every result, every final state, and the reads called at or after `quiet` as final states.
#[must_use]
pub fn check(history: &History, quiet: Option<Nanos>, allow: &Allowances<'_>) -> Judgement<Violation> {
    let mut judgement = Judgement::default();
    ByKey::new(history).for_each(|key| {
        let lineage = Lineage::new(key);
        check_origins(key, &lineage, &mut judgement);
        let views = views(key, quiet);
        if !views.is_empty() {
            let shown = shown(&lineage);
            for view in &views {
                check_view(&lineage, view, &shown, allow, &mut judgement);
            }
        }
    });
    judgement
}

/// Each wrong value is reported once, where it was first seen; values written after they were read likewise.
fn check_origins(key: &KeyHistory<'_>, lineage: &Lineage, judgement: &mut Judgement<Violation>) {
    let mut reported: BTreeSet<ValueId> = BTreeSet::new();
    let mut check = |value: ValueId, place: Place, end: Nanos| {
        judgement.judged += 1;
        let violation = match lineage.writer(value) {
            Writer::Failed(write) => Violation::FailedButApplied { key: key.key, write, place },
            Writer::Nobody => Violation::Invented { key: key.key, value, write: None, place },
            Writer::Node(node) if end < lineage.node(node).call => {
                Violation::Invented { key: key.key, value, write: Some(lineage.node(node).op), place }
            }
            Writer::Node(_) | Writer::Many => return,
        };
        if reported.insert(value) {
            judgement.violations.push(violation);
        }
    };
    for (index, operation) in key.operations() {
        if let (Some(seen), Some(end)) = (KeyHistory::seen(operation), operation.end) {
            seen.values().iter().for_each(|value| check(*value, Place::Read(index), end));
        }
    }
    for state in key.finals() {
        let live = state.versions.iter().filter_map(|version| version.value);
        live.for_each(|value| check(value, Place::Replica(state.replica), Nanos::MAX));
    }
}

/// A state at the end: live values, ascending, and the first place that has them.
struct View {
    live: Vec<ValueId>,
    place: Place,
}

fn views(key: &KeyHistory<'_>, quiet: Option<Nanos>) -> Vec<View> {
    let mut views: Vec<View> = Vec::new();
    for state in key.finals() {
        let live = state.versions.iter().filter_map(|version| version.value).collect();
        views.push(View { live, place: Place::Replica(state.replica) });
    }
    for (index, seen) in key.last_reads(quiet) {
        views.push(View { live: seen.values().to_vec(), place: Place::Read(index) });
    }
    for view in &mut views {
        view.live.sort_unstable();
        view.live.dedup();
    }
    views.sort_by(|a, b| a.live.cmp(&b.live));
    views.dedup_by(|b, a| a.live == b.live);
    views
}

/// Whether each write's value was ever shown by a read.
fn shown(lineage: &Lineage) -> Vec<bool> {
    let mut shown = vec![false; lineage.writes.len()];
    for read in &lineage.reads {
        lineage.shown(read).iter().for_each(|node| shown[*node as usize] = true);
    }
    shown
}

fn check_view(lineage: &Lineage, view: &View, shown: &[bool], allow: &Allowances<'_>, judgement: &mut Judgement<Violation>) {
    let (live, opaque) = lineage.resolve(&view.live);
    let is_live = |node: u32| live.binary_search(&node).is_ok();
    let replaceable = lineage.replaceable(&live, allow.vanished);
    let replaced = replaced(lineage, shown, &live, allow);
    for node in lineage.nodes() {
        let write = lineage.node(node);
        if write.value.is_none() || write.twin {
            continue;
        }
        if is_live(node) {
            judgement.judged += 1;
            if let Some(by) = replaced[node as usize].filter(|_| !(allow.repeated)(write.op)) {
                let by = lineage.node(by).op;
                judgement.violations.push(Violation::Resurrected { key: lineage.key, write: write.op, by, place: view.place });
            }
        } else if write.acked && !(allow.vanished)(write.op) {
            judgement.judged += 1;
            if !replaceable[node as usize] && !opaque {
                judgement.violations.push(Violation::Lost { key: lineage.key, write: write.op, place: view.place });
            }
        }
    }
}

/// For each write, one that covered it and certainly took effect.
fn replaced(lineage: &Lineage, shown: &[bool], live: &[u32], allow: &Allowances<'_>) -> Vec<Option<u32>> {
    let mut replaced: Vec<Option<u32>> = vec![None; lineage.writes.len()];
    let trusted = |node: u32| !lineage.node(node).twin && !(allow.repeated)(lineage.node(node).op);
    let certain = |node: u32| {
        let write = lineage.node(node);
        live.binary_search(&node).is_ok() || ((write.acked || shown[node as usize]) && !(allow.vanished)(write.op))
    };
    let mut stack: Vec<u32> = lineage.nodes().filter(|node| certain(*node)).collect();
    while let Some(node) = stack.pop() {
        if !trusted(node) {
            continue;
        }
        for below in lineage.covers(node) {
            if replaced[*below as usize].is_none() {
                replaced[*below as usize] = Some(node);
                stack.push(*below);
            }
        }
    }
    replaced
}

#[cfg(test)]
mod tests;
