//! Counts and times against their definition, and the curve of fresh reads.

use super::*;
use crate::testing::{Dice, Script};

/// `(k, t)` of every read.
fn measured(script: &Script) -> Vec<(u32, Nanos)> {
    let mut found = Vec::new();
    measure(&script.history, |_, staleness| found.extend(staleness.map(|staleness| (staleness.k, staleness.t))));
    found
}

#[test]
fn counts_acknowledged_writes_newer_than_the_result() {
    let mut script = Script::new();
    script.write(1, "a", 0, 10);
    let first = script.write(1, "b", 20, 30);
    script.write(2, "c", 25, 60);
    script.unknown_write(3, "d", 30);
    script.read(4, &["a"], 100, 110);
    script.read(4, &["b"], 100, 110);
    script.read(4, &["c"], 100, 110);
    script.read(4, &["a"], 40, 110);
    script.read(4, &[], 5, 110);
    assert_eq!(measured(&script), [(0, 0), (1, 10), (2, 70), (0, 0), (0, 0)], "in order of call");
    let report = check(&script.history, &Curve::BOUNDS);
    assert_eq!(report.stale[0].first_missed, Some(first));
    let level = &report.levels[&None];
    assert_eq!((level.reads, level.stale(), level.unjudged), (5, 2, 0));
    assert_eq!(level.k, BTreeMap::from([(0, 3), (1, 1), (2, 1)]));
    assert_eq!((level.t_quantile(0.5), level.t_quantile(1.0)), (Some(10), Some(70)));
}

#[test]
fn overlapping_writes_have_no_provable_order_without_covers() {
    let mut script = Script::new();
    script.write(1, "a", 0, 30);
    script.write(2, "b", 20, 40);
    script.read(3, &["a"], 50, 60);
    assert_eq!(measured(&script), [(0, 0)]);
    let mut script = Script::new();
    script.put(1, "a", &[], 0, 30);
    script.put(2, "b", &["a"], 20, 40);
    script.read(3, &["a"], 50, 60);
    assert_eq!(measured(&script), [(1, 10)], "covers prove it");
}

#[test]
fn sibling_as_fresh_as_the_newest_is_fresh() {
    let mut script = Script::new();
    script.put(1, "a", &[], 0, 10);
    script.put(2, "b", &["a"], 20, 30);
    script.put(3, "c", &[], 20, 30);
    script.read(4, &["a", "c"], 40, 50);
    script.read(4, &["a"], 60, 70);
    assert_eq!(measured(&script), [(0, 0), (2, 30)]);
}

#[test]
fn absent_is_stale_only_if_no_delete_explains_it() {
    let mut script = Script::new();
    script.write(1, "a", 10, 20);
    script.read(2, &[], 30, 40);
    let read = script.read(2, &[], 30, 60);
    script.delete(1, None, 50, 55);
    assert_eq!(measured(&script), [(1, 10), (0, 0)]);
    script.history.operations[read].call = 5;
    script.write(3, "b", 70, 80);
    script.read(2, &[], 90, 100);
    assert_eq!(measured(&script), [(0, 0), (1, 10), (1, 10)]);
}

#[test]
fn delete_makes_a_read_stale_on_a_register_and_by_its_covers() {
    let mut script = Script::new();
    script.write(1, "a", 0, 10);
    script.delete(1, None, 20, 30);
    script.read(2, &["a"], 40, 50);
    assert_eq!(measured(&script), [(1, 10)]);
    for (covers, expected) in [(&["a"][..], (1, 10)), (&[][..], (0, 0))] {
        let mut script = Script::new();
        script.put(1, "a", &[], 0, 10);
        script.delete(1, Some(covers), 20, 30);
        script.read(2, &["a"], 40, 50);
        assert_eq!(measured(&script), [expected], "a delete that covered nothing leaves the value alive");
    }
}

#[test]
fn newer_sibling_removed_by_a_delete_is_not_missed() {
    let mut script = Script::new();
    script.put(1, "a", &[], 0, 10);
    script.put(2, "b", &[], 20, 30);
    script.delete(2, Some(&["b"]), 35, 38);
    script.read(3, &["a"], 40, 50);
    assert_eq!(measured(&script), [(0, 0)]);
}

