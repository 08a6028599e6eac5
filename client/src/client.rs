//! The client: one value that knows the cluster, shared by all tasks of a program.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use quorate_protocol::outcome::{Outcome, Reason};
use quorate_protocol::session::attempts::AttemptOptions;
use quorate_protocol::session::lanes::{Lanes, LanesExhausted};
use quorate_protocol::{ClientId, Level, OpId};
use quorate_ring::{NodeId, Ring};
use quorate_rpc::kv::{BucketInfo, Status, Topology};
use tarpc::client::RpcError;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};

use crate::bucket::Bucket;
use crate::builder::ClientBuilder;
use crate::change::{Change, Compare};
use crate::clock::{Budget, Clock, micros, wall_ms};
use crate::error::{ConnectError, Error, Subject, Unreached, Verb};
use crate::fate::AskFate;
use crate::get::Get;
use crate::link::{Channel, Link, LinkError, TopologyError, call_context};
use crate::operation::{DEFAULT_BUCKET, Settings, operation};
use crate::session::Session;
use crate::topology::{LinkSettings, REFRESH_WAIT, Snapshot};
use crate::write::Write;

/// A client of one cluster. Clones share everything: connections, what is known of the nodes, and the name that writes carry.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use quorate_client::{Client, Level};
///
/// let kv = Client::connect("127.0.0.1:7400,127.0.0.1:7401").await?;
/// let read = kv.get("cart:7").level(Level::Quorum).await?;
/// match read.single() {
///     Ok(value) => println!("{value:?}"),
///     Err(conflict) => println!("{} concurrent values", conflict.siblings().len()),
/// }
/// let written = kv.put("cart:7", "milk").context(read.context()).await?;
/// kv.delete("cart:7").context(written.context()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
    default_bucket: Arc<str>,
    settings: Settings,
}

/// What all clones of a client share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) options: AttemptOptions,
    pub(crate) clock: Clock,
    pub(crate) link_settings: LinkSettings,
    snapshot: ArcSwap<Snapshot>,
    /// Tick of the last refresh that an operation caused; zero before the first.
    refreshed_at: AtomicU64,
    refreshing: tokio::sync::Mutex<()>,
    client: ClientId,
    lanes: Mutex<Lanes>,
    /// Newest stamp seen in an answer, in milliseconds: names of writes are issued no earlier, even by a slow clock.
    newest_ms: AtomicU64,
}

impl Client {
    /// Connects to the cluster of the given addresses, separated by commas. One that answers is enough.
    ///
    /// # Errors
    /// [`ConnectError`] when an address is none, or no node answers.
    pub async fn connect(seeds: &str) -> Result<Self, ConnectError> {
        Self::builder().seeds(seeds).connect().await
    }

    /// A client with other settings than the usual ones.
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    pub(crate) fn new(
        snapshot: Snapshot,
        options: AttemptOptions,
        link_settings: LinkSettings,
        level: Option<Level>,
        deadline: Duration,
    ) -> Self {
        let client = ClientId(rand::random());
        let inner = Inner {
            options,
            clock: link_settings.clock,
            link_settings,
            snapshot: ArcSwap::from_pointee(snapshot),
            refreshed_at: AtomicU64::new(0),
            refreshing: tokio::sync::Mutex::new(()),
            client,
            lanes: Mutex::new(Lanes::new(client)),
            newest_ms: AtomicU64::new(0),
        };
        let settings = Settings { level, deadline, session: None, via: None };
        Self { inner: Arc::new(inner), default_bucket: Arc::from(DEFAULT_BUCKET), settings }
    }

