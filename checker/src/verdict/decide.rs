//! Key by key: the exact check, and the search for what that leaves open.

use std::collections::BTreeSet;

use super::{KeyVerdict, Limits, Method, Report, Rule, Scope, Undecided, Verdict, Violation};
use crate::history::{Action, CasSiblings, History, KeyId, Operation, Outcome, Seen, ValueId};
use crate::level::Promise;
use crate::register::{Checker, Exact};
use crate::search::{Answer, Budget, Exhausted, Specification, Task, noticed, search, shrink};
use crate::specification::multi_value::{MultiValue, MultiValueOperation};
use crate::specification::register::{Held, Register, RegisterOperation};

/// Judges every operation of a history as if it had promised linearizability.
///
/// # Panics
/// If the history has 2^32 operations or more, or its numbers are not of its names.
#[must_use]
pub fn check(history: &History, limits: &Limits) -> Report {
    check_with(history, limits, Scope::Everything, &mut || true)
}

/// Judges what the levels of a history's operations promise.
///
/// # Panics
/// As [`check`].
#[must_use]
pub fn check_promises(history: &History, limits: &Limits) -> Report {
    check_with(history, limits, Scope::Promises, &mut || true)
}

/// Judges a history, for as long as `keep_going` says so: it is asked before every key and from time to time within a search, so
/// the caller may look at a clock. What was not judged by then is undecided.
///
/// # Panics
/// As [`check`].
#[must_use]
pub fn check_with(history: &History, limits: &Limits, scope: Scope, keep_going: &mut dyn FnMut() -> bool) -> Report {
    let by_key = ByKey::of(history, scope);
    let promised = match scope {
        Scope::Everything => vec![true; history.names.key_count()],
        Scope::Promises => promised(history),
    };
    let mut checker = Checker::new(history);
    let mut keys = Vec::new();
    let mut going = true;
    for (number, operations) in (0..).zip(by_key.groups()) {
        let key = KeyId(number);
        if operations.is_empty() || !promised[number as usize] {
            continue;
        }
        going = going && keep_going();
        let (method, verdict) = if going {
            let states = limits.states.saturating_add(operations.len() as u64);
            let budget = Budget { states, keep_going };
            Key { history, limits, scope, key, operations }.judge(&mut checker, budget)
        } else {
            (Method::Exact, Verdict::Undecided(Undecided::Stopped))
        };
        keys.push(KeyVerdict { key, operations: operations.len(), method, verdict });
    }
    Report { keys }
}

/// For every key, whether an operation on it promised linearizability.
fn promised(history: &History) -> Vec<bool> {
    let mut promised = vec![false; history.names.key_count()];
    for operation in history.operations.iter().filter(|operation| Promise::of(history, operation) == Promise::Linearizable) {
        promised[operation.key.0 as usize] = true;
    }
    promised
}

/// The operations of every key.
struct ByKey {
    /// Positions in the history, key by key, each key's in the history's order.
    operations: Vec<u32>,
    /// Where each key's end.
    ends: Vec<usize>,
}

impl ByKey {
    fn of(history: &History, scope: Scope) -> Self {
        let count = u32::try_from(history.operations.len()).expect("fewer than 2^32 operations");
        let judged = |operation: &Operation| {
            scope == Scope::Everything
                || !matches!(operation.action, Action::Read { .. })
                || Promise::of(history, operation) == Promise::Linearizable
        };
        let mut ends = vec![0; history.names.key_count()];
        for operation in history.operations.iter().filter(|operation| judged(operation)) {
            ends[operation.key.0 as usize] += 1;
        }
        let mut total = 0;
        for end in &mut ends {
            total += std::mem::replace(end, total);
        }
        let mut operations = vec![0; total];
        for (at, operation) in (0..count).zip(&history.operations).filter(|(_, operation)| judged(operation)) {
            let end = &mut ends[operation.key.0 as usize];
            operations[*end] = at;
            *end += 1;
        }
        Self { operations, ends }
    }

