//! A report in twelve lines: a row per question, a column per level. Below it, why a level was judged as it was.

use quorate_checker::measure::report::{Level, LinearizabilityVerdict, Quantiles, Rate, Report, Verdict};
use quorate_protocol::outcome::Micros;

use crate::output::Columns;

/// A row: what is asked, and a level's answer.
type Row = (&'static str, fn(&Level) -> String);

/// With the headings they are twelve lines.
const ROWS: [Row; 11] = [
    ("its own promise", |level| promise(level.verdict).to_owned()),
    ("linearizable", |level| linearizable(level).to_owned()),
    ("stale reads", |level| share(&level.staleness.reads)),
    ("  behind, p50 / most", |level| pair(time(level.staleness.age_ns.p50), time(level.staleness.age_ns.max))),
    ("own write missed / went back", |level| pair(share(&level.sessions.read_your_writes), share(&level.sessions.monotonic_reads))),
    ("lost updates", |level| share(&level.lost_updates)),
    ("siblings made / cas conflicts", |level| pair(level.siblings.made.to_string(), share(&level.conflicts))),
    ("answered / refused / unknown", outcomes),
    ("longest gap, of all / of one", |level| {
        pair(time(Some(level.availability.longest_gap.ns)), wait(&level.availability.longest_wait_ns))
    }),
    ("latency, p50 / p99 / p99.9", latency),
    ("messages / fsyncs per operation", |level| pair(number(level.cost.messages_per_operation), number(level.cost.fsyncs_per_operation))),
];

/// The table, and the sentences that belong to it.
pub(super) fn of(report: &Report) -> String {
    let names: Vec<String> = report.levels.iter().map(|level| format!("#{}", level.name)).collect();
    let headings: Vec<&str> = std::iter::once("").chain(names.iter().map(String::as_str)).collect();
    let mut table = Columns::new(&headings);
    for (question, answer) in ROWS {
        table.row(std::iter::once(question.to_owned()).chain(report.levels.iter().map(answer)));
    }
    let sentences: Vec<String> = report.levels.iter().flat_map(sentences).collect();
    if sentences.is_empty() { table.to_string() } else { format!("{table}\n\n{}", sentences.join("\n")) }
}

/// One level in a line, as soon as it is judged.
pub(super) fn line(level: &Level) -> String {
    let (name, reads) = (&level.name, &level.staleness.reads);
    let told =
        format!("{} of {} reads stale, {} of operations answered", share(reads), reads.judged, percent(level.operations.all.ok_percent));
    format!("{name}: promise {}; {told}", promise(level.verdict))
}

/// Why a level was judged as it was; nothing if all is well.
fn sentences(level: &Level) -> Vec<String> {
    let name = &level.name;
    let broken = level.verdict == Verdict::Violation;
    let words = level.promise.words.iter().filter(|_| broken).map(|words| format!("{name} broke its promise: {words}"));
    words.chain(level.invalid.iter().map(|why| format!("{name}: this run shows nothing: {why}"))).collect()
}

fn promise(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Kept => "kept",
        Verdict::Undecided => "undecided",
        Verdict::Invalid => "invalid run",
        Verdict::Violation => "BROKEN",
    }
}

fn linearizable(level: &Level) -> &'static str {
    match level.linearizability.verdict {
        LinearizabilityVerdict::Linearizable => "yes",
        LinearizabilityVerdict::Violation => "no",
        LinearizabilityVerdict::Undecided => "undecided",
    }
}

fn outcomes(level: &Level) -> String {
    let all = &level.operations.all;
    [all.ok_percent, all.refused_percent, all.unknown_percent].map(percent).join(" / ")
}

fn latency(level: &Level) -> String {
    let all = &level.latency.all;
    [all.p50_ns, all.p99_ns, all.p999_ns].map(time).join(" / ")
}

fn wait(waits: &Quantiles) -> String {
    time(waits.max)
}

fn pair(one: String, other: String) -> String {
    format!("{one} / {other}")
}

fn share(rate: &Rate) -> String {
    percent(rate.percent)
}

/// Few are more than none: what is not zero is not shown as zero.
fn percent(percent: Option<f64>) -> String {
    match percent {
        None => "-".to_owned(),
        Some(share) if share > 0.0 && share < 0.01 => "<0.01%".to_owned(),
        Some(share) if share < 10.0 && share > 0.0 => format!("{share:.2}%"),
        Some(share) => format!("{share:.0}%"),
    }
}

fn number(number: Option<f64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| format!("{number:.1}"))
}

fn time(nanos: Option<u64>) -> String {
    nanos.map_or_else(|| "-".to_owned(), |nanos| Micros(nanos / 1_000).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../lab/src/compare/page/report.example.json");

    fn example() -> Report {
        serde_json::from_str(EXAMPLE).expect("the example is a report")
    }

    #[test]
    fn twelve_lines_tell_what_each_level_gave() {
        let mut report = example();
        report.levels.truncate(2);
        for level in &mut report.levels {
            (level.verdict, level.invalid) = (Verdict::Kept, Vec::new());
        }
        let text = of(&report);
        assert_eq!(text.lines().count(), 12);
        insta::assert_snapshot!(text, @r#"
                                                           one                  r2w2
        its own promise                                   kept                  kept
        linearizable                                        no                    no
        stale reads                                      3.23%                    0%
          behind, p50 / most                     29ms / 6318ms                 - / -
        own write missed / went back             0.90% / 1.13%            0% / 0.18%
        lost updates                                     3.97%                    0%
        siblings made / cas conflicts              118 / 3.09%            37 / 2.88%
        answered / refused / unknown         100% / 0% / 0.19%   94% / 5.25% / 1.19%
        longest gap, of all / of one               31ms / 68ms         420ms / 924ms
        latency, p50 / p99 / p99.9       433us / 206ms / 209ms  820us / 13ms / 208ms
        messages / fsyncs per operation              3.0 / 1.9             4.3 / 2.1
        "#);
    }

    #[test]
    fn a_broken_promise_and_an_invalid_run_are_explained_below_the_table() {
        let mut report = example();
        report.levels.truncate(1);
        let level = &mut report.levels[0];
        (level.verdict, level.invalid) = (Verdict::Violation, vec!["the fault kill n2 never took effect".to_owned()]);
        level.promise.words = vec!["it went back".to_owned()];
        let name = level.name.clone();
        let text = of(&report);
        assert!(text.contains("BROKEN") && text.contains(&format!("{name} broke its promise: it went back")), "{text}");
        assert!(text.ends_with("this run shows nothing: the fault kill n2 never took effect"), "{text}");
    }

    #[test]
    fn what_is_not_zero_is_not_shown_as_zero() {
        assert_eq!([None, Some(0.0), Some(0.001), Some(0.5), Some(12.4)].map(percent), ["-", "0%", "<0.01%", "0.50%", "12%"]);
    }
}
