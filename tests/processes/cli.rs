//! The command line as scripts use it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use quorate_client::{Level, Outcome};
use quorate_lab::cluster::ClusterSpec;
use quorate_rpc::kv::WriteContext;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::cli::{finish, quorate, run};
use crate::support::cluster::{N1, N2, N3, TestCluster, faulty, spec};
use crate::support::direct::values;
use crate::support::metrics::Metrics;
use crate::support::wait::{PATIENCE, eventually, seen};

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

#[tokio::test]
async fn the_exit_code_tells_how_a_command_ended() {
    let cluster = TestCluster::start(spec(3)).await;
    let absent = cluster.cli(&["get", "k"]).await.exits(3).says("\"k\" has no value");
    assert_eq!(absent.text(), "", "what there is to say about nothing goes to stderr");
    cluster.cli(&["put", "k", "a"]).await.exits(0);
    assert_eq!(cluster.cli(&["get", "k"]).await.exits(0).text(), "a\n");
    cluster.cli(&["put", "k", "b", "--concurrent"]).await.exits(0);
    let both = cluster.cli(&["get", "k"]).await.exits(0).says("\"k\" has 2 siblings");
    assert_eq!(both.text().lines().collect::<BTreeSet<_>>(), BTreeSet::from(["a", "b"]));
    cluster.cli(&["get", "k", "--fail-on-siblings"]).await.exits(5);
    cluster.cli(&["siblings", "k", "--fail-on-siblings"]).await.exits(5);
    cluster.cli(&["del", "k", "--level", "all"]).await.exits(0);
    cluster.cli(&["get", "k", "--level", "all"]).await.exits(3);
    cluster.cli(&["siblings", "k"]).await.exits(3);
    for usage in [&["frobnicate"][..], &["put", "k"], &["get", "k", "--what"], &["status", "--node", "n9"]] {
        cluster.cli(usage).await.exits(2);
    }
    assert!(run(&["--help"]).await.exits(0).text().contains("Exit codes:"));
    assert!(run(&["--version"]).await.exits(0).text().starts_with("quorate "));
}

#[tokio::test]
async fn every_command_answers_in_json() {
    let cluster = TestCluster::start(spec(3)).await;
    let file = cluster.dir().join("records.tsv");
    std::fs::write(&file, "a\t1\nb\t2\n").expect("written");
    let config = text(cluster.node(N1).expect("n1").config());
    for (arguments, code, field) in [
        (&["put", "k", "v"][..], 0, "operation_id"),
        (&["get", "k"], 0, "value"),
        (&["siblings", "k"], 0, "siblings"),
        (&["del", "k"], 0, "context"),
        (&["get", "k"], 3, "found"),
        (&["load", text(&file)], 0, "stored"),
        (&["status"], 0, "nodes"),
        (&["status", "--node", "n2"], 0, "nodes"),
        (&["status", "--metrics"], 0, "nodes"),
        (&["ring"], 0, "table"),
        (&["ring", "--key", "k"], 0, "preference_list"),
        (&["config", "check", "--config", config], 0, "warnings"),
        (&["config", "show", "--config", config], 0, "toml"),
        (&["get", ""], 2, "error"),
        (&["get", "k", "--level", "r9w9"], 2, "error"),
        (&["get", "k", "--frobnicate"], 2, "error"),
        (&["load", "missing.tsv"], 2, "error"),
    ] {
        let ran = cluster.cli(&[arguments, &["--output", "json"]].concat()).await.exits(code);
        let json = ran.json();
        assert!(json.get(field).is_some() && json.get("outcome").is_some(), "{field} is missing: {ran}");
        assert!(json.get("exit").is_none_or(|exit| *exit == code), "{ran}");
    }
    // Every record of a dump is an object of its own; the summary is one, on stderr.
    let dump = cluster.cli(&["dump", "--output", "json"]).await.exits(0);
    let records: Vec<serde_json::Value> = dump.text().lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert_eq!(records.len(), 2, "{dump}");
    let last = dump.stderr.lines().last().expect("a summary");
    assert_eq!(serde_json::from_str::<serde_json::Value>(last).expect("an object")["printed"], 2, "{dump}");
}

