//! RocksDB as the store uses it: which tables, which options, and why.
//!
//! **Promise.** What a synced write put there is there after any crash, or opening fails; and no read shows a write whose
//! sync has not returned.
//!
//! Three tables (column families): `default` holds the records, so that the hot path needs no handle; `meta` the node record
//! and what is remembered of peers; `hints` what is kept for other nodes.
//!
//! **Why these options.**
//! - *Recovery mode*: the default stops at the first bad log record and opens successfully, so a flipped bit would silently
//!   drop later, acknowledged writes. `TolerateCorruptedTailRecords` forgives a torn end and refuses a bad checksum. What it
//!   still misses, damaged lengths and types, [`super::wal`] finds beforehand.
//! - *No log recycling*: in a recycled file the old records behind the end look like damage.
//! - *Logs tracked*: each log names its predecessor, closed logs are listed in the manifest, and a database without any log
//!   is refused, so a log that was deleted is missed.
//! - *Atomic flush*: the tables are flushed together, so a small table never keeps old logs alive, and there is usually one.
//! - *No pipelined, unordered or concurrent second-queue writes*: RocksDB then writes the log, syncs it, enters the memtable,
//!   and publishes, in this order. That is what reads rest on.

use std::path::Path;

use quorate_ring::NodeId;
use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, Cache, ColumnFamily, ColumnFamilyDescriptor, CompactOptions, DB, DBCompressionType,
    DBPinnableSlice, DBRawIterator, DBRecoveryMode, DataBlockIndexType, ErrorKind, LogLevel, Options, ReadOptions, WriteBatch,
    WriteOptions, properties,
};

use super::options::StoreOptions;

/// Where the node record is in the table `meta`.
pub(super) const NODE_KEY: &[u8] = b"node";

/// What keys of peers begin with in the table `meta`.
pub(super) const PEER_PREFIX: &[u8] = b"peer";

const META: &str = "meta";
const HINTS: &str = "hints";
const RECORDS: &str = rocksdb::DEFAULT_COLUMN_FAMILY_NAME;

/// Bytes of a table block before compression. A few dozen small records: little index, and lz4 finds something to compress.
const BLOCK_BYTES: usize = 16 << 10;
/// A false positive in about a hundred lookups of absent keys.
const BLOOM_BITS_PER_KEY: f64 = 10.0;
/// Entries per slot of a block's hash index; it spares point reads most of the search within the block.
const BLOCK_HASH_RATIO: f64 = 0.75;
/// Bytes of one file of RocksDB's own log, and how many are kept.
const INFO_LOG_BYTES: usize = 4 << 20;
const INFO_LOG_FILES: usize = 4;

/// The table `meta`'s key for the peer `node`.
pub(super) fn peer_key(node: NodeId) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(PEER_PREFIX);
    key[4..].copy_from_slice(&node.0.to_be_bytes());
    key
}

/// Whether a failure means that no space is left. RocksDB reports the cause in words only.
pub(super) fn is_disk_full(error: &rocksdb::Error) -> bool {
    let words: &str = error.as_ref();
    error.kind() == ErrorKind::IOError && (words.contains("No space left on device") || words.contains("Disk quota exceeded"))
}

/// Whether a failure means that another process has the database open.
pub(super) fn is_locked(error: &rocksdb::Error) -> bool {
    let words: &str = error.as_ref();
    error.kind() == ErrorKind::IOError && words.contains("lock") && words.contains("LOCK")
}

/// Whether a failure is the system's and says nothing about the data. A missing file does.
pub(super) fn is_refused_by_system(error: &rocksdb::Error) -> bool {
    let words: &str = error.as_ref();
    error.kind() == ErrorKind::IOError && !words.contains("No such file or directory")
}

pub(super) struct Engine {
    db: DB,
    reads: ReadOptions,
    synced: WriteOptions,
    unsynced: WriteOptions,
}

impl Engine {
    /// Makes an empty database with its tables in a new directory.
    pub(super) fn create(path: &Path, options: &StoreOptions) -> Result<Self, rocksdb::Error> {
        let mut settings = settings(options);
        settings.create_if_missing(true);
        settings.create_missing_column_families(true);
        settings.set_error_if_exists(true);
        Self::start(path, &settings, options)
    }

    /// Opens the database that is there, and fails if there is none.
    pub(super) fn open(path: &Path, options: &StoreOptions) -> Result<Self, rocksdb::Error> {
        Self::start(path, &settings(options), options)
    }

    fn start(path: &Path, settings: &Options, options: &StoreOptions) -> Result<Self, rocksdb::Error> {
        let cache = Cache::new_lru_cache(options.block_cache_bytes);
        let tables = [RECORDS, META, HINTS].map(|name| ColumnFamilyDescriptor::new(name, table_settings(&cache, options)));
        let db = DB::open_cf_descriptors(settings, path, tables)?;
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        Ok(Self { db, reads: ReadOptions::default(), synced, unsynced: WriteOptions::default() })
    }

    /// The table of the node record and the peers.
    pub(super) fn meta(&self) -> &ColumnFamily {
        self.db.cf_handle(META).expect("the table was opened")
    }

    /// The table of hints.
    pub(super) fn hints(&self) -> &ColumnFamily {
        self.db.cf_handle(HINTS).expect("the table was opened")
    }

