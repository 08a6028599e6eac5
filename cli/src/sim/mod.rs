//! `quorate sim`: whole clusters under virtual time, network, disk and faults, each from one seed, and what came of them.
//!
//! | command | what it does | file |
//! |---|---|---|
//! | `sim --seeds N` | runs N seeds in parallel, adds them up, stops at the first violation | `campaign.rs` |
//! | ... upon a violation | makes the run small, writes it down, prints the command that repeats it | `failure.rs` |
//! | `sim --seed S` | runs one seed and tells what happened | `replay.rs` |
//! | `sim --bug NAME` of a bug that chance comes to too seldom | plays the script that shows it, if no seed does | `story.rs` |
//! | `sim --catalogue FILE` | searches for every planted bug and writes how soon each is found | `catalogue.rs` |
//!
//! **Promises**
//! - What a seed does is decided by the seed and the limits alone. The command that a failure prints ends with exit 9 and the same
//!   trace hash, on any machine.
//! - Of the seeds of a campaign the lowest that fails is reported, however many run at a time.
//! - A campaign of [`ENOUGH_SEEDS`] seeds in which a branch was never taken, or a kind of fault never seen, is no pass: exit 9.
//! - A violation that is an assertion of the protocol is told as one, and not by the panic of a thread (`quiet.rs`).

mod campaign;
mod catalogue;
mod failure;
mod parallel;
mod quiet;
mod replay;
mod story;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::thread;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use quorate_protocol::Defect;
use quorate_sim::campaign::ENOUGH_SEEDS;
use quorate_sim::fault::FaultKind;
use quorate_sim::judge::Violation;
use quorate_sim::options::{Limits, Traffic};
use quorate_sim::run::Report;
use quorate_sim::script::Told;
use serde::Serialize;

use crate::error::CliError;
use crate::exit::Exit;
use crate::globals::Globals;

#[cfg(test)]
pub(crate) use self::failure::write_history;

/// Seeds of a campaign unless the command line says otherwise.
const SEEDS_DEFAULT: u64 = 500;
/// Seeds of a search for a planted bug unless the command line says otherwise: within so many every one is found that has no script.
const BUG_SEEDS_DEFAULT: u64 = ENOUGH_SEEDS;
/// Seeds until the search for a planted bug is given up, in each of a catalogue's trials.
const CATALOGUE_SEEDS_DEFAULT: u64 = ENOUGH_SEEDS;

/// Runs simulated clusters under faults and checks every promise.
///
/// One seed decides everything: the cluster, the workload, the faults, every delay. With --seed one run is told line by line: first
/// what it is made of, then what happens, then the verdict and a hash of the whole trace, which is the same wherever the seed is
/// run again.
///
/// Otherwise --seeds runs are made, one after the other on each core, up to the first that breaks a promise. It is made as small
/// as it gets in ten seconds and written to a directory, with the command that repeats it. Exit 9.
///
/// A clean campaign of 2000 seeds or more must also have taken every branch that the protocol marks and chance comes to, and seen
/// every kind of fault; else it ends with exit 9 too, for what was not tried was not tested.
#[derive(Clone, Debug, Args)]
pub struct Sim {
    /// How many seeds to run [default: 500; with --bug 2000, or none if a script shows it; with --catalogue 2000 in each trial].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,

    /// The first seed.
    #[arg(long, value_name = "S", default_value_t = 1)]
    from: u64,

    /// Run this seed alone and print its trace.
    #[arg(long, value_name = "S", conflicts_with_all = ["seeds", "from", "jobs", "no_shrink", "catalogue"])]
    seed: Option<u64>,

    /// Plant a bug, which the checks must find: exit 9 if they do. A wrong name lists all; docs/bug-catalogue.md explains them.
    ///
    /// A few bugs show so seldom that no seed can be counted on. Each has a script, a story told message by message, which is played
    /// after the seeds if none has failed. Unless --seeds asks for some, it is played at once.
    #[arg(long, value_name = "NAME", value_parser = defects(), hide_possible_values = true)]
    bug: Option<Defect>,

    /// What the keys are for: eventual, linearizable, mixed or once [default: drawn by the seed; with
    /// --bug the one under which it shows].
    ///
    /// eventual: no linearizable operations. linearizable: registers with nothing else. mixed: both on one key. once: counters, which
    /// show what was applied twice.
    #[arg(long, value_name = "KIND", value_parser = workloads(), hide_possible_values = true)]
    workload: Option<Traffic>,

    /// At most so many nodes; never fewer than a key has replicas.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(3..=7), help_heading = "Limits of each run")]
    nodes: Option<u8>,

    /// At most so many keys.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..), help_heading = "Limits of each run")]
    keys: Option<u8>,

    /// At most so many clients.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..), help_heading = "Limits of each run")]
    clients: Option<u8>,

    /// At most so many operations.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Limits of each run")]
    operations: Option<u32>,

    /// Kinds of fault to leave out.
    #[arg(
        long,
        value_name = "KIND,..",
        value_delimiter = ',',
        value_parser = fault_kinds(),
        help_heading = "Limits of each run"
    )]
    without: Vec<FaultKind>,

    /// Runs at a time [default: as many as there are cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,

    /// Report a failing run as it was found. `--from S --seeds 1` shrinks a run whose seed is known.
    #[arg(long)]
    no_shrink: bool,

    /// Print no trace, only what came of it.
    #[arg(long, requires = "seed")]
    no_trace: bool,

    /// Where a failing run is written [default: a directory named after the run, under the system's temporary one; with --seed nowhere].
    #[arg(long, value_name = "DIR", conflicts_with = "catalogue")]
    out: Option<PathBuf>,

    /// Search for every planted bug and write a table of how soon each is found.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bug", "workload", "nodes", "keys", "clients", "operations", "without", "no_shrink"])]
    catalogue: Option<PathBuf>,

    /// How often to search for each bug, in seeds of its own each time.
    #[arg(long, value_name = "N", default_value_t = 15, requires = "catalogue", value_parser = clap::value_parser!(u64).range(1..=1000))]
    trials: u64,
}

