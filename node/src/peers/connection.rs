//! Making the connection to a peer, and making it again.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use quorate_ring::NodeId;
use quorate_rpc::hello::{Class, Hello, HelloError, HelloRefusal, Identity, introduce};
use quorate_rpc::kv::PeerTrouble;
use quorate_rpc::peer::PeerClient;
use quorate_rpc::tarpc::client;
use quorate_rpc::transport::{framed, prepare};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Outgoing, Peer, pump};
use crate::faults::Faulty;
use crate::identity::vouch;
use crate::node::Node;

/// Calls in flight on one connection before tarpc makes further ones wait; far above what the queues let through.
const CALLS_MAX: usize = 65_536;

/// Keeps a peer connected until the node stops.
pub(super) async fn keep(node: Arc<Node>, peer: Arc<Peer>, mut queue: mpsc::Receiver<Outgoing>) {
    loop {
        let client = tokio::select! {
            client = dial_until_welcome(&node, &peer) => client,
            () = node.stopping.cancelled() => return,
        };
        peer.client.store(Some(Arc::new(client.clone())));
        let trouble = tokio::select! {
            trouble = pump::run(&node, &peer, &client, &mut queue) => trouble,
            () = node.stopping.cancelled() => return,
        };
        peer.client.store(None);
        peer.went_down(trouble);
        // What was still queued is answered with `PeerDown`.
        while queue.try_recv().is_ok() {}
    }
}

async fn dial_until_welcome(node: &Node, peer: &Peer) -> PeerClient {
    let config = &node.config.peer;
    let builder = ExponentialBuilder::default()
        .with_min_delay(config.reconnect_min)
        .with_max_delay(config.reconnect_max)
        .without_max_times()
        .with_jitter();
    let mut waits = builder.build();
    loop {
        match dial(node, peer.node, &peer.address, Class::Peer).await {
            Ok(client) => return client,
            Err(trouble) => {
                if let PeerTrouble::Refused(refusal @ (HelloRefusal::OtherNonce { node: who } | HelloRefusal::OldBoot { node: who, .. })) =
                    &trouble
                    && *who == node.me()
                {
                    node.quarantine(refusal);
                }
                if matches!(trouble, PeerTrouble::Refused(_)) && peer.trouble() != Some(trouble.clone()) {
                    tracing::error!(peer = %peer.node, reason = %trouble, "peer refused");
                }
                peer.went_down(trouble);
            }
        }
        tokio::time::sleep(waits.next().unwrap_or(config.reconnect_max)).await;
    }
}

/// Opens a connection of the given class to another node.
///
/// # Errors
/// Why there is none.
pub(crate) async fn dial(node: &Node, to: NodeId, address: &str, class: Class) -> Result<PeerClient, PeerTrouble> {
    if node.faults.is_cut(to) {
        return Err(PeerTrouble::Unreachable);
    }
    let within = node.config.peer.connect_timeout;
    let hello = Hello {
        cluster: Some(node.config.cluster.id.to_string()),
        class,
        from: Some(node.identity),
        topology: node.placement.fingerprint(),
    };
    let (stream, identity) = match timeout(within, greet(address, &hello)).await {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(HelloError::Refused(refusal))) => return Err(PeerTrouble::Refused(refusal)),
        Ok(Err(_)) | Err(_) => return Err(PeerTrouble::Unreachable),
    };
    if identity.node != to {
        return Err(PeerTrouble::Refused(HelloRefusal::UnknownNode { node: identity.node }));
    }
    vouch(node, identity).await.map_err(PeerTrouble::Refused)?;
    let transport = Faulty::new(framed(stream), node.faults.link(to));
    let mut config = client::Config::default();
    config.max_in_flight_requests = CALLS_MAX;
    config.pending_request_buffer = CALLS_MAX;
    Ok(PeerClient::new(config, transport).spawn())
}

async fn greet(address: &str, hello: &Hello) -> Result<(TcpStream, Identity), HelloError> {
    let mut stream = TcpStream::connect(address).await?;
    prepare(&stream)?;
    let (_, identity) = introduce(&mut stream, hello).await?;
    Ok((stream, identity))
}

/// The deadline of a call, as tarpc carries it.
pub(crate) fn context(left: Duration) -> quorate_rpc::tarpc::context::Context {
    let mut context = quorate_rpc::tarpc::context::current();
    context.deadline = std::time::Instant::now() + left;
    context
}
