//! One coordinated write: put or delete.
//!
//! **Promise.** The answer is given once. `Ok` means that as many distinct home replicas as the level needs hold the write
//! durably (at `any`: that one durable copy exists). A failure is `NotApplied` only if the write got no dot and no earlier
//! attempt may have been applied; everything else is `Unknown`.
//!
//! **Rules.**
//! - *Upon start*: if fewer home replicas can be reached than the level needs, refuse at once; nothing is sent.
//! - *Upon start of a first attempt*: mint the dot here, then spread.
//! - *Upon start of a retry*: read from a majority first. If some replica holds the operation, send that merged state again,
//!   under the dot it already has, and count acknowledgements by the level; a write that one replica holds is not yet a write
//!   that the level promises. If none holds it, write it with what the first try had seen; a blind one as having seen nothing,
//!   since what its first coordinator had seen is not known. So a retry can at worst bring a replaced write back as a visible
//!   sibling; it never overwrites.
//! - *Upon the dot*: send the delta to every home replica that can be reached, at once and in parallel with making it durable
//!   here; a dot that is lost here dies with its key epoch.
//! - *Upon `Stored`*: count the replica once. *Upon refusal or unreachability*: count it out and keep a hint for it.
//! - *Upon a refusal of the dot* (too many siblings, too long a context, no room, too late for a blind write): fail; nothing is sent.
//! - *Upon the hint timer*: keep a hint for every replica that has not answered; it may still answer.
//! - *Upon the deadline*: answer what is known, keep the remaining hints, stop.
//!
//! **Invariants.** Hints count at `any` only, and only once all that were asked for are kept or refused. The context handed out covers what the write had seen and its own dot, never a
//! concurrent version that its client has not been shown.
//!
//! Sources: Dynamo (SOSP'07) §4.5, §4.6.

use std::collections::{BTreeMap, BTreeSet};

use quorate_ring::{NodeId, RingEpoch};

use super::report::Reports;
use crate::context::{Context, Dot};
use crate::defect::Defect;
use crate::eventual::repair::Repair;
use crate::ids::{Attempt, Tick};
use crate::level::{Level, majority};
use crate::limits::CONTEXT_LEN_MAX;
use crate::machine::{Effect, Input, MintRefusal, Outbox, Timer};
use crate::notes::Mark;
use crate::options::Options;
use crate::outcome::{Outcome, Reason, Receipt, ReplicaReport, ReplicaStatus};
use crate::quorum::WriteQuorum;
use crate::record::Role;
use crate::replica::{Mint, Minted, Refusal, ReplicaReply, ReplicaRequest, Seen, TooManySiblings};
use crate::siblings::Siblings;
use crate::tally::{Tally, Verdict};

/// Everything a coordinator needs to know before it starts a write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WritePlan {
    /// This node.
    pub me: NodeId,
    /// What this node is to the key.
    pub role: Role,
    /// The level, for the receipt.
    pub level: Level,
    /// The ring epoch this node acts under, for the receipt.
    pub epoch: RingEpoch,
    /// Who must store it.
    pub quorum: WriteQuorum,
    /// Home replicas known to be unreachable.
    pub down: BTreeSet<NodeId>,
    /// What to write.
    pub mint: Mint,
    /// Whether an earlier sending of the same operation may have been applied.
    pub attempt: Attempt,
    /// When to answer at the latest.
    pub deadline: Tick,
    /// How long to wait for an acknowledgement before a hint is kept, in microseconds.
    pub hint_after_micros: u64,
    /// How to behave.
    pub options: Options,
}

/// A write's good answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Written {
    /// The version that it became; of a retry whose first try was found, the one that this had become.
    pub dot: Dot,
    /// What the write had seen, and its own dot.
    pub context: Context,
    /// What was reached.
    pub receipt: Receipt,
}

/// A write's bad answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WriteFailure {
    /// Why.
    pub cause: WriteFailureCause,
    /// What is known of its effect.
    pub outcome: Outcome,
    /// Every home replica, in ring order.
    pub replicas: Vec<ReplicaReport>,
}

