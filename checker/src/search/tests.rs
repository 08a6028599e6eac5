//! The search on registers whose verdict is known.

use super::*;
use crate::history::ValueId;
use crate::specification::multi_value::{MultiValue, MultiValueOperation};
use crate::specification::register::{Register, RegisterOperation};

fn task<O>(operation: O, call: Nanos, end: impl Into<Option<Nanos>>) -> Task<O> {
    Task { operation, call, end: end.into(), unordered: false }
}

fn value(number: u32) -> Option<ValueId> {
    Some(ValueId(number))
}

fn decide<S: Specification>(specification: &S, tasks: &[Task<S::Operation>], states: u64) -> Answer {
    search(specification, tasks, &mut Budget { states, keep_going: &mut || true })
}

const STALE: [Task<RegisterOperation>; 3] = [
    Task { operation: RegisterOperation::Write(Some(ValueId(1))), call: 0, end: Some(1), unordered: false },
    Task { operation: RegisterOperation::Write(Some(ValueId(2))), call: 2, end: Some(3), unordered: false },
    Task { operation: RegisterOperation::Read(Some(ValueId(1))), call: 4, end: Some(5), unordered: false },
];

#[test]
fn a_stale_read_has_no_order_and_a_concurrent_one_has() {
    assert_eq!(decide(&Register, &STALE, 100), Answer::Violation { reached: 5 });
    let mut concurrent = STALE;
    concurrent[2].call = 3;
    assert_eq!(decide(&Register, &concurrent, 100), Answer::Linearizable { order: vec![0, 2, 1] });
}

#[test]
fn an_optional_write_takes_effect_late_or_never() {
    let mut late = STALE;
    late[0].end = None;
    assert_eq!(decide(&Register, &late, 100), Answer::Linearizable { order: vec![1, 0, 2] });
    let never = [task(RegisterOperation::Write(value(1)), 0, None), task(RegisterOperation::Read(None), 2, 3)];
    assert_eq!(decide(&Register, &never, 100), Answer::Linearizable { order: vec![1] });
}

#[test]
fn an_ended_budget_is_no_verdict() {
    assert_eq!(decide(&Register, &STALE, 1), Answer::Undecided(Exhausted::States));
    let mut asked = 0;
    let mut keep_going = || {
        asked += 1;
        false
    };
    let answer = search(&Register, &STALE, &mut Budget { states: STATES_PER_QUESTION, keep_going: &mut keep_going });
    assert_eq!((answer, asked), (Answer::Undecided(Exhausted::Stopped), 1));
}

/// A hundred thousand operations of four processes: the window is small, so time and memory are linear.
#[test]
fn a_long_history_costs_by_its_width() {
    let mut tasks = Vec::new();
    for round in 0..25_000 {
        let (at, written) = (u64::from(round) * 10, value(round));
        tasks.push(task(RegisterOperation::Write(written), at, at + 8));
        tasks.push(task(RegisterOperation::Write(value(round + 1_000_000)), at, at + 5));
        tasks.push(task(RegisterOperation::Read(written), at + 6, at + 15));
        tasks.push(task(RegisterOperation::Read(written), at + 9, at + 9));
    }
    let count = tasks.len();
    assert!(matches!(decide(&Register, &tasks, 200_000), Answer::Linearizable { order } if order.len() == count));
    tasks.push(task(RegisterOperation::Read(value(0)), 250_020, 250_021));
    assert_eq!(decide(&Register, &tasks, 200_000), Answer::Violation { reached: 250_021 });
}

#[test]
fn shrinking_keeps_just_the_violation() {
    let mut tasks = Vec::new();
    for round in 0..50 {
        let at = u64::from(round) * 10;
        tasks.push(task(RegisterOperation::Write(value(round)), at, at + 5));
        tasks.push(task(RegisterOperation::Read(value(round)), at + 3, at + 8));
    }
    tasks.push(task(RegisterOperation::Read(value(10)), 502, 503));
    tasks.push(task(RegisterOperation::Read(value(49)), 504, 505));
    let Answer::Violation { reached } = decide(&Register, &tasks, 10_000) else { panic!("a stale read") };
    let evidence = shrink(&Register, &tasks, reached, &mut Budget { states: 100_000, keep_going: &mut || true });
    assert!(evidence.least && evidence.tasks.len() == 3, "{evidence:?}");
    assert!(evidence.tasks.contains(&20) && evidence.tasks.contains(&100), "{evidence:?}");
}

