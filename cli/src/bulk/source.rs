//! A file of records, read line by line.
//!
//! A file is read twice: first to its end, so that a malformed line at the end is found before anything is sent, and so that
//! progress knows its goal; then again for sending.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::jsonl::{self, JsonlError};
use super::tsv::{self, TsvError};
use super::{Format, Record};
use crate::text::{InvalidInput, checked_key, checked_value};

/// Longest line, in bytes: more than a key with the most siblings of the largest size in base64, and little enough to hold.
pub const LINE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A file whose records are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// How it is written.
    pub format: Format,
}

/// A place in a file: how much of it lies before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Lines, and so records, before it.
    pub lines: u64,
    /// Bytes before it.
    pub bytes: u64,
}

/// A record and where it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The place behind its line.
    pub end: Place,
    /// The record.
    pub record: Record,
}

/// Why a file's records cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file could not be opened or read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A line is no record.
    #[error("{}:{line}: {source}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// Why not.
        source: LineError,
    },
}

/// Why a line is no record.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It is not TSV as it is written here.
    #[error(transparent)]
    Tsv(#[from] TsvError),
    /// It is not the JSON object of a record.
    #[error(transparent)]
    Jsonl(#[from] JsonlError),
    /// Its key or a value is too long, or its key is empty.
    #[error(transparent)]
    Limit(#[from] InvalidInput),
    /// It does not end within [`LINE_BYTES_MAX`].
    #[error("the line has more than {LINE_BYTES_MAX} bytes")]
    TooLong,
}

/// The records of a file from a place on.
#[derive(Debug)]
pub struct Records {
    source: Source,
    reader: BufReader<File>,
    place: Place,
    line: Vec<u8>,
}

impl Source {
    /// Opens the file at `start`.
    ///
    /// # Errors
    /// [`SourceError::Read`].
    pub fn records(&self, start: Place) -> Result<Records, SourceError> {
        let open = || {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(start.bytes))?;
            Ok(file)
        };
        let file = open().map_err(|source| self.unreadable(source))?;
        Ok(Records { source: self.clone(), reader: BufReader::new(file), place: start, line: Vec::new() })
    }

    /// Reads the whole file, so that no line of it can be found wrong later. Returns the place of its end.
    ///
    /// # Errors
    /// [`SourceError`] for the first line that is no record.
    pub fn check(&self) -> Result<Place, SourceError> {
        let mut end = Place::default();
        for placed in self.records(end)? {
            end = placed?.end;
        }
        Ok(end)
    }

    fn unreadable(&self, source: io::Error) -> SourceError {
        SourceError::Read { path: self.path.clone(), source }
    }

    fn decode(&self, line: &[u8]) -> Result<Record, LineError> {
        let record = match self.format {
            Format::Tsv => {
                let (key, value) = tsv::decode(line)?;
                Record { bucket: None, key: key.into(), values: vec![value.into()] }
            }
            Format::Jsonl => jsonl::decode(line)?,
        };
        checked_key(record.key.clone())?;
        for value in &record.values {
            checked_value(value.clone())?;
        }
        Ok(record)
    }
}

impl Records {
    fn read(&mut self) -> Result<Option<Placed>, SourceError> {
        self.line.clear();
        let limited = (&mut self.reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut self.line);
        let bytes = limited.map_err(|source| self.source.unreadable(source))?;
        if bytes == 0 {
            return Ok(None);
        }
        self.place = Place { lines: self.place.lines + 1, bytes: self.place.bytes + bytes as u64 };
        let body = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let decoded = if body.len() as u64 == LINE_BYTES_MAX { Err(LineError::TooLong) } else { self.source.decode(body) };
        match decoded {
            Ok(record) => Ok(Some(Placed { end: self.place, record })),
            Err(source) => Err(SourceError::Line { path: self.source.path.clone(), line: self.place.lines, source }),
        }
    }
}

impl Iterator for Records {
    type Item = Result<Placed, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// The file's name with `.progress` behind it.
#[must_use]
pub fn progress_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".progress");
    name.into()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tempfile::NamedTempFile;

    use super::*;

    fn file(text: &[u8]) -> (NamedTempFile, Source) {
        let mut file = NamedTempFile::new().expect("a temporary file");
        file.write_all(text).expect("written");
        let source = Source { path: file.path().to_owned(), format: Format::Tsv };
        (file, source)
    }

    #[test]
    fn reading_goes_on_where_it_stopped() {
        let (_file, source) = file("a\t1\nü\t2\nc\t3".as_bytes());
        let all: Vec<Placed> = source.records(Place::default()).expect("opens").map(|placed| placed.expect("a record")).collect();
        assert_eq!(all.iter().map(|placed| placed.end.bytes).collect::<Vec<_>>(), [4, 9, 12]);
        let rest: Vec<Placed> = source.records(all[0].end).expect("opens").map(|placed| placed.expect("a record")).collect();
        assert_eq!(rest, all[1..]);
        assert_eq!(source.check().expect("sound"), Place { lines: 3, bytes: 12 });
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number() {
        let refusal = |text: &[u8]| {
            let (file, source) = file(text);
            let error = source.check().expect_err("a wrong line").to_string();
            error.trim_start_matches(&file.path().display().to_string()).to_owned()
        };
        let not_utf8 = ":2: not UTF-8 at byte 1 of the line; JSON lines can carry such values as base64";
        assert_eq!(refusal(b"a\t1\nb\xff\t2\n"), not_utf8);
        assert_eq!(refusal(b"a\t1\n\n"), ":2: no tab between key and value");
        assert_eq!(refusal(b"\t1\n"), ":1: the key is empty; a key has 1 to 1024 bytes");
    }

    #[test]
    fn a_missing_file_is_named() {
        let source = Source { path: "no/such.tsv".into(), format: Format::Tsv };
        assert_eq!(source.check().expect_err("there is none").to_string(), "cannot read no/such.tsv");
    }
}
