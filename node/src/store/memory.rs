//! A disk that is memory, for nodes in a simulated network.
//!
//! **Promise.** It keeps what was written to it from one store to the next, as a disk does from one process to the next, for as long as
//! anybody holds it. Nothing of it touches the file system, and a sync costs nothing.
//!
//! The database is RocksDB all the same, on its own environment in memory: everything above it is what runs on a real disk. Only who
//! commits differs: the callers, in place ([`super::Store::open_in_memory`]), since threads do not follow a simulation's clock.
//!
//! **Deliberately missing.** Damage, a full disk, a crash that loses what was not synced: see the tests on real directories, and the
//! simulator.

use std::path::Path;

use rocksdb::Env;

use super::directory::fresh_nonce;
use super::engine::Engine;
use super::node_record::NodeRecord;
use super::options::StoreOptions;

/// Where the database is on a disk in memory.
pub(super) const PATH: &str = "/memory";

/// A disk in memory. Clones are the same disk.
#[derive(Clone)]
pub struct MemoryDisk(Env);

impl MemoryDisk {
    /// An empty disk.
    ///
    /// # Panics
    /// If RocksDB was built without its environment in memory.
    #[must_use]
    pub fn new() -> Self {
        Self(Env::mem_env().expect("RocksDB has an environment in memory"))
    }

    /// Opens the database, with the node record as the store before left it, or that of a new node.
    pub(super) fn open(&self, options: &StoreOptions) -> Result<(Engine, NodeRecord), rocksdb::Error> {
        let engine = Engine::open_or_create_in(&self.0, Path::new(PATH), options)?;
        let last = NodeRecord::load(&engine)?.unwrap_or_else(|| NodeRecord::new(fresh_nonce()));
        Ok((engine, last))
    }
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self::new()
    }
}
