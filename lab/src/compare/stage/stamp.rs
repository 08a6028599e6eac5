//! How far off a node's clock is, seen from outside: by the stamp of a write through it.
//!
//! A node gives each write that it coordinates a stamp of its hybrid clock, and a read shows it. Nothing else that clients can ask for
//! bears a node's wall clock. The keys written are none of the workload's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use quorate_protocol::{Actor, Attempt, Body, BucketId, ClientId, Level, OpId, SealedContext};
use quorate_ring::NodeId;
use quorate_rpc::kv::{ReadReply, ReadRequest, WriteContext, WriteRequest};
use tokio::time::timeout;

use crate::cluster::link::Direct;

/// Longest that one look at a clock may take.
const LOOK_MAX: Duration = Duration::from_millis(500);
/// Keys to try until one is at home on the node: writes of others are stamped by their home replicas. With three homes among five nodes,
/// fewer than one look in a thousand needs more.
const KEYS_MAX: u32 = 8;

/// A clock's error against the one here, within the time that asking took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offset {
    /// At least so far ahead, in milliseconds; behind if negative.
    pub(super) least_ms: i64,
    /// At most so far ahead.
    pub(super) most_ms: i64,
}

/// Asks by a write. `None` if the node does not answer soon, takes no such write, or is home to none of the keys.
pub(super) async fn offset(cluster: &str, address: &str, node: NodeId) -> Option<Offset> {
    timeout(LOOK_MAX, measured(cluster, address, node)).await.ok().flatten()
}

async fn measured(cluster: &str, address: &str, node: NodeId) -> Option<Offset> {
    let direct = Direct::connect(address, cluster).await.ok()?;
    let client = ClientId(rand::random());
    for number in 0..KEYS_MAX {
        let key = Bytes::from(format!("compare:probe:{number}"));
        let op = OpId { client, lane: 0, seq: u64::from(number) + 1, issued_ms: wall_ms() };
        let seen = read(&direct, &key, None).await?.context;
        let sent_ms = wall_ms();
        let session = write(&direct, &key, op, seen).await?;
        let answered_ms = wall_ms();
        let written = read(&direct, &key, Some(session)).await?.siblings.into_iter().find(|sibling| sibling.op == Some(op));
        if let Some(written) = written.filter(|written| matches!(written.dot.actor, Actor::Node { node: by, .. } if by == node)) {
            let ahead_of = |ms: u64| i64::try_from(i128::from(written.hlc.ms()) - i128::from(ms)).unwrap_or(i64::MAX);
            return Some(Offset { least_ms: ahead_of(answered_ms), most_ms: ahead_of(sent_ms) });
        }
    }
    None
}

/// Reads at `one`, which works on any side of a partition. What the session has seen is in the answer: another replica may have
/// acknowledged a write before the node itself can show it.
async fn read(direct: &Direct, key: &Bytes, seen: Option<SealedContext>) -> Option<ReadReply> {
    let request = ReadRequest { bucket: BucketId(0), key: key.clone(), level: Some(Level::One), seen, micros_left: micros() };
    direct.read(request).await.ok()?.ok()
}

/// Replaces what was seen; returns what a session has seen then.
async fn write(direct: &Direct, key: &Bytes, op: OpId, seen: SealedContext) -> Option<SealedContext> {
    let request = WriteRequest {
        bucket: BucketId(0),
        key: key.clone(),
        body: Body::Value(Bytes::from_static(b"probe")),
        session: Some(seen.clone()),
        context: WriteContext::Seen(seen),
        level: Some(Level::One),
        op,
        attempt: Attempt(0),
        micros_left: micros(),
        begin_by: None,
    };
    direct.write(request).await.ok()?.ok()?.session
}

fn micros() -> u64 {
    u64::try_from(LOOK_MAX.as_micros()).expect("half a second")
}

/// Milliseconds since 1970.
fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
