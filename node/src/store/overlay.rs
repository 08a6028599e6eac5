//! What is known of keys without asking RocksDB, and the lock under which each key is changed.
//!
//! **Promise.** Whoever holds a key's stripe sees the key's latest applied state: here if its write is still on the way,
//! otherwise in RocksDB; and, upon either, what only memory holds of it ([`Volatile`]).
//!
//! **Rules.**
//! - *Upon queueing a write*: it is entered under the same stripe lock, so queue order is application order for each key. It contains
//!   what memory held beyond the key's last write.
//! - *Upon the end of its batch*, good or bad: it is on its way no more, unless a later write is.
//! - *Upon a full stripe*, and *upon closing*: nothing more is left to memory.
//!
//! Records that were changed lately, or looked up for a change, are kept decoded, as they were written last: a round of consensus
//! comes back to its key two or three times. Where nothing is on its way, that is what RocksDB holds. Of too many, those that were
//! used longest ago go.
//!
//! All that is known of a key is in one place, its slot: these are the memory accesses that every request of a replica waits for.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use quorate_protocol::KeyRecord;
use quorate_protocol::chain::volatile::Volatile;

use super::Rest;
use super::key::{KeyMap, StorageKey};
use super::queue::WriteSeq;

/// Locks among which keys are spread. Enough that two of a few hundred concurrent writers seldom share one.
const STRIPES: usize = 256;
const _: () = assert!(STRIPES.is_power_of_two());

/// Keys of a stripe of which only memory holds something: some twenty megabytes over all stripes, several times as much if
/// all keys are as long as keys may be.
const HELD_MAX: usize = 256;

/// Records of a stripe that are kept decoded, beside those on their way.
const RECENT_MAX: usize = 64;

/// How many of them go at once when there are more: who has to go takes a look at all to find out.
const GO_AT_ONCE: usize = 16;

/// Largest record, in bytes as it is stored, that is kept decoded: sixty-four megabytes of such over all stripes at most, and decoded
/// two or three times as much.
const RECENT_BYTES_MAX: usize = 4 << 10;

/// What only memory holds of a key.
#[derive(Clone, Copy)]
struct Held {
    volatile: Volatile,
    /// The sweep after which it came.
    since: u32,
}

/// What is known of one key. One of which nothing is known has none.
#[derive(Default)]
struct Slot {
    /// As it was written last. There while that is on its way, beside the bytes that wait in the queue, whose limit so bounds both.
    written: Option<Arc<KeyRecord>>,
    is_large: bool,
    on_its_way: Option<WriteSeq>,
    held: Option<Held>,
    /// When `written` was used last.
    used: u64,
}

impl Slot {
    /// Whether its record is only kept because it may be used again.
    fn is_spare(&self) -> bool {
        self.written.is_some() && self.on_its_way.is_none()
    }

    fn is_empty(&self) -> bool {
        self.written.is_none() && self.held.is_none()
    }

    fn put(&mut self, record: Arc<KeyRecord>, bytes: usize, now: u64) {
        (self.written, self.is_large, self.used) = (Some(record), bytes > RECENT_BYTES_MAX, now);
    }
}

/// What is known of a key.
pub(super) struct Known {
    /// Its record as it was written last, if that is at hand.
    pub(super) written: Option<Arc<KeyRecord>>,
    /// Its last write, if that is not durable yet. It is at hand then.
    pub(super) on_its_way: Option<WriteSeq>,
    /// What memory holds of it beyond its last write.
    pub(super) held: Volatile,
}

/// One stripe's keys.
#[derive(Default)]
pub(super) struct Stripe {
    slots: KeyMap<Slot>,
    /// Slots with something that only memory holds.
    held: usize,
    /// Slots with a record that could go.
    spare: usize,
    /// Counts uses of records.
    now: u64,
    sweep: u32,
    is_closed: bool,
}

impl Stripe {
    pub(super) fn known(&mut self, key: &StorageKey) -> Known {
        let Some(slot) = self.slots.get_mut(key) else {
            return Known { written: None, on_its_way: None, held: Volatile::default() };
        };
        self.now += 1;
        slot.used = self.now;
        let held = slot.held.map_or_else(Volatile::default, |held| held.volatile);
        Known { written: slot.written.clone(), on_its_way: slot.on_its_way, held }
    }

    /// Keeps at hand a record of so many bytes, as it is stored. Nothing of the key is on its way.
    pub(super) fn keep(&mut self, key: &StorageKey, record: Arc<KeyRecord>, bytes: usize) {
        if bytes <= RECENT_BYTES_MAX {
            self.change(key, |slot, now| slot.put(record, bytes, now));
        }
    }

    /// Whether memory may hold something of a key, or something more.
    pub(super) fn may_hold(&self, key: &StorageKey) -> bool {
        !self.is_closed && (self.held < HELD_MAX || self.slots.get(key).is_some_and(|slot| slot.held.is_some()))
    }

