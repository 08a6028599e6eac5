//! The client's connection to one node: made when first needed, shared by all operations, made again when it broke.
//!
//! **Rules.**
//! - *Upon an operation without a connection*: connect, once for all operations that wait; within the connect time-out.
//! - *Upon a failed connect, a broken connection, or silence*: suspect the node. Operations then go elsewhere, and one that comes
//!   here all the same uses the connection if it lives and fails at once if not: nobody waits for a node that has just failed.
//! - *While the node is suspected*: a task asks it, less and less often, until it answers. It ends with the client.
//!
//! - *Upon a blind write*: say by when it must begin, by the node's clock, which is compared with the one here when the connection is
//!   made, again before a blind write that would lose much of its time by an old comparison, and after one that came too late.
//!
//! **Invariants.** A connection is used only after its node said that it is the node meant, of the cluster meant.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use quorate_protocol::outcome::Micros;
use quorate_ring::NodeId;
use quorate_rpc::clock::FarClock;
use quorate_rpc::hello::{self, Class, Hello, HelloError, Welcome};
use quorate_rpc::kv::{IN_FLIGHT_MAX, KeyValueClient, Topology};
use quorate_rpc::net::Network;
use quorate_rpc::transport;
use tarpc::client::{Config, RpcError};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use crate::clock::micros;
use crate::health::Health;
use crate::topology::LinkSettings;

/// Requests that wait to be written to one connection, beside the [`IN_FLIGHT_MAX`] under way. Beyond, operations wait and their deadline
/// decides.
const WAITING_MAX: usize = 4096;

/// How much longer tarpc waits than the operation does; the operation's own deadline decides, this only tidies up.
const CALL_SLACK: Duration = Duration::from_millis(500);

const PROBE_WAIT_MIN: Duration = Duration::from_millis(10);
const PROBE_WAIT_MAX: Duration = Duration::from_millis(500);

/// A blind write compares clocks again if the last comparison is older than so many times the time in which it must begin: 1.5 s by
/// default. Since a hundredth of the age is held back, a write loses a tenth of that time at most.
const COMPARED_AGE_FACTOR: u32 = 10;

/// Why there is no connection to a node. Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The address does not resolve, or nothing accepts connections there.
    #[error("cannot connect: {}", source.kind())]
    Unreachable {
        /// What the system says.
        source: io::Error,
    },
    /// The node did not accept, or did not introduce itself, in time.
    #[error("no answer to the connection within {}", Micros(micros(*after)))]
    TimedOut {
        /// How long was waited.
        after: Duration,
    },
    /// The introduction failed, or the node refused.
    #[error(transparent)]
    Hello(#[from] HelloError),
    /// The address belongs to another cluster.
    #[error("it belongs to cluster {found:?}, not {expected:?}")]
    OtherCluster {
        /// The cluster that was meant.
        expected: String,
        /// The cluster found.
        found: String,
    },
    /// Another node answers at the address.
    #[error("{found} answers at its address")]
    OtherNode {
        /// The node found.
        found: NodeId,
    },
    /// The connection stands, but nothing comes back.
    #[error("connected but silent")]
    Silent,
    /// The connection broke a moment ago and is being made again.
    #[error("its connection broke")]
    Broken,
}

impl From<io::Error> for LinkError {
    fn from(source: io::Error) -> Self {
        Self::Unreachable { source }
    }
}

/// A connection over which calls can be made.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) calls: KeyValueClient,
    open: Arc<AtomicBool>,
    /// The node's clock.
    clock: parking_lot::Mutex<FarClock>,
    /// Held while it is asked.
    comparing: Mutex<()>,
    /// A blind write came too late, perhaps because little was known of the clock: the way that the welcome took is held back too.
    came_late: AtomicBool,
}

impl Channel {
    /// Connects and introduces the client, which means to reach `cluster` if it knows one.
    pub(crate) async fn open(address: &str, cluster: Option<&str>, settings: &LinkSettings) -> Result<(Self, String, NodeId), LinkError> {
        let within = settings.connect_timeout;
        let connecting = Self::connect(address, cluster, &*settings.network);
        timeout(within, connecting).await.unwrap_or(Err(LinkError::TimedOut { after: within }))
    }

