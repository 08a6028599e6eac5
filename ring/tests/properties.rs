//! What every placement keeps, over random memberships.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use quorate_ring::{Member, NodeId, Partitions, PlacementTable, RingEpoch, RingSpec, Zone};

fn spec(partition_bits: u32, members: impl IntoIterator<Item = Member>) -> RingSpec {
    let partitions = Partitions::new(1 << partition_bits).expect("a power of two");
    RingSpec { epoch: RingEpoch(1), partitions, members: members.into_iter().collect() }
}

fn zone(number: u8) -> Zone {
    Zone::new(format!("z{number}")).expect("a short name")
}

/// ceil(1.1 x copies / nodes), in whole numbers.
fn capacity(copies: usize, nodes: usize) -> usize {
    (11 * copies).div_ceil(10 * nodes)
}

/// Distinct ids, half of them small and dense, as people number nodes, half of them anything.
fn ids(count: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = BTreeSet<u64>> {
    proptest::collection::btree_set(prop_oneof![0u64..40, any::<u64>()], count)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_node_holds_more_than_a_tenth_above_the_mean(ids in ids(3..=12), replicas in 1u8..=5, partition_bits in 6u32..=10) {
        let replicas = replicas.min(ids.len() as u8);
        let spec = spec(partition_bits, ids.iter().map(|&id| Member::new(NodeId(id))));
        let table = PlacementTable::compute(&spec, replicas).expect("enough members");
        let copies = usize::from(spec.partitions.count()) * usize::from(replicas);
        let loads: Vec<usize> = ids.iter().map(|&id| table.load(NodeId(id))).collect();
        prop_assert_eq!(loads.iter().sum::<usize>(), copies);
        prop_assert!(loads.iter().all(|&load| load <= capacity(copies, ids.len())), "{:?}", loads);
    }

    #[test]
    fn list_and_walk_name_every_node_once(ids in ids(1..=20), replicas in 1u8..=7, partition_bits in 0u32..=8) {
        let replicas = replicas.min(ids.len() as u8);
        let spec = spec(partition_bits, ids.iter().map(|&id| Member::new(NodeId(id))));
        let table = PlacementTable::compute(&spec, replicas).expect("enough members");
        for partition in spec.partitions.iter() {
            prop_assert_eq!(table.preference_list(partition).len(), usize::from(replicas));
            let named = table.preference_list(partition).iter().chain(table.walk(partition).iter().copied());
            let nodes: BTreeSet<u64> = named.clone().map(|node| node.0).collect();
            prop_assert_eq!(named.count(), ids.len());
            prop_assert_eq!(&nodes, &ids);
        }
    }

    #[test]
    fn order_of_members_does_not_matter(
        members in proptest::collection::btree_map(any::<u64>(), proptest::option::of(0u8..4), 3..12)
            .prop_map(|members| members.into_iter().map(|(id, number)| Member { id: NodeId(id), zone: number.map(zone) }).collect::<Vec<_>>())
            .prop_flat_map(|members| (Just(members.clone()), Just(members).prop_shuffle())),
    ) {
        let (ordered, shuffled) = members;
        let ordered = PlacementTable::compute(&spec(6, ordered), 3).expect("enough members");
        prop_assert_eq!(PlacementTable::compute(&spec(6, shuffled), 3).expect("enough members"), ordered);
    }

    #[test]
    fn copies_lie_in_as_many_zones_as_there_are(
        members in proptest::collection::btree_map(any::<u64>(), 0u8..5, 1..16), replicas in 1u8..=7, partition_bits in 0u32..=8,
    ) {
        let replicas = replicas.min(members.len() as u8);
        let spec = spec(partition_bits, members.iter().map(|(&id, &number)| Member::in_zone(NodeId(id), zone(number))));
        let table = PlacementTable::compute(&spec, replicas).expect("enough members");
        let zones = members.values().collect::<BTreeSet<_>>().len();
        for partition in spec.partitions.iter() {
            let spread: BTreeSet<u8> = table.preference_list(partition).iter().map(|node| members[&node.0]).collect();
            prop_assert_eq!(spread.len(), zones.min(usize::from(replicas)));
        }
    }

    #[test]
    fn nodes_of_a_zone_share_its_copies_evenly(
        members in proptest::collection::btree_map(any::<u64>(), 0u8..3, 6..16), partition_bits in 6u32..=10,
    ) {
        let mut sizes: BTreeMap<u8, usize> = BTreeMap::new();
        members.values().for_each(|&number| *sizes.entry(number).or_default() += 1);
        prop_assume!(sizes.len() == 3);
        let spec = spec(partition_bits, members.iter().map(|(&id, &number)| Member::in_zone(NodeId(id), zone(number))));
        let table = PlacementTable::compute(&spec, 3).expect("enough members");
        for (&id, number) in &members {
            // Three copies in three zones: every zone holds each partition once.
            prop_assert!(table.load(NodeId(id)) <= capacity(usize::from(spec.partitions.count()), sizes[number]));
        }
    }
}
