//! A node's disk: what is synced, what is only written, and what a crash leaves.
//!
//! **Promise.** Changes are synced in the order in which they were made, several at a time (group commit). A crash keeps every
//! synced change and any prefix of the others: a torn last batch is a shorter prefix, which the log's checksums make it. Whoever
//! waits for a change to be durable is told once, when it is, or when it never will be.
//!
//! *Upon a sync that finds the disk full*: everything not synced is given up, and nothing is taken any more until the next start. The
//! log may end in some of what was given up; that start finds it there.
//!
//! Two images are kept, one with the synced changes and one with all of them. Replies show the first, transitions start from the
//! second; to either is applied what only memory holds of a key.

use std::collections::{BTreeMap, VecDeque};

use quorate_anti_entropy::{Hint, HintLoad};
use quorate_protocol::chain::Ballot;
use quorate_protocol::chain::volatile::Volatile;
use quorate_protocol::{KeyEpoch, KeyRecord};
use quorate_ring::NodeId;

use crate::message::Key;
use crate::random::Random;

/// Numbers changes in the order in which they were made.
pub(crate) type Lsn = u64;

/// What a node keeps about itself and its peers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeRecord {
    pub(crate) boot: u32,
    pub(crate) nonce: u64,
    /// Key epochs below it may have been given out.
    pub(crate) epochs_reserved: u64,
    pub(crate) epoch_floor: KeyEpoch,
    pub(crate) clean: bool,
    /// A majority of its peers has vouched for it: from then on it serves.
    pub(crate) accepted: bool,
    /// Highest boot and nonce of every peer.
    pub(crate) known: BTreeMap<NodeId, (u64, u32)>,
    /// Ballots up to it may have been promised without a trace in any record.
    pub(crate) promise_ceiling: Ballot,
}

/// All that a disk holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) node: NodeRecord,
    pub(crate) records: BTreeMap<Key, KeyRecord>,
    pub(crate) hints: BTreeMap<(NodeId, u64), Hint>,
}

/// One atomic change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Record(Key, Box<KeyRecord>),
    Hint(NodeId, u64, Hint),
    HintGone(NodeId, u64),
    Node(NodeRecord),
}

impl Image {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Record(key, record) => {
                self.records.insert(*key, KeyRecord::clone(record));
            }
            Change::Hint(target, seq, hint) => {
                self.hints.insert((*target, *seq), hint.clone());
            }
            Change::HintGone(target, seq) => {
                self.hints.remove(&(*target, *seq));
            }
            Change::Node(node) => self.node = node.clone(),
        }
    }

    /// How much is kept for a replica.
    pub(crate) fn hint_load(&self, target: NodeId) -> HintLoad {
        HintLoad { count: self.hints.range((target, 0)..=(target, u64::MAX)).count() as u64, bytes: 0 }
    }
}

/// A disk, with `W` for whoever waits.
#[derive(Clone, Debug)]
pub(crate) struct Disk<W> {
    durable: Image,
    current: Image,
    /// What only memory holds, and for how many beats.
    held: BTreeMap<Key, (Volatile, u32)>,
    unsynced: VecDeque<(Lsn, Change)>,
    waiting: VecDeque<(Lsn, W)>,
    /// All synced changes, for a log that loses its end.
    log: Vec<Change>,
    written: Lsn,
    is_syncing: bool,
    next_hint: u64,
    /// There is no room.
    pub(crate) is_full: bool,
    /// A sync has found no room since the last start.
    has_given_up: bool,
    /// What was given up and is in the log all the same.
    torn: Vec<Change>,
}

impl<W> Disk<W> {
    pub(crate) fn new(node: NodeRecord) -> Self {
        let image = Image { node: node.clone(), ..Image::default() };
        Self {
            durable: image.clone(),
            current: image,
            held: BTreeMap::new(),
            unsynced: VecDeque::new(),
            waiting: VecDeque::new(),
            log: vec![Change::Node(node)],
            written: 0,
            is_syncing: false,
            next_hint: 0,
            is_full: false,
            has_given_up: false,
            torn: Vec::new(),
        }
    }

    /// What no crash can take away.
    pub(crate) fn durable(&self) -> &Image {
        &self.durable
    }

    /// What was written last.
    pub(crate) fn current(&self) -> &Image {
        &self.current
    }

