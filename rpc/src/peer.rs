//! What nodes ask of each other.

use std::fmt;

use bytes::Bytes;
use quorate_protocol::BucketId;
use quorate_protocol::replica::{Refusal, ReplicaReply, ReplicaRequest};
use quorate_ring::{PartitionId, RingEpoch};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::kv::{WriteReply, WriteRequest};
use quorate_protocol::outcome::Failure;

/// Most requests in one message: as many as `peer.batch_max` and `hints.replay_batch` may be set to. The smallest ones take a few
/// bytes each, so a frame could hold millions, and hold up a thread for as long as they take.
pub const CALLS_MAX: usize = 10_000;

/// Calls under way on one connection between nodes, counted until their answers are written. The caller lets further ones wait, the
/// listener refuses them.
pub const IN_FLIGHT_MAX: usize = 4_096;

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
        64 + self.key.len() + self.request.bytes()
    }
}

/// The requests of one message, at most [`CALLS_MAX`]: a message with more does not decode, and ends its connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Calls(pub Vec<ReplicaCall>);

impl<'de> Deserialize<'de> for Calls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(CallsVisitor).map(Self)
    }
}

struct CallsVisitor;

impl<'de> Visitor<'de> for CallsVisitor {
    type Value = Vec<ReplicaCall>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {CALLS_MAX} requests")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut requests: A) -> Result<Self::Value, A::Error> {
        let announced = requests.size_hint().unwrap_or(0);
        if announced > CALLS_MAX {
            return Err(A::Error::invalid_length(announced, &self));
        }
        let mut calls = Vec::with_capacity(announced);
        while let Some(call) = requests.next_element()? {
            if calls.len() == CALLS_MAX {
                return Err(A::Error::invalid_length(CALLS_MAX + 1, &self));
            }
            calls.push(call);
        }
        Ok(calls)
    }
}

/// What a [`PeerClient`] calls through. A call takes half the memory of the client's, two kilobytes less, which is copied several times.
pub type PeerChannel = tarpc::client::Channel<PeerRequest, PeerResponse>;

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
    /// Its monotonic clock, in microseconds.
    pub tick: u64,
}

/// Calls between nodes.
#[tarpc::service]
pub trait Peer {
    /// Applies requests to this node's records; answers in the same order.
    async fn replica(calls: Calls) -> Vec<ReplicaReply>;
    /// Coordinates a client's write that reached a node which is no home replica.
    async fn forward(request: WriteRequest) -> Result<WriteReply, Failure>;
    /// Lists keys this node has records of.
    async fn keys(request: KeysRequest) -> Result<KeysPage, Refusal>;
    /// Shows that the node answers.
    async fn ping() -> Pong;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::decode;

    fn message(count: usize) -> Vec<u8> {
        let call = ReplicaCall { bucket: BucketId(0), key: Bytes::new(), micros_left: 0, request: ReplicaRequest::Read { strict: None } };
        postcard::to_stdvec(&Calls(vec![call; count])).expect("encodes")
    }

    #[test]
    fn a_message_of_too_many_requests_does_not_decode() {
        assert_eq!(decode::<Calls>(&message(CALLS_MAX)).expect("as many as allowed").0.len(), CALLS_MAX);
        assert!(decode::<Calls>(&message(CALLS_MAX + 1)).is_err());
    }
}
