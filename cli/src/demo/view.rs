//! What `ring` and `status` show at the prompt.

use bytes::Bytes;
use futures::future::join_all;
use quorate_lab::cluster::{Cluster, Life, Node};
use quorate_protocol::Level;
use quorate_ring::{Ring, slot_of};
use quorate_rpc::kv::{Status, Topology};

use super::answer::list;
use crate::json::nodes;
use crate::output::Columns;

/// Where a key lives, or how much of all keys each node has; by the bucket `default`.
pub(super) fn ring(ring: &Ring, topology: &Topology, key: Option<&Bytes>) -> String {
    let default = topology.buckets.iter().find(|bucket| bucket.name == "default").map(|bucket| bucket.replicas);
    let Some(table) = default.and_then(|replicas| ring.table(replicas)) else {
        return "the nodes tell no bucket default".to_owned();
    };
    if let Some(key) = key {
        let slot = slot_of(key);
        let partition = ring.partitions().of(slot);
        let mut columns = Columns::new(&["#slot", "partition", "home replicas"]);
        columns.row([slot.to_string(), partition.to_string(), nodes(table.preference_list(partition)).join(" ")]);
        return columns.to_string();
    }
    let mut columns = Columns::new(&["node", "address", "#partitions"]);
    for member in ring.members() {
        let address = topology.addresses.iter().find(|(node, _)| *node == member.id).map(|(_, address)| address.clone());
        columns.row([member.id.to_string(), address.unwrap_or_default(), table.load(member.id).to_string()]);
    }
    let (partitions, replicas, epoch) = (ring.partitions(), table.replicas(), ring.epoch());
    format!("{columns}\n{partitions} partitions, {replicas} home replicas each, ring epoch {epoch}; `ring K` shows those of a key")
}

/// How each node is, by its process and by its own word, and what is broken.
pub(super) async fn status(cluster: &Cluster, level: Option<Level>) -> String {
    let statuses = join_all(cluster.nodes().map(async |node| match node.life() {
        Life::Running => cluster.status(node.id()).await.ok(),
        Life::Paused | Life::Dead => None,
    }));
    let mut columns = Columns::new(&["node", "address", "process", "#boot", "#records", "#hints kept", "sees down"]);
    for (node, status) in cluster.nodes().zip(statuses.await) {
        columns.row(row(node, status.as_ref()));
    }
    let level = level.map_or_else(|| "each bucket's own".to_owned(), |level| level.to_string());
    let bug = cluster.spec().bug.map_or_else(String::new, |bug| format!("; planted bug: {bug}"));
    format!("{columns}\nfaults: {}; level: {level}{bug}", cluster.faults())
}

fn row(node: &Node, status: Option<&Status>) -> [String; 7] {
    let process = match (node.life(), node.pid(), status) {
        (Life::Running, Some(pid), Some(_)) => format!("running ({pid})"),
        (Life::Running, Some(pid), None) => format!("does not answer ({pid})"),
        (Life::Paused, Some(pid), _) => format!("paused ({pid})"),
        (Life::Dead, ..) | (_, None, _) => "dead".to_owned(),
    };
    let told = |text: fn(&Status) -> String| status.map(text).unwrap_or_default();
    [
        node.id().to_string(),
        node.address().to_owned(),
        process,
        told(|status| status.boot.to_string()),
        told(|status| status.records.to_string()),
        told(|status| status.peers.iter().map(|peer| peer.hints).sum::<u64>().to_string()),
        told(|status| list(&status.peers.iter().filter(|peer| !peer.up).map(|peer| peer.node).collect::<Vec<_>>())),
    ]
}

#[cfg(test)]
mod tests {
    use quorate_protocol::BucketId;
    use quorate_ring::{Member, NodeId, Partitions, RingEpoch, RingSpec};
    use quorate_rpc::kv::BucketInfo;

    use super::*;

    #[test]
    fn a_key_is_shown_with_its_homes_and_the_ring_with_its_nodes() {
        let spec = RingSpec {
            epoch: RingEpoch(1),
            partitions: Partitions::default(),
            members: [1, 2, 3].map(|id| Member::new(NodeId(id))).to_vec(),
        };
        let bucket = BucketInfo {
            id: BucketId(0),
            name: "default".to_owned(),
            replicas: 3,
            level: Level::Quorum,
            siblings_max: 16,
            blind_writes: true,
            write_mode: Default::default(),
        };
        let addresses = [1, 2, 3].map(|id| (NodeId(id), format!("127.0.0.1:740{}", id - 1))).to_vec();
        let topology = Topology { cluster: "demo".to_owned(), ring: spec.clone(), addresses, buckets: vec![bucket] };
        let made = Ring::new(spec, [3]).expect("three members");
        let key = ring(&made, &topology, Some(&Bytes::from_static(b"foo")));
        assert!(key.contains("12182  p190") || key.contains("12182") && key.contains("p190"), "{key}");
        assert!(["n1", "n2", "n3"].iter().all(|node| key.contains(node)), "{key}");
        let all = ring(&made, &topology, None);
        assert!(
            all.contains("127.0.0.1:7402")
                && all.ends_with("256 partitions, 3 home replicas each, ring epoch e1; `ring K` shows those of a key"),
            "{all}"
        );
    }
}
