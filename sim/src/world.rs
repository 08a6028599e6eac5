//! A whole cluster with its clients, network and disks, in one thread: what happens next, and when.
//!
//! **Promise.** Everything that happens is an event at a tick; events of one tick happen in the order in which they were scheduled.
//! Nothing reads a clock or draws from anywhere but the seed, so the same options give the same trace.
//!
//! ```text
//!   queue --event--> node | client | fault --actions--> network, alarms, recorder --events--> queue
//! ```

mod doom;
mod fault;

use std::collections::{BTreeMap, BTreeSet};

use quorate_protocol::Tick;
use quorate_protocol::notes::Notes;
use quorate_protocol::session::attempts::Trouble;
use quorate_ring::{Member, NodeId, Partitions, PlacementTable, PreferenceList, RingSpec};

use self::doom::Doom;
use crate::campaign::Tally;
use crate::census::{Census, Sight};
use crate::client::{Client, ClientAction, ClientAlarm, ClientEnv, Ended, Intent};
use crate::fault::{Episode, FaultKind, Plight, Strike, off_ms};
use crate::message::{Address, Call, Identity, Key, Message, Payload};
use crate::network::Network;
use crate::node::{Action, Alarm, EPOCH, Env, Node, State};
use crate::options::Options;
use crate::random::Random;
use crate::recorder::Recorder;
use crate::trace::Trace;

/// Partitions of a simulated ring: enough to tell keys apart.
const PARTITIONS: u16 = 16;

/// Something that happens.
#[derive(Debug)]
enum Event {
    Arrive(Box<Message>),
    /// For the process of this identity alone: its successor, on the same disk or an empty one, set alarms of its own.
    Node {
        identity: Identity,
        alarm: Alarm,
    },
    Client {
        client: u8,
        alarm: ClientAlarm,
    },
    Fault(FaultKind, Strike),
}

/// A cluster under simulation.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) now: Tick,
    queue: BTreeMap<(Tick, u64), Event>,
    scheduled: u64,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) clients: BTreeMap<u8, Client>,
    pub(crate) homes: Vec<PreferenceList>,
    network: Network,
    /// What keeps nodes in a plight.
    plights: BTreeMap<Plight, BTreeSet<Episode>>,
    /// Nodes that die when they do a thing next.
    doomed: BTreeMap<NodeId, (Episode, Doom)>,
    /// Nodes whose connections break upon the next blind write.
    shaky: BTreeMap<NodeId, Episode>,
    /// Clients that reach one node only.
    isolated: BTreeMap<u8, (Episode, NodeId)>,
    /// What reached a node that stands still.
    held: BTreeMap<NodeId, Vec<Event>>,
    /// Calls of clients that are out, by node: a broken connection ends them.
    calls: BTreeMap<NodeId, BTreeSet<(u8, Call)>>,
    node_random: BTreeMap<NodeId, Random>,
    /// What faults do to each node.
    fault_random: BTreeMap<NodeId, Random>,
    pub(crate) recorder: Recorder,
    pub(crate) census: Census,
    pub(crate) tally: Tally,
    pub(crate) trace: Trace,
    /// Answers that ended since the last look, by client: whether they were good.
    pub(crate) done: Vec<(u8, bool)>,
    /// Clients go on with their workload while operations are left and this tick has not come.
    pub(crate) workload: Option<(u32, Tick)>,
}

