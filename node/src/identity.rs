//! Whether another process is the node it says it is.

use quorate_rpc::hello::{HelloRefusal, Identity};

use crate::node::Node;
use crate::store::{Nonce, PeerError, PeerRefused};

/// Accepts an identity and remembers it durably, or says why it is not trusted.
///
/// # Errors
/// A refusal when the node is no member, or came back with another data directory or an older boot.
pub(crate) async fn vouch(node: &Node, identity: Identity) -> Result<(), HelloRefusal> {
    if node.config.cluster.node(identity.node).is_none() || identity.node == node.me() {
        return Err(HelloRefusal::UnknownNode { node: identity.node });
    }
    let remembered = node.store.remember_peer(identity.node, Nonce(identity.nonce), identity.boot);
    let stored = match remembered {
        Ok(commit) => commit.await,
        Err(PeerError::Refused(refused)) => return Err(refusal(identity, &refused)),
        Err(PeerError::Store(error)) => Err(error),
    };
    if let Err(error) = stored {
        // Without a durable memory of it the peer is not safer than before, and not less safe: it is asked again next time.
        tracing::warn!(peer = %identity.node, %error, "identity of peer could not be remembered");
    }
    Ok(())
}

fn refusal(identity: Identity, refused: &PeerRefused) -> HelloRefusal {
    let node = identity.node;
    match refused {
        PeerRefused::OtherNonce { .. } => HelloRefusal::OtherNonce { node },
        PeerRefused::LowerBoot { known, given, .. } => HelloRefusal::OldBoot { node, theirs: *given, known: *known },
        PeerRefused::TooMany { .. } => HelloRefusal::UnknownNode { node },
    }
}
