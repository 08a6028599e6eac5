//! Partitions: a cluster's slots in Q fixed, equal runs.
//!
//! A partition is the unit of everything that is larger than a key: preference lists, hash trees, hints, transfers and
//! what operators are shown. Q is chosen once, when the cluster is made; keys never move between partitions, only
//! partitions between nodes. A single slot is too small a unit (16384 of everything on every node), and one range per
//! virtual node, as in Dynamo's first strategy, ties how data is cut to where it lies.
//!
//! ```text
//!   slot        0 ............ 63 | 64 .......... 127 | ...... | 16320 ...... 16383        Q = 256: runs of 64 slots
//!   partition          p0         |        p1         |        |        p255
//! ```
//!
//! Sources: Dynamo §6.2, strategy 3 (Q equal-sized partitions).

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::slot::{SLOTS, Slot, slot_of};

/// One of a cluster's partitions. Written `p17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartitionId(pub u16);

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

/// How a cluster's slots are cut: a number of partitions, a power of two in `1..=SLOTS`. By default 256.
///
/// Choose at least 32 copies (partitions times replicas, over nodes) for every node that the cluster may grow to:
/// below that, a copy is so large a part of a node's load that load and movement get uneven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Partitions(u16);

impl Partitions {
    /// Checks and wraps a number of partitions.
    ///
    /// # Errors
    /// [`PartitionsError`] unless the number is a power of two and at most [`SLOTS`].
    pub fn new(count: u16) -> Result<Self, PartitionsError> {
        if count.is_power_of_two() && count <= SLOTS { Ok(Partitions(count)) } else { Err(PartitionsError { count }) }
    }

    /// How many partitions there are.
    pub fn count(self) -> u16 {
        self.0
    }

    /// All partitions, in order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = PartitionId> {
        (0..self.0).map(PartitionId)
    }

    /// Whether the cluster has such a partition.
    pub fn contains(self, partition: PartitionId) -> bool {
        partition.0 < self.0
    }

    /// The partition of a slot.
    pub fn of(self, slot: Slot) -> PartitionId {
        PartitionId(slot.number() / self.slots_each())
    }

    /// The partition of a key, by its slot.
    pub fn of_key(self, key: &[u8]) -> PartitionId {
        self.of(slot_of(key))
    }

    /// The slots of a partition: a run of `SLOTS / Q` numbers.
    ///
    /// # Panics
    /// If there is no such partition.
    pub fn slots(self, partition: PartitionId) -> Range<u16> {
        assert!(self.contains(partition), "{partition} is not one of {} partitions", self.0);
        let first = partition.0 * self.slots_each();
        first..first + self.slots_each()
    }

    fn slots_each(self) -> u16 {
        SLOTS / self.0
    }
}

impl Default for Partitions {
    fn default() -> Self {
        Partitions(256)
    }
}

impl fmt::Display for Partitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<u16> for Partitions {
    type Error = PartitionsError;

    fn try_from(count: u16) -> Result<Self, PartitionsError> {
        Partitions::new(count)
    }
}

impl From<Partitions> for u16 {
    fn from(partitions: Partitions) -> u16 {
        partitions.0
    }
}

/// The slots cannot be cut into this many equal runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the number of partitions is a power of two from 1 to {SLOTS}, not {count}")]
pub struct PartitionsError {
    /// The refused number.
    pub count: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_lies_in_the_run_of_its_partition() {
        for partitions in (0..=14).map(|bits| Partitions::new(1 << bits).expect("a power of two")) {
            for number in 0..SLOTS {
                let partition = partitions.of(Slot::new(number).expect("below SLOTS"));
                assert!(partitions.contains(partition));
                assert!(partitions.slots(partition).contains(&number));
            }
        }
    }

    #[test]
    fn runs_are_equal_and_consecutive() {
        let partitions = Partitions::default();
        let mut next = 0;
        for partition in partitions.iter() {
            let slots = partitions.slots(partition);
            assert_eq!(slots, next..next + 64);
            next = slots.end;
        }
        assert_eq!(next, SLOTS);
    }

    #[test]
    fn key_and_its_slot_agree() {
        let partitions = Partitions::default();
        assert_eq!(partitions.of_key(b"123456789"), PartitionId(12739 / 64));
        assert_eq!(partitions.of_key(b"foo"), PartitionId(12182 / 64));
    }

    #[test]
    fn only_powers_of_two_up_to_the_slots_are_accepted() {
        for count in [0, 3, 255, 16383, 16385, 32768, u16::MAX] {
            assert_eq!(Partitions::new(count), Err(PartitionsError { count }));
            assert!(serde_json::from_str::<Partitions>(&count.to_string()).is_err());
        }
        assert_eq!(Partitions::new(1).map(Partitions::count), Ok(1));
        assert_eq!(Partitions::new(SLOTS).map(Partitions::count), Ok(SLOTS));
    }
}
