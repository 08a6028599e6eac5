//! One key on three nodes, its clients and the network, as a state machine over the cores that a node runs.
//!
//! **Network.** A message that was sent may arrive at any later time, any number of times, or never: there is nothing to do for a loss.
//! It leaves the network only when it cannot matter any more.
//!
//! **Answers.** A replica's answer arrives at once or never. That loses nothing: a machine only counts answers until they suffice, so an
//! answer that arrives later can as well have been given later, or, being too late, not at all. An answer that would be one of several
//! to be counted, and no more than that, is not lost either, since whoever lacks it can go on as one who has it.
//!
//! **Time.** Timers go off at any time after they were set. Resending adds nothing where messages arrive repeatedly.
//!
//! **Clocks.** A ballot's hybrid clock is its counter, everything else happens at tick 0.

use std::collections::BTreeSet;
use std::fmt;

use quorate_protocol::chain::operation::Ticket;
use quorate_protocol::chain::proposer::Proposer;
use quorate_protocol::chain::read::ChainRead;
use quorate_protocol::chain::volatile::Volatile;
use quorate_protocol::chain::{Ballot, Ballots, ChainRequest, ChainState};
use quorate_protocol::eventual::read::Read;
use quorate_protocol::eventual::write::Write;
use quorate_protocol::ids::{BootId, OpId, Tick};
use quorate_protocol::machine::{Input, Outbox};
use quorate_protocol::notes::Notes;
use quorate_protocol::record::{PartitionRecord, Role};
use quorate_protocol::replica::{ReplicaReply, ReplicaRequest, apply};
use quorate_protocol::{Defect, Dot, KeyRecord};
use quorate_ring::{NodeId, RingEpoch};

use crate::history::{Answer, Event, is_linearizable};
use crate::ledger::{Ledger, Rule, promise_rises};
use crate::scenario::{Crash, Scenario, op_id};
use crate::shared::Shared;

pub(crate) const EPOCH: RingEpoch = RingEpoch(1);
pub(crate) const DEADLINE: Tick = Tick(1_000_000);
pub(crate) const NODES: usize = 3;

/// Everything there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    /// What each replica acts on.
    pub(crate) records: [Shared<KeyRecord>; NODES],
    /// What each replica has on disk; kept where somebody may crash.
    pub(crate) stored: [Shared<KeyRecord>; NODES],
    /// What each replica may have promised before its last start.
    pub(crate) floors: [Ballot; NODES],
    pub(crate) nodes: [Node; NODES],
    pub(crate) operations: Vec<Running>,
    /// In the order of their ranks.
    pub(crate) network: Vec<Shared<Envelope>>,
    pub(crate) history: Vec<Option<Event>>,
    pub(crate) ledger: Ledger,
    pub(crate) crashed: bool,
    /// The first rule that was broken. Nothing happens after that.
    pub(crate) broken: Option<Rule>,
}

/// A node as a coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) ballots: Ballots,
    pub(crate) proposer: Option<Shared<Proposer>>,
    /// The ballot that its proposer speaks of at present.
    pub(crate) current: Option<Ballot>,
    pub(crate) must_wait: bool,
    pub(crate) rounds: u8,
}

/// An operation at its client and its coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Running {
    pub(crate) stage: Stage,
    pub(crate) machine: Machine,
    pub(crate) must_wait: bool,
    /// How often it was sent, and how many sendings have failed.
    pub(crate) sendings: u8,
    pub(crate) failed: u8,
    /// An eventual put's.
    pub(crate) dot: Option<Dot>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    Planned,
    Begun,
    Over,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Machine {
    None,
    ChainRead(Shared<ChainRead>),
    Read(Shared<Read>),
    Write(Shared<Write>),
}

/// A request, its sender and its receiver.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Envelope {
    pub(crate) from: Origin,
    pub(crate) to: usize,
    pub(crate) request: ReplicaRequest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    Proposer(usize),
    Operation(usize),
}

