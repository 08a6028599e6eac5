//! `quorate bench` measures and, above all, checks what it reads.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::cli::{Ran, finish, quorate};
use crate::support::cluster::{N1, N2, TestCluster, spec};
use crate::support::wait::{eventually, seen};

fn rows(ran: &Ran) -> Vec<Value> {
    ran.text().lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {ran}"))).collect()
}

fn sum(rows: &[Value], field: &str) -> u64 {
    rows.iter().filter_map(|row| row[field].as_u64()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_at_quorum_breaks_its_promise_while_a_node_is_killed_and_restarted() {
    let mut cluster = TestCluster::start(spec(3)).await;
    let history = cluster.dir().join("history.jsonl");
    let file = history.to_str().expect("a path in UTF-8");
    let bench = ["bench", "--seconds", "3", "--clients", "16", "--keys", "100", "--timeout", "10s", "--output", "json", "--history", file];
    let mut command = quorate(&bench);
    command.env("QUORATE_CLUSTER", cluster.seeds());
    let measuring = tokio::spawn(async move { finish(command, b"").await });
    eventually("the load is under way", async || {
        let requests = cluster.metrics(N1).await.sum("quorate_requests_total");
        seen(requests > 500.0, requests)
    })
    .await;
    cluster.kill(N2).expect("n2 runs");
    assert!(!measuring.is_finished(), "the kill fell into the load");
    cluster.restart(N2).await.unwrap_or_else(|error| panic!("{error}"));
    let ran = measuring.await.expect("it ends").exits(0);
    let rows = rows(&ran);
    assert!(sum(&rows, "verified") > 100 && sum(&rows, "violations") == 0, "{ran}");
    let waits: BTreeSet<_> = rows.iter().map(|row| row["wait_max_us"].as_u64()).collect();
    assert!(waits.len() == 1 && !waits.contains(&None) && ran.stderr.contains("without an answer"), "one for all clients: {ran}");

    let text = std::fs::read_to_string(&history).expect("a history");
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    assert_eq!(lines.next().expect("a header")["header"]["cluster"], cluster.id());
    let mut operations = BTreeSet::new();
    for line in lines {
        assert!(["process", "op", "key", "call", "outcome", "level"].iter().all(|field| line.get(field).is_some()), "{line}");
        assert!(line["outcome"] != "ok" || line["return"].as_u64() >= line["call"].as_u64(), "{line}");
        operations.insert(line["op"].as_str().expect("a name").to_owned());
    }
    assert_eq!(operations, BTreeSet::from(["read".to_owned(), "write".to_owned()]));
}

#[tokio::test]
async fn levels_are_measured_one_after_the_other_and_sessions_kept() {
    let cluster = TestCluster::start(spec(3)).await;
    let bench = ["bench", "--seconds", "1", "--rate", "300", "--keys", "20", "--level", "one,one+session", "--output", "json"];
    let ran = cluster.cli(&bench).await.exits(0).says("seed ");
    let rows = rows(&ran);
    let names: Vec<_> =
        rows.iter().map(|row| format!("{}@{}", row["op"].as_str().unwrap_or("?"), row["level"].as_str().unwrap_or("?"))).collect();
    assert_eq!(names, ["get@one", "put@one", "get@one+session", "put@one+session"], "{ran}");
    assert!(sum(&rows, "verified") > 50 && sum(&rows, "violations") == 0 && sum(&rows, "failed") == 0, "{ran}");
    cluster.cli(&["bench", "--level", "any"]).await.exits(2);
}