fn eventual(written: u32, covered: &[u32], call: Nanos, end: impl Into<Option<Nanos>>) -> Task<MultiValueOperation> {
    let covered = covered.iter().map(|&number| ValueId(number)).collect();
    Task { unordered: true, ..task(MultiValueOperation::EventualPut { value: value(written), covered, repeated: false }, call, end) }
}

fn get(numbers: &[u32], call: Nanos, end: Nanos) -> Task<MultiValueOperation> {
    let seen = match numbers {
        [] => Seen::Absent,
        [one] => Seen::One(ValueId(*one)),
        several => Seen::Many(several.iter().map(|&number| ValueId(number)).collect()),
    };
    task(MultiValueOperation::Read(seen), call, end)
}

use crate::history::Seen;

fn holds(tasks: &[Task<MultiValueOperation>]) -> bool {
    match decide(&MultiValue, tasks, 10_000) {
        Answer::Linearizable { .. } => true,
        Answer::Violation { .. } => false,
        Answer::Undecided(why) => panic!("{why:?}"),
    }
}

/// A read concurrent with the second of two puts that followed one another may see the second without the first; the next
/// read sees both.
#[test]
fn two_eventual_puts_are_not_ordered_by_time() {
    let puts = [eventual(1, &[], 0, 10), eventual(2, &[], 20, 40)];
    let then = |reads: &[Task<MultiValueOperation>]| holds(&[&puts, reads].concat());
    assert!(then(&[get(&[1], 25, 30), get(&[1, 2], 50, 60)]));
    assert!(!then(&[get(&[2], 25, 30), get(&[1, 2], 50, 60)]), "the first put ended before the read began");
    let puts = [eventual(1, &[], 0, 28), eventual(2, &[], 20, 40)];
    assert!(holds(&[&puts[..], &[get(&[2], 25, 30), get(&[1, 2], 50, 60)]].concat()));
}

#[test]
fn a_put_covers_exactly_its_context() {
    let puts = [eventual(1, &[], 0, 10), eventual(2, &[], 0, 10), eventual(3, &[1], 20, 30)];
    let then = |reads: &[Task<MultiValueOperation>]| holds(&[&puts, reads].concat());
    assert!(then(&[get(&[1, 2], 12, 15), get(&[2, 3], 40, 50)]));
    assert!(!then(&[get(&[3], 40, 50)]), "a sibling is lost");
    assert!(!then(&[get(&[1, 2, 3], 40, 50)]), "an overwritten sibling is back");
}

/// Nobody can tell deletes apart whose outcome is unknown, nor miss a write that nobody saw: neither makes a search long.
#[test]
fn deletes_that_may_have_happened_are_tried_in_one_order() {
    let mut tasks: Vec<Task<MultiValueOperation>> = (0..20).map(|at| task(MultiValueOperation::Put(None), at, None)).collect();
    for round in 0..20 {
        let at = 100 + 10 * u64::from(round);
        tasks.push(task(MultiValueOperation::Put(value(round)), at, at + 1));
        tasks.push(get(&[], at + 2, at + 3));
    }
    assert!(matches!(decide(&MultiValue, &tasks, 1_000), Answer::Linearizable { .. }));
    tasks.push(task(MultiValueOperation::Put(value(20)), 300, 301));
    tasks.push(get(&[], 302, 303));
    assert!(matches!(decide(&MultiValue, &tasks, 1_000), Answer::Violation { .. }), "there are not that many deletes");
    let unseen = (0..20).map(|number| task(MultiValueOperation::Put(value(100 + number)), 0, None));
    let all: Vec<Task<MultiValueOperation>> = tasks.iter().cloned().chain(unseen).collect();
    assert_eq!(noticed(&MultiValue, &all), (0..tasks.len()).collect::<Vec<_>>());
}

#[test]
fn a_linearizable_delete_takes_what_was_acknowledged_before_it() {
    let delete = task(MultiValueOperation::Put(None), 20, 30);
    assert!(!holds(&[eventual(1, &[], 0, 10), delete.clone(), get(&[1], 40, 50)]));
    assert!(holds(&[eventual(1, &[], 0, None), delete, get(&[1], 40, 50)]), "a weak put may arrive after the delete");
}
