//! A hint: a write that some home replica may lack, kept for it by the node that coordinated.
//!
//! **Promise.** A hint is not a replica: it answers no read and counts toward no quorum but `any`. Hints are bounded per
//! replica; beyond the bound they are refused, and the replica catches up by read repair instead.
//!
//! **Age.** A hint older than the limit is dropped: keeping it saves work, nothing rests on it. The exception is a hint whose
//! write no home replica is known to hold. It may be the only copy of a write at `any`, and stays until it is delivered.
//!
//! Source: Dynamo (SOSP'07) §4.6.

use bytes::Bytes;
use quorate_protocol::{BucketId, Defect, Options, Siblings};
use quorate_ring::RingEpoch;
use serde::{Deserialize, Serialize};

/// What is kept for one replica about one write.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hint {
    /// The bucket.
    pub bucket: BucketId,
    /// The key.
    pub key: Bytes,
    /// The write.
    pub delta: Siblings,
    /// The ring epoch under which the replica was a home of the key.
    pub epoch: RingEpoch,
    /// Wall clock of the keeper when it was kept, in milliseconds since 1970.
    pub kept_ms: u64,
    /// No home replica is known to hold the write.
    pub only_copy: bool,
}

impl Hint {
    /// True when age alone allows it to be dropped.
    #[must_use]
    pub fn is_expired(&self, now_ms: u64, age_ms_max: u64, options: Options) -> bool {
        let stays = self.only_copy && !options.has(Defect::OnlyCopyExpires);
        !stays && now_ms.saturating_sub(self.kept_ms) > age_ms_max
    }
}

/// How much may be kept for one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HintLimits {
    /// Hints.
    pub count_max: u64,
    /// Their bytes.
    pub bytes_max: u64,
}

/// How much is kept for one replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HintLoad {
    /// Hints.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl HintLimits {
    /// True when one more hint of `bytes` may be kept.
    #[must_use]
    pub fn admit(&self, load: HintLoad, bytes: u64) -> bool {
        load.count < self.count_max && load.bytes.saturating_add(bytes) <= self.bytes_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(only_copy: bool) -> Hint {
        let key = Bytes::from_static(b"k");
        Hint { bucket: BucketId(0), key, delta: Siblings::empty(), epoch: RingEpoch(1), kept_ms: 1_000, only_copy }
    }

    #[test]
    fn the_only_copy_of_a_write_does_not_expire() {
        let expired = |only_copy, now_ms| hint(only_copy).is_expired(now_ms, 3_000, Options::default());
        assert!(expired(false, 5_000));
        assert!(!expired(false, 4_000));
        assert!(!expired(true, u64::MAX));
        assert!(!expired(false, 0), "a clock that stepped back makes nothing old");
        let broken = Options { defect: Some(Defect::OnlyCopyExpires), ..Options::default() };
        assert!(hint(true).is_expired(5_000, 3_000, broken), "the exception is what the defect takes away");
    }

    #[test]
    fn either_bound_refuses() {
        let limits = HintLimits { count_max: 2, bytes_max: 100 };
        assert!(limits.admit(HintLoad { count: 1, bytes: 60 }, 40));
        assert!(!limits.admit(HintLoad { count: 1, bytes: 60 }, 41));
        assert!(!limits.admit(HintLoad { count: 2, bytes: 0 }, 1));
    }
}
