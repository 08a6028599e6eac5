//! Group commit: one thread takes all writes that wait to the disk with one log write and one sync.
//!
//! **Promise.** Nobody is told that a write is durable before the sync that covers it has returned, and no read shows it
//! before either: RocksDB enters a batch into its memtable only after the log write and the sync have succeeded (pipelined
//! and unordered writes are off, see [`super::engine`]).
//!
//! **Rules.**
//! - *Upon waking*: take everything queued, up to a batch's limits. What arrives during one sync makes the next batch.
//! - *Upon a batch that [`SHARED_MIN`] or more waited for*: gather for the next one as long as this one took, [`GATHER_MAX`] at most. Those
//!   who come in crowds wait a little longer each and all the less for the processor; who comes alone waits for nobody.
//! - *Upon a synced batch*: overlay entries go, then everybody who waits is told. How long records have waited is noted after that.
//! - *Upon a full disk*: the batch and everything behind it are given up, everybody is told so, the store takes no more writes
//!   until a restart. The log may end in the batch that failed; a restart may find it there, as a write that was never
//!   acknowledged and whose outcome its client was told is unknown.
//! - *Upon a database that takes no writes because the disk is too full for its table files*: the same ([`super::stall`]).
//! - *Upon any other failure*: the process aborts. After a failed sync the kernel may have dropped the dirty pages and report
//!   success on the next one, so going on would acknowledge what is not there.
//!
//! Sources: Rebello et al., *Can Applications Recover from fsync Failures?* (ATC'20).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use prometheus_client::metrics::histogram::Histogram;
use rocksdb::WriteBatch;

use super::Shared;
use super::engine::{self, Engine};
use super::hints;
use super::queue::{Batch, Change, Queue, Write};
use super::stall::{self, NoRoom};

/// How many must have waited for a batch for the next one to be gathered: fewer than that, and a sync costs less than it would save.
const SHARED_MIN: usize = 8;

/// How long a batch is gathered at most: the time of a sync on a common disk.
const GATHER_MAX: Duration = Duration::from_millis(1);

/// What the committing thread has done since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Syncs of the log.
    pub fsyncs: u64,
    /// Batches written, synced or not.
    pub batches: u64,
    /// Writes in them.
    pub writes: u64,
    /// Bytes of keys and values in them, with a small allowance for each write.
    pub bytes: u64,
}

