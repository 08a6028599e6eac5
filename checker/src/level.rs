//! What an operation's level promises, as far as linearizability is concerned.
//!
//! A level is a text of the history. What follows a `+` (`quorum+session`) adds promises of other kinds and does not count here.

use crate::history::{History, Operation};

/// What a level promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// Nothing here: any level that is not named below.
    Weak,
    /// `quorum`, `all`: an acknowledged write is at a majority of the owners.
    Strict,
    /// `linearizable`, and an operation without level: a history that names none is judged by its whole.
    Linearizable,
}

impl Promise {
    /// What the level of this name promises.
    #[must_use]
    pub fn of_level(level: &str) -> Self {
        match level.split('+').next() {
            Some("linearizable") => Self::Linearizable,
            Some("quorum" | "all") => Self::Strict,
            _ => Self::Weak,
        }
    }

    /// What an operation promises.
    #[must_use]
    pub fn of(history: &History, operation: &Operation) -> Self {
        operation.level.map_or(Self::Linearizable, |level| Self::of_level(history.names.word_text(level)))
    }
}
