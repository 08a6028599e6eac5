//! Who coordinates a write.
//!
//! A write's dot must come from a home replica's own record where one can be reached, so that blind writes replace what that
//! replica has seen. A node that is no home replica hands the write to one that is; only at `any`, and only when no home
//! replica can be reached, does it act itself, as a *fallback* that keeps hints and no record. Reads are coordinated where
//! they arrive.

use std::collections::BTreeSet;

use quorate_ring::NodeId;

use crate::quorum::WriteQuorum;
use crate::record::Role;

/// Where a write that arrived here is coordinated.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// Here, in this role.
    Here(Role),
    /// At this home replica, the first in ring order that can be reached.
    Forward(NodeId),
    /// Nowhere: no home replica can be reached and the level does not count hints.
    Nowhere,
}

/// Chooses the coordinator of a write that arrived at `me`; `forwarded` says that another node sent it here.
///
/// A forwarded write is never forwarded again: with two views of who is reachable it could travel for ever.
#[must_use]
pub fn route(me: NodeId, quorum: &WriteQuorum, down: &BTreeSet<NodeId>, forwarded: bool) -> Route {
    if quorum.homes().contains(me) {
        return Route::Here(Role::Home);
    }
    let reachable = quorum.homes().iter().find(|node| !down.contains(node));
    match reachable {
        Some(home) if !forwarded => Route::Forward(home),
        Some(_) | None if quorum.counts_hints() => Route::Here(Role::Stranger),
        Some(_) | None => Route::Nowhere,
    }
}

#[cfg(test)]
mod tests {
    use quorate_ring::{PreferenceList, RingEpoch};

    use super::*;
    use crate::level::Level;
    use crate::options::Options;

    fn quorum(level: Level) -> WriteQuorum {
        let homes = PreferenceList::new(vec![NodeId(1), NodeId(2), NodeId(3)]).expect("distinct");
        WriteQuorum::of(level, homes, RingEpoch(1), Options::default()).expect("a write level")
    }

    #[test]
    fn a_home_replica_coordinates_itself_and_a_stranger_forwards_to_the_first_it_can_reach() {
        let down = BTreeSet::from([NodeId(1)]);
        assert_eq!(route(NodeId(1), &quorum(Level::Quorum), &BTreeSet::new(), false), Route::Here(Role::Home));
        assert_eq!(route(NodeId(9), &quorum(Level::Quorum), &down, false), Route::Forward(NodeId(2)));
        assert_eq!(route(NodeId(9), &quorum(Level::Quorum), &down, true), Route::Nowhere);
    }

    #[test]
    fn only_any_lets_a_stranger_act() {
        let down = BTreeSet::from([NodeId(1), NodeId(2), NodeId(3)]);
        assert_eq!(route(NodeId(9), &quorum(Level::Any), &down, false), Route::Here(Role::Stranger));
        assert_eq!(route(NodeId(9), &quorum(Level::One), &down, false), Route::Nowhere);
    }
}
