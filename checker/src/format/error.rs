//! What is wrong with a history, and where.

use std::io;

/// A history could not be read. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The source failed.
    #[error("cannot read line {line}")]
    Source {
        /// The line that was being read, counted from 1.
        line: u64,
        /// What the source said.
        source: io::Error,
    },
    /// A line is not one of a history.
    #[error("line {line}: {problem}")]
    Line {
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        #[source]
        problem: Problem,
    },
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It is not UTF-8.
    #[error("not UTF-8 after {valid_bytes} bytes")]
    NotText {
        /// So much of the line is fine.
        valid_bytes: usize,
    },
    /// It is not one JSON object.
    #[error("column {column}: not a JSON object")]
    NotJson {
        /// Where reading stopped, in bytes counted from 1.
        column: usize,
        /// What was wrong there.
        source: serde_json::Error,
    },
    /// A member has another type or value than it may have.
    #[error("`{member}` must be {wanted}, not {found}")]
    Mistyped {
        /// The member; inner members after a dot.
        member: &'static str,
        /// What may stand there.
        wanted: &'static str,
        /// What kind of thing stands there.
        found: &'static str,
    },
    /// A member is wanted and is not there.
    #[error("`{member}` is missing: {wanted}")]
    Missing {
        /// The member.
        member: &'static str,
        /// What should stand there, and why.
        wanted: &'static str,
    },
    /// An operation returned before it was called.
    #[error("`return` is {returned}, before `call`, which is {call}")]
    ReturnBeforeCall {
        /// When it was called.
        call: u64,
        /// When it returned.
        returned: u64,
    },
    /// An operation of unknown outcome returned.
    #[error("`return` must be null for an unknown outcome, not {returned}")]
    UnknownReturned {
        /// When it returned.
        returned: u64,
    },
    /// There was a header before.
    #[error("a second `header`: two runs have two clocks and are two histories")]
    SecondHeader,
}
