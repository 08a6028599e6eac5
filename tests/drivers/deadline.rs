//! Answers that do not come.

use std::time::Duration;

use quorate_client::{Client, Error, Level, Outcome};
use tokio::time::Instant;

use crate::cluster::{Cluster, N1, N2, N3, NODES, Weather, simulate};

const DEADLINE: Duration = Duration::from_millis(400);

/// A step of the simulation: what is due within it happens at its end.
const STEP: Duration = Duration::from_millis(1);

/// What a put fails with, and how long that takes.
async fn failed_put(client: &Client, key: &'static str) -> (Error, Duration) {
    let begun = Instant::now();
    let put = client.bucket("default").via(N1).put(key, "new").concurrent().level(Level::Quorum).deadline(DEADLINE);
    (put.await.expect_err("one of three is too few"), begun.elapsed())
}

async fn replicas_in_a_black_hole(cluster: Cluster) {
    let client = cluster.client().await;
    for other in [N2, N3] {
        cluster.hold(N1, other);
    }
    let (error, took) = failed_put(&client, "k").await;
    assert!(took <= DEADLINE + STEP, "{took:?}");
    assert_eq!(error.outcome(), Outcome::Unknown, "n1 has it, the others may get it: {error}");

    let begun = Instant::now();
    let error = client.bucket("default").via(N1).get("k").level(Level::Quorum).deadline(DEADLINE).await.expect_err("nobody else answers");
    assert!(begun.elapsed() <= DEADLINE + STEP, "{:?}", begun.elapsed());
    assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");

    let sees_nobody = async || client.status_of(N1).await.is_ok_and(|status| status.peers.iter().all(|peer| !peer.up));
    cluster.until("n1 knows that it is alone", sees_nobody).await;
    let (error, took) = failed_put(&client, "refused").await;
    assert!(took < DEADLINE / 4, "{took:?}");
    assert_eq!(error.outcome(), Outcome::NotApplied, "n1 knows beforehand: {error}");

    for other in [N2, N3] {
        cluster.release(N1, other);
    }
    cluster.until_settled().await;
    for node in NODES {
        assert_eq!(cluster.held(&client, node, "k").await, ["new"], "{node}: what was applied here goes everywhere");
        assert!(cluster.held(&client, node, "refused").await.is_empty(), "{node}");
    }
}

#[test]
fn silent_replicas_cost_an_operation_its_deadline_and_no_more_and_known_ones_nothing() {
    (1..=4).for_each(|seed| simulate(Weather::calm(seed), replicas_in_a_black_hole));
}

async fn coordinators_in_a_black_hole(cluster: Cluster) {
    let client = cluster.client().await;
    for node in NODES {
        // From now on it has a connection to each.
        client.bucket("default").via(node).put("k", "old").level(Level::All).await.expect("all are there");
    }
    NODES.into_iter().for_each(|node| cluster.hold_here(node));
    let begun = Instant::now();
    let error = client.put("k", "new").concurrent().level(Level::Quorum).deadline(DEADLINE).await.expect_err("nobody answers");
    assert!(begun.elapsed() <= DEADLINE + STEP, "{:?}", begun.elapsed());
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    NODES.into_iter().for_each(|node| cluster.release_here(node));
    cluster.until_settled().await;
    let held = cluster.held(&client, N1, "k").await;
    for node in NODES {
        assert_eq!(cluster.held(&client, node, "k").await, held, "{node}");
    }
}

#[test]
fn a_client_that_hears_nothing_says_by_its_deadline_that_it_does_not_know() {
    (1..=4).for_each(|seed| simulate(Weather::calm(seed), coordinators_in_a_black_hole));
}
