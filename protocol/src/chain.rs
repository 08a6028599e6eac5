//! The linearizable chain of one key: a compare-and-set register without a leader, whose state is the key's whole sibling set.
//!
//! Read in this order: [`ballot`] (who may propose, and in which order), [`state`] (what is agreed on, and how operations change it),
//! [`once`] (why a retry is not applied twice), [`acceptor`] (what one replica promises and accepts).
//!
//! **The chain** is the sequence of states that were *chosen*: accepted at one ballot by a majority of the home replicas. Every state
//! that was chosen later has all earlier chosen ones among its ancestors, because a proposer extends the highest accepted state of a
//! majority, chosen or not.
//!
//! **Deliberately missing here.** The operations that run on it (the quorum read with synchronous repair, the round) and their place in
//! a key's record.
//!
//! Sources: Rystsov, *CASPaxos: Replicated State Machines without logs* (2018); Lamport, *Paxos Made Simple* (2001).

pub mod acceptor;
pub mod ballot;
pub mod once;
pub mod state;

pub use acceptor::{Accepted, ChainRecord};
pub use ballot::Ballot;
pub use state::{ChainState, Change, Expect, Function, Token};
