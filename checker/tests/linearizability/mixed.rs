//! Keys that take eventual writes beside linearizable operations: the check against the definition, by brute force.
//!
//! The definition here shares nothing with the checker: it reads levels itself, keeps a set of values, and tries every order.

use std::collections::{BTreeMap, BTreeSet};

use quorate_checker::history::{Action, CasSiblings, Detail, History, Nanos, Operation, Outcome, Seen, ValueId};
use quorate_checker::verdict::{Limits, Method, Undecided, Verdict};
use quorate_checker::{Overall, check_promises};

use crate::random::Random;
use crate::script::Script;

const SEED: u64 = 20_261_122;
const HISTORIES: u64 = 60_000;

/// What a history says of one operation, as far as it matters; of one that became several versions, of one of them.
#[derive(Clone)]
struct Event<'a> {
    operation: &'a Operation,
    eventual: bool,
    /// It is one of several tries.
    repeated: bool,
    /// It is not the first of them, and has no context.
    blindly_again: bool,
    /// When it had taken effect at the latest; `None`: some time, or never.
    end: Option<Nanos>,
}

impl<'a> Event<'a> {
    /// `None` if the operation is not part of the question.
    fn of(history: &History, operation: &'a Operation) -> Option<Self> {
        let level = operation.level.map_or("linearizable", |level| history.names.word_text(level));
        let level = level.trim_end_matches("+session");
        let eventual = level != "linearizable";
        let reads = matches!(operation.action, Action::Read { .. });
        if operation.outcome == Outcome::Fail && !matches!(operation.action, Action::Cas { .. } | Action::CasSiblings(_)) {
            return None;
        }
        if reads && (eventual || operation.outcome != Outcome::Ok) {
            return None;
        }
        let has_end = !eventual || level == "quorum" || level == "all";
        Some(Self { operation, eventual, repeated: false, blindly_again: false, end: operation.end.filter(|_| has_end) })
    }

    /// One for each version that the operation became; none of them need be the acknowledged one.
    fn tries(self) -> Vec<Self> {
        let detail = self.operation.detail.as_deref();
        match detail.map_or(0, |detail| detail.dots.len()) {
            0 | 1 => vec![self],
            dots => {
                let first = Self { end: None, repeated: true, ..self };
                let blindly_again = detail.is_some_and(|detail| detail.shown.is_none());
                let again = Self { blindly_again, ..first.clone() };
                [vec![first], vec![again; dots - 1]].concat()
            }
        }
    }

    fn precedes(&self, other: &Self) -> bool {
        self.end.is_some_and(|end| end < other.operation.call) && !(self.eventual && other.eventual)
    }
}

/// The live values, and those that must not come any more.
#[derive(Clone, Default)]
struct Key {
    live: BTreeSet<ValueId>,
    covered: BTreeSet<ValueId>,
}

impl Key {
    fn is(&self, seen: &Seen) -> bool {
        self.live.iter().copied().eq(seen.values().iter().copied())
    }

    /// What an event leaves, if it can have answered so.
    fn after(&self, event: &Event<'_>) -> Option<Self> {
        let operation = event.operation;
        let cas = match &operation.action {
            Action::Read { seen } => return self.is(seen.as_ref()?).then(|| self.clone()),
            Action::Cas { expect, value, observed } => {
                CasSiblings { expect: (*expect).into(), value: *value, observed: observed.map(Seen::from) }
            }
            Action::CasSiblings(cas) => (**cas).clone(),
            Action::Write { .. } | Action::Delete => return self.put(event),
        };
        match (operation.outcome, cas.observed) {
            (Outcome::Fail, Some(observed)) => self.is(&observed).then(|| self.clone()),
            (Outcome::Fail, None) => (!self.is(&cas.expect)).then(|| self.clone()),
            (Outcome::Ok | Outcome::Unknown, _) => self.is(&cas.expect).then(|| self.put(event)).flatten(),
        }
    }

    fn put(&self, event: &Event<'_>) -> Option<Self> {
        let value = event.operation.action.written();
        if !event.repeated && value.is_some_and(|value| self.covered.contains(&value)) {
            return None;
        }
        let mut after = self.clone();
        if event.eventual {
            let covers = event.operation.detail.as_ref().and_then(|detail| detail.covers.as_deref()).expect("eventual writes say it");
            let covers = if event.blindly_again { &[] } else { covers };
            after.live.retain(|live| !covers.contains(live));
            after.covered.extend(covers);
        } else {
            after.live.clear();
        }
        after.live.extend(value);
        Some(after)
    }
}

