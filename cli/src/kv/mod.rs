//! `get`, `put`, `del`, `siblings`: one request about one key.
//!
//! - *Upon a wrong key, value, level, context or session*: exit 2, and nothing was sent.
//! - *Upon a key without a value*: exit 3.
//! - *Upon several siblings*: all are printed, with a note; it is no failure unless `--fail-on-siblings` says so (5).
//! - *Upon too few replicas*: exit 6 if nothing was applied, 7 if that is not known.
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
use crate::explain::{self, Request};
use crate::globals::{Globals, connect};
use crate::output;
use crate::text::{InvalidInput, checked_key, from_base64};

mod read;
mod session;
mod write;

pub use read::{Get, Siblings, get, siblings};
pub use write::{Del, Put, del, put};

use session::SessionFile;

/// What all requests about a key can be told.
#[derive(Clone, Debug, Args)]
pub struct Target {
    /// The key: 1 to 1024 bytes, as text.
    key: String,

    /// The key is given as base64.
    #[arg(long)]
    key_base64: bool,

    /// The bucket the key is in.
    #[arg(long, value_name = "BUCKET", default_value_t = BucketName::default_bucket())]
    bucket: BucketName,

    /// How many replicas must take part [default: the bucket's own level].
    #[arg(long, value_name = "LEVEL", long_help = level_help())]
    level: Option<Level>,

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
    /// Checks everything that can be checked here, then connects.
    async fn prepare(&self, globals: &Globals) -> Result<Prepared, CliError> {
        let key = self.key().map_err(CliError::usage)?;
        let session = self.session.as_deref().map(SessionFile::open).transpose()?;
        if let Some(file) = &session {
            // A file that cannot be written is found out before the request, not after it was done.
            file.save()?;
        }
        let client = connect(globals).await?;
        let mut bucket = client.bucket(self.bucket.as_str());
        if let Some(level) = self.level {
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
    /// Keeps the session and tells the story, if they are asked for, of a request that has ended.
    fn ended<T>(
        &self,
        operation: &'static str,
        access: Access,
        result: Result<T, Error>,
        receipt: impl Fn(&T) -> &Receipt,
    ) -> Result<T, CliError> {
        if self.explain {
            output::note(self.story(operation, access, result.as_ref().map(receipt)).trim_end());
        }
        let answer = result?;
        if let Some(Err(error)) = self.session.as_ref().map(SessionFile::save) {
            output::note(format_args!("the {operation} was done, but the session could not be kept: {error}"));
        }
        Ok(answer)
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

/// What each level promises, with the usual three home replicas.
pub(crate) fn level_help() -> String {
    const REPLICAS: u8 = 3;
    let levels = [Level::Any, Level::One, Level::Quorum, Level::All, Level::Counts { r: 2, w: 1 }];
    let lines = levels.map(|level| format!("{level}: {}", level.describe(REPLICAS)));
    format!("How many replicas must take part [default: the bucket's own level]. With 3 home replicas per key:\n\n{}", lines.join("\n\n"))
}
