//! Histories as people have them: what decides, and what is only measured.

use std::thread;

use clap::Parser;
use quorate_checker::verdict::Method;
use quorate_protocol::Defect;
use quorate_sim::judge::Violation as SimViolation;
use quorate_sim::options::{Limits as SimLimits, Options, Traffic};
use quorate_sim::run::{Report as SimReport, simulate};
use quorate_sim::script::Told;

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
    let mut said = stale_read("one");
    said.header = history(&[r#"{"header":{"replicas":5,"vanished":[0,7],"repeated":[1,2]}}"#]).header;
    let facts = Facts::of(&said, None);
    facts.allowing(|allow| assert!((allow.vanished)(0) && !(allow.vanished)(1) && !(allow.vanished)(7) && (allow.repeated)(2)));
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

/// Seeds within which every planted bug is found.
const SEEDS_PER_BUG: u64 = 2_000;

/// The first run with a bug that breaks a promise.
fn broken_by(defect: Defect) -> SimReport {
    let limits = SimLimits { defect: Some(defect), traffic: Traffic::showing(defect), ..SimLimits::default() };
    let mut runs = (1..=SEEDS_PER_BUG).map(|seed| simulate(&Options::draw(seed, limits.clone()), false));
    runs.find(|report| !report.violations.is_empty()).unwrap_or_else(|| panic!("{defect} is not found"))
}

/// What the simulator finds in a history, this command finds in it too; of the rest it says that it could not judge it. Scripts write no
/// histories down, and so bugs that only they show are left out.
#[test]
fn every_planted_bug_shows_in_the_history_alone_or_is_said_to_lie_beyond() {
    thread::scope(|scope| {
        for half in 0..2 {
            let searched = Defect::ALL.iter().copied().filter(|bug| Told::of(*bug).is_none());
            scope.spawn(move || searched.skip(half).step_by(2).for_each(shows_or_lies_beyond));
        }
    });
}

fn shows_or_lies_beyond(defect: Defect) {
    let report = broken_by(defect);
    let expected = if report.violations.iter().any(SimViolation::is_in_history) { Verdict::Violation } else { Verdict::Beyond };
    let history = written(&report);
    let examined = examine(&history, &command(""));
    let (seed, found) = (report.options.seed, &report.violations);
    assert_eq!(examined.verdict(), expected, "{defect}, seed {seed}: {found:?}\n{}", examined.told(&history, &command(""), expected));
}

#[test]
fn what_lies_beyond_a_history_is_no_pass_and_is_said() {
    let mut history = stale_read("one");
    history.header.insert("beyond".to_owned(), serde_json::json!(["liveness"]));
    let examined = examine(&history, &command(""));
    assert_eq!((examined.verdict(), examined.verdict().exit()), (Verdict::Beyond, Exit::Undecided));
    let told = examined.told(&history, &command(""), Verdict::Beyond);
    assert!(told.trim_end().ends_with("was broken: liveness"), "{told}");
    history = stale_read("quorum");
    history.header.insert("beyond".to_owned(), serde_json::json!(["liveness"]));
    assert_eq!(verdict(&history, ""), Verdict::Violation, "what is proved counts for more");
}

/// A write at `all` cannot have vanished with one disk, whatever a header says.
#[test]
fn a_header_excuses_no_more_than_its_disks_held() {
    let lost = |level: &str, header: &str| {
        let write = |value: &str, call: u8| {
            format!(
                r#"{{"process":1,"op":"write","key":"k","value":"{value}","call":{call},"return":{},"outcome":"ok","level":"{level}","covers":[]}}"#,
                call + 1
            )
        };
        let states = [1, 2, 3].map(|node| format!(r#"{{"replica":"n{node}","key":"k","versions":[{{"dot":"1@n2","value":"v2"}}]}}"#));
        let mut lines = vec![header.to_owned(), write("v1", 0), write("v2", 2)];
        lines.extend(states);
        verdict(&history(&lines.iter().map(String::as_str).collect::<Vec<_>>()), "")
    };
    let vanished = r#"{"header":{"replicas":3,"vanished":[0]}}"#;
    let table = [
        ("any", Verdict::Kept),
        ("one", Verdict::Kept),
        ("quorum", Verdict::Violation),
        ("all", Verdict::Violation),
        ("linearizable", Verdict::Violation),
    ];
    for (level, expected) in table {
        assert_eq!(lost(level, vanished), expected, "{level}");
        assert_eq!(lost(level, r#"{"header":{"replicas":3}}"#), Verdict::Violation, "{level}, and nothing vanished");
    }
    let two_disks = r#"{"header":{"replicas":3,"vanished":[0],"disks_lost":2}}"#;
    assert_eq!((lost("quorum", two_disks), lost("all", two_disks)), (Verdict::Kept, Verdict::Violation));
}

/// One key takes linearizable operations alone, another eventual writes too, a third eventual operations alone.
#[test]
fn each_key_is_judged_as_its_operations_want() {
    let line = |key: &str, op: &str, value: &str, (call, end): (u8, u8), level: &str, covers: &str| {
        let covers = if covers.is_empty() { String::new() } else { format!(r#","covers":{covers}"#) };
        format!(
            r#"{{"process":{call},"op":"{op}","key":"{key}","value":{value},"call":{call},"return":{end},"outcome":"ok","level":"{level}"{covers}}}"#
        )
    };
    let mut lines = vec![
        line("exact", "write", r#""a""#, (0, 1), "linearizable", ""),
        line("exact", "read", r#""a""#, (2, 3), "linearizable", ""),
        line("mixed", "write", r#""a""#, (0, 1), "linearizable", ""),
        line("mixed", "write", r#""b""#, (2, 3), "quorum", "[]"),
        line("mixed", "read", r#"["a","b"]"#, (4, 5), "linearizable", ""),
        line("mixed", "read", r#""b""#, (6, 7), "one", ""),
        line("eventual", "write", r#""a""#, (0, 1), "quorum", "[]"),
    ];
    let of = |lines: &[String]| history(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let fine = examine(&of(&lines), &command(""));
    let methods: Vec<Method> = fine.linearizability.keys.iter().map(|key| key.method).collect();
    assert_eq!((fine.verdict(), methods), (Verdict::Kept, vec![Method::Exact, Method::MultiValueSearch]));
    // A linearizable read that misses the eventual write which was acknowledged before it.
    lines.push(line("mixed", "read", r#""a""#, (8, 9), "linearizable", ""));
    let stale = of(&lines);
    let examined = examine(&stale, &command(""));
    assert_eq!(examined.verdict().exit(), Exit::CheckFailed);
    let told = examined.told(&stale, &command(""), Verdict::Violation);
    assert!(told.contains("key mixed:") && told.contains("|-read a-|"), "{told}");
}

/// Operations of one process each, one after the other: what is done, which value, at which level.
fn in_turn(operations: &[(&str, &str, &str)]) -> History {
    let line = |(at, (op, value, level)): (usize, &(&str, &str, &str))| {
        let (call, end) = (10 * at, 10 * at + 5);
        let covers = if *op == "write" && *level != "linearizable" { r#","covers":[]"# } else { "" };
        format!(
            r#"{{"process":{at},"op":"{op}","key":"k","value":"{value}","call":{call},"return":{end},"outcome":"ok","level":"{level}"{covers}}}"#
        )
    };
    let lines: Vec<String> = operations.iter().enumerate().map(line).collect();
    history(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Replicas learn after the answer what was chosen. A read at `quorum` may therefore miss it, and go back behind a linearizable one; a
/// linearizable read may miss neither what was chosen nor what a quorum acknowledged.
#[test]
fn linearizable_operations_promise_nothing_to_eventual_reads() {
    let (old, new) = (("write", "v1", "quorum"), ("write", "v2", "linearizable"));
    let read = |value: &'static str, level: &'static str| ("read", value, level);
    let table = [
        (vec![old, new, read("v1", "quorum")], Verdict::Kept),
        (vec![old, new, read("v1", "all")], Verdict::Kept),
        (vec![old, new, read("v2", "linearizable"), read("v1", "quorum")], Verdict::Kept),
        (vec![old, new, read("v2", "quorum"), read("v1", "quorum")], Verdict::Violation),
        (vec![old, new, read("v1", "linearizable")], Verdict::Violation),
        (vec![new, old, read("v2", "linearizable")], Verdict::Violation),
        (vec![new, old, read("v2", "quorum")], Verdict::Violation),
    ];
    for (operations, expected) in table {
        let history = in_turn(&operations);
        let examined = examine(&history, &command(""));
        assert_eq!(examined.verdict(), expected, "{operations:?}: {}", examined.told(&history, &command(""), expected));
    }
}

/// A counter of linearizable increments, each recorded as the cas it amounts to, with fencing tokens.
#[test]
fn a_lost_increment_and_a_token_that_went_back_are_found() {
    let cas = |expect: &str, value: u8, call: u8, token: &str| {
        format!(
            r#"{{"process":1,"op":"cas","key":"n","expect":{expect},"value":"{value}","call":{call},"return":{},"outcome":"ok","level":"linearizable","token":"{token}"}}"#,
            call + 1
        )
    };
    let end = |value: u8| format!(r#"{{"replica":"n1","key":"n","versions":[{{"dot":"1@n1","value":"{value}"}}]}}"#);
    let broken = |lines: &[String]| {
        let history = history(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        let examined = examine(&history, &command(""));
        let broken = examined.promises.iter().filter(|check| !check.findings.is_empty());
        broken.map(|check| check.name).collect::<Vec<_>>()
    };
    let steps = [cas("null", 1, 0, "1.1"), cas(r#""1""#, 2, 2, "1.10")];
    assert_eq!(broken(&[&steps[..], &[end(2)]].concat()), Vec::<&str>::new());
    assert!(broken(&[&steps[..], &[end(1)]].concat()).contains(&"counters"));
    let back = [cas("null", 1, 0, "1.10"), cas(r#""1""#, 2, 2, "1.9"), end(2)];
    assert_eq!(broken(&back), ["tokens"]);
}

fn written(report: &SimReport) -> History {
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

/// The checker knows nothing of the store, so it counts by itself; both must mean the same by a level.
#[test]
fn the_checker_counts_as_the_store_does() {
    use quorate_checker::level::{self, Access};
    use quorate_protocol::{Access as StoreAccess, Level};

    let counts = (0..6).flat_map(|r| (0..6).map(move |w| Level::Counts { r, w }));
    for level in [Level::One, Level::Quorum, Level::All, Level::Linearizable].into_iter().chain(counts) {
        for replicas in 1..6 {
            for (access, store) in [(Access::Read, StoreAccess::Read), (Access::Write, StoreAccess::Write)] {
                assert_eq!(
                    level::copies(&level.to_string(), access, replicas),
                    level.needed(store, replicas).ok(),
                    "{level} of {replicas}"
                );
            }
        }
        assert_eq!(level::is_count(&level.to_string()), matches!(level, Level::Counts { .. }), "{level}");
    }
}
