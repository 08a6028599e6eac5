//! Why a comparison could not be run.

use std::io;
use std::path::PathBuf;

use quorate_client::{ConnectError, Error};
use quorate_protocol::InvalidLevel;

use super::stage::StageError;
use crate::cluster::ClusterError;

/// There was nothing to measure. What clients could not do is never such an error.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// A level is impossible on this cluster.
    #[error(transparent)]
    Level(#[from] InvalidLevel),
    /// The cluster did not start or could not be stopped.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The cluster could not be mended, or there is none.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// Somebody asked it to stop; faults were mended as far as they could be.
    #[error("asked to stop")]
    Stopped,
    /// A client could not connect.
    #[error("cannot connect to the cluster")]
    Connect {
        /// Why.
        source: ConnectError,
    },
    /// The cluster has no default bucket.
    #[error("the nodes tell no bucket default")]
    NoBucket,
    /// A key could not be written before the measurement.
    #[error("a key could not be written before the measurement")]
    Load {
        /// Why.
        source: Box<Error>,
    },
    /// The history could not be written.
    #[error("cannot write the history {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}
