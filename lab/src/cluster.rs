//! A cluster of real node processes on this machine, and what can be done to them.
//!
//! **Promise.** A [`Cluster`] that exists was up: every node served and saw all others. Whatever way it goes, by
//! [`Cluster::shutdown`], by drop, by a panic, or because this process is killed, no node process stays. A temporary directory goes
//! with the cluster unless this process is killed.
//!
//! **Who takes part.** The nodes are processes of the `quorate` binary. How they are is asked over the ordinary client service, and
//! faults are made over the admin service; nothing is shared with them but their configuration files.
//!
//! **Rules**
//! - *Upon start*: take ports, write a configuration per node, start all, wait until each answers, set the cluster's latencies,
//!   wait until all see each other.
//! - *Upon a node that finds its port taken during the first start*: stop all, take other ports, start over, a few times at most.
//!   Somebody may take a port between the moment it is handed over and the moment the node listens.
//! - *Upon kill, pause, resume*: signal the process, return when the kernel has done it.
//! - *Upon restart*: start it on its own data and with its faults, wait until it answers, wait until it and all nodes that can reach
//!   it see each other.
//! - *Upon being started again*: start it on its own data and with its faults, and wait for nothing.
//! - *Upon a fault*: change the [`FaultState`], tell all running nodes; those that are paused are told when they go on, and those
//!   that are dead are started with it.
//! - *Upon the end*: a temporary directory is left alone if a process that is not ours uses a node's data in it, such as a node that
//!   somebody has started again by hand.
//!
//! **Invariants**
//! - No process outlives the cluster, and only its own processes are signalled ([`process`](self)).
//! - Waiting is asking again until a deadline; a node that has ended by itself ends the waiting at once, with the end of its log.
//!
//! **Deliberately missing.** Nodes on other machines.

mod error;
mod faults;
mod home;
pub(crate) mod link;
mod node;
mod ports;
mod process;
mod spec;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use futures::future::join_all;
use quorate_ring::NodeId;
use quorate_rpc::admin::Faults;
use quorate_rpc::kv::Status;

pub use error::{ClusterError, LogTail};
pub use faults::{FaultState, InvalidFault, Pair};
pub use home::Stranger;
pub use link::LinkError;
pub use node::Node;
pub use ports::Ports;
pub use process::Life;
pub use spec::{BucketSpec, ClusterSpec, Dir, Facts};

use home::Home;
use ports::Reservation;
use process::{Files, Launch, Process};

/// Most nodes of a local cluster: each is a process with its own store and threads.
const NODES_MAX: u16 = 32;
/// How often a new cluster is started if somebody else takes its ports.
const STARTS_MAX: usize = 4;
/// Longest that a graceful shutdown of the whole cluster may take before the nodes are killed.
const SHUTDOWN_MAX: Duration = Duration::from_secs(5);

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    spec: ClusterSpec,
    facts: Facts,
    nodes: BTreeMap<NodeId, Node>,
    faults: FaultState,
    ports: Reservation,
    /// Dropped after the nodes, which write into it.
    home: Home,
}

impl Cluster {
    /// Starts all nodes, and returns when they see each other.
    ///
    /// # Errors
    /// [`ClusterError`] when a node does not come up. No process remains then, nor a temporary directory.
    pub async fn start(spec: ClusterSpec) -> Result<Self, ClusterError> {
        if spec.nodes == 0 || spec.nodes > NODES_MAX {
            return Err(ClusterError::NodeCount { nodes: spec.nodes, nodes_max: NODES_MAX });
        }
        let replicas = spec.replicas();
        if replicas == 0 || u16::from(replicas) > spec.nodes {
            return Err(ClusterError::ReplicaCount { replicas, nodes: spec.nodes });
        }
        if !spec.latency.is_empty() && !spec.enable_faults {
            return Err(ClusterError::FaultsDisabled);
        }
        if let Some(node) = spec.latency.iter().flat_map(|(pair, _)| pair.nodes()).find(|node| !spec.node_ids().any(|id| id == *node)) {
            return Err(ClusterError::UnknownNode { node, nodes: spec.nodes });
        }
        spec.latency.iter().try_for_each(|(_, round_trip)| faults::check_delay(*round_trip))?;
        let mut cluster = Self::prepare(spec)?;
        let is_new = cluster.nodes().all(|node| node.files.is_fresh());
        for _ in 1..STARTS_MAX {
            match cluster.bring_up().await {
                Err(ClusterError::Exited { node, log, .. }) if is_new && log.says_port_is_taken(cluster.node(node)?.address()) => {
                    cluster.move_away()?;
                }
                brought_up => return brought_up.map(|()| cluster),
            }
        }
        cluster.bring_up().await.map(|()| cluster)
    }

