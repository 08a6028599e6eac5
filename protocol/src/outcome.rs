//! What may be concluded from an answer: done, not applied, or unknown; and who said what.
//!
//! **Promise.** An operation that fails says which of two things is true: [`Outcome::NotApplied`], nothing happened and
//! nothing will; or [`Outcome::Unknown`], it may have happened or may happen yet. A failure names every home replica with
//! what became of it.
//!
//! Sources: DDIA chapter 8, "the outcome is unknown"; Jepsen's Aerospike 3.99 analysis, where writes reported as failed had
//! succeeded.

use std::fmt;

use quorate_ring::{NodeId, RingEpoch};
use serde::{Deserialize, Serialize};

use crate::chain::state::Inapplicable;
use crate::level::{InvalidLevel, Level};
use crate::replica::Refusal;
use crate::sealed::SealedContext;

/// What is known of a failed operation's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// It had no effect and will have none.
    NotApplied,
    /// It may have had an effect, or may have one yet.
    Unknown,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotApplied => "not applied",
            Self::Unknown => "outcome unknown",
        })
    }
}

/// What became of one home replica's part in an operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReplicaStatus {
    /// It was not needed and not asked.
    NotAsked,
    /// It was asked and had not answered when the operation was.
    Waiting,
    /// It answered a read, or holds the write durably.
    Answered,
    /// It was known to be unreachable, or its connection broke.
    Down,
    /// It did not answer within the deadline.
    TimedOut,
    /// It answered that it did nothing.
    Refused(Refusal),
}

/// One home replica's part in an operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReplicaReport {
    /// The home replica.
    pub node: NodeId,
    /// What became of it.
    pub status: ReplicaStatus,
    /// Microseconds from the start of the operation to this replica's answer or failure.
    pub micros: u64,
    /// It answered a read with less than others did.
    pub stale: bool,
    /// It was sent what it lacked.
    pub repaired: bool,
    /// A hint was kept for it.
    pub hinted: bool,
}

impl ReplicaReport {
    /// A replica that has not been asked.
    #[must_use]
    pub fn not_asked(node: NodeId) -> Self {
        Self { node, status: ReplicaStatus::NotAsked, micros: 0, stale: false, repaired: false, hinted: false }
    }
}

impl fmt::Display for ReplicaReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = self.node;
        match &self.status {
            ReplicaStatus::NotAsked => write!(f, "{node} was not asked")?,
            ReplicaStatus::Waiting => write!(f, "{node} had not answered yet")?,
            ReplicaStatus::Answered => write!(f, "{node} answered after {}", Micros(self.micros))?,
            ReplicaStatus::Down => write!(f, "{node} is down")?,
            ReplicaStatus::TimedOut => write!(f, "{node} timed out after {}", Micros(self.micros))?,
            ReplicaStatus::Refused(refusal) => write!(f, "{node} {refusal}")?,
        }
        for (said, word) in [(self.stale, "stale"), (self.repaired, "repaired"), (self.hinted, "hint kept")] {
            if said {
                write!(f, " ({word})")?;
            }
        }
        Ok(())
    }
}

/// Microseconds, shown in the unit that reads best.
#[derive(Clone, Copy, Debug)]
pub struct Micros(pub u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            us @ 0..1_000 => write!(f, "{us}us"),
            us @ 1_000..10_000 => write!(f, "{}.{}ms", us / 1_000, us % 1_000 / 100),
            us @ 10_000..10_000_000 => write!(f, "{}ms", us / 1_000),
            us => write!(f, "{}s", us / 1_000_000),
        }
    }
}

/// What an operation reached: the instrument by which a level shows what it gave.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Receipt {
    /// The level that was asked for and met.
    pub level: Level,
    /// The node that coordinated.
    pub coordinator: NodeId,
    /// The ring epoch it acted under.
    pub epoch: RingEpoch,
    /// Replicas the level needs.
    pub needed: u8,
    /// Every home replica, in ring order.
    pub replicas: Vec<ReplicaReport>,
    /// Different states seen among the replies of a read; 1 when all agreed.
    pub versions: u8,
    /// Microseconds from start to answer, at the coordinator.
    pub micros: u64,
    /// A write at `any` that only a hint holds so far.
    pub hint_only: bool,
    /// Consensus rounds that were tried, the last of which succeeded; 0 if none was needed.
    pub rounds: u16,
}

impl Receipt {
    /// Number of replicas that had answered.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.replicas.iter().filter(|report| report.status == ReplicaStatus::Answered).count()
    }
}