    fn groups(&self) -> impl Iterator<Item = &[u32]> {
        let begins = std::iter::once(&0).chain(&self.ends);
        begins.zip(&self.ends).map(|(&begin, &end)| &self.operations[begin..end])
    }
}

/// One key's part of a history.
struct Key<'a> {
    history: &'a History,
    limits: &'a Limits,
    scope: Scope,
    key: KeyId,
    /// Positions in the history.
    operations: &'a [u32],
}

impl Key<'_> {
    fn judge(&self, checker: &mut Checker<'_>, budget: Budget<'_>) -> (Method, Verdict) {
        if self.scope == Scope::Promises && self.operations().any(|(_, operation)| self.is_eventual(operation)) {
            return (Method::MultiValueSearch, self.as_multi_value(budget));
        }
        match checker.judge(self.operations) {
            Exact::Linearizable => (Method::Exact, Verdict::Linearizable),
            Exact::Violation { rule, since } => (Method::Exact, self.violation(rule, since)),
            Exact::Search => (Method::RegisterSearch, self.as_register(budget)),
            Exact::NotARegister => (Method::MultiValueSearch, self.as_multi_value(budget)),
        }
    }

    fn violation(&self, rule: Rule, since: Vec<usize>) -> Verdict {
        Verdict::Violation(Box::new(Violation { key: self.key, rule, since }))
    }

    fn operations(&self) -> impl Iterator<Item = (usize, &Operation)> {
        self.operations.iter().map(|&at| (at as usize, &self.history.operations[at as usize]))
    }

    /// A write that leaves what it did not know beside it.
    fn is_eventual(&self, operation: &Operation) -> bool {
        let covers = operation.level.is_none() && operation.detail.as_ref().is_some_and(|detail| detail.covers.is_some());
        let writes = matches!(operation.action, Action::Write { .. } | Action::Delete) && operation.outcome != Outcome::Fail;
        writes && (covers || Promise::of(self.history, operation) < Promise::Linearizable)
    }

    fn as_register(&self, budget: Budget<'_>) -> Verdict {
        let all: Vec<(usize, Task<RegisterOperation>)> =
            self.operations().filter_map(|(at, operation)| Some((at, task(operation, register(operation)?)))).collect();
        self.decide(&Register, only_needed(all), budget)
    }

    fn as_multi_value(&self, budget: Budget<'_>) -> Verdict {
        let mut tasks = Vec::new();
        for (at, operation) in self.operations() {
            if !self.is_eventual(operation) {
                tasks.extend(multi_value(operation).map(|what| (at, task(operation, what))));
                continue;
            }
            let Some(covered) = operation.detail.as_ref().and_then(|detail| detail.covers.clone()) else {
                return Verdict::Undecided(Undecided::CoversUnknown { write: at });
            };
            tasks.extend(self.eventual_tries(operation, covered).map(|task| (at, task)));
        }
        match ambiguous_cover(&tasks) {
            Some(write) => Verdict::Undecided(Undecided::CoversAmbiguous { write }),
            None => self.decide(&MultiValue, only_noticed(tasks), budget),
        }
    }

    /// An eventual write enters the order once for each dot it was given. With several, its acknowledgement may speak of any of them.
    fn eventual_tries(&self, operation: &Operation, covered: Box<[ValueId]>) -> impl Iterator<Item = Task<MultiValueOperation>> {
        let (value, tries) = (operation.action.written(), tries(operation));
        let strict = operation.level.is_some() && Promise::of(self.history, operation) == Promise::Strict;
        let end = task(operation, ()).end.filter(|_| strict && tries == 1);
        // A blind put that is tried again replaces nothing.
        let has_context = operation.detail.as_ref().is_some_and(|detail| detail.shown.is_some());
        let again = if has_context { covered.clone() } else { Box::default() };
        let all = std::iter::once(covered).chain(std::iter::repeat_n(again, tries - 1));
        let call = operation.call;
        all.map(move |covered| {
            let operation = MultiValueOperation::EventualPut { value, covered, repeated: tries > 1 };
            Task { operation, call, end, unordered: true }
        })
    }

    fn decide<S>(&self, specification: &S, tasks: Vec<(usize, Task<S::Operation>)>, mut budget: Budget<'_>) -> Verdict
    where
        S: Specification,
        S::Operation: Clone,
    {
        let (positions, tasks): (Vec<usize>, Vec<Task<S::Operation>>) = tasks.into_iter().unzip();
        match search(specification, &tasks, &mut budget) {
            Answer::Linearizable { .. } => Verdict::Linearizable,
            Answer::Undecided(Exhausted::States) => Verdict::Undecided(Undecided::StatesExhausted),
            Answer::Undecided(Exhausted::Stopped) => Verdict::Undecided(Undecided::Stopped),
            Answer::Violation { reached } => {
                budget.states = self.limits.evidence_states;
                let evidence = shrink(specification, &tasks, reached, &mut budget);
                let mut operations: Vec<usize> = evidence.tasks.into_iter().map(|at| positions[at]).collect();
                operations.dedup();
                self.violation(Rule::NoOrder { operations, least: evidence.least }, Vec::new())
            }
        }
    }
}

