//! The Rust client as the target of a measurement.

use bytes::Bytes;
use quorate_client::{Bucket, Client, Error, Session};
use quorate_protocol::OpId;
use quorate_protocol::outcome::{Receipt, ReplicaReport, ReplicaStatus};
use quorate_ring::NodeId;

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
    pub fn new(client: &Client, level: BenchLevel, wants_evidence: bool) -> Self {
        let bucket = client.default_bucket().level(level.level);
        let bucket = if level.session { bucket.session(&Session::new()) } else { bucket };
        Self { bucket, wants_evidence }
    }

    fn answered(&self, op_id: Option<OpId>, values: Vec<Bytes>, receipt: &Receipt) -> Answer {
        let evidence = self.wants_evidence.then(|| evidence(op_id, Some(receipt.coordinator), &receipt.replicas));
        Answer { ending: Ending::Ok, values, evidence }
    }

    fn failed(&self, error: &Error) -> Answer {
        let evidence = self.wants_evidence.then(|| evidence(error.op(), None, error.replicas()));
        Answer { ending: error.outcome().into(), values: Vec::new(), evidence }
    }
}

impl Target for ClientTarget {
    async fn get(&mut self, key: Bytes) -> Answer {
        match self.bucket.get(key).await {
            Ok(read) => self.answered(None, read.values().cloned().collect(), read.receipt()),
            Err(error) => self.failed(&error),
        }
    }

    async fn put(&mut self, key: Bytes, value: Bytes) -> Answer {
        match self.bucket.put(key, value).await {
            Ok(written) => self.answered(Some(written.op()), Vec::new(), written.receipt()),
            Err(error) => self.failed(&error),
        }
    }
}

fn evidence(op_id: Option<OpId>, coordinator: Option<NodeId>, replicas: &[ReplicaReport]) -> Evidence {
    let asked = replicas.iter().filter(|report| report.status != ReplicaStatus::NotAsked);
    let stale = replicas.iter().filter(|report| report.stale);
    Evidence { op_id, coordinator, asked: asked.map(|report| report.node).collect(), stale: stale.map(|report| report.node).collect() }
}
