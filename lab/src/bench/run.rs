//! Running one measurement: workers, each with one operation at a time.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use quorate_client::Expect;
use tokio::sync::Barrier;

use super::history::{Content, History, Scribe, Span};
use super::known::Known;
use super::pace::{Pacer, Window};
use super::plan::{BenchLevel, Plan, Sharing};
use super::tally::{Tally, Verdict};
use super::target::{Answer, Ending, Target};
use super::verify::{Judge, Ledger};
use crate::workload::{KeyNumber, Operation, Stamp, Writer};

/// What one measurement found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The level of all operations.
    pub level: BenchLevel,
    /// Workers, each with one operation at a time.
    pub clients: usize,
    /// How long operations were counted.
    pub duration: Duration,
    /// Per kind of operation that the mix has, what came of it.
    pub operations: Vec<(Operation, Tally)>,
    /// How reads stood the test.
    pub verdict: Verdict,
    /// Operations of an open loop that were due and had not begun when the measurement ended: the store is slower than the rate.
    pub missed: u64,
    /// The longest time that any worker was without an answer, over as many operations as failed meanwhile.
    pub longest_wait: Duration,
}

impl Report {
    /// Answered operations a second.
    #[must_use]
    pub fn per_second(&self, tally: &Tally) -> f64 {
        let answered = u32::try_from(tally.ok).map_or(f64::from(u32::MAX), f64::from);
        answered / self.duration.as_secs_f64()
    }
}

/// Some keys could not be written before the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{failed} of {keys} keys could not be written before the measurement")]
pub struct LoadError {
    /// Keys whose write failed.
    pub failed: u64,
    /// All keys.
    pub keys: u64,
}

/// Writes every key once. The targets share the work; they are the writers `0..targets` of the ledger.
///
/// # Errors
/// [`LoadError`] if a write failed; the others were done nevertheless.
pub async fn load<T: Target>(
    plan: &Plan,
    replicas: u8,
    targets: Vec<T>,
    ledger: &Arc<Ledger>,
    history: Option<&History>,
) -> Result<(), LoadError> {
    let step = targets.len();
    let workers = targets.into_iter().enumerate().map(|(index, target)| {
        let writer = Writer(u16::try_from(index).expect("fewer workers than writers"));
        let mut worker = Worker::new(plan, replicas, writer, target, ledger, history);
        async move {
            let mut failed = 0;
            for key in (index as u64..plan.workload.keys).step_by(step).map(KeyNumber) {
                let done = worker.put(key).await;
                failed += u64::from(done.ending != Ending::Ok);
            }
            failed
        }
    });
    match join_all(workers).await.into_iter().sum() {
        0 => Ok(()),
        failed => Err(LoadError { failed, keys: plan.workload.keys }),
    }
}

/// Measures. Each target is one worker, in a task of its own.
pub async fn run<T: Target>(plan: &Plan, replicas: u8, targets: Vec<T>, ledger: &Arc<Ledger>, history: Option<&Arc<History>>) -> Report {
    let clients = targets.len();
    let start = Arc::new(Start { ready: Barrier::new(clients), begun: OnceLock::new() });
    let mut tasks = tokio::task::JoinSet::new();
    for (index, target) in targets.into_iter().enumerate() {
        let (plan, ledger, history, start) = (plan.clone(), Arc::clone(ledger), history.cloned(), Arc::clone(&start));
        tasks.spawn(async move {
            let writer = ledger.active(index);
            let part = Part { sharing: plan.sharing, index: index as u64, of: clients as u64, keys: plan.workload.keys };
            let mut worker = Worker::new(&plan, replicas, writer, target, &ledger, history.as_deref());
            if plan.sharing == Sharing::Apart && worker.known.is_some() {
                // What a compare-and-set expects is not looked up on the way.
                for key in part.all() {
                    worker.get(key).await;
                }
            }
            let (window, pacer) = start.together(&plan).await;
            worker.work(pacer, window.counted, plan.workload.operations(writer).map(|(operation, key)| (operation, part.own(key)))).await;
            worker.found
        });
    }
    let mut all = Found::default();
    while let Some(found) = tasks.join_next().await {
        all.add(found.expect("workers do not panic"));
    }
    let Found { tallies, verdict, longest_wait } = all;
    let operations = plan.workload.mix.operations();
    let operations = operations.map(|operation| (operation, tallies.get(&operation).cloned().unwrap_or_default())).collect();
    let missed = start.begun.get().map_or(0, |(_, pacer)| pacer.missed());
    Report { level: plan.level, clients, duration: plan.duration, operations, verdict, missed, longest_wait }
}

/// Where the workers wait for each other before the clock runs.
struct Start {
    ready: Barrier,
    begun: OnceLock<(Window, Pacer)>,
}

impl Start {
    async fn together(&self, plan: &Plan) -> (Window, &Pacer) {
        self.ready.wait().await;
        let (window, pacer) = self.begun.get_or_init(|| {
            let window = Window::of(plan);
            (window, Pacer::new(plan.pace, window))
        });
        (*window, pacer)
    }
}

#[derive(Debug, Default)]
struct Found {
    tallies: BTreeMap<Operation, Tally>,
    verdict: Verdict,
    longest_wait: Duration,
}

impl Found {
    fn add(&mut self, other: Self) {
        for (operation, tally) in &other.tallies {
            self.tallies.entry(*operation).or_default().add(tally);
        }
        self.verdict.add(other.verdict);
        self.longest_wait = self.longest_wait.max(other.longest_wait);
    }
}

/// The keys of one worker.
#[derive(Clone, Copy)]
struct Part {
    sharing: Sharing,
    index: u64,
    of: u64,
    keys: u64,
}