    /// Starts all nodes, and waits until they see each other.
    async fn bring_up(&mut self) -> Result<(), ClusterError> {
        self.ports.hand_over();
        for id in self.spec.node_ids() {
            let init = self.node(id)?.files.is_fresh();
            self.spawn(id, init)?;
        }
        self.wait_until_all_answer().await?;
        self.wait_until_connected().await
    }

    /// Stops all nodes of a new cluster, forgets what they have begun to store, and takes other ports.
    fn move_away(&mut self) -> Result<(), ClusterError> {
        for node in self.nodes.values_mut() {
            node.process = None;
            if node.files.data.exists() {
                std::fs::remove_dir_all(&node.files.data).map_err(home::failed("remove", &node.files.data))?;
            }
        }
        let count = self.spec.nodes;
        // Those that were lost stay reserved until the others are: they are not taken again.
        self.ports = Reservation::take(Ports::Free, count).map_err(|source| ClusterError::Ports { count, source })?;
        self.configure()
    }

    /// Everything but the processes.
    fn prepare(spec: ClusterSpec) -> Result<Self, ClusterError> {
        let home = Home::open(&spec.dir)?;
        let facts = home.agree(&spec)?;
        let ports = Reservation::take(spec.ports, spec.nodes).map_err(|source| ClusterError::Ports { count: spec.nodes, source })?;
        let mut nodes = BTreeMap::new();
        for id in spec.node_ids() {
            let dir = home.path().join(id.to_string());
            std::fs::create_dir_all(&dir).map_err(home::failed("make the directory", &dir))?;
            let files = Files::within(&dir);
            nodes.insert(id, Node { id, address: String::new(), files, process: None, told: Faults::default() });
        }
        let faults = FaultState::new(spec.latency.iter().copied().collect());
        let mut cluster = Self { spec, facts, nodes, faults, ports, home };
        cluster.configure()?;
        Ok(cluster)
    }

    /// Gives every node its port, and writes the configurations, in which all of them stand.
    fn configure(&mut self) -> Result<(), ClusterError> {
        let Self { spec, facts, nodes, ports, .. } = self;
        let addresses: Vec<String> = ports.ports().iter().map(|port| format!("127.0.0.1:{port}")).collect();
        for (node, address) in nodes.values_mut().zip(&addresses) {
            node.address.clone_from(address);
            let config = spec::config_text(spec, facts, &addresses, node.id, &node.files.data);
            std::fs::write(&node.files.config, config).map_err(home::failed("write", &node.files.config))?;
        }
        Ok(())
    }

