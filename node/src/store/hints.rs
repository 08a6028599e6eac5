//! Writes kept for other nodes, in the order in which they came.
//!
//! ```text
//! | target node, u64 BE | sequence number, u64 BE |  ->  bytes that only the caller understands
//! ```
//!
//! **Promise.** A hint whose commit has resolved is found again after any crash, until it is removed. Sequence numbers grow
//! with the order of the calls. Removal is not synced for its own sake: after a crash a removed hint may be back, and is then
//! delivered twice, which does no harm.
//!
//! How many hints a target has, and how large they are, is kept in memory so that the caller can set limits: [`HintStats`]
//! counts a hint from the call that keeps it to the write that removes it.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_ring::NodeId;

use super::engine::Engine;
use super::error::StoreError;
use super::queue::{Change, Commit, Durability, Queue};

const ENTRY_KEY_BYTES: usize = 16;

/// What is kept for one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HintStats {
    /// Number of hints.
    pub count: usize,
    /// Bytes of the hints themselves.
    pub bytes: u64,
}

/// The key of a hint in its table.
pub(super) fn entry_key(target: NodeId, seq: u64) -> [u8; ENTRY_KEY_BYTES] {
    let mut key = [0; ENTRY_KEY_BYTES];
    key[..8].copy_from_slice(&target.0.to_be_bytes());
    key[8..].copy_from_slice(&seq.to_be_bytes());
    key
}

fn parse_entry_key(key: &[u8]) -> Option<(NodeId, u64)> {
    let (target, seq) = key.split_first_chunk::<8>()?;
    let seq = seq.try_into().ok()?;
    Some((NodeId(u64::from_be_bytes(*target)), u64::from_be_bytes(seq)))
}

#[derive(Default)]
pub(super) struct Hints(Mutex<Index>);

#[derive(Default)]
struct Index {
    targets: HashMap<NodeId, Target>,
    last_seq: u64,
}

#[derive(Default)]
struct Target {
    /// Length of every hint, by sequence number.
    lengths: BTreeMap<u64, u32>,
    bytes: u64,
}

impl Index {
    fn insert(&mut self, target: NodeId, seq: u64, length: u32) {
        let target = self.targets.entry(target).or_default();
        target.lengths.insert(seq, length);
        target.bytes += u64::from(length);
        self.last_seq = self.last_seq.max(seq);
    }
}

impl Hints {
    /// Reads which hints there are; `None` if one has a malformed key. Time grows with their number.
    pub(super) fn load(engine: &Engine) -> Result<Option<Self>, rocksdb::Error> {
        let mut index = Index::default();
        let mut walk = engine.entries_between(engine.hints(), &[], None);
        while let Some((key, value)) = walk.item() {
            let Some((target, seq)) = parse_entry_key(key) else {
                return Ok(None);
            };
            index.insert(target, seq, length(value));
            walk.next();
        }
        walk.status()?;
        Ok(Some(Self(Mutex::new(index))))
    }

    /// Queues a hint under the next sequence number.
    pub(super) fn put(&self, target: NodeId, value: Bytes, queue: &Queue) -> Result<Commit, StoreError> {
        let mut index = self.0.lock();
        let seq = index.last_seq + 1;
        let length = length(&value);
        let (_, commit) = queue.push(Change::Hint { target, seq, value }, Durability::Synced)?;
        index.insert(target, seq, length);
        Ok(commit)
    }

    /// Counts a hint no more.
    pub(super) fn forget(&self, target: NodeId, seq: u64) {
        let mut index = self.0.lock();
        let Some(held) = index.targets.get_mut(&target) else { return };
        if let Some(length) = held.lengths.remove(&seq) {
            held.bytes -= u64::from(length);
        }
        if held.lengths.is_empty() {
            index.targets.remove(&target);
        }
    }

    pub(super) fn stats(&self, target: NodeId) -> HintStats {
        let index = self.0.lock();
        index.targets.get(&target).map(Target::stats).unwrap_or_default()
    }

    pub(super) fn all_stats(&self) -> BTreeMap<NodeId, HintStats> {
        let index = self.0.lock();
        index.targets.iter().map(|(target, held)| (*target, held.stats())).collect()
    }
}

impl Target {
    fn stats(&self) -> HintStats {
        HintStats { count: self.lengths.len(), bytes: self.bytes }
    }
}

fn length(value: &[u8]) -> u32 {
    u32::try_from(value.len()).expect("a hint is no longer than a message")
}

/// The oldest durable hints for `target` behind `after`, at most `limit`.
pub(super) fn page(engine: &Engine, target: NodeId, after: u64, limit: usize) -> Result<Vec<(u64, Bytes)>, StoreError> {
    let Some(first) = after.checked_add(1) else { return Ok(Vec::new()) };
    let until = target.0.checked_add(1).map(|next| entry_key(NodeId(next), 0).to_vec());
    let mut walk = engine.entries_between(engine.hints(), &entry_key(target, first), until);
    let mut page = Vec::new();
    while page.len() < limit {
        let Some((key, value)) = walk.item() else { break };
        let (_, seq) = parse_entry_key(key).expect("every key of the table was parsed when it was opened");
        page.push((seq, Bytes::copy_from_slice(value)));
        walk.next();
    }
    walk.status()?;
    Ok(page)
}
