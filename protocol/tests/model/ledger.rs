//! What a spectator who sees everything writes down, and the rules that he holds against it.

use std::collections::BTreeMap;

use quorate_protocol::KeyRecord;
use quorate_protocol::chain::once::Verdict;
use quorate_protocol::chain::{Ballot, ChainState};
use quorate_protocol::context::Actor;
use quorate_protocol::ids::OpId;
use quorate_protocol::siblings::Siblings;

use crate::shared::Shared;

/// A rule that every reachable state must keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rule {
    /// No ballot carries two states.
    OneStatePerBallot,
    /// A promise is never lowered, and never below what was accepted.
    PromisesRise,
    /// A state that was chosen at a higher ballot contains what was chosen at a lower one: versions seen, operations, tokens.
    ChosenExtendsChosen,
    /// No operation put two versions into the chain.
    AppliedOnce,
    /// What is answered was chosen before.
    AnsweredIsChosen,
    /// An eventual put that was acknowledged before an operation began has been seen by the state it is answered from.
    AcknowledgedIsSeen,
    /// The eventual view holds no version of a chain state that was not chosen.
    ShownIsChosen,
    /// The clients could have been answered by one register.
    Linearizable,
}

/// Every proposal that left its proposer, and who has ever accepted it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ledger {
    proposals: BTreeMap<Ballot, (Shared<ChainState>, u8)>,
}

impl Ledger {
    /// Upon a proposal that leaves its proposer, or a reader's repeating it.
    pub(crate) fn proposed(&mut self, ballot: Ballot, state: &ChainState) -> Result<(), Rule> {
        match self.proposals.get(&ballot) {
            Some((known, _)) if **known != *state => Err(Rule::OneStatePerBallot),
            Some(_) => Ok(()),
            None => {
                self.proposals.insert(ballot, (Shared::new(state.clone()), 0));
                Ok(())
            }
        }
    }

    /// Upon a replica's accepting.
    pub(crate) fn accepted(&mut self, ballot: Ballot, replica: usize, ops: &[OpId]) -> Result<(), Rule> {
        let Some((state, holders)) = self.proposals.get_mut(&ballot) else { return Err(Rule::OneStatePerBallot) };
        let before = holders.count_ones();
        *holders |= 1 << replica;
        if before >= 2 || holders.count_ones() < 2 {
            return Ok(());
        }
        let state = state.clone();
        for (other, known) in self.chosen().filter(|(other, _)| *other != ballot) {
            let (lower, higher) = if other < ballot { (known, &state) } else { (&state, known) };
            extends(lower, higher, ops)?;
            applies_once(lower, higher)?;
        }
        Ok(())
    }

    fn chosen(&self) -> impl Iterator<Item = (Ballot, &Shared<ChainState>)> {
        self.proposals.iter().filter(|(_, (_, holders))| holders.count_ones() >= 2).map(|(ballot, (state, _))| (*ballot, state))
    }

    /// Upon an answer that rests on a state. One that shared its round rests on a step on the way to the state that was chosen.
    pub(crate) fn answered(&self, state: &ChainState, may_share: bool, ops: &[OpId]) -> Result<(), Rule> {
        let rests_on = |chosen: &ChainState| *chosen == *state || (may_share && extends(state, chosen, ops).is_ok());
        let is_chosen = *state == ChainState::default() || self.chosen().any(|(_, chosen)| rests_on(chosen));
        if is_chosen { Ok(()) } else { Err(Rule::AnsweredIsChosen) }
    }

    /// Upon a change of what eventual reads see.
    pub(crate) fn shown(&self, eventual: &Siblings) -> Result<(), Rule> {
        let mut of_chain = eventual.live().filter(|(dot, _)| matches!(dot.actor, Actor::Chain(_)));
        let is_chosen = of_chain.all(|version| self.chosen().any(|(_, state)| state.siblings.live().any(|held| held == version)));
        if is_chosen { Ok(()) } else { Err(Rule::ShownIsChosen) }
    }
}

/// Upon a change of a replica's record.
pub(crate) fn promise_rises(before: &KeyRecord, after: &KeyRecord) -> Result<(), Rule> {
    let (before, after) = (&before.chain, &after.chain);
    let rises = before.promised <= after.promised && before.accepted_at() <= after.accepted_at() && before.decided <= after.decided;
    if rises && after.accepted_at() <= after.promised { Ok(()) } else { Err(Rule::PromisesRise) }
}

fn extends(lower: &ChainState, higher: &ChainState, ops: &[OpId]) -> Result<(), Rule> {
    let (seen, later) = (lower.siblings.context(), higher.siblings.context());
    let revived = higher.siblings.live().any(|(dot, _)| seen.covers(dot) && !lower.siblings.live().any(|(held, _)| held == dot));
    let remembers = ops.iter().all(|op| match lower.once.look(op) {
        Verdict::New | Verdict::TooOld => true,
        known @ Verdict::Known(_) => [known, Verdict::Superseded].contains(&higher.once.look(op)),
        Verdict::Superseded => higher.once.look(op) == Verdict::Superseded,
    });
    let is_same_chain = lower.inc == higher.inc && lower.seq <= higher.seq;
    if is_same_chain && later.includes(seen) && !revived && remembers { Ok(()) } else { Err(Rule::ChosenExtendsChosen) }
}

fn applies_once(lower: &ChainState, higher: &ChainState) -> Result<(), Rule> {
    let twice = lower
        .siblings
        .live()
        .any(|(dot, version)| version.op.is_some() && higher.siblings.live().any(|(other, again)| other != dot && again.op == version.op));
    if twice { Err(Rule::AppliedOnce) } else { Ok(()) }
}
