//! Clients that go away while they are served.

use std::time::Duration;

use quorate_client::Level;
use tokio::time::timeout;

use crate::cluster::{Cluster, N1, N3, NODES, Sometimes, Weather, simulate};

/// Longer than a write takes here, in steps of a millisecond.
const PATIENCE_MS_MAX: u64 = 25;

/// Calls dropped sooner and sooner after they were made, while one replica is out of reach but not known to be.
async fn dropped_calls(cluster: Cluster, abandoned: Sometimes) {
    let client = cluster.client().await;
    cluster.cut_off(N3);
    let mut answered = Vec::new();
    for patience_ms in 0..PATIENCE_MS_MAX {
        let put = client.bucket("default").via(N1).put(format!("k{patience_ms}"), "v").level(Level::Quorum);
        answered.push(timeout(Duration::from_millis(patience_ms), put).await.is_ok());
    }
    let sees_it = async || client.status_of(N1).await.is_ok_and(|status| status.peers.iter().any(|peer| !peer.up));
    cluster.until("n1 knows that n3 is out of reach", sees_it).await;
    cluster.heal(N3);
    cluster.until_settled().await;
    for (patience_ms, answered) in answered.into_iter().enumerate() {
        let key = format!("k{patience_ms}");
        let held = cluster.held(&client, N1, &key).await;
        for node in NODES {
            assert_eq!(cluster.held(&client, node, &key).await, held, "{node} {key}");
        }
        assert!(!held.is_empty() || !answered, "{key} was acknowledged");
        abandoned.note(!held.is_empty() && !answered);
    }
}

#[test]
fn a_write_whose_caller_went_away_ends_on_all_replicas_all_the_same() {
    let abandoned = Sometimes::default();
    for seed in 1..=4 {
        let weather = Weather { latency_ms: (1, 5), ..Weather::calm(seed) };
        let noted = abandoned.clone();
        simulate(weather, |cluster| dropped_calls(cluster, noted));
    }
    abandoned.assert("a write went on after its caller had gone");
}
