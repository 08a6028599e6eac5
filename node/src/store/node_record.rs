//! What a node durably knows about itself: its nonce, how often it was started, and which numbers it has used up.
//!
//! **Promise.** A boot id, a key epoch and a stamp of the clock below the reserved bound are never used twice, whatever
//! happens to the process: each is reserved, synced, before it is given out.
//!
//! **Rules.**
//! - *Upon start*: boot + 1, the clean-stop mark cleared and a first block of key epochs reserved, in one synced write before
//!   anything is served (D1).
//! - *Upon start after a stop that was not clean*: the floor of key epochs rises above everything reserved so far. Dots of lower
//!   epochs may have left the process before their record was durable, so no run of dots below the floor is continued.
//! - *Upon a clean stop*: everything queued is synced first, then the mark and the next unused epoch, in one synced write.
//! - *Upon running low*: the next block is reserved in the background; an epoch is given out only from durable blocks.
//! - *Upon promises that come near the ceiling*: a higher one, in the background, see [`quorate_protocol::chain::volatile`]. What it was
//!   at the start is the floor, until a clean stop after a start without one.
//! - *Upon the node's peers vouching for its directory*: that they did, synced. It is never taken back.
//!
//! Sources: basho/riak_kv issue 679 (dots repeated after a forgotten counter).

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_protocol::chain::Ballot;
use quorate_protocol::chain::volatile::Ceiling;
use quorate_protocol::hlc::Hlc;
use quorate_protocol::{BootId, KeyEpoch};
use rocksdb::WriteBatch;
use serde::{Deserialize, Serialize};

use super::engine::{Engine, NODE_KEY};
use super::error::StoreError;
use super::identity::Nonce;
use super::queue::{Change, Commit, Durability, Queue, WriteSeq};

/// Key epochs reserved by one synced write. At ten thousand new keys a second a block lasts six seconds; a crash wastes one.
const EPOCH_BLOCK: u64 = 65_536;

/// Ballot counters by which the ceiling of promises is raised. At ten thousand ballots a second a block lasts for minutes.
const PROMISE_BLOCK: u64 = 1 << 20;

/// The layout that is written.
const FORMAT: u8 = 3;

/// The layout before: without `promise_ceiling`, of nodes that wrote every promise.
const FORMAT_WITHOUT_CEILING: u8 = 2;

/// The layout before that: also without `vouched`, of directories whose nodes served from their first start on.
const FORMAT_WITHOUT_VOUCHED: u8 = 1;

/// [`Ballot::ZERO`] in postcard.
const NO_CEILING: [u8; 4] = [0; 4];

/// The node record as it is stored, behind the number of its format, in postcard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NodeRecord {
    /// The directory's nonce: ties the database to the identity file beside it.
    pub(super) nonce: Nonce,
    pub(super) boot: BootId,
    pub(super) clean_shutdown: bool,
    /// No run of dots below it is continued.
    pub(super) epoch_floor: KeyEpoch,
    /// Epochs below it may have been used.
    pub(super) epochs_reserved: KeyEpoch,
    /// Stamps up to it may have been given out.
    pub(super) hlc: Hlc,
    /// Enough peers remember the nonce for no other directory to be accepted under this node's id.
    pub(super) vouched: bool,
    /// Ballots up to it may have been promised without a trace in any key's record.
    pub(super) promise_ceiling: Ballot,
}

/// What a node record that became durable reserves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reserved {
    epochs: KeyEpoch,
    promises: Ballot,
}

impl NodeRecord {
    /// The record of a directory that was never started.
    pub(super) fn new(nonce: Nonce) -> Self {
        Self {
            nonce,
            boot: BootId(0),
            clean_shutdown: true,
            epoch_floor: KeyEpoch(1),
            epochs_reserved: KeyEpoch(1),
            hlc: Hlc::default(),
            vouched: false,
            promise_ceiling: Ballot::ZERO,
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (&FORMAT, record) => postcard::from_bytes(record).ok(),
            (&FORMAT_WITHOUT_CEILING, record) => postcard::from_bytes(&[record, &NO_CEILING].concat()).ok(),
            (&FORMAT_WITHOUT_VOUCHED, record) => postcard::from_bytes(&[record, &[u8::from(true)], &NO_CEILING].concat()).ok(),
            _ => None,
        }
    }

    fn encode(&self) -> Bytes {
        postcard::to_extend(self, vec![FORMAT]).expect("a node record has no sequences").into()
    }

