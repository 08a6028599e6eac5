//! Planted misses and steps back, clean runs of a correct store, and the definition as a twin.

use super::*;
use crate::history::{Action, Seen};
use crate::testing::{Dice, Script};

const QUORUM: Promise = Promise { copies: 2, monotonic: true };
const ONE: Promise = Promise { copies: 1, monotonic: false };

fn judge(script: &Script, promise: Promise) -> Judgement<Violation> {
    check(&script.history, 3, &|_, _| promise, &Allowances::NONE)
}

fn found(script: &Script, promise: Promise) -> Vec<(&'static str, Vec<usize>)> {
    judge(script, promise).violations.iter().map(|violation| (violation.kind(), violation.operations())).collect()
}

#[test]
fn meeting_levels_owe_the_write_and_weak_ones_do_not() {
    let mut script = Script::new();
    script.put(1, "a", &[], 0, 1);
    let write = script.put(1, "b", &["a"], 2, 3);
    let read = script.read(2, &["a"], 4, 5);
    assert_eq!(found(&script, ONE), []);
    assert_eq!(
        found(&script, QUORUM),
        [("replaced-value-shown", vec![write - 1, write, read]), ("acknowledged-write-missed", vec![write, read])]
    );
    let mixed = |index: usize, _: &Operation| if index == read { Promise { copies: 3, monotonic: false } } else { ONE };
    assert_eq!(check(&script.history, 3, &mixed, &Allowances::NONE).violations.len(), 2, "one and all meet");
}

#[test]
fn write_in_flight_may_or_may_not_be_shown() {
    for shown in [["a"], ["b"]] {
        let mut script = Script::new();
        script.put(1, "a", &[], 0, 1);
        script.put(1, "b", &["a"], 2, 5);
        script.read(2, &shown, 4, 6);
        assert_eq!(found(&script, QUORUM), []);
    }
}

#[test]
fn write_in_flight_excuses_only_if_it_is_shown() {
    let mut script = Script::new();
    script.put(1, "old", &[], 0, 1);
    let missed = script.put(1, "a", &["old"], 2, 3);
    script.put(1, "b", &["a"], 4, 20);
    script.read(2, &["b"], 5, 6);
    let read = script.read(3, &["old"], 5, 6);
    let found = found(&script, QUORUM);
    assert_eq!(found, [("replaced-value-shown", vec![0, missed, read]), ("acknowledged-write-missed", vec![missed, read])]);
}

#[test]
fn siblings_must_all_be_shown() {
    let mut script = Script::new();
    script.put(1, "a", &[], 0, 1);
    let sibling = script.put(2, "b", &[], 0, 1);
    script.read(3, &["a", "b"], 2, 3);
    let read = script.read(3, &["a"], 4, 5);
    assert_eq!(found(&script, QUORUM), [("acknowledged-write-missed", vec![sibling, read])]);
}

#[test]
fn read_behind_another_read_went_back() {
    let mut script = Script::new();
    script.put(1, "a", &[], 0, 1);
    let write = script.unknown_put(1, "b", &["a"], 2);
    let ahead = script.read(2, &["b"], 3, 4);
    let read = script.read(3, &["a"], 5, 6);
    let judgement = judge(&script, QUORUM);
    let operations: Vec<_> = judgement.violations.iter().map(Evidence::operations).collect();
    assert_eq!(operations, [vec![write - 1, write, ahead, read], vec![write, ahead, read]]);
    assert!(judgement.violations.iter().all(|violation| violation.kind() == "read-went-back"));
    let strict_only = Promise { copies: 2, monotonic: false };
    assert_eq!(found(&script, strict_only), [], "nobody acknowledged b");
}

#[test]
fn delete_removes_what_it_covers_and_nothing_else() {
    let mut script = Script::new();
    script.put(1, "a", &[], 0, 1);
    let kept = script.put(2, "b", &[], 0, 1);
    let delete = script.delete(1, Some(&["a"]), 2, 3);
    let absent = script.read(3, &[], 4, 5);
    let back = script.read(3, &["a", "b"], 6, 7);
    script.read(3, &["b"], 8, 9);
    assert_eq!(
        found(&script, QUORUM),
        [("acknowledged-write-missed", vec![kept, absent]), ("replaced-value-shown", vec![0, delete, back])]
    );
}

