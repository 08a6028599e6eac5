//! What is broken between the nodes, as one value.
//!
//! **Promise.** [`FaultState`] holds every fault of the whole cluster, and [`FaultState::of`] is all that one node must be told. So
//! a node that was away is told the same as one that was there when the fault was made.
//!
//! - *Upon a partition*: links between different groups are cut, both ways; earlier cuts are forgotten. A node in no group keeps
//!   all its links, which makes it a bridge.
//! - *Upon a one-way cut*: messages of that direction are lost; other cuts stay.
//! - *Upon heal*: everything is mended except the latencies the cluster was started with, which are its geography.
//!
//! A request needs its answer, so one cut direction is enough to make two nodes count each other as down.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use quorate_ring::NodeId;
use quorate_rpc::admin::{Faults, LinkFault};

/// Round trips above this may make a node count as down, by the usual heartbeat time-out.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(1);
/// Longest delay that can be asked for. Every request has given up long before; a longer one is better made by a cut.
const DELAY_MAX: Duration = Duration::from_secs(60);
/// Largest error of a clock that can be asked for, in milliseconds: a year. Stamps have no room for thousands of years.
const SKEW_MS_MAX: u64 = 365 * 24 * 3600 * 1000;

/// Two different nodes, in order of their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair(NodeId, NodeId);

impl Pair {
    /// The pair of two nodes, whichever comes first.
    ///
    /// # Errors
    /// [`InvalidFault::Itself`] if they are one node.
    pub fn new(a: NodeId, b: NodeId) -> Result<Self, InvalidFault> {
        if a == b {
            return Err(InvalidFault::Itself { node: a });
        }
        Ok(Self(a.min(b), a.max(b)))
    }

    /// The two nodes.
    #[must_use]
    pub fn nodes(self) -> [NodeId; 2] {
        [self.0, self.1]
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

/// A fault that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFault {
    /// There is no link between a node and itself.
    #[error("{node} has no link to itself; name two different nodes")]
    Itself {
        /// The node.
        node: NodeId,
    },
    /// A partition has at least two sides, and none is empty.
    #[error("a partition has two sides or more, as in n1|n2,n3")]
    OneSided,
    /// A node stands on two sides of a partition.
    #[error("{node} cannot be on two sides of a partition")]
    OnTwoSides {
        /// The node.
        node: NodeId,
    },
    /// A delay is longer than any request lives.
    #[error("{} is longer than any request lives; write at most {}, or cut the link with `partition`", humantime::format_duration(*delay), humantime::format_duration(*delay_max))]
    TooSlow {
        /// What was asked for.
        delay: Duration,
        /// The longest that can be.
        delay_max: Duration,
    },
    /// A clock would be too wrong to be told.
    #[error("a clock can be wrong by at most {} days", ms_max / (24 * 3600 * 1000))]
    TooSkewed {
        /// The largest error that can be, in milliseconds.
        ms_max: u64,
    },
}

/// All faults of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultState {
    /// From and to.
    cuts: BTreeSet<(NodeId, NodeId)>,
    slow: BTreeMap<NodeId, Duration>,
    /// Round trips.
    latency: BTreeMap<Pair, Duration>,
    skew_ms: BTreeMap<NodeId, i64>,
    geography: BTreeMap<Pair, Duration>,
}

impl FaultState {
    /// Nothing is broken; some pairs of nodes are far apart, by these round trips.
    #[must_use]
    pub fn new(geography: BTreeMap<Pair, Duration>) -> Self {
        Self { geography, ..Self::default() }
    }

    /// Cuts every link between nodes of different groups.
    ///
    /// # Errors
    /// [`InvalidFault`]; nothing has changed then.
    pub fn partition(&mut self, groups: &[BTreeSet<NodeId>]) -> Result<(), InvalidFault> {
        if groups.len() < 2 || groups.iter().any(BTreeSet::is_empty) {
            return Err(InvalidFault::OneSided);
        }
        let mut cuts = BTreeSet::new();
        for (index, group) in groups.iter().enumerate() {
            for other in &groups[index + 1..] {
                if let Some(node) = group.intersection(other).next() {
                    return Err(InvalidFault::OnTwoSides { node: *node });
                }
                cuts.extend(group.iter().flat_map(|a| other.iter().flat_map(|b| [(*a, *b), (*b, *a)])));
            }
        }
        self.cuts = cuts;
        Ok(())
    }

