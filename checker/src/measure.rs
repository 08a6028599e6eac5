//! All that is to be said of a run at one level, as data: what `report.json` holds.
//!
//! **Promise.** Every number comes from the history, or is an argument in [`Subject`] because no history shows it (faults, delays, messages).
//! Nothing is judged here that the other checkers do not judge: this module asks them, and puts their answers into one form.
//! `docs/report-format.md` describes it.
//!
//! - *Measured* are the operations that were due in the window: not the loading of the keys, nor the last reads. The checkers see them all,
//!   for a read may show what was loaded.
//! - *The verdict* is on the level's own promise, and the same as that of `quorate check` on the same history. How far the level is from
//!   linearizable is measured beside it and decides nothing.
//! - *A run that did not do what it was to* (a fault that never took effect, too few operations acknowledged) is invalid, and says why.
//!
//! **Not here**: how to run anything, and how to draw it.

mod excerpt;
mod freshness;
mod latency;
mod numbers;
mod outcomes;
mod promise;
mod ratios;
pub mod report;
mod siblings;
mod updates;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use self::promise::Judgement;
use self::report::{Cost, Fault, Level, Report, Run, Verdict, Window};
use crate::gamma::{self, Score};
use crate::history::{History, Nanos, Operation};
use crate::promises::Facts;
use crate::staleness::Staleness;
use crate::verdict::Limits;

/// At most so many counter-examples are given.
pub const COUNTER_EXAMPLES_MAX: usize = 5;
/// At most so many operations of one are listed.
pub const LISTED_MAX: usize = 60;

/// A level as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelName {
    /// The level of reads, without `+session`.
    pub read: String,
    /// The level of writes, without `+session`.
    pub write: String,
    /// Whether each client has a session.
    pub session: bool,
}

impl LevelName {
    /// The name as part of a file name or an anchor.
    #[must_use]
    pub fn slug(&self) -> String {
        self.to_string().replace('/', "+")
    }

    /// The name of the history's file.
    #[must_use]
    pub fn history(&self) -> String {
        format!("history-{}.jsonl", self.slug())
    }
}

impl fmt::Display for LevelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { read, write, session } = self;
        f.write_str(read)?;
        if read != write {
            write!(f, "/{write}")?;
        }
        if *session { f.write_str("+session") } else { Ok(()) }
    }
}

/// One-way delays between nodes, as they were measured. The four may be the same; with one of them empty nothing is predicted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples {
    /// Of writes to replicas.
    pub write: Vec<Nanos>,
    /// Of their acknowledgements, with what a replica takes to make the write durable.
    pub ack: Vec<Nanos>,
    /// Of reads to replicas.
    pub read: Vec<Nanos>,
    /// Of their replies.
    pub reply: Vec<Nanos>,
}

/// What a history does not say of its run.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The level.
    pub level: LevelName,
    /// What is measured, on the history's clock; the end is not before the begin.
    pub window: Window,
    /// Home replicas of each key, at most [`crate::promises::REPLICAS_MAX`].
    pub replicas: u8,
    /// What became of the faults that were planned.
    pub faults: Vec<Fault>,
    /// Delays, for the prediction.
    pub delays: Samples,
    /// Seed of the prediction.
    pub seed: u64,
    /// Trials of the prediction, more than 0; [`crate::prediction::TRIALS`] will do.
    pub trials: u32,
    /// Messages between nodes within the window, if they were counted.
    pub messages: Option<u64>,
    /// Fsyncs of all nodes within the window, if they were counted.
    pub fsyncs: Option<u64>,
    /// With fewer operations answered in the window the run is invalid.
    pub ok_min: u64,
    /// Why else the run was not what it was to be, in sentences.
    pub invalid: Vec<String>,
    /// How much is tried for keys that need a search to be held to linearizability where it was not promised.
    pub limits: Limits,
}

/// The operations that are measured.
#[derive(Clone, Copy)]
struct Measured<'a> {
    history: &'a History,
    window: Window,
}

impl<'a> Measured<'a> {
    /// When an operation was to begin.
    fn due(operation: &Operation) -> Nanos {
        let due = operation.detail.as_deref().and_then(|detail| detail.due);
        due.map_or(operation.call, |due| due.min(operation.call))
    }

