//! The check, and the search, against brute force on many small histories.

use std::collections::BTreeMap;

use quorate_checker::history::{Action, History, Outcome, Seen, ValueId};
use quorate_checker::search::{Answer, Budget, Task, search};
use quorate_checker::specification::multi_value::{MultiValue, MultiValueOperation};
use quorate_checker::specification::register::{Register, RegisterOperation};
use quorate_checker::verdict::{Limits, Method, Verdict, Violation, check};

use crate::brute;
use crate::random::{Mix, Random, history};

const SEED: u64 = 20_270_311;
const HISTORIES: u64 = 300_000;

#[derive(Debug, Default)]
struct Counts {
    linearizable: u64,
    violations: u64,
    /// Judged without search.
    exact: u64,
    /// Violations by rule.
    rules: BTreeMap<&'static str, u64>,
}

/// Every rule there is.
const RULES: usize = 11;

/// The verdict of a history on one key.
fn judge(history: &History) -> (Method, Verdict) {
    let report = check(history, &Limits::default());
    let [key] = &report.keys[..] else { panic!("one key: {report:?}") };
    (key.method, key.verdict.clone())
}

#[test]
fn the_check_agrees_with_brute_force() {
    println!("seed {SEED}");
    let mut counts = Counts::default();
    for number in 0..HISTORIES {
        let mut random = Random(SEED + number);
        let mix = Mix::any(&mut random);
        let history = history(&mut random, mix);
        let expected = brute::explains(&history, false);
        let (method, verdict) = judge(&history);
        let agrees = match &verdict {
            Verdict::Linearizable => expected,
            Verdict::Violation(_) => !expected,
            Verdict::Undecided(_) => false,
        };
        let seed = SEED + number;
        assert!(agrees, "seed {seed}: {verdict:?}, but an order exists: {expected}\n{:#?}", history.operations);
        if let Verdict::Violation(violation) = &verdict {
            *counts.rules.entry(violation.rule.name()).or_default() += 1;
            assert!(proves(&history, violation), "seed {seed}: {violation:?} proves nothing\n{:#?}", history.operations);
        }
        counts.linearizable += u64::from(expected);
        counts.violations += u64::from(!expected);
        counts.exact += u64::from(method == Method::Exact);
    }
    println!("{counts:?}");
    assert!(counts.linearizable > HISTORIES / 5 && counts.violations > HISTORIES / 6 && counts.exact > HISTORIES / 2, "{counts:?}");
    assert_eq!(counts.rules.len(), RULES, "every rule is broken by some: {counts:?}");
}

/// Whether the operations of the evidence, all of which took effect, have no order by themselves.
fn proves(history: &History, violation: &Violation) -> bool {
    let operations = violation.operations().into_iter().map(|at| history.operations[at].clone()).collect();
    !brute::explains(&History { operations, names: history.names.clone(), ..History::default() }, true)
}

#[test]
fn the_search_agrees_with_brute_force() {
    println!("seed {SEED}");
    let mut counts = Counts::default();
    for number in 0..HISTORIES / 3 {
        let mut random = Random(!(SEED + number));
        let mix = Mix::any(&mut random);
        let history = history(&mut random, mix);
        let tasks: Vec<_> = history.operations.iter().filter_map(task).collect();
        let expected = brute::has_order(&Register, &tasks);
        let answer = search(&Register, &tasks, &mut Budget { states: 100_000, keep_going: &mut || true });
        match answer {
            Answer::Linearizable { order } => {
                assert!(expected, "seed {}: {tasks:?}", !(SEED + number));
                assert!(is_order(&tasks, &order), "seed {}: {order:?} of {tasks:?}", !(SEED + number));
            }
            Answer::Violation { .. } => assert!(!expected, "seed {}: {tasks:?}", !(SEED + number)),
            Answer::Undecided(why) => panic!("seed {}: {why:?}", !(SEED + number)),
        }
        counts.linearizable += u64::from(expected);
        counts.violations += u64::from(!expected);
    }
    println!("{counts:?}");
    assert!(counts.linearizable.min(counts.violations) > HISTORIES / 20, "{counts:?}");
}

