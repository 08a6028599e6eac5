//! `[store]`: how the node keeps records on disk.

use bytesize::ByteSize;

use crate::reader::{Decoder, Subtable};

/// The storage engine. Section `[store]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// `store.block_cache`: memory for blocks read from disk. Default 64 MiB. Raise it towards the size of the data that is
    /// read often, as far as memory allows.
    pub block_cache: ByteSize,
    /// `store.write_buffer`: memory that collects writes before they become a file on disk. Default 32 MiB. A larger one
    /// writes fewer, larger files and makes a restart after a crash replay more.
    pub write_buffer: ByteSize,
    /// `store.commit_queue_max`: writes that may wait for the next sync; further ones are answered `Overloaded`. Default 8192.
    /// Each waiting write holds its value in memory.
    pub commit_queue_max: usize,
    /// `store.commit_batch_max`: writes that share one sync. Default 1024, at most `commit_queue_max`. More raise throughput
    /// on slow disks and lengthen the wait of the first write in a batch.
    pub commit_batch_max: usize,
}

impl Default for Store {
    fn default() -> Self {
        Self { block_cache: ByteSize::mib(64), write_buffer: ByteSize::mib(32), commit_queue_max: 8192, commit_batch_max: 1024 }
    }
}

impl Store {
    pub(crate) fn read(decoder: &mut Decoder, subtable: Subtable) -> Self {
        let default = Self::default();
        let mut table = decoder.table("store", "[store]", subtable);
        let store = Self {
            block_cache: table.key("block_cache").within(ByteSize::mib(1), ByteSize::tib(1)).or(default.block_cache),
            write_buffer: table.key("write_buffer").within(ByteSize::mib(1), ByteSize::gib(16)).or(default.write_buffer),
            commit_queue_max: table.key("commit_queue_max").within(1, 1_000_000).or(default.commit_queue_max),
            commit_batch_max: table.key("commit_batch_max").within(1, 1_000_000).or(default.commit_batch_max),
        };
        table.finish();
        let (batch, queue) = (&store.commit_batch_max, &store.commit_queue_max);
        decoder.ordered(("store.commit_batch_max", batch), ("store.commit_queue_max", queue), false);
        store
    }
}
