//! What goes wrong in a world, and how it ends.
//!
//! **Rules.**
//! - *Upon a fault*: do it and count it, or do nothing if it cannot be done now (a dead process does not die).
//! - *Upon a process's death, or a reset of its connections*: most of those at the other ends hear of it, the others find out by silence.
//! - *Upon the loss of a disk*: note the operations that only it held; whether their levels excuse that is for the judge to say.
//! - *Upon the end of an episode*: end what began in it, unless another episode keeps it so.
//! - *Upon the heal*: end all of it for good, and start every process that can start. Clocks stay as they are.

use std::collections::BTreeMap;

use quorate_protocol::Defect;
use quorate_ring::NodeId;

use super::{Doom, Event, World};
use crate::fault::{Episode, Fault, FaultKind, Strike};
use crate::message::{Address, Key, Message, Payload};
use crate::node::{Node, State};
use crate::random::Random;

/// Broken connections of 1000 that the other end hears of; the others are silent.
const HEARD_PERMILLE: u32 = 700;

/// Longest time that a process stands still whose connections broke upon a write, in microseconds.
const SHAKEN_MICROS_MAX: u64 = 400_000;

/// Time within which a process that stood still has read what came meanwhile, in microseconds.
const CATCH_UP_MICROS: u64 = 50_000;

impl World {
    /// What chance has in store for a node.
    pub(super) fn chance(&mut self, node: NodeId) -> &mut Random {
        self.fault_random.get_mut(&node).expect("nodes stay")
    }

    /// Does a fault of an episode and says so, if it can be done now. A plight that another episode still keeps does not end.
    pub(crate) fn strike(&mut self, kind: FaultKind, strike: &Strike) {
        let Strike { episode, fault } = strike;
        if let Some((plight, begins)) = fault.plight() {
            let keepers = self.plights.entry(plight).or_default();
            let was_kept = if begins { keepers.insert(*episode) } else { keepers.remove(episode) };
            if !begins && (!was_kept || !keepers.is_empty()) {
                return;
            }
        }
        if self.inflict(*episode, fault) {
            self.trace.say(self.now, format_args!("fault: {fault}"));
            *self.tally.faults.entry(kind).or_default() += 1;
        }
    }

    fn state(&self, node: NodeId) -> State {
        self.nodes[&node].state
    }

    fn node(&mut self, node: NodeId) -> &mut Node {
        self.nodes.get_mut(&node).expect("nodes stay")
    }

    /// Does a fault; false if it cannot be done now.
    pub(crate) fn inflict(&mut self, episode: Episode, fault: &Fault) -> bool {
        match fault {
            Fault::Cut { from, to } => self.network.cut(episode, *from, *to),
            Fault::Partition(groups) => {
                let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
                self.network.partition(episode, &nodes, groups);
            }
            Fault::Isolate { node, client } => {
                if !(1..=self.options.clients).contains(client) {
                    return false;
                }
                let (alone, others) = self.nodes.keys().partition(|other| *other == node);
                let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
                self.network.partition(episode, &nodes, &[alone, others]);
                self.isolated.insert(*client, (episode, *node));
            }
            Fault::Mend => {
                self.isolated.retain(|_, (began, _)| *began != episode);
                return self.network.mend(episode);
            }
            Fault::Slow { node, micros } => self.network.slow(*node, *micros),
            Fault::Jump { node, ms } => self.node(*node).skew_ms += ms,
            Fault::DiskFull(node, is_full) => self.node(*node).disk.is_full = *is_full,
            Fault::EpochLag(node, lags) => self.node(*node).lags = *lags,
            Fault::Overload(node, is_overloaded) => self.node(*node).is_overloaded = *is_overloaded,
            Fault::Crash(node) => return self.crash(*node),
            Fault::CrashOnWrite(node) => {
                self.doomed.insert(*node, (episode, Doom::Write));
            }
            Fault::CrashOnProposal(node) => {
                self.doomed.insert(*node, (episode, Doom::Proposal));
            }
            Fault::Reset(node) => return self.reset(*node),
            Fault::ResetOnWrite(node) => {
                self.shaky.insert(*node, episode);
            }
            Fault::Stop(node) => return self.stop(*node),
            Fault::Start(node) => return self.start(*node),
            Fault::Pause(node) => {
                if self.state(*node) != State::Running {
                    return false;
                }
                self.node(*node).state = State::Paused;
            }
            Fault::Resume(node) => return self.resume(*node),
            Fault::FlipBits(node) => return self.flip_bits(*node),
            Fault::LoseDisk(node) => return self.lose_disk(*node),
        }
        true
    }

    fn is_alive(&self, node: NodeId) -> bool {
        matches!(self.state(node), State::Running | State::Paused)
    }

    fn crash(&mut self, node: NodeId) -> bool {
        if !self.is_alive(node) {
            return false;
        }
        let (nodes, random) = (&mut self.nodes, self.fault_random.get_mut(&node).expect("nodes stay"));
        self.tally.lost_changes += nodes.get_mut(&node).expect("nodes stay").crash(random) as u64;
        self.break_connections(node);
        true
    }

    fn reset(&mut self, node: NodeId) -> bool {
        if !self.is_alive(node) {
            return false;
        }
        self.tell_that_connections_broke(node);
        true
    }