/// What happens next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    Begin(usize),
    SendAgain(usize),
    /// A request arrives, and its answer too or not.
    Arrive {
        message: Shared<Envelope>,
        answered: bool,
    },
    Retry(usize),
    ReadAgain(usize),
    Deadline(usize),
    Crash(usize),
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} -> n{}: {}", self.from, self.to + 1, self.request)
    }
}

impl World {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let idle = Running { stage: Stage::Planned, machine: Machine::None, must_wait: false, sendings: 0, failed: 0, dot: None };
        let count = scenario.operations().count();
        Self {
            records: std::array::from_fn(|_| Shared::new(KeyRecord::default())),
            stored: std::array::from_fn(|_| Shared::new(KeyRecord::default())),
            floors: [Ballot::ZERO; NODES],
            nodes: std::array::from_fn(|at| Node::new(at, BootId(1))),
            operations: vec![idle; count],
            network: Vec::new(),
            history: vec![None; count],
            ledger: Ledger::default(),
            crashed: false,
            broken: None,
        }
    }

    /// Notes the first rule that is broken, if it is one to be judged by.
    pub(crate) fn judge(&mut self, scenario: &Scenario, verdict: Result<(), Rule>) {
        if let Err(rule) = verdict
            && self.broken.is_none()
            && scenario.rule.is_none_or(|only| only == rule)
        {
            self.broken = Some(rule);
        }
    }

    /// Everything that may happen next.
    pub(crate) fn steps(&self, scenario: &Scenario, steps: &mut Vec<Step>) {
        if self.broken.is_some() {
            return;
        }
        for (at, operation) in self.operations.iter().enumerate() {
            if self.may_begin(scenario, at) {
                steps.push(Step::Begin(at));
            }
            let what = self.history[at].map(|event| event.what);
            if scenario.retries && operation.stage == Stage::Begun && operation.sendings == 1 && what.is_some_and(|what| what.is_change()) {
                steps.push(Step::SendAgain(at));
            }
            if operation.must_wait && scenario.reads_try_again {
                steps.push(Step::ReadAgain(at));
            }
        }
        for message in &self.network {
            let matters = self.waits_for_answer(scenario, message);
            if matters {
                steps.push(Step::Arrive { message: message.clone(), answered: true });
            }
            if message.request.is_mutation() {
                steps.push(Step::Arrive { message: message.clone(), answered: false });
            }
        }
        for (at, node) in self.nodes.iter().enumerate() {
            if node.must_wait && node.rounds < scenario.rounds_max {
                steps.push(Step::Retry(at));
            }
            if scenario.deadlines && node.proposer.as_ref().is_some_and(|proposer| !proposer.is_idle()) {
                steps.push(Step::Deadline(at));
            }
            if scenario.crash.is_some() && !self.crashed {
                steps.push(Step::Crash(at));
            }
        }
    }

    fn may_begin(&self, scenario: &Scenario, at: usize) -> bool {
        let mut operations = scenario.operations().enumerate();
        let Some((_, (client, _))) = operations.clone().find(|(other, _)| *other == at) else { return false };
        let waits_for_all = scenario.last_waits && client + 1 == scenario.clients.len();
        let others_are_over = operations.all(|(other, (owner, _))| {
            let is_over = self.operations[other].stage == Stage::Over;
            let before = owner == client && other < at;
            let elsewhere = owner != client && waits_for_all;
            is_over || (!before && !elsewhere) || (elsewhere && self.is_stuck(scenario, other, owner))
        });
        self.operations[at].stage == Stage::Planned && others_are_over
    }

    fn is_stuck(&self, scenario: &Scenario, at: usize, client: usize) -> bool {
        let node = &self.nodes[client];
        (node.must_wait && node.rounds >= scenario.rounds_max) || (self.operations[at].must_wait && !scenario.reads_try_again)
    }

    /// Whether the sender can make use of an answer.
    pub(crate) fn waits_for_answer(&self, scenario: &Scenario, message: &Envelope) -> bool {
        match message.from {
            Origin::Operation(at) => self.operations[at].machine != Machine::None && !is_learn(&message.request),
            Origin::Proposer(at) => {
                let node = &self.nodes[at];
                node.proposer.is_some()
                    && !is_learn(&message.request)
                    && (scenario.defect == Some(Defect::LateAcceptCounts)
                        || (node.current.is_some() && node.current == ballot_of(&message.request)))
            }
        }
    }

    /// Lets a replica have a request; its answer is returned.
    pub(crate) fn arrive(&mut self, scenario: &Scenario, message: &Envelope, notes: &mut Notes) -> ReplicaReply {
        let partition = self.partition(scenario, message.to);
        let mut record = (*self.records[message.to]).clone();
        let reply = apply(&mut record, &partition, &message.request, scenario.options(), notes);
        if record != *self.records[message.to] {
            self.changed(scenario, message.to, record);
        }
        if scenario.crash.is_some() && !self.crashed {
            self.keep(message.to, &message.request);
        }
        reply
    }

    fn partition(&self, scenario: &Scenario, at: usize) -> PartitionRecord {
        PartitionRecord { epoch: EPOCH, role: Role::Home, write_mode: scenario.write_mode, promise_floor: self.floors[at] }
    }

    /// Takes to the disk what a request has changed there, unless memory is enough.
    fn keep(&mut self, at: usize, request: &ReplicaRequest) {
        let is_of_chain = matches!(request, ReplicaRequest::Chain { .. });
        // The ceiling is what was promised at the time of the crash: the least that is safe.
        let ceiling = self.records[at].chain.promised;
        if !is_of_chain || Volatile::between(&self.stored[at], &self.records[at], ceiling).is_none() {
            self.stored[at] = self.records[at].clone();
        }
    }

    /// True when a message that arrives changes nothing, and its answer neither.
    pub(crate) fn is_in_vain(&self, scenario: &Scenario, message: &Envelope) -> bool {
        let partition = self.partition(scenario, message.to);
        let mut record = (*self.records[message.to]).clone();
        let reply = apply(&mut record, &partition, &message.request, scenario.options(), &mut Notes::default());
        record == *self.records[message.to] && self.is_deaf(message.from, Input::Reply { from: node(message.to), reply })
    }

    /// The rank of what waits for answers, 0 if nothing does.
    pub(crate) fn machine_rank(&self, origin: Origin) -> u64 {
        match origin {
            Origin::Proposer(at) => self.nodes[at].proposer.as_ref().map_or(0, Shared::rank),
            Origin::Operation(at) => match &self.operations[at].machine {
                Machine::None => 0,
                Machine::ChainRead(machine) => machine.rank(),
                Machine::Read(machine) => machine.rank(),
                Machine::Write(machine) => machine.rank(),
            },
        }
    }

    /// True when an input changes nothing about a machine.
    fn is_deaf(&self, origin: Origin, input: Input) -> bool {
        fn stays<M: Clone + PartialEq, A>(machine: &M, step: impl FnOnce(&mut M, &mut Outbox<A>)) -> bool {
            let (mut stepped, mut out) = (machine.clone(), Outbox::default());
            step(&mut stepped, &mut out);
            out.drain().is_empty() && stepped == *machine
        }
        match origin {
            Origin::Proposer(at) => {
                self.nodes[at].proposer.as_deref().is_none_or(|machine| stays(machine, |m, out| m.step(Tick(0), input, out)))
            }
            Origin::Operation(at) => match &self.operations[at].machine {
                Machine::None => true,
                Machine::ChainRead(machine) => stays(&**machine, |m, out| m.step(Tick(0), input, out)),
                Machine::Read(machine) => stays(&**machine, |m, out| m.step(Tick(0), input, out)),
                Machine::Write(machine) => stays(&**machine, |m, out| m.step(Tick(0), input, out)),
            },
        }
    }

    /// Stores a replica's changed record, and holds the rules against it.
    pub(crate) fn changed(&mut self, scenario: &Scenario, at: usize, record: KeyRecord) {
        let before = self.records[at].clone();
        if scenario.crash.is_none_or(|crash| crash == Crash::Restart) {
            self.judge(scenario, promise_rises(&before, &record));
        }
        if let Some(accepted) = record.chain.accepted.as_ref().filter(|accepted| before.chain.accepted_at() != accepted.ballot) {
            let verdict = self.ledger.accepted(accepted.ballot, at, &op_ids(scenario));
            self.judge(scenario, verdict);
        }
        if record.eventual != before.eventual {
            let verdict = self.ledger.shown(&record.eventual);
            self.judge(scenario, verdict);
        }
        self.records[at] = Shared::new(record);
    }

    /// A node stops and starts again.
    pub(crate) fn crash(&mut self, scenario: &Scenario, at: usize, crash: Crash) {
        self.crashed = true;
        let mut record = (*self.records[at]).clone();
        match crash {
            Crash::Restart => {
                self.floors[at] = record.chain.promised;
                record = (*self.stored[at]).clone();
                self.nodes[at] = Node::new(at, BootId(2));
            }
            Crash::RestartWithoutFloor => {
                record = (*self.stored[at]).clone();
                self.nodes[at] = Node::new(at, BootId(2));
            }
            Crash::RestartUnderOldBoot => self.nodes[at] = Node::new(at, BootId(1)),
            Crash::PromiseLost => record.chain.promised = record.chain.accepted_at(),
            Crash::RecordLost => record = KeyRecord::default(),
        }
        self.records[at] = Shared::new(record);
        // Nobody crashes again.
        self.stored = std::array::from_fn(|_| Shared::new(KeyRecord::default()));
        if !matches!(crash, Crash::PromiseLost | Crash::RecordLost) {
            for (index, (client, what)) in scenario.operations().enumerate() {
                let running = &mut self.operations[index];
                if client == at && running.stage == Stage::Begun && !(scenario.retries && what.is_change()) {
                    *running = Running { stage: Stage::Over, machine: Machine::None, must_wait: false, ..*running };
                }
            }
        }
    }

    /// Puts a request into the network; a repeated one is there already.
    pub(crate) fn send(&mut self, from: Origin, to: NodeId, request: ReplicaRequest) {
        let message = Shared::new(Envelope { from, to: index(to), request });
        let place = self.network.partition_point(|other| other.rank() < message.rank());
        if self.network.get(place).is_none_or(|other| other.rank() != message.rank()) {
            self.network.insert(place, message);
        }
    }

    /// Takes out of the network what can change nothing any more.
    pub(crate) fn sweep(&mut self, scenario: &Scenario) {
        let network = std::mem::take(&mut self.network);
        let kept = network.into_iter().filter(|message| self.waits_for_answer(scenario, message) || !self.is_spent(message)).collect();
        self.network = kept;
    }

    /// True when the receiver's record will never again be changed by the message.
    pub(crate) fn is_spent(&self, message: &Envelope) -> bool {
        let (record, floor) = (&self.records[message.to], self.floors[message.to]);
        match &message.request {
            ReplicaRequest::Read { .. } | ReplicaRequest::Chain { request: ChainRequest::Read { .. }, .. } => true,
            ReplicaRequest::Replicate { delta, .. } => !record.eventual.clone().merge(delta),
            ReplicaRequest::Chain { request: ChainRequest::Prepare { ballot, .. }, .. } => *ballot <= record.chain.promised.max(floor),
            ReplicaRequest::Chain { request: ChainRequest::Accept { proposal, next, .. }, .. } => {
                let next = next.unwrap_or_default();
                let is_rejected = proposal.ballot < record.chain.promised || proposal.ballot <= floor;
                (record.chain.accepted_at() != proposal.ballot && is_rejected && next <= record.chain.promised)
                    || (record.chain.accepted_at() == proposal.ballot && next <= record.chain.promised)
            }
            ReplicaRequest::Chain { request: ChainRequest::Learn { ballot, state }, .. } => {
                *ballot <= record.chain.decided || (state.is_none() && *ballot < record.chain.accepted_at())
            }
        }
    }

    /// Holds the state that an answer rests on against what its client may expect.
    pub(crate) fn rests_on(&mut self, scenario: &Scenario, at: usize, state: &ChainState) {
        let after = self.history[at].map_or(0, |event| event.after);
        let mut before = self.operations.iter().enumerate().filter(|(other, _)| after >> other & 1 == 1).filter_map(|(_, other)| other.dot);
        let sees_all = before.all(|dot| state.siblings.context().covers(dot));
        let verdict = self.ledger.answered(state, scenario.retries, &op_ids(scenario));
        self.judge(scenario, if sees_all { verdict } else { Err(Rule::AcknowledgedIsSeen) });
    }

    /// A client has its answer.
    pub(crate) fn answered(&mut self, scenario: &Scenario, at: usize, answer: Answer) {
        let running = &mut self.operations[at];
        *running = Running { stage: Stage::Over, machine: Machine::None, must_wait: false, ..*running };
        if let Some(event) = &mut self.history[at] {
            event.answer = answer;
        }
        if !is_linearizable(&self.history) {
            self.judge(scenario, Err(Rule::Linearizable));
        }
    }

    /// Which nodes' proposers have something to do.
    pub(crate) fn busy(&self) -> [bool; NODES] {
        std::array::from_fn(|at| self.nodes[at].proposer.as_ref().is_some_and(|proposer| !proposer.is_idle()))
    }

    /// The operations that were answered so far, as a set of indices.
    pub(crate) fn answered_so_far(&self) -> u16 {
        let answered = self.history.iter().enumerate().filter(|(_, event)| event.is_some_and(|event| event.is_answered()));
        answered.fold(0, |set, (at, _)| set | 1 << at)
    }
}

