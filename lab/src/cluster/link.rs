//! Short calls to one node that do not go through the client: how it is, and what is broken, or to be.
//!
//! Each call has a connection of its own, which shows that the node accepts connections now, and leaves nothing behind.

use std::io;
use std::time::Duration;

use quorate_protocol::outcome::Failure;
use quorate_rpc::admin::{AdminClient, Faults};
use quorate_rpc::hello::{Class, Hello, HelloError, introduce};
use quorate_rpc::kv::{KeyValueClient, ReadReply, ReadRequest, Status, WriteReply, WriteRequest};
use quorate_rpc::tarpc::{client, context};
use quorate_rpc::transport;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest that one call may take, connecting included. A node on a busy machine may be slow, and is not silent for that.
const CALL_MAX: Duration = Duration::from_secs(5);

/// A node did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Nothing accepts connections there.
    #[error("cannot connect to {address}")]
    Connect {
        /// The node's address.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The node refused, or is another one.
    #[error("{address} did not welcome the connection")]
    Hello {
        /// The node's address.
        address: String,
        /// What it said.
        source: HelloError,
    },
    /// The connection broke during the call.
    #[error("{address} did not answer")]
    Call {
        /// The node's address.
        address: String,
        /// What happened.
        source: client::RpcError,
    },
    /// The node is silent, as one that is paused.
    #[error("{address} did not answer within {CALL_MAX:?}")]
    TimedOut {
        /// The node's address.
        address: String,
    },
}

/// How the node at `address` is.
pub(crate) async fn status(address: &str, cluster: &str) -> Result<Status, LinkError> {
    bounded(address, async { Direct::connect(address, cluster).await?.status().await }).await
}

/// Replaces the faults of the node at `address`; they are in force when this returns.
pub(crate) async fn set_faults(address: &str, cluster: &str, faults: Faults) -> Result<(), LinkError> {
    bounded(address, async {
        let stream = greeted(address, cluster, Class::Admin).await?;
        let client = AdminClient::new(client::Config::default(), transport::framed(stream)).spawn();
        client.set_faults(context::current(), faults).await.map_err(|source| LinkError::Call { address: address.to_owned(), source })
    })
    .await
}

/// The faults in force at the node at `address`.
pub(crate) async fn faults(address: &str, cluster: &str) -> Result<Faults, LinkError> {
    bounded(address, async {
        let stream = greeted(address, cluster, Class::Admin).await?;
        let client = AdminClient::new(client::Config::default(), transport::framed(stream)).spawn();
        client.faults(context::current()).await.map_err(|source| LinkError::Call { address: address.to_owned(), source })
    })
    .await
}

/// A connection to one node, which coordinates whatever is asked over it. How long that takes is the caller's to limit.
pub(crate) struct Direct {
    address: String,
    calls: KeyValueClient,
}

impl Direct {
    /// Connects to the node at `address`.
    pub(crate) async fn connect(address: &str, cluster: &str) -> Result<Self, LinkError> {
        let stream = greeted(address, cluster, Class::Client).await?;
        let calls = KeyValueClient::new(client::Config::default(), transport::framed(stream)).spawn();
        Ok(Self { address: address.to_owned(), calls })
    }

    /// How the node is.
    pub(crate) async fn status(&self) -> Result<Status, LinkError> {
        self.calls.status(context::current()).await.map_err(|source| self.unanswered(source))
    }

    /// Reads a key, once.
    pub(crate) async fn read(&self, request: ReadRequest) -> Result<Result<ReadReply, Failure>, LinkError> {
        self.calls.read(context::current(), request).await.map_err(|source| self.unanswered(source))
    }

    /// Writes a key, once.
    pub(crate) async fn write(&self, request: WriteRequest) -> Result<Result<WriteReply, Failure>, LinkError> {
        self.calls.write(context::current(), request).await.map_err(|source| self.unanswered(source))
    }

    fn unanswered(&self, source: client::RpcError) -> LinkError {
        LinkError::Call { address: self.address.clone(), source }
    }
}

async fn bounded<T>(address: &str, call: impl Future<Output = Result<T, LinkError>>) -> Result<T, LinkError> {
    match timeout(CALL_MAX, call).await {
        Ok(answered) => answered,
        Err(_elapsed) => Err(LinkError::TimedOut { address: address.to_owned() }),
    }
}

async fn greeted(address: &str, cluster: &str, class: Class) -> Result<TcpStream, LinkError> {
    let refused = |source| LinkError::Connect { address: address.to_owned(), source };
    let mut stream = TcpStream::connect(address).await.map_err(refused)?;
    transport::prepare(&stream).map_err(refused)?;
    let hello = Hello { cluster: Some(cluster.to_owned()), class, from: None, topology: 0 };
    introduce(&mut stream, &hello).await.map_err(|source| LinkError::Hello { address: address.to_owned(), source })?;
    Ok(stream)
}