/// Why a coordinator did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Reason {
    /// Too few home replicas could be reached for the level.
    #[error("{answered} of {needed} needed replicas answered")]
    Unavailable {
        /// Replicas the level needs.
        needed: u8,
        /// Replicas that answered.
        answered: u8,
    },
    /// Fewer home replicas were reachable than the level needs; nothing was sent.
    #[error("{alive} of {needed} needed replicas are reachable")]
    Unreachable {
        /// Replicas the level needs.
        needed: u8,
        /// Replicas that were reachable.
        alive: u8,
    },
    /// The deadline passed first.
    #[error("{answered} of {needed} needed replicas answered before the deadline")]
    TimedOut {
        /// Replicas the level needs.
        needed: u8,
        /// Replicas that answered.
        answered: u8,
    },
    /// No replica that could be reached has seen all that the session has.
    #[error("no reachable replica has caught up with what this session has seen")]
    Behind,
    /// A queue is full; try again a little later.
    #[error("the node is overloaded")]
    Overloaded,
    /// The node is stopping.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// The coordinator's disk is full or its store failed; nothing was sent.
    #[error("the coordinating replica {refusal}")]
    Refused {
        /// Why it refused.
        refusal: Refusal,
    },
    /// The key would have more live versions than its bucket allows.
    #[error(
        "the key has {siblings_max} siblings already, the limit of its bucket; read it, merge them and write with the context of that read"
    )]
    TooManySiblings {
        /// The bucket's limit.
        siblings_max: u32,
        /// A context that covers all of them.
        context: SealedContext,
    },
    /// The level does not exist for this operation or bucket.
    #[error(transparent)]
    InvalidLevel(InvalidLevel),
    /// The key is empty.
    #[error("the key is empty; a key has 1 to {bytes_max} bytes")]
    InvalidKey {
        /// The longest key, in bytes.
        bytes_max: u32,
    },
    /// The key or the value is too long.
    #[error("the {what} has {bytes} bytes; at most {bytes_max} are allowed")]
    TooLarge {
        /// What is too long.
        what: Sized,
        /// Its length in bytes.
        bytes: u64,
        /// The longest allowed, in bytes.
        bytes_max: u64,
    },
    /// The context is damaged, or of another key, bucket or cluster.
    #[error("the context is not one that this cluster gave out for this key; use the context of a read of the same key")]
    InvalidContext,
    /// The bucket is not declared.
    #[error("no bucket is called {bucket:?}; buckets are declared in the configuration of the nodes")]
    UnknownBucket {
        /// The name asked for.
        bucket: String,
    },
    /// The bucket refuses writes that have seen nothing.
    #[error("bucket {bucket:?} refuses blind writes; read first and give the context of that read")]
    BlindWriteRefused {
        /// The bucket.
        bucket: String,
    },
    /// A later operation of the same client and lane has been applied to the key: this sending did nothing.
    #[error("a later operation of this client has been applied to the key; this sending did nothing")]
    Superseded,
    /// The operation is older than what the key remembers of its clients: this sending did nothing.
    #[error("the operation is older than what the key remembers; this sending did nothing")]
    OpIdTooOld,
    /// The operation's name says that it was issued in the future.
    #[error("the operation was issued more than {} s ahead of this node's clock; check the client's clock", crate::chain::operation::ISSUED_AHEAD_MS_MAX / 1000)]
    OpIdTooNew,
    /// Somebody settled the operation as never to be applied.
    #[error("the operation was settled as never to be applied")]
    Fenced,
    /// The function does not apply to what the key holds.
    #[error("{why}")]
    Inapplicable {
        /// Why.
        why: Inapplicable,
    },
    /// The bucket takes linearizable writes only.
    #[error("bucket {bucket:?} takes linearizable writes only (write_mode = \"lin_only\")")]
    LinOnlyBucket {
        /// The bucket.
        bucket: String,
    },
    /// A linearizable write replaces everything that was ordered before it, and cannot be told to replace something else.
    #[error("a linearizable write takes no context: it replaces all that comes before it; use compare-and-set with the token of a read")]
    ContextAtLinearizable,
    /// The write's context has too many entries: its client wrote many times beside versions that it never read.
    #[error("the context has more than {len_max} entries; read the key again and write with that context")]
    ContextTooLong {
        /// The most entries allowed.
        len_max: u32,
    },
}

/// What can be too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Sized {
    /// The key.
    Key,
    /// The value.
    Value,
}

impl fmt::Display for Sized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "key",
            Self::Value => "value",
        })
    }
}

impl Reason {
    /// True when the same request may succeed at another coordinator or a little later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Behind
            | Self::Overloaded
            | Self::ShuttingDown
            | Self::Refused { .. } => true,
            Self::TooManySiblings { .. }
            | Self::InvalidLevel(_)
            | Self::InvalidKey { .. }
            | Self::TooLarge { .. }
            | Self::InvalidContext
            | Self::UnknownBucket { .. }
            | Self::BlindWriteRefused { .. }
            | Self::Superseded
            | Self::OpIdTooOld
            | Self::OpIdTooNew
            | Self::Fenced
            | Self::Inapplicable { .. }
            | Self::LinOnlyBucket { .. }
            | Self::ContextAtLinearizable
            | Self::ContextTooLong { .. } => false,
        }
    }
}

/// A coordinator's failed answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Failure {
    /// Why.
    pub reason: Reason,
    /// What is known of the operation's effect. A read has none: always `NotApplied`.
    pub outcome: Outcome,
    /// Every home replica, in ring order; empty when the request was refused before replicas were chosen.
    pub replicas: Vec<ReplicaReport>,
}

impl Failure {
    /// A refusal before any replica was asked.
    #[must_use]
    pub fn refused(reason: Reason) -> Self {
        Self { reason, outcome: Outcome::NotApplied, replicas: Vec::new() }
    }

    /// Home replicas that answered or stored.
    pub fn answered(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.replicas.iter().filter(|report| report.status == ReplicaStatus::Answered).map(|report| report.node)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        let mut separator = "; ";
        for report in self.replicas.iter().filter(|report| !matches!(report.status, ReplicaStatus::Answered | ReplicaStatus::NotAsked)) {
            write!(f, "{separator}{report}")?;
            separator = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_each_replica_that_did_not_answer() {
        let report = |node, status, micros| ReplicaReport { status, micros, ..ReplicaReport::not_asked(NodeId(node)) };
        let failure = Failure {
            reason: Reason::TimedOut { needed: 2, answered: 1 },
            outcome: Outcome::Unknown,
            replicas: vec![
                report(1, ReplicaStatus::Answered, 300),
                report(2, ReplicaStatus::TimedOut, 500_000),
                report(3, ReplicaStatus::Down, 0),
            ],
        };
        let text = "1 of 2 needed replicas answered before the deadline; n2 timed out after 500ms, n3 is down";
        assert_eq!(failure.to_string(), text);
    }
}
