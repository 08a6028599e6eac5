//! `quorate bench`: latency and throughput under load, with every read checked.
//!
//! - *Without `--suite`*: a running cluster is measured, at one level after the other. The keys `bench:000000` and so on of the bucket
//!   `default` are written first, and stay unless `--clean-up` says otherwise.
//! - *With `--suite`*: a cluster of its own is started and nine operations are measured. With `--rival` another store is measured
//!   between two rounds of ours, and the ratios are printed.
//! - *Upon an answer that breaks the level's promise*: examples on stderr, and exit 9.
//! - *Upon Ctrl-C or SIGTERM*: no process stays, nor a temporary directory.
//!
//! Workers share a few connections, as the tasks of one program would.

mod clean;
mod suite;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use quorate_client::Client;
use quorate_lab::bench::{
    BenchLevel, ClientTarget, History, HistoryError, Ledger, LoadError, Pace, Plan, Report, Row, Sharing, Verdict, load, run as measure,
};
use quorate_lab::cluster::ClusterError;
use quorate_lab::rival::RivalError;
use quorate_lab::stop::StopSignals;
use quorate_lab::workload::{Distribution, Mix, Operation, VALUE_BYTES_MIN, Workload};
use quorate_protocol::limits::VALUE_BYTES_MAX;
use quorate_protocol::{Access, InvalidLevel, Level};

use crate::error::CliError;
use crate::exit::Exit;
use crate::globals::{Globals, Output};
use crate::output::{self, Columns};

/// Workers of a closed loop, and those of an open one, where they only bound what may be under way.
const CLIENTS_CLOSED: u16 = 64;
const CLIENTS_OPEN: u16 = 512;
const DEFAULT_BUCKET: &str = "default";
/// Operations are verified but not counted for this long at the start.
const WARM_UP: Duration = Duration::from_secs(1);

/// Measures latency and throughput, and verifies what is read.
///
/// A closed loop asks again as soon as it was answered. With --rate operations begin on schedule, and their latency counts from the
/// time at which they were meant to begin.
///
/// All keys begin with `bench:` and are in the bucket `default`. On a cluster with other data they would be in each dump; --clean-up
/// deletes them at the end.
#[derive(Clone, Debug, Args)]
pub struct Bench {
    /// Reads, writes and compare-and-sets in percent, such as 95r5w, 40r40w20c, 100r or 100w; compare-and-sets are at linearizable only.
    #[arg(long, default_value = "50r50w", conflicts_with = "suite")]
    mix: Mix,

    /// The levels to measure, one after the other; `+session` behind a level gives each worker a session.
    #[arg(long, value_delimiter = ',', default_value = "quorum", value_name = "LEVEL,..", conflicts_with = "suite")]
    level: Vec<BenchLevel>,

    /// Operations a second, of all clients together: an open loop.
    #[arg(long, value_parser = rate, conflicts_with = "suite")]
    rate: Option<f64>,

    /// Callers with one operation at a time [default: 64; with --rate at most 512 at a time].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    clients: Option<u16>,

    /// Connections per node that the callers share.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    connections: u16,

    /// How many keys.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    keys: u64,

    /// Which keys are popular: uniform or zipfian.
    #[arg(long, default_value_t, conflicts_with = "suite")]
    dist: Distribution,

    /// Length of the values.
    #[arg(long, default_value_t = 128, value_parser = value_bytes)]
    value_bytes: usize,

    /// How long to measure, per level or operation, after a second of warm-up.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,

    /// Decides the sequence of operations [default: drawn, and printed].
    #[arg(long)]
    seed: Option<u64>,

    /// Write every operation to this file, as JSON lines for a checker.
    #[arg(long, value_name = "FILE", conflicts_with = "suite")]
    history: Option<PathBuf>,

    /// Delete the keys at the end; not after a signal.
    #[arg(long, conflicts_with = "suite")]
    clean_up: bool,

    /// Start a cluster of three nodes and measure put@quorum, get@one, get@quorum, and at linearizable put, get and cas: put also in a
    /// bucket that takes linearizable writes only, cas also with all clients on one key.
    #[arg(long)]
    suite: bool,

