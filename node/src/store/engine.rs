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
    DBPinnableSlice, DBRawIterator, DBRecoveryMode, DataBlockIndexType, Env, ErrorKind, LogLevel, Options, ReadOptions, WriteBatch,
    WriteOptions, properties, properties::PropName,
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

/// One of RocksDB's measures.
pub struct Property {
    /// What it is called here.
    pub name: &'static str,
    /// What it says, with its unit.
    pub help: &'static str,
    of: Of,
}

/// Whose measure a property is, and what RocksDB calls it.
#[derive(Clone, Copy)]
enum Of {
    /// The sum over all tables.
    EveryTable(&'static PropName),
    /// Of the table of records, or of all tables together where RocksDB does not tell them apart.
    Records(&'static PropName),
}

/// RocksDB's measures, as [`super::Store::properties`] lists them.
pub const PROPERTIES: [Property; 7] = [
    Property {
        name: "live_table_bytes",
        help: "Bytes of the tables on disk that hold current data",
        of: Of::EveryTable(properties::LIVE_SST_FILES_SIZE),
    },
    Property {
        name: "memtable_bytes",
        help: "Bytes of writes in memory that no table on disk holds yet",
        of: Of::EveryTable(properties::CUR_SIZE_ALL_MEM_TABLES),
    },
    Property {
        name: "pending_compaction_bytes",
        help: "Bytes that compactions have to rewrite until the tables are in shape, estimated",
        of: Of::EveryTable(properties::ESTIMATE_PENDING_COMPACTION_BYTES),
    },
    Property { name: "estimated_records", help: "Records of keys, estimated", of: Of::Records(properties::ESTIMATE_NUM_KEYS) },
    Property { name: "block_cache_bytes", help: "Bytes of table blocks cached in memory", of: Of::Records(properties::BLOCK_CACHE_USAGE) },
    Property {
        name: "background_errors",
        help: "Flushes and compactions that failed since the start",
        of: Of::Records(properties::BACKGROUND_ERRORS),
    },
    Property {
        name: "writes_stopped",
        help: "1 while the engine takes no writes because compactions are far behind, else 0",
        of: Of::Records(properties::IS_WRITE_STOPPED),
    },
];

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
    synced_or_not: WriteOptions,
    unsynced_or_not: WriteOptions,
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

    /// Opens the database in an environment of its own, which becomes one if there is none.
    pub(super) fn open_or_create_in(env: &Env, path: &Path, options: &StoreOptions) -> Result<Self, rocksdb::Error> {
        let mut settings = settings(options);
        settings.create_if_missing(true);
        settings.create_missing_column_families(true);
        settings.set_env(env);
        Self::start(path, &settings, options)
    }

    fn start(path: &Path, settings: &Options, options: &StoreOptions) -> Result<Self, rocksdb::Error> {
        let cache = Cache::new_lru_cache(options.block_cache_bytes);
        let tables = [RECORDS, META, HINTS].map(|name| ColumnFamilyDescriptor::new(name, table_settings(&cache, options)));
        let db = DB::open_cf_descriptors(settings, path, tables)?;
        let writes = |sync, or_not| {
            let mut writes = WriteOptions::default();
            writes.set_sync(sync);
            writes.set_no_slowdown(or_not);
            writes
        };
        let (synced, unsynced) = (writes(true, false), writes(false, false));
        let (synced_or_not, unsynced_or_not) = (writes(true, true), writes(false, true));
        Ok(Self { db, reads: ReadOptions::default(), synced, unsynced, synced_or_not, unsynced_or_not })
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

    /// Writes a batch unless RocksDB holds writes back; false, and nothing is written, if it does. With `sync`, returns only after
    /// the sync.
    pub(super) fn write_or_not(&self, changes: WriteBatch, sync: bool) -> Result<bool, rocksdb::Error> {
        match self.db.write_opt(changes, if sync { &self.synced_or_not } else { &self.unsynced_or_not }) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Incomplete => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether RocksDB takes no writes until memtables have become table files, or table files fewer.
    pub(super) fn is_stopped(&self) -> bool {
        self.measure(properties::IS_WRITE_STOPPED) > 0
    }

    /// How often a table file could not be written since the database was opened.
    pub(super) fn background_errors(&self) -> u64 {
        self.measure(properties::BACKGROUND_ERRORS)
    }

    /// A property of the whole database.
    fn measure(&self, property: &properties::PropName) -> u64 {
        self.db.property_int_value(property).ok().flatten().unwrap_or(0)
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
        let table = |name: &str, property| {
            let table = self.db.cf_handle(name).expect("the table was opened");
            self.db.property_int_value_cf(table, property).ok().flatten().unwrap_or(0)
        };
        let measure = |property: &Property| match property.of {
            Of::EveryTable(cname) => [RECORDS, META, HINTS].iter().map(|name| table(name, cname)).sum(),
            Of::Records(cname) => table(RECORDS, cname),
        };
        PROPERTIES.iter().map(|property| (property.name, measure(property))).collect()
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