#[tokio::test]
async fn bytes_that_are_not_text_travel_as_base64() {
    let cluster = TestCluster::start(spec(1)).await;
    cluster.cli(&["put", "/w==", "AP8=", "--key-base64", "--value-base64"]).await.exits(0);
    let json = cluster.cli(&["get", "/w==", "--key-base64", "--output", "json"]).await.exits(0).json();
    assert_eq!((&json["key_base64"], &json["value_base64"]), (&"/w==".into(), &"AP8=".into()), "{json}");
    assert_eq!(cluster.cli(&["get", "/w==", "--key-base64", "--output", "raw"]).await.exits(0).stdout, [0, 255]);
    assert_eq!(cluster.cli(&["get", "/w==", "--key-base64"]).await.exits(0).text(), "\\u{0}\\xff\n");
    cluster.cli(&["dump", "--format", "tsv"]).await.exits(1).says("--format jsonl");
    let dumped = cluster.cli(&["dump", "--format", "jsonl"]).await.exits(0);
    let file = cluster.dir().join("dump.jsonl");
    std::fs::write(&file, &dumped.stdout).expect("written");
    cluster.cli(&["del", "/w==", "--key-base64"]).await.exits(0);
    cluster.cli(&["load", text(&file)]).await.exits(0);
    assert_eq!(cluster.cli(&["dump", "--format", "jsonl"]).await.exits(0).stdout, dumped.stdout);
}

