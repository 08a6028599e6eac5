//! The store: one atomic record per key on RocksDB, durable before it is acknowledged or shown.
//!
//! **Promise.**
//! - A [`Commit`] resolves well only after the write it speaks of is synced; a write that resolved so survives every crash
//!   (D1, D3, D5 of the protocol).
//! - A read shows only what is synced (D4), whatever is on its way.
//! - A data directory opens for its own node, whole, or not at all; it never silently starts empty or shortened.
//!
//! **Who takes part.** Callers on any thread; one committing thread; RocksDB's background threads. This module alone names
//! RocksDB.
//!
//! ```text
//!  update ── key's stripe ──> latest record: on its way, else durable
//!                │            the transition, on a copy
//!                └─ queue ──> committing thread ──> log + sync ──> memtable ──> commits resolve
//!  read ───────────────────────────────────────────────────────────> RocksDB
//! ```
//!
//! **Rules.**
//! - *Upon an update*: under the key's stripe lock, the transition sees the latest applied state, durable or not; what it
//!   changes is queued under the same lock, so the log has the order in which transitions were applied.
//! - *Upon an update whose change may be left to memory*: nothing is queued. The next write of the key contains it.
//! - *Upon an update that changes nothing*: it is durable when the key's last write is; an acknowledgement never speaks of a
//!   state that could still be lost.
//! - *Upon an update beyond a limit, on a full disk or after closing*: refused, without effect.
//! - *Upon closing*: what only memory holds is queued, everything queued is synced, then the clean-stop mark. Dropping a store without
//!   closing it also writes what is queued but leaves the mark off.
//!
//! **Invariants.**
//! - For every key with a write on its way, the overlay holds the last one; for every other key, RocksDB is the latest. To either, what
//!   memory alone holds of the key is applied.
//! - An absent record and the default record are the same thing, and stored as the former.
//! - Locks are taken in this order: a stripe; the node record, peers or hints; the queue.
//!
//! **Deliberately missing.** Snapshots across keys, transactions, expiry: one key's record is the unit of everything.

mod commit;
mod directory;
mod engine;
mod error;
mod hints;
mod identity;
mod key;
mod memory;
mod node_record;
mod open_error;
mod options;
mod overlay;
mod peers;
mod queue;
mod record;
mod scan;
mod stall;
#[cfg(test)]
mod tests;
mod wal;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::Mutex;
use prometheus_client::metrics::histogram::Histogram;
use quorate_protocol::chain::volatile::Volatile;
use quorate_protocol::chain::{Accepted, Ballot};
use quorate_protocol::hlc::Hlc;
use quorate_protocol::{BootId, KeyEpoch, KeyRecord};
use quorate_ring::{NodeId, PartitionId};

use crate::times;

pub use commit::Counters;
pub use directory::{Expected, Init};
pub use engine::{PROPERTIES, Property};
pub use error::StoreError;
pub use hints::HintStats;
pub use identity::{IdentityError, Nonce};
pub use key::{KeyMap, StorageKey};
pub use memory::MemoryDisk;
pub use open_error::{Fact, OpenError};
pub use options::StoreOptions;
use overlay::Known;
pub use peers::{PEERS_MAX, PeerError, PeerRefused};
pub use queue::{Commit, Durability, Pending};
pub use record::RecordError;
pub use scan::{Page, PageLimit, ScanRange};

/// What a store found and did when it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The boot id of this process: durable, and one higher than the last.
    pub boot: BootId,
    /// The directory's random name.
    pub nonce: Nonce,
    /// Whether the process before closed its store; true for a new directory.
    pub clean: bool,
    /// No run of dots of a lower key epoch may be continued.
    pub epoch_floor: KeyEpoch,
    /// Stamps of the node's clock up to this one may have been given out.
    pub hlc: Hlc,
    /// Whether the node's peers have vouched for this directory, see [`Store::mark_vouched`].
    pub vouched: bool,
    /// Up to this ballot the process before may have promised, for any key.
    pub promise_floor: Ballot,
}

