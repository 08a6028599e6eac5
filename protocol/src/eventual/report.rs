//! The account of one operation: what became of each home replica, and when.

use std::collections::BTreeMap;

use quorate_ring::{NodeId, PreferenceList};

use crate::ids::Tick;
use crate::outcome::{ReplicaReport, ReplicaStatus};
use crate::replica::Refusal;

/// One report per home replica, kept up to date while the operation runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reports {
    homes: PreferenceList,
    by_node: BTreeMap<NodeId, ReplicaReport>,
    started: Tick,
}

impl Reports {
    /// Nobody has been asked yet.
    #[must_use]
    pub fn new(homes: PreferenceList, started: Tick) -> Self {
        let by_node = homes.iter().map(|node| (node, ReplicaReport::not_asked(node))).collect();
        Self { homes, by_node, started }
    }

    /// Microseconds since the operation began.
    #[must_use]
    pub fn elapsed(&self, now: Tick) -> u64 {
        now.since(self.started)
    }

    /// The replica was sent a request.
    pub fn asked(&mut self, node: NodeId) {
        self.change(node, |report| {
            if report.status != ReplicaStatus::Answered {
                report.status = ReplicaStatus::Waiting;
            }
        });
    }

    /// The replica has answered a question that came before the operation proper.
    pub fn not_asked(&mut self, node: NodeId) {
        self.change(node, |report| report.status = ReplicaStatus::NotAsked);
    }

    /// The replica answered or stored. Later answers of the same replica keep the first one's time.
    pub fn answered(&mut self, node: NodeId, now: Tick) {
        self.settle(node, ReplicaStatus::Answered, now);
    }

    /// The replica cannot be reached.
    pub fn down(&mut self, node: NodeId, now: Tick) {
        self.settle(node, ReplicaStatus::Down, now);
    }

    /// The replica did nothing and said why.
    pub fn refused(&mut self, node: NodeId, refusal: Refusal, now: Tick) {
        self.settle(node, ReplicaStatus::Refused(refusal), now);
    }

    /// Everybody still waited for has run out of time.
    pub fn deadline(&mut self, now: Tick) {
        for node in self.homes.clone().iter() {
            if self.status(node) == Some(&ReplicaStatus::Waiting) {
                self.settle(node, ReplicaStatus::TimedOut, now);
            }
        }
    }

    /// The replica answered a read with less than others.
    pub fn stale(&mut self, node: NodeId) {
        self.change(node, |report| report.stale = true);
    }

    /// The replica holds what it lacked.
    pub fn repaired(&mut self, node: NodeId) {
        self.change(node, |report| report.repaired = true);
    }

    /// A hint is kept for the replica.
    pub fn hinted(&mut self, node: NodeId) {
        self.change(node, |report| report.hinted = true);
    }

    /// What became of a home replica so far.
    #[must_use]
    pub fn status(&self, node: NodeId) -> Option<&ReplicaStatus> {
        self.by_node.get(&node).map(|report| &report.status)
    }

    /// True when a request to the replica is unanswered.
    #[must_use]
    pub fn is_waiting(&self, node: NodeId) -> bool {
        self.status(node) == Some(&ReplicaStatus::Waiting)
    }

    /// True when some request is unanswered.
    #[must_use]
    pub fn any_waiting(&self) -> bool {
        self.by_node.values().any(|report| report.status == ReplicaStatus::Waiting)
    }

    /// All reports, in ring order.
    #[must_use]
    pub fn list(&self) -> Vec<ReplicaReport> {
        self.homes.iter().filter_map(|node| self.by_node.get(&node).cloned()).collect()
    }

    fn settle(&mut self, node: NodeId, status: ReplicaStatus, now: Tick) {
        let micros = self.elapsed(now);
        self.change(node, |report| {
            if report.status != ReplicaStatus::Answered {
                report.status = status;
                report.micros = micros;
            }
        });
    }

    fn change(&mut self, node: NodeId, change: impl FnOnce(&mut ReplicaReport)) {
        if let Some(report) = self.by_node.get_mut(&node) {
            change(report);
        }
    }
}
