//! `--session FILE`: what a script has seen so far, kept between its commands.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use quorate_client::{Session, SessionTextError};

use crate::bulk::resume::replace;
use crate::error::CliError;

/// A session and the file it lives in.
#[derive(Debug)]
pub(super) struct SessionFile {
    path: PathBuf,
    session: Session,
}

/// The file holds no session. Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("{} holds no session", path.display())]
struct NotASession {
    path: PathBuf,
    source: SessionTextError,
}

impl SessionFile {
    /// Reads the session, or begins one if there is no such file.
    ///
    /// # Errors
    /// Exit 2 if the file cannot be read or holds something else.
    pub(super) fn open(path: &Path) -> Result<Self, CliError> {
        let session = match fs::read_to_string(path) {
            Ok(text) => text.parse().map_err(|source| CliError::usage(NotASession { path: path.to_owned(), source }))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Session::new(),
            Err(source) => return Err(CliError::Unreadable { path: path.to_owned(), source }),
        };
        Ok(Self { path: path.to_owned(), session })
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Writes the session back, at once or not at all.
    ///
    /// # Errors
    /// [`CliError::Unwritable`]; an earlier text of the session is still there then.
    pub(super) fn save(&self) -> Result<(), CliError> {
        let saved = replace(&self.path, self.session.to_string().as_bytes());
        saved.map_err(|source| CliError::Unwritable { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn a_session_is_begun_kept_and_found_again() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("session");
        SessionFile::open(&path).expect("begun").save().expect("kept");
        assert!(SessionFile::open(&path).expect("found").session().is_empty());
    }

    #[test]
    fn another_file_is_no_session() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("notes.txt");
        fs::write(&path, "milk\n").expect("writable");
        let refused = SessionFile::open(&path).expect_err("no session");
        assert!(refused.exit() == Exit::Usage && refused.to_string().ends_with("notes.txt holds no session"), "{refused}");
        assert_eq!(SessionFile::open(directory.path()).expect_err("a directory").exit(), Exit::Usage);
    }
}
