//! What clients ask of a node.

use bytes::Bytes;
use quorate_protocol::chain::state::Inapplicable;
use quorate_protocol::chain::{Change, Token};
use quorate_protocol::hlc::Hlc;
use quorate_protocol::outcome::{Failure, Receipt};
use quorate_protocol::record::WriteMode;
use quorate_protocol::replica::Refusal;
use quorate_protocol::{Attempt, Body, BucketId, Dot, Level, OpId, SealedContext};
use quorate_ring::{NodeId, PartitionId, RingSpec};
use serde::{Deserialize, Serialize};

use crate::hello::HelloRefusal;
use crate::peer::KeysPage;

/// A client's requests under way on one connection, counted until their answers are written. The client lets further ones wait, the node
/// refuses them: more would only wait for each other.
pub const IN_FLIGHT_MAX: usize = 1_024;

/// A read of one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReadRequest {
    /// The bucket.
    pub bucket: BucketId,
    /// The key.
    pub key: Bytes,
    /// The level; the bucket's own if absent.
    pub level: Option<Level>,
    /// What the session has seen of this key; the answer covers it.
    pub seen: Option<SealedContext>,
    /// Microseconds until the client stops waiting.
    pub micros_left: u64,
}

/// One of a key's current values.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sibling {
    /// The value.
    pub value: Bytes,
    /// The write that put it.
    pub dot: Dot,
    /// When, by its coordinator's hybrid clock.
    pub hlc: Hlc,
    /// The operation that put it.
    pub op: Option<OpId>,
}

/// A read's answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReadReply {
    /// The current values, oldest first; none if the key is absent or deleted, several if writes were concurrent.
    pub siblings: Vec<Sibling>,
    /// What this answer has seen, for the writes that replace it and for the session.
    pub context: SealedContext,
    /// At `linearizable`, the version of what was read: what a compare-and-set may expect, and a fencing token.
    pub token: Option<Token>,
    /// What was reached.
    pub receipt: Receipt,
}

/// What a write has seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WriteContext {
    /// The context of an earlier answer about this key.
    Seen(SealedContext),
    /// Replace whatever the coordinating replica has seen.
    Blind,
    /// Replace nothing: keep every other version as a sibling.
    Concurrent,
}

/// A put or delete of one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WriteRequest {
    /// The bucket.
    pub bucket: BucketId,
    /// The key.
    pub key: Bytes,
    /// The value, or that there shall be none.
    pub body: Body,
    /// What it replaces.
    pub context: WriteContext,
    /// The level; the bucket's own if absent.
    pub level: Option<Level>,
    /// The operation, the same in every attempt.
    pub op: OpId,
    /// Whether an earlier sending may have been applied.
    pub attempt: Attempt,
    /// What the session has seen of this key, to be returned with this write added.
    pub session: Option<SealedContext>,
    /// Microseconds until the client stops waiting.
    pub micros_left: u64,
    /// Of a first attempt to write blindly: the last tick of the receiving node's clock at which it may look at what the write replaces.
    /// Later it must refuse, because its client may have sent the write again and others may have replaced it since. Without it, whoever
    /// sends must not send again. Senders translate it by a [`FarClock`](crate::clock::FarClock).
    pub begin_by: Option<u64>,
}

/// A write's answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WriteReply {
    /// The version that it became: its dot. Absent at `linearizable`, which has a token instead.
    pub dot: Option<Dot>,
    /// What the write had seen, and itself.
    pub context: SealedContext,
    /// What the session has seen now, if the request named it.
    pub session: Option<SealedContext>,
    /// At `linearizable`, the key's version right after the write.
    pub token: Option<Token>,
    /// What was reached.
    pub receipt: Receipt,
}

/// A linearizable compare-and-set or read-modify-write of one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChangeRequest {
    /// The bucket.
    pub bucket: BucketId,
    /// The key.
    pub key: Bytes,
    /// What is to happen. [`Change::Identity`] and [`Change::Fence`] are not for clients and are refused.
    pub change: Change,
    /// The operation, the same in every attempt.
    pub op: OpId,
    /// Whether an earlier sending may have been applied.
    pub attempt: Attempt,
    /// What the session has seen of this key, to be returned with this change added.
    pub session: Option<SealedContext>,
    /// Microseconds until the client stops waiting.
    pub micros_left: u64,
}

/// A change's answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChangeReply {
    /// What became of it.
    pub changed: Changed,
    /// The key's version right after it; of a conflict, the version that was compared with.
    pub token: Token,
    /// What the change had seen, and itself. It covers nothing if the change was found to have been applied earlier.
    pub context: SealedContext,
    /// What the session has seen now, if the request named it.
    pub session: Option<SealedContext>,
    /// What was reached.
    pub receipt: Receipt,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Changed {
    /// It was applied, once.
    Applied {
        /// What its function returned.
        result: Option<Bytes>,
    },
    /// Its expectation did not hold, and nothing was changed.
    Conflict {
        /// The values at the version it was compared with; absent if the answer was recorded for an earlier attempt.
        current: Option<Vec<Bytes>>,
        /// True if every attempt is answered so. Otherwise it is final only if it answers the operation's newest sending.
        recorded: bool,
    },
}

/// A question about an operation whose outcome its client does not know.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OutcomeRequest {
    /// The bucket.
    pub bucket: BucketId,
    /// The key.
    pub key: Bytes,
    /// The operation.
    pub op: OpId,
    /// If it was not applied so far, see to it that it never is.
    pub settle: bool,
    /// Microseconds until the client stops waiting.
    pub micros_left: u64,
}

