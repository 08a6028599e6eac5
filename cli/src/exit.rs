//! Exit codes: what a script may conclude from a command without reading its text.
//!
//! The codes tell *not applied* from *outcome unknown*, because only the first may be repeated without thought.

use std::process::ExitCode;

use serde::{Serialize, Serializer};

/// How a command ended. The numbers are part of the interface and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// The command did what it was asked to.
    Ok = 0,
    /// It failed in a way that has no code of its own.
    Failure = 1,
    /// The command line, a key, level, context, session or file is wrong. Nothing was sent.
    Usage = 2,
    /// The key has no value.
    NotFound = 3,
    /// A cas found another value than it expected.
    CasConflict = 4,
    /// The key has several values, and `--fail-on-siblings` or `--output raw` was given.
    Siblings = 5,
    /// Too few replicas could be reached for the level. The operation was not applied and will not be.
    Unavailable = 6,
    /// The operation may have been applied, or may be yet.
    Unknown = 7,
    /// A check found no answer within its limit.
    Undecided = 8,
    /// A check found that a promise was broken.
    CheckFailed = 9,
}

impl Exit {
    /// Every code, in order.
    pub const ALL: [Self; 10] = [
        Self::Ok,
        Self::Failure,
        Self::Usage,
        Self::NotFound,
        Self::CasConflict,
        Self::Siblings,
        Self::Unavailable,
        Self::Unknown,
        Self::Undecided,
        Self::CheckFailed,
    ];

    /// The codes that some command ends with today, as help and manual list them. The others keep their numbers until theirs is there.
    pub const IN_USE: [Self; 10] = [
        Self::Ok,
        Self::Failure,
        Self::Usage,
        Self::NotFound,
        Self::CasConflict,
        Self::Siblings,
        Self::Unavailable,
        Self::Unknown,
        Self::Undecided,
        Self::CheckFailed,
    ];

    /// The number that the process ends with.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// What the code means, as the manual says it.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failure => "failure, or stopped by a signal before the end",
            Self::Usage => "usage: wrong command line, key, level, context or file; nothing was sent",
            Self::NotFound => "key not found",
            Self::CasConflict => "cas conflict: something else was there than expected; nothing was changed",
            Self::Siblings => "several siblings (with --fail-on-siblings, or --output raw)",
            Self::Unavailable => "unavailable, and not applied",
            Self::Unknown => "outcome unknown",
            Self::Undecided => "undecided within the limit, or nothing to judge (check)",
            Self::CheckFailed => "a check failed: a promise was broken, or a simulation did not try all that it should have",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl Serialize for Exit {
    /// As its number.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_interface() {
        let numbers = Exit::ALL.map(Exit::code);
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!((Exit::NotFound.code(), Exit::Unavailable.code(), Exit::Unknown.code()), (3, 6, 7));
    }
}