/// Records with everything that TSV escapes, and with what people write.
fn records() -> Vec<String> {
    let value = |number: usize| match number % 5 {
        0 => String::new(),
        1 => format!("tab \\t line \\n backslash \\\\ {number}"),
        2 => format!("Ω≈ç√ 日本語 {number}"),
        3 => "x".repeat(number % 700),
        _ => format!("plain {number}"),
    };
    (0..2000).map(|number| format!("key {number:04}/ü\t{}", value(number))).collect()
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_during_which_a_node_is_killed_and_restarted_is_dumped_as_it_was() {
    let mut cluster = TestCluster::start(spec(3)).await;
    let file = cluster.dir().join("records.tsv");
    let records = records();
    std::fs::write(&file, records.join("\n") + "\n").expect("written");
    let load = ["load", text(&file), "--level", "quorum", "--concurrency", "4", "--output", "json"];
    let mut command = quorate(&load);
    command.env("QUORATE_CLUSTER", cluster.seeds());
    let loading = tokio::spawn(async move { finish(command, b"").await });
    eventually("the load is under way", async || {
        let puts = cluster.metrics(N1).await.sum("quorate_requests_total");
        seen(puts >= 20.0, puts)
    })
    .await;
    cluster.kill(N2).expect("n2 runs");
    assert!(!loading.is_finished(), "the kill fell into the load");
    cluster.restart(N2).await.unwrap_or_else(|error| panic!("{error}"));
    let json = loading.await.expect("it ends").exits(0).json();
    assert_eq!((&json["stored"], &json["not_applied"], &json["unknown"]), (&2000.into(), &0.into(), &0.into()), "{json}");

    let expected = sorted(&std::fs::read_to_string(&file).expect("readable")).iter().map(ToString::to_string).collect::<Vec<_>>();
    for level in ["quorum", "all"] {
        let dump = cluster.cli(&["dump", "--level", level]).await.exits(0).says("2000 records printed");
        assert!(sorted(dump.text()) == expected, "at {level} the dump has other lines than the file");
    }
}

#[tokio::test]
async fn a_file_with_a_line_that_is_no_record_is_refused_before_anything_is_sent() {
    let cluster = TestCluster::start(spec(1)).await;
    for (name, content, line, says) in [
        ("tab.tsv", "a\t1\nno tab\n", 2, "no tab between key and value"),
        ("empty-key.tsv", "a\t1\nb\t2\n\t3\n", 3, "the key is empty"),
        ("escape.tsv", "a\t\\x\n", 1, "backslash"),
        ("json.jsonl", "{\"key\":\"a\",\"siblings\":[{\"value\":\"1\"}]}\n{\"key\":\n", 2, ""),
    ] {
        let file = cluster.dir().join(name);
        std::fs::write(&file, content).expect("written");
        cluster.cli(&["load", text(&file)]).await.exits(2).says(&format!("{name}:{line}")).says(says);
    }
    cluster.cli(&["load", text(&cluster.dir().join("records"))]).await.exits(2);
    cluster.cli(&["get", "a"]).await.exits(3);
}

#[tokio::test]
async fn ring_tells_where_a_key_lives_whoever_is_asked() {
    let cluster = TestCluster::start(spec(5)).await;
    let mut answers = BTreeSet::new();
    for node in cluster.nodes() {
        let ran = cluster.cli(&["ring", "--key", "U+0041", "--output", "json", "--cluster", node.address()]).await.exits(0);
        answers.insert(ran.text().to_owned());
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    let json: serde_json::Value = serde_json::from_str(answers.first().expect("one")).expect("JSON");
    assert_eq!(json["slot"], quorate_ring::slot_of(b"U+0041").number(), "{json}");
    let homes: BTreeSet<&str> = json["preference_list"].as_array().expect("a list").iter().filter_map(|node| node.as_str()).collect();
    assert_eq!(homes.len(), 3, "{json}");
    let table = cluster.cli(&["ring", "--key", "U+0041"]).await.exits(0);
    assert!(homes.iter().all(|home| table.text().contains(home)), "{table}");
    let put = cluster.cli(&["put", "U+0041", "A", "--level", "all", "--output", "json"]).await.exits(0).json();
    let stored: BTreeSet<&str> =
        put["receipt"]["replicas"].as_array().expect("a list").iter().filter_map(|report| report["node"].as_str()).collect();
    assert_eq!(stored, homes, "{put}");
    let whole = cluster.cli(&["ring", "--output", "json"]).await.exits(0).json();
    assert_eq!(whole["table"].as_array().map(Vec::len), Some(256), "{whole}");
}

#[tokio::test]
async fn explain_tells_which_replica_did_what() {
    let mut cluster = TestCluster::start(spec(3)).await;
    let ran = cluster.cli(&["put", "k", "v", "--level", "all", "--explain"]).await.exits(0);
    let ran = ran.says("put \"k\" at all, bucket default: answered after").says("coordinated").says("3 of 3 needed replicas");
    assert!(!ran.text().contains("coordinated"), "the story goes to stderr: {ran}");
    for node in [N1, N2, N3] {
        assert!(ran.stderr.contains(&format!("{node} ")), "{ran}");
    }
    cluster.kill(N2).expect("n2 runs");
    cluster.until_sees(N1, N2, false).await;
    cluster.until_sees(N3, N2, false).await;
    cluster.cli(&["get", "k", "--level", "all", "--explain"]).await.exits(6).says("failed, not applied").says("n2");
}

#[tokio::test]
async fn completions_and_manual_pages_know_all_commands() {
    let commands = ["server", "demo", "get", "put", "del", "siblings", "load", "dump", "status", "ring", "config", "bench"];
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(&["completions", shell]).await.exits(0);
        assert!(commands.iter().all(|command| ran.text().contains(command)), "{shell}");
    }
    let page = run(&["man"]).await.exits(0);
    assert!(page.text().starts_with(".") && commands.iter().all(|command| page.text().contains(command)), "{page}");
    for command in commands {
        assert!(run(&["man", command]).await.exits(0).text().contains(&format!(".TH quorate-{command}")), "{command}");
    }
    run(&["man", "git"]).await.exits(2);
    run(&["completions", "tcl"]).await.exits(2);
}

/// What the interface promises to every reader of metrics.
const METRICS: [&str; 21] = [
    "quorate_request_duration_seconds",
    "quorate_requests",
    "quorate_outcome_unknown",
    "quorate_read_repairs",
    "quorate_stale_replies",
    "quorate_conflicts",
    "quorate_hints_stored",
    "quorate_hints_replayed",
    "quorate_hints_dropped",
    "quorate_hints_pending",
    "quorate_peer_up",
    "quorate_ring_epoch",
    "quorate_messages",
    "quorate_replica_requests",
    "quorate_overloaded",
    "quorate_requests_in_flight",
    "quorate_fsyncs",
    "quorate_commits",
    "quorate_commit_duration_seconds",
    "quorate_peer_messages",
    "quorate_peer_delay_seconds",
];

/// A cluster in which one of everything that is counted has happened at n1.
async fn eventful() -> TestCluster {
    // One hint is kept for each peer, further ones are dropped and left to repair.
    // That n2 and n3 are silent is noticed late enough for one put whose outcome is unknown.
    let settings = ["hints.per_peer_max=1", "hints.replay_batch=1", "peer.heartbeat_timeout=6s"].map(str::to_owned).to_vec();
    let mut cluster = TestCluster::start(ClusterSpec { settings, ..faulty(3) }).await;
    let n1 = cluster.direct(N1).await.within(Duration::from_millis(300));
    cluster.partition(&[BTreeSet::from([N1]), BTreeSet::from([N2, N3])]).await.unwrap_or_else(|error| panic!("{error}"));
    let unknown = n1.put("hinted", "v", Level::Quorum).await.expect_err("n1 is alone");
    assert_eq!(unknown.outcome, Outcome::Unknown, "{unknown}");
    cluster.until_apart(N1, N2).await;
    cluster.until_apart(N1, N3).await;
    for value in ["a", "b"] {
        let put = n1.write("dropped", value, Some(Level::One), WriteContext::Concurrent).await;
        put.unwrap_or_else(|failure| panic!("{failure}"));
    }
    cluster.heal().await.unwrap_or_else(|error| panic!("{error}"));
    cluster.wait_until_connected().await.unwrap_or_else(|error| panic!("{error}"));
    cluster.until_no_hints(&[N1], N2).await;
    let read = cluster.direct(N1).await.get("dropped", Level::All).await.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(values(&read), ["a", "b"]);
    assert_eq!(read.receipt.replicas.iter().filter(|report| report.stale && report.repaired).count(), 2, "{:?}", read.receipt);
    cluster
}

#[tokio::test]
async fn metrics_have_the_promised_names_and_the_level_as_a_label() {
    let cluster = eventful().await;
    let ran = cluster.cli(&["status", "--metrics", "--node", "n1"]).await.exits(0);
    let metrics = Metrics::read(ran.text());
    for name in METRICS {
        assert!(metrics.families().iter().any(|family| family == name), "{name} is missing: {:?}", metrics.families());
    }
    assert!(metrics.families().iter().any(|family| family.starts_with("quorate_rocksdb_")), "{:?}", metrics.families());
    let labels = metrics.labels("quorate_requests_total").expect("requests were counted");
    assert!(["op=\"", "level=\"", "outcome=\""].iter().all(|label| labels.contains(label)), "{labels}");
    let unknown = |level| metrics.sum(&format!("quorate_outcome_unknown_total{{level=\"{level}\"}}"));
    assert_eq!((unknown("quorum"), metrics.sum("quorate_outcome_unknown_total")), (1.0, 1.0), "{ran}");
    assert_eq!(metrics.sum("quorate_read_repairs_total"), 2.0, "{ran}");
    assert_eq!((metrics.sum("quorate_stale_replies_total"), metrics.sum("quorate_conflicts_total")), (2.0, 1.0), "{ran}");
    assert_eq!((metrics.sum("quorate_hints_stored_total"), metrics.sum("quorate_hints_dropped_total")), (2.0, 4.0), "{ran}");
    assert!(metrics.sum("quorate_fsyncs_total") > 0.0 && metrics.sum("quorate_messages_total") > 0.0, "{ran}");
    assert_eq!(metrics.sum("quorate_peer_up"), 2.0, "{ran}");
    let all = cluster.cli(&["status", "--metrics"]).await.exits(0);
    assert!(["# node n1", "# node n2", "# node n3"].iter().all(|title| all.text().contains(title)), "{all}");
}

/// Answers of the node's HTTP listener.
pub(crate) async fn http(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the listener accepts");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the listener reads");
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("in time").expect("an answer in text");
    answer
}

