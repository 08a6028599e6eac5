//! `quorate bench --suite`: nine operations on a cluster of its own, and beside another store.
//!
//! Ours, the rival, ours again: if the machine gets slower or faster meanwhile, the mean of our two rounds does too.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quorate_lab::bench::{BenchLevel, Ledger, Pace, Plan, Row, Sharing, Verdict};
use quorate_lab::cluster::{BucketSpec, Cluster, ClusterSpec, Dir};
use quorate_lab::rival::{self, Comparison};
use quorate_lab::workload::{Distribution, Mix, Workload};
use quorate_protocol::Level;
use quorate_protocol::record::WriteMode;
use serde::Serialize;

use super::{Bed, Bench, BenchError, CLIENTS_CLOSED, DEFAULT_BUCKET, WARM_UP, judged};
use crate::error::CliError;
use crate::exit::Exit;
use crate::globals::{Globals, Output};
use crate::output::{self, Columns};

/// As in the usual installation.
const NODES: u16 = 3;

/// A bucket that takes linearizable writes only.
const LIN_ONLY_BUCKET: &str = "bench-lin-only";

/// One operation that is measured.
#[derive(Clone, Copy)]
struct Task {
    mix: Mix,
    level: Level,
    keys: Keys,
}

/// The keys that are worked on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    /// Everybody works on all.
    All,
    /// Each worker has its own: as many compare-and-sets as there are succeed.
    Apart,
    /// Everybody works on the same one.
    One,
    /// Everybody works on all, in a bucket that takes linearizable writes only.
    LinOnly,
    /// Each worker has its own there.
    ApartLinOnly,
}

/// What is measured, in this order. Linearizable puts come before linearizable reads, so that these do not meet eventual versions, which
/// they would have to bring into the order first.
const TASKS: [Task; 9] = [
    Task { mix: Mix::WRITES, level: Level::Quorum, keys: Keys::All },
    Task { mix: Mix::READS, level: Level::One, keys: Keys::All },
    Task { mix: Mix::READS, level: Level::Quorum, keys: Keys::All },
    Task { mix: Mix::WRITES, level: Level::Linearizable, keys: Keys::All },
    Task { mix: Mix::READS, level: Level::Linearizable, keys: Keys::All },
    Task { mix: Mix::WRITES, level: Level::Linearizable, keys: Keys::LinOnly },
    Task { mix: Mix::CAS, level: Level::Linearizable, keys: Keys::Apart },
    Task { mix: Mix::CAS, level: Level::Linearizable, keys: Keys::ApartLinOnly },
    Task { mix: Mix::CAS, level: Level::Linearizable, keys: Keys::One },
];

/// What was sent to each bucket.
struct Ledgers {
    default: Arc<Ledger>,
    lin_only: Arc<Ledger>,
}

impl Ledgers {
    /// The bucket of a task, with what was sent to it.
    fn of(&self, keys: Keys) -> (&'static str, &Arc<Ledger>) {
        if matches!(keys, Keys::LinOnly | Keys::ApartLinOnly) { (LIN_ONLY_BUCKET, &self.lin_only) } else { (DEFAULT_BUCKET, &self.default) }
    }
}

impl Keys {
    /// What a row calls them, if there is something special about them.
    fn name(self) -> Option<String> {
        match self {
            Self::All | Self::Apart => None,
            Self::One => Some("one key".to_owned()),
            Self::LinOnly | Self::ApartLinOnly => Some("lin_only bucket".to_owned()),
        }
    }
}

/// One contest, as `--output json` prints it behind the rows.
#[derive(Serialize)]
struct ContestFields<'a> {
    op: &'a str,
    ops_per_s: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rival: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
    target: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    met: Option<bool>,
}

