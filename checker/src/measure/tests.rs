//! Small histories whose measures anybody can work out, and the example of the documentation.

use proptest::prelude::*;

use super::report::{ArrowKind, Breaks, Ending, Kind, LinearizabilityVerdict, PlannedFault, PromiseVerdict, Rate, Role};
use super::*;
use crate::testing::{Dice, Script};

const MS: Nanos = 1_000_000;
const SECOND: Nanos = 1_000 * MS;

fn named(level: &str) -> LevelName {
    let (level, session) = crate::level::split_session(level);
    let (read, write) = level.split_once('/').unwrap_or((level, level));
    LevelName { read: read.to_owned(), write: write.to_owned(), session }
}

/// At this level, all that was due before `end`.
fn subject(level: &str, end: Nanos) -> Subject {
    Subject {
        level: named(level),
        window: Window { begin_ns: 0, end_ns: end },
        replicas: 3,
        faults: Vec::new(),
        delays: Samples::default(),
        seed: 1,
        trials: 2_000,
        messages: None,
        fsyncs: None,
        ok_min: 0,
        invalid: Vec::new(),
        limits: Limits::default(),
    }
}

fn script(level: &str) -> Script {
    let mut script = Script::new();
    script.level(level);
    script
}

fn counts(rate: Rate) -> (u64, u64) {
    (rate.count, rate.judged)
}

fn run(levels: &[Level]) -> Run {
    Run {
        seed: u64::MAX.to_string(),
        seconds: 1.5,
        nodes: 3,
        replicas: 3,
        clients: 2,
        keys: 1,
        rate: None,
        mix: "50r50w".to_owned(),
        cluster: None,
        started: None,
        levels: levels.iter().map(|level| level.name.clone()).collect(),
        faults: vec![PlannedFault { kind: "kill".to_owned(), target: "n2".to_owned(), from_s: 0.5, until_s: 1.0 }],
    }
}

/// Two writes, the first acknowledged at 10 ms and the second at 20 ms; at 50 ms somebody still reads the value before both.
fn stale_read(level: &str) -> Script {
    let mut script = script(level);
    script.write(1, "v0", 0, MS);
    script.write(1, "v1", 5 * MS, 10 * MS);
    script.write(1, "v2", 15 * MS, 20 * MS);
    script.read(2, &["v2"], 30 * MS, 31 * MS);
    script.read(3, &["v0"], 50 * MS, 51 * MS);
    script
}

#[test]
fn a_stale_read_has_its_age_and_its_versions() {
    let level = measure(&stale_read("one").history, &subject("one", SECOND));
    assert_eq!(counts(level.staleness.reads), (1, 2));
    assert_eq!(level.staleness.age_ns, report::Quantiles { p50: Some(40 * MS), p99: Some(40 * MS), max: Some(40 * MS) });
    assert_eq!(level.staleness.versions.max, Some(2));
    assert_eq!(level.staleness.reads.percent, Some(50.0));
    // 10 ms and 30 ms after the last acknowledgement.
    let steps: Vec<_> = level.freshness.measured.iter().map(|step| (step.from_ns, step.within_ns, step.reads, step.fresh)).collect();
    assert_eq!(steps, [(5 * MS, Some(10 * MS), 1, 1), (20 * MS, Some(50 * MS), 1, 0)]);
    // v2 was read 29 ms after v0 was written: so much lets v2 come first, and less than lets v0 come last.
    assert_eq!((level.gamma.measured, level.gamma.above_zero, level.gamma.ns.max), (1, 1, Some(29 * MS)));
}

#[test]
fn a_stale_read_is_a_datum_at_one_and_a_violation_at_quorum_and_linearizable() {
    let table = [
        ("one", Verdict::Kept, Breaks::Linearizability),
        ("quorum", Verdict::Violation, Breaks::Promise),
        ("all", Verdict::Violation, Breaks::Promise),
        ("r2w2", Verdict::Violation, Breaks::Promise),
        ("r1w2", Verdict::Kept, Breaks::Linearizability),
        ("linearizable", Verdict::Violation, Breaks::Promise),
    ];
    for (name, verdict, breaks) in table {
        let level = measure(&stale_read(name).history, &subject(name, SECOND));
        assert_eq!((level.verdict, level.counter_examples[0].breaks), (verdict, breaks), "{name}");
        assert_eq!(level.linearizability.verdict, LinearizabilityVerdict::Violation, "{name}");
        assert_eq!(level.promise.words.is_empty(), verdict == Verdict::Kept, "{name}");
        assert!(level.linearizability.words.is_some_and(|words| words.contains("v0")), "{name}");
    }
}

