//! Whether a new data directory may be this node's: its peers vouch for it.
//!
//! **Promise.** Of all data directories ever made under one node's id, at most one serves. A node that lost its disk and is started with
//! `--init` knows neither which dots it has given out nor what it has acknowledged, so it must not serve even the first client.
//!
//! **Who takes part.** A node with a new directory, and the other members of its cluster. A member that welcomes it has durably
//! remembered its nonce, and refuses any other nonce under that id for ever ([`crate::identity`]).
//!
//! **Rules.**
//! - *Upon a start on a directory that is not marked as vouched for*: serve no client and be no replica; refuse with
//!   [`Refusal::NotVouched`](quorate_protocol::replica::Refusal::NotVouched).
//! - *Upon a peer's welcome that says it remembers*: count the peer, once.
//! - *Upon a majority of the other members*: mark the directory, synced, then serve. Later starts find the mark and serve at once.
//! - *With no other member*: mark it at the first start. There is nobody whom a second directory could contradict.
//!
//! **Why a majority.** Any two majorities of the other members share one; it remembers the first directory and refuses the second.
//! That takes members that keep their own memory: as many disks lost at a time as make up a majority void it, and most of the data with it.
//!
//! **Deliberately missing.** Members that change: the others are those of the configuration.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quorate_ring::NodeId;
use tokio::sync::watch;

use crate::node::Node;
use crate::store::StoreError;

/// Pause before the mark is tried again that the store could not take.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Who vouches for this node's directory.
pub(crate) struct Vouching {
    needed: usize,
    by: watch::Sender<BTreeSet<NodeId>>,
    /// The mark is durable.
    is_done: AtomicBool,
}

impl Vouching {
    /// Of a node with so many other members in its cluster; `is_done` if its directory is marked.
    pub(crate) fn new(others: usize, is_done: bool) -> Self {
        Self { needed: needed(others), by: watch::Sender::default(), is_done: AtomicBool::new(is_done) }
    }

    /// Whether the node may serve.
    pub(crate) fn is_done(&self) -> bool {
        self.is_done.load(Ordering::Acquire)
    }

    /// The directory is marked.
    pub(crate) fn done(&self) {
        self.is_done.store(true, Ordering::Release);
    }

    /// Who vouches so far.
    pub(crate) fn by(&self) -> watch::Receiver<BTreeSet<NodeId>> {
        self.by.subscribe()
    }

    /// A peer says that it durably remembers this node's nonce.
    pub(crate) fn vouched_by(&self, peer: NodeId) {
        self.by.send_if_modified(|by| by.insert(peer));
    }
}

/// How many of the other members must vouch.
fn needed(others: usize) -> usize {
    if others == 0 { 0 } else { others / 2 + 1 }
}

/// Begins to wait for the peers, if the directory is not marked yet. Without peers it is marked when this returns.
///
/// # Errors
/// Without peers: when the store could not take the mark.
pub(crate) async fn start(node: &Arc<Node>) -> Result<(), StoreError> {
    if node.vouching.is_done() {
        return Ok(());
    }
    if node.vouching.needed == 0 {
        return mark(node).await;
    }
    let (id, peers_needed) = (node.me(), node.vouching.needed);
    tracing::info!(node = %id, peers_needed, "data directory is new: nothing is served before peers vouch for it");
    tokio::spawn(wait(Arc::clone(node)));
    Ok(())
}

async fn wait(node: Arc<Node>) {
    let mut by = node.vouching.by();
    tokio::select! {
        enough = by.wait_for(|by| by.len() >= node.vouching.needed) => drop(enough),
        () = node.stopping.cancelled() => return,
    }
    while let Err(error) = mark(&node).await {
        tracing::warn!(%error, "vouched for by peers, but that could not be stored yet");
        tokio::select! {
            () = tokio::time::sleep(RETRY_PAUSE) => {}
            () = node.stopping.cancelled() => return,
        }
    }
    tracing::info!(node = %node.me(), "vouched for by peers: serving");
}

async fn mark(node: &Node) -> Result<(), StoreError> {
    node.store.mark_vouched()?.await?;
    node.vouching.done();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_two_sets_of_peers_that_suffice_share_one() {
        for others in 1..=9 {
            let needed = needed(others);
            assert!(2 * needed > others && needed <= others, "{others}");
        }
        assert_eq!(needed(0), 0);
    }

    #[test]
    fn a_peer_counts_once() {
        let vouching = Vouching::new(4, false);
        let mut by = vouching.by();
        for peer in [1, 1, 2, 1] {
            vouching.vouched_by(NodeId(peer));
        }
        assert_eq!(by.borrow_and_update().len(), 2);
        assert!(!vouching.is_done(), "not before it is durable");
    }
}
