//! What an operation's level promises.
//!
//! A level is a text of the history. What follows a `+` (`quorum+session`) adds promises of other kinds: [`split_session`] takes it off.
//! A level that is not ours counts no copies and promises nothing.

use crate::history::{Action, History, Operation};

/// What a level promises, as far as linearizability is concerned.
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

/// Whether an operation reads or writes; a level may count differently for the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It returns what replicas hold.
    Read,
    /// It makes them hold something new, or would.
    Write,
}

impl Access {
    /// That of an operation.
    #[must_use]
    pub fn of(operation: &Operation) -> Self {
        match operation.action {
            Action::Read { .. } => Self::Read,
            Action::Write { .. } | Action::Delete | Action::Cas { .. } | Action::CasSiblings(_) => Self::Write,
        }
    }
}

/// A level without `+session`, and whether it had that.
#[must_use]
pub fn split_session(level: &str) -> (&str, bool) {
    level.strip_suffix("+session").map_or((level, false), |level| (level, true))
}

/// Home replicas that a level, without `+session`, counts for an access, of `replicas` in all; `None` if the level is not ours, or
/// impossible with so many. A hint counts at `any`, and answers no read: such a write is at no home replica for certain.
#[must_use]
pub fn copies(level: &str, access: Access, replicas: u8) -> Option<u8> {
    let copies = match level {
        "any" => return None,
        "one" => 1,
        "quorum" | "linearizable" => majority(replicas),
        "all" => replicas,
        other => {
            let (reads, writes) = counts(other)?;
            if access == Access::Read { reads } else { writes }
        }
    };
    (1..=replicas).contains(&copies).then_some(copies)
}

/// Whether a level, without `+session`, is an explicit count (`r2w1`): what it promises depends on the number of home replicas.
#[must_use]
pub fn is_count(level: &str) -> bool {
    counts(level).is_some()
}

/// The counts of `rXwY`, for reads and for writes.
fn counts(level: &str) -> Option<(u8, u8)> {
    let (reads, writes) = level.strip_prefix('r')?.split_once('w')?;
    Some((count(reads)?, count(writes)?))
}

/// The least number of replicas of which any two sets overlap.
fn majority(replicas: u8) -> u8 {
    replicas / 2 + 1
}

/// Decimal digits without sign and leading zero: a level has one spelling.
fn count(digits: &str) -> Option<u8> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits.len() == 1 || !digits.starts_with('0'));
    if plain { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_count_as_their_names_say() {
        let table = [
            ("any", None, None),
            ("one", Some(1), Some(1)),
            ("quorum", Some(2), Some(2)),
            ("all", Some(3), Some(3)),
            ("linearizable", Some(2), Some(2)),
            ("r1w3", Some(1), Some(3)),
            ("r4w0", None, None),
            ("r01w1", None, None),
            ("r+1w1", None, None),
            ("rw", None, None),
            ("eventual", None, None),
        ];
        for (level, read, write) in table {
            assert_eq!((copies(level, Access::Read, 3), copies(level, Access::Write, 3)), (read, write), "{level}");
        }
        assert_eq!(["r2w2", "one", "any", "eventual"].map(is_count), [true, false, false, false]);
        assert_eq!((split_session("one+session"), split_session("one")), (("one", true), ("one", false)));
    }
}
