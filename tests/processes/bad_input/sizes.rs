//! Empty and too long keys, too long values; and the longest that are allowed.

use quorate_client::{Client, Error, Level, Outcome};
use quorate_protocol::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use quorate_protocol::outcome::{Reason, Sized};
use quorate_rpc::kv::WriteContext;

use crate::support::cluster::{N1, TestCluster, spec};
use crate::support::wait::{eventually, seen};

#[tokio::test]
async fn an_empty_key_is_refused_before_anything_is_sent() {
    let cluster = TestCluster::start(spec(1)).await;
    for arguments in [&["put", "", "x"][..], &["get", ""], &["del", ""], &["siblings", ""], &["ring", "--key", ""]] {
        cluster.cli(arguments).await.exits(2).says("the key is empty; a key has 1 to 1024 bytes");
    }
    let kv = cluster.client().await;
    for refused in [kv.put("", "x").await.map(drop), kv.get("").await.map(drop), kv.delete("").await.map(drop)] {
        let error = refused.expect_err("the key is empty");
        assert!(matches!(error.reason(), Some(Reason::InvalidKey { bytes_max: 1024 })), "{error}");
        assert!(matches!(error, Error::Invalid { .. }) && error.outcome() == Outcome::NotApplied, "{error}");
    }
    // A client that does not check is refused by the node.
    let failure = cluster.direct(N1).await.put("", "x", Level::One).await.expect_err("the key is empty");
    assert_eq!((&failure.reason, failure.outcome), (&Reason::InvalidKey { bytes_max: 1024 }, Outcome::NotApplied));
}

#[tokio::test]
async fn a_key_over_one_kibibyte_is_refused_with_the_limit_and_one_of_that_length_is_taken() {
    let cluster = TestCluster::start(spec(3)).await;
    let (longest, too_long) = ("k".repeat(KEY_BYTES_MAX), "k".repeat(KEY_BYTES_MAX + 1));
    cluster.cli(&["put", &too_long, "x"]).await.exits(2).says("the key has 1025 bytes; a key has 1 to 1024 bytes");
    cluster.cli(&["get", &too_long]).await.exits(2);
    let reason = Reason::TooLarge { what: Sized::Key, bytes: 1025, bytes_max: 1024 };
    let error = cluster.client().await.put(&too_long, "x").await.expect_err("the key is too long");
    assert_eq!((error.reason(), error.outcome()), (Some(&reason), Outcome::NotApplied), "{error}");
    let failure = cluster.direct(N1).await.put(&too_long, "x", Level::One).await.expect_err("the key is too long");
    assert_eq!((&failure.reason, failure.outcome), (&reason, Outcome::NotApplied));

    cluster.cli(&["put", &longest, "x", "--level", "all"]).await.exits(0);
    assert_eq!(cluster.cli(&["get", &longest, "--level", "all"]).await.exits(0).text(), "x\n");
    assert_eq!(cluster.cli(&["dump"]).await.exits(0).text(), format!("{longest}\tx\n"));
}

#[tokio::test]
async fn a_value_over_one_mebibyte_is_refused_with_the_limit_and_one_of_that_length_is_taken() {
    let cluster = TestCluster::start(spec(3)).await;
    let (longest, too_long) = (vec![b'v'; VALUE_BYTES_MAX], vec![b'v'; VALUE_BYTES_MAX + 1]);
    let ran = cluster.cli_with(&["put", "k", "-"], &too_long).await;
    ran.exits(2).says("the value has 1048577 bytes; a value has at most 1048576 bytes");
    let reason = Reason::TooLarge { what: Sized::Value, bytes: 1_048_577, bytes_max: 1_048_576 };
    let error = cluster.client().await.put("k", too_long.clone()).await.expect_err("the value is too long");
    assert_eq!((error.reason(), error.outcome()), (Some(&reason), Outcome::NotApplied), "{error}");
    let sent = cluster.direct(N1).await.write("k", too_long, Some(Level::One), WriteContext::Blind).await;
    let failure = sent.expect_err("the value is too long");
    assert_eq!((&failure.reason, failure.outcome), (&reason, Outcome::NotApplied));
    cluster.cli(&["get", "k", "--level", "all"]).await.exits(3);

    cluster.cli_with(&["put", "k", "-", "--level", "all"], &longest).await.exits(0);
    let read = cluster.cli(&["get", "k", "--level", "all", "--output", "raw"]).await.exits(0);
    assert!(read.stdout == longest, "{} bytes came back", read.stdout.len());
    cluster.cli(&["put", "empty", "", "--level", "all"]).await.exits(0);
    assert_eq!(cluster.cli(&["get", "empty", "--output", "raw"]).await.exits(0).text(), "", "an empty value is a value");
}

#[tokio::test]
async fn as_many_siblings_of_the_largest_size_as_a_bucket_allows_fit_into_every_message() {
    const SIBLINGS: u8 = 16;
    let cluster = TestCluster::start(spec(3)).await;
    let kv = cluster.connect(Client::builder().deadline(std::time::Duration::from_secs(30))).await;
    for number in 0..SIBLINGS {
        let put = kv.put("k", vec![b'a' + number; VALUE_BYTES_MAX]).concurrent().level(Level::All);
        // On a busy machine it may be sent twice. The second sending may meet the first one's sibling as one too many.
        let Err(error) = put.await else { continue };
        assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
        eventually(&format!("write {number} is there"), async || {
            let read = kv.get("k").level(Level::All).await.map_err(|error| error.to_string())?;
            seen(read.values().any(|value| value[0] == b'a' + number), read.siblings().len())
        })
        .await;
    }
    let read = kv.get("k").level(Level::All).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(read.siblings().len(), usize::from(SIBLINGS));
    assert!(read.values().all(|value| value.len() == VALUE_BYTES_MAX));
    kv.put("k", "small").context(read.context()).level(Level::All).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(kv.get("k").await.unwrap_or_else(|error| panic!("{error}")).siblings().len(), 1);
}
