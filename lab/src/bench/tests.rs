//! Whole measurements against stores in memory, honest and dishonest ones.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_client::Expect;

use super::*;
use crate::workload::{Distribution, Mix, Workload};

const CLIENTS: u16 = 8;
const REPLICAS: u8 = 3;

/// How a store in memory treats its users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Honest,
    /// Every tenth write is acknowledged and forgotten.
    Forgetful,
    /// Every tenth read answers with the value of some other key.
    Confused,
    /// Every tenth operation fails, alternately without effect and after it.
    Failing,
    /// Every operation fails until then, without effect.
    DownUntil(Instant),
}

#[derive(Clone, Debug)]
struct InMemory {
    manner: Manner,
    operations: u64,
    values: Arc<Mutex<BTreeMap<Bytes, Bytes>>>,
}

impl InMemory {
    fn answer(ending: Ending, values: Vec<Bytes>) -> Answer {
        Answer { ending, values, untold: false, token: None, evidence: None }
    }

    fn is_tenth(&mut self) -> bool {
        self.operations += 1;
        self.operations.is_multiple_of(10)
    }

    async fn failed(&self) -> Option<Ending> {
        tokio::task::yield_now().await;
        if matches!(self.manner, Manner::DownUntil(up) if Instant::now() < up) {
            return Some(Ending::NotApplied);
        }
        let endings = [Ending::NotApplied, Ending::Unknown];
        (self.manner == Manner::Failing && self.operations.is_multiple_of(10))
            .then(|| endings[usize::from(self.operations.is_multiple_of(20))])
    }
}

impl Target for InMemory {
    async fn get(&mut self, key: Bytes) -> Answer {
        let tenth = self.is_tenth();
        if let Some(ending) = self.failed().await {
            return Self::answer(ending, vec![]);
        }
        let values = self.values.lock().expect("no panic");
        let found = if tenth && self.manner == Manner::Confused {
            values.iter().find(|(other, _)| **other != key).map(|(_, value)| value)
        } else {
            values.get(&key)
        };
        Self::answer(Ending::Ok, found.cloned().into_iter().collect())
    }

    async fn put(&mut self, key: Bytes, value: Bytes) -> Answer {
        let tenth = self.is_tenth();
        let failed = self.failed().await;
        if failed != Some(Ending::NotApplied) && !(tenth && self.manner == Manner::Forgetful) {
            self.values.lock().expect("no panic").insert(key, value);
        }
        Self::answer(failed.unwrap_or(Ending::Ok), vec![])
    }

    async fn cas(&mut self, key: Bytes, expect: Expect, value: Bytes) -> Answer {
        self.is_tenth();
        let failed = self.failed().await;
        let mut values = self.values.lock().expect("no panic");
        let current = values.get(&key).cloned();
        let holds = match expect {
            Expect::Absent => current.is_none(),
            Expect::Value(expected) => current.as_ref() == Some(&expected),
            Expect::Token(token) => panic!("{token}: this store has no tokens"),
        };
        if failed == Some(Ending::NotApplied) {
            return Self::answer(Ending::NotApplied, vec![]);
        }
        if !holds {
            return Self::answer(failed.unwrap_or(Ending::Conflict), current.into_iter().collect());
        }
        values.insert(key, value);
        Self::answer(failed.unwrap_or(Ending::Ok), vec![])
    }
}

async fn measure(manner: Manner, pace: Pace) -> Report {
    measure_mix("50r50w", Sharing::Shared, manner, pace).await
}

async fn measure_mix(mix: &str, sharing: Sharing, manner: Manner, pace: Pace) -> Report {
    let mix = mix.parse().expect("a mix");
    let workload = Workload { seed: 4, keys: 50, distribution: Distribution::Uniform, mix, value_bytes: 64 };
    let level = "quorum".parse().expect("a level");
    let (warm_up, duration) = (Duration::from_millis(20), Duration::from_millis(200));
    let plan = Plan { workload, level, sharing, pace, warm_up, duration };
    let honest = InMemory { manner: Manner::Honest, operations: 0, values: Arc::default() };
    let ledger = Arc::new(Ledger::new(1, plan.workload.keys, 2, CLIENTS + 2));
    load(&plan, REPLICAS, vec![honest.clone(), honest.clone()], &ledger, None).await.expect("every key is written");
    let targets = vec![InMemory { manner, ..honest }; usize::from(CLIENTS)];
    run(&plan, REPLICAS, targets, &ledger, None).await
}

fn total(report: &Report, count: impl Fn(&Tally) -> u64) -> u64 {
    report.operations.iter().map(|(_, tally)| count(tally)).sum()
}

