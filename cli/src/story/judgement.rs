//! A run put before the checker: as a history, as the measures of its level, and against what the story says of it.
//!
//! **Promise.** Nothing is judged here. Whether a read was stale, an update lost, or everything linearizable is what
//! [`mod@quorate_checker::measure`] says of the history; what a single operation was answered, the record says itself.
//!
//! - *Upon an operation*: it becomes one of the history, under the number of its client. To ask what became of an operation is none.
//! - *Upon an increment*: the compare-and-set it amounted to. What an increment that nobody answered found is told by a later answer under
//!   the same name; one that nobody ever answered is left out.
//! - *Upon a blind write*: where others say what they replace, the first one on a key, which is the story's own, covered nothing. Of any
//!   other nobody knows.

use quorate_checker::history::{Action, Detail, History, Names, Nanos, Operation, Outcome, Seen};
use quorate_checker::measure::report::{self, Fault, Window};
use quorate_checker::measure::{LevelName, Samples, Subject, measure};
use quorate_checker::{Limits, prediction};
use quorate_lab::story::record::{self, Act, Claim, Ending, Run};
use quorate_protocol::outcome::ReplicaStatus;

use super::timeline;

/// Home replicas of each key of a story.
pub(super) const REPLICAS: u8 = 3;

/// A run with what became of its claims.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) run: Run,
    pub(super) measured: report::Level,
    /// Every claim of the story, and whether it is so.
    pub(super) claims: Vec<(Claim, bool)>,
}

impl Judged {
    pub(super) fn of(run: Run) -> Self {
        let history = history(&run);
        let mut measured = measure(&history, &subject(&run));
        rename(&mut measured, &run);
        let claims = run.claims.iter().map(|claim| (claim.clone(), holds(claim, &run, &measured))).collect();
        Self { run, measured, claims }
    }

    /// Whether everything came out as the story says.
    pub(super) fn is_as_told(&self) -> bool {
        self.claims.iter().all(|(_, holds)| *holds)
    }

    /// What did not come out, in words.
    pub(super) fn missing(&self) -> String {
        let missing = self.claims.iter().filter(|(_, holds)| !holds).map(|(claim, _)| format!("not true that {}", words(claim, &self.run)));
        missing.collect::<Vec<_>>().join("; ")
    }
}

fn holds(claim: &Claim, run: &Run, measured: &report::Level) -> bool {
    let verdict = measured.linearizability.verdict;
    match claim {
        Claim::Linearizable(true) => verdict == report::LinearizabilityVerdict::Linearizable,
        Claim::Linearizable(false) => verdict == report::LinearizabilityVerdict::Violation,
        Claim::Stale(some) => (measured.staleness.reads.count > 0) == *some,
        Claim::LostUpdate(some) => (measured.lost_updates.count > 0) == *some && measured.lost_updates.judged > 0,
        Claim::Siblings(some) => (measured.siblings.made > 0) == *some,
        Claim::Ends { .. } | Claim::Shows { .. } => run.tells(claim).unwrap_or(false),
    }
}

/// A claim in words.
pub(super) fn words(claim: &Claim, run: &Run) -> String {
    let named = |at: usize| {
        run.operations
            .get(at)
            .map_or_else(String::new, |operation| format!("\"{}: {}\"", run.clients[operation.client], timeline::label(run, operation)))
    };
    let not = |is_so: &bool| if *is_so { "" } else { "not " };
    match claim {
        Claim::Linearizable(is_so) => format!("the run is {}linearizable", not(is_so)),
        Claim::Stale(some) => format!("{} read misses an acknowledged write", if *some { "a" } else { "no" }),
        Claim::LostUpdate(some) => format!("{} update is lost", if *some { "an" } else { "no" }),
        Claim::Siblings(some) => format!("{} read shows siblings", if *some { "a" } else { "no" }),
        Claim::Ends { at, ending } => format!("{} ends {}", named(*at), ending_word(*ending)),
        Claim::Shows { at, values } => format!("{} shows {}", named(*at), values.join(" + ")),
    }
}

fn ending_word(ending: Ending) -> &'static str {
    match ending {
        Ending::Ok => "ok",
        Ending::Conflict => "with a conflict",
        Ending::Refused => "not applied",
        Ending::Unknown => "unknown",
    }
}

/// The number under which the history has a client.
fn process(client: usize) -> u64 {
    client as u64 + 1
}

fn nanos(moment: std::time::Duration) -> Nanos {
    Nanos::try_from(moment.as_nanos()).unwrap_or(Nanos::MAX)
}

