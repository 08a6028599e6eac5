//! Several clients, a random load, random faults; judged by checkers that know nothing of the store.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures::future::{join, join_all};
use quorate_checker::finding::{Allowances, Evidence};
use quorate_checker::history::{Action, Detail, History, Nanos, Operation, Outcome, Seen, ValueId};
use quorate_checker::overlap::{self, Promise};
use quorate_checker::siblings;
use quorate_client::{Client, Error, Level, Read};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, NODES, Sometimes, Weather, simulate};

const CLIENTS: u64 = 4;
const ROUNDS: u64 = 40;
const KEYS: u64 = 4;
const FAULTS: u64 = 6;
const REPLICAS: u32 = 3;

/// Far below the client's usual one, so that operations end in doubt.
const DEADLINE: Duration = Duration::from_millis(600);

/// Everything that was called, on the one clock of the test's host.
#[derive(Clone)]
struct Recorder {
    begun: Instant,
    history: Rc<RefCell<History>>,
}

/// A call that has not returned.
struct Call(usize);

impl Recorder {
    fn new() -> Self {
        Self { begun: Instant::now(), history: Rc::default() }
    }

    fn now(&self) -> Nanos {
        u64::try_from(self.begun.elapsed().as_nanos()).expect("minutes")
    }

    fn call(&self, process: u64, key: &str, level: Level, act: impl FnOnce(&mut History) -> (Action, Detail)) -> Call {
        let call = self.now();
        let history = &mut *self.history.borrow_mut();
        let (action, detail) = act(history);
        let (key, level) = (history.names.key(key), Some(history.names.word(&level.to_string())));
        let detail = Some(Box::new(detail));
        history.operations.push(Operation { process, key, action, call, end: None, outcome: Outcome::Unknown, level, detail });
        Call(history.operations.len() - 1)
    }

    fn returned(&self, Call(index): Call, outcome: Outcome) {
        let end = (outcome != Outcome::Unknown).then(|| self.now());
        let operation = &mut self.history.borrow_mut().operations[index];
        (operation.outcome, operation.end) = (outcome, end);
    }

    fn values(&self, read: &Read) -> Vec<ValueId> {
        let names = &mut self.history.borrow_mut().names;
        let mut values: Vec<_> = read.values().map(|value| names.value(&String::from_utf8_lossy(value))).collect();
        values.sort_unstable();
        values
    }

    /// Reads, through one node if it is named.
    async fn read(
        &self,
        process: u64,
        client: &Client,
        via: Option<quorate_client::NodeId>,
        key: &str,
        level: Level,
    ) -> Result<Read, Error> {
        let bucket = client.bucket("default");
        let bucket = via.map_or(bucket.clone(), |node| bucket.via(node));
        let call = self.call(process, key, level, |_| (Action::Read { seen: None }, Detail::default()));
        let read = bucket.get(key).level(level).deadline(DEADLINE).await;
        if let Ok(read) = &read {
            let seen = match self.values(read).as_slice() {
                [] => Seen::Absent,
                [one] => Seen::One(*one),
                several => Seen::Many(several.into()),
            };
            self.history.borrow_mut().operations[call.0].action = Action::Read { seen: Some(seen) };
        }
        self.returned(call, if read.is_ok() { Outcome::Ok } else { Outcome::Fail });
        read
    }

    /// Replaces what was read.
    async fn replace(&self, process: u64, client: &Client, read: &Read, key: &str, value: &str) -> Outcome {
        let covers = Some(self.values(read).into());
        let write = |history: &mut History| {
            let value = history.names.value(value);
            (Action::Write { value }, Detail { covers, ..Detail::default() })
        };
        let call = self.call(process, key, Level::Quorum, write);
        let put = client.put(key, value.to_owned()).context(read.context()).level(Level::Quorum).deadline(DEADLINE).await;
        let outcome = put.map_or_else(|error| outcome(&error), |_| Outcome::Ok);
        self.returned(call, outcome);
        outcome
    }
}

fn outcome(error: &Error) -> Outcome {
    match error.outcome() {
        quorate_client::Outcome::NotApplied => Outcome::Fail,
        quorate_client::Outcome::Unknown => Outcome::Unknown,
    }
}

