//! Who replaced whom is an order, and nobody replaces what he was not shown.
//!
//! **Promises checked**, on keys where writes say what they covered:
//! - *No circle*: if a write covered another, directly or through others, that one did not cover it. A circle proves that a write was
//!   applied a second time as if it were new, and silently replaced what had replaced it.
//! - *Nothing of the future*: an acknowledged write or delete covered nothing whose write was called after it had returned.
//! - *Nothing unseen*: a write made with the context of an answer covers what that answer showed, and what that had replaced, and nothing
//!   else. [`Detail::shown`](crate::history::Detail::shown) says what the answer had shown.
//!
//! **How.** Covers are edges between values. A circle is a strongly connected component of two or more values (Tarjan's algorithm, with
//! a stack of its own). For the second promise, a covered value that was not shown must have been covered by some other write or
//! delete called before: a context contains it only because somebody who replaced it was shown. A write that may have taken effect and does
//! not say what it covered, such as a blind one without an answer, may have covered it: then nothing is judged. A *case* is an edge. Linear
//! in the edges, after sorting.
//!
//! Source: Tarjan, Depth-First Search and Linear Graph Algorithms (1972).

use std::collections::BTreeMap;
use std::fmt;

use crate::finding::{Evidence, Judgement, op};
use crate::history::{Action, History, KeyId, Nanos, Outcome, ValueId};

/// A broken causal order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Writes that covered each other.
    Circle {
        /// The key.
        key: KeyId,
        /// The writes, each of which covered the next, and the last the first, directly or through others.
        writes: Vec<usize>,
    },
    /// A write replaced what was written after it had returned.
    Future {
        /// The key.
        key: KeyId,
        /// The write or delete.
        write: usize,
        /// The write it replaced.
        later: usize,
    },
    /// A write replaced what its client had not been shown.
    Unseen {
        /// The key.
        key: KeyId,
        /// The write.
        write: usize,
        /// What it replaced.
        covered: ValueId,
    },
}

impl Evidence for Violation {
    fn kind(&self) -> &'static str {
        match self {
            Violation::Circle { .. } => "replaced-its-successor",
            Violation::Future { .. } => "replaced-the-future",
            Violation::Unseen { .. } => "replaced-unseen",
        }
    }

    fn key(&self) -> KeyId {
        match self {
            Violation::Circle { key, .. } | Violation::Future { key, .. } | Violation::Unseen { key, .. } => *key,
        }
    }

    fn operations(&self) -> Vec<usize> {
        match self {
            Violation::Circle { writes, .. } => writes.clone(),
            Violation::Future { write, later, .. } => vec![*write, *later],
            Violation::Unseen { write, .. } => vec![*write],
        }
    }

    fn tell(&self, history: &History, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Circle { writes, .. } => {
                let last = writes.len() - 1;
                for (number, write) in writes.iter().enumerate() {
                    let joint = if number == 0 {
                        ""
                    } else if number == last {
                        " and "
                    } else {
                        ", "
                    };
                    write!(f, "{joint}{}", op(history, *write))?;
                }
                f.write_str(" replaced each other: one of them was applied again after it had been replaced")
            }
            Violation::Future { write, later, .. } => {
                let (write, later) = (op(history, *write), op(history, *later));
                write!(f, "{write} replaced what came after it: {later}")
            }
            Violation::Unseen { write, covered, .. } => {
                write!(f, "{} replaced {}, which its client had not been shown", op(history, *write), history.names.value_text(*covered))
            }
        }
    }
}

/// What one write covered.
struct Covers<'a> {
    write: usize,
    key: KeyId,
    value: Option<ValueId>,
    covers: &'a [ValueId],
}

/// Judges all covers.
#[must_use]
pub fn check(history: &History) -> Judgement<Violation> {
    let mut all: Vec<Covers<'_>> = (0..history.operations.len()).filter_map(|index| covers(history, index)).collect();
    all.sort_by_key(|covers| (covers.key, covers.write));
    let silent = silent(history);
    let mut judgement = Judgement::default();
    for of_key in all.chunk_by(|a, b| a.key == b.key) {
        judgement.judged += of_key.iter().map(|covers| covers.covers.len() as u64).sum::<u64>();
        judgement.violations.extend(circles(of_key));
        judgement.violations.extend(future(history, of_key));
        let silent_since = of_key.first().and_then(|covers| silent.get(&covers.key)).copied();
        judgement.violations.extend(unseen(history, of_key, silent_since));
    }
    judgement
}