    /// The stored node record; `None` if it is absent or does not decode.
    pub(super) fn load(engine: &Engine) -> Result<Option<Self>, rocksdb::Error> {
        Ok(engine.node_record()?.and_then(|bytes| Self::decode(&bytes)))
    }

    /// Writes the record and returns once it is synced.
    pub(super) fn store(&self, engine: &Engine) -> Result<(), rocksdb::Error> {
        let mut changes = WriteBatch::default();
        changes.put_cf(engine.meta(), NODE_KEY, self.encode());
        engine.write(changes, true)
    }

    /// The record under which the process that starts now runs.
    fn started(&self) -> Self {
        let floor = if self.clean_shutdown { self.epoch_floor } else { self.epochs_reserved };
        Self {
            boot: BootId(self.boot.0.checked_add(1).expect("a node is started fewer than 2^32 times")),
            clean_shutdown: false,
            epoch_floor: floor,
            epochs_reserved: KeyEpoch(self.epochs_reserved.0 + EPOCH_BLOCK),
            ..self.clone()
        }
    }
}

/// The running node's record: where numbers are drawn from.
pub(super) struct NodeLedger(Mutex<Ledger>);

struct Ledger {
    /// As last queued.
    record: NodeRecord,
    last_write: WriteSeq,
    next_epoch: KeyEpoch,
    /// Epochs below it are durably reserved.
    durable_epochs: KeyEpoch,
    /// How far promises may be given from memory.
    promises: Ceiling,
    /// What it was at the start.
    promise_floor: Ballot,
    stopped: bool,
}

impl Ledger {
    fn push(&mut self, queue: &Queue, record: NodeRecord) -> Result<Commit, StoreError> {
        let reserved = Reserved { epochs: record.epochs_reserved, promises: record.promise_ceiling };
        let change = Change::Node { value: record.encode(), reserved };
        let (seq, commit) = queue.push(change, Durability::Synced)?;
        self.record = record;
        self.last_write = seq;
        Ok(commit)
    }

    fn running_low(&self) -> bool {
        self.record.epochs_reserved == self.durable_epochs && self.next_epoch.0 + EPOCH_BLOCK / 2 > self.durable_epochs.0
    }
}

impl NodeLedger {
    /// Counts this start in `last`, the record the previous process left, and returns once that is synced.
    pub(super) fn start(last: &NodeRecord, engine: &Engine) -> Result<(Self, NodeRecord), rocksdb::Error> {
        let record = last.started();
        record.store(engine)?;
        let ledger = Ledger {
            next_epoch: last.epochs_reserved,
            durable_epochs: record.epochs_reserved,
            record: record.clone(),
            last_write: WriteSeq::default(),
            promises: Ceiling::new(last.promise_ceiling, PROMISE_BLOCK),
            promise_floor: last.promise_ceiling,
            stopped: false,
        };
        Ok((Self(Mutex::new(ledger)), record))
    }

    /// A key epoch that this node has never used. Never blocks.
    pub(super) fn next_epoch(&self, queue: &Queue) -> Result<KeyEpoch, StoreError> {
        let mut ledger = self.0.lock();
        if ledger.stopped {
            return Err(StoreError::Closed);
        }
        if ledger.running_low() {
            let mut record = ledger.record.clone();
            record.epochs_reserved.0 += EPOCH_BLOCK;
            // Refused: what is left is used up first, and the next call tries again.
            let refused = ledger.push(queue, record).err();
            if let Some(refused) = refused.filter(|_| ledger.next_epoch >= ledger.durable_epochs) {
                return Err(refused);
            }
        }
        if ledger.next_epoch >= ledger.durable_epochs {
            return Err(StoreError::Overloaded { pending: queue.pending().writes });
        }
        let epoch = ledger.next_epoch;
        ledger.next_epoch.0 += 1;
        Ok(epoch)
    }

    /// Records that what a node record reserves is durably this process's own.
    pub(super) fn reserved(&self, reserved: &Reserved) {
        let mut ledger = self.0.lock();
        ledger.durable_epochs = ledger.durable_epochs.max(reserved.epochs);
        ledger.promises.reserved(reserved.promises);
    }

