//! `quorate bench --suite`: three operations on a cluster of its own, and beside another store.
//!
//! Ours, the rival, ours again: if the machine gets slower or faster meanwhile, the mean of our two rounds does too.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quorate_lab::bench::{BenchLevel, Ledger, Pace, Plan, Row, Verdict};
use quorate_lab::cluster::{Cluster, ClusterSpec, Dir};
use quorate_lab::rival::{self, Comparison};
use quorate_lab::workload::{Distribution, Mix, Workload};
use quorate_protocol::Level;
use serde::Serialize;

use super::{Bed, Bench, BenchError, CLIENTS_CLOSED, WARM_UP, judged};
use crate::error::CliError;
use crate::exit::Exit;
use crate::globals::{Globals, Output};
use crate::output::{self, Columns};

/// As in the usual installation.
const NODES: u16 = 3;

/// What is measured, in this order.
const OPERATIONS: [(Mix, Level); 3] = [(Mix::WRITES, Level::Quorum), (Mix::READS, Level::One), (Mix::READS, Level::Quorum)];

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
    let ledger = bed.ledger(command.keys);
    let mut verdict = Verdict::default();
    bed.load(&plan(command, seed, OPERATIONS[0]), &ledger, None).await?;

    let mut rounds = vec![round(command, seed, &bed, &ledger, &mut verdict).await?];
    let rival = match &command.rival {
        Some(rival) => {
            output::note(format_args!("measuring the rival: {rival}"));
            let rows = rival::measure(rival).await.map_err(BenchError::from)?;
            rounds.push(round(command, seed.wrapping_add(1), &bed, &ledger, &mut verdict).await?);
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
    ClusterSpec { dir: command.dir.clone().map_or(Dir::Temporary, Dir::Kept), ..ClusterSpec::new(binary, NODES) }
}

fn plan(command: &Bench, seed: u64, (mix, level): (Mix, Level)) -> Plan {
    let (keys, value_bytes) = (command.keys, command.value_bytes);
    let workload = Workload { seed, keys, distribution: Distribution::Uniform, mix, value_bytes };
    let duration = Duration::from_secs(command.seconds);
    Plan { workload, level: BenchLevel::from(level), pace: Pace::Closed, warm_up: WARM_UP, duration }
}

/// Measures every operation once.
async fn round(command: &Bench, seed: u64, bed: &Bed, ledger: &Arc<Ledger>, verdict: &mut Verdict) -> Result<Vec<Row>, BenchError> {
    let mut rows = Vec::new();
    for operation in OPERATIONS {
        let plan = plan(command, seed, operation);
        let report = bed.measure(&plan, ledger, None).await?;
        rows.extend(Row::of(&report));
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
    let compared = comparisons.iter().any(|comparison| comparison.rival.is_some());
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
        if let Some(rival) = &comparison.rival {
            cells.extend([
                format!("{} {}", rival.store, rival.op),
                format!("{:.0}", rival.ops_per_s),
                rival.p50_us.to_string(),
                rival.p99_us.to_string(),
                rival.failed.to_string(),
                comparison.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
                format!("{:.1}", comparison.target),
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
        vec![quorate("put", "quorum", 2_200), quorate("get", "one", 15_000), quorate("get", "quorum", 8_000)]
    }

    fn etcd() -> Vec<Row> {
        [("put", 3_000), ("get", 10_000), ("serializable-get", 20_000)].map(|(op, rate)| row("etcd", op, None, rate)).to_vec()
    }

    #[test]
    fn the_table_sets_ours_against_the_rivals_with_ratio_and_target() {
        let table = table(&rival::compare(&[ours(1), ours(2)], Some(&etcd()))).to_string();
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(lines[0].join(" ").ends_with("ratio target met"), "{table}");
        let ends: Vec<String> = lines[1..].iter().map(|words| words[words.len() - 3..].join(" ")).collect();
        assert_eq!(ends, ["1.10 1.0 yes", "1.12 2.0 no", "1.20 1.5 no"], "{table}");
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
