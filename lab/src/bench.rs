//! Measuring a store under load, and checking its answers on the way.
//!
//! **Promise.** Latencies are those a caller would have seen: in an open loop they count from the time an operation was meant to
//! begin, so that a stall is not hidden by the load generator's own waiting (coordinated omission). Throughput counts answered
//! operations only. Every answer to a read is checked; a store that answers fast and wrongly is found out.
//!
//! **Who takes part.** A [`Target`] is one worker's access to the store. [`load`] writes every key once, [`run()`] measures one
//! [`Plan`], both against the same [`Ledger`], which knows what was sent and acknowledged.
//!
//! ```text
//!   workload::Operations -> worker -> Target -> answer -> verify (Ledger) -> Tally
//!   pace (closed | open) ---^                     `----> History, if wanted
//! ```
//!
//! The generator is meant to share a machine with what it measures, so an operation costs it one small value, two clock reads, one
//! histogram slot and one atomic word.
//!
//! A compare-and-set expects what its worker knows last of the key, by token and by value in turn; a worker that knows nothing of the key
//! reads it first.
//!
//! **Deliberately missing.** Deletes, and writes with a context. Verification judges single reads; orders of several operations are
//! for a checker of the history.

mod client;
mod history;
mod known;
mod pace;
mod plan;
mod row;
mod run;
mod tally;
mod target;
mod verify;

pub use client::ClientTarget;
pub use history::{History, HistoryError};
pub(crate) use plan::loading_level;
pub use plan::{BenchLevel, Pace, Plan, Sharing};
pub use row::Row;
pub use run::{LoadError, Report, load, run};
pub use tally::{Tally, Verdict};
pub use target::{Answer, Ending, Evidence, Target};
pub use verify::{Ledger, Violation};

#[cfg(test)]
mod tests;
