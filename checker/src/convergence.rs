//! At the end all replicas of a key hold the same record.
//!
//! **Promise checked.** After the faults have stopped and repairs are done, the replicas of a key agree on its live versions (dots and
//! values) and on the digest of the whole record, where one was recorded.
//!
//! **How.** The final states of a key are sorted by what they hold; more than one group is a violation that names the groups, largest
//! first. A *case* is a key with final states of two or more replicas. O(n log n) in the versions.
//!
//! A replica without a final state for a key is taken not to own it: a recorder must write an empty state for an owner that has nothing.

use std::cmp::Reverse;
use std::fmt;

use crate::finding::{Evidence, Judgement};
use crate::history::{FinalState, History, KeyId, ValueId, WordId};

/// Replicas that differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The key.
    pub key: KeyId,
    /// The replicas in groups that agree: at least two groups, the largest first.
    pub groups: Vec<Vec<WordId>>,
}

impl Evidence for Violation {
    fn kind(&self) -> &'static str {
        "replicas-differ"
    }

    fn key(&self) -> KeyId {
        self.key
    }

    fn operations(&self) -> Vec<usize> {
        Vec::new()
    }

    fn tell(&self, history: &History, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, group) in self.groups.iter().enumerate() {
            write!(f, "{}", if i == 0 { "" } else { "; otherwise " })?;
            for (j, replica) in group.iter().enumerate() {
                write!(f, "{}{}", if j == 0 { "" } else { ", " }, history.names.word_text(*replica))?;
            }
            let state = history.finals.iter().find(|state| state.key == self.key && state.replica == group[0]);
            write!(f, " hold{} ", if group.len() == 1 { "s" } else { "" })?;
            tell_state(state.expect("the group is made of final states"), history, f)?;
        }
        Ok(())
    }
}

fn tell_state(state: &FinalState, history: &History, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let text = |value: Option<ValueId>| value.map_or("tombstone", |value| history.names.value_text(value));
    write!(f, "{{")?;
    for (i, version) in state.versions.iter().enumerate() {
        write!(f, "{}{} {}", if i == 0 { "" } else { ", " }, history.names.word_text(version.dot), text(version.value))?;
    }
    write!(f, "}}")?;
    match state.digest {
        Some(digest) => write!(f, " (digest {})", history.names.word_text(digest)),
        None => Ok(()),
    }
}

/// What is compared: versions in order of dot, and the digest.
type Record = (Vec<(WordId, Option<ValueId>)>, Option<WordId>);

/// Compares the final states of every key.
#[must_use]
pub fn check(history: &History) -> Judgement<Violation> {
    let mut states: Vec<(KeyId, Record, WordId)> = history.finals.iter().map(|state| (state.key, record(state), state.replica)).collect();
    states.sort_unstable();
    let mut judgement = Judgement::default();
    for key in states.chunk_by(|a, b| a.0 == b.0).filter(|key| key.len() > 1) {
        judgement.judged += 1;
        let mut groups: Vec<Vec<WordId>> =
            key.chunk_by(|a, b| a.1 == b.1).map(|group| group.iter().map(|state| state.2).collect()).collect();
        if groups.len() > 1 {
            groups.sort_by_key(|group| Reverse(group.len()));
            judgement.violations.push(Violation { key: key[0].0, groups });
        }
    }
    judgement
}

fn record(state: &FinalState) -> Record {
    let mut versions: Vec<(WordId, Option<ValueId>)> = state.versions.iter().map(|version| (version.dot, version.value)).collect();
    versions.sort_unstable();
    (versions, state.digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Script;

    #[test]
    fn equal_records_in_any_order_converged() {
        let mut script = Script::new();
        script.holds("n1", &[("n1:1", Some("a")), ("n2:1", Some("b"))]);
        script.holds("n2", &[("n2:1", Some("b")), ("n1:1", Some("a"))]);
        let judgement = check(&script.history);
        assert!(judgement.is_clean());
        assert_eq!(judgement.judged, 1);
    }

    #[test]
    fn straggler_is_named() {
        let mut script = Script::new();
        script.holds("n1", &[]);
        script.holds("n2", &[("n2:1", Some("b"))]);
        script.holds("n3", &[("n2:1", Some("b"))]);
        let judgement = check(&script.history);
        let words = judgement.violations[0].in_words(&script.history).to_string();
        assert_eq!(words, "replicas-differ: key k: n2, n3 hold {n2:1 b}; otherwise n1 holds {}");
    }

    #[test]
    fn digest_alone_can_differ() {
        let mut script = Script::new();
        script.holds("n1", &[("n1:1", Some("a"))]);
        script.holds("n2", &[("n1:1", Some("a"))]);
        script.history.finals[0].digest = Some(script.history.names.word("d1"));
        script.history.finals[1].digest = Some(script.history.names.word("d2"));
        assert_eq!(check(&script.history).violations.len(), 1);
    }

    #[test]
    fn one_replica_alone_is_not_judged() {
        let mut script = Script::new();
        script.holds("n1", &[("n1:1", Some("a"))]);
        assert_eq!(check(&script.history).judged, 0);
    }
}
