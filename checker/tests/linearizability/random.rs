//! Small random histories: half of them made up, half of them really executed, and then perhaps spoiled.

use quorate_checker::history::{Action, History, Nanos, Outcome, Seen, ValueId};

use crate::script::Script;

/// SplitMix64: small, seeded, and the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What kinds of histories are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mix {
    pub(crate) deletes: bool,
    pub(crate) cas: bool,
    /// Percent of operations.
    pub(crate) unknown: u64,
    /// Percent of values that somebody wrote before.
    pub(crate) repeated: u64,
    /// Failed cas that do not say what they found.
    pub(crate) silent: bool,
}

impl Mix {
    pub(crate) fn any(random: &mut Random) -> Self {
        Self {
            deletes: random.chance(60),
            cas: random.chance(70),
            unknown: [0, 10, 30, 60][usize::try_from(random.below(4)).expect("small")],
            repeated: if random.chance(15) { 30 } else { 0 },
            silent: random.chance(15),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    Delete,
    Cas,
}

/// A history of 2 to 7 operations on one key.
pub(crate) fn history(random: &mut Random, mix: Mix) -> History {
    let count = 2 + random.below(6);
    let mut script = Script::default();
    let values: Vec<ValueId> = (0..=count).map(|number| script.value(&format!("v{number}"))).collect();
    let executed = random.chance(60);
    let spoiled = random.chance(75);
    let mut held: Option<ValueId> = None;
    let mut fresh = values.iter().copied();
    let mut written: Vec<ValueId> = Vec::new();
    for position in 0..count {
        let kind = kind(random, mix);
        let put = if !written.is_empty() && random.chance(mix.repeated) { written[0] } else { fresh.next().expect("one each") };
        let lie = !executed || (spoiled && random.chance(30));
        let there = match (lie, random.chance(90)) {
            (false, _) => held,
            (true, true) => any_of(random, &written),
            (true, false) => any_of(random, &values),
        };
        let (call, end) = times(random, position, count, executed);
        let unknown = random.chance(mix.unknown);
        let happens = !unknown || random.chance(50);
        let (action, outcome) = match kind {
            Kind::Read => (Action::Read { seen: Some(there.map_or(Seen::Absent, Seen::One)) }, Outcome::Ok),
            Kind::Write => (Action::Write { value: put }, if random.chance(5) { Outcome::Fail } else { Outcome::Ok }),
            Kind::Delete => (Action::Delete, Outcome::Ok),
            Kind::Cas => cas(random, mix, put, there, &values),
        };
        let outcome = if unknown { Outcome::Unknown } else { outcome };
        if outcome != Outcome::Fail && happens {
            match action {
                Action::Write { value } => held = Some(value),
                Action::Cas { value, expect, .. } if expect == held => held = Some(value),
                Action::Delete => held = None,
                Action::Cas { .. } | Action::CasSiblings(_) | Action::Read { .. } => {}
            }
        }
        if kind != Kind::Read && kind != Kind::Delete {
            written.push(put);
        }
        let action = if unknown && kind == Kind::Read { Action::Read { seen: None } } else { action };
        script.push(position, action, call, (!unknown).then_some(end), outcome);
        if outcome == Outcome::Fail && kind == Kind::Cas && random.chance(10) {
            script.refused();
        }
    }
    shuffle(random, &mut script.history);
    script.history
}

fn kind(random: &mut Random, mix: Mix) -> Kind {
    match random.below(10) {
        0..=3 => Kind::Read,
        4 | 5 if mix.cas => Kind::Cas,
        6 | 7 if mix.deletes => Kind::Delete,
        _ => Kind::Write,
    }
}

fn cas(random: &mut Random, mix: Mix, value: ValueId, there: Option<ValueId>, values: &[ValueId]) -> (Action, Outcome) {
    if random.chance(70) {
        let found = if random.chance(5) { any_of(random, values) } else { there };
        let observed = random.chance(20).then_some(found);
        return (Action::Cas { expect: there, value, observed }, Outcome::Ok);
    }
    let expect = any_of(random, values);
    let observed = (!mix.silent).then_some(there);
    (Action::Cas { expect, value, observed }, Outcome::Fail)
}

fn any_of(random: &mut Random, values: &[ValueId]) -> Option<ValueId> {
    let at = random.below(values.len() as u64 + 1);
    values.get(usize::try_from(at).expect("small")).copied()
}

/// Executed operations are around their turn, in ticks of ten; others anywhere.
fn times(random: &mut Random, position: u64, count: u64, executed: bool) -> (Nanos, Nanos) {
    if executed {
        let turn = 100 + 10 * position;
        let reach = 5 * (1 + random.below(6));
        (turn - random.below(reach), turn + random.below(reach))
    } else {
        let call = random.below(3 * count);
        (call, call + random.below(2 * count))
    }
}

fn shuffle(random: &mut Random, history: &mut History) {
    for at in (1..history.operations.len()).rev() {
        let other = usize::try_from(random.below(at as u64 + 1)).expect("small");
        history.operations.swap(at, other);
    }
}
