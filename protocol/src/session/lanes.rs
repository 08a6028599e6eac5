//! Operation ids: a client has at most one operation in flight per lane, and ids grow along a lane.
//!
//! **Promise.** No id is given out twice. Along a lane both `seq` and `issued_ms` grow strictly, even when the client's clock
//! stands still or steps back: a replica that has forgotten old operations tells an ancient retry from a new operation by
//! `issued_ms`.
//!
//! The lowest free lane is reused first, because whoever remembers operations remembers one per lane.

use std::collections::BTreeSet;

use crate::ids::{ClientId, OpId};

/// Most lanes of one client, and so most mutations it has in flight.
pub const LANES_MAX: usize = u16::MAX as usize;

/// All lanes of one client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lanes {
    client: ClientId,
    /// Last `(seq, issued_ms)` of every lane ever used.
    last: Vec<(u64, u64)>,
    free: BTreeSet<u16>,
}

/// Every lane has an operation in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client has {LANES_MAX} writes in flight, the most it may have")]
pub struct LanesExhausted;

impl Lanes {
    /// Lanes of a client whose id was never used before.
    #[must_use]
    pub fn new(client: ClientId) -> Self {
        Self { client, last: Vec::new(), free: BTreeSet::new() }
    }

    /// Names the next operation and occupies its lane until [`Lanes::release`].
    ///
    /// # Errors
    /// [`LanesExhausted`] when every lane is occupied.
    pub fn issue(&mut self, now_ms: u64) -> Result<OpId, LanesExhausted> {
        let lane = match self.free.pop_first() {
            Some(lane) => lane,
            None => {
                let lane = u16::try_from(self.last.len()).ok().filter(|lane| usize::from(*lane) < LANES_MAX).ok_or(LanesExhausted)?;
                self.last.push((0, 0));
                lane
            }
        };
        let (seq, issued_ms) = &mut self.last[usize::from(lane)];
        *seq += 1;
        *issued_ms = now_ms.max(*issued_ms + 1);
        Ok(OpId { client: self.client, lane, seq: *seq, issued_ms: *issued_ms })
    }

    /// The operation is over for the client: nothing more will be sent for it.
    pub fn release(&mut self, op: &OpId) {
        assert_eq!(op.client, self.client, "an operation is released where it was issued");
        self.free.insert(op.lane);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_along_a_lane_when_the_clock_steps_back() {
        let mut lanes = Lanes::new(ClientId(1));
        let first = lanes.issue(1_000).expect("a lane");
        lanes.release(&first);
        let second = lanes.issue(10).expect("a lane");
        assert_eq!(second.lane, first.lane);
        assert!(second.seq > first.seq && second.issued_ms > first.issued_ms);
    }

    #[test]
    fn the_lowest_free_lane_is_reused_and_a_busy_one_never() {
        let mut lanes = Lanes::new(ClientId(1));
        let ops: Vec<_> = (0..3).map(|_| lanes.issue(1).expect("a lane")).collect();
        assert_eq!(ops.iter().map(|op| op.lane).collect::<Vec<_>>(), [0, 1, 2]);
        lanes.release(&ops[2]);
        lanes.release(&ops[0]);
        assert_eq!(lanes.issue(1).expect("a lane").lane, 0);
        assert_eq!(lanes.issue(1).expect("a lane").lane, 2);
        assert_eq!(lanes.issue(1).expect("a lane").lane, 3);
    }

    #[test]
    fn more_operations_than_lanes_are_refused() {
        let mut lanes = Lanes::new(ClientId(1));
        for _ in 0..LANES_MAX {
            lanes.issue(1).expect("a lane");
        }
        assert_eq!(lanes.issue(1), Err(LanesExhausted));
    }
}
