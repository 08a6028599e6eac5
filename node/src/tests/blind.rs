//! A first attempt to write blindly begins in time, or not at all.

use std::time::Duration;

use bytes::Bytes;
use quorate_protocol::outcome::{Failure, Outcome, Reason};
use quorate_protocol::record::Role;
use quorate_protocol::replica::Refusal;
use quorate_protocol::{Attempt, BucketId, KeyRecord, Level, SealedContext};
use quorate_rpc::kv::{WriteContext, WriteRequest};

use super::{N1, N2, TestCluster, TestNode, put};
use crate::coordinator::write;
use crate::store::StorageKey;

/// Far more than a write takes to begin.
const LONG: Duration = Duration::from_secs(3_600);

/// A blind write that must have begun when the node's clock showed so much less, or will have shown so much more.
fn due(node: &TestNode, request: WriteRequest, micros: i64) -> WriteRequest {
    let begin_by = node.node.clock.tick().0.saturating_add_signed(micros);
    WriteRequest { begin_by: Some(begin_by), ..request }
}

fn record(node: &TestNode, key: &'static str) -> Option<KeyRecord> {
    let place = node.node.placement.place(&node.node.config.buckets[0], key.as_bytes());
    node.node.store.read(&StorageKey::new(place.partition, BucketId(0), key.as_bytes())).expect("readable")
}

fn too_late() -> Failure {
    let failure = Failure::refused(Reason::Refused { refusal: Refusal::Expired });
    assert_eq!(failure.outcome, Outcome::NotApplied);
    failure
}

fn told(failure: Failure) -> Failure {
    Failure { replicas: Vec::new(), ..failure }
}

#[tokio::test]
async fn a_blind_write_that_comes_too_late_is_refused_and_leaves_the_record_as_it_was() {
    let mut cluster = TestCluster::of(1, &[]).await;
    let n1 = cluster.start(N1);
    write(&n1.node, due(&n1, put("k", "acknowledged", Level::One), 20_000_000)).await.expect("in time");
    let before = record(&n1, "k");
    let refused = write(&n1.node, due(&n1, put("k", "late", Level::One), -1)).await.map_err(told);
    assert_eq!(refused.err(), Some(too_late()));
    assert_eq!(record(&n1, "k"), before, "no dot was given out either");
    assert_eq!(write(&n1.node, due(&n1, put("absent", "late", Level::One), -1)).await.map_err(told).err(), Some(too_late()));
    assert_eq!(record(&n1, "absent"), None);
}

/// They replace what they say, whenever they begin.
#[tokio::test]
async fn retries_and_writes_with_a_context_are_never_too_late() {
    let mut cluster = TestCluster::of(1, &[]).await;
    let n1 = cluster.start(N1);
    let late = |request| write(&n1.node, due(&n1, request, -1));
    let seen: SealedContext = write(&n1.node, put("k", "v", Level::One)).await.expect("written").context;
    late(WriteRequest { context: WriteContext::Seen(seen), ..put("k", "seen", Level::One) }).await.expect("written");
    late(WriteRequest { context: WriteContext::Concurrent, ..put("k", "beside", Level::One) }).await.expect("written");
    late(WriteRequest { attempt: Attempt(1), ..put("k", "again", Level::One) }).await.expect("written");
}

/// A node that is no home replica of `key`, and a request for it. Three of four nodes are.
fn key_away_from(node: &TestNode) -> Bytes {
    let mut keys = (0..).map(|number| Bytes::from(format!("key{number}")));
    keys.find(|key| node.node.placement.place(&node.node.config.buckets[0], key).record.role == Role::Stranger)
        .expect("most nodes are home to most keys")
}

#[tokio::test]
async fn a_fallback_refuses_a_blind_write_that_comes_too_late() {
    let mut cluster = TestCluster::of(4, &[]).await;
    let n1 = cluster.start(N1);
    let request = WriteRequest { key: key_away_from(&n1), ..put("k", "v", Level::Any) };
    let refused = write(&n1.node, due(&n1, request.clone(), -1)).await.map_err(told);
    assert_eq!(refused.err(), Some(too_late()));
    assert!(n1.node.store.all_hint_stats().is_empty(), "nothing is kept of it");
    write(&n1.node, due(&n1, request, 20_000_000)).await.expect("three hints hold it");
}

/// n1 forwards to one of the others, whose clocks are an hour ahead of its own, or behind.
#[tokio::test]
async fn a_forwarded_blind_write_must_begin_in_time_by_the_home_replicas_clock() {
    for others_ahead in [true, false] {
        let mut cluster = TestCluster::of(4, &[]).await;
        let mut start = |node, ahead: bool| {
            let started = cluster.start_changed(node, |node| node.clock.set_ahead(if ahead { LONG } else { Duration::ZERO }));
            started.node.vouching.done();
            started
        };
        let n1 = start(N1, !others_ahead);
        let others: Vec<TestNode> = (2..=4).map(|number| start(quorate_ring::NodeId(number), others_ahead)).collect();
        n1.connect();
        n1.until_up(N2).await;
        for other in &others {
            other.connect();
            n1.until_up(other.node.me()).await;
        }
        let request = WriteRequest { key: key_away_from(&n1), ..put("k", "v", Level::One) };
        write(&n1.node, due(&n1, request.clone(), 20_000_000)).await.expect("in time by any clock");
        let refused = write(&n1.node, due(&n1, request, -1_000_000)).await.map_err(told);
        assert_eq!(refused.err(), Some(too_late()), "others ahead: {others_ahead}");
    }
}
