//! Short calls to one node that do not go through the client: how it is, and what to break.
//!
//! Each call has a connection of its own, which shows that the node accepts connections now, and leaves nothing behind.

use std::io;
use std::time::Duration;

use quorate_rpc::admin::{AdminClient, Faults};
use quorate_rpc::hello::{Class, Hello, HelloError, introduce};
use quorate_rpc::kv::{KeyValueClient, Status};
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
    bounded(address, async {
        let stream = greeted(address, cluster, Class::Client).await?;
        let client = KeyValueClient::new(client::Config::default(), transport::framed(stream)).spawn();
        client.status(context::current()).await.map_err(|source| LinkError::Call { address: address.to_owned(), source })
    })
    .await
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
