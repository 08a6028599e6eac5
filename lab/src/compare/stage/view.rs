//! How the nodes of a cluster see each other at one moment.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use quorate_ring::NodeId;
use quorate_rpc::kv::Status;
use tokio::time::timeout;

use crate::cluster::link;

/// Longest that one node is waited for. Whoever looks has other things to do at their times.
const ANSWER_MAX: Duration = Duration::from_millis(500);

/// How one node sees another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    /// Whether it counts it as up.
    pub(super) up: bool,
    /// The round trip of the last heartbeat.
    pub(super) round_trip: Option<Duration>,
}

/// What the nodes that answered said.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// When they were asked.
    pub(super) at: Instant,
    boots: BTreeMap<NodeId, u32>,
    /// By observer and peer.
    sights: BTreeMap<(NodeId, NodeId), Sight>,
}

impl View {
    /// Asks the nodes at these addresses, all at once. Whoever does not answer soon is not in the view.
    pub(super) async fn of(cluster: &str, nodes: &BTreeMap<NodeId, String>) -> Self {
        let mut view = Self::at(Instant::now());
        let asking = nodes.values().map(|address| timeout(ANSWER_MAX, link::status(address, cluster)));
        for status in join_all(asking).await.into_iter().flatten().flatten() {
            view.add(&status);
        }
        view
    }

    /// Nobody was asked.
    pub(super) fn at(at: Instant) -> Self {
        Self { at, boots: BTreeMap::new(), sights: BTreeMap::new() }
    }

    fn add(&mut self, status: &Status) {
        self.boots.insert(status.node, status.boot);
        self.sights.extend(status.peers.iter().map(|peer| {
            let sight = Sight { up: peer.up, round_trip: peer.rtt_micros.map(Duration::from_micros) };
            ((status.node, peer.node), sight)
        }));
    }

    /// Whether the node answered.
    pub(super) fn has(&self, node: NodeId) -> bool {
        self.boots.contains_key(&node)
    }

    /// How often the node has been started, if it answered.
    pub(super) fn boot(&self, node: NodeId) -> Option<u32> {
        self.boots.get(&node).copied()
    }

    /// How one node sees another, if it answered.
    pub(super) fn sight(&self, observer: NodeId, peer: NodeId) -> Option<Sight> {
        self.sights.get(&(observer, peer)).copied()
    }

    /// Whether one node counts another as up; also false if it does not answer.
    pub(super) fn up(&self, observer: NodeId, peer: NodeId) -> bool {
        self.sight(observer, peer).is_some_and(|sight| sight.up)
    }

    /// Whether one node answered and counts another as down.
    pub(super) fn down(&self, observer: NodeId, peer: NodeId) -> bool {
        self.sight(observer, peer).is_some_and(|sight| !sight.up)
    }

    /// The others that answered and know of this node.
    pub(super) fn observers(&self, peer: NodeId) -> impl Iterator<Item = NodeId> {
        self.sights.keys().filter(move |(_, seen)| *seen == peer).map(|(observer, _)| *observer)
    }

    /// Two nodes of which one does not see the other, though both are to.
    pub(super) fn first_apart(&self, nodes: impl Iterator<Item = NodeId> + Clone) -> Option<(NodeId, NodeId)> {
        let mut pairs = nodes.clone().flat_map(|observer| nodes.clone().map(move |peer| (observer, peer)));
        pairs.find(|(observer, peer)| observer != peer && !self.up(*observer, *peer))
    }
}

#[cfg(test)]
impl View {
    /// A node answered, in its so-manieth boot, and sees others so.
    pub(super) fn with(mut self, node: NodeId, boot: u32, peers: &[(NodeId, bool, u64)]) -> Self {
        self.boots.insert(node, boot);
        self.sights.extend(peers.iter().map(|(peer, up, rtt_ms)| {
            let round_trip = (*rtt_ms > 0).then(|| Duration::from_millis(*rtt_ms));
            ((node, *peer), Sight { up: *up, round_trip })
        }));
        self
    }
}
