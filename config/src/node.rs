//! `[node]`: what belongs to one node alone.

use std::path::PathBuf;

use quorate_ring::NodeId;

use crate::address::Address;
use crate::cluster::{Cluster, check_port};
use crate::error::Problem;
use crate::reader::{Decoder, Subtable};

/// This node. Section `[node]`; different on every node.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// `node.id`: which of the cluster's nodes this one is. Required, here or as `--set node.id=n1`, so that all nodes can
    /// share one file.
    pub id: NodeId,
    /// `node.listen`: host and port to listen on. Default: the node's address in `[[cluster.node]]`. Set it when the address
    /// that others use is not one of this machine, such as behind NAT or in a container: `0.0.0.0:7400`.
    pub listen: Address,
    /// `node.data_dir`: the directory of this node's data; relative paths begin where the server was started. Required.
    /// Every node needs a directory of its own, on a disk that keeps its promise when it syncs.
    pub data_dir: PathBuf,
    /// `node.metrics_address`: host and port that serve `/metrics`, `/healthz` (the process runs) and `/readyz` (this node takes
    /// requests; whether a quorum of others is in reach it does not say) over HTTP. Default: none are served. Port 0 lets the
    /// system choose. It has no authentication: keep it inside your network.
    pub metrics_address: Option<Address>,
    /// `node.worker_threads`: threads that run requests. Default: one per core. Fewer leave room for other programs, as when
    /// several nodes share one machine; more bring nothing.
    pub worker_threads: Option<usize>,
    /// `node.requests_in_flight_max`: client requests that this node coordinates at once; further ones are answered
    /// `Overloaded`. Default 1024. Latency under overload grows with it; 64 per core is enough to keep a node busy.
    pub requests_in_flight_max: usize,
    /// `node.connections_max`: connections accepted at once, clients and peers together; further ones are closed. Default
    /// 1024. Stay below the process's limit of open files.
    pub connections_max: usize,
}

impl Node {
    const REQUESTS_IN_FLIGHT_MAX: usize = 1024;
    const CONNECTIONS_MAX: usize = 1024;

    pub(crate) fn read(decoder: &mut Decoder, subtable: Subtable, cluster: &Cluster) -> Self {
        let mut table = decoder.table("node", "[node]", subtable);
        let id = table.key("id").required(NodeId(0));
        let own = cluster.node(id).map_or_else(Address::stand_in, |node| node.address.clone());
        let node = Self {
            id,
            listen: table.key("listen").or(own),
            data_dir: table.key("data_dir").required(PathBuf::new()),
            metrics_address: table.key("metrics_address").or_unset("no metrics are served"),
            worker_threads: table.key("worker_threads").within(1, 1024).or_unset("one per core"),
            requests_in_flight_max: table.key("requests_in_flight_max").within(1, 1_000_000).or(Self::REQUESTS_IN_FLIGHT_MAX),
            connections_max: table.key("connections_max").within(1, 1_000_000).or(Self::CONNECTIONS_MAX),
        };
        table.finish();
        node.check(decoder, cluster);
        node
    }

    fn check(&self, decoder: &mut Decoder, cluster: &Cluster) {
        check_port(decoder, "node.listen", &self.listen);
        if self.metrics_address.as_ref() == Some(&self.listen) && decoder.sound(&["node.listen"]) {
            decoder.refuse(decoder.origin("node.metrics_address"), Problem::AddressTaken { address: self.listen.clone() });
        }
        let members: Vec<NodeId> = cluster.nodes.iter().map(|node| node.id).collect();
        let ids_known = (0..members.len()).all(|index| decoder.sound(&[&format!("cluster.node[{index}].id")]));
        let checkable = ids_known && !members.is_empty() && decoder.sound(&["node.id", "cluster.node"]);
        if checkable && !members.contains(&self.id) {
            decoder.refuse(decoder.origin("node.id"), Problem::NotAMember { id: self.id, members });
        }
    }
}