fn subject(run: &Run) -> Subject {
    let level = run.level.to_string();
    let fault = |fault: &record::Fault| Fault {
        kind: fault.kind.to_owned(),
        target: fault.target.clone(),
        begin_ns: Some(nanos(fault.begin)),
        end_ns: fault.end.map(nanos),
        took_effect: true,
        effect: None,
    };
    Subject {
        level: LevelName { read: level.clone(), write: level, session: false },
        window: Window { begin_ns: nanos(run.begin), end_ns: nanos(run.end) },
        replicas: REPLICAS,
        faults: run.faults.iter().map(fault).collect(),
        delays: Samples::default(),
        seed: 0,
        trials: prediction::TRIALS,
        messages: None,
        fsyncs: None,
        ok_min: 1,
        invalid: Vec::new(),
        limits: Limits::default(),
    }
}

fn history(run: &Run) -> History {
    let mut history = History::default();
    history.header.insert("replicas".to_owned(), REPLICAS.into());
    for (at, operation) in run.operations.iter().enumerate() {
        let is_first = says_covers(run, &operation.key) && !run.operations[..at].iter().any(|other| writes(other, &operation.key));
        let Some(action) = action(run, operation, &mut history.names) else { continue };
        let detail = detail(operation, is_first, &mut history.names);
        let outcome = match operation.ending {
            Ending::Ok => Outcome::Ok,
            Ending::Conflict | Ending::Refused => Outcome::Fail,
            Ending::Unknown => Outcome::Unknown,
        };
        history.operations.push(Operation {
            process: process(operation.client),
            key: history.names.key(&operation.key),
            action,
            call: nanos(operation.call),
            end: (outcome != Outcome::Unknown).then(|| nanos(operation.end)),
            outcome,
            level: Some(history.names.word(&operation.level.to_string())),
            detail: Some(Box::new(detail)),
        });
    }
    history
}

fn writes(operation: &record::Operation, key: &str) -> bool {
    operation.key == key && !matches!(operation.act, Act::Read | Act::Ask)
}

/// Whether clients said what their writes of a key replace. Where none did, the key is a register like any other store's.
fn says_covers(run: &Run, key: &str) -> bool {
    run.operations.iter().any(|operation| writes(operation, key) && matches!(operation.act, Act::Write { shown: Some(_), .. }))
}

fn action(run: &Run, operation: &record::Operation, names: &mut Names) -> Option<Action> {
    let is_answered = operation.ending == Ending::Ok;
    Some(match &operation.act {
        Act::Ask => return None,
        Act::Read => {
            let values = operation.values.iter().map(|value| names.value(value)).collect();
            Action::Read { seen: is_answered.then(|| Seen::of(values)) }
        }
        Act::Write { value, .. } => Action::Write { value: names.value(value) },
        Act::Cas { expect, value } => Action::Cas {
            expect: expect.as_ref().map(|expect| names.value(expect)),
            value: names.value(value),
            observed: (operation.ending == Ending::Conflict).then(|| operation.values.first().map(|value| names.value(value))),
        },
        Act::Increment { by } => {
            let same = |other: &&record::Operation| other.op == operation.op && !other.values.is_empty();
            let sum: i64 = run.operations.iter().find(same)?.values.first()?.parse().ok()?;
            Action::Cas { expect: Some(names.value(&(sum - by).to_string())), value: names.value(&sum.to_string()), observed: None }
        }
    })
}

fn detail(operation: &record::Operation, is_first: bool, names: &mut Names) -> Detail {
    let shown = match &operation.act {
        Act::Write { shown, .. } => shown.as_ref(),
        Act::Read | Act::Cas { .. } | Act::Increment { .. } | Act::Ask => None,
    };
    let shown = shown.map(|values| {
        let mut ids: Vec<_> = values.iter().map(|value| names.value(value)).collect();
        ids.sort_unstable();
        ids.into_boxed_slice()
    });
    let is_write = matches!(operation.act, Act::Write { .. });
    let reports = || operation.receipt.iter().flat_map(|receipt| &receipt.replicas);
    let asked =
        reports().filter(|report| report.status != ReplicaStatus::NotAsked).map(|report| names.word(&report.node.to_string())).collect();
    let stale = reports().filter(|report| report.stale).map(|report| names.word(&report.node.to_string())).collect();
    Detail {
        covers: shown.clone().or_else(|| (is_write && is_first).then(Box::default)),
        shown,
        op_id: operation.op.map(|op| names.word(&op.to_string())),
        node: operation.receipt.as_ref().map(|receipt| names.word(&receipt.coordinator.to_string())),
        asked,
        stale,
        token: operation.token.as_ref().map(|token| names.word(token)),
        refused: operation.ending == Ending::Refused,
        ..Detail::default()
    }
}

