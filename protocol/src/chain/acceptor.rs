//! One replica's side of the chain: promise, accept, learn.
//!
//! **Promise.** An accepted state is never replaced by one of a lower ballot, and a promise is never forgotten: the driver makes the
//! record durable before the reply leaves. What a reply shows is durable.
//!
//! **Rules.**
//! - *Upon `Prepare(b)`*: promise to take part in nothing below `b`, and say what was accepted. The same ballot again gets the same
//!   promise again, unless something was accepted at it meanwhile. Anything not above what was promised is rejected.
//! - *Upon `Accept(b, S, next)`*: take it, unless something higher was promised, and promise `next` with it. What was accepted at `b`
//!   already is acknowledged again, even after a higher promise: that it was accepted is a fact, and the promise that came after reported
//!   it. `next` is promised then too: a reader that repaired this replica came with the same state and without it.
//! - *Upon anything at or below the floor*: rejected, unless it was accepted already. A process that starts does not know which promises
//!   its predecessor gave from memory, see [`super::volatile`].
//! - *Upon `Learn(b, S)`*: `S` was chosen at `b`. Its versions become visible to eventual reads. It may replace what was accepted below
//!   `b` whatever was promised, since every later proposer sees `b` or more anyway.
//!
//! **Invariants.** `promised` is at least the accepted ballot and never falls. `decided` never falls. The eventual view holds versions of
//! chosen states only, never of accepted ones that may still lose.
//!
//! Sources: *Paxos Made Simple* §2.2; *CASPaxos* §2.2; ScyllaDB issue 6139 on accepting without comparing with the promise.

use serde::{Deserialize, Serialize};

use super::ballot::Ballot;
use super::state::ChainState;
use crate::defect::Defect;
use crate::options::Options;
use crate::siblings::Siblings;

/// A state and the ballot it was accepted at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Accepted {
    /// The ballot.
    pub ballot: Ballot,
    /// The state.
    pub state: ChainState,
}

/// What one replica keeps about one key's chain, as a part of the key's atomic record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChainRecord {
    /// Takes part in nothing below it.
    pub promised: Ballot,
    /// What it accepted last.
    pub accepted: Option<Accepted>,
    /// The highest ballot it knows to be chosen.
    pub decided: Ballot,
}

/// Why a replica did not promise or accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rejected {
    /// The ballot that was asked for.
    pub ballot: Ballot,
    /// What it must be above.
    pub limit: Ballot,
}

/// Two different states came with one ballot: some proposer broke the rules, and nothing that was agreed on can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two states were proposed at ballot {ballot}")]
pub struct BallotUsedTwice {
    /// The ballot.
    pub ballot: Ballot,
}

impl ChainRecord {
    /// The ballot of what was accepted last, zero if nothing was.
    #[must_use]
    pub fn accepted_at(&self) -> Ballot {
        self.accepted.as_ref().map_or(Ballot::ZERO, |accepted| accepted.ballot)
    }

    /// Upon `Prepare`: the promise is in the record when this returns `Ok`. Up to `floor` this replica may have promised before it
    /// started.
    ///
    /// # Errors
    /// [`Rejected`] with the record unchanged.
    pub fn prepare(&mut self, ballot: Ballot, floor: Ballot) -> Result<(), Rejected> {
        let again = ballot == self.promised && ballot > floor && self.accepted_at() < ballot;
        let limit = self.promised.max(floor);
        if !again && ballot <= limit {
            return Err(Rejected { ballot, limit });
        }
        self.promised = ballot;
        Ok(())
    }

