//! `[hints]`: writes kept here for replicas that did not acknowledge them.

use std::time::Duration;

use bytesize::ByteSize;

use crate::reader::{Decoder, Subtable};

/// Hinted handoff. Section `[hints]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Hints {
    /// `hints.per_peer_max`: hints kept for one peer; further ones are not stored, and the peer gets those writes by repair
    /// instead. Default 1000000. About the writes a node takes in the longest outage that hints should cover.
    pub per_peer_max: usize,
    /// `hints.per_peer_bytes_max`: bytes of hints kept for one peer, with the same effect. Default 1 GiB. All peers together
    /// must fit on the disk beside the data.
    pub per_peer_bytes_max: ByteSize,
    /// `hints.age_max`: age after which a hint is dropped and left to repair. Default 3h. A hint for a write that no home
    /// replica has acknowledged is kept however old it is.
    pub age_max: Duration,
    /// `hints.replay_batch`: hints delivered to a returned peer at a time. Default 64, at most `per_peer_max`. More finish
    /// sooner and press harder on a node that has just started.
    pub replay_batch: usize,
    /// `hints.replay_backoff_min`: pause after a failed delivery; it doubles with every failure. Default 100ms.
    pub replay_backoff_min: Duration,
    /// `hints.replay_backoff_max`: the longest pause between deliveries. Default 30s, at least `replay_backoff_min`.
    pub replay_backoff_max: Duration,
}

impl Default for Hints {
    fn default() -> Self {
        Self {
            per_peer_max: 1_000_000,
            per_peer_bytes_max: ByteSize::gib(1),
            age_max: Duration::from_secs(3 * 60 * 60),
            replay_batch: 64,
            replay_backoff_min: Duration::from_millis(100),
            replay_backoff_max: Duration::from_secs(30),
        }
    }
}

impl Hints {
    pub(crate) fn read(decoder: &mut Decoder, subtable: Subtable) -> Self {
        const MILLISECOND: Duration = Duration::from_millis(1);
        const HOUR: Duration = Duration::from_secs(60 * 60);
        let default = Self::default();
        let mut table = decoder.table("hints", "[hints]", subtable);
        let hints = Self {
            per_peer_max: table.key("per_peer_max").within(1, 1_000_000_000).or(default.per_peer_max),
            per_peer_bytes_max: table.key("per_peer_bytes_max").within(ByteSize::mib(1), ByteSize::tib(16)).or(default.per_peer_bytes_max),
            age_max: table.key("age_max").within(Duration::from_secs(1), 30 * 24 * HOUR).or(default.age_max),
            replay_batch: table.key("replay_batch").within(1, 10_000).or(default.replay_batch),
            replay_backoff_min: table.key("replay_backoff_min").within(MILLISECOND, HOUR).or(default.replay_backoff_min),
            replay_backoff_max: table.key("replay_backoff_max").within(MILLISECOND, HOUR).or(default.replay_backoff_max),
        };
        table.finish();
        let (min, max) = (&hints.replay_backoff_min, &hints.replay_backoff_max);
        decoder.ordered(("hints.replay_backoff_min", min), ("hints.replay_backoff_max", max), false);
        decoder.ordered(("hints.replay_batch", &hints.replay_batch), ("hints.per_peer_max", &hints.per_peer_max), false);
        hints
    }
}
