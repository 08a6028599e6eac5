//! What each level promises beyond linearizability, and who keeps it.
//!
//! | check | judged where |
//! |---|---|
//! | `overlap` | a read and a write are at levels whose counts add up to more than N; reads at `quorum` and `all` never go back |
//! | `sessions` | reads at a level with `+session`: read-your-writes, monotonic reads |
//! | `siblings` | any level below `linearizable`, or final states: nothing invented, lost or back again |
//! | `causality` | writes below `linearizable` say what they covered: none replaced what had replaced it, nor what its client was not shown |
//! | `durability`, `convergence` | the history has final states of replicas, or reads after `quiet` |
//! | `dots` | operations say which versions they became, or there are final states: none is two |
//! | `twins` | there are final states, and the header says which writes were `repeated`: no other is there twice |
//! | `counters` | keys changed by linearizable cas from number to number alone: none counts an increment twice, or not at all |
//! | `tokens` | linearizable operations say tokens: they only grow |
//!
//! - *Upon a level that is not ours*: it promises nothing here.
//! - *Upon `linearizable`*: its reads meet what `quorum` and `all` acknowledged. What is owed to its writes is judged as
//!   linearizability; eventual reads may lag behind them, also those at `quorum`, for replicas learn afterwards what was chosen.
//! - *Upon `rXwY` without knowing N*: neither does that. `one`, `quorum` and `all` promise the same for every N from 3 on.
//! - *Upon `any`*: a hint counts as a copy, and answers no read.

use std::collections::BTreeSet;

use crate::finding::{Allowances, Finding};
use crate::history::{History, Nanos, Operation, Outcome};
use crate::level::{Access, Promise, copies, is_count, split_session};
use crate::sessions::{self, Guarantee};
use crate::{causality, convergence, dots, durability, once, overlap, siblings, tokens};

/// Most home replicas that the overlap check can count.
pub const REPLICAS_MAX: u8 = 62;
/// N where nobody says it: see the module's rules.
const REPLICAS_ASSUMED: u8 = 3;

/// What a history's header says that a checker cannot find out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Home replicas of each key; `None` if nobody says it.
    pub replicas: Option<u8>,
    /// From then on all faults were healed and repairs done.
    pub quiet: Option<Nanos>,
    /// What the recorder found broken that no history shows, each in a word.
    pub beyond: Vec<String>,
    vanished: BTreeSet<usize>,
    /// `None` if nobody says it.
    repeated: Option<BTreeSet<usize>>,
}

impl Facts {
    /// Those of a history's header; `replicas` (at most [`REPLICAS_MAX`]) overrules it.
    #[must_use]
    pub fn of(history: &History, replicas: Option<u8>) -> Self {
        let number = |name: &str| history.header.get(name).and_then(serde_json::Value::as_u64);
        let list = |name: &str| history.header.get(name).and_then(serde_json::Value::as_array);
        let positions = |name: &str| -> Option<BTreeSet<usize>> {
            Some(list(name)?.iter().filter_map(|at| at.as_u64().and_then(|at| usize::try_from(at).ok())).collect())
        };
        let said = number("replicas").and_then(|replicas| u8::try_from(replicas).ok());
        let replicas = replicas.or(said).filter(|replicas| (1..=REPLICAS_MAX).contains(replicas));
        // A level that promised more copies than disks were lost is not excused.
        let disks_lost = number("disks_lost").unwrap_or(1);
        let may_vanish = |at: &usize| {
            history.operations.get(*at).is_some_and(|operation| {
                operation.outcome != Outcome::Ok || u64::from(copies_of(history, operation, replicas)) <= disks_lost
            })
        };
        let vanished = positions("vanished").unwrap_or_default().into_iter().filter(may_vanish).collect();
        let beyond = list("beyond").into_iter().flatten().filter_map(|kind| kind.as_str().map(str::to_owned)).collect();
        Self { replicas, quiet: number("quiet"), vanished, repeated: positions("repeated"), beyond }
    }

    /// Calls `judge` with what may have vanished and what may have been applied twice.
    pub fn allowing<T>(&self, judge: impl FnOnce(&Allowances<'_>) -> T) -> T {
        let vanished = |at: usize| self.vanished.contains(&at);
        let repeated = |at: usize| self.repeated.as_ref().is_some_and(|repeated| repeated.contains(&at));
        judge(&Allowances { vanished: &vanished, repeated: &repeated })
    }
}

/// What one check says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The check.
    pub name: &'static str,
    /// How many cases were judged; the check says what a case is.
    pub judged: u64,
    /// What broke the promise.
    pub findings: Vec<Finding>,
}

