//! One linearizable read.
//!
//! **Promise.** The state returned was chosen before the answer, and no state chosen before the read began is newer. Reads raise no
//! ballots: they disturb neither writers nor each other.
//!
//! **Rules.**
//! - *Upon start*: ask a majority, this node first, one replica for the state and the others for its ballot.
//! - *Upon a majority of answers*: `m` is the highest ballot accepted among them, `S` its state.
//!   - An eventual version that `S` has not seen: give way to a round, which takes it into the chain ([`Found::Round`]).
//!   - `m` accepted by a majority, or known somewhere to be chosen: answer. One round trip.
//!   - Otherwise *repair*: send the same `m` and `S` to the replicas that lack it, and answer when a majority has accepted it. Two round
//!     trips. It is the message of its own proposer, repeated; that a reader sends it makes no difference.
//! - *Upon a rejected repair*: somebody proposes. Wait a little and begin again; after two such tries give way to a round.
//! - *Upon an answer*: tell the replicas that do not know it yet that `m` is chosen.
//!
//! **Invariant.** What eventual versions are missing is judged against `S`, never against what the replica that holds them accepted:
//! that may be a state that lost.
//!
//! Sources: Attiya, Bar-Noy, Dolev, *Sharing Memory Robustly in Message-Passing Systems* (1995): a reader writes back; Charapko,
//! Ailijiang, Demirbas, *Linearizable Quorum Reads in Paxos* (HotStorage'19), whose second phase this replaces.

use std::collections::{BTreeMap, BTreeSet};

use quorate_ring::NodeId;

use super::acceptor::Accepted;
use super::backoff::backoff_micros;
use super::ballot::Ballot;
use super::message::{ChainReply, ChainRequest, View};
use super::state::ChainState;
use crate::defect::Defect;
use crate::eventual::read::{ReadFailure, ReadPlan};
use crate::eventual::report::Reports;
use crate::ids::Tick;
use crate::machine::{Effect, Input, Outbox, Timer};
use crate::notes::Mark;
use crate::outcome::{Reason, Receipt, ReplicaStatus};
use crate::replica::{ReplicaReply, ReplicaRequest};
use crate::tally::{Tally, Verdict};

/// Rejected repairs after which a read gives way to a round.
const REJECTED_MAX: u32 = 2;

/// A read that waits asks again ever more seldom, up to this many doublings.
const HEDGE_DOUBLINGS_MAX: u32 = 6;

/// What a read found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Found {
    /// The key's state: chosen, and the newest.
    State {
        /// The state.
        state: ChainState,
        /// What was reached.
        receipt: Receipt,
    },
    /// Consensus is needed: propose [`Change::Identity`](super::Change::Identity) and answer what that returns.
    Round,
}

/// The machine of one linearizable read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChainRead {
    plan: ReadPlan,
    views: BTreeMap<NodeId, View>,
    /// Replicas whose answer counts.
    tally: Tally,
    /// Replicas that were asked for the state.
    asked_full: BTreeSet<NodeId>,
    /// Replicas that will not answer.
    lost: BTreeSet<NodeId>,
    repair: Option<Repair>,
    rejected: u32,
    hedges: u32,
    reports: Reports,
    over: bool,
}

/// The second round trip of a read: bringing a majority to one accepted state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Repair {
    chosen: Accepted,
    holders: Tally,
    beaten: bool,
    /// Given up; the read begins again in a moment.
    over: bool,
}

type Out = Outbox<Result<Found, ReadFailure>>;

impl ChainRead {
    /// Prepares a read that starts at `now`.
    #[must_use]
    pub fn new(plan: ReadPlan, now: Tick) -> Self {
        let homes = plan.quorum.homes().clone();
        Self {
            views: BTreeMap::new(),
            tally: Tally::new(homes.clone(), plan.quorum.needed(), plan.options),
            asked_full: BTreeSet::new(),
            lost: BTreeSet::new(),
            repair: None,
            rejected: 0,
            hedges: 0,
            reports: Reports::new(homes, now),
            over: false,
            plan,
        }
    }