/// By key, the first call of a write or delete that may have taken effect and does not say what it covered.
fn silent(history: &History) -> BTreeMap<KeyId, Nanos> {
    let mut first = BTreeMap::new();
    for operation in history.operations.iter().filter(|operation| operation.outcome != Outcome::Fail) {
        let says = operation.detail.as_ref().is_some_and(|detail| detail.covers.is_some());
        if !says && matches!(operation.action, Action::Write { .. } | Action::Delete) {
            first.entry(operation.key).and_modify(|first: &mut Nanos| *first = operation.call.min(*first)).or_insert(operation.call);
        }
    }
    first
}

fn covers(history: &History, index: usize) -> Option<Covers<'_>> {
    let operation = &history.operations[index];
    if operation.outcome == Outcome::Fail || matches!(operation.action, Action::Read { .. }) {
        return None;
    }
    let covers = operation.detail.as_ref()?.covers.as_deref()?;
    Some(Covers { write: index, key: operation.key, value: operation.action.written(), covers })
}

/// Tarjan's algorithm over the values of one key, without recursion.
struct Components<'a> {
    edges: Vec<&'a [ValueId]>,
    number_of: BTreeMap<ValueId, usize>,
    found: Vec<Option<usize>>,
    low: Vec<usize>,
    is_open: Vec<bool>,
    open: Vec<usize>,
    next: usize,
}

impl Components<'_> {
    /// The components of two or more nodes that are reached from `root`.
    fn from(&mut self, root: usize, out: &mut Vec<Vec<usize>>) {
        let mut path = vec![(root, 0)];
        self.enter(root);
        while let Some((node, edge)) = path.last_mut() {
            let node = *node;
            let target = self.edges[node].get(*edge).map(|value| self.number_of.get(value).copied());
            *edge += 1;
            match target {
                Some(Some(target)) if self.found[target].is_none() => {
                    self.enter(target);
                    path.push((target, 0));
                }
                Some(Some(target)) if self.is_open[target] => self.low[node] = self.low[node].min(self.low[target]),
                Some(_) => {}
                None => {
                    path.pop();
                    if let Some((parent, _)) = path.last() {
                        self.low[*parent] = self.low[*parent].min(self.low[node]);
                    }
                    if self.found[node] == Some(self.low[node]) {
                        let at = self.open.iter().rposition(|open| *open == node).expect("an open node is on the stack");
                        let component = self.open.split_off(at);
                        component.iter().for_each(|member| self.is_open[*member] = false);
                        if component.len() > 1 {
                            out.push(component);
                        }
                    }
                }
            }
        }
    }

    fn enter(&mut self, node: usize) {
        self.found[node] = Some(self.next);
        self.low[node] = self.next;
        self.next += 1;
        self.is_open[node] = true;
        self.open.push(node);
    }
}

