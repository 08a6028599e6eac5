//! The data directory: what lies in it, who may use it, and how it comes to be.
//!
//! ```text
//! DIR/identity    whose data it is (see super::identity)
//! DIR/db/         the database (see super::engine)
//! DIR/lock        held by the process that uses the directory; holds its process id
//! DIR/db.new/     the database while `--init` makes it
//! ```
//!
//! **Promise.** A directory is used only by the node it was made for, under the facts it was made with, by one process, and
//! whole. An empty one becomes a node only when asked to: a node whose disk was lost or not mounted must not come back
//! empty under its old id, because it has forgotten what it promised to others.
//!
//! **Rules.**
//! - *Upon `--init`*: the database is made as `db.new`, then the identity is written, then `db.new` becomes `db`. A crash
//!   anywhere leaves a directory that says how far it came and from which nothing was served: before the identity, `--init`
//!   starts over; after it, any start finishes.
//! - *Upon every start*: refuse before anything is written, take the lock, look again, compare the identity, check the logs,
//!   open the database, and compare the nonce in it.
//!
//! A `lost+found` is no content: it makes no difference whether the directory is a disk of its own.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use quorate_ring::NodeId;
use rand::TryRngCore;
use rand::rngs::OsRng;

use super::engine::{self, Engine};
use super::identity::{self, Identity, IdentityError, Nonce, sync_directory};
use super::node_record::NodeRecord;
use super::open_error::{Fact, OpenError};
use super::options::StoreOptions;
use super::wal;

const DATABASE: &str = "db";
const DATABASE_UNFINISHED: &str = "db.new";
const LOCK: &str = "lock";

/// What the configuration says about the node whose data a directory holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The cluster's name.
    pub cluster: String,
    /// The node's id.
    pub node: NodeId,
    /// Number of partitions of the cluster.
    pub partitions: u16,
    /// Number of replicas of a bucket that names no other.
    pub replicas: u16,
}

/// What a start may do with a directory that holds no node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// Refuse it.
    Existing,
    /// Make a new node there, and refuse a directory that holds one (`--init`).
    Fresh,
}

/// A directory that this process may use, with its database.
pub(super) struct Directory {
    pub(super) lock: File,
    pub(super) engine: Engine,
    /// The node record as the process before left it.
    pub(super) last: NodeRecord,
}

/// The path of the database in a data directory.
pub(super) fn database_path(directory: &Path) -> PathBuf {
    directory.join(DATABASE)
}

/// Opens the directory, or makes a node in it first.
pub(super) fn open(directory: &Path, expected: &Expected, init: Init, options: &StoreOptions) -> Result<Directory, OpenError> {
    decide(directory, init)?;
    if init == Init::Fresh {
        make(directory)?;
    }
    let lock = take_lock(directory)?;
    if decide(directory, init)? == Step::Create {
        create(directory, expected, options)?;
    }
    let identity = read_identity(directory)?.ok_or_else(|| OpenError::IdentityMissing { directory: directory.to_owned() })?;
    compare(directory, &identity, expected)?;
    finish(directory)?;
    let (engine, last) = open_database(directory, identity.nonce, options)?;
    Ok(Directory { lock, engine, last })
}

/// What a directory holds.
#[derive(Debug, PartialEq, Eq)]
enum Contents {
    Nothing,
    /// What `--init` leaves when it is interrupted before the identity is written.
    Unfinished,
    /// An identity; `whole` unless `--init` was interrupted behind it.
    Node {
        whole: bool,
    },
    DatabaseOnly,
    Other {
        entry: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Create,
    Open,
}

fn look(directory: &Path) -> io::Result<Contents> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contents::Nothing),
        Err(error) => return Err(error),
    };
    let names: Vec<String> = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<io::Result<_>>()?;
    let has = |name: &str| names.iter().any(|found| found == name);
    if has(identity::FILE) {
        return Ok(Contents::Node { whole: has(DATABASE) || !has(DATABASE_UNFINISHED) });
    }
    if has(DATABASE) {
        return Ok(Contents::DatabaseOnly);
    }
    let known = [LOCK, "lost+found", DATABASE_UNFINISHED, identity::FILE_UNFINISHED];
    if let Some(entry) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Ok(Contents::Other { entry: entry.clone() });
    }
    let unfinished = has(DATABASE_UNFINISHED) || has(identity::FILE_UNFINISHED);
    Ok(if unfinished { Contents::Unfinished } else { Contents::Nothing })
}

/// What to do with the directory; changes nothing.
fn decide(directory: &Path, init: Init) -> Result<Step, OpenError> {
    let contents = look(directory).map_err(|error| failed(directory, "list", directory, error))?;
    let directory = directory.to_owned();
    match (contents, init) {
        (Contents::Nothing | Contents::Unfinished, Init::Fresh) => Ok(Step::Create),
        (Contents::Nothing, Init::Existing) => Err(OpenError::NoNode { directory }),
        (Contents::Unfinished, Init::Existing) => Err(OpenError::InitInterrupted { directory }),
        (Contents::Node { whole: false }, _) | (Contents::Node { whole: true }, Init::Existing) => Ok(Step::Open),
        (Contents::Node { whole: true }, Init::Fresh) => Err(already_initialised(directory)),
        (Contents::DatabaseOnly, _) => Err(OpenError::IdentityMissing { directory }),
        (Contents::Other { entry }, _) => Err(OpenError::Foreign { directory, entry }),
    }
}

