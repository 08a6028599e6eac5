//! `quorate check`: any history in our format, held to what its levels promise.
//!
//! | judged | of which operations | decides the exit code |
//! |---|---|---|
//! | linearizability, key by key | those at `linearizable`, and those that name no level | yes |
//! | X + Y > N, and monotonic reads at `quorum` and `all` | those at levels that we know (`quorate_checker::promises`) | yes |
//! | read-your-writes and monotonic reads | those at a level with `+session` | yes |
//! | siblings, causality, durability, dots, convergence | all, where the history has the evidence | yes |
//! | exactly once, growing tokens | counters made of cas; linearizable operations that say their token | yes |
//! | staleness, session guarantees at every level | reads | no: measured (`measures.rs`) |
//!
//! *With `--sample`* nothing is checked; a history is made (`sample.rs`).
//!
//! *Upon a key*: one with linearizable operations alone is judged exactly, as a register; by search, where values are not unique. One that
//! takes eventual writes too is judged by search as a multi-value register, without its eventual reads: they keep their own levels'
//! promises. That works for short histories; the search ends at `--limit`, and the key is undecided.
//!
//! *With `--hold-to linearizable`* every operation is judged as if it had promised linearizability, and nothing else decides.
//!
//! **Header.** Members of a history's header that a checker cannot find out:
//!
//! | member | what | without it |
//! |---|---|---|
//! | `replicas` | N | levels such as `r2w1` promise nothing |
//! | `quiet` | nanoseconds from which on all faults were healed and repairs done | the last reads say nothing of the end |
//! | `vanished` | positions, from 0, of writes whose every copy went with a lost disk | none did |
//! | `disks_lost` | how many disks were lost; a write that was acknowledged by more copies did not vanish, whatever is said | 1 |
//! | `repeated` | positions of writes of which more than one try may have been applied | none was |
//! | `beyond` | what was found broken that no history shows, each in a word | nothing |
//!
//! The simulator writes them all. A history with something `beyond` in which no other promise is broken is undecided: this command
//! did not see it.
//!
//! **A history that proves nothing is no pass.** Keys that the search gave up on, and histories without anything to judge, are
//! undecided: exit 8.

mod measures;
mod promises;
mod sample;

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, ValueEnum};
use quorate_checker::format::{self, ReadError};
use quorate_checker::history::History;
use quorate_checker::promises::{Facts, Judged, REPLICAS_MAX, judge};
use quorate_checker::verdict::Explained;
use quorate_checker::{Limits, Overall, Report, Scope, check_with};
use serde::Serialize;

use self::measures::{Measures, MeasuresFields};
use self::promises::{CheckFields, Told};
use self::sample::Sample;
use crate::error::CliError;
use crate::exit::Exit;
use crate::globals::{Globals, Output};
use crate::output::{self, Columns, Count};
use crate::processor;

/// Checks a recorded history against what its levels promise.
///
/// The file has one JSON object per line: operations with `process`, `op`, `key`, `value`, `call`, `return`, `outcome`; final states
/// of replicas; a header. `bench --history` and the simulator write it, and anything else may. Operations that name no level are held to
/// linearizability.
///
/// Exit 0: every promise was kept. Exit 9: one was broken, and the operations that prove it are told and drawn. Exit 8: nobody knows,
/// because the search for an order ended at --limit, or there was nothing to judge.
#[derive(Clone, Debug, Args)]
pub struct Check {
    /// The history.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// What the operations are held to.
    #[arg(long, value_enum, value_name = "PROMISE", default_value_t)]
    hold_to: HoldTo,

    /// Home replicas of each key, for levels such as r2w1 [default: what the header says; else such levels promise nothing].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=i64::from(REPLICAS_MAX)))]
    replicas: Option<u8>,

    /// States to visit for a key that needs a search, before it is undecided; each takes some hundred bytes.
    #[arg(long, value_name = "STATES", default_value_t = Limits::default().states)]
    limit: u64,