/// Why a write failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WriteFailureCause {
    /// A reason that means the same to the client.
    Reason(Reason),
    /// The sibling limit, with the context that the driver seals for the client.
    TooManySiblings(TooManySiblings),
}

/// Where the write stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// Not started.
    Planned,
    /// A retry reads from a majority before it writes.
    Looking { replies: BTreeMap<NodeId, Siblings>, tally: Tally },
    /// The dot is asked for.
    Minting,
    /// Replicas are being sent the delta.
    Spreading { delta: Siblings, context: Context },
    /// Refused before anything was spread.
    Refused,
}

/// The machine of one coordinated write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    plan: WritePlan,
    phase: Phase,
    acks: Tally,
    hints_kept: BTreeSet<NodeId>,
    hints_refused: BTreeSet<NodeId>,
    hints_asked: BTreeSet<NodeId>,
    /// Replicas that can be reached and are not sent the write unless another one fails.
    held_back: BTreeSet<NodeId>,
    reports: Reports,
    dot: Option<Dot>,
    answered: bool,
    over: bool,
}

type Out = Outbox<Result<Written, WriteFailure>>;

impl Write {
    /// Prepares a write that starts at `now`.
    #[must_use]
    pub fn new(plan: WritePlan, now: Tick) -> Self {
        let homes = plan.quorum.homes().clone();
        Self {
            acks: Tally::new(homes.clone(), plan.quorum.needed(), plan.options),
            reports: Reports::new(homes, now),
            phase: Phase::Planned,
            hints_kept: BTreeSet::new(),
            hints_refused: BTreeSet::new(),
            hints_asked: BTreeSet::new(),
            held_back: BTreeSet::new(),
            dot: None,
            answered: false,
            over: false,
            plan,
        }
    }

    /// The node that coordinates.
    #[must_use]
    pub fn coordinator(&self) -> NodeId {
        self.plan.me
    }

    /// The dot under which the write is spread, once it has one.
    #[must_use]
    pub fn dot(&self) -> Option<Dot> {
        self.dot
    }

