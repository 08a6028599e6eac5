//! Which copies a node takes: every partition gets N homes, no node more than its capacity.
//!
//! **Promise.** Every partition ends with exactly N distinct members in min(N, zones) different zones, and every member
//! within its capacity. The outcome depends on the set of members only.
//!
//! **Rules.**
//! 1. *Sweep.* All partitions walk the ring in step: a distance grows from nothing to a whole arc. Upon meeting the token
//!    of a member m in the arc of a partition p, m becomes a home of p, if p has fewer than N homes, m has room, and the
//!    homes of p can still spread over enough zones.
//! 2. *Repair.* If a partition has too few homes after the sweep (all members that it lacks were full), find the
//!    shortest chain of exchanges: p takes member m1, who hands a partition to m2, who hands one to m3, ..., who has room.
//!
//! **Why in step.** Partition after partition, the last ones would find only full nodes, and a node that joins would
//! upset the order of all that follows. In step, a copy is turned away only by a node that is full of copies *nearer* to
//! it: the outcome of stable matching (Gale and Shapley 1962) between partitions and nodes that both prefer the nearer.
//! A change at one node then reaches others only where a full node must let go its farthest copy, or may take one more.
//!
//! **Why repair always succeeds.** The sets of homes that can still be completed form a matroid for each partition, the
//! capacities another, and capacities admit a complete assignment (`capacity.rs`): shortest augmenting paths find it.
//! It is needed where few members share few partitions: with many, somebody whom a partition lacks still has room.
//!
//! Sources: Gale and Shapley 1962; Mirrokni et al. 2018 §1 (bounded loads); Lawler 1976 ch. 8 (matroid intersection).

use std::collections::VecDeque;

use crate::capacity::Zones;
use crate::token_ring::TokenRing;

/// The homes of all partitions, while they are being found.
pub(crate) struct Assignment<'a> {
    ring: &'a TokenRing,
    zones: &'a Zones,
    replicas: usize,
    /// The most copies that each member may take.
    capacities: Vec<usize>,
    /// Copies that each member has taken.
    loads: Vec<usize>,
    /// Members that hold each partition, in no meaningful order.
    homes: Vec<Vec<usize>>,
}

/// How the search for a chain of exchanges came to a member.
#[derive(Clone, Copy)]
enum Reached {
    /// The partition that lacks a home would take it.
    First,
    /// It would be handed a partition by another member.
    Handed { partition: usize, from: usize },
}

impl<'a> Assignment<'a> {
    /// Finds `replicas` homes for every partition. There are at least as many members.
    pub(crate) fn compute(ring: &'a TokenRing, zones: &'a Zones, replicas: usize) -> Self {
        let mut assignment = Assignment {
            ring,
            zones,
            replicas,
            capacities: zones.capacities(ring.partitions(), replicas),
            loads: vec![0; ring.members()],
            homes: vec![Vec::with_capacity(replicas); ring.partitions()],
        };
        assignment.sweep();
        assignment.repair();
        assignment
    }

    /// Copies that each member has taken.
    pub(crate) fn loads(&self) -> &[usize] {
        &self.loads
    }

    /// Whether a member holds a partition.
    pub(crate) fn is_home(&self, partition: usize, member: usize) -> bool {
        self.homes[partition].contains(&member)
    }

    fn sweep(&mut self) {
        let mut missing = self.ring.partitions() * self.replicas;
        for token in self.ring.by_distance() {
            if missing == 0 {
                return;
            }
            let (partition, member) = (token.partition(), token.member());
            if self.has_room(member) && self.can_take(partition, member) {
                self.homes[partition].push(member);
                self.loads[member] += 1;
                missing -= 1;
            }
        }
    }

    fn repair(&mut self) {
        for partition in 0..self.homes.len() {
            while self.homes[partition].len() < self.replicas {
                self.exchange_for(partition);
            }
        }
    }

