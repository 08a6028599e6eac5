//! `quorate story`: every story ends as it is told, on real nodes, by the verdict of the checker.
//!
//! What comes out is read from `--output json`. The command plays a schedule again whose moments a busy machine has missed; that it says
//! so when it never comes out is part of what a test here would see.

use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::support::cli::{Ran, run};

/// Stories are clusters that the bound on living nodes does not count, and live by their moments: one is told at a time.
static ONE: Semaphore = Semaphore::const_new(1);

async fn turn() -> SemaphorePermit<'static> {
    ONE.acquire().await.expect("the semaphore is never closed")
}

/// Tells a story that must end as told.
async fn told(name: &str) -> Value {
    let _turn = turn().await;
    let told = run(&["story", name, "--output", "json"]).await.exits(0).json();
    assert_eq!((&told["story"], &told["as_told"], &told["outcome"]), (&name.into(), &true.into(), &"ok".into()), "{told}");
    let claims = levels(&told).iter().flat_map(|level| level["claims"].as_array().expect("claims"));
    let held: Vec<bool> = claims.map(|claim| claim["holds"] == true).collect();
    assert!(!held.is_empty() && held.iter().all(|held| *held), "{told}");
    assert!(levels(&told).iter().all(|level| level["promise"] == "kept"), "no level breaks its own promise: {told}");
    told
}

fn levels(told: &Value) -> &[Value] {
    told["levels"].as_array().expect("levels")
}

/// A member of every level, in order.
fn each<'a>(told: &'a Value, member: &str) -> Vec<(&'a str, &'a Value)> {
    levels(told).iter().map(|level| (level["level"].as_str().expect("a name"), &level[member])).collect()
}

/// What a client did at a level, and how it ended.
fn did(level: &Value, client: &str) -> Vec<String> {
    let operations = level["operations"].as_array().expect("operations").iter();
    let played = operations.filter(|operation| operation["client"] == client && operation["end_ms"].as_f64() > Some(0.0));
    played.map(|operation| operation["did"].as_str().expect("words").to_owned()).collect()
}

#[tokio::test]
async fn a_read_at_one_misses_what_was_acknowledged_elsewhere_and_one_at_quorum_does_not() {
    let told = told("stale-read").await;
    let stale: Vec<_> = each(&told, "stale_reads").into_iter().map(|(level, count)| (level, count.as_u64())).collect();
    assert_eq!(stale, [("one", Some(1)), ("quorum", Some(0)), ("linearizable", Some(0))]);
}

#[tokio::test]
async fn overlapping_quorums_alone_are_not_linearizable() {
    let told = told("quorum-is-not-enough").await;
    let verdicts: Vec<_> = each(&told, "linearizability").into_iter().map(|(level, verdict)| (level, verdict.as_str())).collect();
    assert_eq!(verdicts, [("r2w2", Some("violation")), ("quorum", Some("linearizable")), ("linearizable", Some("linearizable"))]);
    let words = levels(&told)[0]["words"].as_str().expect("a reason");
    assert!(words.contains("B read 1") && words.contains('A') && !words.contains("process"), "{words}");
}

#[tokio::test]
async fn an_update_is_lost_at_quorum_and_not_by_compare_and_set() {
    let told = told("lost-update").await;
    let lost: Vec<_> = each(&told, "lost_updates").into_iter().map(|(level, count)| (level, count.as_u64())).collect();
    assert_eq!(lost, [("quorum", Some(1)), ("linearizable", Some(0))]);
}

#[tokio::test]
async fn two_carts_are_kept_until_they_are_merged() {
    let told = told("siblings").await;
    let read = did(&levels(&told)[0], "C");
    assert!(read[0].contains("milk,eggs") && read[0].contains("milk,bread"), "{told}");
}

#[tokio::test]
async fn a_retry_under_the_same_name_is_applied_once() {
    let told = told("unknown-outcome").await;
    let level = &levels(&told)[0];
    let names = level["operations"].as_array().expect("operations").iter().filter(|operation| operation["client"] == "A");
    let names: Vec<_> = names.skip(1).map(|operation| operation["operation_id"].as_str()).collect();
    assert!(names.len() == 3 && names[0].is_some() && names.iter().all(|name| *name == names[0]), "one operation throughout: {told}");
    assert!(did(level, "A")[0].ends_with("outcome unknown") && did(level, "B")[0].starts_with("read 11"), "{told}");
}

#[tokio::test]
async fn who_held_the_lock_too_long_ago_is_turned_away() {
    let told = told("paused-client").await;
    let (plain, fenced) = (did(&levels(&told)[0], "A"), did(&levels(&told)[1], "A"));
    assert!(plain.last().is_some_and(|last| last.starts_with("file: write A:") && !last.contains("refused")), "{told}");
    assert!(fenced.last().is_some_and(|last| last.contains("refused")), "{told}");
}

#[tokio::test]
async fn a_partition_leaves_each_level_what_it_promises() {
    let told = told("partition").await;
    for level in levels(&told) {
        let refused = |client| did(level, client).iter().filter(|did| did.contains("refused")).count();
        let expected = match level["level"].as_str().expect("a name") {
            "one" => (0, 0),
            "all" => (2, 2),
            _ => (2, 0),
        };
        assert_eq!((refused("A"), refused("B")), expected, "{level}");
    }
}

#[tokio::test]
async fn a_story_is_drawn_for_any_terminal_and_written_as_a_page() {
    let turn = turn().await;
    let directory = tempfile::tempdir().expect("a directory");
    let page = directory.path().join("story.html");
    let page_name = page.to_str().expect("a path in UTF-8");
    let ran = run(&["story", "stale-read", "--html", page_name]).await.exits(0);
    drop(turn);
    let text = ran.text();
    assert!(text.is_ascii() && !text.contains('\x1b'), "no colours for a pipe: {ran}");
    assert!(text.lines().all(|line| line.len() <= 100), "{ran}");
    for part in ["W via n1", "read 1: n3 !", "n3 holds", "n1 late", "checked: NOT linearizable", "Read on: DDIA"] {
        assert!(text.contains(part), "{part:?} is missing: {ran}");
    }
    let html = std::fs::read_to_string(&page).expect("a page");
    let report = html.split("id=\"report\">").nth(1).and_then(|rest| rest.split("</script>").next()).expect("a report inside");
    let report: Value = serde_json::from_str(report).expect("JSON");
    let names: Vec<_> = report["levels"].as_array().expect("levels").iter().map(|level| level["name"].as_str()).collect();
    assert_eq!(names, [Some("one"), Some("quorum"), Some("linearizable")]);
    assert_eq!(report["levels"][0]["counter_examples"][0]["lanes"][0]["label"], "W");
}

#[tokio::test]
async fn stories_are_listed_and_others_refused() {
    let listed: Ran = run(&["story"]).await.exits(0);
    for name in ["stale-read", "quorum-is-not-enough", "lost-update", "siblings", "unknown-outcome", "paused-client", "partition"] {
        assert!(listed.text().lines().any(|line| line.starts_with(name) && line.len() <= 100), "{listed}");
    }
    let json = run(&["story", "--list", "--output", "json"]).await.exits(0).json();
    assert_eq!(json["stories"].as_array().map(Vec::len), Some(7));
    run(&["story", "no-such"]).await.exits(2).says("possible values");
}