    /// Measure another store between two rounds of the suite: a command for the shell that prints a line of JSON per operation.
    #[arg(long, value_name = "COMMAND", requires = "suite")]
    rival: Option<String>,

    /// Where the suite's nodes keep their data [default: a temporary directory, removed at the end].
    #[arg(long, value_name = "DIR", requires = "suite")]
    dir: Option<PathBuf>,
}

/// The measurement failed.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error("cannot find this program's own file")]
    Binary { source: io::Error },
    #[error("cannot listen for signals")]
    Signals { source: io::Error },
    #[error("stopped by a signal before the measurement was over")]
    Interrupted,
    #[error("the nodes tell no bucket default")]
    NoBucket,
    #[error(transparent)]
    Level(#[from] InvalidLevel),
    #[error("the mix has compare-and-sets, which are at linearizable only, not at {level}")]
    CasLevel { level: BenchLevel },
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error(transparent)]
    Rival(#[from] RivalError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("no {operation} at {level} was answered")]
    NothingAnswered { operation: Operation, level: BenchLevel },
    #[error("{violations} answers break the promise of their level")]
    Violations { violations: u64 },
}

impl From<BenchError> for CliError {
    fn from(error: BenchError) -> Self {
        let exit = match error {
            BenchError::Level(_) | BenchError::CasLevel { .. } => Exit::Usage,
            BenchError::Violations { .. } => Exit::CheckFailed,
            BenchError::Load(_) => Exit::Unavailable,
            _ => Exit::Failure,
        };
        Self::new(exit, error)
    }
}

/// Runs the command.
///
/// # Errors
/// Exit 9 when an answer was wrong, 2 for a level that the mix cannot use, 6 when the keys could not be written.
pub async fn run(command: Bench, globals: &Globals) -> Result<Exit, CliError> {
    let mut stop = StopSignals::take().map_err(|source| BenchError::Signals { source })?;
    let work = async { if command.suite { suite::run(&command, globals).await } else { levels(&command, globals).await } };
    tokio::select! {
        done = work => done,
        _ = stop.next() => Err(BenchError::Interrupted.into()),
    }
}

/// What is measured through which connections.
struct Bed {
    clients: Vec<Client>,
    replicas: u8,
    workers: u16,
}

impl Bed {
    async fn connect(seeds: &str, workers: u16, connections: u16, globals: &Globals) -> Result<Self, CliError> {
        let mut clients = Vec::new();
        for _ in 0..connections.min(workers) {
            let builder = Client::builder().seeds(seeds);
            clients.push(globals.timeout.into_iter().fold(builder, quorate_client::ClientBuilder::deadline).connect().await?);
        }
        let topology = clients[0].topology();
        let bucket = topology.buckets.iter().find(|bucket| bucket.name == DEFAULT_BUCKET).ok_or(BenchError::NoBucket)?;
        Ok(Self { replicas: bucket.replicas, clients, workers })
    }

    /// One target per worker; the workers take the connections in turn.
    fn targets(&self, bucket: &str, level: BenchLevel, wants_evidence: bool) -> Vec<ClientTarget> {
        let clients = self.clients.iter().cycle().take(usize::from(self.workers));
        clients.map(|client| ClientTarget::new(client.bucket(bucket), level, wants_evidence)).collect()
    }

    /// A ledger for a run of its own, in which as many workers load as measure.
    fn ledger(&self, keys: u64) -> Arc<Ledger> {
        Arc::new(Ledger::new(rand::random(), keys, self.workers, self.workers.saturating_mul(2)))
    }

    async fn load(&self, plan: &Plan, ledger: &Arc<Ledger>, history: Option<&Arc<History>>) -> Result<(), BenchError> {
        self.load_in(DEFAULT_BUCKET, plan, ledger, history).await
    }

    async fn load_in(&self, bucket: &str, plan: &Plan, ledger: &Arc<Ledger>, history: Option<&Arc<History>>) -> Result<(), BenchError> {
        let level = plan.level.for_loading(self.replicas).into();
        let plan = Plan { level, ..plan.clone() };
        output::note(format_args!("loading {} keys at {level}", plan.workload.keys));
        Ok(load(&plan, self.replicas, self.targets(bucket, level, history.is_some()), ledger, history.map(AsRef::as_ref)).await?)
    }