    async fn connect(address: &str, cluster: Option<&str>, network: &dyn Network) -> Result<(Self, String, NodeId), LinkError> {
        let mut stream = network.connect(address).await?;
        let hello = Hello { cluster: cluster.map(str::to_owned), class: Class::Client, from: None, topology: 0 };
        let Welcome { cluster: found, node, tick, .. } = hello::introduce(&mut stream, &hello).await?;
        let clock = parking_lot::Mutex::new(FarClock::new(tick, Instant::now()));
        if let Some(expected) = cluster.filter(|expected| *expected != found) {
            return Err(LinkError::OtherCluster { expected: expected.to_owned(), found });
        }
        let mut config = Config::default();
        config.max_in_flight_requests = IN_FLIGHT_MAX;
        config.pending_request_buffer = WAITING_MAX;
        let started = KeyValueClient::new(config, transport::framed(stream));
        let open = Arc::new(AtomicBool::new(true));
        let closes = ClosesOnDrop(Arc::clone(&open));
        let dispatch = started.dispatch;
        tokio::spawn(async move {
            let _closes = closes;
            match dispatch.await {
                Ok(()) => debug!(%node, "connection closed"),
                Err(error) => debug!(%node, %error, "connection broke"),
            }
        });
        Ok((Self { calls: started.client, open, clock, comparing: Mutex::default(), came_late: AtomicBool::new(false) }, found, node))
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// What the node's clock shows at least at `at`; asks the node if too little is known of its clock.
    pub(crate) async fn tick_at(&self, at: Instant, left: Duration) -> Result<u64, RpcError> {
        if self.must_compare(at) {
            let _turn = self.comparing.lock().await;
            if self.must_compare(at) {
                let tick = self.calls.tick(call_context(left)).await?;
                self.clock.lock().hear(tick, Instant::now());
                self.came_late.store(false, Ordering::Relaxed);
            }
        }
        Ok(self.clock.lock().at_least(at))
    }

    /// The node refused a blind write because it came too late.
    pub(crate) fn came_late(&self) {
        self.came_late.store(true, Ordering::Relaxed);
    }

    fn must_compare(&self, at: Instant) -> bool {
        let now = Instant::now();
        let age_max = at.saturating_duration_since(now).saturating_mul(COMPARED_AGE_FACTOR);
        self.came_late.load(Ordering::Relaxed) || self.clock.lock().is_older_than(age_max, now)
    }
}

/// Marks a connection closed when its task ends, be it because its runtime does.
struct ClosesOnDrop(Arc<AtomicBool>);

impl Drop for ClosesOnDrop {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// The envelope of a call that may take `left`.
pub(crate) fn call_context(left: Duration) -> tarpc::context::Context {
    let mut context = tarpc::context::current();
    context.deadline = std::time::Instant::now() + left + CALL_SLACK;
    context
}

/// One node as the client knows it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) node: NodeId,
    pub(crate) address: String,
    pub(crate) health: Health,
    cluster: String,
    settings: LinkSettings,
    channel: ArcSwapOption<Channel>,
    connecting: Mutex<()>,
    last_error: ArcSwapOption<LinkError>,
    probing: AtomicBool,
}

impl Link {
    pub(crate) fn new(node: NodeId, address: String, cluster: String, settings: LinkSettings) -> Self {
        Self {
            node,
            address,
            health: Health::default(),
            cluster,
            settings,
            channel: ArcSwapOption::empty(),
            connecting: Mutex::new(()),
            last_error: ArcSwapOption::empty(),
            probing: AtomicBool::new(false),
        }
    }

    /// Takes over a connection that has already been made to this node.
    pub(crate) fn adopt(&self, channel: Channel) {
        self.channel.store(Some(Arc::new(channel)));
    }

    /// The connection if there is one.
    pub(crate) fn live(&self) -> Option<Arc<Channel>> {
        self.channel.load_full().filter(|channel| channel.is_open())
    }

