//! The bounded queue of writes on their way to the disk, and what their callers wait for.
//!
//! **Promise.** Writes are taken in the order in which they were queued. A [`Commit`] that resolves well means that the write
//! it speaks of, and every write queued before it, is synced.
//!
//! **Rules.**
//! - *Upon a write beyond a limit*: refused at once, without effect.
//! - *Upon a batch having been synced*: everybody who waits for one of its writes is told, also those who asked meanwhile.
//! - *Upon a full disk*: everything queued is given up, everybody who waits is told, and nothing is taken any more.
//! - *Upon closing*: nothing is taken any more; what is queued is still written.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, MutexGuard};
use quorate_ring::NodeId;
use tokio::sync::oneshot;

use super::error::StoreError;
use super::key::StorageKey;
use super::node_record::Reserved;
use super::options::StoreOptions;

/// Memory that a queued write takes beside its key and value, roughly.
const OVERHEAD_BYTES: usize = 128;

/// The place of a write in the queue's order, counted from 1 since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WriteSeq(u64);

#[cfg(test)]
impl WriteSeq {
    pub(super) fn nth(n: u64) -> Self {
        Self(n)
    }
}

/// What a caller waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The commit resolves once the state is synced.
    Synced,
    /// The commit is ready as soon as the write is queued: a crash may lose it. It is synced all the same, with its batch, and
    /// reads show it only then. For buckets that gave up `fsync_before_ack`, and never for strict levels.
    Buffered,
}

/// The moment from which a write is durable: await it, or [`wait`](Commit::wait) for it on a thread of one's own.
///
/// Dropping it changes nothing about the write.
///
/// # Errors
/// [`StoreError::DiskFull`] if the write was given up, [`StoreError::Closed`] if the store went away before. In both cases
/// nothing shows the write, but a restart may find it in the log: its outcome is unknown.
#[derive(Debug)]
#[must_use = "the write is not durable before its commit has resolved"]
pub struct Commit(Waiting);

#[derive(Debug)]
enum Waiting {
    Durable,
    For(oneshot::Receiver<Verdict>),
}

/// What became of the writes up to one that somebody waits for.
type Verdict = Result<(), GivenUp>;

/// The disk was full.
#[derive(Clone, Copy, Debug)]
struct GivenUp;

impl Commit {
    pub(super) fn durable() -> Self {
        Self(Waiting::Durable)
    }

    /// True when there is nothing to wait for.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        matches!(self.0, Waiting::Durable)
    }

    /// Blocks the thread until the write is durable.
    ///
    /// # Errors
    /// As when awaited.
    ///
    /// # Panics
    /// On a thread that runs async tasks.
    pub fn wait(self) -> Result<(), StoreError> {
        match self.0 {
            Waiting::Durable => Ok(()),
            Waiting::For(verdict) => judge(verdict.blocking_recv()),
        }
    }
}

impl Future for Commit {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Waiting::Durable => Poll::Ready(Ok(())),
            Waiting::For(verdict) => Pin::new(verdict).poll(cx).map(judge),
        }
    }
}

fn judge(received: Result<Verdict, oneshot::error::RecvError>) -> Result<(), StoreError> {
    match received {
        Ok(Ok(())) => Ok(()),
        Ok(Err(GivenUp)) => Err(StoreError::DiskFull),
        Err(_) => Err(StoreError::Closed),
    }
}

/// What is queued or being synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Number of writes.
    pub writes: usize,
    /// Bytes of their keys and values, with a small allowance for each.
    pub bytes: usize,
}

/// One change of the database.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// A key's record is replaced, or removed.
    Record { key: StorageKey, value: Option<Bytes> },
    /// A hint is kept.
    Hint { target: NodeId, seq: u64, value: Bytes },
    /// A hint is no longer needed. Losing this costs a second delivery, so it is not synced for its own sake.
    HintGone { target: NodeId, seq: u64 },
    /// The node record is replaced; once durable, what it reserves may be used.
    Node { value: Bytes, reserved: Reserved },
    /// What is remembered of a peer is replaced.
    Peer { node: NodeId, value: Bytes },
}

