//! One simulated node: the driver of the cores under virtual time, network and disk.
//!
//! **Promise.** What decides about operations is the code that a real node runs: the read and write machines, the replica's transitions,
//! the handoff. Whom a node believes to be who is a rule of this driver's own, simpler than the real one. This driver does what the real one does between them, and no more: it loads, applies, persists and only then lets a
//! reply out, and it feeds machines what comes back.
//!
//! **Rules.**
//! - *Upon start*: count the boot, reserve key epochs, synced, before anything is sent.
//! - *Upon a message of a node under another nonce or a lower boot than remembered*: refuse it; whoever is refused so serves nobody
//!   any more.
//! - *Upon a sync that finds the disk full*: refuse all that waits for it, and every write until the next start, which is an unclean one.
//! - *Upon a peer's silence, or a broken connection*: tell every machine that waits for it.

mod answer;
mod chain;
mod coordinator;
mod durable;
mod forward;
mod handoff;
mod operation;
mod peers;
mod replica;

use std::collections::{BTreeMap, BTreeSet};

use quorate_anti_entropy::{Handoff, HandoffInput};
use quorate_protocol::chain::message::ChainReply;
use quorate_protocol::chain::proposer::Foothold;
use quorate_protocol::chain::volatile::Ceiling;
use quorate_protocol::chain::{Ballot, Ballots};
use quorate_protocol::hlc::{Hlc, HybridClock};
use quorate_protocol::machine::{Input, Timer};
use quorate_protocol::notes::{Mark, Notes};
use quorate_protocol::record::{PartitionRecord, Role};
use quorate_protocol::replica::ReplicaReply;
use quorate_protocol::{Body, Context, Defect, Dot, KeyEpoch, KeyRecord, OpId, Tick};
use quorate_ring::{NodeId, PreferenceList, RingEpoch};

pub(crate) use self::durable::Waiter;
use self::forward::{Forwarded, NoAnswer};
use self::operation::Operation;
use self::peers::Peer;
use crate::census::Sight;
use crate::disk::{Change, Disk, Lsn, NodeRecord};
use crate::message::{Address, Identity, Key, Message, Payload, Ticket};
use crate::options::Options;
use crate::random::Random;

/// How often nodes tell each other that they live, in microseconds.
pub(crate) const BEAT_MICROS: u64 = 500_000;

/// Silence after which a peer counts as unreachable, in microseconds.
const SILENT_MICROS: u64 = 1_600_000;

/// Key epochs reserved in one synced write.
const EPOCH_BLOCK: u64 = 64;

/// Ballot counters by which the ceiling of promises is raised: few, so that it happens.
const PROMISE_BLOCK: u64 = 32;

/// Beats for which only memory holds what a replica has promised or learnt of a key.
const HELD_BEATS: u32 = 3;

/// The wall clock of all nodes when a run begins, in milliseconds since 1970.
pub(crate) const WALL_BEGIN_MS: u64 = 1_700_000_000_000;

/// The ring epoch of the cluster; a node that lags acts under the one before.
pub(crate) const EPOCH: RingEpoch = RingEpoch(2);

/// What a node wants from the world.
#[derive(Debug)]
pub(crate) enum Action {
    Send(Box<Message>),
    Alarm(Tick, Alarm),
    /// A write got its dot.
    Minted(MintRecord),
    /// Something happened to a key's chain.
    Chain(Key, Sight),
    Mark(Mark),
}

/// What a node wants to be woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alarm {
    Operation {
        number: u64,
        timer: Timer,
    },
    /// The time of a write that was handed on is up.
    Forwarded(u64),
    Beat,
    /// What was accepted of a key may still be undecided.
    Finish(Key),
    Synced(Lsn),
    Handoff(NodeId),
    HintSilent {
        target: NodeId,
        seq: u64,
    },
}

/// A dot that was given out, for the history.
#[derive(Clone, Debug)]
pub(crate) struct MintRecord {
    pub(crate) key: Key,
    pub(crate) dot: Dot,
    pub(crate) op: Option<OpId>,
    pub(crate) body: Body,
    /// What the write replaces.
    pub(crate) covers: Context,
}

/// What a node acts with at one moment.
pub(crate) struct Env<'a> {
    pub(crate) now: Tick,
    pub(crate) random: &'a mut Random,
    pub(crate) options: &'a Options,
    /// Home replicas by key.
    pub(crate) homes: &'a [PreferenceList],
    pub(crate) actions: &'a mut Vec<Action>,
}

/// Whether a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    Paused,
    Dead,
    /// Its log is damaged: it refuses to start.
    Damaged,
}

/// A node: its disk, and its process if one runs.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) state: State,
    pub(crate) disk: Disk<Waiter>,
    pub(crate) skew_ms: i64,
    pub(crate) lags: bool,
    pub(crate) is_overloaded: bool,
    /// Its disk was lost or damaged: what it alone held is gone.
    pub(crate) has_lost: bool,
    process: Process,
}