/// An open data directory. Shared by reference between threads; all its calls but [`Store::open`], [`Store::close`] and the
/// scans are short enough for threads that run async tasks.
pub struct Store {
    committer: Mutex<Option<Committer>>,
    /// Callers commit.
    commits_in_place: bool,
    shared: Arc<Shared>,
    directory: PathBuf,
    /// Released last. A disk in memory has none.
    _lock: Option<File>,
}

/// Where what an update has changed is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeping {
    OnDisk,
    InMemoryIfSafe,
}

/// How long a key may rest in memory, in calls of [`Store::write_back`] for its stripe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// In a stripe that is more than half full.
    pub sweeps: u32,
    /// In one that is not.
    pub sweeps_with_room: u32,
}

/// Who takes writes to the disk.
enum Committer {
    /// A thread that does nothing else.
    Thread(JoinHandle<()>),
    /// Whoever has queued one, before its call returns.
    Callers,
}

impl Committer {
    /// Waits until everything that is queued is written; the queue is closed.
    fn finish(self) {
        if let Self::Thread(thread) = self {
            thread.join().expect("the committing thread aborts the process rather than panic");
        }
    }
}

/// What callers and the committing thread share.
struct Shared {
    engine: engine::Engine,
    queue: queue::Queue,
    overlay: overlay::Overlay,
    node: node_record::NodeLedger,
    peers: peers::Peers,
    hints: hints::Hints,
    tally: commit::Tally,
    /// How long records took from the queue until they were durable.
    durations: Histogram,
}

impl Store {
    /// Opens the data directory of the node that `expected` describes, counts the start, and begins to commit.
    ///
    /// Takes time that grows with the log left by a crash and with the number of hints. Returns after the new boot id is
    /// synced.
    ///
    /// # Errors
    /// Every way in which the directory is not this node's own whole data. No data was changed; an interrupted `Init::Fresh`
    /// may leave parts that the next one removes.
    pub fn open(directory: &Path, expected: &Expected, init: Init, options: &StoreOptions) -> Result<(Self, Opened), OpenError> {
        let (store, opened) = Self::prepare(directory, expected, init, options)?;
        store.begin().map_err(|source| OpenError::Io { action: "start a thread for", path: directory.to_owned(), source })?;
        Ok((store, opened))
    }

    /// Opens the directory without committing yet.
    fn prepare(directory: &Path, expected: &Expected, init: Init, options: &StoreOptions) -> Result<(Self, Opened), OpenError> {
        let directory::Directory { lock, engine, last } = directory::open(directory, expected, init, options)?;
        Self::load(directory, Some(lock), engine, &last, options)
    }

    /// Opens a disk in memory, which becomes a node's when it is first opened. Callers commit their writes in place, so all calls belong
    /// on one thread or wait for each other.
    ///
    /// # Errors
    /// When it is open already.
    pub fn open_in_memory(disk: &MemoryDisk, options: &StoreOptions) -> Result<(Self, Opened), OpenError> {
        let directory = Path::new(memory::PATH);
        let (engine, last) = disk.open(options).map_err(|error| directory::engine_failed(directory, error))?;
        let (mut store, opened) = Self::load(directory, None, engine, &last, options)?;
        store.commits_in_place = true;
        *store.committer.lock() = Some(Committer::Callers);
        Ok((store, opened))
    }

    /// Reads what is kept in memory beside the database, and counts the start.
    fn load(
        directory: &Path,
        lock: Option<File>,
        engine: engine::Engine,
        last: &node_record::NodeRecord,
        options: &StoreOptions,
    ) -> Result<(Self, Opened), OpenError> {
        let damaged = |error| directory::engine_failed(directory, error);
        let unreadable = |entry| OpenError::EntryDamaged { directory: directory.to_owned(), entry };
        let peers = peers::Peers::load(&engine).map_err(damaged)?.ok_or_else(|| unreadable("list of peers"))?;
        let hints = hints::Hints::load(&engine).map_err(damaged)?.ok_or_else(|| unreadable("list of hints"))?;
        let (node, record) = node_record::NodeLedger::start(last, &engine).map_err(damaged)?;
        let opened = Opened {
            boot: record.boot,
            nonce: last.nonce,
            clean: last.clean_shutdown,
            epoch_floor: record.epoch_floor,
            hlc: record.hlc,
            vouched: record.vouched,
            promise_floor: last.promise_ceiling,
        };
        let (queue, overlay) = (queue::Queue::new(options), overlay::Overlay::new());
        let shared =
            Arc::new(Shared { engine, queue, overlay, node, peers, hints, tally: commit::Tally::default(), durations: times::histogram() });
        let committer = Mutex::default();
        let store = Self { committer, commits_in_place: false, shared, directory: directory.to_owned(), _lock: lock };
        Ok((store, opened))
    }

