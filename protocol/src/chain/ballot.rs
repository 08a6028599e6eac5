//! Ballots: the order of proposals.
//!
//! **Promise.** No two proposals for a key carry one ballot. A ballot names its proposer's node and boot, and the proposer gives out each
//! counter once: not again after a time-out, and not after a restart, which has another boot.
//!
//! The ring epoch comes first, so that every ballot of a newer placement is above all of an older one.
//!
//! Source: Lamport, *Paxos Made Simple* (2001) §2.5, distinct proposal numbers.

use std::fmt;

use quorate_ring::{NodeId, RingEpoch};
use serde::{Deserialize, Serialize};

use crate::ids::BootId;

/// A proposal's place in the order of proposals. Compares by ring epoch, counter, node, boot, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ballot {
    /// The ring epoch it was proposed under.
    pub epoch: RingEpoch,
    /// Counts up past every ballot the proposer has seen.
    pub counter: u64,
    /// The proposer.
    pub node: NodeId,
    /// Which start of the proposer.
    pub boot: BootId,
}

/// How far one message may carry a counter ahead. A damaged or hostile counter must not use up all others, and a node that starts anew
/// must be able to follow all that honest ones have drawn: a thousand years of ten thousand a second.
pub const COUNTER_JUMP_MAX: u64 = 1 << 48;

/// Highest counter. Proposers stop here rather than begin again from 0.
pub const COUNTER_MAX: u64 = 1 << 62;

/// A ballot was too far ahead to be followed, or there is none above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ballot {ballot} is too far ahead of {last}")]
pub struct TooFarAhead {
    /// The ballot.
    pub ballot: Ballot,
    /// The last counter given out here.
    pub last: u64,
}

impl Ballot {
    /// Below every ballot that is ever proposed.
    pub const ZERO: Self = Self { epoch: RingEpoch(0), counter: 0, node: NodeId(0), boot: BootId(0) };

    /// True of the ballot that nobody proposed.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

impl Default for Ballot {
    fn default() -> Self {
        Self::ZERO
    }
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{}", self.epoch.0, self.counter, self.node.0, self.boot.0)
    }
}

/// Gives out the ballots of one node, for all keys and purposes: operations, finishing, transfer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ballots {
    node: NodeId,
    boot: BootId,
    last: u64,
}

impl Ballots {
    /// The ballots of one start of a node.
    #[must_use]
    pub fn new(node: NodeId, boot: BootId) -> Self {
        Self { node, boot, last: 0 }
    }

    /// The same, beginning above `floor`: nobody who has such a floor takes part in less.
    #[must_use]
    pub fn above(self, floor: Ballot) -> Self {
        Self { last: self.last.max(floor.counter), ..self }
    }

    /// Draws above `seen` from now on, unless no honest proposer has reached that.
    pub fn follow(&mut self, seen: Ballot) {
        if seen.counter <= self.last.saturating_add(COUNTER_JUMP_MAX) && seen.counter < COUNTER_MAX {
            self.last = self.last.max(seen.counter);
        }
    }

    /// A fresh ballot of `epoch`, above `seen` if that is of the same epoch.
    ///
    /// # Errors
    /// [`TooFarAhead`] if `seen` has a counter that no honest proposer has reached. Nothing was given out.
    pub fn fresh(&mut self, epoch: RingEpoch, seen: Ballot) -> Result<Ballot, TooFarAhead> {
        let above = if seen.epoch == epoch { seen.counter } else { 0 };
        if above > self.last.saturating_add(COUNTER_JUMP_MAX) || above >= COUNTER_MAX {
            return Err(TooFarAhead { ballot: seen, last: self.last });
        }
        self.last = self.last.max(above) + 1;
        Ok(Ballot { epoch, counter: self.last, node: self.node, boot: self.boot })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: RingEpoch = RingEpoch(3);

    fn ballots() -> Ballots {
        Ballots::new(NodeId(1), BootId(2))
    }

    #[test]
    fn a_fresh_ballot_is_above_what_was_seen_and_never_the_same() {
        let mut ballots = ballots();
        let seen = Ballot { epoch: EPOCH, counter: 7, node: NodeId(9), boot: BootId(1) };
        let first = ballots.fresh(EPOCH, seen).expect("near");
        let second = ballots.fresh(EPOCH, Ballot::ZERO).expect("near");
        assert!(seen < first && first < second);
    }

    #[test]
    fn ballots_begin_above_a_floor() {
        let floor = Ballot { epoch: EPOCH, counter: 70, node: NodeId(9), boot: BootId(1) };
        assert!(ballots().above(floor).fresh(EPOCH, Ballot::ZERO).expect("near") > floor);
        let mut follower = ballots();
        follower.follow(floor);
        follower.follow(Ballot { counter: COUNTER_MAX, ..floor });
        let next = follower.fresh(EPOCH, Ballot::ZERO).expect("near");
        assert_eq!(next.counter, 71, "above what was seen, but not above what nobody can have drawn");
    }

    #[test]
    fn a_newer_epoch_is_above_every_counter_of_an_older_one() {
        let mut ballots = ballots();
        let old = Ballot { epoch: EPOCH, counter: COUNTER_MAX, node: NodeId(9), boot: BootId(1) };
        assert!(ballots.fresh(RingEpoch(4), old).expect("of another epoch") > old);
    }

    #[test]
    fn after_a_restart_the_same_counter_is_another_ballot() {
        let (mut before, mut after) = (ballots(), Ballots::new(NodeId(1), BootId(3)));
        assert_ne!(before.fresh(EPOCH, Ballot::ZERO), after.fresh(EPOCH, Ballot::ZERO));
    }

    /// A counter of 2^63 in one message must not be the last that anybody can propose above.
    #[test]
    fn a_counter_far_ahead_is_not_followed() {
        let mut ballots = ballots();
        let hostile = Ballot { epoch: EPOCH, counter: 1 << 63, node: NodeId(9), boot: BootId(1) };
        assert!(ballots.fresh(EPOCH, hostile).is_err());
        assert_eq!(ballots.fresh(EPOCH, Ballot::ZERO).expect("nothing was given out").counter, 1);
    }
}
