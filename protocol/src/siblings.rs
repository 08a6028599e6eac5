//! The versions of one key that nobody has replaced: a dotted version vector set.
//!
//! **Promise.** [`Siblings`] is a join semilattice: [`Siblings::merge`] is idempotent, commutative and associative, so
//! replicas that have merged the same writes hold the same value in whatever order they came. A version disappears only
//! because a write that had seen it came after; concurrent versions stay side by side.
//!
//! **Rules.**
//! - *Upon a write with context `c` and new dot `d`*: everything in `c` is replaced, `d` becomes live. As a delta:
//!   `context = c + d`, `live = {d}`.
//! - *Upon merging `a` and `b`*: the contexts are united; a dot stays live if it is live in both, or live in one and not
//!   covered by the other's context.
//!
//! **Invariants.** Every live dot is covered by the context. A tombstone is a live version whose body is absent: it must
//! travel like any other write, or a deleted value would come back from a replica that missed the delete.
//!
//! **Deviation from the source.** The literal DVVSet triple `{id, counter, [values]}` assumes that whoever holds `(i, 5)` also
//! knows `(i, 1..4)`; it can never ship a delta, and a coordinator that forgot its past silently deletes data. Dots with a
//! causal context and a cloud of exceptions carry the same meaning without that assumption.
//!
//! Two live versions with one operation id are one write, applied twice by a retry. They are *shown* as one
//! ([`Siblings::visible`]) but stored as two: dropping one inside `merge` would break associativity.
//!
//! Sources: Almeida, Baquero, Gonçalves, Preguiça, Fonte, *Scalable and Accurate Causality Tracking for Eventually
//! Consistent Stores* (DAIS'14); Almeida, Shoker, Baquero, *Delta State Replicated Data Types* (2018).

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use litemap::LiteMap;
use serde::{Deserialize, Serialize};

use crate::context::{Actor, Context, Dot};
use crate::hlc::Hlc;
use crate::ids::OpId;
use crate::sorted;

/// What a write put there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Body {
    /// The value's bytes.
    Value(Bytes),
    /// The key was deleted.
    Tombstone,
}

/// One write's result: what it put, when, and for which operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Version {
    /// The value, or that there is none.
    pub body: Body,
    /// The coordinator's hybrid clock, for display order only.
    pub hlc: Hlc,
    /// The client's operation, by which a retry finds its own write.
    pub op: Option<OpId>,
}

impl Version {
    /// The value's bytes, or `None` for a tombstone.
    #[must_use]
    pub fn value(&self) -> Option<&Bytes> {
        match &self.body {
            Body::Value(bytes) => Some(bytes),
            Body::Tombstone => None,
        }
    }
}

/// The set of concurrent versions of a key, with the context of everything ever merged into it.
///
/// Copies share their memory until one of them changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Content")]
pub struct Siblings(Arc<Content>);

/// What a sibling set holds, or what bytes claim it to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Content {
    context: Context,
    #[serde(deserialize_with = "sorted::map")]
    live: LiteMap<Dot, Version>,
}

/// Bytes claim a live version that their context does not cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a live version is not in the context")]
pub struct NotWellFormed;

impl TryFrom<Content> for Siblings {
    type Error = NotWellFormed;

    fn try_from(claimed: Content) -> Result<Self, NotWellFormed> {
        let siblings = Self(Arc::new(claimed));
        if siblings.is_well_formed() { Ok(siblings) } else { Err(NotWellFormed) }
    }
}

impl Siblings {
    /// The state of a key that was never written.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// The delta of one write: it replaces what `context` covers and adds `version` under `dot`, which `context` must not cover:
    /// a dot that somebody has seen is never new to him again.
    #[must_use]
    pub fn delta(context: Context, dot: Dot, version: Version) -> Self {
        Self::holding(context.with(dot), LiteMap::from_iter([(dot, version)]))
    }

    fn holding(context: Context, live: LiteMap<Dot, Version>) -> Self {
        Self(Arc::new(Content { context, live }))
    }