#[test]
fn a_level_promises_what_the_table_says() {
    let table = [
        ("one", vec!["every-level"]),
        ("r2w2", vec!["every-level", "overlap"]),
        ("one/all", vec!["every-level", "overlap"]),
        ("one/quorum", vec!["every-level"]),
        ("quorum", vec!["every-level", "overlap", "monotonic-reads"]),
        ("one+session", vec!["every-level", "session"]),
        ("linearizable", vec!["every-level", "overlap", "monotonic-reads", "linearizable"]),
        ("linearizable/quorum", vec!["every-level", "overlap"]),
        ("quorum/linearizable", vec!["every-level", "monotonic-reads"]),
        ("one/any", vec!["every-level"]),
    ];
    for (name, promised) in table {
        let level = measure(&script(name).history, &subject(name, SECOND));
        assert_eq!(level.promise.promised, promised, "{name}");
        assert_eq!(level.name, name);
        assert_eq!(level.promise.verdict, PromiseVerdict::Empty, "{name}");
    }
    assert_eq!(named("one/quorum+session").history(), "history-one+quorum+session.jsonl");
}

#[test]
fn the_counter_example_points_to_the_write_that_was_missed() {
    let mut script = stale_read("one");
    let during = script.unknown_write(4, "v3", 45 * MS);
    script.read(5, &["v2"], 50 * MS + 1, 52 * MS);
    script.key("other");
    script.write(6, "w", 49 * MS, 50 * MS);
    let level = measure(&script.history, &subject("one", SECOND));
    let [example] = level.counter_examples.as_slice() else { panic!("one: {:?}", level.counter_examples) };
    assert_eq!((example.id.as_str(), example.key.as_str(), example.left_out), ("one-1", "k", 0));
    let of = |kind: ArrowKind| -> Vec<(usize, usize)> {
        example.arrows.iter().filter(|arrow| arrow.kind == kind).map(|arrow| (arrow.from, arrow.to)).collect()
    };
    assert_eq!(of(ArrowKind::Missed), [(4, 1)], "the first that it missed");
    assert!(of(ArrowKind::Saw).contains(&(4, 0)), "{:?}", example.arrows);
    assert_eq!(example.words, "process 3 read v0 although process 1 had written v1, which was acknowledged 40.000 ms before");
    let proof: Vec<usize> = example.operations.iter().filter(|operation| operation.role == Role::Proof).map(|one| one.at).collect();
    assert_eq!(proof, [0, 1, 4]);
    assert_eq!(example.first_at_ns, 50 * MS);
    assert!(example.operations.iter().all(|operation| operation.key == "k"));
    let unknown = example.operations.iter().find(|operation| operation.at == during).expect("it happened at that time");
    assert_eq!((unknown.end_ns, unknown.outcome, unknown.role, unknown.kind), (None, Ending::Unknown, Role::Context, Kind::Write));
    let lanes: Vec<u64> = example.lanes.iter().map(|lane| lane.process).collect();
    assert!(lanes.contains(&3) && lanes.contains(&4) && !lanes.contains(&6), "{lanes:?}");
}

#[test]
fn of_many_overlapping_operations_the_closest_are_listed_and_the_rest_is_counted() {
    let mut script = script("one");
    script.write(1, "v0", 0, 1);
    script.write(1, "v1", 2, 3);
    for reader in 0..100 {
        script.read(10 + reader, &["v1"], 4 + reader, 500);
    }
    let stale = script.read(2, &["v0"], 400, 401);
    let level = measure(&script.history, &subject("one", SECOND));
    let example = &level.counter_examples[0];
    assert_eq!((example.operations.len(), example.left_out), (LISTED_MAX, 103 - LISTED_MAX as u64));
    assert!(example.operations.iter().any(|operation| operation.at == stale && operation.role == Role::Proof));
    assert!(example.operations.is_sorted_by_key(|operation| (operation.begin_ns, operation.at)));
}

