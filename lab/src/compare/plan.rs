//! What to compare: the work, the faults, and where.

use std::time::Duration;

use super::schedule::Planned;
use crate::cluster::ClusterSpec;
use crate::workload::{Distribution, Mix, Workload};

/// One comparison: every level gets the same.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Everything random follows from it: operations, faults, predictions.
    pub seed: u64,
    /// How long operations are due.
    pub window: Duration,
    /// Clients, each with one operation at a time. They live beside the nodes, in turn.
    pub clients: u16,
    /// Number of keys.
    pub keys: u64,
    /// Which of them are popular.
    pub distribution: Distribution,
    /// Reads, blind writes, and updates: a read, and a write that replaces what was read and nothing else. An update's write is a
    /// compare-and-set where writes are linearizable, elsewhere a put with the read's context.
    pub mix: Mix,
    /// Whether updates below `linearizable` put blindly, as programs do that know no contexts.
    pub blind_updates: bool,
    /// Operations that are due a second, of all clients together. An update is one.
    pub rate: f64,
    /// The total deadline of each operation.
    pub deadline: Duration,
    /// The faults, in order of their beginnings.
    pub schedule: Vec<Planned>,
}

/// What the levels are compared on.
#[derive(Clone, Debug)]
pub enum Place {
    /// A new cluster of local processes for each level, whose nodes take faults.
    Own(ClusterSpec),
    /// A cluster that runs already. All levels use it, on keys of their own.
    Running {
        /// Addresses of its nodes.
        seeds: String,
    },
}

impl Plan {
    /// What the clients do.
    #[must_use]
    pub(super) fn workload(&self) -> Workload {
        let Self { seed, keys, distribution, mix, .. } = *self;
        Workload { seed, keys, distribution, mix, value_bytes: crate::workload::VALUE_BYTES_MIN }
    }
}
