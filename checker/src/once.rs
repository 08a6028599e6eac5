//! Exactly once: what was acknowledged is there one time, what failed is not there at all.
//!
//! Three questions, each about a workload that makes the answer easy:
//!
//! - [`counter`], [`counters`]: a key that is only incremented, each increment recorded as the cas it amounts to. It must end at a value
//!   between what was acknowledged and that plus what is unknown.
//! - [`set`]: elements added once each, by whatever means the workload chose. Each acknowledged one must be there exactly once.
//! - [`twins`]: no final state holds one value, so one operation, as two live versions. (A retried eventual write may legally come back
//!   as a sibling of itself: the caller says which writes must not.)
//!
//! All are O(n log n).

use std::fmt;

use crate::by_key::{ByKey, KeyHistory};
use crate::finding::{Evidence, Judgement, op};
use crate::history::{Action, History, KeyId, Operation, Outcome, ValueId, WordId};
use crate::level::Promise;
use crate::lineage::{Lineage, Writer};

/// How once was not once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A counter ended where its increments cannot have brought it.
    Counter {
        /// The key.
        key: KeyId,
        /// Where it ended; `None` if what it holds is not a number.
        end: Option<i64>,
        /// The least and the greatest value that it could have.
        bounds: (i64, i64),
    },
    /// An acknowledged element is missing.
    Missing {
        /// The key.
        key: KeyId,
        /// The operation that added it.
        add: usize,
    },
    /// An element is there more than once.
    Repeated {
        /// The key.
        key: KeyId,
        /// The operation that added it.
        add: usize,
        /// How often it is there.
        times: usize,
    },
    /// An element is there although its operation definitely failed.
    FailedButApplied {
        /// The key.
        key: KeyId,
        /// The operation.
        add: usize,
    },
    /// An element is there that nobody added.
    Invented {
        /// The key.
        key: KeyId,
        /// The element.
        element: String,
    },
    /// A replica holds one operation's value as several live versions.
    Twins {
        /// The key.
        key: KeyId,
        /// The write, if there is exactly one of that value.
        write: Option<usize>,
        /// The value.
        value: ValueId,
        /// The replica.
        replica: WordId,
        /// Two of the versions.
        dots: [WordId; 2],
    },
}

impl Evidence for Violation {
    fn kind(&self) -> &'static str {
        match self {
            Violation::Counter { .. } => "counter-off",
            Violation::Missing { .. } => "element-missing",
            Violation::Repeated { .. } => "applied-twice",
            Violation::FailedButApplied { .. } => "failed-but-applied",
            Violation::Invented { .. } => "invented",
            Violation::Twins { .. } => "twin-versions",
        }
    }

    fn key(&self) -> KeyId {
        match self {
            Violation::Counter { key, .. }
            | Violation::Missing { key, .. }
            | Violation::Repeated { key, .. }
            | Violation::FailedButApplied { key, .. }
            | Violation::Invented { key, .. }
            | Violation::Twins { key, .. } => *key,
        }
    }

    fn operations(&self) -> Vec<usize> {
        match self {
            Violation::Counter { .. } | Violation::Invented { .. } => Vec::new(),
            Violation::Missing { add, .. } | Violation::Repeated { add, .. } | Violation::FailedButApplied { add, .. } => vec![*add],
            Violation::Twins { write, .. } => write.iter().copied().collect(),
        }
    }

    fn tell(&self, history: &History, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Counter { end: Some(end), bounds: (least, greatest), .. } => {
                write!(f, "ended at {end}, but its increments bring it to between {least} and {greatest}")
            }
            Violation::Counter { end: None, bounds: (least, greatest), .. } => {
                write!(f, "does not end as a number, but its increments bring it to between {least} and {greatest}")
            }
            Violation::Missing { add, .. } => write!(f, "{}; its element is missing", op(history, *add)),
            Violation::Repeated { add, times, .. } => write!(f, "{}; its element is there {times} times", op(history, *add)),
            Violation::FailedButApplied { add, .. } => write!(f, "{}; its element is there", op(history, *add)),
            Violation::Invented { element, .. } => write!(f, "element {element} is there, which nobody added"),
            Violation::Twins { value, replica, dots, write, .. } => {
                let word = |id: &WordId| history.names.word_text(*id);
                let value = history.names.value_text(*value);
                write!(f, "{} holds {value} twice, as {} and {}", word(replica), word(&dots[0]), word(&dots[1]))?;
                write.map_or(Ok(()), |write| write!(f, "; {}", op(history, write)))
            }
        }
    }
}

