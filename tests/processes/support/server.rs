//! Single `quorate server` processes, for starts that a cluster would not make.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use quorate_ring::NodeId;
use tokio::process::Child;

use super::cli::{Ran, quorate, run};
use super::cluster::TestCluster;

/// A server that runs until it is dropped.
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts one that nobody waits for.
    pub(crate) fn spawn(arguments: &[&str], log: &Path) -> Self {
        let file = File::create(log).expect("a log can be written");
        let mut command = quorate(arguments);
        // The pipe ends with this process, however it ends, and the server with the pipe.
        command.arg("--exit-with-stdin").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(file);
        Self { child: command.spawn().expect("the binary starts"), log: log.to_owned() }
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// True while it runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().expect("the child can be looked at").is_none()
    }
}

impl TestCluster {
    /// Starts a node of this cluster with further arguments, expecting that it does not come up.
    pub(crate) async fn refused_start(&self, node: NodeId, arguments: &[&str]) -> Ran {
        let config = self.node(node).expect("a node of this cluster").config().to_str().expect("a path in UTF-8");
        let mut all = vec!["server", "--config", config];
        all.extend(arguments);
        run(&all).await
    }
}
