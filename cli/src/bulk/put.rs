//! Putting one record of a load, again and again until it is stored or it is time to give up.
//!
//! - *Upon a failure that may pass* (a node that is down, a full queue): wait, longer each time, and put again.
//! - *Upon an unknown outcome*: keep the operation id from then on, so that a retry finds the earlier write instead of making
//!   another. Whatever a later attempt says of itself, the outcome stays unknown until one succeeds.
//! - *Upon a record with siblings*: the first value replaces what is there, the others are put beside it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate_client::{Bucket, Client, Error, OpId, Reason};
use quorate_protocol::{Level, Outcome};
use tokio::time::sleep;

use super::Record;
use super::lanes::Stop;
use crate::error::exit_of;
use crate::exit::Exit;

const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Puts records.
#[derive(Clone, Debug)]
pub struct Putter {
    /// The way to the cluster.
    pub client: Client,
    /// The bucket of records that name none.
    pub bucket: Arc<str>,
    /// The level; the bucket's own if absent.
    pub level: Option<Level>,
    /// How long one value is put again.
    pub give_up_after: Duration,
    /// After this nothing is put again.
    pub stop: Stop,
}

/// How often the values of a stored record had to be put again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retries(pub u32);

/// A record that could not be stored.
#[derive(Debug)]
pub struct Failed {
    /// What is known of all attempts together; the error speaks of the last.
    pub outcome: Outcome,
    /// Why the last attempt failed.
    pub error: Error,
    /// When the first attempt began.
    pub began: Instant,
}

impl Putter {
    /// Puts all values of a record.
    ///
    /// # Errors
    /// [`Failed`] for the first value that could not be stored; those before it are.
    pub async fn store(&self, record: &Record) -> Result<Retries, Failed> {
        let mut bucket = self.client.bucket(record.bucket.as_deref().unwrap_or(&self.bucket));
        if let Some(level) = self.level {
            bucket = bucket.level(level);
        }
        let mut retries = Retries::default();
        for index in 0..record.values.len() {
            retries.0 += self.put(&bucket, record, index).await?.0;
        }
        Ok(retries)
    }

    async fn put(&self, bucket: &Bucket, record: &Record, index: usize) -> Result<Retries, Failed> {
        let began = Instant::now();
        let mut retries = Retries::default();
        let mut unknown: Option<OpId> = None;
        loop {
            let mut put = bucket.put(&record.key, record.values[index].clone());
            if index > 0 {
                put = put.concurrent();
            }
            if let Some(op) = unknown {
                put = put.op_id(op);
            }
            let error = match put.await {
                Ok(_) => return Ok(retries),
                Err(error) => error,
            };
            if error.outcome() == Outcome::Unknown {
                unknown = unknown.or(error.op());
            }
            let wait = backoff(retries);
            let too_late = self.stop.is_called() || began.elapsed() + wait >= self.give_up_after;
            if too_late || !error.is_retryable() {
                let outcome = if unknown.is_some() { Outcome::Unknown } else { error.outcome() };
                return Err(Failed { outcome, error, began });
            }
            retries.0 += 1;
            sleep(wait).await;
        }
    }
}

/// Doubles with every retry.
fn backoff(retries: Retries) -> Duration {
    BACKOFF_MIN.saturating_mul(1 << retries.0.min(16)).min(BACKOFF_MAX)
}

impl Failed {
    /// How a command ends for which this is the worst that happened.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self.outcome {
            Outcome::Unknown => Exit::Unknown,
            Outcome::NotApplied => exit_of(&self.error),
        }
    }

    /// True when the refusal is not about this record, so that all others would meet it too.
    #[must_use]
    pub fn concerns_all(&self) -> bool {
        matches!(self.error.reason(), Some(Reason::UnknownBucket { .. } | Reason::BlindWriteRefused { .. } | Reason::InvalidLevel(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_between_retries_grow_and_end() {
        assert_eq!(backoff(Retries(0)), BACKOFF_MIN);
        assert_eq!(backoff(Retries(2)), BACKOFF_MIN * 4);
        assert_eq!(backoff(Retries(u32::MAX)), BACKOFF_MAX);
    }
}