    /// Upon `Accept`: the state, and the promise of `next`, are in the record when this returns `Ok(Ok(()))`. `floor` as for
    /// [`ChainRecord::prepare`].
    ///
    /// # Errors
    /// Outer: [`BallotUsedTwice`]; inner: [`Rejected`]. The record is unchanged.
    pub fn accept(
        &mut self,
        proposal: &Accepted,
        next: Option<Ballot>,
        floor: Ballot,
        options: Options,
    ) -> Result<Result<(), Rejected>, BallotUsedTwice> {
        if self.accepted_at() == proposal.ballot && !proposal.ballot.is_zero() {
            if self.accepted.as_ref() != Some(proposal) {
                return Err(BallotUsedTwice { ballot: proposal.ballot });
            }
        } else if (proposal.ballot < self.promised || proposal.ballot <= floor) && !options.has(Defect::AcceptWithoutPromiseCheck) {
            return Ok(Err(Rejected { ballot: proposal.ballot, limit: self.promised.max(floor) }));
        } else {
            self.promised = self.promised.max(proposal.ballot);
            self.accepted = Some(proposal.clone());
        }
        self.promised = self.promised.max(next.unwrap_or_default());
        Ok(Ok(()))
    }

    /// Upon `Learn`: the state was chosen at its ballot. Its versions enter the eventual view.
    ///
    /// # Errors
    /// [`BallotUsedTwice`], with the record unchanged.
    pub fn learn(&mut self, chosen: &Accepted, eventual: &mut Siblings) -> Result<(), BallotUsedTwice> {
        if chosen.ballot <= self.decided {
            return Ok(());
        }
        if self.accepted_at() == chosen.ballot && self.accepted.as_ref() != Some(chosen) {
            return Err(BallotUsedTwice { ballot: chosen.ballot });
        }
        self.decided = chosen.ballot;
        eventual.merge(&chosen.state.siblings);
        if self.accepted_at() < chosen.ballot {
            self.accepted = Some(chosen.clone());
            self.promised = self.promised.max(chosen.ballot);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quorate_ring::{NodeId, RingEpoch};

    use super::*;
    use crate::chain::state::{Authorship, Change};
    use crate::hlc::Hlc;
    use crate::ids::BootId;

    fn ballot(counter: u64) -> Ballot {
        Ballot { epoch: RingEpoch(1), counter, node: NodeId(1), boot: BootId(1) }
    }

    fn proposal(counter: u64, value: &'static str) -> Accepted {
        let author = Authorship { ballot: ballot(counter), hlc: Hlc(1), op: None };
        let (state, _) = ChainState::default().apply(&Change::Put(Bytes::from_static(value.as_bytes())), author);
        Accepted { ballot: ballot(counter), state }
    }

    #[test]
    fn a_promise_excludes_everything_below_it() {
        let mut record = ChainRecord::default();
        assert_eq!(record.prepare(ballot(5), Ballot::ZERO), Ok(()));
        assert_eq!(record.prepare(ballot(4), Ballot::ZERO), Err(Rejected { ballot: ballot(4), limit: ballot(5) }));
        assert_eq!(
            record.accept(&proposal(4, "a"), None, Ballot::ZERO, Options::default()),
            Ok(Err(Rejected { ballot: ballot(4), limit: ballot(5) }))
        );
        assert_eq!(record.accept(&proposal(5, "b"), None, Ballot::ZERO, Options::default()), Ok(Ok(())));
    }

    #[test]
    fn a_repeated_prepare_gets_its_promise_again_until_something_is_accepted_at_it() {
        let mut record = ChainRecord::default();
        assert_eq!((record.prepare(ballot(5), Ballot::ZERO), record.prepare(ballot(5), Ballot::ZERO)), (Ok(()), Ok(())));
        record.accept(&proposal(5, "a"), None, Ballot::ZERO, Options::default()).expect("one state").expect("promised");
        assert!(record.prepare(ballot(5), Ballot::ZERO).is_err(), "another state could be proposed at the same ballot");
    }

    /// T10: without the comparison, a lower proposal could undo a higher one that was accepted without a promise here.
    #[test]
    fn accepting_is_promising() {
        let mut record = ChainRecord::default();
        record.accept(&proposal(7, "a"), None, Ballot::ZERO, Options::default()).expect("one state").expect("nothing promised");
        assert_eq!(record.prepare(ballot(5), Ballot::ZERO), Err(Rejected { ballot: ballot(5), limit: ballot(7) }));
    }

    /// T11: that it was accepted is a fact, whatever was promised after.
    #[test]
    fn what_was_accepted_is_acknowledged_again_under_a_higher_promise() {
        let mut record = ChainRecord::default();
        record.accept(&proposal(7, "a"), None, Ballot::ZERO, Options::default()).expect("one state").expect("nothing promised");
        record.prepare(ballot(9), Ballot::ZERO).expect("higher");
        let before = record.clone();
        assert_eq!(record.accept(&proposal(7, "a"), None, Ballot::ZERO, Options::default()), Ok(Ok(())));
        assert_eq!(record, before);
        let mut other = ChainRecord::default();
        other.prepare(ballot(9), Ballot::ZERO).expect("higher");
        assert!(other.accept(&proposal(7, "a"), None, Ballot::ZERO, Options::default()).expect("one state").is_err());
    }

    /// T43: a reader's repair brings the state first; the proposer's own message must still be promised the ballot it names.
    #[test]
    fn the_next_ballot_is_promised_even_if_the_state_was_there_already() {
        let mut record = ChainRecord::default();
        record.accept(&proposal(7, "a"), None, Ballot::ZERO, Options::default()).expect("one state").expect("nothing promised");
        record.accept(&proposal(7, "a"), Some(ballot(9)), Ballot::ZERO, Options::default()).expect("one state").expect("known");
        assert_eq!(record.promised, ballot(9));
        assert!(record.prepare(ballot(8), Ballot::ZERO).is_err());
    }

    /// A promise of a ballot in the record may have been followed by one of a higher ballot in memory, which a crash took away.
    #[test]
    fn nothing_up_to_the_floor_is_promised_or_accepted_but_what_was_accepted_before() {
        let mut record = ChainRecord::default();
        record.accept(&proposal(7, "a"), Some(ballot(8)), Ballot::ZERO, Options::default()).expect("one state").expect("nothing promised");
        let floor = ballot(9);
        assert_eq!(record.prepare(ballot(8), floor), Err(Rejected { ballot: ballot(8), limit: floor }));
        for counter in [8, 9] {
            let rejected = Rejected { ballot: ballot(counter), limit: floor };
            assert_eq!(record.prepare(ballot(counter), floor), Err(rejected));
            assert_eq!(record.accept(&proposal(counter, "b"), None, floor, Options::default()), Ok(Err(rejected)));
        }
        assert_eq!(record.accept(&proposal(7, "a"), None, floor, Options::default()), Ok(Ok(())));
        assert_eq!(record.prepare(ballot(10), floor), Ok(()));
        assert_eq!(record.accept(&proposal(10, "c"), None, floor, Options::default()), Ok(Ok(())));
    }

    #[test]
    fn two_states_at_one_ballot_are_an_alarm_and_change_nothing() {
        let mut record = ChainRecord::default();
        record.accept(&proposal(7, "a"), None, Ballot::ZERO, Options::default()).expect("one state").expect("nothing promised");
        let before = record.clone();
        assert_eq!(record.accept(&proposal(7, "b"), None, Ballot::ZERO, Options::default()), Err(BallotUsedTwice { ballot: ballot(7) }));
        assert!(record.learn(&proposal(7, "b"), &mut Siblings::empty()).is_err());
        assert_eq!(record, before);
    }

    /// T35: a state that may still lose is never shown to eventual reads.
    #[test]
    fn only_a_chosen_state_becomes_visible() {
        let (mut record, mut eventual) = (ChainRecord::default(), Siblings::empty());
        record.accept(&proposal(3, "loser"), None, Ballot::ZERO, Options::default()).expect("one state").expect("nothing promised");
        assert!(eventual.is_empty());
        record.prepare(ballot(9), Ballot::ZERO).expect("higher");
        record.learn(&proposal(5, "winner"), &mut eventual).expect("one state");
        assert_eq!((eventual.live_count(), record.accepted_at(), record.promised), (1, ballot(5), ballot(9)));
        record.learn(&proposal(4, "older"), &mut eventual).expect("one state");
        assert_eq!((record.decided, eventual.live_count()), (ballot(5), 1), "an older one is no news");
    }
}