impl Judged {
    fn new<V: Into<Finding>>(name: &'static str, judged: u64, violations: Vec<V>) -> Self {
        Self { name, judged, findings: violations.into_iter().map(Into::into).collect() }
    }
}

/// Judges what levels promise besides linearizability: the checks that apply, in order.
#[must_use]
pub fn judge(history: &History, facts: &Facts) -> Vec<Judged> {
    let mut checks = Vec::new();
    let weak = history.operations.iter().any(|operation| Promise::of(history, operation) != Promise::Linearizable);
    let ends_known = !history.finals.is_empty();
    facts.allowing(|allow| {
        if weak {
            let promise = |_: usize, operation: &Operation| promise(history, operation, facts.replicas);
            let replicas = u32::from(facts.replicas.unwrap_or(REPLICAS_ASSUMED));
            let found = overlap::check(history, replicas, &promise, allow);
            checks.push(Judged::new("overlap", found.judged, found.violations));
            checks.extend(of_sessions(history, allow));
            let found = causality::check(history);
            checks.push(Judged::new("causality", found.judged, found.violations));
        }
        if weak || ends_known || facts.quiet.is_some() {
            let found = siblings::check(history, facts.quiet, allow);
            checks.push(Judged::new("siblings", found.judged, found.violations));
        }
        if ends_known || facts.quiet.is_some() {
            let found = durability::check(history, facts.quiet, allow);
            checks.push(Judged::new("durability", found.judged, found.violations));
        }
        if ends_known {
            let found = convergence::check(history);
            checks.push(Judged::new("convergence", found.judged, found.violations));
        }
        if ends_known && facts.repeated.is_some() {
            let found = once::twins(history, allow.repeated);
            checks.push(Judged::new("twins", found.judged, found.violations));
        }
    });
    checks.extend(where_said(history));
    checks
}

/// Checks of what only some histories say.
fn where_said(history: &History) -> impl Iterator<Item = Judged> {
    let (dots, counters, tokens) = (dots::check(history, []), once::counters(history), tokens::check(history));
    let checks = [
        Judged::new("dots", dots.judged, dots.violations),
        Judged::new("counters", counters.judged, counters.violations),
        Judged::new("tokens", tokens.judged, tokens.violations),
    ];
    checks.into_iter().filter(|check| check.judged > 0)
}

/// A level as the history spells it, and whether it belongs to a session.
fn level<'a>(history: &'a History, operation: &Operation) -> Option<(&'a str, bool)> {
    Some(split_session(history.names.word_text(operation.level?)))
}

/// What eventual operations and linearizable reads owe each other by their levels.
fn promise(history: &History, operation: &Operation, replicas: Option<u8>) -> overlap::Promise {
    let reads = Access::of(operation) == Access::Read;
    let copies = copies_of(history, operation, replicas);
    match level(history, operation).map(|(text, _)| Promise::of_level(text)) {
        Some(Promise::Linearizable) if !reads => overlap::Promise::default(),
        promise => overlap::Promise { copies, monotonic: reads && promise == Some(Promise::Strict) },
    }
}

/// How many replicas an operation's level counts; 0 if nobody knows.
fn copies_of(history: &History, operation: &Operation, replicas: Option<u8>) -> u32 {
    let Some((level, _)) = level(history, operation).filter(|(level, _)| replicas.is_some() || !is_count(level)) else { return 0 };
    copies(level, Access::of(operation), replicas.unwrap_or(REPLICAS_ASSUMED)).map_or(0, u32::from)
}

/// What sessions promise at any level; `None` without any session.
fn of_sessions(history: &History, allow: &Allowances<'_>) -> Option<Judged> {
    let promised = |guarantee| matches!(guarantee, Guarantee::ReadYourWrites | Guarantee::MonotonicReads);
    let in_session = |index: usize| level(history, &history.operations[index]).is_some_and(|(_, session)| session);
    if !(0..history.operations.len()).any(in_session) {
        return None;
    }
    let report = sessions::check_reads(history, allow, &in_session);
    let judged = report.by_level.iter().filter(|((guarantee, _), _)| promised(*guarantee)).map(|(_, rate)| rate.judged).sum();
    let violations = report.violations.into_iter().filter(|violation| promised(violation.guarantee));
    Some(Judged::new("sessions", judged, violations.collect()))
}
