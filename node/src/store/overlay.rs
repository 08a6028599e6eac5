//! The latest state of keys whose last write is not durable yet, or need not be, and the lock under which each key is changed.
//!
//! **Promise.** Whoever holds a key's stripe sees the key's latest applied state: here if its write is still on the way,
//! otherwise in RocksDB; and, upon either, what only memory holds of it ([`Volatile`]).
//!
//! **Rules.**
//! - *Upon queueing a write*: it is entered under the same stripe lock, so queue order is application order for each key. It contains
//!   what memory held beyond the key's last write.
//! - *Upon the end of its batch*, good or bad: the entry is removed, unless a later write has replaced it.
//! - *Upon a full stripe*, and *upon closing*: nothing more is left to memory.
//!
//! Records that were changed lately, or looked up for a change, are kept decoded besides, as they were written last: a round of consensus
//! comes back to its key two or three times. Where nothing is on its way, that is what RocksDB holds. Of a full stripe the record that was
//! used longest ago goes.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use bytes::Bytes;
use lru::LruCache;
use parking_lot::{Mutex, MutexGuard};
use quorate_protocol::KeyRecord;
use quorate_protocol::chain::volatile::Volatile;

use super::key::StorageKey;
use super::queue::WriteSeq;

/// Locks among which keys are spread. Enough that two of a few hundred concurrent writers seldom share one.
const STRIPES: usize = 256;
const _: () = assert!(STRIPES.is_power_of_two());

/// A key's last write, on its way to the disk.
pub(super) struct Latest {
    pub(super) seq: WriteSeq,
    /// The record's bytes; absent if the key is removed.
    pub(super) value: Option<Bytes>,
}

/// What only memory holds of a key.
struct Held {
    volatile: Volatile,
    /// The sweep after which it came.
    since: u32,
}

/// Keys of a stripe of which only memory holds something: some ten megabytes over all stripes, seven times as much if
/// all keys are as long as keys may be.
const HELD_MAX: usize = 256;

/// Records of a stripe that are kept decoded.
const RECENT_MAX: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");

/// Largest record, in bytes as it is stored, that is kept decoded: sixty-four megabytes of such over all stripes at most, and decoded
/// two or three times as much.
const RECENT_BYTES_MAX: usize = 4 << 10;

/// One stripe's keys.
pub(super) struct Stripe {
    on_its_way: HashMap<StorageKey, Latest>,
    /// As they were written last.
    recent: LruCache<StorageKey, Arc<KeyRecord>>,
    held: HashMap<StorageKey, Held>,
    sweep: u32,
    is_closed: bool,
}

impl Default for Stripe {
    fn default() -> Self {
        Self { on_its_way: HashMap::new(), recent: LruCache::new(RECENT_MAX), held: HashMap::new(), sweep: 0, is_closed: false }
    }
}

impl Stripe {
    pub(super) fn on_its_way(&self, key: &StorageKey) -> Option<&Latest> {
        self.on_its_way.get(key)
    }

    /// A key's record as it was written last, if it is at hand.
    pub(super) fn recent(&mut self, key: &StorageKey) -> Option<Arc<KeyRecord>> {
        self.recent.get(key).cloned()
    }

    /// Keeps a record of so many bytes at hand, as it is stored or on its way.
    pub(super) fn keep(&mut self, key: &StorageKey, record: Arc<KeyRecord>, bytes: usize) {
        if bytes > RECENT_BYTES_MAX {
            self.recent.pop(key);
        } else {
            self.recent.put(key.clone(), record);
        }
    }

    /// What memory holds of a key beyond its last write.
    pub(super) fn held(&self, key: &StorageKey) -> Volatile {
        self.held.get(key).map_or_else(Volatile::default, |held| held.volatile)
    }

    /// Whether memory may hold something of a key, or something more.
    pub(super) fn may_hold(&self, key: &StorageKey) -> bool {
        !self.is_closed && (self.held.len() < HELD_MAX || self.held.contains_key(key))
    }

