//! Operation ids: a client has at most one operation in flight per lane, and ids grow along a lane.
//!
//! **Promise.** No id is given out twice. Along a lane both `seq` and `issued_ms` grow strictly, even when the client's clock
//! stands still or steps back: a replica that has forgotten old operations tells an ancient retry from a new operation by
//! `issued_ms`.
//!
//! A key is written along the same lane whenever that is free, because a key remembers the last operation of every lane: the writes of
//! one client, one after the other, take one place in its table, whatever else the client has in flight.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{ClientId, OpId};

/// Most lanes of one client, and so most mutations it has in flight.
pub const LANES_MAX: usize = u16::MAX as usize;

/// Lanes that keys are spread over: so many that the few dozen writes a client has in flight seldom want the same one.
const SPREAD: u16 = 1_024;

/// Lanes behind a busy one that are looked at before one is taken that no key wants.
const PROBES: u16 = 8;

/// All lanes of one client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lanes {
    client: ClientId,
    /// Last `(seq, issued_ms)` of every lane ever used.
    last: BTreeMap<u16, (u64, u64)>,
    /// Of those that keys want.
    busy: BTreeSet<u16>,
    /// Of the others, those that were used and are free.
    spare: BTreeSet<u16>,
    /// The first lane that no key wants and that was never used.
    unused: u16,
}

/// Every lane has an operation in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client has {LANES_MAX} writes in flight, the most it may have")]
pub struct LanesExhausted;

impl Lanes {
    /// Lanes of a client whose id was never used before.
    #[must_use]
    pub fn new(client: ClientId) -> Self {
        Self { client, last: BTreeMap::new(), busy: BTreeSet::new(), spare: BTreeSet::new(), unused: SPREAD }
    }

    /// Names the next operation, on `key`, and occupies its lane until [`Lanes::release`].
    ///
    /// # Errors
    /// [`LanesExhausted`] when every lane is occupied.
    pub fn issue(&mut self, key: &[u8], now_ms: u64) -> Result<OpId, LanesExhausted> {
        let [low, high, ..] = *blake3::hash(key).as_bytes();
        let lane = self.take(u16::from_le_bytes([low, high]) % SPREAD).ok_or(LanesExhausted)?;
        let (seq, issued_ms) = self.last.entry(lane).or_default();
        *seq += 1;
        *issued_ms = now_ms.max(*issued_ms + 1);
        Ok(OpId { client: self.client, lane, seq: *seq, issued_ms: *issued_ms })
    }

    /// Occupies the wanted lane, or the next that is free.
    fn take(&mut self, wanted: u16) -> Option<u16> {
        let near = |count| (wanted..wanted + count).map(|lane| lane % SPREAD);
        if let Some(lane) = near(PROBES).find(|lane| self.busy.insert(*lane)) {
            return Some(lane);
        }
        if let Some(lane) = self.spare.pop_first() {
            return Some(lane);
        }
        if usize::from(self.unused) < LANES_MAX {
            self.unused += 1;
            return Some(self.unused - 1);
        }
        near(SPREAD).find(|lane| self.busy.insert(*lane))
    }

    /// The operation is over for the client: nothing more will be sent for it.
    pub fn release(&mut self, op: &OpId) {
        assert_eq!(op.client, self.client, "an operation is released where it was issued");
        if op.lane < SPREAD {
            self.busy.remove(&op.lane);
        } else {
            self.spare.insert(op.lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_along_a_lane_when_the_clock_steps_back() {
        let mut lanes = Lanes::new(ClientId(1));
        let first = lanes.issue(b"k", 1_000).expect("a lane");
        lanes.release(&first);
        let second = lanes.issue(b"k", 10).expect("a lane");
        assert_eq!(second.lane, first.lane);
        assert!(second.seq > first.seq && second.issued_ms > first.issued_ms);
    }

    #[test]
    fn a_key_keeps_its_lane_whatever_else_is_in_flight() {
        let mut lanes = Lanes::new(ClientId(1));
        let first = lanes.issue(b"k", 1).expect("a lane");
        let same = lanes.issue(b"k", 1).expect("a lane");
        let other = lanes.issue(b"other", 1).expect("a lane");
        assert_eq!((same.lane, same.seq), ((first.lane + 1) % SPREAD, 1), "the next free one");
        assert!(other.lane != first.lane && other.lane != same.lane);
        lanes.release(&first);
        assert_eq!(lanes.issue(b"k", 1).expect("a lane").lane, first.lane);
    }

    /// All on one key: first those near to its lane, then those that no key wants, and in the end all there are.
    #[test]
    fn every_lane_is_used_once_and_more_operations_are_refused() {
        let mut lanes = Lanes::new(ClientId(1));
        let ops: Vec<_> = (0..LANES_MAX).map(|_| lanes.issue(b"k", 1).expect("a lane")).collect();
        assert_eq!(ops.iter().map(|op| op.lane).collect::<BTreeSet<_>>().len(), LANES_MAX);
        assert_eq!(lanes.issue(b"k", 1), Err(LanesExhausted));
        lanes.release(&ops[20]);
        assert_eq!(lanes.issue(b"k", 1).map(|op| (op.lane, op.seq)), Ok((ops[20].lane, 2)));
    }
}
