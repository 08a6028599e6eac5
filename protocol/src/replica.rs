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
//! - *Upon `Replicate` in a bucket of linearizable writes only*: refuse versions that no chain made; repair of chain versions passes.
//! - *Upon a message about the chain*: see [`crate::chain`].
//! - *Upon a mint* (the coordinator's own record): give the write a dot that was never given out before, and merge its delta.
//!   Refuse before that if the key would have more live versions than its bucket allows, or the write a context that is too long.
//!
//! **Dots are never given out twice.** `n` counts on in the record's own run of dots. A fresh run begins whenever the record
//! knows of none, or its run is older than `epoch_floor`, the first run of a process whose predecessor did not stop cleanly:
//! that process may have sent a dot it failed to make durable. `n` is never derived from the context (riak_kv#679).
//!
//! Sources: Dynamo (SOSP'07) §4.4; basho/riak_kv issue 679 and pull requests 1094, 1643.

use std::fmt;

use quorate_ring::{NodeId, RingEpoch};
use serde::{Deserialize, Serialize};

use crate::chain;
use crate::chain::acceptor::BallotUsedTwice;
use crate::chain::message::{ChainReply, ChainRequest};
use crate::context::{Actor, Context, Dot};
use crate::defect::{Defect, misdeeds};
use crate::hlc::Hlc;
use crate::ids::{KeyEpoch, OpId};
use crate::limits::CONTEXT_LEN_MAX;
use crate::machine::MintRefusal;
use crate::notes::{Mark, Notes};
use crate::options::Options;
use crate::record::{KeyRecord, OwnDots, PartitionRecord, Role, WriteMode};
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
    /// Take part in the key's linearizable chain.
    Chain {
        /// Act only at this ring epoch. A `Learn` speaks of what is chosen already, and is taken at any.
        epoch: RingEpoch,
        /// What to do.
        request: ChainRequest,
    },
}

impl ReplicaRequest {
    /// True for requests that change a record.
    #[must_use]
    pub fn is_mutation(&self) -> bool {
        match self {
            Self::Read { .. } => false,
            Self::Replicate { .. } => true,
            Self::Chain { request, .. } => request.is_mutation(),
        }
    }

    /// True for requests whose answers usually wait for the disk.
    #[must_use]
    pub fn waits_for_disk(&self) -> bool {
        match self {
            Self::Read { .. } => false,
            Self::Replicate { .. } => true,
            Self::Chain { request, .. } => matches!(request, ChainRequest::Accept { .. }),
        }
    }

    /// Roughly how many bytes it takes on the wire.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Read { .. } => 0,
            Self::Replicate { delta, .. } => delta.bytes(),
            Self::Chain { request, .. } => request.bytes(),
        }
    }

    fn strict(&self) -> Option<RingEpoch> {
        match self {
            Self::Read { strict } | Self::Replicate { strict, .. } => *strict,
            Self::Chain { request: ChainRequest::Learn { .. }, .. } => None,
            Self::Chain { epoch, .. } => Some(*epoch),
        }
    }
}

impl fmt::Display for ReplicaRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { .. } => f.write_str("Read"),
            Self::Replicate { delta, .. } => write!(f, "Replicate {}", delta.context()),
            Self::Chain { request, .. } => write!(f, "{request}"),
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
    /// To `Chain`.
    Chain(Box<ChainReply>),
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
    /// The deadline, or the time by which a blind write must have begun, had passed when the replica came to the request.
    #[error("reached the request too late")]
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
    /// The replica's data directory is new. It may be a node that lost its disk, until enough of its peers know it by this directory.
    #[error("is new and not yet vouched for by its peers")]
    NotVouched,
    /// The key's bucket takes linearizable writes only.
    #[error("keeps the key in a bucket of linearizable writes only")]
    LinOnly,
    /// Two states came with one ballot. Some proposer broke the rules: an alarm, and the bug report of its node's version.
    #[error("was sent two states at one ballot: a proposer is broken")]
    BallotUsedTwice,
}

impl ReplicaReply {
    /// Roughly how many bytes it takes on the wire.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::State { siblings } => siblings.bytes(),
            Self::Chain(reply) => reply.bytes(),
            Self::Stored | Self::Refused(_) => 0,
        }
    }
}

/// Applies one request to one key's record. The record is changed only if the reply is `Stored`, `Promised`, `Accepted` or `Learned`.
pub fn apply(
    record: &mut KeyRecord,
    partition: &PartitionRecord,
    request: &ReplicaRequest,
    options: Options,
    notes: &mut Notes,
) -> ReplicaReply {
    if let Err(refusal) = guard(partition, request, notes) {
        return ReplicaReply::Refused(refusal);
    }
    match request {
        ReplicaRequest::Read { .. } => ReplicaReply::State { siblings: record.eventual.clone() },
        ReplicaRequest::Replicate { delta, .. } => {
            if !delta.is_well_formed() {
                return ReplicaReply::Refused(Refusal::Malformed);
            }
            if partition.write_mode == WriteMode::LinOnly && !delta.is_of_chain() {
                return ReplicaReply::Refused(Refusal::LinOnly);
            }
            if !store(record, delta, options) {
                notes.sometimes(Mark::RedundantReplicate);
            }
            ReplicaReply::Stored
        }
        ReplicaRequest::Chain { request, .. } => match chain::replica::apply(record, partition.promise_floor, request, options, notes) {
            Ok(reply) => ReplicaReply::Chain(Box::new(reply)),
            Err(BallotUsedTwice { .. }) => ReplicaReply::Refused(Refusal::BallotUsedTwice),
        },
    }
}