/// Siblings, and nobody says what was covered: the search cannot judge the key, but the stale read is a proof.
#[test]
fn a_stale_read_proves_what_the_search_cannot() {
    let mut script = script("one");
    script.write(1, "a", 0, 10);
    script.write(2, "b", 5, 15);
    script.read(3, &["a", "b"], 20, 25);
    let missed = script.write(1, "c", 30, 40);
    let read = script.read(3, &["a", "b"], 50, 60);
    let level = measure(&script.history, &subject("one", SECOND));
    assert_eq!(level.linearizability.verdict, LinearizabilityVerdict::Violation);
    assert_eq!((level.linearizability.keys.violated, level.linearizability.keys.undecided), (1, 0));
    let example = &level.counter_examples[0];
    assert_eq!((example.rule.as_str(), example.breaks), ("stale-read", Breaks::Linearizability));
    assert!(example.words.starts_with("process 3 read [a, b] although process 1 had written c"), "{}", example.words);
    assert!(example.arrows.contains(&report::Arrow { from: read, to: missed, kind: ArrowKind::Missed }));
    assert_eq!((level.siblings.made, counts(level.siblings.reads), level.siblings.most), (1, (2, 2), 2));
    assert_eq!(level.gamma.unmeasured, 1);
}

#[test]
fn sessions_are_measured_whether_promised_or_not() {
    let mut script = script("one");
    script.write(1, "v1", 0, 1);
    script.write(2, "v2", 10, 11);
    script.read(3, &["v2"], 20, 21);
    script.read(3, &["v1"], 30, 31); // went back
    script.read(2, &["v1"], 40, 41); // does not see its own
    let level = measure(&script.history, &subject("one", SECOND));
    assert_eq!(counts(level.sessions.monotonic_reads), (1, 1));
    assert_eq!(counts(level.sessions.read_your_writes), (1, 1));
    assert_eq!(level.verdict, Verdict::Kept);
    let outside = measure(&script.history, &Subject { window: Window { begin_ns: 0, end_ns: 30 }, ..subject("one", 0) });
    assert_eq!((counts(outside.sessions.monotonic_reads), counts(outside.staleness.reads)), ((0, 0), (0, 1)));
}

#[test]
fn an_update_that_nobody_had_seen_is_lost() {
    let mut script = script("quorum");
    script.write(9, "v0", 0, 1);
    script.read(1, &["v0"], 10, 11);
    script.read(2, &["v0"], 10, 11);
    script.write(1, "v1", 20, 21); // from v0
    script.write(2, "v2", 30, 31); // from v0 too: v1 is lost
    script.read(1, &["v2"], 40, 41);
    script.write(1, "v3", 50, 51); // from v2: nothing is lost
    script.write(1, "v4", 60, 61); // blind
    let level = measure(&script.history, &subject("quorum", SECOND));
    assert_eq!(counts(level.lost_updates), (1, 3));
    let second = script.history.operations.iter().position(|operation| operation.process == 2 && operation.call == 30).expect("there");
    for at in [second, second + 2] {
        script.history.operations[at].detail.get_or_insert_with(Box::default).update = true;
    }
    let level = measure(&script.history, &subject("quorum", SECOND));
    assert_eq!(counts(level.lost_updates), (1, 2), "the first one does not say that it is an update");
}

#[test]
fn with_covers_only_what_was_replaced_unseen_is_lost() {
    let update = |covers: &[&str]| {
        let mut script = script("quorum");
        script.put(9, "v0", &[], 0, 1);
        script.read(2, &["v0"], 10, 11);
        script.put(1, "v1", &["v0"], 20, 21);
        script.put(2, "v2", covers, 30, 31);
        counts(measure(&script.history, &subject("quorum", SECOND)).lost_updates)
    };
    assert_eq!(update(&["v0", "v1"]), (1, 1), "a blind put replaced v1");
    assert_eq!(update(&["v0"]), (0, 1), "v2 is a sibling of v1");
}

