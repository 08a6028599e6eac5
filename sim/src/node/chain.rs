//! The linearizable chain on a node: its proposers, its ballots, and what it does about states that nobody decides.
//!
//! **Rules.**
//! - *Upon a change of a key*: give it to the key's proposer. A proposer is a process's memory; a node that comes to another ring epoch
//!   makes a new one and leaves the old one to the operations that it has. One that has nothing left to do is dropped, and so hears no
//!   answers any more; its foothold is remembered, until the next proposer takes it.
//! - *Upon a read that needs consensus*: give the proposer an operation that changes nothing.
//! - *Upon a state accepted here that is not known to be chosen*: if that is still so after a while, longer on later home replicas, read
//!   the key as a client would. A process that starts looks for such states among its records.
//! - Ballots name the boot, and are counted anew in each.

use std::collections::BTreeMap;

use quorate_protocol::chain::message::{ChainReply, ChainRequest};
use quorate_protocol::chain::operation::{Decision, Operation as Wish, Ticket as Place};
use quorate_protocol::chain::proposer::{Proposer, ProposerPlan};
use quorate_protocol::chain::read::ChainRead;
use quorate_protocol::chain::{Accepted, Ballot, Ballots, Change};
use quorate_protocol::eventual::read::ReadPlan;
use quorate_protocol::machine::{Drawn, Input, Outbox};
use quorate_protocol::quorum::ReadQuorum;
use quorate_protocol::replica::ReplicaReply;
use quorate_protocol::{BootId, Context, Defect, Level, OpId, Tick};
use quorate_ring::{NodeId, RingEpoch};

use super::operation::{Asker, Machine, Operation, Subject};
use super::{Action, Alarm, Env, Node};
use crate::census::{Applied, Growth, Sight};
use crate::message::Key;

/// Time that an accepted state may stay undecided before the first home replica looks into it, in microseconds.
const UNDECIDED_MICROS: u64 = 2_000_000;

/// How much longer each further home replica waits, in microseconds.
const RANK_MICROS: u64 = 1_000_000;

/// Deadline of what a node does for itself, in microseconds.
const FINISH_MICROS: u64 = 2_000_000;

impl Node {
    /// The ballots of this start of the process.
    pub(super) fn ballots(&self, env: &Env<'_>, boot: u32, floor: Ballot) -> Ballots {
        let boot = if env.options.has(Defect::BallotReusedAfterRestart) { 1 } else { boot };
        let ballots = Ballots::new(self.id, BootId(boot));
        if env.options.has(Defect::BallotReusedAfterRestart) { ballots } else { ballots.above(floor) }
    }

    /// Ballots that this process has never given out.
    pub(super) fn draw(&mut self, env: &Env<'_>, epoch: RingEpoch, seen: Ballot) -> Input {
        let hlc = self.process.clock.tick(self.wall_ms(env.now));
        let Some(ballots) = &mut self.process.ballots else { return Input::BallotRefused };
        let pair = ballots.fresh(epoch, seen).and_then(|ballot| Ok((ballot, ballots.fresh(epoch, ballot)?)));
        pair.map_or(Input::BallotRefused, |(ballot, next)| Input::Drawn(Drawn { ballot, next, hlc }))
    }

    /// Changes a key by consensus.
    pub(super) fn propose(&mut self, env: &mut Env<'_>, key: Key, deadline: Tick, asker: Asker, change: Change, op: Option<OpId>) {
        let down = self.down(&env.homes[usize::from(key.0)]);
        let number = self.proposer(env, key);
        let place = Place(self.number());
        let Some(operation) = self.process.operations.get_mut(&number) else { return };
        let Machine::Propose(proposer, out, askers, _) = &mut operation.machine else { return };
        let tainted = matches!(asker, Asker::Change(_, true));
        askers.insert(place, asker);
        operation.subject.deadline = operation.subject.deadline.max(deadline);
        proposer.submit(env.now, place, Wish { change, op, tainted, deadline }, down, out);
        self.feed(env, number, Input::Start);
    }

    /// The key's proposer, made if there is none for the present ring epoch.
    fn proposer(&mut self, env: &Env<'_>, key: Key) -> u64 {
        let epoch = self.epoch();
        let known = self.process.proposers.get(&key).copied();
        let of_epoch = |number: &u64| self.process.operations.get(number).is_some_and(|operation| operation.subject.epoch == epoch);
        if let Some(number) = known.filter(of_epoch) {
            return number;
        }
        let foothold = self.process.footholds.remove(&key);
        let plan = ProposerPlan {
            me: self.id,
            epoch,
            homes: env.homes[usize::from(key.0)].clone(),
            write_mode: env.options.keys[usize::from(key.0)].write_mode,
            local: self.disk.latest(key).chain.accepted,
            foothold,
            rtt_micros: env.options.network.delay_micros_max * 2 + env.options.node.sync_micros_max / 2,
            resend_micros: env.options.node.resend_micros,
            options: env.options.core,
        };
        let proposer = Proposer::new(plan, env.now);
        let basis = Basis { chosen: foothold.filter(|_| proposer.is_sticky()).map_or(Ballot::ZERO, |at| at.chosen), ..Basis::default() };
        let machine = Machine::Propose(Box::new(proposer), Outbox::default(), BTreeMap::new(), Box::new(basis));
        let subject = Subject { key, deadline: env.now, epoch, begin_by: None };
        let number = self.number();
        self.process.operations.insert(number, Operation::new(machine, subject, Asker::Finisher));
        self.process.proposers.insert(key, number);
        number
    }

