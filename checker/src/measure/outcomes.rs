//! How operations ended, and when nobody was answered.
//!
//! A compare-and-set that found something else was answered: it counts as `ok` here, and as a conflict.

use std::collections::BTreeMap;

use super::Measured;
use super::numbers::{percent, quantiles, quotient};
use super::report::{Availability, Bucket, Gap, Kind, Operations, Outcomes, Rate, Window};
use crate::history::{Action, Nanos, Operation, Outcome};

const BUCKET_NS: Nanos = 1_000_000_000;

/// How an operation ended, for those who wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Ok,
    /// A compare-and-set that found something else.
    Conflict,
    Refused,
    Unknown,
}

impl Answer {
    pub(super) fn of(operation: &Operation) -> Self {
        let refused = operation.detail.as_deref().is_some_and(|detail| detail.refused);
        match operation.outcome {
            Outcome::Ok => Self::Ok,
            Outcome::Fail if kind(operation) == Kind::Cas && !refused => Self::Conflict,
            Outcome::Fail => Self::Refused,
            Outcome::Unknown => Self::Unknown,
        }
    }

    pub(super) fn is_ok(self) -> bool {
        matches!(self, Self::Ok | Self::Conflict)
    }
}

pub(super) fn kind(operation: &Operation) -> Kind {
    match operation.action {
        Action::Read { .. } => Kind::Read,
        Action::Write { .. } => Kind::Write,
        Action::Delete => Kind::Delete,
        Action::Cas { .. } | Action::CasSiblings(_) => Kind::Cas,
    }
}

#[derive(Clone, Copy, Default)]
struct Counts {
    ok: u64,
    refused: u64,
    unknown: u64,
}

impl Counts {
    fn count(&mut self, answer: Answer) {
        let counter = match answer {
            Answer::Ok | Answer::Conflict => &mut self.ok,
            Answer::Refused => &mut self.refused,
            Answer::Unknown => &mut self.unknown,
        };
        *counter += 1;
    }

    fn outcomes(self, window: Window) -> Outcomes {
        let Self { ok, refused, unknown } = self;
        let total = ok + refused + unknown;
        Outcomes {
            total,
            ok,
            refused,
            unknown,
            ok_percent: percent(ok, total),
            refused_percent: percent(refused, total),
            unknown_percent: percent(unknown, total),
            ok_per_second: quotient(ok.saturating_mul(1_000_000_000), window.end_ns - window.begin_ns).unwrap_or(0.0),
        }
    }
}

pub(super) fn operations(measured: Measured<'_>) -> Operations {
    let [mut all, mut read, mut write, mut cas] = [Counts::default(); 4];
    for operation in measured.operations() {
        let answer = Answer::of(operation);
        all.count(answer);
        match kind(operation) {
            Kind::Read => read.count(answer),
            Kind::Write | Kind::Delete => write.count(answer),
            Kind::Cas => cas.count(answer),
        }
    }
    let [all, read, write, cas] = [all, read, write, cas].map(|counts| counts.outcomes(measured.window));
    Operations { all, read, write, cas }
}

pub(super) fn conflicts(measured: Measured<'_>) -> Rate {
    let answers = measured.operations().filter(|operation| kind(operation) == Kind::Cas).map(Answer::of);
    let (mut judged, mut conflicts) = (0, 0);
    for answer in answers.filter(|answer| answer.is_ok()) {
        judged += 1;
        conflicts += u64::from(answer == Answer::Conflict);
    }
    Rate::of(conflicts, judged)
}

pub(super) fn availability(measured: Measured<'_>) -> Availability {
    let window = measured.window;
    let begins = (0..).map(|bucket| window.begin_ns + bucket * BUCKET_NS).take_while(|begin| *begin < window.end_ns);
    let mut buckets: Vec<(Nanos, Counts)> = begins.map(|begin| (begin, Counts::default())).collect();
    let mut waits: BTreeMap<u64, Vec<Nanos>> = BTreeMap::new();
    for operation in measured.operations() {
        let place = (Measured::due(operation) - window.begin_ns) / BUCKET_NS;
        let answer = Answer::of(operation);
        buckets[usize::try_from(place).expect("a bucket of the window")].1.count(answer);
        waits.entry(operation.process).or_default();
    }
    // What ended in the window may have begun before it.
    let mut answers: Vec<Nanos> = Vec::new();
    for operation in measured.history.operations.iter().filter(|operation| Answer::of(operation).is_ok()) {
        if let Some(end) = operation.end.filter(|end| (window.begin_ns..=window.end_ns).contains(end)) {
            answers.push(end);
            waits.entry(operation.process).and_modify(|answers| answers.push(end));
        }
    }
    let mut waits: Vec<Nanos> = waits.into_values().map(|answers| longest_gap(window, answers).ns).collect();
    Availability {
        bucket_ns: BUCKET_NS,
        buckets: buckets.into_iter().map(|(begin, counts)| bucket(window, begin, counts)).collect(),
        longest_gap: longest_gap(window, answers),
        longest_wait_ns: quantiles(&mut waits),
    }
}

fn bucket(window: Window, begin: Nanos, Counts { ok, refused, unknown }: Counts) -> Bucket {
    Bucket { begin_ns: begin, end_ns: window.end_ns.min(begin + BUCKET_NS), ok, refused, unknown }
}

/// The longest time in the window without an answer; the first, of several.
fn longest_gap(window: Window, mut answers: Vec<Nanos>) -> Gap {
    answers.extend([window.begin_ns, window.end_ns]);
    answers.sort_unstable();
    let gaps = answers.windows(2).map(|pair| Gap { begin_ns: pair[0], end_ns: pair[1], ns: pair[1] - pair[0] });
    gaps.reduce(|longest, gap| if gap.ns > longest.ns { gap } else { longest }).expect("a window has two ends")
}
