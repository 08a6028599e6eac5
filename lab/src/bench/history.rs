//! The history of a run: one JSON object per line and operation, for checkers.
//!
//! - `call` and `return` are nanoseconds of one monotonic clock, that of the run. An operation of unknown outcome has no return.
//! - Each worker collects lines of its own and hands them over in large pieces, so that writing a history disturbs the measurement
//!   little. The lines are therefore in no order; checkers sort them.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use serde::Serialize;

use super::plan::{BenchLevel, Plan};
use super::target::{Answer, Ending, Evidence};
use crate::history::{Line, Values, append, outcome, says_nothing};
use crate::workload::{KeyNumber, Stamp, Writer};

/// Lines are handed over when they have so many bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// The history could not be written. What was written before is still there.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the history {}", path.display())]
pub struct HistoryError {
    /// The file.
    pub path: PathBuf,
    /// What the operating system said.
    pub source: io::Error,
}

/// A history being written.
#[derive(Debug)]
pub struct History {
    path: PathBuf,
    /// `call` and `return` count from here.
    begin: Instant,
    file: Mutex<Result<BufWriter<File>, io::Error>>,
}

#[derive(Serialize)]
struct HeaderLine<'a> {
    header: Header<'a>,
}

#[derive(Serialize)]
struct Header<'a> {
    seed: u64,
    levels: &'a [String],
    faults: [&'a str; 0],
    cluster: &'a str,
}

impl History {
    /// Begins a history in a new file, or in place of an old one.
    ///
    /// # Errors
    /// [`HistoryError`] if the file cannot be made.
    pub fn create(path: &Path) -> Result<Self, HistoryError> {
        let file = File::create(path).map_err(|source| HistoryError { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), begin: Instant::now(), file: Mutex::new(Ok(BufWriter::new(file))) })
    }

    /// Writes the first line, which says what the run was.
    pub fn header(&self, seed: u64, levels: &[BenchLevel], cluster: &str) {
        let levels: Vec<String> = levels.iter().map(BenchLevel::to_string).collect();
        let mut piece = Vec::new();
        append(&mut piece, &HeaderLine { header: Header { seed, levels: &levels, faults: [], cluster } });
        self.write(&piece);
    }

    /// Ends the history.
    ///
    /// # Errors
    /// [`HistoryError`] if anything could not be written; the first such error counts.
    pub fn finish(self) -> Result<(), HistoryError> {
        let Self { path, file, .. } = self;
        let file = file.into_inner().unwrap_or_else(PoisonError::into_inner);
        file.and_then(|mut file| file.flush()).map_err(|source| HistoryError { path, source })
    }

    pub(super) fn begin(&self) -> Instant {
        self.begin
    }

    /// Keeps the first error for [`History::finish`]: a worker cannot do anything about it.
    fn write(&self, piece: &[u8]) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(writer) = file.as_mut()
            && let Err(error) = writer.write_all(piece)
        {
            *file = Err(error);
        }
    }
}

/// One operation of one worker, from call to return.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) key: KeyNumber,
    pub(super) called: Instant,
    pub(super) returned: Instant,
}

/// What an operation was to do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content<'a> {
    /// Read.
    Read,
    /// Write what bears this stamp.
    Write(&'a Stamp),
    /// The same, if this value is there, or none; `by_token`: if it is still there unchanged.
    Cas { expected: Option<&'a Bytes>, by_token: bool, stamp: &'a Stamp },
}

/// One worker's part of a history.
#[derive(Debug)]
pub(super) struct Scribe<'a> {
    history: &'a History,
    process: u16,
    level: String,
    piece: Vec<u8>,
}

