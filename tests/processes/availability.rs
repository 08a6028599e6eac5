//! What each level does during partitions, pauses, deaths and slowness.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use quorate_client::{Client, Level, NodeId, Outcome};
use quorate_lab::cluster::ClusterSpec;
use quorate_protocol::outcome::{Failure, Reason, ReplicaReport, ReplicaStatus};

use crate::support::cluster::{N1, N2, N3, TestCluster, faulty, spec, unnoticed};
use crate::support::direct::values;
use crate::support::wait::{BUSY, PATIENCE, eventually, seen};

fn group(nodes: &[NodeId]) -> BTreeSet<NodeId> {
    nodes.iter().copied().collect()
}

fn ok<T>(result: Result<T, Failure>) -> T {
    result.unwrap_or_else(|failure| panic!("{failure}"))
}

/// The home replicas that a failure names as down or timed out.
fn missing(failure: &Failure) -> Vec<NodeId> {
    let is_missing = |status: &ReplicaStatus| matches!(status, ReplicaStatus::Down | ReplicaStatus::TimedOut);
    let mut nodes: Vec<NodeId> = failure.replicas.iter().filter(|report| is_missing(&report.status)).map(|report| report.node).collect();
    nodes.sort();
    nodes
}

/// Waits until every node holds exactly these values itself.
async fn until_all_hold(cluster: &TestCluster, key: &str, expected: &[&str]) {
    for node in [N1, N2, N3] {
        let direct = cluster.direct(node).await;
        eventually(&format!("{node} holds {expected:?}"), async || {
            // At `one` a home replica answers from what it holds itself.
            let found = direct.values(key, Level::One).await.map_err(|failure| failure.to_string())?;
            seen(found == expected, found)
        })
        .await;
    }
    let read = ok(cluster.direct(N1).await.get(key, Level::All).await);
    assert_eq!(read.receipt.versions, 1, "all replicas have converged: {:?}", read.receipt);
}

#[tokio::test]
async fn in_a_partition_one_answers_on_both_sides_and_quorum_on_the_side_of_the_majority() {
    let mut cluster = TestCluster::start(faulty(3)).await;
    let (minority, majority) = (cluster.direct(N1).await, cluster.direct(N2).await);
    let base = ok(minority.put("k", "before", Level::All).await);
    cluster.partition(&[group(&[N1]), group(&[N2, N3])]).await.unwrap_or_else(|error| panic!("{error}"));
    cluster.until_apart(N1, N2).await;
    cluster.until_apart(N1, N3).await;

    assert_eq!(minority.values("k", Level::One).await, Ok(vec!["before".to_owned()]));
    assert_eq!(majority.values("k", Level::One).await, Ok(vec!["before".to_owned()]));
    let unread = minority.get("k", Level::Quorum).await.expect_err("n1 is alone");
    assert_eq!((&unread.reason, missing(&unread)), (&Reason::Unreachable { needed: 2, alive: 1 }, vec![N2, N3]));
    let unwritten = minority.put("k", "never", Level::Quorum).await.expect_err("n1 is alone");
    assert_eq!((&unwritten.reason, unwritten.outcome), (&Reason::Unreachable { needed: 2, alive: 1 }, Outcome::NotApplied));
    assert_eq!(missing(&unwritten), [N2, N3], "{unwritten}");

    ok(majority.replace("k", "majority", Level::Quorum, &base.context).await);
    assert_eq!(majority.values("k", Level::Quorum).await, Ok(vec!["majority".to_owned()]));
    assert_eq!(minority.values("k", Level::One).await, Ok(vec!["before".to_owned()]), "n1 cannot know");
    ok(minority.replace("k", "minority", Level::One, &base.context).await);
    let all = majority.get("k", Level::All).await.expect_err("n1 is away");
    assert_eq!((&all.reason, missing(&all)), (&Reason::Unreachable { needed: 3, alive: 2 }, vec![N1]));

    cluster.heal().await.unwrap_or_else(|error| panic!("{error}"));
    cluster.wait_until_connected().await.unwrap_or_else(|error| panic!("{error}"));
    until_all_hold(&cluster, "k", &["majority", "minority"]).await;
}

