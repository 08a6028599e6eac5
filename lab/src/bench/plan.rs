//! What to measure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use quorate_protocol::{Access, InvalidLevel, Level};

use crate::workload::Workload;

/// A level, with or without a session. Written `quorum`, `one+session`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BenchLevel {
    /// The level of every operation.
    pub level: Level,
    /// Whether each worker has a session, which promises that it reads its own writes.
    pub session: bool,
}

impl BenchLevel {
    const SESSION: &str = "+session";

    /// Whether a read that begins after an acknowledged write must show it, with so many home replicas: by overlapping quorums.
    #[must_use]
    pub fn overlaps(self, replicas: u8) -> bool {
        let needed = |access| self.level.needed(access, replicas).map(u16::from);
        match (needed(Access::Read), needed(Access::Write), self.level) {
            // A hint counts for a write at `any`, and overlaps with nothing.
            (_, _, Level::Any) => false,
            (Ok(read), Ok(write), _) => read + write > u16::from(replicas),
            _ => false,
        }
    }

    /// The level to load keys at, so that what reads are held to afterwards holds for the loaded values too: this level, or `quorum`
    /// where writes at this level would be weaker.
    #[must_use]
    pub fn for_loading(self, replicas: u8) -> Level {
        loading_level(self.level, replicas)
    }
}

/// The level to load keys at before writing at `write`: that, or `quorum` where it would be weaker, so that everybody has them.
pub(crate) fn loading_level(write: Level, replicas: u8) -> Level {
    let needed = |level: Level| level.needed(Access::Write, replicas).unwrap_or(0);
    if needed(write) >= needed(Level::Quorum) { write } else { Level::Quorum }
}

impl From<Level> for BenchLevel {
    fn from(level: Level) -> Self {
        Self { level, session: false }
    }
}

impl fmt::Display for BenchLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.level, if self.session { Self::SESSION } else { "" })
    }
}

impl FromStr for BenchLevel {
    type Err = InvalidLevel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (level, session) = text.strip_suffix(Self::SESSION).map_or((text, false), |level| (level, true));
        Ok(Self { level: level.parse()?, session })
    }
}

/// When an operation begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As soon as the worker's last one is over: latencies never include waiting, and a stalled store is asked less.
    Closed,
    /// At its time in an even schedule of so many operations a second. Latency counts from that time, also when all workers are
    /// still busy then: a stall is seen by everybody who would have come.
    Open {
        /// Operations a second, all workers together.
        rate: f64,
    },
}

/// Who works on which keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Everybody on all of them.
    #[default]
    Shared,
    /// Each worker on its own part of them, so that no two meet.
    Apart,
}

/// One measurement.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the workers do.
    pub workload: Workload,
    /// At which level.
    pub level: BenchLevel,
    /// Who works on which keys.
    pub sharing: Sharing,
    /// How fast.
    pub pace: Pace,
    /// Operations that begin in this time at the start are verified but not counted.
    pub warm_up: Duration,
    /// How long it is counted.
    pub duration: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_written_behind_its_level() {
        for text in ["quorum", "one+session", "r2w1+session"] {
            assert_eq!(text.parse::<BenchLevel>().expect("a level").to_string(), text);
        }
        for text in ["+session", "quorum+", "quorum+sessions", "session"] {
            assert!(text.parse::<BenchLevel>().is_err(), "{text}");
        }
    }

    #[test]
    fn quorums_overlap_when_they_are_together_more_than_all() {
        let overlaps = |text: &str, replicas| text.parse::<BenchLevel>().expect("a level").overlaps(replicas);
        for text in ["quorum", "all", "r2w2", "r1w3", "r3w1"] {
            assert!(overlaps(text, 3), "{text}");
        }
        for text in ["any", "one", "r1w2", "r2w1", "r4w4"] {
            assert!(!overlaps(text, 3), "{text}");
        }
        let loading = |text: &str| text.parse::<BenchLevel>().expect("a level").for_loading(3).to_string();
        assert_eq!(["one", "quorum", "r1w3", "r3w1", "any"].map(loading), ["quorum", "quorum", "r1w3", "quorum", "quorum"]);
        assert!(overlaps("one", 1) && overlaps("quorum", 5) && !overlaps("r2w2", 5) && !overlaps("any", 1));
    }
}