#[derive(Default)]
pub(super) struct Tally {
    fsyncs: AtomicU64,
    batches: AtomicU64,
    writes: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    fn note(&self, batch: &Batch) {
        if batch.writes.is_empty() {
            return;
        }
        self.fsyncs.fetch_add(u64::from(batch.needs_sync), Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.writes.fetch_add(batch.writes.len() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(batch.size_bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Counters {
        Counters {
            fsyncs: self.fsyncs.load(Ordering::Relaxed),
            batches: self.batches.load(Ordering::Relaxed),
            writes: self.writes.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

/// Starts the committing thread. It ends when the queue is closed and empty, or the disk is full.
pub(super) fn start(shared: Arc<Shared>) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name("group-commit".to_owned()).spawn(move || {
        let _guard = AbortOnPanic;
        let mut gather_until = Instant::now();
        while let Some(batch) = shared.queue.take_batch(gather_until) {
            let (waiters, begun) = (batch.waiters(), Instant::now());
            commit(&shared, batch);
            let took = begun.elapsed();
            gather_until = begun + took + gathering(waiters, took);
        }
    })
}

/// How long to gather writes after a batch that so many waited for and that took so long.
fn gathering(waiters: usize, took: Duration) -> Duration {
    if waiters >= SHARED_MIN { took.min(GATHER_MAX) } else { Duration::ZERO }
}

/// Without the committing thread every writer would wait for ever.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!("the committing thread panicked, the process aborts");
            std::process::abort();
        }
    }
}

/// Takes one batch to the disk and settles it.
pub(super) fn commit(shared: &Shared, mut batch: Batch) {
    match write(&shared.engine, &batch) {
        Ok(()) => {
            shared.tally.note(&batch);
            shared.queue.synced(&batch);
            batch.writes.iter().for_each(|write| settle_durable(shared, write));
            Queue::announce(&mut batch);
            note_waits(&shared.durations, &batch);
        }
        Err(error) if error.is_disk_full() => {
            tracing::error!(%error, "the disk is full, the store takes no more writes until a restart");
            let given_up = shared.queue.give_up(batch);
            given_up.writes.iter().for_each(|write| settle_given_up(shared, write));
            Queue::renounce(given_up);
        }
        Err(error) => {
            tracing::error!(%error, "a log write or its sync failed, the process aborts");
            std::process::abort();
        }
    }
}

/// A batch was not written.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    #[error(transparent)]
    Engine(#[from] rocksdb::Error),
}

impl WriteError {
    fn is_disk_full(&self) -> bool {
        match self {
            Self::NoRoom(_) => true,
            Self::Engine(error) => engine::is_disk_full(error),
        }
    }
}

/// Writes the batch. With `needs_sync`, returns only after the sync.
fn write(engine: &Engine, batch: &Batch) -> Result<(), WriteError> {
    if batch.writes.is_empty() {
        return Ok(());
    }
    while !engine.write_or_not(changes(engine, batch), batch.needs_sync)? {
        if !engine.is_stopped() {
            // Held back for a moment only, which RocksDB knows best to measure.
            return Ok(engine.write(changes(engine, batch), batch.needs_sync)?);
        }
        stall::wait_out(engine)?;
    }
    Ok(())
}

fn changes(engine: &Engine, batch: &Batch) -> WriteBatch {
    let mut changes = WriteBatch::with_capacity_bytes(batch.size_bytes);
    for write in &batch.writes {
        match &write.change {
            Change::Record { key, value: Some(value) } => changes.put(key.as_bytes(), value),
            Change::Record { key, value: None } => changes.delete(key.as_bytes()),
            Change::Hint { target, seq, value } => changes.put_cf(engine.hints(), hints::entry_key(*target, *seq), value),
            Change::HintGone { target, seq } => changes.delete_cf(engine.hints(), hints::entry_key(*target, *seq)),
            Change::Node { value, .. } => changes.put_cf(engine.meta(), engine::NODE_KEY, value),
            Change::Peer { node, value } => changes.put_cf(engine.meta(), engine::peer_key(*node), value),
        }
    }
    changes
}

/// Notes how long each record of a batch took to become durable. Hints and what the node keeps for itself are written by no replica.
fn note_waits(durations: &Histogram, batch: &Batch) {
    let now = Instant::now();
    for write in batch.writes.iter().filter(|write| matches!(write.change, Change::Record { .. })) {
        durations.observe(now.saturating_duration_since(write.entered).as_secs_f64());
    }
}

fn settle_durable(shared: &Shared, write: &Write) {
    match &write.change {
        Change::Record { key, .. } => shared.overlay.settle(key, write.seq),
        Change::HintGone { target, seq } => shared.hints.forget(*target, *seq),
        Change::Node { reserved, .. } => shared.node.reserved(reserved),
        Change::Hint { .. } | Change::Peer { .. } => {}
    }
}

fn settle_given_up(shared: &Shared, write: &Write) {
    match &write.change {
        Change::Record { key, .. } => shared.overlay.give_up(key, write.seq),
        Change::Hint { target, seq, .. } => shared.hints.forget(*target, *seq),
        Change::HintGone { .. } | Change::Node { .. } | Change::Peer { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_alone_waits_for_nobody_and_a_crowd_no_longer_than_its_sync() {
        let micros = Duration::from_micros;
        assert_eq!(gathering(SHARED_MIN - 1, micros(900)), Duration::ZERO);
        assert_eq!(gathering(SHARED_MIN, micros(300)), micros(300));
        assert_eq!(gathering(SHARED_MIN, micros(30_000)), GATHER_MAX);
    }
}
