//! Exactly once: which operations a chain state contains, and what they were answered.
//!
//! **Promise.** An operation is applied at most once along a chain, however often and wherever it is sent. The table is part of the
//! agreed state, so whoever extends that state knows what it contains.
//!
//! **Rules** (upon an operation that is about to be applied):
//! - *its sequence number is the recorded one of its lane*: do not apply it; answer what is recorded, once the state is chosen.
//! - *it is lower*: [`Verdict::Superseded`]. The client has gone on along the lane, and so has given this one up.
//! - *its lane is not in the table, and it was issued no later than something forgotten*: [`Verdict::TooOld`]. It may have been applied
//!   and forgotten; nobody can say any more.
//! - otherwise: apply it, and record the result.
//!
//! **Forgetting.** At most [`LANES_MAX`] lanes are remembered, none for longer than [`AGE_MS_MAX`]. Forgetting raises the horizon to the
//! latest issue time ever seen on the forgotten lane. That is safe because clients make issue times strictly increasing along a lane:
//! clocks can only cause refusals, never a second application. No lane younger than [`YOUNG_MS`] is forgotten; if all are young, the
//! operation is refused as overload.
//!
//! Sources: Ongaro, *Consensus: Bridging Theory and Practice* (2014) §6.3; Lee et al., *RIFL* (SOSP'15).

use std::sync::Arc;

use bytes::Bytes;
use litemap::LiteMap;
use serde::{Deserialize, Deserializer, Serialize};

use super::state::{Inapplicable, Token};
use crate::ids::{ClientId, OpId};
use crate::sorted;

/// Most lanes that a key remembers. The table travels with every round: it decides how fast the linearizable path is.
pub const LANES_MAX: usize = 128;

/// Age from which a lane is forgotten, in milliseconds: longer than any client retries by itself.
pub const AGE_MS_MAX: u64 = 10 * 60 * 1000;

/// Age below which a lane is not forgotten, in milliseconds: its client may be about to retry.
pub const YOUNG_MS: u64 = 10 * 1000;

/// What an operation was answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Recorded {
    /// It changed the state; its version is `token`. A function's result, if it has one, is short.
    Applied {
        /// The state's version right after it.
        token: Token,
        /// What the function returned.
        result: Option<Bytes>,
    },
    /// Its expectation did not hold at `token`.
    CasFailed {
        /// The state's version that was compared with.
        token: Token,
    },
    /// Its function did not apply to what was there.
    Inapplicable(Inapplicable),
    /// It was settled as never to be applied.
    Fenced,
}

/// The last operation of one lane.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Entry {
    seq: u64,
    /// Latest issue time ever seen on the lane.
    issued_ms: u64,
    recorded: Recorded,
    /// Wall clock of the coordinator that recorded it.
    at_ms: u64,
}

/// What is to be done with an operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It is not contained: apply it.
    New,
    /// It is contained; this is what it was answered.
    Known(Recorded),
    /// The lane has gone on: this sending did nothing.
    Superseded,
    /// It is older than what is remembered: this sending did nothing.
    TooOld,
}

/// Every lane is too young to be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{LANES_MAX} clients have changed the key within {} s", YOUNG_MS / 1000)]
pub struct TableFull;

type Entries = LiteMap<(ClientId, u16), Entry>;

/// The operations that a chain state contains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OnceTable {
    /// Shared between the copies of a state, of which every round makes several.
    #[serde(deserialize_with = "lanes")]
    lanes: Arc<Entries>,
    /// Latest issue time of anything forgotten.
    horizon_ms: u64,
}

fn lanes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Entries>, D::Error> {
    sorted::map(deserializer).map(Arc::new)
}

impl OnceTable {
    /// Number of lanes remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    /// True when no operation is contained.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// What is to be done with an operation.
    #[must_use]
    pub fn look(&self, op: &OpId) -> Verdict {
        match self.lanes.get(&(op.client, op.lane)) {
            Some(entry) if op.seq == entry.seq => Verdict::Known(entry.recorded.clone()),
            Some(entry) if op.seq < entry.seq => Verdict::Superseded,
            Some(_) => Verdict::New,
            None if op.issued_ms <= self.horizon_ms => Verdict::TooOld,
            None => Verdict::New,
        }
    }