fn task(operation: &quorate_checker::history::Operation) -> Option<Task<RegisterOperation>> {
    let what = match (&operation.action, operation.outcome) {
        (Action::Read { seen: Some(Seen::One(value)) }, _) => RegisterOperation::Read(Some(*value)),
        (Action::Read { seen: Some(Seen::Absent) }, _) => RegisterOperation::Read(None),
        (Action::Read { .. }, _) | (Action::Write { .. } | Action::Delete, Outcome::Fail) => return None,
        (Action::Write { value }, _) => RegisterOperation::Write(Some(*value)),
        (Action::Delete, _) => RegisterOperation::Write(None),
        (Action::Cas { expect, .. }, Outcome::Fail) => RegisterOperation::Other(*expect),
        (Action::Cas { expect, value, .. }, _) => RegisterOperation::Cas { expect: *expect, value: Some(*value) },
        (Action::CasSiblings(_), _) => panic!("not a register's"),
    };
    Some(Task { operation: what, call: operation.call, end: operation.end, unordered: false })
}

/// The order respects real time, holds all that has an end, and the register allows it.
fn is_order(tasks: &[Task<RegisterOperation>], order: &[usize]) -> bool {
    let mut held = None;
    let allowed = order.iter().all(|&at| match tasks[at].operation {
        RegisterOperation::Read(seen) => held == seen,
        RegisterOperation::Other(not) => held != not,
        RegisterOperation::Write(value) => {
            held = value;
            true
        }
        RegisterOperation::Cas { expect, value } => std::mem::replace(&mut held, value) == expect,
    });
    let in_time = (1..order.len())
        .all(|later| order[..later].iter().all(|&earlier| tasks[order[later]].end.is_none_or(|end| end >= tasks[earlier].call)));
    let complete = (0..tasks.len()).all(|at| tasks[at].end.is_none() || order.contains(&at));
    let mut distinct = order.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    allowed && in_time && complete && distinct.len() == order.len()
}

#[test]
fn the_search_agrees_with_brute_force_on_siblings() {
    println!("seed {SEED}");
    let mut counts = Counts::default();
    for number in 0..HISTORIES / 6 {
        let seed = SEED + (number << 32);
        let tasks = siblings(&mut Random(seed));
        let expected = brute::has_order(&MultiValue, &tasks);
        let answer = search(&MultiValue, &tasks, &mut Budget { states: 100_000, keep_going: &mut || true });
        assert_eq!(matches!(answer, Answer::Linearizable { .. }), expected, "seed {seed}: {answer:?} {tasks:?}");
        counts.linearizable += u64::from(expected);
        counts.violations += u64::from(!expected);
    }
    println!("{counts:?}");
    assert!(counts.linearizable.min(counts.violations) > HISTORIES / 60, "{counts:?}");
}

/// Puts, eventual puts and reads of sets of them.
fn siblings(random: &mut Random) -> Vec<Task<MultiValueOperation>> {
    let count = 2 + random.below(5);
    let mut live: Vec<ValueId> = Vec::new();
    let mut tasks = Vec::new();
    for position in 0..count {
        let value = ValueId(u32::try_from(position).expect("small"));
        let some: Vec<ValueId> = live.iter().copied().filter(|_| random.chance(60)).collect();
        let operation = match random.below(10) {
            0..=3 => MultiValueOperation::Read(Seen::of(if random.chance(70) { live.clone() } else { some })),
            4..=6 => {
                live.retain(|value| !some.contains(value));
                live.push(value);
                MultiValueOperation::EventualPut { value: Some(value), covered: some.into(), repeated: false }
            }
            7 => MultiValueOperation::Cas { expect: Seen::of(some), value },
            8 => {
                live = vec![value];
                MultiValueOperation::Put(Some(value))
            }
            _ => {
                live.clear();
                MultiValueOperation::Put(None)
            }
        };
        let turn = 100 + 10 * position;
        let reach = 5 * (1 + random.below(5));
        let (call, end) = (turn - random.below(reach), turn + random.below(reach));
        let unordered = matches!(operation, MultiValueOperation::EventualPut { .. });
        let optional = !matches!(operation, MultiValueOperation::Read(_)) && random.chance(25);
        tasks.push(Task { operation, call, end: (!optional).then_some(end), unordered });
    }
    tasks
}