    /// What was written last of a key, with what only memory holds of it.
    pub(crate) fn latest(&self, key: Key) -> KeyRecord {
        self.with_held(&self.current, key)
    }

    /// What is durable of a key, with what only memory holds of it.
    pub(crate) fn view(&self, key: Key) -> KeyRecord {
        self.with_held(&self.durable, key)
    }

    fn with_held(&self, image: &Image, key: Key) -> KeyRecord {
        let mut record = image.records.get(&key).cloned().unwrap_or_default();
        self.held(key).apply(&mut record);
        record
    }

    /// What only memory holds of a key.
    pub(crate) fn held(&self, key: Key) -> Volatile {
        self.held.get(&key).map_or_else(Volatile::default, |(volatile, _)| *volatile)
    }

    /// Leaves a change of a key's record to memory, if that is safe up to `ceiling`.
    pub(crate) fn hold(&mut self, key: Key, record: &KeyRecord, ceiling: Ballot) -> bool {
        let stored = self.current.records.get(&key).cloned().unwrap_or_default();
        let volatile = Volatile::between(&stored, record, ceiling);
        self.held.extend(volatile.map(|volatile| (key, (volatile, 0))));
        volatile.is_some()
    }

    /// What a key's record stands for once memory notes that what it accepted at `ballot` is chosen; `None` if it accepted something else.
    pub(crate) fn learnt(&self, key: Key, ballot: Ballot) -> Option<KeyRecord> {
        let mut record = self.current.records.get(&key).cloned().unwrap_or_default();
        self.held(key).learnt(&record, ballot)?.apply(&mut record);
        Some(record)
    }

    /// Keys of which memory alone has held something for `beats` calls of this.
    pub(crate) fn held_for(&mut self, beats: u32) -> Vec<Key> {
        self.held.values_mut().for_each(|(_, held)| *held += 1);
        self.held.iter().filter(|(_, (_, held))| *held >= beats).map(|(key, _)| *key).collect()
    }

    /// Whether changes are taken.
    pub(crate) fn takes_writes(&self) -> bool {
        !self.has_given_up
    }

    /// The number of the next hint: none is used twice.
    pub(crate) fn number_hint(&mut self) -> u64 {
        self.next_hint += 1;
        self.next_hint
    }

    /// Makes a change; `waiter` is handed back when it is durable. Returns true if a sync must be scheduled.
    pub(crate) fn write(&mut self, change: Change, waiter: Option<W>) -> bool {
        self.written += 1;
        if let Change::Record(key, _) = &change {
            self.held.remove(key);
        }
        self.current.apply(&change);
        self.unsynced.push_back((self.written, change));
        self.waiting.extend(waiter.map(|waiter| (self.written, waiter)));
        !std::mem::replace(&mut self.is_syncing, true)
    }

    /// Hands a waiter back when everything written so far is durable, at once (`Err`) if it is.
    pub(crate) fn after_all(&mut self, waiter: W) -> Result<(), W> {
        if self.unsynced.is_empty() {
            return Err(waiter);
        }
        self.waiting.push_back((self.written, waiter));
        Ok(())
    }