#[test]
fn without_covers_only_older_results_are_wrong() {
    let mut script = Script::new();
    script.write(1, "a", 0, 10);
    let newer = script.write(2, "b", 20, 30);
    let read = script.read(3, &["a"], 40, 50);
    assert_eq!(found(&script, QUORUM), [("acknowledged-write-missed", vec![newer, read])]);
    script.history.operations[newer].call = 5;
    assert_eq!(found(&script, QUORUM), [], "a overlaps b and may have replaced it");
}

#[test]
fn allowances_are_obeyed() {
    let mut script = Script::new();
    let old = script.put(1, "a", &[], 0, 1);
    let gone = script.put(1, "b", &["a"], 2, 3);
    script.read(2, &["a"], 4, 5);
    let vanished = Allowances { vanished: &|index| index == gone, ..Allowances::NONE };
    assert!(check(&script.history, 3, &|_, _| QUORUM, &vanished).is_clean());
    let repeated = Allowances { repeated: &|index| index == old, ..Allowances::NONE };
    let kinds: Vec<_> = check(&script.history, 3, &|_, _| QUORUM, &repeated).violations.iter().map(Evidence::kind).collect();
    assert_eq!(kinds, ["acknowledged-write-missed"], "a may be back, but b must still be there");
}

/// A store of three replicas, each a set of live values and of those it knows to be covered. Every operation takes effect at one
/// instant within its interval.
#[derive(Default)]
struct Store {
    replicas: [Replica; 3],
    /// Where writes and reads take effect.
    now: Nanos,
}

#[derive(Clone, Default)]
struct Replica {
    live: BTreeSet<String>,
    covered: BTreeSet<String>,
}

impl Replica {
    fn merge(&mut self, other: &Replica) {
        self.covered.extend(other.covered.iter().cloned());
        self.live.extend(other.live.iter().cloned());
        self.live.retain(|value| !self.covered.contains(value));
    }
}

impl Store {
    /// `copies` replicas, at random.
    fn some(dice: &mut Dice, copies: u32) -> Vec<usize> {
        let mut all: Vec<usize> = (0..3).collect();
        while all.len() > copies as usize {
            all.swap_remove(usize::try_from(dice.roll(all.len() as u64)).expect("an index"));
        }
        all
    }

    fn merged(&self, asked: &[usize]) -> Replica {
        let mut merged = Replica::default();
        asked.iter().for_each(|replica| merged.merge(&self.replicas[*replica]));
        merged
    }

    fn time(&mut self, dice: &mut Dice) -> (Nanos, Nanos) {
        self.now += 10;
        (self.now - dice.roll(30).min(self.now), self.now + 1 + dice.roll(30))
    }

    fn write(&mut self, dice: &mut Dice, script: &mut Script, copies: u32) -> usize {
        let asked = 1 + u32::try_from(dice.roll(3)).expect("small");
        let context = self.merged(&Store::some(dice, asked));
        let ((call, end), kind) = (self.time(dice), dice.roll(8));
        // What a replica covers is closed: the context of a merge holds all that came before.
        let covers: Vec<&str> = context.live.iter().map(String::as_str).collect();
        let value = format!("v{}", script.history.operations.len());
        let mut delta = context.clone();
        delta.covered.extend(context.live.iter().cloned());
        delta.live = BTreeSet::from([value.clone()]);
        let index = match kind {
            0 => {
                delta.live.clear();
                script.delete(0, Some(&covers), call, end)
            }
            1 => script.unknown_put(0, &value, &covers, call),
            _ => script.put(0, &value, &covers, call, end),
        };
        let reached = if kind == 1 { u32::try_from(dice.roll(3)).expect("small") } else { copies };
        for replica in Store::some(dice, reached) {
            self.replicas[replica].merge(&delta);
        }
        index
    }

    /// A read with `copies`; monotonic ones repair a majority. A stale one, now and then, comes from nowhere but one replica.
    fn read(&mut self, dice: &mut Dice, script: &mut Script, promise: Promise, broken: bool) {
        let asked = Store::some(dice, promise.copies);
        let merged = self.merged(if broken { &asked[..1] } else { &asked });
        if promise.monotonic && !broken {
            asked.iter().for_each(|replica| self.replicas[*replica].merge(&merged));
        }
        let (call, end) = self.time(dice);
        let texts: Vec<&str> = merged.live.iter().map(String::as_str).collect();
        script.read(1, &texts, call, end);
    }
}

