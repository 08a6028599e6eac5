//! What a replica may know of a key's chain without having written it: promises under a ceiling, and that a state was chosen.
//!
//! **Promise.** A crash takes nothing away that anybody counts on. A promise that was given from memory is kept after it by the *floor*: a
//! process that starts promises, for every key at once, nothing below the ceiling that its predecessor had made durable. That a state
//! was chosen can be found out again by whoever asks a majority.
//!
//! **Rules.**
//! - *Upon a promise up to the ceiling*, and *upon learning that the state held here was chosen*: remember it in memory. Neither changes
//!   the record on disk. So a linearizable write costs each replica one durable write, of the state it accepts.
//! - *Upon a promise above the ceiling, or anything else that changes the record*: write the record, with what was in memory for it.
//! - *Upon an eventual read or an acknowledgement that shows what was learnt*: write it first. Such readers count on what they were shown.
//! - *Upon promises that come near the ceiling*: raise it, durably, and go on in memory up to the old one meanwhile.
//! - *Upon a start*: what the predecessor had as its ceiling is the floor. After a clean stop, which writes everything, there is none.
//!
//! **Invariant.** The record on disk with what is in memory applied to it is what the replica has answered by.
//!
//! Sources: Boichat, Dutta, Frølund, Guerraoui, *Deconstructing Paxos* (2003) on what must be stable; the promise of ballots in blocks is
//! that of sequence numbers in databases.

use quorate_ring::{NodeId, RingEpoch};

use super::acceptor::Accepted;
use super::ballot::{Ballot, COUNTER_JUMP_MAX, COUNTER_MAX};
use crate::ids::BootId;
use crate::record::KeyRecord;

/// What memory holds beyond one key's record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Volatile {
    /// Takes part in nothing below it.
    pub promised: Ballot,
    /// What the record accepted at this ballot, if it did, is chosen.
    pub decided: Ballot,
}

impl Volatile {
    /// Makes of the record on disk what the replica acts on.
    pub fn apply(self, record: &mut KeyRecord) {
        record.chain.promised = record.chain.promised.max(self.promised);
        if self.shows_more_than(record)
            && let Some(Accepted { ballot, state }) = &record.chain.accepted
        {
            record.chain.decided = *ballot;
            record.eventual.merge(&state.siblings);
        }
    }

    /// Whether it shows eventual reads something of the key that the record on disk does not.
    #[must_use]
    pub fn shows_more_than(self, record: &KeyRecord) -> bool {
        record.chain.accepted_at() == self.decided && record.chain.decided < self.decided
    }

    /// What memory must hold for the record on disk to stand for `after`; `None` if `after` must be written.
    #[must_use]
    pub fn between(stored: &KeyRecord, after: &KeyRecord, ceiling: Ballot) -> Option<Self> {
        let volatile = Self { promised: after.chain.promised, decided: after.chain.decided };
        let is_covered = volatile.promised <= ceiling.max(stored.chain.promised);
        let stands_for = || {
            let mut stored = stored.clone();
            volatile.apply(&mut stored);
            stored == *after
        };
        (is_covered && stored.chain.accepted_at() == after.chain.accepted_at() && stands_for()).then_some(volatile)
    }

    /// What memory must hold, if it holds this, once a `Learn` without a state has said that what was accepted at `ballot` is chosen:
    /// nothing more if the record on disk says so. `None` if that record did not accept it last, and has to be looked at.
    #[must_use]
    pub fn learnt(self, stored: &KeyRecord, ballot: Ballot) -> Option<Self> {
        let decided = if stored.chain.decided < ballot { self.decided.max(ballot) } else { self.decided };
        (!ballot.is_zero() && stored.chain.accepted_at() == ballot).then_some(Self { decided, ..self })
    }
}

/// How far promises may be given from memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ceiling {
    durable: Ballot,
    /// As last asked to be made durable.
    asked: Ballot,
    block: u64,
}

impl Ceiling {
    /// A process that starts under a durable ceiling, which is its floor, and raises it by `block` counters at a time.
    #[must_use]
    pub fn new(durable: Ballot, block: u64) -> Self {
        Self { durable, asked: durable, block }
    }

    /// The highest ballot that may be promised from memory.
    #[must_use]
    pub fn durable(&self) -> Ballot {
        self.durable
    }

    /// Upon a promise: the ceiling that is to be made durable now, if this one comes near. A counter that no honest proposer has reached
    /// raises nothing: its promise concerns its own key, the ceiling all of them.
    #[must_use]
    pub fn extend(&mut self, promised: Ballot) -> Option<Ballot> {
        let reached = if promised.epoch == self.durable.epoch { self.durable.counter } else { 0 };
        if promised.counter > reached.saturating_add(COUNTER_JUMP_MAX) || promised.counter >= COUNTER_MAX {
            return None;
        }
        if self.asked > self.durable || top(promised, self.block / 2) <= self.durable {
            return None;
        }
        self.asked = top(promised, self.block);
        Some(self.asked)
    }

    /// Upon a ceiling having become durable.
    pub fn reserved(&mut self, upto: Ballot) {
        self.durable = self.durable.max(upto);
    }

    /// Upon the ceiling asked for not having been taken: the next promise asks again.
    pub fn refused(&mut self) {
        self.asked = self.durable;
    }
}

/// Above every ballot of its epoch whose counter is at most `ahead` above that of `ballot`.
fn top(ballot: Ballot, ahead: u64) -> Ballot {
    let Ballot { epoch, counter, .. } = ballot;
    highest(epoch, counter.saturating_add(ahead))
}