#[tokio::test]
async fn a_link_cut_in_one_direction_stops_no_quorum() {
    let mut cluster = TestCluster::start(faulty(3)).await;
    let (n1, n2) = (cluster.direct(N1).await, cluster.direct(N2).await);
    let before = ok(n1.put("k", "before", Level::All).await);
    cluster.one_way(N1, N2).await.unwrap_or_else(|error| panic!("{error}"));
    cluster.until_apart(N1, N2).await;
    let there = ok(n1.replace("k", "there", Level::Quorum, &before.context).await);
    let read = ok(n2.get("k", Level::Quorum).await);
    assert_eq!(values(&read), ["there"], "both reach n3");
    ok(n2.replace("k", "back", Level::Quorum, &there.context).await);
    assert_eq!(n1.values("k", Level::Quorum).await, Ok(vec!["back".to_owned()]));
    assert!(n1.get("k", Level::All).await.is_err() && n2.get("k", Level::All).await.is_err(), "an answer needs both directions");
    cluster.heal().await.unwrap_or_else(|error| panic!("{error}"));
    cluster.wait_until_connected().await.unwrap_or_else(|error| panic!("{error}"));
    until_all_hold(&cluster, "k", &["back"]).await;
}

#[tokio::test]
async fn a_node_that_is_started_into_a_partition_never_speaks_across_it() {
    let mut cluster = TestCluster::start(faulty(3)).await;
    ok(cluster.direct(N1).await.put("k", "before", Level::All).await);
    cluster.partition(&[group(&[N1]), group(&[N2, N3])]).await.unwrap_or_else(|error| panic!("{error}"));
    cluster.until_apart(N1, N2).await;
    cluster.until_apart(N1, N3).await;
    cluster.kill(N1).expect("n1 runs");
    let at_kill = cluster.log(N1).len();
    let since_restart = |cluster: &TestCluster| cluster.log(N1)[at_kill..].to_owned();
    cluster.restart(N1).await.unwrap_or_else(|error| panic!("{error}"));
    let n1 = cluster.direct(N1).await;
    let refused = n1.put("k", "never", Level::Quorum).await.expect_err("n1 is alone");
    assert_eq!((&refused.reason, refused.outcome), (&Reason::Unreachable { needed: 2, alive: 1 }, Outcome::NotApplied), "{refused}");
    assert_eq!(n1.values("k", Level::One).await, Ok(vec!["before".to_owned()]));
    let said = since_restart(&cluster);
    assert!(!said.contains("peer is up"), "it spoke with nobody: {said}");

    cluster.heal().await.unwrap_or_else(|error| panic!("{error}"));
    cluster.wait_until_connected().await.unwrap_or_else(|error| panic!("{error}"));
    eventually("n1 logs that it speaks with others again", async || {
        let said = since_restart(&cluster);
        seen(said.contains("peer is up"), said)
    })
    .await;
}