    /// Number of stripes that keys are spread over.
    pub const STRIPES: usize = overlay::Overlay::STRIPES;

    /// Starts the committing thread.
    fn begin(&self) -> io::Result<()> {
        *self.committer.lock() = Some(Committer::Thread(commit::start(Arc::clone(&self.shared))?));
        Ok(())
    }

    /// Has what was queued committed: here, if no thread does it. The caller holds none of the store's locks.
    fn queued<T>(&self, result: T) -> T {
        if self.commits_in_place {
            let _turn = self.committer.lock();
            while let Some(batch) = self.shared.queue.take_queued() {
                commit::commit(&self.shared, batch);
            }
        }
        result
    }

    /// The durable record of a key; `None` if there is none.
    ///
    /// # Errors
    /// `Engine` if RocksDB cannot read, `DamagedRecord` if the bytes are no record.
    pub fn read(&self, key: &StorageKey) -> Result<Option<KeyRecord>, StoreError> {
        let known = self.shared.overlay.lock(key).known(key);
        if let Some(record) = known.written.filter(|_| known.on_its_way.is_none()) {
            return Ok(Some(KeyRecord::clone(&record)).filter(|record| *record != KeyRecord::default()));
        }
        let stored = self.shared.engine.record(key.as_bytes())?;
        Ok(stored.map(|bytes| record::decode(&bytes)).transpose()?)
    }

    /// What only memory holds of a key: beyond its durable record, or beyond a write on its way.
    #[must_use]
    pub fn held(&self, key: &StorageKey) -> Volatile {
        self.shared.overlay.lock(key).known(key).held
    }

    /// The chain state that a key accepted last, durable or not. Not to be shown to anybody.
    ///
    /// # Errors
    /// As for [`Store::read`].
    pub fn accepted(&self, key: &StorageKey) -> Result<Option<Accepted>, StoreError> {
        let mut stripe = self.shared.overlay.lock(key);
        let written = stripe.known(key).written;
        Ok(self.at_hand(&mut stripe, key, written)?.chain.accepted.clone())
    }

    /// The durable record of a key with what memory holds beyond it, for those who do not count on the latter; the default if there is
    /// none.
    ///
    /// # Errors
    /// As for [`Store::read`].
    pub fn view(&self, key: &StorageKey) -> Result<KeyRecord, StoreError> {
        let mut record = self.read(key)?.unwrap_or_default();
        self.held(key).apply(&mut record);
        Ok(record)
    }

    /// Applies `transition` to the key's latest record and queues what it changed, with what only memory held of the key. Other updates
    /// of the key wait meanwhile, so the transition must be pure and short, and must not call this store except for
    /// [`Store::next_key_epoch`].
    ///
    /// Returns what the transition returned, and the moment from which the record it left behind is durable.
    ///
    /// # Errors
    /// `Overloaded`, `DiskFull`, `Closed`: the change was dropped without effect. `Engine`, `DamagedRecord`: the transition was
    /// not called.
    pub fn update<T>(
        &self,
        key: &StorageKey,
        durability: Durability,
        transition: impl FnOnce(&mut KeyRecord) -> T,
    ) -> Result<(T, Commit), StoreError> {
        self.change(key, durability, Keeping::OnDisk, transition)
    }

