//! What a run's history proves: every promise that the levels in it make, each by a checker that knows nothing of the store.

mod chain;

use std::fmt;

use quorate_checker::finding::{Allowances, Evidence, Finding};
use quorate_checker::history::{Action, History, KeyId, Nanos, Operation, Outcome};
use quorate_checker::overlap::Promise;
use quorate_checker::sessions::Guarantee;
use quorate_checker::{causality, convergence, dots, durability, once, overlap, sessions, siblings, tokens};
use quorate_protocol::Level;
use quorate_protocol::level::Access;

use crate::collection::Collection;
use crate::options::{Options, Workload};
use crate::recorder::Recorder;

/// A promise that a run broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What kind, in words joined by hyphens.
    pub kind: &'static str,
    /// What happened, in one sentence.
    pub words: String,
    /// The operations that prove it, as indices into the history.
    pub operations: Vec<usize>,
}

/// Kinds of violation that a history alone does not show: what was wrong was not an answer, nor what a replica held, or values must be
/// read as sets and counters to see it.
const BEYOND_HISTORY: [&str; 10] = [
    "liveness",
    "scan",
    "hints-left",
    "handoff-incomplete",
    "invariant-broken",
    "counter",
    "element-missing",
    "applied-twice",
    "undecided",
    "acknowledged-write-not-seen",
];

