//! Dots and causal contexts: which writes somebody has seen.
//!
//! **Promise.** A [`Context`] is a set of [`Dot`]s, kept small: a version vector for the contiguous part of each actor and a
//! *cloud* of exceptions above it. Its representation is canonical, so equal sets are equal values.
//!
//! **Invariants.**
//! - No dot is numbered 0; `(a, n)` in the vector stands for all of `(a, 1) ..= (a, n)`.
//! - The cloud holds nothing that the vector covers, and never the dot right above it.
//! - A context that a replica holds is *causally closed*: with a dot, it contains all that the dot's write had seen. Clients
//!   receive contexts sealed and cannot build or trim them.
//!
//! Sources: Preguiça, Baquero, Almeida et al., *Dotted Version Vectors* (2012); Almeida, Shoker, Baquero, *Delta State
//! Replicated Data Types* (2018), causal contexts.

use std::collections::BTreeSet;
use std::fmt;

use litemap::LiteMap;
use quorate_ring::NodeId;
use serde::{Deserialize, Serialize};

use crate::chain::Ballot;
use crate::ids::KeyEpoch;
use crate::sorted;

/// Who gave out a dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Actor {
    /// A node that coordinated an eventual write, in one of its key epochs.
    Node {
        /// The node.
        node: NodeId,
        /// Which run of dots of that node.
        epoch: KeyEpoch,
    },
    /// A key's linearizable chain, by the ballot at which it began: a chain that begins again gives out other dots.
    Chain(Ballot),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node { node, epoch } => write!(f, "{node}.{}", epoch.0),
            Self::Chain(inc) => write!(f, "chain.{inc}"),
        }
    }
}

/// The name of one eventual write: the `n`th that its actor gave out for the key. Never given out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Dot {
    /// Who gave it out.
    pub actor: Actor,
    /// Counts from 1.
    pub n: u64,
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.n, self.actor)
    }
}

/// For each actor, the highest `n` such that all its dots up to `n` are contained. Actors without dots are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VersionVector(#[serde(deserialize_with = "sorted::map")] LiteMap<Actor, u64>);

impl VersionVector {
    fn at(&self, actor: Actor) -> u64 {
        self.0.get(&actor).copied().unwrap_or(0)
    }
}

/// A set of dots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Claimed")]
pub struct Context {
    vector: VersionVector,
    cloud: BTreeSet<Dot>,
}

/// A context as bytes claim it to be.
#[derive(Deserialize)]
struct Claimed {
    vector: VersionVector,
    cloud: BTreeSet<Dot>,
}

/// Highest number of a dot. No actor gives out as many; beyond it arithmetic would not be safe.
pub const DOT_MAX: u64 = 1 << 48;

/// Bytes claim to be a context and are not in the one form that contexts have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a context in canonical form")]
pub struct NotCanonical;

impl TryFrom<Claimed> for Context {
    type Error = NotCanonical;

    fn try_from(claimed: Claimed) -> Result<Self, NotCanonical> {
        let Claimed { vector, cloud } = claimed;
        let numbers = vector.0.values().copied().chain(cloud.iter().map(|dot| dot.n));
        let in_range = numbers.into_iter().all(|n| (1..=DOT_MAX).contains(&n));
        let above = cloud.iter().all(|dot| dot.n > vector.at(dot.actor) + 1);
        if in_range && above { Ok(Self { vector, cloud }) } else { Err(NotCanonical) }
    }
}

