//! Whole nodes within the tests' process, for what only their insides show.

mod background;
mod blind;
mod chain;
mod defects;
mod dots;
mod identity;
mod instruments;
mod repairs;
mod slow_reader;
mod vouching;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use quorate_config::{Config, SourceFile, Sources};
use quorate_protocol::{Attempt, Body, BucketId, ClientId, Defect, Level, OpId};
use quorate_ring::NodeId;
use quorate_rpc::hello::{Class, Hello, introduce};
use quorate_rpc::kv::{KeyValueClient, ReadRequest, WriteContext, WriteRequest};
use quorate_rpc::tarpc;
use quorate_rpc::transport::{framed, prepare};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use crate::accept;
use crate::node::Node;
use crate::peers::Peers;
use crate::server::{ServeOptions, Surroundings, open};
use crate::topology::Placement;

/// How long anything may take. Far above what it takes, since other programs may keep the machine busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const N1: NodeId = NodeId(1);
pub(crate) const N2: NodeId = NodeId(2);
pub(crate) const N3: NodeId = NodeId(3);

/// Members of a cluster, none of them started, with their addresses taken.
pub(crate) struct TestCluster {
    listeners: Vec<Option<TcpListener>>,
    text: String,
    settings: Vec<String>,
    directory: TempDir,
}

/// One node that accepts connections until it is dropped.
pub(crate) struct TestNode {
    pub(crate) node: Arc<Node>,
    pub(crate) address: SocketAddr,
}

impl Drop for TestNode {
    fn drop(&mut self) {
        self.node.stopping.cancel();
    }
}

impl TestCluster {
    /// So many members, every key on up to three of them.
    pub(crate) async fn of(members: usize, settings: &[&str]) -> Self {
        let (mut listeners, mut text) = (Vec::new(), format!("[cluster]\nid = \"test\"\nreplicas = {}\n", members.min(3)));
        for number in 1..=members {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("bound");
            text += &format!("[[cluster.node]]\nid = \"n{number}\"\naddress = \"{address}\"\n");
            listeners.push(Some(listener));
        }
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        Self { listeners, text, settings, directory: TempDir::new().expect("a directory") }
    }

    /// A node that accepts connections and makes none. It is new, but its peers vouch for it.
    pub(crate) fn start(&mut self, node: NodeId) -> TestNode {
        let started = self.start_new(node);
        started.node.vouching.done();
        started
    }

    /// A new node that nobody vouches for.
    pub(crate) fn start_new(&mut self, node: NodeId) -> TestNode {
        self.start_changed(node, |_| {})
    }

    /// A node, as of [`start`](Self::start), that breaks a rule.
    pub(crate) fn start_with(&mut self, node: NodeId, bug: Defect) -> TestNode {
        let started = self.start_changed(node, |node| node.options.defect = Some(bug));
        started.node.vouching.done();
        started
    }

    /// A new node, changed before it accepts anything.
    pub(crate) fn start_changed(&mut self, node: NodeId, change: impl FnOnce(&mut Node)) -> TestNode {
        let data_dir = self.directory.path().join(node.to_string());
        let text = format!("{}[node]\nid = \"{node}\"\ndata_dir = {data_dir:?}\n", self.text);
        let file = SourceFile { path: PathBuf::from("test.toml"), text };
        let sources = Sources { file: Some(file), env: Vec::new(), set: self.settings.clone() };
        let config = Config::from_sources(sources).unwrap_or_else(|errors| panic!("{errors}"));
        let placement = Placement::new(&config).expect("the members carry all replicas");
        let options = ServeOptions { init: true, ..ServeOptions::default() };
        let mut node = open(Surroundings::default(), config, options, placement).expect("a new directory");
        change(Arc::get_mut(&mut node).expect("nobody else has it yet"));
        let index = usize::try_from(node.me().0).expect("a small number") - 1;
        let listener = self.listeners[index].take().expect("each node is started once");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(accept::run(Arc::clone(&node), Box::new(listener)));
        TestNode { node, address }
    }
}

impl TestNode {
    /// Connects it to the other members.
    pub(crate) fn connect(&self) {
        Peers::start(&self.node);
    }

    /// Waits until it sees another member up.
    pub(crate) async fn until_up(&self, peer: NodeId) {
        let mut up = self.node.peers.peer(peer).expect("a member").watch();
        tokio::time::timeout(PATIENCE, up.wait_for(|up| *up)).await.expect("in time").expect("the node runs");
    }

    /// The introduction of a client.
    pub(crate) fn hello(&self) -> Hello {
        Hello { cluster: Some("test".to_owned()), class: Class::Client, from: None, topology: 0 }
    }

    /// A greeted connection.
    pub(crate) async fn greeted(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        prepare(&stream).expect("open");
        introduce(&mut stream, &self.hello()).await.expect("welcome");
        stream
    }

    /// A connection of a well-behaved client.
    pub(crate) async fn client(&self) -> KeyValueClient {
        KeyValueClient::new(tarpc::client::Config::default(), framed(self.greeted().await)).spawn()
    }
}

/// The envelope of a call.
pub(crate) fn envelope() -> tarpc::context::Context {
    let mut context = tarpc::context::current();
    context.deadline = std::time::Instant::now() + PATIENCE;
    context
}

pub(crate) fn read(key: &'static str, level: Level) -> ReadRequest {
    ReadRequest { bucket: BucketId(0), key: key.into(), level: Some(level), seen: None, micros_left: 20_000_000 }
}

pub(crate) fn put(key: &'static str, value: impl Into<Vec<u8>>, level: Level) -> WriteRequest {
    WriteRequest {
        bucket: BucketId(0),
        key: key.into(),
        body: Body::Value(value.into().into()),
        context: WriteContext::Blind,
        level: Some(level),
        op: OpId { client: ClientId(7), lane: 0, seq: 1, issued_ms: 1 },
        attempt: Attempt(0),
        session: None,
        micros_left: 20_000_000,
        begin_by: None,
    }
}

/// What a node counts under this name and these labels.
pub(crate) fn count(node: &TestNode, sample: &str) -> u64 {
    let text = node.node.metrics.render();
    let line = text.lines().find_map(|line| line.strip_prefix(sample)).expect("the sample is there");
    line.trim().parse().expect("a number")
}

/// Looks until what it looks for is so.
///
/// # Panics
/// After [`PATIENCE`].
pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "waited {PATIENCE:?} until {what}");
        // waits for: what the look looks for
        sleep(Duration::from_millis(5)).await;
    }
}
