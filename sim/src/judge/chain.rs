//! What linearizable operations promise, on keys of their own and on keys that take eventual writes too.

use std::collections::{BTreeMap, BTreeSet};

use quorate_checker::history::{Action, History, KeyId, Nanos, Outcome};
use quorate_checker::verdict::{Limits, Scope, Verdict};
use quorate_checker::{check_with, level};
use quorate_protocol::Dot;

use super::{Judged, Violation};
use crate::recorder::{Index, Recorder};

/// Configurations that the search for an order of one key visits before it gives up.
const LIMITS: Limits = Limits { states: 60_000, evidence_states: 20_000 };

/// Looks for an order of the linearizable operations of every key that has any.
pub(super) fn judge(recorder: &Recorder) -> Judged {
    let history = &recorder.history;
    let (apart, origins) = apart(recorder);
    let report = check_with(&apart, &LIMITS, Scope::Promises, &mut || true);
    let mut judged = Judged::default();
    for key in &report.keys {
        match &key.verdict {
            Verdict::Linearizable => judged.decided += 1,
            Verdict::Undecided(_) => judged.undecided += 1,
            Verdict::Violation(violation) => {
                judged.decided += 1;
                let operations: Vec<usize> = violation.operations().into_iter().map(|at| origins.get(at).copied().unwrap_or(at)).collect();
                let name = history.names.key_text(key.key);
                let list = operations.iter().map(|at| format!("#{at}")).collect::<Vec<_>>().join(", ");
                let words = format!("not-linearizable: key {name}: no order explains {list}: {:?}", violation.rule);
                judged.violations.push(Violation { kind: "not-linearizable", words, operations });
            }
        }
    }
    judged
}

/// The history with every try of an eventual write as a write of its own: one that was retried under a new name enters the order once for
/// each, and its acknowledgement may speak of any of them. Says for each operation which one it was.
fn apart(recorder: &Recorder) -> (History, Vec<Index>) {
    let mut history = recorder.history.clone();
    let mut origins: Vec<Index> = (0..history.operations.len()).collect();
    let mut first = BTreeSet::new();
    for given in recorder.dots.values().flatten() {
        let (Some(index), Some(covers)) = (given.index, &given.covers) else { continue };
        if !recorder.repeated.contains(&index) {
            continue;
        }
        let mut one = recorder.history.operations[index].clone();
        (one.outcome, one.end) = (Outcome::Unknown, None);
        if let Some(detail) = &mut one.detail {
            (detail.covers, detail.dots, detail.attempts) = (Some(covers.clone()), Box::default(), None);
        }
        if first.insert(index) {
            history.operations[index] = one;
        } else {
            history.operations.push(one);
            origins.push(index);
        }
    }
    (history, origins)
}

/// An eventual write that was acknowledged by a strict level.
struct Acked {
    index: Index,
    end: Nanos,
    dots: Vec<Dot>,
}

/// Whatever a linearizable operation answers has seen every eventual write that a strict level acknowledged before the operation began.
/// The context of the answer says so directly.
pub(super) fn unseen(recorder: &Recorder, vanished: &dyn Fn(usize) -> bool) -> Vec<Violation> {
    let history = &recorder.history;
    let acked = acked(recorder);
    let mut violations = Vec::new();
    for (index, context) in &recorder.answered {
        let answer = &history.operations[*index];
        let Some(acked) = acked.get(&answer.key) else { continue };
        let misses =
            |write: &&Acked| write.end < answer.call && !write.dots.iter().any(|dot| context.covers(*dot)) && !vanished(write.index);
        if let Some(write) = acked.iter().find(misses) {
            let (key, write) = (history.names.key_text(answer.key), write.index);
            let words = format!("acknowledged-write-not-seen: key {key}: #{write} was acknowledged; then #{index}, which has not seen it");
            violations.push(Violation { kind: "acknowledged-write-not-seen", words, operations: vec![write, *index] });
        }
    }
    violations
}

fn acked(recorder: &Recorder) -> BTreeMap<KeyId, Vec<Acked>> {
    let history = &recorder.history;
    let mut dots = BTreeMap::<Index, Vec<Dot>>::new();
    for given in recorder.dots.values().flatten() {
        if let Some(index) = given.index {
            dots.entry(index).or_default().push(given.dot);
        }
    }
    let mut acked = BTreeMap::<KeyId, Vec<Acked>>::new();
    for (index, operation) in history.operations.iter().enumerate() {
        let is_strict = level::Promise::of(history, operation) == level::Promise::Strict;
        let writes = matches!(operation.action, Action::Write { .. } | Action::Delete) && operation.outcome == Outcome::Ok;
        if let (true, Some(end), Some(dots)) = (is_strict && writes, operation.end, dots.remove(&index)) {
            acked.entry(operation.key).or_default().push(Acked { index, end, dots });
        }
    }
    acked
}