/// Runs the command.
///
/// # Errors
/// Files that cannot be written, and [`CliError::Stdout`]. A broken promise is no error here: it is the result, and exit 9.
pub fn run(command: &Sim, globals: &Globals) -> Result<Exit, CliError> {
    match (command.seed, &command.catalogue) {
        (Some(seed), _) => replay::run(command, seed, globals.output),
        (None, Some(file)) => catalogue::run(command, file, globals.output),
        (None, None) => campaign::run(command, globals.output),
    }
}

impl Sim {
    fn limits(&self) -> Limits {
        let Self { bug: defect, nodes, keys, clients, operations, workload, .. } = *self;
        let traffic = workload.or_else(|| defect.and_then(Traffic::showing));
        Limits { nodes, operations, keys, clients, without: self.without.iter().copied().collect::<BTreeSet<_>>(), defect, traffic }
    }

    /// The script that shows the planted bug, if chance does so too seldom.
    fn told(&self) -> Option<&'static Told> {
        self.bug.and_then(Told::of)
    }

    /// Seeds of a campaign.
    fn seeds(&self) -> u64 {
        self.seeds.unwrap_or(match (self.bug, self.told()) {
            (None, _) => SEEDS_DEFAULT,
            (Some(_), None) => BUG_SEEDS_DEFAULT,
            (Some(_), Some(_)) => 0,
        })
    }

    fn jobs(&self) -> usize {
        self.jobs.map_or_else(|| thread::available_parallelism().map_or(1, usize::from), usize::from)
    }
}

/// The command that repeats a run.
fn repeats(report: &Report) -> String {
    format!("quorate sim --seed {}{}", report.options.seed, report.options.limits)
}

/// A trace hash as it is printed.
fn hash(report: &Report) -> String {
    format!("{:016x}", report.trace_hash)
}

/// A broken promise, in JSON.
#[derive(Debug, Serialize)]
struct ViolationFields<'a> {
    kind: &'a str,
    words: &'a str,
    /// Positions in the history, counted from 0.
    operations: &'a [usize],
}

fn violation_fields(violations: &[Violation]) -> Vec<ViolationFields<'_>> {
    let fields = violations.iter();
    fields.map(|violation| ViolationFields { kind: violation.kind, words: &violation.words, operations: &violation.operations }).collect()
}

fn defects() -> impl TypedValueParser<Value = Defect> {
    let names = Defect::ALL.iter().map(|defect| PossibleValue::new(defect.name()).help(defect.summary()));
    PossibleValuesParser::new(names).map(|name| name.parse().expect("the name of a defect"))
}

fn workloads() -> impl TypedValueParser<Value = Traffic> {
    let names = Traffic::ALL.iter().map(|traffic| PossibleValue::new(traffic.name()));
    PossibleValuesParser::new(names).map(|name| name.parse().expect("the name of a workload"))
}

fn fault_kinds() -> impl TypedValueParser<Value = FaultKind> {
    let names = FaultKind::ALL.iter().map(|kind| PossibleValue::new(kind.name()));
    PossibleValuesParser::new(names).map(|name| name.parse().expect("the name of a kind of fault"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use quorate_sim::options::Options;
    use quorate_sim::run::simulate;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        sim: Sim,
    }

    fn parse(line: &str) -> Result<Sim, clap::Error> {
        Line::try_parse_from(line.split_whitespace().skip(1)).map(|line| line.sim)
    }

    /// What a failure prints must be taken by the very command that printed it.
    #[test]
    fn the_command_that_repeats_a_run_says_all_its_limits() {
        let limits = Limits {
            nodes: Some(3),
            operations: Some(40),
            keys: Some(1),
            clients: Some(2),
            without: [FaultKind::Loss, FaultKind::OneWay].into(),
            defect: Some(Defect::ALL[0]),
            traffic: Some(Traffic::Mixed),
        };
        let report = simulate(&Options::draw(7, limits.clone()), false);
        let line = repeats(&report);
        let parsed = parse(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!((parsed.seed, parsed.limits()), (Some(7), limits), "{line}");
    }

    #[test]
    fn an_unknown_bug_is_refused_with_all_names_and_the_nearest() {
        let refused = parse("quorate sim --bug repair-overwrite").expect_err("no such bug").to_string();
        assert!(refused.contains("'repair-overwrites'"), "{refused}");
        for defect in Defect::ALL {
            assert!(refused.contains(defect.name()), "{defect}: {refused}");
        }
        assert!(parse("quorate sim --without loss,flood").is_err());
    }

    #[test]
    fn a_run_alone_is_no_campaign() {
        for line in [
            "--seed 1 --seeds 2",
            "--seed 1 --no-shrink",
            "--seed 1 --jobs 2",
            "--no-trace",
            "--trials 3",
            "--catalogue f --bug x",
            "--nodes 2",
        ] {
            assert!(parse(&format!("quorate sim {line}")).is_err(), "{line}");
        }
        assert!(parse("quorate sim --seed 1 --no-trace --out d").is_ok());
    }
}