    /// True when no input can lead to anything any more.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.over
    }

    /// Advances the read by one input.
    pub fn step(&mut self, now: Tick, input: Input, out: &mut Out) {
        if self.over {
            return;
        }
        match input {
            Input::Start => self.start(now, out),
            Input::Reply { from, reply: ReplicaReply::Chain(reply) } => self.replied(now, from, *reply, out),
            Input::Reply { from, reply: ReplicaReply::Refused(refusal) } => {
                self.reports.refused(from, refusal, now);
                self.lost(now, from, out);
            }
            Input::PeerDown(node) => {
                self.reports.down(node, now);
                self.lost(now, node, out);
            }
            Input::Timer(Timer::Hedge) => self.hedge(now, out),
            Input::Timer(Timer::Retry) => self.begin_again(now, out),
            Input::Timer(Timer::Deadline) => self.deadline(now, out),
            _ => {}
        }
    }

    fn replied(&mut self, now: Tick, from: NodeId, reply: ChainReply, out: &mut Out) {
        match reply {
            ChainReply::View(view) => self.viewed(now, from, view, out),
            ChainReply::Accepted { ballot } => self.accepted(now, from, ballot, out),
            ChainReply::Rejected(rejected) => self.rejected(now, from, rejected.ballot, out),
            ChainReply::Promised { .. } | ChainReply::Dirty { .. } | ChainReply::Learned => {}
        }
    }

    fn start(&mut self, now: Tick, out: &mut Out) {
        for node in self.plan.down.clone() {
            self.reports.down(node, now);
            self.tally.no(node);
            self.lost.insert(node);
        }
        let alive = self.plan.quorum.homes().iter().filter(|node| !self.plan.down.contains(node)).count();
        let needed = self.plan.quorum.needed();
        if alive < usize::from(needed) {
            out.sometimes(Mark::Unreachable);
            return self.fail(Reason::Unreachable { needed, alive: small(alive) }, out);
        }
        out.push(Effect::SetTimer { timer: Timer::Deadline, at: self.plan.deadline });
        self.ask(if self.plan.options.awkward.ask_all_at_once { self.plan.preferred.len() } else { usize::from(needed) }, out);
        self.arm_hedge(now, out);
    }

    fn is_unasked(&self, node: NodeId) -> bool {
        self.reports.status(node) == Some(&ReplicaStatus::NotAsked)
    }

    fn has_unasked(&self) -> bool {
        self.plan.preferred.iter().any(|node| self.is_unasked(*node))
    }

    /// Asks up to `count` further replicas, the first of all for its state.
    fn ask(&mut self, count: usize, out: &mut Out) {
        let next: Vec<NodeId> = self.plan.preferred.iter().copied().filter(|node| self.is_unasked(*node)).take(count).collect();
        for node in next {
            let full = self.asked_full.is_empty();
            self.ask_one(node, full, out);
        }
    }

    fn ask_one(&mut self, node: NodeId, full: bool, out: &mut Out) {
        self.reports.asked(node);
        if full {
            self.asked_full.insert(node);
        }
        self.send(node, ChainRequest::Read { full }, out);
    }

    fn send(&self, to: NodeId, request: ChainRequest, out: &mut Out) {
        out.push(Effect::Send { to, request: ReplicaRequest::Chain { epoch: self.plan.epoch, request } });
    }

    fn arm_hedge(&self, now: Tick, out: &mut Out) {
        let at = now.after(self.plan.hedge_after_micros << self.hedges.min(HEDGE_DOUBLINGS_MAX));
        if at < self.plan.deadline {
            out.push(Effect::SetTimer { timer: Timer::Hedge, at });
        }
    }

    /// A replica is slow, or a message was lost: ask those that were not asked, and repeat what is unanswered.
    fn hedge(&mut self, now: Tick, out: &mut Out) {
        self.hedges += 1;
        if self.has_unasked() {
            out.sometimes(Mark::Hedged);
            self.ask(1, out);
        }
        if let Some(repair) = self.repair.as_ref().filter(|repair| !repair.over) {
            let open: Vec<NodeId> = repair.holders.open().collect();
            let accept = self.accept_message(repair);
            open.into_iter().for_each(|node| self.send(node, accept.clone(), out));
        } else if self.repair.is_some() {
            // Begins again by itself.
        } else if self.tally.verdict() == Verdict::Met {
            self.asked_full.clear();
            self.settle(now, out);
        } else {
            let silent: Vec<NodeId> = self.plan.quorum.homes().iter().filter(|node| self.reports.is_waiting(*node)).collect();
            for node in silent {
                self.ask_one(node, true, out);
            }
        }
        if !self.over {
            self.arm_hedge(now, out);
        }
    }

    fn viewed(&mut self, now: Tick, from: NodeId, mut view: View, out: &mut Out) {
        self.reports.answered(from, now);
        self.tally.yes(from);
        self.lost.remove(&from);
        if let Some(known) = self.views.get(&from).filter(|known| known.accepted >= view.accepted) {
            // Said again, or overtaken by a later answer: what it accepted then remains a fact, what it held beside is in either.
            view = View { state: known.state.clone().or_else(|| view.state.filter(|_| known.accepted == view.accepted)), ..known.clone() };
        }
        self.views.insert(from, view);
        if self.repair.is_none() {
            self.settle(now, out);
        }
    }

    fn settle(&mut self, now: Tick, out: &mut Out) {
        match self.tally.verdict() {
            Verdict::Pending => return,
            Verdict::Lost => return self.unavailable(self.tally.count(), out),
            Verdict::Met => {}
        }
        let highest = self.views.values().map(|view| view.accepted).max().unwrap_or_default();
        let Some(state) = self.state_of(highest) else { return self.fetch(highest, out) };
        let context = state.siblings.context();
        if self.views.values().flat_map(|view| &view.live).any(|dot| !context.covers(*dot)) {
            out.sometimes(Mark::ChainReadDirty);
            return self.finish(Found::Round, out);
        }
        if !context.includes(&self.plan.seen) && !self.plan.options.has(Defect::SessionNotAwaited) {
            return self.ask_for_more(out);
        }
        let mut holders = Tally::new(self.plan.quorum.homes().clone(), self.plan.quorum.needed(), self.plan.options);
        self.views.iter().filter(|(_, view)| view.accepted == highest).for_each(|(node, _)| holders.yes(*node));
        self.lost.iter().for_each(|node| holders.no(*node));
        let decided = self.views.values().any(|view| view.decided == highest);
        let chosen = Accepted { ballot: highest, state };
        if decided || holders.verdict() == Verdict::Met || self.plan.options.has(Defect::ChainReadUnrepaired) {
            out.sometimes(Mark::ChainReadFast);
            return self.succeed(now, &chosen, out);
        }
        self.begin_repair(now, Repair { chosen, holders, beaten: false, over: false }, out);
    }

    fn state_of(&self, ballot: Ballot) -> Option<ChainState> {
        if ballot.is_zero() {
            return Some(ChainState::default());
        }
        self.views.values().find(|view| view.accepted == ballot && view.state.is_some()).and_then(|view| view.state.clone())
    }

    /// Asks a replica that holds the state for it. Nothing else need be asked: its answer, or its failure, brings us back.
    fn fetch(&mut self, ballot: Ballot, out: &mut Out) {
        let holders: Vec<NodeId> = self.views.iter().filter(|(_, view)| view.accepted == ballot).map(|(node, _)| *node).collect();
        if holders.iter().all(|node| !self.asked_full.contains(node))
            && let Some(holder) = holders.first()
        {
            self.asked_full.insert(*holder);
            self.send(*holder, ChainRequest::Read { full: true }, out);
        }
    }

    /// The session has seen more than a majority shows: a write at a weaker level that has not spread.
    fn ask_for_more(&mut self, out: &mut Out) {
        out.sometimes(Mark::SessionBehind);
        if self.has_unasked() {
            self.ask(1, out);
        } else if !self.reports.any_waiting() {
            self.fail(Reason::Behind, out);
        }
    }

    fn begin_repair(&mut self, now: Tick, repair: Repair, out: &mut Out) {
        let accept = self.accept_message(&repair);
        let lacking: Vec<NodeId> = repair.holders.open().collect();
        self.repair = Some(repair);
        for node in lacking {
            if self.views.contains_key(&node) {
                self.reports.stale(node);
            } else {
                self.reports.asked(node);
            }
            self.send(node, accept.clone(), out);
        }
        self.conclude(now, out);
    }

    fn accept_message(&self, repair: &Repair) -> ChainRequest {
        ChainRequest::Accept { proposal: repair.chosen.clone(), next: None, clean: false }
    }

    fn accepted(&mut self, now: Tick, from: NodeId, ballot: Ballot, out: &mut Out) {
        if let Some(repair) = self.repair.as_mut().filter(|repair| repair.chosen.ballot == ballot) {
            repair.holders.yes(from);
            self.reports.answered(from, now);
            self.reports.repaired(from);
            self.conclude(now, out);
        }
    }

    fn rejected(&mut self, now: Tick, from: NodeId, ballot: Ballot, out: &mut Out) {
        if let Some(repair) = self.repair.as_mut().filter(|repair| repair.chosen.ballot == ballot) {
            repair.holders.no(from);
            repair.beaten = true;
            self.reports.answered(from, now);
            self.conclude(now, out);
        }
    }

    fn conclude(&mut self, now: Tick, out: &mut Out) {
        let Some(repair) = self.repair.as_mut().filter(|repair| !repair.over) else { return };
        match repair.holders.verdict() {
            Verdict::Pending => {}
            Verdict::Met => {
                let chosen = repair.chosen.clone();
                out.sometimes(Mark::ChainReadRepaired);
                self.succeed(now, &chosen, out);
            }
            Verdict::Lost if repair.beaten => {
                repair.over = true;
                self.beaten(now, out);
            }
            Verdict::Lost => {
                let answered = repair.holders.count();
                self.unavailable(answered, out);
            }
        }
    }

    /// A proposer is at work: a moment later it may be done.
    fn beaten(&mut self, now: Tick, out: &mut Out) {
        self.rejected += 1;
        if self.rejected > REJECTED_MAX {
            out.sometimes(Mark::ChainReadContended);
            return self.finish(Found::Round, out);
        }
        let left = self.plan.deadline.since(now);
        let wait = backoff_micros(self.rejected, self.plan.hedge_after_micros / 4, left, now.0 ^ self.plan.me.0);
        out.push(Effect::SetTimer { timer: Timer::Retry, at: now.after(wait) });
    }

    /// Asks everybody again. What earlier answers said was true after the read had begun, but a newer state is known to be near.
    fn begin_again(&mut self, now: Tick, out: &mut Out) {
        if self.repair.take().is_none() {
            return;
        }
        self.views.clear();
        self.asked_full.clear();
        self.recount();
        let homes: Vec<NodeId> = self.plan.preferred.iter().copied().filter(|node| !self.lost.contains(node)).collect();
        homes.into_iter().for_each(|node| self.ask_one(node, true, out));
        self.settle(now, out);
    }

    fn lost(&mut self, now: Tick, node: NodeId, out: &mut Out) {
        self.lost.insert(node);
        if let Some(repair) = &mut self.repair {
            repair.holders.no(node);
            return self.conclude(now, out);
        }
        // What it said before is of no use if its state is still needed.
        self.views.remove(&node);
        self.asked_full.remove(&node);
        self.recount();
        if self.has_unasked() {
            self.ask(1, out);
        }
        self.settle(now, out);
    }

    fn recount(&mut self) {
        self.tally = Tally::new(self.plan.quorum.homes().clone(), self.plan.quorum.needed(), self.plan.options);
        self.views.keys().for_each(|node| self.tally.yes(*node));
        self.lost.iter().for_each(|node| self.tally.no(*node));
    }

    fn succeed(&mut self, now: Tick, chosen: &Accepted, out: &mut Out) {
        let versions = self.views.values().map(|view| view.accepted).collect::<BTreeSet<_>>().len();
        self.spread(chosen, out);
        let receipt = Receipt {
            level: self.plan.level,
            coordinator: self.plan.me,
            epoch: self.plan.epoch,
            needed: self.plan.quorum.needed(),
            replicas: self.reports.list(),
            versions: small(versions),
            micros: self.reports.elapsed(now),
            hint_only: false,
            rounds: 0,
        };
        self.finish(Found::State { state: chosen.state.clone(), receipt }, out);
    }

    /// Tells replicas that answered and do not know it that the state is chosen, or they would have to find out by themselves.
    fn spread(&self, chosen: &Accepted, out: &mut Out) {
        if chosen.ballot.is_zero() || self.plan.options.has(Defect::ChainReadUnrepaired) {
            return;
        }
        for node in self.plan.quorum.homes().iter() {
            let view = self.views.get(&node);
            let repaired = self.repair.as_ref().is_some_and(|repair| repair.holders.has(node));
            let holds = repaired || view.is_some_and(|view| view.accepted == chosen.ballot);
            let knows = view.is_some_and(|view| view.decided >= chosen.ballot);
            if !knows && (holds || view.is_some()) {
                let state = (!holds).then(|| chosen.state.clone());
                self.send(node, ChainRequest::Learn { ballot: chosen.ballot, state }, out);
            }
        }
    }

    fn unavailable(&mut self, answered: usize, out: &mut Out) {
        self.fail(Reason::Unavailable { needed: self.plan.quorum.needed(), answered: small(answered) }, out);
    }

    fn deadline(&mut self, now: Tick, out: &mut Out) {
        self.reports.deadline(now);
        let answered = self.repair.as_ref().map_or(self.tally.count(), |repair| repair.holders.count());
        self.fail(Reason::TimedOut { needed: self.plan.quorum.needed(), answered: small(answered) }, out);
    }

    fn finish(&mut self, found: Found, out: &mut Out) {
        self.over = true;
        out.push(Effect::Finish(Ok(found)));
    }

    fn fail(&mut self, reason: Reason, out: &mut Out) {
        self.over = true;
        out.push(Effect::Finish(Err(ReadFailure { reason, replicas: self.reports.list() })));
    }
}

fn small(count: usize) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests;
