//! The linearizable level and what exists only there: compare-and-set, increments, outcomes that are asked for and settled.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use quorate_client::{Cas, Client, Expect, Level, Outcome};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::cli::{Ran, finish, quorate, run};
use crate::support::cluster::{N1, N2, N3, TestCluster, faulty, spec};
use crate::support::wait::{PATIENCE, eventually, seen};

#[tokio::test]
async fn a_lock_is_taken_once_and_the_second_is_told_by_whom() {
    let cluster = TestCluster::start(spec(3)).await;
    let take = ["cas", "lock", "--expect", "absent", "--set", "me"];
    let taken = cluster.cli(&take).await.exits(0);
    let refused = cluster.cli(&take).await.exits(4).says("has another value, token ");
    assert_eq!(refused.text(), "me\n");
    let json = cluster.cli(&[&take[..], &["--output", "json"]].concat()).await.exits(4).json();
    assert_eq!((&json["outcome"], &json["conflict"], &json["value"]), (&"not_applied".into(), &true.into(), &"me".into()), "{json}");
    let token = json["token"].as_str().expect("a token");
    assert!(taken.text().trim_end().ends_with(token), "{taken}");

    let read = cluster.cli(&["get", "lock", "--level", "linearizable", "--output", "json"]).await.exits(0).json();
    assert_eq!((&read["token"], &read["value"]), (&token.into(), &"me".into()), "{read}");
    let expect = format!("token:{token}");
    let release = ["cas", "lock", "--expect", &expect, "--delete", "--output", "json"];
    let released = cluster.cli(&release).await.exits(0).json();
    let again = cluster.cli(&[&take[..], &["--output", "json"]].concat()).await.exits(0).json();
    let tokens = [token, released["token"].as_str().expect("a token"), again["token"].as_str().expect("a token")];
    let tokens = tokens.map(|token| token.parse::<quorate_client::Token>().expect("five numbers"));
    assert!(tokens[0] < tokens[1] && tokens[1] < tokens[2], "tokens grow through a delete: {tokens:?}");
    cluster.cli(&release).await.exits(4);
}

#[tokio::test]
async fn increments_and_levels_of_the_command_line() {
    let cluster = TestCluster::start(spec(3)).await;
    assert_eq!(cluster.cli(&["incr", "n"]).await.exits(0).text(), "1\n");
    assert_eq!(cluster.cli(&["incr", "n", "-3"]).await.exits(0).text(), "-2\n");
    let told = cluster.cli(&["incr", "n", "44", "--explain", "--output", "json"]).await.exits(0).says("round");
    assert_eq!(told.json()["result"], 42, "{told}");
    cluster.cli(&["put", "text", "abc", "--level", "linearizable"]).await.exits(0);
    cluster.cli(&["incr", "text"]).await.exits(1).says("not a number");
    cluster.cli(&["put", "k", "v", "--level", "linearizable", "--concurrent"]).await.exits(2).says("takes no context");
    cluster.cli(&["get", "n", "--level", "linearizable", "--explain"]).await.exits(0).says("round trip");
    assert_eq!(cluster.cli(&["siblings", "n", "--level", "linearizable"]).await.exits(0).text().matches("token").count(), 1);
    let dump = cluster.cli(&["dump", "--level", "linearizable"]).await.exits(0);
    assert_eq!(dump.text().lines().collect::<BTreeSet<_>>(), BTreeSet::from(["n\t42", "text\tabc"]));
    let file = cluster.dir().join("records.tsv");
    std::fs::write(&file, dump.text()).expect("written");
    let ran = cluster.cli(&["load", file.to_str().expect("a path in UTF-8"), "--level", "linearizable"]).await.exits(0);
    assert!(ran.text().starts_with("2 of 2 records stored"), "{ran}");
    assert_eq!(cluster.cli(&["incr", "n"]).await.exits(0).text(), "43\n");
}

