//! `quorate compare`: what is reported is what the histories show, faults that nobody noticed are no comparison, and what cannot be
//! compared is refused before anything starts.

use std::path::Path;

use serde_json::Value;

use crate::support::cli::{Ran, run};
use crate::support::cluster::{TestCluster, faulty, spec};

/// Compares in a directory, with few and quick operations.
async fn compare(out: &Path, arguments: &[&str]) -> Ran {
    let out = out.to_str().expect("a path that is text");
    let all: Vec<&str> = ["compare", "--out", out, "--seed", "7"].into_iter().chain(arguments.iter().copied()).collect();
    run(&all).await
}

fn report(out: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(out.join("report.json")).expect("a report")).expect("JSON")
}

/// The reported levels.
fn levels(report: &Value) -> &[Value] {
    report["levels"].as_array().expect("levels")
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no text at {pointer}: {value}"))
}

fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("no number at {pointer}: {value}"))
}

#[tokio::test]
async fn the_report_says_of_each_level_what_its_history_shows() {
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().join("new").join("out");
    let faults = "slow:n1=200ms@500ms-2500ms,partition:n1|n2+n3@3s-6s";
    let levels_asked = ["--levels", "one,one/quorum+session,linearizable"];
    let ran = compare(&out, &[&levels_asked[..], &["--faults", faults, "--seconds", "7", "--output", "json"]].concat()).await.exits(0);
    assert_eq!(text(&ran.json(), "/verdict"), "kept");
    let report = report(&out);
    assert_eq!((levels(&report).len(), text(&report, "/run/seed"), number(&report, "/run/replicas")), (3, "7", 3));
    for level in levels(&report) {
        let history = out.join(text(level, "/history"));
        let checked = run(&["check", history.to_str().expect("text"), "--output", "json"]).await.exits(0).json();
        assert_eq!(text(&checked, "/verdict"), "kept");
        let promises = checked["promises"].as_array().expect("checks").iter();
        let judged: Vec<(&str, u64)> = promises.map(|check| (text(check, "/check"), number(check, "/judged"))).collect();
        let checks = level.pointer("/promise/checks").and_then(Value::as_array).expect("checks").iter();
        let reported: Vec<(&str, u64)> = checks.map(|check| (text(check, "/check"), number(check, "/judged"))).collect();
        let others: Vec<_> = reported.iter().copied().filter(|(name, _)| *name != "linearizability").collect();
        assert_eq!(judged, others, "the same is judged");
        assert!(others.contains(&("durability", number(level, "/lost_writes/judged"))), "the end was looked at: {others:?}");
        for fault in level["faults"].as_array().expect("faults") {
            assert!(fault["took_effect"] == true && !text(fault, "/effect").is_empty(), "{fault}");
        }
        assert!(number(level, "/operations/all/total") > 2_000 && number(level, "/cost/messages") > 0, "{level}");
        assert!(number(level, "/cost/fsyncs") > 0);
    }
    let [one, session, linearizable] = levels(&report) else { panic!("three levels") };
    assert!(number(one, "/staleness/reads/count") > 0 && text(one, "/linearizability/verdict") == "violation", "{}", one["staleness"]);
    assert!(one["counter_examples"][0]["words"].is_string());
    assert!(one.pointer("/freshness/predicted/points").is_some_and(Value::is_array), "delays were measured");
    assert_eq!(text(session, "/history"), "history-one+quorum+session.jsonl");
    assert_eq!(number(session, "/sessions/read_your_writes/count"), 0);
    assert_eq!((number(linearizable, "/staleness/reads/count"), text(linearizable, "/linearizability/verdict")), (0, "linearizable"));
    let refused = linearizable.pointer("/operations/all/refused_percent").and_then(Value::as_f64).expect("a share");
    assert!(refused > 0.0, "the small side serves nobody at linearizable");
    let page = std::fs::read_to_string(out.join("report.html")).expect("a page");
    assert!(page.contains("history-linearizable.jsonl") && page.contains("\"verdict\": \"violation\""));
}

#[tokio::test]
async fn blind_updates_are_lost_where_contexts_and_cas_lose_none() {
    let dir = tempfile::tempdir().expect("a directory");
    let lost = async |out: &str, more: &[&str]| {
        let out = dir.path().join(out);
        let few = ["--levels", "quorum,linearizable", "--faults", "none", "--seconds", "3", "--keys", "3", "--mix", "40r60c"];
        let arguments: Vec<&str> = few.into_iter().chain(more.iter().copied()).collect();
        compare(&out, &arguments).await.exits(0);
        let report = report(&out);
        levels(&report)
            .iter()
            .map(|level| (number(level, "/lost_updates/judged") > 0, number(level, "/lost_updates/count") > 0))
            .collect::<Vec<_>>()
    };
    assert_eq!(lost("context", &[]).await, [(true, false), (true, false)]);
    assert_eq!(lost("blind", &["--blind-updates"]).await, [(true, true), (true, false)], "at linearizable an update is a cas");
}

#[tokio::test]
async fn a_fault_that_nobody_noticed_makes_no_comparison() {
    let dir = tempfile::tempdir().expect("a directory");
    let ran = compare(dir.path(), &["--levels", "one", "--faults", "partition:n1|n2+n3@1s-1050ms", "--seconds", "2"]).await.exits(1);
    assert!(ran.text().contains("this run shows nothing: the fault partition n1|n2,n3 never took effect"), "{ran}");
    let report = report(dir.path());
    assert_eq!(text(&levels(&report)[0], "/invalid/0"), "the fault partition n1|n2,n3 never took effect");
}

#[tokio::test]
async fn a_running_cluster_is_compared_on_without_signals_to_its_processes() {
    let cluster = TestCluster::start(faulty(3)).await;
    let dir = tempfile::tempdir().expect("a directory");
    let seeds = cluster.seeds();
    let against =
        async |faults: &str| compare(dir.path(), &["--levels", "one", "--faults", faults, "--seconds", "3", "--against", &seeds]).await;
    against("kill:n1@1s-2s").await.exits(2).says("kill is done to processes");
    against("slow:n1=200ms@500ms-2s").await.exits(0);
    assert_eq!(text(&report(dir.path()), "/run/cluster"), seeds);
    let plain = TestCluster::start(spec(3)).await;
    let seeds = plain.seeds();
    let refused = compare(dir.path(), &["--levels", "one", "--faults", "slow", "--seconds", "4", "--against", &seeds]).await;
    refused.exits(1).says("was not started with --enable-faults");
}

#[tokio::test]
async fn what_cannot_be_compared_is_refused_before_anything_starts() {
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().join("out");
    for (arguments, says) in [
        (&["--levels", "any"][..], "any"),
        (&["--levels", "one,one"], "asked for twice"),
        (&["--levels", "one/two"], "\"two\" is not a level"),
        (&["--levels", "r5w5"], "r5w5"),
        (&["--faults", "fire"], "fire"),
        (&["--faults", "none,kill"], "none"),
        (&["--faults", "kill:n7@1s-2s"], "n7"),
        (&["--faults", "partition", "--seconds", "1"], "long enough"),
        (&["--rate", "0"], "rate"),
        (&["--nodes", "0"], "0 nodes"),
    ] {
        compare(&out, arguments).await.exits(2).says(says);
    }
    assert!(!out.join("report.json").exists());
}
