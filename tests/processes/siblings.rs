//! Concurrent writes are all kept, and replaced only by who has seen them.

use quorate_client::{Bucket, Client, Level, Outcome, Read};
use quorate_lab::cluster::{BucketSpec, ClusterSpec};
use quorate_protocol::outcome::Reason;

use crate::support::cluster::{TestCluster, spec};

/// The most siblings that the bucket `few` allows.
const FEW: u32 = 3;

async fn cluster() -> TestCluster {
    let few = BucketSpec { siblings_max: Some(FEW), ..BucketSpec::new("few") };
    let seeing = BucketSpec { blind_writes: Some(false), ..BucketSpec::new("seeing") };
    TestCluster::start(ClusterSpec { buckets: vec![few, seeing], ..spec(3) }).await
}

/// The default bucket at `all`: whichever node coordinates has seen every write before.
fn at_all(kv: &Client) -> Bucket {
    kv.default_bucket().level(Level::All)
}

async fn get(bucket: &Bucket, key: &str) -> Read {
    bucket.get(key).await.unwrap_or_else(|error| panic!("{error}"))
}

fn values(read: &Read) -> Vec<String> {
    let mut values: Vec<String> = read.values().map(|value| String::from_utf8_lossy(value).into_owned()).collect();
    values.sort();
    values
}

#[tokio::test]
async fn two_writers_with_one_context_leave_two_siblings_that_a_third_resolves() {
    let cluster = cluster().await;
    let (kim, lee, max) = (cluster.client().await, cluster.client().await, cluster.client().await);
    kim.put("cart", "milk").await.unwrap_or_else(|error| panic!("{error}"));
    let seen = get(&kim.default_bucket(), "cart").await;
    let both = tokio::join!(async { kim.put("cart", "milk, bread").context(seen.context()).await }, async {
        lee.put("cart", "milk, eggs").context(seen.context()).await
    });
    both.0.and(both.1).unwrap_or_else(|error| panic!("{error}"));

    let conflict = get(&max.default_bucket(), "cart").await.single().expect_err("two writers did not see each other");
    assert_eq!(conflict.siblings().len(), 2, "{conflict}");
    let merged = max.put("cart", "milk, bread, eggs").context(conflict.context()).await;
    merged.unwrap_or_else(|error| panic!("{error}"));
    for reader in [&kim, &lee, &max] {
        assert_eq!(values(&get(&reader.default_bucket(), "cart").await), ["milk, bread, eggs"]);
    }
}

#[tokio::test]
async fn an_old_context_replaces_what_it_has_seen_and_nothing_newer() {
    let cluster = cluster().await;
    let kv = at_all(&cluster.client().await);
    let first = kv.put("k", "first").await.unwrap_or_else(|error| panic!("{error}"));
    kv.put("k", "second").context(first.context()).await.unwrap_or_else(|error| panic!("{error}"));
    kv.put("k", "late").context(first.context()).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(values(&get(&kv, "k").await), ["late", "second"]);
}

#[tokio::test]
async fn a_put_without_a_context_replaces_what_its_coordinator_has_seen() {
    let cluster = cluster().await;
    let client = cluster.client().await;
    let kv = at_all(&client);
    for number in 0..30 {
        kv.put("at-all", number.to_string()).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(values(&get(&kv, "at-all").await), [number.to_string()]);
    }
    // At quorum one replica may lag behind, so that a blind put through it leaves what it had not seen beside it: at most one
    // sibling per home replica.
    for number in 0..60 {
        client.put("at-quorum", number.to_string()).level(Level::Quorum).await.unwrap_or_else(|error| panic!("{error}"));
        let found = values(&get(&client.default_bucket(), "at-quorum").await);
        assert!(found.len() <= 3 && found.contains(&number.to_string()), "after {number}: {found:?}");
    }
}

#[tokio::test]
async fn a_concurrent_put_keeps_everything() {
    let cluster = cluster().await;
    let kv = at_all(&cluster.client().await);
    for value in ["a", "b", "c", "d"] {
        kv.put("k", value).concurrent().await.unwrap_or_else(|error| panic!("{error}"));
    }
    assert_eq!(values(&get(&kv, "k").await), ["a", "b", "c", "d"]);
    kv.put("k", "e").await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(values(&get(&kv, "k").await), ["e"], "a blind put has seen them all");
}

#[tokio::test]
async fn a_delete_spares_what_it_has_not_seen() {
    let cluster = cluster().await;
    let kv = at_all(&cluster.client().await);
    let first = kv.put("k", "old").await.unwrap_or_else(|error| panic!("{error}"));
    kv.put("k", "new").context(first.context()).await.unwrap_or_else(|error| panic!("{error}"));
    kv.delete("k").context(first.context()).await.unwrap_or_else(|error| panic!("{error}"));
    let read = get(&kv, "k").await;
    assert_eq!(values(&read), ["new"], "a delete that had seen only the old value");
    kv.delete("k").context(read.context()).await.unwrap_or_else(|error| panic!("{error}"));
    let gone = get(&kv, "k").await;
    assert_eq!(values(&gone), Vec::<String>::new());
    kv.put("k", "again").context(gone.context()).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(values(&get(&kv, "k").await), ["again"]);
}

#[tokio::test]
async fn one_sibling_too_many_is_refused_with_the_context_that_resolves_them() {
    let cluster = cluster().await;
    let kv = cluster.client().await.bucket("few").level(Level::All);
    for number in 0..FEW {
        kv.put("k", number.to_string()).concurrent().await.unwrap_or_else(|error| panic!("{error}"));
    }
    let refused = kv.put("k", "too many").concurrent().await.expect_err("the bucket's limit is reached");
    assert!(matches!(refused.reason(), Some(Reason::TooManySiblings { siblings_max: FEW, .. })), "{refused}");
    assert_eq!((refused.outcome(), refused.is_retryable()), (Outcome::NotApplied, false), "{refused}");
    assert_eq!(values(&get(&kv, "k").await), ["0", "1", "2"]);

    let context = refused.context().expect("the error carries what resolves it");
    kv.put("k", "merged").context(&context).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(values(&get(&kv, "k").await), ["merged"]);
}

#[tokio::test]
async fn a_bucket_that_refuses_blind_writes_takes_those_that_have_seen() {
    let cluster = cluster().await;
    let kv = cluster.client().await.bucket("seeing");
    let refused = kv.put("k", "blind").await.expect_err("nothing was read");
    assert!(matches!(refused.reason(), Some(Reason::BlindWriteRefused { bucket }) if bucket == "seeing"), "{refused}");
    assert_eq!(refused.outcome(), Outcome::NotApplied);
    let refused = kv.delete("k").await.expect_err("a delete is a write");
    assert!(matches!(refused.reason(), Some(Reason::BlindWriteRefused { .. })), "{refused}");

    let absent = get(&kv, "k").await;
    assert_eq!(values(&absent), Vec::<String>::new());
    kv.put("k", "seen").context(absent.context()).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(values(&get(&kv, "k").await), ["seen"]);
}
