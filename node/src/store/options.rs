//! What an operator may tune about the store, with the motive of every default.

/// Sizes and limits of one store.
///
/// The defaults suit a node that shares a small machine: about 400 MiB of memory at most, two background threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Bytes of decompressed blocks, indexes and filters kept in memory. Choose what is left after the memtables; point reads
    /// that miss it decompress one block.
    pub block_cache_bytes: usize,
    /// Bytes of one memtable. Larger ones make fewer, larger files and a longer replay after a crash.
    pub memtable_bytes: usize,
    /// Bytes of log after which memtables are flushed. Bounds the replay after a crash.
    pub wal_bytes_max: u64,
    /// Threads that flush and compact.
    pub background_threads: i32,
    /// Files that RocksDB keeps open; below the process's own limit, which sockets share.
    pub open_files_max: i32,
    /// Writes queued or being synced before further ones are refused as overloaded.
    pub pending_writes_max: usize,
    /// Bytes queued or being synced before further writes are refused as overloaded. One write may exceed what is left.
    pub pending_bytes_max: usize,
    /// Most writes in one synced batch. Bounds how long the first of them waits for the last.
    pub batch_writes_max: usize,
    /// Bytes after which a batch is closed. The write that reaches it still belongs to it.
    pub batch_bytes_max: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            block_cache_bytes: 128 << 20,
            memtable_bytes: 64 << 20,
            wal_bytes_max: 256 << 20,
            background_threads: 2,
            open_files_max: 512,
            pending_writes_max: 32_768,
            pending_bytes_max: 64 << 20,
            batch_writes_max: 4_096,
            batch_bytes_max: 4 << 20,
        }
    }
}
