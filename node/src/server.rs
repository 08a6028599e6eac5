//! Starting and stopping a node.
//!
//! **Rules.**
//! - *Upon start*: open the store (which counts the boot, synced), reserve clock stamps, listen, connect, serve; on a new data directory
//!   only once peers vouch for it.
//! - *Upon being told to stop*: take no new requests, finish those in flight within a grace period, close the store cleanly.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use quorate_config::{Address, Config};
use quorate_protocol::hlc::Hlc;
use quorate_protocol::sealed::ContextSeal;
use quorate_protocol::{Defect, Options};
use quorate_ring::PlacementError;
use quorate_rpc::admin::Faults;
use quorate_rpc::hello::Identity;
use quorate_rpc::net::{Network, Tcp};
use quorate_rpc::proof::PeerKey;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::coordinator::Proposers;
use crate::fallback::Fallback;
use crate::faults::FaultTable;
use crate::finisher::Undecided;
use crate::metrics::Metrics;
use crate::node::Node;
use crate::peers::Peers;
use crate::store::{Expected, Init, MemoryDisk, OpenError, Opened, Store, StoreError, StoreOptions};
use crate::topology::Placement;
use crate::vouching::Vouching;
use crate::{accept, coordinator, finisher, handoff, http, vouching, write_back};

/// How far ahead of the clock stamps are reserved, and how often.
const RESERVE_AHEAD_MS: u64 = 3_000;
const RESERVE_EVERY: Duration = Duration::from_secs(1);

/// How long requests in flight may take to finish when the node stops.
const GRACE: Duration = Duration::from_secs(5);

/// How long a connection may take to write the answers that it was given last.
const LAST_WORDS: Duration = Duration::from_millis(10);

/// What the command line decides about a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServeOptions {
    /// Make a new node in an empty data directory.
    pub init: bool,
    /// Let others inject faults.
    pub enable_faults: bool,
    /// Faults in force before the first message. A node that is started again into a partition must not speak across it.
    pub initial_faults: Faults,
    /// The one rule that the node breaks, so that a checker can show that it would notice. The log and the status say so.
    pub defect: Option<Defect>,
}

/// What a node stands on: by default this machine's TCP and the data directory of its configuration. Simulations replace both.
#[derive(Clone)]
pub struct Surroundings {
    /// Where nodes and clients are reached. Metrics over HTTP are not part of it.
    pub network: Arc<dyn Network>,
    /// A disk in memory in place of the data directory. Writes to it are committed by whoever makes them, so the node needs no thread
    /// but those that run its tasks.
    pub disk: Option<MemoryDisk>,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self { network: Arc::new(Tcp), disk: None }
    }
}

