//! The proposers of this node, one for each key that somebody changes here.
//!
//! **Promise.** At any time at most one proposer of a key takes operations, and none is lost between two: an operation is handed over
//! under the lock under which a proposer that has nothing left to do leaves. Beyond [`WAITING_MAX`] an operation is refused at once.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use futures::channel::mpsc;
use parking_lot::{Mutex, MutexGuard};
use quorate_protocol::chain::Ballots;
use quorate_protocol::chain::ballot::{Ballot, TooFarAhead};
use quorate_protocol::chain::operation::{Done, NotDone, Operation};
use quorate_protocol::chain::proposer::{Foothold, Proposer};
use quorate_protocol::machine::Drawn;
use quorate_protocol::outcome::{Outcome, Reason};
use quorate_protocol::{BootId, BucketId};
use quorate_ring::{NodeId, RingEpoch};
use tokio::sync::oneshot;

use super::{Target, driver};
use crate::node::Node;

/// Most operations that wait for the proposer of one key to take them in: far more than clients that change the same key at once, since
/// more could not be remembered for retries.
pub(super) const WAITING_MAX: usize = 512;

/// Keys of a shard of which it is remembered where their last proposer left off: some twenty megabytes over all shards, several times as
/// much if all keys are as long as keys may be.
const FOOTHOLDS_MAX: usize = 2_048;

/// Locks among which keys are spread.
const SHARDS: usize = 64;
const _: () = assert!(SHARDS.is_power_of_two());

/// A key of a bucket.
pub(super) type Key = (BucketId, Bytes);

/// An operation on its way to a proposer.
pub(super) struct Submission {
    pub(super) operation: Operation,
    pub(super) answer: oneshot::Sender<Result<Done, NotDone>>,
}

#[derive(Default)]
struct Shard {
    working: HashMap<Key, mpsc::Sender<Submission>>,
    /// Of keys whose next operation here needs one round trip only, unless somebody else comes in between.
    footholds: HashMap<Key, Foothold>,
}

impl Shard {
    fn remember(&mut self, key: &Key, foothold: Foothold) {
        if self.footholds.len() >= FOOTHOLDS_MAX {
            // Whichever comes first: another round trip is all that it costs.
            let some = self.footholds.keys().next().cloned();
            some.and_then(|key| self.footholds.remove(&key));
        }
        self.footholds.insert(key.clone(), foothold);
    }
}

/// All proposers of a node, and the ballots they draw.
pub(crate) struct Proposers {
    shards: Box<[Mutex<Shard>]>,
    ballots: Mutex<Ballots>,
}

impl Proposers {
    /// Proposers of one start of a node, which itself takes part in nothing up to `floor`; none at work.
    pub(crate) fn new(node: NodeId, boot: BootId, floor: Ballot) -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), ballots: Mutex::new(Ballots::new(node, boot).above(floor)) }
    }

    /// Has the key's proposer decide an operation. Dropping the wait changes nothing about the operation.
    pub(super) async fn submit(node: &Arc<Node>, target: &Target, operation: Operation) -> Result<Done, NotDone> {
        let refused = |reason| NotDone { reason, outcome: Outcome::NotApplied, replicas: Vec::new() };
        let (answer, answered) = oneshot::channel();
        let submission = Submission { operation, answer };
        {
            let key = (target.bucket.id, target.key.clone());
            let mut shard = node.proposers.shard(&key);
            let Shard { working, footholds } = &mut *shard;
            // Whoever takes it forgets it.
            let foothold = footholds.remove(&key);
            let start = || {
                let (sender, receiver) = mpsc::channel(WAITING_MAX);
                driver::start(node, target, foothold, receiver);
                sender
            };
            let proposer = working.entry(key).or_insert_with(start);
            if proposer.is_closed() {
                // It ended without leaving: a bug, which must not cost the key its next operation.
                *proposer = start();
            }
            proposer.try_send(submission).map_err(|_full| refused(Reason::Overloaded))?;
        }
        answered
            .await
            .unwrap_or_else(|_the_runtime_has_stopped| Err(NotDone { outcome: Outcome::Unknown, ..refused(Reason::ShuttingDown) }))
    }

    /// The key's lock: nothing is handed to its proposer meanwhile.
    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let index = usize::try_from(hasher.finish() & (SHARDS as u64 - 1)).expect("below the number of shards");
        self.shards[index].lock()
    }

    /// The proposer of `key` leaves, unless somebody has handed it an operation.
    pub(super) fn leave(&self, key: &Key, submitted: &mut mpsc::Receiver<Submission>, machine: &Proposer) -> Option<Submission> {
        let mut shard = self.shard(key);
        let more = submitted.try_recv().ok();
        if more.is_none() {
            shard.working.remove(key);
            if let Some(foothold) = machine.foothold() {
                shard.remember(key, foothold);
            }
        }
        drop(shard);
        // A replica that was started anew takes part in nothing below its floor: the next proposer, of whatever key, draws above it.
        self.ballots.lock().follow(machine.seen());
        more
    }

    /// Two ballots above `seen` that were never given out before, the second above the first.
    pub(super) fn draw(&self, node: &Node, epoch: RingEpoch, seen: Ballot) -> Result<Drawn, TooFarAhead> {
        let mut ballots = self.ballots.lock();
        let ballot = ballots.fresh(epoch, seen)?;
        let next = ballots.fresh(epoch, ballot)?;
        Ok(Drawn { ballot, next, hlc: node.clock.stamp() })
    }

    /// Keys that have a proposer.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().working.len()).sum()
    }
}
