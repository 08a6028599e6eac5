//! The simulator and the checker as people and scripts run them.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::support::cli::{Ran, run};

/// A bug that few seeds hide.
const BUG: &str = "repair-overwrites";

/// A bug that only its script shows.
const TOLD_BUG: &str = "ballot-reused-after-restart";

/// Runs the command that another one printed.
async fn repeat(line: &str) -> Ran {
    let arguments: Vec<&str> = line.split_whitespace().collect();
    let ("quorate", arguments) = (arguments[0], &arguments[1..]) else { panic!("not our command: {line}") };
    run(arguments).await
}

/// What stands behind this word at the beginning of a line.
#[track_caller]
fn told<'a>(ran: &'a Ran, word: &str) -> &'a str {
    let line = ran.text().lines().find_map(|line| line.strip_prefix(word));
    line.unwrap_or_else(|| panic!("no line begins with {word:?}\n{ran}")).trim()
}

fn write(directory: &TempDir, name: &str, lines: &[&str]) -> String {
    let path = directory.path().join(name);
    fs::write(&path, lines.join("\n")).expect("a file in a temporary directory");
    path.to_str().expect("a path of text").to_owned()
}

#[tokio::test]
async fn a_clean_campaign_says_what_it_tried() {
    let ran = run(&["sim", "--seeds", "20"]).await.exits(0);
    for says in ["20 from 1", "operations succeeded", "seeds a second", "no violation"] {
        assert!(ran.text().contains(says), "{says}\n{ran}");
    }
    let json = run(&["sim", "--seeds", "20", "--output", "json"]).await.exits(0).json();
    assert_eq!((&json["verdict"], &json["seeds"], &json["exit"]), (&"clean".into(), &20.into(), &0.into()), "{json}");
    assert!(json["operations"]["ok"].as_u64().is_some_and(|ok| ok > 1_000), "{json}");
}

#[tokio::test]
async fn a_seed_gives_the_same_trace_in_every_process() {
    let (first, second) = (run(&["sim", "--seed", "7"]).await.exits(0), run(&["sim", "--seed", "7"]).await.exits(0));
    assert!(first.text().starts_with("seed 7: "), "{first}");
    assert!(first.text().lines().count() > 100, "a trace is told line by line\n{first}");
    assert!(first.stdout == second.stdout, "two processes differ in seed 7");
    let other = run(&["sim", "--seed", "8", "--no-trace"]).await.exits(0);
    assert_ne!(told(&first, "trace hash"), told(&other, "trace hash"));
}

