//! A failing run: made small, written down, and named by the command that repeats it.
//!
//! ```text
//! DIR/options.txt     the command that repeats the run, and what the run is made of
//!     trace.txt       what happened, line by line
//!     history.jsonl   what clients saw and replicas held, for `quorate check`
//!     verdict.txt     the promises broken, with the operations that prove it
//!     verdict.json    the same for programs
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use quorate_checker::format;
use quorate_checker::timeline::Timeline;
use quorate_sim::judge::Violation;
use quorate_sim::run::{Report, simulate};
use quorate_sim::shrink::shrink;
use serde::Serialize;
use serde_json::Value;

use super::quiet::quietly;
use super::{Sim, ViolationFields, hash, repeats, replay, violation_fields};
use crate::error::CliError;
use crate::output;

/// Longest time to make a run smaller.
const SHRINK_MAX: Duration = Duration::from_secs(10);
/// Operations drawn of one violation.
const DRAWN_MAX: usize = 12;

/// A failing run, as small as it got.
#[derive(Debug)]
pub(super) struct Failure {
    found: Found,
    /// With its trace.
    report: Report,
    directory: PathBuf,
}

/// The run that failed first, before anything was taken away.
#[derive(Debug, Serialize)]
struct Found {
    repeat: String,
    trace_hash: String,
    operations: usize,
}

/// A failure in JSON.
#[derive(Debug, Serialize)]
pub(super) struct FailureFields<'a> {
    seed: u64,
    repeat: String,
    trace_hash: String,
    directory: &'a Path,
    operations: usize,
    found_as: &'a Found,
    violations: Vec<ViolationFields<'a>>,
}

/// The same options gave two different runs, so that nothing that the simulator says can be repeated.
#[derive(Debug, thiserror::Error)]
#[error("`{repeat}` gave the trace {first:016x}, and then {second:016x}: the simulator depends on more than its seed")]
struct NotRepeatable {
    repeat: String,
    first: u64,
    second: u64,
}

impl Failure {
    /// Shrinks a run if the command wants that, repeats it with its trace, and writes it down.
    ///
    /// # Errors
    /// The directory cannot be written; exit 9 if the run is another when it is repeated.
    pub(super) fn examine(report: Report, command: &Sim) -> Result<Self, CliError> {
        let found = Found { repeat: repeats(&report), trace_hash: hash(&report), operations: report.history.operations.len() };
        let small = if command.no_shrink { report } else { shrunk(report) };
        let report = quietly(|| simulate(&small.options, true));
        if report.trace_hash != small.trace_hash {
            let (repeat, first, second) = (repeats(&small), small.trace_hash, report.trace_hash);
            return Err(CliError::new(crate::exit::Exit::CheckFailed, NotRepeatable { repeat, first, second }));
        }
        let directory = command.out.clone().unwrap_or_else(|| {
            let name = format!("quorate-sim-{}-{}", report.options.seed, hash(&report));
            std::env::temp_dir().join(name)
        });
        write(&report, &directory)?;
        Ok(Self { found, report, directory })
    }

    pub(super) fn fields(&self) -> FailureFields<'_> {
        let Self { found, report, directory } = self;
        FailureFields {
            seed: report.options.seed,
            repeat: repeats(report),
            trace_hash: hash(report),
            directory,
            operations: report.history.operations.len(),
            found_as: found,
            violations: violation_fields(&report.violations),
        }
    }

    /// In words: what was broken, by which operations, and how to see it again.
    pub(super) fn told(&self) -> String {
        let Self { found, report, directory } = self;
        let mut text = String::new();
        if let Some(first) = report.violations.first() {
            write!(text, "violation: {first}\n{}", drawing(report, first)).expect("memory takes text");
        }
        match report.violations.len() {
            0 | 1 => {}
            more => writeln!(text, "and {} more", output::Count(more as u64 - 1, "violation")).expect("memory takes text"),
        }
        let repeat = repeats(report);
        if repeat != found.repeat {
            let (fewer, all) = (report.history.operations.len(), found.operations);
            writeln!(text, "shrunk to {fewer} operations from the {all} of: {}", found.repeat).expect("memory takes text");
        }
        writeln!(text, "written to {}", directory.display()).expect("memory takes text");
        write!(text, "trace hash {}\nrepeat with: {repeat}", hash(report)).expect("memory takes text");
        text
    }
}

fn shrunk(report: Report) -> Report {
    output::note(format_args!("seed {} broke a promise; making it small, for {}s at most", report.options.seed, SHRINK_MAX.as_secs()));
    let end = Instant::now() + SHRINK_MAX;
    quietly(|| shrink(report, || Instant::now() < end))
}

/// The operations that prove a violation, over time.
pub(super) fn drawing(report: &Report, violation: &Violation) -> String {
    if violation.operations.is_empty() || violation.operations.len() > DRAWN_MAX {
        return String::new();
    }
    let rows = Timeline::new(&report.history, &violation.operations).to_string();
    rows.lines().map(|row| format!("  {row}\n")).collect()
}

/// Writes a run that kept its trace.
///
/// # Errors
/// [`CliError::Unwritable`], with the file.
pub(super) fn write(report: &Report, directory: &Path) -> Result<(), CliError> {
    let failed = |path: &Path, source| CliError::Unwritable { path: path.to_owned(), source };
    fs::create_dir_all(directory).map_err(|source| failed(directory, source))?;
    let verdict = serde_json::to_string_pretty(&replay::fields(report, &[])).expect("plain fields serialise");
    let texts = [
        ("options.txt", format!("{}\n{}", repeats(report), report.options)),
        ("trace.txt", report.trace.join("\n") + "\n"),
        ("verdict.txt", replay::verdict(report)),
        ("verdict.json", verdict + "\n"),
    ];
    for (name, text) in texts {
        let path = directory.join(name);
        fs::write(&path, text).map_err(|source| failed(&path, source))?;
    }
    let path = directory.join("history.jsonl");
    File::create(&path).and_then(|file| write_history(report, file)).map_err(|source| failed(&path, source))
}

/// Writes what clients saw, with a header that says what a checker must know of the run.
pub(crate) fn write_history(report: &Report, out: impl io::Write) -> io::Result<()> {
    let mut history = report.history.clone();
    history.header.extend(header(report));
    format::write(&history, BufWriter::new(out))
}

fn header(report: &Report) -> BTreeMap<String, Value> {
    let options = &report.options;
    let beyond = report.violations.iter().filter(|violation| !violation.is_in_history()).map(|violation| violation.kind);
    let beyond: BTreeSet<&str> = beyond.collect();
    let mut header = BTreeMap::from([
        ("seed", options.seed.into()),
        ("repeat", repeats(report).into()),
        ("nodes", options.nodes.into()),
        ("replicas", options.replicas.into()),
        ("faults", options.faults.iter().map(ToString::to_string).collect()),
        ("quiet", report.quiet.into()),
        ("repeated", report.repeated.iter().copied().collect()),
        ("vanished", report.vanished.iter().copied().collect()),
        ("disks_lost", report.disks_lost.into()),
    ]);
    if !beyond.is_empty() {
        header.insert("beyond", beyond.into_iter().collect());
    }
    header.extend(options.core.defect.map(|defect| ("bug", defect.name().into())));
    header.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
