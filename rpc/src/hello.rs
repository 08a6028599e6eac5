//! How a connection begins: who calls, from which cluster, for what.
//!
//! **Rules.**
//! - *The caller* sends magic, version and a [`Hello`], then waits for the [`HelloReply`].
//! - *The listener* reads them within a time-out. Wrong magic: close. Another version, cluster, membership, or an identity it
//!   must not trust: say which, close. Otherwise welcome, and begin the service of the connection's class.
//!
//! Magic, version and length have a fixed layout, so that even versions which share nothing else can refuse each other.

use std::io;

use quorate_protocol::BootId;
use quorate_ring::NodeId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::codec;

/// The first bytes of every connection, in both directions.
pub const MAGIC: [u8; 4] = *b"QRTE";

/// Raised by every change of the wire that is not an addition at the end.
pub const PROTOCOL_VERSION: u16 = 1;

/// Longest hello in bytes; a hello is a few names and numbers.
const HELLO_BYTES_MAX: u16 = 4096;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Class {
    /// Operations of a client.
    Client,
    /// Requests between replicas.
    Peer,
    /// Hints and transfers between replicas, kept apart so that they delay nobody.
    Bulk,
    /// Fault injection.
    Admin,
}

/// Which node a process is, so that one that lost its disk or was rolled back cannot pass for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// The node.
    pub node: NodeId,
    /// Drawn when its data directory was made.
    pub nonce: u128,
    /// How often it has been started.
    pub boot: BootId,
}

/// The caller's introduction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hello {
    /// The cluster it means to reach; a client that only knows addresses leaves it out.
    pub cluster: Option<String>,
    /// What the connection is for.
    pub class: Class,
    /// The calling node; absent for clients.
    pub from: Option<Identity>,
    /// Fingerprint of the caller's ring and buckets; zero for clients. Nodes that place keys differently must not talk.
    pub topology: u64,
}

/// The listener's answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HelloReply {
    /// Go ahead.
    Welcome {
        /// The listener's cluster.
        cluster: String,
        /// Who listens.
        identity: Identity,
    },
    /// The connection is about to be closed.
    Refused(HelloRefusal),
}

/// Why a connection is refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum HelloRefusal {
    /// The listener speaks another version of the protocol.
    #[error("it speaks protocol version {theirs}, this side {PROTOCOL_VERSION}")]
    Version {
        /// The listener's version.
        theirs: u16,
    },
    /// The listener belongs to another cluster.
    #[error("it belongs to cluster {theirs:?}")]
    OtherCluster {
        /// The listener's cluster.
        theirs: String,
    },
    /// The two sides place keys differently.
    #[error("its members, partitions or buckets differ from this side's; give all nodes the same [cluster] and [[bucket]] sections")]
    OtherTopology,
    /// The caller is no member of the listener's cluster.
    #[error("it does not know node {node}")]
    UnknownNode {
        /// The caller.
        node: NodeId,
    },
    /// The caller has another nonce than before: its data directory is not the one it had.
    #[error("node {node} came back with another data directory; a node that lost its disk must rejoin under a new id")]
    OtherNonce {
        /// The caller.
        node: NodeId,
    },
    /// The caller has a lower boot number than before: its data directory was rolled back or copied.
    #[error("node {node} came back at {theirs} after {known} was seen; its data directory was rolled back or copied")]
    OldBoot {
        /// The caller.
        node: NodeId,
        /// What it says.
        theirs: BootId,
        /// The highest seen before.
        known: BootId,
    },
    /// The class of connection is not served here.
    #[error("it serves no fault injection; start it with --enable-faults")]
    FaultsDisabled,
    /// A peer connection without an identity, or a client connection with one.
    #[error("the hello does not fit its class of connection")]
    Malformed,
    /// The listener has as many connections as it may.
    #[error("it has too many connections")]
    TooManyConnections,
}