#[tokio::test]
async fn a_linearizable_read_shows_what_a_read_at_one_misses() {
    let mut cluster = TestCluster::start(faulty(3)).await;
    let kv = cluster.client().await;
    kv.put("k", "before").level(Level::All).await.unwrap_or_else(|error| panic!("{error}"));
    let (aside, others) = (BTreeSet::from([N3]), BTreeSet::from([N1, N2]));
    cluster.partition(&[aside, others]).await.unwrap_or_else(|error| panic!("{error}"));
    cluster.until_apart(N3, N1).await;
    cluster.until_apart(N3, N2).await;
    let majority = kv.default_bucket().via(N1);
    majority.put("k", "after").level(Level::Linearizable).await.unwrap_or_else(|error| panic!("{error}"));
    let minority = kv.default_bucket().via(N3);
    let single =
        |read: quorate_client::Read| String::from_utf8(read.single().expect("one value").expect("a value").to_vec()).expect("text");
    let stale = minority.get("k").level(Level::One).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(single(stale), "before", "n3 cannot know");
    let refused = minority.get("k").level(Level::Linearizable).await.expect_err("n3 is alone");
    assert!(refused.is_retryable(), "it is refused rather than answered with something old: {refused}");
    let refused = minority.incr("n", 1).await.expect_err("n3 is alone");
    assert_eq!(refused.outcome(), Outcome::NotApplied, "{refused}");
    let told = refused.to_string();
    assert!(told.contains("n1 is down") && told.contains("n2 is down"), "it says who is out of reach: {told}");
    cluster.heal().await.unwrap_or_else(|error| panic!("{error}"));
    cluster.wait_until_connected().await.unwrap_or_else(|error| panic!("{error}"));
    let fresh = minority.get("k").level(Level::Linearizable).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(single(fresh), "after");
}

/// An increment whose coordinators do not reach each other.
async fn unknown_incr(cluster: &mut TestCluster) -> Ran {
    let alone = [N1, N2, N3].map(|node| BTreeSet::from([node]));
    for _ in 0..5 {
        cluster.partition(&alone).await.unwrap_or_else(|error| panic!("{error}"));
        let ran = cluster.cli(&["incr", "n", "--timeout", "1s"]).await;
        cluster.heal().await.unwrap_or_else(|error| panic!("{error}"));
        cluster.wait_until_connected().await.unwrap_or_else(|error| panic!("{error}"));
        // Exit 6: the nodes had noticed the partition by then, and nothing was sent.
        if ran.code != Some(6) {
            return ran.exits(7);
        }
    }
    panic!("the nodes notice every partition before an increment");
}

async fn shell(cluster: &TestCluster, line: &str) -> std::process::Output {
    let shell = Command::new("sh").arg("-c").arg(line).env("QUORATE_CLUSTER", cluster.seeds()).output();
    timeout(PATIENCE, shell).await.expect("it ends").expect("a shell")
}

#[tokio::test]
async fn an_unknown_increment_is_done_once_by_the_command_that_the_error_shows() {
    let mut cluster = TestCluster::start(faulty(3)).await;
    let unknown = unknown_incr(&mut cluster).await.says("outcome unknown");
    let shown = |option: &str| unknown.stderr.lines().find(|line| line.contains(option)).unwrap_or_else(|| panic!("{unknown}")).trim();
    for _ in 0..3 {
        let ended = shell(&cluster, shown("--op-id")).await;
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        assert_eq!(ended.stdout, b"1\n", "it is answered as the first time");
    }
    let ended = shell(&cluster, shown("--settle")).await;
    assert_eq!(ended.status.code(), Some(0), "settling does not undo: {}", String::from_utf8_lossy(&ended.stderr));
    assert!(ended.stdout.starts_with(b"applied, with the result 1"), "{}", String::from_utf8_lossy(&ended.stdout));
}

#[tokio::test]
async fn an_unknown_increment_that_was_settled_is_never_applied() {
    let mut cluster = TestCluster::start(faulty(3)).await;
    let unknown = unknown_incr(&mut cluster).await;
    let shown = |option: &str| unknown.stderr.lines().find(|line| line.contains(option)).unwrap_or_else(|| panic!("{unknown}")).trim();
    let settled = shell(&cluster, shown("--settle")).await;
    let code = settled.status.code();
    assert!([Some(0), Some(6)].contains(&code), "it is known now: {}", String::from_utf8_lossy(&settled.stdout));
    // A sending that had been accepted somewhere may have been taken up before it could be settled.
    let applied = i64::from(code == Some(0));
    let retried = shell(&cluster, shown("--op-id")).await;
    assert_eq!(retried.status.success(), applied == 1, "{}", String::from_utf8_lossy(&retried.stderr));
    assert_eq!(cluster.cli(&["incr", "n"]).await.exits(0).text(), format!("{}\n", applied + 1));
    cluster.cli(&["outcome", "0000000000000000000000000000feed.3.9.1700000000000", "--key", "n"]).await.exits(7);
}