impl World {
    /// A cluster that is about to start.
    pub(crate) fn new(options: Options, keeps_trace: bool) -> Self {
        let names: Vec<NodeId> = (1..=u64::from(options.nodes)).map(NodeId).collect();
        let known = |me: NodeId| names.iter().filter(|node| **node != me).map(|node| (*node, (nonce(*node), 0))).collect();
        let nodes = names.iter().map(|node| (*node, Node::new(*node, nonce(*node), known(*node), true))).collect();
        let clients = (1..=options.clients + 1).map(|client| (client, Client::new(client, &options))).collect();
        let mut world = Self {
            now: Tick(0),
            queue: BTreeMap::new(),
            scheduled: 0,
            nodes,
            clients,
            homes: homes(&options, &names),
            network: Network::new(&options),
            plights: BTreeMap::new(),
            doomed: BTreeMap::new(),
            shaky: BTreeMap::new(),
            isolated: BTreeMap::new(),
            held: BTreeMap::new(),
            calls: BTreeMap::new(),
            node_random: names.iter().map(|node| (*node, options.random_of("node", node.0))).collect(),
            fault_random: names.iter().map(|node| (*node, options.random_of("crash", node.0))).collect(),
            recorder: Recorder::default(),
            census: Census::default(),
            tally: Tally::default(),
            trace: Trace::new(keeps_trace),
            done: Vec::new(),
            workload: None,
            options,
        };
        for node in names {
            if world.options.faults.contains(&FaultKind::Skew) {
                world.skew(node);
            }
            world.with_node(node, Node::start);
        }
        world
    }

    /// A wall clock that is off from the beginning to the end.
    fn skew(&mut self, node: NodeId) {
        let ms = off_ms(&mut self.options.random_of("skew", node.0));
        self.nodes.get_mut(&node).expect("nodes stay").skew_ms = ms;
        self.trace.say(self.now, format_args!("clock of {node} is off by {ms}ms"));
        *self.tally.faults.entry(FaultKind::Skew).or_default() += 1;
    }

    fn schedule(&mut self, at: Tick, event: Event) {
        self.scheduled += 1;
        self.queue.insert((at.max(self.now), self.scheduled), event);
    }

    /// Schedules a fault.
    pub(crate) fn plan(&mut self, at: Tick, kind: FaultKind, strike: Strike) {
        self.schedule(at, Event::Fault(kind, strike));
    }