/// Merges a delta in; returns true when that changed anything.
fn store(record: &mut KeyRecord, delta: &Siblings, options: Options) -> bool {
    if options.has(Defect::RepairOverwrites) {
        record.eventual = Siblings::empty();
    }
    let changed = if options.has(Defect::MergeDropsActor) {
        let partial = misdeeds::forget_an_actor(delta, record.eventual.context());
        record.eventual.merge(&partial)
    } else {
        record.eventual.merge(delta)
    };
    if options.has(Defect::TombstoneDroppedEarly) {
        misdeeds::drop_lone_tombstone(&mut record.eventual);
    }
    changed
}

fn guard(partition: &PartitionRecord, request: &ReplicaRequest, notes: &mut Notes) -> Result<(), Refusal> {
    if request.strict().is_some_and(|epoch| epoch != partition.epoch) {
        notes.sometimes(Mark::EpochRefused);
        return Err(Refusal::OtherEpoch { here: partition.epoch });
    }
    match partition.role {
        Role::Home => Ok(()),
        Role::Stranger => Err(Refusal::Stranger),
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
    /// What its client may be told that it covers: what it had seen, and itself.
    pub context: Context,
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
pub fn needs_fresh_epoch(record: &KeyRecord, epoch_floor: KeyEpoch, options: Options) -> bool {
    match record.own {
        _ if options.has(Defect::DotFromContext) => false,
        None => true,
        Some(own) => own.epoch < epoch_floor && !options.has(Defect::DotReusedAfterCrash),
    }
}

/// Gives a write its dot and merges it into the coordinator's record.
///
/// `fresh` must be a key epoch that this node has never used for anything, and is consumed when [`needs_fresh_epoch`] holds.
///
/// # Errors
/// [`MintRefusal::TooManySiblings`] and [`MintRefusal::ContextTooLong`], with the record unchanged and no dot given out.
///
/// # Panics
/// If a fresh epoch is needed and none is given.
pub fn mint(
    record: &mut KeyRecord,
    node: NodeId,
    fresh: Option<KeyEpoch>,
    mint: &Mint,
    options: Options,
    notes: &mut Notes,
) -> Result<Minted, MintRefusal> {
    let own = if options.has(Defect::DotFromContext) { misdeeds::own_from_context(record, node) } else { next_own(record.own, fresh) };
    let dot = Dot { actor: Actor::Node { node, epoch: own.epoch }, n: own.n };
    let seen = match &mint.seen {
        Seen::Context(context) => context.clone(),
        Seen::Blind if options.has(Defect::BlindPutCoversUnseen) => misdeeds::cover_unseen(record.eventual.context(), dot.actor),
        Seen::Blind => record.eventual.context().clone(),
        Seen::Nothing => Context::empty(),
    };
    debug_assert!(options.defect.is_some() || !seen.covers(dot), "a new dot is in no context yet");
    let beside = record.eventual.concurrent_with(&seen);
    if beside + 1 > mint.siblings_max {
        notes.sometimes(Mark::SiblingLimitReached);
        let context = record.eventual.context().clone();
        return Err(MintRefusal::TooManySiblings(TooManySiblings { siblings_max: mint.siblings_max, context }));
    }
    let version = Version { body: mint.body.clone(), hlc: mint.hlc, op: mint.op };
    let delta = Siblings::delta(seen, dot, version);
    if delta.context().len() > CONTEXT_LEN_MAX {
        return Err(MintRefusal::ContextTooLong);
    }
    if beside > 0 {
        notes.sometimes(Mark::SiblingCreated);
    }
    record.own = Some(own);
    record.eventual.merge(&delta);
    let covered = if options.has(Defect::WriteContextCoversUnseen) { &record.eventual } else { &delta };
    let minted = Minted { dot, context: covered.context().clone(), live: record.eventual.live_count(), delta };
    if options.has(Defect::TombstoneDroppedEarly) {
        misdeeds::drop_lone_tombstone(&mut record.eventual);
    }
    Ok(minted)
}

fn next_own(own: Option<OwnDots>, fresh: Option<KeyEpoch>) -> OwnDots {
    match (fresh, own) {
        (Some(epoch), _) => OwnDots { epoch, n: 1 },
        (None, Some(own)) => OwnDots { n: own.n + 1, ..own },
        (None, None) => panic!("a record without own dots is given a fresh key epoch"),
    }
}

#[cfg(test)]
mod tests;
