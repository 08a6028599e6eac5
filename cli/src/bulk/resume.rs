//! `FILE.progress`: how far a load has come, so that `--resume` goes on from there.
//!
//! **Promise.** Every record before the place in the file is in the cluster. Records behind it may be in it too: they are put
//! again, which replaces them by themselves.
//!
//! **Rules.**
//! - *Upon the begin of a load*: the file is written, whether or not it resumes an earlier one, so that every load can be resumed.
//! - *Upon a record that was stored*: the place moves on if no earlier record is outstanding.
//! - *Upon a record that failed*: the place stays before it for good, so that the next run puts it again.
//! - *Upon saving*: the file is written beside its name and renamed, so a killed load leaves an old place, never half a one.
//! - *Upon the end of a load without failures*: the file is removed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::source::Place;

/// Moves on over records that are stored, and never over one that is not.
#[derive(Debug)]
pub struct Watermark {
    place: Place,
    /// Stored records with one before them that is not, by line, with their end.
    ahead: BTreeMap<u64, Place>,
}

/// The contents of a progress file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    /// Lines of the record file that are done.
    lines: u64,
    /// Bytes of the record file that are done.
    bytes: u64,
    /// Length of the record file, by which another file of the same name is noticed.
    file_bytes: u64,
}

/// The progress of a load that can be resumed.
#[derive(Clone, Debug)]
pub struct Progress {
    path: PathBuf,
    end: Place,
}

/// Why a load cannot be resumed or its progress not be kept.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The progress file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The progress file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The progress file could not be written. The load itself is not affected.
    #[error("cannot write {}", path.display())]
    Write {
        /// The progress file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The progress file is not one.
    #[error("{} is no progress file; remove it to begin anew", path.display())]
    Damaged {
        /// The progress file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The record file has changed since.
    #[error("{} is about a file of {then} bytes and the file has {now} now; remove it to begin anew", path.display())]
    OtherFile {
        /// The progress file.
        path: PathBuf,
        /// Length of the record file then.
        then: u64,
        /// Its length now.
        now: u64,
    },
}

impl Watermark {
    /// Everything before `start` is stored.
    #[must_use]
    pub fn new(start: Place) -> Self {
        Self { place: start, ahead: BTreeMap::new() }
    }

    /// A record that ends at `end` is stored.
    pub fn stored(&mut self, end: Place) {
        self.ahead.insert(end.lines, end);
        while let Some(next) = self.ahead.remove(&(self.place.lines + 1)) {
            self.place = next;
        }
    }

    /// The place before which every record is stored.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }
}

impl Progress {
    /// The progress of a record file that ends at `end`, kept in `path`.
    #[must_use]
    pub fn new(path: PathBuf, end: Place) -> Self {
        Self { path, end }
    }

    /// Where to go on: the saved place, or the beginning if none was saved.
    ///
    /// # Errors
    /// [`ResumeError`] if there is a progress file that cannot be used.
    pub fn start(&self) -> Result<Place, ResumeError> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Place::default()),
            Err(source) => return Err(ResumeError::Read { path: self.path.clone(), source }),
        };
        let saved: Saved = serde_json::from_slice(&text).map_err(|source| ResumeError::Damaged { path: self.path.clone(), source })?;
        if saved.file_bytes != self.end.bytes || saved.lines > self.end.lines || saved.bytes > self.end.bytes {
            return Err(ResumeError::OtherFile { path: self.path.clone(), then: saved.file_bytes, now: self.end.bytes });
        }
        Ok(Place { lines: saved.lines, bytes: saved.bytes })
    }

    /// Saves a place.
    ///
    /// # Errors
    /// [`ResumeError::Write`]; an earlier saved place is still there then.
    pub fn save(&self, place: Place) -> Result<(), ResumeError> {
        let saved = Saved { lines: place.lines, bytes: place.bytes, file_bytes: self.end.bytes };
        let text = serde_json::to_vec(&saved).expect("numbers always serialise");
        replace(&self.path, &text).map_err(|source| ResumeError::Write { path: self.path.clone(), source })
    }

    /// Forgets the saved place.
    ///
    /// # Errors
    /// [`ResumeError::Write`] if the file is there and cannot be removed.
    pub fn clear(&self) -> Result<(), ResumeError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(|source| ResumeError::Write { path: self.path.clone(), source }),
        }
    }
}

/// Replaces a file's contents at once: whoever reads it sees the old contents or the new ones.
///
/// # Errors
/// What the operating system says; the old contents are still there then.
pub fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    fs::write(&beside, contents)?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(line: u64) -> Place {
        Place { lines: line, bytes: line * 10 }
    }

    #[test]
    fn the_watermark_never_passes_a_record_that_is_not_stored() {
        let mut watermark = Watermark::new(end(2));
        watermark.stored(end(4));
        watermark.stored(end(5));
        assert_eq!(watermark.place(), end(2), "line 3 is outstanding");
        watermark.stored(end(3));
        assert_eq!(watermark.place(), end(5));
        watermark.stored(end(7));
        assert_eq!(watermark.place(), end(5), "line 6 failed");
    }

    #[test]
    fn a_saved_place_is_found_again_unless_the_file_has_changed() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("records.tsv.progress");
        let progress = Progress::new(path.clone(), end(9));
        assert_eq!(progress.start().expect("none saved"), Place::default());
        progress.save(end(4)).expect("writable");
        assert_eq!(progress.start().expect("saved"), end(4));
        let grown = Progress::new(path.clone(), end(10));
        assert!(matches!(grown.start(), Err(ResumeError::OtherFile { then: 90, now: 100, .. })));
        fs::write(&path, "4 of 9").expect("writable");
        assert!(matches!(progress.start(), Err(ResumeError::Damaged { .. })));
        progress.clear().expect("removed");
        assert!(!path.exists() && progress.clear().is_ok());
    }
}
