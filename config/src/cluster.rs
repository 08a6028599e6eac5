//! `[cluster]`: what all nodes of a cluster agree on, and who they are.
//!
//! Name, number of partitions and replicas are facts of a cluster: they are fixed when it is made, and a node that is
//! started with others than its data directory holds refuses.

use quorate_ring::{NODES_MAX, NodeId, Partitions, REPLICAS_MAX, SLOTS, Zone};

use crate::address::{Address, ClusterId, Secret};
use crate::error::Problem;
use crate::origin::Origin;
use crate::reader::{Decoder, Subtable};

/// The cluster this node belongs to. Section `[cluster]`; the same on every node.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// `cluster.id`: the name of the cluster. Nodes and clients of another cluster are turned away at their first message.
    /// Required. Choose a name that no other cluster you run has.
    pub id: ClusterId,
    /// `cluster.secret`: the key that authenticates contexts (what a client says it has seen). Default: none; contexts are
    /// then guarded against accidents, not against forgery. It also proves nodes to each other. Without it, whoever can connect can
    /// pass for a node that has not been met yet, or shut a known one out. Choose 16 or more random characters, the same on every node.
    pub secret: Option<Secret>,
    /// `cluster.partitions`: into how many partitions the keys are divided; a power of two, at most 16384. Default 256.
    /// Choose so many that each node of the largest size the cluster will grow to holds 32 copies or more (partitions times
    /// replicas, over nodes); it cannot be changed later.
    pub partitions: Partitions,
    /// `cluster.replicas`: nodes that keep a copy of each key (the N of N, R and W). Default 3. An odd number: 3 lets a
    /// majority survive one lost node, 5 two. At most the number of nodes and at most 7.
    pub replicas: u8,
    /// The nodes, one `[[cluster.node]]` each, in the order declared. At least one; ids and addresses differ.
    pub nodes: Vec<ClusterNode>,
}

/// One node of the cluster. Section `[[cluster.node]]`; the same list on every node.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterNode {
    /// `id`: the node's name, such as `n1`. Required. Never give the name of a lost node to a new one.
    pub id: NodeId,
    /// `address`: host and port where peers and clients reach the node. Required.
    pub address: Address,
    /// `zone`: what fails together with the node, such as a rack or data centre. Default: none. With zones, the replicas of
    /// a key are spread over as many zones as there are.
    pub zone: Option<Zone>,
}

impl Cluster {
    const PARTITIONS: u16 = 256;
    const REPLICAS: u8 = 3;

    pub(crate) fn read(decoder: &mut Decoder, subtable: Subtable) -> Self {
        let origin = subtable.origin.clone();
        let mut table = decoder.table("cluster", "[cluster]", subtable);
        let id = table.key("id").required(ClusterId::stand_in());
        let secret = table.key("secret").or_unset("contexts are guarded against accidents only");
        let partitions = table.key("partitions").within(1, SLOTS).or(Self::PARTITIONS);
        let replicas = table.key("replicas").within(1, REPLICAS_MAX).or(Self::REPLICAS);
        let nodes = table.subtables("node");
        table.finish();

        let nodes = nodes.into_iter().enumerate().map(|(index, subtable)| ClusterNode::read(decoder, index, subtable)).collect();
        let cluster = Self { id, secret, partitions: power_of_two(decoder, partitions), replicas, nodes };
        cluster.check_nodes(decoder, origin);
        cluster.check_distinct(decoder);
        cluster
    }

    fn check_nodes(&self, decoder: &mut Decoder, cluster: Origin) {
        if !decoder.sound(&["cluster.node", "cluster.replicas"]) {
            return;
        }
        if self.nodes.is_empty() {
            decoder.refuse(cluster, Problem::NoNodes);
        } else if self.nodes.len() > NODES_MAX {
            decoder.refuse(cluster, Problem::TooManyNodes { nodes: self.nodes.len() });
        } else if usize::from(self.replicas) > self.nodes.len() {
            let written = decoder.origin("cluster.replicas");
            let by_default = written == Origin::Default;
            let (key, replicas, nodes) = ("cluster.replicas".to_owned(), self.replicas, self.nodes.len());
            let problem = Problem::TooManyReplicas { key, replicas, nodes, by_default };
            decoder.refuse(if by_default { cluster } else { written }, problem);
        }
    }

    fn check_distinct(&self, decoder: &mut Decoder) {
        for (index, node) in self.nodes.iter().enumerate() {
            let (id, address) = (ClusterNode::path(index, "id"), ClusterNode::path(index, "address"));
            let earlier = || self.nodes[..index].iter().enumerate();
            if let Some((first, _)) = earlier().find(|(_, other)| other.id == node.id)
                && decoder.sound(&[&id, &ClusterNode::path(first, "id")])
            {
                let first = decoder.origin(&ClusterNode::path(first, "id"));
                decoder.refuse(decoder.origin(&id), Problem::DuplicateNode { id: node.id, first });
            }
            if let Some((first, owner)) = earlier().find(|(_, other)| other.address == node.address)
                && decoder.sound(&[&address, &ClusterNode::path(first, "address")])
            {
                let problem = Problem::DuplicateAddress { address: node.address.clone(), owner: owner.id };
                decoder.refuse(decoder.origin(&address), problem);
            }
        }
    }

    /// The node called `id`.
    pub fn node(&self, id: NodeId) -> Option<&ClusterNode> {
        self.nodes.iter().find(|node| node.id == id)
    }
}

impl ClusterNode {
    fn path(index: usize, key: &str) -> String {
        format!("cluster.node[{index}].{key}")
    }

    fn read(decoder: &mut Decoder, index: usize, subtable: Subtable) -> Self {
        let path = format!("cluster.node[{index}]");
        let mut table = decoder.table(&path, "[[cluster.node]]", subtable);
        let id = table.key("id").required(NodeId(0));
        let address = table.key("address").required(Address::stand_in());
        let zone = table.key("zone").or_unset("zones play no part in placement");
        table.finish();
        check_port(decoder, &Self::path(index, "address"), &address);
        Self { id, address, zone }
    }
}

/// Refuses port 0 for an address that others must find.
pub(crate) fn check_port(decoder: &mut Decoder, path: &str, address: &Address) {
    if address.port() == 0 && decoder.sound(&[path]) {
        decoder.refuse(decoder.origin(path), Problem::NoPort { key: path.to_owned() });
    }
}

/// The number of partitions as the ring takes it. On an error the default stands in.
fn power_of_two(decoder: &mut Decoder, partitions: u16) -> Partitions {
    const PATH: &str = "cluster.partitions";
    Partitions::new(partitions).unwrap_or_else(|_| {
        decoder.refuse(decoder.origin(PATH), Problem::NotPowerOfTwo { partitions });
        Partitions::new(Cluster::PARTITIONS).expect("the default is a power of two")
    })
}
