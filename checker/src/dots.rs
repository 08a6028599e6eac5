//! No two versions of a key share a dot.
//!
//! **Promise checked.** A dot names one version for ever: whatever replica shows it, whenever, it stands for the same value (or for a
//! tombstone), and for the same operation. A dot given twice, say after a disk was lost, makes one of the two writes vanish without a
//! trace in the merge.
//!
//! **How.** A dot is seen in final states, and in what operations say they became ([`crate::history::Detail::dots`]). All sightings of a
//! key's dots, sorted: neighbours with one dot must have one value, and not two operations: two deletes are told apart by nothing else. A
//! *case* is a distinct dot. O(n log n) in the sightings.
//!
//! Also checked: a write has no more dots than tries, where the history says how often it was tried again
//! ([`crate::history::Detail::attempts`]).
//!
//! Dots are names within one key; the same dot on two keys is no violation.

use std::fmt;

use crate::finding::{Evidence, Judgement, op};
use crate::history::{History, KeyId, ValueId, WordId};

/// Somebody showed this dot with this value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sighting {
    /// The key.
    pub key: KeyId,
    /// The dot.
    pub dot: WordId,
    /// Its value; `None` is a tombstone.
    pub value: Option<ValueId>,
    /// The operation it was given to, as an index into [`History::operations`], if that is known.
    pub operation: Option<usize>,
}

/// A dot that is not one version's, or a version too many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// One dot for two versions.
    Shared {
        /// The key.
        key: KeyId,
        /// The dot.
        dot: WordId,
        /// What it stood for; `None` is a tombstone.
        values: [Option<ValueId>; 2],
        /// Whose versions it stood for, as far as that is known.
        operations: [Option<usize>; 2],
    },
    /// A write became more versions than it had tries that may have been applied.
    TooMany {
        /// The key.
        key: KeyId,
        /// The write or delete.
        write: usize,
    },
}

impl Evidence for Violation {
    fn kind(&self) -> &'static str {
        match self {
            Self::Shared { .. } => "dot-shared",
            Self::TooMany { .. } => "dots-too-many",
        }
    }

    fn key(&self) -> KeyId {
        match self {
            Self::Shared { key, .. } | Self::TooMany { key, .. } => *key,
        }
    }

    fn operations(&self) -> Vec<usize> {
        match self {
            Self::Shared { operations, .. } => operations.iter().flatten().copied().collect(),
            Self::TooMany { write, .. } => vec![*write],
        }
    }

    fn tell(&self, history: &History, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dots = |write: usize| history.operations[write].detail.as_ref().map_or(&[][..], |detail| &detail.dots);
        match self {
            Self::Shared { dot, values: [first, second], operations, .. } => {
                let text = |value: &Option<ValueId>| value.map_or("a tombstone", |value| history.names.value_text(value));
                write!(f, "dot {} is {} and {}", history.names.word_text(*dot), text(first), text(second))?;
                operations.iter().flatten().try_for_each(|operation| write!(f, "; {}", op(history, *operation)))
            }
            Self::TooMany { write, .. } => {
                let dots: Vec<&str> = dots(*write).iter().map(|dot| history.names.word_text(*dot)).collect();
                write!(f, "{} became {}, more versions than tries", op(history, *write), dots.join(", "))
            }
        }
    }
}

/// Judges the dots of all operations and final states, and of `more` sightings made during the run.
#[must_use]
pub fn check(history: &History, more: impl IntoIterator<Item = Sighting>) -> Judgement<Violation> {
    let mut judgement = Judgement::default();
    let mut sightings: Vec<Sighting> = more.into_iter().collect();
    for (index, operation) in history.operations.iter().enumerate() {
        let dots = operation.detail.as_ref().map_or(&[][..], |detail| &detail.dots);
        let (key, value) = (operation.key, operation.action.written());
        sightings.extend(dots.iter().map(|dot| Sighting { key, dot: *dot, value, operation: Some(index) }));
        let tries = operation.detail.as_ref().and_then(|detail| detail.attempts).map(|attempts| u64::from(attempts) + 1);
        if tries.is_some_and(|tries| dots.len() as u64 > tries) {
            judgement.violations.push(Violation::TooMany { key, write: index });
        }
    }
    for state in &history.finals {
        let of_state = state.versions.iter();
        sightings.extend(of_state.map(|version| Sighting { key: state.key, dot: version.dot, value: version.value, operation: None }));
    }
    sightings.sort_unstable();
    for same in sightings.chunk_by(|a, b| (a.key, a.dot) == (b.key, b.dot)) {
        judgement.judged += 1;
        judgement.violations.extend(shared(same));
    }
    judgement
}

