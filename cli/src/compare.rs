//! `quorate compare`: the same work under the same faults at several levels, and a report of what each really gave.
//!
//! - *For each level*: a cluster of real processes is started, clients work on it while faults are made, everything is mended and read for the
//!   last time. The history is written, read back and judged: what is judged is what is in the file.
//! - *Nothing is judged by whoever runs the work*: verdicts and measures are the checker's, and those of `quorate check` on the same file.
//! - *Upon the end*: `report.html` and `report.json` beside the histories, and the verdicts as a table. The exit code is the worst of the
//!   levels: 9 if one broke its own promise, 1 if a run was not what it was to be, 8 if nobody knows.
//! - *Upon a level that cannot be run*: the levels before it are reported, and the command fails.
//! - *Upon Ctrl-C or SIGTERM*: no process stays, nor a temporary directory, nor a fault on a cluster that runs anyway; what was written
//!   before stays.

mod subject;
mod table;

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use quorate_checker::format;
use quorate_checker::measure::report::{Level, Report, Run, Verdict};
use quorate_checker::measure::{Subject, measure, report};
use quorate_client::{Client, ConnectError};
use quorate_lab::cluster::{ClusterError, ClusterSpec};
use quorate_lab::compare::{
    CompareError, ComparedLevel, Faults, Phase, Place, Plan, Progress, ScheduleError, StageError, Stop, page, plan as plan_faults,
    run as run_level,
};
use quorate_lab::stop::StopSignals;
use quorate_lab::workload::{Distribution, Mix};
use quorate_ring::NodeId;
use serde::Serialize;

use crate::error::CliError;
use crate::exit::Exit;
use crate::globals::{Globals, Output};
use crate::output;
use crate::planted::Planted;
use crate::progress::Display;

/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Deadline of each operation, unless --timeout says otherwise. Shorter than the client's own: a client that waits sees nothing.
const DEADLINE: Duration = Duration::from_secs(1);

/// Operations of one level that are kept in memory until all is over.
const OPERATIONS_MAX: f64 = 5_000_000.0;
const DEFAULT_BUCKET: &str = "default";
/// How often nodes of clusters of its own ask each other for a sign of life: each tells a delay, and predictions want many.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(50);

/// Compares what levels give: the same work under the same faults, once per level.
///
/// Each level gets a cluster of its own, real processes on this machine, and the same seeded operations and faults. Every operation goes into a
/// history, which is judged afterwards: the level's own promise, linearizability, staleness, sessions, lost updates, availability, latency.
/// What is measured that a level does not promise breaks nothing.
///
/// Written to the directory: report.html, which opens from disk; report.json; history-LEVEL.jsonl for each, as `quorate check` reads it.
#[derive(Clone, Debug, Args)]
pub struct Compare {
    /// The levels, in order: a level, or READ/WRITE such as one/quorum; `+session` behind either gives each client a session.
    #[arg(long, value_delimiter = ',', default_value = "one,quorum,linearizable", value_name = "LEVEL,..")]
    levels: Vec<ComparedLevel>,

    /// The faults: any of kill, pause, partition, one-way, slow, skew, over and over until the end; at stated times as in kill:n2@5s-8s; or
    /// none.
    #[arg(long, default_value = "partition,kill,slow", value_name = "FAULT,..")]
    faults: Faults,

    /// Decides operations and faults [default: drawn, and printed].
    #[arg(long)]
    seed: Option<u64>,

    /// How long the clients work, per level.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,

    /// Where the report and the histories go; made if it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// How many nodes each cluster has.
    #[arg(long, default_value_t = 3, value_name = "COUNT", conflicts_with = "against")]
    nodes: u16,

    /// Clients, each with one operation at a time. They live beside the nodes, and share their side of a partition.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    clients: u16,

    /// How many keys: the fewer, the more clients meet.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    keys: u64,

    /// Which keys are popular: uniform or zipfian.
    #[arg(long, default_value_t)]
    dist: Distribution,

    /// Reads, blind writes, and updates in percent. An update reads, and replaces what it read: by compare-and-set where writes are
    /// linearizable, else by a put with the read's context.
    #[arg(long, default_value = "50r25w25c")]
    mix: Mix,

    /// Let updates below linearizable put blindly, as programs do that know no contexts: then updates are lost, instead of kept as siblings.
    #[arg(long)]
    blind_updates: bool,

