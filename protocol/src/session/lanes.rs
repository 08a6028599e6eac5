//! Operation ids: a client has at most one operation in flight per lane, and ids grow along a lane.
//!
//! **Promise.** No id is given out twice. Along a lane both `seq` and `issued_ms` grow strictly, even when the client's clock
//! stands still or steps back: a replica that has forgotten old operations tells an ancient retry from a new operation by
//! `issued_ms`.
//!
//! A key is written along the same lane whenever that is free, because a key remembers the last operation of every lane: with a lane of
//! their own, the writes of one client take one place in its table, however many the client has in flight.

use std::collections::{BTreeMap, BTreeSet};

use quorate_ring::Slot;

use crate::ids::{ClientId, OpId};

/// Most lanes of one client, and so most mutations it has in flight.
pub const LANES_MAX: usize = u16::MAX as usize;

/// Lanes that keys are spread over: so many that the few dozen writes a client has in flight seldom want the same one.
const SPREAD: u16 = 1_024;

/// All lanes of one client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lanes {
    client: ClientId,
    /// Last `(seq, issued_ms)` of every lane ever used.
    last: BTreeMap<u16, (u64, u64)>,
    busy: BTreeSet<u16>,
}

/// Every lane has an operation in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client has {LANES_MAX} writes in flight, the most it may have")]
pub struct LanesExhausted;

impl Lanes {
    /// Lanes of a client whose id was never used before.
    #[must_use]
    pub fn new(client: ClientId) -> Self {
        Self { client, last: BTreeMap::new(), busy: BTreeSet::new() }
    }

    /// Names the next operation, on a key of `slot`, and occupies its lane until [`Lanes::release`].
    ///
    /// # Errors
    /// [`LanesExhausted`] when every lane is occupied.
    pub fn issue(&mut self, slot: Slot, now_ms: u64) -> Result<OpId, LanesExhausted> {
        let lane = self.free(slot.number() % SPREAD).ok_or(LanesExhausted)?;
        self.busy.insert(lane);
        let (seq, issued_ms) = self.last.entry(lane).or_default();
        *seq += 1;
        *issued_ms = now_ms.max(*issued_ms + 1);
        Ok(OpId { client: self.client, lane, seq: *seq, issued_ms: *issued_ms })
    }

    /// The first free lane from `wanted` on, those below last.
    fn free(&self, wanted: u16) -> Option<u16> {
        let end = u16::try_from(LANES_MAX).expect("lanes have 16 bits");
        (wanted..end).chain(0..wanted).find(|lane| !self.busy.contains(lane))
    }

    /// The operation is over for the client: nothing more will be sent for it.
    pub fn release(&mut self, op: &OpId) {
        assert_eq!(op.client, self.client, "an operation is released where it was issued");
        self.busy.remove(&op.lane);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u16) -> Slot {
        Slot::new(number).expect("a slot")
    }

    #[test]
    fn ids_grow_along_a_lane_when_the_clock_steps_back() {
        let mut lanes = Lanes::new(ClientId(1));
        let first = lanes.issue(slot(5), 1_000).expect("a lane");
        lanes.release(&first);
        let second = lanes.issue(slot(5), 10).expect("a lane");
        assert_eq!(second.lane, first.lane);
        assert!(second.seq > first.seq && second.issued_ms > first.issued_ms);
    }

    #[test]
    fn a_key_keeps_its_lane_whatever_else_is_in_flight_and_a_busy_one_is_never_used() {
        let mut lanes = Lanes::new(ClientId(1));
        let first = lanes.issue(slot(7), 1).expect("a lane");
        let other = lanes.issue(slot(8), 1).expect("a lane");
        let same = lanes.issue(slot(7 + SPREAD), 1).expect("a lane");
        assert_eq!([first.lane, other.lane, same.lane], [7, 8, 9], "the next free one");
        lanes.release(&first);
        assert_eq!(lanes.issue(slot(7), 1).expect("a lane").lane, 7);
    }

    #[test]
    fn more_operations_than_lanes_are_refused() {
        let mut lanes = Lanes::new(ClientId(1));
        lanes.busy = (1..u16::MAX).collect();
        assert_eq!(lanes.issue(slot(3), 1).map(|op| op.lane), Ok(0));
        assert_eq!(lanes.issue(slot(3), 1), Err(LanesExhausted));
    }
}
