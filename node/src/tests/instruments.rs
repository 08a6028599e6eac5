//! What a node measures of its messages and its disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_protocol::Level;
use quorate_ring::NodeId;
use quorate_rpc::admin::{Faults, LinkFault};
use tokio::task::JoinSet;

use super::{N1, N2, TestCluster, TestNode, count, eventually, put, read};
use crate::coordinator;

/// Long enough that the machine's own delays are short beside it.
const SLOW: Duration = Duration::from_millis(80);
/// Delays above this are the fault's, at most half of it being taken for the other direction's.
const SHOWS: &str = "0.03981";

async fn pair(settings: &[&str]) -> [TestNode; 2] {
    let mut cluster = TestCluster::of(2, settings).await;
    let nodes = [N1, N2].map(|node| cluster.start(node));
    nodes.iter().for_each(TestNode::connect);
    nodes[0].until_up(N2).await;
    nodes[1].until_up(N1).await;
    nodes
}

fn messages(node: &TestNode, kind: &str) -> u64 {
    count(node, &format!("quorate_peer_messages_total{{kind=\"{kind}\"}}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_and_its_answer_count_once_each_where_they_are_sent() {
    // No heartbeat but the first.
    let [n1, n2] = pair(&["peer.heartbeat_interval=20s", "peer.heartbeat_timeout=25s"]).await;
    coordinator::write(&n1.node, put("k", "v", Level::All)).await.expect("both store it");
    assert_eq!((messages(&n1, "request"), messages(&n2, "reply")), (1, 1), "the write, and that it is stored");
    assert_eq!((messages(&n2, "request"), messages(&n1, "reply")), (0, 0));
    coordinator::read(&n2.node, read("k", Level::All)).await.expect("both answer");
    assert_eq!((messages(&n2, "request"), messages(&n1, "reply")), (1, 1));
    // Each has sent one, and answered one.
    assert_eq!((messages(&n1, "heartbeat"), messages(&n2, "heartbeat")), (2, 2));
    assert_eq!((messages(&n1, "cancel"), messages(&n2, "cancel")), (0, 0));
}

/// Requests of which each comes a turn after the one before.
const CROWD: u64 = 300;

/// On one thread, so that a turn is everybody's.
#[tokio::test]
async fn requests_that_come_a_turn_apart_share_a_message() {
    let [n1, _n2] = pair(&[]).await;
    let mut crowd = JoinSet::new();
    for turns in 0..CROWD {
        let node = Arc::clone(&n1.node);
        crowd.spawn(async move {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            coordinator::read(&node, read("k", Level::All)).await
        });
    }
    while let Some(answer) = crowd.join_next().await {
        answer.expect("no panic").expect("both answer");
    }
    assert_eq!(count(&n1, "quorate_replica_requests_total"), CROWD);
    let sent = messages(&n1, "request");
    assert!(sent <= CROWD / 2, "{sent} messages for {CROWD} requests, one a turn");
}

/// How many delays of a direction were measured, and how many of them only the fault explains.
fn delays(node: &TestNode, peer: NodeId, direction: &str) -> (u64, u64) {
    let labels = format!("peer=\"{peer}\",direction=\"{direction}\"");
    let all = count(node, &format!("quorate_peer_delay_seconds_count{{{labels}}}"));
    let usual = count(node, &format!("quorate_peer_delay_seconds_bucket{{le=\"{SHOWS}\",{labels}}}"));
    (all, all - usual)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_link_shows_in_its_own_direction() {
    let [n1, n2] = pair(&["peer.heartbeat_interval=10ms"]).await;
    eventually("both have measured some exchanges", || [(&n1, N2), (&n2, N1)].iter().all(|(node, peer)| delays(node, *peer, "out").0 > 20))
        .await;
    let before = [delays(&n1, N2, "out"), delays(&n1, N2, "back"), delays(&n2, N1, "out"), delays(&n2, N1, "back")];
    let slow = LinkFault { cut: false, delay_micros: u64::try_from(SLOW.as_micros()).expect("short") };
    n1.node.faults.set(Faults { links: BTreeMap::from([(N2, slow)]), skew_ms: 0 });
    eventually("the delay has shown at both ends", || {
        delays(&n1, N2, "out").1 > before[0].1 + 10 && delays(&n2, N1, "back").1 > before[3].1 + 10
    })
    .await;
    // A busy machine may hold up a message or two of the other direction.
    let after = [delays(&n1, N2, "back"), delays(&n2, N1, "out")];
    assert!(after[0].1 - before[1].1 < 5 && after[1].1 - before[2].1 < 5, "{before:?} {after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_that_becomes_durable_is_timed() {
    let [n1, n2] = pair(&[]).await;
    coordinator::write(&n1.node, put("k", "v", Level::All)).await.expect("both store it");
    for node in [&n1, &n2] {
        // It is noted after the writer was told.
        eventually("the write is timed", || count(node, "quorate_commit_duration_seconds_count") == 1).await;
        assert_eq!(count(node, "quorate_commit_duration_seconds_bucket{le=\"+Inf\"}"), 1);
        assert_eq!(count(node, "quorate_commit_duration_seconds_bucket{le=\"0.000001\"}"), 0, "it was synced");
    }
}