    /// Likewise, but what a change has made of the key is left to memory if that is safe, see [`quorate_protocol::chain::volatile`]. The
    /// moment returned is that from which no crash takes away what somebody may count on.
    ///
    /// # Errors
    /// As for [`Store::update`].
    pub fn update_lightly<T>(
        &self,
        key: &StorageKey,
        durability: Durability,
        transition: impl FnOnce(&mut KeyRecord) -> T,
    ) -> Result<(T, Commit), StoreError> {
        self.change(key, durability, Keeping::InMemoryIfSafe, transition)
    }

    /// Leaves to memory that what a key accepted at `ballot` was chosen, unless that is written already. False if it was not what the key
    /// accepted last, or memory holds as much as it may: then the record must be changed. Nothing is promised, so no ceiling is asked for.
    ///
    /// # Errors
    /// As for [`Store::update`].
    pub fn learn(&self, key: &StorageKey, ballot: Ballot) -> Result<bool, StoreError> {
        self.shared.queue.admit()?;
        let mut stripe = self.shared.overlay.lock(key);
        let Known { written, held, .. } = stripe.known(key);
        let stored = self.at_hand(&mut stripe, key, written)?;
        let Some(learnt) = held.learnt(&stored, ballot) else { return Ok(false) };
        if learnt != held {
            if !stripe.may_hold(key) {
                return Ok(false);
            }
            stripe.hold(key, learnt);
        }
        Ok(true)
    }

    fn change<T>(
        &self,
        key: &StorageKey,
        durability: Durability,
        keeping: Keeping,
        transition: impl FnOnce(&mut KeyRecord) -> T,
    ) -> Result<(T, Commit), StoreError> {
        let Shared { queue, overlay, node, .. } = &*self.shared;
        queue.admit()?;
        let mut stripe = overlay.lock(key);
        let Known { written, on_its_way, held } = stripe.known(key);
        let stored = self.at_hand(&mut stripe, key, written)?;
        let mut record = KeyRecord::clone(&stored);
        held.apply(&mut record);
        let result = transition(&mut record);
        let is_kept = record == *stored
            || (keeping == Keeping::InMemoryIfSafe && stripe.may_hold(key) && {
                let ceiling = node.promise_ceiling(record.chain.promised, queue);
                let volatile = Volatile::between(&stored, &record, ceiling);
                volatile.into_iter().for_each(|volatile| stripe.hold(key, volatile));
                volatile.is_some()
            });
        if is_kept {
            if record == *stored {
                stripe.release(key);
            }
            let commit = match (on_its_way, durability) {
                (Some(latest), Durability::Synced) => queue.after(latest)?,
                (Some(_), Durability::Buffered) | (None, _) => Commit::durable(),
            };
            drop(stripe);
            return Ok(self.queued((result, commit)));
        }
        let value = (record != KeyRecord::default()).then(|| Bytes::from(record::encode(&record)));
        let bytes = value.as_ref().map_or(0, Bytes::len);
        let (seq, commit) = queue.push(queue::Change::Record { key: key.clone(), value }, durability)?;
        stripe.queued(key, seq, Arc::new(record), bytes);
        drop(stripe);
        Ok(self.queued((result, commit)))
    }

    /// A key's record as it was written last, durable or not; the default if it never was. `written` is what the stripe has at hand.
    fn at_hand(
        &self,
        stripe: &mut overlay::Stripe,
        key: &StorageKey,
        written: Option<Arc<KeyRecord>>,
    ) -> Result<Arc<KeyRecord>, StoreError> {
        if let Some(written) = written {
            return Ok(written);
        }
        let stored = self.shared.engine.record(key.as_bytes())?;
        let record = Arc::new(stored.as_deref().map(record::decode).transpose()?.unwrap_or_default());
        stripe.keep(key, Arc::clone(&record), stored.map_or(0, |bytes| bytes.len()));
        Ok(record)
    }

