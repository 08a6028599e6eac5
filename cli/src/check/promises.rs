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
use std::fmt;

use quorate_checker::finding::{Allowances, Evidence, Finding};
use quorate_checker::history::{Action, History, Nanos, Operation, Outcome};
use quorate_checker::level::Promise;
use quorate_checker::sessions::{self, Guarantee};
use quorate_checker::timeline::Timeline;
use quorate_checker::{causality, convergence, dots, durability, once, overlap, siblings, tokens};
use quorate_protocol::Level;
use quorate_protocol::level::{Access, majority};
use serde::Serialize;

use crate::output::Count;

/// Most home replicas that the overlap check can count.
pub(super) const REPLICAS_MAX: i64 = 62;
/// N where nobody says it: see the module's rules.
const REPLICAS_ASSUMED: u8 = 3;
/// Findings of one check that are told, each with at most so many operations drawn.
const TOLD_MAX: usize = 10;
const DRAWN_MAX: usize = 12;

/// What a history's header says that a checker cannot find out.
#[derive(Debug)]
pub(super) struct Facts {
    replicas: Option<u8>,
    quiet: Option<Nanos>,
    vanished: BTreeSet<usize>,
    /// `None` if nobody says it.
    repeated: Option<BTreeSet<usize>>,
    /// What the recorder found broken that no history shows.
    pub(super) beyond: Vec<String>,
}

impl Facts {
    /// Those of a header; `replicas` overrules it.
    pub(super) fn of(history: &History, replicas: Option<u8>) -> Self {
        let number = |name: &str| history.header.get(name).and_then(serde_json::Value::as_u64);
        let list = |name: &str| history.header.get(name).and_then(serde_json::Value::as_array);
        let positions = |name: &str| -> Option<BTreeSet<usize>> {
            Some(list(name)?.iter().filter_map(|at| at.as_u64().and_then(|at| usize::try_from(at).ok())).collect())
        };
        let said = number("replicas").filter(|replicas| (1..=REPLICAS_MAX.unsigned_abs()).contains(replicas));
        let said = said.and_then(|replicas| u8::try_from(replicas).ok());
        let replicas = replicas.or(said);
        // A level that promised more copies than disks were lost is not excused.
        let disks_lost = number("disks_lost").unwrap_or(1);
        let may_vanish = |at: &usize| {
            history
                .operations
                .get(*at)
                .is_some_and(|operation| operation.outcome != Outcome::Ok || u64::from(copies(history, operation, replicas)) <= disks_lost)
        };
        let vanished = positions("vanished").unwrap_or_default().into_iter().filter(may_vanish).collect();
        let beyond = list("beyond").into_iter().flatten().filter_map(|kind| kind.as_str().map(str::to_owned)).collect();
        Self { replicas, quiet: number("quiet"), vanished, repeated: positions("repeated"), beyond }
    }

    /// Calls `judge` with what may have vanished and what may have been applied twice.
    pub(super) fn allowing<T>(&self, judge: impl FnOnce(&Allowances<'_>) -> T) -> T {
        let vanished = |at: usize| self.vanished.contains(&at);
        let repeated = |at: usize| self.repeated.as_ref().is_some_and(|repeated| repeated.contains(&at));
        judge(&Allowances { vanished: &vanished, repeated: &repeated })
    }
}

/// What one check says.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) name: &'static str,
    pub(super) judged: u64,
    pub(super) findings: Vec<Finding>,
}

/// One check in JSON.
#[derive(Debug, Serialize)]
pub(super) struct CheckFields<'a> {
    check: &'static str,
    judged: u64,
    violations: Vec<FindingFields<'a>>,
}

#[derive(Debug, Serialize)]
struct FindingFields<'a> {
    kind: &'static str,
    key: &'a str,
    words: String,
    /// Positions in the history, counted from 0.
    operations: Vec<usize>,
}

impl Judged {
    fn new<V: Into<Finding>>(name: &'static str, judged: u64, violations: Vec<V>) -> Self {
        Self { name, judged, findings: violations.into_iter().map(Into::into).collect() }
    }

