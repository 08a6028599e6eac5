//! Writing what the store has left to memory for a while.
//!
//! **Promise.** What a replica promised, or was told to be chosen, does not rest in memory for much longer than [`REST`] says, so that
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

/// How long a key rests in memory: five seconds, or a minute while the disk is busy.
const REST: Rest = Rest { sweeps: 10, sweeps_if_busy: 120 };

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
    for stripe in 0..Store::STRIPES {
        if let Err(error) = node.store.write_back(stripe, REST, COUNT_MAX) {
            tracing::debug!(%error, "what memory holds was not written");
            return;
        }
        tokio::task::yield_now().await;
    }
}
