//! The other nodes, as this one reaches them.
//!
//! **Promise.** A request to a peer is answered once: by its reply, or by `PeerDown` as soon as the peer is known not to
//! answer. Nothing waits for a peer that is down, requests wait in a bounded queue, and answers are no more than requests.
//!
//! A peer is *up* while it is connected and answers heartbeats; a connection that stays silent for long is given up and made anew.
//! Requests to it are gathered: whatever waits when the connection's task has let others go first goes out in one message, reads
//! apart from mutations, so that a read does not wait for a sync.

mod connection;
mod heartbeat;
mod pump;
mod reply;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use quorate_protocol::Tick;
use quorate_ring::{NodeId, PreferenceList};
use quorate_rpc::clock::FarClock;
use quorate_rpc::kv::PeerTrouble;
use quorate_rpc::peer::{PeerChannel, PeerClient, ReplicaCall};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

pub(crate) use connection::{context, dial};
pub(crate) use reply::{Inputs, ReplyTo};

use crate::node::Node;

/// A request on its way to a peer.
pub(crate) struct Outgoing {
    pub(crate) call: ReplicaCall,
    pub(crate) deadline: Tick,
    pub(crate) reply: ReplyTo,
}

/// A connection to one process of another node. What is known of that process's clock ends with it.
pub(crate) struct Connection {
    pub(crate) calls: PeerClient,
    /// The same, for calls that are made for every request.
    channel: PeerChannel,
    clock: Mutex<FarClock>,
}

impl Connection {
    /// What the peer's clock shows at least when this node's shows `at`.
    pub(crate) fn tick_at(&self, at: Instant) -> u64 {
        self.clock.lock().at_least(at)
    }
}

/// One other node.
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    pub(crate) address: String,
    up: watch::Sender<bool>,
    trouble: Mutex<Option<PeerTrouble>>,
    rtt_micros: AtomicU64,
    queue: mpsc::Sender<Outgoing>,
    connection: ArcSwapOption<Connection>,
}

impl Peer {
    /// Whether it answers.
    pub(crate) fn is_up(&self) -> bool {
        *self.up.borrow()
    }

    /// Tells whenever it begins or ceases to answer, and not at every sign of life.
    pub(crate) fn watch(&self) -> watch::Receiver<bool> {
        self.up.subscribe()
    }

    /// Why it does not answer.
    pub(crate) fn trouble(&self) -> Option<PeerTrouble> {
        self.trouble.lock().clone()
    }

    /// Round-trip time of the last heartbeat, zero before the first.
    pub(crate) fn rtt_micros(&self) -> u64 {
        self.rtt_micros.load(Ordering::Relaxed)
    }

    /// The connection, for calls that are not gathered.
    pub(crate) fn connection(&self) -> Option<Arc<Connection>> {
        self.is_up().then(|| self.connection.load_full()).flatten()
    }

    /// Sends a request, or answers it at once with `PeerDown` or `Overloaded`.
    pub(crate) fn send(&self, outgoing: Outgoing) {
        if !self.is_up() {
            return outgoing.reply.down();
        }
        if let Err(mpsc::error::TrySendError::Full(outgoing)) = self.queue.try_send(outgoing) {
            outgoing.reply.overloaded();
        }
    }

    /// It begins to answer.
    pub(crate) fn came_up(&self) {
        *self.trouble.lock() = None;
        if self.up.send_if_modified(|up| !std::mem::replace(up, true)) {
            tracing::info!(peer = %self.node, "peer is up");
        }
    }

    fn went_down(&self, trouble: PeerTrouble) {
        if self.up.send_if_modified(|up| std::mem::replace(up, false)) {
            tracing::warn!(peer = %self.node, reason = %trouble, "peer is down");
        }
        *self.trouble.lock() = Some(trouble);
    }
}

/// All other nodes.
pub(crate) struct Peers {
    by_node: BTreeMap<NodeId, Arc<Peer>>,
    queues: Mutex<BTreeMap<NodeId, mpsc::Receiver<Outgoing>>>,
}

impl Peers {
    /// Peers at these addresses, none of them connected.
    pub(crate) fn new(addresses: impl Iterator<Item = (NodeId, String)>, queue_max: usize) -> Self {
        let mut by_node = BTreeMap::new();
        let mut queues = BTreeMap::new();
        for (node, address) in addresses {
            let (queue, receiver) = mpsc::channel(queue_max);
            let peer = Peer {
                node,
                address,
                up: watch::Sender::new(false),
                trouble: Mutex::new(Some(PeerTrouble::NotYetConnected)),
                rtt_micros: AtomicU64::new(0),
                queue,
                connection: ArcSwapOption::empty(),
            };
            by_node.insert(node, Arc::new(peer));
            queues.insert(node, receiver);
        }
        Self { by_node, queues: Mutex::new(queues) }
    }

    /// Begins to connect to all of them, and keeps at it until the node stops.
    pub(crate) fn start(node: &Arc<Node>) {
        let queues = std::mem::take(&mut *node.peers.queues.lock());
        for (id, queue) in queues {
            let peer = Arc::clone(&node.peers.by_node[&id]);
            tokio::spawn(connection::keep(Arc::clone(node), peer, queue));
        }
    }

    /// One of them.
    pub(crate) fn peer(&self, node: NodeId) -> Option<&Arc<Peer>> {
        self.by_node.get(&node)
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.by_node.values()
    }

    /// Those of `homes` that do not answer.
    pub(crate) fn down(&self, homes: &PreferenceList) -> BTreeSet<NodeId> {
        homes.iter().filter(|node| self.by_node.get(node).is_some_and(|peer| !peer.is_up())).collect()
    }

    /// About how long the slowest of `homes` that answers takes to do so, in microseconds; zero if that is not known.
    pub(crate) fn rtt_micros(&self, homes: &PreferenceList) -> u64 {
        let peers = homes.iter().filter_map(|node| self.by_node.get(&node)).filter(|peer| peer.is_up());
        peers.map(|peer| peer.rtt_micros()).max().unwrap_or(0)
    }

    /// `homes` in the order in which to ask them: `me` first, then those that answer fastest.
    pub(crate) fn preferred(&self, me: NodeId, homes: &PreferenceList) -> Vec<NodeId> {
        let mut order: Vec<NodeId> = homes.iter().collect();
        // Grouped by powers of two, so that noise between equals does not send everybody to one replica.
        order.sort_by_key(|node| {
            self.by_node.get(node).map_or(0, |peer| 1 + (peer.rtt_micros() / 500).checked_ilog2().map_or(0, |x| x + 1))
        });
        debug_assert!(!homes.contains(me) || order.first() == Some(&me), "this node has no distance to itself");
        order
    }
}
