//! One measured operation as a line of JSON, so that stores measured by different programs can be compared.

use serde::{Deserialize, Serialize, Serializer};

use super::run::Report;
use super::tally::Tally;
use crate::workload::Operation;

/// Throughput and latency of one kind of operation.
///
/// Further fields of a line, and lines of further operations, are read without complaint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The store: `quorate`, or another one.
    pub store: String,
    /// The operation as that store's program calls it: `put`, `get`, `serializable-get`, `cas`.
    pub op: String,
    /// The level, where the store has levels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// What is special about the keys, if anything is: their bucket, or that there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<String>,
    /// Callers with one operation at a time.
    pub clients: u64,
    /// Answered operations a second, written as a whole number.
    #[serde(serialize_with = "whole")]
    pub ops_per_s: f64,
    /// Median latency in microseconds.
    pub p50_us: u64,
    /// Latency that one of a hundred operations exceeds, in microseconds.
    pub p99_us: u64,
    /// Latency that one of a thousand operations exceeds, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p999_us: Option<u64>,
    /// The longest time that any caller was without an answer in that measurement, whatever it asked for, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_max_us: Option<u64>,
    /// Operations that failed.
    pub failed: u64,
    /// Of those, the ones that may have had an effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<u64>,
    /// Answers that something else was there than expected, of compare-and-sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflicts: Option<u64>,
    /// Answers that were checked and right, of operations that read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<u64>,
    /// Answers that break a promise, of operations that read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub violations: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are positive; the cast saturates above")]
fn whole<S: Serializer>(rate: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(rate.round() as u64)
}

impl Row {
    /// The rows of a report, one for each kind of operation in its mix.
    #[must_use]
    pub fn of(report: &Report) -> Vec<Self> {
        let row = |(operation, tally): &(Operation, Tally)| {
            let reads = *operation == Operation::Get;
            Self {
                store: "quorate".to_owned(),
                op: operation.to_string(),
                level: Some(report.level.to_string()),
                keys: None,
                clients: report.clients as u64,
                ops_per_s: report.per_second(tally),
                p50_us: tally.micros_at(0.5),
                p99_us: tally.micros_at(0.99),
                p999_us: Some(tally.micros_at(0.999)),
                wait_max_us: u64::try_from(report.longest_wait.as_micros()).ok(),
                failed: tally.failed(),
                unknown: Some(tally.unknown),
                conflicts: (*operation == Operation::Cas).then_some(tally.conflicts),
                verified: reads.then_some(report.verdict.verified),
                violations: reads.then_some(report.verdict.violations),
            }
        };
        report.operations.iter().map(row).collect()
    }

    /// The operation with its level, as a table names it: `get@quorum`, `put@linearizable(lin_only bucket)`, `serializable-get`.
    #[must_use]
    pub fn name(&self) -> String {
        let name = self.level.as_ref().map_or_else(|| self.op.clone(), |level| format!("{}@{level}", self.op));
        self.keys.as_ref().map_or_else(|| name.clone(), |keys| format!("{name}({keys})"))
    }
}
