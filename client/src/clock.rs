//! The client's two clocks: a monotonic one for deadlines and a wall clock for naming operations.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quorate_protocol::Tick;
use tokio::time::Instant;

/// Longest deadline an operation can have; a longer one is cut to it. It exists so that arithmetic on deadlines cannot overflow.
pub const DEADLINE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Time kept back from the coordinator's deadline, so that its account of a failure still arrives within the client's.
const RETURN_MICROS_MAX: u64 = 25_000;

/// Ticks since the client was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    pub(crate) fn now(&self) -> Tick {
        Tick(micros(self.origin.elapsed()))
    }

    pub(crate) fn instant(&self, tick: Tick) -> Instant {
        self.origin + Duration::from_micros(tick.0)
    }

    /// Begins an operation that may take `deadline` in all.
    pub(crate) fn budget(self, deadline: Duration) -> Budget {
        let started = self.now();
        let total = micros(deadline.min(DEADLINE_MAX));
        Budget { clock: self, started, deadline: started.after(total), return_micros: (total / 8).min(RETURN_MICROS_MAX) }
    }
}

/// One operation's time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) clock: Clock,
    pub(crate) started: Tick,
    pub(crate) deadline: Tick,
    return_micros: u64,
}

impl Budget {
    /// Microseconds that a coordinator may use, zero when it is too late to ask one.
    pub(crate) fn micros_left(&self) -> u64 {
        self.deadline.since(self.clock.now()).saturating_sub(self.return_micros)
    }

    pub(crate) fn time_left(&self) -> Duration {
        Duration::from_micros(self.micros_left())
    }

    /// All that is left, for an operation that is made of several.
    pub(crate) fn total_left(&self) -> Duration {
        Duration::from_micros(self.deadline.since(self.clock.now()))
    }

    pub(crate) fn elapsed_micros(&self) -> u64 {
        self.clock.now().since(self.started)
    }

    /// When the operation must have ended.
    pub(crate) fn end(&self) -> Instant {
        self.clock.instant(self.deadline)
    }
}

/// Milliseconds since 1970 by the wall clock, zero if it shows an earlier time.
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
