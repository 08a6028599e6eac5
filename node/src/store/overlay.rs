//! The latest state of keys whose last write is not durable yet, and the lock under which each key is changed.
//!
//! **Promise.** Whoever holds a key's stripe sees the key's latest applied state: here if its write is still on the way,
//! otherwise in RocksDB. Nobody but the next update of the same key ever looks here; reads do not.
//!
//! **Rules.**
//! - *Upon queueing a write*: it is entered under the same stripe lock, so queue order is application order for each key.
//! - *Upon the end of its batch*, good or bad: the entry is removed, unless a later write has replaced it.

use std::collections::HashMap;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

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

/// The writes on their way of one stripe's keys.
pub(super) type Stripe = HashMap<StorageKey, Latest>;

pub(super) struct Overlay {
    stripes: Box<[Mutex<Stripe>]>,
}

impl Overlay {
    pub(super) fn new() -> Self {
        Self { stripes: (0..STRIPES).map(|_| Mutex::default()).collect() }
    }

    /// Waits until no one else changes a key of this stripe.
    pub(super) fn lock(&self, key: &StorageKey) -> MutexGuard<'_, Stripe> {
        let index = key.hash64() as usize & (STRIPES - 1);
        self.stripes[index].lock()
    }

    /// Forgets the write `seq` of `key`, if it is still the key's latest.
    pub(super) fn settle(&self, key: &StorageKey, seq: WriteSeq) {
        let mut stripe = self.lock(key);
        if stripe.get(key).is_some_and(|latest| latest.seq == seq) {
            stripe.remove(key);
        }
    }
}
