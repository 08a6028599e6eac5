//! What the checks of the levels' promises say, in words and in JSON. What they check: [`quorate_checker::promises`].

use std::fmt;

use quorate_checker::finding::{Evidence, Finding};
use quorate_checker::history::History;
use quorate_checker::promises::Judged;
use quorate_checker::timeline::Timeline;
use serde::Serialize;

use crate::output::Count;

/// Findings of one check that are told, each with at most so many operations drawn.
const TOLD_MAX: usize = 10;
const DRAWN_MAX: usize = 12;

/// One check in JSON.
#[derive(Debug, Serialize)]
pub(super) struct CheckFields<'a> {
    check: &'static str,
    judged: u64,
    violations: Vec<FindingFields<'a>>,
}

#[derive(Debug, Serialize)]
struct FindingFields<'a> {
    kind: &'static str,
    key: &'a str,
    words: String,
    /// Positions in the history, counted from 0.
    operations: Vec<usize>,
}

impl<'a> CheckFields<'a> {
    pub(super) fn of(check: &Judged, history: &'a History) -> Self {
        let fields = |finding: &Finding| FindingFields {
            kind: finding.kind(),
            key: history.names.key_text(finding.key()),
            words: finding.in_words(history).to_string(),
            operations: finding.operations(),
        };
        Self { check: check.name, judged: check.judged, violations: check.findings.iter().map(fields).collect() }
    }
}

/// The first findings of a check in words, drawn.
pub(super) struct Told<'a> {
    pub(super) judged: &'a Judged,
    pub(super) history: &'a History,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { judged, history } = self;
        for finding in judged.findings.iter().take(TOLD_MAX) {
            writeln!(f, "{}", finding.in_words(history))?;
            let operations = finding.operations();
            let drawn = &operations[..operations.len().min(DRAWN_MAX)];
            for row in Timeline::new(history, drawn).to_string().lines() {
                writeln!(f, "  {row}")?;
            }
        }
        match judged.findings.len().saturating_sub(TOLD_MAX) {
            0 => Ok(()),
            more => writeln!(f, "and {} more of {}", Count(more as u64, "finding"), judged.name),
        }
    }
}