    /// Reads a key of the bucket `default`.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Get {
        self.default_bucket().get(key)
    }

    /// Writes a key of the bucket `default`. Without a context it replaces what the coordinating replica has seen.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Write {
        self.default_bucket().put(key, value)
    }

    /// Deletes a key of the bucket `default`.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Write {
        self.default_bucket().delete(key)
    }

    /// Sets or deletes a key of the bucket `default` if it is as expected.
    ///
    /// ```no_run
    /// # async fn example(kv: quorate_client::Client) -> Result<(), quorate_client::Error> {
    /// use quorate_client::{Cas, Expect};
    ///
    /// match kv.cas("user:kim").expect(Expect::Absent).set("account:17").await? {
    ///     Cas::Applied { token } => println!("ours, with the fencing token {token}"),
    ///     Cas::Conflict { current } => println!("{:?} is there, at {}", current.values, current.token),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn cas(&self, key: impl AsRef<[u8]>) -> Compare {
        self.default_bucket().cas(key)
    }

    /// As [`Bucket::incr`], in the bucket `default`.
    pub fn incr(&self, key: impl AsRef<[u8]>, by: i64) -> Change<i64> {
        self.default_bucket().incr(key, by)
    }

    /// As [`Bucket::append`], in the bucket `default`.
    pub fn append(&self, key: impl AsRef<[u8]>, tail: impl Into<Bytes>) -> Change<u64> {
        self.default_bucket().append(key, tail)
    }

    /// As [`Bucket::set_if_greater`], in the bucket `default`.
    pub fn set_if_greater(&self, key: impl AsRef<[u8]>, number: i64) -> Change<i64> {
        self.default_bucket().set_if_greater(key, number)
    }

    /// As [`Bucket::outcome`], in the bucket `default`.
    pub fn outcome(&self, key: impl AsRef<[u8]>, op: OpId) -> AskFate {
        self.default_bucket().outcome(key, op)
    }

    /// A bucket by its name. Whether it exists is found out by its first operation.
    #[must_use]
    pub fn bucket(&self, name: &str) -> Bucket {
        Bucket { inner: Arc::clone(&self.inner), name: Arc::from(name), settings: self.settings.clone() }
    }

    /// The bucket `default`.
    #[must_use]
    pub fn default_bucket(&self) -> Bucket {
        Bucket { inner: Arc::clone(&self.inner), name: Arc::clone(&self.default_bucket), settings: self.settings.clone() }
    }

    /// A session that has seen nothing yet.
    #[must_use]
    pub fn session(&self) -> Session {
        Session::new()
    }

    /// The client's random name, part of the name of each of its writes.
    #[must_use]
    pub fn id(&self) -> ClientId {
        self.inner.client
    }

    /// Where things are, as far as the client knows.
    #[must_use]
    pub fn topology(&self) -> Arc<Topology> {
        Arc::clone(&self.inner.snapshot.load().topology)
    }

    /// The placement of keys that follows from the topology, with a table for the replica count of every bucket.
    #[must_use]
    pub fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.inner.snapshot.load().ring)
    }

    /// The members of the cluster, in order.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        self.inner.snapshot.load().links.keys().copied().collect()
    }

    /// Learns the topology anew. Operations do so by themselves when they have reason to.
    ///
    /// Returns false when no node told it; what was known stays.
    pub async fn refresh(&self) -> bool {
        self.inner.refresh().await
    }

    /// Asks one node how it is, whatever is known of it.
    ///
    /// # Errors
    /// [`Error`] when the node is no member, cannot be reached, or does not answer within the client's deadline.
    pub async fn status_of(&self, node: NodeId) -> Result<Status, Error> {
        let ask = async |channel: Arc<Channel>, left| channel.calls.status(call_context(left)).await;
        self.ask(Verb::Status, node, ask).await
    }

    /// Asks one node for its metrics, in Prometheus' text format.
    ///
    /// # Errors
    /// As [`Client::status_of`].
    pub async fn metrics_of(&self, node: NodeId) -> Result<String, Error> {
        let ask = async |channel: Arc<Channel>, left| channel.calls.metrics(call_context(left)).await;
        self.ask(Verb::Metrics, node, ask).await
    }

    async fn ask<A>(
        &self,
        verb: Verb,
        node: NodeId,
        call: impl AsyncFnOnce(Arc<Channel>, Duration) -> Result<A, RpcError>,
    ) -> Result<A, Error> {
        let budget = self.inner.clock.budget(self.settings.deadline);
        let operation = operation(verb, Subject::Node(node), DEFAULT_BUCKET, None, None);
        let Some(link) = self.inner.snapshot.load().links.get(&node).cloned() else {
            return Err(Error::UnknownNode { operation });
        };
        let end = budget.end();
        let channel = match timeout_at(end, link.channel_now()).await {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return Err(Error::Unreachable { operation, nodes: vec![Unreached { node, error }] }),
            Err(_elapsed) => {
                let error = Arc::new(LinkError::TimedOut { after: self.settings.deadline });
                return Err(Error::Unreachable { operation, nodes: vec![Unreached { node, error }] });
            }
        };
        match timeout_at(end, call(channel, end.duration_since(Instant::now()))).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_broken)) => Err(Error::Lost { operation, asked: vec![node], outcome: Outcome::NotApplied }),
            Err(_elapsed) => {
                let micros = budget.elapsed_micros();
                Err(Error::TimedOut { operation, asked: vec![node], micros, outcome: Outcome::NotApplied })
            }
        }
    }
}

