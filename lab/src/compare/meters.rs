//! What a run cost the cluster, and how long its messages travelled: read from the nodes' metrics while it runs.
//!
//! - *Upon a look*: every node that answers is asked for its counters, and what they grew by is added up. A node that was started again
//!   counts from 0, and what it counted since its last look before is lost: about half a second of one node.
//! - *Upon a node without such counters*: nothing is claimed, the numbers are absent.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use quorate_client::Client;
use quorate_ring::NodeId;
use tokio::time::timeout;

/// Time between two looks.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A node that does not answer within this time is looked at the next time.
const ANSWER_MAX: Duration = Duration::from_millis(500);
/// Most samples of one kind of delay that are kept: more make no prediction better.
const SAMPLES_MAX: u64 = 10_000;

const MESSAGES: &str = "quorate_peer_messages_total";
const FSYNCS: &str = "quorate_fsyncs_total";
const DELAYS: &str = "quorate_peer_delay_seconds_bucket";
const COMMITS: &str = "quorate_commit_duration_seconds_bucket";
const HINTS: &str = "quorate_hints_pending";

/// What was counted, of all nodes together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Messages between nodes, without heartbeats.
    pub messages: Option<u64>,
    /// Fsyncs.
    pub fsyncs: Option<u64>,
    /// How long messages travelled from a node to another, in nanoseconds, as far as the bounds of a histogram tell.
    pub out: Vec<u64>,
    /// The way back.
    pub back: Vec<u64>,
    /// How long a replica took to make a write durable.
    pub commits: Vec<u64>,
}

/// The counters of all nodes.
#[derive(Debug)]
pub(super) struct Meters {
    observer: Client,
    last: BTreeMap<NodeId, BTreeMap<String, f64>>,
    grown: BTreeMap<String, f64>,
}

impl Meters {
    pub(super) fn new(observer: Client) -> Self {
        Self { observer, last: BTreeMap::new(), grown: BTreeMap::new() }
    }

    /// Looks for the first time: what was counted before does not count.
    pub(super) async fn begin(&mut self) {
        self.look().await;
        self.grown.clear();
    }

    /// Adds what was counted since the last look.
    pub(super) async fn look(&mut self) {
        for (node, now) in texts(&self.observer).await {
            let now: BTreeMap<String, f64> = series(&now).map(|(name, value)| (name.to_owned(), value)).collect();
            let known = self.last.get(&node);
            for (name, value) in &now {
                // What a node counted before anybody looked is not of this run.
                let Some(known) = known else { break };
                let before = known.get(name).copied().unwrap_or(0.0);
                // A counter that went back began anew.
                let grown = if *value >= before { value - before } else { *value };
                *self.grown.entry(name.clone()).or_default() += grown;
            }
            self.last.insert(node, now);
        }
    }

    pub(super) fn counted(&self) -> Counted {
        let named = |name: &'static str| self.grown.iter().filter(move |(series, _)| series_name(series) == name);
        let total = |name: &'static str, counts: &dyn Fn(&str) -> bool| {
            let mut values = named(name).filter(|(series, _)| counts(series)).map(|(_, value)| whole(*value)).peekable();
            values.peek().is_some().then_some(())?;
            Some(values.sum())
        };
        let histogram = |name: &'static str, label: &str| {
            let mut bounds: BTreeMap<u64, u64> = BTreeMap::new();
            for (series, count) in named(name).filter(|(series, _)| series.contains(label)) {
                if let Some(bound) = bound(series) {
                    *bounds.entry(bound).or_default() += whole(*count);
                }
            }
            samples(&bounds)
        };
        Counted {
            messages: total(MESSAGES, &|series| !series.contains("heartbeat")),
            fsyncs: total(FSYNCS, &|_| true),
            out: histogram(DELAYS, "direction=\"out\""),
            back: histogram(DELAYS, "direction=\"back\""),
            commits: histogram(COMMITS, ""),
        }
    }
}

/// Hints that wait on any node for theirs; `None` if a node did not answer.
pub(super) async fn hints_pending(observer: &Client) -> Option<u64> {
    let texts = texts(observer).await;
    let pending = |text: &str| series(text).filter(|(name, _)| series_name(name) == HINTS).map(|(_, value)| whole(value)).sum::<u64>();
    (texts.len() == observer.nodes().len()).then(|| texts.values().map(|text| pending(text)).sum())
}

