//! What `--output json` prints: one object on one line, with these field names. They are part of the interface: fields may
//! be added, never renamed.
//!
//! ```text
#![doc = include_str!("json-fields.txt")]
//! ```

use quorate_client::{Cas, Changed, Current, Fate, OpId, Read, Written};
use quorate_protocol::Outcome;
use quorate_protocol::outcome::{Receipt, ReplicaReport, ReplicaStatus};
use quorate_ring::NodeId;
use quorate_rpc::kv::Sibling;
use serde::Serialize;

use crate::text::text_or_base64;

/// The field names of every object, for people: what `--help` and the manual page print.
pub const FIELDS: &str = include_str!("json-fields.txt");

/// What a read found.
#[derive(Debug, Serialize)]
pub struct ReadFields {
    outcome: &'static str,
    bucket: String,
    #[serde(flatten)]
    key: KeyFields,
    found: bool,
    #[serde(flatten)]
    value: Option<ValueFields>,
    siblings: Vec<SiblingFields>,
    context: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    receipt: ReceiptFields,
}

/// What a write left behind.
#[derive(Debug, Serialize)]
pub struct WriteFields {
    outcome: &'static str,
    bucket: String,
    #[serde(flatten)]
    key: KeyFields,
    operation_id: String,
    context: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    receipt: ReceiptFields,
}

/// What became of a compare-and-set.
#[derive(Debug, Serialize)]
pub struct CasFields {
    outcome: &'static str,
    conflict: bool,
    bucket: String,
    #[serde(flatten)]
    key: KeyFields,
    /// What was there instead; absent if that is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<bool>,
    #[serde(flatten)]
    value: Option<ValueFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<Vec<ValueFields>>,
    operation_id: String,
    context: String,
    token: String,
    receipt: ReceiptFields,
}

/// What an increment made of the number.
#[derive(Debug, Serialize)]
pub struct IncrFields {
    outcome: &'static str,
    bucket: String,
    #[serde(flatten)]
    key: KeyFields,
    result: i64,
    operation_id: String,
    context: String,
    token: String,
    receipt: ReceiptFields,
}

/// What became of an operation that was asked about.
#[derive(Debug, Serialize)]
pub struct FateFields {
    outcome: &'static str,
    bucket: String,
    #[serde(flatten)]
    key: KeyFields,
    operation_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// What its function returned.
    #[serde(flatten)]
    result: Option<ValueFields>,
}

/// One of a key's current values.
#[derive(Debug, Serialize)]
pub struct SiblingFields {
    #[serde(flatten)]
    value: ValueFields,
    dot: String,
    written_ms: u64,
    operation_id: Option<String>,
}

/// A key, under one of two field names.
#[derive(Debug, Serialize)]
pub struct KeyFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
}

/// A value, under one of two field names.
#[derive(Debug, Serialize)]
pub struct ValueFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

/// What an operation reached.
#[derive(Debug, Serialize)]
pub struct ReceiptFields {
    level: String,
    coordinator: String,
    epoch: u64,
    needed: u8,
    answered: usize,
    versions: u8,
    micros: u64,
    hint_only: bool,
    rounds: u16,
    replicas: Vec<ReplicaFields>,
}

/// One home replica's part in an operation.
#[derive(Debug, Serialize)]
pub struct ReplicaFields {
    node: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
    micros: u64,
    stale: bool,
    repaired: bool,
    hinted: bool,
}

impl ReadFields {
    /// The fields of a read of a bucket.
    #[must_use]
    pub fn new(bucket: &str, read: &Read) -> Self {
        let single = match read.siblings() {
            [only] => Some(ValueFields::new(&only.value)),
            [] | [_, _, ..] => None,
        };
        Self {
            outcome: "ok",
            bucket: bucket.to_owned(),
            key: KeyFields::new(read.key()),
            found: !read.siblings().is_empty(),
            value: single,
            siblings: read.siblings().iter().map(SiblingFields::from).collect(),
            context: read.context().to_string(),
            token: read.token().map(|token| token.to_string()),
            receipt: read.receipt().into(),
        }
    }
}

impl WriteFields {
    /// The fields of a write to a key of a bucket.
    #[must_use]
    pub fn new(bucket: &str, key: &[u8], written: &Written) -> Self {
        Self {
            outcome: "ok",
            bucket: bucket.to_owned(),
            key: KeyFields::new(key),
            operation_id: written.op().to_string(),
            context: written.context().to_string(),
            token: written.token().map(|token| token.to_string()),
            receipt: written.receipt().into(),
        }
    }
}

impl CasFields {
    /// The fields of one that was applied.
    #[must_use]
    pub fn applied(bucket: &str, key: &[u8], changed: &Changed<Cas>) -> Self {
        Self {
            outcome: "ok",
            conflict: false,
            bucket: bucket.to_owned(),
            key: KeyFields::new(key),
            found: None,
            value: None,
            values: None,
            operation_id: changed.op().to_string(),
            context: changed.context().to_string(),
            token: changed.token().to_string(),
            receipt: changed.receipt().into(),
        }
    }

    /// The fields of one that found something else.
    #[must_use]
    pub fn conflict(bucket: &str, key: &[u8], changed: &Changed<Cas>, current: &Current) -> Self {
        Self {
            outcome: "not_applied",
            conflict: true,
            found: current.values.as_ref().map(|values| !values.is_empty()),
            value: current.single().map(|value| ValueFields::new(value)),
            values: current.values.as_ref().map(|values| values.iter().map(|value| ValueFields::new(value)).collect()),
            ..Self::applied(bucket, key, changed)
        }
    }
}

