//! Why a fault was not made, or not mended.

use std::time::Duration;

use quorate_ring::NodeId;

use crate::cluster::{ClusterError, InvalidFault, LinkError};
use crate::compare::schedule::{FaultKind, Target};

/// Why a fault was not made or mended, or why faults cannot be made at all. The stage can be used on, and mended.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The cluster of our own processes did not do it.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The processes of a running cluster are not ours to signal.
    #[error("{kind} is done to processes, and those of a running cluster are not ours; leave it out, or compare on a cluster of its own")]
    NotOurProcess {
        /// The fault.
        kind: FaultKind,
    },
    /// A node of a running cluster makes no faults.
    #[error("{node} was not started with --enable-faults, so its links cannot be broken; start all nodes with it, or ask for no faults")]
    FaultsDisabled {
        /// The node.
        node: NodeId,
    },
    /// A node of a running cluster does not answer.
    #[error("{node} does not answer")]
    Silent {
        /// The node.
        node: NodeId,
        /// What was wrong.
        source: LinkError,
    },
    /// A node of a running cluster could not be told its faults.
    #[error("cannot set the faults of {node}")]
    Untold {
        /// The node.
        node: NodeId,
        /// Why.
        source: LinkError,
    },
    /// The fault makes no sense.
    #[error(transparent)]
    InvalidFault(#[from] InvalidFault),
    /// Its time was over before it could be made, since others took too long.
    #[error("{} {target} was not made: its time was over before those before it were done", target.kind())]
    Late {
        /// The fault.
        target: Target,
    },
    /// A node that was started again does not serve.
    #[error("{node} was started again and did not come back within {within:?}")]
    NotBack {
        /// The node.
        node: NodeId,
        /// How long it was waited for.
        within: Duration,
    },
    /// After mending, nodes of a running cluster do not see each other.
    #[error("{within:?} after all was mended, {observer} still does not see {peer}")]
    StillApart {
        /// Who looks.
        observer: NodeId,
        /// At whom.
        peer: NodeId,
        /// How long it was waited for.
        within: Duration,
    },
}