/// The metrics of all nodes that answer.
async fn texts(observer: &Client) -> BTreeMap<NodeId, String> {
    let asked = join_all(observer.nodes().into_iter().map(async |node| (node, timeout(ANSWER_MAX, observer.metrics_of(node)).await)));
    asked.await.into_iter().filter_map(|(node, text)| Some((node, text.ok()?.ok()?))).collect()
}

/// The counters of interest in a text of Prometheus' format: name with labels, and value.
fn series(text: &str) -> impl Iterator<Item = (&str, f64)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let values = lines.filter_map(|line| line.rsplit_once(' ').and_then(|(name, value)| Some((name, value.parse().ok()?))));
    values.filter(|(name, _)| [MESSAGES, FSYNCS, DELAYS, COMMITS, HINTS].contains(&series_name(name)))
}

fn series_name(series: &str) -> &str {
    series.split('{').next().unwrap_or(series)
}

/// The upper bound of a histogram's bucket in nanoseconds; `None` for the one without a bound.
fn bound(series: &str) -> Option<u64> {
    let (_, rest) = series.split_once("le=\"")?;
    let seconds: f64 = rest.split('"').next()?.parse().ok()?;
    seconds.is_finite().then(|| whole(seconds * 1e9))
}

/// As many samples as a histogram counted, or as many in proportion: each in the middle of its bucket, on the scale of its bounds.
///
/// `cumulated` has, by bound, how many were at or below it.
fn samples(cumulated: &BTreeMap<u64, u64>) -> Vec<u64> {
    let total = cumulated.values().copied().max().unwrap_or(0);
    let every = total.div_ceil(SAMPLES_MAX).max(1);
    let (mut samples, mut below, mut before) = (Vec::new(), 0_u64, 0_u64);
    for (bound, count) in cumulated {
        // Looks at different moments of buckets that grow may differ by a few.
        let count = (*count).max(before);
        let middle = if below == 0 { bound / 2 } else { whole((real(below) * real(*bound)).sqrt()) };
        let here = count / every - before / every;
        samples.extend(std::iter::repeat_n(middle, usize::try_from(here).expect("at most as many as are kept")));
        (below, before) = (*bound, count);
    }
    samples
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters and durations are positive, and far below 2^53")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[expect(clippy::cast_precision_loss, reason = "durations of seconds are far below 2^53 nanoseconds")]
fn real(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP quorate_fsyncs Syncs.\n# TYPE quorate_fsyncs counter\nquorate_fsyncs_total 17\n\
        quorate_peer_messages_total{kind=\"request\"} 40\nquorate_peer_messages_total{kind=\"heartbeat\"} 9\n\
        quorate_peer_delay_seconds_bucket{direction=\"out\",le=\"0.001\"} 3\n\
        quorate_peer_delay_seconds_bucket{direction=\"out\",le=\"0.002\"} 5\n\
        quorate_peer_delay_seconds_bucket{direction=\"out\",le=\"+Inf\"} 6\nother_total 3\n";

    #[test]
    fn counters_of_interest_are_found_with_their_labels() {
        let found: Vec<_> = series(TEXT).collect();
        assert_eq!(found.len(), 6);
        assert!(found.contains(&("quorate_peer_messages_total{kind=\"heartbeat\"}", 9.0)));
        assert_eq!((bound(found[3].0), bound(found[5].0)), (Some(1_000_000), None));
    }

    #[test]
    fn a_histogram_becomes_as_many_samples_in_the_middle_of_their_buckets() {
        let cumulated = BTreeMap::from([(1_000_000, 3), (2_000_000, 5), (4_000_000, 5)]);
        assert_eq!(samples(&cumulated), [500_000, 500_000, 500_000, 1_414_214, 1_414_214]);
        let many = BTreeMap::from([(1_000_000, 30_000), (2_000_000, 50_000)]);
        let kept = samples(&many);
        assert_eq!((kept.len(), kept.iter().filter(|sample| **sample == 500_000).count()), (10_000, 6_000));
        assert_eq!(samples(&BTreeMap::new()), Vec::<u64>::new());
    }
}
