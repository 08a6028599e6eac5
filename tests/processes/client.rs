//! Deadlines and retries of the client library.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use quorate_client::{Client, Level, OpId, Outcome};
use quorate_lab::cluster::{BucketSpec, ClusterSpec};
use tokio::task::JoinSet;

use crate::support::cluster::{N1, N2, N3, TestCluster, spec};
use crate::support::wait::{BUSY, PATIENCE, eventually, seen};

#[tokio::test]
async fn an_operation_ends_by_its_deadline_when_nobody_answers() {
    const DEADLINE: Duration = Duration::from_millis(800);
    let mut cluster = TestCluster::start(spec(3)).await;
    let kv = cluster.connect(Client::builder().deadline(DEADLINE)).await;
    kv.put("k", "before").level(Level::All).await.unwrap_or_else(|error| panic!("{error}"));
    for node in [N1, N2, N3] {
        cluster.stop(node).await;
    }
    let asked = Instant::now();
    let read = kv.get("k").await.expect_err("all nodes are stopped");
    let took = asked.elapsed();
    assert!(took >= DEADLINE / 2 && took < DEADLINE + BUSY, "its deadline was {DEADLINE:?}, it took {took:?}: {read}");
    assert_eq!((read.outcome(), read.is_retryable()), (Outcome::NotApplied, true), "{read}");
    let put = kv.put("k", "after").await.expect_err("all nodes are stopped");
    assert!(put.is_retryable(), "{put}");
    for node in [N1, N2, N3] {
        cluster.resume(node).await.unwrap_or_else(|error| panic!("{error}"));
    }
    eventually("the client finds its way back", async || kv.get("k").await.map_err(|error| error.to_string())).await;
}

/// A put that was acknowledged.
struct Acknowledged {
    key: String,
    value: String,
    op: OpId,
}

/// Every put adds a sibling, so that one applied twice would show.
async fn add_siblings(kv: Client, writer: usize, acknowledged: Arc<AtomicUsize>) -> Vec<Acknowledged> {
    let mut puts = Vec::new();
    for number in 0..40 {
        let (key, value) = (format!("k{}", number % 20), format!("{writer}-{number}"));
        let put = kv.bucket("wide").put(&key, value.clone()).concurrent().level(Level::Quorum).deadline(PATIENCE);
        let written = put.await.unwrap_or_else(|error| panic!("{error}"));
        acknowledged.fetch_add(1, Ordering::Relaxed);
        puts.push(Acknowledged { key, value, op: written.op() });
    }
    puts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_after_a_coordinator_was_killed_apply_nothing_twice() {
    let wide = BucketSpec { siblings_max: Some(128), ..BucketSpec::new("wide") };
    let mut cluster = TestCluster::start(ClusterSpec { buckets: vec![wide], ..spec(3) }).await;
    let kv = cluster.client().await;
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let writers: JoinSet<_> = (0..32).map(|writer| add_siblings(kv.clone(), writer, Arc::clone(&acknowledged))).collect();
    eventually("the load is under way", async || {
        let count = acknowledged.load(Ordering::Relaxed);
        seen(count >= 200, count)
    })
    .await;
    cluster.kill(N1).expect("n1 runs");
    assert!(acknowledged.load(Ordering::Relaxed) < 32 * 40, "the kill fell into the load");
    let puts: Vec<Acknowledged> = writers.join_all().await.into_iter().flatten().collect();
    cluster.restart(N1).await.unwrap_or_else(|error| panic!("{error}"));

    let mut expected: BTreeMap<&str, BTreeSet<(String, OpId)>> = BTreeMap::new();
    for put in &puts {
        expected.entry(&put.key).or_default().insert((put.value.clone(), put.op));
    }
    for (key, expected) in expected {
        let read = kv.bucket("wide").get(key).level(Level::All).await.unwrap_or_else(|error| panic!("{error}"));
        let found: Vec<(String, OpId)> = read
            .siblings()
            .iter()
            .map(|sibling| (String::from_utf8_lossy(&sibling.value).into_owned(), sibling.op.expect("a client's put has a name")))
            .collect();
        let once: BTreeSet<_> = found.iter().cloned().collect();
        assert_eq!(once, expected, "{key}");
        assert_eq!(found.len(), once.len(), "{key}: an operation is there twice: {found:?}");
    }
}

/// A write may be sent again by its name, to find out what became of it. What has replaced it meanwhile must not be lost by that.
#[tokio::test]
async fn a_write_sent_again_by_its_name_is_found_and_never_overwrites_what_replaced_it() {
    let cluster = TestCluster::start(spec(3)).await;
    let kv = cluster.client().await.default_bucket().level(Level::All);
    let first = kv.put("k", "first").await.unwrap_or_else(|error| panic!("{error}"));
    for _ in 0..3 {
        let again = kv.put("k", "first").op_id(first.op()).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(again.op(), first.op());
        let read = kv.get("k").await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(read.siblings().len(), 1, "it is one write: {:?}", read.siblings());
    }
    kv.put("k", "second").context(first.context()).await.unwrap_or_else(|error| panic!("{error}"));
    kv.put("k", "first").op_id(first.op()).await.unwrap_or_else(|error| panic!("{error}"));
    let read = kv.get("k").await.unwrap_or_else(|error| panic!("{error}"));
    assert!(read.values().any(|value| value == "second"), "a retry that comes late has overwritten: {:?}", read.siblings());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_of_a_typed_bucket_at_the_same_time_lose_nothing() {
    let cluster = TestCluster::start(spec(3)).await;
    let kv = cluster.client().await;
    let carts = kv.default_bucket().json::<BTreeSet<u32>>().resolve_with(|a, b| &a | &b);
    let mut updates = JoinSet::new();
    for item in 0..12 {
        let carts = carts.clone();
        updates.spawn(async move {
            let change = |cart: Option<BTreeSet<u32>>| {
                let mut cart = cart.unwrap_or_default();
                cart.insert(item);
                cart
            };
            carts.update("cart", change).await.map(drop)
        });
    }
    for updated in updates.join_all().await {
        updated.unwrap_or_else(|error| panic!("{error}"));
    }
    let cart = carts.read("cart").await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(cart.value, Some((0..12).collect()), "{} siblings", cart.siblings);
}

#[tokio::test]
async fn a_client_needs_one_living_seed_and_learns_the_others() {
    let mut cluster = TestCluster::start(spec(3)).await;
    cluster.kill(N1).expect("n1 runs");
    let kv = cluster.client().await;
    kv.put("k", "v").level(Level::Quorum).await.unwrap_or_else(|error| panic!("{error}"));
    let only_n2 = Client::builder().seeds(cluster.address(N2)).deadline(PATIENCE).connect().await.unwrap_or_else(|error| panic!("{error}"));
    cluster.restart(N1).await.unwrap_or_else(|error| panic!("{error}"));
    cluster.kill(N2).expect("n2 runs");
    let read = only_n2.get("k").level(Level::Quorum).await.unwrap_or_else(|error| panic!("its only seed is dead: {error}"));
    assert_eq!(read.single().expect("one value").as_deref(), Some(&b"v"[..]));

    let refused = Client::connect(cluster.address(N2)).await.expect_err("nobody listens there");
    assert!(refused.to_string().contains(cluster.address(N2)), "{refused}");
}
