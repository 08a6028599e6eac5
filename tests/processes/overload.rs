//! Too much is refused at once, and later no more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate_client::{Client, Level, Outcome};
use quorate_lab::cluster::ClusterSpec;
use quorate_protocol::outcome::Reason;
use tokio::task::JoinSet;

use crate::support::cluster::{N1, N2, TestCluster, faulty, unnoticed};
use crate::support::wait::{BUSY, PATIENCE, eventually, seen};

/// Requests that a node of these clusters works on at a time.
const IN_FLIGHT_MAX: u64 = 4;
/// How late n2's answers are: so long is n1 busy with a write at `all`.
const SLOW: Duration = Duration::from_secs(8);

async fn cluster() -> TestCluster {
    let settings = vec![format!("node.requests_in_flight_max={IN_FLIGHT_MAX}"), unnoticed()];
    TestCluster::start(ClusterSpec { settings, ..faulty(3) }).await
}

#[tokio::test]
async fn a_request_beyond_the_limit_is_refused_at_once_and_taken_later() {
    let mut cluster = cluster().await;
    cluster.slow(N2, SLOW).await.unwrap_or_else(|error| panic!("{error}"));
    let n1 = Arc::new(cluster.direct(N1).await.within(PATIENCE));
    let mut busy = JoinSet::new();
    for number in 0..IN_FLIGHT_MAX {
        let n1 = Arc::clone(&n1);
        busy.spawn(async move { n1.put(&format!("slow-{number}"), "v", Level::All).await.map(drop) });
    }
    eventually("n1 is as busy as it may be", async || {
        let in_flight = cluster.answering(N1).await.requests_in_flight;
        seen(in_flight == IN_FLIGHT_MAX, in_flight)
    })
    .await;

    let asked = Instant::now();
    let refused = n1.put("one-too-many", "v", Level::One).await.expect_err("n1 is busy");
    let took = asked.elapsed();
    assert_eq!((&refused.reason, refused.outcome), (&Reason::Overloaded, Outcome::NotApplied));
    assert!(refused.reason.is_retryable() && refused.replicas.is_empty(), "{refused:?}");
    assert!(took < BUSY, "a refusal that waits is no relief: {took:?}");
    assert_eq!(n1.get("one-too-many", Level::One).await.expect_err("reads count too").reason, Reason::Overloaded);

    for done in busy.join_all().await {
        assert_eq!(done, Ok(()), "what was let in is finished");
    }
    assert_eq!(n1.values("one-too-many", Level::One).await, Ok(Vec::new()), "a refused write leaves nothing");
    n1.put("one-too-many", "v", Level::One).await.unwrap_or_else(|failure| panic!("n1 has recovered: {failure}"));
    assert_eq!(n1.metrics().await.sum("quorate_overloaded_total"), 2.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_rides_out_an_overload() {
    let cluster = cluster().await;
    let kv = cluster.connect(Client::builder().deadline(Duration::from_secs(30))).await;
    let mut puts = JoinSet::new();
    for number in 0..400 {
        let kv = kv.clone();
        puts.spawn(async move { kv.put(format!("k{number}"), vec![b'v'; 4096]).level(Level::Quorum).await.map(drop) });
    }
    for done in puts.join_all().await {
        done.unwrap_or_else(|error| panic!("{error}"));
    }
    let mut refused = 0.0;
    for node in cluster.nodes() {
        refused += cluster.metrics(node.id()).await.sum("quorate_overloaded_total");
    }
    assert!(refused > 0.0, "400 puts at a time were no overload");
    for number in 0..400 {
        let read = kv.get(format!("k{number}")).level(Level::Quorum).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(read.single().is_ok_and(|value| value.is_some()), "k{number} was acknowledged");
    }
}
