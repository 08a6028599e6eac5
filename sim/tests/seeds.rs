//! What any seed must do: nothing is broken, everything is tried, and the same seed does the same again.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use quorate_protocol::Defect;
use quorate_sim::campaign::Campaign;
use quorate_sim::options::{Limits, Options, Traffic};
use quorate_sim::run::{Report, simulate};
use quorate_sim::script::Told;
use quorate_sim::shrink::shrink;

/// Seeds of the campaign. The command `quorate sim --seeds N` runs more.
const SEEDS: u64 = 500;

/// Seeds within which every planted bug must be found.
const SEEDS_PER_BUG: u64 = 2_000;

const THREADS: u64 = 2;

fn run(seed: u64) -> Report {
    simulate(&Options::draw(seed, Limits::default()), false)
}

/// The first of the seeds that breaks a promise with this bug.
fn first_failing(defect: Defect) -> Option<Report> {
    let limits = Limits { defect: Some(defect), traffic: Traffic::showing(defect), ..Limits::default() };
    let run = |seed| simulate(&Options::draw(seed, limits.clone()), false);
    (1..=SEEDS_PER_BUG).map(run).find(|report| !report.violations.is_empty())
}

#[test]
fn no_seed_breaks_a_promise_and_every_fault_takes_effect() {
    let campaign = |thread: u64| {
        let mut campaign = Campaign::default();
        for seed in (1..=SEEDS).filter(|seed| seed % THREADS == thread) {
            let report = run(seed);
            assert!(report.violations.is_empty(), "seed {seed}: {}", report.violations[0]);
            campaign.add(&report);
        }
        campaign
    };
    let mut all = Campaign::default();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || campaign(thread))).collect();
        for thread in threads {
            all.merge(&thread.join().expect("no seed fails"));
        }
    });
    assert_eq!(all.seeds, SEEDS);
    assert_eq!(all.missing_faults(), []);
    assert_eq!(all.missing_marks(), []);
    assert!(all.tally.lost_changes > SEEDS / 10, "crashes took {} unsynced changes", all.tally.lost_changes);
    assert!((600..995).contains(&all.success_permille()), "{} of 1000 operations succeeded", all.success_permille());
}

#[test]
fn a_seed_does_the_same_again_and_another_does_not() {
    let hash = |seed| run(seed).trace_hash;
    let hashes: BTreeMap<u64, u64> = (1..=20).map(|seed| (seed, hash(seed))).collect();
    assert!(hashes.iter().all(|(seed, first)| hash(*seed) == *first));
    assert_eq!(hashes.values().collect::<BTreeSet<_>>().len(), hashes.len());
}

#[test]
fn keeping_the_trace_changes_nothing() {
    let options = Options::draw(3, Limits::default());
    let (with, without) = (simulate(&options, true), simulate(&options, false));
    assert_eq!(with.trace_hash, without.trace_hash);
    assert!(with.trace.len() > 1_000 && without.trace.is_empty());
}

/// A checker that never found a bug proves nothing. Those that scripts tell, `scripts.rs` plays.
#[test]
fn every_planted_bug_is_found() {
    let half = |thread: usize| {
        let bugs = Defect::ALL.iter().filter(|bug| Told::of(**bug).is_none()).skip(thread).step_by(2);
        bugs.filter(|bug| first_failing(**bug).is_none()).map(ToString::to_string).collect::<Vec<_>>()
    };
    let missed = thread::scope(|scope| {
        let threads = [scope.spawn(move || half(0)), scope.spawn(move || half(1))];
        threads.into_iter().flat_map(|thread| thread.join().expect("a run does not panic")).collect::<Vec<_>>()
    });
    assert_eq!(missed, Vec::<String>::new(), "not found in {SEEDS_PER_BUG} seeds");
}

#[test]
fn a_failing_run_is_made_smaller_and_still_fails_in_the_same_way() {
    let failed = first_failing(Defect::SessionNotAwaited).expect("found soon");
    let (kind, operations) = (failed.violations[0].kind, failed.options.operations);
    let mut trials = 0;
    let small = shrink(failed, || {
        trials += 1;
        trials < 60
    });
    assert!(small.violations.iter().any(|violation| violation.kind == kind), "{kind}: {:?}", small.violations);
    assert!(small.options.operations < operations / 2, "{} operations are left", small.options.operations);
    let again = simulate(&Options::draw(small.options.seed, small.options.limits.clone()), false);
    assert_eq!((again.trace_hash, again.violations), (small.trace_hash, small.violations));
}
