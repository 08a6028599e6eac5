//! The score against its definition: the least widening, found by trying all.

use super::*;
use crate::history::Operation;
use crate::testing::{Dice, Script};

fn score(script: &Script) -> Score {
    check(&script.history).remove(0).score
}

fn widening(script: &Script) -> Option<Nanos> {
    match score(script) {
        Score::Widen { by, .. } => Some(by),
        Score::Never { .. } => None,
        Score::Unmeasured(reason) => panic!("{reason:?}"),
    }
}

#[test]
fn linearizable_history_scores_zero() {
    let mut script = Script::new();
    script.read(1, &[], 0, 5);
    script.write(2, "a", 1, 10);
    script.cas(3, Some("a"), "b", 5, 20);
    script.failed_cas(2, Some("z"), Some("b"), 11, 30);
    script.read(1, &["a"], 6, 12);
    script.unknown_write(4, "c", 0);
    script.delete(5, None, 40, 50);
    script.history.operations.remove(0);
    assert_eq!(score(&script), Score::Widen { by: 0, conflict: None });
}

#[test]
fn stale_read_scores_how_late_it_was_called() {
    let mut script = Script::new();
    script.write(1, "a", 0, 10);
    let newer = script.write(1, "b", 20, 30);
    let stale = script.read(2, &["a"], 37, 40);
    assert_eq!(score(&script), Score::Widen { by: 7, conflict: Some(Conflict { late: stale, early: newer }) });
}

#[test]
fn read_before_its_write_scores_the_time_between() {
    let mut script = Script::new();
    script.read(1, &["a"], 0, 10);
    script.write(1, "a", 25, 30);
    assert_eq!(widening(&script), Some(15));
}

#[test]
fn absent_read_after_a_write_scores() {
    let mut script = Script::new();
    script.write(1, "a", 0, 10);
    script.read(1, &[], 13, 20);
    assert_eq!(widening(&script), Some(3));
}

#[test]
fn cas_chain_out_of_order_scores() {
    let mut script = Script::new();
    script.write(1, "a", 0, 10);
    script.cas(1, Some("a"), "b", 20, 30);
    script.read(2, &["a"], 34, 40);
    assert_eq!(widening(&script), Some(4));
}

#[test]
fn write_between_linked_cas_scores() {
    let mut script = Script::new();
    script.write(1, "a", 0, 10);
    script.write(1, "x", 20, 30);
    script.cas(1, Some("a"), "b", 35, 50);
    assert_eq!(widening(&script), Some(5), "the cas before x, or x before a");
}

#[test]
fn contradiction_has_no_score() {
    let mut script = Script::new();
    script.write(1, "a", 0, 10);
    let (one, other) = (script.cas(1, Some("a"), "b", 20, 30), script.cas(2, Some("a"), "c", 20, 30));
    assert_eq!(score(&script), Score::Never { operations: vec![one, other] });
    let mut script = Script::new();
    let read = script.read(1, &["ghost"], 0, 1);
    assert_eq!(score(&script), Score::Never { operations: vec![read] });
    let mut script = Script::new();
    script.unknown_cas(1, Some("b"), "a", 0);
    script.unknown_cas(1, Some("a"), "b", 0);
    script.read(1, &["a"], 10, 20);
    assert_eq!(widening(&script), None);
}

#[test]
fn keys_that_are_no_registers_are_not_measured() {
    let mut script = Script::new();
    script.write(1, "a", 0, 1);
    script.delete(1, None, 2, 3);
    assert_eq!(widening(&script), Some(0));
    script.read(1, &[], 4, 5);
    assert_eq!(score(&script), Score::Unmeasured(Unmeasured::AbsenceAmbiguous));
    let mut script = Script::new();
    script.read(1, &["a", "b"], 4, 5);
    assert_eq!(score(&script), Score::Unmeasured(Unmeasured::Siblings));
    let mut script = Script::new();
    script.write(1, "a", 0, 1);
    script.write(1, "a", 2, 3);
    assert_eq!(score(&script), Score::Unmeasured(Unmeasured::ValueRepeated));
}

/// Whether some order of the operations, twice widened by `gamma` in half units, is legal. Unknown ones may be left out.
fn linearizable(operations: &[Operation], gamma: Time) -> bool {
    let times: Vec<(Time, Time)> = operations
        .iter()
        .map(|operation| (2 * Time::from(operation.call) - gamma, operation.end.map_or(AFTER, |end| 2 * Time::from(end) + gamma)))
        .collect();
    extend(operations, &times, (1 << operations.len()) - 1, None)
}