/// Starts the cluster, measures, compares and prints.
pub(super) async fn run(command: &Bench, globals: &Globals) -> Result<Exit, CliError> {
    let binary = std::env::current_exe().map_err(|source| BenchError::Binary { source })?;
    let cluster = Cluster::start(spec(command, &binary)).await.map_err(BenchError::from)?;
    output::note(format_args!("{NODES} nodes with their data in {}", cluster.dir().display()));
    let workers = command.clients.unwrap_or(CLIENTS_CLOSED);
    let bed = Bed::connect(&cluster.seeds(), workers, command.connections, globals).await?;
    let seed = command.seed.unwrap_or_else(rand::random);
    output::note(format_args!("seed {seed}; {workers} clients on {} connections per node", bed.clients.len()));
    let ledgers = Ledgers { default: bed.ledger(command.keys), lin_only: bed.ledger(command.keys) };
    let mut verdict = Verdict::default();
    for keys in [Keys::All, Keys::LinOnly] {
        let (bucket, ledger) = ledgers.of(keys);
        let first = TASKS.into_iter().find(|task| task.keys == keys).expect("each bucket is measured");
        bed.load_in(bucket, &plan(command, seed, first), ledger, None).await?;
    }

    let mut rounds = vec![round(command, seed, &bed, &ledgers, &mut verdict).await?];
    let rival = match &command.rival {
        Some(rival) => {
            output::note(format_args!("measuring the rival: {rival}"));
            let rows = rival::measure(rival).await.map_err(BenchError::from)?;
            rounds.push(round(command, seed.wrapping_add(1), &bed, &ledgers, &mut verdict).await?);
            Some(rows)
        }
        None => None,
    };
    drop(bed);
    cluster.shutdown().await.map_err(BenchError::from)?;
    print(&rounds, rival.as_deref(), globals.output)?;
    if globals.output != Output::Json {
        output::print(format_args!("{} reads verified, {} violations", verdict.verified, verdict.violations))?;
    }
    judged(&verdict)
}

fn spec(command: &Bench, binary: &Path) -> ClusterSpec {
    let lin_only = BucketSpec { write_mode: Some(WriteMode::LinOnly), ..BucketSpec::new(LIN_ONLY_BUCKET) };
    let dir = command.dir.clone().map_or(Dir::Temporary, Dir::Kept);
    ClusterSpec { dir, buckets: vec![lin_only], ..ClusterSpec::new(binary, NODES) }
}

fn plan(command: &Bench, seed: u64, task: Task) -> Plan {
    let Task { mix, level, keys } = task;
    let sharing = if matches!(keys, Keys::Apart | Keys::ApartLinOnly) { Sharing::Apart } else { Sharing::Shared };
    let keys = if keys == Keys::One { 1 } else { command.keys };
    let value_bytes = command.value_bytes;
    let workload = Workload { seed, keys, distribution: Distribution::Uniform, mix, value_bytes };
    let duration = Duration::from_secs(command.seconds);
    Plan { workload, level: BenchLevel::from(level), sharing, pace: Pace::Closed, warm_up: WARM_UP, duration }
}

/// Measures every operation once.
async fn round(command: &Bench, seed: u64, bed: &Bed, ledgers: &Ledgers, verdict: &mut Verdict) -> Result<Vec<Row>, BenchError> {
    let mut rows = Vec::new();
    for task in TASKS {
        let (bucket, ledger) = ledgers.of(task.keys);
        let report = bed.measure_in(bucket, &plan(command, seed, task), ledger, None).await?;
        rows.extend(Row::of(&report).into_iter().map(|row| Row { keys: task.keys.name(), ..row }));
        verdict.verified += report.verdict.verified;
        verdict.violations += report.verdict.violations;
        verdict.examples.extend(report.verdict.examples);
        if let Some(row) = rows.last() {
            output::note(format_args!("{}: {:.0}/s", row.name(), row.ops_per_s));
        }
    }
    Ok(rows)
}

fn print(rounds: &[Vec<Row>], rival: Option<&[Row]>, output: Output) -> Result<(), CliError> {
    let comparisons = rival::compare(rounds, rival);
    if output != Output::Json {
        return output::print(table(&comparisons));
    }
    for row in rounds.iter().flatten().chain(rival.into_iter().flatten()) {
        output::print_json(row)?;
    }
    for comparison in &comparisons {
        output::print_json(&ContestFields::of(comparison))?;
    }
    Ok(())
}

impl<'a> ContestFields<'a> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are positive; the cast saturates above")]
    fn of(comparison: &'a Comparison) -> Self {
        Self {
            op: comparison.op,
            ops_per_s: comparison.ops_per_s.round() as u64,
            rival: comparison.rival.as_ref().map(|row| row.op.as_str()),
            ratio: comparison.ratio.map(|ratio| (ratio * 100.0).round() / 100.0),
            target: comparison.target,
            met: comparison.met(),
        }
    }
}