/// Judges a counter: a key changed by cas alone, from absent (which counts as 0), whose values are decimal numbers. `end` is what it
/// held at the end, `None` for absent. A *case* is a cas that did not fail. Blind writes and deletes are not looked at.
#[must_use]
pub fn counter(history: &History, key: KeyId, end: Option<ValueId>) -> Judgement<Violation> {
    let of_key = history.operations.iter().filter(|operation| operation.key == key);
    let steps: Vec<Step> = of_key.filter_map(|operation| Step::of(history, operation)).collect();
    ended(history, key, &steps, end)
}

/// Judges every key that is a counter ([`counter`]) and whose end is known. A key is one if all that may have changed it are cas at
/// `linearizable` from number to number. Its end is what all its final states hold; without any, what was read at `linearizable` by
/// the last read that was called after every acknowledged increment had returned.
#[must_use]
pub fn counters(history: &History) -> Judgement<Violation> {
    let mut judgement = Judgement::default();
    if !history.operations.iter().any(|operation| Step::of(history, operation).is_some()) {
        return judgement;
    }
    ByKey::new(history).for_each(|key| {
        let (Some(steps), Some(end)) = (steps(key), end(key)) else { return };
        let of_key = ended(history, key.key, &steps, end);
        judgement.judged += of_key.judged;
        judgement.violations.extend(of_key.violations);
    });
    judgement
}

/// By how much an increment changed its counter: the least and the most.
struct Step(i64, i64);

impl Step {
    /// `None` if the operation is no increment, or failed.
    fn of(history: &History, operation: &Operation) -> Option<Self> {
        let Action::Cas { expect, value, .. } = operation.action else { return None };
        let step = number(history, Some(value))?.saturating_sub(number(history, expect)?);
        match operation.outcome {
            Outcome::Ok => Some(Self(step, step)),
            Outcome::Unknown => Some(Self(step.min(0), step.max(0))),
            Outcome::Fail => None,
        }
    }
}

fn number(history: &History, value: Option<ValueId>) -> Option<i64> {
    value.map_or(Some(0), |value| history.names.value_text(value).parse().ok())
}

/// All changes of a key; `None` if it is no counter.
fn steps(key: &KeyHistory<'_>) -> Option<Vec<Step>> {
    let changes = key.operations().map(|(_, operation)| operation);
    let mut changes =
        changes.filter(|operation| !matches!(operation.action, Action::Read { .. }) && operation.outcome != Outcome::Fail).peekable();
    changes.peek()?;
    let step = |operation: &Operation| {
        let linearizable = Promise::of(key.history, operation) == Promise::Linearizable;
        Step::of(key.history, operation).filter(|_| linearizable)
    };
    changes.map(step).collect()
}

/// What a key held at the end; `None` if that is not known, or replicas disagree.
fn end(key: &KeyHistory<'_>) -> Option<Option<ValueId>> {
    let single = |values: &[ValueId]| match values {
        [] => Some(None),
        [one] => Some(Some(*one)),
        _ => None,
    };
    let mut finals = key.finals().map(|state| single(&state.versions.iter().filter_map(|version| version.value).collect::<Vec<_>>()));
    if let Some(first) = finals.next() {
        return first.filter(|_| finals.all(|other| other == first));
    }
    let is_linearizable = |op: &usize| Promise::of(key.history, &key.history.operations[*op]) == Promise::Linearizable;
    let (_, seen) = key.last_reads(Some(0)).filter(|(op, _)| is_linearizable(op)).last()?;
    single(seen.values())
}

