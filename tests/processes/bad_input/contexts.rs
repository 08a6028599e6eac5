//! Contexts that were not given out for the key, and too many siblings.

use quorate_client::{Client, Context, Error, Outcome};
use quorate_lab::cluster::{BucketSpec, ClusterSpec};
use quorate_protocol::outcome::Reason;

use crate::support::cli::run;
use crate::support::cluster::{TestCluster, spec};

async fn context_of(cluster: &TestCluster, key: &str) -> String {
    let json = cluster.cli(&["put", key, "before", "--output", "json"]).await.exits(0).json();
    json["context"].as_str().expect("a put answers with a context").to_owned()
}

/// Asserts that writes to `key` with this context are refused and change nothing.
async fn assert_invalid(cluster: &TestCluster, key: &str, context: &str) {
    for arguments in [&["put", key, "after", "--context", context][..], &["del", key, "--context", context]] {
        let ran = cluster.cli(arguments).await.exits(2);
        ran.says("the context is not one that this cluster gave out for this key").says("not applied");
    }
    let kv: Client = cluster.client().await;
    let parsed: Context = context.parse().expect("spelled as a context");
    let error: Error = kv.put(key, "after").context(&parsed).await.expect_err("an invalid context");
    assert_eq!((error.reason(), error.outcome()), (Some(&Reason::InvalidContext), Outcome::NotApplied), "{error}");
    assert!(!error.is_retryable(), "{error}");
    assert_eq!(cluster.cli(&["get", key]).await.exits(0).text(), "before\n");
}

#[tokio::test]
async fn the_context_of_another_key_bucket_or_cluster_is_refused_and_nothing_is_applied() {
    let other_bucket = BucketSpec::new("other");
    let cluster = TestCluster::start(ClusterSpec { buckets: vec![other_bucket], ..spec(1) }).await;
    let mine = context_of(&cluster, "k").await;
    let other_key = context_of(&cluster, "l").await;
    assert_invalid(&cluster, "k", &other_key).await;
    let ran = cluster.cli(&["put", "k", "x", "--bucket", "other", "--context", &mine]).await.exits(2);
    ran.says("the context is not one that this cluster gave out for this key");

    let stranger = TestCluster::start(spec(1)).await;
    let other_cluster = context_of(&stranger, "k").await;
    assert_invalid(&cluster, "k", &other_cluster).await;
    cluster.cli(&["put", "k", "after", "--context", &mine]).await.exits(0);
}

#[tokio::test]
async fn a_damaged_context_is_refused_and_nothing_is_applied() {
    let cluster = TestCluster::start(spec(1)).await;
    let whole = context_of(&cluster, "k").await;
    let (before, middle, behind) = (&whole[..whole.len() / 2], &whole[whole.len() / 2..=whole.len() / 2], &whole[whole.len() / 2 + 1..]);
    let changed = if middle == "A" { "B" } else { "A" };
    assert_invalid(&cluster, "k", &format!("{before}{changed}{behind}")).await;
    assert_invalid(&cluster, "k", &whole[..whole.len() - 4]).await;
    // Some damage shows without asking anybody.
    for text in ["", "AAAA", "c1.", "c1.a*b"] {
        cluster.cli(&["put", "k", "after", "--context", text]).await.exits(2).says("context");
    }
    let nobody = run(&["put", "k", "after", "--context", "c1.", "--cluster", "127.0.0.1:1"]).await;
    nobody.exits(2);
    assert_eq!(cluster.cli(&["get", "k"]).await.exits(0).text(), "before\n");
}

#[tokio::test]
async fn too_many_siblings_are_told_with_the_context_that_resolves_them() {
    let few = BucketSpec { siblings_max: Some(2), ..BucketSpec::new("few") };
    let cluster = TestCluster::start(ClusterSpec { buckets: vec![few], ..spec(1) }).await;
    let put = async |value: &str| cluster.cli(&["put", "k", value, "--bucket", "few", "--concurrent", "--output", "json"]).await;
    put("a").await.exits(0);
    put("b").await.exits(0);
    let ran = cluster.cli(&["put", "k", "c", "--bucket", "few", "--concurrent"]).await.exits(1);
    ran.says("the key has 2 siblings already, the limit of its bucket").says("not applied").says("--context c1.");
    let refused = put("c").await.exits(1).json();
    assert_eq!((&refused["outcome"], &refused["retryable"]), (&"not_applied".into(), &false.into()), "{refused}");
    cluster.cli(&["get", "k", "--bucket", "few", "--fail-on-siblings"]).await.exits(5);

    let context = refused["context"].as_str().expect("the error carries a context");
    cluster.cli(&["put", "k", "merged", "--bucket", "few", "--context", context]).await.exits(0);
    assert_eq!(cluster.cli(&["get", "k", "--bucket", "few"]).await.exits(0).text(), "merged\n");
}
