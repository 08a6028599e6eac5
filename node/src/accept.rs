//! Accepting connections: one task each, the hello within a time-out, then the service of its class.
//!
//! **Promise.** A caller that speaks another protocol, is slow, floods or lies costs a bounded number of connections and one
//! log line; it never stops the loop or disturbs the other connections.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use quorate_rpc::admin::Admin;
use quorate_rpc::hello::{Class, Hello, HelloError, HelloRefusal, HelloReply, answer, receive_hello};
use quorate_rpc::kv::KeyValue;
use quorate_rpc::peer::Peer;
use quorate_rpc::tarpc::server::{BaseChannel, Channel, Config};
use quorate_rpc::transport::{framed, prepare};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::faults::Faulty;
use crate::identity::vouch;
use crate::node::Node;
use crate::service::{AdminService, KvService, PeerService};

/// How long a caller may take to introduce itself.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after the listener itself failed, which it does when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Answers of one connection that wait to be written before its handlers do.
const ANSWERS_MAX: usize = 4_096;

/// Accepts connections until the node stops.
pub(crate) async fn run(node: Arc<Node>, listener: TcpListener) {
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

async fn connection(node: Arc<Node>, mut stream: TcpStream, caller: SocketAddr) {
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

async fn refuse(stream: &mut TcpStream, refusal: HelloRefusal) -> Result<(), HelloError> {
    answer(stream, &HelloReply::Refused(refusal)).await
}

/// Reads and answers the hello. `None` when the link to the caller is cut by a fault.
async fn greet(node: &Node, stream: &mut TcpStream) -> Result<Option<Hello>, HelloError> {
    prepare(stream)?;
    let hello = receive_hello(stream).await?;
    if hello.from.is_some_and(|from| node.faults.is_cut(from.node)) {
        return Ok(None);
    }
    if let Err(refusal) = check(node, &hello).await {
        refuse(stream, refusal.clone()).await?;
        return Err(HelloError::Refused(refusal));
    }
    let cluster = node.config.cluster.id.to_string();
    answer(stream, &HelloReply::Welcome { cluster, identity: node.identity }).await?;
    Ok(Some(hello))
}

async fn check(node: &Node, hello: &Hello) -> Result<(), HelloRefusal> {
    let ours = node.config.cluster.id.to_string();
    if hello.cluster.as_ref().is_some_and(|theirs| *theirs != ours) {
        return Err(HelloRefusal::OtherCluster { theirs: ours });
    }
    match (hello.class, hello.from) {
        (Class::Client, None) => Ok(()),
        (Class::Admin, None) if node.faults_enabled => Ok(()),
        (Class::Admin, None) => Err(HelloRefusal::FaultsDisabled),
        (Class::Peer | Class::Bulk, Some(_)) if hello.topology != node.placement.fingerprint() => Err(HelloRefusal::OtherTopology),
        (Class::Peer | Class::Bulk, Some(from)) => vouch(node, from).await,
        (Class::Client | Class::Admin, Some(_)) | (Class::Peer | Class::Bulk, None) => Err(HelloRefusal::Malformed),
    }
}

async fn serve(node: &Arc<Node>, stream: TcpStream, hello: &Hello) {
    let config = Config { pending_response_buffer: ANSWERS_MAX };
    match (hello.class, hello.from) {
        (Class::Peer | Class::Bulk, Some(from)) => {
            let transport = Faulty::new(framed(stream), node.faults.link(from.node));
            let channel = BaseChannel::new(config, transport);
            let service = PeerService { node: Arc::clone(node), carries_hints: hello.class == Class::Bulk };
            spawn_each(channel.execute(service.serve())).await;
        }
        (Class::Admin, _) => {
            let channel = BaseChannel::new(config, framed(stream));
            spawn_each(channel.execute(AdminService(Arc::clone(node)).serve())).await;
        }
        (Class::Client | Class::Peer | Class::Bulk, _) => {
            let channel = BaseChannel::new(config, framed(stream));
            spawn_each(channel.execute(KvService(Arc::clone(node)).serve())).await;
        }
    }
}

/// Runs every request of a connection in a task of its own.
async fn spawn_each<F: Future<Output = ()> + Send + 'static>(requests: impl Stream<Item = F>) {
    let mut requests = std::pin::pin!(requests);
    while let Some(request) = requests.next().await {
        tokio::spawn(request);
    }
}
