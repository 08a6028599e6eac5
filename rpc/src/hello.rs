//! How a connection begins: who calls, from which cluster, for what.
//!
//! **Rules.**
//! - *The caller* sends magic, version and a [`Hello`], then waits for the [`HelloReply`].
//! - *The listener* reads them within a time-out. Wrong magic: close. Another version, cluster, membership, or an identity it
//!   must not trust: say which, close. Otherwise welcome, and begin the service of the connection's class.
//! - *Between nodes of a cluster with a secret*: the listener answers the hello with a [`Challenge`]. The caller proves its identity
//!   and challenges in turn; the welcome proves the listener's. Neither remembers an identity that is not proven.
//!
//! ```text
//! caller                           listener
//!   | Hello ------------------------> |
//!   | <------------------- Challenge  |   only to nodes, only with a secret
//!   | Proof, Challenge -------------> |
//!   | <-------------- Welcome, Proof  |   or Refused, in place of any answer
//! ```
//!
//! Magic, version and length have a fixed layout, so that even versions which share nothing else can refuse each other. Clients are
//! not told a node's nonce: together with the boot it is what a stranger would need to pass for the node where there is no secret.

use std::io;

use quorate_protocol::BootId;
use quorate_ring::NodeId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::codec;
use crate::proof::{Challenge, PeerKey, Proof, Side};

/// The first bytes of every connection, in both directions.
pub const MAGIC: [u8; 4] = *b"QRTE";

/// Raised by every change of the wire that is not an addition at the end.
pub const PROTOCOL_VERSION: u16 = 4;

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
    Welcome(Welcome),
    /// The connection is about to be closed.
    Refused(HelloRefusal),
    /// Prove who you are, then you will be answered.
    Challenge(Challenge),
}

/// Who listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Welcome {
    /// Its cluster.
    pub cluster: String,
    /// The node.
    pub node: NodeId,
    /// Which process of that node; for other nodes only.
    pub identity: Option<Identity>,
    /// That it is that process, if it was challenged.
    pub proof: Option<Proof>,
    /// What its monotonic clock shows, in microseconds: for [`FarClock`](crate::clock::FarClock).
    pub tick: u64,
    /// That it durably remembers the calling node's nonce, and will refuse any other under that node's name; false for clients.
    pub vouches: bool,
}

/// A node that has welcomed another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Which process of which node it is; proven, where nodes can.
    pub identity: Identity,
    /// What its monotonic clock showed, in microseconds.
    pub tick: u64,
    /// That it durably remembers the caller's nonce.
    pub vouches: bool,
}

/// The caller's answer to a challenge, and a challenge of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Response {
    /// That the caller is who its hello says.
    pub proof: Proof,
    /// For the listener to answer in its welcome.
    pub challenge: Challenge,
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
    /// One of the two nodes does not prove that it knows the cluster's secret.
    #[error("the two sides do not know the same cluster.secret; give all nodes the same")]
    Unproven,
    /// The listener could not remember the caller's identity durably, and trusts nobody whom it may forget. A later attempt may succeed.
    #[error("its store could not take the caller's identity; trying again")]
    NotRemembered,
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

/// Introduces a caller that is no node, and waits for the welcome.
///
/// # Errors
/// [`HelloError`] when the other side is not ours, refuses, or breaks off. Bounded only by the caller's own time-out.
pub async fn introduce<S>(stream: &mut S, hello: &Hello) -> Result<Welcome, HelloError>
where
    S: AsyncReadExt + AsyncWriteExt + Unpin,
{
    send(stream, hello).await?;
    match receive(stream).await? {
        HelloReply::Welcome(welcome) => Ok(welcome),
        HelloReply::Refused(refusal) => Err(HelloError::Refused(refusal)),
        HelloReply::Challenge(_) => Err(HelloError::Refused(HelloRefusal::Unproven)),
    }
}

/// Introduces a node to another one; with a key, each side proves who it is. `challenge` must never have been used before.
///
/// # Errors
/// [`HelloError`] when the other side is not ours, refuses, breaks off, or does not prove its identity.
pub async fn introduce_node<S>(
    stream: &mut S,
    hello: &Hello,
    me: Identity,
    key: Option<&PeerKey>,
    challenge: Challenge,
) -> Result<Host, HelloError>
where
    S: AsyncReadExt + AsyncWriteExt + Unpin,
{
    const UNPROVEN: HelloError = HelloError::Refused(HelloRefusal::Unproven);
    send(stream, hello).await?;
    let mut reply = receive(stream).await?;
    if let HelloReply::Challenge(theirs) = reply {
        let key = key.ok_or(UNPROVEN)?;
        let proof = key.prove(Side::Caller, theirs, hello.class, me);
        send(stream, &Response { proof, challenge }).await?;
        reply = receive(stream).await?;
    }
    let Welcome { identity, proof, tick, vouches, .. } = match reply {
        HelloReply::Welcome(welcome) => welcome,
        HelloReply::Refused(refusal) => return Err(HelloError::Refused(refusal)),
        HelloReply::Challenge(_) => return Err(UNPROVEN),
    };
    let identity = identity.ok_or(UNPROVEN)?;
    let is_proven = |key: &PeerKey| proof.is_some_and(|proof| key.accepts(proof, Side::Listener, challenge, hello.class, identity));
    if key.is_none_or(is_proven) { Ok(Host { identity, tick, vouches }) } else { Err(UNPROVEN) }
}

