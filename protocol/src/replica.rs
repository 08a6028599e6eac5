//! What one replica does with one key's record.
//!
//! **Promise.** [`apply`] and [`mint`] are functions of the record and the request alone. The driver loads the record, calls
//! them, persists the record if it changed, and only then lets the reply out: a reply speaks of durable state only.
//!
//! **Rules** (who takes part: a coordinator asks, a home replica answers).
//! - *Upon any request that names a ring epoch*: act only at exactly that epoch; otherwise say which epoch it is here.
//! - *Upon any request while not on the key's preference list*: refuse; a stranger's copy counts for nothing.
//! - *Upon `Replicate`*: merge the delta, acknowledge. Storing the same delta again changes nothing and is acknowledged again.
//! - *Upon `Read`*: answer with the whole sibling set.
//! - *Upon a mint* (the coordinator's own record): give the write a dot that was never given out before, and merge its delta.
//!
//! **Dots are never given out twice.** `n` counts on in the record's own run of dots. A fresh run begins whenever the record
//! knows of none, or its run is older than `epoch_floor`, the first run of a process whose predecessor did not stop cleanly:
//! that process may have sent a dot it failed to make durable. `n` is never derived from the context (riak_kv#679).
//!
//! Sources: Dynamo (SOSP'07) §4.4; basho/riak_kv issue 679 and pull requests 1094, 1643.

use std::fmt;

use quorate_ring::RingEpoch;
use serde::{Deserialize, Serialize};

use crate::context::{Actor, Context, Dot};
use crate::hlc::Hlc;
use crate::ids::{KeyEpoch, OpId};
use crate::notes::{Mark, Notes};
use crate::record::{KeyRecord, OwnDots, PartitionRecord, Role};
use crate::siblings::{Body, Siblings, Version};

/// What a coordinator asks of a home replica, about one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReplicaRequest {
    /// Return the sibling set.
    Read {
        /// Answer only at this ring epoch; `None` at levels that are not strict.
        strict: Option<RingEpoch>,
    },
    /// Merge `delta` and make it durable.
    Replicate {
        /// Act only at this ring epoch; `None` at levels that are not strict, and for hints.
        strict: Option<RingEpoch>,
        /// One write, or a merged state during repair and hand-over.
        delta: Siblings,
    },
}

impl ReplicaRequest {
    /// True for requests that change a record.
    #[must_use]
    pub fn is_mutation(&self) -> bool {
        matches!(self, Self::Replicate { .. })
    }

    fn strict(&self) -> Option<RingEpoch> {
        match self {
            Self::Read { strict } | Self::Replicate { strict, .. } => *strict,
        }
    }
}

impl fmt::Display for ReplicaRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { .. } => f.write_str("Read"),
            Self::Replicate { delta, .. } => write!(f, "Replicate {}", delta.context()),
        }
    }
}

/// What a home replica answers. Everything it says is durable there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReplicaReply {
    /// To `Read`: the sibling set.
    State {
        /// All that the replica holds for the key.
        siblings: Siblings,
    },
    /// To `Replicate`: the delta is merged.
    Stored,
    /// Nothing was done.
    Refused(Refusal),
}

/// Why a replica did nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The request named another ring epoch.
    #[error("acts at ring epoch {here}, not at the one asked for")]
    OtherEpoch {
        /// The epoch the replica acts under.
        here: RingEpoch,
    },
    /// The replica is not on the key's preference list.
    #[error("is no home replica of the key")]
    Stranger,
    /// A queue of the replica is full.
    #[error("is overloaded")]
    Overloaded,
    /// The deadline had passed when the replica came to the request.
    #[error("reached the request after its deadline")]
    Expired,
    /// The replica's disk is full: it answers reads and refuses writes.
    #[error("has no disk space left")]
    DiskFull,
    /// The replica's store failed in another way.
    #[error("could not read or write its store")]
    StoreFailed,
    /// The request broke a limit or an invariant of the protocol.
    #[error("found the request malformed")]
    Malformed,
    /// The request or its answer does not fit into one message.
    #[error("has more siblings of this key than one message can carry")]
    TooLarge,
    /// The replica's peers do not trust its data directory.
    #[error("is quarantined: its data directory is not the one its peers know")]
    Quarantined,
}

