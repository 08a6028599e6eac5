//! Histories as text: one JSON object per line.
//!
//! [`read()`] and [`write()`] are inverse up to the order of members. A reader of somebody else's history is lenient in what it does not
//! need and strict in what it does: members that it does not know are ignored, a known member of another type is refused, and so is
//! a line that lacks what its operation needs. Nothing is guessed. An error names the line, the member, what was wanted and what
//! stood there.
//!
//! **Lines.** Blank lines are skipped. What a line is, one member decides:
//!
//! | member | line | how many |
//! |---|---|---|
//! | `header` | what the run was, an object of anything | at most one: two runs have two clocks, their lines do not mix |
//! | `replica` | what one replica held for one key at the end | any |
//! | neither | an operation | any, in any order |
//!
//! **An operation.**
//!
//! | member | what | wanted |
//! |---|---|---|
//! | `process` | whole number | always |
//! | `op` | `read`, `write`, `delete`, `cas` | always |
//! | `key` | text | always |
//! | `value` | text; for a read also null (absent) or a list (siblings; none or one of them mean the same as null and a text) | for a write, a cas, a read that is `ok` |
//! | `expect` | as the value of a read: all that had to be live | for a cas |
//! | `observed` | as the value of a read: all that was live | no; a cas that failed and lacks it says only that the value was not `expect` |
//! | `call` | nanoseconds of the recorder's clock | always |
//! | `due` | the same: when it was to begin | no |
//! | `return` | the same, not before `call`; null or left out if unknown | unless unknown |
//! | `outcome` | `ok`, `fail`, `unknown` | always |
//! | `level`, `op_id`, `node`, `token` | text | no |
//! | `asked`, `stale` | lists of text | no |
//! | `covers` | list of text: the values that a put's context covered | no |
//! | `shown` | list of text: the values that the answer had shown whose context a put was made with; none if it was to replace nothing | no; a blind put has none |
//! | `attempts` | whole number: how often it was sent again because an earlier sending might have been applied | no |
//! | `dots` | list of text: the versions that a put became, several if more than one try was applied | no |
//! | `refused` | true: a cas failed, and not because another value was there: nobody looked, or it was by token and only the version had changed | no |
//! | `update` | true: its client decided on this write by its last read of the key | no; where no operation of a history says it, any write after an own read may be one |
//!
//! A cas by token says as `expect` what was read with the token. A function that the server applies (an increment, an append) is
//! recorded as the cas it amounted to. `token` is the version that resulted, or was read; numbers joined by dots can be compared
//! ([`crate::tokens`]). `shown` needs `covers` to be of use ([`crate::causality`]).
//!
//! **A replica's final state.** `replica`, `key`, `versions` (a list of objects with `dot` and `value`, null for a tombstone), and
//! `digest` if there is one.

mod error;
mod line;
mod parse;
mod write;

pub use self::error::{Problem, ReadError};
pub use self::parse::{Reader, read, read_slice};
pub(crate) use self::write::OperationLine;
pub use self::write::{write, write_final, write_header, write_operation};
