//! How nodes show each other that they belong to the cluster: by knowing its secret.
//!
//! **Promise.** A [`Proof`] that [`PeerKey::accepts`] was made by somebody who knows the cluster's secret, for this very challenge,
//! identity, class of connection and side. It cannot be used again, for another node, or sent back to its maker.
//!
//! ```text
//! proof = keyed BLAKE3 ( side | challenge | class | node | nonce | boot )      key = derived from cluster and secret
//! ```
//!
//! **Why.** A node remembers for ever which data directory and which boot a peer came with. Whoever could make it remember another
//! one would shut the real peer out.
//!
//! **Deliberately missing.** What follows the hello is neither encrypted nor authenticated: a proof keeps strangers out, not those
//! who can change what is on the wire. Contexts have a key of their own (`quorate_protocol::sealed`).

use serde::{Deserialize, Serialize};

use crate::hello::{Class, Identity};

const KEY_DOMAIN: &str = "quorate 2026 peer proof";

/// A number that is used once, drawn by whoever wants a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Challenge(pub [u8; 16]);

/// That its maker knows the cluster's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Proof([u8; 32]);

/// Who proves. Without it a proof could be sent back to the one who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Who opened the connection.
    Caller,
    /// Who accepted it.
    Listener,
}

/// The key of a cluster's proofs.
#[derive(Clone)]
pub struct PeerKey([u8; 32]);

impl std::fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeerKey")
    }
}

impl PeerKey {
    /// Derives the key from the cluster's name and secret.
    #[must_use]
    pub fn new(cluster: &str, secret: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(KEY_DOMAIN);
        for part in [cluster.as_bytes(), secret.as_bytes()] {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// Answers a challenge.
    #[must_use]
    pub fn prove(&self, side: Side, challenge: Challenge, class: Class, identity: Identity) -> Proof {
        Proof(*self.tag(side, challenge, class, identity).as_bytes())
    }

    /// Whether a challenge was answered by somebody who knows the secret. Takes the same time however wrong the proof is.
    #[must_use]
    pub fn accepts(&self, proof: Proof, side: Side, challenge: Challenge, class: Class, identity: Identity) -> bool {
        // blake3 compares its hashes in constant time.
        self.tag(side, challenge, class, identity) == blake3::Hash::from_bytes(proof.0)
    }

    fn tag(&self, side: Side, challenge: Challenge, class: Class, identity: Identity) -> blake3::Hash {
        let side = match side {
            Side::Caller => 0,
            Side::Listener => 1,
        };
        let class = match class {
            Class::Client => 0,
            Class::Peer => 1,
            Class::Bulk => 2,
            Class::Admin => 3,
        };
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&[side]);
        hasher.update(&challenge.0);
        hasher.update(&[class]);
        hasher.update(&identity.node.0.to_be_bytes());
        hasher.update(&identity.nonce.to_be_bytes());
        hasher.update(&identity.boot.0.to_be_bytes());
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use quorate_protocol::BootId;
    use quorate_ring::NodeId;

    use super::*;

    const CHALLENGE: Challenge = Challenge([7; 16]);
    const N2: Identity = Identity { node: NodeId(2), nonce: 7, boot: BootId(3) };

    #[test]
    fn a_proof_holds_for_what_it_was_made_for_and_for_nothing_else() {
        let key = PeerKey::new("shop", "secret");
        let proof = key.prove(Side::Caller, CHALLENGE, Class::Peer, N2);
        assert!(key.accepts(proof, Side::Caller, CHALLENGE, Class::Peer, N2));
        assert!(!key.accepts(proof, Side::Listener, CHALLENGE, Class::Peer, N2), "sent back");
        assert!(!key.accepts(proof, Side::Caller, Challenge([8; 16]), Class::Peer, N2), "used again");
        assert!(!key.accepts(proof, Side::Caller, CHALLENGE, Class::Bulk, N2));
        for other in [Identity { node: NodeId(3), ..N2 }, Identity { nonce: 8, ..N2 }, Identity { boot: BootId(u32::MAX), ..N2 }] {
            assert!(!key.accepts(proof, Side::Caller, CHALLENGE, Class::Peer, other), "{other:?}");
        }
        for other in [PeerKey::new("shop", "Secret"), PeerKey::new("shop2", "secret"), PeerKey::new("shops", "ecret")] {
            assert!(!other.accepts(proof, Side::Caller, CHALLENGE, Class::Peer, N2));
        }
    }

    /// Frozen: nodes of one protocol version must make the same proofs.
    #[test]
    fn the_bytes_of_a_proof_are_frozen() {
        let proof = PeerKey::new("shop", "secret").prove(Side::Caller, CHALLENGE, Class::Peer, N2);
        let text: String = proof.0[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, "da24d6223dec5686");
    }
}