    /// A blind write has come, and all connections break before its process has looked at it.
    pub(super) fn shake(&mut self, node: NodeId, message: Box<Message>) {
        let Some(episode) = self.shaky.remove(&node) else { return };
        self.trace.say(self.now, &message);
        self.hold(node, Event::Arrive(message));
        for fault in [Fault::Pause(node), Fault::Reset(node)] {
            self.strike(FaultKind::Reset, &Strike { episode, fault });
        }
        let wait = self.chance(node).below(SHAKEN_MICROS_MAX);
        self.plan(self.now.after(wait), FaultKind::Reset, Strike { episode, fault: Fault::Resume(node) });
    }

    fn stop(&mut self, node: NodeId) -> bool {
        if self.state(node) != State::Running {
            return false;
        }
        self.with_node(node, Node::stop);
        self.break_connections(node);
        true
    }

    /// Whoever had a connection to a dead process may hear that it broke.
    fn break_connections(&mut self, node: NodeId) {
        self.held.remove(&node);
        self.tell_that_connections_broke(node);
    }

    /// Some of those at the other ends hear of it at once, the others later by silence.
    fn tell_that_connections_broke(&mut self, node: NodeId) {
        for (client, call) in self.calls.remove(&node).unwrap_or_default() {
            if self.chance(node).chance(HEARD_PERMILLE) {
                let (from, to) = (Address::Node(node), Address::Client(client));
                self.post(Message { from, to, identity: None, payload: Payload::CallLost { call } });
            }
        }
        for peer in self.nodes.keys().copied().filter(|peer| *peer != node).collect::<Vec<_>>() {
            if self.chance(node).chance(HEARD_PERMILLE) {
                let identity = Some(self.nodes[&node].identity());
                self.post(Message { from: Address::Node(node), to: Address::Node(peer), identity, payload: Payload::Broken });
            }
        }
    }

    fn start(&mut self, node: NodeId) -> bool {
        // A start is written down before anything else.
        self.doomed.remove(&node);
        if self.state(node) != State::Dead || self.nodes[&node].disk.is_full {
            return false;
        }
        self.with_node(node, Node::start);
        true
    }

    fn resume(&mut self, node: NodeId) -> bool {
        if self.state(node) != State::Paused {
            return false;
        }
        self.node(node).state = State::Running;
        // It comes to its connections in any order.
        let mut waits = BTreeMap::new();
        for event in self.held.remove(&node).unwrap_or_default() {
            let wait = match &event {
                Event::Arrive(message) => *waits.entry(message.from).or_insert_with(|| self.chance(node).below(CATCH_UP_MICROS)),
                Event::Node { .. } | Event::Client { .. } | Event::Fault(..) => 0,
            };
            self.schedule(self.now.after(wait), event);
        }
        true
    }

    fn flip_bits(&mut self, node: NodeId) -> bool {
        if !self.crash(node) {
            return false;
        }
        if self.options.has(Defect::TruncatedLogAccepted) {
            let (nodes, random) = (&mut self.nodes, self.fault_random.get_mut(&node).expect("nodes stay"));
            nodes.get_mut(&node).expect("nodes stay").disk.truncate(random);
            return true;
        }
        self.lose(node);
        self.node(node).state = State::Damaged;
        true
    }

    fn lose_disk(&mut self, node: NodeId) -> bool {
        if !self.crash(node) {
            return false;
        }
        if !self.options.has(Defect::DotReusedAfterDiskLoss) {
            self.lose(node);
        }
        let known = self.nodes[&node].disk.durable().node.known.clone();
        let fresh = self.chance(node).next();
        // A node that takes any disk for its own serves at once.
        let accepted = self.options.has(Defect::DotReusedAfterDiskLoss);
        *self.node(node) = Node::new(node, fresh, known, accepted);
        self.node(node).has_lost = true;
        true
    }

    /// What only this node held is gone: nobody can be blamed for missing it.
    fn lose(&mut self, node: NodeId) {
        self.node(node).has_lost = true;
        let holds = |node: &Node, key: Key, dot| {
            let image = node.disk.durable();
            let in_record = image.records.get(&key).is_some_and(|record| {
                let accepted = record.chain.accepted.as_ref();
                record.eventual.context().covers(dot) || accepted.is_some_and(|accepted| accepted.state.siblings.context().covers(dot))
            });
            let of_key = image.hints.values().filter(|hint| hint.key.as_ref() == [key.0]);
            in_record || of_key.into_iter().any(|hint| hint.delta.context().covers(dot))
        };
        let others = || self.nodes.values().filter(|other| other.id != node && !other.has_lost);
        let mut lost = Vec::new();
        for (key, dots) in &self.recorder.dots {
            for given in dots {
                if !others().any(|other| holds(other, *key, given.dot)) {
                    lost.extend(given.index);
                }
            }
        }
        self.recorder.lost.extend(lost);
        self.recorder.disks_lost += 1;
        self.census.forget(node);
    }

    /// Ends everything that is wrong, for good, and starts every process that can start.
    pub(crate) fn heal(&mut self) {
        self.queue.retain(|_, event| !matches!(event, Event::Fault(..)));
        self.doomed.clear();
        self.shaky.clear();
        self.isolated.clear();
        self.plights.clear();
        self.network.calm();
        self.trace.say(self.now, "heal");
        for node in self.nodes.keys().copied().collect::<Vec<_>>() {
            for fault in [Fault::DiskFull(node, false), Fault::EpochLag(node, false), Fault::Overload(node, false), Fault::Resume(node)] {
                self.inflict(Episode::default(), &fault);
            }
            if !self.nodes[&node].disk.takes_writes() {
                self.stop(node);
            }
            self.start(node);
        }
        for (kind, count) in std::mem::take(&mut self.network.struck) {
            *self.tally.faults.entry(kind).or_default() += count;
        }
    }
}
