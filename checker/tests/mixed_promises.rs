//! A store that does everything at once, in one place, is accused of nothing: by no check, on keys that take linearizable operations and
//! eventual ones. And one that shows an old state is accused by each check in some runs.

use std::collections::BTreeMap;

use quorate_checker::finding::{Allowances, Evidence, Finding};
use quorate_checker::history::{Action, CasSiblings, Detail, FinalState, FinalVersion, History, Operation, Outcome, Seen, ValueId};
use quorate_checker::overlap::Promise;
use quorate_checker::{Limits, Overall, causality, check_promises, convergence, dots, durability, overlap, sessions, siblings, tokens};

const HISTORIES: u64 = 20_000;
const SEED: u64 = 7_061_122;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// The one place.
#[derive(Default)]
struct Store {
    history: History,
    live: Vec<ValueId>,
    before: Vec<ValueId>,
    sequence: u64,
}

impl Store {
    /// Does one operation at its turn, within its interval. `records_all`: linearizable changes say what they covered too.
    fn act(&mut self, random: &mut Random, turn: u64, records_all: bool, stale: bool) {
        let names = &mut self.history.names;
        let value = names.value(&format!("v{turn}"));
        let reads = random.chance(45);
        let level = ["linearizable", "linearizable", "quorum", "all", "one+session"][usize::try_from(random.below(5)).expect("small")];
        let linearizable = level == "linearizable";
        let action = match random.below(6) {
            _ if reads => Action::Read { seen: Some(Seen::of(if stale { self.before.clone() } else { self.live.clone() })) },
            0 => Action::Delete,
            1 if linearizable && self.live.len() > 1 => {
                Action::CasSiblings(Box::new(CasSiblings { expect: Seen::of(self.live.clone()), value, observed: None }))
            }
            1 | 2 if linearizable => Action::Cas { expect: self.live.first().copied(), value, observed: None },
            _ => Action::Write { value },
        };
        let single = !matches!(action, Action::Cas { .. }) || self.live.len() < 2;
        let mut detail = Detail::default();
        let outcome = if random.chance(8) && !reads { Outcome::Unknown } else { Outcome::Ok };
        if !reads && single {
            let covered: Vec<ValueId> = self.live.iter().copied().filter(|_| linearizable || random.chance(60)).collect();
            self.before = self.live.clone();
            self.live.retain(|value| !covered.contains(value));
            self.live.extend(action.written());
            self.live.sort_unstable();
            self.sequence += 1;
            let dots = [names.word(&format!("{turn}@n1"))];
            detail = Detail { covers: (!linearizable || records_all).then(|| covered.into()), dots: dots.into(), ..detail };
        }
        if !single {
            return;
        }
        detail.token = linearizable.then(|| names.word(&format!("1.{}", self.sequence)));
        let (call, end) = (turn - random.below(40), turn + random.below(40));
        self.history.operations.push(Operation {
            process: random.below(4),
            key: names.key("k"),
            action,
            call,
            end: (outcome == Outcome::Ok).then_some(end),
            outcome,
            level: Some(names.word(level)),
            detail: Some(Box::new(detail)),
        });
    }

    fn end(mut self) -> History {
        for replica in ["n1", "n2", "n3"] {
            let names = &mut self.history.names;
            let versions = self.live.iter().map(|value| {
                let turn = names.value_text(*value)[1..].to_owned();
                FinalVersion { dot: names.word(&format!("{turn}@n1")), value: Some(*value) }
            });
            let versions = versions.collect();
            let state = FinalState { replica: names.word(replica), key: names.key("k"), versions, digest: None };
            self.history.finals.push(state);
        }
        self.history
    }
}

fn findings(history: &History) -> Vec<Finding> {
    let promise = |_: usize, operation: &Operation| {
        let one = operation.level.is_some_and(|level| history.names.word_text(level).starts_with("one"));
        let reads = matches!(operation.action, Action::Read { .. });
        Promise { copies: if one { 1 } else { 2 }, monotonic: reads && !one }
    };
    let allow = Allowances::NONE;
    let mut findings: Vec<Finding> = Vec::new();
    findings.extend(overlap::check(history, 3, &promise, &allow).violations.into_iter().map(Finding::from));
    findings.extend(sessions::check(history, &allow).violations.into_iter().map(Finding::from));
    findings.extend(siblings::check(history, None, &allow).violations.into_iter().map(Finding::from));
    findings.extend(durability::check(history, None, &allow).violations.into_iter().map(Finding::from));
    findings.extend(causality::check(history).violations.into_iter().map(Finding::from));
    findings.extend(convergence::check(history).violations.into_iter().map(Finding::from));
    findings.extend(dots::check(history, []).violations.into_iter().map(Finding::from));
    findings.extend(tokens::check(history).violations.into_iter().map(Finding::from));
    findings
}

fn run(seed: u64, stale: u64) -> History {
    let mut random = Random(seed);
    let records_all = random.chance(50);
    let mut store = Store::default();
    for number in 0..4 + random.below(9) {
        let stale = random.chance(stale);
        store.act(&mut random, 100 + 10 * number, records_all, stale);
    }
    store.end()
}

#[test]
fn what_happens_in_one_place_breaks_no_promise_on_mixed_keys() {
    println!("seed {SEED}");
    for number in 0..HISTORIES {
        let seed = SEED + (number << 20);
        let history = run(seed, 0);
        let found: Vec<String> = findings(&history).iter().map(|finding| finding.in_words(&history).to_string()).collect();
        assert!(found.is_empty(), "seed {seed}: {found:#?}\n{:#?}", history.operations);
        let report = check_promises(&history, &Limits::default());
        assert_eq!(report.overall(), Overall::Linearizable, "seed {seed}: {}", report.explain(&history));
    }
}

#[test]
fn old_states_on_mixed_keys_are_noticed() {
    let (mut search, mut kinds) = (0_u64, BTreeMap::<&str, u64>::new());
    for number in 0..HISTORIES / 4 {
        let history = run(SEED + (number << 20), 40);
        search += u64::from(check_promises(&history, &Limits::default()).overall() == Overall::Violation);
        findings(&history).iter().for_each(|finding| *kinds.entry(finding.kind()).or_default() += 1);
    }
    println!("{search} by search, {kinds:?}");
    assert!(search > HISTORIES / 200 && kinds.len() >= 3, "{search} by search, {kinds:?}");
}