    fn has(self, index: usize) -> bool {
        let due = Self::due(&self.history.operations[index]);
        (self.window.begin_ns..self.window.end_ns).contains(&due)
    }

    fn operations(self) -> impl Iterator<Item = &'a Operation> {
        (0..self.history.operations.len()).filter(move |index| self.has(*index)).map(move |index| &self.history.operations[index])
    }
}

/// Measures a history.
///
/// # Panics
/// If the subject's window or replicas are not in their bounds.
#[must_use]
pub fn measure(history: &History, subject: &Subject) -> Level {
    let Subject { level, window, replicas, .. } = subject;
    assert!(window.begin_ns <= window.end_ns, "a window ends after it begins");
    let facts = Facts::of(history, Some(*replicas));
    let measured = Measured { history, window: *window };
    let reads = freshness::Reads::of(measured);
    let judgement = Judgement::of(history, &facts, subject, &reads.stale);
    let operations = outcomes::operations(measured);
    let cost = cost(subject, operations.all.ok);
    let invalid = invalid(subject, operations.all.ok);
    let promise = judgement.promise(history, &facts, level, *replicas);
    Level {
        name: level.to_string(),
        slug: level.slug(),
        read: level.read.clone(),
        write: level.write.clone(),
        session: level.session,
        history: level.history(),
        verdict: promise::verdict(promise.verdict, &invalid),
        invalid,
        window: *window,
        faults: subject.faults.clone(),
        promise,
        linearizability: judgement.linearizability(history),
        staleness: reads.staleness(),
        gamma: gamma(history),
        freshness: reads.freshness(subject),
        sessions: facts.allowing(|allow| freshness::sessions(measured, allow)),
        lost_updates: updates::lost(measured),
        lost_writes: judgement.lost_writes(),
        siblings: siblings::of(measured),
        conflicts: outcomes::conflicts(measured),
        availability: outcomes::availability(measured),
        latency: latency::of(measured),
        operations,
        cost,
        counter_examples: excerpt::counter_examples(history, &level.slug(), &judgement, &reads.stale),
    }
}

/// A whole report from its levels, in the order in which they ran.
#[must_use]
pub fn report(version: &str, run: Run, levels: Vec<Level>) -> Report {
    let verdict = levels.iter().fold(Verdict::Kept, |worst, level| worst.worse(level.verdict));
    let ratios = ratios::of(&levels);
    Report { format: report::FORMAT, version: version.to_owned(), run, verdict, exit: verdict.exit(), levels, ratios }
}

/// The stale reads by their index, those outside the window too.
type Stale = BTreeMap<usize, Staleness>;

fn invalid(subject: &Subject, ok: u64) -> Vec<String> {
    let idle = subject.faults.iter().filter(|fault| !fault.took_effect);
    let mut invalid: Vec<String> = idle.map(|fault| format!("the fault {} {} never took effect", fault.kind, fault.target)).collect();
    if ok < subject.ok_min {
        invalid.push(format!("{ok} operations were acknowledged, fewer than {}", subject.ok_min));
    }
    invalid.extend(subject.invalid.iter().cloned());
    invalid
}

fn cost(subject: &Subject, ok: u64) -> Cost {
    let each = |count: Option<u64>| count.and_then(|count| numbers::quotient(count, ok));
    Cost {
        messages: subject.messages,
        fsyncs: subject.fsyncs,
        messages_per_operation: each(subject.messages),
        fsyncs_per_operation: each(subject.fsyncs),
    }
}

fn gamma(history: &History) -> report::Gamma {
    let (mut widths, mut never, mut unmeasured) = (Vec::new(), 0, 0);
    for gamma in gamma::check(history) {
        match gamma.score {
            Score::Widen { by, .. } => widths.push(by),
            Score::Never { .. } => never += 1,
            Score::Unmeasured(_) => unmeasured += 1,
        }
    }
    let measured = widths.len() as u64;
    report::Gamma {
        keys: measured + never + unmeasured,
        measured,
        never,
        unmeasured,
        above_zero: widths.iter().filter(|by| **by > 0).count() as u64,
        ns: numbers::quantiles(&mut widths),
    }
}
