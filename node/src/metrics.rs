//! The node's metrics, in one registry of its own.
//!
//! A registry per node and no global recorder: many nodes may live in one process.

mod labels;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use quorate_protocol::Level;
use quorate_ring::NodeId;
use quorate_rpc::delay::Delays;

use crate::store::{PROPERTIES, Store};
use crate::times;

use labels::{DelayLabels, DroppedLabels, LevelLabel, LevelLabels, MessageLabels, PeerLabels, RepairLabels, RequestLabels, Way};
pub(crate) use labels::{Dropped, Ended, MessageKind, Op, RepairKind};

/// Bucket bounds of request durations, in seconds: from a local read to a total deadline.
const DURATION_BOUNDS: [f64; 14] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// Bucket bounds of the rounds of one operation.
const ROUND_BOUNDS: [f64; 7] = [0.0, 1.0, 2.0, 3.0, 5.0, 8.0, 16.0];

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
    hints_stored: Family<LevelLabels, Counter>,
    hints_dropped: Family<DroppedLabels, Counter>,
    hints_pending: Family<PeerLabels, Gauge>,
    properties: Vec<(&'static str, Gauge<u64, AtomicU64>)>,
    fsyncs: Counter,
    commits: Counter,
    commit_durations: Histogram,
    peer_messages: Family<MessageLabels, Counter>,
    peer_delays: Family<DelayLabels, Histogram, fn() -> Histogram>,
    ring_epoch: Gauge<u64, AtomicU64>,
    /// Rounds that linearizable operations needed.
    pub(crate) lin_rounds: Histogram,
    /// Rounds beaten by another proposer.
    pub(crate) lin_contention: Counter,
    /// Rounds that took eventual versions into a chain.
    pub(crate) lin_absorptions: Counter,
    /// Rounds of one round trip.
    pub(crate) lin_sticky: Counter,
    /// Keys that were left undecided and finished here.
    pub(crate) lin_finished: Counter,
    lin_undecided: Gauge,
    /// Times that two states came with one ballot. Never, unless a proposer is broken.
    pub(crate) ballots_used_twice: Counter,
    /// Hints delivered from here.
    pub(crate) hints_replayed: Counter,
    /// Messages to peers.
    pub(crate) messages: Counter,
    /// Replica requests in those messages.
    pub(crate) replica_requests: Counter,
    /// Client requests refused because the node had too many.
    pub(crate) overloaded: Counter,
    /// Answers replaced by a refusal because their reader is too slow.
    pub(crate) answers_refused: Counter,
    /// Bytes of large answers that are not written to their connection yet.
    pub(crate) unsent_bytes: Gauge,
    /// Operations that had to end at once when they should have gone on behind their answer.
    pub(crate) cut_short: Counter,
    /// Client requests being worked on.
    pub(crate) in_flight: Gauge,
}