    /// Gives a partition one more home by the shortest chain of exchanges, found breadth first.
    fn exchange_for(&mut self, lacking: usize) {
        let mut reached: Vec<Option<Reached>> = vec![None; self.ring.members()];
        let mut queue = VecDeque::new();
        for member in self.members_met(lacking) {
            if !self.is_home(lacking, member) && self.can_take(lacking, member) {
                reached[member] = Some(Reached::First);
                queue.push_back(member);
            }
        }
        while let Some(from) = queue.pop_front() {
            if self.has_room(from) {
                return self.apply_exchanges(lacking, from, &reached);
            }
            for partition in (0..self.homes.len()).filter(|&partition| self.is_home(partition, from)) {
                for to in self.members_met(partition) {
                    if reached[to].is_none() && !self.is_home(partition, to) && self.can_hand(partition, from, to) {
                        reached[to] = Some(Reached::Handed { partition, from });
                        queue.push_back(to);
                    }
                }
            }
        }
        unreachable!("capacities admit a complete assignment, so a chain of exchanges exists");
    }

    /// Walks a chain back from its last member, who has room, to the partition that lacked a home.
    fn apply_exchanges(&mut self, lacking: usize, last: usize, reached: &[Option<Reached>]) {
        self.loads[last] += 1;
        let mut to = last;
        while let Some(Reached::Handed { partition, from }) = reached[to] {
            self.homes[partition].retain(|&home| home != from);
            self.homes[partition].push(to);
            to = from;
        }
        self.homes[lacking].push(to);
    }