impl Part {
    /// The worker's own key in place of one that was drawn from all.
    fn own(self, drawn: KeyNumber) -> KeyNumber {
        let Self { sharing, index, of, keys } = self;
        match sharing {
            Sharing::Shared => drawn,
            Sharing::Apart if keys < of => KeyNumber(index % keys),
            Sharing::Apart => KeyNumber(drawn.0 / of % (keys / of) * of + index),
        }
    }
}

impl Part {
    /// Every key that is the worker's own.
    fn all(self) -> impl Iterator<Item = KeyNumber> {
        let Self { index, of, keys, .. } = self;
        (0..(keys / of).max(1)).map(move |row| KeyNumber((row * of + index) % keys))
    }
}

/// One operation that is over.
struct Done {
    ending: Ending,
    returned: Instant,
}

impl Done {
    fn is_answered(&self) -> bool {
        matches!(self.ending, Ending::Ok | Ending::Conflict)
    }
}

struct Worker<'a, T> {
    target: T,
    writer: Writer,
    value_bytes: usize,
    ledger: &'a Ledger,
    judge: Judge,
    scribe: Option<Scribe<'a>>,
    /// What is known of each key; kept only where it is needed for compare-and-sets.
    known: Option<HashMap<KeyNumber, Known>>,
    found: Found,
}

impl<'a, T: Target> Worker<'a, T> {
    fn new(plan: &Plan, replicas: u8, writer: Writer, target: T, ledger: &'a Ledger, history: Option<&'a History>) -> Self {
        let scribe = history.map(|history| Scribe::new(history, writer, plan));
        let judge = Judge::new(plan.level, replicas);
        let known = plan.workload.mix.has(Operation::Cas).then(HashMap::new);
        Self { target, writer, value_bytes: plan.workload.value_bytes, ledger, judge, scribe, known, found: Found::default() }
    }

    async fn work(&mut self, pacer: &Pacer, counted: Instant, mut operations: impl Iterator<Item = (Operation, KeyNumber)>) {
        // Since when an answer was wanted.
        let mut wanted: Option<Instant> = None;
        while let Some(intended) = pacer.next().await {
            let (operation, key) = operations.next().expect("operations are endless");
            let done = match operation {
                Operation::Get => self.get(key).await,
                Operation::Put => self.put(key).await,
                Operation::Cas => self.cas(key).await,
            };
            if intended >= counted {
                let micros = done.returned.saturating_duration_since(intended).as_micros();
                let tally = self.found.tallies.entry(operation).or_default();
                tally.count(done.ending, u64::try_from(micros).unwrap_or(u64::MAX));
                let wait = done.returned.saturating_duration_since(*wanted.get_or_insert(intended));
                self.found.longest_wait = self.found.longest_wait.max(wait);
                wanted = wanted.filter(|_| !done.is_answered());
            }
        }
    }

    async fn get(&mut self, key: KeyNumber) -> Done {
        let expected = self.judge.expect(self.ledger, key);
        let called = Instant::now();
        let answer = self.target.get(key.to_key()).await;
        let returned = Instant::now();
        if answer.ending == Ending::Ok {
            self.found.verdict.count(expected.check(self.ledger, &answer.values));
            self.learn(key, Known::told(&answer));
        }
        self.note(Span { key, called, returned }, Content::Read, &answer);
        Done { ending: answer.ending, returned }
    }

    async fn put(&mut self, key: KeyNumber) -> Done {
        let stamp = self.ledger.next(self.writer, key);
        let value = stamp.to_value(self.value_bytes);
        let called = Instant::now();
        let answer = self.target.put(key.to_key(), value.clone()).await;
        let returned = Instant::now();
        self.wrote(&stamp, value, &answer);
        self.note(Span { key, called, returned }, Content::Write(&stamp), &answer);
        Done { ending: answer.ending, returned }
    }

    async fn cas(&mut self, key: KeyNumber) -> Done {
        let known = |worker: &Self| worker.known.as_ref().and_then(|known| known.get(&key).cloned());
        if known(self).is_none() {
            self.get(key).await;
        }
        let known = known(self).unwrap_or_default();
        let stamp = self.ledger.next(self.writer, key);
        let value = stamp.to_value(self.value_bytes);
        let expect = known.expect(stamp.sequence);
        let by_token = matches!(expect, Expect::Token(_));
        let called = Instant::now();
        let answer = self.target.cas(key.to_key(), expect, value.clone()).await;
        let returned = Instant::now();
        self.wrote(&stamp, value, &answer);
        self.note(Span { key, called, returned }, Content::Cas { expected: known.value(), by_token, stamp: &stamp }, &answer);
        Done { ending: answer.ending, returned }
    }

    /// What became of a write.
    fn wrote(&mut self, stamp: &Stamp, value: Bytes, answer: &Answer) {
        match answer.ending {
            Ending::Ok => self.judge.acknowledged(self.ledger, stamp),
            Ending::Conflict | Ending::NotApplied => {}
            Ending::Unknown => self.judge.doubted(self.ledger, stamp),
        }
        match answer.ending {
            Ending::Ok => self.learn(stamp.key, Known::written(answer, value)),
            Ending::Conflict => self.learn(stamp.key, Known::told(answer)),
            Ending::NotApplied => {}
            Ending::Unknown => self.learn(stamp.key, None),
        }
    }

    fn learn(&mut self, key: KeyNumber, news: Option<Known>) {
        let Some(known) = &mut self.known else { return };
        match news {
            Some(news) => drop(known.insert(key, news)),
            None => drop(known.remove(&key)),
        }
    }

    fn note(&mut self, span: Span, content: Content<'_>, answer: &Answer) {
        if let Some(scribe) = &mut self.scribe {
            scribe.note(&span, &content, answer);
        }
    }
}
