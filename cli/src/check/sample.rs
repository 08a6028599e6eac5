//! `quorate check FILE --sample N`: a history to try the checker on, as large as one likes.
//!
//! Sixteen processes do overlapping operations on some keys: half reads, and writes and cas, of which one in fifty has an unknown
//! outcome. Each takes effect at a moment of its own between its call and its return, so that the history is linearizable. With
//! `--stale` one read in its middle shows the value before the one that everybody else sees.

use std::fs::OpenOptions;
use std::io::{self, BufWriter};
use std::path::Path;

use quorate_checker::format;
use quorate_checker::history::{Action, History, Nanos, Operation, Outcome, Seen, ValueId};

use crate::error::CliError;

/// Processes.
const PROCESSES: u64 = 16;
/// Nanoseconds between one operation's effect and the next one's.
const STEP: Nanos = 1_000;
/// Longest time from a call to the effect, and from there to the return.
const HALF_MAX: Nanos = (PROCESSES - 1) * STEP;

/// What a sample has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) operations: u64,
    pub(super) keys: u32,
    /// One stale read.
    pub(super) stale: bool,
}

/// What a key holds, and two values that it held once: the write of the older had returned before that of the newer was called.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    now: Option<ValueId>,
    newer: Option<(ValueId, Nanos)>,
    older: Option<ValueId>,
}

impl Held {
    /// A value took effect at `effect`, if that is known to have been over soon after.
    fn put(&mut self, value: ValueId, effect: Option<Nanos>) {
        self.now = Some(value);
        if let Some(effect) = effect.filter(|effect| self.newer.is_none_or(|(_, newer)| is_over(newer, *effect))) {
            self.older = self.newer.replace((value, effect)).map(|(value, _)| value);
        }
    }

    /// What nobody may see who begins to read when the newer value's write has returned.
    fn stale(&self, effect: Nanos) -> Option<ValueId> {
        self.older.filter(|_| self.newer.is_some_and(|(_, newer)| is_over(newer, effect)))
    }
}

/// Whether an operation that took effect at `earlier` had returned before one was called that takes effect at `later`.
fn is_over(earlier: Nanos, later: Nanos) -> bool {
    earlier + 2 * HALF_MAX < later
}

/// Writes a sample to a file that does not exist yet.
///
/// # Errors
/// [`CliError::Unwritable`].
pub(super) fn write(sample: Sample, path: &Path) -> Result<(), CliError> {
    let unwritable = |source: io::Error| CliError::Unwritable { path: path.to_owned(), source };
    let file = OpenOptions::new().write(true).create_new(true).open(path).map_err(unwritable)?;
    format::write(&sample.history(), BufWriter::new(file)).map_err(unwritable)
}

impl Sample {
    fn history(&self) -> History {
        let mut history = History::default();
        let mut held = vec![Held::default(); self.keys as usize];
        let mut plants = self.stale;
        let mut random = 7_u64;
        for number in 0..self.operations {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (dice, at) = ((random >> 40) % 100, (random >> 20) % u64::from(self.keys));
            let key = history.names.key(&format!("key:{at:06}"));
            let there = &mut held[usize::try_from(at).expect("below the keys")];
            let effect = STEP * (number + PROCESSES);
            let seen = there.now;
            let (mut outcome, mut action) = (Outcome::Ok, Action::Read { seen: Some(seen.map_or(Seen::Absent, Seen::One)) });
            if dice >= 50 {
                let value = history.names.value(&format!("v{number}"));
                let is_cas = dice < 65;
                outcome = if dice >= 99 { Outcome::Unknown } else { Outcome::Ok };
                action = if is_cas { Action::Cas { expect: seen, value, observed: None } } else { Action::Write { value } };
                there.put(value, (outcome == Outcome::Ok).then_some(effect));
            } else if let Some(value) = there.stale(effect).filter(|_| plants && number >= self.operations / 2) {
                plants = false;
                action = Action::Read { seen: Some(Seen::One(value)) };
            }
            let (call, end) = (effect - (random >> 8) % HALF_MAX, effect + (random >> 16) % HALF_MAX);
            let end = (outcome == Outcome::Ok).then_some(end);
            let process = number % PROCESSES;
            history.operations.push(Operation { process, key, action, call, end, outcome, level: None, detail: None });
        }
        history
    }
}

#[cfg(test)]
mod tests {
    use quorate_checker::{Limits, Overall, check};

    use super::*;

    #[test]
    fn a_sample_is_linearizable_unless_a_stale_read_was_planted() {
        for keys in [1, 50] {
            let judge = |stale| {
                let history = Sample { operations: 20_000, keys, stale }.history();
                let report = check(&history, &Limits::default());
                (report.overall(), report.violations().map(|violation| violation.operations().len()).collect::<Vec<_>>())
            };
            assert_eq!(judge(false), (Overall::Linearizable, vec![]), "{keys} keys");
            let (overall, proofs) = judge(true);
            assert_eq!(overall, Overall::Violation, "{keys} keys");
            assert!(matches!(proofs[..], [2..=4]), "{keys} keys: {proofs:?}");
        }
    }

    #[test]
    fn a_file_that_is_there_is_left_alone() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("sample.jsonl");
        let sample = Sample { operations: 10, keys: 2, stale: false };
        write(sample, &path).expect("a new file");
        let before = std::fs::read(&path).expect("the file");
        assert!(matches!(write(sample, &path), Err(CliError::Unwritable { .. })));
        assert_eq!(std::fs::read(&path).expect("the file"), before);
        assert_eq!(format::read_slice(&before).expect("a history").operations.len(), 10);
    }
}
