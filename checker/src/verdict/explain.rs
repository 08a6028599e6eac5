//! A report with the history's texts: for people, and for programs.

use std::fmt;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::words::Sentence;
use super::{Method, Overall, Report, Undecided, Verdict, Violation};
use crate::format::OperationLine;
use crate::history::{History, KeyId};
use crate::timeline::Timeline;

/// So many violations, and so many undecided keys, are told. The rest is counted; as data, all are there.
const TOLD_MAX: usize = 10;
/// So many operations of one violation are drawn.
const DRAWN_MAX: usize = 24;

impl Report {
    /// The report with the texts of its history.
    #[must_use]
    pub fn explain<'a>(&'a self, history: &'a History) -> Explained<'a> {
        Explained { report: self, history }
    }
}

/// A report with the texts of its history.
///
/// `Display` says it in words, with a drawing for each of the first violations. `Serialize` gives an object:
///
/// ```json
/// {"verdict":"violation","operations":4,
///  "keys":{"total":1,"linearizable":0,"violated":1,"undecided":0,"searched":0},
///  "violations":[{"key":"k","rule":"two-orders","method":"exact","words":"process 3 read v1 after ...",
///                 "evidence":[{"at":0,"operation":{"process":1,"op":"write",...}}]}],
///  "undecided":[{"key":"l","method":"register-search","operations":300,"why":"..."}]}
/// ```
///
/// `at` is a position in the history's list of operations, counted from 0.
#[derive(Clone, Copy, Debug)]
pub struct Explained<'a> {
    report: &'a Report,
    history: &'a History,
}

impl Explained<'_> {
    fn key(&self, key: KeyId) -> &str {
        self.history.names.key_text(key)
    }

    fn counts(&self) -> Counts {
        let count = |wanted: fn(&Verdict) -> bool| self.report.keys.iter().filter(|key| wanted(&key.verdict)).count();
        Counts {
            total: self.report.keys.len(),
            linearizable: count(|verdict| matches!(verdict, Verdict::Linearizable)),
            violated: count(|verdict| matches!(verdict, Verdict::Violation(_))),
            undecided: count(|verdict| matches!(verdict, Verdict::Undecided(_))),
            searched: self.report.keys.iter().filter(|key| key.method != Method::Exact).count(),
        }
    }

    fn summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { total, violated, undecided, .. } = self.counts();
        let word = match self.report.overall() {
            Overall::Linearizable => "linearizable",
            Overall::Violation => "not linearizable",
            Overall::Undecided => "undecided",
        };
        let plural = if total == 1 { "" } else { "s" };
        write!(f, "{word}: {} operations on {total} key{plural}", self.report.operations())?;
        if violated > 0 && total > 1 {
            write!(f, ", {violated} not linearizable")?;
        }
        if undecided > 0 && total > 1 {
            write!(f, ", {undecided} undecided")?;
        }
        Ok(())
    }

    fn violation(&self, violation: &Violation, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentence = Sentence { history: self.history, rule: &violation.rule };
        write!(f, "\n\nkey {}: {sentence} ({})", self.key(violation.key), violation.rule.name())?;
        let mut operations = violation.operations();
        operations.sort_by_key(|&at| (self.history.operations[at].call, at));
        let left_out = operations.len().saturating_sub(DRAWN_MAX);
        if left_out > 0 {
            write!(f, "\n  ({left_out} earlier operations are not drawn)")?;
        }
        for row in Timeline::new(self.history, &operations[left_out..]).to_string().lines() {
            write!(f, "\n  {row}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.summary(f)?;
        for violation in self.report.violations().take(TOLD_MAX) {
            self.violation(violation, f)?;
        }
        if let Some(more) = self.report.violations().count().checked_sub(TOLD_MAX).filter(|more| *more > 0) {
            write!(f, "\n\nand {more} more keys that are not linearizable")?;
        }
        for (key, why) in self.report.undecided().take(TOLD_MAX) {
            write!(f, "\n\nkey {}: undecided: {why}", self.key(key))?;
        }
        if let Some(more) = self.report.undecided().count().checked_sub(TOLD_MAX).filter(|more| *more > 0) {
            write!(f, "\n\nand {more} more keys that are undecided")?;
        }
        Ok(())
    }
}

impl fmt::Display for Undecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StatesExhausted => write!(f, "the search reached its limit"),
            Self::Stopped => write!(f, "stopped before the end"),
            Self::CoversUnknown { write } => {
                write!(f, "there are siblings, and the write at position {write} does not say what it covered")
            }
            Self::CoversAmbiguous { write } => {
                write!(f, "the write at position {write} covered a value that several wrote")
            }
        }
    }
}

#[derive(Serialize)]
struct Counts {
    total: usize,
    linearizable: usize,
    violated: usize,
    undecided: usize,
    searched: usize,
}

#[derive(Serialize)]
struct ViolationPart<'a> {
    key: &'a str,
    rule: &'static str,
    method: Method,
    words: String,
    evidence: Vec<EvidencePart<'a>>,
}

#[derive(Serialize)]
struct EvidencePart<'a> {
    at: usize,
    operation: OperationLine<'a>,
}

#[derive(Serialize)]
struct UndecidedPart<'a> {
    key: &'a str,
    method: Method,
    operations: usize,
    why: String,
}

impl Serialize for Explained<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { report, history } = self;
        let evidence = |violation: &Violation| {
            let operations = violation.operations().into_iter();
            operations.map(|at| EvidencePart { at, operation: OperationLine::of(&history.names, &history.operations[at]) }).collect()
        };
        let violations = report.keys.iter().filter_map(|key| match &key.verdict {
            Verdict::Violation(violation) => Some(ViolationPart {
                key: self.key(key.key),
                rule: violation.rule.name(),
                method: key.method,
                words: Sentence { history, rule: &violation.rule }.to_string(),
                evidence: evidence(violation),
            }),
            Verdict::Linearizable | Verdict::Undecided(_) => None,
        });
        let undecided = report.keys.iter().filter_map(|key| match key.verdict {
            Verdict::Undecided(why) => {
                Some(UndecidedPart { key: self.key(key.key), method: key.method, operations: key.operations, why: why.to_string() })
            }
            Verdict::Linearizable | Verdict::Violation(_) => None,
        });
        let mut object = serializer.serialize_struct("Report", 5)?;
        object.serialize_field("verdict", &report.overall())?;
        object.serialize_field("operations", &report.operations())?;
        object.serialize_field("keys", &self.counts())?;
        object.serialize_field("violations", &violations.collect::<Vec<_>>())?;
        object.serialize_field("undecided", &undecided.collect::<Vec<_>>())?;
        object.end()
    }
}