    /// Leaves to memory what is not in the key's last write.
    pub(super) fn hold(&mut self, key: &StorageKey, volatile: Volatile) {
        self.held.insert(key.clone(), Held { volatile, since: self.sweep });
    }

    /// Enters a write, with which memory holds nothing more of its key.
    pub(super) fn queued(&mut self, key: &StorageKey, latest: Latest) {
        self.held.remove(key);
        self.on_its_way.insert(key.clone(), latest);
    }
}

pub(super) struct Overlay {
    stripes: Box<[Mutex<Stripe>]>,
}

impl Overlay {
    pub(super) const STRIPES: usize = STRIPES;

    pub(super) fn new() -> Self {
        Self { stripes: (0..STRIPES).map(|_| Mutex::default()).collect() }
    }

    /// Keys of one stripe, at most `count_max`, that memory has held something of for `sweeps` sweeps of that stripe, of which this is one.
    pub(super) fn sweep(&self, stripe: usize, sweeps: u32, count_max: usize) -> Vec<StorageKey> {
        let mut stripe = self.stripes[stripe].lock();
        stripe.sweep += 1;
        let sweep = stripe.sweep;
        let due = stripe.held.iter().filter(|(_, held)| sweep - held.since >= sweeps);
        due.map(|(key, _)| key.clone()).take(count_max).collect()
    }

    /// Leaves nothing more to memory. Returns the keys of which it holds something.
    pub(super) fn close(&self) -> Vec<StorageKey> {
        let close = |stripe: &Mutex<Stripe>| {
            let mut stripe = stripe.lock();
            stripe.is_closed = true;
            stripe.held.keys().cloned().collect::<Vec<_>>()
        };
        self.stripes.iter().flat_map(close).collect()
    }

    /// Waits until no one else changes a key of this stripe.
    pub(super) fn lock(&self, key: &StorageKey) -> MutexGuard<'_, Stripe> {
        let index = key.hash64() as usize & (STRIPES - 1);
        self.stripes[index].lock()
    }

    /// Forgets the write `seq` of `key`, if it is still the key's latest, and what it wrote: it is not on the disk.
    pub(super) fn give_up(&self, key: &StorageKey, seq: WriteSeq) {
        let mut stripe = self.lock(key);
        // Under one lock: in between, somebody could take what is on its way for what is stored.
        stripe.recent.pop(key);
        stripe.settle(key, seq);
    }

    /// Forgets the write `seq` of `key`, if it is still the key's latest.
    pub(super) fn settle(&self, key: &StorageKey, seq: WriteSeq) {
        self.lock(key).settle(key, seq);
    }
}

impl Stripe {
    fn settle(&mut self, key: &StorageKey, seq: WriteSeq) {
        if self.on_its_way(key).is_some_and(|latest| latest.seq == seq) {
            self.on_its_way.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_protocol::BucketId;
    use quorate_ring::PartitionId;

    use super::*;

    #[test]
    fn of_a_full_stripe_the_record_used_longest_ago_goes_and_a_large_one_is_not_kept() {
        let key = |n: usize| StorageKey::new(PartitionId(0), BucketId(0), &n.to_be_bytes());
        let (mut stripe, record) = (Stripe::default(), Arc::new(KeyRecord::default()));
        let full = RECENT_MAX.get();
        (0..full).for_each(|n| stripe.keep(&key(n), Arc::clone(&record), 100));
        assert!(stripe.recent(&key(0)).is_some());
        stripe.keep(&key(full), Arc::clone(&record), 100);
        assert!(stripe.recent(&key(1)).is_none());
        assert!([0, 2, full].iter().all(|n| stripe.recent(&key(*n)).is_some()));
        let later = Arc::new(KeyRecord::default());
        stripe.keep(&key(0), Arc::clone(&later), 100);
        assert!(stripe.recent(&key(0)).is_some_and(|kept| Arc::ptr_eq(&kept, &later)));
        stripe.keep(&key(0), record, RECENT_BYTES_MAX + 1);
        assert!(stripe.recent(&key(0)).is_none(), "what was kept of it is out of date");
    }
}