/// Our rounds, the rival's row, and the ratio, one line per operation; times in microseconds.
fn table(comparisons: &[Comparison]) -> Columns {
    // A rival has no levels; without one there is nothing but our own rows.
    let compared = comparisons.iter().any(|comparison| comparison.rival.as_ref().is_some_and(|rival| rival.level.is_none()));
    let ours = ["operation", "#ops/s", "#each round", "#p50", "#p99", "#p99.9", "#failed"];
    let theirs = ["rival", "#its ops/s", "#its p50", "#its p99", "#its failed", "#ratio", "#target", "met"];
    let headings: Vec<&str> = ours.into_iter().chain(theirs.into_iter().filter(|_| compared)).collect();
    let mut columns = Columns::new(&headings);
    for comparison in comparisons {
        let rounds: Vec<String> = comparison.ours.iter().map(|row| format!("{:.0}", row.ops_per_s)).collect();
        let worst = |latency: fn(&Row) -> u64| comparison.ours.iter().map(latency).max().unwrap_or(0).to_string();
        let failed: u64 = comparison.ours.iter().map(|row| row.failed).sum();
        let mut cells = vec![
            comparison.op.to_owned(),
            format!("{:.0}", comparison.ops_per_s),
            rounds.join(" "),
            worst(|row| row.p50_us),
            worst(|row| row.p99_us),
            worst(|row| row.p999_us.unwrap_or(0)),
            failed.to_string(),
        ];
        if let Some(rival) = comparison.rival.as_ref().filter(|_| compared) {
            cells.extend([
                format!("{} {}", rival.store, rival.name()),
                format!("{:.0}", rival.ops_per_s),
                rival.p50_us.to_string(),
                rival.p99_us.to_string(),
                rival.failed.to_string(),
                comparison.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
                format!("{:.2}", comparison.target),
                comparison.met().map(|met| if met { "yes" } else { "no" }.to_owned()).unwrap_or_default(),
            ]);
        }
        columns.row(cells);
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(store: &str, op: &str, level: Option<&str>, ops_per_s: u32) -> Row {
        let line = serde_json::json!({
            "store": store, "op": op, "level": level, "clients": 64, "ops_per_s": ops_per_s, "p50_us": 900, "p99_us": 2_000, "failed": 0
        });
        serde_json::from_value(line).expect("a row")
    }

    fn ours(factor: u32) -> Vec<Row> {
        let quorate = |op, level, rate: u32| row("quorate", op, Some(level), rate * factor);
        let on = |keys: &str, row| Row { keys: Some(keys.to_owned()), ..row };
        vec![
            quorate("put", "quorum", 2_200),
            quorate("get", "one", 15_000),
            quorate("get", "quorum", 8_000),
            quorate("get", "linearizable", 6_000),
            quorate("put", "linearizable", 2_000),
            on("lin_only bucket", quorate("put", "linearizable", 3_000)),
            quorate("cas", "linearizable", 2_000),
            on("lin_only bucket", quorate("cas", "linearizable", 2_500)),
            on("one key", quorate("cas", "linearizable", 500)),
        ]
    }

    fn etcd() -> Vec<Row> {
        [("put", 3_000), ("get", 10_000), ("serializable-get", 20_000), ("cas", 1_500)]
            .map(|(op, rate)| row("etcd", op, None, rate))
            .to_vec()
    }

    #[test]
    fn the_table_sets_ours_against_the_rivals_with_ratio_and_target() {
        let table = table(&rival::compare(&[ours(1), ours(2)], Some(&etcd()))).to_string();
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(lines[0].join(" ").ends_with("ratio target met"), "{table}");
        let ends: Vec<String> = lines[1..].iter().map(|words| words[words.len() - 3..].join(" ")).collect();
        let expected = ["1.10 1.00 yes", "1.12 2.00 no", "1.20 1.50 no"];
        let linearizable = ["0.90 1.50 no", "1.00 0.80 yes", "1.50 1.20 yes", "2.00 2.00 yes", "2.50 2.00 yes", "0.25 0.33 no"];
        assert_eq!(ends, [&expected[..], &linearizable].concat(), "{table}");
        assert!(lines.last().is_some_and(|words| words.contains(&"cas@linearizable")), "compared with our own: {table}");
    }

    #[test]
    fn without_a_rival_the_table_is_ours_alone() {
        let table = table(&rival::compare(&[ours(1)], None)).to_string();
        assert!(!table.contains("target") && table.contains("put@quorum"), "{table}");
    }

    #[test]
    fn a_contest_is_an_object_of_json() {
        let comparisons = rival::compare(&[ours(1), ours(2)], Some(&etcd()));
        let text = serde_json::to_string(&ContestFields::of(&comparisons[0])).expect("serialises");
        assert_eq!(text, r#"{"op":"put@quorum","ops_per_s":3300,"rival":"put","ratio":1.1,"target":1.0,"met":true}"#);
    }
}
