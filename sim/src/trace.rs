//! What happened, line by line, and a digest of it.
//!
//! **Promise.** The digest covers every line of a run, kept or not. Two runs with the same digest did the same things at the same
//! times.

use std::fmt::{self, Write as _};

use quorate_protocol::Tick;
use xxhash_rust::xxh3::Xxh3;

/// Lines kept at most: a run has some ten thousand.
const LINES_MAX: usize = 1_000_000;

/// One line that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) at: Tick,
    pub(crate) what: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Stamp(self.at), self.what)
    }
}

/// Seconds and microseconds.
struct Stamp(Tick);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>3}.{:06}", self.0.0 / 1_000_000, self.0.0 % 1_000_000)
    }
}

/// The lines of a run.
#[derive(Clone)]
pub(crate) struct Trace {
    digest: Box<Xxh3>,
    line: String,
    kept: Option<Vec<Line>>,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("digest", &self.digest()).finish_non_exhaustive()
    }
}

impl Trace {
    pub(crate) fn new(keep: bool) -> Self {
        Self { digest: Box::new(Xxh3::new()), line: String::new(), kept: keep.then(Vec::new) }
    }

    /// Adds a line that is worth reading.
    pub(crate) fn say(&mut self, now: Tick, what: impl fmt::Display) {
        let begin = self.write(now, what);
        if let Some(kept) = self.kept.as_mut().filter(|kept| kept.len() < LINES_MAX) {
            kept.push(Line { at: now, what: self.line[begin..].to_owned() });
        }
    }

    /// Adds a line that only repeats itself.
    pub(crate) fn hum(&mut self, now: Tick, what: impl fmt::Display) {
        self.write(now, what);
    }

    /// Writes the line, and says where in it the time ends.
    fn write(&mut self, now: Tick, what: impl fmt::Display) -> usize {
        self.line.clear();
        write!(self.line, "{} ", Stamp(now)).expect("text is written into memory");
        let begin = self.line.len();
        write!(self.line, "{what}").expect("text is written into memory");
        self.digest.update(self.line.as_bytes());
        begin
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest.digest()
    }

    /// The lines kept since the last call.
    pub(crate) fn take(&mut self) -> Vec<Line> {
        self.kept.as_mut().map(std::mem::take).unwrap_or_default()
    }
}