    /// Loses every message from one node to another; the other direction stays.
    ///
    /// # Errors
    /// [`InvalidFault::Itself`]; nothing has changed then.
    pub fn one_way(&mut self, from: NodeId, to: NodeId) -> Result<(), InvalidFault> {
        Pair::new(from, to)?;
        self.cuts.insert((from, to));
        Ok(())
    }

    /// Delays every message that `node` sends to other nodes; zero ends it.
    ///
    /// # Errors
    /// [`InvalidFault::TooSlow`] above a minute; nothing has changed then.
    pub fn slow(&mut self, node: NodeId, delay: Duration) -> Result<(), InvalidFault> {
        check_delay(delay)?;
        self.slow.insert(node, delay);
        self.slow.retain(|_, delay| !delay.is_zero());
        Ok(())
    }

    /// Puts two nodes `round_trip` apart, half of it in each direction.
    ///
    /// # Errors
    /// [`InvalidFault::TooSlow`] above a minute; nothing has changed then.
    pub fn latency(&mut self, pair: Pair, round_trip: Duration) -> Result<(), InvalidFault> {
        check_delay(round_trip)?;
        self.latency.insert(pair, round_trip);
        Ok(())
    }

    /// Sets how far a node's wall clock is wrong; zero ends it.
    ///
    /// # Errors
    /// [`InvalidFault::TooSkewed`] above a year; nothing has changed then.
    pub fn skew(&mut self, node: NodeId, skew_ms: i64) -> Result<(), InvalidFault> {
        if skew_ms.unsigned_abs() > SKEW_MS_MAX {
            return Err(InvalidFault::TooSkewed { ms_max: SKEW_MS_MAX });
        }
        self.skew_ms.insert(node, skew_ms);
        self.skew_ms.retain(|_, skew_ms| *skew_ms != 0);
        Ok(())
    }

    /// Mends every cut; delays and clocks stay as they are.
    pub fn mend_cuts(&mut self) {
        self.cuts.clear();
    }

    /// Mends everything but the cluster's geography.
    pub fn heal(&mut self) {
        *self = Self::new(std::mem::take(&mut self.geography));
    }

    /// True when nothing is broken.
    #[must_use]
    pub fn is_healed(&self) -> bool {
        self.cuts.is_empty() && self.slow.is_empty() && self.latency.is_empty() && self.skew_ms.is_empty()
    }

    /// True when messages from or to `node` are lost.
    #[must_use]
    pub fn cuts_off(&self, node: NodeId) -> bool {
        self.cuts.iter().any(|(from, to)| *from == node || *to == node)
    }

    /// True when messages from or to `node` are late by a fault that [`FaultState::heal`] mends.
    #[must_use]
    pub fn delays(&self, node: NodeId) -> bool {
        self.slow.contains_key(&node) || self.latency.keys().any(|pair| pair.nodes().contains(&node))
    }

    /// What `node` must be told about its links to `all` nodes.
    #[must_use]
    pub fn of(&self, node: NodeId, all: impl IntoIterator<Item = NodeId>) -> Faults {
        let links = all.into_iter().filter(|other| *other != node).map(|other| (other, self.link(node, other)));
        Faults {
            links: links.filter(|(_, fault)| *fault != LinkFault::default()).collect(),
            skew_ms: self.skew_ms.get(&node).copied().unwrap_or(0),
        }
    }

    /// Whether two running nodes can be expected to see each other up.
    #[must_use]
    pub fn connects(&self, a: NodeId, b: NodeId) -> bool {
        let (there, back) = (self.link(a, b), self.link(b, a));
        let round_trip = Duration::from_micros(there.delay_micros.saturating_add(back.delay_micros));
        !there.cut && !back.cut && round_trip < ROUND_TRIP_MAX
    }

    fn link(&self, from: NodeId, to: NodeId) -> LinkFault {
        let half = Pair::new(from, to).ok().and_then(|pair| self.latency.get(&pair).or_else(|| self.geography.get(&pair)));
        let delay = half.copied().unwrap_or_default() / 2 + self.slow.get(&from).copied().unwrap_or_default();
        let delay_micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        LinkFault { cut: self.cuts.contains(&(from, to)), delay_micros }
    }
}