#[test]
fn a_compare_and_set_loses_nothing_unless_it_is_broken() {
    let mut fine = script("linearizable");
    fine.cas(1, None, "1", 0, 1);
    fine.read(2, &["1"], 2, 3);
    fine.cas(1, Some("1"), "2", 4, 5);
    fine.cas(2, Some("2"), "3", 6, 7);
    fine.failed_cas(1, Some("2"), Some("3"), 8, 9);
    let level = measure(&fine.history, &subject("linearizable", SECOND));
    assert_eq!((counts(level.lost_updates), counts(level.conflicts), level.verdict), ((0, 3), (1, 4), Verdict::Kept));
    fine.cas(1, Some("2"), "4", 10, 11);
    let level = measure(&fine.history, &subject("linearizable", SECOND));
    assert_eq!((counts(level.lost_updates), level.verdict), ((1, 4), Verdict::Violation));
}

#[test]
fn an_acknowledged_write_that_nobody_holds_is_a_lost_write() {
    let mut script = script("one");
    script.put(1, "a", &[], 0, 1);
    script.put(2, "b", &[], 2, 3);
    let before = measure(&script.history, &subject("one", SECOND));
    assert_eq!(counts(before.lost_writes), (0, 0));
    script.holds("n1", &[("1@n2", Some("b"))]);
    let level = measure(&script.history, &subject("one", SECOND));
    assert_eq!((counts(level.lost_writes), level.verdict), ((1, 2), Verdict::Violation));
}

#[test]
fn outcomes_are_counted_when_they_were_due() {
    let mut script = script("one");
    script.write(1, "a", 100 * MS, 101 * MS);
    script.failed_write(1, "b", 200 * MS, 900 * MS);
    script.unknown_write(2, "c", 950 * MS);
    let late = script.read(1, &["a"], 1_500 * MS, 1_510 * MS);
    script.history.operations[late].detail.get_or_insert_with(Box::default).due = Some(990 * MS);
    script.failed_cas(3, Some("x"), Some("a"), 2_100 * MS, 2_110 * MS);
    script.read(3, &["a"], 2_500 * MS, 2_501 * MS); // after the window
    let level = measure(&script.history, &subject("one", 2_500 * MS));
    let buckets: Vec<_> =
        level.availability.buckets.iter().map(|bucket| (bucket.end_ns / MS, bucket.ok, bucket.refused, bucket.unknown)).collect();
    assert_eq!(buckets, [(1_000, 2, 1, 1), (2_000, 0, 0, 0), (2_500, 1, 0, 0)]);
    let all = &level.operations.all;
    assert_eq!((all.total, all.ok, all.refused, all.unknown, all.unknown_percent), (5, 3, 1, 1, Some(20.0)));
    assert!((all.ok_per_second - 1.2).abs() < 1e-9, "{}", all.ok_per_second);
    assert_eq!((level.operations.write.total, level.operations.cas.ok, counts(level.conflicts)), (3, 1, (1, 1)));
    let gap = level.availability.longest_gap;
    assert_eq!((gap.begin_ns, gap.end_ns, gap.ns), (101 * MS, 1_510 * MS, 1_409 * MS));
    assert_eq!(level.availability.longest_wait_ns.max, Some(2_500 * MS), "process 2 never had an answer");
    // The late read took 520 ms from when it was due, not 10 ms.
    assert_eq!((level.latency.read.count, level.latency.read.max_ns), (1, Some(520 * MS)));
    assert_eq!((level.latency.all.count, level.latency.all.p50_ns), (3, Some(10 * MS)));
}

#[test]
fn a_run_that_did_not_do_what_it_was_to_is_invalid() {
    let mut script = script("one");
    script.write(1, "a", 0, 1);
    script.read(1, &["a"], SECOND, SECOND + 1);
    let idle = Fault { kind: "kill".to_owned(), target: "n2".to_owned(), begin_ns: None, end_ns: None, took_effect: false, effect: None };
    let level = measure(&script.history, &Subject { faults: vec![idle], ok_min: 2, ..subject("one", SECOND) });
    assert_eq!((level.verdict, level.promise.verdict), (Verdict::Invalid, PromiseVerdict::Kept));
    assert_eq!(level.invalid, ["the fault kill n2 never took effect", "1 operations were acknowledged, fewer than 2"]);
}

