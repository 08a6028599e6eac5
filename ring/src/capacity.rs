//! How many copies a node may take, and how copies spread over zones.
//!
//! **Promise.** Without zones no node holds more than ceil(1.1 x mean) copies. With zones the same holds among the nodes
//! of a zone, and among the nodes of all zones that are free to take their proportional share.
//!
//! **Rules.** A partition with N copies in a ring of Z zones lies in min(N, Z) of them.
//! - Without any zone configured every node is a zone of its own, and the rule says no more than *distinct nodes*.
//! - Every zone's fair share is proportional to its nodes, except where the rule forces another: with Z >= N a zone
//!   takes at most one copy of each partition, with Z < N at least one. What such a zone takes less or more, the others
//!   share in proportion.
//! - A node's capacity is ceil(1.1 x the share of its zone, evenly divided over the zone's nodes).
//!
//! **Invariant.** If every zone takes its fair share and divides it evenly, all capacities and the rule are kept by
//! fractions of copies; then, networks of whole capacities being what they are, whole copies can keep them too.
//!
//! Sources: Mirrokni, Thorup, Zadimoghaddam 2018 (consistent hashing with bounded loads).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::node::{Member, Zone};

/// A node's capacity in tenths of its mean load.
const CAPACITY_TENTHS: usize = 11;

/// The zones of a membership, numbered.
pub(crate) struct Zones {
    /// Zone of each member.
    of: Vec<usize>,
    /// Number of members in each zone.
    sizes: Vec<usize>,
}

impl Zones {
    /// Numbers the zones. If nobody names one, every member is its own; otherwise those who name none share one.
    pub(crate) fn new(members: &[Member]) -> Self {
        if members.iter().all(|member| member.zone.is_none()) {
            return Zones { of: (0..members.len()).collect(), sizes: vec![1; members.len()] };
        }
        let mut sizes_by_zone: BTreeMap<Option<&Zone>, usize> = BTreeMap::new();
        for member in members {
            *sizes_by_zone.entry(member.zone.as_ref()).or_default() += 1;
        }
        let names: Vec<Option<&Zone>> = sizes_by_zone.keys().copied().collect();
        let of = members.iter().map(|member| names.binary_search(&member.zone.as_ref()).expect("every zone was counted")).collect();
        Zones { of, sizes: sizes_by_zone.into_values().collect() }
    }

    /// In how many zones a partition of so many copies lies.
    pub(crate) fn spread(&self, replicas: usize) -> usize {
        replicas.min(self.sizes.len())
    }

    /// How many different zones these members are in.
    pub(crate) fn distinct(&self, members: impl Iterator<Item = usize> + Clone) -> usize {
        let seen_before = |at, member: usize| members.clone().take(at).any(|earlier| self.of[earlier] == self.of[member]);
        members.clone().enumerate().filter(|&(at, member)| !seen_before(at, member)).count()
    }

    /// The most copies that each member may take.
    pub(crate) fn capacities(&self, partitions: usize, replicas: usize) -> Vec<usize> {
        // Where zones suffice, shares above one copy are forced down to it; where they do not, shares below one are forced up.
        let forced = if self.sizes.len() >= replicas { Ordering::Greater } else { Ordering::Less };
        let (mut copies, mut nodes) = (replicas, self.of.len());
        let mut free: Vec<usize> = (0..self.sizes.len()).collect();
        loop {
            let (beyond, within): (Vec<usize>, Vec<usize>) =
                free.iter().partition(|&&zone| (copies * self.sizes[zone]).cmp(&nodes) == forced);
            if beyond.is_empty() {
                break;
            }
            copies -= beyond.len();
            nodes -= beyond.iter().map(|&zone| self.sizes[zone]).sum::<usize>();
            free = within;
        }
        let capacity = |zone| {
            let (copies, nodes) = if free.contains(&zone) { (copies, nodes) } else { (1, self.sizes[zone]) };
            (CAPACITY_TENTHS * partitions * copies).div_ceil(10 * nodes)
        };
        let by_zone: Vec<usize> = (0..self.sizes.len()).map(capacity).collect();
        self.of.iter().map(|&zone| by_zone[zone]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::NodeId;

    /// One member for each letter; the letter is its zone, a dot is none.
    fn zones(letters: &str) -> Zones {
        let zone = |letter: char| (letter != '.').then(|| Zone::new(letter).expect("one byte"));
        let members: Vec<Member> = letters.chars().zip(0..).map(|(letter, id)| Member { id: NodeId(id), zone: zone(letter) }).collect();
        Zones::new(&members)
    }

    #[test]
    fn without_zones_capacity_is_a_tenth_above_the_mean_rounded_up() {
        assert_eq!(zones(".....").capacities(64, 3), [43; 5]); // mean 38.4
        assert_eq!(zones("....").capacities(40, 1), [11; 4]); // mean 10: exactly 11, no float rounds it to 12
        assert_eq!(zones("...").capacities(1, 1), [1; 3]);
    }

    #[test]
    fn equal_zones_have_the_capacity_of_no_zones() {
        assert_eq!(zones("aabbcc").capacities(256, 3), zones("......").capacities(256, 3));
        assert_eq!(zones("aabb").capacities(256, 3), zones("....").capacities(256, 3));
    }

    #[test]
    fn lone_node_of_a_zone_has_room_for_every_partition() {
        // Three copies in three zones: each zone holds every partition once.
        assert_eq!(zones("abbccc").capacities(100, 3), [110, 55, 55, 37, 37, 37]);
    }

    #[test]
    fn zone_takes_at_most_one_copy_while_there_are_zones_enough() {
        // Two copies, zones of 5, 1 and 1: half of a proportional share is all that `a` may take; b and c share the rest.
        assert_eq!(zones("aaaaabc").capacities(100, 2), [22, 22, 22, 22, 22, 55, 55]);
    }

    #[test]
    fn zone_takes_at_least_one_copy_when_zones_are_few() {
        // Three copies, zones of 5 and 1: b is forced to one, a takes two.
        assert_eq!(zones("aaaaab").capacities(100, 3), [44, 44, 44, 44, 44, 110]);
    }

    #[test]
    fn members_without_a_zone_share_one_if_others_have_one() {
        assert_eq!(zones("a..").distinct([0, 1, 2].into_iter()), 2);
        assert_eq!(zones("...").distinct([0, 1, 2].into_iter()), 3);
        assert_eq!(zones("aab").distinct([0, 1].into_iter()), 1);
        assert_eq!(zones("aab").spread(3), 2);
        assert_eq!(zones("...").spread(2), 2);
    }

    #[test]
    fn capacities_have_room_for_every_copy() {
        for letters in ["a", "ab", "aab", "aaab", "abbcccc", "aaaaabbbccd", "..ab", "abcdefg", "aaaaaaab"] {
            for replicas in 1..=letters.len().min(7) {
                for partitions in [1, 2, 64, 256] {
                    let capacities = zones(letters).capacities(partitions, replicas);
                    let room: usize = capacities.iter().map(|&capacity| capacity.min(partitions)).sum();
                    assert!(room >= partitions * replicas, "{letters} {replicas} {partitions}: {capacities:?}");
                }
            }
        }
    }
}
