//! Hints for nodes that are no members: never delivered, never forgotten in silence.
//!
//! **Rules.**
//! - *Upon start*: tell the operator once, for each such node, how many there are.
//! - *Meanwhile*: drop those that are older than `hints.age_max`; their writes reached home replicas. One that may be the only copy of
//!   its write stays until its node is a member again.
//!
//! They are in the status and the metrics like all others. A node that is a member again gets them in the ordinary way, after a
//! restart of their keeper, which a change of members needs anyway.

use std::sync::Arc;
use std::time::Duration;

use quorate_anti_entropy::Hint;
use quorate_ring::NodeId;

use super::age_ms_max;
use crate::metrics::Dropped;
use crate::node::Node;
use crate::store::{HintStats, StoreError};

/// How often they are looked through. What expires is hours old.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Hints read at a time.
const PAGE: usize = 64;

/// The nodes that are no members and have hints kept for them here.
pub(crate) fn departed(node: &Node) -> impl Iterator<Item = (NodeId, HintStats)> {
    node.store.all_hint_stats().into_iter().filter(|(target, _)| node.config.cluster.node(*target).is_none())
}

/// Tells of them, and drops what has expired, as long as the node runs.
pub(super) async fn watch(node: Arc<Node>) {
    for (target, HintStats { count, bytes }) in departed(&node) {
        tracing::warn!(peer = %target, hints = count, bytes, "hints are kept for a node that is no member");
    }
    loop {
        for (target, _) in departed(&node) {
            if let Err(error) = drop_expired(&node, target).await {
                tracing::debug!(peer = %target, %error, "expired hints are not removed yet");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = node.stopping.cancelled() => return,
        }
    }
}

async fn drop_expired(node: &Node, target: NodeId) -> Result<(), StoreError> {
    let mut after = 0;
    loop {
        let page = node.store.hints(target, after, PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = *last;
        let now_ms = node.clock.wall_ms();
        for (seq, bytes) in page {
            let is_over = |hint: Hint| hint.is_expired(now_ms, age_ms_max(node), node.options);
            if postcard::from_bytes(&bytes).is_ok_and(is_over) {
                node.store.remove_hints(target, [seq])?;
                node.metrics.hints_dropped(Dropped::Expired, 1);
            }
        }
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quorate_protocol::{BucketId, Siblings};
    use quorate_ring::RingEpoch;

    use super::*;
    use crate::tests::{N1, TestCluster};

    const GONE: NodeId = NodeId(9);

    async fn keep(node: &Node, kept_ms: u64, only_copy: bool) {
        let key = Bytes::from_static(b"k");
        let hint = Hint { bucket: BucketId(0), key, delta: Siblings::empty(), epoch: RingEpoch(1), kept_ms, only_copy };
        let bytes = Bytes::from(postcard::to_stdvec(&hint).expect("encodes"));
        node.store.put_hint(GONE, bytes).expect("taken").await.expect("synced");
    }

    #[tokio::test]
    async fn hints_for_a_node_that_left_are_shown_and_expire_unless_they_may_be_the_only_copy() {
        let n1 = TestCluster::of(1, &[]).await.start(N1);
        keep(&n1.node, 0, false).await;
        keep(&n1.node, 0, true).await;
        keep(&n1.node, n1.node.clock.wall_ms(), false).await;
        let shown = |count| departed(&n1.node).map(|(node, hints)| (node, hints.count)).eq([(GONE, count)]);
        assert!(shown(3));
        drop_expired(&n1.node, GONE).await.expect("removed");
        // The store works in order: once this one is there, what was removed is gone.
        keep(&n1.node, 0, true).await;
        assert!(shown(3), "one left, one came");
        assert!(n1.node.render_metrics().contains("quorate_hints_pending{peer=\"n9\"} 3"));
        assert!(n1.node.render_metrics().contains("quorate_hints_dropped_total{reason=\"expired\"} 1"));
    }
}
