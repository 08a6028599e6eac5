//! A history in, lines out.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::{Serialize, Serializer};

use super::line::{Ending, Kind};
use crate::history::{Action, FinalState, History, Names, Operation, Outcome, Seen, ValueId, WordId};

/// Writes a whole history: the header if there is one, the operations, the final states.
///
/// # Errors
/// What the sink says; what was written before is still there.
pub fn write(history: &History, mut out: impl Write) -> io::Result<()> {
    if !history.header.is_empty() {
        write_header(&history.header, &mut out)?;
    }
    for operation in &history.operations {
        write_operation(&history.names, operation, &mut out)?;
    }
    for state in &history.finals {
        write_final(&history.names, state, &mut out)?;
    }
    out.flush()
}

/// Writes the line that says what a run was.
///
/// # Errors
/// What the sink says.
pub fn write_header(header: &BTreeMap<String, serde_json::Value>, out: impl Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct HeaderLine<'a> {
        header: &'a BTreeMap<String, serde_json::Value>,
    }
    line(&HeaderLine { header }, out)
}

/// Writes one operation. `names` are those of its history.
///
/// # Errors
/// What the sink says.
pub fn write_operation(names: &Names, operation: &Operation, out: impl Write) -> io::Result<()> {
    line(&OperationLine::of(names, operation), out)
}

/// Writes one replica's final state of one key. `names` are those of its history.
///
/// # Errors
/// What the sink says.
pub fn write_final(names: &Names, state: &FinalState, out: impl Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct VersionPart<'a> {
        dot: &'a str,
        value: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct FinalLine<'a> {
        replica: &'a str,
        key: &'a str,
        versions: Vec<VersionPart<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        digest: Option<&'a str>,
    }
    let versions = state.versions.iter();
    let versions = versions
        .map(|version| VersionPart { dot: names.word_text(version.dot), value: version.value.map(|value| names.value_text(value)) });
    let state = FinalLine {
        replica: names.word_text(state.replica),
        key: names.key_text(state.key),
        versions: versions.collect(),
        digest: state.digest.map(|digest| names.word_text(digest)),
    };
    line(&state, out)
}

/// An operation as it stands in a line.
#[derive(Serialize)]
pub(crate) struct OperationLine<'a> {
    process: u64,
    op: Kind,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expect: Option<Values<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Values<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<u64>,
    call: u64,
    #[serde(rename = "return")]
    end: Option<u64>,
    outcome: Ending,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed: Option<Values<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    op_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    #[serde(skip_serializing_if = "Words::is_empty")]
    asked: Words<'a>,
    #[serde(skip_serializing_if = "Words::is_empty")]
    stale: Words<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    covers: Option<Values<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shown: Option<Values<'a>>,
    #[serde(skip_serializing_if = "Words::is_empty")]
    dots: Words<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    refused: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    update: bool,
}

impl<'a> OperationLine<'a> {
    pub(crate) fn of(names: &'a Names, operation: &'a Operation) -> Self {
        let one = |value: ValueId| Values::One(names.value_text(value));
        let or_null = |value: Option<ValueId>| value.map_or(Values::Null, one);
        let all = |seen: &'a Seen| match seen {
            Seen::Absent => Values::Null,
            Seen::One(value) => one(*value),
            Seen::Many(values) => Values::Many(names, values),
        };
        let word = |word: WordId| names.word_text(word);
        let (op, value, expect, observed) = match &operation.action {
            Action::Read { seen } => (Kind::Read, Some(seen.as_ref().map_or(Values::Null, all)), None, None),
            Action::Write { value } => (Kind::Write, Some(one(*value)), None, None),
            Action::Delete => (Kind::Delete, None, None, None),
            Action::Cas { expect, value, observed } => (Kind::Cas, Some(one(*value)), Some(or_null(*expect)), observed.map(or_null)),
            Action::CasSiblings(cas) => (Kind::Cas, Some(one(cas.value)), Some(all(&cas.expect)), cas.observed.as_ref().map(all)),
        };
        let detail = operation.detail.as_deref();
        Self {
            process: operation.process,
            op,
            key: names.key_text(operation.key),
            expect,
            value,
            due: detail.and_then(|detail| detail.due),
            call: operation.call,
            end: operation.end,
            outcome: match operation.outcome {
                Outcome::Ok => Ending::Ok,
                Outcome::Fail => Ending::Fail,
                Outcome::Unknown => Ending::Unknown,
            },
            observed,
            level: operation.level.map(word),
            token: detail.and_then(|detail| detail.token).map(word),
            op_id: detail.and_then(|detail| detail.op_id).map(word),
            node: detail.and_then(|detail| detail.node).map(word),
            asked: Words(names, detail.map_or(&[], |detail| &detail.asked)),
            stale: Words(names, detail.map_or(&[], |detail| &detail.stale)),
            covers: detail.and_then(|detail| detail.covers.as_deref()).map(|values| Values::Many(names, values)),
            shown: detail.and_then(|detail| detail.shown.as_deref()).map(|values| Values::Many(names, values)),
            dots: Words(names, detail.map_or(&[], |detail| &detail.dots)),
            attempts: detail.and_then(|detail| detail.attempts),
            refused: detail.is_some_and(|detail| detail.refused),
            update: detail.is_some_and(|detail| detail.update),
        }
    }
}

enum Values<'a> {
    Null,
    One(&'a str),
    Many(&'a Names, &'a [ValueId]),
}

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::One(text) => serializer.serialize_str(text),
            Self::Many(names, values) => serializer.collect_seq(values.iter().map(|value| names.value_text(*value))),
        }
    }
}

struct Words<'a>(&'a Names, &'a [WordId]);

impl Words<'_> {
    fn is_empty(&self) -> bool {
        self.1.is_empty()
    }
}

impl Serialize for Words<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.1.iter().map(|word| self.0.word_text(*word)))
    }
}

fn line(line: &impl Serialize, mut out: impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut out, line)?;
    out.write_all(b"\n")
}
