//! Waiting until the nodes are as they should be: ask, and ask again, until it is true or the patience is at its end.

use std::time::Duration;

use futures::future::join_all;
use quorate_ring::NodeId;
use quorate_rpc::kv::Status;
use tokio::time::{Instant, sleep};

use super::error::{ClusterError, LogTail};
use super::link::{self, LinkError};
use super::process::{Life, Process};
use super::{Cluster, Node};

/// Pause between two looks at the cluster; a look costs each node a connection.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Two nodes and how one should see the other.
struct Expected {
    observer: NodeId,
    peer: NodeId,
    up: bool,
}

impl Cluster {
    /// Waits until all running nodes serve and every two of them that no fault separates see each other up.
    ///
    /// # Errors
    /// [`ClusterError`] when the specification's patience is at its end, or a process ended by itself.
    pub async fn wait_until_connected(&mut self) -> Result<(), ClusterError> {
        let running = self.running();
        let pairs = running.iter().flat_map(|a| running.iter().map(|b| (*a, *b)));
        let expected = pairs.filter(|(a, b)| a != b && self.faults.connects(*a, *b));
        let expected = expected.map(|(observer, peer)| Expected { observer, peer, up: true }).collect();
        self.wait_for_views(expected).await
    }

    /// Waits until a node and all running nodes that no fault separates from it see each other up.
    ///
    /// # Errors
    /// As [`Cluster::wait_until_connected`].
    pub async fn wait_until_connected_to(&mut self, id: NodeId) -> Result<(), ClusterError> {
        let others = self.running().into_iter().filter(|other| *other != id && self.faults.connects(id, *other));
        let both_ways = others.flat_map(|other| [(id, other), (other, id)]);
        let expected = both_ways.map(|(observer, peer)| Expected { observer, peer, up: true }).collect();
        self.wait_for_views(expected).await
    }

    /// Waits until no running node sees a dead one up any more.
    ///
    /// # Errors
    /// As [`Cluster::wait_until_connected`].
    pub async fn wait_until_noticed_dead(&mut self, id: NodeId) -> Result<(), ClusterError> {
        let expected = self.running().into_iter().filter(|other| *other != id);
        let expected = expected.map(|observer| Expected { observer, peer: id, up: false }).collect();
        self.wait_for_views(expected).await
    }

    /// Waits until every running node answers.
    ///
    /// # Errors
    /// As [`Cluster::wait_until_connected`].
    pub async fn wait_until_all_answer(&mut self) -> Result<(), ClusterError> {
        let until = Instant::now() + self.spec.patience;
        loop {
            let silent = self.look(&self.running()).await?.into_iter().find_map(|(node, answer)| Some((node, answer.err()?)));
            match silent {
                None => return Ok(()),
                Some((node, source)) if Instant::now() >= until => return Err(self.silent(node, source)),
                Some(_) => sleep(LOOK_EVERY).await,
            }
        }
    }

    async fn wait_for_views(&mut self, mut expected: Vec<Expected>) -> Result<(), ClusterError> {
        let until = Instant::now() + self.spec.patience;
        loop {
            let mut observers: Vec<NodeId> = expected.iter().map(|view| view.observer).collect();
            observers.sort_unstable();
            observers.dedup();
            let mut silence = None;
            for (observer, answer) in self.look(&observers).await? {
                match answer {
                    Ok(status) => expected.retain(|view| view.observer != observer || !view.fits(&status)),
                    Err(source) => silence = Some((observer, source)),
                }
            }
            let Some(view) = expected.first() else { return Ok(()) };
            if Instant::now() >= until {
                let (observer, peer, up) = (view.observer, view.peer, !view.up);
                return Err(match silence {
                    Some((node, source)) => self.silent(node, source),
                    None => ClusterError::PeerView { observer, peer, up, within: self.spec.patience },
                });
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Asks the nodes how they are, all at once.
    async fn look(&mut self, ids: &[NodeId]) -> Result<Vec<(NodeId, Result<Status, LinkError>)>, ClusterError> {
        self.check()?;
        let nodes = ids.iter().filter_map(|id| self.nodes.get(id));
        let cluster = &self.facts.cluster;
        Ok(join_all(nodes.map(async |node| (node.id, link::status(&node.address, cluster).await))).await)
    }

    /// Finds out whether a process has ended without being told to. Its node counts as dead from then on.
    ///
    /// # Errors
    /// [`ClusterError::Exited`], once for each such process; [`ClusterError::Process`] if one cannot be looked at.
    pub fn check(&mut self) -> Result<(), ClusterError> {
        for node in self.nodes.values_mut() {
            let ended = node.process.as_mut().map(Process::ended).transpose().map_err(node.failed())?;
            if let Some(status) = ended.flatten() {
                node.process = None;
                return Err(ClusterError::Exited { node: node.id, status, log: LogTail::read(&node.files.log) });
            }
        }
        Ok(())
    }

    fn running(&self) -> Vec<NodeId> {
        self.nodes().filter(|node| node.life() == Life::Running).map(Node::id).collect()
    }

    fn silent(&self, node: NodeId, source: LinkError) -> ClusterError {
        let log = LogTail::read(&self.nodes[&node].files.log);
        ClusterError::Silent { node, within: self.spec.patience, source, log }
    }
}

impl Expected {
    /// Whether the observer, if it is to see others up, serves and does so.
    fn fits(&self, status: &Status) -> bool {
        let sees_up = status.peers.iter().any(|view| view.node == self.peer && view.up);
        let serves = status.refusal.is_none();
        if self.up { sees_up && serves } else { !sees_up }
    }
}
