//! A key on a few replicas without network or disk: tests run machines against it and choose what is delivered when.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use quorate_ring::{NodeId, PreferenceList, RingEpoch};

use super::read::{Read, ReadAnswer, ReadFailure, ReadPlan};
use super::write::{Write, WriteFailure, WritePlan, Written};
use crate::chain::Ballot;
use crate::context::Context;
use crate::hlc::Hlc;
use crate::ids::{Attempt, ClientId, KeyEpoch, OpId, Tick};
use crate::level::Level;
use crate::machine::{Effect, Input, Outbox, Timer};
use crate::notes::{Mark, Notes};
use crate::options::Options;
use crate::quorum::{ReadQuorum, WriteQuorum};
use crate::record::{KeyRecord, PartitionRecord, Role, WriteMode};
use crate::replica::{Mint, ReplicaRequest, Seen, apply, mint, needs_fresh_epoch};
use crate::siblings::{Body, Siblings};

pub(crate) const EPOCH: RingEpoch = RingEpoch(1);

/// Something a machine waits for, not yet delivered.
#[derive(Clone, Debug)]
pub(crate) enum Waiting {
    /// A request on its way to a replica.
    Request { to: NodeId, request: ReplicaRequest },
    /// An input on its way to the machine.
    Input(Input),
}

pub(crate) struct Replicas {
    pub(crate) records: BTreeMap<NodeId, KeyRecord>,
    /// Replicas that are gone: requests to them fail.
    pub(crate) down: BTreeSet<NodeId>,
    /// Replicas that swallow requests without an answer.
    pub(crate) silent: BTreeSet<NodeId>,
    pub(crate) hints: Vec<(NodeId, Siblings)>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) options: Options,
    next_epoch: u64,
}

impl Replicas {
    pub(crate) fn new(count: u64) -> Self {
        Self {
            records: (1..=count).map(|n| (NodeId(n), KeyRecord::default())).collect(),
            down: BTreeSet::new(),
            silent: BTreeSet::new(),
            hints: Vec::new(),
            marks: Vec::new(),
            options: Options::default(),
            next_epoch: 1,
        }
    }

    pub(crate) fn homes(&self) -> PreferenceList {
        PreferenceList::new(self.records.keys().copied().collect::<Vec<_>>()).expect("distinct nodes")
    }

    /// Delivers one request; the inputs that come back are returned.
    pub(crate) fn deliver(&mut self, to: NodeId, request: &ReplicaRequest) -> Vec<Input> {
        if self.down.contains(&to) {
            return vec![Input::PeerDown(to)];
        }
        if self.silent.contains(&to) {
            return Vec::new();
        }
        let partition = PartitionRecord { epoch: EPOCH, role: Role::Home, write_mode: WriteMode::Mixed, promise_floor: Ballot::ZERO };
        let record = self.records.get_mut(&to).expect("a home replica");
        let reply = apply(record, &partition, request, self.options, &mut Notes::default());
        vec![Input::Reply { from: to, reply }]
    }

    pub(crate) fn mint(&mut self, me: NodeId, write: &Mint, role: Role) -> Vec<Input> {
        let mut nothing = KeyRecord::default();
        let record = match role {
            Role::Home => self.records.get_mut(&me).expect("a home replica"),
            Role::Stranger => &mut nothing,
        };
        let fresh = needs_fresh_epoch(record, KeyEpoch(0), self.options).then(|| {
            self.next_epoch += 1;
            KeyEpoch(self.next_epoch)
        });
        match mint(record, me, fresh, write, self.options, &mut Notes::default()) {
            Ok(minted) if role == Role::Home => {
                vec![Input::Minted(minted), Input::Reply { from: me, reply: crate::replica::ReplicaReply::Stored }]
            }
            Ok(minted) => vec![Input::Minted(minted)],
            Err(refusal) => vec![Input::MintRefused(refusal)],
        }
    }

