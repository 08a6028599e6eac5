//! Which messages arrive, when, and how often.
//!
//! Every message takes a time of its own, so messages overtake each other whenever delays differ. Calls of clients, and calls that
//! nodes forward, arrive once or not at all, as they do over a connection; everything between replicas may also arrive twice.
//!
//! A *held* link keeps what is sent until it is delivered. Beats pass it: its ends do not take each other for gone.

use std::collections::{BTreeMap, BTreeSet};

use quorate_protocol::Tick;
use quorate_ring::NodeId;

use crate::fault::FaultKind;
use crate::message::{Address, Message, Payload};
use crate::options::NetworkOptions;
use crate::random::Random;

/// The network between nodes and clients.
#[derive(Debug)]
pub(crate) struct Network {
    options: NetworkOptions,
    random: Random,
    /// Pairs of nodes of which the second does not hear the first.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Added delay of every message from and to a node, in microseconds.
    slow: BTreeMap<NodeId, u64>,
    /// What held links keep, in the order in which it was sent.
    held: BTreeMap<(Address, Address), Vec<Message>>,
    /// Messages that a fault changed the fate of.
    pub(crate) struck: BTreeMap<FaultKind, u64>,
}

/// When copies of a message arrive; empty if it is lost.
pub(crate) type Arrivals = Vec<Tick>;

impl Network {
    pub(crate) fn new(random: Random, options: NetworkOptions) -> Self {
        Self { options, random, cut: BTreeSet::new(), slow: BTreeMap::new(), held: BTreeMap::new(), struck: BTreeMap::new() }
    }

    /// From now on a link keeps what is sent.
    pub(crate) fn hold(&mut self, from: Address, to: Address) {
        self.held.entry((from, to)).or_default();
    }

    /// Hands out what a held link has kept. It is held no more.
    pub(crate) fn release(&mut self, from: Address, to: Address) -> Option<Vec<Message>> {
        self.held.remove(&(from, to))
    }

    /// Keeps a message if its link is held; true if so.
    pub(crate) fn keep(&mut self, message: &Message) -> bool {
        let link = self.held.get_mut(&(message.from, message.to)).filter(|_| !matches!(message.payload, Payload::Beat { .. }));
        let Some(kept) = link else { return false };
        kept.push(message.clone());
        true
    }

    pub(crate) fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cut.insert((from, to));
    }

    pub(crate) fn partition(&mut self, nodes: &[NodeId], groups: &[BTreeSet<NodeId>]) {
        for from in nodes {
            for to in nodes.iter().filter(|to| *to != from) {
                if !groups.iter().any(|group| group.contains(from) && group.contains(to)) {
                    self.cut.insert((*from, *to));
                }
            }
        }
    }

    pub(crate) fn mend(&mut self) {
        self.cut.clear();
    }

    pub(crate) fn slow(&mut self, node: NodeId, micros: u64) {
        self.slow.insert(node, micros);
    }

    /// From now on nothing goes wrong.
    pub(crate) fn calm(&mut self) {
        self.mend();
        self.slow.clear();
        let calm = NetworkOptions { loss_permille: 0, duplicate_permille: 0, tail_permille: 0, ..self.options };
        self.options = calm;
    }

    pub(crate) fn is_cut(&self, from: Address, to: Address) -> bool {
        match (from, to) {
            (Address::Node(from), Address::Node(to)) => self.cut.contains(&(from, to)),
            (Address::Client(_), _) | (_, Address::Client(_)) => false,
        }
    }

    /// Decides a message's fate.
    pub(crate) fn carry(&mut self, now: Tick, message: &Message) -> Arrivals {
        // Drawn for every message alike, so that one fate does not change all later ones.
        let draws = [self.random.below(1000), self.random.below(1000), self.random.below(1000)];
        let delays = [self.delay(message), self.delay(message)];
        let tail = self.random.below(self.options.tail_micros.max(1));
        let hits = |draw: u64, permille: u32| draw < u64::from(permille);
        if self.is_cut(message.from, message.to) {
            return Vec::new();
        }
        if hits(draws[0], self.options.loss_permille) {
            self.strike(FaultKind::Loss);
            return Vec::new();
        }
        let mut first = delays[0];
        if hits(draws[1], self.options.tail_permille) {
            self.strike(FaultKind::Delay);
            first += tail;
        }
        let mut arrivals = vec![now.after(first)];
        let is_once = matches!(message.payload, Payload::Call { .. } | Payload::Beat { .. });
        if hits(draws[2], self.options.duplicate_permille) && !is_once {
            self.strike(FaultKind::Duplicate);
            arrivals.push(now.after(delays[1]));
        }
        arrivals
    }

    fn delay(&mut self, message: &Message) -> u64 {
        let slow = |address| match address {
            Address::Node(node) => self.slow.get(&node).copied().unwrap_or(0),
            Address::Client(_) => 0,
        };
        let added = slow(message.from) + slow(message.to);
        self.random.between(self.options.delay_micros_min, self.options.delay_micros_max) + added
    }

    fn strike(&mut self, kind: FaultKind) {
        *self.struck.entry(kind).or_default() += 1;
    }
}