/// So many tries of one write enter an order at most; more would only cost time.
const TRIES_MAX: usize = 4;

/// How often a write may have been applied: once for each dot, where the history tells them, else once for each sending.
fn tries(operation: &Operation) -> usize {
    let Some(detail) = operation.detail.as_deref() else { return 1 };
    let sendings = detail.attempts.map_or(1, |again| usize::try_from(again).unwrap_or(usize::MAX).saturating_add(1));
    let dots = Some(detail.dots.len()).filter(|dots| *dots > 0);
    dots.unwrap_or(sendings).min(TRIES_MAX)
}

fn task<O>(operation: &Operation, what: O) -> Task<O> {
    let end = operation.end.filter(|_| operation.outcome != Outcome::Unknown);
    Task { operation: what, call: operation.call, end, unordered: false }
}

/// What an operation says about a register; `None` if nothing.
fn register(operation: &Operation) -> Option<RegisterOperation> {
    match (&operation.action, operation.outcome) {
        (Action::Read { seen: Some(Seen::One(value)) }, Outcome::Ok) => Some(RegisterOperation::Read(Some(*value))),
        (Action::Read { seen: Some(Seen::Absent) }, Outcome::Ok) => Some(RegisterOperation::Read(None)),
        (Action::Read { .. }, _) | (Action::Write { .. } | Action::Delete, Outcome::Fail) => None,
        (Action::Write { value }, _) => Some(RegisterOperation::Write(Some(*value))),
        (Action::Delete, _) => Some(RegisterOperation::Write(None)),
        (Action::Cas { observed: Some(seen), .. }, Outcome::Fail) => Some(RegisterOperation::Read(*seen)),
        (Action::Cas { expect, .. }, Outcome::Fail) => (!was_refused(operation)).then_some(RegisterOperation::Other(*expect)),
        (Action::Cas { expect, value, .. }, _) => Some(RegisterOperation::Cas { expect: *expect, value: Some(*value) }),
        (Action::CasSiblings(_), _) => unreachable!("a key with siblings is no register"),
    }
}

/// What an operation of the linearizable level says about a multi-value register; `None` if nothing.
fn multi_value(operation: &Operation) -> Option<MultiValueOperation> {
    match (&operation.action, operation.outcome) {
        (Action::Read { seen: Some(seen) }, Outcome::Ok) => return Some(MultiValueOperation::Read(seen.clone())),
        (Action::CasSiblings(cas), outcome) => return siblings_cas(operation, cas, outcome),
        _ => {}
    }
    Some(match register(operation)? {
        RegisterOperation::Read(seen) => MultiValueOperation::Read(seen.into()),
        RegisterOperation::Write(value) => MultiValueOperation::Put(value),
        RegisterOperation::Cas { expect, value } => {
            MultiValueOperation::Cas { expect: expect.into(), value: value.expect("a cas puts a value") }
        }
        RegisterOperation::Other(not) => MultiValueOperation::Other(not.into()),
    })
}

