//! A new node serves once a majority of the other members vouch for it.

use quorate_protocol::outcome::{Failure, Outcome, Reason};
use quorate_protocol::replica::{Refusal, ReplicaReply, ReplicaRequest};
use quorate_protocol::{BucketId, Level};
use quorate_ring::{NodeId, PartitionId};
use quorate_rpc::kv::ListRequest;
use quorate_rpc::peer::{KeysRequest, ReplicaCall};
use tokio::time::timeout;

use super::{N1, N2, N3, PATIENCE, TestCluster, TestNode, envelope, put, read};
use crate::{coordinator, replica, vouching};

fn not_vouched() -> Failure {
    Failure::refused(Reason::Refused { refusal: Refusal::NotVouched })
}

async fn begin(node: &TestNode) {
    vouching::start(&node.node).await.expect("the store takes writes");
}

async fn until_vouched_by(node: &TestNode, peers: &[NodeId]) {
    let mut by = node.node.vouching.by();
    let all = by.wait_for(|by| peers.iter().all(|peer| by.contains(peer)));
    timeout(PATIENCE, all).await.expect("in time").expect("the node runs");
}

async fn until_serving(node: &TestNode) {
    super::eventually("the node serves", || node.node.refusal().is_none()).await;
}

#[tokio::test]
async fn a_new_node_serves_no_client_and_is_no_replica() {
    let mut cluster = TestCluster::of(3, &[]).await;
    let n1 = cluster.start_new(N1);
    begin(&n1).await;
    let failure = coordinator::write(&n1.node, put("k", "v", Level::One)).await.expect_err("it is new");
    assert_eq!((&failure, failure.outcome, failure.reason.is_retryable()), (&not_vouched(), Outcome::NotApplied, true));
    assert_eq!(coordinator::forwarded(&n1.node, put("k", "v", Level::Any)).await.err(), Some(not_vouched()));
    assert_eq!(coordinator::read(&n1.node, read("k", Level::One)).await.err(), Some(not_vouched()));
    let (bucket, partition) = (BucketId(0), PartitionId(0));
    let list = ListRequest { bucket, partition, after: None, count_max: 1, level: Some(Level::One), micros_left: 1_000_000 };
    assert_eq!(coordinator::list(&n1.node, list).await.err(), Some(not_vouched()));

    let call = ReplicaCall { bucket, key: "k".into(), micros_left: 1_000_000, request: ReplicaRequest::Read { strict: None } };
    let refused = ReplicaReply::Refused(Refusal::NotVouched);
    assert_eq!(replica::serve(&n1.node, &call, false).settled().await, refused);
    assert_eq!(replica::serve(&n1.node, &call, true).settled().await, refused, "nor does it take hints");
    let keys = KeysRequest { partition, bucket, after: None, count_max: 1 };
    assert_eq!(coordinator::keys_here(&n1.node, &keys).await, Err(Refusal::NotVouched));
    let status = n1.client().await.status(envelope()).await.expect("it says how it is all the same");
    assert_eq!(status.refusal, Some(Refusal::NotVouched));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_cluster_serves_when_its_nodes_have_met() {
    let mut cluster = TestCluster::of(3, &[]).await;
    let nodes = [N1, N2, N3].map(|node| cluster.start_new(node));
    for node in &nodes {
        begin(node).await;
        node.connect();
    }
    for node in &nodes {
        until_serving(node).await;
    }
    nodes[0].until_up(N2).await;
    nodes[0].until_up(N3).await;
    coordinator::write(&nodes[0].node, put("k", "v", Level::All)).await.expect("all serve");
}

/// Of two others both must vouch: one alone could vouch for a first directory and the other for a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_peer_of_two_is_no_majority() {
    let mut cluster = TestCluster::of(3, &["peer.connect_timeout=100ms"]).await;
    let (n1, n2) = (cluster.start_new(N1), cluster.start_new(N2));
    begin(&n1).await;
    n1.connect();
    until_vouched_by(&n1, &[N2]).await;
    assert_eq!(n1.node.refusal(), Some(Refusal::NotVouched));
    let n3 = cluster.start_new(N3);
    until_vouched_by(&n1, &[N2, N3]).await;
    until_serving(&n1).await;
    assert_eq!(n2.node.refusal(), Some(Refusal::NotVouched), "it has asked nobody");
    drop(n3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_of_five_one_may_be_missing() {
    let mut cluster = TestCluster::of(5, &[]).await;
    let nodes = [1, 2, 3, 4].map(|number| cluster.start_new(NodeId(number)));
    for node in &nodes {
        begin(node).await;
        node.connect();
    }
    for node in &nodes {
        until_serving(node).await;
    }
}

/// The second directory under the name of n1 meets n2, which never met the first, and n3, which did.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_directory_under_one_name_never_serves() {
    let mut cluster = TestCluster::of(3, &[]).await;
    let (n2, n3) = (cluster.start_new(N2), cluster.start_new(N3));
    let first = quorate_rpc::hello::Identity { node: N1, nonce: 1, boot: quorate_protocol::BootId(1) };
    assert_eq!(crate::identity::vouch(&n3.node, first).await, Ok(true));
    let n1 = cluster.start_new(N1);
    begin(&n1).await;
    n1.connect();
    until_vouched_by(&n1, &[N2]).await;
    super::eventually("n3 refuses it", || n1.node.refusal() == Some(Refusal::Quarantined)).await;
    assert_eq!(n1.node.vouching.by().borrow().len(), 1);
    drop(n2);
}

#[tokio::test]
async fn a_cluster_of_one_serves_at_once() {
    let mut cluster = TestCluster::of(1, &[]).await;
    let n1 = cluster.start_new(N1);
    begin(&n1).await;
    coordinator::write(&n1.node, put("k", "v", Level::One)).await.expect("there is nobody to ask");
}
