//! `get`, `put`, `del`, `siblings`, `cas`, `incr`, `outcome`: one request about one key.
//!
//! - *Upon a wrong key, value, level, context or session*: exit 2, and nothing was sent.
//! - *Upon a key without a value*: exit 3.
//! - *Upon several siblings*: all are printed, with a note; it is no failure unless `--fail-on-siblings` says so (5). As raw bytes
//!   they could not be told apart: none is printed then, and it is a failure.
//! - *Upon a cas that found something else*: exit 4; what was there is printed.
//! - *Upon too few replicas*: exit 6 if nothing was applied, 7 if that is not known.
//! - *Upon an unknown outcome of a write*: the error shows the command that goes on with it, under its operation id, and the one that
//!   settles it.
//! - *Upon an answer after which the session cannot be kept*: the answer is printed, then that; exit 1.
//!
//! A session (`--session FILE`) is read from its file before the request and written back after an answer, so that a script
//! of single commands reads its own writes. Two commands that use one file at the same time are two sessions, of which the
//! last to end is kept.

use bytes::Bytes;
use clap::Args;
use quorate_client::{Bucket, Client, Error, Receipt};
use quorate_config::BucketName;
use quorate_protocol::{Access, Level};

use crate::error::CliError;
use crate::exit::Exit;
use crate::explain::{self, Request};
use crate::globals::{Globals, connect};
use crate::level;
use crate::output;
use crate::text::{InvalidInput, checked_key, from_base64};

mod change;
mod fate;
mod read;
mod session;
mod write;

pub use change::{CasCommand, ExpectText, ExpectTextError, Found, IncrCommand, cas, incr};
pub use fate::{OutcomeCommand, Told, outcome};
pub use read::{Get, Siblings, get, siblings};
pub use write::{Del, Put, del, put};

use session::SessionFile;

/// What reads and plain writes can be told.
#[derive(Clone, Debug, Args)]
pub struct Target {
    #[command(flatten)]
    place: Place,

    /// How many replicas must take part [default: the bucket's own level].
    #[arg(long, value_name = "LEVEL", long_help = level::help())]
    level: Option<Level>,
}

/// What all requests about a key can be told.
#[derive(Clone, Debug, Args)]
pub struct Place {
    /// The key: 1 to 1024 bytes, as text.
    key: String,

    /// The key is given as base64.
    #[arg(long)]
    key_base64: bool,

    /// The bucket the key is in.
    #[arg(long, value_name = "BUCKET", default_value_t = BucketName::default_bucket())]
    bucket: BucketName,

    /// Go on with the session in this file, which is made if there is none: reads show its own writes and never go back.
    #[arg(long, value_name = "FILE")]
    session: Option<std::path::PathBuf>,

    /// Tell on stderr what each replica did.
    #[arg(long)]
    explain: bool,
}

/// A target that has been checked, and the way to it.
struct Prepared {
    key: Bytes,
    bucket: Bucket,
    session: Option<SessionFile>,
    client: Client,
    explain: bool,
}

impl Target {
    async fn prepare(&self, globals: &Globals, access: Access) -> Result<Prepared, CliError> {
        self.place.prepare(self.level, globals, access).await
    }
}

impl Place {
    /// Checks everything that can be checked here, then connects.
    async fn prepare(&self, level: Option<Level>, globals: &Globals, access: Access) -> Result<Prepared, CliError> {
        let key = self.key().map_err(CliError::usage)?;
        let session = self.session.as_deref().map(SessionFile::open).transpose()?;
        if let Some(file) = &session {
            // A file that cannot be written is found out before the request, not after it was done.
            file.save()?;
        }
        let client = connect(globals, access).await?;
        let mut bucket = client.bucket(self.bucket.as_str());
        if let Some(level) = level {
            bucket = bucket.level(level);
        }
        if let Some(file) = &session {
            bucket = bucket.session(file.session());
        }
        Ok(Prepared { key, bucket, session, client, explain: self.explain })
    }

    fn key(&self) -> Result<Bytes, InvalidInput> {
        let key = if self.key_base64 { from_base64("key", &self.key)? } else { Bytes::from(self.key.clone()) };
        checked_key(key)
    }
}

impl Prepared {
    /// Tells the story, if it is asked for, of a request that has ended.
    fn answer<T>(
        &self,
        operation: &'static str,
        access: Access,
        result: Result<T, Error>,
        receipt: impl Fn(&T) -> &Receipt,
    ) -> Result<T, CliError> {
        if self.explain {
            output::note(self.story(operation, access, result.as_ref().map(receipt)).trim_end());
        }
        Ok(result?)
    }

    /// Ends a command that had an answer, once it was printed or could not be: keeps the session, if there is one.
    fn end(&self, done: &str, printed: Result<(), CliError>, exit: Exit) -> Result<Exit, CliError> {
        let kept = self.session.as_ref().map_or(Ok(()), SessionFile::save);
        printed?;
        Ok(ended(done, kept, exit))
    }

    fn story(&self, operation: &'static str, access: Access, result: Result<&Receipt, &Error>) -> String {
        let partitions = self.client.topology().ring.partitions;
        let request = Request { operation, access, bucket: self.bucket.name(), key: &self.key, partitions };
        match result {
            Ok(receipt) => explain::answered(&request, receipt),
            Err(error) => explain::failed(&request, error.operation().level, error.outcome(), error.replicas()),
        }
    }
}

/// How a command ends whose answer was printed and whose session was `kept`.
fn ended(done: &str, kept: Result<(), CliError>, exit: Exit) -> Exit {
    let Err(error) = kept else { return exit };
    let why = [vec![error.to_string()], error.causes()].concat().join(": ");
    output::error(format_args!("{done}, but the session could not be kept: {why}"));
    Exit::Failure
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was stored is not denied, and yet the script hears that its session has not seen it.
    #[test]
    fn an_answer_without_its_session_is_a_failure_and_no_error() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = SessionFile::open(&directory.path().join("session")).expect("begun");
        assert_eq!(ended("stored", file.save(), Exit::Ok), Exit::Ok);
        directory.close().expect("removed");
        assert_eq!(ended("stored", file.save(), Exit::Ok), Exit::Failure);
    }
}