/// Refuses a delay that no request lives to see.
pub(super) fn check_delay(delay: Duration) -> Result<(), InvalidFault> {
    if delay > DELAY_MAX { Err(InvalidFault::TooSlow { delay, delay_max: DELAY_MAX }) } else { Ok(()) }
}

impl fmt::Display for FaultState {
    /// `n1-n2 cut, n2 -> n3 cut, n3 slow by 200ms, n1-n2 80ms apart, clock of n2 wrong by +3000ms`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (from, to) in &self.cuts {
            match (self.cuts.contains(&(*to, *from)), from < to) {
                (true, true) => parts.push(format!("{from}-{to} cut")),
                (true, false) => {}
                (false, _) => parts.push(format!("{from} -> {to} cut")),
            }
        }
        parts.extend(self.slow.iter().map(|(node, delay)| format!("{node} slow by {delay:?}")));
        let mut far = self.geography.clone();
        far.extend(self.latency.iter().map(|(pair, round_trip)| (*pair, *round_trip)));
        parts.extend(far.iter().map(|(pair, round_trip)| format!("{pair} {round_trip:?} apart")));
        parts.extend(self.skew_ms.iter().map(|(node, skew_ms)| format!("clock of {node} wrong by {skew_ms:+}ms")));
        f.write_str(if parts.is_empty() { "none" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N1: NodeId = NodeId(1);
    const N2: NodeId = NodeId(2);
    const N3: NodeId = NodeId(3);
    const ALL: [NodeId; 3] = [N1, N2, N3];

    fn group(nodes: &[NodeId]) -> BTreeSet<NodeId> {
        nodes.iter().copied().collect()
    }

    fn pair(a: NodeId, b: NodeId) -> Pair {
        Pair::new(a, b).expect("two nodes")
    }

    #[test]
    fn a_partition_cuts_both_ways_between_groups_and_not_within_them() {
        let mut state = FaultState::default();
        state.partition(&[group(&[N1]), group(&[N2, N3])]).expect("two sides");
        assert!(state.of(N1, ALL).links.values().all(|link| link.cut) && state.of(N1, ALL).links.len() == 2);
        assert_eq!(state.of(N2, ALL).links.keys().copied().collect::<Vec<_>>(), [N1]);
        assert!(state.connects(N2, N3) && !state.connects(N1, N2) && !state.connects(N3, N1));
    }

    #[test]
    fn a_node_in_no_group_is_a_bridge() {
        let mut state = FaultState::default();
        state.partition(&[group(&[N1]), group(&[N2])]).expect("two sides");
        assert!(state.connects(N1, N3) && state.connects(N2, N3) && !state.connects(N1, N2));
        assert_eq!(state.of(N3, ALL), Faults::default());
    }

    #[test]
    fn a_new_partition_replaces_the_old_one_and_a_one_way_cut_adds_to_it() {
        let mut state = FaultState::default();
        state.partition(&[group(&[N1]), group(&[N2, N3])]).expect("two sides");
        state.partition(&[group(&[N1, N2]), group(&[N3])]).expect("two sides");
        assert!(state.connects(N1, N2));
        state.one_way(N1, N2).expect("two nodes");
        assert_eq!(state.to_string(), "n1 -> n2 cut, n1-n3 cut, n2-n3 cut");
        assert!(state.of(N1, ALL).links[&N2].cut && !state.of(N2, ALL).links.contains_key(&N1));
        assert!(!state.connects(N2, N1));
    }

    #[test]
    fn mending_the_cuts_mends_nothing_else() {
        let mut state = FaultState::default();
        state.partition(&[group(&[N1]), group(&[N2, N3])]).expect("two sides");
        state.slow(N3, Duration::from_millis(200)).expect("not too much");
        state.skew(N2, 3000).expect("not too much");
        state.mend_cuts();
        assert_eq!(state.to_string(), "n3 slow by 200ms, clock of n2 wrong by +3000ms");
    }

    #[test]
    fn impossible_faults_change_nothing() {
        let mut state = FaultState::default();
        assert_eq!(state.partition(&[group(&[N1, N2])]), Err(InvalidFault::OneSided));
        assert_eq!(state.partition(&[group(&[N1]), group(&[])]), Err(InvalidFault::OneSided));
        assert_eq!(state.partition(&[group(&[N1, N2]), group(&[N2])]), Err(InvalidFault::OnTwoSides { node: N2 }));
        assert_eq!(state.one_way(N1, N1), Err(InvalidFault::Itself { node: N1 }));
        assert_eq!(state, FaultState::default());
    }

    #[test]
    fn delays_add_up_per_direction() {
        let mut state = FaultState::default();
        state.latency(pair(N1, N2), Duration::from_millis(80)).expect("not too much");
        state.slow(N1, Duration::from_millis(5)).expect("not too much");
        assert_eq!(state.of(N1, ALL).links[&N2].delay_micros, 45_000);
        assert_eq!(state.of(N2, ALL).links[&N1].delay_micros, 40_000);
        assert_eq!(state.of(N1, ALL).links[&N3].delay_micros, 5_000);
        assert!(state.connects(N1, N2));
        state.slow(N1, Duration::from_secs(2)).expect("not too much");
        assert!(!state.connects(N1, N3), "too slow for heartbeats");
    }

    #[test]
    fn heal_mends_all_but_the_geography() {
        let geography = BTreeMap::from([(pair(N1, N2), Duration::from_millis(80))]);
        let mut state = FaultState::new(geography.clone());
        state.latency(pair(N1, N2), Duration::from_millis(10)).expect("not too much");
        state.slow(N3, Duration::from_millis(200)).expect("not too much");
        state.skew(N2, 3000).expect("not too much");
        assert_eq!(state.of(N2, ALL).skew_ms, 3000);
        assert_eq!(state.to_string(), "n3 slow by 200ms, n1-n2 10ms apart, clock of n2 wrong by +3000ms");
        assert!(!state.is_healed());
        state.heal();
        assert_eq!(state, FaultState::new(geography));
        assert!(state.is_healed());
        assert_eq!(state.of(N1, ALL).links[&N2].delay_micros, 40_000);
    }

    #[test]
    fn zero_ends_a_fault() {
        let mut state = FaultState::default();
        state.slow(N1, Duration::from_millis(5)).expect("not too much");
        state.skew(N1, -7).expect("not too much");
        state.slow(N1, Duration::ZERO).expect("not too much");
        state.skew(N1, 0).expect("not too much");
        assert!(state.is_healed());
        assert_eq!(state.to_string(), "none");
    }

    #[test]
    fn faults_beyond_all_measure_are_refused_and_change_nothing() {
        let mut state = FaultState::default();
        let hours = Duration::from_secs(1000 * 3600);
        let refused = state.slow(N3, hours).expect_err("1000 hours");
        assert_eq!(
            refused.to_string(),
            "1month 11days 5h 26m 24s is longer than any request lives; write at most 1m, or cut the link with `partition`"
        );
        assert!(state.latency(pair(N1, N2), hours).is_err());
        assert_eq!(state.skew(N1, i64::MIN).expect_err("for ever").to_string(), "a clock can be wrong by at most 365 days");
        assert_eq!(state, FaultState::default());
    }

    #[test]
    fn a_node_is_cut_off_or_delayed_by_what_heal_mends_on_its_links() {
        let mut state = FaultState::new(BTreeMap::from([(pair(N1, N2), Duration::from_millis(80))]));
        state.skew(N1, 3000).expect("not too much");
        let touched = |state: &FaultState| ALL.map(|node| (state.cuts_off(node), state.delays(node)));
        assert_eq!(touched(&state), [(false, false); 3], "neither its geography nor its clock keeps a node from answering");
        state.one_way(N1, N2).expect("two nodes");
        state.slow(N3, Duration::from_millis(5)).expect("not too much");
        assert_eq!(touched(&state), [(true, false), (true, false), (false, true)]);
        state.latency(pair(N1, N3), Duration::from_millis(5)).expect("not too much");
        assert_eq!(touched(&state), [(true, true), (true, false), (false, true)]);
    }
}