impl Change {
    fn size_bytes(&self) -> usize {
        let payload = match self {
            Self::Record { key, value } => key.as_bytes().len() + value.as_ref().map_or(0, Bytes::len),
            Self::Hint { value, .. } | Self::Node { value, .. } | Self::Peer { value, .. } => value.len(),
            Self::HintGone { .. } => 0,
        };
        payload + OVERHEAD_BYTES
    }

    fn needs_sync(&self) -> bool {
        !matches!(self, Self::HintGone { .. })
    }
}

/// A change with its place in the order.
pub(super) struct Write {
    pub(super) seq: WriteSeq,
    pub(super) change: Change,
    /// When it was queued.
    pub(super) entered: Instant,
}

/// What one log write, and one sync, takes to the disk.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) writes: Vec<Write>,
    /// Who waits for a write up to the last of this batch.
    waiters: Vec<Waiter>,
    pub(super) size_bytes: usize,
    pub(super) needs_sync: bool,
}

struct Waiter {
    seq: WriteSeq,
    verdict: oneshot::Sender<Verdict>,
}

impl Batch {
    /// How many wait for it.
    pub(super) fn waiters(&self) -> usize {
        self.waiters.len()
    }

    /// Tells everybody who waits for this batch.
    fn answer(&mut self, verdict: Verdict) {
        for waiter in self.waiters.drain(..) {
            // Whoever dropped its commit does not want to know.
            let _ = waiter.verdict.send(verdict);
        }
    }
}

pub(super) struct Queue {
    state: Mutex<State>,
    work: Condvar,
    /// True whenever the mode is not `Open`, soon after; `push` looks at the mode itself.
    refusing: AtomicBool,
    pending_writes_max: usize,
    pending_bytes_max: usize,
    batch_writes_max: usize,
    batch_bytes_max: usize,
}

#[derive(Default)]
struct State {
    mode: Mode,
    writes: VecDeque<Write>,
    waiters: Vec<Waiter>,
    last: WriteSeq,
    durable: WriteSeq,
    pending: Pending,
    /// The committing thread sleeps.
    idle: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Open,
    DiskFull,
    Closed,
}

impl State {
    fn admit(&self) -> Result<(), StoreError> {
        match self.mode {
            Mode::Open => Ok(()),
            Mode::DiskFull => Err(StoreError::DiskFull),
            Mode::Closed => Err(StoreError::Closed),
        }
    }

    fn wait_for(&mut self, seq: WriteSeq) -> Commit {
        let (sender, receiver) = oneshot::channel();
        self.waiters.push(Waiter { seq, verdict: sender });
        Commit(Waiting::For(receiver))
    }
}

impl Queue {
    pub(super) fn new(options: &StoreOptions) -> Self {
        Self {
            state: Mutex::default(),
            work: Condvar::new(),
            refusing: AtomicBool::new(false),
            pending_writes_max: options.pending_writes_max,
            pending_bytes_max: options.pending_bytes_max,
            batch_writes_max: options.batch_writes_max,
            batch_bytes_max: options.batch_bytes_max,
        }
    }

    /// Queues a change.
    ///
    /// # Errors
    /// `Overloaded`, `DiskFull` or `Closed`, without effect.
    pub(super) fn push(&self, change: Change, durability: Durability) -> Result<(WriteSeq, Commit), StoreError> {
        let (size_bytes, entered) = (change.size_bytes(), Instant::now());
        let mut state = self.state.lock();
        state.admit()?;
        if state.pending.writes >= self.pending_writes_max || state.pending.bytes >= self.pending_bytes_max {
            return Err(StoreError::Overloaded { pending: state.pending.writes });
        }
        state.pending.writes += 1;
        state.pending.bytes += size_bytes;
        state.last = WriteSeq(state.last.0 + 1);
        let seq = state.last;
        state.writes.push_back(Write { seq, change, entered });
        let commit = match durability {
            Durability::Synced => state.wait_for(seq),
            Durability::Buffered => Commit::durable(),
        };
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        if idle {
            self.work.notify_one();
        }
        Ok((seq, commit))
    }

