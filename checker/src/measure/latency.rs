//! How long operations took, from the moment at which they were due.
//!
//! A sender that is late because an earlier answer was late would hide that wait if one counted from its own call (coordinated
//! omission). Operations without `due` count from their call.

use super::Measured;
use super::numbers::quantile;
use super::outcomes::{Answer, kind};
use super::report::{Bar, Kind, Latency, Series};
use crate::history::Nanos;

/// Ten bounds a decade, evenly on a logarithmic scale, in thousandths.
const MANTISSAS: [Nanos; 10] = [1_000, 1_259, 1_585, 1_995, 2_512, 3_162, 3_981, 5_012, 6_310, 7_943];

pub(super) fn of(measured: Measured<'_>) -> Latency {
    let [mut all, mut read, mut write, mut cas] = [const { Vec::<Nanos>::new() }; 4];
    for operation in measured.operations().filter(|operation| Answer::of(operation).is_ok()) {
        let Some(end) = operation.end else { continue };
        let took = end - Measured::due(operation);
        all.push(took);
        match kind(operation) {
            Kind::Read => read.push(took),
            Kind::Write | Kind::Delete => write.push(took),
            Kind::Cas => cas.push(took),
        }
    }
    let [all, read, write, cas] = [all, read, write, cas].map(series);
    Latency { all, read, write, cas }
}

fn series(mut times: Vec<Nanos>) -> Series {
    times.sort_unstable();
    Series {
        count: times.len() as u64,
        p50_ns: quantile(&times, 500),
        p99_ns: quantile(&times, 990),
        p999_ns: quantile(&times, 999),
        max_ns: times.last().copied(),
        histogram: histogram(&times),
    }
}

/// The bars of sorted times, without gaps from the first that is not empty to the last.
fn histogram(sorted: &[Nanos]) -> Vec<Bar> {
    let Some(last) = sorted.last() else { return Vec::new() };
    let mut bars: Vec<Bar> = Vec::new();
    let mut from = 0;
    let mut counted = 0;
    for bound in bounds() {
        let up_to = sorted.partition_point(|time| *time <= bound);
        if up_to > 0 {
            bars.push(Bar { from_ns: from, within_ns: bound, count: (up_to - counted) as u64 });
        }
        (from, counted) = (bound, up_to);
        if bound >= *last {
            break;
        }
    }
    bars
}

/// From 1 us on, for ever. What is shorter is in the first bar.
fn bounds() -> impl Iterator<Item = Nanos> {
    let decades = std::iter::successors(Some(1), |decade: &Nanos| decade.checked_mul(10));
    let bounds = decades.flat_map(|decade| MANTISSAS.iter().map(move |mantissa| mantissa.saturating_mul(decade)));
    bounds.chain([Nanos::MAX])
}
