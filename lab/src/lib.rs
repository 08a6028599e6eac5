//! Clusters of real processes, workloads and measurements: what demonstrations, benchmarks and tests have in common.
//!
//! | idea | module |
//! |---|---|
//! | a cluster of node processes on this machine, and what can be done to it | [`cluster`] |
//! | what clients do: keys, mixes, values that prove who wrote them | [`workload`] |
//! | measuring a store under load, and checking its answers | [`mod@bench`] |
//! | comparing levels under faults | [`compare`] |
//! | comparing with another store | [`rival`] |
//! | short guided runs that show what a level gives | [`story`] |
//! | being asked to stop | [`stop`] |
//!
//! Nothing here knows the command line, and nothing prints.

pub mod bench;
pub mod cluster;
pub mod compare;
mod history;
pub mod rival;
pub mod stop;
pub mod story;
pub mod workload;