/// What dies with a process.
#[derive(Debug, Default)]
struct Process {
    clock: HybridClock,
    next_epoch: u64,
    next_number: u64,
    operations: BTreeMap<u64, Operation>,
    forwarded: BTreeMap<u64, Forwarded>,
    /// The proposer of each key, among the operations.
    proposers: BTreeMap<Key, u64>,
    /// Where the last proposer of a key has left off.
    footholds: BTreeMap<Key, Foothold>,
    ballots: Option<Ballots>,
    /// How far promises may be given from memory.
    promises: Ceiling,
    /// Up to this ballot the process before may have promised, for any key.
    promise_floor: Ballot,
    /// Keys that are looked at again because what is accepted of them is not known to be chosen.
    watched: BTreeSet<Key>,
    peers: BTreeMap<NodeId, Peer>,
    handoffs: BTreeMap<NodeId, Handoff>,
    fallback: Vec<(Key, KeyRecord)>,
    /// Hints that were delivered and may still be on the disk.
    gone: BTreeSet<(NodeId, u64)>,
    quarantined: bool,
}

impl Node {
    /// A node whose disk was just made, `accepted` as after the first start of a cluster, when all have met.
    pub(crate) fn new(id: NodeId, nonce: u64, known: BTreeMap<NodeId, (u64, u32)>, accepted: bool) -> Self {
        let record =
            NodeRecord { nonce, clean: true, epochs_reserved: 1, epoch_floor: KeyEpoch(1), known, accepted, ..NodeRecord::default() };
        Self {
            id,
            state: State::Dead,
            disk: Disk::new(record),
            skew_ms: 0,
            lags: false,
            is_overloaded: false,
            has_lost: false,
            process: Process::default(),
        }
    }

    pub(crate) fn identity(&self) -> Identity {
        let record = &self.disk.durable().node;
        Identity { node: self.id, boot: record.boot, nonce: record.nonce }
    }

    /// Whether it serves nobody: its peers refuse it, or it is new and they have not vouched for it.
    pub(crate) fn is_quarantined(&self) -> bool {
        self.process.quarantined || !self.disk.durable().node.accepted
    }

    /// Starts the process.
    pub(crate) fn start(&mut self, env: &mut Env<'_>) {
        self.disk.open();
        let last = self.disk.durable().node.clone();
        let floor = if last.clean { last.epoch_floor } else { KeyEpoch(last.epochs_reserved) };
        let mut promises = Ceiling::new(last.promise_ceiling, PROMISE_BLOCK);
        let promise_ceiling =
            promises.extend(Ballot { epoch: EPOCH, ..last.promise_ceiling }).expect("a new process comes near its predecessor's ceiling");
        promises.reserved(promise_ceiling);
        let record = NodeRecord {
            promise_ceiling,
            boot: last.boot + 1,
            clean: false,
            epoch_floor: floor,
            epochs_reserved: last.epochs_reserved + EPOCH_BLOCK,
            ..last.clone()
        };
        self.disk.write_synced(Change::Node(record));
        let promise_floor = if env.options.has(Defect::PromiseNotSynced) { Ballot::ZERO } else { last.promise_ceiling };
        let peer = Peer { heard: env.now, up: false };
        let peers = (1..=env.options.nodes).map(|number| NodeId(u64::from(number))).filter(|node| *node != self.id);
        let peers: BTreeMap<NodeId, Peer> = peers.map(|node| (node, peer)).collect();
        self.process = Process {
            clock: HybridClock::resume(Hlc::at_ms(self.wall_ms(env.now))),
            next_epoch: last.epochs_reserved,
            ballots: Some(self.ballots(env, last.boot + 1, promise_floor)),
            promises,
            promise_floor,
            handoffs: peers.keys().map(|node| (*node, handoff::fresh(env.options))).collect(),
            peers,
            ..Process::default()
        };
        self.state = State::Running;
        self.take_stock(env);
        self.beat(env);
    }

    /// Stops the process in an orderly way: everything is synced, and that is written down. If the disk was found full, it is not.
    pub(crate) fn stop(&mut self, env: &mut Env<'_>) {
        let is_whole = self.disk.takes_writes() || env.options.has(Defect::CleanStopAfterFullDisk);
        if self.disk.is_full {
            self.disk.give_up(self.disk.written(), env.random);
        } else if is_whole {
            let epochs_reserved = self.process.next_epoch;
            // A node that has given up writes may have promised what it can no longer write.
            let promise_ceiling =
                if self.disk.takes_writes() { self.process.promise_floor } else { self.disk.current().node.promise_ceiling };
            self.write_back(env, 0);
            let record = NodeRecord { clean: true, epochs_reserved, promise_ceiling, ..self.disk.current().node.clone() };
            self.disk.write_synced(Change::Node(record));
        }
        self.state = State::Dead;
        self.process = Process::default();
    }

    /// Kills the process. Returns how many unsynced changes were lost.
    pub(crate) fn crash(&mut self, random: &mut Random) -> usize {
        self.state = State::Dead;
        self.process = Process::default();
        self.disk.crash(random)
    }