/// What became of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OutcomeReply {
    /// It was applied.
    Applied {
        /// The key's version right after it, if it was linearizable.
        token: Option<Token>,
        /// What its function returned.
        result: Option<Bytes>,
    },
    /// It had no effect and never will.
    NotApplied(NotAppliedWhy),
    /// Nobody can say yet, or any more.
    Unknown(UnknownWhy),
}

/// Why an operation had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum NotAppliedWhy {
    /// It was settled as never to be applied.
    #[error("it was settled as never to be applied")]
    Settled,
    /// Its expectation did not hold.
    #[error("its expectation did not hold")]
    Conflict,
    /// Its function did not apply to what was there.
    #[error("{0}")]
    Inapplicable(Inapplicable),
}

/// Why an operation's outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum UnknownWhy {
    /// The key does not contain it. A sending of it may still be under way.
    #[error("the key does not contain it, and a sending of it may still be under way; settle it, or retry it under the same name")]
    NotContained,
    /// A later operation of its lane has been applied: it happened before that, or never will.
    #[error("a later operation of the same client has been applied: it happened before that one, or never will")]
    Superseded,
    /// It is older than what the key remembers.
    #[error("it is older than what the key remembers of its clients")]
    Forgotten,
}

/// A page of one partition's keys, as far as the level's replicas know them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ListRequest {
    /// The bucket.
    pub bucket: BucketId,
    /// The partition.
    pub partition: PartitionId,
    /// Only keys above this one, in byte order.
    pub after: Option<Bytes>,
    /// Most keys to return.
    pub count_max: u32,
    /// How many home replicas' lists are united; the bucket's own level if absent.
    pub level: Option<Level>,
    /// Microseconds until the client stops waiting.
    pub micros_left: u64,
}

/// A bucket as nodes have it configured.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BucketInfo {
    /// Its number.
    pub id: BucketId,
    /// Its name.
    pub name: String,
    /// Home replicas per key.
    pub replicas: u8,
    /// The level of operations that name none.
    pub level: Level,
    /// Most live versions of a key.
    pub siblings_max: u32,
    /// Whether writes may have seen nothing.
    pub blind_writes: bool,
    /// Which writes it takes.
    pub write_mode: WriteMode,
}

/// Where things are: all that a client needs to route.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Topology {
    /// The cluster's name.
    pub cluster: String,
    /// Members, partitions, epoch; placement follows from it.
    pub ring: RingSpec,
    /// Where each member listens.
    pub addresses: Vec<(NodeId, String)>,
    /// The buckets.
    pub buckets: Vec<BucketInfo>,
}

/// Why another node counts as down.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum PeerTrouble {
    /// No connection has been tried yet.
    #[error("not connected yet")]
    NotYetConnected,
    /// Nothing accepts connections at its address.
    #[error("unreachable")]
    Unreachable,
    /// It refused this node's connection.
    #[error("refused: {0}")]
    Refused(HelloRefusal),
    /// It is connected and answers no heartbeat.
    #[error("connected but silent")]
    Silent,
    /// Its connection broke and is being made again.
    #[error("connection broke")]
    Broken,
    /// It is no member any more; what is kept for it waits until it is one again, or expires.
    #[error("no member of this cluster")]
    NoMember,
}

/// How a node sees another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PeerStatus {
    /// The other node.
    pub node: NodeId,
    /// Where it listens.
    pub address: String,
    /// Whether it answers.
    pub up: bool,
    /// Why it does not, if it does not.
    pub trouble: Option<PeerTrouble>,
    /// Round-trip time of the last heartbeat, in microseconds.
    pub rtt_micros: Option<u64>,
    /// Hints kept for it here.
    pub hints: u64,
    /// Their bytes.
    pub hint_bytes: u64,
}

/// A node's view of itself and the others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Status {
    /// The node.
    pub node: NodeId,
    /// Its software version.
    pub version: String,
    /// How often it has been started.
    pub boot: u32,
    /// Seconds since it was started.
    pub uptime_seconds: u64,
    /// Whether it takes writes: false once its disk was full.
    pub writable: bool,
    /// Whether it was started with `--enable-faults`.
    pub faults_enabled: bool,
    /// Partitions it is a home replica of, over all replica counts.
    pub partitions: u64,
    /// Records it holds, estimated.
    pub records: u64,
    /// Bytes it occupies on disk.
    pub disk_bytes: u64,
    /// Client requests it is working on.
    pub requests_in_flight: u64,
    /// The other members, and nodes that are none but for which hints are kept.
    pub peers: Vec<PeerStatus>,
    /// Why it serves no client and is no replica at present, if so.
    pub refusal: Option<Refusal>,
    /// The name of the planted bug that it was started with: it breaks its promises.
    pub bug: Option<String>,
}

/// Calls of clients.
#[tarpc::service]
pub trait KeyValue {
    /// Reads one key.
    async fn read(request: ReadRequest) -> Result<ReadReply, Failure>;
    /// Puts or deletes one key.
    async fn write(request: WriteRequest) -> Result<WriteReply, Failure>;
    /// Changes one key by consensus.
    async fn change(request: ChangeRequest) -> Result<ChangeReply, Failure>;
    /// Says what became of an operation.
    async fn outcome(request: OutcomeRequest) -> Result<OutcomeReply, Failure>;
    /// Lists keys.
    async fn list(request: ListRequest) -> Result<KeysPage, Failure>;
    /// Where things are.
    async fn topology() -> Topology;
    /// How the node is.
    async fn status() -> Status;
    /// The node's metrics, in Prometheus' text format.
    async fn metrics() -> String;
    /// What the node's monotonic clock shows, in microseconds.
    async fn tick() -> u64;
}
