//! What may have replaced what, on one key: the knowledge that the checkers share.
//!
//! **Promise.** [`Lineage::excused`] says yes whenever a correct store could have given a read's result without a certain write in
//! it. So "no" is proof that something newer was missed, and all checkers built on it raise no false alarm.
//!
//! **Models.** How much can be proved depends on what the history says:
//!
//! - [`Model::Listed`]: every write and delete says what it covered. Then the causal order is known. A result may lack `v` only if `v`
//!   is covered, directly or through others, by a value in the result or by a delete called before the read ended. (Why: what hides a
//!   version is the context of a later one. That later one is itself live, deleted, or hidden by a third.)
//! - [`Model::Open`]: siblings occur, but some write does not say what it covered. It may have covered everything that was called before
//!   it returned. So a result may lack `v` unless every value in it, and every delete called before the read ended, returned before `v`
//!   was called.
//! - [`Model::Register`]: nobody ever saw siblings and nobody says what was covered: a plain register. As `Open`, but a delete explains
//!   only an absent result.
//!
//! **Invariants.**
//! - Writes that failed take no part. An unknown write takes part only if its value shows up anywhere (a read, a final state, a
//!   `covers`, an `expect`): one that hid something would be visible itself or be covered by something that is.
//! - A value written by several operations proves nothing: a result that contains it excuses everything.
//! - Questions that take more than `WALK_MAX` steps are answered "excused".
//!
//! An unknown delete with no `covers` makes its key `Open` and excuses every later absence. A recorder that knows better should say
//! `covers: []` for a delete or a write that never reached a coordinator.

mod build;
mod graph;

use std::ops::Range;

use self::build::Writers;
use self::graph::Ragged;
pub(crate) use self::graph::{Coverers, Walker};
use crate::by_key::KeyHistory;
use crate::history::{Action, KeyId, Nanos, Outcome, Seen, ValueId};

/// The end of an operation that has none.
pub(crate) const NEVER: Nanos = Nanos::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Model {
    Register,
    Listed,
    Open,
}

/// A write, delete or successful cas that took effect or may have.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) op: usize,
    pub(crate) call: Nanos,
    /// [`NEVER`] if unknown.
    pub(crate) end: Nanos,
    /// `None` for a delete.
    pub(crate) value: Option<ValueId>,
    /// Whether its outcome is `Ok`.
    pub(crate) acked: bool,
    /// Whether other operations wrote the same value.
    pub(crate) twin: bool,
}

/// A read with a result; a failed cas that says what it saw counts, on a register.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) op: usize,
    pub(crate) call: Nanos,
    pub(crate) end: Nanos,
    /// Whether the result names a value whose write is not known: it then proves nothing.
    pub(crate) opaque: bool,
    shown: Range<usize>,
}

/// Who wrote a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    Node(u32),
    /// Only operations that certainly failed; this is the first.
    Failed(usize),
    /// Several operations.
    Many,
    /// Nobody.
    Nobody,
}

#[derive(Debug)]
pub(crate) struct Lineage {
    pub(crate) key: KeyId,
    pub(crate) model: Model,
    /// In order of call; a node's number is its place here.
    pub(crate) writes: Vec<Node>,
    /// In order of call.
    pub(crate) reads: Vec<Reading>,
    shown: Vec<u32>,
    covers: Ragged,
    writers: Vec<(ValueId, Writer)>,
    /// Per node, in the model `Listed`: when the first delete was called that may have removed it.
    removed: Vec<Nanos>,
    /// Otherwise, in order of call: `(call, end)` of deletes, `end` being the latest so far.
    removals: Vec<(Nanos, Nanos)>,
}

impl Lineage {
    pub(crate) fn new(key: &KeyHistory<'_>) -> Self {
        let mut writers = Writers::collect(key);
        writers.mark_shown(key);
        let writes = build::nodes(key, &mut writers);
        let model = build::model(key, &writes);
        let covers = build::edges(key, &writes, &writers);
        let mut lineage = Lineage {
            key: key.key,
            model,
            removed: Vec::new(),
            removals: Vec::new(),
            writes,
            reads: Vec::new(),
            shown: Vec::new(),
            covers,
            writers: writers.entries.iter().map(|entry| (entry.value, entry.writer)).collect(),
        };
        lineage.take_reads(key);
        lineage.take_deletes();
        lineage
    }

    pub(crate) fn writer(&self, value: ValueId) -> Writer {
        self.writers.binary_search_by_key(&value, |entry| entry.0).map_or(Writer::Nobody, |i| self.writers[i].1)
    }

    pub(crate) fn node(&self, node: u32) -> &Node {
        &self.writes[node as usize]
    }

    pub(crate) fn nodes(&self) -> Range<u32> {
        0..u32::try_from(self.writes.len()).expect("node numbers fit")
    }

    /// The writes whose values a read returned, ascending.
    pub(crate) fn shown(&self, read: &Reading) -> &[u32] {
        &self.shown[read.shown.clone()]
    }