    pub(crate) fn has_unsynced(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// The last change made, which a sync that begins now makes durable.
    pub(crate) fn written(&self) -> Lsn {
        self.written
    }

    /// Changes up to `upto` have become durable. Returns whom to tell, and whether there is more to sync.
    pub(crate) fn synced(&mut self, upto: Lsn) -> (Vec<W>, bool) {
        let changes = self.unsynced.partition_point(|(lsn, _)| *lsn <= upto);
        for (_, change) in self.unsynced.drain(..changes) {
            self.durable.apply(&change);
            self.log.push(change);
        }
        let waiters = self.waiting.partition_point(|(lsn, _)| *lsn <= upto);
        let told = self.waiting.drain(..waiters).map(|(_, waiter)| waiter).collect();
        self.is_syncing = !self.unsynced.is_empty();
        (told, self.is_syncing)
    }

    /// A sync of the changes up to `upto` found no room: nothing that is not durable will be. Returns whoever waits.
    pub(crate) fn give_up(&mut self, upto: Lsn, random: &mut Random) -> Vec<W> {
        let batch = self.unsynced.partition_point(|(lsn, _)| *lsn <= upto);
        let in_log = random.index(batch + 1);
        self.torn = self.unsynced.drain(..in_log).map(|(_, change)| change).collect();
        let told = self.waiting.drain(..).map(|(_, waiter)| waiter).collect();
        self.forget_unsynced();
        self.has_given_up = true;
        told
    }

    /// A process starts on it: what the log has is durable, and changes are taken again.
    pub(crate) fn open(&mut self) {
        for change in std::mem::take(&mut self.torn) {
            self.durable.apply(&change);
            self.log.push(change);
        }
        self.current = self.durable.clone();
        self.held.clear();
        self.has_given_up = false;
    }

    /// Makes a change and everything before it durable at once, as a start or stop does.
    pub(crate) fn write_synced(&mut self, change: Change) -> Vec<W> {
        debug_assert!(!self.is_full, "there is room");
        self.write(change, None);
        let upto = self.written;
        self.synced(upto).0
    }

    /// The process died. Keeps a prefix of what was not synced; returns how many changes were lost.
    pub(crate) fn crash(&mut self, random: &mut Random) -> usize {
        self.held.clear();
        let kept = random.index(self.unsynced.len() + 1);
        let lost = self.unsynced.len() - kept;
        for (_, change) in self.unsynced.drain(..kept).collect::<Vec<_>>() {
            self.durable.apply(&change);
            self.log.push(change);
        }
        self.forget_unsynced();
        lost
    }

    /// A log whose end is missing is taken for the whole of it ([`TruncatedLogAccepted`](quorate_protocol::Defect::TruncatedLogAccepted)).
    pub(crate) fn truncate(&mut self, random: &mut Random) {
        let kept = 1 + random.index(self.log.len());
        self.log.truncate(kept);
        self.torn.clear();
        let node = self.durable.node.clone();
        self.durable = Image::default();
        for change in &self.log {
            self.durable.apply(change);
        }
        // The node record lies in a file of its own.
        self.durable.node = node;
        self.forget_unsynced();
    }

    fn forget_unsynced(&mut self) {
        self.unsynced.clear();
        self.waiting.clear();
        self.is_syncing = false;
        self.current = self.durable.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> Disk<u32> {
        Disk::new(NodeRecord { nonce: 1, ..NodeRecord::default() })
    }

    #[test]
    fn a_crash_keeps_what_is_synced_and_a_prefix_of_the_rest() {
        let mut random = Random::of(1, "crash");
        for _ in 0..50 {
            let mut disk = disk();
            assert!(disk.write(Change::Record(Key(0), Box::default()), Some(0)));
            assert_eq!(disk.synced(1), (vec![0], false));
            for key in 1..5 {
                disk.write(Change::Record(Key(key), Box::default()), Some(u32::from(key)));
            }
            let lost = disk.crash(&mut random);
            let kept: Vec<u8> = disk.durable().records.keys().map(|key| key.0).collect();
            assert_eq!(kept, (0..5 - u8::try_from(lost).expect("at most 4")).collect::<Vec<u8>>());
            assert_eq!(disk.current(), disk.durable());
        }
    }

    #[test]
    fn whoever_waits_is_told_after_the_sync_that_covers_its_change() {
        let mut disk = disk();
        assert!(disk.write(Change::HintGone(NodeId(1), 1), Some(1)), "a sync is to be scheduled");
        let first = disk.written();
        assert!(!disk.write(Change::HintGone(NodeId(1), 2), Some(2)), "one is under way");
        assert_eq!(disk.synced(first), (vec![1], true));
        assert_eq!(disk.after_all(3), Ok(()));
        assert_eq!(disk.synced(disk.written()), (vec![2, 3], false));
        assert_eq!(disk.after_all(4), Err(4));
    }

    #[test]
    fn what_is_given_up_is_gone_until_a_start_finds_some_of_it_in_the_log() {
        let mut random = Random::of(1, "full");
        let mut found = BTreeMap::<usize, u32>::new();
        for _ in 0..50 {
            let mut disk = disk();
            for key in 0..4 {
                disk.write(Change::Record(Key(key), Box::default()), Some(u32::from(key)));
            }
            let batch = disk.written() - 2;
            assert_eq!(disk.give_up(batch, &mut random), [0, 1, 2, 3], "those behind the batch too");
            assert!(!disk.takes_writes() && disk.current().records.is_empty() && !disk.has_unsynced());
            disk.open();
            assert!(disk.takes_writes());
            *found.entry(disk.current().records.len()).or_default() += 1;
        }
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), [0, 1, 2], "what was behind the batch never came to the log");
    }
}
