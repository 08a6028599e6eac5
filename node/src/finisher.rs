//! Finishing what dead coordinators left undecided.
//!
//! **Promise.** A state that was accepted somewhere and is not known to be chosen does not stay so for long, whoever proposed it: it
//! becomes chosen, or is replaced by what was. Nothing depends on this for its correctness; without it, the first linearizable
//! operation on the key would have to do it, perhaps months later, and until then eventual reads would not see the write.
//!
//! **Rules.**
//! - *Upon accepting a state*: note the key. *Upon learning that it is chosen*: forget it.
//! - *Upon a key that has been noted for [`AFTER`]*, and a while longer for each place on the preference list, so that not all its replicas
//!   do it at once: read it linearizably, which finishes it.
//! - *Upon start*, and after more keys were noted than fit: walk slowly over all records to find those that nobody remembers.
//!
//! Source: Cassandra's automatic repair of uncommitted Paxos state (CEP-14).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use parking_lot::Mutex;
use quorate_config::BucketProperties;
use quorate_protocol::{Context, Tick};
use quorate_ring::PartitionId;
use tokio::time::sleep;

use crate::coordinator::{self, Target};
use crate::node::Node;
use crate::store::{KeyMap, PageLimit, ScanRange, StorageKey};

/// How long a coordinator has time to say that a state is chosen, in microseconds.
const AFTER: u64 = 2_000_000;

/// How much longer each replica waits than the one before it on the preference list, in microseconds.
const AFTER_RANK: u64 = 1_000_000;

/// Most that chance adds, in microseconds.
const JITTER: u64 = 500_000;

/// How long finishing one key may take, in microseconds.
const DEADLINE: u64 = 2_000_000;

/// How often to look.
const EVERY: Duration = Duration::from_millis(500);

/// Most keys that are remembered: a few megabytes. Beyond it they are found by walking.
const KEYS_MAX: usize = 65_536;

/// Most keys finished at a time.
const AT_ONCE_MAX: usize = 16;

/// Records looked at in one step of the walk, and the rest between two steps: a few thousand a second.
const PAGE: PageLimit = PageLimit { count: 64, bytes: 1 << 20 };
const REST: Duration = Duration::from_millis(10);

/// Keys with an accepted state that is not known to be chosen, and since when.
#[derive(Default)]
pub(crate) struct Undecided {
    since: Mutex<KeyMap<Tick>>,
    /// Some key did not fit.
    overflowed: AtomicBool,
}

impl Undecided {
    /// Notes what a key is, as of `now`.
    pub(crate) fn note(&self, key: &StorageKey, is_undecided: bool, now: Tick) {
        let mut since = self.since.lock();
        if !is_undecided {
            since.remove(key);
        } else if since.len() < KEYS_MAX || since.contains_key(key) {
            since.insert(key.clone(), now);
        } else {
            self.overflowed.store(true, Ordering::Relaxed);
        }
    }

    /// Number of keys remembered.
    pub(crate) fn len(&self) -> usize {
        self.since.lock().len()
    }

    fn older_than(&self, micros: u64, now: Tick) -> Vec<(StorageKey, Tick)> {
        let since = self.since.lock();
        since.iter().filter(|(_, since)| now.since(**since) >= micros).map(|(key, since)| (key.clone(), *since)).collect()
    }
}

/// Begins to finish keys, until the node stops.
pub(crate) fn start(node: &Arc<Node>) {
    tokio::spawn(keep_finishing(Arc::clone(node)));
    tokio::spawn(keep_walking(Arc::clone(node)));
}

async fn keep_finishing(node: Arc<Node>) {
    while rests(&node, EVERY).await {
        if node.refusal().is_none() {
            finish_due(&node, node.clock.tick()).await;
        }
    }
}

/// Finishes the keys that have waited for long enough at `now`.
pub(crate) async fn finish_due(node: &Arc<Node>, now: Tick) {
    let waiting = node.undecided.older_than(AFTER, now).into_iter();
    let due = waiting.filter(|(key, since)| is_due(node, key, now.since(*since))).map(|(key, _)| key);
    stream::iter(due).for_each_concurrent(AT_ONCE_MAX, |key| finish(node, key)).await;
}

/// False when the node stops.
async fn rests(node: &Node, rest: Duration) -> bool {
    tokio::select! {
        () = sleep(rest) => true,
        () = node.stopping.cancelled() => false,
    }
}

fn is_due(node: &Node, key: &StorageKey, waited: u64) -> bool {
    let Ok(bucket) = node.bucket(key.bucket()) else { return false };
    let homes = node.placement.place(bucket, key.key()).homes;
    let rank = homes.iter().position(|home| home == node.me()).unwrap_or(homes.len());
    waited >= AFTER + AFTER_RANK * rank as u64 + rand::random_range(0..JITTER)
}

async fn finish(node: &Arc<Node>, key: StorageKey) {
    let Ok(bucket) = node.bucket(key.bucket()) else { return };
    let deadline = node.clock.tick().after(DEADLINE);
    let target = Target { bucket: Arc::clone(bucket), key: Bytes::copy_from_slice(key.key()), deadline };
    match coordinator::state(node, target, Context::empty()).await {
        Ok(_) => {
            node.metrics.lin_finished.inc();
            tracing::debug!(bucket = %bucket.id, "undecided key finished");
        }
        // It stays noted, and is tried again.
        Err(failure) => tracing::debug!(bucket = %bucket.id, reason = %failure.reason, "undecided key not finished"),
    }
}

async fn keep_walking(node: Arc<Node>) {
    loop {
        if !walk(&node).await {
            return;
        }
        while !node.undecided.overflowed.swap(false, Ordering::Relaxed) {
            if !rests(&node, EVERY).await {
                return;
            }
        }
    }
}

/// Looks at every record; false when the node stops.
pub(crate) async fn walk(node: &Arc<Node>) -> bool {
    for bucket in &node.config.buckets {
        for partition in 0..node.config.cluster.partitions.count() {
            if !walk_part(node, bucket, PartitionId(partition)).await {
                return false;
            }
        }
    }
    true
}

async fn walk_part(node: &Arc<Node>, bucket: &BucketProperties, partition: PartitionId) -> bool {
    let mut after: Option<Bytes> = None;
    loop {
        let range = ScanRange { partition, bucket: bucket.id, after: after.as_deref() };
        let page = match node.store.scan_records(&range, PAGE) {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(%error, "records could not be walked over");
                return rests(node, EVERY).await;
            }
        };
        let now = node.clock.tick();
        for (key, record) in &page.entries {
            let key = StorageKey::new(partition, bucket.id, key);
            if record.chain.accepted_at() > record.chain.decided.max(node.store.held(&key).decided) {
                node.undecided.note(&key, true, now);
            }
        }
        after = page.entries.last().map(|(key, _)| key.clone());
        if !page.entries.is_empty() && !rests(node, REST).await {
            return false;
        }
        if !page.more {
            return true;
        }
    }
}