/// Applies one request to one key's record. The record is changed only if the reply is `Stored`.
pub fn apply(record: &mut KeyRecord, partition: &PartitionRecord, request: &ReplicaRequest, notes: &mut Notes) -> ReplicaReply {
    if let Err(refusal) = guard(partition, request, notes) {
        return ReplicaReply::Refused(refusal);
    }
    match request {
        ReplicaRequest::Read { .. } => ReplicaReply::State { siblings: record.eventual.clone() },
        ReplicaRequest::Replicate { delta, .. } => {
            if !delta.is_well_formed() {
                return ReplicaReply::Refused(Refusal::Malformed);
            }
            if !record.eventual.merge(delta) {
                notes.sometimes(Mark::RedundantReplicate);
            }
            ReplicaReply::Stored
        }
    }
}

fn guard(partition: &PartitionRecord, request: &ReplicaRequest, notes: &mut Notes) -> Result<(), Refusal> {
    if request.strict().is_some_and(|epoch| epoch != partition.epoch) {
        notes.sometimes(Mark::EpochRefused);
        return Err(Refusal::OtherEpoch { here: partition.epoch });
    }
    match partition.role {
        Role::Home => Ok(()),
        Role::Stranger => {
            notes.sometimes(Mark::StrangerRefused);
            Err(Refusal::Stranger)
        }
    }
}

/// What a write has seen, and so what it replaces.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Seen {
    /// What the client read.
    Context(Context),
    /// No context given: whatever the coordinating replica has seen.
    Blind,
    /// Nothing, on purpose: every other version stays as a sibling.
    Nothing,
}

/// A write that still lacks its dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mint {
    /// What it replaces.
    pub seen: Seen,
    /// What it puts.
    pub body: Body,
    /// The client's operation.
    pub op: Option<OpId>,
    /// The coordinator's clock.
    pub hlc: Hlc,
    /// Most live versions the key may have afterwards.
    pub siblings_max: usize,
}

/// A write that has its dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Minted {
    /// The new version's name.
    pub dot: Dot,
    /// The write as every replica merges it.
    pub delta: Siblings,
    /// Live versions, this one included, that the coordinator holds afterwards.
    pub live: usize,
}

/// A write was refused before it got a dot: the key would have had more live versions than its bucket allows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TooManySiblings {
    /// Most live versions the bucket allows.
    pub siblings_max: usize,
    /// What a write must have seen to replace all that is there.
    pub context: Context,
}

/// True when [`mint`] will need a fresh key epoch for this record.
#[must_use]
pub fn needs_fresh_epoch(record: &KeyRecord, epoch_floor: KeyEpoch) -> bool {
    record.own.is_none_or(|own| own.epoch < epoch_floor)
}

/// Gives a write its dot and merges it into the coordinator's record.
///
/// `fresh` must be a key epoch that this node has never used for anything, and is consumed when [`needs_fresh_epoch`] holds.
///
/// # Errors
/// [`TooManySiblings`], with the record unchanged and no dot given out.
///
/// # Panics
/// If a fresh epoch is needed and none is given.
pub fn mint(
    record: &mut KeyRecord,
    node: quorate_ring::NodeId,
    fresh: Option<KeyEpoch>,
    mint: &Mint,
    notes: &mut Notes,
) -> Result<Minted, TooManySiblings> {
    let context = match &mint.seen {
        Seen::Context(context) => context.clone(),
        Seen::Blind => record.eventual.context().clone(),
        Seen::Nothing => Context::empty(),
    };
    let beside = record.eventual.concurrent_with(&context);
    if beside + 1 > mint.siblings_max {
        notes.sometimes(Mark::SiblingLimitReached);
        return Err(TooManySiblings { siblings_max: mint.siblings_max, context: record.eventual.context().clone() });
    }
    if beside > 0 {
        notes.sometimes(Mark::SiblingCreated);
    }
    let own = next_own(record.own, fresh);
    let dot = Dot { actor: Actor::Node { node, epoch: own.epoch }, n: own.n };
    let version = Version { body: mint.body.clone(), hlc: mint.hlc, op: mint.op };
    let delta = Siblings::delta(context, dot, version);
    record.own = Some(own);
    record.eventual.merge(&delta);
    Ok(Minted { dot, delta, live: record.eventual.live_count() })
}

