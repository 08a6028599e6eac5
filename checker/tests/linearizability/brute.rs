//! Linearizability by its definition: all orders that respect real time, with every subset of what may never have happened.

use quorate_checker::history::{Action, History, Nanos, Operation, Outcome, Seen, ValueId};
use quorate_checker::search::{Specification, Task};

type Held = Option<ValueId>;

/// Whether some order explains the operations of a history of one key. If `all_happened`, those of unknown outcome did.
pub(crate) fn explains(history: &History, all_happened: bool) -> bool {
    let operations: Vec<&Operation> = history.operations.iter().filter(|operation| says_something(operation)).collect();
    if operations.iter().any(|operation| failed_in_vain(operation, &operations)) {
        return false;
    }
    let mut left = vec![true; operations.len()];
    extend(&operations, &mut left, None, all_happened)
}

fn says_something(operation: &Operation) -> bool {
    match (&operation.action, operation.outcome) {
        (Action::Read { seen }, outcome) => outcome == Outcome::Ok && seen.is_some(),
        (Action::Write { .. } | Action::Delete, outcome) => outcome != Outcome::Fail,
        (Action::Cas { observed, .. }, Outcome::Fail) => {
            observed.is_some() || !operation.detail.as_ref().is_some_and(|detail| detail.refused)
        }
        (Action::Cas { .. }, _) => true,
        (Action::CasSiblings(_), _) => panic!("not a register's"),
    }
}

/// A cas that found just what it expected, and cannot have meant an equal value of another write.
fn failed_in_vain(operation: &Operation, all: &[&Operation]) -> bool {
    let Action::Cas { expect, observed, .. } = &operation.action else { return false };
    let refused = operation.detail.as_ref().is_some_and(|detail| detail.refused);
    if refused || operation.outcome != Outcome::Fail || *observed != Some(*expect) {
        return false;
    }
    let puts = all.iter().filter(|other| other.outcome != Outcome::Fail).filter(|other| match &other.action {
        Action::Delete => expect.is_none(),
        action => expect.is_some() && action.written() == *expect,
    });
    puts.count() <= usize::from(expect.is_some())
}

fn extend(operations: &[&Operation], left: &mut [bool], state: Held, all_happened: bool) -> bool {
    let must = |at: usize, left: &[bool]| left[at] && (all_happened || operations[at].outcome != Outcome::Unknown);
    if (0..operations.len()).all(|at| !must(at, left)) {
        return true;
    }
    for at in 0..operations.len() {
        let precedes = |other: usize| must(other, left) && end(operations[other]) < operations[at].call;
        if !left[at] || (0..operations.len()).any(precedes) {
            continue;
        }
        if let Some(state) = after(operations[at], state) {
            left[at] = false;
            let explained = extend(operations, left, state, all_happened);
            left[at] = true;
            if explained {
                return true;
            }
        }
    }
    false
}

fn end(operation: &Operation) -> Nanos {
    operation.end.unwrap_or(Nanos::MAX)
}

fn after(operation: &Operation, state: Held) -> Option<Held> {
    match (&operation.action, operation.outcome) {
        (Action::Read { seen: Some(Seen::One(value)) }, _) => (state == Some(*value)).then_some(state),
        (Action::Read { seen: Some(Seen::Absent) }, _) => state.is_none().then_some(state),
        (Action::Read { .. }, _) => None,
        (Action::Write { value }, _) => Some(Some(*value)),
        (Action::Delete, _) => Some(None),
        (Action::Cas { observed: Some(observed), .. }, Outcome::Fail) => (state == *observed).then_some(state),
        (Action::Cas { expect, .. }, Outcome::Fail) => (state != *expect).then_some(state),
        (Action::Cas { observed: Some(observed), expect, .. }, Outcome::Ok) if observed != expect => None,
        (Action::Cas { expect, value, .. }, _) => (state == *expect).then_some(Some(*value)),
        (Action::CasSiblings(_), _) => panic!("not a register's"),
    }
}

/// The same for any specification.
pub(crate) fn has_order<S: Specification>(specification: &S, tasks: &[Task<S::Operation>]) -> bool {
    place(specification, tasks, &mut vec![true; tasks.len()], &specification.initial())
}

fn place<S: Specification>(specification: &S, tasks: &[Task<S::Operation>], left: &mut [bool], state: &S::State) -> bool {
    if tasks.iter().zip(&*left).all(|(task, left)| !left || task.end.is_none()) {
        return true;
    }
    for at in 0..tasks.len() {
        let precedes = |other: usize| {
            let [before, after] = [other, at].map(|at| &tasks[at]);
            left[other] && before.end.is_some_and(|end| end < after.call) && !(before.unordered && after.unordered)
        };
        if !left[at] || (0..tasks.len()).any(precedes) {
            continue;
        }
        if let Some(state) = specification.apply(state, &tasks[at].operation) {
            left[at] = false;
            let explained = place(specification, tasks, left, &state);
            left[at] = true;
            if explained {
                return true;
            }
        }
    }
    false
}