    /// What a write is known to have covered, ascending.
    pub(crate) fn covers(&self, node: u32) -> &[u32] {
        self.covers.row(node)
    }

    /// The writes that the values of a set belong to, ascending; and whether one of the values has no known write.
    pub(crate) fn resolve(&self, values: &[ValueId]) -> (Vec<u32>, bool) {
        let (mut found, mut opaque) = (Vec::with_capacity(values.len()), false);
        for value in values {
            match self.writer(*value) {
                Writer::Node(node) => found.push(node),
                Writer::Failed(_) | Writer::Many | Writer::Nobody => opaque = true,
            }
        }
        found.sort_unstable();
        (found, opaque)
    }

    fn take_reads(&mut self, key: &KeyHistory<'_>) {
        for (op, operation) in key.operations() {
            let Some(end) = operation.end else { continue };
            let observed;
            let result = match (&operation.action, operation.outcome) {
                (Action::Cas { observed: Some(one), .. }, Outcome::Fail) if self.model == Model::Register => {
                    observed = one.map_or(Seen::Absent, Seen::One);
                    observed.values()
                }
                _ => match KeyHistory::seen(operation) {
                    Some(seen) => seen.values(),
                    None => continue,
                },
            };
            let start = self.shown.len();
            let (nodes, opaque) = self.resolve(result);
            self.shown.extend(nodes);
            self.reads.push(Reading { op, call: operation.call, end, opaque, shown: start..self.shown.len() });
        }
    }

    fn take_deletes(&mut self) {
        if self.model != Model::Listed {
            let mut latest = 0;
            for delete in self.writes.iter().filter(|node| node.value.is_none()) {
                latest = latest.max(delete.end);
                self.removals.push((delete.call, latest));
            }
            return;
        }
        self.removed = vec![NEVER; self.writes.len()];
        let mut stack = Vec::new();
        for delete in self.nodes() {
            let Node { value: None, call, .. } = *self.node(delete) else { continue };
            stack.push(delete);
            while let Some(node) = stack.pop() {
                for below in self.covers.row(node) {
                    if self.removed[*below as usize] == NEVER {
                        self.removed[*below as usize] = call;
                        stack.push(*below);
                    }
                }
            }
        }
    }

    /// Whether a correct store could have given this result without `node`'s value in it.
    pub(crate) fn excused(&self, walker: &mut Walker, read: &Reading, node: u32) -> bool {
        let shown = self.shown(read);
        if read.opaque || shown.binary_search(&node).is_ok() || self.node(node).twin {
            return true;
        }
        match self.model {
            Model::Listed => self.removed_by(node, read.end) || walker.reaches(self, shown, node),
            Model::Register | Model::Open => Some(self.node(node).call) <= self.horizon(read),
        }
    }

    /// Whether a delete called by `time` may have removed `node`, in the model `Listed`.
    pub(crate) fn removed_by(&self, node: u32, time: Nanos) -> bool {
        self.removed[node as usize] <= time
    }

    /// In the models `Register` and `Open`: a result may lack exactly what was called by this time; `None` is before everything.
    pub(crate) fn horizon(&self, read: &Reading) -> Option<Nanos> {
        let shown = self.shown(read);
        if read.opaque {
            return Some(NEVER);
        }
        let newest = shown.iter().map(|node| self.node(*node).end).max();
        if self.model == Model::Register && !shown.is_empty() { newest } else { newest.max(self.latest_removal(read.end)) }
    }

    /// The latest end of the deletes called by `time`; kept in the models `Register` and `Open`.
    pub(crate) fn latest_removal(&self, time: Nanos) -> Option<Nanos> {
        let before = self.removals.partition_point(|(call, _)| *call <= time);
        before.checked_sub(1).map(|last| self.removals[last].1)
    }

    /// Marks the writes that a set of live values and all deletes may have replaced.
    pub(crate) fn replaceable(&self, live: &[u32], vanished: &dyn Fn(usize) -> bool) -> Vec<bool> {
        let root = |node: &u32| self.node(*node).value.is_none() || vanished(self.node(*node).op) || live.binary_search(node).is_ok();
        let roots = self.nodes().filter(root);
        if self.model == Model::Listed {
            let mut marked = vec![false; self.writes.len()];
            self.descend(roots, |node| !std::mem::replace(&mut marked[node as usize], true));
            return marked;
        }
        let horizon = roots.map(|root| self.node(root).end).max();
        self.writes.iter().map(|node| Some(node.call) <= horizon).collect()
    }

    /// Visits what the roots cover, directly or through others; `enter` says whether to go on below a write.
    pub(crate) fn descend(&self, roots: impl Iterator<Item = u32>, mut enter: impl FnMut(u32) -> bool) {
        let mut stack: Vec<u32> = roots.collect();
        while let Some(node) = stack.pop() {
            stack.extend(self.covers.row(node).iter().copied().filter(|below| enter(*below)));
        }
    }

    /// Who covers whom, turned round.
    pub(crate) fn coverers(&self) -> Coverers {
        Coverers(self.covers.inverse())
    }
}

#[cfg(test)]
mod tests;
