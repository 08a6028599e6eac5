//! Heartbeats: how long a peer has been silent, and how long messages take to it and back.

use std::time::Duration;

use quorate_rpc::delay::Exchange;
use quorate_rpc::peer::{PeerClient, Pong};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::connection::context;

/// Silence, in heartbeat time-outs, after which a connection is given up and made anew. When a partition ends, TCP may stay silent for as
/// long again as the partition has lasted, since it tries ever more seldom; a new connection does not. Short ones are not worth one.
const TIMEOUTS_MAX: u32 = 4;

/// When to send the next heartbeat and what the last one said.
pub(super) struct Heartbeat {
    interval: Interval,
    timeout: Duration,
    last_heard: Instant,
}

/// What one heartbeat brought.
pub(super) enum Beat {
    /// The peer answered.
    Heard(Pong, Exchange),
    /// No answer within the time-out.
    Missed,
    /// The connection is gone.
    Broken,
}

impl Heartbeat {
    pub(super) fn new(every: Duration, timeout: Duration) -> Self {
        let mut interval = interval(every);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { interval, timeout, last_heard: Instant::now() }
    }

    /// Waits until the next heartbeat is due.
    pub(super) async fn due(&mut self) {
        self.interval.tick().await;
    }

    /// The peer has answered something.
    pub(super) fn heard(&mut self) {
        self.last_heard = Instant::now();
    }

    /// True when the peer has been silent for too long.
    pub(super) fn is_silent(&self) -> bool {
        self.last_heard.elapsed() >= self.timeout
    }

    /// True when the peer has been silent for so long that a new connection is the better bet.
    pub(super) fn is_in_vain(&self) -> bool {
        self.last_heard.elapsed() >= self.timeout * TIMEOUTS_MAX
    }

    /// How long one heartbeat may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// Sends one heartbeat.
pub(super) async fn beat(client: PeerClient, timeout: Duration) -> Beat {
    use quorate_rpc::tarpc::client::RpcError;
    let sent = Instant::now();
    match client.ping(context(timeout)).await {
        Ok(pong) => Beat::Heard(pong, Exchange { sent, shown: pong.tick, heard: Instant::now() }),
        Err(RpcError::DeadlineExceeded) => Beat::Missed,
        Err(RpcError::Shutdown | RpcError::Send(_) | RpcError::Channel(_) | RpcError::Server(_)) => Beat::Broken,
    }
}