    /// Carries out effects; what takes time is returned.
    pub(crate) fn carry_out<A>(&mut self, me: NodeId, effects: Vec<Effect<A>>, answer: &mut Option<A>) -> Vec<Waiting> {
        let mut waiting = Vec::new();
        for effect in effects {
            match effect {
                Effect::Send { to, request } => waiting.push(Waiting::Request { to, request }),
                Effect::Mint { mint, role } => waiting.extend(self.mint(me, &mint, role).into_iter().map(Waiting::Input)),
                Effect::KeepHint { target, delta } => {
                    self.hints.push((target, delta));
                    waiting.push(Waiting::Input(Input::HintKept(target)));
                }
                Effect::SetTimer { .. } => {}
                Effect::DrawBallot { .. } => panic!("an eventual operation needs no ballot"),
                Effect::Finish(result) => {
                    assert!(answer.is_none(), "an operation is answered once");
                    *answer = Some(result);
                }
            }
        }
        waiting
    }

    /// Runs a write, first in first out; when nothing moves any more the hint timer goes off, then the deadline.
    pub(crate) fn write(&mut self, plan: WritePlan) -> Result<Written, WriteFailure> {
        let me = plan.me;
        let mut machine = Write::new(plan, Tick(0));
        let mut out = Outbox::default();
        self.run(me, |input, out| machine.step(Tick(1), input, out), &mut out)
    }

    /// Runs a read likewise, with the hedge timer before the deadline.
    pub(crate) fn read(&mut self, plan: ReadPlan) -> Result<ReadAnswer, ReadFailure> {
        let me = plan.me;
        let mut machine = Read::new(plan, Tick(0));
        let mut out = Outbox::default();
        self.run(me, |input, out| machine.step(Tick(1), input, out), &mut out)
    }

    fn run<A>(&mut self, me: NodeId, mut step: impl FnMut(Input, &mut Outbox<A>), out: &mut Outbox<A>) -> A {
        let mut answer = None;
        let mut queue = VecDeque::from([Waiting::Input(Input::Start)]);
        let mut timers = VecDeque::from([Timer::Hedge, Timer::Hedge, Timer::Hint, Timer::Deadline]);
        loop {
            let inputs = match queue.pop_front() {
                Some(Waiting::Request { to, request }) => self.deliver(to, &request),
                Some(Waiting::Input(input)) => vec![input],
                None if answer.is_some() => break,
                None => vec![Input::Timer(timers.pop_front().expect("the deadline answers"))],
            };
            for input in inputs {
                step(input, out);
                queue.extend(self.carry_out(me, out.drain(), &mut answer));
            }
        }
        self.marks.extend(out.marks());
        answer.expect("answered")
    }

    pub(crate) fn put(&self, me: u64, level: Level, value: &str, seen: Seen) -> WritePlan {
        let body = Body::Value(Bytes::from(value.to_owned()));
        WritePlan {
            me: NodeId(me),
            role: if self.records.contains_key(&NodeId(me)) { Role::Home } else { Role::Stranger },
            level,
            epoch: EPOCH,
            quorum: WriteQuorum::of(level, self.homes(), EPOCH, self.options).expect("a write level"),
            down: BTreeSet::new(),
            mint: Mint { seen, body, op: None, hlc: Hlc(1), siblings_max: 8 },
            attempt: Attempt(0),
            deadline: Tick(1_000_000),
            hint_after_micros: 500_000,
            options: self.options,
        }
    }

    pub(crate) fn get(&self, me: u64, level: Level) -> ReadPlan {
        let homes = self.homes();
        let first = homes.iter().filter(|node| node.0 == me);
        let rest = homes.iter().filter(|node| node.0 != me);
        ReadPlan {
            me: NodeId(me),
            level,
            epoch: EPOCH,
            preferred: first.chain(rest).collect(),
            quorum: ReadQuorum::of(level, homes.clone(), EPOCH, self.options).expect("a read level"),
            down: BTreeSet::new(),
            seen: Context::empty(),
            repair_behind: false,
            hedge_after_micros: 10_000,
            deadline: Tick(1_000_000),
            options: self.options,
        }
    }
}

pub(crate) fn op(seq: u64) -> Option<OpId> {
    Some(OpId { client: ClientId(7), lane: 0, seq, issued_ms: seq })
}

pub(crate) fn values(siblings: &Siblings) -> Vec<String> {
    let shown = siblings.visible();
    let mut values: Vec<String> =
        shown.iter().filter_map(|(_, version)| version.value()).map(|value| String::from_utf8_lossy(value).into_owned()).collect();
    values.sort();
    values
}
