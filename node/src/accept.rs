//! Accepting connections: one task each, the hello within a time-out, then the service of its class.
//!
//! **Promise.** A caller that speaks another protocol, is slow, floods or lies costs a bounded number of connections, requests and
//! bytes, and one log line; it never stops the loop or disturbs the other connections.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use quorate_rpc::admin::Admin;
use quorate_rpc::hello::{Class, Hello, HelloError, HelloRefusal, HelloReply, Identity, Welcome, answer, demand_proof, receive_hello};
use quorate_rpc::kv::{self, KeyValue, KeyValueRequest, KeyValueResponse};
use quorate_rpc::net::{Listener, Stream as Connection};
use quorate_rpc::peer::{self, Peer, PeerRequest, PeerResponse};
use quorate_rpc::proof::{Challenge, Proof, Side};
use quorate_rpc::tarpc::server::{BaseChannel, Channel, Config};
use quorate_rpc::tarpc::{ClientMessage, Response};
use quorate_rpc::transport::{Transport, framed, framed_for_client};
use tokio::time::timeout;

use crate::counted::Counted;
use crate::faults::Faulty;
use crate::identity::vouch;
use crate::node::Node;
use crate::service::{AdminService, Bounded, KvService, PeerService, Unsent};

/// How long a caller may take to introduce itself.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after the listener itself failed, which it does when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Requests under way on one connection that injects faults. Tests and demonstrations send one after the other.
const ADMIN_IN_FLIGHT_MAX: usize = 16;

