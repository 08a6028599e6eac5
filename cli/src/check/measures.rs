//! What is measured of a history and decides nothing: how far behind reads were, and how often session guarantees would have been
//! broken, by level.

use quorate_checker::history::{History, Nanos, WordId};
use quorate_checker::promises::Facts;
use quorate_checker::sessions;
use quorate_checker::staleness::{self, Curve};
use quorate_protocol::outcome::Micros;
use serde::Serialize;

use crate::output::Columns;

/// The measures of a history.
#[derive(Debug)]
pub(super) struct Measures {
    staleness: staleness::Report,
    sessions: sessions::Report,
}

/// The measures in JSON.
#[derive(Debug, Serialize)]
pub(super) struct MeasuresFields<'a> {
    staleness: Vec<StalenessFields<'a>>,
    sessions: Vec<SessionFields<'a>>,
}

#[derive(Debug, Serialize)]
struct StalenessFields<'a> {
    level: Option<&'a str>,
    reads: u64,
    stale: u64,
    unjudged: u64,
    k_max: u32,
    t_p50_ns: Option<Nanos>,
    t_p99_ns: Option<Nanos>,
    t_max_ns: Option<Nanos>,
    /// By time since the last acknowledgement; steps without reads are left out.
    curve: Vec<StepFields>,
}

#[derive(Debug, Serialize)]
struct StepFields {
    /// Null: without bound.
    within_ns: Option<Nanos>,
    reads: u64,
    fresh: u64,
}

#[derive(Debug, Serialize)]
struct SessionFields<'a> {
    guarantee: String,
    level: Option<&'a str>,
    judged: u64,
    violations: u64,
}

impl Measures {
    pub(super) fn of(history: &History, facts: &Facts) -> Self {
        let staleness = staleness::check(history, &Curve::BOUNDS);
        Self { staleness, sessions: facts.allowing(|allow| sessions::check(history, allow)) }
    }

    pub(super) fn fields<'a>(&self, history: &'a History) -> MeasuresFields<'a> {
        let text = |level: &Option<WordId>| level.map(|level| history.names.word_text(level));
        let staleness = self.staleness.levels.iter().map(|(level, found)| StalenessFields {
            level: text(level),
            reads: found.reads,
            stale: found.stale(),
            unjudged: found.unjudged,
            k_max: k_max(found),
            t_p50_ns: found.t_quantile(0.5),
            t_p99_ns: found.t_quantile(0.99),
            t_max_ns: found.t_quantile(1.0),
            curve: curve(found),
        });
        let sessions = self.sessions.by_level.iter().map(|((guarantee, level), rate)| SessionFields {
            guarantee: guarantee.to_string(),
            level: text(level),
            judged: rate.judged,
            violations: rate.violations,
        });
        MeasuresFields { staleness: staleness.collect(), sessions: sessions.collect() }
    }

    /// As tables, those that have rows.
    pub(super) fn told(&self, history: &History) -> Vec<String> {
        let text = |level: &Option<WordId>| level.map_or("-", |level| history.names.word_text(level)).to_owned();
        let mut tables = Vec::new();
        if !self.staleness.levels.is_empty() {
            let mut table =
                Columns::new(&["reads at", "#reads", "#stale", "#unjudged", "#writes behind, most", "#time behind, p50", "#p99", "#most"]);
            for (level, found) in &self.staleness.levels {
                let times = [0.5, 0.99, 1.0].map(|rank| time(found.t_quantile(rank)));
                let counts = [found.reads, found.stale(), found.unjudged, u64::from(k_max(found))].map(|count| count.to_string());
                table.row(std::iter::once(text(level)).chain(counts).chain(times));
            }
            tables.push(table.to_string());
        }
        if !self.sessions.by_level.is_empty() {
            let mut table = Columns::new(&["guarantee, measured", "reads at", "#judged", "#broken", "#rate"]);
            for ((guarantee, level), rate) in &self.sessions.by_level {
                let fraction = rate.fraction().map_or_else(|| "-".to_owned(), |fraction| format!("{:.2}%", fraction * 100.0));
                table.row([guarantee.to_string(), text(level), rate.judged.to_string(), rate.violations.to_string(), fraction]);
            }
            tables.push(table.to_string());
        }
        tables
    }
}

fn time(t: Option<Nanos>) -> String {
    t.map_or_else(|| "-".to_owned(), |t| Micros(t / 1_000).to_string())
}

fn k_max(found: &staleness::Level) -> u32 {
    found.k.last_key_value().map_or(0, |(k, _)| *k)
}

fn curve(found: &staleness::Level) -> Vec<StepFields> {
    let buckets = found.curve.buckets.iter().filter(|bucket| bucket.reads > 0);
    buckets.map(|bucket| StepFields { within_ns: bucket.within, reads: bucket.reads, fresh: bucket.fresh }).collect()
}