impl IncrFields {
    /// The fields of an increment.
    #[must_use]
    pub fn new(bucket: &str, key: &[u8], changed: &Changed<i64>) -> Self {
        Self {
            outcome: "ok",
            bucket: bucket.to_owned(),
            key: KeyFields::new(key),
            result: changed.value,
            operation_id: changed.op().to_string(),
            context: changed.context().to_string(),
            token: changed.token().to_string(),
            receipt: changed.receipt().into(),
        }
    }
}

impl FateFields {
    /// The fields of an answer about an operation on a key.
    #[must_use]
    pub fn new(bucket: &str, key: &[u8], op: OpId, fate: &Fate) -> Self {
        let (outcome, why, token, result) = match fate {
            Fate::Applied { token, result } => ("ok", None, token.map(|token| token.to_string()), result.as_ref()),
            Fate::NotApplied(why) => ("not_applied", Some(why.to_string()), None, None),
            Fate::Unknown(why) => ("unknown", Some(why.to_string()), None, None),
        };
        let result = result.map(|result| ValueFields::new(result));
        Self { outcome, bucket: bucket.to_owned(), key: KeyFields::new(key), operation_id: op.to_string(), why, token, result }
    }
}

impl From<&Sibling> for SiblingFields {
    fn from(sibling: &Sibling) -> Self {
        Self {
            value: ValueFields::new(&sibling.value),
            dot: sibling.dot.to_string(),
            written_ms: sibling.hlc.ms(),
            operation_id: sibling.op.map(|op| op.to_string()),
        }
    }
}

impl KeyFields {
    /// The fields of a key.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        let (key, key_base64) = text_or_base64(key);
        Self { key, key_base64 }
    }
}

impl ValueFields {
    /// The fields of a value.
    #[must_use]
    pub fn new(value: &[u8]) -> Self {
        let (value, value_base64) = text_or_base64(value);
        Self { value, value_base64 }
    }
}

impl From<&Receipt> for ReceiptFields {
    fn from(receipt: &Receipt) -> Self {
        Self {
            level: receipt.level.to_string(),
            coordinator: receipt.coordinator.to_string(),
            epoch: receipt.epoch.0,
            needed: receipt.needed,
            answered: receipt.answered(),
            versions: receipt.versions,
            micros: receipt.micros,
            hint_only: receipt.hint_only,
            rounds: receipt.rounds,
            replicas: receipt.replicas.iter().map(ReplicaFields::from).collect(),
        }
    }
}

impl From<&ReplicaReport> for ReplicaFields {
    fn from(report: &ReplicaReport) -> Self {
        let (status, refusal) = match &report.status {
            ReplicaStatus::NotAsked => ("not_asked", None),
            ReplicaStatus::Waiting => ("waiting", None),
            ReplicaStatus::Answered => ("answered", None),
            ReplicaStatus::Down => ("down", None),
            ReplicaStatus::TimedOut => ("timed_out", None),
            ReplicaStatus::Refused(refusal) => ("refused", Some(refusal.to_string())),
        };
        Self {
            node: report.node.to_string(),
            status,
            refusal,
            micros: report.micros,
            stale: report.stale,
            repaired: report.repaired,
            hinted: report.hinted,
        }
    }
}

/// How JSON spells an outcome that is not `ok`.
#[must_use]
pub fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::NotApplied => "not_applied",
        Outcome::Unknown => "unknown",
    }
}

/// Node names in order.
pub fn nodes(nodes: impl IntoIterator<Item = NodeId>) -> Vec<String> {
    nodes.into_iter().map(|node| node.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use quorate_protocol::Level;
    use quorate_protocol::replica::Refusal;
    use quorate_ring::RingEpoch;

    use super::*;

    fn json(fields: &impl Serialize) -> String {
        serde_json::to_string(fields).expect("plain fields serialise")
    }

    #[test]
    fn bytes_are_text_or_base64() {
        assert_eq!(json(&KeyFields::new(b"cart:7")), r#"{"key":"cart:7"}"#);
        assert_eq!(json(&ValueFields::new(&[0xff])), r#"{"value_base64":"/w=="}"#);
    }

    #[test]
    fn a_receipt_has_the_documented_fields() {
        let answered = ReplicaReport { status: ReplicaStatus::Answered, micros: 210, ..ReplicaReport::not_asked(NodeId(2)) };
        let refused = ReplicaReport { status: ReplicaStatus::Refused(Refusal::DiskFull), ..ReplicaReport::not_asked(NodeId(1)) };
        let receipt = Receipt {
            level: Level::One,
            coordinator: NodeId(2),
            epoch: RingEpoch(1),
            needed: 1,
            replicas: vec![answered, refused],
            versions: 1,
            micros: 350,
            hint_only: false,
            rounds: 0,
        };
        let documented = concat!(
            r#"{"level":"one","coordinator":"n2","epoch":1,"needed":1,"answered":1,"versions":1,"micros":350,"hint_only":false,"rounds":0,"#,
            r#""replicas":[{"node":"n2","status":"answered","micros":210,"stale":false,"repaired":false,"hinted":false},"#,
            r#"{"node":"n1","status":"refused","refusal":"has no disk space left","micros":0,"stale":false,"repaired":false,"hinted":false}]}"#
        );
        assert_eq!(json(&ReceiptFields::from(&receipt)), documented);
    }
}
