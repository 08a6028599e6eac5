//! Connections that break, and processes that end, in the middle of a request.

use std::time::Duration;

use futures::future::join;
use quorate_client::{ClientId, Level, NodeId, OpId, Outcome};
use quorate_protocol::outcome::ReplicaStatus;
use quorate_protocol::{Actor, Attempt, Body, BucketId};
use quorate_rpc::kv::{WriteContext, WriteRequest};
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, N1, N3, NODES, Sometimes, Weather, simulate};
use crate::direct;

/// Far longer than anything takes that need not wait.
const DEADLINE: Duration = Duration::from_secs(10);

/// Way there and back for what a broken connection sets off, with steps of the simulation.
const PROMPTLY: Duration = Duration::from_millis(60);

/// Moments of a request at which a process ends, in milliseconds after it was made. The last ones come after its answer.
fn moments() -> impl Iterator<Item = u64> {
    (0..48).step_by(2)
}

fn weather(seed: u64) -> Weather {
    Weather { latency_ms: (2, 8), ..Weather::calm(seed) }
}

/// Ends a process after so long.
async fn crash_after(cluster: &Cluster, node: NodeId, moment_ms: u64) {
    // waits for: the moment of the request that is tried
    sleep(Duration::from_millis(moment_ms)).await;
    cluster.crash(node);
}

fn put_at_all(key: &str, seq: u64) -> WriteRequest {
    WriteRequest {
        bucket: BucketId(0),
        key: key.to_owned().into(),
        body: Body::Value("v".into()),
        context: WriteContext::Concurrent,
        level: Some(Level::All),
        op: OpId { client: ClientId(7), lane: 0, seq, issued_ms: 1 },
        attempt: Attempt(0),
        session: None,
        micros_left: u64::try_from(DEADLINE.as_micros()).expect("seconds"),
        begin_by: None,
    }
}

async fn a_replica_ends(cluster: Cluster, unknown: Sometimes) {
    let client = cluster.client().await;
    for moment_ms in moments() {
        let stream = cluster.greeted(N1).await;
        let key = format!("k{moment_ms}");
        let begun = Instant::now();
        let answering = async { (direct::write(stream, put_at_all(&key, moment_ms)).await, begun.elapsed()) };
        let ((answer, took), ()) = join(answering, crash_after(&cluster, N3, moment_ms)).await;
        assert!(took < Duration::from_millis(moment_ms) + PROMPTLY, "{key}: a broken connection is no reason to wait {took:?}");
        let outcome = answer.as_ref().map_or_else(|failure| Some(failure.outcome), |_| None);
        if let Err(failure) = &answer {
            let report = failure.replicas.iter().find(|report| report.node == N3).expect("a home replica");
            assert!(matches!(report.status, ReplicaStatus::Down), "{key}: {failure}");
        }
        unknown.note(outcome == Some(Outcome::Unknown));
        cluster.restart(N3);
        cluster.until_settled().await;
        let expected: &[&str] = if outcome == Some(Outcome::NotApplied) { &[] } else { &["v"] };
        for node in NODES {
            assert_eq!(cluster.held(&client, node, &key).await, expected, "{node} {key}");
        }
    }
}

#[test]
fn a_replica_that_ends_is_known_at_once_and_gets_its_writes_by_hint_when_it_is_back() {
    let unknown = Sometimes::default();
    for seed in 1..=3 {
        let noted = unknown.clone();
        simulate(weather(seed), |cluster| a_replica_ends(cluster, noted));
    }
    unknown.assert("a replica ended while a write waited for it");
}

async fn a_coordinator_ends(cluster: Cluster, found: Sometimes) {
    let client = cluster.client().await;
    for moment_ms in moments() {
        let key = format!("k{moment_ms}");
        let put = client.put(&key, "v").level(Level::Quorum).deadline(DEADLINE);
        let (written, ()) = join(put.into_future(), crash_after(&cluster, N1, moment_ms)).await;
        let written = written.expect("two other nodes are there");
        cluster.restart(N1);
        cluster.until_settled().await;
        for node in NODES {
            let read = client.bucket("default").via(node).get(&key).level(Level::One).await.expect("it answers");
            let [only] = read.siblings() else { panic!("{node} {key}: {:?}", read.siblings()) };
            assert_eq!((&only.value[..], only.op), (&b"v"[..], Some(written.op())), "{node} {key}");
            let by_first = matches!(only.dot.actor, Actor::Node { node: N1, .. });
            found.note(by_first && written.receipt().coordinator != N1);
        }
    }
}

#[test]
fn a_write_whose_coordinator_ends_is_sent_to_another_and_is_there_once() {
    let found = Sometimes::default();
    for seed in 1..=6 {
        let noted = found.clone();
        simulate(weather(seed), |cluster| a_coordinator_ends(cluster, noted));
    }
    found.assert("a second coordinator found what the first had written");
}
