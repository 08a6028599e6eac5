//! What clients may ask.
//!
//! Handlers that coordinate are boxed: tarpc makes a task of whichever is called, which would have room for the largest of them all.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quorate_protocol::outcome::Failure;
use quorate_rpc::kv::{
    ChangeReply, ChangeRequest, KeyValue, ListRequest, OutcomeReply, OutcomeRequest, PeerStatus, PeerTrouble, ReadReply, ReadRequest,
    Status, Topology, WriteReply, WriteRequest,
};
use quorate_rpc::peer::KeysPage;
use quorate_rpc::tarpc::context::Context;

use crate::coordinator;
use crate::handoff::departed;
use crate::node::Node;

/// One client's connection.
#[derive(Clone)]
pub(crate) struct KvService(pub(crate) Arc<Node>);

impl KeyValue for KvService {
    async fn read(self, _: Context, request: ReadRequest) -> Result<ReadReply, Failure> {
        Box::pin(coordinator::read(&self.0, request)).await
    }

    async fn write(self, _: Context, request: WriteRequest) -> Result<WriteReply, Failure> {
        Box::pin(coordinator::write(&self.0, request)).await
    }

    async fn change(self, _: Context, request: ChangeRequest) -> Result<ChangeReply, Failure> {
        Box::pin(coordinator::change(&self.0, request)).await
    }

    async fn outcome(self, _: Context, request: OutcomeRequest) -> Result<OutcomeReply, Failure> {
        Box::pin(coordinator::outcome(&self.0, request)).await
    }

    async fn list(self, _: Context, request: ListRequest) -> Result<KeysPage, Failure> {
        Box::pin(coordinator::list(&self.0, request)).await
    }

    async fn topology(self, _: Context) -> Topology {
        self.0.placement.wire().clone()
    }

    async fn status(self, _: Context) -> Status {
        self.0.inspect(status).await
    }

    async fn metrics(self, _: Context) -> String {
        self.0.inspect(Node::render_metrics).await
    }

    async fn tick(self, _: Context) -> u64 {
        self.0.clock.tick().0
    }
}

/// Reads directories and the engine's measures: not for threads that run async tasks.
fn status(node: &Node) -> Status {
    let peers = node.peers.all().map(|peer| {
        let hints = node.store.hint_stats(peer.node);
        let rtt = peer.rtt_micros();
        PeerStatus {
            node: peer.node,
            address: peer.address.clone(),
            up: peer.is_up(),
            trouble: peer.trouble(),
            rtt_micros: (rtt > 0).then_some(rtt),
            hints: hints.count as u64,
            hint_bytes: hints.bytes,
        }
    });
    let departed = departed(node).map(|(gone, hints)| PeerStatus {
        node: gone,
        address: String::new(),
        up: false,
        trouble: Some(PeerTrouble::NoMember),
        rtt_micros: None,
        hints: hints.count as u64,
        hint_bytes: hints.bytes,
    });
    let records = node.store.properties().into_iter().find(|(name, _)| *name == "estimated_records");
    Status {
        node: node.me(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        boot: node.identity.boot.0,
        uptime_seconds: node.started.elapsed().as_secs(),
        writable: node.store.is_writable(),
        faults_enabled: node.faults_enabled,
        partitions: node.placement.load(),
        records: records.map_or(0, |(_, count)| count),
        disk_bytes: node.store.disk_bytes().unwrap_or(0),
        requests_in_flight: u64::try_from(node.metrics.in_flight.inner().load(Ordering::Relaxed)).unwrap_or(0),
        peers: peers.chain(departed).collect(),
        refusal: node.refusal(),
        bug: node.options.defect.map(|bug| bug.name().to_owned()),
    }
}
