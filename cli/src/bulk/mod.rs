//! `quorate load` and `quorate dump`: many records in and out.
//!
//! **Promise.** What `dump` wrote at a level that sees every write, `load` makes again; and neither hides a loss: each says
//! how many records it did, failed, or does not know about, and fails unless it did all.
//!
//! | format | file | carries |
//! |---|---|---|
//! | TSV | [`tsv`] | keys and values that are UTF-8, one value per key, one bucket |
//! | JSON lines | [`jsonl`] | any bytes, siblings, bucket names |

use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::ValueEnum;

pub mod dump;
pub mod jsonl;
pub mod lanes;
pub mod load;
pub mod put;
pub mod resume;
pub mod source;
pub mod tally;
pub mod tsv;

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Key, tab, value, line feed.
    Tsv,
    /// One JSON object per line.
    Jsonl,
}

/// A key with its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The bucket, if the record names one.
    pub bucket: Option<String>,
    /// The key.
    pub key: Bytes,
    /// The values, at least one; several are siblings.
    pub values: Vec<Bytes>,
}

/// The name of a file tells nothing of its format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name {} ends neither in .tsv nor in .jsonl; say --format tsv or --format jsonl", path.display())]
pub struct UnknownFormat {
    /// The file.
    pub path: PathBuf,
}

impl Format {
    /// The format that a file's name ends in.
    ///
    /// # Errors
    /// [`UnknownFormat`].
    pub fn of(path: &Path) -> Result<Self, UnknownFormat> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("tsv") => Ok(Self::Tsv),
            Some("jsonl") => Ok(Self::Jsonl),
            Some(_) | None => Err(UnknownFormat { path: path.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_tells_its_format() {
        assert_eq!(Format::of(Path::new("a/unicode.tsv")), Ok(Format::Tsv));
        assert_eq!(Format::of(Path::new("a.tsv/b.jsonl")), Ok(Format::Jsonl));
        assert!(Format::of(Path::new("records.json")).is_err() && Format::of(Path::new("tsv")).is_err());
    }
}
