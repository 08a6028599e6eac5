//! Everything that one running node shares between its tasks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use quorate_config::{BucketProperties, Config};
use quorate_protocol::outcome::{Failure, Reason};
use quorate_protocol::replica::Refusal;
use quorate_protocol::sealed::ContextSeal;
use quorate_protocol::{BucketId, KeyEpoch, Options};
use quorate_ring::NodeId;
use quorate_rpc::hello::{HelloRefusal, Identity};
use quorate_rpc::net::Network;
use quorate_rpc::proof::PeerKey;
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::coordinator::Proposers;
use crate::fallback::Fallback;
use crate::faults::FaultTable;
use crate::finisher::Undecided;
use crate::metrics::Metrics;
use crate::peers::Peers;
use crate::store::Store;
use crate::topology::Placement;
use crate::vouching::Vouching;

/// One node.
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) identity: Identity,
    /// No run of dots older than this is continued.
    pub(crate) epoch_floor: KeyEpoch,
    pub(crate) placement: Placement,
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) seal: ContextSeal,
    /// How nodes prove to each other who they are, if the cluster has a secret.
    pub(crate) peer_key: Option<PeerKey>,
    /// Through which it reaches others.
    pub(crate) network: Arc<dyn Network>,
    pub(crate) peers: Peers,
    pub(crate) faults: FaultTable,
    pub(crate) faults_enabled: bool,
    /// How every core here behaves: as it should, unless the node was told to break a rule.
    pub(crate) options: Options,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) started: Instant,
    /// Client requests that may be worked on at a time.
    pub(crate) admission: Semaphore,
    /// Held by whoever looks at the whole node.
    pub(crate) inspection: Mutex<()>,
    /// Connections that may be open at a time.
    pub(crate) connections: Arc<Semaphore>,
    /// Why the node's peers do not trust its data directory, once one of them has said so.
    pub(crate) quarantine: OnceLock<HelloRefusal>,
    /// Whether its peers vouch for a new data directory.
    pub(crate) vouching: Vouching,
    /// What this node has given out for keys it is no home of.
    pub(crate) fallback: Fallback,
    /// Who changes keys by consensus here.
    pub(crate) proposers: Proposers,
    /// Keys of which this node has accepted a state without knowing that it is chosen.
    pub(crate) undecided: Undecided,
    /// Set when the node is about to stop: it finishes requests and takes no new ones.
    pub(crate) draining: AtomicBool,
    /// Cancelled when the node stops.
    pub(crate) stopping: CancellationToken,
    /// What goes on behind an answer: late acknowledgements, hints, repairs.
    pub(crate) background: TaskTracker,
    /// Bytes that it may still hold.
    pub(crate) background_room: Arc<Semaphore>,
}

/// A client request that was let in.
pub(crate) struct Admitted<'a> {
    node: &'a Node,
    _permit: SemaphorePermit<'a>,
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.node.metrics.in_flight.dec();
    }
}

impl Node {
    /// This node's id.
    pub(crate) fn me(&self) -> NodeId {
        self.identity.node
    }

    /// True once a peer has refused this node for its data directory: what it holds is not what it promised to hold, so it must
    /// neither answer nor count.
    fn is_quarantined(&self) -> bool {
        self.quarantine.get().is_some()
    }

    /// Why the node serves no client and is no replica at present, if so.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        if self.is_quarantined() {
            Some(Refusal::Quarantined)
        } else if !self.vouching.is_done() {
            Some(Refusal::NotVouched)
        } else {
            None
        }
    }

    /// Notes that a peer refuses this node for its data directory, and tells the operator once.
    pub(crate) fn quarantine(&self, refusal: &HelloRefusal) {
        if self.quarantine.set(refusal.clone()).is_ok() {
            tracing::error!(reason = %refusal, "quarantined: peers do not accept this node's data directory; it serves nothing");
        }
    }

    /// Lets a client request in, or refuses it at once.
    pub(crate) fn admit(&self) -> Result<Admitted<'_>, Failure> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(Failure::refused(Reason::ShuttingDown));
        }
        if let Some(refusal) = self.refusal() {
            return Err(Failure::refused(Reason::Refused { refusal }));
        }
        let Ok(permit) = self.admission.try_acquire() else {
            self.metrics.overloaded.inc();
            return Err(Failure::refused(Reason::Overloaded));
        };
        self.metrics.in_flight.inc();
        Ok(Admitted { node: self, _permit: permit })
    }

    /// Looks at the whole node on a thread that may block. One look at a time: whoever asks often waits for himself.
    ///
    /// # Panics
    /// If the look does.
    pub(crate) async fn inspect<T: Send + 'static>(self: &Arc<Self>, look: impl FnOnce(&Self) -> T + Send + 'static) -> T {
        let _turn = self.inspection.lock().await;
        let node = Arc::clone(self);
        match tokio::task::spawn_blocking(move || look(&node)).await {
            Ok(seen) => seen,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    /// The properties of a bucket.
    pub(crate) fn bucket(&self, id: BucketId) -> Result<&Arc<BucketProperties>, Failure> {
        self.placement.bucket(id).ok_or_else(|| Failure::refused(Reason::UnknownBucket { bucket: id.to_string() }))
    }
}
