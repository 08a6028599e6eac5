//! One coordinated read.
//!
//! **Promise.** The answer is the merge of what at least as many distinct home replicas hold as the level needs, with the
//! context of exactly that merge. At strict levels it is given only once a majority (at `all`: everybody) holds the merge
//! durably, at the current ring epoch: a later strict read finds at least as much, so such reads never go backwards.
//!
//! **Rules.**
//! - *Upon start*: if fewer home replicas can be reached than the level needs, refuse at once. Otherwise ask as many as the
//!   level needs, the preferred ones first. A read at `one` or `rXwY` that was drawn for background repair asks the others
//!   too, without waiting for them.
//! - *Upon a refusal or an unreachable replica, and upon the hedge timer*: ask further ones.
//! - *Upon enough replies* that cover what the session has seen: at levels that are not strict, answer, and send the merge to
//!   who is stale. At strict levels, send the merge to who is stale first, and answer when enough replicas hold it.
//! - *Upon replies that do not cover what the session has seen*: ask further replicas; when none is left, `Behind`.
//! - *Upon a late reply after the answer*: repair that replica, or the earlier repliers, if they differ.
//!
//! **Deviation from Dynamo.** Strict levels repair before they answer (as Cassandra does), which Dynamo does not.
//!
//! Sources: Dynamo (SOSP'07) §4.5 and §5; DDIA chapter 9, figure 9-6; Cassandra's blocking read repair.

use std::collections::{BTreeMap, BTreeSet};

use quorate_ring::{NodeId, RingEpoch};

use super::repair::Repair;
use super::report::Reports;
use crate::context::Context;
use crate::defect::Defect;
use crate::ids::Tick;
use crate::level::Level;
use crate::machine::{Effect, Input, Outbox, Timer};
use crate::notes::Mark;
use crate::options::Options;
use crate::outcome::{Reason, Receipt, ReplicaReport, ReplicaStatus};
use crate::quorum::ReadQuorum;
use crate::replica::{ReplicaReply, ReplicaRequest};
use crate::siblings::Siblings;
use crate::tally::{Tally, Verdict};

/// Everything a coordinator needs to know before it starts a read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReadPlan {
    /// This node.
    pub me: NodeId,
    /// The level, for the receipt.
    pub level: Level,
    /// The ring epoch this node acts under, for the receipt.
    pub epoch: RingEpoch,
    /// Who must answer.
    pub quorum: ReadQuorum,
    /// The home replicas in the order in which to ask them.
    pub preferred: Vec<NodeId>,
    /// Home replicas known to be unreachable.
    pub down: BTreeSet<NodeId>,
    /// What the session has seen of the key; the answer covers it.
    pub seen: Context,
    /// Ask the replicas that the level does not need, too, behind the answer.
    pub repair_behind: bool,
    /// How long to wait for a replica before asking a further one, in microseconds.
    pub hedge_after_micros: u64,
    /// When to answer at the latest.
    pub deadline: Tick,
    /// How to behave.
    pub options: Options,
}

/// A read's good answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReadAnswer {
    /// Everything the repliers held.
    pub siblings: Siblings,
    /// What was reached.
    pub receipt: Receipt,
}

/// A read's bad answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReadFailure {
    /// Why.
    pub reason: Reason,
    /// Every home replica, in ring order.
    pub replicas: Vec<ReplicaReport>,
}

/// The machine of one coordinated read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Read {
    plan: ReadPlan,
    replies: BTreeMap<NodeId, Siblings>,
    tally: Tally,
    /// Set once enough replies are in at a strict level: who holds the merge.
    holders: Option<Holders>,
    /// Replicas with an unanswered repair.
    repairing: BTreeSet<NodeId>,
    reports: Reports,
    answered: bool,
    over: bool,
}

/// A strict read between its replies and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Holders {
    merged: Siblings,
    tally: Tally,
    versions: usize,
}

type Out = Outbox<Result<ReadAnswer, ReadFailure>>;

impl Read {
    /// Prepares a read that starts at `now`.
    #[must_use]
    pub fn new(plan: ReadPlan, now: Tick) -> Self {
        let homes = plan.quorum.homes().clone();
        Self {
            replies: BTreeMap::new(),
            tally: Tally::new(homes.clone(), plan.quorum.needed(), plan.options),
            holders: None,
            repairing: BTreeSet::new(),
            reports: Reports::new(homes, now),
            answered: false,
            over: false,
            plan,
        }
    }

