//! Counting: how often what came of an operation, and how long it took.

use hdrhistogram::Histogram;

use super::target::Ending;
use super::verify::Violation;

/// Longest latency that is told apart from longer ones, in microseconds.
const MICROS_MAX: u64 = 120_000_000;
/// Significant digits of a latency.
const DIGITS: u8 = 3;
/// Violations kept to be shown; the others are only counted.
const EXAMPLES_MAX: usize = 5;

/// What came of the operations of one kind.
#[derive(Clone, Debug)]
pub struct Tally {
    micros: Histogram<u32>,
    /// Operations that were answered, conflicts among them.
    pub ok: u64,
    /// Compare-and-sets that were answered and changed nothing.
    pub conflicts: u64,
    /// Operations that failed without effect.
    pub not_applied: u64,
    /// Operations that failed and may have had an effect.
    pub unknown: u64,
}

impl Default for Tally {
    fn default() -> Self {
        let micros = Histogram::new_with_bounds(1, MICROS_MAX, DIGITS).expect("the bounds are valid");
        Self { micros, ok: 0, conflicts: 0, not_applied: 0, unknown: 0 }
    }
}

impl Tally {
    pub(super) fn count(&mut self, ending: Ending, micros: u64) {
        match ending {
            Ending::Ok | Ending::Conflict => {
                self.ok += 1;
                self.conflicts += u64::from(ending == Ending::Conflict);
                self.micros.saturating_record(micros);
            }
            Ending::NotApplied => self.not_applied += 1,
            Ending::Unknown => self.unknown += 1,
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.micros.add(&other.micros).expect("all tallies have the same bounds");
        self.ok += other.ok;
        self.conflicts += other.conflicts;
        self.not_applied += other.not_applied;
        self.unknown += other.unknown;
    }

    /// The latency, in microseconds, that this share of the answered operations did not exceed; 0 if there were none.
    #[must_use]
    pub fn micros_at(&self, share: f64) -> u64 {
        self.micros.value_at_quantile(share)
    }

    /// Operations that failed, with whatever outcome.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.not_applied + self.unknown
    }
}

/// How reads stood the test.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Reads whose answer was checked and right.
    pub verified: u64,
    /// Reads whose answer breaks a promise.
    pub violations: u64,
    /// The first of those.
    pub examples: Vec<Violation>,
}

impl Verdict {
    pub(super) fn count(&mut self, checked: Result<(), Violation>) {
        match checked {
            Ok(()) => self.verified += 1,
            Err(violation) => {
                self.violations += 1;
                self.show(violation);
            }
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.verified += other.verified;
        self.violations += other.violations;
        other.examples.into_iter().for_each(|violation| self.show(violation));
    }

    fn show(&mut self, violation: Violation) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(violation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answered_operations_have_a_latency() {
        let mut tally = Tally::default();
        for micros in 1..=100 {
            tally.count(Ending::Ok, micros * 1_000);
        }
        tally.count(Ending::Unknown, 90_000_000);
        tally.count(Ending::NotApplied, 1);
        let mut both = Tally::default();
        both.add(&tally);
        both.add(&tally);
        assert_eq!((both.ok, both.not_applied, both.unknown, both.failed()), (200, 2, 2, 4));
        let close = |micros: u64, expected: u64| micros.abs_diff(expected) * 1_000 <= expected;
        assert!(close(both.micros_at(0.5), 50_000) && close(both.micros_at(0.99), 99_000) && close(both.micros_at(1.0), 100_000));
        assert_eq!(Tally::default().micros_at(0.99), 0);
    }
}