    /// Check nothing: write a linearizable history of so many operations to FILE, which must not exist, to try the checker on.
    #[arg(long, value_name = "OPERATIONS", value_parser = clap::value_parser!(u64).range(1..=u64::from(u32::MAX)), help_heading = "Samples")]
    sample: Option<u64>,

    /// Keys of a sample.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        requires = "sample",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        help_heading = "Samples"
    )]
    keys: u32,

    /// Plant one stale read in a sample.
    #[arg(long, requires = "sample", help_heading = "Samples")]
    stale: bool,
}

/// Which promise decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum HoldTo {
    /// Each operation to its own level's promise, those without a level to linearizability.
    #[default]
    Levels,
    /// All operations to linearizability, whatever their level: shows what a level does not give.
    Linearizable,
}

/// The file is no history.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
struct Malformed {
    path: PathBuf,
    source: ReadError,
}

/// How long each part computed, on one core; and by the clock on the wall, all together.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Seconds {
    read: f64,
    linearizability: f64,
    promises: f64,
    measures: f64,
    wall: f64,
}

/// A history in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Kept,
    Violation,
    Undecided,
    /// What was broken no history shows.
    Beyond,
    /// There was nothing to judge.
    Empty,
}

impl Verdict {
    fn exit(self) -> Exit {
        match self {
            Self::Kept => Exit::Ok,
            Self::Violation => Exit::CheckFailed,
            Self::Undecided | Self::Beyond | Self::Empty => Exit::Undecided,
        }
    }
}

/// What is known of a history.
#[derive(Debug)]
struct Examined {
    linearizability: Report,
    promises: Vec<Judged>,
    /// What was found broken that cannot be judged here.
    beyond: Vec<String>,
    measures: Measures,
    seconds: Seconds,
}

/// What `--output json` prints.
#[derive(Serialize)]
struct ReportFields<'a> {
    outcome: &'static str,
    exit: Exit,
    verdict: Verdict,
    file: &'a Path,
    held_to: HoldTo,
    operations: usize,
    keys: usize,
    linearizability: Explained<'a>,
    promises: Vec<CheckFields<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    beyond: &'a [String],
    #[serde(flatten)]
    measures: MeasuresFields<'a>,
    seconds: Seconds,
}

/// Runs the command.
///
/// # Errors
/// Exit 2 if the file cannot be read or is no history; [`CliError::Stdout`]. A broken promise is no error here: it is the result, and
/// exit 9.
pub fn run(command: &Check, globals: &Globals) -> Result<Exit, CliError> {
    if let Some(operations) = command.sample {
        sample::write(Sample { operations, keys: command.keys, stale: command.stale }, &command.file)?;
        return Ok(Exit::Ok);
    }
    let begin = Instant::now();
    let (history, read) = timed(|| read(&command.file));
    let history = history?;
    let mut examined = examine(&history, command);
    examined.seconds.read = read;
    examined.seconds.wall = begin.elapsed().as_secs_f64();
    let verdict = examined.verdict();
    match globals.output {
        Output::Json => output::print_json(&examined.fields(&history, command, verdict))?,
        Output::Table | Output::Raw => output::print(examined.told(&history, command, verdict))?,
    }
    Ok(verdict.exit())
}

fn read(path: &Path) -> Result<History, CliError> {
    let unreadable = |source: io::Error| CliError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    format::read(BufReader::new(file)).map_err(|error| match error {
        ReadError::Source { source, .. } => unreadable(source),
        source @ ReadError::Line { .. } => CliError::usage(Malformed { path: path.to_owned(), source }),
    })
}

fn examine(history: &History, command: &Check) -> Examined {
    let scope = match command.hold_to {
        HoldTo::Levels => Scope::Promises,
        HoldTo::Linearizable => Scope::Everything,
    };
    let facts = Facts::of(history, command.replicas);
    let (linearizability, judged) = timed(|| {
        let limits = Limits { states: command.limit, ..Limits::default() };
        check_with(history, &limits, scope, &mut || true)
    });
    let (promises, others_judged) = timed(|| match command.hold_to {
        HoldTo::Levels => judge(history, &facts),
        HoldTo::Linearizable => Vec::new(),
    });
    let (measures, measured) = timed(|| Measures::of(history, &facts));
    let seconds = Seconds { linearizability: judged, promises: others_judged, measures: measured, ..Seconds::default() };
    let beyond = facts.beyond;
    Examined { linearizability, promises, beyond, measures, seconds }
}

