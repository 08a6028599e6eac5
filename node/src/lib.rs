//! One node: the tokio driver of the protocol cores, the RocksDB store, the server.
//!
//! **Promise.** [`serve`] opens the data directory, listens, and serves until told to stop. It decides nothing about
//! consistency: machines and transitions of `quorate-protocol` and `quorate-anti-entropy` do, and this crate carries out
//! what they say.
//!
//! ```text
//!                    accept.rs           coordinator/              quorate-protocol
//!   client -- kv --> service/kv -------> read, write, list ------> eventual::{Read, Write}
//!                                        chain/ ----------------> chain::{ChainRead, Proposer}
//!                                          | drive.rs <---------- effects
//!                                          v            \
//!                                   replica.rs (here)    peers/ (there) --> other nodes
//!                                          |
//!                                       store/  group commit, one synced write for all that wait
//! ```

mod accept;
mod clock;
mod coordinator;
mod counted;
mod fallback;
mod faults;
mod finisher;
mod handoff;
mod http;
mod identity;
mod metrics;
mod node;
mod peers;
mod replica;
mod server;
mod service;
pub mod store;
#[cfg(test)]
mod tests;
mod times;
mod topology;
mod vouching;
mod write_back;

pub use server::{ServeError, ServeOptions, Surroundings, serve, serve_in};