    /// The nodes, in order of their ids.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &Node> {
        self.nodes.values()
    }

    /// One node.
    ///
    /// # Errors
    /// [`ClusterError::UnknownNode`].
    pub fn node(&self, id: NodeId) -> Result<&Node, ClusterError> {
        self.nodes.get(&id).ok_or(ClusterError::UnknownNode { node: id, nodes: self.spec.nodes })
    }

    /// All addresses, separated by commas, as clients and `QUORATE_CLUSTER` take them.
    #[must_use]
    pub fn seeds(&self) -> String {
        let addresses: Vec<&str> = self.nodes().map(Node::address).collect();
        addresses.join(",")
    }

    /// The directory that holds a directory per node.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.home.path()
    }

    /// The cluster's name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.facts.cluster
    }

    /// What was asked for.
    #[must_use]
    pub fn spec(&self) -> &ClusterSpec {
        &self.spec
    }

    /// The faults that have been made.
    #[must_use]
    pub fn faults(&self) -> &FaultState {
        &self.faults
    }

    /// How a node is, asked over a connection of its own.
    ///
    /// # Errors
    /// [`ClusterError::Silent`] if it does not answer at once.
    pub async fn status(&self, id: NodeId) -> Result<Status, ClusterError> {
        let node = self.node(id)?;
        link::status(&node.address, &self.facts.cluster).await.map_err(|source| ClusterError::Silent {
            node: id,
            within: Duration::ZERO,
            source,
            log: LogTail::read(&node.files.log),
        })
    }

    /// Kills a node with SIGKILL. Returns when its process is gone; the other nodes may not have noticed yet.
    ///
    /// # Errors
    /// [`ClusterError::NotRunning`], [`ClusterError::UnknownNode`].
    pub fn kill(&mut self, id: NodeId) -> Result<ExitStatus, ClusterError> {
        let node = self.node_mut(id)?;
        let process = node.process.take().ok_or(ClusterError::NotRunning { node: id })?;
        process.kill().map_err(node.failed())
    }

    /// Stops a node with SIGSTOP: its connections stay, it says nothing. Returns when none of its threads runs any more; the other
    /// nodes notice by time-out.
    ///
    /// # Errors
    /// [`ClusterError::NotRunning`], [`ClusterError::UnknownNode`]; [`ClusterError::NotPaused`] when it takes longer than the
    /// specification's patience.
    pub async fn pause(&mut self, id: NodeId) -> Result<(), ClusterError> {
        let within = self.spec.patience;
        let node = self.node_mut(id)?;
        let failed = node.failed();
        let has_stopped = node.process()?.pause(within).await.map_err(failed)?;
        if has_stopped { Ok(()) } else { Err(ClusterError::NotPaused { node: id, within }) }
    }

    /// Lets a paused node go on, and tells it the faults that were made meanwhile.
    ///
    /// # Errors
    /// As [`Cluster::pause`], and [`ClusterError::Faults`].
    pub async fn resume(&mut self, id: NodeId) -> Result<(), ClusterError> {
        let node = self.node_mut(id)?;
        let failed = node.failed();
        node.process()?.resume().map_err(failed)?;
        self.tell_faults().await
    }

    /// Stops a node with SIGTERM, also a paused one, and waits until it has ended.
    ///
    /// # Errors
    /// [`ClusterError::NotStopped`] when it takes longer than the specification's patience; it runs on then.
    pub async fn terminate(&mut self, id: NodeId) -> Result<ExitStatus, ClusterError> {
        let within = self.spec.patience;
        let node = self.node_mut(id)?;
        let failed = node.failed();
        let ended = node.process()?.terminate(within).await.map_err(failed)?;
        let status = ended.ok_or(ClusterError::NotStopped { node: id, within })?;
        node.process = None;
        Ok(status)
    }

    /// Starts a node again on its own data, never as a new one; if it still runs it is stopped by SIGTERM first. Returns when it
    /// answers and every running node that can reach it sees it up, and is seen up by it.
    ///
    /// # Errors
    /// [`ClusterError`] when it does not come back; if it still runs then, it may come back later.
    pub async fn restart(&mut self, id: NodeId) -> Result<(), ClusterError> {
        if self.node(id)?.life() != Life::Dead {
            self.terminate(id).await?;
        }
        self.wait_until_noticed_dead(id).await?;
        self.spawn(id, false)?;
        self.wait_until_all_answer().await?;
        self.wait_until_connected_to(id).await
    }

    /// Starts a dead node again on its own data, never as a new one, and waits for nothing: it may not serve for a while. One that is
    /// not dead is left alone.
    ///
    /// # Errors
    /// [`ClusterError::UnknownNode`], [`ClusterError::Spawn`].
    pub fn start_again(&mut self, id: NodeId) -> Result<(), ClusterError> {
        if self.node(id)?.life() == Life::Dead { self.spawn(id, false) } else { Ok(()) }
    }

    /// Cuts every link between nodes of different groups, and mends all other cuts. A node in no group keeps its links.
    ///
    /// # Errors
    /// [`ClusterError`] if faults are not enabled, a node is unknown, the groups make no partition, or a node cannot be told.
    pub async fn partition(&mut self, groups: &[BTreeSet<NodeId>]) -> Result<(), ClusterError> {
        self.known(groups.iter().flatten().copied())?;
        self.change_faults(|faults| faults.partition(groups)).await
    }

    /// Loses every message from one node to another.
    ///
    /// # Errors
    /// As [`Cluster::partition`].
    pub async fn one_way(&mut self, from: NodeId, to: NodeId) -> Result<(), ClusterError> {
        self.known([from, to])?;
        self.change_faults(|faults| faults.one_way(from, to)).await
    }

    /// Makes every message that a node sends to other nodes arrive that much later; zero ends it.
    ///
    /// # Errors
    /// As [`Cluster::partition`].
    pub async fn slow(&mut self, node: NodeId, delay: Duration) -> Result<(), ClusterError> {
        self.known([node])?;
        self.change_faults(|faults| faults.slow(node, delay)).await
    }

    /// Puts two nodes a round trip apart, half of it in each direction.
    ///
    /// # Errors
    /// As [`Cluster::partition`].
    pub async fn latency(&mut self, pair: Pair, round_trip: Duration) -> Result<(), ClusterError> {
        self.known(pair.nodes())?;
        self.change_faults(|faults| faults.latency(pair, round_trip)).await
    }

    /// Makes a node's wall clock wrong by so many milliseconds; zero ends it.
    ///
    /// # Errors
    /// As [`Cluster::partition`].
    pub async fn skew(&mut self, node: NodeId, skew_ms: i64) -> Result<(), ClusterError> {
        self.known([node])?;
        self.change_faults(|faults| faults.skew(node, skew_ms)).await
    }

    /// Mends every cut; delays and clocks stay as they are.
    ///
    /// # Errors
    /// As [`Cluster::partition`].
    pub async fn mend_cuts(&mut self) -> Result<(), ClusterError> {
        self.change_faults(|faults| {
            faults.mend_cuts();
            Ok(())
        })
        .await
    }

    /// Mends every fault but the latencies that the cluster was started with. Paused and dead nodes stay so.
    ///
    /// # Errors
    /// As [`Cluster::partition`].
    pub async fn heal(&mut self) -> Result<(), ClusterError> {
        self.change_faults(|faults| {
            faults.heal();
            Ok(())
        })
        .await
    }

    /// Stops all nodes, by SIGTERM as far as they obey within a few seconds, and removes a temporary directory; unless other
    /// processes use the data of nodes in it, which are told then.
    ///
    /// # Errors
    /// [`ClusterError::File`] if the directory cannot be removed. None of our processes is left in any case.
    pub async fn shutdown(mut self) -> Result<Vec<Stranger>, ClusterError> {
        let processes = self.nodes.values_mut().filter_map(|node| node.process.as_mut());
        // Whoever does not obey, or cannot be signalled, is killed by the drop below.
        join_all(processes.map(|process| process.terminate(SHUTDOWN_MAX))).await;
        let Self { nodes, home, .. } = self;
        drop(nodes);
        home.close()
    }

    async fn change_faults(&mut self, change: impl FnOnce(&mut FaultState) -> Result<(), InvalidFault>) -> Result<(), ClusterError> {
        if !self.spec.enable_faults {
            return Err(ClusterError::FaultsDisabled);
        }
        change(&mut self.faults)?;
        self.tell_faults().await
    }

    /// Tells every running node its faults, unless it has them already.
    async fn tell_faults(&mut self) -> Result<(), ClusterError> {
        if !self.spec.enable_faults {
            return Ok(());
        }
        let (cluster, faults, ids) = (&self.facts.cluster, &self.faults, self.spec.node_ids());
        let running = self.nodes.values_mut().filter(|node| node.life() == Life::Running);
        let telling = running.map(async |node| {
            let wanted = faults.of(node.id, ids.clone());
            if node.told == wanted {
                return Ok(());
            }
            let told = link::set_faults(&node.address, cluster, wanted.clone()).await;
            told.map_err(|source| ClusterError::Faults { node: node.id, source })?;
            node.told = wanted;
            Ok(())
        });
        join_all(telling).await.into_iter().collect()
    }

    /// Starts a node; with `init` as one that may have lost nothing, because it never had anything.
    fn spawn(&mut self, id: NodeId, init: bool) -> Result<(), ClusterError> {
        let Self { spec, nodes, faults, .. } = self;
        let node = nodes.get_mut(&id).expect("only known nodes are started");
        let faults = if spec.enable_faults { faults.of(id, spec.node_ids()) } else { Faults::default() };
        let launch = Launch {
            binary: &spec.binary,
            config: &node.files.config,
            log: &node.files.log,
            settings: &spec.settings,
            enable_faults: spec.enable_faults,
            faults: &faults,
            bug: spec.bug,
            init,
        };
        let spawned = Process::spawn(&launch);
        let process = spawned.map_err(|source| ClusterError::Spawn { node: id, binary: spec.binary.clone(), source })?;
        node.process = Some(process);
        node.told = faults;
        Ok(())
    }

    fn node_mut(&mut self, id: NodeId) -> Result<&mut Node, ClusterError> {
        self.nodes.get_mut(&id).ok_or(ClusterError::UnknownNode { node: id, nodes: self.spec.nodes })
    }

    fn known(&self, ids: impl IntoIterator<Item = NodeId>) -> Result<(), ClusterError> {
        ids.into_iter().try_for_each(|id| self.node(id).map(|_| ()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_binary_that_ends_at_once_is_reported_with_its_last_words() {
        let spec = ClusterSpec { patience: Duration::from_secs(20), ..ClusterSpec::new("/bin/false", 3) };
        let started = Cluster::start(spec).await;
        assert!(matches!(&started, Err(ClusterError::Exited { status, .. }) if status.code() == Some(1)), "{started:?}");
        let missing = Cluster::start(ClusterSpec::new("/nonexistent/quorate", 1)).await;
        assert!(matches!(missing, Err(ClusterError::Spawn { node: NodeId(1), .. })));
    }

    #[tokio::test]
    async fn impossible_clusters_are_refused_before_anything_is_started() {
        let none = Cluster::start(ClusterSpec::new("/bin/false", 0)).await;
        assert!(matches!(none, Err(ClusterError::NodeCount { nodes: 0, .. })));
        let pair = |a, b| Pair::new(NodeId(a), NodeId(b)).expect("two nodes");
        let far = vec![(pair(1, 2), Duration::from_millis(80))];
        let without_faults = Cluster::start(ClusterSpec { latency: far, ..ClusterSpec::new("/bin/false", 3) }).await;
        assert!(matches!(without_faults, Err(ClusterError::FaultsDisabled)));
        let beyond = vec![(pair(1, 4), Duration::from_millis(80))];
        let spec = ClusterSpec { latency: beyond, enable_faults: true, ..ClusterSpec::new("/bin/false", 3) };
        let unknown = Cluster::start(spec).await;
        assert!(matches!(unknown, Err(ClusterError::UnknownNode { node: NodeId(4), nodes: 3 })));
    }

    /// A binary whose nodes always find their port taken, and a directory.
    fn latecomer() -> (tempfile::TempDir, ClusterSpec) {
        let dir = tempfile::tempdir().expect("a directory");
        let binary = dir.path().join("quorate");
        let script = r#"address=$(sed -n 's/^address = "\(.*\)"/\1/p' "$3")
            echo "error: cannot listen on $address; is another process using it?" >&2; exit 1"#;
        std::fs::write(&binary, format!("#!/bin/sh\n{script}\n")).expect("written");
        std::fs::set_permissions(&binary, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
        let spec = ClusterSpec { dir: Dir::Kept(dir.path().join("kept")), ..ClusterSpec::new(binary, 1) };
        (dir, spec)
    }

    /// What the nodes of [`latecomer`] said, start by start.
    fn starts(dir: &tempfile::TempDir) -> Vec<String> {
        let log = std::fs::read_to_string(dir.path().join("kept/n1/log")).expect("a log");
        log.lines().map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn a_new_cluster_whose_ports_are_taken_tries_others_a_few_times() {
        let (dir, spec) = latecomer();
        let started = Cluster::start(spec).await;
        assert!(matches!(started, Err(ClusterError::Exited { node: NodeId(1), .. })), "{started:?}");
        let tried: BTreeSet<String> = starts(&dir).into_iter().collect();
        assert_eq!(tried.len(), STARTS_MAX, "each time another port: {tried:?}");
    }

    #[tokio::test]
    async fn a_cluster_that_has_data_is_not_started_over() {
        let (dir, spec) = latecomer();
        let data = dir.path().join("kept/n1/data");
        std::fs::create_dir_all(&data).expect("made");
        std::fs::write(data.join("identity"), "n1").expect("written");
        let started = Cluster::start(spec).await;
        assert!(matches!(started, Err(ClusterError::Exited { node: NodeId(1), .. })), "{started:?}");
        assert_eq!((starts(&dir).len(), data.join("identity").exists()), (1, true));
    }

    #[tokio::test]
    async fn a_kept_directory_refuses_another_shape() {
        let dir = tempfile::tempdir().expect("a directory");
        let spec = |nodes| ClusterSpec { dir: Dir::Kept(dir.path().to_owned()), ..ClusterSpec::new("/bin/false", nodes) };
        assert!(matches!(Cluster::start(spec(3)).await, Err(ClusterError::Exited { .. })));
        assert!(matches!(Cluster::start(spec(5)).await, Err(ClusterError::OtherShape { .. })));
        assert!(dir.path().join("n3/quorate.toml").exists(), "what was kept is still there");
    }
}
