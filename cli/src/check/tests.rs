//! Histories as people have them: what decides, and what is only measured.

use clap::Parser;
use quorate_protocol::Defect;
use quorate_sim::options::{Limits as SimLimits, Options};
use quorate_sim::run::simulate;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    check: Check,
}

fn command(arguments: &str) -> Check {
    let words = ["check", "h.jsonl"].into_iter().chain(arguments.split_whitespace());
    Line::try_parse_from(words).map(|line| line.check).expect("arguments of check")
}

fn history(lines: &[&str]) -> History {
    format::read_slice(lines.join("\n").as_bytes()).expect("a history")
}

fn verdict(history: &History, arguments: &str) -> Verdict {
    examine(history, &command(arguments)).verdict()
}

/// Two writes, one after the other, and a read of the first after both.
fn stale_read(level: &str) -> History {
    let level = if level.is_empty() { String::new() } else { format!(r#","level":"{level}""#) };
    let line = |process: u8, op: &str, value: &str, call: u8, end: u8| {
        format!(r#"{{"process":{process},"op":"{op}","key":"k","value":"{value}","call":{call},"return":{end},"outcome":"ok"{level}}}"#)
    };
    let lines = [line(1, "write", "v1", 0, 1), line(1, "write", "v2", 2, 3), line(2, "read", "v1", 4, 5)];
    history(&lines.each_ref().map(String::as_str))
}

#[test]
fn without_levels_linearizability_decides() {
    let stale = stale_read("");
    assert_eq!(verdict(&stale, ""), Verdict::Violation);
    let told = examine(&stale, &command("")).told(&stale, &command(""), Verdict::Violation);
    assert!(told.contains("not linearizable: 3 operations") && told.contains("|-write v2-|"), "{told}");
    assert!(!told.contains("overlap"), "{told}");
}

#[test]
fn each_level_is_held_to_its_own_promise() {
    let table = [
        ("one", "", Verdict::Kept),
        ("one", "--hold-to linearizable", Verdict::Violation),
        ("quorum", "", Verdict::Violation),
        ("all", "", Verdict::Violation),
        ("linearizable", "", Verdict::Violation),
        ("r2w2", "", Verdict::Kept),
        ("r2w2", "--replicas 3", Verdict::Violation),
        ("r2w2", "--replicas 5", Verdict::Kept),
        ("eventual", "", Verdict::Kept),
    ];
    for (level, arguments, expected) in table {
        assert_eq!(verdict(&stale_read(level), arguments), expected, "{level} {arguments}");
    }
}

#[test]
fn a_session_must_see_what_it_wrote() {
    let own = |level: &str| {
        let mut history = stale_read(level);
        history.operations.iter_mut().for_each(|operation| operation.process = 1);
        history
    };
    assert_eq!((verdict(&own("one"), ""), verdict(&own("one+session"), "")), (Verdict::Kept, Verdict::Violation));
}

#[test]
fn a_value_that_nobody_wrote_is_wrong_at_every_level() {
    let read = r#"{"process":1,"op":"read","key":"k","value":"ghost","call":0,"return":1,"outcome":"ok","level":"one"}"#;
    assert_eq!(verdict(&history(&[read]), ""), Verdict::Violation);
}

#[test]
fn nothing_to_judge_and_an_exhausted_search_are_no_pass() {
    assert_eq!(verdict(&history(&[]), ""), Verdict::Empty);
    assert_eq!(Verdict::Empty.exit(), Exit::Undecided);
    // One cas from `a` more than `a` was there, all at once: only a search can tell.
    let line = |at: u8| {
        let (expect, value) = if at.is_multiple_of(2) && at != 12 { ("b", "a") } else { ("a", "b") };
        format!(r#"{{"process":{at},"op":"cas","key":"k","expect":"{expect}","value":"{value}","call":2,"return":9,"outcome":"ok"}}"#)
    };
    let first = r#"{"process":0,"op":"write","key":"k","value":"a","call":0,"return":1,"outcome":"ok"}"#.to_owned();
    let lines: Vec<String> = std::iter::once(first).chain((1..14).map(line)).collect();
    let hard = history(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((verdict(&hard, ""), verdict(&hard, "--limit 1")), (Verdict::Violation, Verdict::Undecided));
}

#[test]
fn the_header_says_what_a_checker_cannot_know() {
    let facts = Facts::of(&history(&[r#"{"header":{"replicas":5,"vanished":[0],"repeated":[1,2]}}"#]), None);
    facts.allowing(|allow| assert!((allow.vanished)(0) && !(allow.vanished)(1) && (allow.repeated)(2)));
    let header = r#"{"header":{"replicas":3}}"#;
    let mut stale = stale_read("r2w2");
    stale.header = history(&[header]).header;
    assert_eq!((verdict(&stale, ""), verdict(&stale, "--replicas 5")), (Verdict::Violation, Verdict::Kept));
}

/// What the simulator writes down says all that is needed to judge it again.
#[test]
fn histories_of_clean_simulations_keep_their_promises() {
    for seed in 1..=40 {
        let report = simulate(&Options::draw(seed, SimLimits::default()), false);
        assert_eq!(report.violations, [], "seed {seed}");
        let again = written(&report);
        let examined = examine(&again, &command(""));
        assert_eq!(examined.verdict(), Verdict::Kept, "seed {seed}: {}", examined.told(&again, &command(""), Verdict::Kept));
    }
}

#[test]
fn a_planted_bug_shows_in_the_history_alone() {
    let limits = SimLimits { defect: Some(Defect::RepairOverwrites), ..SimLimits::default() };
    let broken = (1..=60).map(|seed| simulate(&Options::draw(seed, limits.clone()), false)).find(|report| !report.violations.is_empty());
    assert_eq!(verdict(&written(&broken.expect("the bug is found")), ""), Verdict::Violation);
}

fn written(report: &quorate_sim::run::Report) -> History {
    let mut text = Vec::new();
    crate::sim::write_history(report, &mut text).expect("memory takes everything");
    format::read_slice(&text).expect("what was written")
}

#[test]
fn json_has_the_verdict_the_evidence_and_the_times() {
    let (stale, command) = (stale_read("quorum"), command(""));
    let examined = examine(&stale, &command);
    let json = serde_json::to_value(examined.fields(&stale, &command, examined.verdict())).expect("serialises");
    assert_eq!((&json["exit"], &json["verdict"], &json["held_to"]), (&9.into(), &"violation".into(), &"levels".into()));
    let overlap = &json["promises"][0];
    assert_eq!((&overlap["check"], &overlap["violations"][0]["key"]), (&"overlap".into(), &"k".into()), "{json}");
    assert!(json["seconds"]["linearizability"].is_number(), "{json}");
    assert_eq!((&json["staleness"][0]["stale"], &json["staleness"][0]["k_max"]), (&1.into(), &1.into()), "{json}");
}
