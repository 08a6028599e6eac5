//! Comparing with another store, measured by its own program on the same machine in the same minutes.
//!
//! - *Who takes part*: a command that prints one [`Row`] as a line of JSON per operation. What else it prints is passed over.
//! - The other store is measured *between* two rounds of ours, so that a machine that gets slower or faster meanwhile favours nobody.
//! - Each target compares like with like: synced puts that a majority has, reads that may be stale, reads that may not, transactions that
//!   compare the value and put.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Serialize;

use crate::bench::Row;

/// One operation of ours, the other store's that promises the same, and how we should compare.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contest {
    /// Our operation and level, as [`Row::name`] says it.
    pub ours: &'static str,
    /// What it is compared with.
    pub against: Against,
    /// Least ratio of our throughput to that.
    pub target: f64,
}

/// What an operation of ours is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// An operation of the other store.
    Rival(&'static str),
    /// Another operation of ours.
    Ours(&'static str),
}

/// What is compared.
pub const CONTESTS: [Contest; 9] = [
    Contest { ours: "put@quorum", against: Against::Rival("put"), target: 1.0 },
    Contest { ours: "get@one", against: Against::Rival("serializable-get"), target: 2.0 },
    Contest { ours: "get@quorum", against: Against::Rival("get"), target: 1.5 },
    Contest { ours: "get@linearizable", against: Against::Rival("get"), target: 1.5 },
    Contest { ours: "put@linearizable", against: Against::Rival("put"), target: 0.8 },
    Contest { ours: "put@linearizable(lin_only bucket)", against: Against::Rival("put"), target: 1.2 },
    Contest { ours: "cas@linearizable", against: Against::Rival("cas"), target: 2.0 },
    Contest { ours: "cas@linearizable(lin_only bucket)", against: Against::Rival("cas"), target: 2.0 },
    // One key has one order: what its coordinator does not do in one round waits for the next.
    Contest { ours: "cas@linearizable(one key)", against: Against::Ours("cas@linearizable"), target: 0.33 },
];

/// The other store could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum RivalError {
    /// The command could not be started.
    #[error("cannot run the rival's command")]
    Spawn {
        /// What the operating system said.
        source: io::Error,
    },
    /// The command failed.
    #[error("the rival's command failed ({status}):\n{}", stderr.trim_end())]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to stderr.
        stderr: String,
    },
    /// The command printed no row for an operation that is compared.
    #[error("the rival's command printed no line of JSON with \"op\":\"{op}\"; its stderr was:\n{}", stderr.trim_end())]
    Missing {
        /// The operation.
        op: &'static str,
        /// What it wrote to stderr.
        stderr: String,
    },
}

/// Ends the command and all that it started when the measurement is given up.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // An error means that all of it has ended already.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// Runs the command by the shell until it ends, and reads its rows.
///
/// # Errors
/// [`RivalError`] if it fails, or measures nothing that can be compared. Dropping the future kills the command.
pub async fn measure(command: &str) -> Result<Vec<Row>, RivalError> {
    let mut shell = std::process::Command::new("sh");
    shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = tokio::process::Command::from(shell).spawn().map_err(|source| RivalError::Spawn { source })?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let mut group = Group(pid);
    let output = child.wait_with_output().await.map_err(|source| RivalError::Spawn { source })?;
    group.0 = None; // reaped: the number may be another group's from now on
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(RivalError::Failed { status: output.status, stderr });
    }
    let rows = rows(&String::from_utf8_lossy(&output.stdout));
    let missing = CONTESTS.iter().find_map(|contest| match contest.against {
        Against::Rival(op) if !rows.iter().any(|row| row.op == op) => Some(op),
        Against::Rival(_) | Against::Ours(_) => None,
    });
    match missing {
        Some(op) => Err(RivalError::Missing { op, stderr }),
        None => Ok(rows),
    }
}

fn rows(stdout: &str) -> Vec<Row> {
    stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// One line of the comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Our operation and level.
    pub op: &'static str,
    /// Our rounds, in the order in which they ran.
    pub ours: Vec<Row>,
    /// Mean of our operations a second.
    pub ops_per_s: f64,
    /// What it is compared with, if that was measured: of another operation of ours the first round, with the mean of all in it.
    pub rival: Option<Row>,
    /// Our mean over its throughput.
    pub ratio: Option<f64>,
    /// Least ratio that was aimed at.
    pub target: f64,
}

impl Comparison {
    /// Whether the target was met; absent if nothing was compared.
    #[must_use]
    pub fn met(&self) -> Option<bool> {
        self.ratio.map(|ratio| ratio >= self.target)
    }
}

/// Sets our rounds against the other store's rows, in the order of [`CONTESTS`].
#[must_use]
pub fn compare(rounds: &[Vec<Row>], rival: Option<&[Row]>) -> Vec<Comparison> {
    let comparison = |contest: &Contest| {
        let ours = all_rounds(rounds, contest.ours);
        let ops_per_s = mean(&ours);
        let rival = match contest.against {
            Against::Rival(op) => rival.and_then(|rows| rows.iter().find(|row| row.op == op)).cloned(),
            Against::Ours(name) => {
                let others = all_rounds(rounds, name);
                others.first().map(|first| Row { ops_per_s: mean(&others), ..first.clone() })
            }
        };
        let ratio = rival.as_ref().map(|row| ops_per_s / row.ops_per_s.max(f64::MIN_POSITIVE));
        Comparison { op: contest.ours, ours, ops_per_s, rival, ratio, target: contest.target }
    };
    CONTESTS.iter().map(comparison).collect()
}

