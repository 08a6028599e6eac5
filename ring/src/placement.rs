//! Placement: from a ring's description to the preference list of every partition.
//!
//! **Promise.** For each partition, N distinct nodes in distinct zones as far as there are zones, no node with more than
//! ceil(1.1 x mean) copies (a zone too small for its share excepted), and few copies on the move when a node joins or leaves.
//! Equal descriptions give equal tables in every process, for ever: where data lies on disk depends on it.
//!
//! **Rules.** Upon a ring description and a replica count:
//! 1. members are taken in order of their ids;
//! 2. tokens are laid out on the ring (`token_ring.rs`), capacities fixed (`capacity.rs`), copies assigned
//!    (`assignment.rs`);
//! 3. a partition's preference list is its homes in ring order, its walk all other nodes in ring order: where hints for an
//!    unreachable home are left, the same for everybody.
//!
//! ```text
//!   arc of p17    |--n4---n1-----n6------n7---n2--n3-----|        n6 was full of nearer partitions
//!                    home home   .       home .   .               list [n4 n1 n7], walk n6 n2 n3
//! ```
//!
//! **Invariants.**
//! - A node is in the list or in the walk of a partition, never in both.
//! - The loads of all nodes add up to partitions times replicas.
//!
//! **Measured** (`tests/movement.rs`: 64 to 1024 partitions, 1 to 5 replicas, no zones, 32 or more copies on a node). Copies
//! that move, over the ideal: for a join the share of the new node, for a leave the copies of the leaving one.
//!
//! | nodes | changes | join: mean | worst | leave: mean | worst | above 1.5 |
//! |---|---|---|---|---|---|---|
//! | 3 to 12 | 165,000 | 1.004 | 1.344 | 1.004 | 1.296 | none |
//! | 12 to 40 | 6,320 | 1.018 | 1.388 | 1.020 | 1.394 | none |
//! | 40 to 128 | 6,560 | 1.074 | 1.558 | 1.074 | 1.621 | two joins, one leave |
//!
//! In large clusters with barely 32 copies on a node the cap falls by a whole copy for all nodes at once, and every full
//! node lets one go: more partitions are the remedy. With zones the share of a zone may change as well as that of a node;
//! no bound on movement is promised then.
//!
//! **Deviations.** Dynamo leaves the balance to random tokens; here tokens only order the nodes, and the cap bounds the
//! load. Mirrokni et al. let keys find their bins one after another; here all partitions walk in step, so that no order
//! among partitions has to be chosen and kept.
//!
//! **Limits.** [`NODES_MAX`] and the largest number of partitions together take a table of about 128 MiB and a few
//! seconds; 3 nodes and 256 partitions take less than a millisecond.
//!
//! Sources: Karger et al. 1997; Dynamo §4.2, §4.3 (preference lists skip virtual nodes of the same node) and §6.2
//! strategy 3; Mirrokni, Thorup, Zadimoghaddam 2018.

use thiserror::Error;

use crate::assignment::Assignment;
use crate::capacity::Zones;
use crate::node::{Member, NodeId};
use crate::partition::{PartitionId, Partitions};
use crate::preference_list::{PreferenceList, REPLICAS_MAX};
use crate::ring::{RingEpoch, RingSpec};
use crate::token_ring::TokenRing;

/// Most members of a ring. Every node keeps connections to every other, and a table of all walks takes 8 bytes for each
/// node and partition; beyond this number both want another design.
pub const NODES_MAX: usize = 1024;

const _: () = assert!(NODES_MAX <= u16::MAX as usize, "a token names its member with 16 bits");
const _: () = assert!(REPLICAS_MAX as usize <= NODES_MAX, "the largest replica count must be possible");

/// Domain of the hash behind [`PlacementTable::fingerprint`].
const FINGERPRINT_DOMAIN: &str = "quorate ring 1: fingerprint of a placement table";

/// Where every partition's copies belong, for one ring epoch and one replica count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementTable {
    epoch: RingEpoch,
    partitions: Partitions,
    replicas: u8,
    /// By partition.
    lists: Vec<PreferenceList>,
    /// The nodes beyond the homes: partition after partition, equally many for each.
    walks: Vec<NodeId>,
    /// Nodes in order of their ids, with the number of their copies.
    loads: Vec<(NodeId, usize)>,
    fingerprint: u64,
}