#[tokio::test]
async fn a_bucket_of_linearizable_writes_refuses_all_others() {
    let locks = quorate_lab::cluster::BucketSpec {
        write_mode: Some(quorate_protocol::record::WriteMode::LinOnly),
        ..quorate_lab::cluster::BucketSpec::new("locks")
    };
    let cluster = TestCluster::start(quorate_lab::cluster::ClusterSpec { buckets: vec![locks], ..spec(3) }).await;
    cluster.cli(&["put", "k", "v", "--bucket", "locks", "--level", "quorum"]).await.exits(2).says("linearizable writes only");
    cluster.cli(&["put", "k", "v", "--bucket", "locks"]).await.exits(0);
    cluster.cli(&["cas", "k", "--bucket", "locks", "--expect", "value:v", "--set", "w"]).await.exits(0);
    assert_eq!(cluster.cli(&["get", "k", "--bucket", "locks", "--level", "quorum"]).await.exits(0).text(), "w\n");
}

fn history(cluster: &TestCluster) -> String {
    cluster.dir().join("history.jsonl").to_str().expect("a path in UTF-8").to_owned()
}

/// The short version of what is run for hours elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_are_linearizable_while_a_node_is_killed_and_another_paused() {
    let mut cluster = TestCluster::start(spec(3)).await;
    let file = history(&cluster);
    let bench = ["bench", "--mix", "40r40w20c", "--level", "linearizable", "--keys", "5", "--clients", "12", "--seconds", "6"];
    let mut command = quorate(&[&bench[..], &["--timeout", "3s", "--output", "json", "--history", &file]].concat());
    command.env("QUORATE_CLUSTER", cluster.seeds());
    let measuring = tokio::spawn(async move { finish(command, b"").await });
    eventually("the load is under way", async || {
        let requests = cluster.metrics(N1).await.sum("quorate_requests_total");
        seen(requests > 300.0, requests)
    })
    .await;
    cluster.kill(N2).expect("n2 runs");
    cluster.restart(N2).await.unwrap_or_else(|error| panic!("{error}"));
    cluster.stop(N3).await;
    let before = cluster.metrics(N1).await.sum("quorate_requests_total");
    eventually("the load goes on without n3", async || {
        let requests = cluster.metrics(N1).await.sum("quorate_requests_total");
        seen(requests > before + 100.0, requests)
    })
    .await;
    cluster.resume(N3).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(!measuring.is_finished(), "the faults fell into the load");
    let ran = measuring.await.expect("it ends").exits(0);

    let checked = run(&["check", &file, "--output", "json"]).await.exits(0).json();
    let judged = &checked["linearizability"];
    assert!(judged["operations"].as_u64() > Some(500) && judged["verdict"] == "linearizable", "{checked}");
    let text = std::fs::read_to_string(&file).expect("a history");
    let lines: Vec<Value> = text.lines().skip(1).map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let cas = |outcome: &str| lines.iter().filter(|line| line["op"] == "cas" && line["outcome"] == outcome).count();
    assert!(cas("ok") > 10 && cas("fail") > 10, "some are applied and some conflict: {ran}");
    assert!(lines.iter().all(|line| line["op"] != "cas" || line.get("expect").is_some()));
    assert!(lines.iter().filter(|line| line["outcome"] == "ok").all(|line| line["token"].is_string()));
}