    /// Writes what memory has held alone for long enough, of `count_max` keys of a stripe at most. The stripes are 0 to
    /// [`Store::STRIPES`] - 1.
    ///
    /// # Errors
    /// As for [`Store::update`]; memory goes on to hold the rest.
    pub fn write_back(&self, stripe: usize, rest: Rest, count_max: usize) -> Result<(), StoreError> {
        let held = self.shared.overlay.sweep(stripe, rest, count_max);
        held.iter().try_for_each(|key| self.update(key, Durability::Buffered, |_| ()).map(|((), _commit)| ()))
    }

    /// A key epoch that this node has never used. Never blocks: epochs are reserved in blocks, ahead of need.
    ///
    /// # Errors
    /// `Overloaded` if a whole block was used up within one sync, `DiskFull`, `Closed`.
    pub fn next_key_epoch(&self) -> Result<KeyEpoch, StoreError> {
        self.shared.node.next_epoch(&self.shared.queue)
    }

    /// Makes sure that after any crash the node's clock resumes above `bound`. Never lowers the bound.
    ///
    /// # Errors
    /// `Overloaded`, `DiskFull`, `Closed`: the bound is what it was.
    pub fn reserve_hlc(&self, bound: Hlc) -> Result<Commit, StoreError> {
        self.queued(self.shared.node.reserve_hlc(bound, &self.shared.queue))
    }

    /// Notes for this and all later starts that the node's peers vouch for its directory.
    ///
    /// # Errors
    /// `Overloaded`, `DiskFull`, `Closed`: it is not noted.
    pub fn mark_vouched(&self) -> Result<Commit, StoreError> {
        self.queued(self.shared.node.mark_vouched(&self.shared.queue))
    }

    /// Accepts a peer that comes with a nonce and a boot id. It may be trusted once the commit has resolved.
    ///
    /// # Errors
    /// `Refused` if the peer was known under another nonce or a higher boot, or too many are known; `Store` if it could not be
    /// remembered. Nothing was changed.
    pub fn remember_peer(&self, node: NodeId, nonce: Nonce, boot: BootId) -> Result<Commit, PeerError> {
        self.queued(self.shared.peers.meet(node, nonce, boot, &self.shared.queue))
    }

    /// Keeps a hint for `target`. How many there may be is the caller's to decide, see [`Store::hint_stats`].
    ///
    /// # Errors
    /// `Overloaded`, `DiskFull`, `Closed`: it is not kept.
    ///
    /// # Panics
    /// If the hint has 4 GiB or more.
    pub fn put_hint(&self, target: NodeId, hint: Bytes) -> Result<Commit, StoreError> {
        self.queued(self.shared.hints.put(target, hint, &self.shared.queue))
    }

    /// The oldest durable hints for `target` with sequence numbers above `after`, at most `limit`, oldest first.
    ///
    /// # Errors
    /// `Engine` if RocksDB cannot read.
    pub fn hints(&self, target: NodeId, after: u64, limit: usize) -> Result<Vec<(u64, Bytes)>, StoreError> {
        hints::page(&self.shared.engine, target, after, limit)
    }

    /// Removes hints that were delivered. Takes effect with the next batch; a crash may undo it.
    ///
    /// # Errors
    /// `Overloaded`, `DiskFull`, `Closed`: those from the first refused one on are still there.
    pub fn remove_hints(&self, target: NodeId, seqs: impl IntoIterator<Item = u64>) -> Result<(), StoreError> {
        self.queued(seqs.into_iter().try_for_each(|seq| {
            let change = queue::Change::HintGone { target, seq };
            self.shared.queue.push(change, Durability::Buffered).map(|_queued| ())
        }))
    }

    /// What is kept for `target`, including hints on their way to the disk.
    #[must_use]
    pub fn hint_stats(&self, target: NodeId) -> HintStats {
        self.shared.hints.stats(target)
    }

    /// What is kept for every node that anything is kept for.
    #[must_use]
    pub fn all_hint_stats(&self) -> BTreeMap<NodeId, HintStats> {
        self.shared.hints.all_stats()
    }