impl<'a> Scribe<'a> {
    pub(super) fn new(history: &'a History, writer: Writer, plan: &Plan) -> Self {
        let piece = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 8);
        Self { history, process: writer.0, level: plan.level.to_string(), piece }
    }

    /// Notes an operation.
    pub(super) fn note(&mut self, span: &Span, content: &Content<'_>, answer: &Answer) {
        let nanos = |at: Instant| u64::try_from(at.saturating_duration_since(self.history.begin()).as_nanos()).unwrap_or(u64::MAX);
        let key = span.key.to_key();
        let evidence = answer.evidence.clone().unwrap_or_default();
        let Evidence { op_id, coordinator, asked, stale } = evidence;
        let names = |nodes: Vec<quorate_ring::NodeId>| nodes.iter().map(ToString::to_string).collect();
        let line = Line {
            process: u64::from(self.process),
            op: match content {
                Content::Read => "read",
                Content::Write(_) => "write",
                Content::Cas { .. } => "cas",
            },
            key: std::str::from_utf8(&key).expect("our keys are text"),
            expect: match content {
                Content::Cas { expected, .. } => Some(Values(expected.map(name).into_iter().collect())),
                Content::Read | Content::Write(_) => None,
            },
            value: Values(match content {
                Content::Read => answer.values.iter().map(name).collect(),
                Content::Write(stamp) | Content::Cas { stamp, .. } => vec![stamp.to_string()],
            }),
            observed: observed(answer),
            call: nanos(span.called),
            returned: (answer.ending != Ending::Unknown).then(|| nanos(span.returned)),
            outcome: outcome(answer.ending),
            level: &self.level,
            token: answer.token.map(|token| token.to_string()),
            op_id: op_id.map(|op| op.to_string()),
            node: coordinator.map(|node| node.to_string()),
            asked: names(asked),
            stale: names(stale),
            refused: is_refused(content, answer),
            ..Line::default()
        };
        append(&mut self.piece, &line);
        if self.piece.len() >= PIECE_BYTES {
            self.history.write(&self.piece);
            self.piece.clear();
        }
    }
}

impl Drop for Scribe<'_> {
    fn drop(&mut self) {
        self.history.write(&self.piece);
    }
}

/// What a conflict told, as far as a history can say it: one value, or none.
fn observed(answer: &Answer) -> Option<Values> {
    match answer.values.as_slice() {
        _ if answer.ending != Ending::Conflict || answer.untold => None,
        [] => Some(Values::default()),
        [only] => Some(Values(vec![name(only)])),
        [_, _, ..] => None,
    }
}

/// Whether a compare-and-set failed without proof that another value was there.
fn is_refused(content: &Content<'_>, answer: &Answer) -> bool {
    let Content::Cas { expected, by_token, .. } = content else { return false };
    says_nothing(answer.ending, *by_token, !answer.untold && !answer.values.iter().eq(*expected))
}