impl Context {
    /// The context of somebody who has seen nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// True when it contains no dot.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vector.0.is_empty() && self.cloud.is_empty()
    }

    /// True when `dot` is in the set.
    #[must_use]
    pub fn covers(&self, dot: Dot) -> bool {
        dot.n <= self.vector.at(dot.actor) || self.cloud.contains(&dot)
    }

    /// True when every dot of `other` is in the set.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        // The dot above our vector is in no cloud of ours, so the contiguous parts compare alone.
        other.vector.0.iter().all(|(actor, n)| self.vector.at(*actor) >= *n) && other.cloud.iter().all(|dot| self.covers(*dot))
    }

    /// Adds one dot.
    pub fn insert(&mut self, dot: Dot) {
        assert!(dot.n > 0, "dots count from 1");
        if !self.covers(dot) {
            self.cloud.insert(dot);
            self.compact(dot.actor);
        }
    }

    /// The same set with `dot` added.
    #[must_use]
    pub fn with(mut self, dot: Dot) -> Self {
        self.insert(dot);
        self
    }

    /// The same set without `dot`.
    ///
    /// Costs one exception for each later dot of the same actor.
    #[must_use]
    pub fn without(mut self, dot: Dot) -> Self {
        if self.cloud.remove(&dot) || !self.covers(dot) {
            return self;
        }
        let highest = self.vector.at(dot.actor);
        self.cloud.extend((dot.n + 1..=highest).map(|n| Dot { n, ..dot }));
        match dot.n - 1 {
            0 => self.vector.0.remove(&dot.actor),
            n => self.vector.0.insert(dot.actor, n),
        };
        self
    }

    /// Adds every dot of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (actor, n) in other.vector.0.iter() {
            let mine = self.vector.0.entry(*actor).or_insert(0);
            *mine = (*mine).max(*n);
        }
        if self.cloud.is_empty() && other.cloud.is_empty() {
            return;
        }
        self.cloud.extend(other.cloud.iter().copied());
        let actors: BTreeSet<Actor> = self.cloud.iter().map(|dot| dot.actor).collect();
        for actor in actors {
            self.compact(actor);
        }
    }

    /// Number of actors and exceptions, the measure of how large the context is.
    #[must_use]
    pub fn len(&self) -> usize {
        self.vector.0.len() + self.cloud.len()
    }

    /// Highest number of a dot of `actor` in the set, 0 if there is none.
    pub(crate) fn highest(&self, actor: Actor) -> u64 {
        let all = Dot { actor, n: 0 }..=Dot { actor, n: u64::MAX };
        self.cloud.range(all).next_back().map_or(self.vector.at(actor), |dot| dot.n)
    }

    /// Actors with a dot in the set.
    pub(crate) fn actors(&self) -> BTreeSet<Actor> {
        self.vector.0.keys().copied().chain(self.cloud.iter().map(|dot| dot.actor)).collect()
    }

    /// The same set without any dot of `actor`.
    pub(crate) fn forgetting(mut self, actor: Actor) -> Self {
        self.vector.0.remove(&actor);
        self.cloud.retain(|dot| dot.actor != actor);
        self
    }

    /// Moves what has become contiguous from the cloud into the vector and drops what the vector covers.
    fn compact(&mut self, actor: Actor) {
        let mut highest = self.vector.at(actor);
        let first = Dot { actor, n: 0 };
        let last = Dot { actor, n: u64::MAX };
        let mut absorbed = Vec::new();
        for dot in self.cloud.range(first..=last) {
            if dot.n > highest + 1 {
                break;
            }
            highest = highest.max(dot.n);
            absorbed.push(*dot);
        }
        if absorbed.is_empty() {
            return;
        }
        for dot in &absorbed {
            self.cloud.remove(dot);
        }
        self.vector.0.insert(actor, highest);
    }
}

impl fmt::Display for Context {
    /// `{n1.4:7, n2.1:3, +9@n1.4}`: the vector, then the exceptions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        let mut separator = "";
        for (actor, n) in self.vector.0.iter() {
            write!(f, "{separator}{actor}:{n}")?;
            separator = ", ";
        }
        for dot in &self.cloud {
            write!(f, "{separator}+{dot}")?;
            separator = ", ";
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn dot(actor: u64, n: u64) -> Dot {
        Dot { actor: Actor::Node { node: NodeId(actor), epoch: KeyEpoch(1) }, n }
    }

    fn context(dots: &BTreeSet<(u64, u64)>) -> Context {
        dots.iter().fold(Context::empty(), |context, (actor, n)| context.with(dot(*actor, *n)))
    }

    fn dots() -> impl Strategy<Value = BTreeSet<(u64, u64)>> {
        prop::collection::btree_set((1..4u64, 1..8u64), 0..12)
    }

    proptest! {
        /// The dumb twin is a plain set of dots.
        #[test]
        fn context_is_a_set_of_dots(a in dots(), b in dots(), probe in (1..4u64, 1..9u64)) {
            let (left, right) = (context(&a), context(&b));
            prop_assert_eq!(left.covers(dot(probe.0, probe.1)), a.contains(&probe));
            prop_assert_eq!(left.includes(&right), a.is_superset(&b));
            let mut merged = left.clone();
            merged.merge(&right);
            let union: BTreeSet<_> = a.union(&b).copied().collect();
            prop_assert_eq!(&merged, &context(&union));
            let without = merged.without(dot(probe.0, probe.1));
            let remaining: BTreeSet<_> = union.iter().copied().filter(|d| *d != probe).collect();
            prop_assert_eq!(without, context(&remaining));
        }

        #[test]
        fn a_context_survives_the_wire(a in dots()) {
            let context = context(&a);
            let bytes = postcard::to_stdvec(&context).expect("encodes");
            prop_assert_eq!(postcard::from_bytes::<Context>(&bytes).expect("canonical"), context);
        }

        #[test]
        fn representation_does_not_depend_on_order(a in prop::collection::vec((1..4u64, 1..8u64), 0..12)) {
            let forward = a.iter().fold(Context::empty(), |c, (actor, n)| c.with(dot(*actor, *n)));
            let backward = a.iter().rev().fold(Context::empty(), |c, (actor, n)| c.with(dot(*actor, *n)));
            prop_assert_eq!(forward, backward);
        }
    }

    #[test]
    fn what_no_replica_can_hold_is_not_decoded() {
        let one = dot(1, 1).actor;
        let claims: [(BTreeMap<Actor, u64>, BTreeSet<Dot>); 5] = [
            (BTreeMap::from([(one, 0)]), BTreeSet::new()),
            (BTreeMap::from([(one, u64::MAX)]), BTreeSet::new()),
            (BTreeMap::new(), BTreeSet::from([dot(1, 0)])),
            (BTreeMap::new(), BTreeSet::from([dot(1, 1)])),
            (BTreeMap::from([(one, 5)]), BTreeSet::from([dot(1, 4)])),
        ];
        for claim in claims {
            let bytes = postcard::to_stdvec(&claim).expect("encodes");
            assert!(postcard::from_bytes::<Context>(&bytes).is_err(), "{claim:?}");
        }
    }
}