    /// Records an operation, which [`OnceTable::look`] must have called new, and forgets what is old.
    ///
    /// # Errors
    /// [`TableFull`], with nothing forgotten or recorded.
    pub fn record(&mut self, op: &OpId, recorded: Recorded, now_ms: u64) -> Result<(), TableFull> {
        let lane = (op.client, op.lane);
        let last = self.lanes.get(&lane).map_or(0, |entry| entry.issued_ms);
        let mut crowded_out = None;
        if last == 0 && self.lanes.len() >= LANES_MAX {
            let oldest = self.lanes.iter().min_by_key(|(_, entry)| entry.at_ms);
            let (lane, entry) = oldest.expect("a full table has an oldest lane");
            if now_ms.saturating_sub(entry.at_ms) < YOUNG_MS {
                return Err(TableFull);
            }
            crowded_out = Some(*lane);
        }
        let is_forgotten =
            |lane: &(ClientId, u16), entry: &Entry| crowded_out == Some(*lane) || now_ms.saturating_sub(entry.at_ms) > AGE_MS_MAX;
        // The table is shared with the state before, so this is a copy in any case.
        let mut lanes = Entries::with_capacity(self.lanes.len() + 1);
        for (other, entry) in self.lanes.iter().filter(|(other, _)| **other != lane) {
            if is_forgotten(other, entry) {
                self.horizon_ms = self.horizon_ms.max(entry.issued_ms);
            } else {
                lanes.insert(*other, entry.clone());
            }
        }
        lanes.insert(lane, Entry { seq: op.seq, issued_ms: op.issued_ms.max(last), recorded, at_ms: now_ms });
        self.lanes = Arc::new(lanes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(client: u128, seq: u64, issued_ms: u64) -> OpId {
        OpId { client: ClientId(client), lane: 0, seq, issued_ms }
    }

    fn applied(seq: u64) -> Recorded {
        Recorded::Applied { token: Token { seq, ..Token::default() }, result: None }
    }

    #[test]
    fn a_retry_is_answered_what_was_recorded_and_an_older_one_is_superseded() {
        let mut table = OnceTable::default();
        table.record(&op(1, 5, 100), applied(1), 1_000).expect("room");
        assert_eq!(table.look(&op(1, 5, 100)), Verdict::Known(applied(1)));
        assert_eq!(table.look(&op(1, 4, 90)), Verdict::Superseded);
        assert_eq!(table.look(&op(1, 6, 110)), Verdict::New);
    }

    /// The entry is gone; whether the operation had been applied cannot be told, so it is not applied.
    #[test]
    fn a_forgotten_operation_is_too_old_and_never_new() {
        let mut table = OnceTable::default();
        table.record(&op(1, 1, 100), applied(1), 0).expect("room");
        table.record(&op(2, 1, 50), applied(2), AGE_MS_MAX + 1).expect("room");
        assert_eq!(table.look(&op(1, 1, 100)), Verdict::TooOld);
        assert_eq!(table.look(&op(3, 1, 99)), Verdict::TooOld, "clocks cause refusals only");
        assert_eq!(table.look(&op(3, 1, 101)), Verdict::New);
    }

    #[test]
    fn a_full_table_forgets_its_oldest_lane_unless_all_are_young() {
        let mut table = OnceTable::default();
        for client in 0..LANES_MAX as u128 {
            table.record(&op(client, 1, 100), applied(1), 1_000).expect("room");
        }
        assert_eq!(table.record(&op(999, 1, 200), applied(2), 1_500), Err(TableFull));
        table.record(&op(999, 1, 200), applied(2), 1_000 + YOUNG_MS).expect("the oldest goes");
        assert_eq!(table.len(), LANES_MAX);
        assert_eq!(table.look(&op(0, 1, 100)), Verdict::TooOld);
    }

    /// A clock that stepped back between two operations of a lane must not lower what is remembered of it.
    #[test]
    fn a_lane_remembers_its_latest_issue_time() {
        let mut table = OnceTable::default();
        table.record(&op(1, 1, 500), applied(1), 0).expect("room");
        table.record(&op(1, 2, 400), applied(2), 1).expect("room");
        table.record(&op(2, 1, 900), applied(3), AGE_MS_MAX + 10).expect("room");
        assert_eq!(table.look(&op(1, 1, 450)), Verdict::TooOld);
    }
}
