//! The cluster as this node is configured to see it: ring, buckets, addresses, and one number that sums them up.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use quorate_config::{BucketProperties, Config};
use quorate_protocol::BucketId;
use quorate_protocol::chain::Ballot;
use quorate_protocol::record::{PartitionRecord, Role, WriteMode};
use quorate_ring::{NodeId, PartitionId, PlacementError, PlacementTable, PreferenceList, Ring, RingEpoch};
use quorate_rpc::kv::{BucketInfo, Topology};

/// What the node needs to place keys.
#[derive(Debug)]
pub(crate) struct Placement {
    me: NodeId,
    ring: ArcSwap<Ring>,
    buckets: BTreeMap<BucketId, Arc<BucketProperties>>,
    wire: Topology,
    fingerprint: u64,
    promise_floor: Ballot,
}

/// Where a key lives, at the ring epoch that was in force when it was looked up.
pub(crate) struct Place {
    /// The home replicas.
    pub(crate) homes: PreferenceList,
    /// The key's partition.
    pub(crate) partition: PartitionId,
    /// What this node is to the partition.
    pub(crate) record: PartitionRecord,
}

impl Placement {
    /// Computes the tables of the configured ring.
    ///
    /// # Errors
    /// [`PlacementError`] when the members cannot carry the replica counts.
    pub(crate) fn new(config: &Config) -> Result<Self, PlacementError> {
        let ring = Ring::new(config.ring_spec(), config.replica_counts())?;
        let wire = Topology {
            cluster: config.cluster.id.to_string(),
            ring: ring.spec().clone(),
            addresses: config.cluster.nodes.iter().map(|node| (node.id, node.address.to_string())).collect(),
            buckets: config.buckets.iter().map(info).collect(),
        };
        Ok(Self {
            me: config.node.id,
            buckets: config.buckets.iter().map(|bucket| (bucket.id, Arc::new(bucket.clone()))).collect(),
            fingerprint: fingerprint(&ring, &wire.buckets),
            ring: ArcSwap::from_pointee(ring),
            wire,
            promise_floor: Ballot::ZERO,
        })
    }

    /// The same, of a node that may have promised up to `promise_floor` before it started, for any key.
    pub(crate) fn above(self, promise_floor: Ballot) -> Self {
        Self { promise_floor, ..self }
    }

    /// A bucket's properties.
    pub(crate) fn bucket(&self, id: BucketId) -> Option<&Arc<BucketProperties>> {
        self.buckets.get(&id)
    }

    /// The epoch in force.
    pub(crate) fn epoch(&self) -> RingEpoch {
        self.ring.load().epoch()
    }

    /// Where a bucket's key lives.
    pub(crate) fn place(&self, bucket: &BucketProperties, key: &[u8]) -> Place {
        let ring = self.ring.load();
        let partition = ring.partitions().of_key(key);
        self.place_in(table(&ring, bucket.replicas), partition, bucket.write_mode)
    }

    /// Where a bucket's part of a whole partition lives.
    pub(crate) fn place_partition(&self, bucket: &BucketProperties, partition: PartitionId) -> Option<Place> {
        let ring = self.ring.load();
        ring.partitions().contains(partition).then(|| self.place_in(table(&ring, bucket.replicas), partition, bucket.write_mode))
    }

    fn place_in(&self, table: &PlacementTable, partition: PartitionId, write_mode: WriteMode) -> Place {
        let homes = table.preference_list(partition).clone();
        let role = if homes.contains(self.me) { Role::Home } else { Role::Stranger };
        Place { homes, partition, record: PartitionRecord { epoch: table.epoch(), role, write_mode, promise_floor: self.promise_floor } }
    }

    /// Partition copies this node keeps, over all tables.
    pub(crate) fn load(&self) -> u64 {
        self.ring.load().tables().map(|table| table.load(self.me) as u64).sum()
    }

    /// What clients are told.
    pub(crate) fn wire(&self) -> &Topology {
        &self.wire
    }

    /// Equal exactly on nodes that place every key alike and treat buckets alike.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

fn table(ring: &Ring, replicas: u8) -> &PlacementTable {
    ring.table(replicas).expect("the ring has a table for every bucket's replica count")
}

fn info(bucket: &BucketProperties) -> BucketInfo {
    BucketInfo {
        id: bucket.id,
        name: bucket.name.to_string(),
        replicas: bucket.replicas,
        level: bucket.level,
        siblings_max: u32::try_from(bucket.siblings_max).unwrap_or(u32::MAX),
        blind_writes: bucket.blind_writes,
        write_mode: bucket.write_mode,
    }
}

fn fingerprint(ring: &Ring, buckets: &[BucketInfo]) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key("quorate 2026 topology fingerprint");
    for table in ring.tables() {
        hasher.update(&table.fingerprint().to_be_bytes());
    }
    for bucket in buckets {
        let bytes = postcard::to_stdvec(bucket).expect("a bucket always encodes");
        hasher.update(&(bytes.len() as u64).to_be_bytes());
        hasher.update(&bytes);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_be_bytes(first)
}
