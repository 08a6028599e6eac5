//! The ring of one epoch: its description, and the placement that follows from it.
//!
//! **Promise.** A [`Ring`] never changes. Whoever looks up a key in it sees one epoch, one membership and tables that
//! belong together.
//!
//! **Rules.** Nodes agree on a [`RingSpec`], a few hundred bytes, and compute the tables themselves. Upon a new epoch a
//! node builds a new ring and swaps it in behind a shared pointer; lookups in progress finish on the old one, so reading
//! needs no lock. Buckets that keep another number of copies have a table of their own over the same partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::node::{Member, NodeId};
use crate::partition::Partitions;
use crate::placement::{PlacementError, PlacementTable};
use crate::preference_list::PreferenceList;

/// Counts the memberships a cluster has had. Written `e1`. Higher is newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RingEpoch(pub u64);

impl fmt::Display for RingEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}", self.0)
    }
}

/// All that decides where keys live. Small: this, not the table, is what nodes exchange.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RingSpec {
    /// Which membership this is.
    pub epoch: RingEpoch,
    /// How the slots are cut; the same in every epoch of a cluster.
    pub partitions: Partitions,
    /// The nodes that hold copies. Their order has no meaning.
    pub members: Vec<Member>,
}

/// A ring description with its placement tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    spec: RingSpec,
    /// By replica count.
    tables: BTreeMap<u8, PlacementTable>,
}

impl Ring {
    /// Computes a table for each of the replica counts; counts given twice are computed once. Puts the members of the
    /// description in order of their ids.
    ///
    /// # Errors
    /// [`PlacementError`] if one of the tables cannot be computed. There is then no ring.
    pub fn new(mut spec: RingSpec, replica_counts: impl IntoIterator<Item = u8>) -> Result<Self, PlacementError> {
        spec.members.sort_unstable();
        let replica_counts: BTreeSet<u8> = replica_counts.into_iter().collect();
        let table = |replicas| Ok((replicas, PlacementTable::compute(&spec, replicas)?));
        let tables = replica_counts.into_iter().map(table).collect::<Result<_, _>>()?;
        Ok(Ring { spec, tables })
    }

    /// The description, with its members in order of their ids.
    pub fn spec(&self) -> &RingSpec {
        &self.spec
    }

    /// Which membership this is.
    pub fn epoch(&self) -> RingEpoch {
        self.spec.epoch
    }

    /// How the slots are cut.
    pub fn partitions(&self) -> Partitions {
        self.spec.partitions
    }

    /// The members in order of their ids.
    pub fn members(&self) -> &[Member] {
        &self.spec.members
    }

    /// Whether a node is a member.
    pub fn contains(&self, node: NodeId) -> bool {
        self.members().binary_search_by_key(&node, |member| member.id).is_ok()
    }

    /// The table for a replica count; none if the ring was not made for it.
    pub fn table(&self, replicas: u8) -> Option<&PlacementTable> {
        self.tables.get(&replicas)
    }

    /// All tables, by increasing replica count.
    pub fn tables(&self) -> impl Iterator<Item = &PlacementTable> {
        self.tables.values()
    }

    /// The homes of a key; none if the ring was not made for this replica count.
    pub fn preference_list(&self, replicas: u8, key: &[u8]) -> Option<&PreferenceList> {
        self.table(replicas).map(|table| table.preference_list(self.partitions().of_key(key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> RingSpec {
        let members = [3, 1, 4, 2, 5].map(|id| Member::new(NodeId(id))).to_vec();
        RingSpec { epoch: RingEpoch(7), partitions: Partitions::default(), members }
    }

    #[test]
    fn key_is_looked_up_by_its_partition() {
        let ring = Ring::new(spec(), [3, 1, 3]).expect("enough members");
        assert_eq!(ring.tables().map(PlacementTable::replicas).collect::<Vec<_>>(), [1, 3]);
        let homes = ring.preference_list(3, b"{user1000}.following").expect("made for three");
        assert_eq!(homes.len(), 3);
        assert_eq!(Some(homes), ring.preference_list(3, b"{user1000}.followers"));
        assert_eq!(Some(homes), ring.table(3).map(|table| table.preference_list(ring.partitions().of_key(b"user1000"))));
        assert_eq!(ring.preference_list(2, b"key"), None);
    }

    #[test]
    fn ring_knows_its_members_in_order() {
        let ring = Ring::new(spec(), [3]).expect("enough members");
        assert!(ring.members().is_sorted());
        assert!(ring.contains(NodeId(4)) && !ring.contains(NodeId(6)));
        assert_eq!((ring.epoch().to_string(), ring.partitions()), ("e7".to_owned(), Partitions::default()));
    }

    #[test]
    fn one_impossible_table_makes_no_ring() {
        assert_eq!(Ring::new(spec(), [3, 6]).err(), Some(PlacementError::TooFewMembers { members: 5, replicas: 6 }));
    }

    #[test]
    fn description_reads_what_it_writes() {
        let json = serde_json::to_string(&spec()).expect("serialises");
        assert_eq!(serde_json::from_str::<RingSpec>(&json).expect("deserialises"), spec());
    }
}