/// A connection could not be begun.
#[derive(Debug, thiserror::Error)]
pub enum HelloError {
    /// The socket failed or closed.
    #[error("the connection broke during the hello")]
    Io(#[from] io::Error),
    /// The other side does not speak this protocol at all.
    #[error("the other side does not speak the quorate protocol")]
    NotOurProtocol,
    /// The other side speaks another version.
    #[error("the other side speaks protocol version {theirs}, this side {PROTOCOL_VERSION}")]
    OtherVersion {
        /// Its version.
        theirs: u16,
    },
    /// The hello did not decode.
    #[error("the hello is damaged")]
    Damaged(#[from] codec::CodecError),
    /// The hello is longer than any real one.
    #[error("the hello has {bytes} bytes, more than {HELLO_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: u16,
    },
    /// The other side refused.
    #[error("the node refused the connection: {0}")]
    Refused(HelloRefusal),
}

/// Introduces the caller and waits for the answer.
///
/// # Errors
/// [`HelloError`] when the other side is not ours, refuses, or breaks off. Bounded only by the caller's own time-out.
pub async fn introduce<S>(stream: &mut S, hello: &Hello) -> Result<(String, Identity), HelloError>
where
    S: AsyncReadExt + AsyncWriteExt + Unpin,
{
    send(stream, hello).await?;
    match receive(stream).await? {
        HelloReply::Welcome { cluster, identity } => Ok((cluster, identity)),
        HelloReply::Refused(refusal) => Err(HelloError::Refused(refusal)),
    }
}

/// Reads the caller's hello. When its version is another one, the refusal has already been sent.
///
/// # Errors
/// [`HelloError`] when the bytes are no hello of this version.
pub async fn receive_hello<S>(stream: &mut S) -> Result<Hello, HelloError>
where
    S: AsyncReadExt + AsyncWriteExt + Unpin,
{
    let received = receive(stream).await;
    if matches!(received, Err(HelloError::OtherVersion { .. })) {
        answer(stream, &HelloReply::Refused(HelloRefusal::Version { theirs: PROTOCOL_VERSION })).await?;
    }
    received
}

/// Answers a hello.
///
/// # Errors
/// When the socket fails.
pub async fn answer<S: AsyncWriteExt + Unpin>(stream: &mut S, reply: &HelloReply) -> Result<(), HelloError> {
    send(stream, reply).await
}

async fn send<S: AsyncWriteExt + Unpin>(stream: &mut S, message: &impl Serialize) -> Result<(), HelloError> {
    let payload = postcard::to_stdvec(message).map_err(codec::CodecError::Encode)?;
    let length = u16::try_from(payload.len()).ok().filter(|bytes| *bytes <= HELLO_BYTES_MAX);
    let length = length.ok_or(HelloError::TooLong { bytes: u16::MAX })?;
    let mut frame = Vec::with_capacity(8 + payload.len());
    frame.extend(MAGIC);
    frame.extend(PROTOCOL_VERSION.to_be_bytes());
    frame.extend(length.to_be_bytes());
    frame.extend(payload);
    stream.write_all(&frame).await?;
    stream.flush().await?;
    Ok(())
}

async fn receive<S: AsyncReadExt + Unpin, T: DeserializeOwned>(stream: &mut S) -> Result<T, HelloError> {
    let mut magic = [0; 4];
    stream.read_exact(&mut magic).await?;
    if magic != MAGIC {
        return Err(HelloError::NotOurProtocol);
    }
    let version = stream.read_u16().await?;
    let length = stream.read_u16().await?;
    if length > HELLO_BYTES_MAX {
        return Err(HelloError::TooLong { bytes: length });
    }
    let mut payload = vec![0; usize::from(length)];
    stream.read_exact(&mut payload).await?;
    if version != PROTOCOL_VERSION {
        return Err(HelloError::OtherVersion { theirs: version });
    }
    Ok(codec::decode(&payload)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        let from = Identity { node: NodeId(2), nonce: 7, boot: BootId(3) };
        Hello { cluster: Some("demo".to_owned()), class: Class::Peer, from: Some(from), topology: 99 }
    }

    fn welcome() -> HelloReply {
        let identity = Identity { node: NodeId(1), nonce: 8, boot: BootId(1) };
        HelloReply::Welcome { cluster: "demo".to_owned(), identity }
    }

    #[tokio::test]
    async fn both_sides_learn_who_the_other_is() {
        let (mut caller, mut listener) = tokio::io::duplex(1024);
        let listening = async {
            let received = receive_hello(&mut listener).await.expect("a hello");
            answer(&mut listener, &welcome()).await.expect("answered");
            received
        };
        let me = hello();
        let (introduced, received) = tokio::join!(introduce(&mut caller, &me), listening);
        assert_eq!(received, me);
        assert_eq!(introduced.expect("welcome").1.node, NodeId(1));
    }

    #[tokio::test]
    async fn another_protocol_and_another_version_are_told_apart() {
        let (mut caller, mut listener) = tokio::io::duplex(1024);
        caller.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("written");
        assert!(matches!(receive_hello(&mut listener).await, Err(HelloError::NotOurProtocol)));

        let (mut caller, mut listener) = tokio::io::duplex(1024);
        caller.write_all(b"QRTE\x00\x63\x00\x02??").await.expect("written");
        assert!(matches!(receive_hello(&mut listener).await, Err(HelloError::OtherVersion { theirs: 99 })));
        let refusal = HelloRefusal::Version { theirs: PROTOCOL_VERSION };
        assert_eq!(receive::<_, HelloReply>(&mut caller).await.expect("an answer"), HelloReply::Refused(refusal));
    }

    #[tokio::test]
    async fn a_hello_that_announces_too_much_is_not_read() {
        let (mut caller, mut listener) = tokio::io::duplex(1024);
        caller.write_all(b"QRTE\x00\x01\xff\xff").await.expect("written");
        assert!(matches!(receive_hello(&mut listener).await, Err(HelloError::TooLong { .. })));
    }

    /// Frozen: changing these bytes changes the wire and needs a new protocol version.
    #[test]
    fn the_bytes_of_a_hello_are_frozen() {
        let bytes = postcard::to_stdvec(&hello()).expect("encodes");
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, "010464656d6f010102070363");
    }
}