fn highest(epoch: RingEpoch, counter: u64) -> Ballot {
    Ballot { epoch, counter, node: NodeId(u64::MAX), boot: BootId(u32::MAX) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::chain::state::{Authorship, ChainState, Change};
    use crate::chain::{ChainReply, ChainRequest, replica};
    use crate::hlc::Hlc;
    use crate::notes::Notes;
    use crate::options::Options;

    fn ballot(counter: u64) -> Ballot {
        Ballot { epoch: RingEpoch(1), counter, node: NodeId(1), boot: BootId(1) }
    }

    fn accepted(counter: u64) -> KeyRecord {
        let author = Authorship { ballot: ballot(counter), hlc: Hlc(1), op: None };
        let (state, _) = ChainState::default().apply(&Change::Put(Bytes::from_static(b"a")), author);
        let mut record = KeyRecord::default();
        let proposal = Accepted { ballot: ballot(counter), state };
        record.chain.accept(&proposal, None, Ballot::ZERO, Options::default()).expect("one state").expect("nothing promised");
        record
    }

    fn held(promised: u64, decided: u64) -> Volatile {
        let of = |counter| if counter == 0 { Ballot::ZERO } else { ballot(counter) };
        Volatile { promised: of(promised), decided: of(decided) }
    }

    fn learnt(record: &KeyRecord) -> KeyRecord {
        let mut record = record.clone();
        let chosen = record.chain.accepted.clone().expect("accepted");
        record.chain.learn(&chosen, &mut record.eventual).expect("one state");
        record
    }

    #[test]
    fn promises_and_what_is_known_to_be_chosen_need_not_be_written() {
        let stored = accepted(3);
        let mut after = learnt(&stored);
        after.chain.prepare(ballot(7), Ballot::ZERO).expect("higher");
        let volatile = Volatile::between(&stored, &after, ballot(7)).expect("covered by the ceiling");
        assert_eq!(volatile, Volatile { promised: ballot(7), decided: ballot(3) });
        let mut again = stored;
        volatile.apply(&mut again);
        assert_eq!(again, after);
        volatile.apply(&mut again);
        assert_eq!(again, after, "a second time changes nothing");
    }

    #[test]
    fn what_is_accepted_written_or_promised_above_the_ceiling_must_be() {
        let stored = accepted(3);
        let mut promised = stored.clone();
        promised.chain.prepare(ballot(7), Ballot::ZERO).expect("higher");
        assert_eq!(Volatile::between(&stored, &promised, ballot(6)), None);
        assert_eq!(Volatile::between(&stored, &accepted(4), ballot(9)), None);
        let mut written = stored.clone();
        written.eventual.merge(&learnt(&accepted(4)).eventual);
        assert_eq!(Volatile::between(&stored, &written, ballot(9)), None);
        assert_eq!(Volatile::between(&KeyRecord::default(), &learnt(&stored), ballot(9)), None, "learnt with its state");
    }

    /// The short way of a `Learn` leads where the long one does.
    #[test]
    fn learning_that_what_is_held_was_chosen_needs_no_look_at_it() {
        let (told, ceiling) = (ballot(3), ballot(9));
        for stored in [accepted(3), learnt(&accepted(3))] {
            for held in [(0, 0), (0, 3), (7, 0), (7, 3)].map(|(promised, decided)| held(promised, decided)) {
                let mut long = stored.clone();
                held.apply(&mut long);
                let learn = ChainRequest::Learn { ballot: told, state: None };
                let reply = replica::apply(&mut long, Ballot::ZERO, &learn, Options::default(), &mut Notes::default());
                assert_eq!(reply, Ok(ChainReply::Learned));
                let learnt = held.learnt(&stored, told).expect("accepted last");
                let mut short = stored.clone();
                learnt.apply(&mut short);
                assert_eq!(short, long);
                assert!(Volatile::between(&stored, &long, ceiling).is_some(), "the long way writes nothing either");
                assert!(stored.chain.decided < told || learnt == held, "what is on disk need not be held");
            }
        }
        for (stored, told) in [(KeyRecord::default(), Ballot::ZERO), (KeyRecord::default(), ballot(3)), (accepted(4), ballot(3))] {
            assert_eq!(Volatile::default().learnt(&stored, told), None);
        }
    }

    #[test]
    fn what_was_learnt_of_a_state_says_nothing_of_the_next() {
        let mut record = accepted(4);
        let before = record.clone();
        Volatile { promised: ballot(4), decided: ballot(3) }.apply(&mut record);
        assert_eq!(record, before);
    }

    #[test]
    fn the_ceiling_is_raised_ahead_of_need_and_once_at_a_time() {
        let mut ceiling = Ceiling::new(Ballot::ZERO, 100);
        let asked = ceiling.extend(ballot(1)).expect("nothing is durable yet");
        assert!(asked > ballot(101) && asked < ballot(102));
        assert_eq!((ceiling.extend(ballot(2)), ceiling.durable()), (None, Ballot::ZERO), "it is being made durable");
        ceiling.reserved(asked);
        assert_eq!((ceiling.extend(ballot(50)), ceiling.durable()), (None, asked));
        let next = ceiling.extend(ballot(60)).expect("half is used up");
        ceiling.refused();
        assert_eq!(ceiling.extend(ballot(60)), Some(next), "the disk was busy; asked again");
        ceiling.reserved(next);
        assert_eq!((ceiling.extend(ballot(COUNTER_MAX)), ceiling.durable()), (None, next), "T42: one key's trouble, not the node's");
    }
}
