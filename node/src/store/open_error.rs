//! Why a data directory was not opened: each message says which directory, what is wrong, and what to do.
//!
//! Whatever the reason, no data was changed and nothing was served.

use std::fmt;
use std::io;
use std::path::PathBuf;

use quorate_ring::NodeId;

use super::identity::IdentityError;

/// A fact of the cluster that is fixed when a directory is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The number of partitions.
    Partitions,
    /// The default number of replicas.
    Replicas,
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Partitions => "number of partitions",
            Self::Replicas => "default number of replicas",
        })
    }
}

/// A data directory was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no node in it, and making one was not asked for.
    #[error(
        "{} holds no data of a node; if this node is new, start it once with --init; if it stored data before, its disk or \
         path is wrong: a node that lost its data must not return under its id, give it a new one",
        directory.display()
    )]
    NoNode {
        /// The directory.
        directory: PathBuf,
    },
    /// A new node was asked for where one is.
    #[error(
        "{} already holds the data of {node} of cluster {cluster:?}; start it without --init, or choose an empty directory for a \
         new node",
        directory.display()
    )]
    AlreadyInitialised {
        /// The directory.
        directory: PathBuf,
        /// Whose cluster it is.
        cluster: String,
        /// Whose data it is.
        node: NodeId,
    },
    /// An earlier start with `--init` did not finish; nothing was ever served from the directory.
    #[error("{} was not completely initialised; start the node with --init again", directory.display())]
    InitInterrupted {
        /// The directory.
        directory: PathBuf,
    },
    /// It holds something else.
    #[error(
        "{} holds {entry:?} and no data of a node; choose an empty directory, or the one in which the node's data is",
        directory.display()
    )]
    Foreign {
        /// The directory.
        directory: PathBuf,
        /// The name of something in it.
        entry: String,
    },
    /// It belongs to another cluster.
    #[error(
        "{} belongs to cluster {here:?} and this node to {expected:?}; correct cluster.id or the data directory",
        directory.display()
    )]
    OtherCluster {
        /// The directory.
        directory: PathBuf,
        /// The directory's cluster.
        here: String,
        /// The configured cluster.
        expected: String,
    },
    /// It belongs to another node.
    #[error("{} belongs to {here} and this node is {expected}; correct the node's id or its data directory", directory.display())]
    OtherNode {
        /// The directory.
        directory: PathBuf,
        /// The directory's node.
        here: NodeId,
        /// The configured node.
        expected: NodeId,
    },
    /// It was made with another fact.
    #[error(
        "{} was made with {here} as {fact} and the configuration says {expected}; this cannot change once a cluster stores data, \
         so write {here} again",
        directory.display()
    )]
    OtherFact {
        /// The directory.
        directory: PathBuf,
        /// Which fact.
        fact: Fact,
        /// Its value in the directory.
        here: u16,
        /// Its configured value.
        expected: u16,
    },
    /// The identity file is unusable.
    #[error(
        "the identity file in {} cannot be trusted; restore that file from this very directory's past if you can, otherwise give the \
         node a new id and an empty directory",
        directory.display()
    )]
    IdentityDamaged {
        /// The directory.
        directory: PathBuf,
        /// What is wrong with the file.
        #[source]
        source: IdentityError,
    },
    /// The software is older than the directory.
    #[error("{} was written in format {found} by a later version; start that version", directory.display())]
    UnsupportedFormat {
        /// The directory.
        directory: PathBuf,
        /// Its format.
        found: u32,
    },
    /// A database without an identity beside it.
    #[error(
        "{} holds a database but no identity file, so nobody can say whose it is; restore the file, or give the node a new id and \
         an empty directory",
        directory.display()
    )]
    IdentityMissing {
        /// The directory.
        directory: PathBuf,
    },
    /// An identity without a database beside it.
    #[error(
        "{} belongs to a node but its database is gone; a node that lost its data must not return under its id: give it a new id \
         and an empty directory",
        directory.display()
    )]
    DatabaseMissing {
        /// The directory.
        directory: PathBuf,
    },
    /// The database was made in another directory.
    #[error(
        "{} holds the database of another data directory; restore its own, or give the node a new id and an empty directory",
        directory.display()
    )]
    ForeignDatabase {
        /// The directory.
        directory: PathBuf,
    },
    /// Another process has it open.
    #[error("{} is in use by {}; stop it, or choose another data directory", directory.display(), Holder(*process))]
    Locked {
        /// The directory.
        directory: PathBuf,
        /// The other process, where known.
        process: Option<u32>,
    },
    /// The database is damaged, or a file of it is missing.
    #[error(
        "the database in {} is damaged; starting without what is lost would break promises given to other nodes, so give the node a \
         new id and an empty directory (its peers hold its data)",
        directory.display()
    )]
    DatabaseDamaged {
        /// The directory.
        directory: PathBuf,
        /// RocksDB's own words.
        #[source]
        source: rocksdb::Error,
    },
    /// The system does not let RocksDB work.
    #[error(
        "the database in {} cannot be opened; nothing says that it is damaged: check permissions, limits on open files and the \
         disk, and start again",
        directory.display()
    )]
    DatabaseUnusable {
        /// The directory.
        directory: PathBuf,
        /// RocksDB's own words.
        #[source]
        source: rocksdb::Error,
    },
    /// A log is damaged, and not in the way in which a crash leaves it.
    #[error(
        "the log {} is damaged at byte {offset}; starting without what is lost would break promises given to \
         other nodes, so give the node a new id and an empty directory (its peers hold its data)",
        file.display()
    )]
    LogDamaged {
        /// The log.
        file: PathBuf,
        /// Where the first unreadable record begins.
        offset: u64,
    },
    /// An entry of the database decodes to nothing this version knows.
    #[error(
        "the {entry} in the database of {} cannot be read; start the version that wrote it, or give the node a new id and an empty \
         directory",
        directory.display()
    )]
    EntryDamaged {
        /// The directory.
        directory: PathBuf,
        /// Which entry.
        entry: &'static str,
    },
    /// There is no space to open it.
    #[error("the disk of {} is full; free some space and start again", directory.display())]
    DiskFull {
        /// The directory.
        directory: PathBuf,
    },
    /// The system refused something.
    #[error("cannot {action} {}; check that it exists and that this user may write there", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// Whoever holds a lock.
struct Holder(Option<u32>);

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(process) => write!(f, "process {process}"),
            None => f.write_str("another process"),
        }
    }
}