impl Metrics {
    /// Metrics of a node whose buckets have these levels. What can be counted at a level of its own name, or at one of these, begins
    /// at zero, so that rules about it never meet a series that is not there yet. The store fills `commit_durations`.
    pub(crate) fn new(levels: impl Iterator<Item = Level>, commit_durations: Histogram) -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("quorate"),
            durations: Family::new_with_constructor(|| Histogram::new(DURATION_BOUNDS)),
            requests: Family::default(),
            unknown: Family::default(),
            repairs: Family::default(),
            stale: Family::default(),
            conflicts: Family::default(),
            peer_up: Family::default(),
            hints_stored: Family::default(),
            hints_dropped: Family::default(),
            hints_pending: Family::default(),
            properties: PROPERTIES.iter().map(|property| (property.name, Gauge::default())).collect(),
            fsyncs: Counter::default(),
            commits: Counter::default(),
            commit_durations,
            peer_messages: Family::default(),
            peer_delays: Family::new_with_constructor(times::histogram),
            ring_epoch: Gauge::default(),
            lin_rounds: Histogram::new(ROUND_BOUNDS),
            lin_contention: Counter::default(),
            lin_absorptions: Counter::default(),
            lin_sticky: Counter::default(),
            lin_finished: Counter::default(),
            lin_undecided: Gauge::default(),
            ballots_used_twice: Counter::default(),
            hints_replayed: Counter::default(),
            messages: Counter::default(),
            replica_requests: Counter::default(),
            overloaded: Counter::default(),
            answers_refused: Counter::default(),
            unsent_bytes: Gauge::default(),
            cut_short: Counter::default(),
            in_flight: Gauge::default(),
        };
        metrics.register();
        for level in levels.chain([Level::Any, Level::One, Level::Quorum, Level::All, Level::Linearizable]).collect::<BTreeSet<_>>() {
            metrics.begin_at_zero(level);
        }
        for reason in [Dropped::Full, Dropped::Expired, Dropped::Refused] {
            drop(metrics.hints_dropped.get_or_create(&DroppedLabels { reason }));
        }
        for kind in [MessageKind::Request, MessageKind::Reply, MessageKind::Cancel, MessageKind::Heartbeat] {
            drop(metrics.peer_messages.get_or_create(&MessageLabels { kind }));
        }
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("request_duration_seconds", "Time from a request's arrival to its answer", self.durations.clone());
        r.register("requests", "Requests answered", self.requests.clone());
        r.register("outcome_unknown", "Requests answered with an unknown outcome", self.unknown.clone());
        r.register("read_repairs", "Replicas that a read brought up to date, before or behind its answer", self.repairs.clone());
        r.register("stale_replies", "Replicas that answered a read with less than others", self.stale.clone());
        r.register("conflicts", "Reads that found siblings", self.conflicts.clone());
        r.register("hints_stored", "Hints kept here for other nodes, by the level of their write", self.hints_stored.clone());
        r.register("hints_replayed", "Hints delivered from here", self.hints_replayed.clone());
        r.register("hints_dropped", "Hints not kept, or given up", self.hints_dropped.clone());
        r.register("hints_pending", "Hints kept here, by whom they are for", self.hints_pending.clone());
        self.register_chains();
        let r = &mut self.registry;
        r.register("peer_up", "Whether another node answers", self.peer_up.clone());
        r.register("ring_epoch", "The ring epoch in force", self.ring_epoch.clone());
        r.register("messages", "Messages of replica requests sent to other nodes", self.messages.clone());
        r.register("peer_messages", "Messages sent to other nodes, one for each frame, by what they are", self.peer_messages.clone());
        r.register(
            "peer_delay_seconds",
            "Time a heartbeat took to another node and its answer back, estimated: the fastest of each direction count as equally fast",
            self.peer_delays.clone(),
        );
        r.register("replica_requests", "Replica requests in messages to other nodes", self.replica_requests.clone());
        r.register("overloaded", "Requests refused at the limit of requests in flight", self.overloaded.clone());
        r.register(
            "answers_refused",
            "Answers replaced by a refusal: too many bytes waited for their reader",
            self.answers_refused.clone(),
        );
        r.register("unsent_answer_bytes", "Bytes of large answers that wait for their reader", self.unsent_bytes.clone());
        r.register("cut_short", "Operations ended at once that should have gone on behind their answer", self.cut_short.clone());
        r.register("requests_in_flight", "Client requests being worked on", self.in_flight.clone());
        r.register("fsyncs", "Synced group commits since the start", self.fsyncs.clone());
        r.register("commits", "Records and hints committed since the start", self.commits.clone());
        r.register(
            "commit_duration_seconds",
            "Time from a record's entry into the commit queue until it is durable and its writer told so",
            self.commit_durations.clone(),
        );
        for ((name, gauge), property) in self.properties.iter().zip(&PROPERTIES) {
            r.register(format!("rocksdb_{name}"), property.help, gauge.clone());
        }
    }

    fn register_chains(&mut self) {
        let r = &mut self.registry;
        r.register("lin_rounds", "Rounds that a linearizable operation needed; 0 if it was answered without one", self.lin_rounds.clone());
        r.register("lin_contention", "Rounds beaten by a proposer on another node", self.lin_contention.clone());
        r.register("lin_absorptions", "Rounds that took eventual versions into a chain", self.lin_absorptions.clone());
        r.register("lin_sticky_rounds", "Rounds that took one round trip", self.lin_sticky.clone());
        r.register("lin_undecided", "Keys with an accepted state that is not known to be chosen", self.lin_undecided.clone());
        r.register("lin_finished", "Keys that a dead coordinator left undecided and that were finished here", self.lin_finished.clone());
        r.register(
            "ballots_used_twice",
            "Times that two states came with one ballot: a proposer is broken",
            self.ballots_used_twice.clone(),
        );
    }

    fn begin_at_zero(&self, level: Level) {
        let (is_read, level) = (level != Level::Any, LevelLabel(level));
        drop(self.hints_stored.get_or_create(&LevelLabels { level }));
        drop(self.unknown.get_or_create(&LevelLabels { level }));
        let ops: &[Op] = match level.0 {
            Level::Any => &[Op::Put, Op::Delete],
            Level::Linearizable => &[Op::Get, Op::List, Op::Put, Op::Delete, Op::Cas, Op::Modify],
            Level::One | Level::Quorum | Level::All | Level::Counts { .. } => &[Op::Get, Op::List, Op::Put, Op::Delete],
        };
        for op in ops {
            for outcome in op.endings() {
                drop(self.requests.get_or_create(&RequestLabels { op: *op, level, outcome: *outcome }));
            }
        }
        if is_read {
            drop(self.stale.get_or_create(&LevelLabels { level }));
            drop(self.conflicts.get_or_create(&LevelLabels { level }));
            for kind in [RepairKind::Blocking, RepairKind::Background] {
                drop(self.repairs.get_or_create(&RepairLabels { kind, level }));
            }
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

    /// A read brought a replica up to date.
    pub(crate) fn repaired(&self, level: Level, kind: RepairKind) {
        self.repairs.get_or_create(&RepairLabels { kind, level: LevelLabel(level) }).inc();
    }

    /// A read found a replica stale.
    pub(crate) fn stale(&self, level: Level) {
        self.stale.get_or_create(&LevelLabels { level: LevelLabel(level) }).inc();
    }

    /// A read found siblings.
    pub(crate) fn conflict(&self, level: Level) {
        self.conflicts.get_or_create(&LevelLabels { level: LevelLabel(level) }).inc();
    }

    /// A hint of a write at `level` is on its way to the store.
    pub(crate) fn hint_stored(&self, level: Level) {
        self.hints_stored.get_or_create(&LevelLabels { level: LevelLabel(level) }).inc();
    }

    /// So many hints are not kept, or no longer.
    pub(crate) fn hints_dropped(&self, reason: Dropped, count: u64) {
        self.hints_dropped.get_or_create(&DroppedLabels { reason }).inc_by(count);
    }

    /// Counts messages of one kind to other nodes.
    pub(crate) fn peer_messages(&self, kind: MessageKind) -> Counter {
        self.peer_messages.get_or_create_owned(&MessageLabels { kind })
    }

    /// A heartbeat to a peer was answered.
    pub(crate) fn peer_delays(&self, peer: NodeId, delays: Delays) {
        for (direction, delay) in [(Way::Out, delays.out), (Way::Back, delays.back)] {
            self.peer_delays.get_or_create(&DelayLabels { peer: peer.to_string(), direction }).observe(delay.as_secs_f64());
        }
    }

    /// Brings what is read rather than counted up to date.
    pub(crate) fn refresh(&self, store: &Store, epoch: u64, undecided: usize, peers: impl Iterator<Item = (NodeId, bool)>) {
        let counters = store.counters();
        self.fsyncs.inner().store(counters.fsyncs, Ordering::Relaxed);
        self.commits.inner().store(counters.writes, Ordering::Relaxed);
        self.ring_epoch.set(epoch);
        self.lin_undecided.set(i64::try_from(undecided).unwrap_or(i64::MAX));
        let mut hints = store.all_hint_stats();
        for (node, up) in peers {
            self.peer_up.get_or_create(&PeerLabels { peer: node.to_string() }).set(i64::from(up));
            hints.entry(node).or_default();
        }
        // Those that were there before and are gone now belong to nodes that are no members.
        self.hints_pending.clear();
        for (node, stats) in hints {
            let pending = i64::try_from(stats.count).unwrap_or(i64::MAX);
            self.hints_pending.get_or_create(&PeerLabels { peer: node.to_string() }).set(pending);
        }
        for ((_, gauge), (_, value)) in self.properties.iter().zip(store.properties()) {
            gauge.set(value);
        }
    }

    /// All metrics in Prometheus' text format.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_alerts_look_at_is_there_before_it_happens() {
        let text = Metrics::new([Level::Counts { r: 2, w: 1 }].into_iter(), times::histogram()).render();
        for sample in [
            "quorate_outcome_unknown_total{level=\"any\"} 0",
            "quorate_outcome_unknown_total{level=\"r2w1\"} 0",
            "quorate_requests_total{op=\"put\",level=\"quorum\",outcome=\"unknown\"} 0",
            "quorate_read_repairs_total{kind=\"background\",level=\"one\"} 0",
            "quorate_stale_replies_total{level=\"all\"} 0",
            "quorate_conflicts_total{level=\"one\"} 0",
            "quorate_hints_stored_total{level=\"quorum\"} 0",
            "quorate_hints_dropped_total{reason=\"expired\"} 0",
            "quorate_requests_total{op=\"cas\",level=\"linearizable\",outcome=\"conflict\"} 0",
            "quorate_lin_contention_total 0",
            "quorate_lin_rounds_count 0",
            "quorate_ballots_used_twice_total 0",
            "quorate_fsyncs_total 0",
            "quorate_commits_total 0",
            "quorate_commit_duration_seconds_count 0",
            "quorate_peer_messages_total{kind=\"heartbeat\"} 0",
        ] {
            assert!(text.lines().any(|line| line == sample), "{sample} is missing in\n{text}");
        }
        assert!(!text.contains("op=\"get\",level=\"any\""), "there are no reads at any");
    }
}
