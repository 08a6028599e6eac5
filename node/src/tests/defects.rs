//! A node that was told to break a rule breaks it, wherever the rule is kept.

use quorate_protocol::{BucketId, Defect, Level};

use super::chain::left_behind;
use super::repairs::one_ahead;
use super::{N1, N2, N3, TestCluster, TestNode, count, envelope, read};
use crate::coordinator;
use crate::store::StorageKey;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_synchronous_repair_a_strict_read_repairs_behind_its_answer() {
    let mut cluster = TestCluster::of(3, &[]).await;
    let [n1, n2, n3] = one_ahead([N1, N2, N3].map(|node| cluster.start_with(node, Defect::NoSynchronousRepair))).await;
    coordinator::read(&n1.node, read("k", Level::All)).await.expect("all answer");
    n1.node.background.close();
    n1.node.background.wait().await;
    assert_eq!(count(&n1, "quorate_read_repairs_total{kind=\"blocking\",level=\"all\"}"), 0);
    assert_eq!(count(&n1, "quorate_read_repairs_total{kind=\"background\",level=\"all\"}"), 2);
    drop((n2, n3));
}

/// The value of a linearizable read at n1, which alone has accepted one, and whether n2 has it then.
async fn read_of_undecided(nodes: [TestNode; 2]) -> (bool, bool) {
    nodes.iter().for_each(TestNode::connect);
    nodes[0].until_up(N2).await;
    nodes[1].until_up(N1).await;
    left_behind(&[&nodes[0]], "k", "undecided").await;
    let found = coordinator::read(&nodes[0].node, read("k", Level::Linearizable)).await.expect("a majority is there");
    let (bucket, key) = (BucketId(0), b"k");
    let n2 = &nodes[1].node;
    let place = n2.placement.place(n2.bucket(bucket).expect("the default one"), key);
    let accepted = n2.store.accepted(&StorageKey::new(place.partition, bucket, key)).expect("it reads");
    (found.siblings.len() == 1, accepted.is_some())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unrepaired_linearizable_read_shows_what_one_replica_alone_has() {
    let mut cluster = TestCluster::of(3, &[]).await;
    let sound = read_of_undecided([N1, N2].map(|node| cluster.start(node))).await;
    assert_eq!(sound, (true, true));
    let mut cluster = TestCluster::of(3, &[]).await;
    let broken = read_of_undecided([N1, N2].map(|node| cluster.start_with(node, Defect::ChainReadUnrepaired))).await;
    assert_eq!(broken, (true, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_names_the_bug() {
    let mut cluster = TestCluster::of(1, &[]).await;
    let bug = cluster.start_with(N1, Defect::RepairOverwrites).client().await.status(envelope()).await.expect("it answers").bug;
    assert_eq!(bug.as_deref(), Some("repair-overwrites"));
    let mut cluster = TestCluster::of(1, &[]).await;
    let sound = cluster.start(N1);
    assert_eq!(sound.client().await.status(envelope()).await.expect("it answers").bug, None);
}
