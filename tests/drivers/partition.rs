//! A node that is cut off, and comes back.

use quorate_client::Level;

use crate::cluster::{Cluster, N1, N2, N3, NODES, Weather, simulate};

const KEYS: usize = 20;

async fn a_cut_and_its_end(cluster: Cluster) {
    let client = cluster.client().await;
    let mut seen = Vec::new();
    for key in 0..KEYS {
        seen.push(client.put(format!("k{key}"), "old").level(Level::All).await.expect("all are there"));
    }
    cluster.cut_off(N3);
    for (key, seen) in seen.iter().enumerate() {
        let put = client.put(format!("k{key}"), "new").context(seen.context()).level(Level::Quorum);
        put.await.expect("two of three are left");
        let read = client.get(format!("k{key}")).level(Level::Quorum).await.expect("two of three are left");
        assert_eq!(read.single().expect("one value").expect("a value"), "new");
    }
    let kept = async |node| {
        let status = client.status_of(node).await.expect("it is not cut off");
        status.peers.iter().find(|peer| peer.node == N3).expect("a member").hints
    };
    cluster.until("each write is kept for n3", async || kept(N1).await + kept(N2).await >= KEYS as u64).await;
    cluster.heal(N3);
    cluster.until_settled().await;
    for key in 0..KEYS {
        for node in NODES {
            assert_eq!(cluster.held(&client, node, &format!("k{key}")).await, ["new"], "{node} k{key}");
        }
    }
}

#[test]
fn a_node_that_was_cut_off_is_reached_again_and_gets_every_write_by_hint() {
    (1..=4).for_each(|seed| simulate(Weather::calm(seed), a_cut_and_its_end));
}
