//! All that one replica durably keeps about one key, as one atomic record.
//!
//! **Promise.** A record changes only by the transitions in [`crate::replica`], one at a time per key, and is written as a
//! whole: a crash leaves the record before a transition or after it, never half of it.

use quorate_ring::RingEpoch;
use serde::{Deserialize, Serialize};

use crate::chain::{Ballot, ChainRecord};
use crate::ids::KeyEpoch;
use crate::siblings::Siblings;

/// The last dot this node gave out for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OwnDots {
    /// The run of dots it belongs to.
    pub epoch: KeyEpoch,
    /// The last number given out in that run.
    pub n: u64,
}

/// One key on one replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Where this node's own dots for the key stand; absent when it never gave one out, or forgot.
    pub own: Option<OwnDots>,
    /// The eventual view: what was written and not yet replaced. Holds the versions of chosen chain states, never of undecided ones.
    pub eventual: Siblings,
    /// This replica's part in the key's linearizable chain.
    pub chain: ChainRecord,
}

/// What this node is to a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// On the partition's preference list: its copies count.
    Home,
    /// Not on the list: it may keep hints for those that are, and never counts.
    Stranger,
}

/// The state that all keys of a partition share on one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PartitionRecord {
    /// The ring epoch the replica acts under.
    pub epoch: RingEpoch,
    /// What the replica is to the partition at that epoch.
    pub role: Role,
    /// Which writes the key's bucket takes.
    pub write_mode: WriteMode,
    /// Up to this ballot the replica may have promised, for any key, before it started; it acts as if it had.
    pub promise_floor: Ballot,
}

/// Which writes a bucket takes. Fixed for the life of a bucket: eventual writes that were there before could come back to life under
/// one-round-trip writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteMode {
    /// Eventual and linearizable ones, on the same keys.
    #[default]
    Mixed,
    /// Linearizable ones only; those of a steady writer then take one round trip.
    LinOnly,
}