    pub(super) fn fields<'a>(&self, history: &'a History) -> CheckFields<'a> {
        let fields = |finding: &Finding| FindingFields {
            kind: finding.kind(),
            key: history.names.key_text(finding.key()),
            words: finding.in_words(history).to_string(),
            operations: finding.operations(),
        };
        CheckFields { check: self.name, judged: self.judged, violations: self.findings.iter().map(fields).collect() }
    }

    /// The first findings in words, drawn.
    pub(super) fn told<'a>(&'a self, history: &'a History) -> Told<'a> {
        Told { judged: self, history }
    }
}

/// Findings in words.
pub(super) struct Told<'a> {
    judged: &'a Judged,
    history: &'a History,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { judged, history } = self;
        for finding in judged.findings.iter().take(TOLD_MAX) {
            writeln!(f, "{}", finding.in_words(history))?;
            let operations = finding.operations();
            let drawn = &operations[..operations.len().min(DRAWN_MAX)];
            for row in Timeline::new(history, drawn).to_string().lines() {
                writeln!(f, "  {row}")?;
            }
        }
        match judged.findings.len().saturating_sub(TOLD_MAX) {
            0 => Ok(()),
            more => writeln!(f, "and {} more of {}", Count(more as u64, "finding"), judged.name),
        }
    }
}

/// Judges what levels promise besides linearizability.
pub(super) fn judge(history: &History, facts: &Facts) -> Vec<Judged> {
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
    let text = history.names.word_text(operation.level?);
    Some(text.strip_suffix("+session").map_or((text, false), |level| (level, true)))
}

/// What eventual operations and linearizable reads owe each other by their levels.
fn promise(history: &History, operation: &Operation, replicas: Option<u8>) -> overlap::Promise {
    let reads = access(operation) == Access::Read;
    let copies = copies(history, operation, replicas);
    match level(history, operation).map(|(text, _)| Promise::of_level(text)) {
        Some(Promise::Linearizable) if !reads => overlap::Promise::default(),
        promise => overlap::Promise { copies, monotonic: reads && promise == Some(Promise::Strict) },
    }
}

fn access(operation: &Operation) -> Access {
    match operation.action {
        Action::Read { .. } => Access::Read,
        Action::Write { .. } | Action::Delete | Action::Cas { .. } | Action::CasSiblings(_) => Access::Write,
    }
}

/// How many replicas an operation's level counts; 0 if nobody knows.
fn copies(history: &History, operation: &Operation, replicas: Option<u8>) -> u32 {
    let n = replicas.unwrap_or(REPLICAS_ASSUMED);
    let copies = match level(history, operation).map(|(text, _)| (Promise::of_level(text), text.parse())) {
        Some((Promise::Linearizable, _)) => majority(n),
        None | Some((_, Err(_) | Ok(Level::Any))) => 0,
        Some((_, Ok(Level::Counts { .. }))) if replicas.is_none() => 0,
        Some((_, Ok(level))) => level.needed(access(operation), n).unwrap_or(0),
    };
    u32::from(copies)
}

/// What sessions promise at any level; `None` without any session.
fn of_sessions(history: &History, allow: &Allowances<'_>) -> Option<Judged> {
    let promised = |guarantee| matches!(guarantee, Guarantee::ReadYourWrites | Guarantee::MonotonicReads);
    let is_session = |text: &str| text.ends_with("+session");
    if !history.operations.iter().any(|operation| level(history, operation).is_some_and(|(_, session)| session)) {
        return None;
    }
    let report = sessions::check(history, allow);
    let rates = report
        .by_level
        .iter()
        .filter(|((guarantee, level), _)| promised(*guarantee) && level.is_some_and(|level| is_session(history.names.word_text(level))));
    let judged = rates.map(|(_, rate)| rate.judged).sum();
    let in_session = |read: usize| level(history, &history.operations[read]).is_some_and(|(_, session)| session);
    let violations = report.violations.into_iter().filter(|violation| promised(violation.guarantee) && in_session(violation.read));
    Some(Judged::new("sessions", judged, violations.collect()))
}
