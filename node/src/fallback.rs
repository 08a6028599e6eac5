//! What this node has given out for keys it is no home of, at level `any`.
//!
//! A fallback keeps no record of such keys, only hints. Without any memory every one of its writes would be a sibling of the one
//! before, under an actor of its own. So it remembers, for a bounded number of keys and until it stops, its own dots: a blind
//! write then replaces the fallback's earlier ones, and the sibling limit holds. Forgetting costs a fresh key epoch, never a
//! repeated dot.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_protocol::{BucketId, KeyRecord};

/// Most keys remembered: a few megabytes. The oldest are forgotten first.
const KEYS_MAX: usize = 10_000;

type Key = (BucketId, Bytes);

#[derive(Default)]
struct Memory {
    records: BTreeMap<Key, KeyRecord>,
    order: VecDeque<Key>,
}

/// The dots of a fallback, without their values.
#[derive(Default)]
pub(crate) struct Fallback {
    memory: Mutex<Memory>,
}

impl Fallback {
    /// Applies a transition to what is remembered of a key.
    pub(crate) fn with<T>(&self, bucket: BucketId, key: &Bytes, transition: impl FnOnce(&mut KeyRecord) -> T) -> T {
        let key = (bucket, key.clone());
        let mut memory = self.memory.lock();
        let known = memory.records.get(&key).cloned();
        let is_new = known.is_none();
        let mut record = known.unwrap_or_default();
        let result = transition(&mut record);
        if record == KeyRecord::default() {
            return result;
        }
        record.eventual = record.eventual.outline();
        if is_new {
            if memory.order.len() >= KEYS_MAX
                && let Some(oldest) = memory.order.pop_front()
            {
                memory.records.remove(&oldest);
            }
            memory.order.push_back(key.clone());
        }
        memory.records.insert(key, record);
        result
    }
}

#[cfg(test)]
mod tests {
    use quorate_protocol::hlc::Hlc;
    use quorate_protocol::notes::Notes;
    use quorate_protocol::replica::{Mint, Minted, Seen, mint};
    use quorate_protocol::{Body, KeyEpoch, Options};
    use quorate_ring::NodeId;

    use super::*;

    fn put(fallback: &Fallback, key: &'static str, fresh: u64) -> Minted {
        let write = Mint { seen: Seen::Blind, body: Body::Value(Bytes::from_static(b"v")), op: None, hlc: Hlc(1), siblings_max: 4 };
        let give = |record: &mut KeyRecord| {
            let fresh = record.own.is_none().then_some(KeyEpoch(fresh));
            mint(record, NodeId(9), fresh, &write, Options::default(), &mut Notes::default()).expect("below the limit")
        };
        fallback.with(BucketId(0), &Bytes::from_static(key.as_bytes()), give)
    }

    #[test]
    fn a_second_blind_write_of_one_fallback_replaces_its_first() {
        let fallback = Fallback::default();
        let (first, second) = (put(&fallback, "k", 1), put(&fallback, "k", 2));
        assert_eq!(first.dot.actor, second.dot.actor);
        assert_eq!(first.delta.merged(&second.delta).live_count(), 1);
    }

    #[test]
    fn what_is_forgotten_comes_back_under_a_fresh_epoch() {
        let fallback = Fallback::default();
        let first = put(&fallback, "k", 1);
        *fallback.memory.lock() = Memory::default();
        assert_ne!(put(&fallback, "k", 2).dot, first.dot);
    }
}
