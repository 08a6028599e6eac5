//! Whose data a directory holds: the small text file `identity`, written once.
//!
//! **Promise.** The file is there whole or not at all: it is written under another name, synced, renamed, and its directory
//! synced. A checksum finds later damage, so that a damaged file is never taken for another node's.
//!
//! The *nonce* is drawn once per directory from the system's randomness. Peers remember it: a node that lost its disk comes
//! back with another nonce and cannot pass for itself.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use quorate_ring::NodeId;
use serde::{Deserialize, Serialize};

/// The only format so far.
const FORMAT: u32 = 1;

/// The file's name in the data directory.
pub(super) const FILE: &str = "identity";
/// Its name while it is being written.
pub(super) const FILE_UNFINISHED: &str = "identity.new";

/// A data directory's random name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nonce(pub u128);

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Whose directory it is, and the facts of the cluster that can never change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) cluster: String,
    pub(super) node: NodeId,
    pub(super) nonce: Nonce,
    pub(super) partitions: u16,
    pub(super) replicas: u16,
}

/// An identity file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Unreadable {
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It is no identity file.
    #[error("it is not what this software writes")]
    Malformed {
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// Its checksum does not fit.
    #[error("its checksum does not fit its content")]
    BadChecksum,
    /// A later version of the software wrote it.
    #[error("it has format {found}, this version reads format {FORMAT}")]
    UnsupportedFormat {
        /// Its format.
        found: u32,
    },
}

/// The part of the file that every format shares.
#[derive(Deserialize)]
struct Header {
    format: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format: u32,
    cluster: String,
    node: u64,
    nonce: String,
    partitions: u16,
    replicas: u16,
    crc32c: u32,
}

impl Identity {
    /// Reads the identity of `directory`; `None` if it has none.
    pub(super) fn read(directory: &Path) -> Result<Option<Self>, IdentityError> {
        match fs::read(directory.join(FILE)) {
            Ok(text) => Self::parse(&text).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(IdentityError::Unreadable { source }),
        }
    }

    /// Makes this the identity of `directory`, durably.
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        let unfinished = directory.join(FILE_UNFINISHED);
        let mut file = File::create(&unfinished)?;
        file.write_all(self.text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, directory.join(FILE))?;
        sync_directory(directory)
    }

    fn parse(text: &[u8]) -> Result<Self, IdentityError> {
        let malformed = |source| IdentityError::Malformed { source };
        let Header { format } = serde_json::from_slice(text).map_err(malformed)?;
        if format != FORMAT {
            return Err(IdentityError::UnsupportedFormat { found: format });
        }
        let content: Content = serde_json::from_slice(text).map_err(malformed)?;
        // Another spelling of the same number would fail the checksum.
        let nonce = u128::from_str_radix(&content.nonce, 16).unwrap_or_default();
        let identity = Self {
            cluster: content.cluster,
            node: NodeId(content.node),
            nonce: Nonce(nonce),
            partitions: content.partitions,
            replicas: content.replicas,
        };
        if identity.checksum() != content.crc32c {
            return Err(IdentityError::BadChecksum);
        }
        Ok(identity)
    }

    fn text(&self) -> String {
        let content = Content {
            format: FORMAT,
            cluster: self.cluster.clone(),
            node: self.node.0,
            nonce: self.nonce.to_string(),
            partitions: self.partitions,
            replicas: self.replicas,
            crc32c: self.checksum(),
        };
        let mut text = serde_json::to_string_pretty(&content).expect("the content is plain text and numbers");
        text.push('\n');
        text
    }

    fn checksum(&self) -> u32 {
        let Self { cluster, node, nonce, partitions, replicas } = self;
        crc32c::crc32c(format!("{FORMAT}/{cluster}/{}/{nonce}/{partitions}/{replicas}", node.0).as_bytes())
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Identity {
        Identity { cluster: "reef".to_owned(), node: NodeId(3), nonce: Nonce(0xfeed), partitions: 256, replicas: 3 }
    }

    /// The file is on disks. Whoever changes it adds a format and keeps reading this one.
    #[test]
    fn the_text_of_format_1_is_frozen() {
        let text = "{\n  \"format\": 1,\n  \"cluster\": \"reef\",\n  \"node\": 3,\n  \"nonce\": \"0000000000000000000000000000feed\",\n  \
                    \"partitions\": 256,\n  \"replicas\": 3,\n  \"crc32c\": 4069981435\n}\n";
        assert_eq!(sample().text(), text);
        assert_eq!(Identity::parse(text.as_bytes()).expect("it was just written"), sample());
    }

    #[test]
    fn every_changed_byte_is_refused() {
        let text = sample().text().into_bytes();
        for position in 0..text.len() - 1 {
            let mut changed = text.clone();
            changed[position] ^= 1;
            assert!(Identity::parse(&changed).is_err(), "byte {position}");
        }
    }

    #[test]
    fn a_later_format_is_named_whatever_else_it_holds() {
        let error = Identity::parse(br#"{"format": 7, "planets": []}"#).expect_err("the format is unknown");
        assert!(matches!(error, IdentityError::UnsupportedFormat { found: 7 }));
    }

    #[test]
    fn an_identity_is_read_back_and_its_absence_is_no_error() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        assert!(Identity::read(directory.path()).expect("an empty directory").is_none());
        sample().write(directory.path()).expect("the directory is writable");
        assert_eq!(Identity::read(directory.path()).expect("it was just written"), Some(sample()));
        assert!(!directory.path().join(FILE_UNFINISHED).exists());
    }
}