impl Node {
    fn new(at: usize, boot: BootId) -> Self {
        Self { ballots: Ballots::new(node(at), boot), proposer: None, current: None, must_wait: false, rounds: 0 }
    }
}

fn op_ids(scenario: &Scenario) -> Vec<OpId> {
    scenario.operations().enumerate().filter(|(_, (_, what))| what.is_change()).map(|(at, (client, _))| op_id(client, at)).collect()
}

pub(crate) fn node(at: usize) -> NodeId {
    NodeId(at as u64 + 1)
}

pub(crate) fn index(node: NodeId) -> usize {
    usize::try_from(node.0 - 1).expect("one of three nodes")
}

/// All nodes, `first` first.
pub(crate) fn preferred(first: usize) -> Vec<NodeId> {
    (0..NODES).map(|step| node((first + step) % NODES)).collect()
}

pub(crate) fn nobody() -> BTreeSet<NodeId> {
    BTreeSet::new()
}

/// One sending of an operation.
pub(crate) fn ticket(at: usize, sending: u8) -> Ticket {
    Ticket(at as u64 * 2 + u64::from(sending))
}

fn is_learn(request: &ReplicaRequest) -> bool {
    matches!(request, ReplicaRequest::Chain { request: ChainRequest::Learn { .. }, .. })
}

/// The ballot that a phase of a round is about.
pub(crate) fn ballot_of(request: &ReplicaRequest) -> Option<Ballot> {
    match request {
        ReplicaRequest::Chain { request: ChainRequest::Prepare { ballot, .. }, .. } => Some(*ballot),
        ReplicaRequest::Chain { request: ChainRequest::Accept { proposal, .. }, .. } => Some(proposal.ballot),
        _ => None,
    }
}
