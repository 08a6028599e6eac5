//! Counting replicas toward a quorum, with a three-valued answer.
//!
//! A replica counts once, however often it answers, and only if it is one of those entitled to.
//!
//! Source: etcd's raft quorum package takes the same shape: pending, won or lost.

use std::collections::BTreeSet;

use quorate_ring::{NodeId, PreferenceList};

use crate::defect::Defect;
use crate::options::Options;

/// Where a count stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Neither reached nor out of reach.
    Pending,
    /// Enough replicas said yes.
    Met,
    /// Too few replicas are left that could still say yes.
    Lost,
}

/// Who said yes and who never will, among a key's home replicas.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tally {
    homes: PreferenceList,
    needed: u8,
    yes: BTreeSet<NodeId>,
    no: BTreeSet<NodeId>,
    options: Options,
    repeated: usize,
}

impl Tally {
    /// Starts a count that `needed` of `homes` must meet.
    #[must_use]
    pub fn new(homes: PreferenceList, needed: u8, options: Options) -> Self {
        Self { homes, needed, yes: BTreeSet::new(), no: BTreeSet::new(), options, repeated: 0 }
    }

    /// Counts a yes. A yes outlives an earlier no of the same replica; strangers do not count.
    pub fn yes(&mut self, node: NodeId) {
        if self.homes.contains(node) {
            self.no.remove(&node);
            let repeats = !self.yes.insert(node);
            if repeats && self.options.has(Defect::QuorumCountedByMessages) {
                self.repeated += 1;
            }
        }
    }

    /// Counts a no, unless the replica has said yes.
    pub fn no(&mut self, node: NodeId) {
        if self.homes.contains(node) && !self.yes.contains(&node) {
            self.no.insert(node);
        }
    }

    /// True when the replica has said yes.
    #[must_use]
    pub fn has(&self, node: NodeId) -> bool {
        self.yes.contains(&node)
    }

    /// Home replicas that have said neither.
    pub fn open(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.homes.iter().filter(|node| !self.yes.contains(node) && !self.no.contains(node))
    }

    /// Number of replicas that said yes.
    #[must_use]
    pub fn count(&self) -> usize {
        self.yes.len() + self.overcount()
    }

    fn overcount(&self) -> usize {
        let first_twice = self.options.has(Defect::NodeTwiceOnPreferenceList) && self.has(self.homes.first());
        self.repeated + usize::from(first_twice)
    }

    /// Where the count stands.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.count() >= usize::from(self.needed) {
            Verdict::Met
        } else if self.homes.len() - self.no.len() < usize::from(self.needed) {
            Verdict::Lost
        } else {
            Verdict::Pending
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn homes(n: u64) -> PreferenceList {
        PreferenceList::new((1..=n).map(NodeId).collect::<Vec<_>>()).expect("distinct nodes")
    }

    #[test]
    fn a_replica_counts_once_and_a_stranger_never() {
        let mut tally = Tally::new(homes(3), 2, Options::default());
        tally.yes(NodeId(1));
        tally.yes(NodeId(1));
        tally.yes(NodeId(9));
        assert_eq!((tally.count(), tally.verdict()), (1, Verdict::Pending));
        tally.no(NodeId(1));
        tally.yes(NodeId(3));
        assert_eq!(tally.verdict(), Verdict::Met);
    }

    #[test]
    fn one_replica_is_two_votes_with_the_bugs_that_count_it_twice() {
        let votes = |defect, nodes: &[u64]| {
            let mut tally = Tally::new(homes(3), 2, Options { defect, ..Options::default() });
            nodes.iter().for_each(|node| tally.yes(NodeId(*node)));
            tally.verdict()
        };
        assert_eq!(votes(None, &[1, 1]), Verdict::Pending);
        assert_eq!(votes(Some(Defect::QuorumCountedByMessages), &[2, 2]), Verdict::Met);
        assert_eq!(votes(Some(Defect::NodeTwiceOnPreferenceList), &[1]), Verdict::Met);
        assert_eq!(votes(Some(Defect::NodeTwiceOnPreferenceList), &[2]), Verdict::Pending);
    }

    proptest! {
        /// The dumb twin remembers, for each replica, whether a yes ever came, else whether a no did.
        #[test]
        fn verdict_follows_the_last_word_of_each_replica(needed in 1..=5u8, votes in prop::collection::vec((1..=6u64, any::<bool>()), 0..20)) {
            let mut tally = Tally::new(homes(5), needed, Options::default());
            for (node, yes) in &votes {
                if *yes { tally.yes(NodeId(*node)) } else { tally.no(NodeId(*node)) }
            }
            let said_yes = (1..=5).filter(|n| votes.contains(&(*n, true))).count();
            let said_no = (1..=5).filter(|n| votes.contains(&(*n, false)) && !votes.contains(&(*n, true))).count();
            let expected = if said_yes >= usize::from(needed) {
                Verdict::Met
            } else if 5 - said_no < usize::from(needed) {
                Verdict::Lost
            } else {
                Verdict::Pending
            };
            prop_assert_eq!(tally.verdict(), expected);
        }
    }
}
