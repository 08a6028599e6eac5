//! What the command line promises when things go wrong: signals, unknown outcomes, files that cannot be written, no cluster.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::support::cli::{Ran, quorate, run};
use crate::support::cluster::{N1, N2, N3, TestCluster, faulty, spec};
use crate::support::wait::{PATIENCE, eventually, seen};

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

async fn signal(child: &Child, name: &str) {
    let pid = child.id().expect("it runs").to_string();
    let sent = Command::new("kill").args([name, &pid]).status().await.expect("kill starts");
    assert!(sent.success(), "kill {name} {pid}");
}

#[tokio::test]
async fn raw_bytes_of_several_values_are_never_glued_together() {
    let cluster = TestCluster::start(spec(3)).await;
    cluster.cli(&["put", "k", "a", "--level", "all"]).await.exits(0);
    assert_eq!(cluster.cli(&["get", "k", "--output", "raw"]).await.exits(0).text(), "a");
    cluster.cli(&["put", "k", "b", "--concurrent", "--level", "all"]).await.exits(0);
    for command in ["get", "siblings"] {
        let ran = cluster.cli(&[command, "k", "--output", "raw", "--level", "all"]).await.exits(5).says("2 siblings");
        assert_eq!(ran.stdout, b"", "{ran}");
    }
    let table = cluster.cli(&["siblings", "k", "--level", "all"]).await.exits(0);
    let printed: BTreeSet<&str> = table.text().lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert!(printed.contains("a") && printed.contains("b"), "values stand as get prints them: {table}");
}

#[tokio::test]
async fn without_a_cluster_every_command_says_what_to_do() {
    // The port of a listener that is gone: nobody is there.
    let address = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").to_string();
    for command in [&["get", "k"][..], &["put", "k", "v"], &["del", "k"], &["status"], &["ring"], &["dump"]] {
        let ran = run(&[command, &["--cluster", &address]].concat()).await.exits(6);
        let ran = ran.says("no node could be reached").says("quorate demo").says("--cluster").says("QUORATE_CLUSTER");
        assert_eq!(ran.stderr.contains("not applied"), ["put", "del"].contains(&command[0]), "{ran}");
        let json = run(&[command, &["--cluster", &address, "--output", "json"]].concat()).await.exits(6).json();
        assert!(json["help"].as_str().is_some_and(|help| help.contains("quorate demo")) && json["outcome"] == "not_applied", "{json}");
    }
    run(&["get", "k", "--cluster", "nowhere"]).await.exits(2).says("\"nowhere\" is no address").says("QUORATE_CLUSTER");
}

