//! The Rust client as the target of a measurement.

use bytes::Bytes;
use quorate_client::{Bucket, Cas, Current, Error, Expect, Session, Token};
use quorate_protocol::OpId;
use quorate_protocol::outcome::Receipt;

use super::plan::BenchLevel;
use super::target::{Answer, Ending, Evidence, Target};

/// One worker's access through a client, which it may share with other workers.
#[derive(Clone, Debug)]
pub struct ClientTarget {
    bucket: Bucket,
    wants_evidence: bool,
}

impl ClientTarget {
    /// A worker at a level. With a session, each call makes one of its own. `wants_evidence` when a history is written.
    #[must_use]
    pub fn new(bucket: Bucket, level: BenchLevel, wants_evidence: bool) -> Self {
        let bucket = bucket.level(level.level);
        let bucket = if level.session { bucket.session(&Session::new()) } else { bucket };
        Self { bucket, wants_evidence }
    }

    fn answered(&self, op_id: Option<OpId>, values: Vec<Bytes>, token: Option<Token>, receipt: &Receipt) -> Answer {
        let evidence = self.wants_evidence.then(|| Evidence::of(op_id, Some(receipt.coordinator), &receipt.replicas));
        Answer { ending: Ending::Ok, values, untold: false, token, evidence }
    }

    fn failed(&self, error: &Error) -> Answer {
        let evidence = self.wants_evidence.then(|| Evidence::of(error.op(), None, error.replicas()));
        Answer { ending: error.outcome().into(), values: Vec::new(), untold: false, token: None, evidence }
    }
}

impl Target for ClientTarget {
    async fn get(&mut self, key: Bytes) -> Answer {
        match self.bucket.get(key).await {
            Ok(read) => self.answered(None, read.values().cloned().collect(), read.token(), read.receipt()),
            Err(error) => self.failed(&error),
        }
    }

    async fn put(&mut self, key: Bytes, value: Bytes) -> Answer {
        match self.bucket.put(key, value).await {
            Ok(written) => self.answered(Some(written.op()), Vec::new(), written.token(), written.receipt()),
            Err(error) => self.failed(&error),
        }
    }

    async fn cas(&mut self, key: Bytes, expect: Expect, value: Bytes) -> Answer {
        match self.bucket.cas(key).expect(expect).set(value).in_full().await {
            Ok(changed) => {
                let answer = self.answered(Some(changed.op()), Vec::new(), Some(changed.token()), changed.receipt());
                match changed.value {
                    Cas::Applied { .. } => answer,
                    Cas::Conflict { current: Current { values, .. } } => {
                        Answer { ending: Ending::Conflict, untold: values.is_none(), values: values.unwrap_or_default(), ..answer }
                    }
                }
            }
            Err(error) => self.failed(&error),
        }
    }
}