    /// Operations that are due a second, of all clients together.
    #[arg(long, default_value_t = 400.0, value_parser = rate)]
    rate: f64,

    /// Use the running cluster at these addresses, instead of clusters of its own. No process can be killed or paused there; other faults
    /// need nodes that were started with --enable-faults. The keys begin with `compare:` and stay. What writes replaced, and so lost updates,
    /// is judged in part only if the cluster has a secret.
    #[arg(long, value_name = "HOST:PORT,..")]
    against: Option<String>,

    /// A setting for every node, as `server` takes it; may be given several times.
    #[arg(long, value_name = "SECTION.KEY=VALUE", conflicts_with = "against")]
    set: Vec<String>,

    #[command(flatten)]
    planted: Planted,
}

/// The comparison failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("cannot find this program's own file")]
    Binary { source: io::Error },
    #[error("cannot listen for signals")]
    Signals { source: io::Error },
    #[error("stopped by a signal before the comparison was over")]
    Interrupted,
    #[error("cannot connect to {seeds}")]
    Connect { seeds: String, source: ConnectError },
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    #[error("the level {level} is asked for twice")]
    Twice { level: ComparedLevel },
    #[error("a cluster of {nodes} nodes has no replica count")]
    Nodes { nodes: u16 },
    #[error("{operations:.0} operations a level are more than memory holds; at most {OPERATIONS_MAX}: lower --rate or --seconds")]
    TooMany { operations: f64 },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("at {level}")]
    Level { level: ComparedLevel, source: CompareError },
    #[error("{}", path.display())]
    Unreadable { path: PathBuf, source: format::ReadError },
}

impl From<Failure> for CliError {
    fn from(error: Failure) -> Self {
        let exit = match &error {
            Failure::Schedule(_) | Failure::Twice { .. } | Failure::Nodes { .. } | Failure::TooMany { .. } => Exit::Usage,
            Failure::Level { source: CompareError::Level(_) | CompareError::Stage(StageError::NotOurProcess { .. }), .. } => Exit::Usage,
            Failure::Level { source: CompareError::Cluster(ClusterError::NodeCount { .. }), .. } => Exit::Usage,
            Failure::Level { source: CompareError::Load { .. }, .. } | Failure::Connect { .. } => Exit::Unavailable,
            _ => Exit::Failure,
        };
        Self::new(exit, error)
    }
}

/// What `--output json` prints at the end.
#[derive(Serialize)]
struct ReportFields<'a> {
    outcome: &'static str,
    exit: Exit,
    verdict: Verdict,
    seed: u64,
    report: String,
    levels: Vec<LevelFields<'a>>,
}

#[derive(Serialize)]
struct LevelFields<'a> {
    level: &'a str,
    verdict: Verdict,
    history: String,
}

/// Runs the command.
///
/// # Errors
/// Exit 2 for what cannot be compared, 6 if there is no cluster, 1 if files cannot be written. A broken promise is no error here: it is the
/// result, and exit 9.
pub async fn run(command: Compare, globals: &Globals) -> Result<Exit, CliError> {
    let mut signals = StopSignals::take().map_err(|source| Failure::Signals { source })?;
    let stop = Stop::default();
    let work = compare(&command, globals, &stop);
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        _ = signals.next() => stop.now(),
    }
    // Faults are mended first, which a second signal does not wait for.
    tokio::select! {
        done = &mut work => done,
        _ = signals.next() => Err(Failure::Interrupted.into()),
    }
}