    /// Leaves to memory what is not in the key's last write.
    pub(super) fn hold(&mut self, key: &StorageKey, volatile: Volatile) {
        let since = self.sweep;
        self.change(key, |slot, _| slot.held = Some(Held { volatile, since }));
    }

    /// Memory holds nothing of a key any more: it is what was written last.
    pub(super) fn release(&mut self, key: &StorageKey) {
        if self.slots.get(key).is_some_and(|slot| slot.held.is_some()) {
            self.change(key, |slot, _| slot.held = None);
        }
    }

    /// Enters a write of so many bytes, with which memory holds nothing more of its key.
    pub(super) fn queued(&mut self, key: &StorageKey, seq: WriteSeq, record: Arc<KeyRecord>, bytes: usize) {
        self.change(key, |slot, now| {
            slot.put(record, bytes, now);
            (slot.on_its_way, slot.held) = (Some(seq), None);
        });
    }

    /// The write `seq` is durable, or given up and so not `written`. A later one may be on its way.
    fn settle(&mut self, key: &StorageKey, seq: WriteSeq, is_written: bool) {
        if self.slots.get(key).is_none_or(|slot| slot.on_its_way != Some(seq)) {
            return;
        }
        self.change(key, |slot, _| {
            slot.on_its_way = None;
            if slot.is_large || !is_written {
                slot.written = None;
            }
        });
    }

    fn change(&mut self, key: &StorageKey, change: impl FnOnce(&mut Slot, u64)) {
        self.now += 1;
        if !self.slots.contains_key(key) {
            self.slots.insert(key.clone(), Slot::default());
        }
        let slot = self.slots.get_mut(key).expect("inserted if it was not there");
        let (was_held, was_spare) = (slot.held.is_some(), slot.is_spare());
        change(slot, self.now);
        self.held = self.held + usize::from(slot.held.is_some()) - usize::from(was_held);
        self.spare = self.spare + usize::from(slot.is_spare()) - usize::from(was_spare);
        if slot.is_empty() {
            self.slots.remove(key);
        }
        if self.spare > RECENT_MAX {
            self.spare_less();
        }
    }

    /// Lets the records go that were used longest ago.
    fn spare_less(&mut self) {
        let mut used: Vec<u64> = self.slots.values().filter(|slot| slot.is_spare()).map(|slot| slot.used).collect();
        let (_, last, _) = used.select_nth_unstable(GO_AT_ONCE - 1);
        let last = *last;
        self.slots.retain(|_, slot| {
            if slot.is_spare() && slot.used <= last {
                slot.written = None;
                self.spare -= 1;
            }
            !slot.is_empty()
        });
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

    /// Keys of one stripe, at most `count_max`, that memory has held something of for long enough. Counts the sweep.
    pub(super) fn sweep(&self, stripe: usize, rest: Rest, count_max: usize) -> Vec<StorageKey> {
        let mut stripe = self.stripes[stripe].lock();
        stripe.sweep += 1;
        let sweep = stripe.sweep;
        let has_room = stripe.held <= HELD_MAX / 2;
        let sweeps = if has_room { rest.sweeps_with_room } else { rest.sweeps };
        let held = stripe.slots.iter().filter_map(|(key, slot)| Some((key, slot.held?)));
        held.filter(|(_, held)| sweep - held.since >= sweeps).map(|(key, _)| key.clone()).take(count_max).collect()
    }

    /// Leaves nothing more to memory. Returns the keys of which it holds something.
    pub(super) fn close(&self) -> Vec<StorageKey> {
        let close = |stripe: &Mutex<Stripe>| {
            let mut stripe = stripe.lock();
            stripe.is_closed = true;
            let held = stripe.slots.iter().filter(|(_, slot)| slot.held.is_some());
            held.map(|(key, _)| key.clone()).collect::<Vec<_>>()
        };
        self.stripes.iter().flat_map(close).collect()
    }

    /// Waits until no one else changes a key of this stripe.
    pub(super) fn lock(&self, key: &StorageKey) -> MutexGuard<'_, Stripe> {
        // Other bits than those by which a stripe's table spreads its keys.
        let index = (key.hash64() >> 32) as usize & (STRIPES - 1);
        self.stripes[index].lock()
    }

    /// Forgets the write `seq` of `key`, if it is still the key's latest, and what it wrote: it is not on the disk.
    pub(super) fn give_up(&self, key: &StorageKey, seq: WriteSeq) {
        self.lock(key).settle(key, seq, false);
    }

    /// The write `seq` of `key` is durable.
    pub(super) fn settle(&self, key: &StorageKey, seq: WriteSeq) {
        self.lock(key).settle(key, seq, true);
    }
}

#[cfg(test)]
mod tests {
    use quorate_protocol::BucketId;
    use quorate_ring::PartitionId;