impl PlacementTable {
    /// Computes the table. The order of the members in the description does not matter.
    ///
    /// # Errors
    /// [`PlacementError`] if there are fewer members than replicas, or the description breaks a limit.
    pub fn compute(spec: &RingSpec, replicas: u8) -> Result<Self, PlacementError> {
        let members = checked_members(spec, replicas)?;
        let nodes: Vec<NodeId> = members.iter().map(|member| member.id).collect();
        let ring = TokenRing::new(&nodes, spec.partitions);
        let zones = Zones::new(&members);
        let assignment = Assignment::compute(&ring, &zones, usize::from(replicas));

        let mut lists = Vec::with_capacity(ring.partitions());
        let mut walks = Vec::with_capacity(ring.partitions() * (nodes.len() - usize::from(replicas)));
        for partition in 0..ring.partitions() {
            let met = ring.walk(partition).iter().map(|token| token.member());
            let (homes, others): (Vec<usize>, Vec<usize>) = met.partition(|&member| assignment.is_home(partition, member));
            let homes: Vec<NodeId> = homes.into_iter().map(|member| nodes[member]).collect();
            lists.push(PreferenceList::new(homes).expect("a partition has one to REPLICAS_MAX distinct homes"));
            walks.extend(others.into_iter().map(|member| nodes[member]));
        }
        let loads = nodes.into_iter().zip(assignment.loads().iter().copied()).collect();
        let mut table = PlacementTable { epoch: spec.epoch, partitions: spec.partitions, replicas, lists, walks, loads, fingerprint: 0 };
        table.fingerprint = fingerprint(&table, &members);
        Ok(table)
    }

    /// The homes of a partition, in ring order.
    ///
    /// # Panics
    /// If the cluster has no such partition.
    pub fn preference_list(&self, partition: PartitionId) -> &PreferenceList {
        &self.lists[usize::from(partition.0)]
    }

    /// All nodes that are not home to a partition, in ring order: who keeps hints when homes are unreachable.
    ///
    /// # Panics
    /// If the cluster has no such partition.
    pub fn walk(&self, partition: PartitionId) -> &[NodeId] {
        assert!(self.partitions.contains(partition), "{partition} is not one of {} partitions", self.partitions);
        let others = self.loads.len() - usize::from(self.replicas);
        let first = usize::from(partition.0) * others;
        &self.walks[first..first + others]
    }

    /// The ring epoch the table belongs to.
    pub fn epoch(&self) -> RingEpoch {
        self.epoch
    }

    /// How many copies every partition has.
    pub fn replicas(&self) -> u8 {
        self.replicas
    }

    /// How the slots are cut.
    pub fn partitions(&self) -> Partitions {
        self.partitions
    }

    /// How many partition copies a node holds; none if it is not a member.
    pub fn load(&self, node: NodeId) -> usize {
        self.loads.binary_search_by_key(&node, |&(member, _)| member).map_or(0, |at| self.loads[at].1)
    }

    /// A digest of the whole table: epoch, partitions, replicas, members with zones, all lists and walks. Nodes whose
    /// fingerprints differ must not serve each other, for they would look for the same key in different places.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

/// The members in order of their ids, if the description keeps all limits.
fn checked_members(spec: &RingSpec, replicas: u8) -> Result<Vec<Member>, PlacementError> {
    if !(1..=REPLICAS_MAX).contains(&replicas) {
        return Err(PlacementError::ReplicasOutOfRange { replicas });
    }
    if spec.members.len() > NODES_MAX {
        return Err(PlacementError::TooManyMembers { members: spec.members.len() });
    }
    let mut members = spec.members.clone();
    members.sort_unstable();
    if let Some(pair) = members.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(PlacementError::DuplicateMember { node: pair[0].id });
    }
    if members.len() < usize::from(replicas) {
        return Err(PlacementError::TooFewMembers { members: members.len(), replicas });
    }
    Ok(members)
}

/// Hashes a description of the table in which every part has a fixed or a stated length; integers little-endian.
fn fingerprint(table: &PlacementTable, members: &[Member]) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key(FINGERPRINT_DOMAIN);
    hasher.update(&table.epoch.0.to_le_bytes());
    hasher.update(&table.partitions.count().to_le_bytes());
    hasher.update(&[table.replicas]);
    hasher.update(&(members.len() as u64).to_le_bytes());
    for member in members {
        let zone = member.zone.as_ref().map_or("", |zone| zone.as_str());
        hasher.update(&member.id.0.to_le_bytes());
        hasher.update(&(zone.len() as u64).to_le_bytes());
        hasher.update(zone.as_bytes());
    }
    for partition in table.partitions.iter() {
        for node in table.preference_list(partition).iter().chain(table.walk(partition).iter().copied()) {
            hasher.update(&node.0.to_le_bytes());
        }
    }
    let mut first = [0; size_of::<u64>()];
    hasher.finalize_xof().fill(&mut first);
    u64::from_le_bytes(first)
}

