//! The node's metrics, in one registry of its own.
//!
//! A registry per node and no global recorder: many nodes may live in one process.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use quorate_protocol::Level;
use quorate_protocol::outcome::Outcome;
use quorate_ring::NodeId;

use crate::store::Store;

/// Bucket bounds of request durations, in seconds: from a local read to a total deadline.
const DURATION_BOUNDS: [f64; 14] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// Which operation a request was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    Get,
    Put,
    Delete,
    List,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ended {
    Ok,
    NotApplied,
    Unknown,
}

impl From<Outcome> for Ended {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::NotApplied => Self::NotApplied,
            Outcome::Unknown => Self::Unknown,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct LevelLabel(Level);

impl EncodeLabelValue for LevelLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        use std::fmt::Write;
        write!(encoder, "{}", self.0)
    }
}

impl EncodeLabelValue for Op {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        let text = match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::List => "list",
        };
        EncodeLabelValue::encode(&text, encoder)
    }
}

impl EncodeLabelValue for Ended {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        let text = match self {
            Self::Ok => "ok",
            Self::NotApplied => "not_applied",
            Self::Unknown => "unknown",
        };
        EncodeLabelValue::encode(&text, encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    op: Op,
    level: LevelLabel,
    outcome: Ended,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LevelLabels {
    level: LevelLabel,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RepairLabels {
    kind: &'static str,
    level: LevelLabel,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PeerLabels {
    peer: String,
}

/// Everything the node counts.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    durations: Family<RequestLabels, Histogram, fn() -> Histogram>,
    requests: Family<RequestLabels, Counter>,
    unknown: Family<LevelLabels, Counter>,
    repairs: Family<RepairLabels, Counter>,
    stale: Family<LevelLabels, Counter>,
    conflicts: Family<LevelLabels, Counter>,
    peer_up: Family<PeerLabels, Gauge>,
    hints_pending: Family<PeerLabels, Gauge>,
    properties: Vec<(&'static str, Gauge<u64, AtomicU64>)>,
    /// Hints kept here.
    pub(crate) hints_stored: Counter,
    /// Hints delivered from here.
    pub(crate) hints_replayed: Counter,
    /// Hints dropped: refused because too many were kept, or for their age.
    pub(crate) hints_dropped: Counter,
    /// Messages to peers.
    pub(crate) messages: Counter,
    /// Replica requests in those messages.
    pub(crate) replica_requests: Counter,
    /// Client requests refused because the node had too many.
    pub(crate) overloaded: Counter,
    fsyncs: Gauge<u64, AtomicU64>,
    commits: Gauge<u64, AtomicU64>,
    /// Client requests being worked on.
    pub(crate) in_flight: Gauge,
    ring_epoch: Gauge<u64, AtomicU64>,
}

impl Metrics {
    /// Metrics of a node whose storage engine has these properties.
    pub(crate) fn new(properties: impl Iterator<Item = &'static str>) -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("quorate"),
            durations: Family::new_with_constructor(|| Histogram::new(DURATION_BOUNDS)),
            requests: Family::default(),
            unknown: Family::default(),
            repairs: Family::default(),
            stale: Family::default(),
            conflicts: Family::default(),
            peer_up: Family::default(),
            hints_pending: Family::default(),
            properties: properties.map(|name| (name, Gauge::default())).collect(),
            hints_stored: Counter::default(),
            hints_replayed: Counter::default(),
            hints_dropped: Counter::default(),
            messages: Counter::default(),
            replica_requests: Counter::default(),
            overloaded: Counter::default(),
            fsyncs: Gauge::default(),
            commits: Gauge::default(),
            in_flight: Gauge::default(),
            ring_epoch: Gauge::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("request_duration_seconds", "Time from a request's arrival to its answer", self.durations.clone());
        r.register("requests", "Requests answered", self.requests.clone());
        r.register("outcome_unknown", "Requests answered with an unknown outcome", self.unknown.clone());
        r.register("read_repairs", "Replicas sent what they lacked by a read", self.repairs.clone());
        r.register("stale_replies", "Replicas that answered a read with less than others", self.stale.clone());
        r.register("conflicts", "Reads that found siblings", self.conflicts.clone());
        r.register("hints_stored", "Hints kept here for other nodes", self.hints_stored.clone());
        r.register("hints_replayed", "Hints delivered from here", self.hints_replayed.clone());
        r.register("hints_dropped", "Hints refused or dropped for their age", self.hints_dropped.clone());
        r.register("hints_pending", "Hints kept here", self.hints_pending.clone());
        r.register("peer_up", "Whether another node answers", self.peer_up.clone());
        r.register("ring_epoch", "The ring epoch in force", self.ring_epoch.clone());
        r.register("messages", "Messages sent to other nodes", self.messages.clone());
        r.register("replica_requests", "Replica requests in messages to other nodes", self.replica_requests.clone());
        r.register("overloaded", "Requests refused at the limit of requests in flight", self.overloaded.clone());
        r.register("requests_in_flight", "Client requests being worked on", self.in_flight.clone());
        r.register("fsyncs", "Synced group commits since the start", self.fsyncs.clone());
        r.register("commits", "Records and hints committed since the start", self.commits.clone());
        for (name, gauge) in &self.properties {
            r.register(format!("rocksdb_{name}"), "A property of the storage engine", gauge.clone());
        }
    }

    /// A request was answered.
    pub(crate) fn answered(&self, op: Op, level: Level, ended: Ended, took: Duration) {
        let labels = RequestLabels { op, level: LevelLabel(level), outcome: ended };
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
        self.requests.get_or_create(&labels).inc();
        if ended == Ended::Unknown {
            self.unknown.get_or_create(&LevelLabels { level: LevelLabel(level) }).inc();
        }
    }

    /// A read sent `count` replicas what they lacked, `kind` saying before or behind its answer.
    pub(crate) fn repaired(&self, level: Level, kind: &'static str, count: u64) {
        self.repairs.get_or_create(&RepairLabels { kind, level: LevelLabel(level) }).inc_by(count);
    }

    /// A read found `count` replicas stale.
    pub(crate) fn stale(&self, level: Level, count: u64) {
        self.stale.get_or_create(&LevelLabels { level: LevelLabel(level) }).inc_by(count);
    }

    /// A read found siblings.
    pub(crate) fn conflict(&self, level: Level) {
        self.conflicts.get_or_create(&LevelLabels { level: LevelLabel(level) }).inc();
    }

    /// Brings what is read rather than counted up to date.
    pub(crate) fn refresh(&self, store: &Store, epoch: u64, peers: impl Iterator<Item = (NodeId, bool)>) {
        let counters = store.counters();
        self.fsyncs.set(counters.fsyncs);
        self.commits.set(counters.writes);
        self.ring_epoch.set(epoch);
        for (node, up) in peers {
            let labels = PeerLabels { peer: node.to_string() };
            self.peer_up.get_or_create(&labels).set(i64::from(up));
            let pending = store.hint_stats(node).count as u64;
            self.hints_pending.get_or_create(&labels).set(i64::try_from(pending).unwrap_or(i64::MAX));
        }
        for (name, value) in store.properties() {
            if let Some((_, gauge)) = self.properties.iter().find(|(known, _)| *known == name) {
                gauge.set(value);
            }
        }
    }

    /// All metrics in Prometheus' text format.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }
}
