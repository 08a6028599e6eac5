//! Writing what the store has left to memory for a while.
//!
//! **Promise.** What a replica promised, or was told to be chosen, does not rest in memory for much longer than [`AFTER`] sweeps, so that
//! a restart has little to find out again. Nothing depends on it: see [`quorate_protocol::chain::volatile`].
//!
//! *Upon a sweep*: write, of each stripe of the store, a few keys that have rested for long enough. Most keys that are changed all the
//! time are written again before; the others must not crowd out those who wait for the disk, and so rest longer while somebody does, as
//! long as there is room.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::node::Node;
use crate::store::{Rest, Store};

/// How often to sweep.
const EVERY: Duration = Duration::from_millis(500);

/// Sweeps that a key rests in memory: five seconds, or a minute while the disk is busy and there is room.
const AFTER: u32 = 10;
const AFTER_IF_BUSY: u32 = 120;

/// The disk is busy when so many writes wait for it.
const BUSY_MIN: usize = 4;

/// Most keys of a stripe that one sweep writes: a thousand a second over all stripes.
const COUNT_MAX: usize = 2;

/// Begins to sweep, until the node stops.
pub(crate) fn start(node: &Arc<Node>) {
    tokio::spawn(keep_sweeping(Arc::clone(node)));
}

async fn keep_sweeping(node: Arc<Node>) {
    loop {
        tokio::select! {
            () = sleep(EVERY) => sweep(&node).await,
            () = node.stopping.cancelled() => return,
        }
    }
}

async fn sweep(node: &Node) {
    // Asked once: what the sweep itself writes must not count.
    let is_busy = node.store.pending().writes >= BUSY_MIN;
    let rest = Rest { sweeps: AFTER, sweeps_with_room: if is_busy { AFTER_IF_BUSY } else { AFTER } };
    for stripe in 0..Store::STRIPES {
        if let Err(error) = node.store.write_back(stripe, rest, COUNT_MAX) {
            tracing::debug!(%error, "what memory holds was not written");
            return;
        }
        tokio::task::yield_now().await;
    }
}
