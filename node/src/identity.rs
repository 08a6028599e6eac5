//! Whether another process is the node it says it is.

use quorate_rpc::hello::{HelloRefusal, Identity};

use crate::node::Node;
use crate::store::{Nonce, PeerError, PeerRefused, StoreError};

/// Accepts an identity, or says why it is not trusted. Returns whether it is durably remembered, which it is unless the disk is full.
///
/// # Errors
/// A refusal when the node came back with another data directory or an older boot, or when the store cannot remember it now. A node
/// whose disk is full goes on without: it takes no writes, so it acknowledges nothing that rests on this memory.
pub(crate) async fn vouch(node: &Node, identity: Identity) -> Result<bool, HelloRefusal> {
    let remembered = node.store.remember_peer(identity.node, Nonce(identity.nonce), identity.boot);
    let stored = match remembered {
        Ok(commit) => commit.await,
        Err(PeerError::Refused(refused)) => return Err(refusal(identity, &refused)),
        Err(PeerError::Store(error)) => Err(error),
    };
    match stored {
        Ok(()) => Ok(true),
        Err(StoreError::DiskFull) => {
            tracing::warn!(peer = %identity.node, "identity of peer could not be remembered: the disk is full");
            Ok(false)
        }
        Err(error) => {
            tracing::debug!(peer = %identity.node, %error, "identity of peer could not be remembered");
            Err(HelloRefusal::NotRemembered)
        }
    }
}

fn refusal(identity: Identity, refused: &PeerRefused) -> HelloRefusal {
    let node = identity.node;
    match refused {
        PeerRefused::OtherNonce { .. } => HelloRefusal::OtherNonce { node },
        PeerRefused::LowerBoot { known, given, .. } => HelloRefusal::OldBoot { node, theirs: *given, known: *known },
        PeerRefused::TooMany { .. } => HelloRefusal::UnknownNode { node },
    }
}