/// Why a ring description has no placement. Nothing was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PlacementError {
    /// The replica count is zero or above [`REPLICAS_MAX`].
    #[error("a partition has 1 to {REPLICAS_MAX} replicas, not {replicas}")]
    ReplicasOutOfRange {
        /// The refused replica count.
        replicas: u8,
    },
    /// Copies of a partition need distinct nodes, and there are not enough.
    #[error("{replicas} replicas need as many members, the ring has {members}")]
    TooFewMembers {
        /// How many members there are.
        members: usize,
        /// The replica count asked for.
        replicas: u8,
    },
    /// The ring has more members than [`NODES_MAX`].
    #[error("a ring has at most {NODES_MAX} members, not {members}")]
    TooManyMembers {
        /// How many members there are.
        members: usize,
    },
    /// A node is a member twice.
    #[error("{node} is a member of the ring twice")]
    DuplicateMember {
        /// The node.
        node: NodeId,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Zone;

    fn spec(ids: impl IntoIterator<Item = u64>) -> RingSpec {
        let members = ids.into_iter().map(|id| Member::new(NodeId(id))).collect();
        RingSpec { epoch: RingEpoch(1), partitions: Partitions::default(), members }
    }

    #[test]
    fn limits_are_refused_by_name() {
        let refused = |spec, replicas| PlacementTable::compute(&spec, replicas).expect_err("refused");
        assert_eq!(refused(spec(1..=3), 0), PlacementError::ReplicasOutOfRange { replicas: 0 });
        assert_eq!(refused(spec(1..=9), 8), PlacementError::ReplicasOutOfRange { replicas: 8 });
        assert_eq!(refused(spec(1..=2), 3), PlacementError::TooFewMembers { members: 2, replicas: 3 });
        assert_eq!(refused(spec([]), 1), PlacementError::TooFewMembers { members: 0, replicas: 1 });
        assert_eq!(refused(spec([1, 2, 3, 2]), 3), PlacementError::DuplicateMember { node: NodeId(2) });
        assert_eq!(refused(spec(0..1025), 3), PlacementError::TooManyMembers { members: 1025 });
    }

    #[test]
    fn every_node_is_in_the_list_or_in_the_walk() {
        let spec = spec([9, 1, 77, 12, 5]);
        let table = PlacementTable::compute(&spec, 3).expect("enough members");
        for partition in spec.partitions.iter() {
            let mut nodes: Vec<NodeId> = table.preference_list(partition).iter().chain(table.walk(partition).iter().copied()).collect();
            nodes.sort_unstable();
            assert_eq!(nodes, [1, 5, 9, 12, 77].map(NodeId));
        }
    }

    #[test]
    fn load_counts_the_lists_a_node_is_in() {
        let spec = spec(1..=5);
        let table = PlacementTable::compute(&spec, 3).expect("enough members");
        for member in &spec.members {
            let lists = spec.partitions.iter().filter(|&partition| table.preference_list(partition).contains(member.id)).count();
            assert_eq!(table.load(member.id), lists);
        }
        assert_eq!(table.load(NodeId(6)), 0);
    }

    #[test]
    fn fingerprint_tells_tables_apart() {
        let base = spec(1..=4);
        let of = |spec: &RingSpec, replicas| PlacementTable::compute(spec, replicas).expect("enough members").fingerprint();
        assert_eq!(of(&base, 3), of(&spec([4, 2, 3, 1]), 3));
        let mut zoned = base.clone();
        zoned.members.iter_mut().for_each(|member| member.zone = Zone::new("east").ok());
        let others = [
            of(&base, 2),
            of(&spec([1, 2, 3, 5]), 3),
            of(&RingSpec { epoch: RingEpoch(2), ..base.clone() }, 3),
            of(&RingSpec { partitions: Partitions::new(128).expect("a power of two"), ..base.clone() }, 3),
            of(&zoned, 3),
        ];
        assert!(!others.contains(&of(&base, 3)));
    }
}
