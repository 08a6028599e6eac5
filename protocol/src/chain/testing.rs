//! Three replicas and the two machines of the chain, driven by hand or to the end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use quorate_ring::{NodeId, PreferenceList, RingEpoch};

use super::ballot::{Ballot, Ballots};
use super::message::ChainRequest;
use super::operation::{Answer, Done, NotDone, Operation, Ticket};
use super::proposer::{Proposer, ProposerPlan};
use super::read::{ChainRead, Found};
use super::state::{ChainState, Change};
use crate::context::{Actor, Context, Dot};
use crate::eventual::read::{ReadFailure, ReadPlan};
use crate::hlc::Hlc;
use crate::ids::{BootId, ClientId, KeyEpoch, OpId, Tick};
use crate::level::Level;
use crate::machine::{Drawn, Effect, Input, Outbox, Timer};
use crate::notes::{Mark, Notes};
use crate::options::Options;
use crate::quorum::ReadQuorum;
use crate::record::{KeyRecord, PartitionRecord, Role, WriteMode};
use crate::replica::{ReplicaReply, ReplicaRequest, apply};
use crate::siblings::{Body, Siblings, Version};

pub(super) const EPOCH: RingEpoch = RingEpoch(1);
pub(super) const DEADLINE: Tick = Tick(1_000_000);

/// One key's three home replicas, and which of them answer.
pub(super) struct Cluster {
    pub(super) records: BTreeMap<NodeId, KeyRecord>,
    pub(super) down: BTreeSet<NodeId>,
    pub(super) write_mode: WriteMode,
    pub(super) options: Options,
    pub(super) marks: Vec<Mark>,
    /// Every request that reached a replica.
    pub(super) sent: Vec<(NodeId, ChainRequest)>,
    ballots: BTreeMap<NodeId, Ballots>,
    hlc: u64,
}

impl Cluster {
    pub(super) fn new() -> Self {
        let nodes = [1, 2, 3].map(NodeId);
        Self {
            records: nodes.iter().map(|node| (*node, KeyRecord::default())).collect(),
            down: BTreeSet::new(),
            write_mode: WriteMode::Mixed,
            options: Options::default(),
            marks: Vec::new(),
            sent: Vec::new(),
            ballots: nodes.iter().map(|node| (*node, Ballots::new(*node, BootId(1)))).collect(),
            hlc: 1_000,
        }
    }

    pub(super) fn homes(&self) -> PreferenceList {
        PreferenceList::new(self.records.keys().copied().collect::<Vec<_>>()).expect("distinct")
    }

    pub(super) fn record(&mut self, node: u64) -> &mut KeyRecord {
        self.records.get_mut(&NodeId(node)).expect("a home replica")
    }

    pub(super) fn draw(&mut self, me: NodeId, seen: Ballot) -> Drawn {
        let ballots = self.ballots.get_mut(&me).expect("a node");
        self.hlc += 1;
        let ballot = ballots.fresh(EPOCH, seen).expect("near");
        Drawn { ballot, next: ballots.fresh(EPOCH, ballot).expect("near"), hlc: Hlc::at_ms(self.hlc) }
    }

    /// What a replica answers; nothing if it is down.
    pub(super) fn ask(&mut self, to: NodeId, request: &ReplicaRequest) -> Input {
        if self.down.contains(&to) {
            return Input::PeerDown(to);
        }
        if let ReplicaRequest::Chain { request, .. } = request {
            self.sent.push((to, request.clone()));
        }
        let partition = PartitionRecord { epoch: EPOCH, role: Role::Home, write_mode: self.write_mode, promise_floor: Ballot::ZERO };
        let mut notes = Notes::default();
        let record = self.records.get_mut(&to).expect("a home replica");
        let reply = apply(record, &partition, request, self.options, &mut notes);
        self.marks.extend(notes.take());
        Input::Reply { from: to, reply }
    }

    pub(super) fn proposer(&self, me: u64) -> Proposer {
        Proposer::new(self.plan(me), Tick(0))
    }

    pub(super) fn plan(&self, me: u64) -> ProposerPlan {
        let local = self.records.get(&NodeId(me)).and_then(|record| record.chain.accepted.clone());
        ProposerPlan {
            me: NodeId(me),
            epoch: EPOCH,
            homes: self.homes(),
            write_mode: self.write_mode,
            local,
            foothold: None,
            rtt_micros: 1_000,
            resend_micros: 20_000,
            options: self.options,
        }
    }

    /// Runs one operation at a fresh proposer to its answer.
    pub(super) fn run(&mut self, me: u64, operation: Operation) -> Result<Done, NotDone> {
        let mut proposer = self.proposer(me);
        self.run_at(&mut proposer, me, operation)
    }

    pub(super) fn run_at(&mut self, proposer: &mut Proposer, me: u64, operation: Operation) -> Result<Done, NotDone> {
        let mut answers = self.run_all(proposer, me, vec![operation]);
        answers.remove(&Ticket(0)).expect("answered")
    }