#[tokio::test]
async fn with_two_of_three_nodes_stopped_quorum_fails_within_its_deadline_and_one_answers() {
    const DEADLINE: Duration = Duration::from_millis(600);
    // So late is their silence noticed that the first put comes before that.
    let settings = vec!["peer.heartbeat_timeout=6s".to_owned()];
    let mut cluster = TestCluster::start(ClusterSpec { settings, ..spec(3) }).await;
    let n1 = cluster.direct(N1).await.within(DEADLINE);
    ok(n1.put("k", "before", Level::All).await);
    cluster.stop(N2).await;
    cluster.stop(N3).await;

    // Nobody knows yet that they are stopped: n1 has the write, and what they do with it is open.
    let asked = Instant::now();
    let unknown = n1.put("k", "between", Level::Quorum).await.expect_err("two of three nodes are stopped");
    let took = asked.elapsed();
    assert_eq!((&unknown.reason, unknown.outcome), (&Reason::TimedOut { needed: 2, answered: 1 }, Outcome::Unknown), "{unknown}");
    assert_eq!((missing(&unknown), unknown.answered().collect()), (vec![N2, N3], vec![N1]), "{unknown}");
    assert!(took >= DEADLINE / 2 && took < DEADLINE + BUSY, "its deadline was {DEADLINE:?}, it took {took:?}");
    assert_eq!(n1.values("k", Level::One).await, Ok(vec!["between".to_owned()]));

    // Once their silence is noticed, it is known before anything is sent.
    cluster.until_sees(N1, N2, false).await;
    cluster.until_sees(N1, N3, false).await;
    let refused = n1.put("k", "never", Level::Quorum).await.expect_err("two of three nodes are stopped");
    assert_eq!((&refused.reason, refused.outcome), (&Reason::Unreachable { needed: 2, alive: 1 }, Outcome::NotApplied), "{refused}");
    assert_eq!(missing(&refused), [N2, N3], "{refused}");
    let text = refused.to_string();
    assert!(text.contains("n2") && text.contains("n3") && text.contains("1 of 2"), "{text}");
    assert_eq!(n1.values("k", Level::One).await, Ok(vec!["between".to_owned()]));
    ok(n1.put("k", "one", Level::One).await);

    cluster.resume(N2).await.unwrap_or_else(|error| panic!("{error}"));
    cluster.resume(N3).await.unwrap_or_else(|error| panic!("{error}"));
    cluster.wait_until_connected().await.unwrap_or_else(|error| panic!("{error}"));
    until_all_hold(&cluster, "k", &["one"]).await;
}

#[tokio::test]
async fn a_client_reads_at_one_although_two_of_three_nodes_are_stopped() {
    let mut cluster = TestCluster::start(spec(3)).await;
    let kv = cluster.connect(Client::builder().deadline(PATIENCE)).await;
    for key in 0..10 {
        kv.put(format!("k{key}"), "v").level(Level::All).await.unwrap_or_else(|error| panic!("{error}"));
    }
    cluster.stop(N2).await;
    cluster.stop(N3).await;
    for key in 0..10 {
        let read = kv.get(format!("k{key}")).level(Level::One).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(read.receipt().coordinator, N1, "{:?}", read.receipt());
        assert_eq!(read.single().expect("one value").as_deref(), Some(&b"v"[..]));
    }
    let asked = Instant::now();
    let failed = kv.get("k0").level(Level::Quorum).deadline(Duration::from_secs(3)).await.expect_err("two of three are stopped");
    assert!(asked.elapsed() < Duration::from_secs(3) + BUSY, "its deadline was 3s, it took {:?}", asked.elapsed());
    let text = failed.to_string();
    assert!(text.contains("n2") && text.contains("n3"), "{text}");
}

#[tokio::test]
async fn with_two_of_three_nodes_dead_quorum_is_refused_at_once_by_name() {
    let mut cluster = TestCluster::start(spec(3)).await;
    let kv = cluster.client().await;
    kv.put("k", "before").level(Level::All).await.unwrap_or_else(|error| panic!("{error}"));
    for node in [N2, N3] {
        cluster.kill(node).unwrap_or_else(|error| panic!("{error}"));
        cluster.until_sees(N1, node, false).await;
    }
    let ran = cluster.cli(&["put", "k", "never", "--level", "quorum", "--timeout", "60s"]).await.exits(6);
    let ran = ran.says("1 of 2 needed replicas").says("n2 is down").says("n3 is down").says("not applied");
    assert!(ran.took < BUSY, "known before anything is sent, told at once: {ran}");
    let ran = cluster.cli(&["get", "k", "--level", "quorum", "--timeout", "60s"]).await.exits(6);
    assert!(ran.took < BUSY, "known before anything is sent, told at once: {ran}");
    let json = cluster.cli(&["put", "k", "never", "--output", "json"]).await.exits(6).json();
    assert_eq!((&json["outcome"], &json["exit"], &json["retryable"]), (&"not_applied".into(), &6.into(), &true.into()), "{json}");
    assert_eq!(cluster.cli(&["get", "k", "--level", "one"]).await.exits(0).text(), "before\n");
    cluster.cli(&["put", "k", "after", "--level", "one"]).await.exits(0);
}