    /// All dots ever merged in.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.0.context
    }

    /// Live versions by dot, tombstones included.
    pub fn live(&self) -> impl Iterator<Item = (Dot, &Version)> {
        self.0.live.iter().map(|(dot, version)| (*dot, version))
    }

    /// Number of live versions, tombstones included.
    #[must_use]
    pub fn live_count(&self) -> usize {
        self.0.live.len()
    }

    /// Roughly how many bytes it takes on disk and wire.
    #[must_use]
    pub fn bytes(&self) -> usize {
        /// A dot, a stamp and an operation id.
        const VERSION_BYTES: usize = 64;
        /// An actor and a number, as a context holds them.
        const DOT_BYTES: usize = 24;
        let values = self.0.live.values().map(|version| VERSION_BYTES + version.value().map_or(0, Bytes::len));
        values.sum::<usize>() + self.0.context.len() * DOT_BYTES
    }

    /// The same dots and context without any value: what a writer needs to count on, not what a reader is shown.
    #[must_use]
    pub fn outline(&self) -> Self {
        let bare = |version: &Version| Version { body: Body::Tombstone, op: None, ..version.clone() };
        Self::holding(self.0.context.clone(), self.live().map(|(dot, version)| (dot, bare(version))).collect())
    }

    /// True when nothing was ever written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.context.is_empty()
    }

    /// Number of live versions that a write with `context` would leave beside itself.
    #[must_use]
    pub fn concurrent_with(&self, context: &Context) -> usize {
        self.0.live.keys().filter(|dot| !context.covers(**dot)).count()
    }

    /// True when every live version was made by a chain.
    #[must_use]
    pub fn is_of_chain(&self) -> bool {
        self.0.live.keys().all(|dot| matches!(dot.actor, Actor::Chain(_)))
    }

    /// The lowest live dot that carries operation `op`.
    #[must_use]
    pub fn dot_of(&self, op: &OpId) -> Option<Dot> {
        self.live().find(|(_, version)| version.op.as_ref() == Some(op)).map(|(dot, _)| dot)
    }

    /// What the write under the live dot `dot` may tell its client to have seen: everything but the other live versions.
    ///
    /// The result is causally closed: a dot whose write had seen one of the removed versions would have replaced it.
    #[must_use]
    pub fn context_of(&self, dot: Dot) -> Context {
        let others = self.0.live.keys().filter(|other| **other != dot);
        others.fold(self.0.context.clone(), |context, other| context.without(*other))
    }

    /// The values to show, in the order of their clocks: tombstones hidden, one version per operation (its lowest dot).
    #[must_use]
    pub fn visible(&self) -> Vec<(Dot, &Version)> {
        let mut seen = BTreeSet::new();
        let mut shown: Vec<_> = self
            .live()
            .filter(|(_, version)| version.value().is_some())
            .filter(|(_, version)| version.op.is_none_or(|op| seen.insert(op)))
            .collect();
        shown.sort_by_key(|(dot, version)| (version.hlc, *dot));
        shown
    }

    /// Adds a dot that no version bears: seen, and replaced already.
    pub(crate) fn cover(&mut self, dot: Dot) {
        Arc::make_mut(&mut self.0).context.insert(dot);
    }

    /// The same live versions with a context that knows nothing of `actor`, of which none may be live.
    pub(crate) fn forgetting(&self, actor: Actor) -> Self {
        Self::holding(self.0.context.clone().forgetting(actor), self.0.live.clone())
    }

    /// Merges `other` in; returns true when that changed anything.
    pub fn merge(&mut self, other: &Self) -> bool {
        if self.0.contains(&other.0) {
            return false;
        }
        if self.0.is_replaced_by(&other.0) {
            *self = other.clone();
        } else {
            Arc::make_mut(&mut self.0).merge(&other.0);
        }
        debug_assert!(self.0.live.keys().all(|dot| self.0.context.covers(*dot)), "a live dot is in the context");
        true
    }

    /// The merge of two states.
    #[must_use]
    pub fn merged(mut self, other: &Self) -> Self {
        self.merge(other);
        self
    }

    /// Whether every live dot is covered by the context: false only for a state that no honest replica can send.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        self.0.live.keys().all(|dot| dot.n > 0 && self.0.context.covers(*dot))
    }
}

impl Content {
    /// Whether merging `other` in changes nothing.
    fn contains(&self, other: &Self) -> bool {
        self.context.includes(&other.context) && self.live.keys().all(|dot| !other.has_replaced(dot))
    }

    /// Whether merging `other` in leaves what `other` holds and nothing else, with every version of it new here.
    fn is_replaced_by(&self, other: &Self) -> bool {
        other.context.includes(&self.context) && other.live.keys().all(|dot| !self.context.covers(*dot))
    }

    /// Whether a version was seen and is live no more.
    fn has_replaced(&self, dot: &Dot) -> bool {
        self.context.covers(*dot) && !self.live.contains_key(dot)
    }

    fn merge(&mut self, other: &Self) {
        self.live.retain(|dot, _| !other.has_replaced(dot));
        for (dot, version) in other.live.iter() {
            if !self.context.covers(*dot) {
                self.live.insert(*dot, version.clone());
            }
        }
        self.context.merge(&other.context);
    }
}

#[cfg(test)]
mod tests;