/// Whether some order explains a history of one key.
fn explains(history: &History) -> bool {
    let events = history.operations.iter().filter_map(|operation| Event::of(history, operation));
    let events: Vec<Event<'_>> = events.flat_map(Event::tries).collect();
    extend(&events, &mut vec![true; events.len()], &Key::default())
}

fn extend(events: &[Event<'_>], left: &mut [bool], key: &Key) -> bool {
    if events.iter().zip(&*left).all(|(event, left)| !left || event.end.is_none()) {
        return true;
    }
    for at in 0..events.len() {
        if !left[at] || (0..events.len()).any(|other| left[other] && events[other].precedes(&events[at])) {
            continue;
        }
        if let Some(after) = key.after(&events[at]) {
            left[at] = false;
            let explained = extend(events, left, &after);
            left[at] = true;
            if explained {
                return true;
            }
        }
    }
    false
}

/// A history of one key that was executed, with answers that were perhaps spoiled, and times that were perhaps exchanged.
fn history(random: &mut Random) -> History {
    let mut script = Script::default();
    let mut live: Vec<ValueId> = Vec::new();
    let mut old: Vec<ValueId> = Vec::new();
    let mut again: Option<ValueId> = None;
    let spoils = random.chance(60);
    let count = 3 + random.below(5);
    for position in 0..count {
        let value = script.value(&format!("v{position}"));
        if let Some(value) = again.take().filter(|value| !live.contains(value)) {
            live.push(value);
            live.sort_unstable();
        }
        let some: Vec<ValueId> = live.iter().copied().filter(|_| random.chance(60)).collect();
        let mut shown = live.clone();
        if spoils && random.chance(60) {
            shown = if random.chance(50) { some.clone() } else { shown.into_iter().chain(old.last().copied()).collect() };
        }
        let (action, mut level) = draw(random, value, Seen::of(shown));
        let mut outcome = if random.chance(10) { Outcome::Unknown } else { Outcome::Ok };
        let mut covers: Option<Box<[ValueId]>> = None;
        match &action {
            Action::Read { .. } if random.chance(15) => level = "one",
            Action::Read { .. } => {}
            Action::Cas { .. } | Action::CasSiblings(_) => {
                let expected = if let Action::CasSiblings(cas) = &action { cas.expect.values() } else { single(&action) };
                if expected == live {
                    old.append(&mut live);
                    live.push(value);
                } else {
                    outcome = Outcome::Fail;
                }
            }
            Action::Write { .. } | Action::Delete => {
                let replaced = if level == "linearizable" { live.clone() } else { some };
                live.retain(|value| !replaced.contains(value));
                live.extend(action.written());
                live.sort_unstable();
                covers = (level != "linearizable").then(|| replaced.clone().into());
                old.extend(replaced);
            }
        }
        if matches!(action, Action::Read { .. }) && outcome == Outcome::Unknown {
            outcome = Outcome::Ok;
        }
        let (call, end) = times(random, 100 + 10 * position, level);
        let action_value = action.written();
        script.push(position, action, call, (outcome != Outcome::Unknown).then_some(end), outcome).at(level);
        let dots: &[&str] = if covers.is_some() && random.chance(15) { &["1@n1", "1@n2"] } else { &[] };
        again = action_value.filter(|_| !dots.is_empty() && random.chance(70));
        let dots = dots.iter().map(|dot| script.history.names.word(dot)).collect();
        let detail = covers.map(|covers| Box::new(Detail { covers: Some(covers), dots, ..Detail::default() }));
        script.history.operations.last_mut().expect("just pushed").detail = detail;
    }
    exchange(random, &mut script.history);
    script.history
}

fn single(action: &Action) -> &[ValueId] {
    if let Action::Cas { expect, .. } = action { expect.as_slice() } else { &[] }
}

fn draw(random: &mut Random, value: ValueId, shown: Seen) -> (Action, &'static str) {
    let eventual = ["quorum", "all", "one", "any", "r2w2", "quorum+session"];
    let eventual = eventual[usize::try_from(random.below(6)).expect("small")];
    match random.below(12) {
        0..=4 => (Action::Read { seen: Some(shown) }, "linearizable"),
        5..=7 => (Action::Write { value }, eventual),
        8 => (Action::Delete, eventual),
        9 => (Action::Write { value }, "linearizable"),
        10 => (Action::Delete, "linearizable"),
        _ => {
            let observed = random.chance(30).then(|| shown.clone());
            let cas = match (&shown, observed) {
                (Seen::Many(_), observed) => Action::CasSiblings(Box::new(CasSiblings { expect: shown, value, observed })),
                (single, _) => Action::Cas { expect: single.values().first().copied(), value, observed: None },
            };
            (cas, "linearizable")
        }
    }
}

/// Around the turn; a weak write may have been acknowledged long before it takes effect.
fn times(random: &mut Random, turn: Nanos, level: &str) -> (Nanos, Nanos) {
    let reach = 5 * (1 + random.below(5));
    if matches!(level, "one" | "any" | "r2w2") {
        let call = turn - random.below(60);
        return (call, call + random.below(20));
    }
    (turn - random.below(reach), turn + random.below(reach))
}

/// Exchanges the times of two operations that follow one another, which eventual writes may well do.
fn exchange(random: &mut Random, history: &mut History) {
    for at in 1..history.operations.len() {
        if random.chance(25) {
            let [before, after] = [at - 1, at].map(|at| (history.operations[at].call, history.operations[at].end));
            if before.1.is_some() == after.1.is_some() {
                (history.operations[at].call, history.operations[at].end) = before;
                (history.operations[at - 1].call, history.operations[at - 1].end) = after;
            }
        }
    }
}

#[test]
fn the_check_of_mixed_keys_agrees_with_brute_force() {
    println!("seed {SEED}");
    let (mut explained, mut broken, mut kinds) = (0, 0, BTreeMap::<&str, u64>::new());
    for number in 0..HISTORIES {
        let seed = SEED + (number << 24);
        let history = history(&mut Random(seed));
        let report = check_promises(&history, &Limits::default());
        let Some(key) = report.keys.first() else { continue };
        let expected = explains(&history);
        match &key.verdict {
            Verdict::Linearizable => assert!(expected, "seed {seed}: no order\n{:#?}", history.operations),
            Verdict::Violation(violation) => {
                assert!(!expected, "seed {seed}: {violation:?}\n{:#?}", history.operations);
                let operations = violation.operations().into_iter().map(|at| history.operations[at].clone()).collect();
                let alone = History { operations, names: history.names.clone(), ..History::default() };
                assert!(!explains(&alone), "seed {seed}: {violation:?} proves nothing\n{:#?}", history.operations);
            }
            Verdict::Undecided(why) => panic!("seed {seed}: {why:?}\n{:#?}", history.operations),
        }
        *(if expected { &mut explained } else { &mut broken }) += 1;
        let kind = match key.method {
            Method::Exact => "exact",
            Method::RegisterSearch => "register",
            Method::MultiValueSearch => "mixed",
        };
        *kinds.entry(kind).or_default() += 1;
    }
    println!("{explained} explained, {broken} broken, {kinds:?}");
    assert!(explained > HISTORIES / 3 && broken > HISTORIES / 6 && kinds["mixed"] > HISTORIES / 2 && kinds["exact"] > 500, "{kinds:?}");
}

/// The linearizable read misses a linearizable write that was there before, on a key that also takes eventual writes.
#[test]
fn a_stale_linearizable_read_on_a_mixed_key_is_proved_by_few() {
    let mut script = Script::default();
    for round in 0_u64..40 {
        let at = 100 * round;
        let (now, before) = (format!("v{round}"), round.checked_sub(1).map_or(String::new(), |round| format!("e{round}")));
        script.write(1, &now, at, at + 10).at("linearizable");
        script.write(2, &format!("e{round}"), at + 20, at + 30).at("quorum").covers(&now);
        script.read(3, &format!("e{round}"), at + 40, at + 50).at("linearizable");
        script.read(4, &before, at + 60, at + 70).at("one");
    }
    let fine = check_promises(&script.history, &Limits::default());
    assert_eq!((fine.overall(), fine.keys[0].method), (Overall::Linearizable, Method::MultiValueSearch));
    script.read(5, "e20", 5_000, 5_010).at("linearizable");
    let report = check_promises(&script.history, &Limits::default());
    let violation = report.violations().next().expect("a stale read");
    let evidence = violation.operations();
    assert!(evidence.len() <= 4 && evidence.contains(&(script.history.operations.len() - 1)), "{evidence:?}");
}

fn overall(script: &Script) -> Overall {
    check_promises(&script.history, &Limits::default()).overall()
}

/// A retried put that got a second dot comes back beside what had replaced it, once; a third time it does not.
#[test]
fn a_put_that_was_retried_under_another_dot_enters_the_order_once_for_each() {
    let come_back = |dots: &str, again: Option<u32>| {
        let mut script = Script::default();
        script.write(1, "a", 0, 200).at("quorum").covers("").dots(dots);
        again.map(|attempts| script.again(attempts));
        script.read(2, "a", 5, 8).at("linearizable").write(3, "b", 10, 20).at("quorum").covers("a").after("a");
        script.read(2, "b", 30, 40).at("linearizable").read(2, "a b", 50, 60).at("linearizable");
        let once_more = overall(&script);
        script.write(3, "c", 70, 80).at("linearizable").read(2, "a c", 90, 95).at("linearizable");
        [once_more, overall(&script)]
    };
    let table = [
        ("", None, [Overall::Violation, Overall::Violation]),
        ("1@n1", None, [Overall::Violation, Overall::Violation]),
        ("1@n1", Some(1), [Overall::Violation, Overall::Violation]),
        ("1@n1 1@n2", None, [Overall::Linearizable, Overall::Violation]),
        ("", Some(1), [Overall::Linearizable, Overall::Violation]),
        ("1@n1 1@n2 1@n3", None, [Overall::Linearizable, Overall::Linearizable]),
    ];
    for (dots, again, expected) in table {
        assert_eq!(come_back(dots, again), expected, "dots {dots:?}, sent again {again:?}");
    }
}

/// Of a put without a context only the first try replaces what its coordinator had; one with a context replaces the same each time.
#[test]
fn a_blind_put_that_is_tried_again_replaces_nothing() {
    let with = |context: &dyn Fn(&mut Script)| {
        let mut script = Script::default();
        script.write(1, "x", 0, 1).at("linearizable").write(2, "a", 2, 200).at("quorum").covers("x").dots("1@n1 1@n2");
        context(&mut script);
        script.read(3, "a x", 10, 20).at("linearizable").read(3, "a", 30, 40).at("linearizable");
        overall(&script)
    };
    assert_eq!((with(&|_| {}), with(&|put| _ = put.after("x"))), (Overall::Linearizable, Overall::Violation));
}

/// A cas by token may fail although the value is the one that was read: only the version had changed.
#[test]
fn a_failed_cas_by_token_that_found_the_value_it_expected_is_no_violation() {
    for eventual in [false, true] {
        let mut script = Script::default();
        script.write(1, "a", 0, 10).at("linearizable");
        if eventual {
            script.write(2, "b", 0, 10).at("quorum").covers("").write(3, "a2", 20, 30).at("linearizable");
        }
        let value = if eventual { "a2" } else { "a" };
        script.cas(4, value, "c", 40, 50).at("linearizable").failed().found(value);
        assert_eq!(overall(&script), if eventual { Overall::Linearizable } else { Overall::Violation }, "{eventual}");
        script.refused();
        assert_eq!(overall(&script), Overall::Linearizable, "{eventual}");
        script.cas(4, value, "d", 60, 70).at("linearizable").failed();
        assert_eq!(overall(&script), Overall::Violation, "{eventual}");
        script.refused();
        assert_eq!(overall(&script), Overall::Linearizable, "{eventual}");
    }
}

/// A cas by token replaces siblings; a second one from the same siblings, after the first, cannot have succeeded.
#[test]
fn siblings_are_resolved_by_cas_once() {
    let mut script = Script::default();
    script.write(1, "a", 0, 10).at("quorum").covers("").write(2, "b", 0, 10).at("quorum").covers("");
    script.resolve(3, "a b", "m", 20, 30).at("linearizable").read(4, "m", 40, 50).at("linearizable");
    assert_eq!(check_promises(&script.history, &Limits::default()).overall(), Overall::Linearizable);
    script.resolve(5, "a b", "n", 60, 70).at("linearizable");
    let report = check_promises(&script.history, &Limits::default());
    assert_eq!(report.overall(), Overall::Violation);
    let words = report.explain(&script.history).to_string();
    assert!(words.contains("|-cas a + b -> n-|"), "{words}");
}

/// The search is for short histories: where too many writes may still come, it says that it does not know.
#[test]
fn too_many_open_eventual_writes_are_undecided() {
    let mut script = Script::default();
    for number in 0..24 {
        script.write(number, &format!("v{number}"), 0, 10).at("one").covers("");
    }
    script.read(30, "v0 v1", 20, 30).at("linearizable").read(30, "v0 v2", 40, 50).at("linearizable");
    assert_eq!(overall(&script), Overall::Violation, "the others nobody saw");
    let all: Vec<String> = (0..24).map(|number| format!("v{number}")).collect();
    script.read(30, &all.join(" "), 60, 70).at("linearizable");
    let report = check_promises(&script.history, &Limits { states: 100, ..Limits::default() });
    assert_eq!(report.keys[0].verdict, Verdict::Undecided(Undecided::StatesExhausted));
    assert_eq!(report.overall(), Overall::Undecided);
}

/// Keys that only take eventual operations promise nothing here, and cost nothing.
#[test]
fn a_key_without_linearizable_operations_is_left_out() {
    let mut script = Script::default();
    script.write(1, "a", 0, 10).at("quorum").read(2, "ghost", 20, 30).at("all");
    assert_eq!(check_promises(&script.history, &Limits::default()).keys, []);
}