fn circles(of_key: &[Covers<'_>]) -> Vec<Violation> {
    let writes: Vec<&Covers<'_>> = of_key.iter().filter(|covers| covers.value.is_some()).collect();
    let number_of = writes.iter().enumerate().filter_map(|(number, covers)| Some((covers.value?, number))).collect();
    let count = writes.len();
    let mut components = Components {
        edges: writes.iter().map(|covers| covers.covers).collect(),
        number_of,
        found: vec![None; count],
        low: vec![0; count],
        is_open: vec![false; count],
        open: Vec::new(),
        next: 0,
    };
    let mut out = Vec::new();
    for root in 0..count {
        if components.found[root].is_none() {
            components.from(root, &mut out);
        }
    }
    let violation = |component: Vec<usize>| {
        let mut members: Vec<usize> = component.into_iter().map(|number| writes[number].write).collect();
        members.sort_unstable();
        Violation::Circle { key: writes[0].key, writes: members }
    };
    out.into_iter().map(violation).collect()
}

/// Covered values of which every write was called after the covering one had returned.
fn future(history: &History, of_key: &[Covers<'_>]) -> Vec<Violation> {
    let mut first_call: BTreeMap<ValueId, (Nanos, usize)> = BTreeMap::new();
    for covers in of_key {
        let Some(value) = covers.value else { continue };
        let called = (history.operations[covers.write].call, covers.write);
        first_call.entry(value).and_modify(|first| *first = called.min(*first)).or_insert(called);
    }
    let mut violations = Vec::new();
    for covers in of_key {
        let operation = &history.operations[covers.write];
        let Some(end) = operation.end.filter(|_| operation.outcome == Outcome::Ok) else { continue };
        let later = covers.covers.iter().filter_map(|covered| first_call.get(covered)).find(|(call, _)| *call > end);
        violations.extend(later.map(|(_, later)| Violation::Future { key: covers.key, write: covers.write, later: *later }));
    }
    violations
}

fn unseen(history: &History, of_key: &[Covers<'_>], silent_since: Option<Nanos>) -> Vec<Violation> {
    // Who covered each value.
    let mut by: BTreeMap<ValueId, Vec<usize>> = BTreeMap::new();
    for covers in of_key {
        for covered in covers.covers {
            by.entry(*covered).or_default().push(covers.write);
        }
    }
    let mut violations = Vec::new();
    for covers in of_key {
        let detail = history.operations[covers.write].detail.as_ref();
        let Some(shown) = detail.and_then(|detail| detail.shown.as_deref()) else { continue };
        let end = history.operations[covers.write].end.unwrap_or(Nanos::MAX);
        if silent_since.is_some_and(|since| since < end) {
            continue;
        }
        let explains = |other: &usize| *other != covers.write && history.operations[*other].call < end;
        let is_unseen = |covered: &&ValueId| shown.binary_search(covered).is_err() && !by[covered].iter().any(explains);
        if let Some(covered) = covers.covers.iter().find(is_unseen) {
            violations.push(Violation::Unseen { key: covers.key, write: covers.write, covered: *covered });
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Detail, Operation};

    /// Writes of one key: the value and what it covered.
    fn history(writes: &[(&str, &[&str])]) -> History {
        let mut history = History::default();
        for (call, (value, covers)) in (0..).zip(writes) {
            let key = history.names.key("k");
            let covers = covers.iter().map(|covered| history.names.value(covered)).collect();
            let value = history.names.value(value);
            let detail = Detail { covers: Some(covers), ..Detail::default() };
            history.operations.push(Operation {
                process: call,
                key,
                action: Action::Write { value },
                call,
                end: Some(call),
                outcome: Outcome::Ok,
                level: None,
                detail: Some(Box::new(detail)),
            });
        }
        history
    }

    /// What is found if the last write was made with the context of an answer that showed these.
    fn kinds(history: &mut History, shown: &[&str]) -> Vec<&'static str> {
        let shown = shown.iter().map(|value| history.names.value(value)).collect();
        let last = history.operations.last_mut().and_then(|operation| operation.detail.as_mut());
        last.expect("a write").shown = Some(shown);
        check(history).violations.iter().map(Evidence::kind).collect()
    }

    #[test]
    fn a_chain_and_a_merge_are_an_order() {
        let history = history(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c", "a"])]);
        assert!(check(&history).is_clean());
    }

    #[test]
    fn writes_that_replaced_each_other_are_found_through_others() {
        let history = history(&[("a", &["c"]), ("b", &["a"]), ("c", &["b"]), ("d", &["c"])]);
        let judgement = check(&history);
        assert_eq!(judgement.violations[0], Violation::Circle { key: KeyId(0), writes: vec![0, 1, 2] });
    }

    #[test]
    fn nothing_replaces_what_was_called_after_it_had_returned() {
        let history = history(&[("a", &["b"]), ("b", &[]), ("c", &["b"])]);
        let judgement = check(&history);
        assert_eq!(judgement.violations, [Violation::Future { key: KeyId(0), write: 0, later: 1 }]);
    }

    #[test]
    fn a_sibling_that_nobody_was_shown_must_not_be_replaced() {
        let mut history = history(&[("a", &[]), ("b", &[]), ("c", &["a", "b"])]);
        assert_eq!(kinds(&mut history, &["a"]), ["replaced-unseen"]);
        assert_eq!(kinds(&mut history, &[]), ["replaced-unseen"]);
        assert!(kinds(&mut history, &["a", "b"]).is_empty());
    }

    #[test]
    fn a_write_that_does_not_say_what_it_covered_may_have_covered_anything() {
        let mut history = history(&[("a", &[]), ("blind", &[]), ("c", &["a", "blind"])]);
        assert_eq!(kinds(&mut history, &["blind"]), ["replaced-unseen"]);
        history.operations[1].detail = None;
        (history.operations[1].outcome, history.operations[1].end) = (Outcome::Unknown, None);
        assert!(kinds(&mut history, &["blind"]).is_empty());
    }

    #[test]
    fn what_the_shown_value_had_replaced_may_be_replaced_with_it() {
        let mut history = history(&[("a", &[]), ("b", &["a"]), ("c", &["a", "b"])]);
        assert!(kinds(&mut history, &["b"]).is_empty());
    }
}
