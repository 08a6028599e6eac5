//! A level as a comparison runs it: that of reads, that of writes, and whether each client has a session.

use std::fmt;
use std::str::FromStr;

use quorate_protocol::{Access, InvalidLevel, Level};

use crate::bench::loading_level;

/// Written `quorum`, `one/quorum` for reads and writes, and `+session` behind either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ComparedLevel {
    /// The level of reads.
    pub read: Level,
    /// The level of writes.
    pub write: Level,
    /// Whether each client has a session, which promises that it reads its own writes and never goes back.
    pub session: bool,
}

const SESSION: &str = "+session";

impl ComparedLevel {
    /// Refuses a level that reads or writes cannot have, or that is impossible with so many home replicas.
    ///
    /// # Errors
    /// [`InvalidLevel`].
    pub fn check(self, replicas: u8) -> Result<(), InvalidLevel> {
        self.read.needed(Access::Read, replicas)?;
        self.write.needed(Access::Write, replicas).map(drop)
    }

    /// The level at which keys are written before the measurement: that of writes, or `quorum` where it would be weaker, so that all
    /// levels begin with keys that everybody has.
    #[must_use]
    pub fn for_loading(self, replicas: u8) -> Level {
        loading_level(self.write, replicas)
    }

    /// The level of the last reads, which see all that there is: every home replica is asked, or the order of all operations where
    /// writes are in it. What replicas only learn afterwards of that order a read at `all` may miss.
    #[must_use]
    pub fn for_last_reads(self) -> Level {
        if self.write == Level::Linearizable { Level::Linearizable } else { Level::All }
    }

    /// How the history names the level of an operation.
    #[must_use]
    pub fn name_of(self, access: Access) -> String {
        let level = match access {
            Access::Read => self.read,
            Access::Write => self.write,
        };
        format!("{level}{}", if self.session { SESSION } else { "" })
    }
}

impl fmt::Display for ComparedLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.read)?;
        if self.read != self.write {
            write!(f, "/{}", self.write)?;
        }
        f.write_str(if self.session { SESSION } else { "" })
    }
}

impl FromStr for ComparedLevel {
    type Err = InvalidLevel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (levels, session) = text.strip_suffix(SESSION).map_or((text, false), |levels| (levels, true));
        let (read, write) = levels.split_once('/').unwrap_or((levels, levels));
        Ok(Self { read: read.parse()?, write: write.parse()?, session })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(text: &str) -> ComparedLevel {
        text.parse().expect(text)
    }

    #[test]
    fn a_level_is_written_as_it_is_read() {
        for text in ["one", "r2w2", "one/quorum", "linearizable", "quorum+session", "one/r1w3+session"] {
            assert_eq!(level(text).to_string(), text);
        }
        assert_eq!(level("quorum/quorum").to_string(), "quorum");
        for text in ["", "/", "one/", "/one", "one/two", "one+sessions", "one/quorum/all", "+session"] {
            assert!(text.parse::<ComparedLevel>().is_err(), "{text}");
        }
        assert_eq!(level("one/quorum+session").name_of(Access::Write), "quorum+session");
    }

    #[test]
    fn levels_that_cannot_be_are_refused() {
        for (text, possible) in [("any", false), ("one/any", true), ("r4w1", false), ("r2w2/r9w3", true), ("r2w2/r1w9", false)] {
            assert_eq!(level(text).check(3).is_ok(), possible, "{text}");
        }
    }

    #[test]
    fn keys_are_loaded_for_everybody_and_read_at_last_from_everybody() {
        let levels = |text: &str| (level(text).for_loading(3).to_string(), level(text).for_last_reads().to_string());
        let table = [("one", "quorum", "all"), ("quorum/one", "quorum", "all"), ("all", "all", "all")];
        for (text, loading, last) in table {
            assert_eq!(levels(text), (loading.to_owned(), last.to_owned()), "{text}");
        }
        assert_eq!(levels("one/linearizable"), ("linearizable".to_owned(), "linearizable".to_owned()));
    }
}
