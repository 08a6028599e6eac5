//! What the client knows of the cluster, as one immutable snapshot that every operation reads without a lock.
//!
//! **Rules.**
//! - *Upon a node's answer that names a later ring epoch, an unknown bucket, or trouble with a node*: learn the topology anew, from
//!   the first node that tells it; at most once per [`REFRESH_WAIT`] and one at a time.
//! - *Upon a new topology*: make a new snapshot and swap it in. Links to nodes whose address did not change are kept.
//!
//! **Invariants.** A snapshot's ring has a table for the replica count of every bucket in it, and a link for every member.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_ring::{NodeId, PartitionId, PlacementError, PreferenceList, Ring};
use quorate_rpc::kv::{BucketInfo, Topology};
use quorate_rpc::net::Network;

use crate::clock::Clock;
use crate::link::Link;

/// Least time between two refreshes that operations cause.
pub(crate) const REFRESH_WAIT: Duration = Duration::from_secs(1);

/// The parts of the client's settings that links need.
#[derive(Clone, Debug)]
pub(crate) struct LinkSettings {
    pub(crate) network: Arc<dyn Network>,
    pub(crate) connect_timeout: Duration,
    pub(crate) clock: Clock,
}

/// One version of the client's knowledge.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) topology: Arc<Topology>,
    pub(crate) ring: Arc<Ring>,
    pub(crate) links: BTreeMap<NodeId, Arc<Link>>,
    buckets: Vec<Arc<BucketInfo>>,
}

/// A topology that no operation could be routed by.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTopology {
    /// The placement of keys cannot be computed.
    #[error("its ring is impossible")]
    Placement {
        /// Why.
        #[from]
        source: PlacementError,
    },
    /// A member has no address.
    #[error("it names no address of {node}")]
    NoAddress {
        /// The member.
        node: NodeId,
    },
    /// The node that told it belongs to another cluster than the client.
    #[error("it is of cluster {found:?}, not {expected:?}")]
    OtherCluster {
        /// The cluster that was meant.
        expected: String,
        /// The cluster found.
        found: String,
    },
}

impl Snapshot {
    /// Computes the placement; takes over links of `before` where the address is the same.
    pub(crate) fn new(topology: Topology, settings: &LinkSettings, before: Option<&Self>) -> Result<Self, InvalidTopology> {
        if let Some(before) = before.filter(|before| before.topology.cluster != topology.cluster) {
            return Err(InvalidTopology::OtherCluster { expected: before.topology.cluster.clone(), found: topology.cluster });
        }
        let ring = Ring::new(topology.ring.clone(), topology.buckets.iter().map(|bucket| bucket.replicas))?;
        let mut links = BTreeMap::new();
        for member in ring.members() {
            let (_, address) =
                topology.addresses.iter().find(|(node, _)| *node == member.id).ok_or(InvalidTopology::NoAddress { node: member.id })?;
            let kept = before.and_then(|before| before.links.get(&member.id)).filter(|link| link.address == *address);
            let link = kept
                .cloned()
                .unwrap_or_else(|| Arc::new(Link::new(member.id, address.clone(), topology.cluster.clone(), settings.clone())));
            links.insert(member.id, link);
        }
        let buckets = topology.buckets.iter().cloned().map(Arc::new).collect();
        Ok(Self { topology: Arc::new(topology), ring: Arc::new(ring), links, buckets })
    }

    pub(crate) fn bucket(&self, name: &str) -> Option<Arc<BucketInfo>> {
        self.buckets.iter().find(|bucket| bucket.name == name).cloned()
    }

    /// The home replicas of a partition for a bucket, and the other nodes in ring order.
    pub(crate) fn placed(&self, bucket: &BucketInfo, partition: PartitionId) -> (&PreferenceList, &[NodeId]) {
        let table = self.ring.table(bucket.replicas).expect("the ring was made for every bucket's replica count");
        (table.preference_list(partition), table.walk(partition))
    }

    pub(crate) fn link(&self, node: NodeId) -> &Arc<Link> {
        self.links.get(&node).expect("every member has a link")
    }
}
