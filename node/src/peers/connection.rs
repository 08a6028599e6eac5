//! Making the connection to a peer, and making it again.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use parking_lot::Mutex;
use quorate_ring::NodeId;
use quorate_rpc::clock::FarClock;
use quorate_rpc::hello::{Class, Hello, HelloError, HelloRefusal, Host, introduce_node};
use quorate_rpc::kv::PeerTrouble;
use quorate_rpc::net::Stream;
use quorate_rpc::peer::{IN_FLIGHT_MAX, PeerClient};
use quorate_rpc::proof::Challenge;
use quorate_rpc::tarpc::client;
use quorate_rpc::transport::framed;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::{Connection, Outgoing, Peer, pump};
use crate::counted::Counted;
use crate::faults::Faulty;
use crate::identity::vouch;
use crate::node::Node;

/// Calls that wait to be written to one connection, beside the [`IN_FLIGHT_MAX`] under way. Beyond, callers wait, and their deadlines
/// decide.
const WAITING_MAX: usize = 4_096;

/// Keeps a peer connected until the node stops.
pub(super) async fn keep(node: Arc<Node>, peer: Arc<Peer>, mut queue: mpsc::Receiver<Outgoing>) {
    loop {
        let connection = tokio::select! {
            connection = dial_until_welcome(&node, &peer) => Arc::new(connection),
            () = turn_away(&mut queue) => return,
            () = node.stopping.cancelled() => return,
        };
        peer.connection.store(Some(Arc::clone(&connection)));
        let trouble = tokio::select! {
            trouble = pump::run(&node, &peer, &connection, &mut queue) => trouble,
            () = node.stopping.cancelled() => return,
        };
        peer.connection.store(None);
        peer.went_down(trouble);
    }
}

/// Answers with `PeerDown` whatever is still queued, or is put there yet by somebody who saw the peer up a moment ago.
async fn turn_away(queue: &mut mpsc::Receiver<Outgoing>) {
    while let Some(outgoing) = queue.recv().await {
        outgoing.reply.down();
    }
}

async fn dial_until_welcome(node: &Node, peer: &Peer) -> Connection {
    let config = &node.config.peer;
    let builder = ExponentialBuilder::default()
        .with_min_delay(config.reconnect_min)
        .with_max_delay(config.reconnect_max)
        .without_max_times()
        .with_jitter();
    let mut waits = builder.build();
    loop {
        match dial(node, peer.node, &peer.address, Class::Peer).await {
            Ok(connection) => return connection,
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
pub(crate) async fn dial(node: &Node, to: NodeId, address: &str, class: Class) -> Result<Connection, PeerTrouble> {
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
    let (stream, Host { identity, tick, vouches }) = match timeout(within, greet(node, address, &hello)).await {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(HelloError::Refused(refusal))) => return Err(PeerTrouble::Refused(refusal)),
        Ok(Err(_)) | Err(_) => return Err(PeerTrouble::Unreachable),
    };
    let heard = Instant::now();
    if identity.node != to {
        return Err(PeerTrouble::Refused(HelloRefusal::UnknownNode { node: identity.node }));
    }
    vouch(node, identity).await.map_err(PeerTrouble::Refused)?;
    if vouches {
        node.vouching.vouched_by(to);
    }
    let transport = Counted::new(Faulty::new(framed(stream), node.faults.link(to)), &node.metrics);
    let mut config = client::Config::default();
    config.max_in_flight_requests = IN_FLIGHT_MAX;
    config.pending_request_buffer = WAITING_MAX;
    let channel = client::new(config, transport).spawn();
    Ok(Connection { calls: PeerClient::from(channel.clone()), channel, clock: Mutex::new(FarClock::new(tick, heard)) })
}

async fn greet(node: &Node, address: &str, hello: &Hello) -> Result<(Stream, Host), HelloError> {
    let mut stream = node.network.connect(address).await?;
    let challenge = Challenge(rand::random());
    let host = introduce_node(&mut stream, hello, node.identity, node.peer_key.as_ref(), challenge).await?;
    Ok((stream, host))
}

/// The deadline of a call, as tarpc carries it.
pub(crate) fn context(left: Duration) -> quorate_rpc::tarpc::context::Context {
    let mut context = quorate_rpc::tarpc::context::current();
    context.deadline = std::time::Instant::now() + left;
    context
}
