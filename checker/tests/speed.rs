//! How fast histories are judged and read: `cargo test --release -p quorate-checker --test speed -- --ignored --nocapture`.
//!
//! The histories are of sixteen processes whose operations overlap: half reads, and writes, cas and deletes, some of unknown
//! outcome. They are linearizable, so nothing ends early.
#![expect(clippy::disallowed_types, reason = "a speed needs a clock; only this test has one")]

use std::time::{Duration, Instant};

use quorate_checker::format::{read_slice, write};
use quorate_checker::history::{Action, History, Operation, Outcome, Seen, ValueId};
use quorate_checker::{Limits, Overall, check};

const OPERATIONS: u32 = 1_000_000;

/// Operations take effect one per tick of 16, from 15 ticks before to 15 ticks after.
fn history(keys: u32, deletes: bool) -> History {
    let mut history = History::default();
    let mut held: Vec<Option<ValueId>> = vec![None; keys as usize];
    let mut random = 7_u64;
    for number in 0..OPERATIONS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let dice = (random >> 40) % 100;
        let at = ((random >> 20) % u64::from(keys)) as u32;
        let key = history.names.key(&format!("key:{at:06}"));
        let value = history.names.value(&format!("00000001.{}.{number}", number % 16));
        let there = &mut held[at as usize];
        let mut outcome = Outcome::Ok;
        let action = match dice {
            0..=49 => Action::Read { seen: Some(there.map_or(Seen::Absent, Seen::One)) },
            50..=64 => Action::Cas { expect: *there, value, observed: None },
            65..=69 if deletes => Action::Delete,
            70..=71 => {
                outcome = Outcome::Unknown;
                Action::Write { value }
            }
            _ => Action::Write { value },
        };
        match action {
            Action::Read { .. } => {}
            Action::Delete => *there = None,
            _ => *there = Some(value),
        }
        let effect = 16 * (u64::from(number) + 16);
        let (call, end) = (effect - (random >> 8) % 240, effect + (random >> 16) % 240);
        let end = (outcome == Outcome::Ok).then_some(end);
        history.operations.push(Operation { process: u64::from(number % 16), key, action, call, end, outcome, level: None, detail: None });
    }
    history
}

fn judge(what: &str, history: &History) -> Duration {
    let begin = Instant::now();
    let report = check(history, &Limits::default());
    let took = begin.elapsed();
    println!("{what}: {OPERATIONS} operations on {} keys judged in {took:.0?}", report.keys.len());
    assert_eq!(report.overall(), Overall::Linearizable, "{}", report.explain(history));
    assert_eq!(report.operations(), history.operations.len());
    took
}

#[test]
#[ignore = "a measurement: run it alone, on a machine that does nothing else"]
fn a_million_operations_are_judged_within_two_seconds() {
    let one = history(1, false);
    let many = history(10_000, false);
    assert!(judge("one key", &one) < Duration::from_secs(1));
    assert!(judge("many keys", &many) < Duration::from_secs(2));
    judge("many keys, with deletes", &history(10_000, true));

    let mut text = Vec::new();
    write(&many, &mut text).expect("memory takes everything");
    let begin = Instant::now();
    let again = read_slice(&text).expect("what was written");
    let took = begin.elapsed();
    let megabytes = text.len() as f64 / 1e6;
    println!("read {OPERATIONS} lines, {megabytes:.0} MB, in {took:.0?}: {:.0} lines a second", f64::from(OPERATIONS) / took.as_secs_f64());
    assert_eq!(again.operations.len(), many.operations.len());
}
