//! Lost updates: read, change, write, and somebody else's change in between is gone.
//!
//! **What is counted.** A *read-modify-write* is a compare-and-set that was applied, or an acknowledged write of a client whose own previous
//! operation on that key was a read with a result; where the history says which they are (`update`, or `updates` in its header), those alone. Its *base* is
//! what it expected, or what was read. It loses an update if it replaced
//! another client's acknowledged write that is provably newer than its base: one was told that it was done, and the other never saw it.
//!
//! **What proves it.**
//! - Where writes say what they covered: the update is among what this write covered itself, and neither in the base nor replaced by what
//!   is.
//! - On a plain register: the update was called after all of the base had returned, and returned before this write was called.
//! - Elsewhere (siblings, and nobody says what was covered) nothing is judged: the write may stand beside the update.
//!
//! That a client wrote *because* of what it read cannot be seen: without `update`, a workload whose clients write blindly has updates that
//! nobody minds losing.
//! A delete takes part as an update, not as a read-modify-write.

use super::Measured;
use super::report::Rate;
use crate::by_key::ByKey;
use crate::history::{Action, History, Nanos, ValueId};
use crate::lineage::{Lineage, Model, Reading, Walker};
use crate::staleness::NEWER_MAX;

/// The measured read-modify-writes, and those that lost somebody's update.
pub(super) fn lost(measured: Measured<'_>) -> Rate {
    let (mut judged, mut lost) = (0, 0);
    let is_update = |index: usize| measured.history.operations[index].detail.as_ref().is_some_and(|detail| detail.update);
    let is_said = measured.history.header.contains_key("updates") || (0..measured.history.operations.len()).any(is_update);
    ByKey::new(measured.history).for_each(|key| {
        let lineage = Lineage::new(key);
        if lineage.model == Model::Open {
            return;
        }
        let mut judge = Judge { history: measured.history, lineage: &lineage, walker: Walker::new(&lineage) };
        let previous = previous_reads(measured.history, &lineage);
        for (write, read) in lineage.nodes().zip(previous) {
            let node = lineage.node(write);
            if !node.acked || node.value.is_none() || node.twin || !measured.has(node.op) || (is_said && !is_update(node.op)) {
                continue;
            }
            if let Some(base) = judge.base(write, read) {
                judged += 1;
                lost += u64::from(judge.loses(write, &base));
            }
        }
    });
    Rate::of(lost, judged)
}

/// For each write, the read that its client made last on the key, if that is what it did last there.
fn previous_reads<'a>(history: &History, lineage: &'a Lineage) -> Vec<Option<&'a Reading>> {
    enum Step<'a> {
        Read(&'a Reading),
        Write(u32),
    }
    let process = |op: usize| history.operations[op].process;
    let reads = lineage.reads.iter().map(|read| ((process(read.op), read.call, read.op), Step::Read(read)));
    let writes = lineage.nodes().map(|node| (lineage.node(node), node));
    let writes = writes.map(|(write, node)| ((process(write.op), write.call, write.op), Step::Write(node)));
    let mut steps: Vec<((u64, Nanos, usize), Step<'_>)> = reads.chain(writes).collect();
    steps.sort_unstable_by_key(|step| step.0);
    let mut previous = vec![None; lineage.writes.len()];
    for pair in steps.windows(2) {
        if let [((one, ..), Step::Read(read)), ((same, call, _), Step::Write(node))] = pair
            && one == same
            && read.end < *call
        {
            previous[*node as usize] = Some(*read);
        }
    }
    previous
}

/// What a read-modify-write started from.
struct Base {
    /// Writes, ascending; none is absence.
    shown: Vec<u32>,
    /// When at the latest that was so.
    end: Nanos,
}

struct Judge<'a> {
    history: &'a History,
    lineage: &'a Lineage,
    walker: Walker,
}

impl Judge<'_> {
    /// `None` if the write started from nothing that is known.
    fn base(&self, write: u32, read: Option<&Reading>) -> Option<Base> {
        let node = self.lineage.node(write);
        let expected = |values: &[ValueId]| {
            let (shown, opaque) = self.lineage.resolve(values);
            (!opaque).then_some(Base { shown, end: node.end })
        };
        match &self.history.operations[node.op].action {
            Action::Cas { expect, .. } => expected(expect.as_slice()),
            Action::CasSiblings(cas) => expected(cas.expect.values()),
            Action::Write { .. } | Action::Delete | Action::Read { .. } => {
                let read = read.filter(|read| !read.opaque)?;
                Some(Base { shown: self.lineage.shown(read).to_vec(), end: read.end })
            }
        }
    }

    fn loses(&mut self, write: u32, base: &Base) -> bool {
        let lineage = self.lineage;
        let process = |node: u32| self.history.operations[lineage.node(node).op].process;
        let update = |node: u32| lineage.node(node).acked && !lineage.node(node).twin && process(node) != process(write);
        if lineage.model == Model::Listed {
            let seen = |walker: &mut Walker, node: u32| {
                base.shown.binary_search(&node).is_ok() || lineage.removed_by(node, base.end) || walker.reaches(lineage, &base.shown, node)
            };
            let mut covered = lineage.covers(write).iter().copied().filter(|node| update(*node));
            return covered.any(|node| !seen(&mut self.walker, node));
        }
        let newest = base.shown.iter().map(|node| lineage.node(*node).end).max();
        let horizon = if base.shown.is_empty() { lineage.latest_removal(base.end) } else { newest };
        let first = lineage.writes.partition_point(|other| Some(other.call) <= horizon);
        let call = lineage.node(write).call;
        let mut later = lineage.nodes().skip(first).take(NEWER_MAX).take_while(|node| lineage.node(*node).call < call);
        later.any(|node| lineage.node(node).end < call && update(node))
    }
}
