//! A write's answer names the version that it became.

use quorate_protocol::{Attempt, Dot, Level};
use quorate_rpc::kv::WriteRequest;

use super::{N1, N2, N3, TestCluster, TestNode, put, read};
use crate::coordinator;

async fn dots(node: &TestNode) -> Vec<Dot> {
    let found = coordinator::read(&node.node, read("k", Level::All)).await.expect("all answer");
    found.siblings.into_iter().map(|sibling| sibling.dot).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_and_its_retry_are_told_the_dot_that_readers_see() {
    let mut cluster = TestCluster::of(3, &[]).await;
    let [n1, n2, n3] = [N1, N2, N3].map(|node| cluster.start(node));
    for node in [&n1, &n2, &n3] {
        node.connect();
        for peer in [N1, N2, N3].into_iter().filter(|peer| *peer != node.node.me()) {
            node.until_up(peer).await;
        }
    }
    let written = coordinator::write(&n1.node, put("k", "v", Level::All)).await.expect("all store it");
    let dot = written.dot.expect("it is no linearizable write");
    assert_eq!(dots(&n3).await, [dot]);
    // By another coordinator, which finds what became of the first try.
    let retry = WriteRequest { attempt: Attempt(1), ..put("k", "v", Level::All) };
    assert_eq!(coordinator::write(&n2.node, retry).await.expect("all store it").dot, Some(dot));
    assert_eq!(dots(&n1).await, [dot]);
}