async fn compare(command: &Compare, globals: &Globals, stop: &Stop) -> Result<Exit, CliError> {
    let started = SystemTime::now();
    let seed = command.seed.unwrap_or_else(rand::random);
    let place = command.place()?;
    let found = Found::at(&place).await?;
    for level in &command.levels {
        level.check(found.replicas).map_err(|source| Failure::Level { level: *level, source: source.into() })?;
    }
    let plan = command.plan(seed, &found.nodes, globals.timeout.unwrap_or(DEADLINE))?;
    std::fs::create_dir_all(&command.out).map_err(written(&command.out))?;
    let (levels, seconds, faults) = (command.levels.len(), command.seconds, plan.schedule.len());
    output::note(format_args!(
        "seed {seed}: {levels} levels, {seconds} s each, {faults} faults; the report goes to {}",
        command.out.display()
    ));
    let (mut measured, mut failed) = (Vec::new(), None);
    for level in &command.levels {
        match measure_level(&plan, *level, &place, &command.out, stop).await {
            Ok(one) => {
                output::note(table::line(&one));
                measured.push(one);
            }
            Err(Failure::Level { source: CompareError::Stopped, .. }) => {
                failed = Some(Failure::Interrupted);
                break;
            }
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    let Some(error) = failed else {
        let report = command.report(&plan, &found, started, measured);
        let page = write(&report, &command.out)?;
        show(&report, seed, &page, globals.output)?;
        return Ok(exit(report.verdict));
    };
    // What was measured before is not thrown away; and a broken promise is one, whatever failed later.
    let is_broken = measured.iter().any(|level: &Level| level.verdict == Verdict::Violation);
    if !measured.is_empty() {
        let page = write(&command.report(&plan, &found, started, measured), &command.out)?;
        output::note(format_args!("the levels before are reported in {}", page.display()));
    }
    let error = CliError::from(error);
    Err(if is_broken { CliError::new(Exit::CheckFailed, error) } else { error })
}

impl Compare {
    fn place(&self) -> Result<Place, Failure> {
        let mut seen = Vec::new();
        for level in &self.levels {
            if seen.contains(level) {
                return Err(Failure::Twice { level: *level });
            }
            seen.push(*level);
        }
        match &self.against {
            Some(seeds) => Ok(Place::Running { seeds: seeds.clone() }),
            None if self.nodes == 0 => Err(Failure::Nodes { nodes: self.nodes }),
            None => {
                let binary = std::env::current_exe().map_err(|source| Failure::Binary { source })?;
                let mut settings = vec![format!("peer.heartbeat_interval={}ms", HEARTBEAT_INTERVAL.as_millis())];
                settings.extend_from_slice(&self.set);
                let spec = ClusterSpec::new(binary, self.nodes);
                Ok(Place::Own(ClusterSpec { enable_faults: true, bug: self.planted.bug(), settings, ..spec }))
            }
        }
    }

    fn plan(&self, seed: u64, nodes: &[NodeId], deadline: Duration) -> Result<Plan, Failure> {
        let window = Duration::from_secs(self.seconds);
        let operations = self.rate * window.as_secs_f64();
        if operations > OPERATIONS_MAX {
            return Err(Failure::TooMany { operations });
        }
        Ok(Plan {
            seed,
            window,
            clients: self.clients,
            keys: self.keys,
            distribution: self.dist,
            mix: self.mix,
            blind_updates: self.blind_updates,
            rate: self.rate,
            deadline,
            schedule: plan_faults(&self.faults, nodes, window, seed)?,
        })
    }

    /// The report of the levels that were measured.
    fn report(&self, plan: &Plan, found: &Found, started: SystemTime, measured: Vec<Level>) -> Report {
        let run = Run {
            seed: plan.seed.to_string(),
            seconds: plan.window.as_secs_f64(),
            nodes: u32::try_from(found.nodes.len()).expect("few nodes"),
            replicas: found.replicas,
            clients: plan.clients.into(),
            keys: plan.keys,
            rate: Some(plan.rate),
            mix: plan.mix.to_string(),
            cluster: self.against.clone(),
            started: Some(humantime::format_rfc3339_seconds(started).to_string()),
            levels: measured.iter().map(|level| level.name.clone()).collect(),
            faults: plan.schedule.iter().map(subject::planned).collect(),
        };
        report(env!("CARGO_PKG_VERSION"), run, measured)
    }
}

/// What there will be to work on, or is.
struct Found {
    nodes: Vec<NodeId>,
    /// Home replicas of each key.
    replicas: u8,
}

impl Found {
    async fn at(place: &Place) -> Result<Self, Failure> {
        match place {
            Place::Own(spec) => Ok(Self { nodes: (1..=u64::from(spec.nodes)).map(NodeId).collect(), replicas: spec.replicas() }),
            Place::Running { seeds } => {
                let client = Client::connect(seeds).await.map_err(|source| Failure::Connect { seeds: seeds.clone(), source })?;
                let topology = client.topology();
                let bucket = topology.buckets.iter().find(|bucket| bucket.name == DEFAULT_BUCKET);
                Ok(Self { nodes: client.nodes(), replicas: bucket.map_or(1, |bucket| bucket.replicas) })
            }
        }
    }
}

/// Runs a level, showing how far it is, and has its history judged.
async fn measure_level(plan: &Plan, level: ComparedLevel, place: &Place, out: &Path, stop: &Stop) -> Result<Level, Failure> {
    let name = subject::name(level);
    let path = out.join(name.history());
    let progress = Arc::new(Progress::default());
    let work = run_level(plan, level, place, &path, &progress, stop);
    let ran = shown(work, plan, level, &progress).await.map_err(|source| Failure::Level { level, source })?;
    let subject = subject::of(ran, name, plan.seed);
    let judged = tokio::task::spawn_blocking(move || judge(path, &subject));
    judged.await.expect("judging does not panic")
}

/// Reads a history back, and measures it.
fn judge(path: PathBuf, subject: &Subject) -> Result<Level, Failure> {
    let unreadable = |source| Failure::Unreadable { path: path.clone(), source };
    let file = File::open(&path).map_err(|source| unreadable(format::ReadError::Source { line: 1, source }))?;
    let history = format::read(BufReader::new(file)).map_err(unreadable)?;
    Ok(measure(&history, subject))
}

/// Waits for a level, and shows how far it is.
async fn shown<T>(work: impl Future<Output = T>, plan: &Plan, level: ComparedLevel, progress: &Progress) -> T {
    let due = plan.rate * plan.window.as_secs_f64();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a progress bar may be wrong by one")]
    let mut display = Display::new("operations", Some(due as u64));
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => {
                display.end();
                return done;
            }
            () = tokio::time::sleep(LOOK_EVERY) => {
                display.at(progress.operations(), &format!("at {level}: {}", phase(progress.phase(), plan)));
            }
        }
    }
}

