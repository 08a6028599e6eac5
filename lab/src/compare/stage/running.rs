//! A cluster that runs already and is not ours: its links and clocks can be broken if its nodes take faults; its processes cannot.
//!
//! What its nodes had been told before, as the distances between them, stays: our faults come on top, and mending takes away only ours.

use std::collections::BTreeMap;

use futures::future::{join_all, try_join_all};
use quorate_ring::NodeId;
use quorate_rpc::admin::{Faults, LinkFault};

use super::error::StageError;
use crate::cluster::{FaultState, InvalidFault, link};

/// A running cluster.
#[derive(Debug)]
pub struct Running {
    cluster: String,
    addresses: BTreeMap<NodeId, String>,
    /// What each node had been told before; of those that take faults.
    before: BTreeMap<NodeId, Faults>,
    faults: FaultState,
}

impl Running {
    /// Looks at a cluster by its name and its nodes' addresses, as its topology says them.
    ///
    /// # Errors
    /// [`StageError::Silent`] if a node does not answer.
    pub async fn find(cluster: &str, addresses: impl IntoIterator<Item = (NodeId, String)>) -> Result<Self, StageError> {
        let addresses: BTreeMap<NodeId, String> = addresses.into_iter().collect();
        let asking = addresses.iter().map(async |(node, address)| {
            let silent = |source| StageError::Silent { node: *node, source };
            let status = link::status(address, cluster).await.map_err(silent)?;
            if !status.faults_enabled {
                return Ok::<_, StageError>(None);
            }
            Ok(Some((*node, link::faults(address, cluster).await.map_err(silent)?)))
        });
        let before = try_join_all(asking).await?.into_iter().flatten().collect();
        Ok(Self { cluster: cluster.to_owned(), addresses, before, faults: FaultState::default() })
    }

    pub(super) fn cluster(&self) -> &str {
        &self.cluster
    }

    pub(super) fn addresses(&self) -> &BTreeMap<NodeId, String> {
        &self.addresses
    }

    /// A node that makes no faults.
    pub(super) fn without_faults(&self) -> Option<NodeId> {
        self.addresses.keys().find(|node| !self.before.contains_key(node)).copied()
    }

    /// Changes what is broken, and tells all nodes.
    pub(super) async fn change(&mut self, change: impl FnOnce(&mut FaultState) -> Result<(), InvalidFault>) -> Result<(), StageError> {
        if let Some(node) = self.without_faults() {
            return Err(StageError::FaultsDisabled { node });
        }
        change(&mut self.faults)?;
        let ids = self.addresses.keys().copied();
        let telling = self.before.iter().map(async |(node, before)| {
            let faults = on_top(before, &self.faults.of(*node, ids.clone()));
            let told = link::set_faults(&self.addresses[node], &self.cluster, faults).await;
            told.map_err(|source| StageError::Untold { node: *node, source })
        });
        // All are told, whoever fails.
        join_all(telling).await.into_iter().collect()
    }

    /// True when nothing of ours is broken.
    pub(super) fn is_healed(&self) -> bool {
        self.faults.is_healed()
    }
}

/// One fault after another: a link is cut if either cuts it, and delays and errors of clocks add up.
fn on_top(before: &Faults, ours: &Faults) -> Faults {
    let mut links = before.links.clone();
    for (node, fault) in &ours.links {
        let link: &mut LinkFault = links.entry(*node).or_default();
        link.cut |= fault.cut;
        link.delay_micros = link.delay_micros.saturating_add(fault.delay_micros);
    }
    Faults { links, skew_ms: before.skew_ms.saturating_add(ours.skew_ms) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_faults_come_on_top_of_what_was_there() {
        let link = |cut, delay_micros| LinkFault { cut, delay_micros };
        let before = Faults { links: BTreeMap::from([(NodeId(2), link(false, 40)), (NodeId(3), link(true, 0))]), skew_ms: 5 };
        let ours = Faults { links: BTreeMap::from([(NodeId(2), link(true, 2)), (NodeId(4), link(false, 7))]), skew_ms: -3_000 };
        let links = BTreeMap::from([(NodeId(2), link(true, 42)), (NodeId(3), link(true, 0)), (NodeId(4), link(false, 7))]);
        assert_eq!(on_top(&before, &ours), Faults { links, skew_ms: -2_995 });
        assert_eq!(on_top(&before, &Faults::default()), before, "what is mended is as before");
    }
}
