//! Judges what a store did, from the outside: histories in, verdicts with evidence out.
//!
//! Nothing here knows the store that made a history. Read [`history`] first: what an operation is and what its outcome means.
//!
//! - [`mod@format`]: histories as lines of JSON.
//! - [`check`] and [`verdict`]: is it linearizable? Exactly where values are unique, by [`search`] elsewhere.
//! - [`tokens`]: do versions only ever grow?
//! - [`overlap`], [`sessions`], [`siblings`], [`causality`], [`durability`], [`dots`], [`convergence`], [`once`]: what weaker levels promise.
//! - [`promises`]: all of these, each operation held to its own level.
//! - [`staleness`], [`gamma`]: how far from linearizable.
//! - [`prediction`]: how far it was to be expected, from the delays of messages.
//! - [`mod@measure`]: all that is to be said of one run, as data.
//! - [`timeline`]: a few operations, drawn.

mod by_key;
pub mod causality;
pub mod convergence;
pub mod dots;
pub mod durability;
pub mod finding;
pub mod format;
pub mod gamma;
pub mod history;
pub mod level;
mod lineage;
pub mod measure;
pub mod once;
pub mod overlap;
pub mod prediction;
pub mod promises;
mod register;
pub mod search;
pub mod sessions;
pub mod siblings;
pub mod specification;
pub mod staleness;
#[cfg(test)]
mod testing;
pub mod timeline;
pub mod tokens;
pub mod verdict;

pub use verdict::{Limits, Overall, Report, Scope, check, check_promises, check_with};