    /// Keys of a bucket's part in a partition, one page. Durable state only; runs as long as the page is large.
    ///
    /// # Errors
    /// `Engine` if RocksDB cannot read.
    pub fn scan_keys(&self, range: &ScanRange<'_>, limit: PageLimit) -> Result<Page<Bytes>, StoreError> {
        scan::page(&self.shared.engine, range, limit, scan::key_only)
    }

    /// Keys and records of a bucket's part in a partition, one page. Durable state only; runs as long as the page is large.
    ///
    /// # Errors
    /// `Engine` if RocksDB cannot read, `DamagedRecord` if one on the page is no record.
    pub fn scan_records(&self, range: &ScanRange<'_>, limit: PageLimit) -> Result<Page<(Bytes, KeyRecord)>, StoreError> {
        scan::page(&self.shared.engine, range, limit, scan::with_record)
    }

    /// Number of durable keys in a partition. Visits all of them: not for threads that run async tasks.
    ///
    /// # Errors
    /// `Engine` if RocksDB cannot read.
    pub fn partition_count(&self, partition: PartitionId) -> Result<u64, StoreError> {
        scan::count(&self.shared.engine, partition)
    }

    /// Whether writes are taken: false for ever once the disk was found full, and once the store is closed.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.shared.queue.admit().is_ok()
    }

    /// What is queued or being synced.
    #[must_use]
    pub fn pending(&self) -> Pending {
        self.shared.queue.pending()
    }

    /// What was committed since the store was opened.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.tally.read()
    }

    /// How long records took from their entry into the queue until they were durable and their writers told, in seconds.
    #[must_use]
    pub(crate) fn commit_durations(&self) -> Histogram {
        self.shared.durations.clone()
    }

    /// RocksDB's measures by name, in the order of [`PROPERTIES`].
    #[must_use]
    pub fn properties(&self) -> Vec<(&'static str, u64)> {
        self.shared.engine.properties()
    }

    /// Flushes and compacts everything, for measurements. Takes long.
    ///
    /// # Errors
    /// `Engine` if RocksDB fails.
    pub fn compact(&self) -> Result<(), StoreError> {
        Ok(self.shared.engine.compact()?)
    }

    /// Bytes of all files of the database, logs included.
    ///
    /// # Errors
    /// Whatever the system says about the directory.
    pub fn disk_bytes(&self) -> io::Result<u64> {
        let files = fs::read_dir(directory::database_path(&self.directory))?;
        files.map(|file| file_bytes(&file?)).sum()
    }

    /// Leaves nothing more to memory, and queues what it holds alone.
    fn write_all_held(&self) -> Result<(), StoreError> {
        let mut last = None;
        for key in self.shared.overlay.close() {
            loop {
                match self.update(&key, Durability::Synced, |_| ()) {
                    Ok(((), commit)) => break last = Some(commit),
                    // The queue is full until its last write is synced.
                    Err(StoreError::Overloaded { .. }) => match last.take() {
                        Some(commit) => Commit::wait(commit)?,
                        None => std::thread::yield_now(),
                    },
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Takes no more writes, syncs everything queued, and marks the stop as clean. Reads go on. A second call does nothing.
    ///
    /// # Errors
    /// `DiskFull` if the disk is or was full, `Engine` if the mark could not be written: the next start then takes the stop for
    /// a crash, which is safe.
    pub fn close(&self) -> Result<(), StoreError> {
        // The lock is not kept: whoever commits in place takes it, too.
        let Some(committer) = self.committer.lock().take() else { return Ok(()) };
        let written = self.write_all_held();
        self.shared.queue.close();
        let mark = self.shared.node.stop(written.is_ok());
        committer.finish();
        if let Err(StoreError::DiskFull) = self.shared.queue.admit() {
            return Err(StoreError::DiskFull);
        }
        mark.store(&self.shared.engine)?;
        self.shared.engine.flush()?;
        Ok(())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some(committer) = self.committer.get_mut().take() {
            self.shared.queue.close();
            committer.finish();
        }
        self.shared.engine.quiesce();
    }
}

/// A file's length, zero if it was removed since the directory was listed.
fn file_bytes(entry: &fs::DirEntry) -> io::Result<u64> {
    match entry.metadata() {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}