    /// Runs operations that were submitted together.
    pub(super) fn run_all(
        &mut self,
        proposer: &mut Proposer,
        me: u64,
        operations: Vec<Operation>,
    ) -> BTreeMap<Ticket, Result<Done, NotDone>> {
        let count = operations.len();
        let mut out: Outbox<Answer> = Outbox::default();
        for (ticket, operation) in operations.into_iter().enumerate() {
            proposer.submit(Tick(0), Ticket(ticket as u64), operation, BTreeSet::new(), &mut out);
        }
        let mut answers = BTreeMap::new();
        let (mut queue, mut timers, mut now) = (VecDeque::from(out.drain()), Vec::new(), Tick(0));
        while answers.len() < count || !queue.is_empty() {
            let input = match queue.pop_front() {
                Some(Effect::Send { to, request }) => self.ask(to, &request),
                Some(Effect::DrawBallot { seen }) => Input::Drawn(self.draw(NodeId(me), seen)),
                Some(Effect::SetTimer { timer, at }) => {
                    timers.push((at, timer));
                    continue;
                }
                Some(Effect::Finish((ticket, answer))) => {
                    assert!(answers.insert(ticket, answer).is_none(), "answered once");
                    continue;
                }
                Some(other) => panic!("a proposer does not ask for {other}"),
                None => Self::next_timer(&mut timers, &mut now),
            };
            proposer.step(now, input, &mut out);
            queue.extend(out.drain());
        }
        self.marks.extend(out.marks());
        answers
    }

    fn next_timer(timers: &mut Vec<(Tick, Timer)>, now: &mut Tick) -> Input {
        timers.sort_unstable();
        let (at, timer) = timers.remove(0);
        *now = (*now).max(at);
        Input::Timer(timer)
    }

    pub(super) fn reader(&self, me: u64, options: Options) -> ChainRead {
        let homes = self.homes();
        let (after, before): (Vec<_>, Vec<_>) = homes.iter().partition(|node| node.0 >= me);
        let plan = ReadPlan {
            me: NodeId(me),
            level: Level::Linearizable,
            epoch: EPOCH,
            preferred: after.into_iter().chain(before).collect(),
            quorum: ReadQuorum::of(Level::Linearizable, homes.clone(), EPOCH, options).expect("a read level"),
            down: BTreeSet::new(),
            seen: Context::empty(),
            repair_behind: false,
            hedge_after_micros: 10_000,
            deadline: DEADLINE,
            options,
        };
        ChainRead::new(plan, Tick(0))
    }

    /// Reads with `me` and the nodes after it as the majority that is asked.
    pub(super) fn read(&mut self, me: u64) -> Result<Found, ReadFailure> {
        let mut reader = self.reader(me, self.options);
        let mut out = Outbox::default();
        reader.step(Tick(0), Input::Start, &mut out);
        let (mut queue, mut timers, mut now, mut answer) = (VecDeque::from(out.drain()), Vec::new(), Tick(0), None);
        while answer.is_none() || !queue.is_empty() {
            let input = match queue.pop_front() {
                Some(Effect::Send { to, request }) => self.ask(to, &request),
                Some(Effect::SetTimer { timer, at }) => {
                    timers.push((at, timer));
                    continue;
                }
                Some(Effect::Finish(found)) => {
                    assert!(answer.replace(found).is_none(), "answered once");
                    continue;
                }
                Some(other) => panic!("a reader does not ask for {other}"),
                None => Self::next_timer(&mut timers, &mut now),
            };
            reader.step(now, input, &mut out);
            queue.extend(out.drain());
        }
        self.marks.extend(out.marks());
        answer.expect("answered")
    }

    /// The values of a read that needed no round.
    pub(super) fn values(&mut self, me: u64) -> Vec<String> {
        match self.read(me) {
            Ok(Found::State { state, .. }) => shown(&state),
            other => panic!("{other:?}"),
        }
    }

    /// Lets a replica have an eventual write.
    pub(super) fn write_eventually(&mut self, node: u64, n: u64, value: &'static str) {
        let dot = Dot { actor: Actor::Node { node: NodeId(node), epoch: KeyEpoch(1) }, n };
        let version = Version { body: Body::Value(Bytes::from_static(value.as_bytes())), hlc: Hlc(n), op: None };
        let delta = Siblings::delta(Context::empty(), dot, version);
        self.store(node, delta);
    }

    pub(super) fn store(&mut self, node: u64, delta: Siblings) {
        let request = ReplicaRequest::Replicate { strict: None, delta };
        let answer = self.ask(NodeId(node), &request);
        assert_eq!(answer, Input::Reply { from: NodeId(node), reply: ReplicaReply::Stored });
    }
}

pub(super) fn shown(state: &ChainState) -> Vec<String> {
    state.values().map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

pub(super) fn op(client: u128, seq: u64) -> OpId {
    OpId { client: ClientId(client), lane: 0, seq, issued_ms: seq }
}

/// A client's first sending of a change.
pub(super) fn change(client: u128, seq: u64, change: Change) -> Operation {
    Operation { change, op: Some(op(client, seq)), tainted: false, deadline: DEADLINE }
}

pub(super) fn put(client: u128, seq: u64, value: &'static str) -> Operation {
    change(client, seq, Change::Put(Bytes::from_static(value.as_bytes())))
}

pub(super) fn identity() -> Operation {
    Operation { change: Change::Identity, op: None, tainted: false, deadline: DEADLINE }
}