#[test]
fn failed_cas_that_saw_an_old_value_is_a_stale_read() {
    let mut script = Script::new();
    script.write(1, "a", 0, 10);
    script.cas(1, Some("a"), "b", 20, 30);
    script.failed_cas(2, Some("z"), Some("a"), 40, 50);
    assert_eq!(measured(&script), [(1, 10)]);
}

#[test]
fn result_of_unknown_origin_is_unjudged() {
    let mut script = Script::new();
    script.write(1, "a", 0, 10);
    script.read(1, &["ghost"], 20, 30);
    let report = check(&script.history, &Curve::BOUNDS);
    assert_eq!((report.levels[&None].reads, report.levels[&None].unjudged), (0, 1));
}

#[test]
fn curve_counts_reads_by_time_since_the_last_acknowledgement() {
    let mut script = Script::new();
    script.read(9, &[], 0, 1);
    script.write(1, "a", 0, 10);
    script.write(1, "b", 20, 30);
    script.read(2, &["a"], 35, 40);
    script.read(2, &["b"], 40, 45);
    script.read(2, &["b"], 41, 45);
    script.read(2, &["b"], 1_000, 1_001);
    let curve = &check(&script.history, &[5, 10, 100]).levels[&None].curve;
    let counts: Vec<_> = curve.buckets.iter().map(|bucket| (bucket.within, bucket.reads, bucket.fresh)).collect();
    assert_eq!(counts, [(Some(5), 1, 0), (Some(10), 1, 1), (Some(100), 1, 1), (None, 1, 1)]);
    assert_eq!(curve.buckets[0].p_fresh(), Some(0.0));
    assert_eq!(Curve::BOUNDS[0..4], [100_000, 200_000, 500_000, 1_000_000]);
    assert_eq!(Curve::BOUNDS[15], 10_000_000_000);
}

/// The definition for a register, word by word.
fn dumb(script: &Script) -> Vec<(u32, Nanos)> {
    use crate::history::{Action, Operation, Seen};
    let operations = &script.history.operations;
    let mut reads: Vec<usize> = (0..operations.len()).filter(|index| matches!(operations[*index].action, Action::Read { .. })).collect();
    reads.sort_by_key(|index| (operations[*index].call, *index));
    let judge = |index: usize| {
        let read = &operations[index];
        let Action::Read { seen: Some(seen) } = &read.action else { unreachable!("a read") };
        let returned = |action: &Action| match (seen, action) {
            (Seen::One(seen), Action::Write { value }) => seen == value,
            _ => false,
        };
        let explains = |other: &Operation| *seen == Seen::Absent && other.action == Action::Delete && Some(other.call) <= read.end;
        let stands_for: Vec<_> = operations.iter().filter(|other| returned(&other.action) || explains(other)).collect();
        let mut missed = Vec::new();
        for write in operations.iter().filter(|other| !matches!(other.action, Action::Read { .. })) {
            let Some(end) = write.end.filter(|end| *end < read.call) else { continue };
            if stands_for.iter().all(|older| older.end.is_some_and(|end| end < write.call)) {
                missed.push(end);
            }
        }
        let t = missed.iter().min().map_or(0, |first| read.call - first);
        (u32::try_from(missed.len()).expect("few"), t)
    };
    reads.into_iter().map(judge).collect()
}

#[test]
fn register_staleness_is_the_definition() {
    let mut stale = 0;
    for seed in 0..20_000 {
        let (mut dice, mut script, mut written) = (Dice(seed), Script::new(), Vec::<String>::new());
        for step in 0..1 + dice.roll(12) {
            let call = dice.roll(40);
            let end = call + 1 + dice.roll(10);
            match dice.roll(8) {
                0 => _ = script.delete(step, None, call, end),
                1 => _ = script.unknown_delete(step, None, call),
                2 | 3 => {
                    written.push(format!("v{step}"));
                    script.write(step, &written[written.len() - 1], call, end);
                }
                4 => {
                    written.push(format!("v{step}"));
                    script.unknown_write(step, &written[written.len() - 1], call);
                }
                _ => {
                    let pick = usize::try_from(dice.roll(written.len() as u64 + 1)).expect("an index");
                    script.read(step, &written.get(pick).map(String::as_str).into_iter().collect::<Vec<_>>(), call, end);
                }
            }
        }
        let expected = dumb(&script);
        stale += expected.iter().filter(|read| read.0 > 0).count();
        assert_eq!(measured(&script), expected, "seed {seed}");
    }
    assert!(stale > 3_000, "{stale}");
}

