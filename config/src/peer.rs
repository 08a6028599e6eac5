//! `[peer]`: connections from this node to the others.

use std::time::Duration;

use crate::reader::{Decoder, Subtable};

/// Connections to other nodes. Section `[peer]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// `peer.connect_timeout`: how long one attempt to connect, greeting included, may take. Default 1s. Several round trips
    /// to the farthest node.
    pub connect_timeout: Duration,
    /// `peer.heartbeat_interval`: how often a connected peer is asked for a sign of life. Default 500ms. Less finds failures
    /// sooner and costs messages.
    pub heartbeat_interval: Duration,
    /// `peer.heartbeat_timeout`: silence after which a peer counts as down. Default 1500ms, more than the interval; three
    /// intervals forgive two lost answers. While a peer is down, requests do not wait for it and writes leave hints.
    pub heartbeat_timeout: Duration,
    /// `peer.reconnect_min`: pause before the first attempt to reconnect; it doubles with every failure. Default 50ms.
    pub reconnect_min: Duration,
    /// `peer.reconnect_max`: the longest pause between attempts to reconnect. Default 2s, at least `reconnect_min`. A peer
    /// that returns may go unnoticed for that long.
    pub reconnect_max: Duration,
    /// `peer.queue_max`: requests that may wait for or be under way to one peer; further ones are answered `Overloaded`.
    /// Default 4096. Each holds its value in memory.
    pub queue_max: usize,
    /// `peer.batch_max`: requests that share one message. Default 64, at most `queue_max`. More save work per request under
    /// load; on an idle node no request waits to fill a message.
    pub batch_max: usize,
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            heartbeat_interval: Duration::from_millis(500),
            heartbeat_timeout: Duration::from_millis(1500),
            reconnect_min: Duration::from_millis(50),
            reconnect_max: Duration::from_secs(2),
            queue_max: 4096,
            batch_max: 64,
        }
    }
}

impl Peer {
    pub(crate) fn read(decoder: &mut Decoder, subtable: Subtable) -> Self {
        const SHORTEST: Duration = Duration::from_millis(1);
        const LONGEST: Duration = Duration::from_secs(10 * 60);
        let default = Self::default();
        let mut table = decoder.table("peer", "[peer]", subtable);
        let peer = Self {
            connect_timeout: table.key("connect_timeout").within(SHORTEST, LONGEST).or(default.connect_timeout),
            heartbeat_interval: table.key("heartbeat_interval").within(SHORTEST, LONGEST).or(default.heartbeat_interval),
            heartbeat_timeout: table.key("heartbeat_timeout").within(SHORTEST, LONGEST).or(default.heartbeat_timeout),
            reconnect_min: table.key("reconnect_min").within(SHORTEST, LONGEST).or(default.reconnect_min),
            reconnect_max: table.key("reconnect_max").within(SHORTEST, LONGEST).or(default.reconnect_max),
            queue_max: table.key("queue_max").within(1, 1_000_000).or(default.queue_max),
            batch_max: table.key("batch_max").within(1, 10_000).or(default.batch_max),
        };
        table.finish();
        let (interval, timeout) = (&peer.heartbeat_interval, &peer.heartbeat_timeout);
        decoder.ordered(("peer.heartbeat_interval", interval), ("peer.heartbeat_timeout", timeout), true);
        decoder.ordered(("peer.reconnect_min", &peer.reconnect_min), ("peer.reconnect_max", &peer.reconnect_max), false);
        decoder.ordered(("peer.batch_max", &peer.batch_max), ("peer.queue_max", &peer.queue_max), false);
        peer
    }
}