/// One client after the other reads, and replaces what it has read.
async fn load(recorder: Recorder, cluster: Cluster, number: u64, seed: u64) {
    let client = cluster.client().await;
    let mut random = SmallRng::seed_from_u64(seed ^ (number << 32));
    // A process does one thing at a time: one that does not know what it did is succeeded by another.
    let mut process = number;
    for round in 0..ROUNDS {
        let key = format!("k{}", random.random_range(0..KEYS));
        if let Ok(read) = recorder.read(process, &client, None, &key, Level::Quorum).await
            && recorder.replace(process, &client, &read, &key, &format!("{number}.{round}")).await == Outcome::Unknown
        {
            process += CLIENTS;
        }
        // waits for: other clients to do something in between
        sleep(Duration::from_millis(random.random_range(0..60))).await;
    }
}

/// One node at a time is cut off, or ends.
async fn faults(cluster: Cluster, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    for _ in 0..FAULTS {
        let node = NODES[random.random_range(0..NODES.len())];
        let ends = random.random_bool(0.5);
        if ends {
            cluster.crash(node)
        } else {
            cluster.cut_off(node)
        }
        // waits for: operations that meet the fault
        sleep(Duration::from_millis(random.random_range(50..2_500))).await;
        if ends {
            cluster.restart(node)
        } else {
            cluster.heal(node)
        }
        // waits for: operations that meet its end
        sleep(Duration::from_millis(random.random_range(0..800))).await;
    }
}

async fn a_load_and_its_verdict(cluster: Cluster, seed: u64, doubts: Sometimes) {
    let recorder = Recorder::new();
    let loads = join_all((0..CLIENTS).map(|number| load(recorder.clone(), cluster.clone(), number, seed)));
    join(loads, faults(cluster.clone(), seed)).await;
    cluster.clear_up();
    cluster.until_settled().await;
    let client = cluster.client().await;
    for key in (0..KEYS).map(|key| format!("k{key}")) {
        // A connection that has stalled may not have been missed yet, so all being up does not say that all answer.
        let is_repaired = async || client.get(&key).level(Level::All).await.is_ok();
        cluster.until("a read at all replicas has repaired what it met", is_repaired).await;
    }
    let quiet = recorder.now();
    let last = u64::MAX;
    for key in (0..KEYS).map(|key| format!("k{key}")) {
        for node in NODES {
            recorder.read(last, &client, Some(node), &key, Level::One).await.expect("it answers");
        }
    }
    let history = recorder.history.borrow();
    doubts.note(history.operations.iter().any(|operation| operation.outcome == Outcome::Unknown));
    judge(&history, quiet);
}

fn judge(history: &History, quiet: Nanos) {
    // Any write may have been sent again by its client.
    let allow = Allowances { repeated: &|_| true, ..Allowances::NONE };
    let promise = |_: usize, operation: &Operation| {
        let is_quorum = operation.level.is_some_and(|level| history.names.word_text(level) == Level::Quorum.to_string());
        let reads = matches!(operation.action, Action::Read { .. });
        Promise { copies: if is_quorum { 2 } else { 1 }, monotonic: is_quorum && reads }
    };
    let overlap = overlap::check(history, REPLICAS, &promise, &allow);
    let siblings = siblings::check(history, Some(quiet), &allow);
    let ok = history.operations.iter().filter(|operation| operation.outcome == Outcome::Ok).count();
    println!("{ok} of {} operations ok, {} and {} cases judged", history.operations.len(), overlap.judged, siblings.judged);
    let told = overlap.violations.iter().map(|violation| violation.in_words(history).to_string());
    let told: Vec<_> = told.chain(siblings.violations.iter().map(|violation| violation.in_words(history).to_string())).collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
    let enough = CLIENTS * ROUNDS / 3;
    assert!(ok as u64 > enough && overlap.judged > enough && siblings.judged > enough, "a run that did little proves little");
}

#[test]
fn quorums_overlap_and_nothing_is_lost_under_cuts_crashes_and_delays() {
    let doubts = Sometimes::default();
    for seed in 1..=6 {
        let noted = doubts.clone();
        simulate(Weather { latency_ms: (0, 30), ..Weather::calm(seed) }, move |cluster| a_load_and_its_verdict(cluster, seed, noted));
    }
    doubts.assert("some operation ended in doubt");
}

#[test]
fn quorums_overlap_and_nothing_is_lost_when_connections_stall_for_good() {
    let doubts = Sometimes::default();
    for seed in 11..=14 {
        let noted = doubts.clone();
        let weather = Weather { latency_ms: (0, 10), fail_rate: 0.0005, ..Weather::calm(seed) };
        simulate(weather, move |cluster| a_load_and_its_verdict(cluster, seed, noted));
    }
    doubts.assert("some operation ended in doubt");
}
