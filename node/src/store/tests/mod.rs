//! Tests of the store as a whole: what callers and crashes can see of it.

mod crash;
mod directory;
mod disk_full;
mod group_commit;
mod hints;
mod memory;
mod node_record;
mod scan;
mod space;
mod twin;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use quorate_protocol::record::OwnDots;
use quorate_protocol::{BucketId, KeyEpoch, KeyRecord};
use quorate_ring::{NodeId, PartitionId};
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

use super::{Commit, Durability, Expected, Init, OpenError, Opened, Rest, StorageKey, Store, StoreError, StoreOptions};

/// A store in a directory of its own, removed with it.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn open(&self, init: Init) -> Result<(Store, Opened), OpenError> {
        // Another test that starts a child process at this moment holds our released lock in the child until it executes.
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match Store::open(self.path(), &expected(), init, &small()) {
                Err(OpenError::Locked { process, .. }) if process == Some(std::process::id()) && Instant::now() < deadline => {
                    thread::yield_now()
                }
                opened => return opened,
            }
        }
    }

    fn init(&self) -> Store {
        self.open(Init::Fresh).expect("an empty directory becomes a node").0
    }

    fn reopen(&self) -> (Store, Opened) {
        self.open(Init::Existing).expect("the directory is whole")
    }

    fn refusal(&self) -> OpenError {
        self.open(Init::Existing).err().expect("the directory is refused")
    }

    /// What a kill would leave now: a copy of the directory while its store is open. Copied again when RocksDB's background
    /// work changed something meanwhile, because no kill leaves a mixture of two moments.
    fn as_killed(&self) -> Self {
        for _attempt in 0..100 {
            let copy = Self::new();
            let before = listing(self.path());
            if before.is_ok() && copy_into(self.path(), copy.path()).is_ok() && before.ok() == listing(self.path()).ok() {
                return copy;
            }
        }
        panic!("the background work never rested");
    }

    /// The database's files with an extension, oldest first.
    fn files(&self, extension: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path().join("db")).expect("the database is there");
        let paths = entries.map(|entry| entry.expect("the entry is readable").path());
        let mut files: Vec<_> = paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
        files.sort();
        files
    }

    /// The log that is written to.
    fn log(&self) -> PathBuf {
        self.files("log").pop().expect("an open database has a log")
    }
}

fn copy_into(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let source = entry?.path();
        let target = to.join(source.file_name().expect("an entry has a name"));
        if source.is_dir() {
            fs::create_dir(&target)?;
            copy_into(&source, &target)?;
        } else {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

/// Every file below a directory with its length, in path order.
fn listing(directory: &Path) -> io::Result<BTreeMap<PathBuf, u64>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(listing(&path)?);
        } else {
            files.insert(path.clone(), fs::metadata(&path)?.len());
        }
    }
    Ok(files)
}

/// Runs an ignored test of this module's parts in a process of its own, through a shell that first runs `setup`.
fn in_a_process(setup: &str, test: &str) -> Command {
    let binary = std::env::current_exe().expect("a test has a binary");
    let name = format!("{}::{test}", module_path!().split_once("::").expect("the module is in a crate").1);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{setup} exec \"$0\" \"$@\"")]).arg(binary).args([&name, "--exact", "--ignored", "--nocapture"]);
    command
}

fn expected() -> Expected {
    Expected { cluster: "reef".to_owned(), node: NodeId(3), partitions: 16, replicas: 3 }
}

fn small() -> StoreOptions {
    StoreOptions { block_cache_bytes: 4 << 20, memtable_bytes: 4 << 20, ..StoreOptions::default() }
}

/// A store whose commits stand still until it is begun.
fn stalled(place: &Place, options: &StoreOptions) -> Store {
    Store::prepare(place.path(), &expected(), Init::Fresh, options).expect("an empty directory becomes a node").0
}

fn key(name: &str) -> StorageKey {
    StorageKey::new(PartitionId(7), BucketId(0), name.as_bytes())
}

/// Counts one up in the record, as a transition that must see every other one.
fn count_up(record: &mut KeyRecord) -> u64 {
    let n = record.own.map_or(1, |own| own.n + 1);
    record.own = Some(OwnDots { epoch: KeyEpoch(1), n });
    n
}

fn counted(record: Option<&KeyRecord>) -> u64 {
    record.and_then(|record| record.own).map_or(0, |own| own.n)
}

/// Bytes that no compressor makes smaller.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    (0u64..).flat_map(|block| xxh3_64(&[seed, block].map(u64::to_le_bytes).concat()).to_le_bytes()).take(length).collect()
}

fn durable_count(store: &Store, name: &str) -> u64 {
    counted(store.read(&key(name)).expect("the store is readable").as_ref())
}

/// Counts a key up and returns once that is durable.
fn bump(store: &Store, name: &str) -> u64 {
    let (n, commit) = queue_bump(store, name).expect("the store takes writes");
    commit.wait().expect("the disk has space");
    n
}

fn queue_bump(store: &Store, name: &str) -> Result<(u64, Commit), StoreError> {
    store.update(&key(name), Durability::Synced, count_up)
}