    /// The wall clock of this node.
    pub(crate) fn wall_ms(&self, now: Tick) -> u64 {
        (WALL_BEGIN_MS + now.0 / 1_000).saturating_add_signed(self.skew_ms)
    }

    fn epoch(&self) -> RingEpoch {
        if self.lags { RingEpoch(EPOCH.0 - 1) } else { EPOCH }
    }

    fn partition(&self, env: &Env<'_>, key: Key) -> PartitionRecord {
        let role = if env.homes[usize::from(key.0)].contains(self.id) { Role::Home } else { Role::Stranger };
        PartitionRecord {
            epoch: self.epoch(),
            role,
            write_mode: env.options.keys[usize::from(key.0)].write_mode,
            promise_floor: self.process.promise_floor,
        }
    }

    fn send(&self, env: &mut Env<'_>, to: Address, payload: Payload) {
        let message = Message { from: Address::Node(self.id), to, identity: Some(self.identity()), payload };
        env.actions.push(Action::Send(Box::new(message)));
    }

    /// A message has arrived.
    pub(crate) fn receive(&mut self, env: &mut Env<'_>, message: Message) {
        if let (Address::Node(from), Some(identity)) = (message.from, message.identity) {
            if !matches!(message.payload, Payload::Broken | Payload::NotYou { .. }) && !self.vouches(env, identity) {
                return self.send(env, message.from, Payload::NotYou { yours: identity });
            }
            self.heard(env, from, &message.payload);
        }
        match message.payload {
            Payload::Call { call, request } => self.call(env, call, request, matches!(message.from, Address::Node(_))),
            Payload::Answer { call, answer } => self.forward_answered(env, call, Ok(answer)),
            Payload::NobodyThere { call } => self.forward_answered(env, call, Err(NoAnswer::NobodyThere)),
            Payload::CallLost { call } => self.forward_answered(env, call, Err(NoAnswer::Broken)),
            Payload::Replica { ticket, key, deadline, request } => self.replica(env, message.from, ticket, key, deadline, &request),
            Payload::Reply { ticket, reply } => {
                let Address::Node(from) = message.from else { return };
                match ticket {
                    Ticket::Operation { boot, number } if boot == self.identity().boot => {
                        self.answered(env, number, Input::Reply { from, reply });
                    }
                    Ticket::Hint { boot, seq } if boot == self.identity().boot => self.hint_answered(env, from, seq, Some(&reply)),
                    Ticket::Operation { .. } | Ticket::Hint { .. } => {}
                }
            }
            Payload::NotYou { yours } => self.process.quarantined |= yours == self.identity(),
            Payload::Broken | Payload::Beat { .. } => {}
        }
    }

    /// Something that this node wanted to be woken for.
    pub(crate) fn wake(&mut self, env: &mut Env<'_>, alarm: Alarm) {
        match alarm {
            Alarm::Operation { number, timer } => self.feed(env, number, Input::Timer(timer)),
            Alarm::Forwarded(number) => self.forward_ended(env, number, Err(NoAnswer::TimedOut)),
            Alarm::Beat => self.beat(env),
            Alarm::Finish(key) => self.finish(env, key),
            Alarm::Synced(lsn) if self.disk.is_full && self.disk.takes_writes() => {
                env.actions.push(Action::Mark(Mark::WritesGivenUp));
                let told = self.disk.give_up(lsn, env.random);
                self.renounce(env, told);
            }
            Alarm::Synced(_) if !self.disk.takes_writes() => {}
            Alarm::Synced(lsn) => {
                let (told, more) = self.disk.synced(lsn);
                if more {
                    self.schedule_sync(env);
                }
                self.settle(env, told);
            }
            Alarm::Handoff(peer) => self.hand_off(env, peer, HandoffInput::Timer),
            Alarm::HintSilent { target, seq } => self.hint_answered(env, target, seq, None),
        }
    }

    /// Whether something can be written and synced now.
    fn has_room(&self) -> bool {
        self.disk.takes_writes() && !self.disk.is_full
    }

    /// Whether it works on an operation, or something it wrote is not yet synced.
    pub(crate) fn is_busy(&self) -> bool {
        let works = self.process.operations.values().any(Operation::is_busy);
        self.disk.has_unsynced() || works || !self.process.forwarded.is_empty()
    }
}

/// Notes what a replica says of a chain when it says it.
fn say(env: &mut Env<'_>, key: Key, reply: &ReplicaReply) {
    let ReplicaReply::Chain(reply) = reply else { return };
    let sight = match &**reply {
        ChainReply::Accepted { ballot } => Sight::Voted(*ballot),
        ChainReply::Promised { ballot, .. } => Sight::Promised(*ballot),
        ChainReply::View(_) | ChainReply::Rejected(_) | ChainReply::Dirty { .. } | ChainReply::Learned => return,
    };
    env.actions.push(Action::Chain(key, sight));
}

fn mark(env: &mut Env<'_>, mut notes: Notes) {
    env.actions.extend(notes.take().into_iter().map(Action::Mark));
}