fn phase(phase: Phase, plan: &Plan) -> String {
    match phase {
        Phase::Starting => "starting a cluster".to_owned(),
        Phase::Loading => "writing every key".to_owned(),
        Phase::Mending => "mending all faults".to_owned(),
        Phase::Reading => "reading every key at last".to_owned(),
        Phase::Running(begin) => {
            let now = Instant::now().saturating_duration_since(begin);
            let made = plan.schedule.iter().filter(|fault| (fault.from..fault.until).contains(&now));
            let faults: Vec<String> = made.map(|fault| format!("{} {}", fault.kind(), fault.target)).collect();
            let faults = if faults.is_empty() { "no fault".to_owned() } else { faults.join(", ") };
            format!("{} of {} s, {faults}", now.as_secs(), plan.window.as_secs())
        }
    }
}

/// Writes the report in both forms, and returns where the page is.
fn write(report: &Report, out: &Path) -> Result<PathBuf, Failure> {
    let json = serde_json::to_string_pretty(report).expect("a report has text keys and plain values");
    let (data, drawn) = (out.join("report.json"), out.join("report.html"));
    std::fs::write(&data, &json).map_err(written(&data))?;
    std::fs::write(&drawn, page::render(&json)).map_err(written(&drawn))?;
    Ok(drawn)
}

fn show(report: &Report, seed: u64, page: &Path, format: Output) -> Result<(), CliError> {
    match format {
        Output::Json => {
            let levels = report.levels.iter().map(|level| LevelFields {
                level: &level.name,
                verdict: level.verdict,
                history: level.history.clone(),
            });
            output::print_json(&ReportFields {
                outcome: "ok",
                exit: exit(report.verdict),
                verdict: report.verdict,
                seed,
                report: page.display().to_string(),
                levels: levels.collect(),
            })
        }
        Output::Table | Output::Raw => output::print(format_args!("{}\n\nthe whole report: {}", table::of(report), page.display())),
    }
}

fn exit(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Kept => Exit::Ok,
        Verdict::Undecided => Exit::Undecided,
        Verdict::Invalid => Exit::Failure,
        Verdict::Violation => Exit::CheckFailed,
    }
}

fn written(path: &Path) -> impl FnOnce(io::Error) -> Failure + use<> {
    let path = path.to_owned();
    move |source| Failure::Write { path, source }
}

/// The text is no rate.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a rate is a number of operations a second, more than 0 and at most 100000")]
struct InvalidRate;

fn rate(text: &str) -> Result<f64, InvalidRate> {
    text.parse().ok().filter(|rate| *rate > 0.0 && *rate <= 100_000.0).ok_or(InvalidRate)
}