fn siblings_cas(operation: &Operation, cas: &CasSiblings, outcome: Outcome) -> Option<MultiValueOperation> {
    let CasSiblings { expect, value, observed } = cas;
    match (outcome, observed) {
        (Outcome::Ok | Outcome::Unknown, _) => Some(MultiValueOperation::Cas { expect: expect.clone(), value: *value }),
        (Outcome::Fail, Some(observed)) => Some(MultiValueOperation::Read(observed.clone())),
        (Outcome::Fail, None) => (!was_refused(operation)).then(|| MultiValueOperation::Other(expect.clone())),
    }
}

fn was_refused(operation: &Operation) -> bool {
    operation.detail.as_ref().is_some_and(|detail| detail.refused)
}

/// Without the unknown writes of which nobody who took effect can have noticed anything.
fn only_noticed(tasks: Vec<(usize, Task<MultiValueOperation>)>) -> Vec<(usize, Task<MultiValueOperation>)> {
    let (positions, tasks): (Vec<usize>, Vec<Task<MultiValueOperation>>) = tasks.into_iter().unzip();
    let kept = noticed(&MultiValue, &tasks);
    kept.into_iter().map(|at| (positions[at], tasks[at].clone())).collect()
}

/// Without the unknown writes whose value nobody needs who took effect: they can as well never have happened. If somebody only
/// says what was not there, any write may be needed.
fn only_needed(mut tasks: Vec<(usize, Task<RegisterOperation>)>) -> Vec<(usize, Task<RegisterOperation>)> {
    if tasks.iter().any(|(_, task)| matches!(task.operation, RegisterOperation::Other(_))) {
        return tasks;
    }
    let needs = |task: &Task<RegisterOperation>| match task.operation {
        RegisterOperation::Read(seen) | RegisterOperation::Cas { expect: seen, .. } => Some(seen),
        RegisterOperation::Write(_) | RegisterOperation::Other(_) => None,
    };
    let mut needed: BTreeSet<Held> = BTreeSet::new();
    let mut open: Vec<Held> = tasks.iter().filter(|(_, task)| task.end.is_some()).filter_map(|(_, task)| needs(task)).collect();
    let mut unknown: Vec<(Held, Held)> = tasks
        .iter()
        .filter(|(_, task)| task.end.is_none())
        .filter_map(|(_, task)| match task.operation {
            RegisterOperation::Cas { expect, value } => Some((value, expect)),
            _ => None,
        })
        .collect();
    unknown.sort_unstable();
    while let Some(held) = open.pop() {
        if needed.insert(held) {
            let begin = unknown.partition_point(|(value, _)| *value < held);
            open.extend(unknown[begin..].iter().take_while(|(value, _)| *value == held).map(|(_, expect)| *expect));
        }
    }
    tasks.retain(|(_, task)| match task.operation {
        RegisterOperation::Write(value) | RegisterOperation::Cas { value, .. } => task.end.is_some() || needed.contains(&value),
        RegisterOperation::Read(_) | RegisterOperation::Other(_) => task.end.is_some(),
    });
    tasks
}

/// An eventual write that covers a value which several wrote.
fn ambiguous_cover(tasks: &[(usize, Task<MultiValueOperation>)]) -> Option<usize> {
    let written = tasks.iter().filter_map(|(at, task)| match &task.operation {
        MultiValueOperation::Put(value) | MultiValueOperation::EventualPut { value, .. } => Some((value.as_ref().copied()?, *at)),
        MultiValueOperation::Cas { value, .. } => Some((*value, *at)),
        MultiValueOperation::Read(_) | MultiValueOperation::Other(_) => None,
    });
    let mut written: Vec<(ValueId, usize)> = written.collect();
    written.sort_unstable();
    written.dedup();
    let several: BTreeSet<ValueId> = written.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| pair[0].0).collect();
    let mut writes = tasks.iter().filter_map(|(at, task)| match &task.operation {
        MultiValueOperation::EventualPut { covered, .. } => Some((*at, covered)),
        _ => None,
    });
    writes.find(|(_, covered)| covered.iter().any(|value| several.contains(value))).map(|(at, _)| at)
}