fn already_initialised(directory: PathBuf) -> OpenError {
    match read_identity(&directory) {
        Ok(Some(Identity { cluster, node, .. })) => OpenError::AlreadyInitialised { directory, cluster, node },
        Ok(None) => OpenError::IdentityMissing { directory },
        Err(error) => error,
    }
}

fn read_identity(directory: &Path) -> Result<Option<Identity>, OpenError> {
    Identity::read(directory).map_err(|error| {
        let directory = directory.to_owned();
        match error {
            IdentityError::UnsupportedFormat { found } => OpenError::UnsupportedFormat { directory, found },
            source @ (IdentityError::Unreadable { .. } | IdentityError::Malformed { .. } | IdentityError::BadChecksum) => {
                OpenError::IdentityDamaged { directory, source }
            }
        }
    })
}

/// Makes sure that the directory exists, durably.
fn make(directory: &Path) -> Result<(), OpenError> {
    if directory.exists() {
        return Ok(());
    }
    let made = fs::create_dir_all(directory);
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    made.and_then(|()| sync_directory(parent)).map_err(|error| failed(directory, "make", directory, error))
}

fn take_lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join(LOCK);
    let failed = |error| failed(directory, "lock", &path, error);
    let mut lock = File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let process = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
            return Err(OpenError::Locked { directory: directory.to_owned(), process });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    let noted = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
    noted.map(|()| lock).map_err(failed)
}

/// Makes a database and an identity in a directory that holds neither.
fn create(directory: &Path, expected: &Expected, options: &StoreOptions) -> Result<(), OpenError> {
    let database = directory.join(DATABASE_UNFINISHED);
    match fs::remove_dir_all(&database) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(directory, "remove", &database, error)),
        Ok(()) | Err(_) => {}
    }
    let nonce = fresh_nonce();
    let engine = Engine::create(&database, options).map_err(|error| engine_failed(directory, error))?;
    NodeRecord::new(nonce).store(&engine).map_err(|error| engine_failed(directory, error))?;
    drop(engine);
    let Expected { cluster, node, partitions, replicas } = expected.clone();
    let identity = Identity { cluster, node, nonce, partitions, replicas };
    identity.write(directory).map_err(|error| failed(directory, "write", &directory.join(identity::FILE), error))
}

/// Does the last step of `--init`, if it was not done yet.
fn finish(directory: &Path) -> Result<(), OpenError> {
    let (database, unfinished) = (database_path(directory), directory.join(DATABASE_UNFINISHED));
    if database.exists() {
        return Ok(());
    }
    if !unfinished.exists() {
        return Err(OpenError::DatabaseMissing { directory: directory.to_owned() });
    }
    let renamed = fs::rename(&unfinished, &database).and_then(|()| sync_directory(directory));
    renamed.map_err(|error| failed(directory, "rename", &unfinished, error))
}

pub(super) fn fresh_nonce() -> Nonce {
    let mut bytes = [0; 16];
    OsRng.try_fill_bytes(&mut bytes).expect("the system has randomness");
    Nonce(u128::from_le_bytes(bytes))
}

fn compare(directory: &Path, identity: &Identity, expected: &Expected) -> Result<(), OpenError> {
    let directory = directory.to_owned();
    if identity.cluster != expected.cluster {
        return Err(OpenError::OtherCluster { directory, here: identity.cluster.clone(), expected: expected.cluster.clone() });
    }
    if identity.node != expected.node {
        return Err(OpenError::OtherNode { directory, here: identity.node, expected: expected.node });
    }
    let facts = [(Fact::Partitions, identity.partitions, expected.partitions), (Fact::Replicas, identity.replicas, expected.replicas)];
    match facts.into_iter().find(|(_, here, expected)| here != expected) {
        Some((fact, here, expected)) => Err(OpenError::OtherFact { directory, fact, here, expected }),
        None => Ok(()),
    }
}

fn open_database(directory: &Path, nonce: Nonce, options: &StoreOptions) -> Result<(Engine, NodeRecord), OpenError> {
    let path = database_path(directory);
    let damage = wal::check(&path).map_err(|error| failed(directory, "read the logs in", &path, error))?;
    if let Some(wal::DamagedLog { file, offset }) = damage {
        return Err(OpenError::LogDamaged { file, offset });
    }
    let engine = Engine::open(&path, options).map_err(|error| engine_failed(directory, error))?;
    let last = NodeRecord::load(&engine).map_err(|error| engine_failed(directory, error))?;
    let last = last.ok_or_else(|| OpenError::EntryDamaged { directory: directory.to_owned(), entry: "node record" })?;
    if last.nonce != nonce {
        return Err(OpenError::ForeignDatabase { directory: directory.to_owned() });
    }
    Ok((engine, last))
}

fn failed(directory: &Path, action: &'static str, path: &Path, source: io::Error) -> OpenError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OpenError::DiskFull { directory: directory.to_owned() },
        _ => OpenError::Io { action, path: path.to_owned(), source },
    }
}

/// What a failure of RocksDB means for a start.
pub(super) fn engine_failed(directory: &Path, source: rocksdb::Error) -> OpenError {
    let directory = directory.to_owned();
    if engine::is_disk_full(&source) {
        OpenError::DiskFull { directory }
    } else if engine::is_locked(&source) {
        OpenError::Locked { directory, process: None }
    } else if engine::is_refused_by_system(&source) {
        OpenError::DatabaseUnusable { directory, source }
    } else {
        OpenError::DatabaseDamaged { directory, source }
    }
}
