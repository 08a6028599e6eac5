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

/// What a history says of one operation, as far as it matters.
struct Event<'a> {
    operation: &'a Operation,
    eventual: bool,
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
        Some(Self { operation, eventual, end: operation.end.filter(|_| has_end) })
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
        if value.is_some_and(|value| self.covered.contains(&value)) {
            return None;
        }
        let mut after = self.clone();
        if event.eventual {
            let covers = event.operation.detail.as_ref().and_then(|detail| detail.covers.as_deref()).expect("eventual writes say it");
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
    let events: Vec<Event<'_>> = history.operations.iter().filter_map(|operation| Event::of(history, operation)).collect();
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
    let spoils = random.chance(60);
    let count = 3 + random.below(5);
    for position in 0..count {
        let value = script.value(&format!("v{position}"));
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
        script.push(position, action, call, (outcome != Outcome::Unknown).then_some(end), outcome).at(level);
        let detail = covers.map(|covers| Box::new(Detail { covers: Some(covers), ..Detail::default() }));
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
