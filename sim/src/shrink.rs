//! Making a failing run small while it still fails.
//!
//! **Promise.** What comes out fails in the same way as what went in, and is named by a seed and [`Limits`] alone. Each step takes
//! something away (operations, kinds of fault, clients, keys, nodes) and keeps it away if the run fails all the same.
//!
//! The caller says when to stop: this crate has no clock.
//!
//! Source: Zeller, Hildebrandt, *Simplifying and Isolating Failure-Inducing Input* (2002).

use crate::fault::FaultKind;
use crate::options::{Limits, Options};
use crate::run::{Report, simulate};

/// Shrinks a failing run, as long as `keep_going` says so. Returns the smallest that still fails, the given one if none does.
#[must_use]
pub fn shrink(failed: Report, mut keep_going: impl FnMut() -> bool) -> Report {
    let Some(kind) = failed.violations.first().map(|violation| violation.kind) else { return failed };
    let mut best = failed;
    // What one step takes away, the next ones build on.
    while let Some(smaller) =
        candidates(&best, kind).into_iter().take_while(|_| keep_going()).find_map(|limits| fails_with(&best, kind, limits))
    {
        best = smaller;
    }
    best
}

/// Runs with other limits; the report if it breaks the same promise with less.
fn fails_with(best: &Report, kind: &str, limits: Limits) -> Option<Report> {
    let options = Options::draw(best.options.seed, limits);
    if options == best.options {
        return None;
    }
    let report = simulate(&options, false);
    report.violations.iter().any(|violation| violation.kind == kind).then_some(report)
}

/// What may be taken away, the most rewarding first.
fn candidates(best: &Report, kind: &str) -> Vec<Limits> {
    let Options { limits, operations, clients, nodes, keys, faults, .. } = &best.options;
    let with = |change: &dyn Fn(&mut Limits)| {
        let mut limits = limits.clone();
        change(&mut limits);
        limits
    };
    let mut candidates = Vec::new();
    // Most runs end early by themselves, and what came after the operations that prove the violation did not cause it.
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let proof = best.violations.iter().filter(|violation| violation.kind == kind).filter_map(|violation| violation.operations.iter().max());
    let proof = proof.min().map_or(0, |last| count(last + 1));
    for fewer in [
        proof,
        count(best.history.operations.len()),
        operations / 8,
        operations / 4,
        operations / 2,
        operations * 3 / 4,
        operations - operations.min(&5),
        operations.saturating_sub(1),
    ] {
        if fewer > 0 && fewer < *operations {
            candidates.push(with(&|limits| limits.operations = Some(fewer)));
        }
    }
    let kinds: Vec<FaultKind> = faults.iter().copied().collect();
    if kinds.len() > 2 {
        let (left, right) = kinds.split_at(kinds.len() / 2);
        candidates.push(with(&|limits| limits.without.extend(left)));
        candidates.push(with(&|limits| limits.without.extend(right)));
    }
    candidates.extend(kinds.iter().map(|kind| {
        with(&|limits| {
            limits.without.insert(*kind);
        })
    }));
    let keys = u8::try_from(keys.len()).expect("few keys");
    if keys > 1 {
        candidates.push(with(&|limits| limits.keys = Some(keys - 1)));
    }
    if *clients > 1 {
        candidates.push(with(&|limits| limits.clients = Some(clients - 1)));
    }
    if *nodes > best.options.replicas {
        candidates.push(with(&|limits| limits.nodes = Some(best.options.replicas)));
    }
    candidates
}