    /// The connection, made if need be; fails at once while the node is suspected and there is none.
    pub(crate) async fn channel(self: &Arc<Self>) -> Result<Arc<Channel>, Arc<LinkError>> {
        if let Some(known) = self.known() {
            return known;
        }
        let _turn = self.connecting.lock().await;
        if let Some(known) = self.known() {
            return known;
        }
        let made = self.make().await;
        if let Err(error) = &made {
            self.suspect(Arc::clone(error));
        }
        made
    }

    /// What there is to say without connecting.
    fn known(&self) -> Option<Result<Arc<Channel>, Arc<LinkError>>> {
        if let Some(channel) = self.live() {
            return Some(Ok(channel));
        }
        let error = || self.last_error.load_full().unwrap_or_else(|| Arc::new(LinkError::Broken));
        self.health.is_suspected().then(|| Err(error()))
    }

    /// The connection, made if need be, suspected or not.
    pub(crate) async fn channel_now(&self) -> Result<Arc<Channel>, Arc<LinkError>> {
        let _turn = self.connecting.lock().await;
        match self.live() {
            Some(channel) => Ok(channel),
            None => self.make().await,
        }
    }

    async fn make(&self) -> Result<Arc<Channel>, Arc<LinkError>> {
        let (channel, _, found) = Channel::open(&self.address, Some(&self.cluster), &self.settings).await?;
        if found != self.node {
            return Err(Arc::new(LinkError::OtherNode { found }));
        }
        let channel = Arc::new(channel);
        self.channel.store(Some(Arc::clone(&channel)));
        Ok(channel)
    }

    /// The node does not answer: passes it over until it does.
    pub(crate) fn suspect(self: &Arc<Self>, error: Arc<LinkError>) {
        debug!(node = %self.node, %error, "node suspected");
        self.last_error.store(Some(error));
        self.health.suspect();
        self.start_probe();
    }

    fn start_probe(self: &Arc<Self>) {
        if !self.probing.swap(true, Ordering::AcqRel) {
            tokio::spawn(probe(ProbeTurn(Arc::downgrade(self))));
        }
    }

    /// Asks the node where things are, by which it also shows that it answers. A connection that stays silent is given up: after a
    /// partition it may stay silent for longer than a new one takes.
    pub(crate) async fn topology(&self) -> Result<Topology, TopologyError> {
        let channel = self.channel_now().await?;
        let within = self.settings.connect_timeout;
        let answer = timeout(within, channel.calls.topology(call_context(within))).await;
        if answer.is_err() {
            self.channel.compare_and_swap(&Some(Arc::clone(&channel)), None);
        }
        let topology = answer.unwrap_or(Err(RpcError::DeadlineExceeded))?;
        self.health.trust();
        Ok(topology)
    }

    pub(crate) fn standing(&self) -> crate::routing::Standing {
        self.health.standing(self.settings.clock.now())
    }
}

/// A node did not tell where things are.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TopologyError {
    #[error(transparent)]
    Link(#[from] Arc<LinkError>),
    #[error(transparent)]
    Call(#[from] RpcError),
}

/// At most one task asks a suspected node. Its end is a swap, so that a suspicion which saw it running is seen after it.
struct ProbeTurn(Weak<Link>);

impl Drop for ProbeTurn {
    fn drop(&mut self) {
        if let Some(link) = self.0.upgrade() {
            link.probing.swap(false, Ordering::AcqRel);
        }
    }
}

/// Asks a suspected node until it answers.
async fn probe(turn: ProbeTurn) {
    let mut wait = PROBE_WAIT_MIN;
    loop {
        sleep(wait).await;
        wait = (wait * 2).min(PROBE_WAIT_MAX);
        let Some(link) = turn.0.upgrade() else { return };
        if link.health.is_suspected() {
            match link.topology().await {
                Ok(_) => {}
                Err(TopologyError::Link(error)) => link.last_error.store(Some(error)),
                Err(TopologyError::Call(error)) => debug!(node = %link.node, %error, "suspected node is silent"),
            }
        }
        if !link.health.is_suspected() {
            drop(turn);
            if link.health.is_suspected() {
                link.start_probe();
            }
            return;
        }
    }
}
