//! Lines in, a history out.

use std::io::BufRead;

use super::error::{Problem, ReadError};
use super::line::{Ending, Kind, Line, Text, Values, Version};
use crate::history::{Action, CasSiblings, Detail, FinalState, FinalVersion, History, Names, Operation, Outcome, Seen, ValueId, WordId};

/// Reads a whole history, line by line.
///
/// # Errors
/// The first line that cannot be read, or is not one of a history.
pub fn read(mut input: impl BufRead) -> Result<History, ReadError> {
    let mut reader = Reader::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let bytes = input.read_until(b'\n', &mut line).map_err(|source| ReadError::Source { line: reader.line + 1, source })?;
        if bytes == 0 {
            return Ok(reader.finish());
        }
        reader.line(&line)?;
    }
}

/// Reads a whole history that is in memory.
///
/// # Errors
/// The first line that is not one of a history.
pub fn read_slice(input: &[u8]) -> Result<History, ReadError> {
    let mut reader = Reader::default();
    for line in input.split_inclusive(|&byte| byte == b'\n') {
        reader.line(line)?;
    }
    Ok(reader.finish())
}

/// A history being read, for sources that are neither a slice nor `BufRead`.
#[derive(Debug, Default)]
pub struct Reader {
    history: History,
    /// Lines so far.
    line: u64,
    header: bool,
}

impl Reader {
    /// Takes one more line, with or without its end.
    ///
    /// # Errors
    /// It is not one of a history. The reader has counted it and kept nothing of it; the next line may be given.
    pub fn line(&mut self, line: &[u8]) -> Result<(), ReadError> {
        self.line += 1;
        self.take(line.trim_ascii()).map_err(|problem| ReadError::Line { line: self.line, problem })
    }

    /// What was read.
    #[must_use]
    pub fn finish(self) -> History {
        self.history
    }

    fn take(&mut self, line: &[u8]) -> Result<(), Problem> {
        if line.is_empty() {
            return Ok(());
        }
        let text = std::str::from_utf8(line).map_err(|error| Problem::NotText { valid_bytes: error.valid_up_to() })?;
        let mut line = Line::parse(text)?;
        if let Some(header) = line.header.take() {
            if std::mem::replace(&mut self.header, true) {
                return Err(Problem::SecondHeader);
            }
            self.history.header = header;
        } else if let Some(replica) = line.replica.take() {
            let state = final_state(&replica, line, &mut self.history.names)?;
            self.history.finals.push(state);
        } else {
            let operation = operation(line, &mut self.history.names)?;
            self.history.operations.push(operation);
        }
        Ok(())
    }
}

fn missing<T>(found: Option<T>, member: &'static str, wanted: &'static str) -> Result<T, Problem> {
    found.ok_or(Problem::Missing { member, wanted })
}

fn operation(line: Line<'_>, names: &mut Names) -> Result<Operation, Problem> {
    let process = missing(line.process, "process", "a whole number, who did it")?;
    let kind = missing(line.op, "op", "\"read\", \"write\", \"delete\" or \"cas\"")?;
    let call = missing(line.call, "call", "nanoseconds of the recorder's clock")?;
    let outcome = missing(line.outcome, "outcome", "\"ok\", \"fail\" or \"unknown\"")?;
    let end = end(call, line.returned, outcome)?;
    let key = names.key(&missing(line.key.as_ref(), "key", "a text")?.0);
    let level = line.level.as_ref().map(|level| names.word(&level.0));
    let detail = detail(&line, names);
    let outcome = match outcome {
        Ending::Ok => Outcome::Ok,
        Ending::Fail => Outcome::Fail,
        Ending::Unknown => Outcome::Unknown,
    };
    let action = action(kind, outcome, &line, names)?;
    Ok(Operation { process, key, action, call, end, outcome, level, detail })
}

fn end(call: u64, returned: Option<u64>, outcome: Ending) -> Result<Option<u64>, Problem> {
    match (outcome, returned) {
        (Ending::Unknown, None) => Ok(None),
        (Ending::Unknown, Some(returned)) => Err(Problem::UnknownReturned { returned }),
        (_, None) => Err(Problem::Missing { member: "return", wanted: "nanoseconds; only an unknown outcome has none" }),
        (_, Some(returned)) if returned < call => Err(Problem::ReturnBeforeCall { call, returned }),
        (_, Some(returned)) => Ok(Some(returned)),
    }
}