/// Whether the operations in `left` can follow, in some order, a state.
fn extend(operations: &[Operation], times: &[(Time, Time)], left: u32, state: Option<ValueId>) -> bool {
    let open = |index: &usize| left & (1 << index) != 0;
    let remaining: Vec<usize> = (0..operations.len()).filter(open).collect();
    if remaining.iter().all(|index| operations[*index].outcome == Outcome::Unknown) {
        return true;
    }
    let first_end = remaining.iter().map(|index| times[*index].1).min().expect("some are left");
    remaining.iter().filter(|index| times[**index].0 <= first_end).any(|index| {
        let after = match &operations[*index].action {
            Action::Read { seen: Some(seen) } => (seen.values().first().copied() == state).then_some(state),
            Action::Read { seen: None } => None,
            Action::Write { value } => Some(Some(*value)),
            Action::Delete => Some(None),
            Action::Cas { observed: Some(observed), .. } => (*observed == state).then_some(state),
            Action::Cas { expect, value, .. } => (*expect == state).then_some(Some(*value)),
            Action::CasSiblings(_) => unreachable!("the history is of a register"),
        };
        after.is_some_and(|after| extend(operations, times, left & !(1 << index), after))
    })
}

/// The definition: the least candidate that makes the history linearizable. Only a difference of a call and a return can be the least.
fn dumb(operations: &[Operation]) -> Option<Nanos> {
    let mut candidates: Vec<Nanos> = vec![0];
    for late in operations {
        candidates.extend(operations.iter().filter_map(|early| late.call.checked_sub(early.end?)));
    }
    candidates.sort_unstable();
    candidates.dedup();
    candidates.into_iter().find(|gamma| linearizable(operations, Time::from(*gamma)))
}

fn random(dice: &mut Dice) -> Script {
    let mut script = Script::new();
    let count = 2 + dice.roll(5);
    let known = |dice: &mut Dice| [None, Some("v0"), Some("v1"), Some("v2"), Some("v3")][usize::try_from(dice.roll(5)).expect("small")];
    for step in 0..count {
        let call = dice.roll(30);
        let (end, value) = (call + dice.roll(12), format!("v{step}"));
        match dice.roll(10) {
            0..3 => _ = script.write(step, &value, call, end),
            3 => _ = script.unknown_write(step, &value, call),
            4 => _ = script.cas(step, known(dice), &value, call, end),
            5 => _ = script.unknown_cas(step, known(dice), &value, call),
            6 => _ = script.failed_cas(step, Some("other"), known(dice), call, end),
            _ => _ = script.read(step, &known(dice).into_iter().collect::<Vec<_>>(), call, end),
        }
    }
    script
}

#[test]
fn gamma_is_the_least_widening() {
    let (mut zero, mut positive, mut never) = (0, 0, 0);
    for seed in 0..100_000 {
        let script = random(&mut Dice(seed));
        let expected = dumb(&script.history.operations);
        assert_eq!(widening(&script), expected, "seed {seed}: {:#?}", script.history.operations);
        match expected {
            Some(0) => zero += 1,
            Some(_) => positive += 1,
            None => never += 1,
        }
    }
    assert!(zero > 1_000 && positive > 1_000 && never > 1_000, "{zero} {positive} {never}");
}

/// A cas may expect a value whose write is called later: pairs of chains, not only of writes.
#[test]
fn many_chains_score_as_all_pairs() {
    let mut positive = 0;
    for seed in 0..2_000 {
        let mut dice = Dice(seed);
        let mut zones: Vec<Zone> = (0..40)
            .map(|op| {
                let (f, s) = (Time::from(dice.roll(400)), Time::from(dice.roll(400)));
                Zone { first_end: (f, op), last_call: (s, op) }
            })
            .collect();
        let (mut all, mut fast) = (Worst::default(), Worst::default());
        for (i, a) in zones.iter().enumerate() {
            zones[..i].iter().for_each(|b| all.take_pair(a, b));
        }
        fast.take_pairs(&mut zones);
        assert_eq!(fast.widen, all.widen, "seed {seed}");
        positive += u32::from(all.widen > 0);
    }
    assert!(positive > 1_000);
}
