//! One node of a local cluster: its name, its files, its process.

use std::path::Path;

use quorate_ring::NodeId;
use quorate_rpc::admin::Faults;

use super::error::ClusterError;
use super::process::{Files, Life, Process};

/// One node of the cluster.
#[derive(Debug)]
pub struct Node {
    pub(super) id: NodeId,
    pub(super) address: String,
    pub(super) files: Files,
    pub(super) process: Option<Process>,
    /// The faults it has: those it was started with, or told later.
    pub(super) told: Faults,
}

impl Node {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Where it listens, as `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How its process is. One that ended by itself counts as running until [`Cluster::check`](super::Cluster::check) finds out.
    #[must_use]
    pub fn life(&self) -> Life {
        self.process.as_ref().map_or(Life::Dead, Process::life)
    }

    /// The id of its process, if there is one.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// The directory of its data.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.files.data
    }

    /// What it wrote to stderr, over all its starts.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.files.log
    }

    /// Its configuration file.
    #[must_use]
    pub fn config(&self) -> &Path {
        &self.files.config
    }

    /// Its process, to be signalled.
    pub(super) fn process(&mut self) -> Result<&mut Process, ClusterError> {
        let node = self.id;
        self.process.as_mut().ok_or(ClusterError::NotRunning { node })
    }

    /// Turns what the operating system says of its process into an error.
    pub(super) fn failed(&self) -> impl Fn(std::io::Error) -> ClusterError + use<> {
        let node = self.id;
        move |source| ClusterError::Process { node, source }
    }
}