    async fn measure(&self, plan: &Plan, ledger: &Arc<Ledger>, history: Option<&Arc<History>>) -> Result<Report, BenchError> {
        self.measure_in(DEFAULT_BUCKET, plan, ledger, history).await
    }

    async fn measure_in(
        &self,
        bucket: &str,
        plan: &Plan,
        ledger: &Arc<Ledger>,
        history: Option<&Arc<History>>,
    ) -> Result<Report, BenchError> {
        let targets = self.targets(bucket, plan.level, history.is_some());
        let report = measure(plan, self.replicas, targets, ledger, history).await;
        match report.operations.iter().find(|(_, tally)| tally.ok == 0) {
            Some((operation, _)) => Err(BenchError::NothingAnswered { operation: *operation, level: plan.level }),
            None => Ok(report),
        }
    }
}

/// Measures a running cluster at one level after the other.
async fn levels(command: &Bench, globals: &Globals) -> Result<Exit, CliError> {
    command.check_levels()?;
    let workers = command.clients.unwrap_or(if command.rate.is_some() { CLIENTS_OPEN } else { CLIENTS_CLOSED });
    let bed = Bed::connect(&globals.seeds(), workers, command.connections, globals).await?;
    let seed = command.seed.unwrap_or_else(rand::random);
    output::note(format_args!("seed {seed}; {workers} clients on {} connections per node", bed.clients.len()));
    let history = command.history.as_deref().map(History::create).transpose().map_err(BenchError::from)?.map(Arc::new);
    if let Some(history) = &history {
        history.header(seed, &command.level, &bed.clients[0].topology().cluster);
    }
    let mut verdict = Verdict::default();
    let headings = ["level", "op", "#ops/s", "#p50", "#p99", "#p99.9", "#ok", "#not applied", "#unknown", "#conflicts"];
    let mut table = Columns::new(&headings[..headings.len() - usize::from(!command.mix.has(Operation::Cas))]);
    for level in &command.level {
        let plan = command.plan(seed, *level);
        let ledger = bed.ledger(command.keys);
        bed.load(&plan, &ledger, history.as_ref()).await?;
        output::note(format_args!("measuring {} at {level} for {}s", command.mix, command.seconds));
        let report = bed.measure(&plan, &ledger, history.as_ref()).await?;
        show(&report, &mut table, globals.output)?;
        note_missed(&report);
        let longest = u64::try_from(report.longest_wait.as_micros()).unwrap_or(u64::MAX);
        output::note(format_args!("no client was without an answer for longer than {}", quorate_protocol::outcome::Micros(longest)));
        verdict.verified += report.verdict.verified;
        verdict.violations += report.verdict.violations;
        verdict.examples.extend(report.verdict.examples);
    }
    if let Some(history) = history.and_then(Arc::into_inner) {
        history.finish().map_err(BenchError::from)?;
    }
    if globals.output != Output::Json {
        output::print(&table)?;
        output::print(format_args!("{} reads verified, {} violations", verdict.verified, verdict.violations))?;
    }
    clean::up(&bed.clients[0], command).await;
    judged(&verdict)
}

impl Bench {
    /// Refuses levels that one of the mix's operations does not have; which counts are possible depends on the bucket.
    fn check_levels(&self) -> Result<(), BenchError> {
        let (reads, compares) = (self.mix.has(Operation::Get), self.mix.has(Operation::Cas));
        for level in &self.level {
            if reads && level.level == Level::Any {
                return Err(level.level.needed(Access::Read, 1).expect_err("no read is at any").into());
            }
            if compares && level.level != Level::Linearizable {
                return Err(BenchError::CasLevel { level: *level });
            }
        }
        Ok(())
    }

    fn plan(&self, seed: u64, level: BenchLevel) -> Plan {
        let Self { keys, value_bytes, .. } = *self;
        let workload = Workload { seed, keys, distribution: self.dist, mix: self.mix, value_bytes };
        let pace = self.rate.map_or(Pace::Closed, |rate| Pace::Open { rate });
        Plan { workload, level, sharing: Sharing::Shared, pace, warm_up: WARM_UP, duration: Duration::from_secs(self.seconds) }
    }
}