fn ended(history: &History, key: KeyId, steps: &[Step], end: Option<ValueId>) -> Judgement<Violation> {
    let sum = |sum: (i64, i64), Step(low, high): &Step| (sum.0.saturating_add(*low), sum.1.saturating_add(*high));
    let (least, greatest) = steps.iter().fold((0, 0), sum);
    let end = number(history, end);
    let is_within = end.is_some_and(|end| (least..=greatest).contains(&end));
    let violation = (!is_within).then_some(Violation::Counter { key, end, bounds: (least, greatest) });
    Judgement { judged: steps.len() as u64, violations: violation.into_iter().collect() }
}

/// Judges a set. `element` says what the operation with this index added, if it added anything to this set; no two operations may add
/// the same. `end` is what the set held at the end, once per occurrence. A *case* is an addition.
#[must_use]
pub fn set<'a>(history: &'a History, key: KeyId, element: impl Fn(usize) -> Option<&'a str>, end: &[&str]) -> Judgement<Violation> {
    let mut end = end.to_vec();
    end.sort_unstable();
    let mut adds: Vec<(&str, usize)> = (0..history.operations.len()).filter_map(|add| Some((element(add)?, add))).collect();
    adds.sort_unstable();
    let mut judgement = Judgement { judged: adds.len() as u64, violations: Vec::new() };
    for (element, add) in &adds {
        let times = end.partition_point(|held| held <= element) - end.partition_point(|held| held < element);
        let violation = match (history.operations[*add].outcome, times) {
            (Outcome::Ok, 0) => Violation::Missing { key, add: *add },
            (Outcome::Ok | Outcome::Unknown, 2..) => Violation::Repeated { key, add: *add, times },
            (Outcome::Fail, 1..) => Violation::FailedButApplied { key, add: *add },
            (Outcome::Ok, 1) | (Outcome::Unknown, 0 | 1) | (Outcome::Fail, 0) => continue,
        };
        judgement.violations.push(violation);
    }
    end.dedup();
    let unknown = end.iter().filter(|held| adds.binary_search_by_key(*held, |(element, _)| *element).is_err());
    judgement.violations.extend(unknown.map(|held| Violation::Invented { key, element: (*held).to_owned() }));
    judgement
}

