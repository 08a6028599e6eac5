//! What can go wrong while a store runs.
//!
//! What can go wrong while it is opened is [`OpenError`](super::OpenError), and who is refused as a peer
//! [`PeerError`](super::PeerError).

use super::engine::is_disk_full;
use super::record::RecordError;

/// A read or a write failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The queue of writes is full. Nothing was changed; a retry may succeed at once.
    #[error("{pending} writes wait for the disk, no more are taken")]
    Overloaded {
        /// Writes queued or being synced.
        pending: usize,
    },
    /// The disk is full. Further writes are refused until a restart; reads go on. Said before queueing, nothing was changed;
    /// said by a [`Commit`](super::Commit), nothing is shown, but a restart may still find the write in the log.
    #[error("the disk is full, the store takes no writes until the node is restarted with free space")]
    DiskFull,
    /// The store is being closed. Nothing was changed.
    #[error("the store is closed")]
    Closed,
    /// The bytes stored for a key are no record. Nothing was changed.
    #[error("a stored record cannot be read")]
    DamagedRecord {
        /// What is wrong with it.
        #[source]
        source: RecordError,
    },
    /// RocksDB failed, elsewhere than in a commit (which would have ended the process). Nothing was changed.
    #[error("the database failed")]
    Engine {
        /// Its own words.
        #[source]
        source: rocksdb::Error,
    },
}

impl From<RecordError> for StoreError {
    fn from(source: RecordError) -> Self {
        Self::DamagedRecord { source }
    }
}

impl From<rocksdb::Error> for StoreError {
    fn from(source: rocksdb::Error) -> Self {
        if is_disk_full(&source) { Self::DiskFull } else { Self::Engine { source } }
    }
}
