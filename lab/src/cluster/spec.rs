//! What cluster to start, and the configuration files that follow from it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_protocol::record::WriteMode;
use quorate_protocol::{Defect, Level};
use quorate_ring::NodeId;
use serde::{Deserialize, Serialize};

use super::faults::Pair;
use super::ports::Ports;

/// Where the nodes keep their data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dir {
    /// In a new directory, removed with the cluster.
    Temporary,
    /// In this directory, which stays. If it holds a cluster of the same shape, that one is started again.
    Kept(PathBuf),
}

/// A bucket to declare. What is absent keeps the default of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketSpec {
    /// Its name.
    pub name: String,
    /// Home replicas per key.
    pub replicas: Option<u8>,
    /// The level of requests that name none.
    pub level: Option<Level>,
    /// Most live versions of a key.
    pub siblings_max: Option<u32>,
    /// Whether writes may have seen nothing.
    pub blind_writes: Option<bool>,
    /// Whether a replica syncs a write before it acknowledges it.
    pub fsync_before_ack: Option<bool>,
    /// Which writes it takes.
    pub write_mode: Option<WriteMode>,
}

impl BucketSpec {
    /// A bucket with the defaults.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            replicas: None,
            level: None,
            siblings_max: None,
            blind_writes: None,
            fsync_before_ack: None,
            write_mode: None,
        }
    }
}

/// A cluster of node processes on this machine.
#[derive(Clone, Debug)]
pub struct ClusterSpec {
    /// The `quorate` binary.
    pub binary: PathBuf,
    /// How many nodes, named `n1` and so on.
    pub nodes: u16,
    /// Where they keep their data.
    pub dir: Dir,
    /// Where they listen.
    pub ports: Ports,
    /// Whether faults can be made. Latencies need it too.
    pub enable_faults: bool,
    /// The rule that every node breaks. The binary must have been built for it, with the feature `planted-bugs`.
    pub bug: Option<Defect>,
    /// Home replicas per key; 3, or the number of nodes if there are fewer.
    pub replicas: Option<u8>,
    /// Partitions; the configuration's default if absent.
    pub partitions: Option<u16>,
    /// Buckets beside, or instead of, the default one.
    pub buckets: Vec<BucketSpec>,
    /// Further settings for every node, each `section.key=value`.
    pub settings: Vec<String>,
    /// Round trips between nodes, which stay when faults are healed.
    pub latency: Vec<(Pair, Duration)>,
    /// How long starting, connecting and stopping may take before it counts as failed.
    pub patience: Duration,
}

impl ClusterSpec {
    /// A cluster in a temporary directory on free ports, without faults.
    pub fn new(binary: impl Into<PathBuf>, nodes: u16) -> Self {
        Self {
            binary: binary.into(),
            nodes,
            dir: Dir::Temporary,
            ports: Ports::Free,
            enable_faults: false,
            bug: None,
            replicas: None,
            partitions: None,
            buckets: Vec::new(),
            settings: Vec::new(),
            latency: Vec::new(),
            patience: Duration::from_secs(30),
        }
    }

    /// Home replicas per key: 3 if nothing else is asked for and there are as many nodes.
    #[must_use]
    pub fn replicas(&self) -> u8 {
        let by_default = u8::try_from(self.nodes.min(3)).expect("at most 3");
        self.replicas.unwrap_or(by_default)
    }

    pub(crate) fn node_ids(&self) -> impl Iterator<Item = NodeId> + Clone + use<> {
        (1..=u64::from(self.nodes)).map(NodeId)
    }
}

/// What a kept directory holds; a cluster with other facts cannot be started in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The cluster's name.
    pub cluster: String,
    /// Number of nodes.
    pub nodes: u16,
    /// Home replicas per key.
    pub replicas: u8,
    /// Number of partitions, if it was not the default.
    pub partitions: Option<u16>,
}

impl Facts {
    /// The facts of a new cluster with a name of its own, so that stray clients of another one are turned away.
    pub(crate) fn of(spec: &ClusterSpec) -> Self {
        let cluster = format!("local-{:08x}", rand::random::<u32>());
        Self { cluster, nodes: spec.nodes, replicas: spec.replicas(), partitions: spec.partitions }
    }

    /// True when only the name differs.
    pub(crate) fn same_shape(&self, other: &Self) -> bool {
        Self { cluster: other.cluster.clone(), ..self.clone() } == *other
    }
}