/// Asks again as soon as it was answered, until it is told to stop: a write, then a read. Says how long it was without an answer at most.
async fn longest_wait(kv: Client, keys: Vec<String>, level: Level, stop: Arc<AtomicBool>) -> Duration {
    let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
    for (key, writes) in keys.iter().cycle().flat_map(|key| [(key, true), (key, false)]) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let answered = match level {
            _ if !writes => kv.get(key).level(level).deadline(PATIENCE).await.map(drop),
            Level::Linearizable => kv.incr(key, 1).deadline(PATIENCE).await.map(drop),
            _ => kv.put(key, "v").level(level).deadline(PATIENCE).await.map(drop),
        };
        answered.unwrap_or_else(|error| panic!("{error}"));
        let now = Instant::now();
        (longest, last) = (longest.max(now - last), now);
    }
    longest
}

/// So many clients that some of them are waiting for the killed node.
const CLIENTS: usize = 8;

/// The longest time that any of several clients is without an answer, while a node is killed that coordinates for some of them.
async fn wait_around_a_kill(cluster: &mut TestCluster, kv: &Client, level: Level) -> Duration {
    let keys: Vec<String> = (0..6).map(|index| format!("{level}{index}")).collect();
    let victim = kv.ring().preference_list(3, keys[0].as_bytes()).expect("made for three").first();
    let survivor = [N1, N2, N3].into_iter().find(|node| *node != victim).expect("three nodes");
    let stop = Arc::new(AtomicBool::new(false));
    let asking = (0..CLIENTS).map(|first| {
        let keys = keys.iter().cycle().skip(first).take(keys.len()).cloned().collect();
        tokio::spawn(longest_wait(kv.clone(), keys, level, Arc::clone(&stop)))
    });
    let asking: Vec<_> = asking.collect();
    let until_asked = async |cluster: &TestCluster, times: f64| {
        let before = cluster.metrics(survivor).await.sum("quorate_requests_total");
        eventually("the clients ask on", async || {
            let now = cluster.metrics(survivor).await.sum("quorate_requests_total");
            seen(now > before + times, now)
        })
        .await;
    };
    until_asked(cluster, 50.0).await;
    cluster.kill(victim).expect("it runs");
    until_asked(cluster, 300.0).await;
    stop.store(true, Ordering::Relaxed);
    let mut longest = Duration::ZERO;
    for waited in asking {
        longest = longest.max(waited.await.expect("no failure"));
    }
    cluster.restart(victim).await.unwrap_or_else(|error| panic!("{error}"));
    longest
}

/// A busy machine may hold up a single try; that all of several take longer, it does not explain.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_waits_longer_than_a_quarter_of_a_second_when_a_node_is_killed() {
    const WAIT_MAX: Duration = Duration::from_millis(250);
    let mut cluster = TestCluster::start(spec(3)).await;
    let kv = cluster.client().await;
    for level in [Level::Quorum, Level::Linearizable] {
        let mut waits = Vec::new();
        while waits.last().is_none_or(|wait| *wait > WAIT_MAX) {
            assert!(waits.len() < 5, "at {level} the longest time without an answer was each time above {WAIT_MAX:?}: {waits:?}");
            waits.push(wait_around_a_kill(&mut cluster, &kv, level).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counter_ends_at_what_was_acknowledged_though_its_coordinators_are_killed() {
    let mut cluster = TestCluster::start(spec(3)).await;
    let kv = cluster.client().await;
    let adding = (0..4).map(|_| {
        let kv = kv.clone();
        tokio::spawn(async move {
            for _ in 0..50 {
                let full = kv.incr("n", 1).deadline(PATIENCE).in_full().await.unwrap_or_else(|error| panic!("{error}"));
                assert!(full.value > 0, "{}", full.op());
            }
        })
    });
    let adding: Vec<_> = adding.collect();
    for node in [N1, N2, N3] {
        cluster.kill(node).expect("it runs");
        cluster.restart(node).await.unwrap_or_else(|error| panic!("{error}"));
    }
    for task in adding {
        task.await.expect("every increment is acknowledged in the end");
    }
    assert_eq!(kv.incr("n", 0).await.unwrap_or_else(|error| panic!("{error}")), 200, "each was applied once");
    let Cas::Conflict { current } = kv.cas("n").expect(Expect::Absent).delete().await.unwrap_or_else(|error| panic!("{error}")) else {
        panic!("it is there")
    };
    assert_eq!(current.single().map(|value| &value[..]), Some(&b"200"[..]));
}
