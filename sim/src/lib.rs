//! Whole clusters in one thread, under virtual time, network and disk, from one seed.
//!
//! **Promise.** A run is a function of its [`options`]: the same seed and limits give the same trace, in any process on any machine.
//! Nodes and clients run the very code of `quorate-protocol` and `quorate-anti-entropy` that real ones run; only what drives it is
//! simulated. What the runs prove is judged by `quorate-checker`, which knows nothing of any of this.
//!
//! A run: *chaos, heal, liveness, durability scan and convergence, judgement* ([`run`]). Faults are a random subset per seed
//! ([`fault`]). A failing run is made small ([`shrink`]); many are added up ([`campaign`]). Single stories are told by scripts
//! ([`script`]), without any chance.
//!
//! Read in this order: [`options`] and [`fault`] (what a seed decides), `world` (what happens next), `node` and `client` (who acts),
//! `disk` and `network` (what can go wrong), `recorder` and [`judge`] (what is known in the end).
//!
//! **Not simulated.** The wire's encoding, tarpc, RocksDB, threads: other tests run the real ones. A disk's torn page is a shorter
//! log, because the log's checksums make it one.
//!
//! Sources: FoundationDB (SIGMOD'21) §4; TigerBeetle's VOPR; Groce et al., *Swarm Testing* (ISSTA'12).

pub mod campaign;
mod client;
mod collection;
mod disk;
pub mod fault;
pub mod judge;
mod message;
mod network;
mod node;
pub mod options;
mod random;
mod recorder;
pub mod run;
pub mod script;
pub mod shrink;
mod trace;
mod world;
