//! One level: the cluster is started, worked on under the faults, mended, read for the last time; and its history is written.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate_client::{Client, ClientBuilder};
use quorate_protocol::sealed::ContextSeal;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use super::beats::{Beats, Times};
use super::client::{Contexts, Put, Worker};
use super::error::CompareError;
use super::level::ComparedLevel;
use super::meters::{Counted, LOOK_EVERY, Meters, hints_pending};
use super::note::{Header, Note, history};
use super::plan::{Place, Plan};
use super::progress::{Phase, Progress, Stop};
use super::schedule::Planned;
use super::sides::Sides;
use super::stage::{Made, Running, Stage};
use crate::cluster::Cluster;
use crate::workload::Writer;

const DEFAULT_BUCKET: &str = "default";
/// Between the last write of the loading and the window: what was loaded is everywhere by then.
const CALM_BEFORE: Duration = Duration::from_millis(300);
/// Operations that were due and could not begin within this time after the window never do.
const LATE_MAX: Duration = Duration::from_secs(10);
/// Longest wait until what faults left undone is done.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// Pause between two looks whether it is.
const DRAIN_LOOK_EVERY: Duration = Duration::from_millis(100);
/// Deadline of loading, of the last reads and of looking at metrics.
const PATIENCE: Duration = Duration::from_secs(3);
/// A key that cannot be read at the end is tried so often.
const LAST_READS_MAX: usize = 5;

/// What became of one level; its history is in its file.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Home replicas of each key.
    pub replicas: u8,
    /// The window in nanoseconds on the history's clock: its begin, and its end.
    pub window: (u64, u64),
    /// The faults, in the order of the plan.
    pub faults: Vec<Fault>,
    /// What it cost, and delays.
    pub counted: Counted,
    /// Operations that were due in the window.
    pub due: u64,
    /// What kept the run from being what it was to be, in sentences.
    pub flaws: Vec<String>,
}

/// What became of a fault; times in nanoseconds on the history's clock.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What was planned.
    pub planned: Planned,
    /// When it was made.
    pub begin: Option<u64>,
    /// When it was mended.
    pub end: Option<u64>,
    /// Whether it was seen to take effect.
    pub took_effect: bool,
    /// What showed that.
    pub effect: Option<String>,
}

/// The zero of a history's clock.
#[derive(Clone, Copy)]
struct Zero(Instant);

impl Zero {
    fn nanos(self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.0).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Runs one level, and writes its history to `file`.
///
/// # Errors
/// [`CompareError`] when there is no cluster to work on, or the file cannot be written. What clients could not do is no error: it is what is
/// measured. [`CompareError::Stopped`] when it was asked to; faults of a running cluster are mended first.
pub async fn run(
    plan: &Plan,
    level: ComparedLevel,
    place: &Place,
    file: &Path,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<Ran, CompareError> {
    progress.enter(Phase::Starting);
    if stop.is_asked() {
        return Err(CompareError::Stopped);
    }
    match place {
        Place::Own(spec) => {
            let mut cluster = Cluster::start(spec.clone()).await?;
            let seeds = cluster.seeds();
            let ran = Bed::prepare(plan, level, Ground::Own(&mut cluster), &seeds).await?.run(plan, level, file, progress, stop).await?;
            cluster.shutdown().await?;
            Ok(ran)
        }
        Place::Running { seeds } => Bed::prepare(plan, level, Ground::Running, seeds).await?.run(plan, level, file, progress, stop).await,
    }
}

/// Where to work.
enum Ground<'a> {
    Own(&'a mut Cluster),
    Running,
}

/// Where one level runs.
struct Bed<'a> {
    stage: Stage<'a>,
    /// The cluster was there before, and stays.
    is_running: bool,
    sides: Sides,
    observer: Client,
    /// A client beside each node.
    beside: Vec<Client>,
    contexts: Contexts,
    cluster: String,
    replicas: u8,
    keys: Arc<[String]>,
}

impl<'a> Bed<'a> {
    async fn prepare(plan: &Plan, level: ComparedLevel, ground: Ground<'a>, seeds: &str) -> Result<Self, CompareError> {
        let connected =
            async |builder: ClientBuilder| builder.seeds(seeds).connect().await.map_err(|source| CompareError::Connect { source });
        let observer = connected(Client::builder().deadline(PATIENCE)).await?;
        let topology = observer.topology();
        let bucket = topology.buckets.iter().find(|bucket| bucket.name == DEFAULT_BUCKET).ok_or(CompareError::NoBucket)?;
        level.check(bucket.replicas)?;
        let is_running = matches!(ground, Ground::Running);
        let (stage, prefix) = match ground {
            Ground::Own(cluster) => (Stage::own(cluster), String::new()),
            Ground::Running => {
                let running = Running::find(&topology.cluster, topology.addresses.iter().cloned()).await?;
                // The cluster may have been compared on before, with the same values.
                (Stage::running(running), format!("compare:{:08x}:", rand::random::<u32>()))
            }
        };
        stage.permits(plan.schedule.iter().map(Planned::kind))?;
        let sides = Sides::new(topology.addresses.iter().cloned());
        let mut beside = Vec::new();
        for node in observer.nodes() {
            beside.push(connected(Client::builder().deadline(plan.deadline).network(sides.network(node))).await?);
        }
        let width = plan.keys.saturating_sub(1).to_string().len();
        let keys = (0..plan.keys).map(|key| format!("{prefix}k{key:0width$}")).collect();
        let contexts = Contexts { seal: ContextSeal::new(&topology.cluster, None), bucket: bucket.id };
        let (cluster, replicas) = (topology.cluster.clone(), bucket.replicas);
        Ok(Self { stage, is_running, sides, beside, contexts, cluster, replicas, keys, observer })
    }