    /// True when no input can lead to anything any more.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.over || (self.answered && !self.reports.any_waiting() && self.repairing.is_empty())
    }

    /// Advances the read by one input.
    pub fn step(&mut self, now: Tick, input: Input, out: &mut Out) {
        if self.over {
            return;
        }
        match input {
            Input::Start => self.start(now, out),
            Input::Reply { from, reply: ReplicaReply::State { siblings } } => self.state(now, from, siblings, out),
            Input::Reply { from, reply: ReplicaReply::Stored } => self.stored(now, from, out),
            Input::Reply { from, reply: ReplicaReply::Refused(refusal) } => {
                self.reports.refused(from, refusal, now);
                self.lost(now, from, out);
            }
            Input::PeerDown(node) => {
                self.reports.down(node, now);
                self.lost(now, node, out);
            }
            Input::Timer(Timer::Hedge) => self.hedge(now, out),
            Input::Timer(Timer::Deadline) => self.deadline(now, out),
            _ => {}
        }
    }

    fn start(&mut self, now: Tick, out: &mut Out) {
        for node in self.plan.down.clone() {
            self.reports.down(node, now);
            self.tally.no(node);
        }
        let alive = self.plan.quorum.homes().iter().filter(|node| !self.plan.down.contains(node)).count();
        if alive < usize::from(self.plan.quorum.needed()) {
            out.sometimes(Mark::Unreachable);
            let reason = Reason::Unreachable { needed: self.plan.quorum.needed(), alive: small(alive) };
            return self.fail(reason, out);
        }
        out.push(Effect::SetTimer { timer: Timer::Deadline, at: self.plan.deadline });
        self.ask(usize::from(self.plan.quorum.needed()), out);
        if self.plan.repair_behind || self.asks_all_at_once() {
            self.ask(self.plan.preferred.len(), out);
        }
        self.arm_hedge(now, out);
    }

    fn is_strict(&self) -> bool {
        self.plan.quorum.strict_epoch().is_some()
    }

    fn asks_all_at_once(&self) -> bool {
        self.is_strict() && (self.plan.options.awkward.ask_all_at_once || self.plan.options.awkward.repair_all_first)
    }

    fn repairs_all_first(&self) -> bool {
        self.is_strict() && self.plan.options.awkward.repair_all_first
    }

    fn arm_hedge(&mut self, now: Tick, out: &mut Out) {
        let at = now.after(self.plan.hedge_after_micros);
        if at < self.plan.deadline && self.has_unasked() {
            out.push(Effect::SetTimer { timer: Timer::Hedge, at });
        }
    }

    fn has_unasked(&self) -> bool {
        self.plan.preferred.iter().any(|node| self.is_unasked(*node))
    }

    fn is_unasked(&self, node: NodeId) -> bool {
        self.reports.status(node) == Some(&ReplicaStatus::NotAsked)
    }

    /// Asks up to `count` further replicas, in order of preference.
    fn ask(&mut self, count: usize, out: &mut Out) {
        let next: Vec<NodeId> = self.plan.preferred.iter().copied().filter(|node| self.is_unasked(*node)).take(count).collect();
        for node in next {
            self.reports.asked(node);
            out.push(Effect::Send { to: node, request: ReplicaRequest::Read { strict: self.plan.quorum.strict_epoch() } });
        }
    }

    fn state(&mut self, now: Tick, from: NodeId, siblings: Siblings, out: &mut Out) {
        self.reports.answered(from, now);
        self.tally.yes(from);
        self.replies.insert(from, siblings);
        if self.answered {
            return self.repair_behind(out);
        }
        if self.holders.is_some() { self.offer(now, from, out) } else { self.settle(now, out) }
    }

    /// A further reply while a strict read is repairing: that replica holds the merge already, or is sent it.
    ///
    /// The merge itself stays what it was. Enlarging it would make acknowledgements of the smaller one count for the larger.
    fn offer(&mut self, now: Tick, from: NodeId, out: &mut Out) {
        let Some(holders) = &mut self.holders else { return };
        if self.plan.options.has(Defect::RepairEnlargedMidway) {
            holders.merged.merge(&self.replies[&from]);
        }
        if self.replies[&from].clone().merge(&holders.merged) {
            let merged = holders.merged.clone();
            out.sometimes(Mark::BlockingRepair);
            self.reports.stale(from);
            self.send_repair(from, &merged, out);
        } else {
            holders.tally.yes(from);
            self.conclude(now, out);
        }
    }

    /// Looks whether the replies suffice, and goes on to answer or repair.
    fn settle(&mut self, now: Tick, out: &mut Out) {
        match self.tally.verdict() {
            Verdict::Pending => return,
            Verdict::Lost => {
                let reason = Reason::Unavailable { needed: self.plan.quorum.needed(), answered: small(self.tally.count()) };
                return self.fail(reason, out);
            }
            Verdict::Met => {}
        }
        let repair = Repair::decide(&self.replies);
        if !repair.merged.context().includes(&self.plan.seen) && !self.plan.options.has(Defect::SessionNotAwaited) {
            return self.ask_for_more(out);
        }
        if self.is_strict() && !self.plan.options.has(Defect::NoSynchronousRepair) {
            self.repair_first(now, repair, out);
        } else {
            self.succeed(now, repair.merged, repair.versions, out);
            self.repair_behind(out);
        }
    }

    /// The session has seen more than the replies show.
    fn ask_for_more(&mut self, out: &mut Out) {
        out.sometimes(Mark::SessionBehind);
        if self.has_unasked() {
            self.ask(1, out);
        } else if !self.reports.any_waiting() {
            self.fail(Reason::Behind, out);
        }
    }

    /// A strict read: bring as many replicas as the level needs to the merge, then answer.
    fn repair_first(&mut self, now: Tick, repair: Repair, out: &mut Out) {
        let mut tally = Tally::new(self.plan.quorum.homes().clone(), self.plan.quorum.needed(), self.plan.options);
        for node in &repair.fresh {
            tally.yes(*node);
        }
        self.holders = Some(Holders { merged: repair.merged.clone(), tally, versions: repair.versions });
        for node in repair.stale {
            out.sometimes(Mark::BlockingRepair);
            self.reports.stale(node);
            self.send_repair(node, &repair.merged, out);
        }
        self.conclude(now, out);
    }

    fn send_repair(&mut self, node: NodeId, merged: &Siblings, out: &mut Out) {
        self.repairing.insert(node);
        // From now on counted as holding it, so that no further repair sends it again.
        self.replies.entry(node).or_default().merge(merged);
        let strict = self.plan.quorum.strict_epoch();
        out.push(Effect::Send { to: node, request: ReplicaRequest::Replicate { strict, delta: merged.clone() } });
    }

    fn conclude(&mut self, now: Tick, out: &mut Out) {
        let Some(holders) = &self.holders else { return };
        match holders.tally.verdict() {
            Verdict::Pending if self.plan.options.has(Defect::AnswerBeforeRepairQuorum) => self.succeed_with_merge(now, out),
            Verdict::Pending => {}
            Verdict::Met if self.repairs_all_first() && !self.repairing.is_empty() => {}
            Verdict::Met => self.succeed_with_merge(now, out),
            Verdict::Lost => {
                let reason = Reason::Unavailable { needed: self.plan.quorum.needed(), answered: small(holders.tally.count()) };
                self.fail(reason, out);
            }
        }
    }

    /// Answers a strict read with what enough replicas hold.
    fn succeed_with_merge(&mut self, now: Tick, out: &mut Out) {
        let Some(Holders { merged, versions, .. }) = &self.holders else { return };
        let (merged, versions) = (merged.clone(), *versions);
        self.succeed(now, merged, versions, out);
        self.repair_behind(out);
    }

    fn stored(&mut self, now: Tick, from: NodeId, out: &mut Out) {
        if !self.repairing.remove(&from) {
            return;
        }
        self.reports.repaired(from);
        if let Some(holders) = &mut self.holders {
            holders.tally.yes(from);
        }
        if !self.answered {
            self.conclude(now, out);
        }
    }

    fn lost(&mut self, now: Tick, node: NodeId, out: &mut Out) {
        self.repairing.remove(&node);
        self.tally.no(node);
        if let Some(holders) = &mut self.holders {
            holders.tally.no(node);
        }
        if self.answered {
            return;
        }
        self.ask(1, out);
        if self.holders.is_some() { self.conclude(now, out) } else { self.settle(now, out) }
    }

    fn hedge(&mut self, now: Tick, out: &mut Out) {
        if self.answered {
            return;
        }
        if self.has_unasked() {
            out.sometimes(Mark::Hedged);
        }
        self.ask(1, out);
        self.arm_hedge(now, out);
    }

    /// Sends what all replies add up to, to everybody who answered with less.
    fn repair_behind(&mut self, out: &mut Out) {
        let repair = Repair::decide(&self.replies);
        for node in repair.stale {
            out.sometimes(Mark::BackgroundRepair);
            self.reports.stale(node);
            self.send_repair(node, &repair.merged, out);
        }
    }

    fn succeed(&mut self, now: Tick, siblings: Siblings, versions: usize, out: &mut Out) {
        self.answered = true;
        if versions > 1 {
            for node in Repair::decide(&self.replies).stale {
                self.reports.stale(node);
            }
        }
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
        out.push(Effect::Finish(Ok(ReadAnswer { siblings, receipt })));
    }

    fn deadline(&mut self, now: Tick, out: &mut Out) {
        self.reports.deadline(now);
        let is_held = self.holders.as_ref().is_some_and(|holders| holders.tally.verdict() == Verdict::Met);
        if is_held && !self.answered {
            self.succeed_with_merge(now, out);
        }
        if !self.answered {
            let behind = self.holders.is_none() && self.tally.verdict() == Verdict::Met;
            let answered = self.holders.as_ref().map_or(self.tally.count(), |holders| holders.tally.count());
            let timed_out = Reason::TimedOut { needed: self.plan.quorum.needed(), answered: small(answered) };
            self.fail(if behind { Reason::Behind } else { timed_out }, out);
        }
        self.over = true;
    }

    fn fail(&mut self, reason: Reason, out: &mut Out) {
        self.answered = true;
        self.over = true;
        out.push(Effect::Finish(Err(ReadFailure { reason, replicas: self.reports.list() })));
    }
}

fn small(count: usize) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests;
