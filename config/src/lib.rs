//! The configuration of a node, as typed and validated values.
//!
//! **Promise.** A [`Config`] that exists is complete and consistent: every key has a value of its type and range, and no
//! two contradict each other. A text that cannot become one is refused with *all* its errors, each with file, line and
//! column (or the variable or argument) and what to write instead. Nothing is ignored: an unknown key is an error.
//!
//! **Who takes part.** The binary gathers [`Sources`] (it reads environment and arguments; [`SourceFile::read`] reads the
//! file, which is the only I/O here) and hands the resulting [`Config`] to the node.
//!
//! ```text
//!   file  <  QUORATE__SECTION__KEY  <  --set section.key=value        layer.rs: one tree, every value with its origin
//!                        |
//!              Cluster::read, Node::read ..                           reader.rs: each key named once, all errors kept
//!                        |
//!        Config { cluster, node, store, .. }  or  ConfigErrors        effective.rs: shown with origins
//! ```
//!
//! **Invariants**
//! - Each key is named in one place, the `read` function of its section; valid keys, suggestions and `config show` follow
//!   from it. The reference file `docs/configuration.toml` is held against it by a test.
//! - A value written by the user is never changed silently: outside its range it is refused.
//! - A secret is in no error, in no rendered text, and in no `Debug` of either; only [`Sources`] hold it as written.
//!
//! **Deliberately missing.** Facts of the protocol (key and value sizes, slots) are not configurable; fault injection is
//! a flag of the server, so that no file can leave it switched on.

mod address;
mod bucket;
mod cluster;
mod config;
mod coordination;
mod effective;
mod error;
mod hints;
mod layer;
mod log;
mod node;
mod origin;
mod peer;
mod reader;
mod setting;
mod store;
mod warning;

pub use address::{Address, ClusterId, InvalidAddress, InvalidClusterId, Secret};
pub use bucket::{BucketName, BucketProperties, InvalidBucketName};
pub use bytesize::ByteSize;
pub use cluster::{Cluster, ClusterNode};
pub use config::Config;
pub use coordination::Coordination;
pub use error::{ConfigError, ConfigErrors, Found, Problem, ReadError};
pub use hints::Hints;
pub use layer::{ENVIRONMENT_PREFIX, Sources};
pub use log::{InvalidLogFilter, InvalidLogFormat, Log, LogFilter, LogFormat};
pub use node::Node;
pub use origin::{Origin, Place, SourceFile};
pub use peer::Peer;
pub use store::Store;
pub use warning::Warning;