impl std::fmt::Display for Facts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} nodes, {} replicas", self.nodes, self.replicas)?;
        match self.partitions {
            Some(partitions) => write!(f, ", {partitions} partitions"),
            None => Ok(()),
        }
    }
}

/// The configuration file of one node. `addresses` are those of all nodes, in order.
pub(crate) fn config_text(spec: &ClusterSpec, facts: &Facts, addresses: &[String], node: NodeId, data_dir: &Path) -> String {
    let mut text = String::new();
    let mut line = |args: std::fmt::Arguments<'_>| writeln!(text, "{args}").expect("a string takes everything");
    line(format_args!("[cluster]\nid = {}\nreplicas = {}", quoted(&facts.cluster), facts.replicas));
    if let Some(partitions) = facts.partitions {
        line(format_args!("partitions = {partitions}"));
    }
    for (id, address) in spec.node_ids().zip(addresses) {
        line(format_args!("\n[[cluster.node]]\nid = \"{id}\"\naddress = {}", quoted(address)));
    }
    line(format_args!("\n[node]\nid = \"{node}\"\ndata_dir = {}", quoted(&data_dir.to_string_lossy())));
    line(format_args!("\n# On one machine reconnecting costs nothing, and whoever restarts a node is waiting for it."));
    line(format_args!("[peer]\nreconnect_max = \"200ms\""));
    for bucket in &spec.buckets {
        line(format_args!("\n[[bucket]]\nname = {}", quoted(&bucket.name)));
        let mut optional = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                line(format_args!("{key} = {value}"));
            }
        };
        optional("replicas", bucket.replicas.map(|count| count.to_string()));
        optional("level", bucket.level.map(|level| quoted(&level.to_string())));
        optional("siblings_max", bucket.siblings_max.map(|count| count.to_string()));
        optional("blind_writes", bucket.blind_writes.map(|allowed| allowed.to_string()));
        optional("fsync_before_ack", bucket.fsync_before_ack.map(|synced| synced.to_string()));
        let mode = |mode| match mode {
            WriteMode::Mixed => quoted("mixed"),
            WriteMode::LinOnly => quoted("lin_only"),
        };
        optional("write_mode", bucket.write_mode.map(mode));
    }
    text
}

/// The text as a TOML string.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use quorate_config::{Config, SourceFile, Sources};

    use super::*;

    fn read(spec: &ClusterSpec, node: u64) -> Config {
        let addresses: Vec<String> = (0..spec.nodes).map(|index| format!("127.0.0.1:{}", 7400 + index)).collect();
        let text = config_text(spec, &Facts::of(spec), &addresses, NodeId(node), Path::new("/tmp/a \"b\"\\c"));
        let file = SourceFile { path: "test.toml".into(), text };
        Config::from_sources(Sources { file: Some(file), ..Sources::default() }).expect("a valid configuration")
    }

    #[test]
    fn the_configuration_says_what_the_specification_says() {
        let bucket = BucketSpec { level: Some(Level::One), siblings_max: Some(4), ..BucketSpec::new("carts") };
        let locks = BucketSpec { write_mode: Some(WriteMode::LinOnly), ..BucketSpec::new("locks") };
        let spec = ClusterSpec { partitions: Some(64), buckets: vec![bucket, locks], ..ClusterSpec::new("quorate", 5) };
        let config = read(&spec, 4);
        assert_eq!((config.node.id, config.cluster.nodes.len(), config.cluster.replicas), (NodeId(4), 5, 3));
        assert_eq!(config.node.data_dir, Path::new("/tmp/a \"b\"\\c"));
        assert_eq!((config.node.listen.port(), config.cluster.partitions.count()), (7403, 64));
        let carts = config.bucket("carts").expect("declared");
        assert_eq!((carts.level, carts.siblings_max, carts.replicas), (Level::One, 4, 3));
        let locks = config.bucket("locks").expect("declared");
        assert_eq!((locks.write_mode, locks.level), (WriteMode::LinOnly, Level::Linearizable));
    }

    #[test]
    fn a_small_cluster_has_as_many_replicas_as_nodes() {
        assert_eq!(read(&ClusterSpec::new("quorate", 1), 1).cluster.replicas, 1);
    }

    #[test]
    fn a_kept_directory_is_of_the_same_shape_whatever_its_name() {
        let spec = ClusterSpec::new("quorate", 3);
        let (first, second) = (Facts::of(&spec), Facts::of(&spec));
        assert_ne!(first, second);
        assert!(first.same_shape(&second));
        assert!(!first.same_shape(&Facts { nodes: 5, ..second }));
    }
}
