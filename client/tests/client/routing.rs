//! Who is asked: home replicas, live ones, those of the right cluster; and how the client learns that things have moved.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_client::{BucketInfo, Client, ConnectError, Error, Level, NodeId, Outcome, Reason, SeedError, Topology};
use quorate_protocol::BucketId;
use quorate_ring::RingEpoch;

use crate::fake::{CLUSTER, Cluster, SINGLE, Seen};

/// Asks again and again until the answer is yes, for at most ten seconds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), asking).await.unwrap_or_else(|_| panic!("{what} within ten seconds"));
}

#[tokio::test]
async fn keys_go_to_their_home_replicas_and_all_of_them_get_some() {
    let mut cluster = Cluster::start(5).await;
    let client = cluster.client().await;
    let ring = client.ring();
    let mut coordinators = BTreeSet::new();
    for index in 0..60 {
        let key = format!("key{index}");
        client.get(&key).await.expect("answered");
        let (node, _) = cluster.next_read().await;
        assert!(ring.preference_list(3, key.as_bytes()).expect("made for three").contains(node));
        coordinators.insert(node);
    }
    assert_eq!(coordinators.len(), 5);
}

#[tokio::test]
async fn a_node_that_was_named_is_the_only_one_that_is_asked() {
    let mut cluster = Cluster::start(5).await;
    let client = cluster.client().await;
    for node in (1..=5).map(NodeId) {
        let bucket = client.default_bucket().via(node);
        for index in 0..8 {
            bucket.get(format!("key{index}")).await.expect("answered");
            assert_eq!(cluster.next_read().await.0, node);
            bucket.put(format!("key{index}"), "v").await.expect("answered");
            assert_eq!(cluster.next_write().await.0, node);
        }
    }
    cluster.down(NodeId(2)).await;
    let alone = client.default_bucket().via(NodeId(2)).deadline(Duration::from_millis(300));
    let error = alone.get("k").await.expect_err("the others are not asked").to_string();
    assert!(error.contains("n2") && ![1, 3, 4, 5].iter().any(|node| error.contains(&NodeId(*node).to_string())), "{error}");
    let error = client.default_bucket().via(NodeId(9)).get("k").await.expect_err("there are five");
    assert_eq!(error.to_string(), "get \"k\" at quorum: the cluster has no such node");
}

#[tokio::test]
async fn a_node_that_comes_back_is_used_again() {
    let mut cluster = Cluster::start(2).await;
    let client = cluster.client().await;
    cluster.down(NodeId(2)).await;
    let writes = async |client: &Client, cluster: &mut Cluster| {
        let mut nodes = BTreeSet::new();
        for _ in 0..8 {
            client.put("k", "v").await.expect("somebody is there");
            nodes.insert(cluster.next_write().await.0);
        }
        nodes
    };
    assert_eq!(writes(&client, &mut cluster).await, BTreeSet::from([NodeId(1)]));
    cluster.up(NodeId(2)).await;
    until("n2 is used again", async || writes(&client, &mut cluster).await.contains(&NodeId(2))).await;
}

#[tokio::test]
async fn a_bucket_nobody_knows_is_told_after_one_look_and_found_once_it_exists() {
    let mut cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    let carts = client.bucket("carts");
    let error = carts.put("k", "v").await.expect_err("no such bucket");
    assert_eq!(error.reason(), Some(&Reason::UnknownBucket { bucket: "carts".to_owned() }));
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert!(matches!(cluster.rest()[..], [Seen::Topology(NodeId(1))]), "one look and nothing else");

    cluster.change(|topology| {
        let info = BucketInfo { id: BucketId(7), name: "carts".to_owned(), ..topology.buckets[0].clone() };
        topology.buckets.push(info);
    });
    carts.put("k", "v").await.expect("it exists now");
    assert_eq!(cluster.next_write().await.1.bucket, BucketId(7));
}

#[tokio::test]
async fn a_later_ring_epoch_in_an_answer_makes_the_client_look_again() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    cluster.change(|topology| topology.ring.epoch = RingEpoch(2));
    until("the client knows the new epoch", async || {
        client.get("k").await.expect("answered");
        client.topology().ring.epoch == RingEpoch(2)
    })
    .await;
}

#[tokio::test]
async fn impossible_requests_are_refused_before_anything_is_sent() {
    let mut cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    let errors: Vec<Error> = vec![
        client.put("", "v").await.expect_err("empty"),
        client.get(vec![b'k'; 1025]).await.expect_err("long"),
        client.put("k", vec![0; 1024 * 1024 + 1]).await.expect_err("large"),
        client.get("k").level(Level::Any).await.expect_err("no such read"),
        client.put("k", "v").level(Level::Counts { r: 5, w: 5 }).await.expect_err("one replica"),
    ];
    for error in errors {
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
        assert_eq!((error.outcome(), error.is_retryable()), (Outcome::NotApplied, false));
    }
    assert!(cluster.rest().is_empty());
    client.put(vec![b'k'; 1024], vec![0; 1024 * 1024]).await.expect("the largest there may be");
}

#[tokio::test]
async fn another_cluster_and_a_dead_seed_are_told_apart() {
    let mut cluster = Cluster::start(2).await;
    cluster.down(NodeId(2)).await;
    let builder = Client::builder().seeds(&cluster.addresses());
    let error = builder.clone().cluster("other").connect().await.expect_err("another cluster");
    let ConnectError::NoSeedAnswered { seeds } = &error else { panic!("{error}") };
    assert!(seeds.iter().all(|seed| matches!(seed.error, SeedError::Link(_))));
    let text = error.to_string();
    assert!(text.contains("it belongs to cluster \"fake\"") && text.contains("cannot connect: connection refused"), "{text}");

    let client = builder.cluster(CLUSTER).connect().await.expect("one seed is enough");
    assert_eq!(client.nodes(), [NodeId(1), NodeId(2)]);
}

/// Somebody moved a node, and another one answers at its address.
#[tokio::test]
async fn a_node_under_another_nodes_address_gets_nothing() {
    let mut cluster = Cluster::start(2).await;
    cluster.change(|topology: &mut Topology| topology.addresses[1].1 = topology.addresses[0].1.clone());
    let client = cluster.client().await;
    let error = client.status_of(NodeId(2)).await.expect_err("n1 answers there");
    assert_eq!(error.to_string(), "status n2: no node could be reached; n2: n1 answers at its address");
}

#[tokio::test]
async fn each_node_can_be_asked_how_it_is() {
    let mut cluster = Cluster::start(2).await;
    let client = cluster.client().await;
    assert_eq!(client.status_of(NodeId(2)).await.expect("answered").node, NodeId(2));
    assert_eq!(client.metrics_of(NodeId(2)).await.expect("answered"), "fake_node 2\n");
    cluster.down(NodeId(2)).await;
    until("n2 is gone", async || matches!(client.status_of(NodeId(2)).await, Err(Error::Unreachable { .. }))).await;
    let unknown = client.status_of(NodeId(9)).await.expect_err("no member");
    assert_eq!(unknown.to_string(), "status n9: the cluster has no such node");
    let bucket = client.bucket(SINGLE);
    assert_eq!(bucket.name(), SINGLE);
}