/// Two sightings of one dot that cannot be of one version.
fn shared(same: &[Sighting]) -> Option<Violation> {
    // What names no operation comes first.
    let owned = same.iter().filter(|sighting| sighting.operation.is_some());
    let (first, last) = (same[0], same[same.len() - 1]);
    let [one, other] = if first.value == last.value { [owned.clone().min()?, owned.max()?] } else { [&first, &last] };
    let (values, operations) = ([one.value, other.value], [one.operation, other.operation]);
    let differ = one.value != other.value || one.operation != other.operation;
    differ.then_some(Violation::Shared { key: one.key, dot: one.dot, values, operations })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Script;

    #[test]
    fn dot_with_one_value_everywhere_is_clean() {
        let mut script = Script::new();
        script.holds("n1", &[("n1:1", Some("a")), ("n2:1", None)]);
        script.holds("n2", &[("n1:1", Some("a"))]);
        script.key("other");
        script.holds("n1", &[("n1:1", Some("b"))]);
        let judgement = check(&script.history, []);
        assert!(judgement.is_clean());
        assert_eq!(judgement.judged, 3);
    }

    #[test]
    fn dot_with_two_values_is_found() {
        let mut script = Script::new();
        script.holds("n1", &[("n1:1", Some("a"))]);
        script.holds("n2", &[("n1:1", Some("b"))]);
        let judgement = check(&script.history, []);
        assert_eq!(judgement.violations.len(), 1);
        assert_eq!(judgement.violations[0].in_words(&script.history).to_string(), "dot-shared: key k: dot n1:1 is a and b");
    }

    #[test]
    fn dot_of_value_and_tombstone_is_found_among_given_sightings() {
        let mut script = Script::new();
        script.holds("n1", &[("n1:1", Some("a"))]);
        let (key, dot) = (script.history.names.key("k"), script.history.names.word("n1:1"));
        let judgement = check(&script.history, [Sighting { key, dot, value: None, operation: None }]);
        assert_eq!(judgement.violations.len(), 1);
    }

    #[test]
    fn a_write_is_no_more_versions_than_tries() {
        let mut script = Script::new();
        let write = script.write(1, "a", 0, 1);
        script.dots(write, &["n1:1", "n2:1"]);
        assert!(check(&script.history, []).is_clean(), "nobody says how often it was tried");
        let mut tried = |again: u32| {
            script.history.operations[write].detail.as_mut().expect("it has dots").attempts = Some(again);
            check(&script.history, []).violations
        };
        assert_eq!(tried(1), []);
        let violations = tried(0);
        assert_eq!((violations.len(), violations[0].kind(), violations[0].operations()), (1, "dots-too-many", vec![write]));
    }

    #[test]
    fn two_deletes_under_one_dot_are_found_and_one_under_two_is_clean() {
        let mut script = Script::new();
        let deletes = [script.delete(1, None, 0, 1), script.delete(2, None, 2, 3)];
        script.holds("n1", &[("n1:1", None)]);
        script.dots(deletes[0], &["n1:1", "n2:1"]);
        assert!(check(&script.history, []).is_clean());
        script.dots(deletes[1], &["n1:1"]);
        let judgement = check(&script.history, []);
        assert_eq!(judgement.judged, 2);
        assert_eq!(judgement.violations[0].operations(), deletes);
        let words = judgement.violations[0].in_words(&script.history).to_string();
        assert!(words.starts_with("dot-shared: key k: dot n1:1 is a tombstone and a tombstone; process 1 deleted"), "{words}");
    }
}