    /// True when no input can lead to anything any more.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.over || (self.answered && !self.reports.any_waiting() && self.hints_asked.is_empty() && self.held_back.is_empty())
    }

    /// Advances the write by one input.
    pub fn step(&mut self, now: Tick, input: Input, out: &mut Out) {
        if self.over {
            return;
        }
        match input {
            Input::Start => self.start(now, out),
            Input::Minted(minted) => self.minted(now, minted, out),
            Input::MintRefused(refusal) => self.mint_refused(refusal, out),
            Input::Reply { from, reply } => self.reply(now, from, reply, out),
            Input::PeerDown(node) => {
                self.reports.down(node, now);
                self.lost(now, node, out);
            }
            Input::HintKept(node) => self.hint_kept(now, node, out),
            Input::HintRefused(node) => self.hint_refused(now, node, out),
            Input::Timer(Timer::Hint) => self.hint_everybody(out),
            Input::Timer(Timer::Deadline) => self.deadline(now, out),
            Input::Timer(Timer::Hedge | Timer::Resend | Timer::Retry) | Input::Drawn(_) | Input::BallotRefused => {}
        }
    }

    fn start(&mut self, now: Tick, out: &mut Out) {
        let homes = self.plan.quorum.homes().clone();
        for node in homes.iter().filter(|node| self.plan.down.contains(node)) {
            self.reports.down(node, now);
        }
        let alive = homes.iter().filter(|node| !self.plan.down.contains(node)).count();
        if !self.counts_hints() && alive < usize::from(self.plan.quorum.needed()) {
            out.sometimes(Mark::Unreachable);
            self.phase = Phase::Refused;
            let reason = Reason::Unreachable { needed: self.plan.quorum.needed(), alive: small(alive) };
            let outcome = self.untouched();
            return self.fail(WriteFailureCause::Reason(reason), outcome, out);
        }
        out.push(Effect::SetTimer { timer: Timer::Deadline, at: self.plan.deadline });
        let hint_at = now.after(self.hint_after(now));
        out.push(Effect::SetTimer { timer: Timer::Hint, at: hint_at });
        if self.plan.attempt.is_retry() { self.look(now, out) } else { self.mint(out) }
    }

    fn counts_hints(&self) -> bool {
        self.plan.quorum.counts_hints() || self.plan.options.has(Defect::HintCountsTowardQuorum)
    }

    /// True when the hints kept so far meet the level together with the replicas that stored the write.
    fn is_met_with_hints(&self) -> bool {
        let hints = self.hints_kept.iter().filter(|node| !self.acks.has(**node)).count();
        self.counts_hints() && self.acks.count() + hints >= usize::from(self.plan.quorum.needed())
    }

    /// How long to wait for acknowledgements before hints are kept. Where a hint counts, early enough for it to.
    fn hint_after(&self, now: Tick) -> u64 {
        let left = self.plan.deadline.since(now);
        let latest = if self.counts_hints() { left / 4 } else { left };
        self.plan.hint_after_micros.min(latest)
    }

    /// Reads from every home replica that can be reached, to find out what became of the first try.
    fn look(&mut self, now: Tick, out: &mut Out) {
        let homes = self.plan.quorum.homes().clone();
        let mut tally = Tally::new(homes.clone(), majority(small(homes.len())), self.plan.options);
        for node in homes.iter() {
            if self.plan.down.contains(&node) {
                tally.no(node);
            } else {
                self.reports.asked(node);
                out.push(Effect::Send { to: node, request: ReplicaRequest::Read { strict: self.plan.quorum.strict_epoch() } });
            }
        }
        self.phase = Phase::Looking { replies: BTreeMap::new(), tally };
        self.looked(now, out);
    }

    /// Decides what a retry does, once a majority has answered or cannot any more.
    fn looked(&mut self, now: Tick, out: &mut Out) {
        let Phase::Looking { replies, tally } = &self.phase else { return };
        match tally.verdict() {
            Verdict::Pending => {}
            Verdict::Lost => {
                let answered = small(tally.count());
                let needed = majority(small(self.plan.quorum.homes().len()));
                self.phase = Phase::Refused;
                self.fail(WriteFailureCause::Reason(Reason::Unavailable { needed, answered }), Outcome::Unknown, out);
            }
            Verdict::Met => {
                let repair = Repair::decide(replies);
                let found = self.plan.mint.op.and_then(|op| repair.merged.dot_of(&op));
                match found {
                    Some(dot) => self.send_again(now, repair, dot, out),
                    None => self.apply_again(out),
                }
            }
        }
    }

    /// The first try reached some replica: spread what was found until the level is met.
    fn send_again(&mut self, now: Tick, repair: Repair, dot: Dot, out: &mut Out) {
        out.sometimes(Mark::RetryFound);
        self.dot = Some(dot);
        let context = match &self.plan.mint.seen {
            Seen::Context(context) => context.clone().with(dot),
            Seen::Nothing => Context::empty().with(dot),
            Seen::Blind => repair.merged.context_of(dot),
        };
        for node in &repair.fresh {
            self.acks.yes(*node);
            self.reports.answered(*node, now);
        }
        if self.plan.options.has(Defect::RetryAnsweredWithoutResend) {
            self.phase = Phase::Spreading { delta: repair.merged, context: context.clone() };
            return self.succeed(now, context, false, out);
        }
        self.spread(now, repair.merged, context, out);
    }

    /// The first try reached nobody who answered: write it, so that it can overwrite nothing its client has not seen.
    fn apply_again(&mut self, out: &mut Out) {
        out.sometimes(Mark::RetryReapplied);
        if self.plan.mint.seen == Seen::Blind && !self.plan.options.has(Defect::RetryOverwrites) {
            self.plan.mint.seen = Seen::Nothing;
        }
        self.mint(out);
    }

    fn mint(&mut self, out: &mut Out) {
        self.phase = Phase::Minting;
        out.push(Effect::Mint { mint: self.plan.mint.clone(), role: self.plan.role });
    }

    fn mint_refused(&mut self, refusal: MintRefusal, out: &mut Out) {
        if self.phase != Phase::Minting {
            return;
        }
        self.phase = Phase::Refused;
        let cause = match refusal {
            MintRefusal::TooManySiblings(too_many) => WriteFailureCause::TooManySiblings(too_many),
            MintRefusal::ContextTooLong => {
                let len_max = u32::try_from(CONTEXT_LEN_MAX).expect("a few thousand");
                WriteFailureCause::Reason(Reason::ContextTooLong { len_max })
            }
            MintRefusal::Store(Refusal::Overloaded) => WriteFailureCause::Reason(Reason::Overloaded),
            MintRefusal::Store(refusal) => WriteFailureCause::Reason(Reason::Refused { refusal }),
        };
        let outcome = self.untouched();
        self.fail(cause, outcome, out);
    }

    fn minted(&mut self, now: Tick, minted: Minted, out: &mut Out) {
        if self.phase != Phase::Minting {
            return;
        }
        self.dot = Some(minted.dot);
        if self.plan.role == Role::Home {
            // Durable here a little later; the driver then reports `Stored` from this node.
            self.reports.asked(self.plan.me);
        }
        self.spread(now, minted.delta, minted.context, out);
    }

    fn spread(&mut self, now: Tick, delta: Siblings, context: Context, out: &mut Out) {
        let minted_here = self.phase == Phase::Minting;
        self.phase = Phase::Spreading { delta, context };
        let mut to_send = if self.plan.options.awkward.spread_minimal {
            usize::from(self.plan.quorum.needed()).saturating_sub(self.acks.count() + usize::from(minted_here))
        } else {
            usize::MAX
        };
        for node in self.plan.quorum.homes().clone().iter() {
            if self.acks.has(node) || (minted_here && node == self.plan.me) {
                continue;
            }
            if self.plan.down.contains(&node) || matches!(self.reports.status(node), Some(ReplicaStatus::Down)) {
                self.acks.no(node);
                self.keep_hint(node, out);
                continue;
            }
            if to_send == 0 {
                self.held_back.insert(node);
                continue;
            }
            to_send -= 1;
            self.send_delta(node, out);
        }
        self.settle(now, out);
    }

    fn send_delta(&mut self, node: NodeId, out: &mut Out) {
        let Phase::Spreading { delta, .. } = &self.phase else { return };
        let request = ReplicaRequest::Replicate { strict: self.plan.quorum.strict_epoch(), delta: delta.clone() };
        self.reports.asked(node);
        out.push(Effect::Send { to: node, request });
    }

    fn reply(&mut self, now: Tick, from: NodeId, reply: ReplicaReply, out: &mut Out) {
        match (reply, &mut self.phase) {
            (ReplicaReply::State { siblings }, Phase::Looking { replies, tally }) => {
                replies.insert(from, siblings);
                tally.yes(from);
                // It answered what was asked so far; whether it holds the write is another question.
                self.reports.not_asked(from);
                self.looked(now, out);
            }
            (ReplicaReply::Stored, Phase::Spreading { .. }) => {
                self.acks.yes(from);
                self.reports.answered(from, now);
                self.settle(now, out);
            }
            (ReplicaReply::Refused(refusal), Phase::Looking { .. } | Phase::Spreading { .. }) => {
                self.reports.refused(from, refusal, now);
                self.lost(now, from, out);
            }
            // A late answer to the first read of a retry.
            (ReplicaReply::State { .. } | ReplicaReply::Stored | ReplicaReply::Refused(_) | ReplicaReply::Chain(_), _) => {}
        }
    }

    /// A replica will not answer what it was asked.
    fn lost(&mut self, now: Tick, node: NodeId, out: &mut Out) {
        match &mut self.phase {
            Phase::Looking { tally, .. } => {
                tally.no(node);
                self.looked(now, out);
            }
            Phase::Spreading { .. } => {
                self.acks.no(node);
                if !self.acks.has(node) {
                    self.keep_hint(node, out);
                }
                if let Some(next) = self.held_back.pop_first() {
                    self.send_delta(next, out);
                }
                self.settle(now, out);
            }
            Phase::Planned | Phase::Minting | Phase::Refused => {}
        }
    }

    fn keep_hint(&mut self, node: NodeId, out: &mut Out) {
        let Phase::Spreading { delta, .. } = &self.phase else { return };
        let already = self.hints_asked.contains(&node) || self.hints_kept.contains(&node) || self.hints_refused.contains(&node);
        if already || node == self.plan.me {
            return;
        }
        self.hints_asked.insert(node);
        out.push(Effect::KeepHint { target: node, delta: delta.clone() });
    }

    fn hint_everybody(&mut self, out: &mut Out) {
        self.held_back.clear();
        let silent: Vec<NodeId> = self.acks.open().collect();
        for node in silent {
            self.keep_hint(node, out);
        }
    }

    fn hint_kept(&mut self, now: Tick, node: NodeId, out: &mut Out) {
        self.hints_asked.remove(&node);
        self.hints_kept.insert(node);
        self.reports.hinted(node);
        out.sometimes(Mark::HintKept);
        self.settle(now, out);
    }

    fn hint_refused(&mut self, now: Tick, node: NodeId, out: &mut Out) {
        self.hints_asked.remove(&node);
        self.hints_refused.insert(node);
        out.sometimes(Mark::HintRefused);
        self.settle(now, out);
    }

    /// Answers as soon as the level is met or out of reach.
    fn settle(&mut self, now: Tick, out: &mut Out) {
        let Phase::Spreading { context, .. } = &self.phase else { return };
        if self.answered {
            return;
        }
        match self.acks.verdict() {
            Verdict::Met => {
                let context = context.clone();
                self.succeed(now, context, false, out);
            }
            // All the hints, though one is copy enough: a home replica whose only hint is for it may be gone for good.
            Verdict::Pending | Verdict::Lost if self.hints_asked.is_empty() && self.is_met_with_hints() => {
                out.sometimes(Mark::HintCounted);
                let context = context.clone();
                self.succeed(now, context, true, out);
            }
            // At `any` a hint may still be kept.
            Verdict::Lost if !self.counts_hints() || self.hints_asked.is_empty() => {
                let reason = Reason::Unavailable { needed: self.plan.quorum.needed(), answered: small(self.acks.count()) };
                self.fail(WriteFailureCause::Reason(reason), self.begun(), out);
            }
            Verdict::Pending | Verdict::Lost => {}
        }
    }

    fn deadline(&mut self, now: Tick, out: &mut Out) {
        self.hint_everybody(out);
        self.reports.deadline(now);
        if !self.answered {
            let outcome = match self.phase {
                Phase::Spreading { .. } | Phase::Minting => self.begun(),
                Phase::Planned | Phase::Looking { .. } | Phase::Refused => self.untouched(),
            };
            let reason = Reason::TimedOut { needed: self.plan.quorum.needed(), answered: small(self.acks.count()) };
            self.fail(WriteFailureCause::Reason(reason), outcome, out);
        }
        self.over = true;
    }

    /// What is known of a write that some replica may hold, or may come to hold.
    fn begun(&self) -> Outcome {
        if self.plan.options.has(Defect::DefiniteFailureAfterSpread) { Outcome::NotApplied } else { Outcome::Unknown }
    }

    /// What is known of a write that this coordinator has not begun to apply.
    fn untouched(&self) -> Outcome {
        if self.plan.attempt.is_retry() { Outcome::Unknown } else { Outcome::NotApplied }
    }

    fn succeed(&mut self, now: Tick, context: Context, hint_only: bool, out: &mut Out) {
        self.answered = true;
        let receipt = Receipt {
            level: self.plan.level,
            coordinator: self.plan.me,
            epoch: self.plan.epoch,
            needed: self.plan.quorum.needed(),
            replicas: self.reports.list(),
            versions: 1,
            micros: self.reports.elapsed(now),
            hint_only,
            rounds: 0,
        };
        let dot = self.dot.expect("only what has a dot is spread");
        out.push(Effect::Finish(Ok(Written { dot, context, receipt })));
    }

    fn fail(&mut self, cause: WriteFailureCause, outcome: Outcome, out: &mut Out) {
        self.answered = true;
        self.over = self.phase == Phase::Refused;
        if outcome == Outcome::Unknown {
            out.sometimes(Mark::OutcomeUnknown);
        }
        out.push(Effect::Finish(Err(WriteFailure { cause, outcome, replicas: self.reports.list() })));
    }
}

fn small(count: usize) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests;
