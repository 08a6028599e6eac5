//! Consistency levels, as users name them, and the counts they stand for.
//!
//! **Promise.** A level means the same and is spelled the same everywhere: here, on the command line, in the
//! configuration, in metrics and in reports. A level is never silently lowered; what cannot be reached is refused.
//!
//! | level | read | write |
//! |---|---|---|
//! | `any` | - | 1 durable copy; a hint on a fallback node counts |
//! | `one` | 1 home replica | 1 home replica |
//! | `quorum` | majority of home replicas | majority of home replicas |
//! | `all` | every home replica | every home replica |
//! | `rXwY` | X home replicas | Y home replicas |
//! | `linearizable` | majority of home replicas, by consensus | majority of home replicas, by consensus |
//!
//! `quorum`, `all` and `linearizable` are *strict*: their replicas answer only at the current ring epoch, hints never count, and a read
//! repairs before it answers. `rXwY` is never strict, whatever X and Y are: it is the plain Dynamo quorum of DDIA's
//! figure 9-6, kept so that people can watch what it does not give.
//!
//! Sources: Dynamo (SOSP'07) §4.5; DDIA chapters 5 and 9.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How many replicas must take part before an operation is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// Writes only: one durable copy anywhere, a hint on a fallback node included.
    Any,
    /// One home replica.
    One,
    /// A majority of the home replicas.
    Quorum,
    /// Every home replica.
    All,
    /// Explicit counts of home replicas: `r` for reads, `w` for writes.
    Counts {
        /// Home replicas that must answer a read.
        r: u8,
        /// Home replicas that must store a write.
        w: u8,
    },
    /// In one order that everybody agrees on and that keeps to real time.
    Linearizable,
}

/// Whether an operation reads or writes; some levels exist for one of them only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// The operation returns what replicas hold.
    Read,
    /// The operation makes replicas hold something new.
    Write,
}

/// Why a level cannot be used for an operation on a bucket. Nothing was sent to any replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum InvalidLevel {
    /// The text names no level.
    #[error("{text:?} is not a level; write any, one, quorum, all, linearizable or rXwY such as r2w1")]
    Unknown {
        /// What was written.
        text: String,
    },
    /// `any` was asked of a read.
    #[error("level any is for writes only: a hint answers no read; read at one")]
    WriteOnly,
    /// An explicit count is zero or above the number of home replicas.
    #[error("level {level} is impossible: each of its counts is from 1 to {replicas}, the home replicas per key in the bucket")]
    Impossible {
        /// The level that was asked for.
        level: Level,
        /// Home replicas per key in the bucket.
        replicas: u8,
    },
}

impl Level {
    /// True for levels whose replicas answer only at the current ring epoch and whose reads repair before they answer.
    pub fn is_strict(self) -> bool {
        matches!(self, Self::Quorum | Self::All | Self::Linearizable)
    }

    /// Number of distinct home replicas that `access` needs, out of `replicas`.
    ///
    /// For `any` it is 1: one home replica, or a durable hint in its stead.
    ///
    /// # Errors
    /// [`InvalidLevel`] when the level does not exist for this access or this number of replicas.
    pub fn needed(self, access: Access, replicas: u8) -> Result<u8, InvalidLevel> {
        let count = match (self, access) {
            (Self::Any, Access::Read) => return Err(InvalidLevel::WriteOnly),
            (Self::Any | Self::One, _) => 1,
            (Self::Quorum | Self::Linearizable, _) => majority(replicas),
            (Self::All, _) => replicas,
            (Self::Counts { r, .. }, Access::Read) => r,
            (Self::Counts { w, .. }, Access::Write) => w,
        };
        if count == 0 || count > replicas {
            return Err(InvalidLevel::Impossible { level: self, replicas });
        }
        Ok(count)
    }