fn all_rounds(rounds: &[Vec<Row>], name: &str) -> Vec<Row> {
    rounds.iter().filter_map(|round| round.iter().find(|row| row.name() == name)).cloned().collect()
}

fn mean(rows: &[Row]) -> f64 {
    let count = u32::try_from(rows.len()).map_or(1.0, |count| f64::from(count.max(1)));
    rows.iter().map(|row| row.ops_per_s).sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the load generator for the other store prints it.
    const ETCD: &str = concat!(
        "warming up\n",
        r#"{"store":"etcd","op":"put","clients":64,"ops_per_s":4000,"p50_us":15000,"p99_us":30000,"failed":0}"#,
        "\n",
        r#"{"store":"etcd","op":"get","clients":64,"ops_per_s":10000,"p50_us":6000,"p99_us":9000,"failed":0}"#,
        "\n",
        r#"{"store":"etcd","op":"serializable-get","clients":64,"ops_per_s":20000,"p50_us":3000,"p99_us":5000,"failed":0}"#,
        "\n",
        r#"{"store":"etcd","op":"cas","clients":64,"ops_per_s":3000,"p50_us":20000,"p99_us":40000,"failed":1}"#,
        "\n",
    );

    fn ours(op: &str, level: &str, ops_per_s: f64) -> Row {
        let level = Some(level.to_owned());
        let (store, op) = ("quorate".to_owned(), op.to_owned());
        let (p50_us, p99_us, p999_us) = (1, 2, Some(3));
        let (keys, unknown, conflicts, verified, violations) = (None, None, None, None, None);
        Row {
            store,
            op,
            level,
            keys,
            clients: 64,
            ops_per_s,
            p50_us,
            p99_us,
            p999_us,
            wait_max_us: None,
            failed: 0,
            unknown,
            conflicts,
            verified,
            violations,
        }
    }

    fn round(factor: f64) -> Vec<Row> {
        let on = |keys: &str, row| Row { keys: Some(keys.to_owned()), ..row };
        vec![
            ours("put", "quorum", 4_400.0 * factor),
            ours("get", "one", 30_000.0 * factor),
            ours("get", "quorum", 16_000.0 * factor),
            ours("get", "linearizable", 12_000.0 * factor),
            ours("put", "linearizable", 3_600.0 * factor),
            on("lin_only bucket", ours("put", "linearizable", 5_000.0 * factor)),
            ours("cas", "linearizable", 4_500.0 * factor),
            on("lin_only bucket", ours("cas", "linearizable", 6_300.0 * factor)),
            on("one key", ours("cas", "linearizable", 1_800.0 * factor)),
        ]
    }

    #[test]
    fn ratios_are_of_our_mean_to_the_rivals_throughput() {
        let comparisons = compare(&[round(0.75), round(1.25)], Some(&rows(ETCD)));
        let ratios: Vec<_> = comparisons.iter().map(|line| (line.op, line.ratio.expect("compared"), line.met())).collect();
        let expected = [
            ("put@quorum", 1.1, Some(true)),
            ("get@one", 1.5, Some(false)),
            ("get@quorum", 1.6, Some(true)),
            ("get@linearizable", 1.2, Some(false)),
            ("put@linearizable", 0.9, Some(true)),
            ("put@linearizable(lin_only bucket)", 1.25, Some(true)),
            ("cas@linearizable", 1.5, Some(false)),
            ("cas@linearizable(lin_only bucket)", 2.1, Some(true)),
            ("cas@linearizable(one key)", 0.4, Some(true)),
        ];
        assert_eq!(ratios, expected);
        assert!(comparisons.iter().all(|line| line.ours.len() == 2));
    }

    #[test]
    fn without_a_rival_there_are_no_ratios_to_one() {
        let comparisons = compare(&[round(1.0)], None);
        let (ours, rivals): (Vec<_>, Vec<_>) = comparisons.iter().partition(|line| line.op == "cas@linearizable(one key)");
        assert!(rivals.iter().all(|line| line.ratio.is_none() && line.met().is_none() && line.ops_per_s > 0.0));
        assert!(ours.iter().all(|line| line.met() == Some(true)), "it is compared with another one of ours");
    }

    #[test]
    fn our_rows_have_the_shape_of_the_rivals() {
        let text = serde_json::to_string(&ours("put", "quorum", 4_000.0)).expect("serialises");
        let expected =
            r#"{"store":"quorate","op":"put","level":"quorum","clients":64,"ops_per_s":4000,"p50_us":1,"p99_us":2,"p999_us":3,"failed":0}"#;
        assert_eq!(text, expected);
        assert_eq!(rows(&text), [ours("put", "quorum", 4_000.0)]);
    }

    #[tokio::test]
    async fn a_command_is_run_by_the_shell_and_its_rows_are_read() {
        let read = measure(&format!("cat <<'END'\n{ETCD}END\n")).await.expect("measured");
        assert_eq!(read, rows(ETCD));
        assert_eq!(read.len(), 4);
    }

    #[tokio::test]
    async fn a_failing_command_is_quoted() {
        let failed = measure("echo cannot connect >&2; exit 3").await.expect_err("fails");
        assert!(matches!(&failed, RivalError::Failed { status, .. } if status.code() == Some(3)));
        assert!(failed.to_string().contains("cannot connect"));
        let missing = measure(&format!("echo '{}'", ETCD.lines().nth(1).expect("a row"))).await;
        assert!(matches!(missing, Err(RivalError::Missing { op: "serializable-get", .. })));
    }
}