#[tokio::test]
async fn a_planted_bug_is_found_made_small_and_repeated() {
    let directory = TempDir::new().expect("a temporary directory");
    let out = directory.path().join("failure");
    let out = out.to_str().expect("a path of text");
    let found = run(&["sim", "--bug", BUG, "--seeds", "2000", "--out", out]).await.exits(9);
    assert!(found.text().contains("violation: "), "{found}");
    let again = repeat(told(&found, "repeat with:")).await.exits(9);
    assert_eq!(told(&again, "trace hash"), told(&found, "trace hash"), "{again}");
    assert_eq!(told(&again, "violation:"), told(&found, "violation:"));

    for file in ["options.txt", "trace.txt", "verdict.txt", "verdict.json", "history.jsonl"] {
        let text = fs::read_to_string(Path::new(out).join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(!text.trim().is_empty(), "{file}");
    }
    let verdict = fs::read_to_string(Path::new(out).join("verdict.json")).expect("a verdict");
    let verdict: Value = serde_json::from_str(&verdict).expect("JSON");
    assert_eq!(verdict["trace_hash"], told(&found, "trace hash"));
}

#[tokio::test]
async fn a_bug_that_chance_comes_to_too_seldom_is_shown_by_its_script() {
    let directory = TempDir::new().expect("a temporary directory");
    let out = directory.path().to_str().expect("a path of text");
    let played = run(&["sim", "--bug", TOLD_BUG, "--out", out]).await.exits(9);
    let again = repeat(told(&played, "repeat with:")).await.exits(9);
    assert_eq!(again.stdout, played.stdout);
    let written = fs::read_to_string(directory.path().join("script.txt")).expect("a script");
    assert!(played.text().starts_with(&written) && told(&played, "violation:").starts_with("ballot-used-twice"), "{played}");

    let after_seeds = run(&["sim", "--bug", TOLD_BUG, "--seeds", "3", "--output", "json"]).await.exits(9).json();
    assert_eq!((&after_seeds["verdict"], &after_seeds["seeds"]), (&"violation".into(), &3.into()), "{after_seeds}");
    assert_eq!(after_seeds["script"]["violations"][0]["kind"], "ballot-used-twice", "{after_seeds}");
}

#[tokio::test]
async fn a_bug_that_nobody_planted_is_refused_with_the_names_of_all() {
    run(&["sim", "--bug", "repair-overwrite"]).await.exits(2).says(BUG);
    run(&["sim", "--seed", "1", "--seeds", "2"]).await.exits(2);
}

#[tokio::test]
async fn a_stale_read_is_proved_by_the_few_operations_that_make_it_one() {
    let line = |process: u64, op: &str, value: u64, call: u64| {
        let end = call + 5;
        format!(r#"{{"process":{process},"op":"{op}","key":"cart","value":"v{value}","call":{call},"return":{end},"outcome":"ok"}}"#)
    };
    let writes = (1..=1_000).map(|value| line(1, "write", value, value * 20));
    let reads = (1..=1_000).map(|value| line(2, "read", value, value * 20 + 10));
    let mut lines: Vec<String> = writes.chain(reads).collect();
    let directory = TempDir::new().expect("a temporary directory");
    let texts = |lines: &[String]| lines.join("\n");
    let file = write(&directory, "fresh.jsonl", &[&texts(&lines)]);
    run(&["check", &file]).await.exits(0);

    // After v501 was read, v500 is: everybody saw it replaced.
    lines.push(line(3, "read", 500, 10_036));
    let file = write(&directory, "stale.jsonl", &[&texts(&lines)]);
    let ran = run(&["check", &file]).await.exits(9);
    for says in ["key cart", "process 3", "v500", "v501"] {
        assert!(ran.text().contains(says), "{says}\n{ran}");
    }
    let json = run(&["check", &file, "--output", "json"]).await.exits(9).json();
    let evidence = json["linearizability"]["violations"][0]["evidence"].as_array().expect("evidence");
    assert!((3..=4).contains(&evidence.len()), "{json}");
    assert!(evidence.iter().any(|operation| operation["at"] == 2_000), "the stale read is among them: {json}");
}

#[tokio::test]
async fn a_sample_is_judged_and_its_planted_read_found() {
    let directory = TempDir::new().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("a path of text").to_owned();
    let (fresh, stale) = (path("fresh.jsonl"), path("stale.jsonl"));
    run(&["check", &fresh, "--sample", "50000", "--keys", "100"]).await.exits(0);
    let ran = run(&["check", &fresh]).await.exits(0);
    assert!(ran.text().contains("50000 operations on 100 keys"), "{ran}");
    run(&["check", &stale, "--sample", "50000", "--stale"]).await.exits(0);
    run(&["check", &stale]).await.exits(9);
    run(&["check", &stale, "--sample", "10"]).await.exits(2).says("cannot write");
}

#[tokio::test]
async fn a_file_that_is_no_history_is_refused_with_line_and_field() {
    let directory = TempDir::new().expect("a temporary directory");
    let good = r#"{"process":1,"op":"write","key":"k","value":"v","call":0,"return":1,"outcome":"ok"}"#;
    let file =
        write(&directory, "h.jsonl", &[good, r#"{"process":1,"op":"write","key":"k","value":"v","call":"now","return":1,"outcome":"ok"}"#]);
    run(&["check", &file]).await.exits(2).says("line 2: `call`");
    let file = write(&directory, "missing.jsonl", &[r#"{"process":1,"op":"read","value":null,"call":0,"return":1,"outcome":"ok"}"#]);
    run(&["check", &file]).await.exits(2).says("line 1: `key` is missing");
    run(&["check", "/no/such/file"]).await.exits(2).says("cannot read /no/such/file");
    let json = run(&["check", &file, "--output", "json"]).await.exits(2).json();
    assert!(json["error"].as_str().is_some_and(|error| error.contains("line 1")), "{json}");
}

#[tokio::test]
async fn nobody_knows_is_no_pass() {
    let directory = TempDir::new().expect("a temporary directory");
    run(&["check", &write(&directory, "empty.jsonl", &[])]).await.exits(8);
    // One cas from `a` more than `a` was there, all at once: only a search can tell.
    let line = |at: u64| {
        let (expect, value) = if at.is_multiple_of(2) && at != 12 { ("b", "a") } else { ("a", "b") };
        format!(r#"{{"process":{at},"op":"cas","key":"k","expect":"{expect}","value":"{value}","call":2,"return":9,"outcome":"ok"}}"#)
    };
    let first = r#"{"process":0,"op":"write","key":"k","value":"a","call":0,"return":1,"outcome":"ok"}"#.to_owned();
    let lines: Vec<String> = std::iter::once(first).chain((1..14).map(line)).collect();
    let file = write(&directory, "hard.jsonl", &[&lines.join("\n")]);
    run(&["check", &file, "--limit", "1"]).await.exits(8);
    run(&["check", &file]).await.exits(9);
}