    /// A record's bytes, without copying them.
    pub(super) fn record(&self, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>, rocksdb::Error> {
        self.db.get_pinned_opt(key, &self.reads)
    }

    /// The node record's bytes.
    pub(super) fn node_record(&self) -> Result<Option<DBPinnableSlice<'_>>, rocksdb::Error> {
        self.db.get_pinned_cf(self.meta(), NODE_KEY)
    }

    /// Writes a batch. With `sync`, returns only after the sync.
    pub(super) fn write(&self, changes: WriteBatch, sync: bool) -> Result<(), rocksdb::Error> {
        self.db.write_opt(changes, if sync { &self.synced } else { &self.unsynced })
    }

    /// Walks over the records from `from` up to, not including, `until`. Leaves the block cache to point reads.
    pub(super) fn records_between(&self, from: &[u8], until: Option<Vec<u8>>) -> DBRawIterator<'_> {
        let mut walk = self.db.raw_iterator_opt(bounded(until));
        walk.seek(from);
        walk
    }

    /// Walks over a table's entries from `from` up to, not including, `until`.
    pub(super) fn entries_between(&self, table: &ColumnFamily, from: &[u8], until: Option<Vec<u8>>) -> DBRawIterator<'_> {
        let mut walk = self.db.raw_iterator_cf_opt(table, bounded(until));
        walk.seek(from);
        walk
    }

    /// Writes all memtables to table files, so that the next start has little log to replay.
    pub(super) fn flush(&self) -> Result<(), rocksdb::Error> {
        self.db.flush()
    }

    /// Flushes and rewrites every table into its last level.
    pub(super) fn compact(&self) -> Result<(), rocksdb::Error> {
        self.flush()?;
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        self.db.compact_range_opt(None::<&[u8]>, None::<&[u8]>, &options);
        for table in [self.meta(), self.hints()] {
            self.db.compact_range_cf_opt(table, None::<&[u8]>, None::<&[u8]>, &options);
        }
        Ok(())
    }

    /// Waits until no background work is left and starts no more.
    pub(super) fn quiesce(&self) {
        self.db.cancel_all_background_work(true);
    }

    /// Measures of the whole database: sums over the tables, except for the shared cache and the error count.
    pub(super) fn properties(&self) -> Vec<(&'static str, u64)> {
        let summed = [
            ("live_table_bytes", properties::LIVE_SST_FILES_SIZE),
            ("memtable_bytes", properties::CUR_SIZE_ALL_MEM_TABLES),
            ("pending_compaction_bytes", properties::ESTIMATE_PENDING_COMPACTION_BYTES),
        ];
        let shared = [
            ("estimated_records", properties::ESTIMATE_NUM_KEYS),
            ("block_cache_bytes", properties::BLOCK_CACHE_USAGE),
            ("background_errors", properties::BACKGROUND_ERRORS),
            ("writes_stopped", properties::IS_WRITE_STOPPED),
        ];
        let table = |name: &str, property| {
            let table = self.db.cf_handle(name).expect("the table was opened");
            self.db.property_int_value_cf(table, property).ok().flatten().unwrap_or(0)
        };
        let sum = |property| [RECORDS, META, HINTS].iter().map(|name| table(name, property)).sum();
        let summed = summed.map(|(name, property)| (name, sum(property)));
        let shared = shared.map(|(name, property)| (name, table(RECORDS, property)));
        summed.into_iter().chain(shared).collect()
    }
}

fn bounded(until: Option<Vec<u8>>) -> ReadOptions {
    let mut reads = ReadOptions::default();
    reads.fill_cache(false);
    if let Some(until) = until {
        reads.set_iterate_upper_bound(until);
    }
    reads
}

fn settings(options: &StoreOptions) -> Options {
    // The binding has no setter for this option, only the general parser.
    let mut settings =
        Options::default().get_options_from_string("track_and_verify_wals=true").expect("the linked RocksDB knows the option");
    settings.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    settings.set_recycle_log_file_num(0);
    settings.set_track_and_verify_wals_in_manifest(true);
    settings.set_paranoid_checks(true);
    settings.set_enable_pipelined_write(false);
    settings.set_unordered_write(false);
    settings.set_manual_wal_flush(false);
    settings.set_atomic_flush(true);
    settings.set_max_total_wal_size(options.wal_bytes_max);
    settings.set_max_background_jobs(options.background_threads);
    settings.set_max_open_files(options.open_files_max);
    settings.set_bytes_per_sync(1 << 20);
    settings.set_log_level(LogLevel::Warn);
    settings.set_max_log_file_size(INFO_LOG_BYTES);
    settings.set_keep_log_file_num(INFO_LOG_FILES);
    settings.set_stats_dump_period_sec(0);
    settings
}

fn table_settings(cache: &Cache, options: &StoreOptions) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_block_size(BLOCK_BYTES);
    blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
    blocks.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    blocks.set_data_block_hash_ratio(BLOCK_HASH_RATIO);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut table = Options::default();
    table.set_block_based_table_factory(&blocks);
    table.set_compression_type(DBCompressionType::Lz4);
    table.set_write_buffer_size(options.memtable_bytes);
    table.set_level_compaction_dynamic_level_bytes(true);
    table
}
