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
use serde::{Serialize, Serializer};

use super::plan::{BenchLevel, Plan};
use super::target::{Answer, Ending, Evidence};
use crate::workload::{KeyNumber, Operation, Stamp, Writer};

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

#[derive(Serialize)]
struct Line<'a> {
    process: u16,
    op: &'static str,
    key: &'a str,
    value: Value,
    call: u64,
    #[serde(rename = "return")]
    returned: Option<u64>,
    outcome: &'static str,
    level: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    op_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    asked: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stale: Vec<String>,
}

/// What was written, or what a read returned: null if absent, a list if there are siblings.
struct Value(Vec<String>);

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [] => serializer.serialize_none(),
            [one] => serializer.serialize_str(one),
            several => serializer.collect_seq(several),
        }
    }
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
    pub(super) operation: Operation,
    pub(super) key: KeyNumber,
    pub(super) called: Instant,
    pub(super) returned: Instant,
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

    /// Notes an operation; `written` is what it wrote, if it wrote.
    pub(super) fn note(&mut self, span: &Span, written: Option<&Stamp>, answer: &Answer) {
        let nanos = |at: Instant| u64::try_from(at.saturating_duration_since(self.history.begin()).as_nanos()).unwrap_or(u64::MAX);
        let key = span.key.to_key();
        let evidence = answer.evidence.clone().unwrap_or_default();
        let Evidence { op_id, coordinator, asked, stale } = evidence;
        let names = |nodes: Vec<quorate_ring::NodeId>| nodes.iter().map(ToString::to_string).collect();
        let line = Line {
            process: self.process,
            op: match span.operation {
                Operation::Get => "read",
                Operation::Put => "write",
            },
            key: std::str::from_utf8(&key).expect("our keys are text"),
            value: Value(written.map_or_else(|| answer.values.iter().map(name).collect(), |stamp| vec![stamp.to_string()])),
            call: nanos(span.called),
            returned: (answer.ending != Ending::Unknown).then(|| nanos(span.returned)),
            outcome: match answer.ending {
                Ending::Ok => "ok",
                Ending::NotApplied => "fail",
                Ending::Unknown => "unknown",
            },
            level: &self.level,
            op_id: op_id.map(|op| op.to_string()),
            node: coordinator.map(|node| node.to_string()),
            asked: names(asked),
            stale: names(stale),
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

/// A value as the history names it: by its stamp, or by its bytes if nobody of ours wrote it.
fn name(value: &Bytes) -> String {
    Stamp::read(value).map_or_else(|_| value.escape_ascii().to_string(), |stamp| stamp.to_string())
}

fn append(piece: &mut Vec<u8>, line: &impl Serialize) {
    serde_json::to_writer(&mut *piece, line).expect("plain values go into memory");
    piece.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use quorate_protocol::{ClientId, OpId};
    use quorate_ring::NodeId;

    use super::*;
    use crate::bench::Pace;
    use crate::workload::{Distribution, Mix, Workload};

    fn plan() -> Plan {
        let workload = Workload { seed: 1, keys: 10, distribution: Distribution::Uniform, mix: Mix::READS, value_bytes: 64 };
        let level = "quorum+session".parse().expect("a level");
        Plan { workload, level, pace: Pace::Closed, warm_up: Duration::ZERO, duration: Duration::ZERO }
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
        let span = |operation, called, returned| Span { operation, key: KeyNumber(7), called: at(called), returned: at(returned) };
        history.header(5, &[plan().level], "demo");
        let mut scribe = Scribe::new(&history, Writer(2), &plan());
        let op_id = OpId { client: ClientId(0xab), lane: 1, seq: 4, issued_ms: 9 };
        let evidence =
            Evidence { op_id: Some(op_id), coordinator: Some(NodeId(1)), asked: vec![NodeId(1), NodeId(2)], stale: vec![NodeId(2)] };
        let answer = |ending, values| Answer { ending, values, evidence: None };
        let acknowledged = Answer { evidence: Some(evidence), ..answer(Ending::Ok, vec![]) };
        scribe.note(&span(Operation::Put, 100, 200), Some(&stamp(1)), &acknowledged);
        scribe.note(&span(Operation::Put, 300, 400), Some(&stamp(2)), &answer(Ending::Unknown, vec![]));
        let siblings = vec![stamp(1).to_value(64), stamp(2).to_value(64)];
        scribe.note(&span(Operation::Get, 500, 600), None, &answer(Ending::Ok, siblings));
        scribe.note(&span(Operation::Get, 700, 800), None, &answer(Ending::Ok, vec![stamp(2).to_value(64)]));
        scribe.note(&span(Operation::Get, 900, 950), None, &answer(Ending::NotApplied, vec![]));
        drop(scribe);
        history.finish().expect("written");
        insta::assert_snapshot!(std::fs::read_to_string(&path).expect("read"), @r#"
        {"header":{"seed":5,"levels":["quorum+session"],"faults":[],"cluster":"demo"}}
        {"process":2,"op":"write","key":"bench:000007","value":"00000001.2.1","call":100,"return":200,"outcome":"ok","level":"quorum+session","op_id":"000000000000000000000000000000ab.1.4.9","node":"n1","asked":["n1","n2"],"stale":["n2"]}
        {"process":2,"op":"write","key":"bench:000007","value":"00000001.2.2","call":300,"return":null,"outcome":"unknown","level":"quorum+session"}
        {"process":2,"op":"read","key":"bench:000007","value":["00000001.2.1","00000001.2.2"],"call":500,"return":600,"outcome":"ok","level":"quorum+session"}
        {"process":2,"op":"read","key":"bench:000007","value":"00000001.2.2","call":700,"return":800,"outcome":"ok","level":"quorum+session"}
        {"process":2,"op":"read","key":"bench:000007","value":null,"call":900,"return":950,"outcome":"fail","level":"quorum+session"}
        "#);
    }
}
