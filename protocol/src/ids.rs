//! Names of things: clients, operations, boots, buckets, and the points of virtual or monotonic time.
//!
//! Every id has a short `Display`, because traces, logs and errors are read by people.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A point of a monotonic clock, in microseconds since an arbitrary start that all inputs of one machine share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tick(pub u64);

impl Tick {
    /// The tick `micros` microseconds later, or the last tick there is.
    #[must_use]
    pub fn after(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// Microseconds from `earlier` to this tick, zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The number of a bucket, part of every storage key. The bucket `default` is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BucketId(pub u32);

impl fmt::Display for BucketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b{:08x}", self.0)
    }
}

/// How often a node has been started: synced, and one higher, before each start serves anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub u32);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "boot {}", self.0)
    }
}

/// A number from a node's durable counter, drawn for one key whenever the node cannot prove which dots it has given out for it.
///
/// A dot's actor is a node *and* such a number, so that a node which forgot its past (dropped the record, lost the end of
/// its log) can never give one dot to two writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyEpoch(pub u64);

/// A client's random name, drawn once per client instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(pub u128);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The name of one mutation, chosen by the client and kept by every retry of it.
///
/// A client has at most one operation in flight per lane, and both `seq` and `issued_ms` grow strictly along a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OpId {
    /// Who issued it.
    pub client: ClientId,
    /// Which of the client's lanes it runs on.
    pub lane: u16,
    /// Its place on the lane.
    pub seq: u64,
    /// Wall clock of the client when it was issued, in milliseconds since 1970.
    pub issued_ms: u64,
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.client, self.lane, self.seq)
    }
}

/// How often the client has sent an operation before, when an earlier sending may have taken effect: 0 for the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempt(pub u32);

impl Attempt {
    /// True when an earlier sending of the same operation may have been applied somewhere.
    #[must_use]
    pub fn is_retry(self) -> bool {
        self.0 > 0
    }

    /// The attempt after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}
