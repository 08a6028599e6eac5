//! Judges what a store did, from the outside: histories in, verdicts with evidence out.
//!
//! Nothing here knows the store that made a history. Read [`history`] first: what an operation is and what its outcome means.
//!
//! - [`mod@format`]: histories as lines of JSON.
//! - [`check`] and [`verdict`]: is it linearizable? Exactly where values are unique, by [`search`] elsewhere.
//! - [`tokens`]: do versions only ever grow?
//! - [`overlap`], [`sessions`], [`siblings`], [`causality`], [`durability`], [`dots`], [`convergence`], [`once`]: what weaker levels promise.
//! - [`staleness`], [`gamma`]: how far from linearizable.
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
pub mod once;
pub mod overlap;
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