/// The home replicas of a key, in ring order, and the other nodes of a cluster of five.
async fn homes_and_others(cluster: &TestCluster, key: &str) -> (Vec<NodeId>, Vec<NodeId>) {
    let ring = cluster.cli(&["ring", "--key", key, "--output", "json"]).await.exits(0).json();
    let node = |name: &serde_json::Value| name.as_str().and_then(|name| name.parse().ok()).expect("the name of a node");
    let homes: Vec<NodeId> = ring["preference_list"].as_array().expect("a list").iter().map(node).collect();
    assert_eq!(homes.len(), 3, "{ring}");
    let others = (1..=5).map(NodeId).filter(|node| !homes.contains(node)).collect();
    (homes, others)
}

/// Kills nodes and waits until the others have noticed.
async fn kill_all(cluster: &mut TestCluster, nodes: &[NodeId], observers: &[NodeId]) {
    for node in nodes {
        cluster.kill(*node).unwrap_or_else(|error| panic!("{error}"));
        for observer in observers {
            cluster.until_sees(*observer, *node, false).await;
        }
    }
}

#[tokio::test]
async fn any_node_takes_any_request_and_names_the_homes_that_are_away() {
    let mut cluster = TestCluster::start(spec(5)).await;
    let (homes, others) = homes_and_others(&cluster, "cart").await;
    let stranger = cluster.direct(others[0]).await;
    let first = ok(stranger.put("cart", "milk", Level::Quorum).await);
    assert!(homes.contains(&first.receipt.coordinator), "a home replica gives the write its dot: {:?}", first.receipt);
    assert_eq!(stranger.values("cart", Level::Quorum).await, Ok(vec!["milk".to_owned()]));
    ok(stranger.replace("cart", "eggs", Level::All, &first.context).await);
    assert_eq!(cluster.direct(others[1]).await.values("cart", Level::All).await, Ok(vec!["eggs".to_owned()]));

    let last = homes[2];
    kill_all(&mut cluster, &homes[..2], &[&others[..], &[last]].concat()).await;
    let mut dead = homes[..2].to_vec();
    dead.sort();
    let failure = stranger.put("cart", "never", Level::Quorum).await.expect_err("two of three homes are dead");
    assert_eq!((failure.outcome, missing(&failure)), (Outcome::NotApplied, dead.clone()), "{failure}");
    let failure = stranger.get("cart", Level::Quorum).await.expect_err("two of three homes are dead");
    assert_eq!(missing(&failure), dead, "{failure}");
    assert_eq!(stranger.values("cart", Level::One).await, Ok(vec!["eggs".to_owned()]));
    ok(stranger.put("cart", "bread", Level::One).await);

    kill_all(&mut cluster, &[last], &others).await;
    dead = homes.clone();
    dead.sort();
    for failure in [
        stranger.put("cart", "never", Level::One).await.map(drop).expect_err("all homes are dead"),
        stranger.get("cart", Level::One).await.map(drop).expect_err("all homes are dead"),
    ] {
        assert_eq!((&failure.reason, failure.outcome), (&Reason::Unreachable { needed: 1, alive: 0 }, Outcome::NotApplied));
        assert_eq!(missing(&failure), dead, "{failure}");
    }
}

