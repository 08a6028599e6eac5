//! The eventual mode: what a coordinator does with reads and writes that need no consensus.
//!
//! - [`mod@write`]: give the write a dot, spread it, answer when the level is met, keep hints for those that missed it;
//! - [`read`]: ask, merge, answer, and repair who was stale, before the answer at strict levels and behind it otherwise;
//! - [`repair`]: who is stale and what to send, as a value;
//! - [`route`]: who coordinates a write;
//! - [`report`]: what became of every home replica, for receipts and failures.
//!
//! Sources: Dynamo (SOSP'07) §4.5 to §4.7; Riak KV; DDIA chapter 5, "Leaderless Replication".

pub mod read;
pub mod repair;
pub mod report;
pub mod route;
pub mod write;

#[cfg(test)]
mod testing;