#[test]
fn what_lies_beyond_the_history_is_not_kept() {
    let mut script = script("one");
    script.write(1, "a", 0, 1);
    script.history.header.insert("beyond".to_owned(), serde_json::json!(["liveness"]));
    let level = measure(&script.history, &subject("one", SECOND));
    assert_eq!((level.verdict, level.promise.verdict), (Verdict::Undecided, PromiseVerdict::Undecided));
    assert!(level.promise.words[0].ends_with("liveness"), "{:?}", level.promise.words);
}

#[test]
fn the_report_takes_the_worst_verdict_and_sets_later_levels_against_earlier_ones() {
    let at = |level: &str, took: Nanos, messages: u64| {
        let mut script = script(level);
        script.write(1, "a", 0, took);
        script.write(1, "b", SECOND, SECOND + took);
        measure(&script.history, &Subject { messages: Some(messages), ..subject(level, 2 * SECOND) })
    };
    let levels =
        vec![at("one", MS, 4), at("quorum", 2 * MS, 6), measure(&stale_read("linearizable").history, &subject("linearizable", SECOND))];
    let whole = report("0.0.0", run(&levels), levels);
    assert_eq!((whole.verdict, whole.exit), (Verdict::Violation, 9));
    let pairs: Vec<_> = whole.ratios.iter().map(|ratio| (ratio.level.as_str(), ratio.against.as_str())).collect();
    assert_eq!(pairs, [("quorum", "one"), ("linearizable", "one"), ("linearizable", "quorum")]);
    assert_eq!((whole.ratios[0].p50, whole.ratios[0].messages, whole.ratios[0].fsyncs), (Some(2.0), Some(1.5), None));
    assert_eq!((whole.ratios[0].ok_per_second, whole.ratios[1].messages), (Some(1.0), None));
    let text = serde_json::to_string(&whole).expect("plain values");
    assert_eq!(serde_json::from_str::<Report>(&text).expect("what was written").levels.len(), 3);
}

#[test]
fn the_prediction_stands_beside_what_was_measured() {
    let delays = Samples { write: vec![20 * MS], ack: vec![MS], read: vec![MS], reply: vec![MS] };
    let of = |level: &str| measure(&stale_read(level).history, &Subject { delays: delays.clone(), ..subject(level, SECOND) }).freshness;
    let one = of("one");
    let predicted = one.predicted.expect("a partial quorum");
    assert_eq!((predicted.n, predicted.r, predicted.w, predicted.trials, predicted.delays.write.max_ns), (3, 1, 1, 2_000, Some(20 * MS)));
    assert_eq!(predicted.points.iter().map(|point| point.t_ns).collect::<Vec<_>>(), [0, 20 * MS]);
    let steps: Vec<_> = one.measured.iter().map(|step| step.predicted_percent.expect("predicted")).collect();
    assert!((steps[0] - 100.0 / 3.0).abs() < 5.0 && (steps[1] - 100.0).abs() < 1e-9, "{steps:?}");
    let quorum = of("quorum").predicted.expect("a quorum");
    assert_eq!(quorum.points.len(), 1, "always fresh");
    assert!(of("linearizable").predicted.is_none() && of("one+session").predicted.is_none());
}

/// The example of the documentation holds exactly the members of these types: read and written back it is the same.
#[test]
fn the_documented_example_is_a_report() {
    let page = include_str!("../../../docs/report-format.md");
    let example = page.split("```json").nth(1).and_then(|rest| rest.split("```").next()).expect("the page has an example");
    let json: serde_json::Value = serde_json::from_str(example).expect("the example is JSON");
    let read: Report = serde_json::from_value(json.clone()).expect("the example is a report");
    assert_eq!(serde_json::to_value(&read).expect("plain values"), json);
    assert_eq!(read.ratios, ratios::of(&read.levels), "the example's ratios are its numbers'");
    for level in &read.levels {
        let rates = [level.staleness.reads, level.sessions.read_your_writes, level.sessions.monotonic_reads, level.lost_updates];
        for rate in rates.into_iter().chain([level.lost_writes, level.siblings.reads, level.conflicts]) {
            assert_eq!(rate, Rate::of(rate.count, rate.judged));
        }
    }
}

