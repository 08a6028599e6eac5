//! Processes that die while they do something.

use quorate_ring::NodeId;

use super::World;
use crate::census::Sight;
use crate::fault::{Episode, Fault, FaultKind, Strike};
use crate::node::Action;

/// Upon what a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doom {
    /// Right after a write, which is not synced yet.
    Write,
    /// While it sends a state to be accepted.
    Proposal,
}

/// Processes of 1000 that died upon something and come back late.
const LATE_PERMILLE: u32 = 500;

/// How soon the others come back, in microseconds.
const BACK_MICROS_MAX: u64 = 30_000;

impl World {
    /// Whether a process that has just done this dies of it, and in which episode. What it does not come to send any more is taken away.
    pub(super) fn doomed(&mut self, node: NodeId, actions: &mut Vec<Action>) -> Option<(Episode, Doom)> {
        let (_, doom) = self.doomed.get(&node)?;
        let is_due = match doom {
            Doom::Write => self.nodes[&node].disk.has_unsynced(),
            Doom::Proposal => actions.iter().any(|action| matches!(action, Action::Chain(_, Sight::Proposed(..)))),
        };
        if !is_due {
            return None;
        }
        let (episode, doom) = self.doomed.remove(&node)?;
        if doom == Doom::Proposal {
            self.cut_short(node, actions);
        }
        Some((episode, doom))
    }

    /// A process dies before it has sent all that it was about to send.
    fn cut_short(&mut self, node: NodeId, actions: &mut Vec<Action>) {
        let sent = actions.iter().filter(|action| matches!(action, Action::Send(_))).count();
        let mut left = self.chance(node).index(sent + 1) + 1;
        actions.retain(|action| match action {
            Action::Send(_) => {
                left = left.saturating_sub(1);
                left > 0
            }
            Action::Alarm(..) | Action::Minted(_) | Action::Chain(..) | Action::Mark(_) => true,
        });
    }

    pub(super) fn die(&mut self, node: NodeId, episode: Episode, doom: Doom) {
        // What it sends until then is under way: a crash between a promise and its durability.
        let most = if doom == Doom::Write { self.options.node.sync_micros_max / 2 } else { 1 };
        let dies = self.now.after(self.chance(node).below(most));
        self.plan(dies, FaultKind::Crash, Strike { episode, fault: Fault::Crash(node) });
        // Back before anybody has done its work: what it did last, it may do again.
        if !self.chance(node).chance(LATE_PERMILLE) {
            let back = dies.after(self.chance(node).below(BACK_MICROS_MAX));
            self.plan(back, FaultKind::Crash, Strike { episode, fault: Fault::Start(node) });
        }
    }
}
