//! What one level costs, set against another.

use super::report::{Level, Ratio};

/// Every pair, the later level against the earlier.
pub(super) fn of(levels: &[Level]) -> Vec<Ratio> {
    let pairs = levels.iter().enumerate().flat_map(|(place, level)| levels[..place].iter().map(move |against| (level, against)));
    pairs.map(|(level, against)| ratio(level, against)).collect()
}

fn ratio(level: &Level, against: &Level) -> Ratio {
    let time = |of: fn(&Level) -> Option<u64>| divided(float(of(level)?), float(of(against)?));
    let number = |of: fn(&Level) -> Option<f64>| divided(of(level)?, of(against)?);
    Ratio {
        level: level.name.clone(),
        against: against.name.clone(),
        p50: time(|level| level.latency.all.p50_ns),
        p99: time(|level| level.latency.all.p99_ns),
        p999: time(|level| level.latency.all.p999_ns),
        ok_per_second: number(|level| Some(level.operations.all.ok_per_second)),
        messages: number(|level| level.cost.messages_per_operation),
        fsyncs: number(|level| level.cost.fsyncs_per_operation),
    }
}

fn divided(one: f64, other: f64) -> Option<f64> {
    (other > 0.0).then(|| one / other)
}

#[expect(clippy::cast_precision_loss, reason = "a number for reports")]
fn float(nanos: u64) -> f64 {
    nanos as f64
}
