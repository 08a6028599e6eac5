//! What nodes ask of each other.

use bytes::Bytes;
use quorate_protocol::BucketId;
use quorate_protocol::replica::{Refusal, ReplicaReply, ReplicaRequest};
use quorate_ring::{PartitionId, RingEpoch};
use serde::{Deserialize, Serialize};

use crate::kv::{WriteReply, WriteRequest};
use quorate_protocol::outcome::Failure;

/// One replica request on the wire. Several travel in one message; each has its own deadline.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReplicaCall {
    /// The bucket.
    pub bucket: BucketId,
    /// The key; it decides the partition.
    pub key: Bytes,
    /// Microseconds that were left of the operation's deadline when this was sent.
    pub micros_left: u64,
    /// What is asked.
    pub request: ReplicaRequest,
}

impl ReplicaCall {
    /// Roughly how many bytes it takes on the wire.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let delta = match &self.request {
            ReplicaRequest::Read { .. } => 0,
            ReplicaRequest::Replicate { delta, .. } => delta.bytes(),
        };
        64 + self.key.len() + delta
    }
}

/// A page of a partition's keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeysRequest {
    /// The partition.
    pub partition: PartitionId,
    /// The bucket.
    pub bucket: BucketId,
    /// Only keys above this one, in byte order.
    pub after: Option<Bytes>,
    /// Most keys to return.
    pub count_max: u32,
}

/// Keys in byte order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeysPage {
    /// The keys that have a record, deleted ones included.
    pub keys: Vec<Bytes>,
    /// True when there may be more above the last one.
    pub more: bool,
}

/// A node's answer to a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pong {
    /// The ring epoch the node acts under.
    pub epoch: RingEpoch,
    /// Its hybrid clock.
    pub hlc: quorate_protocol::hlc::Hlc,
}

/// Calls between nodes.
#[tarpc::service]
pub trait Peer {
    /// Applies requests to this node's records; answers in the same order.
    async fn replica(calls: Vec<ReplicaCall>) -> Vec<ReplicaReply>;
    /// Coordinates a client's write that reached a node which is no home replica.
    async fn forward(request: WriteRequest) -> Result<WriteReply, Failure>;
    /// Lists keys this node has records of.
    async fn keys(request: KeysRequest) -> Result<KeysPage, Refusal>;
    /// Shows that the node answers.
    async fn ping() -> Pong;
}
