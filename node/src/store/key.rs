//! Where a record lies in the store.
//!
//! ```text
//! | partition, u16 BE | bucket, u32 BE | key bytes |
//! ```
//!
//! The partition comes first, so that one partition can be scanned, counted, shipped or dropped alone. Big-endian numbers
//! sort as bytes, so a scan of a bucket yields its keys in byte order.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::LazyLock;

use quorate_protocol::BucketId;
use quorate_ring::PartitionId;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Of all hashes of a process, so that nobody outside knows which keys collide.
static SEED: LazyLock<u64> = LazyLock::new(rand::random);

/// Bytes before the key's own.
pub(super) const PREFIX_BYTES: usize = 6;

/// Bytes of the key that `Debug` shows.
const SHOWN_BYTES: usize = 16;

/// Bytes that a key may have without an allocation: prefix, and a key of common length.
const INLINE_BYTES: usize = 40;

/// A record's place: partition, bucket, key. Cheap to clone and to compare unless it is long; carries its hash, so that it is computed
/// once.
#[derive(Clone, PartialEq, Eq)]
pub struct StorageKey {
    hash: u64,
    bytes: SmallVec<[u8; INLINE_BYTES]>,
}

impl StorageKey {
    /// The place of `key` in `bucket`, in the partition it belongs to.
    #[must_use]
    pub fn new(partition: PartitionId, bucket: BucketId, key: &[u8]) -> Self {
        let mut bytes = SmallVec::with_capacity(PREFIX_BYTES + key.len());
        bytes.extend_from_slice(&prefix(partition, bucket));
        bytes.extend_from_slice(key);
        Self { hash: xxh3_64_with_seed(&bytes, *SEED), bytes }
    }

    /// The bucket it lies in.
    #[must_use]
    pub fn bucket(&self) -> BucketId {
        let bytes = self.bytes[2..PREFIX_BYTES].try_into().expect("a prefix ends with four bytes of the bucket");
        BucketId(u32::from_be_bytes(bytes))
    }

    /// The key as its client knows it.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.bytes[PREFIX_BYTES..]
    }

    /// The key's hash, stable within a process.
    pub(super) fn hash64(&self) -> u64 {
        self.hash
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Hash for StorageKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// A table of keys, spread by the hashes that they carry.
pub type KeyMap<T> = HashMap<StorageKey, T, BuildHasherDefault<AsCarried>>;

/// Takes the hash that a key carries.
#[derive(Debug, Default)]
pub struct AsCarried(u64);

impl Hasher for AsCarried {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a key writes its hash");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl fmt::Debug for StorageKey {
    /// The prefix and the first bytes of the key in hexadecimal: long keys are not spelled out in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.bytes.len().min(PREFIX_BYTES + SHOWN_BYTES);
        f.write_str("StorageKey(")?;
        self.bytes[..shown].iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(if shown < self.bytes.len() { "..)" } else { ")" })
    }
}

/// What all keys of one bucket in one partition begin with.
pub(super) fn prefix(partition: PartitionId, bucket: BucketId) -> [u8; PREFIX_BYTES] {
    let mut prefix = [0; PREFIX_BYTES];
    prefix[..2].copy_from_slice(&partition.0.to_be_bytes());
    prefix[2..].copy_from_slice(&bucket.0.to_be_bytes());
    prefix
}

/// The least byte string that is above every one beginning with `prefix`; `None` if there is none.
pub(super) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut bound = prefix[..=last].to_vec();
    bound[last] += 1;
    Some(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_partition_then_bucket_then_key() {
        let at = |partition, bucket, key: &[u8]| StorageKey::new(PartitionId(partition), BucketId(bucket), key);
        let sorted = [at(0, 9, b"z"), at(1, 0, b"z"), at(1, 1, b""), at(1, 1, b"a"), at(1, 256, b""), at(256, 0, b"")];
        assert!(sorted.windows(2).all(|pair| pair[0].as_bytes() < pair[1].as_bytes()));
        assert_eq!(sorted[4].as_bytes(), [0, 1, 0, 0, 1, 0]);
        assert_eq!((sorted[3].bucket(), sorted[3].key()), (BucketId(1), &b"a"[..]));
        assert_eq!(sorted[4].bucket(), BucketId(256));
    }

    #[test]
    fn the_bound_of_a_prefix_is_above_all_its_keys_and_nothing_else() {
        assert_eq!(after_prefix(&[1, 2]), Some(vec![1, 3]));
        assert_eq!(after_prefix(&[1, 255, 255]), Some(vec![2]));
        assert_eq!(after_prefix(&[255, 255]), None);
    }

    #[test]
    fn debug_output_shortens_a_long_key() {
        let key = StorageKey::new(PartitionId(1), BucketId(2), &[0xab; 64]);
        assert_eq!(format!("{key:?}"), format!("StorageKey(000100000002{}..)", "ab".repeat(16)));
    }
}