    /// Up to which ballot promises may be given from memory, now that one of `promised` is to be. Never blocks.
    pub(super) fn promise_ceiling(&self, promised: Ballot, queue: &Queue) -> Ballot {
        let mut ledger = self.0.lock();
        if !ledger.stopped
            && let Some(promise_ceiling) = ledger.promises.extend(promised)
        {
            let record = NodeRecord { promise_ceiling, ..ledger.record.clone() };
            if ledger.push(queue, record).is_err() {
                ledger.promises.refused();
            }
        }
        ledger.promises.durable()
    }

    /// Raises the bound of the clock's stamps to `bound`, unless it is there already.
    pub(super) fn reserve_hlc(&self, bound: Hlc, queue: &Queue) -> Result<Commit, StoreError> {
        let mut ledger = self.0.lock();
        if bound <= ledger.record.hlc {
            return queue.after(ledger.last_write);
        }
        let record = NodeRecord { hlc: bound, ..ledger.record.clone() };
        ledger.push(queue, record)
    }

    /// Notes that the node's peers vouch for its directory, unless that is noted already.
    pub(super) fn mark_vouched(&self, queue: &Queue) -> Result<Commit, StoreError> {
        let mut ledger = self.0.lock();
        if ledger.record.vouched {
            return queue.after(ledger.last_write);
        }
        let record = NodeRecord { vouched: true, ..ledger.record.clone() };
        ledger.push(queue, record)
    }

    /// Gives out no more epochs and returns the record of a clean stop. `all_written` says that memory holds nothing of any key that is
    /// not written.
    pub(super) fn stop(&self, all_written: bool) -> NodeRecord {
        let mut ledger = self.0.lock();
        ledger.stopped = true;
        let promise_ceiling = if all_written { ledger.promise_floor } else { ledger.record.promise_ceiling };
        NodeRecord { clean_shutdown: true, epochs_reserved: ledger.next_epoch, promise_ceiling, ..ledger.record.clone() }
    }
}

#[cfg(test)]
mod tests {
    use quorate_ring::{NodeId, RingEpoch};

    use super::*;

    #[test]
    fn a_clean_stop_keeps_the_floor_and_an_unclean_one_raises_it_above_everything_reserved() {
        let first = NodeRecord::new(Nonce(7)).started();
        assert_eq!((first.boot, first.epoch_floor), (BootId(1), KeyEpoch(1)));
        let crashed = first.started();
        assert_eq!((crashed.boot, crashed.epoch_floor), (BootId(2), first.epochs_reserved));
        let clean = NodeRecord { clean_shutdown: true, ..crashed.clone() }.started();
        assert_eq!(clean.epoch_floor, crashed.epoch_floor, "what a crash has put in doubt stays in doubt");
    }

    fn sample() -> NodeRecord {
        let promise_ceiling = Ballot { epoch: RingEpoch(1), counter: 300, node: NodeId(2), boot: BootId(5) };
        NodeRecord { hlc: Hlc(300), promise_ceiling, ..NodeRecord::new(Nonce(0x0102)).started() }
    }

    /// The bytes are on disks. Whoever changes them adds a format and keeps reading this one.
    #[test]
    fn the_bytes_of_format_3_are_frozen() {
        let frozen = [3, 0x82, 0x02, 1, 0, 1, 0x81, 0x80, 0x04, 0xac, 0x02, 0, 1, 0xac, 0x02, 2, 5];
        assert_eq!(sample().encode(), frozen.as_slice());
        assert_eq!(NodeRecord::decode(&frozen), Some(sample()));
        assert_eq!(NodeRecord::decode(&[4, 0x82, 0x02, 1, 0, 1, 1, 0, 0]), None, "another format");
        assert_eq!(NodeRecord::decode(&frozen[..frozen.len() - 1]), None, "cut short");
    }

    #[test]
    fn records_of_older_formats_have_no_ceiling() {
        let unvouched = NodeRecord { promise_ceiling: Ballot::ZERO, ..sample() };
        let frozen = [2, 0x82, 0x02, 1, 0, 1, 0x81, 0x80, 0x04, 0xac, 0x02, 0];
        assert_eq!(NodeRecord::decode(&frozen), Some(unvouched.clone()));
        assert_eq!(NodeRecord::decode(&frozen[..frozen.len() - 1]), None, "cut short");
        let frozen = [1, 0x82, 0x02, 1, 0, 1, 0x81, 0x80, 0x04, 0xac, 0x02];
        assert_eq!(NodeRecord::decode(&frozen), Some(NodeRecord { vouched: true, ..unvouched }), "it has served");
        assert_eq!(NodeRecord::decode(&frozen[..frozen.len() - 1]), None, "cut short");
    }
}
