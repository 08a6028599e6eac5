//! Three nodes and a test, each on a host of its own in one simulated network.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Once};
use std::time::Duration;

use quorate_client::{Client, Level, NodeId, Status};
use quorate_config::{Config, SourceFile, Sources};
use quorate_node::store::MemoryDisk;
use quorate_node::{ServeOptions, Surroundings, serve_in};
use quorate_rpc::hello::{Class, Hello, introduce};
use quorate_rpc::net::{Network, Stream};
use tokio::time::{Instant, sleep};

use crate::network::Simulated;

pub(crate) const N1: NodeId = NodeId(1);
pub(crate) const N2: NodeId = NodeId(2);
pub(crate) const N3: NodeId = NodeId(3);
pub(crate) const NODES: [NodeId; 3] = [N1, N2, N3];

/// The host on which the test itself runs, with its clients.
pub(crate) const HERE: &str = "test";

/// How long anything may take, in virtual time.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest simulation, in virtual time.
const DURATION_MAX: Duration = Duration::from_secs(300);

/// What the network does of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    pub(crate) seed: u64,
    /// How long a message is on its way, in milliseconds, at least and at most. A step of the simulation, 1 ms, comes on top.
    pub(crate) latency_ms: (u64, u64),
    /// How likely a message is the last before a link fails. A lost one stalls its connection for good: nothing is sent again.
    pub(crate) fail_rate: f64,
}

impl Weather {
    /// Nothing is lost, and nothing takes long.
    pub(crate) fn calm(seed: u64) -> Self {
        Self { seed, latency_ms: (0, 3), fail_rate: 0.0 }
    }
}

/// What must happen in some run, or the test tests nothing.
#[derive(Clone, Default)]
pub(crate) struct Sometimes(Rc<Cell<u32>>);

impl Sometimes {
    /// Whether it has happened now.
    pub(crate) fn note(&self, happened: bool) {
        self.0.set(self.0.get() + u32::from(happened));
    }

    /// Fails if it never has.
    #[track_caller]
    pub(crate) fn assert(&self, what: &str) {
        println!("{} times {what}", self.0.get());
        assert!(self.0.get() > 0, "it never happened that {what}");
    }
}

/// The test's hands on the cluster.
#[derive(Clone)]
pub(crate) struct Cluster {
    orders: Rc<RefCell<Vec<Order>>>,
}

/// What only who runs the simulation can do.
#[derive(Clone, Copy)]
enum Order {
    Crash(NodeId),
    Restart(NodeId),
    ClearUp,
}

thread_local! {
    /// Panics of tasks. Without this, a runtime catches them and goes on.
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

/// Runs `test` beside three nodes that are up and know each other.
///
/// # Panics
/// If the test or any task of a node does, or the test does not end.
pub(crate) fn simulate<F: Future<Output = ()> + 'static>(weather: Weather, test: impl FnOnce(Cluster) -> F + 'static) {
    println!("{weather:?}");
    count_panics();
    let mut builder = turmoil::Builder::new();
    let (least, most) = weather.latency_ms;
    builder.rng_seed(weather.seed).simulation_duration(DURATION_MAX).fail_rate(weather.fail_rate).repair_rate(0.2);
    builder.min_message_latency(Duration::from_millis(least)).max_message_latency(Duration::from_millis(most));
    let mut sim = builder.build();
    for node in NODES {
        let disk = MemoryDisk::new();
        sim.host(node.to_string(), move || {
            let surroundings = Surroundings { network: Arc::new(Simulated), disk: Some(disk.clone()) };
            async move { Ok(serve_in(surroundings, config(node), ServeOptions::default(), std::future::pending()).await?) }
        });
    }
    let cluster = Cluster { orders: Rc::default() };
    let orders = Rc::clone(&cluster.orders);
    sim.client(HERE, async move {
        cluster.until_settled().await;
        test(cluster).await;
        Ok(())
    });
    loop {
        let ended = sim.step().unwrap_or_else(|error| panic!("{weather:?}: {error}"));
        assert_eq!(PANICS.get(), 0, "{weather:?}: a task panicked");
        if ended {
            break;
        }
        for order in orders.borrow_mut().drain(..) {
            match order {
                Order::Crash(node) => sim.crash(node.to_string()),
                Order::Restart(node) => sim.bounce(node.to_string()),
                Order::ClearUp => sim.set_fail_rate(0.0),
            }
        }
    }
}

fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            report(panic);
        }));
    });
    PANICS.set(0);
}

fn config(node: NodeId) -> Config {
    let mut text = "[cluster]\nid = \"test\"\nreplicas = 3\n".to_owned();
    for member in NODES {
        text += &format!("[[cluster.node]]\nid = \"{member}\"\naddress = \"{}\"\n", address(member));
    }
    text += &format!("[node]\nid = \"{node}\"\nlisten = \"0.0.0.0:7400\"\ndata_dir = \"none\"\n");
    let file = SourceFile { path: PathBuf::from("test.toml"), text };
    let sources = Sources { file: Some(file), env: Vec::new(), set: Vec::new() };
    Config::from_sources(sources).unwrap_or_else(|errors| panic!("{errors}"))
}

fn address(node: NodeId) -> String {
    format!("{node}:7400")
}

impl Cluster {
    /// A client that knows all nodes. Waits until one of them answers.
    pub(crate) async fn client(&self) -> Client {
        let until = Instant::now() + PATIENCE;
        let seeds = NODES.map(address).join(",");
        loop {
            match Client::builder().seeds(&seeds).network(Arc::new(Simulated)).connect().await {
                Ok(client) => return client,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
            // waits for: nodes that listen
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// A connection to a node on which a client has introduced itself.
    pub(crate) async fn greeted(&self, node: NodeId) -> Stream {
        let mut stream = Simulated.connect(&address(node)).await.expect("it listens");
        let hello = Hello { cluster: Some("test".to_owned()), class: Class::Client, from: None, topology: 0 };
        introduce(&mut stream, &hello).await.expect("welcome");
        stream
    }

    /// Looks until what it looks for is so.
    pub(crate) async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so().await {
            assert!(Instant::now() < until, "waited {PATIENCE:?} of virtual time until {what}");
            // waits for: what the look looks for
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until all nodes serve, see each other and keep no hints.
    pub(crate) async fn until_settled(&self) {
        let client = self.client().await;
        let is_settled = |status: &Status| status.refusal.is_none() && status.peers.iter().all(|peer| peer.up && peer.hints == 0);
        for node in NODES {
            self.until(&format!("{node} is settled"), async || client.status_of(node).await.is_ok_and(|status| is_settled(&status))).await;
        }
    }

    /// Loses every message between the node and everybody else.
    pub(crate) fn cut_off(&self, node: NodeId) {
        self.others(node).for_each(|other| turmoil::partition(node.to_string(), other));
    }

    /// Ends what [`Cluster::cut_off`] began. What was lost stays lost.
    pub(crate) fn heal(&self, node: NodeId) {
        self.others(node).for_each(|other| turmoil::repair(node.to_string(), other));
    }

    fn others(&self, node: NodeId) -> impl Iterator<Item = String> {
        NODES.into_iter().filter(move |other| *other != node).map(|other| other.to_string()).chain([HERE.to_owned()])
    }

    /// Keeps back every message between two nodes, until they are released.
    pub(crate) fn hold(&self, a: NodeId, b: NodeId) {
        turmoil::hold(a.to_string(), b.to_string());
    }

    /// Delivers what was kept back.
    pub(crate) fn release(&self, a: NodeId, b: NodeId) {
        turmoil::release(a.to_string(), b.to_string());
    }

    /// Keeps back every message between a node and the test.
    pub(crate) fn hold_here(&self, node: NodeId) {
        turmoil::hold(node.to_string(), HERE);
    }

    /// Delivers what was kept back.
    pub(crate) fn release_here(&self, node: NodeId) {
        turmoil::release(node.to_string(), HERE);
    }

    /// Ends a node's process: its connections close, its disk stays.
    pub(crate) fn crash(&self, node: NodeId) {
        self.orders.borrow_mut().push(Order::Crash(node));
    }

    /// Starts it again.
    pub(crate) fn restart(&self, node: NodeId) {
        self.orders.borrow_mut().push(Order::Restart(node));
    }

    /// From now on no link fails of itself.
    pub(crate) fn clear_up(&self) {
        self.orders.borrow_mut().push(Order::ClearUp);
    }

    /// What one node's own replica holds of a key. Every node is a home replica of every key.
    pub(crate) async fn held(&self, client: &Client, node: NodeId, key: &str) -> Vec<String> {
        let read = client.bucket("default").via(node).get(key).level(Level::One).await.expect("the node answers");
        read.values().map(|value| String::from_utf8_lossy(value).into_owned()).collect()
    }
}