    /// A client beside a node, in turn.
    fn worker(&self, process: u16, level: ComparedLevel) -> Worker {
        let bucket = self.beside[usize::from(process) % self.beside.len()].bucket(DEFAULT_BUCKET);
        Worker::new(u64::from(process), bucket, level, &self.keys, self.contexts.clone())
    }

    /// The one that loads and that reads at last; it is on nobody's side.
    fn keeper(&self, plan: &Plan, level: ComparedLevel) -> Worker {
        let bucket = self.observer.bucket(DEFAULT_BUCKET);
        Worker::new(u64::from(plan.clients), bucket, level, &self.keys, self.contexts.clone())
    }

    async fn run(
        mut self,
        plan: &Plan,
        level: ComparedLevel,
        file: &Path,
        progress: &Arc<Progress>,
        stop: &Stop,
    ) -> Result<Ran, CompareError> {
        let zero = Zero(Instant::now());
        progress.enter(Phase::Loading);
        let (last, loading) = (level.for_last_reads(), level.for_loading(self.replicas));
        let mut keeper = self.keeper(plan, ComparedLevel { read: last, write: loading, session: false });
        for key in 0..self.keys.len() {
            keeper.put(key, None, Put::Blind).await.map_err(|source| CompareError::Load { source: Box::new(source) })?;
        }
        sleep(CALM_BEFORE).await;
        let worked = tokio::select! {
            worked = self.work(plan, level, progress) => Some(worked),
            () = stop.asked() => None,
        };
        progress.enter(Phase::Mending);
        let Some(worked) = worked else {
            // Our own processes go, and what was broken between them with them.
            if self.is_running {
                self.stage.mend().await?;
            }
            return Err(CompareError::Stopped);
        };
        let left_undone = self.mend().await;
        let quiet = left_undone.is_none().then(|| zero.nanos(Instant::now()));
        let troubles =
            plan.schedule.iter().zip(&worked.made).filter_map(|(planned, made)| Some(format!("{planned}: {}", made.trouble.as_ref()?)));
        let flaws = worked.flaws.into_iter().chain(troubles).chain(left_undone).collect::<Vec<_>>();
        progress.enter(Phase::Reading);
        let mut unread = 0;
        for key in 0..self.keys.len() {
            let mut is_read = false;
            for _ in 0..LAST_READS_MAX {
                is_read = is_read || keeper.read(key, None).await.is_some();
            }
            unread += u64::from(!is_read);
        }
        let unread = (unread > 0).then(|| format!("{unread} keys could not be read after all was mended"));
        let header = Header {
            seed: plan.seed,
            levels: vec![level.to_string()],
            faults: plan.schedule.iter().map(ToString::to_string).collect(),
            cluster: self.cluster.clone(),
            replicas: self.replicas,
            quiet,
            updates: "said",
            repeated: Vec::new(),
        };
        let notes: Vec<Note> = worked.notes.into_iter().chain(keeper.into_notes()).collect();
        let text = history(notes, &self.keys, zero.0, header);
        std::fs::write(file, text).map_err(|source| CompareError::Write { path: PathBuf::from(file), source })?;
        let faults = plan.schedule.iter().cloned().zip(worked.made);
        Ok(Ran {
            replicas: self.replicas,
            window: (zero.nanos(worked.begin), zero.nanos(worked.begin + plan.window)),
            faults: faults.map(|(planned, made)| Fault::of(planned, made, zero)).collect(),
            counted: worked.counted,
            due: worked.due,
            flaws: flaws.into_iter().chain(unread).collect(),
        })
    }
}

/// What was done in the window.
struct Worked {
    begin: Instant,
    notes: Vec<Note>,
    made: Vec<Made>,
    counted: Counted,
    due: u64,
    flaws: Vec<String>,
}

impl Bed<'_> {
    /// Lets all clients work while the faults are made and counters are read.
    async fn work(&mut self, plan: &Plan, level: ComparedLevel, progress: &Arc<Progress>) -> Worked {
        let mut meters = Meters::new(self.observer.clone());
        meters.begin().await;
        let times = Times::draw(plan.window, plan.rate, plan.seed);
        let begin = Instant::now();
        let (end, until) = (begin + plan.window, begin + plan.window + LATE_MAX);
        progress.enter(Phase::Running(begin));
        let beats = Beats::start(begin, times, plan.clients);
        let due = beats.total();
        let mut tasks = JoinSet::new();
        for (process, turns) in (0..plan.clients).zip(beats.turns()) {
            let operations = plan.workload().operations(Writer(process));
            let worker = self.worker(process, level).updating_blindly(plan.blind_updates);
            let progress = Arc::clone(progress);
            tasks.spawn(async move { worker.work(turns, operations, until, &progress).await });
        }
        let metered = async {
            while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                sleep(left.min(LOOK_EVERY)).await;
                meters.look().await;
            }
            meters.counted()
        };
        let (made, notes, counted) = tokio::join!(self.stage.play(&plan.schedule, begin, &self.sides), tasks.join_all(), metered);
        sleep_until(end.into()).await;
        let never = due.saturating_sub(progress.operations());
        let flaws = (never > due / 100).then(|| format!("the cluster was slower than the rate: {never} of {due} operations never began"));
        Worked { begin, notes: notes.into_iter().flatten().collect(), made, counted, due, flaws: flaws.into_iter().collect() }
    }

    /// Mends everything, and waits until what faults left undone is done. Returns what kept it from that, such as a node that ended by
    /// itself: what was seen is judged all the same.
    async fn mend(&mut self) -> Option<String> {
        self.sides.join();
        if let Err(error) = self.stage.mend().await {
            return Some(format!("not all could be mended: {error}"));
        }
        let until = Instant::now() + DRAIN_MAX;
        loop {
            match hints_pending(&self.observer).await {
                Some(0) => return None,
                _ if Instant::now() < until => sleep(DRAIN_LOOK_EVERY).await,
                Some(left) => return Some(format!("{left} hints were not delivered within {} s", DRAIN_MAX.as_secs())),
                None => return Some("a node did not tell its hints after all was mended".to_owned()),
            }
        }
    }
}

impl Fault {
    fn of(planned: Planned, made: Made, zero: Zero) -> Self {
        let Made { begin, end, took_effect, effect, .. } = made;
        let nanos = |at: Option<Instant>| at.map(|at| zero.nanos(at));
        Self { planned, begin: nanos(begin), end: nanos(end), took_effect, effect }
    }
}