impl Examined {
    fn verdict(&self) -> Verdict {
        let judged = self.linearizability.operations() > 0 || self.promises.iter().any(|check| check.judged > 0);
        let broken = self.promises.iter().any(|check| !check.findings.is_empty());
        match self.linearizability.overall() {
            _ if broken => Verdict::Violation,
            Overall::Violation => Verdict::Violation,
            Overall::Undecided => Verdict::Undecided,
            Overall::Linearizable if !self.beyond.is_empty() => Verdict::Beyond,
            Overall::Linearizable if judged => Verdict::Kept,
            Overall::Linearizable => Verdict::Empty,
        }
    }

    fn fields<'a>(&'a self, history: &'a History, command: &'a Check, verdict: Verdict) -> ReportFields<'a> {
        ReportFields {
            outcome: "ok",
            exit: verdict.exit(),
            verdict,
            file: &command.file,
            held_to: command.hold_to,
            operations: history.operations.len(),
            keys: history.names.key_count(),
            linearizability: self.linearizability.explain(history),
            promises: self.promises.iter().map(|check| CheckFields::of(check, history)).collect(),
            beyond: &self.beyond,
            measures: self.measures.fields(history),
            seconds: self.seconds,
        }
    }

    fn told(&self, history: &History, command: &Check, verdict: Verdict) -> String {
        let Seconds { read, linearizability, promises, measures, wall } = self.seconds;
        let (operations, keys) = (Count(history.operations.len() as u64, "operation"), Count(history.names.key_count() as u64, "key"));
        let mut sections = vec![format!(
            "{}: {operations} on {keys}\ncomputed: read {read:.2}s, linearizability {linearizability:.2}s, other promises {promises:.2}s, \
             measures {measures:.2}s; {wall:.2}s in all",
            command.file.display()
        )];
        if self.linearizability.operations() > 0 {
            sections.push(self.linearizability.explain(history).to_string());
        }
        if !self.promises.is_empty() {
            let mut table = Columns::new(&["check", "#judged", "#broken"]);
            for check in &self.promises {
                table.row([check.name.to_owned(), check.judged.to_string(), check.findings.len().to_string()]);
            }
            sections.push(table.to_string());
        }
        sections.extend(self.promises.iter().map(|judged| Told { judged, history }.to_string()));
        sections.extend(self.measures.told(history));
        sections.push(self.conclusion(verdict, command.hold_to));
        let sections: Vec<&str> = sections.iter().map(|section| section.trim_end()).filter(|section| !section.is_empty()).collect();
        sections.join("\n\n")
    }

    fn conclusion(&self, verdict: Verdict, held_to: HoldTo) -> String {
        let words = match (verdict, held_to) {
            (Verdict::Kept, HoldTo::Levels) => "kept: every operation got what its level promises",
            (Verdict::Kept, HoldTo::Linearizable) => "kept: the history is linearizable",
            (Verdict::Violation, _) => "broken: see above",
            (Verdict::Undecided, _) => "undecided: see above; where the search reached its limit, a larger --limit may help",
            (Verdict::Beyond, _) => "undecided: every operation got what its level promises, and yet something was broken",
            (Verdict::Empty, _) => "undecided: the history has nothing to judge",
        };
        match self.beyond.as_slice() {
            [] => words.to_owned(),
            beyond => {
                format!("{words}\nnot judged, for no history shows it, but its recorder says that it was broken: {}", beyond.join(", "))
            }
        }
    }
}

/// Does work, and says how many seconds it computed.
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let before = processor::time();
    let done = work();
    (done, processor::time().saturating_sub(before).as_secs_f64())
}

#[cfg(test)]
mod tests;