impl Violation {
    /// Whether whoever only has the run's history can find it.
    #[must_use]
    pub fn is_in_history(&self) -> bool {
        !BEYOND_HISTORY.contains(&self.kind) && !crate::census::KINDS.contains(&self.kind)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// What the checkers say.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    pub(crate) violations: Vec<Violation>,
    /// Keys of which it is known whether they were linearizable, where that was promised.
    pub(crate) decided: u64,
    /// Keys of which it is not.
    pub(crate) undecided: u64,
}

/// Judges a history. From `quiet` on all faults were healed and repairs done.
pub(crate) fn judge(options: &Options, recorder: &mut Recorder, quiet: Nanos) -> Judged {
    let sightings = recorder.sightings();
    // A level that promised more copies than disks were lost is not excused.
    let (history, disks_lost) = (&recorder.history, recorder.disks_lost);
    let excused = |index: &usize| {
        let operation = &history.operations[*index];
        operation.outcome != Outcome::Ok || copies(options, history, operation) <= disks_lost
    };
    recorder.lost = recorder.lost.iter().copied().filter(excused).collect();
    recorder.find_repeated();
    let recorder = &*recorder;
    let history = &recorder.history;
    let vanished = |index: usize| recorder.lost.contains(&index);
    let repeated = |index: usize| recorder.repeated.contains(&index);
    let allow = Allowances { vanished: &vanished, repeated: &repeated };
    let mut findings: Vec<Finding> = Vec::new();
    findings.extend(dots::check(history, sightings).violations.into_iter().map(Finding::from));
    findings.extend(siblings::check(history, Some(quiet), &allow).violations.into_iter().map(Finding::from));
    findings.extend(durability::check(history, Some(quiet), &allow).violations.into_iter().map(Finding::from));
    findings.extend(convergence::check(history).violations.into_iter().map(Finding::from));
    let promise = |_: usize, operation: &Operation| promise(options, history, operation);
    let replicas = u32::from(options.replicas);
    findings.extend(overlap::check(history, replicas, &promise, &allow).violations.into_iter().map(Finding::from));
    findings.extend(causality::check(history).violations.into_iter().map(Finding::from));
    findings.extend(once::twins(history, &repeated).violations.into_iter().map(Finding::from));
    findings.extend(of_sessions(history, &allow).map(Finding::from));
    findings.extend(collections(options, recorder).into_iter().map(Finding::from));
    findings.extend(tokens::check(history).violations.into_iter().map(Finding::from));
    findings.extend(once::counters(history).violations.into_iter().map(Finding::from));
    let mut judged = chain::judge(recorder);
    judged.violations.extend(findings.iter().map(|finding| told(history, finding)));
    judged.violations.extend(counters(options, recorder));
    judged.violations.extend(chain::unseen(recorder, &vanished));
    judged
}

fn told(history: &History, finding: &Finding) -> Violation {
    Violation { kind: finding.kind(), words: finding.in_words(history).to_string(), operations: finding.operations() }
}

/// The level of an operation, and whether it belongs to a session.
fn level(history: &History, operation: &Operation) -> (Level, bool) {
    let text = operation.level.map_or("one", |level| history.names.word_text(level));
    let (level, session) = text.strip_suffix("+session").map_or((text, false), |level| (level, true));
    (level.parse().expect("the recorder writes levels"), session)
}

fn access(operation: &Operation) -> Access {
    match operation.action {
        Action::Read { .. } => Access::Read,
        Action::Write { .. } | Action::Delete | Action::Cas { .. } | Action::CasSiblings(_) => Access::Write,
    }
}

/// Replicas that an acknowledgement speaks of. A hint counts at `any`, and answers no read.
fn copies(options: &Options, history: &History, operation: &Operation) -> u32 {
    let (level, _) = level(history, operation);
    if level == Level::Any { 0 } else { u32::from(level.needed(access(operation), options.replicas).unwrap_or(0)) }
}

/// What reads and writes owe each other by their levels. What was chosen comes to eventual reads only later, and linearizable
/// operations among each other promise more than can be counted.
fn promise(options: &Options, history: &History, operation: &Operation) -> Promise {
    let (level, _) = level(history, operation);
    let reads = access(operation) == Access::Read;
    match level {
        Level::Linearizable if !reads => Promise::default(),
        Level::Linearizable => Promise { copies: copies(options, history, operation), monotonic: false },
        _ => Promise { copies: copies(options, history, operation), monotonic: reads && level.is_strict() },
    }
}

/// Sessions promise that a client reads its own writes and never goes back.
fn of_sessions<'a>(history: &'a History, allow: &Allowances<'_>) -> impl Iterator<Item = sessions::Violation> + 'a {
    let promised = |guarantee| matches!(guarantee, Guarantee::ReadYourWrites | Guarantee::MonotonicReads);
    let in_session = |violation: &sessions::Violation| level(history, &history.operations[violation.read]).1;
    let violations = sessions::check(history, allow).violations;
    violations.into_iter().filter(move |violation| promised(violation.guarantee) && in_session(violation))
}

/// What the replicas of a key hold at the end, merged; `None` if there are none.
fn held(history: &History, key: KeyId) -> Option<Collection> {
    let states = history.finals.iter().filter(|state| state.key == key);
    let values = states.map(|state| state.versions.iter().filter_map(|version| version.value));
    values
        .map(|values| values.map(|value| Collection::of(history.names.value_text(value))).fold(Collection::default(), Collection::merge))
        .reduce(Collection::merge)
}

/// The keys of a workload that the history has.
fn keys_of(options: &Options, history: &History, workload: Workload) -> Vec<KeyId> {
    let is_of = |key: &KeyId| {
        let number = history.names.key_text(*key).strip_prefix('k').and_then(|number| number.parse::<usize>().ok());
        number.and_then(|number| options.keys.get(number)).is_some_and(|key| key.workload == workload)
    };
    (0..history.names.key_count()).map(|number| KeyId(u32::try_from(number).expect("few keys"))).filter(is_of).collect()
}

/// Sets hold every element whose addition was acknowledged, and none whose addition failed.
fn collections(options: &Options, recorder: &Recorder) -> Vec<once::Violation> {
    let history = &recorder.history;
    let mut violations = Vec::new();
    for key in keys_of(options, history, Workload::Set) {
        let Some(end) = held(history, key) else { continue };
        let added: Vec<Option<String>> = history.operations.iter().map(|operation| added(history, key, operation)).collect();
        let end: Vec<String> = end.elements.iter().map(|(client, number)| format!("c{client}.{number}")).collect();
        let end: Vec<&str> = end.iter().map(String::as_str).collect();
        let element = |index: usize| added[index].as_deref();
        let lost = |violation: &once::Violation| matches!(violation, once::Violation::Missing { add, .. } if recorder.lost.contains(add));
        violations.extend(once::set(history, key, element, &end).violations.into_iter().filter(|violation| !lost(violation)));
    }
    violations
}

/// The element that a write added: the last of its own client's.
fn added(history: &History, key: KeyId, operation: &Operation) -> Option<String> {
    let Action::Write { value } = operation.action else { return None };
    if operation.key != key {
        return None;
    }
    let client = u8::try_from(operation.process).ok()?;
    let own = Collection::of(history.names.value_text(value)).elements.into_iter().filter(|(who, _)| *who == client);
    own.max().map(|(client, number)| format!("c{client}.{number}"))
}

/// Every client's part of a counter ends between what was acknowledged and that plus what is unknown.
fn counters(options: &Options, recorder: &Recorder) -> Vec<Violation> {
    let history = &recorder.history;
    let mut violations = Vec::new();
    for key in keys_of(options, history, Workload::Counter) {
        let Some(end) = held(history, key) else { continue };
        for client in 1..=options.clients + 1 {
            let adds = history.operations.iter().enumerate().filter(|(_, operation)| {
                operation.key == key && operation.process == u64::from(client) && matches!(operation.action, Action::Write { .. })
            });
            // What went with a lost disk may be missing, as if its outcome were unknown.
            let outcome = |index, outcome| if recorder.lost.contains(&index) { Outcome::Unknown } else { outcome };
            let outcomes: Vec<Outcome> = adds.map(|(index, operation)| outcome(index, operation.outcome)).collect();
            let count = |outcome| outcomes.iter().filter(|of| **of == outcome).count() as u64;
            let (least, most) = (count(Outcome::Ok), count(Outcome::Ok) + count(Outcome::Unknown));
            let found = end.counts.get(&client).copied().unwrap_or(0);
            if !(least..=most).contains(&found) {
                let key = history.names.key_text(key);
                let words = format!(
                    "counter: key {key}: c{client} counts {found}, but {least} of its increments were acknowledged and at most {most} can have been applied"
                );
                violations.push(Violation { kind: "counter", words, operations: Vec::new() });
            }
        }
    }
    violations
}
