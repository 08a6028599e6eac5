//! Contexts as clients hold them: opaque, bound to one key, and authenticated.
//!
//! **Promise.** A context that [`ContextSeal::open`] accepts was given out by this cluster for this very bucket and key. A
//! forged or misapplied context would delete data, so it is refused instead.
//!
//! ```text
//! +---------+-----------------+----------------------+
//! | version | tag (16 bytes)  | context, postcard    |
//! +---------+-----------------+----------------------+
//! ```
//!
//! The tag is a keyed BLAKE3 over version, bucket, key and context, cut to 128 bits. Its key is derived from the cluster's
//! secret; a cluster without one derives it from its name, which guards against accidents only.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::ids::BucketId;

const VERSION: u8 = 1;
const TAG_BYTES: usize = 16;
const HEADER_BYTES: usize = 1 + TAG_BYTES;
const KEY_DOMAIN: &str = "quorate 2026 context seal";

/// A context as its holder sees it: bytes without meaning. Obtained from answers only.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SealedContext(bytes::Bytes);

impl SealedContext {
    /// Takes bytes that some earlier answer gave out. They are checked where they are used, not here.
    #[must_use]
    pub fn from_bytes(bytes: bytes::Bytes) -> Self {
        Self(bytes)
    }

    /// The bytes, to be kept or sent as they are.
    #[must_use]
    pub fn as_bytes(&self) -> &bytes::Bytes {
        &self.0
    }
}

impl fmt::Debug for SealedContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedContext({} bytes)", self.0.len())
    }
}

/// The context is damaged, or was given out for another key, bucket or cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the context does not belong to this key in this cluster")]
pub struct InvalidContext;

/// The cluster's key for contexts.
#[derive(Clone)]
pub struct ContextSeal {
    key: [u8; 32],
}

impl fmt::Debug for ContextSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContextSeal")
    }
}

impl ContextSeal {
    /// Derives the key from the cluster's name and, if there is one, its secret.
    #[must_use]
    pub fn new(cluster: &str, secret: Option<&str>) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(KEY_DOMAIN);
        for part in [cluster.as_bytes(), secret.unwrap_or_default().as_bytes()] {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        Self { key: *hasher.finalize().as_bytes() }
    }

    /// Seals what an answer about `key` has seen.
    #[must_use]
    pub fn seal(&self, bucket: BucketId, key: &[u8], context: &Context) -> SealedContext {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[0] = VERSION;
        let mut bytes = postcard::to_extend(context, bytes).expect("a context always encodes");
        let tag = self.tag(bucket, key, &bytes[HEADER_BYTES..]);
        bytes[1..HEADER_BYTES].copy_from_slice(&tag);
        SealedContext(bytes.into())
    }

    /// Opens a sealed context for use on `key`.
    ///
    /// # Errors
    /// [`InvalidContext`] unless this cluster sealed exactly these bytes for this bucket and key.
    pub fn open(&self, bucket: BucketId, key: &[u8], sealed: &SealedContext) -> Result<Context, InvalidContext> {
        let bytes = &sealed.0;
        if bytes.len() < HEADER_BYTES || bytes[0] != VERSION {
            return Err(InvalidContext);
        }
        let (header, payload) = bytes.split_at(HEADER_BYTES);
        let expected = self.tag(bucket, key, payload);
        // Constant-time: comparing blake3 hashes, not slices, leaks nothing about how much of the tag was right.
        if blake3::hash(&header[1..]) != blake3::hash(&expected) {
            return Err(InvalidContext);
        }
        postcard::from_bytes(payload).ok().ok_or(InvalidContext)
    }

    fn tag(&self, bucket: BucketId, key: &[u8], payload: &[u8]) -> [u8; TAG_BYTES] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&[VERSION]);
        hasher.update(&bucket.0.to_be_bytes());
        hasher.update(&(key.len() as u64).to_be_bytes());
        hasher.update(key);
        hasher.update(payload);
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&hasher.finalize().as_bytes()[..TAG_BYTES]);
        tag
    }
}

#[cfg(test)]
mod tests {
    use quorate_ring::NodeId;

    use super::*;
    use crate::context::{Actor, Dot};
    use crate::ids::KeyEpoch;

    fn context() -> Context {
        Context::empty().with(Dot { actor: Actor::Node { node: NodeId(1), epoch: KeyEpoch(4) }, n: 1 })
    }

    #[test]
    fn a_context_opens_only_for_its_own_key_bucket_and_cluster() {
        let seal = ContextSeal::new("shop", Some("secret"));
        let sealed = seal.seal(BucketId(0), b"cart:7", &context());
        assert_eq!(seal.open(BucketId(0), b"cart:7", &sealed), Ok(context()));
        assert_eq!(seal.open(BucketId(0), b"cart:8", &sealed), Err(InvalidContext));
        assert_eq!(seal.open(BucketId(1), b"cart:7", &sealed), Err(InvalidContext));
        assert_eq!(ContextSeal::new("shop", None).open(BucketId(0), b"cart:7", &sealed), Err(InvalidContext));
        assert_eq!(ContextSeal::new("shop2", Some("secret")).open(BucketId(0), b"cart:7", &sealed), Err(InvalidContext));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let seal = ContextSeal::new("shop", None);
        let sealed = seal.seal(BucketId(0), b"k", &context());
        for bit in 0..sealed.0.len() * 8 {
            let mut bytes = sealed.0.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(seal.open(BucketId(0), b"k", &SealedContext(bytes.into())), Err(InvalidContext), "bit {bit}");
        }
        for length in 0..sealed.0.len() {
            assert_eq!(seal.open(BucketId(0), b"k", &SealedContext(sealed.0.slice(..length))), Err(InvalidContext));
        }
    }
}
