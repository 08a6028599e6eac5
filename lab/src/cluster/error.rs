//! Why a cluster could not do what it was asked to.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use quorate_ring::NodeId;

use super::faults::InvalidFault;
use super::link::LinkError;
use super::spec::Facts;

/// Why a cluster of processes failed. Unless it says otherwise, the cluster is as it was and can be used on.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A file or directory could not be made or read.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// There are not enough free loopback ports.
    #[error("cannot take {count} ports on 127.0.0.1")]
    Ports {
        /// Ports needed.
        count: u16,
        /// What the operating system said.
        source: io::Error,
    },
    /// The number of nodes is not one that can be started.
    #[error("a local cluster has 1 to {nodes_max} nodes, not {nodes}")]
    NodeCount {
        /// What was asked for.
        nodes: u16,
        /// The most there can be.
        nodes_max: u16,
    },
    /// A key cannot have that many home replicas.
    #[error("a cluster of {nodes} can keep 1 to {nodes} replicas of a key, not {replicas}")]
    ReplicaCount {
        /// What was asked for.
        replicas: u8,
        /// How many nodes there are to be.
        nodes: u16,
    },
    /// The directory holds a cluster of another shape.
    #[error("{} holds a cluster of {kept}, not of {asked}; start that one, or give another directory", dir.display())]
    OtherShape {
        /// The directory.
        dir: PathBuf,
        /// What it holds.
        kept: Facts,
        /// What was to be started.
        asked: Facts,
    },
    /// The description of a kept cluster is damaged.
    #[error("{} does not describe a cluster", path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The binary could not be started.
    #[error("cannot start {node} as {}", binary.display())]
    Spawn {
        /// The node.
        node: NodeId,
        /// The binary.
        binary: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A node's process ended by itself.
    #[error("{node} ended by itself ({status}); its log ends with:\n{log}")]
    Exited {
        /// The node.
        node: NodeId,
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        log: LogTail,
    },
    /// A node did not answer in time.
    #[error("{node} did not answer within {within:?}; its log ends with:\n{log}")]
    Silent {
        /// The node.
        node: NodeId,
        /// How long it was waited for.
        within: Duration,
        /// What was wrong with the last attempt to ask it.
        source: LinkError,
        /// The end of its log.
        log: LogTail,
    },
    /// Nodes that should see each other do not.
    #[error("after {within:?}, {observer} still sees {peer} {}", if *up { "up" } else { "down" })]
    PeerView {
        /// Who looks.
        observer: NodeId,
        /// At whom.
        peer: NodeId,
        /// How it sees it.
        up: bool,
        /// How long it was waited for.
        within: Duration,
    },
    /// A node did not stop on SIGTERM. It still runs.
    #[error("{node} did not stop within {within:?} of SIGTERM")]
    NotStopped {
        /// The node.
        node: NodeId,
        /// How long it was waited for.
        within: Duration,
    },
    /// A node did not stop on SIGSTOP. It will, and counts as paused.
    #[error("{node} still runs {within:?} after SIGSTOP")]
    NotPaused {
        /// The node.
        node: NodeId,
        /// How long it was waited for.
        within: Duration,
    },
    /// There is no such node.
    #[error("there is no {node} in a cluster of n1 to n{nodes}")]
    UnknownNode {
        /// What was named.
        node: NodeId,
        /// How many there are.
        nodes: u16,
    },
    /// The node has no process.
    #[error("{node} is not running; `restart {node}` starts it")]
    NotRunning {
        /// The node.
        node: NodeId,
    },
    /// The process could not be signalled or waited for.
    #[error("cannot signal the process of {node}")]
    Process {
        /// The node.
        node: NodeId,
        /// What the operating system said.
        source: io::Error,
    },
    /// The cluster was started without faults.
    #[error("faults are not enabled in this cluster; start it with enable_faults")]
    FaultsDisabled,
    /// The fault makes no sense.
    #[error(transparent)]
    InvalidFault(#[from] InvalidFault),
    /// A node could not be told its faults. It is told again with the next fault.
    #[error("cannot set the faults of {node}")]
    Faults {
        /// The node.
        node: NodeId,
        /// Why.
        source: LinkError,
    },
}

/// The last lines of a node's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTail {
    lines: Vec<String>,
}

impl LogTail {
    const LINES_MAX: usize = 20;
    const BYTES_MAX: usize = 16 * 1024;

    /// Reads the end of a log; empty if there is none.
    pub(crate) fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_default();
        let end = &bytes[bytes.len().saturating_sub(Self::BYTES_MAX)..];
        let text = String::from_utf8_lossy(end);
        let mut lines: Vec<String> = text.lines().rev().take(Self::LINES_MAX).map(str::to_owned).collect();
        lines.reverse();
        Self { lines }
    }
}

impl LogTail {
    /// Whether the node has ended because somebody else listens on its address.
    pub(crate) fn says_port_is_taken(&self, address: &str) -> bool {
        let text: Vec<&str> = self.lines.iter().flat_map(|line| line.split_whitespace()).collect();
        text.join(" ").contains(&format!("cannot listen on {address}; is another process using it?"))
    }
}

impl fmt::Display for LogTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lines.is_empty() {
            return f.write_str("  (the log is empty)");
        }
        let lines: Vec<String> = self.lines.iter().map(|line| format!("  {line}")).collect();
        f.write_str(&lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_its_last_lines() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        assert_eq!(LogTail::read(&path).to_string(), "  (the log is empty)");
        let text: String = (0..2_000).map(|line| format!("line {line} of a long log\n")).collect();
        std::fs::write(&path, text).expect("written");
        let tail = LogTail::read(&path);
        assert_eq!(tail.lines.len(), LogTail::LINES_MAX);
        assert!(tail.to_string().ends_with("  line 1999 of a long log"));
    }
}