/// A node could not start, or could not stop cleanly.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Open(#[from] Box<OpenError>),
    /// The configured members cannot carry the replica counts.
    #[error("keys cannot be placed on the configured nodes")]
    Placement(#[from] PlacementError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}; is another process using it?")]
    Listen {
        /// The address.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
    /// The store failed while the node started or stopped.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// Runs a node until `shutdown` resolves.
///
/// # Errors
/// [`ServeError`] when it cannot start; nothing was served then. After serving, only when the store could not be closed; the
/// next start then recovers it.
pub async fn serve(config: Config, options: ServeOptions, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
    serve_in(Surroundings::default(), config, options, shutdown).await
}

/// Runs a node in the given surroundings, as [`serve`] does in the usual ones.
///
/// # Errors
/// As [`serve`].
pub async fn serve_in(
    surroundings: Surroundings,
    config: Config,
    options: ServeOptions,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let placement = Placement::new(&config)?;
    let (address, network) = (&config.node.listen, &surroundings.network);
    let listener = network.listen(&address.to_string()).await.map_err(cannot_listen(address))?;
    let metrics_listener = match &config.node.metrics_address {
        Some(address) => Some(TcpListener::bind(address.to_string()).await.map_err(cannot_listen(address))?),
        None => None,
    };
    let node = open(surroundings, config, options, placement)?;
    node.store.reserve_hlc(Hlc::at_ms(node.clock.wall_ms() + RESERVE_AHEAD_MS))?.await?;
    vouching::start(&node).await?;
    tokio::spawn(reserve_stamps(Arc::clone(&node)));
    // With port 0 the system chose them.
    let metrics_address = metrics_listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let address = listener.local_addr().ok();
    let (address, metrics_address) = (address.map(tracing::field::display), metrics_address.map(tracing::field::display));
    if let Some(listener) = metrics_listener {
        tokio::spawn(http::run(Arc::clone(&node), listener));
    }
    tokio::spawn(accept::run(Arc::clone(&node), listener));
    Peers::start(&node);
    handoff::start(&node);
    finisher::start(&node);
    write_back::start(&node);
    let (id, boot) = (node.me(), node.identity.boot.0);
    tracing::info!(node = %id, boot, address, metrics_address, "node is listening");
    shutdown.await;
    stop(&node).await
}

fn cannot_listen(address: &Address) -> impl FnOnce(io::Error) -> ServeError {
    let address = address.clone();
    move |source| ServeError::Listen { address, source }
}

pub(crate) fn open(
    surroundings: Surroundings,
    config: Config,
    options: ServeOptions,
    placement: Placement,
) -> Result<Arc<Node>, ServeError> {
    let Surroundings { network, disk } = surroundings;
    if let Some(bug) = options.defect {
        tracing::error!(%bug, does = bug.summary(), "this node has a planted bug and breaks its promises");
    }
    let (store, opened) = open_store(&config, disk.as_ref(), options.init).map_err(Box::new)?;
    if !opened.clean {
        tracing::info!("last stop was not clean: recovered from the log");
    }
    let clock = Clock::resume(opened.hlc);
    clock.set_skew(options.initial_faults.skew_ms);
    let others = config.cluster.nodes.iter().filter(|node| node.id != config.node.id);
    let vouching = Vouching::new(others.clone().count(), opened.vouched);
    let peers = Peers::new(others.map(|node| (node.id, node.address.to_string())), config.peer.queue_max);
    Ok(Arc::new(Node {
        identity: Identity { node: config.node.id, nonce: opened.nonce.0, boot: opened.boot },
        epoch_floor: opened.epoch_floor,
        seal: ContextSeal::new(config.cluster.id.as_str(), config.cluster.secret.as_ref().map(|secret| secret.expose())),
        peer_key: config.cluster.secret.as_ref().map(|secret| PeerKey::new(config.cluster.id.as_str(), secret.expose())),
        clock,
        admission: Semaphore::new(config.node.requests_in_flight_max),
        inspection: Mutex::default(),
        connections: Arc::new(Semaphore::new(config.node.connections_max)),
        faults: FaultTable::new(options.initial_faults),
        faults_enabled: options.enable_faults,
        options: Options { defect: options.defect, ..Options::default() },
        metrics: Arc::new(Metrics::new(config.buckets.iter().map(|bucket| bucket.level), store.commit_durations())),
        started: Instant::now(),
        quarantine: OnceLock::new(),
        vouching,
        fallback: Fallback::default(),
        proposers: Proposers::new(config.node.id, opened.boot, opened.promise_floor),
        undecided: Undecided::default(),
        draining: AtomicBool::new(false),
        stopping: CancellationToken::new(),
        background: TaskTracker::new(),
        background_room: Arc::new(Semaphore::new(coordinator::BACKGROUND_BYTES_MAX)),
        config,
        placement: placement.above(opened.promise_floor),
        store,
        network,
        peers,
    }))
}

fn open_store(config: &Config, disk: Option<&MemoryDisk>, init: bool) -> Result<(Store, Opened), OpenError> {
    if let Some(disk) = disk {
        return Store::open_in_memory(disk, &store_options(config));
    }
    let expected = Expected {
        cluster: config.cluster.id.to_string(),
        node: config.node.id,
        partitions: config.cluster.partitions.count(),
        replicas: u16::from(config.cluster.replicas),
    };
    let init = if init { Init::Fresh } else { Init::Existing };
    Store::open(&config.node.data_dir, &expected, init, &store_options(config))
}

fn store_options(config: &Config) -> StoreOptions {
    let bytes = |size: quorate_config::ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
    StoreOptions {
        block_cache_bytes: bytes(config.store.block_cache),
        memtable_bytes: bytes(config.store.write_buffer),
        pending_writes_max: config.store.commit_queue_max,
        batch_writes_max: config.store.commit_batch_max,
        ..StoreOptions::default()
    }
}

/// Keeps the durable bound of the hybrid clock ahead of it, so that a restart does not give out old stamps.
async fn reserve_stamps(node: Arc<Node>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(RESERVE_EVERY) => {}
            () = node.stopping.cancelled() => return,
        }
        let bound = Hlc::at_ms(node.clock.highest().ms() + RESERVE_AHEAD_MS);
        if let Err(error) = node.store.reserve_hlc(bound) {
            tracing::debug!(%error, "clock stamps could not be reserved");
        }
    }
}

async fn stop(node: &Arc<Node>) -> Result<(), ServeError> {
    tracing::info!(node = %node.me(), "node is stopping");
    node.draining.store(true, Ordering::Relaxed);
    node.background.close();
    let requests = async {
        // Every permit back means that every client has its answer.
        let all = u32::try_from(node.config.node.requests_in_flight_max).unwrap_or(u32::MAX);
        drop(node.admission.acquire_many(all).await);
        node.background.wait().await;
        // Or rather that it is on its way through the connection's task.
        tokio::time::sleep(LAST_WORDS).await;
    };
    if tokio::time::timeout(GRACE, requests).await.is_err() {
        tracing::warn!("some requests were still in flight when the node stopped");
    }
    node.stopping.cancel();
    let closing = Arc::clone(node);
    match tokio::task::spawn_blocking(move || closing.store.close()).await {
        Ok(closed) => closed?,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
    tracing::info!(node = %node.me(), "node has stopped");
    Ok(())
}

impl Node {
    /// All metrics, brought up to date.
    pub(crate) fn render_metrics(&self) -> String {
        let peers = self.peers.all().map(|peer| (peer.node, peer.is_up()));
        self.metrics.refresh(&self.store, self.placement.epoch().0, self.undecided.len(), peers);
        self.metrics.render()
    }
}