/// The definition for siblings whose covers are known, word by word.
fn dumb_listed(script: &Script) -> Vec<(u32, Nanos)> {
    use crate::history::{Action, Outcome, ValueId};
    let operations = &script.history.operations;
    let shown = |index: usize| match &operations[index].action {
        Action::Read { seen: Some(seen) } => Some(seen.values()),
        _ => None,
    };
    let writes = |value: ValueId| move |index: &usize| operations[*index].action == Action::Write { value };
    let writer = |value: ValueId| (0..operations.len()).find(writes(value)).expect("written");
    let closure = |root: usize| {
        let (mut found, mut todo) = (Vec::new(), vec![root]);
        while let Some(index) = todo.pop() {
            let covers = operations[index].detail.iter().flat_map(|detail| detail.covers.iter().flatten());
            for below in covers.map(|value| writer(*value)) {
                if !found.contains(&below) {
                    found.push(below);
                    todo.push(below);
                }
            }
        }
        found
    };
    let judge = |index: usize| {
        let (read, result) = (&operations[index], shown(index).expect("a read"));
        let deletes: Vec<usize> =
            (0..operations.len()).filter(|i| operations[*i].action == Action::Delete && Some(operations[*i].call) <= read.end).collect();
        let removed = |write: usize| deletes.iter().any(|delete| closure(*delete).contains(&write));
        let mut stands_for: Vec<usize> = result.iter().map(|value| writer(*value)).collect();
        if result.is_empty() {
            stands_for.clone_from(&deletes);
        }
        let missed = |write: &usize| {
            let other = &operations[*write];
            let returned = other.outcome == Outcome::Ok && other.end.is_some_and(|end| end < read.call) && !removed(*write);
            let older = |index: &usize| operations[*index].end.is_some_and(|end| end < other.call);
            let later = other.action != Action::Delete && stands_for.iter().all(older);
            let covering = matches!(result, [value] if closure(*write).contains(&writer(*value)));
            shown(*write).is_none() && returned && (later || covering)
        };
        let missed: Vec<Nanos> = (0..operations.len()).filter(missed).filter_map(|write| operations[write].end).collect();
        (u32::try_from(missed.len()).expect("few"), missed.iter().min().map_or(0, |first| read.call - first))
    };
    let mut reads: Vec<usize> = (0..operations.len()).filter(|index| shown(*index).is_some()).collect();
    reads.sort_by_key(|index| (operations[*index].call, *index));
    reads.into_iter().map(judge).collect()
}

#[test]
fn staleness_with_covers_is_the_definition() {
    let (mut stale, mut siblings) = (0, 0);
    for seed in 0..20_000 {
        let (mut dice, mut script, mut written) = (Dice(seed), Script::new(), vec!["v".to_owned()]);
        script.put(0, "v", &[], 0, 1);
        for step in 0..1 + dice.roll(12) {
            let call = step * 10 + dice.roll(10);
            let (end, value) = (call + 1 + dice.roll(30), format!("v{step}"));
            // What is covered is among the latest, and was called earlier.
            let some: Vec<&str> = written.iter().rev().take(3).filter(|_| dice.roll(2) == 0).map(String::as_str).collect();
            match dice.roll(8) {
                0 => _ = script.delete(step, Some(&some), call, end),
                1 => _ = script.unknown_delete(step, Some(&some), call),
                2 => {
                    script.unknown_put(step, &value, &some, call);
                    script.read(step, &[&value], call, end); // so that it takes part
                    written.push(value);
                }
                3..5 => {
                    script.put(step, &value, &some, call, end);
                    written.push(value);
                }
                _ => {
                    siblings += usize::from(some.len() > 1);
                    script.read(step, &some, call, end);
                }
            }
        }
        let expected = dumb_listed(&script);
        stale += expected.iter().filter(|read| read.0 > 0).count();
        assert_eq!(measured(&script), expected, "seed {seed}");
    }
    assert!(stale > 3_000 && siblings > 3_000, "{stale} stale, {siblings} siblings");
}
