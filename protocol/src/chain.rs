//! The linearizable chain of one key: a compare-and-set register without a leader, whose state is the key's whole sibling set.
//!
//! Read in this order: [`ballot`] (who may propose, and in which order), [`state`] (what is agreed on, and how operations change it),
//! [`once`] (why a retry is not applied twice), [`acceptor`], [`message`] and [`replica`] (what one replica promises, accepts and says),
//! [`read`] (a linearizable read: one round trip, or two with repair), [`operation`] and [`proposer`] (everything that changes the key).
//!
//! **The chain** is the sequence of states that were *chosen*: accepted at one ballot by a majority of the home replicas. Every state
//! that was chosen later has all earlier chosen ones among its ancestors, because a proposer extends the highest accepted state of a
//! majority, chosen or not.
//!
//! Sources: Rystsov, *CASPaxos: Replicated State Machines without logs* (2018); Lamport, *Paxos Made Simple* (2001).

pub mod acceptor;
mod backoff;
pub mod ballot;
pub mod message;
pub mod once;
pub mod operation;
pub mod proposer;
pub mod read;
pub mod replica;
pub mod state;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod timers;
pub mod volatile;

pub use acceptor::{Accepted, ChainRecord};
pub use ballot::{Ballot, Ballots};
pub use message::{ChainReply, ChainRequest};
pub use state::{ChainState, Change, Expect, Function, Token};