fn action(kind: Kind, outcome: Outcome, line: &Line<'_>, names: &mut Names) -> Result<Action, Problem> {
    match kind {
        Kind::Read if outcome != Outcome::Ok => Ok(Action::Read { seen: None }),
        Kind::Read => {
            let values = missing(line.value.as_ref(), "value", "what the read returned: a text, null or a list of texts")?;
            Ok(Action::Read { seen: Some(seen(values, names)) })
        }
        Kind::Write => Ok(Action::Write { value: written(line, names)? }),
        Kind::Delete => Ok(Action::Delete),
        Kind::Cas => {
            let value = written(line, names)?;
            let expect = missing(line.expect.as_ref(), "expect", "a text, null or a list of texts, what the cas compared with")?;
            let expect = seen(expect, names);
            let observed = line.observed.as_ref().map(|observed| seen(observed, names));
            Ok(cas(expect, value, observed))
        }
    }
}

/// A cas, of siblings only if it must be.
fn cas(expect: Seen, value: ValueId, observed: Option<Seen>) -> Action {
    let single = |seen: &Seen| match seen {
        Seen::Absent => Some(None),
        Seen::One(value) => Some(Some(*value)),
        Seen::Many(_) => None,
    };
    match (single(&expect), observed.as_ref().map(single)) {
        (Some(expect), None) => Action::Cas { expect, value, observed: None },
        (Some(expect), Some(Some(observed))) => Action::Cas { expect, value, observed: Some(observed) },
        _ => Action::CasSiblings(Box::new(CasSiblings { expect, value, observed })),
    }
}

fn written(line: &Line<'_>, names: &mut Names) -> Result<ValueId, Problem> {
    const WANTED: &str = "a text, what was written";
    match missing(line.value.as_ref(), "value", WANTED)? {
        Values::One(text) => Ok(names.value(&text.0)),
        Values::Null => Err(Problem::Mistyped { member: "value", wanted: WANTED, found: "null" }),
        Values::Many(_) => Err(Problem::Mistyped { member: "value", wanted: WANTED, found: "a list" }),
    }
}

fn seen(values: &Values<'_>, names: &mut Names) -> Seen {
    match values {
        Values::Null => Seen::Absent,
        Values::One(text) => Seen::One(names.value(&text.0)),
        Values::Many(texts) => Seen::of(texts.iter().map(|text| names.value(&text.0)).collect()),
    }
}

/// What the history says beyond the operation, if anything.
fn detail(line: &Line<'_>, names: &mut Names) -> Option<Box<Detail>> {
    let covers = values(line.covers.as_deref(), names);
    let shown = values(line.shown.as_deref(), names);
    let word = |text: Option<&Text<'_>>, names: &mut Names| text.map(|text| names.word(&text.0));
    let detail = Detail {
        covers,
        shown,
        dots: words(line.dots.as_deref(), names),
        op_id: word(line.op_id.as_ref(), names),
        node: word(line.node.as_ref(), names),
        asked: words(line.asked.as_deref(), names),
        stale: words(line.stale.as_deref(), names),
        token: word(line.token.as_ref(), names),
        attempts: line.attempts,
        due: line.due,
        refused: line.refused.unwrap_or(false),
        update: line.update.unwrap_or(false),
    };
    (detail != Detail::default()).then(|| Box::new(detail))
}

/// A set of values, ascending.
fn values(texts: Option<&[Text<'_>]>, names: &mut Names) -> Option<Box<[ValueId]>> {
    texts.map(|texts| {
        let mut values: Vec<ValueId> = texts.iter().map(|text| names.value(&text.0)).collect();
        values.sort_unstable();
        values.dedup();
        values.into()
    })
}

fn words(texts: Option<&[Text<'_>]>, names: &mut Names) -> Box<[WordId]> {
    texts.unwrap_or_default().iter().map(|text| names.word(&text.0)).collect()
}

fn final_state(replica: &Text<'_>, line: Line<'_>, names: &mut Names) -> Result<FinalState, Problem> {
    let key = missing(line.key, "key", "a text")?;
    let versions = missing(line.versions, "versions", "a list of objects with `dot` and `value`")?;
    let mut version =
        |version: Version<'_>| FinalVersion { dot: names.word(&version.dot.0), value: version.value.map(|text| names.value(&text.0)) };
    let versions = versions.into_iter().map(&mut version).collect();
    let digest = line.digest.map(|text| names.word(&text.0));
    Ok(FinalState { replica: names.word(&replica.0), key: names.key(&key.0), versions, digest })
}

#[cfg(test)]
mod tests;
