//! Every order in which messages can arrive, tried: the cores of the linearizable mode in stateright.
//!
//! **Promise.** What is explored is what a node runs: the records and their transitions, the proposer, the linearizable read, the
//! eventual read and write. Only their driver is another one. For each configuration every reachable state is visited, and all rules
//! hold in each; their number is asserted, so that no change of the protocol goes by unseen. With each planted bug some rule is broken.
//!
//! Read in this order: `scenario` (what is explored), `world` (the network, and which reductions it takes), `coordinator` (the driver),
//! `ledger` and `history` (the rules), `chain` (the model), `configurations`, `defects`.
//!
//! **Deliberately missing.** Purge and transfer between epochs, which do not exist yet; the finisher, which is a read that nobody waits
//! for; forgetting in the table of operations; disk faults beyond a lost promise. `docs/model-checking.md` has all results.
//!
//! Sources: Nadal, stateright; Lamport, *Paxos Made Simple* (2001); Herlihy and Wing, *Linearizability* (1990).

mod chain;
mod configurations;
mod coordinator;
mod defects;
mod history;
mod ledger;
mod scenario;
mod shared;
mod world;
