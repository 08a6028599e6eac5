//! The Rust client of a Quorate cluster.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use quorate_client::{Client, Level};
//!
//! let kv = Client::connect("127.0.0.1:7400,127.0.0.1:7401").await?;
//! kv.put("cart:7", "milk").level(Level::Quorum).await?;
//! let cart = kv.get("cart:7").await?.single()?;
//! assert_eq!(cart.as_deref(), Some(&b"milk"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! **Promise.** Every operation ends by its total deadline, says what it reached, and if it failed, whether it may have happened
//! all the same. A write is never applied twice unseen because the client sent it twice: what a retry cannot rule out stays visible
//! as a sibling.
//!
//! **Who takes part.** The machine [`quorate_protocol::session::attempts`] decides about coordinators and retries; this crate
//! connects, sends, keeps time and remembers:
//!
//! ```text
//!  get, write, change, fate,   operations as builders: `.await` sends them
//!  scan, typed
//!  operation                   checks, session's turn, routing, the error at the end
//!  driver                      one operation's sendings and timers, as the machine says
//!  routing, health             which coordinator first
//!  link                        one connection per node, made when needed, watched when it failed
//!  topology, client, builder   what is known of the cluster, swapped as a whole
//! ```
//!
//! **Deliberately missing.** Encryption, and sending one operation to two coordinators at once: a second one is asked only after
//! the first was silent, because a retried write costs its coordinator a read.

#[cfg(feature = "blocking")]
pub mod blocking;
mod bucket;
mod builder;
mod change;
mod client;
mod clock;
mod context;
mod driver;
mod error;
mod fate;
mod get;
mod health;
mod key_text;
mod link;
mod operation;
mod routing;
mod scan;
mod session;
mod token;
mod topology;
mod typed;
mod write;

pub use quorate_protocol::outcome::{Outcome, Reason, Receipt, ReplicaReport, ReplicaStatus};
pub use quorate_protocol::session::attempts::AttemptOptions;
pub use quorate_protocol::{ClientId, Dot, Level, OpId, OpIdTextError};
pub use quorate_ring::NodeId;
pub use quorate_rpc::kv::{BucketInfo, NotAppliedWhy, Sibling, Status, Topology, UnknownWhy};

pub use bucket::Bucket;
pub use builder::ClientBuilder;
pub use change::{Cas, Change, Changed, Compare, Current, Expect, Expecting, InFull};
pub use client::Client;
pub use clock::DEADLINE_MAX;
pub use context::{Context, ContextTextError};
pub use error::{ConnectError, Error, FailedSeed, Operation, SeedError, Subject, Unreached, Verb};
pub use fate::{AskFate, Fate};
pub use get::{Conflict, Get, Read};
pub use key_text::KeyText;
pub use link::LinkError;
pub use scan::{Items, Keys, SCAN_CONCURRENCY_MAX, Scan};
pub use session::{LineProblem, SESSION_KEYS_MAX, Session, SessionTextError};
pub use token::{Token, TokenTextError};
pub use topology::InvalidTopology;
pub use typed::{JsonBucket, TypedError, TypedRead, UPDATE_TRIES_MAX, Updated};
pub use write::{Write, Written};
