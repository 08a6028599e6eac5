//! No two versions of a key share a dot.
//!
//! **Promise checked.** A dot names one version for ever: whatever replica shows it, whenever, it stands for the same value (or for a
//! tombstone). A dot given twice, say after a disk was lost, makes one of the two writes vanish without a trace in the merge.
//!
//! **How.** All sightings of a key's dots, sorted: neighbours with one dot must have one value. A *case* is a distinct dot.
//! O(n log n) in the sightings.
//!
//! Dots are names within one key; the same dot on two keys is no violation.

use std::fmt;

use crate::finding::{Evidence, Judgement};
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
}

/// One dot for two versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The key.
    pub key: KeyId,
    /// The dot.
    pub dot: WordId,
    /// What it stood for; `None` is a tombstone.
    pub values: [Option<ValueId>; 2],
}

impl Evidence for Violation {
    fn kind(&self) -> &'static str {
        "dot-shared"
    }

    fn key(&self) -> KeyId {
        self.key
    }

    fn operations(&self) -> Vec<usize> {
        Vec::new()
    }

    fn tell(&self, history: &History, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: Option<ValueId>| value.map_or("a tombstone", |value| history.names.value_text(value));
        write!(f, "dot {} is {} and {}", history.names.word_text(self.dot), text(self.values[0]), text(self.values[1]))
    }
}

/// Judges the dots of all final states, and of `more` sightings made during the run.
#[must_use]
pub fn check(history: &History, more: impl IntoIterator<Item = Sighting>) -> Judgement<Violation> {
    let mut sightings: Vec<Sighting> = more.into_iter().collect();
    for state in &history.finals {
        sightings.extend(state.versions.iter().map(|version| Sighting { key: state.key, dot: version.dot, value: version.value }));
    }
    sightings.sort_unstable();
    let mut judgement = Judgement::default();
    for same in sightings.chunk_by(|a, b| (a.key, a.dot) == (b.key, b.dot)) {
        judgement.judged += 1;
        let (first, last) = (same[0], same[same.len() - 1]);
        if first.value != last.value {
            judgement.violations.push(Violation { key: first.key, dot: first.dot, values: [first.value, last.value] });
        }
    }
    judgement
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
        let judgement = check(&script.history, [Sighting { key, dot, value: None }]);
        assert_eq!(judgement.violations.len(), 1);
    }
}