impl Inner {
    /// Finds a bucket; learns the topology anew, once, if there seems to be none.
    pub(crate) async fn bucket(&self, name: &Arc<str>, budget: Budget) -> Result<(Arc<Snapshot>, Arc<BucketInfo>), Reason> {
        let snapshot = self.snapshot.load_full();
        if let Some(info) = snapshot.bucket(name) {
            return Ok((snapshot, info));
        }
        // A deadline that passes meanwhile leaves what was known, and the answer is the same.
        let _ = timeout_at(budget.end(), self.refresh()).await;
        let snapshot = self.snapshot.load_full();
        let info = snapshot.bucket(name).ok_or_else(|| Reason::UnknownBucket { bucket: name.to_string() })?;
        Ok((snapshot, info))
    }

    /// How many partitions the cluster has.
    pub(crate) fn partitions(&self) -> u16 {
        self.snapshot.load().ring.partitions().count()
    }

    /// Names a write of `key`; the name's lane is free again when the guard is dropped.
    pub(crate) fn issue(self: &Arc<Self>, key: &[u8]) -> Result<Lane, LanesExhausted> {
        let now_ms = wall_ms().max(self.newest_ms.load(Ordering::Relaxed));
        let op = self.lanes.lock().issue(key, now_ms)?;
        Ok(Lane { inner: Arc::clone(self), op })
    }

    /// A stamp was seen in an answer.
    pub(crate) fn observe_ms(&self, ms: u64) {
        if ms > self.newest_ms.load(Ordering::Relaxed) {
            self.newest_ms.fetch_max(ms, Ordering::Relaxed);
        }
    }

    /// Learns the topology anew behind the operation that found a reason to, unless that was done a moment ago.
    pub(crate) fn refresh_soon(self: &Arc<Self>) {
        let now = self.clock.now().0;
        let last = self.refreshed_at.load(Ordering::Relaxed);
        if last != 0 && now < last.saturating_add(micros(REFRESH_WAIT)) {
            return;
        }
        if self.refreshed_at.compare_exchange(last, now.max(1), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let inner = Arc::clone(self);
            tokio::spawn(async move { inner.refresh().await });
        }
    }

    /// Learns the topology from the first node that tells it, those that answer before those that failed lately.
    pub(crate) async fn refresh(&self) -> bool {
        let _turn = self.refreshing.lock().await;
        let before = self.snapshot.load_full();
        let mut links: Vec<&Arc<Link>> = before.links.values().collect();
        links.sort_by_key(|link| (link.health.is_suspected(), link.live().is_none()));
        for link in links {
            match link.topology().await {
                Ok(topology) => return self.install(topology, &before),
                Err(TopologyError::Link(error)) => debug!(node = %link.node, %error, "no topology"),
                Err(TopologyError::Call(error)) => debug!(node = %link.node, %error, "no topology"),
            }
        }
        false
    }

    fn install(&self, topology: Topology, before: &Snapshot) -> bool {
        if topology == *before.topology {
            return true;
        }
        match Snapshot::new(topology, &self.link_settings, Some(before)) {
            Ok(snapshot) => {
                debug!(epoch = %snapshot.ring.epoch(), "topology changed");
                self.snapshot.store(Arc::new(snapshot));
                true
            }
            Err(error) => {
                warn!(%error, "a node told an impossible topology");
                false
            }
        }
    }
}

/// The name of a write while it is in flight.
#[derive(Debug)]
pub(crate) struct Lane {
    inner: Arc<Inner>,
    pub(crate) op: OpId,
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.inner.lanes.lock().release(&self.op);
    }
}
