//! Which replicas a read found stale, and which of them it brought up to date: counted when it happens, not when it is planned.
//!
//! A read sends a replica the merge exactly because its answer lacked something, so a repair sent is a stale answer found. It has
//! repaired the replica once the replica says that it stored the merge. A linearizable
//! read sends the accepted state instead.

use std::collections::{BTreeMap, BTreeSet};

use quorate_protocol::Level;
use quorate_protocol::chain::{ChainReply, ChainRequest};
use quorate_protocol::replica::{ReplicaReply, ReplicaRequest};
use quorate_ring::NodeId;

use crate::metrics::{Metrics, RepairKind};

/// The repairs of one read.
pub(super) struct Repairs {
    level: Level,
    answered: bool,
    stale: BTreeSet<NodeId>,
    under_way: BTreeMap<NodeId, RepairKind>,
}

impl Repairs {
    /// Repairs of a read at `level` that has not begun.
    pub(super) fn new(level: Level) -> Self {
        Self { level, answered: false, stale: BTreeSet::new(), under_way: BTreeMap::new() }
    }

    /// The read has its answer; repairs from here on are behind it.
    pub(super) fn answered(&mut self) {
        self.answered = true;
    }

    /// The read sends a request.
    pub(super) fn sent(&mut self, to: NodeId, request: &ReplicaRequest, metrics: &Metrics) {
        let (ReplicaRequest::Replicate { .. } | ReplicaRequest::Chain { request: ChainRequest::Accept { .. }, .. }) = request else {
            return;
        };
        if self.stale.insert(to) {
            metrics.stale(self.level);
        }
        self.under_way.insert(to, if self.answered { RepairKind::Background } else { RepairKind::Blocking });
    }

    /// A replica answers.
    pub(super) fn replied(&mut self, from: NodeId, reply: &ReplicaReply, metrics: &Metrics) {
        let has_it = match reply {
            ReplicaReply::Stored => true,
            ReplicaReply::Chain(reply) => matches!(**reply, ChainReply::Accepted { .. }),
            ReplicaReply::State { .. } | ReplicaReply::Refused(_) => false,
        };
        if has_it && let Some(kind) = self.under_way.remove(&from) {
            metrics.repaired(self.level, kind);
        }
    }
}