/// Reads and writes of a register that takes effect somewhere between call and return; with `stale`, some reads show an older value.
fn register(seed: u64, level: &str, stale: bool) -> Script {
    let mut dice = Dice(seed);
    let mut script = script(level);
    let (mut free, mut moment) = ([0_u64; 4], 0);
    let mut written: Vec<String> = Vec::new();
    for number in 0..40 {
        // Effects happen one after the other, each within its operation.
        moment += 1 + dice.roll(20);
        let process = usize::try_from(dice.roll(4)).expect("small");
        if free[process] >= moment {
            continue;
        }
        let call = free[process].max(moment.saturating_sub(dice.roll(30))) + u64::from(free[process] >= moment);
        let end = moment + dice.roll(30);
        free[process] = end + 1;
        let who = process as u64;
        if dice.roll(2) == 0 {
            let value = format!("v{number}");
            script.write(who, &value, call, end);
            written.push(value);
        } else {
            let back = if stale { usize::try_from(dice.roll(3)).expect("small") } else { 0 };
            let shown = written.len().checked_sub(1 + back).map(|place| written[place].as_str());
            script.read(who, shown.as_slice(), call, end);
        }
    }
    script
}

proptest! {
    #[test]
    fn a_linearizable_history_is_fresh_at_all_times(seed: u64) {
        let script = register(seed, "linearizable", false);
        let level = measure(&script.history, &subject("linearizable", SECOND));
        prop_assert_eq!(level.verdict, Verdict::Kept);
        prop_assert!(level.freshness.measured.iter().all(|step| step.fresh == step.reads && step.percent >= 100.0));
        prop_assert_eq!((level.staleness.reads.count, level.gamma.above_zero, level.gamma.never), (0, 0, 0));
        prop_assert_eq!((level.sessions.read_your_writes.count, level.sessions.monotonic_reads.count), (0, 0));
        prop_assert!(level.counter_examples.is_empty());
    }

    #[test]
    fn shares_are_within_bounds_and_parts_add_up(seed: u64) {
        let script = register(seed, "one", true);
        let delays = Samples { write: vec![5, 50], ack: vec![1], read: vec![1], reply: vec![1] };
        let level = measure(&script.history, &Subject { delays, ..subject("one", 200) });
        let text = serde_json::to_value(&level).expect("plain values");
        percents(&text)?;
        let operations = &level.operations;
        prop_assert_eq!(operations.all.total, operations.read.total + operations.write.total + operations.cas.total);
        prop_assert_eq!(operations.all.total, level.availability.buckets.iter().map(|bucket| bucket.ok + bucket.refused + bucket.unknown).sum::<u64>());
        prop_assert_eq!(level.latency.all.count, level.latency.all.histogram.iter().map(|bar| bar.count).sum::<u64>());
        prop_assert!(level.staleness.reads.count <= level.staleness.reads.judged);
        // A stale read, a gamma above zero and a counter-example go together on a register.
        prop_assert!(level.staleness.reads.count == 0 || level.linearizability.verdict == LinearizabilityVerdict::Violation);
        prop_assert_eq!(level.gamma.above_zero > 0, level.linearizability.verdict == LinearizabilityVerdict::Violation);
        prop_assert_eq!(level.counter_examples.is_empty(), level.linearizability.verdict == LinearizabilityVerdict::Linearizable);
        for example in &level.counter_examples {
            let listed = |at: usize| example.operations.iter().any(|operation| operation.at == at);
            prop_assert!(example.arrows.iter().all(|arrow| listed(arrow.from) && listed(arrow.to)));
            prop_assert!(example.operations.len() <= LISTED_MAX && example.operations.iter().any(|operation| operation.role == Role::Proof));
        }
    }
}

/// Every member whose name ends in `percent` is null or from 0 to 100.
fn percents(json: &serde_json::Value) -> Result<(), TestCaseError> {
    match json {
        serde_json::Value::Object(members) => {
            for (name, value) in members {
                if name.ends_with("percent") {
                    prop_assert!(
                        value.is_null() || value.as_f64().is_some_and(|share| (0.0..=100.0).contains(&share)),
                        "{} {}",
                        name,
                        value
                    );
                }
                percents(value)?;
            }
            Ok(())
        }
        serde_json::Value::Array(items) => items.iter().try_for_each(percents),
        _ => Ok(()),
    }
}