    fn members_met(&self, partition: usize) -> impl Iterator<Item = usize> + use<'a> {
        self.ring.walk(partition).iter().map(|token| token.member())
    }

    fn has_room(&self, member: usize) -> bool {
        self.loads[member] < self.capacities[member]
    }

    /// Whether the homes of a partition with one more member can be completed.
    fn can_take(&self, partition: usize, member: usize) -> bool {
        let homes = &self.homes[partition];
        homes.len() < self.replicas && self.can_be_completed(homes.iter().copied().chain([member]))
    }

    /// Whether the homes of a partition can be completed after it goes from one member to another.
    fn can_hand(&self, partition: usize, from: usize, to: usize) -> bool {
        let stay = self.homes[partition].iter().copied().filter(move |&home| home != from);
        self.can_be_completed(stay.chain([to]))
    }

    /// Whether enough places are left to reach every zone that is still wanted.
    fn can_be_completed(&self, homes: impl Iterator<Item = usize> + Clone) -> bool {
        let zones_wanted = self.zones.spread(self.replicas) - self.zones.distinct(homes.clone());
        homes.count() + zones_wanted <= self.replicas
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::node::{Member, NodeId, Zone};
    use crate::partition::Partitions;

    struct Case {
        ring: TokenRing,
        zones: Zones,
    }

    /// A ring of nodes with these ids and, by number, zones; zone 0 is none.
    fn case(partitions: u16, ids_and_zones: &[(u64, u8)]) -> Case {
        let zone = |zone: u8| (zone > 0).then(|| Zone::new(format!("z{zone}")).expect("short"));
        let mut members: Vec<Member> = ids_and_zones.iter().map(|&(id, number)| Member { id: NodeId(id), zone: zone(number) }).collect();
        members.sort_unstable();
        members.dedup_by_key(|member| member.id);
        let nodes: Vec<NodeId> = members.iter().map(|member| member.id).collect();
        let ring = TokenRing::new(&nodes, Partitions::new(partitions).expect("a power of two"));
        Case { ring, zones: Zones::new(&members) }
    }

    fn check(assignment: &Assignment<'_>) {
        let mut counted = vec![0; assignment.loads.len()];
        for homes in &assignment.homes {
            assert_eq!(homes.len(), assignment.replicas);
            assert!(homes.iter().enumerate().all(|(at, home)| !homes[..at].contains(home)), "distinct: {homes:?}");
            assert_eq!(assignment.zones.distinct(homes.iter().copied()), assignment.zones.spread(assignment.replicas));
            homes.iter().for_each(|&home| counted[home] += 1);
        }
        assert_eq!(counted, assignment.loads);
        assert!(assignment.loads.iter().zip(&assignment.capacities).all(|(load, capacity)| load <= capacity));
    }

    /// The sweep alone, for tests that tell it from repair.
    fn swept(case: &Case, replicas: usize) -> Assignment<'_> {
        let mut assignment = Assignment {
            ring: &case.ring,
            zones: &case.zones,
            replicas,
            capacities: case.zones.capacities(case.ring.partitions(), replicas),
            loads: vec![0; case.ring.members()],
            homes: vec![Vec::new(); case.ring.partitions()],
        };
        assignment.sweep();
        assignment
    }

    /// The dumb twin of the sweep where there are no zones: partitions propose along their walks one after another, and
    /// a full member lets go its farthest partition, which walks on.
    fn propose_and_refuse(case: &Case, replicas: usize) -> Vec<Vec<usize>> {
        let capacities = case.zones.capacities(case.ring.partitions(), replicas);
        let mut held: Vec<Vec<(u32, usize)>> = vec![Vec::new(); case.ring.members()];
        let mut walks: Vec<_> = (0..case.ring.partitions()).map(|partition| case.ring.walk(partition).iter()).collect();
        let mut proposing: Vec<usize> = (0..case.ring.partitions()).flat_map(|partition| vec![partition; replicas]).collect();
        while let Some(partition) = proposing.pop() {
            let Some(token) = walks[partition].next() else { continue };
            let member = token.member();
            held[member].push((token.distance(), partition));
            held[member].sort_unstable();
            if held[member].len() > capacities[member] {
                proposing.extend(held[member].pop().map(|(_, farthest)| farthest));
            }
        }
        let mut homes = vec![Vec::new(); case.ring.partitions()];
        for (member, held) in held.iter().enumerate() {
            held.iter().for_each(|&(_, partition)| homes[partition].push(member));
        }
        homes
    }

    #[test]
    fn sweep_is_the_stable_matching() {
        let mut turned_away = 0;
        for members in 1..=12u64 {
            for replicas in 1..=5.min(members as usize) {
                let case = case(64, &(0..members).map(|id| (id * 7919, 0)).collect::<Vec<_>>());
                let mut assignment = swept(&case, replicas);
                assignment.homes.iter_mut().for_each(|homes| homes.sort_unstable());
                assert_eq!(assignment.homes, propose_and_refuse(&case, replicas), "{members} members, {replicas} replicas");
                let nearest = |partition: usize| case.ring.walk(partition).iter().take(replicas);
                turned_away += (0..64).flat_map(nearest).filter(|token| !assignment.is_home(token.partition(), token.member())).count();
            }
        }
        assert!(turned_away > 0, "no full node in any case: the twin was not needed");
    }

    #[test]
    fn repair_completes_what_the_sweep_leaves() {
        let mut left = 0;
        for seed in 0..200u64 {
            for (partitions, members, replicas) in [(4, 3, 2), (8, 4, 3), (16, 5, 4), (2, 5, 3), (16, 3, 1)] {
                let case = case(partitions, &(0..members).map(|id| (seed << 8 | id, 0)).collect::<Vec<_>>());
                left += swept(&case, replicas).homes.iter().filter(|homes| homes.len() < replicas).count();
                check(&Assignment::compute(&case.ring, &case.zones, replicas));
            }
        }
        assert!(left > 0, "the sweep left nothing to repair in any case");
    }

    #[test]
    fn repair_keeps_zones_too() {
        let mut left = 0;
        for seed in 0..200u64 {
            for (zones, replicas) in [(&[1, 1, 2, 2, 3][..], 3), (&[1, 1, 1, 2], 2), (&[1, 1, 1, 2, 2, 3], 5), (&[0, 1, 1, 2, 3, 3], 3)] {
                let members: Vec<(u64, u8)> = zones.iter().zip(seed << 8..).map(|(&zone, id)| (id, zone)).collect();
                let case = case(16, &members);
                left += swept(&case, replicas).homes.iter().filter(|homes| homes.len() < replicas).count();
                check(&Assignment::compute(&case.ring, &case.zones, replicas));
            }
        }
        assert!(left > 0, "the sweep left nothing to repair in any case");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn every_partition_is_complete_and_every_member_within_capacity(
            partition_bits in 0u32..9,
            members in proptest::collection::btree_map(any::<u64>(), 0u8..5, 1..14),
            replicas in 1usize..=7,
        ) {
            let members: Vec<(u64, u8)> = members.into_iter().collect();
            let case = case(1 << partition_bits, &members);
            check(&Assignment::compute(&case.ring, &case.zones, replicas.min(members.len())));
        }
    }
}
