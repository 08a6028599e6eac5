//! What is measured: something that reads, writes, and compares and sets one key.

use std::future::Future;

use bytes::Bytes;
use quorate_client::{Expect, Token};
use quorate_protocol::outcome::{ReplicaReport, ReplicaStatus};
use quorate_protocol::{OpId, Outcome};
use quorate_ring::NodeId;

/// What came of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// It was answered.
    Ok,
    /// A compare-and-set was answered that something else is there than it expected. It has no effect.
    Conflict,
    /// It failed and has no effect.
    NotApplied,
    /// It failed and may have an effect, or may have one yet.
    Unknown,
}

impl From<Outcome> for Ending {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::NotApplied => Self::NotApplied,
            Outcome::Unknown => Self::Unknown,
        }
    }
}

/// Who took part in an operation, for its line in the history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The operation, if it was a write.
    pub op_id: Option<OpId>,
    /// The node that coordinated it.
    pub coordinator: Option<NodeId>,
    /// Home replicas that were asked.
    pub asked: Vec<NodeId>,
    /// Those that answered with less than others.
    pub stale: Vec<NodeId>,
}

impl Evidence {
    /// What replicas reported of an operation.
    pub(crate) fn of(op_id: Option<OpId>, coordinator: Option<NodeId>, replicas: &[ReplicaReport]) -> Self {
        let asked = replicas.iter().filter(|report| report.status != ReplicaStatus::NotAsked);
        let stale = replicas.iter().filter(|report| report.stale);
        Self { op_id, coordinator, asked: asked.map(|report| report.node).collect(), stale: stale.map(|report| report.node).collect() }
    }
}

/// The answer to one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What came of it.
    pub ending: Ending,
    /// The values a read returned, or a conflict told; none if the key is absent, several if they are siblings.
    pub values: Vec<Bytes>,
    /// True if a conflict did not tell what was there.
    pub untold: bool,
    /// The key's version then, where the level has versions.
    pub token: Option<Token>,
    /// Who took part, if the target was asked to say.
    pub evidence: Option<Evidence>,
}

/// One worker's access to a store. The worker has one operation at a time.
pub trait Target: Send + 'static {
    /// Reads a key.
    fn get(&mut self, key: Bytes) -> impl Future<Output = Answer> + Send;
    /// Writes a key without having read it.
    fn put(&mut self, key: Bytes, value: Bytes) -> impl Future<Output = Answer> + Send;
    /// Writes a key if it is as expected.
    fn cas(&mut self, key: Bytes, expect: Expect, value: Bytes) -> impl Future<Output = Answer> + Send;
}