#[tokio::test]
async fn any_is_acknowledged_by_a_hint_alone_and_the_write_arrives_when_its_homes_return() {
    let mut cluster = TestCluster::start(spec(5)).await;
    let kv = cluster.connect(Client::builder().deadline(PATIENCE)).await;
    let (homes, others) = homes_and_others(&cluster, "cart").await;
    kill_all(&mut cluster, &homes, &others).await;
    let refused = kv.put("cart", "never").level(Level::One).deadline(Duration::from_secs(1)).await.expect_err("all homes are dead");
    assert_eq!(refused.outcome(), Outcome::NotApplied, "hints count at any only: {refused}");
    let written = kv.put("cart", "milk").level(Level::Any).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(written.receipt().hint_only && others.contains(&written.receipt().coordinator), "{:?}", written.receipt());

    for home in &homes {
        cluster.restart(*home).await.unwrap_or_else(|error| panic!("{error}"));
    }
    for home in &homes {
        let direct = cluster.direct(*home).await;
        eventually(&format!("{home} holds the write itself"), async || {
            let found = direct.values("cart", Level::One).await.map_err(|failure| failure.to_string())?;
            seen(found == ["milk"], found)
        })
        .await;
        cluster.until_no_hints(&others, *home).await;
    }
}

#[tokio::test]
async fn a_slow_replica_does_not_make_reads_slow() {
    const SLOW: Duration = Duration::from_secs(10);
    let mut cluster = TestCluster::start(ClusterSpec { settings: vec![unnoticed()], ..faulty(3) }).await;
    let n1 = cluster.direct(N1).await.within(PATIENCE);
    let keys: Vec<String> = (0..60).map(|number| format!("k{number}")).collect();
    for key in &keys {
        ok(n1.put(key, "v", Level::All).await);
    }
    // Of two replicas that are equally near, n1 asks one: that one becomes slow.
    let first = ok(n1.get(&keys[0], Level::Quorum).await).receipt;
    let asked = |report: &&ReplicaReport| report.node != N1 && report.status == ReplicaStatus::Answered;
    let slow = first.replicas.iter().find(asked).map(|report| report.node).expect("a second replica answered");
    cluster.slow(slow, SLOW).await.unwrap_or_else(|error| panic!("{error}"));
    let (mut hedged, mut slowest) = (0, Duration::ZERO);
    for key in &keys {
        let begun = Instant::now();
        let read = ok(n1.get(key, Level::Quorum).await);
        slowest = slowest.max(begun.elapsed());
        let was_asked = |report: &ReplicaReport| report.node == slow && report.status == ReplicaStatus::Waiting;
        hedged += usize::from(read.receipt.replicas.iter().any(was_asked));
    }
    assert!(hedged > 0, "{slow} was never asked, so nothing was shown");
    let told = format!("{slow} is slow by {SLOW:?}; {hedged} of {} reads had asked it, the slowest took {slowest:?}", keys.len());
    assert!(slowest < BUSY, "{told}");
}

#[tokio::test]
async fn a_wrong_clock_loses_no_write() {
    let mut cluster =
        TestCluster::start(ClusterSpec { settings: vec!["coordination.background_repair_chance=0".to_owned()], ..faulty(3) }).await;
    let (n1, n2) = (cluster.direct(N1).await, cluster.direct(N2).await);
    cluster.skew(N2, -3_600_000).await.unwrap_or_else(|error| panic!("{error}"));
    let first = ok(n1.put("k", "first", Level::Quorum).await);
    let second = ok(n2.replace("k", "second", Level::Quorum, &first.context).await);
    assert_eq!(n1.values("k", Level::Quorum).await, Ok(vec!["second".to_owned()]), "n2's clock is an hour behind");
    cluster.skew(N2, 3_600_000).await.unwrap_or_else(|error| panic!("{error}"));
    ok(n1.replace("k", "third", Level::Quorum, &second.context).await);
    assert_eq!(n2.values("k", Level::Quorum).await, Ok(vec!["third".to_owned()]), "n2's clock is an hour ahead");
}
