//! Levels that cannot be, and levels that cannot be reached.

use quorate_client::{Error, Level, Outcome};
use quorate_lab::cluster::ClusterSpec;
use quorate_protocol::InvalidLevel;
use quorate_protocol::outcome::Reason;

use crate::support::cluster::{N1, N2, N3, TestCluster, spec};

#[tokio::test]
async fn an_impossible_level_is_refused_before_any_message() {
    let cluster = TestCluster::start(spec(3)).await;
    let text = "level r5w5 is impossible: each of its counts is from 1 to 3, the home replicas per key in the bucket";
    cluster.cli(&["put", "k", "x", "--level", "r5w5"]).await.exits(2).says(text).says("not applied");
    cluster.cli(&["get", "k", "--level", "r5w5"]).await.exits(2).says(text);
    cluster.cli(&["get", "k", "--level", "any"]).await.exits(2).says("level any is for writes only");
    cluster.cli(&["get", "k", "--level", "two"]).await.exits(2).says("\"two\" is not a level");

    let level = Level::Counts { r: 5, w: 5 };
    let reason = Reason::InvalidLevel(InvalidLevel::Impossible { level, replicas: 3 });
    let error = cluster.client().await.put("k", "x").level(level).await.expect_err("five of three");
    assert_eq!((error.reason(), error.outcome()), (Some(&reason), Outcome::NotApplied), "{error}");
    assert!(matches!(error, Error::Invalid { .. }) && !error.is_retryable(), "the client itself refused: {error}");

    let n1 = cluster.direct(N1).await;
    let asked = n1.metrics().await.sum("quorate_replica_requests_total");
    for failure in [n1.put("k", "x", level).await.map(drop), n1.get("k", level).await.map(drop)] {
        let failure = failure.expect_err("five of three");
        assert_eq!((&failure.reason, failure.outcome), (&reason, Outcome::NotApplied));
    }
    assert_eq!(n1.metrics().await.sum("quorate_replica_requests_total"), asked, "no replica was asked");
    cluster.cli(&["get", "k", "--level", "all"]).await.exits(3);
}

#[tokio::test]
async fn a_level_found_out_of_reach_by_time_out_is_unknown_and_says_who_has_the_write() {
    // So long that n1 does not count the stopped nodes as down before the request ends.
    let settings = vec!["peer.heartbeat_timeout=5m".to_owned()];
    let mut cluster = TestCluster::start(ClusterSpec { settings, ..spec(3) }).await;
    cluster.stop(N2).await;
    cluster.stop(N3).await;
    let put = ["put", "k", "x", "--level", "quorum", "--timeout", "4s"];
    let ran = cluster.cli(&put).await.exits(7).says("outcome unknown: n1 has the value and it may spread");
    let ran = ran.says("n2 timed out").says("n3 timed out").says("1 of 2 needed replicas answered").says("operation ");
    assert!(ran.took.as_secs() < 12, "its deadline was 4s: {ran}");

    let json = cluster.cli(&["put", "k", "y", "--timeout", "4s", "--output", "json"]).await.exits(7).json();
    assert_eq!((&json["outcome"], &json["exit"]), (&"unknown".into(), &7.into()), "{json}");
    let status = |node: &str| {
        let replicas = json["replicas"].as_array().expect("a list");
        replicas.iter().find(|report| report["node"] == node).map(|report| report["status"].clone())
    };
    assert_eq!(
        (status("n1"), status("n2"), status("n3")),
        (Some("answered".into()), Some("timed_out".into()), Some("timed_out".into())),
        "{json}"
    );
    assert!(json["operation_id"].is_string(), "{json}");
    cluster.cli(&["get", "k", "--timeout", "4s"]).await.exits(6).says("timed out");

    // It may spread, and does.
    for node in [N2, N3] {
        cluster.resume(node).await.unwrap_or_else(|error| panic!("{error}"));
    }
    cluster.wait_until_connected().await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(cluster.cli(&["get", "k", "--level", "all", "--timeout", "20s"]).await.exits(0).text(), "y\n");
}

#[tokio::test]
async fn no_cluster_is_told_with_every_address_that_was_tried() {
    let mut cluster = TestCluster::start(spec(1)).await;
    cluster.kill(N1).expect("n1 runs");
    for arguments in [&["put", "k", "x"][..], &["get", "k"], &["status"], &["ring"], &["dump"]] {
        cluster.cli(arguments).await.exits(6).says("no node could be reached").says(cluster.address(N1));
    }
    cluster.cli(&["get", "k", "--cluster", "nowhere"]).await.exits(2);
    cluster.cli(&["get", "k", "--timeout", "soon"]).await.exits(2);
}

#[tokio::test]
async fn an_unknown_bucket_is_refused_by_name() {
    let cluster = TestCluster::start(spec(1)).await;
    cluster.cli(&["put", "k", "x", "--bucket", "cards"]).await.exits(2).says("no bucket is called \"cards\"");
    cluster.cli(&["get", "k", "--bucket", "Not A Name"]).await.exits(2);
    cluster.cli(&["ring", "--bucket", "cards"]).await.exits(2).says("default");
}