/// Has the caller of a hello prove that it is `from`; returns its own challenge. `challenge` must never have been used before.
///
/// # Errors
/// [`HelloError`] when the caller breaks off; `Refused` when it does not prove it. That has not been answered yet.
pub async fn demand_proof<S>(
    stream: &mut S,
    class: Class,
    from: Identity,
    key: &PeerKey,
    challenge: Challenge,
) -> Result<Challenge, HelloError>
where
    S: AsyncReadExt + AsyncWriteExt + Unpin,
{
    send(stream, &HelloReply::Challenge(challenge)).await?;
    let response: Response = receive(stream).await?;
    if key.accepts(response.proof, Side::Caller, challenge, class, from) {
        Ok(response.challenge)
    } else {
        Err(HelloError::Refused(HelloRefusal::Unproven))
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
        Hello { cluster: Some("demo".to_owned()), class: Class::Peer, from: Some(ME), topology: 99 }
    }

    const ME: Identity = Identity { node: NodeId(2), nonce: 7, boot: BootId(3) };
    const LISTENER: Identity = Identity { node: NodeId(1), nonce: 8, boot: BootId(1) };

    fn welcome() -> Welcome {
        Welcome { cluster: "demo".to_owned(), node: NodeId(1), identity: None, proof: None, tick: 12, vouches: true }
    }

    #[tokio::test]
    async fn both_sides_learn_who_the_other_is() {
        let (mut caller, mut listener) = tokio::io::duplex(1024);
        let listening = async {
            let received = receive_hello(&mut listener).await.expect("a hello");
            answer(&mut listener, &HelloReply::Welcome(welcome())).await.expect("answered");
            received
        };
        let me = hello();
        let (introduced, received) = tokio::join!(introduce(&mut caller, &me), listening);
        assert_eq!(received, me);
        assert_eq!(introduced.expect("welcome").node, NodeId(1));
    }

    /// Introduces n2 to n1, each with its own idea of the secret, and returns what either concludes.
    async fn meet(ours: Option<&str>, theirs: Option<&str>) -> (Result<Host, HelloError>, Result<Identity, HelloError>) {
        let key = |secret: &str| PeerKey::new("demo", secret);
        let (ours, theirs) = (ours.map(key), theirs.map(key));
        let (mut caller, mut listener) = tokio::io::duplex(1024);
        let listening = async move {
            let hello = receive_hello(&mut listener).await?;
            let from = hello.from.expect("a node");
            let mut proof = None;
            if let Some(key) = &theirs {
                let challenge = demand_proof(&mut listener, hello.class, from, key, Challenge([1; 16])).await?;
                proof = Some(key.prove(Side::Listener, challenge, hello.class, LISTENER));
            }
            answer(&mut listener, &HelloReply::Welcome(Welcome { identity: Some(LISTENER), proof, ..welcome() })).await?;
            Ok(from)
        };
        // Whoever gives up hangs up.
        let calling = async move { introduce_node(&mut caller, &hello(), ME, ours.as_ref(), Challenge([2; 16])).await };
        tokio::join!(calling, listening)
    }

    #[tokio::test]
    async fn nodes_that_know_the_same_secret_prove_it_to_each_other() {
        for secret in [None, Some("secret")] {
            let (caller, listener) = meet(secret, secret).await;
            let host = Host { identity: LISTENER, tick: 12, vouches: true };
            assert_eq!((caller.expect("welcome"), listener.expect("proven")), (host, ME));
        }
    }

    #[tokio::test]
    async fn a_node_without_the_secret_is_found_out_on_either_side() {
        let unproven = |error| matches!(error, HelloError::Refused(HelloRefusal::Unproven));
        let (_, listener) = meet(Some("guess"), Some("secret")).await;
        assert!(unproven(listener.expect_err("the caller guessed")));
        let (caller, _) = meet(None, Some("secret")).await;
        assert!(unproven(caller.expect_err("it has nothing to prove with")));
        let (caller, _) = meet(Some("secret"), None).await;
        assert!(unproven(caller.expect_err("the listener proves nothing")));
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