fn next_own(own: Option<OwnDots>, fresh: Option<KeyEpoch>) -> OwnDots {
    match (fresh, own) {
        (Some(epoch), _) => OwnDots { epoch, n: 1 },
        (None, Some(own)) => OwnDots { n: own.n + 1, ..own },
        (None, None) => panic!("a record without own dots is given a fresh key epoch"),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quorate_ring::NodeId;

    use super::*;

    const HOME: PartitionRecord = PartitionRecord { epoch: RingEpoch(3), role: Role::Home };

    fn put(seen: Seen, value: &'static str) -> Mint {
        let body = Body::Value(Bytes::from_static(value.as_bytes()));
        Mint { seen, body, op: None, hlc: Hlc(1), siblings_max: 3 }
    }

    fn minted(record: &mut KeyRecord, fresh: Option<u64>, write: &Mint) -> Minted {
        mint(record, NodeId(1), fresh.map(KeyEpoch), write, &mut Notes::default()).expect("below the limit")
    }

    #[test]
    fn a_blind_put_replaces_what_its_coordinator_has_seen() {
        let mut record = KeyRecord::default();
        minted(&mut record, Some(1), &put(Seen::Blind, "a"));
        let second = minted(&mut record, None, &put(Seen::Blind, "b"));
        assert_eq!((second.dot.n, second.live), (2, 1));
    }

    #[test]
    fn a_concurrent_put_replaces_nothing_and_stops_at_the_limit() {
        let mut record = KeyRecord::default();
        minted(&mut record, Some(1), &put(Seen::Nothing, "a"));
        minted(&mut record, None, &put(Seen::Nothing, "b"));
        assert_eq!(minted(&mut record, None, &put(Seen::Nothing, "c")).live, 3);
        let before = record.clone();
        let refused =
            mint(&mut record, NodeId(1), None, &put(Seen::Nothing, "d"), &mut Notes::default()).expect_err("the fourth is refused");
        assert_eq!(record, before);
        assert_eq!(minted(&mut record, None, &put(Seen::Context(refused.context), "merged")).live, 1);
    }

    /// A node that dropped its record and coordinates again must not repeat a dot: others would discard the new write as seen.
    #[test]
    fn a_forgotten_record_gives_dots_of_a_fresh_epoch() {
        let mut record = KeyRecord::default();
        let first = minted(&mut record, Some(1), &put(Seen::Blind, "a"));
        let mut forgotten = KeyRecord::default();
        assert!(needs_fresh_epoch(&forgotten, KeyEpoch(1)));
        let second = minted(&mut forgotten, Some(2), &put(Seen::Blind, "b"));
        assert_ne!(first.dot, second.dot);
        assert_eq!(first.delta.merged(&second.delta).live_count(), 2, "both writes survive");
    }

    /// The floor rises when a process did not stop cleanly: its last dots may have left it without becoming durable.
    #[test]
    fn an_epoch_below_the_floor_is_not_continued() {
        let mut record = KeyRecord::default();
        minted(&mut record, Some(4), &put(Seen::Blind, "a"));
        assert!(!needs_fresh_epoch(&record, KeyEpoch(4)));
        assert!(needs_fresh_epoch(&record, KeyEpoch(5)));
        let next = minted(&mut record, Some(9), &put(Seen::Blind, "b"));
        assert_eq!(next.dot.actor, Actor::Node { node: NodeId(1), epoch: KeyEpoch(9) });
    }

    #[test]
    fn another_epoch_and_a_stranger_refuse_without_effect() {
        let mut record = KeyRecord::default();
        let delta = minted(&mut KeyRecord::default(), Some(1), &put(Seen::Blind, "a")).delta;
        let request = ReplicaRequest::Replicate { strict: Some(RingEpoch(2)), delta: delta.clone() };
        let reply = apply(&mut record, &HOME, &request, &mut Notes::default());
        assert_eq!(reply, ReplicaReply::Refused(Refusal::OtherEpoch { here: RingEpoch(3) }));
        let stranger = PartitionRecord { role: Role::Stranger, ..HOME };
        let request = ReplicaRequest::Replicate { strict: None, delta };
        assert_eq!(apply(&mut record, &stranger, &request, &mut Notes::default()), ReplicaReply::Refused(Refusal::Stranger));
        assert_eq!(record, KeyRecord::default());
    }

    #[test]
    fn replicate_is_idempotent() {
        let mut record = KeyRecord::default();
        let delta = minted(&mut KeyRecord::default(), Some(1), &put(Seen::Blind, "a")).delta;
        let request = ReplicaRequest::Replicate { strict: None, delta };
        assert_eq!(apply(&mut record, &HOME, &request, &mut Notes::default()), ReplicaReply::Stored);
        let once = record.clone();
        assert_eq!(apply(&mut record, &HOME, &request, &mut Notes::default()), ReplicaReply::Stored);
        assert_eq!(record, once);
    }
}