/// A random run, at whose end the replicas have exchanged all they have.
fn run(dice: &mut Dice, broken: bool) -> (Script, Vec<Promise>) {
    let (mut script, mut store, mut promises) = (Script::new(), Store { now: 100, ..Store::default() }, Vec::new());
    for _ in 0..2 + dice.roll(20) {
        let copies = 1 + u32::try_from(dice.roll(3)).expect("small");
        let promise = Promise { copies, monotonic: copies >= 2 };
        if dice.roll(2) == 0 {
            store.write(dice, &mut script, copies);
        } else {
            let stale = broken && dice.roll(2) == 0;
            store.read(dice, &mut script, promise, stale);
        }
        promises.push(promise);
    }
    let merged = store.merged(&[0, 1, 2]);
    let versions: Vec<(&str, Option<&str>)> = merged.live.iter().map(|value| (value.as_str(), Some(value.as_str()))).collect();
    ["n1", "n2", "n3"].iter().for_each(|replica| script.holds(replica, &versions));
    (script, promises)
}

/// The promise word by word, over the whole closure: which reads break it.
fn dumb(script: &Script, promises: &[Promise]) -> BTreeSet<usize> {
    let operations = &script.history.operations;
    let covers = |index: usize| operations[index].detail.iter().flat_map(|detail| detail.covers.iter().flatten().copied());
    let writer = |value| operations.iter().position(|operation| matches!(operation.action, Action::Write { value: v } if v == value));
    let closure = |roots: Vec<usize>| {
        let (mut found, mut todo) = (BTreeSet::new(), roots);
        while let Some(index) = todo.pop() {
            let below = covers(index).map(|value| writer(value).expect("written"));
            todo.extend(below.filter(|below| found.insert(*below)).collect::<Vec<_>>());
        }
        found
    };
    let shown = |index: usize| match &operations[index].action {
        Action::Read { seen: Some(seen @ (Seen::Absent | Seen::One(_) | Seen::Many(_))) } => {
            Some(seen.values().iter().map(|value| writer(*value).expect("written")).collect::<Vec<usize>>())
        }
        _ => None,
    };
    let breaks = |read: &usize| {
        let Some(result) = shown(*read) else { return false };
        let before = |index: &usize| operations[*index].end.is_some_and(|end| end < operations[*read].call);
        let meets = |index: &usize| promises[*index].copies + promises[*read].copies > 3 && shown(*index).is_none();
        let mut owed: Vec<usize> = (0..operations.len()).filter(before).filter(meets).collect();
        if promises[*read].monotonic {
            owed.extend((0..operations.len()).filter(before).filter(|index| promises[*index].monotonic).filter_map(shown).flatten());
        }
        let deletes = (0..operations.len()).filter(|index| operations[*index].action == Action::Delete);
        let excuses = deletes.filter(|index| Some(operations[*index].call) <= operations[*read].end);
        let excused = closure(excuses.chain(result.iter().copied()).collect());
        let replaced = closure(owed.clone());
        let missed = |index: &usize| operations[*index].action != Action::Delete && !result.contains(index) && !excused.contains(index);
        owed.iter().any(missed) || result.iter().any(|index| replaced.contains(index))
    };
    (0..operations.len()).filter(breaks).collect()
}

fn clever(script: &Script, promises: &[Promise]) -> BTreeSet<usize> {
    let judgement = check(&script.history, 3, &|index, _| promises[index], &Allowances::NONE);
    judgement.violations.iter().map(|violation| *violation.operations().last().expect("the read")).collect()
}

#[test]
fn correct_store_is_clean() {
    let mut judged = 0;
    for seed in 0..5_000 {
        let (script, promises) = run(&mut Dice(seed), false);
        let judgement = check(&script.history, 3, &|index, _| promises[index], &Allowances::NONE);
        assert_eq!(judgement.violations, [], "seed {seed}");
        judged += judgement.judged;
        assert_eq!(crate::siblings::check(&script.history, None, &Allowances::NONE).violations, [], "seed {seed}");
        assert_eq!(crate::durability::check(&script.history, None, &Allowances::NONE).violations, [], "seed {seed}");
    }
    assert!(judged > 5_000, "{judged}");
}

#[test]
fn broken_store_is_judged_as_by_the_definition() {
    let mut broken = 0;
    for seed in 0..20_000 {
        let (script, promises) = run(&mut Dice(seed), true);
        let expected = dumb(&script, &promises);
        broken += expected.len();
        assert_eq!(clever(&script, &promises), expected, "seed {seed}");
    }
    assert!(broken > 1_000, "{broken}");
}
