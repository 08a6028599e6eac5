//! A cluster for one test.
//!
//! - *Upon start*: wait until few enough nodes are alive in this process, then start.
//! - *Upon a failing test*: print the ends of the nodes' logs.

use std::ops::{Deref, DerefMut};
use std::path::Path;

use quorate_client::{Client, ClientBuilder};
use quorate_lab::cluster::{Cluster, ClusterSpec};
use quorate_ring::NodeId;
use quorate_rpc::kv::{PeerStatus, Status};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::direct::Direct;
use super::metrics::Metrics;
use super::wait::{PATIENCE, eventually, seen};

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_quorate");

pub(crate) const N1: NodeId = NodeId(1);
pub(crate) const N2: NodeId = NodeId(2);
pub(crate) const N3: NodeId = NodeId(3);

/// Most nodes that the tests of this process have running at a time: two clusters of usual size, or one of five and one of three.
const NODES_ALIVE_MAX: usize = 8;
static ALIVE: Semaphore = Semaphore::const_new(NODES_ALIVE_MAX);

/// Lines of each log that a failing test prints.
const LOG_LINES: usize = 25;

/// A running cluster. It ends with the test.
pub(crate) struct TestCluster {
    cluster: Cluster,
    /// Given back after the nodes have ended.
    _alive: SemaphorePermit<'static>,
}

/// A cluster of the binary under test with nothing special about it.
pub(crate) fn spec(nodes: u16) -> ClusterSpec {
    ClusterSpec::new(BINARY, nodes)
}

/// A setting by which the nodes do not find out for a long time that one of them is silent, however long the test itself is held up.
pub(crate) fn unnoticed() -> String {
    "peer.heartbeat_timeout=5m".to_owned()
}

/// The same, of which faults can be asked.
pub(crate) fn faulty(nodes: u16) -> ClusterSpec {
    ClusterSpec { enable_faults: true, ..spec(nodes) }
}

impl TestCluster {
    /// Starts one.
    pub(crate) async fn start(spec: ClusterSpec) -> Self {
        let alive = ALIVE.acquire_many(u32::from(spec.nodes)).await.expect("the semaphore is never closed");
        let cluster = Cluster::start(spec).await.unwrap_or_else(|error| panic!("no cluster: {error}: {error:?}"));
        Self { cluster, _alive: alive }
    }

    /// A client that knows all nodes and has patience.
    pub(crate) async fn client(&self) -> Client {
        self.connect(Client::builder().deadline(PATIENCE)).await
    }

    /// A client with settings of its own.
    pub(crate) async fn connect(&self, settings: ClientBuilder) -> Client {
        settings.seeds(&self.seeds()).connect().await.unwrap_or_else(|error| panic!("no client: {error}"))
    }

    /// A connection to one node, which coordinates whatever is asked over it.
    pub(crate) async fn direct(&self, node: NodeId) -> Direct {
        Direct::connect(self.address(node), self.id()).await
    }

    pub(crate) fn address(&self, node: NodeId) -> &str {
        self.node(node).expect("a node of this cluster").address()
    }

    /// What a node has logged.
    pub(crate) fn log(&self, node: NodeId) -> String {
        read_log(self.node(node).expect("a node of this cluster").log())
    }

    /// How a node is, of which an answer is expected.
    pub(crate) async fn answering(&self, node: NodeId) -> Status {
        self.status(node).await.unwrap_or_else(|error| panic!("{node} should answer: {error}"))
    }

    /// How one node sees another.
    pub(crate) async fn view(&self, observer: NodeId, peer: NodeId) -> PeerStatus {
        let status = self.answering(observer).await;
        status.peers.into_iter().find(|view| view.node == peer).expect("every other node is a peer")
    }

    /// Stops a node with SIGSTOP.
    pub(crate) async fn stop(&mut self, node: NodeId) {
        self.cluster.pause(node).await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Waits until one node counts another as up or down.
    pub(crate) async fn until_sees(&self, observer: NodeId, peer: NodeId, up: bool) {
        eventually(&format!("{observer} sees {peer} {}", if up { "up" } else { "down" }), async || {
            let view = self.view(observer, peer).await;
            seen(view.up == up, view)
        })
        .await;
    }

    /// Waits until two nodes count each other as down.
    pub(crate) async fn until_apart(&self, a: NodeId, b: NodeId) {
        self.until_sees(a, b, false).await;
        self.until_sees(b, a, false).await;
    }

    /// Waits until none of the observers keeps hints for the node any more.
    pub(crate) async fn until_no_hints(&self, observers: &[NodeId], node: NodeId) {
        for observer in observers {
            eventually(&format!("{observer} has delivered its hints for {node}"), async || {
                let view = self.view(*observer, node).await;
                seen(view.hints == 0, view)
            })
            .await;
        }
    }

    /// A node's metrics.
    pub(crate) async fn metrics(&self, node: NodeId) -> Metrics {
        self.direct(node).await.metrics().await
    }
}

impl Deref for TestCluster {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl DerefMut for TestCluster {
    fn deref_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for node in self.cluster.nodes() {
            let text = read_log(node.log());
            let lines: Vec<&str> = text.lines().collect();
            let end = &lines[lines.len().saturating_sub(LOG_LINES)..];
            eprintln!("log of {} ({:?}) ends with:\n  {}", node.id(), node.life(), end.join("\n  "));
        }
    }
}

fn read_log(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
