//! How far a run has come, for whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The cluster starts.
    Starting,
    /// Every key is written once.
    Loading,
    /// Operations are due, since then.
    Running(Instant),
    /// Faults are mended, and what they left undone is done.
    Mending,
    /// Every key is read for the last time.
    Reading,
}

/// Asks a run to stop as soon as it has mended what it broke.
#[derive(Clone, Debug)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Default for Stop {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Stop {
    /// From now on runs stop.
    pub fn now(&self) {
        self.0.send_replace(true);
    }

    pub(super) fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until somebody asks for it.
    pub(super) async fn asked(&self) {
        // It cannot fail: the sender is this one.
        let _ = self.0.subscribe().wait_for(|asked| *asked).await;
    }
}

/// One level's progress.
#[derive(Debug)]
pub struct Progress {
    phase: Mutex<Phase>,
    operations: AtomicU64,
}

impl Default for Progress {
    fn default() -> Self {
        Self { phase: Mutex::new(Phase::Starting), operations: AtomicU64::new(0) }
    }
}

impl Progress {
    /// What is being done.
    pub fn phase(&self) -> Phase {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Operations that are over, whatever became of them.
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    pub(super) fn enter(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    pub(super) fn count(&self) {
        self.operations.fetch_add(1, Ordering::Relaxed);
    }
}
