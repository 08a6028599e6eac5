//! What this node remembers of its peers, so that none can pass for itself after it lost its disk or went back in time.
//!
//! **Promise.** Once a peer was accepted, it is refused for ever under another nonce (its data directory is another one) and
//! under a lower boot id (its data directory is an older copy).
//!
//! **Rule.** *Upon a hello*: refuse, or remember the nonce and the higher boot and let the caller wait until that is durable
//! before it trusts the peer.
//!
//! Source: the design rests on every acceptor keeping its promises; *Paxos Made Live* (PODC'07) §5.1 tells what a replica with
//! a corrupted disk may do instead. There is no way back for such a node but a new node id.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use quorate_protocol::BootId;
use quorate_ring::NodeId;
use serde::{Deserialize, Serialize};

use super::engine::{Engine, PEER_PREFIX};
use super::error::StoreError;
use super::identity::Nonce;
use super::key::after_prefix;
use super::queue::{Change, Commit, Durability, Queue, WriteSeq};

/// Most peers that are remembered. Far above any cluster; it bounds what forged hellos can make a node store.
pub const PEERS_MAX: usize = 4_096;

/// A peer that is not, or no longer, who it says it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerRefused {
    /// Its data directory is not the one it had: it lost its disk, or another process uses its id.
    #[error("{node} comes with another data directory than before; a node that lost its data must return under a new id")]
    OtherNonce {
        /// Who it says it is.
        node: NodeId,
        /// The nonce it had.
        known: Nonce,
        /// The nonce it has now.
        given: Nonce,
    },
    /// Its data directory went back in time: it was restored from a copy.
    #[error("{node} comes with {given}, it was at {known} before; its data directory is an old copy, it must return under a new id")]
    LowerBoot {
        /// Who it says it is.
        node: NodeId,
        /// Its highest boot so far.
        known: BootId,
        /// Its boot now.
        given: BootId,
    },
    /// Too many are remembered already.
    #[error("{node} is unknown and {PEERS_MAX} peers are remembered already")]
    TooMany {
        /// Who it says it is.
        node: NodeId,
    },
}

/// A peer could not be accepted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PeerError {
    /// It must not be.
    #[error(transparent)]
    Refused(#[from] PeerRefused),
    /// It could not be remembered; nothing was changed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Peer {
    nonce: Nonce,
    boot: BootId,
}

impl Peer {
    /// Whether the peer may come as `given` after it came as this.
    fn check(self, node: NodeId, given: Self) -> Result<(), PeerRefused> {
        if given.nonce != self.nonce {
            return Err(PeerRefused::OtherNonce { node, known: self.nonce, given: given.nonce });
        }
        if given.boot < self.boot {
            return Err(PeerRefused::LowerBoot { node, known: self.boot, given: given.boot });
        }
        Ok(())
    }
}

/// All remembered peers, each with the write that made it so.
#[derive(Default)]
pub(super) struct Peers(Mutex<BTreeMap<NodeId, (Peer, WriteSeq)>>);

impl Peers {
    /// Reads what is remembered; `None` if an entry does not decode.
    pub(super) fn load(engine: &Engine) -> Result<Option<Self>, rocksdb::Error> {
        let mut peers = BTreeMap::new();
        let mut walk = engine.entries_between(engine.meta(), PEER_PREFIX, after_prefix(PEER_PREFIX));
        while let Some((key, value)) = walk.item() {
            let node = key[PEER_PREFIX.len()..].try_into().map(|bytes| NodeId(u64::from_be_bytes(bytes)));
            let (Ok(node), Ok(peer)) = (node, postcard::from_bytes(value)) else {
                return Ok(None);
            };
            peers.insert(node, (peer, WriteSeq::default()));
            walk.next();
        }
        walk.status()?;
        Ok(Some(Self(Mutex::new(peers))))
    }

    /// Accepts or refuses a peer; accepted, it is remembered from the moment the commit resolves.
    pub(super) fn meet(&self, node: NodeId, nonce: Nonce, boot: BootId, queue: &Queue) -> Result<Commit, PeerError> {
        let given = Peer { nonce, boot };
        let mut peers = self.0.lock();
        match peers.get(&node) {
            Some((known, seq)) if *known == given => return Ok(queue.after(*seq)?),
            Some((known, _)) => known.check(node, given)?,
            None if peers.len() >= PEERS_MAX => return Err(PeerRefused::TooMany { node }.into()),
            None => {}
        }
        let value = postcard::to_stdvec(&given).expect("a peer has no sequences").into();
        let (seq, commit) = queue.push(Change::Peer { node, value }, Durability::Synced)?;
        peers.insert(node, (given, seq));
        Ok(commit)
    }
}
