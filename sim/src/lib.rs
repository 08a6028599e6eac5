//! Whole clusters in one thread, under virtual time, network and disk, from one seed.
//!
//! **Promise.** A run is a function of its [`options`]: the same seed and limits give the same trace, in any process on any machine.
//! Nodes and clients run the very code of `quorate-protocol` and `quorate-anti-entropy` that real ones run; what drives it is
//! simulated. What the runs prove is judged by `quorate-checker`, which knows nothing of any of this.
//!
//! A run: *chaos, heal, liveness, durability scan and convergence, judgement* ([`run`]). Faults are a random subset per seed
//! ([`fault`]). A failing run is made small ([`shrink`]); many are added up ([`campaign`]). Single stories are told by scripts
//! ([`script`]), without any chance.
//!
//! Read in this order: [`options`] and [`fault`] (what a seed decides), `world` (what happens next), `node` and `client` (who acts),
//! `disk` and `network` (what can go wrong), `recorder` and [`judge`] (what is known in the end).
//!
//! **Not simulated.** Other tests run the real ones, or nothing does:
//! - the wire's encoding, tarpc, RocksDB, threads. A disk's torn page is a shorter log, because the log's checksums make it one;
//! - monotonic clocks that differ: all nodes and clients share one, so the translation of deadlines and of the time by which a blind
//!   write must begin, on which decision 0007 rests, is not tested here (`rpc::clock` is, alone). Wall clocks do differ;
//! - vouching: a node whose disk was lost never gets the word of its peers and stays away. Who believes whom is this driver's own rule,
//!   simpler than the node's, so `dot-reused-after-disk-loss` shows that checkers notice and not that the node's rule holds;
//! - ring epochs with other homes: a node that lags behind has the same preference lists, so nobody but a fallback is ever a stranger,
//!   and no replica refuses a hint for good;
//! - writes acknowledged before they are synced in buckets that allow it (`fsync_before_ack = false`);
//! - the bound of hybrid clocks that a node reserves: a restarted one goes on from its wall clock. Versions are not ordered by stamps;
//! - reservations that wait for the disk: key epochs and what is known of peers are durable at once, together with all written before;
//! - the context that a refusal for too many siblings carries: clients read again;
//! - the limits of sizes, and queues that are full but for the `overload` fault.
//!
//! Sources: FoundationDB (SIGMOD'21) §4; TigerBeetle's VOPR; Groce et al., *Swarm Testing* (ISSTA'12).

pub mod campaign;
mod census;
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
