//! How far behind the measured reads were, and how far they were to be expected to be.
//!
//! A failed cas that says what it saw is no read here, though the checkers use it as one.

use super::numbers::{percent, quantile, quantiles, wilson};
use super::outcomes::kind;
use super::report::{Delay, Delays, Freshness, Kind, Point, Predicted, Rate, Sessions, Staleness, Step};
use super::{Measured, Stale, Subject};
use crate::finding::Allowances;
use crate::history::Nanos;
use crate::level::{Access, Promise, copies};
use crate::prediction::{self, Prediction, Quorums};
use crate::sessions::{self, Guarantee};
use crate::staleness::{self, Curve};

/// So many points draw the predicted curve, and two more.
const POINTS: usize = 60;

/// The reads of the window.
pub(super) struct Reads {
    judged: u64,
    unjudged: u64,
    age: Vec<Nanos>,
    versions: Vec<u64>,
    /// Time since the last acknowledgement, and whether it was fresh: of the reads that had one. Ascending.
    since_ack: Vec<(Nanos, bool)>,
    /// The stale reads of the whole history.
    pub(super) stale: Stale,
}

impl Reads {
    pub(super) fn of(measured: Measured<'_>) -> Self {
        let mut reads = Self { judged: 0, unjudged: 0, age: Vec::new(), versions: Vec::new(), since_ack: Vec::new(), stale: Stale::new() };
        staleness::measure(measured.history, |read, staleness| {
            if let Some(staleness) = staleness.filter(|staleness| staleness.k > 0) {
                reads.stale.insert(read, staleness);
            }
            if !measured.has(read) || kind(&measured.history.operations[read]) != Kind::Read {
                return;
            }
            let Some(staleness) = staleness else {
                reads.unjudged += 1;
                return;
            };
            reads.judged += 1;
            reads.since_ack.extend(staleness.since_ack.map(|since_ack| (since_ack, staleness.k == 0)));
            if staleness.k > 0 {
                reads.age.push(staleness.t);
                reads.versions.push(staleness.k.into());
            }
        });
        reads.since_ack.sort_unstable();
        reads
    }

    pub(super) fn staleness(&self) -> Staleness {
        Staleness {
            reads: Rate::of(self.age.len() as u64, self.judged),
            unjudged: self.unjudged,
            age_ns: quantiles(&mut self.age.clone()),
            versions: quantiles(&mut self.versions.clone()),
        }
    }

    pub(super) fn freshness(&self, subject: &Subject) -> Freshness {
        let quorums = quorums(subject);
        let prediction = quorums.and_then(|quorums| {
            let Subject { delays, seed, trials, .. } = subject;
            let delays = prediction::Delays { write: &delays.write, ack: &delays.ack, read: &delays.read, reply: &delays.reply };
            prediction::predict(&delays, quorums, *seed, *trials)
        });
        let (mut measured, mut rest, mut from) = (Vec::new(), self.since_ack.as_slice(), 0);
        for within in Curve::BOUNDS.iter().copied().map(Some).chain([None]) {
            let (reads, later) = rest.split_at(rest.partition_point(|(since_ack, _)| within.is_none_or(|within| *since_ack <= within)));
            measured.extend(step((from, within), reads, prediction.as_ref()));
            (rest, from) = (later, within.unwrap_or(from));
        }
        let predicted = quorums.zip(prediction).map(|(quorums, prediction)| predicted(subject, quorums, &prediction));
        Freshness { measured, predicted }
    }
}

/// A step of the measured curve; `None` without reads.
#[expect(clippy::cast_precision_loss, reason = "a number for reports")]
fn step((from, within): (Nanos, Option<Nanos>), reads: &[(Nanos, bool)], prediction: Option<&Prediction>) -> Option<Step> {
    let fresh = reads.iter().filter(|(_, fresh)| *fresh).count() as u64;
    let count = reads.len() as u64;
    let percent = percent(fresh, count)?;
    let (low, high) = wilson(fresh, count);
    let predicted = prediction.map(|prediction| {
        let sum: f64 = reads.iter().map(|(since_ack, _)| prediction.fresh_at(*since_ack)).sum();
        (100.0 * sum / count as f64).clamp(0.0, 100.0)
    });
    Some(Step {
        from_ns: from,
        within_ns: within,
        reads: count,
        fresh,
        percent,
        low_percent: low,
        high_percent: high,
        predicted_percent: predicted,
    })
}

/// What the model is to count; `None` for levels of which it says nothing. Reads here ask no more replicas than they need.
fn quorums(Subject { level, replicas: n, .. }: &Subject) -> Option<Quorums> {
    let linearizable = [&level.read, &level.write].map(|level| Promise::of_level(level) == Promise::Linearizable);
    if level.session || linearizable.contains(&true) {
        return None;
    }
    let (r, w) = (copies(&level.read, Access::Read, *n)?, copies(&level.write, Access::Write, *n)?);
    Some(Quorums { n: *n, r, w, asks: r })
}

fn predicted(subject: &Subject, Quorums { n, r, w, .. }: Quorums, prediction: &Prediction) -> Predicted {
    let delay = |samples: &[Nanos]| {
        let mut samples = samples.to_vec();
        samples.sort_unstable();
        Delay {
            samples: samples.len() as u64,
            p50_ns: quantile(&samples, 500),
            p99_ns: quantile(&samples, 990),
            max_ns: samples.last().copied(),
        }
    };
    let delays = &subject.delays;
    Predicted {
        n,
        r,
        w,
        trials: prediction.trials() as u64,
        delays: Delays { write: delay(&delays.write), ack: delay(&delays.ack), read: delay(&delays.read), reply: delay(&delays.reply) },
        points: prediction.points(POINTS).into_iter().map(|(t_ns, p)| Point { t_ns, percent: 100.0 * p }).collect(),
    }
}

/// Session guarantees of the measured reads.
pub(super) fn sessions(measured: Measured<'_>, allow: &Allowances<'_>) -> Sessions {
    let wanted = |index: usize| measured.has(index) && kind(&measured.history.operations[index]) == Kind::Read;
    let report = sessions::check_reads(measured.history, allow, &wanted);
    let rate = |wanted: Guarantee| {
        let rates = report.by_level.iter().filter(|((guarantee, _), _)| *guarantee == wanted).map(|(_, rate)| rate);
        let (judged, violations) = rates.fold((0, 0), |(judged, violations), rate| (judged + rate.judged, violations + rate.violations));
        Rate::of(violations, judged)
    };
    Sessions { read_your_writes: rate(Guarantee::ReadYourWrites), monotonic_reads: rate(Guarantee::MonotonicReads) }
}