/// Judges the final states: no value is there as two live versions. `exempt` says which writes may be, having been tried twice.
/// A *case* is a live value of a final state.
#[must_use]
pub fn twins(history: &History, exempt: &dyn Fn(usize) -> bool) -> Judgement<Violation> {
    let mut judgement = Judgement::default();
    ByKey::new(history).for_each(|key| {
        let mut lineage = None;
        for state in key.finals() {
            let mut live: Vec<(ValueId, WordId)> =
                state.versions.iter().filter_map(|version| Some((version.value?, version.dot))).collect();
            live.sort_unstable();
            live.dedup();
            for same in live.chunk_by(|a, b| a.0 == b.0) {
                judgement.judged += 1;
                let [first, second, ..] = same else { continue };
                let write = match lineage.get_or_insert_with(|| Lineage::new(key)).writer(first.0) {
                    Writer::Node(node) => lineage.as_ref().map(|lineage| lineage.node(node).op),
                    Writer::Failed(op) => Some(op),
                    Writer::Many | Writer::Nobody => None,
                };
                if !write.is_some_and(exempt) {
                    let dots = [first.1, second.1];
                    judgement.violations.push(Violation::Twins { key: key.key, write, value: first.0, replica: state.replica, dots });
                }
            }
        }
    });
    judgement
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Script;

    fn counted() -> (Script, KeyId) {
        let mut script = Script::new();
        script.cas(1, None, "1", 0, 1);
        script.cas(2, Some("1"), "2", 2, 3);
        script.unknown_cas(3, Some("2"), "3", 4);
        script.failed_cas(1, Some("7"), Some("2"), 5, 6);
        let key = script.history.names.key("k");
        (script, key)
    }

    #[test]
    fn counter_between_acknowledged_and_unknown_is_clean() {
        let (mut script, key) = counted();
        for end in ["2", "3"] {
            let end = script.value(end);
            let judgement = counter(&script.history, key, Some(end));
            assert!(judgement.is_clean());
            assert_eq!(judgement.judged, 3);
        }
    }

    #[test]
    fn counter_outside_its_bounds_is_found() {
        let (mut script, key) = counted();
        for (end, number) in [("1", Some(1)), ("4", Some(4)), ("many", None)] {
            let end = script.value(end);
            let judgement = counter(&script.history, key, Some(end));
            assert_eq!(judgement.violations, [Violation::Counter { key, end: number, bounds: (2, 3) }]);
        }
        assert!(!counter(&script.history, key, None).is_clean(), "absent is 0");
    }

    #[test]
    fn counters_are_found_among_keys_and_judged_by_their_end() {
        let (mut script, key) = counted();
        script.key("register");
        script.cas(1, None, "1", 0, 1);
        script.write(1, "7", 2, 3);
        script.key("endless");
        script.cas(1, None, "1", 0, 1);
        assert_eq!(counters(&script.history), Judgement::default(), "no end is known");
        script.key("k");
        script.read(4, &["1"], 1, 9);
        assert_eq!(counters(&script.history).judged, 0, "an increment may have come after the read");
        script.read(4, &["3"], 10, 11);
        assert_eq!(counters(&script.history), Judgement { judged: 3, violations: Vec::new() });
        script.holds("n1", &[("n1:1", Some("4"))]);
        assert_eq!(counters(&script.history).violations, [Violation::Counter { key, end: Some(4), bounds: (2, 3) }]);
        script.holds("n2", &[("n1:2", Some("5"))]);
        assert_eq!(counters(&script.history).judged, 0, "replicas disagree");
    }

    #[test]
    fn set_has_each_acknowledged_element_once() {
        let mut script = Script::new();
        script.write(1, "a", 0, 1);
        script.write(1, "b", 2, 3);
        script.unknown_write(1, "c", 4);
        script.unknown_write(1, "d", 5);
        script.failed_write(1, "e", 6, 7);
        let key = script.history.names.key("k");
        let elements = ["a", "b", "c", "d", "e"];
        let judge = |end: &[&str]| set(&script.history, key, |add| elements.get(add).copied(), end);
        assert!(judge(&["b", "a", "d"]).is_clean());
        assert_eq!(judge(&["a"]).violations, [Violation::Missing { key, add: 1 }]);
        assert_eq!(judge(&["a", "b", "b"]).violations, [Violation::Repeated { key, add: 1, times: 2 }]);
        assert_eq!(judge(&["a", "b", "c", "c"]).violations, [Violation::Repeated { key, add: 2, times: 2 }]);
        assert_eq!(judge(&["a", "b", "e"]).violations, [Violation::FailedButApplied { key, add: 4 }]);
        assert_eq!(judge(&["a", "b", "x", "x"]).violations, [Violation::Invented { key, element: "x".to_owned() }]);
    }

    #[test]
    fn one_write_as_two_live_versions_is_found() {
        let mut script = Script::new();
        let write = script.write(1, "a", 0, 1);
        script.holds("n1", &[("n1:1", Some("a")), ("n1:2", None)]);
        assert!(twins(&script.history, &|_| false).is_clean());
        script.holds("n2", &[("n1:1", Some("a")), ("n2:1", Some("a"))]);
        let judgement = twins(&script.history, &|_| false);
        assert_eq!(judgement.violations[0].operations(), [write]);
        assert_eq!(judgement.judged, 2);
        assert!(twins(&script.history, &|index| index == write).is_clean());
    }
}