    /// An operation has nothing left to do. If it is the key's proposer, its foothold is for the next one.
    pub(super) fn leave(&mut self, number: u64, done: &Operation) {
        let Machine::Propose(proposer, ..) = &done.machine else { return };
        let key = done.subject.key;
        if self.process.proposers.get(&key) == Some(&number) {
            self.process.proposers.remove(&key);
            self.process.footholds.extend(proposer.foothold().map(|foothold| (key, foothold)));
        }
    }

    /// Reads a key at `linearizable`.
    pub(super) fn look(&mut self, env: &mut Env<'_>, key: Key, deadline: Tick, asker: Asker, seen: Context) {
        let homes = env.homes[usize::from(key.0)].clone();
        let epoch = self.epoch();
        let quorum = ReadQuorum::of(Level::Linearizable, homes.clone(), epoch, env.options.core).expect("a level of reads");
        let plan = ReadPlan {
            me: self.id,
            level: Level::Linearizable,
            epoch,
            quorum,
            preferred: self.preferred(env, &homes),
            down: self.down(&homes),
            seen,
            repair_behind: false,
            hedge_after_micros: env.options.node.hedge_after_micros,
            deadline,
            options: env.options.core,
        };
        let machine = Machine::ChainRead(Box::new(ChainRead::new(plan, env.now)), Outbox::default());
        let subject = Subject { key, deadline, epoch, begin_by: None };
        self.start_operation(env, Operation::new(machine, subject, asker));
    }

    /// Looks at a key again after a while if what is accepted here is not known to be chosen.
    pub(super) fn watch(&mut self, env: &mut Env<'_>, key: Key) {
        if !self.has_undecided(key) || !self.process.watched.insert(key) {
            return;
        }
        let rank = env.homes[usize::from(key.0)].iter().position(|node| node == self.id).unwrap_or_default();
        let wait = UNDECIDED_MICROS + RANK_MICROS * rank as u64;
        env.actions.push(Action::Alarm(env.now.after(wait), Alarm::Finish(key)));
    }

    fn has_undecided(&self, key: Key) -> bool {
        let record = self.disk.current().records.get(&key);
        let held = self.disk.held(key).decided;
        record.is_some_and(|record| record.chain.accepted_at() > record.chain.decided.max(held))
    }

    /// What was accepted here is looked at again.
    pub(super) fn finish(&mut self, env: &mut Env<'_>, key: Key) {
        self.process.watched.remove(&key);
        if self.is_quarantined() || !self.has_undecided(key) {
            return;
        }
        self.look(env, key, env.now.after(FINISH_MICROS), Asker::Finisher, Context::empty());
        self.watch(env, key);
    }

    /// A process has started: looks for states that are not decided, and for what it has promised.
    pub(super) fn take_stock(&mut self, env: &mut Env<'_>) {
        let records: Vec<_> = self.disk.durable().records.iter().map(|(key, record)| (*key, record.chain.clone())).collect();
        for (key, mut chain) in records {
            // It acts as if it had promised that much for every key.
            chain.promised = chain.promised.max(self.process.promise_floor);
            env.actions.push(Action::Chain(key, Sight::Found(Box::new(chain))));
            self.watch(env, key);
        }
    }

    /// A state leaves this node. Its own proposer knows what was added to it; whoever only brings it to further replicas does not.
    pub(super) fn note_proposal(&mut self, env: &mut Env<'_>, number: u64, key: Key, request: &ChainRequest) {
        let ChainRequest::Accept { proposal, .. } = request else { return };
        let operation = self.process.operations.get_mut(&number).map(|operation| &mut operation.machine);
        let growth = match operation {
            Some(Machine::Propose(_, _, _, basis)) if basis.last.as_ref() == Some(proposal) => return,
            Some(Machine::Propose(proposer, _, _, basis)) => {
                let base = basis.under(proposal.ballot);
                basis.last = Some(proposal.clone());
                let applied = |(op, decision): (OpId, &Decision)| match decision {
                    Decision::Applied { token, result } => Some((op, Applied { token: *token, result: result.clone() })),
                    _ => None,
                };
                Some(Growth { base, added: proposer.underway().filter_map(applied).collect() })
            }
            Some(Machine::Read(..) | Machine::Write(..) | Machine::ChainRead(..)) | None => None,
        };
        env.actions.push(Action::Chain(key, Sight::Proposed(proposal.clone(), growth)));
    }
}

/// What the states of a proposer extend, told by what it hears.
#[derive(Debug, Default)]
pub(super) struct Basis {
    /// The highest ballot that was promised to it.
    ballot: Ballot,
    /// What those who promised have accepted.
    accepted: BTreeMap<NodeId, Ballot>,
    /// What it proposed last: without promises, it extends that.
    last: Option<Accepted>,
    /// What it extends without promises as long as it has proposed nothing: the foothold of the proposer before it.
    chosen: Ballot,
}

impl Basis {
    pub(super) fn hear(&mut self, input: &Input) {
        let Input::Reply { from, reply: ReplicaReply::Chain(reply) } = input else { return };
        let ChainReply::Promised { ballot, promise } = &**reply else { return };
        if *ballot > self.ballot {
            (self.ballot, self.accepted) = (*ballot, BTreeMap::new());
        }
        if *ballot == self.ballot {
            self.accepted.insert(*from, promise.accepted);
        }
    }

    /// The ballot of the state that the one at `ballot` extends.
    fn under(&self, ballot: Ballot) -> Ballot {
        let promised = || self.accepted.values().max().copied().unwrap_or_default();
        let last = || self.last.as_ref().map_or(self.chosen, |last| last.ballot);
        if self.ballot == ballot { promised() } else { last() }
    }
}