#[tokio::test]
async fn an_honest_store_is_measured_and_stands_the_test() {
    let report = measure(Manner::Honest, Pace::Closed).await;
    assert_eq!((report.verdict.violations, total(&report, Tally::failed)), (0, 0), "{:?}", report.verdict.examples);
    assert!(report.verdict.verified > 100 && report.operations.iter().all(|(_, tally)| tally.ok > 50));
    let rows = Row::of(&report);
    assert_eq!(rows.iter().map(Row::name).collect::<Vec<_>>(), ["get@quorum", "put@quorum"]);
    assert!(rows.iter().all(|row| row.ops_per_s > 0.0 && row.clients == u64::from(CLIENTS)));
}

#[tokio::test]
async fn compare_and_sets_conflict_where_workers_meet_and_nowhere_else() {
    for (mix, sharing) in [("40r40w20c", Sharing::Shared), ("100c", Sharing::Apart)] {
        let report = measure_mix(mix, sharing, Manner::Honest, Pace::Closed).await;
        assert_eq!((report.verdict.violations, total(&report, Tally::failed)), (0, 0), "{:?}", report.verdict.examples);
        let (_, cas) = report.operations.last().expect("the last of the mix");
        assert!(cas.ok > cas.conflicts && (cas.conflicts > 0) == (sharing == Sharing::Shared), "{mix}: {} of {}", cas.conflicts, cas.ok);
    }
}

#[tokio::test]
async fn a_store_that_forgets_acknowledged_writes_is_found_out() {
    let report = measure(Manner::Forgetful, Pace::Closed).await;
    assert!(report.verdict.examples.iter().all(|violation| matches!(violation, Violation::Lost { .. })));
    assert!(report.verdict.violations > 0);
}

#[tokio::test]
async fn a_store_that_confuses_keys_is_found_out() {
    let report = measure(Manner::Confused, Pace::Closed).await;
    assert!(report.verdict.examples.iter().any(|violation| matches!(violation, Violation::OtherKey { .. })));
}

#[tokio::test]
async fn failures_are_counted_by_their_outcome_and_are_no_violations() {
    let report = measure(Manner::Failing, Pace::Closed).await;
    assert_eq!(report.verdict.violations, 0, "{:?}", report.verdict.examples);
    assert!(total(&report, |tally| tally.not_applied) > 0 && total(&report, |tally| tally.unknown) > 0);
}

/// Each try is over at once; the wait for an answer is not.
#[tokio::test]
async fn the_longest_wait_goes_on_over_tries_that_fail() {
    let report = measure(Manner::DownUntil(Instant::now() + Duration::from_millis(120)), Pace::Closed).await;
    assert!(total(&report, |tally| tally.not_applied) > 10 && total(&report, |tally| tally.ok) > 10);
    // What is told begins after 20 ms of warm-up.
    assert!(report.longest_wait > Duration::from_millis(60), "{:?}", report.longest_wait);
    assert!(Row::of(&report).iter().all(|row| row.wait_max_us.is_some_and(|micros| micros > 60_000)));
}

#[tokio::test]
async fn an_open_loop_keeps_its_rate() {
    let report = measure(Manner::Honest, Pace::Open { rate: 2_000.0 }).await;
    // 20 ms of warm-up are not counted.
    assert_eq!(total(&report, |tally| tally.ok) + report.missed, 400);
}

#[tokio::test]
async fn the_same_keys_are_loaded_whatever_the_number_of_loaders() {
    let workload = Workload { seed: 0, keys: 7, distribution: Distribution::Uniform, mix: Mix::WRITES, value_bytes: 64 };
    let level = "quorum".parse().expect("a level");
    let plan = Plan { workload, level, sharing: Sharing::Shared, pace: Pace::Closed, warm_up: Duration::ZERO, duration: Duration::ZERO };
    for loaders in [1, 3, 10] {
        let store = InMemory { manner: Manner::Honest, operations: 0, values: Arc::default() };
        let ledger = Arc::new(Ledger::new(1, 7, loaders, loaders));
        load(&plan, REPLICAS, vec![store.clone(); usize::from(loaders)], &ledger, None).await.expect("every key is written");
        assert_eq!(store.values.lock().expect("no panic").len(), 7);
        let failing = vec![InMemory { manner: Manner::Failing, operations: 9, ..store }; 1];
        let ledger = Arc::new(Ledger::new(1, 7, 1, 1));
        assert_eq!(load(&plan, REPLICAS, failing, &ledger, None).await, Err(LoadError { failed: 1, keys: 7 }));
    }
}