    /// The honest sentence that help, docs and reports print for this level, with `replicas` home replicas per key.
    pub fn describe(self, replicas: u8) -> String {
        let majority = majority(replicas);
        match self {
            Self::Any => "a write is acknowledged once one node has a durable copy, even a hint on a node that does not own the key; \
                 a read at any level may miss it until the hint is delivered"
                .to_owned(),
            Self::One => format!(
                "1 of {replicas} home replicas answers: reads may be stale and may go backwards, \
                 a write survives only as long as that one replica until it has spread"
            ),
            Self::Quorum => format!(
                "{majority} of {replicas} home replicas answer: a read sees every acknowledged quorum write, or what replaced it, and repairs \
                 before it answers, so reads never go backwards; concurrent writes are kept as siblings"
            ),
            Self::All => format!(
                "all {replicas} home replicas answer: as quorum, and every replica holds the write when it is acknowledged; \
                 one unreachable replica makes the operation fail"
            ),
            Self::Linearizable => format!(
                "{majority} of {replicas} home replicas agree by consensus: all linearizable operations on a key happen in one order that keeps \
                 to real time, as if there were one copy; eventual writes enter it at one point each and are never lost silently"
            ),
            Self::Counts { r, w } => format!(
                "{r} of {replicas} home replicas answer a read and {w} a write, repaired behind the answer: {}",
                if u16::from(r) + u16::from(w) > u16::from(replicas) {
                    "a read that begins after an acknowledgement sees that write or what replaced it, but two reads may still disagree in order"
                } else {
                    "a read may miss an acknowledged write"
                }
            ),
        }
    }
}

/// The least number of replicas of which any two sets overlap: floor(n / 2) + 1.
pub fn majority(replicas: u8) -> u8 {
    replicas / 2 + 1
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::One => f.write_str("one"),
            Self::Quorum => f.write_str("quorum"),
            Self::All => f.write_str("all"),
            Self::Counts { r, w } => write!(f, "r{r}w{w}"),
            Self::Linearizable => f.write_str("linearizable"),
        }
    }
}

impl FromStr for Level {
    type Err = InvalidLevel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || InvalidLevel::Unknown { text: text.to_owned() };
        match text {
            "any" => return Ok(Self::Any),
            "one" => return Ok(Self::One),
            "quorum" => return Ok(Self::Quorum),
            "all" => return Ok(Self::All),
            "linearizable" => return Ok(Self::Linearizable),
            _ => {}
        }
        let (r, w) = text.strip_prefix('r').and_then(|rest| rest.split_once('w')).ok_or_else(unknown)?;
        match (count(r), count(w)) {
            (Some(r), Some(w)) => Ok(Self::Counts { r, w }),
            _ => Err(unknown()),
        }
    }
}

/// A count as `rXwY` spells it: decimal digits only, no sign, no leading zero, so that a level has one spelling.
fn count(digits: &str) -> Option<u8> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && (digits.len() == 1 || !digits.starts_with('0'));
    if plain { digits.parse().ok() } else { None }
}

impl Serialize for Level {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_is_spelled_one_way() {
        for text in ["any", "one", "quorum", "all", "linearizable", "r1w1", "r2w1", "r10w255"] {
            let level: Level = text.parse().expect("a level");
            assert_eq!(level.to_string(), text);
        }
        for text in ["", "Quorum", "two", "r2", "w1", "r2w", "rw", "r2w-1", "r+2w1", "r02w1", "r2w256", "r2w1 "] {
            assert!(text.parse::<Level>().is_err(), "{text:?} must be refused");
        }
    }

    #[test]
    fn counts_follow_the_table() {
        assert_eq!(Level::Quorum.needed(Access::Write, 3), Ok(2));
        assert_eq!(Level::Quorum.needed(Access::Write, 4), Ok(3));
        assert_eq!(Level::All.needed(Access::Read, 5), Ok(5));
        assert_eq!(Level::Any.needed(Access::Read, 3), Err(InvalidLevel::WriteOnly));
        let level = Level::Counts { r: 5, w: 5 };
        assert_eq!(level.needed(Access::Read, 3), Err(InvalidLevel::Impossible { level, replicas: 3 }));
        let level = Level::Counts { r: 0, w: 1 };
        assert!(level.needed(Access::Read, 3).is_err() && level.needed(Access::Write, 3).is_ok());
    }

    #[test]
    fn explicit_counts_are_never_strict() {
        assert!(Level::Quorum.is_strict() && Level::All.is_strict());
        assert!(!Level::Counts { r: 3, w: 3 }.is_strict() && !Level::One.is_strict() && !Level::Any.is_strict());
    }

    #[test]
    fn two_majorities_overlap() {
        for n in 1..=254u8 {
            assert!(u16::from(majority(n)) * 2 > u16::from(n));
        }
    }
}