/// Prints a report's rows as JSON, or adds them to the table.
fn show(report: &Report, table: &mut Columns, output: Output) -> Result<(), CliError> {
    for (row, (_, tally)) in Row::of(report).iter().zip(&report.operations) {
        if output == Output::Json {
            output::print_json(row)?;
            continue;
        }
        let micros = |micros: u64| quorate_protocol::outcome::Micros(micros).to_string();
        let mut cells = vec![
            report.level.to_string(),
            row.op.clone(),
            format!("{:.0}", row.ops_per_s),
            micros(row.p50_us),
            micros(row.p99_us),
            micros(tally.micros_at(0.999)),
            tally.ok.to_string(),
            tally.not_applied.to_string(),
            tally.unknown.to_string(),
        ];
        if report.operations.iter().any(|(operation, _)| *operation == Operation::Cas) {
            cells.push(tally.conflicts.to_string());
        }
        table.row(cells);
    }
    Ok(())
}

fn note_missed(report: &Report) {
    if report.missed > 0 {
        let missed = report.missed;
        output::note(format_args!("the store is slower than the rate: {missed} operations that were due had not begun at the end"));
    }
}

/// Ends well unless an answer was wrong.
fn judged(verdict: &Verdict) -> Result<Exit, CliError> {
    if verdict.violations == 0 {
        return Ok(Exit::Ok);
    }
    for example in &verdict.examples {
        output::note(format_args!("violation: {example}"));
    }
    Err(BenchError::Violations { violations: verdict.violations }.into())
}

/// The text is no rate.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a rate is a number of operations a second, more than 0 and at most 10000000")]
struct InvalidRate;

fn rate(text: &str) -> Result<f64, InvalidRate> {
    text.parse().ok().filter(|rate| *rate > 0.0 && *rate <= 10_000_000.0).ok_or(InvalidRate)
}

/// The values cannot have this length.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a value has {VALUE_BYTES_MIN} to {VALUE_BYTES_MAX} bytes here: it says who wrote it")]
struct InvalidValueBytes;

fn value_bytes(text: &str) -> Result<usize, InvalidValueBytes> {
    text.parse().ok().filter(|bytes| (VALUE_BYTES_MIN..=VALUE_BYTES_MAX).contains(bytes)).ok_or(InvalidValueBytes)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        bench: Bench,
    }

    fn parse(line: &str) -> Result<Bench, clap::Error> {
        Line::try_parse_from(std::iter::once("bench").chain(line.split_whitespace())).map(|line| line.bench)
    }

    #[test]
    fn options_become_a_plan() {
        let bench = parse("--mix 95r5w --level one,quorum+session --rate 500 --keys 7 --dist zipfian --seconds 3").expect("options");
        let plan = bench.plan(9, bench.level[1]);
        assert_eq!(
            (plan.pace, plan.duration, plan.level.to_string()),
            (Pace::Open { rate: 500.0 }, Duration::from_secs(3), "quorum+session".to_owned())
        );
        assert_eq!((plan.workload.seed, plan.workload.keys, plan.workload.distribution), (9, 7, Distribution::Zipfian));
        assert_eq!(parse("").expect("defaults").plan(1, Level::Quorum.into()).pace, Pace::Closed);
    }

    #[test]
    fn impossible_options_are_refused() {
        for line in [
            "--mix 50r",
            "--level two",
            "--rate 0",
            "--rate x",
            "--keys 0",
            "--value-bytes 27",
            "--clients 0",
            "--rival x",
            "--suite --mix 100r",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        let refused = |line: &str| parse(line).expect("options").check_levels();
        assert!(matches!(refused("--level any"), Err(BenchError::Level(InvalidLevel::WriteOnly))));
        assert!(refused("--level any --mix 100w").is_ok());
        assert!(matches!(refused("--level linearizable,quorum --mix 40r40w20c"), Err(BenchError::CasLevel { .. })));
        assert!(refused("--level linearizable,linearizable+session --mix 40r40w20c").is_ok());
    }
}
