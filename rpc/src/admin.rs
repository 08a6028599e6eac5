//! Faults that a node makes on request, for tests and demonstrations. Served only by a node started with `--enable-faults`.

use std::collections::BTreeMap;

use quorate_ring::NodeId;
use serde::{Deserialize, Serialize};

/// What happens to messages from this node to another one, answers included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LinkFault {
    /// They are lost.
    pub cut: bool,
    /// They arrive this many microseconds later.
    pub delay_micros: u64,
}

/// All faults of one node. Setting it replaces what was set before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Faults {
    /// Links from this node to others; one direction only.
    pub links: BTreeMap<NodeId, LinkFault>,
    /// How far this node's wall clock is wrong, in milliseconds.
    pub skew_ms: i64,
}

/// Calls that break things.
#[tarpc::service]
pub trait Admin {
    /// Replaces the node's faults; returns once they are in force.
    async fn set_faults(faults: Faults);
    /// The faults in force.
    async fn faults() -> Faults;
}