/// Gives the clients their names, which the history has as numbers.
fn rename(measured: &mut report::Level, run: &Run) {
    let named = |text: &str| {
        let clients = run.clients.iter().enumerate().rev();
        clients.fold(text.to_owned(), |text, (client, name)| text.replace(&format!("process {}", process(client)), name))
    };
    measured.linearizability.words = measured.linearizability.words.as_deref().map(named);
    measured.promise.words.iter_mut().for_each(|words| *words = named(words));
    for example in &mut measured.counter_examples {
        example.words = named(&example.words);
        example.lanes.iter_mut().for_each(|lane| lane.label = named(&lane.label));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use quorate_client::{ClientId, OpId};
    use quorate_protocol::Level;

    use super::*;

    /// What was done, how it ended, the values it was answered with, the number of its name.
    type Step = (Act, Ending, &'static [&'static str], Option<u32>);

    fn run(steps: &[Step]) -> Run {
        let operation = |(at, (act, ending, values, seq)): (usize, &Step)| record::Operation {
            client: 0,
            key: "k".to_owned(),
            level: Level::Quorum,
            via: None,
            act: act.clone(),
            call: Duration::from_millis(10 * at as u64 + 1),
            end: Duration::from_millis(10 * at as u64 + 5),
            ending: *ending,
            values: values.iter().map(|value| (*value).to_owned()).collect(),
            token: None,
            op: seq.map(|seq| OpId { client: ClientId(1), lane: 0, seq: seq.into(), issued_ms: 1 }),
            receipt: None,
            error: None,
        };
        Run {
            level: Level::Quorum,
            clients: vec!["A".to_owned()],
            operations: steps.iter().enumerate().map(operation).collect(),
            pauses: Vec::new(),
            faults: Vec::new(),
            copies: Vec::new(),
            begin: Duration::ZERO,
            end: Duration::from_secs(1),
            claims: Vec::new(),
        }
    }

    fn write(value: &str, shown: Option<&[&str]>) -> Step {
        let shown = shown.map(|values| values.iter().map(|value| (*value).to_owned()).collect());
        (Act::Write { value: value.to_owned(), shown }, Ending::Ok, &[], None)
    }

    #[test]
    fn an_increment_is_the_compare_and_set_that_a_later_answer_tells() {
        let add = Act::Increment { by: 1 };
        let told = run(&[(add.clone(), Ending::Unknown, &[], Some(1)), (add.clone(), Ending::Ok, &["11"], Some(1))]);
        let history = history(&told);
        let found: Vec<_> = history.operations.iter().map(|operation| (operation.action.clone(), operation.outcome)).collect();
        assert_eq!((found.len(), found[0].1, found[1].1), (2, Outcome::Unknown, Outcome::Ok));
        assert!(found[0].0 == found[1].0 && matches!(found[0].0, Action::Cas { expect: Some(_), .. }), "{found:?}");
        let never = run(&[(add, Ending::Unknown, &[], Some(1))]);
        assert!(super::history(&never).operations.is_empty(), "nobody knows what it would have found");
    }

    #[test]
    fn what_a_first_write_covered_is_said_only_where_others_say_it() {
        let covers = |run: &Run| {
            let operations = history(run).operations;
            operations.iter().map(|operation| operation.detail.as_ref()?.covers.as_ref().map(|covers| covers.len())).collect::<Vec<_>>()
        };
        assert_eq!(covers(&run(&[write("1", None), write("2", None)])), [None, None]);
        assert_eq!(covers(&run(&[write("1", None), write("2", Some(&["1"]))])), [Some(0), Some(1)]);
    }

    #[test]
    fn a_claim_holds_by_what_the_checker_or_the_record_says() {
        let read = |values: &'static [&'static str]| -> Step { (Act::Read, Ending::Ok, values, None) };
        let mut stale = run(&[write("1", None), write("2", None), read(&["1"])]);
        let shows = |value: &str| Claim::Shows { at: 2, values: vec![value.to_owned()] };
        stale.claims = vec![Claim::Stale(true), Claim::Linearizable(false), shows("1"), shows("2"), Claim::Stale(false)];
        let judged = Judged::of(stale);
        assert_eq!(judged.claims.iter().map(|(_, holds)| *holds).collect::<Vec<_>>(), [true, true, true, false, false]);
        assert!(!judged.is_as_told() && judged.missing().contains("no read misses"), "{}", judged.missing());
    }
}