    /// Lets happen what happens up to `end`.
    pub(crate) fn run_until(&mut self, end: Tick) {
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.tally.events += 1;
            self.happen(event);
        }
        self.now = end;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(message) => self.arrive(message),
            Event::Node { identity, alarm } => match self.nodes[&identity.node].state {
                State::Paused => self.hold(identity.node, Event::Node { identity, alarm }),
                State::Running if self.nodes[&identity.node].identity() == identity => {
                    self.with_node(identity.node, |machine, env| machine.wake(env, alarm));
                }
                State::Running | State::Dead | State::Damaged => {}
            },
            Event::Client { client, alarm } => self.client_alarm(client, alarm),
            Event::Fault(kind, strike) => self.strike(kind, &strike),
        }
    }

    fn hold(&mut self, node: NodeId, event: Event) {
        self.held.entry(node).or_default().push(event);
    }

    fn arrive(&mut self, message: Box<Message>) {
        match message.to {
            Address::Client(client) => {
                self.trace.say(self.now, &message);
                self.reach_client(client, *message);
            }
            Address::Node(node) => match self.nodes[&node].state {
                State::Running if self.shaky.contains_key(&node) && message.payload.is_blind_write() => self.shake(node, message),
                State::Running => {
                    match message.payload {
                        Payload::Beat { .. } => self.trace.hum(self.now, &message),
                        _ => self.trace.say(self.now, &message),
                    }
                    self.with_node(node, |machine, env| machine.receive(env, *message));
                }
                State::Paused => self.hold(node, Event::Arrive(message)),
                State::Dead | State::Damaged => self.refuse(*message),
            },
        }
    }

    /// Nobody listens where the message went.
    fn refuse(&mut self, message: Message) {
        let payload = match message.payload {
            Payload::Call { call, .. } => Payload::NobodyThere { call },
            Payload::Replica { .. } => Payload::Broken,
            _ => return,
        };
        self.post(Message { from: message.to, to: message.from, identity: None, payload });
    }

    fn reach_client(&mut self, client: u8, message: Message) {
        let (call, brought) = match message.payload {
            Payload::Answer { call, answer } => (call, answer.map_err(Trouble::Failed)),
            Payload::NobodyThere { call } => (call, Err(Trouble::NotSent)),
            Payload::CallLost { call } => (call, Err(Trouble::Lost)),
            _ => return,
        };
        if let Address::Node(node) = message.from
            && let Some(calls) = self.calls.get_mut(&node)
        {
            calls.remove(&(client, call));
        }
        self.with_client(client, Vec::new(), |machine, env| machine.answered(env, call, brought));
    }

    fn client_alarm(&mut self, client: u8, alarm: ClientAlarm) {
        match alarm {
            ClientAlarm::Timer { operation, timer } => {
                self.with_client(client, Vec::new(), |machine, env| machine.timer(env, operation, timer));
            }
            ClientAlarm::Next => {
                let Some((left, end)) = &mut self.workload else { return };
                if *left == 0 || self.now > *end || !self.clients[&client].is_idle() {
                    return;
                }
                *left -= 1;
                let done = self.options.operations.saturating_sub(*left + 1);
                let intent = self.clients.get_mut(&client).expect("clients stay").draw(&self.options, done);
                let via = self.isolated.get(&client).map(|(_, node)| *node).into_iter().collect();
                self.begin(client, via, intent);
            }
        }
    }

    /// Lets a client begin an operation, at these coordinators if any are named.
    pub(crate) fn begin(&mut self, client: u8, via: Vec<NodeId>, intent: Intent) {
        self.with_client(client, via, |machine, env| machine.begin(env, intent));
    }

    /// Lets all clients go on with their workload.
    pub(crate) fn work(&mut self, operations: u32, end: Tick) {
        self.workload = Some((operations, end));
        for client in 1..=self.options.clients {
            self.with_client(client, Vec::new(), Client::think);
        }
    }

    fn with_node(&mut self, node: NodeId, act: impl FnOnce(&mut Node, &mut Env<'_>)) {
        let mut actions = Vec::new();
        let machine = self.nodes.get_mut(&node).expect("nodes stay");
        let random = self.node_random.get_mut(&node).expect("nodes stay");
        let mut env = Env { now: self.now, random, options: &self.options, homes: &self.homes, actions: &mut actions };
        act(machine, &mut env);
        let identity = machine.identity();
        let doomed = self.doomed(node, &mut actions);
        for action in actions {
            match action {
                Action::Send(message) => self.post(message),
                Action::Alarm(at, alarm) => self.schedule(at, Event::Node { identity, alarm }),
                Action::Minted(minted) => {
                    self.trace.say(self.now, format_args!("{node} gives {} to {}", minted.dot, minted.key));
                    self.recorder.minted(&minted);
                }
                Action::Chain(key, sight) => self.witness(node, key, sight),
                Action::Mark(mark) => {
                    self.trace.say(self.now, format_args!("{node} marks {mark}"));
                    *self.tally.marks.entry(mark).or_default() += 1;
                }
            }
        }
        if let Some((episode, doom)) = doomed {
            self.die(node, episode, doom);
        }
    }

    /// Something happened to a key's chain at a node.
    fn witness(&mut self, node: NodeId, key: Key, sight: Sight) {
        let majority = self.homes[usize::from(key.0)].len() / 2 + 1;
        if let Some(chosen) = self.census.note(node, key, majority, sight) {
            self.trace.say(self.now, format_args!("{key} version {} is chosen", chosen.token()));
            self.recorder.chosen(key, &chosen);
        }
    }

    fn with_client(&mut self, client: u8, via: Vec<NodeId>, act: impl FnOnce(&mut Client, &mut ClientEnv<'_>)) {
        let (mut actions, mut notes) = (Vec::new(), Notes::default());
        let machine = self.clients.get_mut(&client).expect("clients stay");
        let mut env = ClientEnv {
            now: self.now,
            options: &self.options,
            homes: &self.homes,
            recorder: &mut self.recorder,
            notes: &mut notes,
            actions: &mut actions,
            via,
        };
        act(machine, &mut env);
        for mark in notes.take() {
            self.trace.say(self.now, format_args!("c{client} marks {mark}"));
            *self.tally.marks.entry(mark).or_default() += 1;
        }
        for action in actions {
            match action {
                ClientAction::Send(to, call, request) => {
                    self.calls.entry(to).or_default().insert((client, call));
                    self.post(Message {
                        from: Address::Client(client),
                        to: Address::Node(to),
                        identity: None,
                        payload: Payload::Call { call, request },
                    });
                }
                ClientAction::Alarm(at, alarm) => self.schedule(at, Event::Client { client, alarm }),
                ClientAction::Done(ended) => {
                    self.trace.say(self.now, format_args!("c{client} {ended}"));
                    self.done.push((client, matches!(ended, Ended::Succeeded | Ended::Conflicted)));
                    if self.workload.is_some() {
                        self.with_client(client, Vec::new(), Client::think);
                    }
                }
            }
        }
    }

    /// From now on the link keeps what is sent.
    pub(crate) fn hold_back(&mut self, from: Address, to: Address) {
        self.network.hold(from, to);
    }

    /// Sends on what a held link has kept, and holds it no more; false if it was not held.
    pub(crate) fn deliver(&mut self, from: Address, to: Address) -> bool {
        let Some(kept) = self.network.release(from, to) else { return false };
        for message in kept {
            self.post(message);
        }
        true
    }

    fn post(&mut self, message: impl Into<Box<Message>>) {
        let message: Box<Message> = message.into();
        if self.network.keep(&message) {
            return self.trace.say(self.now, format_args!("held: {message}"));
        }
        let arrivals = self.network.carry(self.now, &message);
        if arrivals.is_empty() && !matches!(message.payload, Payload::Beat { .. }) {
            self.trace.say(self.now, format_args!("lost: {message}"));
        }
        let Some((last, others)) = arrivals.split_last() else { return };
        for at in others {
            self.schedule(*at, Event::Arrive(message.clone()));
        }
        self.schedule(*last, Event::Arrive(message));
    }

    /// True when nothing is under way but beats and what is held: no message, no sync, no operation of a client or a node.
    pub(crate) fn is_quiet(&self) -> bool {
        let is_under_way = |event: &Event| match event {
            Event::Arrive(message) => !matches!(message.payload, Payload::Beat { .. }),
            Event::Fault(..) => true,
            Event::Node { .. } | Event::Client { .. } => false,
        };
        let is_busy = |node: &Node| node.state == State::Running && node.is_busy();
        self.clients.values().all(Client::is_idle) && !self.nodes.values().any(is_busy) && !self.queue.values().any(is_under_way)
    }

    /// Nodes that take no part any more: their log is damaged, or their peers refuse them.
    pub(crate) fn away(&self) -> BTreeSet<NodeId> {
        let away = self.nodes.values().filter(|node| node.state == State::Damaged || node.is_quarantined());
        away.map(|node| node.id).collect()
    }
}

fn nonce(node: NodeId) -> u64 {
    node.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Home replicas of every key, as a real ring places them.
fn homes(options: &Options, nodes: &[NodeId]) -> Vec<PreferenceList> {
    let partitions = Partitions::new(PARTITIONS).expect("a power of two");
    let spec = RingSpec { epoch: EPOCH, partitions, members: nodes.iter().map(|node| Member::new(*node)).collect() };
    let table = PlacementTable::compute(&spec, options.replicas).expect("there are as many nodes as replicas");
    let key = |number: usize| table.preference_list(partitions.of_key(format!("k{number}").as_bytes())).clone();
    (0..options.keys.len()).map(key).collect()
}