    use super::*;

    const FULL: usize = RECENT_MAX;

    fn key(n: usize) -> StorageKey {
        StorageKey::new(PartitionId(0), BucketId(0), &n.to_be_bytes())
    }

    fn record() -> Arc<KeyRecord> {
        Arc::default()
    }

    fn is_at_hand(stripe: &mut Stripe, n: usize) -> bool {
        stripe.known(&key(n)).written.is_some()
    }

    /// What the counters say is what is there.
    fn audit(stripe: &Stripe) {
        let slots = || stripe.slots.values();
        assert!(slots().all(|slot| !slot.is_empty() && (slot.on_its_way.is_none() || slot.written.is_some())));
        assert_eq!(slots().filter(|slot| slot.held.is_some()).count(), stripe.held);
        assert_eq!(slots().filter(|slot| slot.is_spare()).count(), stripe.spare);
    }

    #[test]
    fn of_a_full_stripe_the_records_used_longest_ago_go() {
        let mut stripe = Stripe::default();
        (0..FULL).for_each(|n| stripe.keep(&key(n), record(), 100));
        assert!(is_at_hand(&mut stripe, 0));
        stripe.keep(&key(FULL), record(), 100);
        let gone: Vec<_> = (0..=FULL).filter(|n| !is_at_hand(&mut stripe, *n)).collect();
        assert_eq!(gone, (1..=GO_AT_ONCE).collect::<Vec<_>>());
        audit(&stripe);
    }

    #[test]
    fn what_is_on_its_way_or_held_stays_in_a_full_stripe() {
        let (mut stripe, volatile) = (Stripe::default(), Volatile::default());
        stripe.queued(&key(0), WriteSeq::default(), record(), 100);
        stripe.keep(&key(1), record(), 100);
        stripe.hold(&key(1), volatile);
        (2..2 * FULL).for_each(|n| stripe.keep(&key(n), record(), 100));
        assert!(is_at_hand(&mut stripe, 0) && stripe.known(&key(0)).on_its_way.is_some());
        assert!(!is_at_hand(&mut stripe, 1) && stripe.slots[&key(1)].held.is_some());
        audit(&stripe);
        stripe.queued(&key(1), WriteSeq::default(), record(), 100);
        assert!(stripe.slots[&key(1)].held.is_none());
        [0, 1].iter().for_each(|n| stripe.settle(&key(*n), WriteSeq::default(), true));
        audit(&stripe);
    }

    #[test]
    fn a_large_record_is_at_hand_only_while_it_is_on_its_way() {
        let mut stripe = Stripe::default();
        stripe.keep(&key(0), record(), RECENT_BYTES_MAX + 1);
        assert!(!is_at_hand(&mut stripe, 0));
        stripe.queued(&key(0), WriteSeq::default(), record(), RECENT_BYTES_MAX + 1);
        assert!(is_at_hand(&mut stripe, 0));
        stripe.settle(&key(0), WriteSeq::default(), true);
        assert!(stripe.slots.is_empty());
        audit(&stripe);
    }

    /// Sweeps until a key that is held is to be written, in a stripe that holds `count` in all.
    fn rests(count: usize) -> u32 {
        let overlay = Overlay::new();
        let stripe = &overlay.stripes[0];
        (0..count).for_each(|n| stripe.lock().hold(&key(n), Volatile::default()));
        (1..).find(|_| !overlay.sweep(0, Rest { sweeps: 2, sweeps_with_room: 9 }, 1).is_empty()).expect("not for ever")
    }

    #[test]
    fn what_is_held_may_rest_longer_while_there_is_room() {
        assert_eq!((rests(1), rests(HELD_MAX / 2), rests(HELD_MAX / 2 + 1)), (9, 9, 2));
    }

    #[test]
    fn what_was_given_up_is_not_at_hand() {
        let mut stripe = Stripe::default();
        stripe.queued(&key(0), WriteSeq::default(), record(), 100);
        stripe.settle(&key(0), WriteSeq::default(), false);
        assert!(stripe.slots.is_empty());
        audit(&stripe);
    }

    #[test]
    fn the_end_of_a_write_says_nothing_of_a_later_one() {
        for is_written in [true, false] {
            let mut stripe = Stripe::default();
            [1, 2].map(WriteSeq::nth).iter().for_each(|seq| stripe.queued(&key(0), *seq, record(), 100));
            stripe.settle(&key(0), WriteSeq::nth(1), is_written);
            assert_eq!(stripe.known(&key(0)).on_its_way, Some(WriteSeq::nth(2)));
            assert!(is_at_hand(&mut stripe, 0));
            stripe.settle(&key(0), WriteSeq::nth(2), is_written);
            assert_eq!((stripe.known(&key(0)).on_its_way, is_at_hand(&mut stripe, 0)), (None, is_written));
            audit(&stripe);
        }
    }
}