/// Accepts connections until the node stops.
pub(crate) async fn run(node: Arc<Node>, listener: Box<dyn Listener>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = node.stopping.cancelled() => return,
        };
        match accepted {
            Ok((stream, caller)) => {
                tokio::spawn(connection(Arc::clone(&node), stream, caller));
            }
            Err(error) => {
                tracing::warn!(%error, "connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(node: Arc<Node>, mut stream: Connection, caller: SocketAddr) {
    let Ok(permit) = Arc::clone(&node.connections).try_acquire_owned() else {
        let _ = timeout(HELLO_TIMEOUT, refuse(&mut stream, HelloRefusal::TooManyConnections)).await;
        tracing::warn!(%caller, "connection refused: too many");
        return;
    };
    match timeout(HELLO_TIMEOUT, greet(&node, &mut stream)).await {
        Ok(Ok(Some(hello))) => {
            tokio::select! {
                () = serve(&node, stream, &hello) => {}
                () = node.stopping.cancelled() => {}
            }
        }
        // Nothing reaches this caller: its connection attempt just fails.
        Ok(Ok(None)) => {}
        Ok(Err(HelloError::Io(_))) => tracing::debug!(%caller, "caller left before its hello"),
        Ok(Err(error)) => tracing::warn!(%caller, %error, "connection refused"),
        Err(_elapsed) => tracing::warn!(%caller, "connection refused: no hello in time"),
    }
    drop(permit);
}

async fn refuse(stream: &mut Connection, refusal: HelloRefusal) -> Result<(), HelloError> {
    answer(stream, &HelloReply::Refused(refusal)).await
}

/// Reads and answers the hello. `None` when the link to the caller is cut by a fault.
async fn greet(node: &Node, stream: &mut Connection) -> Result<Option<Hello>, HelloError> {
    let hello = receive_hello(stream).await?;
    if hello.from.is_some_and(|from| node.faults.is_cut(from.node)) {
        return Ok(None);
    }
    let Trust { proof, vouches } = match trust(node, &hello, stream).await {
        Ok(trust) => trust,
        Err(error) => {
            if let HelloError::Refused(refusal) = &error {
                refuse(stream, refusal.clone()).await?;
            }
            return Err(error);
        }
    };
    let cluster = node.config.cluster.id.to_string();
    let identity = hello.from.map(|_| node.identity);
    let tick = node.clock.tick().0;
    answer(stream, &HelloReply::Welcome(Welcome { cluster, node: node.me(), identity, proof, tick, vouches })).await?;
    Ok(Some(hello))
}

/// What a caller that is served gets to know beside who serves it.
#[derive(Default)]
struct Trust {
    /// That this node is who it says.
    proof: Option<Proof>,
    /// That this node remembers the caller.
    vouches: bool,
}

/// Decides whether to serve a caller. Nothing is remembered of one that does not prove who it is, where nodes can.
async fn trust(node: &Node, hello: &Hello, stream: &mut Connection) -> Result<Trust, HelloError> {
    let Some(from) = check(node, hello).map_err(HelloError::Refused)? else { return Ok(Trust::default()) };
    let mut proof = None;
    if let Some(key) = &node.peer_key {
        let challenge = demand_proof(stream, hello.class, from, key, Challenge(rand::random())).await?;
        proof = Some(key.prove(Side::Listener, challenge, hello.class, node.identity));
    }
    let vouches = vouch(node, from).await.map_err(HelloError::Refused)?;
    Ok(Trust { proof, vouches })
}

/// Refuses a hello that is not for this node; otherwise says which node it claims to be from, if any.
fn check(node: &Node, hello: &Hello) -> Result<Option<Identity>, HelloRefusal> {
    let ours = node.config.cluster.id.to_string();
    if hello.cluster.as_ref().is_some_and(|theirs| *theirs != ours) {
        return Err(HelloRefusal::OtherCluster { theirs: ours });
    }
    match (hello.class, hello.from) {
        (Class::Client, None) => Ok(None),
        (Class::Admin, None) if node.faults_enabled => Ok(None),
        (Class::Admin, None) => Err(HelloRefusal::FaultsDisabled),
        (Class::Peer | Class::Bulk, Some(_)) if hello.topology != node.placement.fingerprint() => Err(HelloRefusal::OtherTopology),
        (Class::Peer | Class::Bulk, Some(from)) if !is_other_member(node, from) => Err(HelloRefusal::UnknownNode { node: from.node }),
        (Class::Peer | Class::Bulk, Some(from)) => Ok(Some(from)),
        (Class::Client | Class::Admin, Some(_)) | (Class::Peer | Class::Bulk, None) => Err(HelloRefusal::Malformed),
    }
}

fn is_other_member(node: &Node, from: Identity) -> bool {
    from.node != node.me() && node.config.cluster.node(from.node).is_some()
}

async fn serve(node: &Arc<Node>, stream: Connection, hello: &Hello) {
    let metrics = Arc::clone(&node.metrics);
    match (hello.class, hello.from) {
        (Class::Peer | Class::Bulk, Some(from)) => {
            type Out = Response<Unsent<PeerResponse>>;
            let transport: Transport<ClientMessage<PeerRequest>, Out> = framed(stream);
            let transport = Counted::new(Faulty::new(transport, node.faults.link(from.node)), &metrics);
            let channel = BaseChannel::new(answers(peer::IN_FLIGHT_MAX), transport);
            let service = PeerService { node: Arc::clone(node), carries_hints: hello.class == Class::Bulk };
            let service = Bounded::new(service.serve(), metrics);
            spawn_each(channel.max_concurrent_requests(peer::IN_FLIGHT_MAX).execute(service)).await;
        }
        (Class::Admin, _) => {
            let channel = BaseChannel::new(answers(ADMIN_IN_FLIGHT_MAX), framed_for_client(stream));
            let service = AdminService(Arc::clone(node)).serve();
            spawn_each(channel.max_concurrent_requests(ADMIN_IN_FLIGHT_MAX).execute(service)).await;
        }
        (Class::Client | Class::Peer | Class::Bulk, _) => {
            type Out = Response<Unsent<KeyValueResponse>>;
            let transport: Transport<ClientMessage<KeyValueRequest>, Out> = framed_for_client(stream);
            let channel = BaseChannel::new(answers(kv::IN_FLIGHT_MAX), transport);
            let service = Bounded::new(KvService(Arc::clone(node)).serve(), metrics);
            spawn_each(channel.max_concurrent_requests(kv::IN_FLIGHT_MAX).execute(service)).await;
        }
    }
}

/// Room for the answers of a connection. tarpc counts a request until its answer is on the socket, takes no further ones while the
/// socket takes no answers, and refuses those above the limit; so there is room for one answer each.
fn answers(in_flight_max: usize) -> Config {
    Config { pending_response_buffer: in_flight_max }
}

/// Runs every request of a connection in a task of its own.
async fn spawn_each<F: Future<Output = ()> + Send + 'static>(requests: impl Stream<Item = F>) {
    let mut requests = std::pin::pin!(requests);
    while let Some(request) = requests.next().await {
        tokio::spawn(request);
    }
}