    /// When the write `seq` is durable.
    ///
    /// # Errors
    /// `DiskFull` if it never will be.
    pub(super) fn after(&self, seq: WriteSeq) -> Result<Commit, StoreError> {
        let mut state = self.state.lock();
        if seq <= state.durable {
            return Ok(Commit::durable());
        }
        if state.mode == Mode::DiskFull {
            return Err(StoreError::DiskFull);
        }
        let commit = state.wait_for(seq);
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        if idle {
            self.work.notify_one();
        }
        Ok(commit)
    }

    /// Whether writes are taken. Without a lock while they are.
    ///
    /// # Errors
    /// `DiskFull` or `Closed` if not.
    pub(super) fn admit(&self) -> Result<(), StoreError> {
        if self.refusing.load(Ordering::Relaxed) { self.state.lock().admit() } else { Ok(()) }
    }

    pub(super) fn pending(&self) -> Pending {
        self.state.lock().pending
    }

    /// Takes no more writes; those queued are still taken by [`Queue::take_batch`].
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        if state.mode == Mode::Open {
            state.mode = Mode::Closed;
        }
        self.refusing.store(true, Ordering::Relaxed);
        drop(state);
        self.work.notify_one();
    }

    /// Waits for work, then until `gather_until` unless a whole batch is there, and takes all that is queued, up to a batch's limits;
    /// `None` once closed and empty.
    pub(super) fn take_batch(&self, gather_until: Instant) -> Option<Batch> {
        let mut state = self.state.lock();
        while state.writes.is_empty() && state.waiters.is_empty() {
            if state.mode != Mode::Open {
                return None;
            }
            state.idle = true;
            self.work.wait(&mut state);
        }
        let is_whole = state.writes.len() >= self.batch_writes_max || state.pending.bytes >= self.batch_bytes_max;
        let gather = gather_until.saturating_duration_since(Instant::now());
        if !is_whole && !gather.is_zero() {
            MutexGuard::unlocked(&mut state, || thread::sleep(gather));
        }
        Some(self.take(&mut state))
    }

    /// Takes all that is queued, up to a batch's limits, without waiting; `None` if nothing is.
    pub(super) fn take_queued(&self) -> Option<Batch> {
        let mut state = self.state.lock();
        let is_idle = state.writes.is_empty() && state.waiters.is_empty();
        (!is_idle).then(|| self.take(&mut state))
    }

    fn take(&self, state: &mut State) -> Batch {
        let mut batch = Batch::default();
        let mut count = 0;
        for write in state.writes.iter().take(self.batch_writes_max) {
            batch.size_bytes += write.change.size_bytes();
            batch.needs_sync |= write.change.needs_sync();
            count += 1;
            if batch.size_bytes >= self.batch_bytes_max {
                break;
            }
        }
        batch.writes.extend(state.writes.drain(..count));
        batch.waiters = match (state.writes.is_empty(), batch.writes.last()) {
            (true, _) => std::mem::take(&mut state.waiters),
            (false, last) => {
                let last = last.map_or(state.durable, |write| write.seq);
                state.waiters.extract_if(.., |waiter| waiter.seq <= last).collect()
            }
        };
        batch
    }

    /// Records that `batch` is synced. Whoever waits for it is told by [`Queue::announce`].
    pub(super) fn synced(&self, batch: &Batch) {
        let mut state = self.state.lock();
        state.pending.writes -= batch.writes.len();
        state.pending.bytes -= batch.size_bytes;
        if let Some(last) = batch.writes.last() {
            state.durable = last.seq;
        }
    }

    /// Tells everybody who waits for a synced batch.
    pub(super) fn announce(batch: &mut Batch) {
        batch.answer(Ok(()));
    }

    /// Gives up `batch` and everything queued behind it and takes no more writes. Returns all of it; whoever waits is told by
    /// [`Queue::renounce`], once nothing shows those writes any more.
    pub(super) fn give_up(&self, mut batch: Batch) -> Batch {
        let mut state = self.state.lock();
        state.mode = Mode::DiskFull;
        self.refusing.store(true, Ordering::Relaxed);
        state.pending = Pending::default();
        batch.writes.extend(state.writes.drain(..));
        batch.waiters.append(&mut state.waiters);
        batch
    }

    /// Tells everybody who waits for writes that were given up.
    pub(super) fn renounce(mut batch: Batch) {
        batch.answer(Err(GivenUp));
    }
}
