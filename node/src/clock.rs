//! The node's clocks: monotonic ticks for machines, wall time and hybrid stamps for versions.
//!
//! The wall clock can be set wrong on purpose (the `skew` fault); ticks cannot. They follow the runtime's clock, as all timers do, so a
//! runtime with a clock of its own has the whole node on it, but for the wall clock.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use quorate_protocol::Tick;
use quorate_protocol::hlc::{Hlc, HybridClock, TooFarAhead};
use tokio::time::Instant;

/// All clocks of one node.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    skew_ms: AtomicI64,
    hybrid: Mutex<HybridClock>,
}

impl Clock {
    /// Clocks that go on above every stamp up to `highest`.
    pub(crate) fn resume(highest: Hlc) -> Self {
        Self { start: Instant::now(), skew_ms: AtomicI64::new(0), hybrid: Mutex::new(HybridClock::resume(highest)) }
    }

    /// Ticks that are ahead of what they would be by so much.
    #[cfg(test)]
    pub(crate) fn set_ahead(&mut self, ahead: Duration) {
        self.start -= ahead;
    }

    /// The current tick.
    pub(crate) fn tick(&self) -> Tick {
        Tick(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The instant of a tick, for timers.
    pub(crate) fn instant(&self, tick: Tick) -> Instant {
        self.start + Duration::from_micros(tick.0.min(u64::from(u32::MAX) * 1_000_000))
    }

    /// Milliseconds since 1970, wrong by the skew.
    pub(crate) fn wall_ms(&self) -> u64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let true_ms = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        true_ms.saturating_add_signed(self.skew_ms.load(Ordering::Relaxed))
    }

    /// Makes the wall clock wrong by `skew_ms`.
    pub(crate) fn set_skew(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
    }

    /// The next stamp of the node's hybrid clock.
    pub(crate) fn stamp(&self) -> Hlc {
        let now_ms = self.wall_ms();
        self.hybrid.lock().tick(now_ms)
    }

    /// Follows another node's stamp.
    ///
    /// # Errors
    /// [`TooFarAhead`] if its clock is too far ahead to be followed.
    pub(crate) fn observe(&self, stamp: Hlc) -> Result<(), TooFarAhead> {
        let now_ms = self.wall_ms();
        self.hybrid.lock().observe(stamp, now_ms)
    }

    /// A stamp no lower than any given out so far.
    pub(crate) fn highest(&self) -> Hlc {
        self.stamp()
    }
}
