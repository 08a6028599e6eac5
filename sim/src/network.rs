//! Which messages arrive, when, and how often.
//!
//! Every message takes a time of its own, so messages overtake each other whenever delays differ. Calls of clients, and calls that
//! nodes forward, arrive once or not at all, as they do over a connection; everything between replicas may also arrive twice.
//!
//! Every link draws from a stream of its own: a client or a node less leaves the fates of what the others send each other as they were.
//!
//! A *held* link keeps what is sent until it is delivered. Beats pass it: its ends do not take each other for gone.

use std::collections::{BTreeMap, BTreeSet};

use quorate_protocol::Tick;
use quorate_ring::NodeId;

use crate::fault::{Episode, FaultKind};
use crate::message::{Address, Message, Payload};
use crate::options::{NetworkOptions, Options};
use crate::random::Random;

/// The network between nodes and clients.
#[derive(Debug)]
pub(crate) struct Network {
    options: NetworkOptions,
    links: BTreeMap<(Address, Address), Random>,
    /// Pairs of nodes of which the second does not hear the first, by what cut them off.
    cut: BTreeMap<Episode, BTreeSet<(NodeId, NodeId)>>,
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
    pub(crate) fn new(options: &Options) -> Self {
        let nodes = (1..=u64::from(options.nodes)).map(|node| Address::Node(NodeId(node)));
        let everybody: Vec<Address> = nodes.chain((1..=options.clients + 1).map(Address::Client)).collect();
        let pairs = everybody.iter().flat_map(|from| everybody.iter().map(move |to| (*from, *to)));
        Self {
            options: options.network,
            links: pairs.map(|(from, to)| ((from, to), options.random_of("network", number(from) << 32 | number(to)))).collect(),
            cut: BTreeMap::new(),
            slow: BTreeMap::new(),
            held: BTreeMap::new(),
            struck: BTreeMap::new(),
        }
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

    pub(crate) fn cut(&mut self, episode: Episode, from: NodeId, to: NodeId) {
        self.cut.entry(episode).or_default().insert((from, to));
    }

    pub(crate) fn partition(&mut self, episode: Episode, nodes: &[NodeId], groups: &[BTreeSet<NodeId>]) {
        for from in nodes {
            for to in nodes.iter().filter(|to| *to != from) {
                if !groups.iter().any(|group| group.contains(from) && group.contains(to)) {
                    self.cut(episode, *from, *to);
                }
            }
        }
    }

    /// Ends what was cut in an episode; false if nothing was.
    pub(crate) fn mend(&mut self, episode: Episode) -> bool {
        self.cut.remove(&episode).is_some()
    }

    pub(crate) fn slow(&mut self, node: NodeId, micros: u64) {
        self.slow.insert(node, micros);
    }

    /// From now on nothing goes wrong.
    pub(crate) fn calm(&mut self) {
        self.cut.clear();
        self.slow.clear();
        let calm = NetworkOptions { loss_permille: 0, duplicate_permille: 0, tail_permille: 0, ..self.options };
        self.options = calm;
    }

    pub(crate) fn is_cut(&self, from: Address, to: Address) -> bool {
        match (from, to) {
            (Address::Node(from), Address::Node(to)) => self.cut.values().any(|cut| cut.contains(&(from, to))),
            (Address::Client(_), _) | (_, Address::Client(_)) => false,
        }
    }

    /// Decides a message's fate.
    pub(crate) fn carry(&mut self, now: Tick, message: &Message) -> Arrivals {
        let added = self.added(message.from) + self.added(message.to);
        let options = self.options;
        let random = self.links.get_mut(&(message.from, message.to)).expect("everybody has a link to everybody");
        // Drawn for every message alike, so that one fate does not change all later ones.
        let draws = [random.below(1000), random.below(1000), random.below(1000)];
        let mut delay = || random.between(options.delay_micros_min, options.delay_micros_max) + added;
        let delays = [delay(), delay()];
        let tail = random.below(options.tail_micros.max(1));
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

    /// How much longer messages from and to somebody take.
    fn added(&self, address: Address) -> u64 {
        match address {
            Address::Node(node) => self.slow.get(&node).copied().unwrap_or(0),
            Address::Client(_) => 0,
        }
    }

    fn strike(&mut self, kind: FaultKind) {
        *self.struck.entry(kind).or_default() += 1;
    }
}

/// Tells nodes and clients apart, as streams are numbered.
fn number(address: Address) -> u64 {
    match address {
        Address::Node(node) => node.0,
        Address::Client(client) => 1 << 16 | u64::from(client),
    }
}
