//! Repairs are counted when they happened.

use bytes::Bytes;
use quorate_protocol::hlc::Hlc;
use quorate_protocol::replica::{ReplicaReply, ReplicaRequest};
use quorate_protocol::{Actor, Body, BucketId, Context, Dot, KeyEpoch, Level, Siblings, Version};
use quorate_rpc::peer::ReplicaCall;

use super::{N1, N2, N3, TestCluster, TestNode, count, read};
use crate::{coordinator, replica};

/// Three nodes, of which n2 alone holds a write of `k`.
async fn with_one_ahead() -> [TestNode; 3] {
    let mut cluster = TestCluster::of(3, &["coordination.background_repair_chance=1.0"]).await;
    let nodes = [N1, N2, N3].map(|node| cluster.start(node));
    one_ahead(nodes).await
}

/// Lets n2 alone hold a write of `k`.
pub(super) async fn one_ahead(nodes: [TestNode; 3]) -> [TestNode; 3] {
    nodes.iter().for_each(TestNode::connect);
    for peer in [N2, N3] {
        nodes[0].until_up(peer).await;
    }
    let dot = Dot { actor: Actor::Node { node: N2, epoch: KeyEpoch(1) }, n: 1 };
    let version = Version { body: Body::Value(Bytes::from_static(b"v")), hlc: Hlc(1), op: None };
    let request = ReplicaRequest::Replicate { strict: None, delta: Siblings::delta(Context::empty(), dot, version) };
    let call = ReplicaCall { bucket: BucketId(0), key: Bytes::from_static(b"k"), micros_left: 0, request };
    assert_eq!(replica::serve(&nodes[1].node, &call, false).settled().await, ReplicaReply::Stored);
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_at_one_counts_what_it_repairs_behind_its_answer() {
    let [n1, n2, n3] = with_one_ahead().await;
    coordinator::read(&n1.node, read("k", Level::One)).await.expect("n1 answers");
    n1.node.background.close();
    n1.node.background.wait().await;
    assert_eq!(count(&n1, "quorate_read_repairs_total{kind=\"background\",level=\"one\"}"), 2);
    assert_eq!(count(&n1, "quorate_read_repairs_total{kind=\"blocking\",level=\"one\"}"), 0);
    assert_eq!(count(&n1, "quorate_stale_replies_total{level=\"one\"}"), 2);
    drop((n2, n3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strict_read_counts_what_it_repairs_before_its_answer() {
    let [n1, n2, n3] = with_one_ahead().await;
    coordinator::read(&n1.node, read("k", Level::All)).await.expect("all answer");
    n1.node.background.close();
    n1.node.background.wait().await;
    assert_eq!(count(&n1, "quorate_read_repairs_total{kind=\"blocking\",level=\"all\"}"), 2);
    assert_eq!(count(&n1, "quorate_read_repairs_total{kind=\"background\",level=\"all\"}"), 0);
    assert_eq!(count(&n1, "quorate_stale_replies_total{level=\"all\"}"), 2);
    drop((n2, n3));
}
