//! A client that asks and asks and never reads.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use quorate_client::Level;
use quorate_protocol::BucketId;
use quorate_protocol::limits::{FRAME_BYTES_MAX, VALUE_BYTES_MAX};
use quorate_rpc::kv::{IN_FLIGHT_MAX, ReadRequest};
use quorate_rpc::transport::framed;
use tokio::time::Instant;

use crate::cluster::{Cluster, N1, Weather, simulate};
use crate::direct::{Unread, asks};

/// More requests than a connection may have under way, and more bytes of answers than may wait.
const REQUESTS: u64 = IN_FLIGHT_MAX as u64 + 100;

/// What the node says it holds for its readers at most.
const UNSENT_BYTES_MAX: usize = 4 * FRAME_BYTES_MAX;

/// A request that waits as long as it takes.
fn read() -> ReadRequest {
    ReadRequest { bucket: BucketId(0), key: "large".into(), level: Some(Level::One), seen: None, micros_left: 60_000_000 }
}

/// A number from a node's metrics.
fn metric(metrics: &str, name: &str) -> usize {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)).expect("the node has this metric");
    line.trim().parse().expect("a whole number")
}

async fn a_slow_reader(cluster: Cluster) {
    let client = cluster.client().await;
    client.put("large", vec![b'v'; VALUE_BYTES_MAX]).level(Level::All).await.expect("all are there");
    let mut slow: Unread = framed(cluster.greeted(N1).await);
    for id in 0..REQUESTS {
        slow.feed(asks(id, read())).await.expect("the node reads");
    }
    slow.flush().await.expect("the node reads");
    let metrics = async || client.metrics_of(N1).await.expect("it answers");
    let is_refusing = async || metric(&metrics().await, "quorate_answers_refused_total") > 0;
    cluster.until("an answer is refused", is_refusing).await;
    let held = metric(&metrics().await, "quorate_unsent_answer_bytes");
    assert!((UNSENT_BYTES_MAX / 2..=UNSENT_BYTES_MAX).contains(&held), "{held} bytes wait");

    let begun = Instant::now();
    let near = client.bucket("default").via(N1);
    near.put("small", "v").level(Level::Quorum).await.expect("others are served");
    near.get("large").level(Level::Quorum).await.expect("others are served");
    assert!(begun.elapsed() < Duration::from_millis(300), "{:?}", begun.elapsed());

    for _ in 0..REQUESTS {
        slow.next().await.expect("open").expect("every request is answered in the end");
    }
    cluster.until("nothing waits any more", async || metric(&metrics().await, "quorate_unsent_answer_bytes") == 0).await;
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody_and_costs_a_bounded_number_of_bytes() {
    (1..=2).for_each(|seed| simulate(Weather::calm(seed), a_slow_reader));
}