#[tokio::test]
async fn metrics_and_health_are_served_over_http_where_the_configuration_says() {
    // A listener that was bound and dropped leaves a port that nobody else is given for a while.
    let address = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").to_string();
    let settings = vec![format!("node.metrics_address={address}")];
    let cluster = TestCluster::start(ClusterSpec { settings, ..spec(1) }).await;
    cluster.cli(&["put", "k", "v"]).await.exits(0);
    let metrics = http(&address, "/metrics").await;
    assert!(metrics.starts_with("HTTP/1.1 200") && metrics.contains("quorate_requests_total{"), "{metrics}");
    assert!(http(&address, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(http(&address, "/readyz").await.starts_with("HTTP/1.1 200"));
    assert!(http(&address, "/").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn a_session_file_shows_its_own_writes_at_one_while_a_replica_is_stale() {
    let mut cluster = TestCluster::start(faulty(3)).await;
    let session: PathBuf = cluster.dir().join("session");
    cluster.cli(&["put", "k", "old", "--level", "all"]).await.exits(0);
    cluster.partition(&[BTreeSet::from([N1]), BTreeSet::from([N2, N3])]).await.unwrap_or_else(|error| panic!("{error}"));
    cluster.until_apart(N1, N2).await;
    cluster.until_apart(N1, N3).await;
    cluster.cli(&["put", "k", "new", "--level", "quorum", "--session", text(&session)]).await.exits(0);
    let n1 = cluster.direct(N1).await;
    assert_eq!(n1.values("k", Level::One).await, Ok(vec!["old".to_owned()]), "n1 is stale");
    for _ in 0..10 {
        let read = cluster.cli(&["get", "k", "--level", "one", "--session", text(&session)]).await.exits(0);
        assert_eq!(read.text(), "new\n");
    }
    // Where only the stale replica can be asked, the session says so rather than going back.
    cluster.kill(N2).expect("n2 runs");
    cluster.kill(N3).expect("n3 runs");
    cluster
        .cli(&["get", "k", "--level", "one", "--session", text(&session)])
        .await
        .exits(6)
        .says("caught up with what this session has seen");
    assert_eq!(cluster.cli(&["get", "k", "--level", "one"]).await.exits(0).text(), "old\n", "without the session one is one");
    std::fs::write(&session, "milk").expect("written");
    cluster.cli(&["get", "k", "--session", text(&session)]).await.exits(2).says("holds no session");
}

#[tokio::test]
async fn a_reader_that_leaves_early_is_no_failure() {
    let cluster = TestCluster::start(spec(1)).await;
    let file = cluster.dir().join("records.tsv");
    let lines: String = (0..3000).map(|number| format!("k{number}\t{}\n", "v".repeat(200))).collect();
    std::fs::write(&file, lines).expect("written");
    cluster.cli(&["load", text(&file)]).await.exits(0);
    for arguments in [&["dump"][..], &["dump", "--output", "json"], &["ring"], &["completions", "bash"], &["man"], &["--help"]] {
        let mut command = quorate(arguments);
        command.env("QUORATE_CLUSTER", cluster.seeds()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let mut out = child.stdout.take().expect("stdout is piped");
        out.read_exact(&mut [0; 1]).await.expect("it prints something");
        drop(out);
        let ended = timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").expect("its output can be read");
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success() && !stderr.contains("panicked"), "{arguments:?} ended with {}: {stderr}", ended.status);
    }
}

#[tokio::test]
async fn status_shows_a_dead_node_as_a_line_and_not_as_a_failure() {
    let mut cluster = TestCluster::start(spec(3)).await;
    cluster.kill(N2).expect("n2 runs");
    cluster.until_sees(N1, N2, false).await;
    let status = cluster.cli(&["status", "--output", "json"]).await.exits(0).json();
    let up: Vec<bool> = status["nodes"].as_array().expect("a list").iter().filter_map(|node| node["up"].as_bool()).collect();
    assert_eq!(up, [true, false, true], "{status}");
    cluster.cli(&["status"]).await.exits(0).says("n2");
    cluster.cli(&["status", "--node", "n2"]).await.exits(6);
}
