//! Which home replicas must take part, as types that prove what they promise.
//!
//! - [`StrictQuorum`]: a majority or all of the home replicas, at one ring epoch. Any two overlap in a home replica.
//! - [`PlainQuorum`]: a number of home replicas, whatever their epoch. Two need not overlap.
//! - [`SloppyQuorum`]: one durable copy anywhere, a hint included. It overlaps with nothing.
//!
//! Code that rests on overlap takes a `StrictQuorum`; passing one of the others does not compile:
//!
//! ```compile_fail
//! # use quorate_protocol::quorum::{SloppyQuorum, StrictQuorum};
//! # use quorate_ring::PreferenceList;
//! fn rests_on_overlap(quorum: StrictQuorum) {}
//! fn sloppy(homes: PreferenceList) {
//!     rests_on_overlap(SloppyQuorum::new(homes));
//! }
//! ```
//!
//! Sources: Dynamo (SOSP'07) §4.5 and §4.6; Gifford, *Weighted Voting for Replicated Data* (1979).

use quorate_ring::{PreferenceList, RingEpoch};

use crate::defect::Defect;
use crate::level::{Access, InvalidLevel, Level, majority};
use crate::options::Options;

/// A majority or all of the home replicas, each acting at one ring epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StrictQuorum {
    homes: PreferenceList,
    needed: u8,
    epoch: RingEpoch,
}

impl StrictQuorum {
    /// More than half of the home replicas.
    #[must_use]
    pub fn majority(homes: PreferenceList, epoch: RingEpoch, options: Options) -> Self {
        let replicas = count(&homes);
        let needed = if options.has(Defect::MajorityRoundedDown) { (replicas / 2).max(1) } else { majority(replicas) };
        Self { homes, needed, epoch }
    }

    /// Every home replica.
    #[must_use]
    pub fn all(homes: PreferenceList, epoch: RingEpoch) -> Self {
        let needed = count(&homes);
        Self { homes, needed, epoch }
    }
}

/// A number of home replicas.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PlainQuorum {
    homes: PreferenceList,
    needed: u8,
}

/// One durable copy on any node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SloppyQuorum {
    homes: PreferenceList,
}

impl SloppyQuorum {
    /// A quorum that one copy meets, kept by a home replica or as a hint for one.
    #[must_use]
    pub fn new(homes: PreferenceList) -> Self {
        Self { homes }
    }
}

/// Who must answer a read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReadQuorum {
    /// At `quorum`, `all` and `linearizable`.
    Strict(StrictQuorum),
    /// At `one` and `rXwY`.
    Plain(PlainQuorum),
}

/// Who must store a write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WriteQuorum {
    /// At `quorum`, `all` and `linearizable`.
    Strict(StrictQuorum),
    /// At `one` and `rXwY`.
    Plain(PlainQuorum),
    /// At `any`.
    Sloppy(SloppyQuorum),
}

impl ReadQuorum {
    /// The quorum of a read at `level`.
    ///
    /// # Errors
    /// [`InvalidLevel`] if the level does not exist for reads or for this many home replicas.
    pub fn of(level: Level, homes: PreferenceList, epoch: RingEpoch, options: Options) -> Result<Self, InvalidLevel> {
        let needed = level.needed(Access::Read, count(&homes))?;
        Ok(match level {
            Level::Quorum | Level::Linearizable => Self::Strict(StrictQuorum::majority(homes, epoch, options)),
            Level::All => Self::Strict(StrictQuorum::all(homes, epoch)),
            Level::Any | Level::One | Level::Counts { .. } => Self::Plain(PlainQuorum { homes, needed }),
        })
    }

    /// Distinct home replicas that must answer.
    #[must_use]
    pub fn needed(&self) -> u8 {
        match self {
            Self::Strict(quorum) => quorum.needed,
            Self::Plain(quorum) => quorum.needed,
        }
    }

    /// The home replicas, in ring order.
    #[must_use]
    pub fn homes(&self) -> &PreferenceList {
        match self {
            Self::Strict(quorum) => &quorum.homes,
            Self::Plain(quorum) => &quorum.homes,
        }
    }

    /// The ring epoch that replicas must act at, if the quorum is strict.
    #[must_use]
    pub fn strict_epoch(&self) -> Option<RingEpoch> {
        match self {
            Self::Strict(quorum) => Some(quorum.epoch),
            Self::Plain(_) => None,
        }
    }
}

impl WriteQuorum {
    /// The quorum of a write at `level`.
    ///
    /// # Errors
    /// [`InvalidLevel`] if the level does not exist for this many home replicas.
    pub fn of(level: Level, homes: PreferenceList, epoch: RingEpoch, options: Options) -> Result<Self, InvalidLevel> {
        let needed = level.needed(Access::Write, count(&homes))?;
        Ok(match level {
            Level::Quorum | Level::Linearizable => Self::Strict(StrictQuorum::majority(homes, epoch, options)),
            Level::All => Self::Strict(StrictQuorum::all(homes, epoch)),
            Level::One | Level::Counts { .. } => Self::Plain(PlainQuorum { homes, needed }),
            Level::Any => Self::Sloppy(SloppyQuorum::new(homes)),
        })
    }

    /// Distinct copies that must be durable.
    #[must_use]
    pub fn needed(&self) -> u8 {
        match self {
            Self::Strict(quorum) => quorum.needed,
            Self::Plain(quorum) => quorum.needed,
            Self::Sloppy(_) => 1,
        }
    }

    /// The home replicas, in ring order.
    #[must_use]
    pub fn homes(&self) -> &PreferenceList {
        match self {
            Self::Strict(quorum) => &quorum.homes,
            Self::Plain(quorum) => &quorum.homes,
            Self::Sloppy(quorum) => &quorum.homes,
        }
    }

    /// The ring epoch that replicas must act at, if the quorum is strict.
    #[must_use]
    pub fn strict_epoch(&self) -> Option<RingEpoch> {
        match self {
            Self::Strict(quorum) => Some(quorum.epoch),
            Self::Plain(_) | Self::Sloppy(_) => None,
        }
    }

    /// True only at `any`: a durable hint counts.
    #[must_use]
    pub fn counts_hints(&self) -> bool {
        matches!(self, Self::Sloppy(_))
    }
}

fn count(homes: &PreferenceList) -> u8 {
    u8::try_from(homes.len()).expect("a preference list holds at most REPLICAS_MAX nodes")
}

#[cfg(test)]
mod tests {
    use quorate_ring::NodeId;

    use super::*;

    #[test]
    fn two_quorums_need_not_overlap_with_the_bug_majority_rounded_down() {
        for n in 1..=7u8 {
            let homes = PreferenceList::new((1..=n).map(|node| NodeId(node.into())).collect::<Vec<_>>()).expect("distinct nodes");
            let needed = |defect| {
                let options = Options { defect, ..Options::default() };
                ReadQuorum::of(Level::Quorum, homes.clone(), RingEpoch(1), options).expect("a read level").needed()
            };
            assert!(2 * needed(None) > n);
            assert!(n == 1 || 2 * needed(Some(Defect::MajorityRoundedDown)) <= n);
        }
    }
}