#[tokio::test]
async fn commands_that_ask_no_cluster_do_not_mind_a_wrong_one() {
    let cluster = TestCluster::start(spec(1)).await;
    let config = text(cluster.node(N1).expect("n1").config());
    for arguments in [&["config", "check", "--config", config][..], &["completions", "bash"], &["man"]] {
        let mut command = quorate(arguments);
        let ended = command.env("QUORATE_CLUSTER", "foo").output().await.expect("the binary starts");
        assert!(ended.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
    }
}

#[tokio::test]
async fn check_and_server_refuse_the_same_log_filters() {
    let cluster = TestCluster::start(spec(1)).await;
    let config = text(cluster.node(N1).expect("n1").config());
    for wrong in ["a=b=c,,", "inof", "info,"] {
        let set = format!("log.filter={wrong}");
        for command in [&["config", "check"][..], &["server"]] {
            let ran = run(&[command, &["--config", config, "--set", &set]].concat()).await.exits(2);
            ran.says("--set log.filter").says("a word alone must be a level");
        }
    }
    run(&["config", "check", "--config", config, "--set", "log.filter=warn, quorate_node=debug"]).await.exits(0);
}

#[tokio::test]
async fn wrong_arguments_are_told_to_programs_without_the_page_around_them() {
    let json = run(&["gte", "k", "--output", "json"]).await.exits(2).json();
    assert_eq!((&json["error"], &json["outcome"]), (&"unrecognized subcommand 'gte'".into(), &"not_applied".into()), "{json}");
    assert!(json["help"].as_str().is_some_and(|help| help.contains("'get'")), "{json}");
    run(&["gte", "k"]).await.exits(2).says("'get'");
    run(&["get", "k", "--level", "linear"]).await.exits(2).says("linearizable");
}

#[tokio::test]
async fn a_session_that_cannot_be_kept_is_found_out_before_anything_is_sent() {
    let cluster = TestCluster::start(spec(1)).await;
    let session = cluster.dir().join("missing").join("session");
    cluster.cli(&["put", "k", "v", "--session", text(&session)]).await.exits(2).says("cannot write");
    cluster.cli(&["get", "k"]).await.exits(3);
}

/// A put whose coordinator stored it and then waited in vain for another replica. Its time is enough for the retry to wait until no
/// sending of the first try can begin any more.
async fn unknown_put(cluster: &mut TestCluster) -> Ran {
    let alone = [N1, N2, N3].map(|node| BTreeSet::from([node]));
    for _ in 0..5 {
        cluster.partition(&alone).await.unwrap_or_else(|error| panic!("{error}"));
        let ran = cluster.cli(&["put", "k", "it's mine", "--level", "quorum", "--timeout", "1s"]).await;
        cluster.heal().await.unwrap_or_else(|error| panic!("{error}"));
        cluster.wait_until_connected().await.unwrap_or_else(|error| panic!("{error}"));
        // Exit 6: the nodes had noticed the partition by then and sent nothing.
        if ran.code != Some(6) {
            return ran.exits(7);
        }
    }
    panic!("the nodes notice every partition before a put");
}

#[tokio::test]
async fn an_unknown_outcome_is_retried_by_the_command_that_the_error_shows() {
    let mut cluster = TestCluster::start(faulty(3)).await;
    let unknown = unknown_put(&mut cluster).await.says("outcome unknown").says("under its id");
    let shown = unknown.stderr.lines().find(|line| line.contains("--op-id")).unwrap_or_else(|| panic!("{unknown}")).trim();
    for _ in 0..2 {
        let shell = Command::new("sh").arg("-c").arg(shown).env("QUORATE_CLUSTER", cluster.seeds()).output();
        let ended = timeout(PATIENCE, shell).await.expect("it ends").expect("a shell");
        assert!(ended.status.success(), "{shown}: {}", String::from_utf8_lossy(&ended.stderr));
        let read = cluster.cli(&["get", "k", "--level", "all", "--output", "json"]).await.exits(0).json();
        assert_eq!((&read["value"], read["siblings"].as_array().map(Vec::len)), (&"it's mine".into(), Some(1)), "{read}");
        assert!(read["siblings"][0]["operation_id"].as_str().is_some_and(|id| shown.ends_with(id)), "{shown}: {read}");
    }
}

/// Starts a load of many records and waits until it is under way.
async fn loading(cluster: &TestCluster, file: &Path) -> Child {
    let mut command = quorate(&["load", text(file), "--concurrency", "1", "--output", "json"]);
    command.env("QUORATE_CLUSTER", cluster.seeds()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let before = cluster.metrics(N1).await.sum("quorate_requests_total");
    let child = command.spawn().expect("the binary starts");
    eventually("the load is under way", async || {
        let puts = cluster.metrics(N1).await.sum("quorate_requests_total");
        seen(puts >= before + 20.0, puts)
    })
    .await;
    child
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_stopped_by_a_signal_tells_the_counts_and_is_gone_on_with() {
    const RECORDS: u64 = 100_000;
    let cluster = TestCluster::start(spec(1)).await;
    let file = cluster.dir().join("records.tsv");
    let lines: String = (0..RECORDS).map(|number| format!("k{number}\t{number}\n")).collect();
    std::fs::write(&file, lines).expect("written");
    for name in ["-INT", "-TERM"] {
        let child = loading(&cluster, &file).await;
        signal(&child, name).await;
        let ended = timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").expect("its output can be read");
        let json: serde_json::Value = serde_json::from_slice(&ended.stdout).expect("the counts");
        let count = |field: &str| json[field].as_u64().unwrap_or_else(|| panic!("{field}: {json}"));
        assert_eq!((ended.status.code(), count("exit")), (Some(1), 1), "{json}");
        assert!(count("stored") >= 20 && count("not_tried") > 0, "{json}");
        assert_eq!(count("stored") + count("not_tried"), RECORDS, "nothing was cut off half done: {json}");
        assert_eq!(count("resume_line"), count("stored") + 1, "{json}");
    }
    // The last records alone are left for the resumed load, so that it ends soon.
    let progress = cluster.dir().join("records.tsv.progress");
    let bytes = std::fs::metadata(&file).expect("written").len();
    let last = format!("k{0}\t{0}\n", RECORDS - 1);
    let saved = format!("{{\"lines\":{},\"bytes\":{},\"file_bytes\":{bytes}}}", RECORDS - 1, bytes - last.len() as u64);
    assert!(progress.exists(), "a load is resumable even if it was not resumed itself");
    std::fs::write(&progress, saved).expect("written");
    let ran = cluster.cli(&["load", text(&file), "--resume"]).await.exits(0);
    assert!(ran.text().starts_with("1 of 1 record stored") && !progress.exists(), "{ran}");
    cluster.cli(&["get", &format!("k{}", RECORDS - 1)]).await.exits(0);
}

#[tokio::test]
async fn a_bench_says_which_keys_it_leaves_and_deletes_them_if_asked_to() {
    let cluster = TestCluster::start(spec(1)).await;
    let bench = ["bench", "--seconds", "1", "--rate", "100", "--keys", "20", "--clients", "4"];
    cluster.cli(&bench).await.exits(0).says("bench:000000 to bench:000019 stay");
    assert_eq!(cluster.cli(&["dump", "--format", "jsonl"]).await.exits(0).text().lines().count(), 20);
    cluster.cli(&[&bench[..], &["--clean-up"]].concat()).await.exits(0);
    assert_eq!(cluster.cli(&["dump"]).await.exits(0).text(), "");
}