/// A value as the history names it: by its stamp, or by its bytes if nobody of ours wrote it.
fn name(value: &Bytes) -> String {
    Stamp::read(value).map_or_else(|_| value.escape_ascii().to_string(), |stamp| stamp.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use quorate_protocol::{ClientId, OpId};
    use quorate_ring::NodeId;

    use super::*;
    use crate::bench::{Pace, Sharing};
    use crate::workload::{Distribution, Mix, Workload};

    fn plan() -> Plan {
        let workload = Workload { seed: 1, keys: 10, distribution: Distribution::Uniform, mix: Mix::READS, value_bytes: 64 };
        let level = "quorum+session".parse().expect("a level");
        Plan { workload, level, sharing: Sharing::Shared, pace: Pace::Closed, warm_up: Duration::ZERO, duration: Duration::ZERO }
    }

    fn stamp(sequence: u64) -> Stamp {
        Stamp { run: 1, writer: Writer(2), sequence, key: KeyNumber(7) }
    }

    /// Held here because checkers, ours and others, read it.
    #[test]
    fn the_format_is_the_one_that_checkers_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("history.jsonl");
        let history = History::create(&path).expect("made");
        let at = |nanos| history.begin() + Duration::from_nanos(nanos);
        let span = |called, returned| Span { key: KeyNumber(7), called: at(called), returned: at(returned) };
        history.header(5, &[plan().level], "demo");
        let mut scribe = Scribe::new(&history, Writer(2), &plan());
        let op_id = OpId { client: ClientId(0xab), lane: 1, seq: 4, issued_ms: 9 };
        let evidence =
            Evidence { op_id: Some(op_id), coordinator: Some(NodeId(1)), asked: vec![NodeId(1), NodeId(2)], stale: vec![NodeId(2)] };
        let answer = |ending, values| Answer { ending, values, untold: false, token: None, evidence: None };
        let acknowledged = Answer { evidence: Some(evidence), ..answer(Ending::Ok, vec![]) };
        scribe.note(&span(100, 200), &Content::Write(&stamp(1)), &acknowledged);
        scribe.note(&span(300, 400), &Content::Write(&stamp(2)), &answer(Ending::Unknown, vec![]));
        let siblings = vec![stamp(1).to_value(64), stamp(2).to_value(64)];
        scribe.note(&span(500, 600), &Content::Read, &answer(Ending::Ok, siblings));
        scribe.note(&span(700, 800), &Content::Read, &answer(Ending::Ok, vec![stamp(2).to_value(64)]));
        scribe.note(&span(900, 950), &Content::Read, &answer(Ending::NotApplied, vec![]));
        let expected = stamp(2).to_value(64);
        let third = stamp(3);
        let cas = |expected| Content::Cas { expected, by_token: false, stamp: &third };
        let by_token = Content::Cas { expected: Some(&expected), by_token: true, stamp: &third };
        let token = "1.5.2.3.4".parse().ok();
        scribe.note(&span(960, 970), &cas(Some(&expected)), &Answer { token, ..answer(Ending::Ok, vec![]) });
        scribe.note(&span(980, 990), &cas(None), &Answer { token, ..answer(Ending::Conflict, vec![stamp(3).to_value(64)]) });
        scribe.note(&span(980, 990), &cas(Some(&expected)), &answer(Ending::Conflict, vec![]));
        scribe.note(&span(980, 990), &cas(None), &Answer { untold: true, ..answer(Ending::Conflict, vec![]) });
        scribe.note(&span(980, 990), &cas(None), &answer(Ending::NotApplied, vec![]));
        scribe.note(&span(980, 990), &by_token, &Answer { token, ..answer(Ending::Conflict, vec![expected.clone()]) });
        scribe.note(&span(980, 990), &by_token, &answer(Ending::Conflict, vec![stamp(3).to_value(64)]));
        scribe.note(&span(980, 990), &by_token, &Answer { untold: true, ..answer(Ending::Conflict, vec![]) });
        drop(scribe);
        history.finish().expect("written");
        insta::assert_snapshot!(std::fs::read_to_string(&path).expect("read"), @r#"
        {"header":{"seed":5,"levels":["quorum+session"],"faults":[],"cluster":"demo"}}
        {"process":2,"op":"write","key":"bench:000007","value":"00000001.2.1","call":100,"return":200,"outcome":"ok","level":"quorum+session","op_id":"000000000000000000000000000000ab.1.4.9","node":"n1","asked":["n1","n2"],"stale":["n2"]}
        {"process":2,"op":"write","key":"bench:000007","value":"00000001.2.2","call":300,"return":null,"outcome":"unknown","level":"quorum+session"}
        {"process":2,"op":"read","key":"bench:000007","value":["00000001.2.1","00000001.2.2"],"call":500,"return":600,"outcome":"ok","level":"quorum+session"}
        {"process":2,"op":"read","key":"bench:000007","value":"00000001.2.2","call":700,"return":800,"outcome":"ok","level":"quorum+session"}
        {"process":2,"op":"read","key":"bench:000007","value":null,"call":900,"return":950,"outcome":"fail","level":"quorum+session"}
        {"process":2,"op":"cas","key":"bench:000007","expect":"00000001.2.2","value":"00000001.2.3","call":960,"return":970,"outcome":"ok","level":"quorum+session","token":"1.5.2.3.4"}
        {"process":2,"op":"cas","key":"bench:000007","expect":null,"value":"00000001.2.3","observed":"00000001.2.3","call":980,"return":990,"outcome":"fail","level":"quorum+session","token":"1.5.2.3.4"}
        {"process":2,"op":"cas","key":"bench:000007","expect":"00000001.2.2","value":"00000001.2.3","observed":null,"call":980,"return":990,"outcome":"fail","level":"quorum+session"}
        {"process":2,"op":"cas","key":"bench:000007","expect":null,"value":"00000001.2.3","call":980,"return":990,"outcome":"fail","level":"quorum+session"}
        {"process":2,"op":"cas","key":"bench:000007","expect":null,"value":"00000001.2.3","call":980,"return":990,"outcome":"fail","level":"quorum+session","refused":true}
        {"process":2,"op":"cas","key":"bench:000007","expect":"00000001.2.2","value":"00000001.2.3","observed":"00000001.2.2","call":980,"return":990,"outcome":"fail","level":"quorum+session","token":"1.5.2.3.4","refused":true}
        {"process":2,"op":"cas","key":"bench:000007","expect":"00000001.2.2","value":"00000001.2.3","observed":"00000001.2.3","call":980,"return":990,"outcome":"fail","level":"quorum+session"}
        {"process":2,"op":"cas","key":"bench:000007","expect":"00000001.2.2","value":"00000001.2.3","call":980,"return":990,"outcome":"fail","level":"quorum+session","refused":true}
        "#);
    }
}
