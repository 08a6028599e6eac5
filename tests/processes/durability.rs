//! No acknowledged write is lost by kills and restarts; hints bring a node up to date.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use quorate_client::{Client, Level, Outcome};
use quorate_protocol::limits::VALUE_BYTES_MAX;
use quorate_protocol::outcome::ReplicaStatus;
use quorate_rpc::kv::WriteContext;
use tokio::task::JoinSet;

use crate::support::cluster::{N1, N2, N3, TestCluster, spec};
use crate::support::wait::{PATIENCE, eventually, seen};

/// Writers of a load, each with keys of its own.
const WRITERS: usize = 16;

/// What all writers of a load share.
#[derive(Default)]
struct Load {
    acknowledged: AtomicUsize,
    /// Raised by the test: puts that begin now begin after what it did.
    is_later: AtomicBool,
    /// Raised by the test: no more puts.
    is_over: AtomicBool,
}

impl Load {
    async fn until_acknowledged(&self, count: usize) {
        eventually(&format!("{count} writes are acknowledged"), async || {
            let acknowledged = self.acknowledged.load(Ordering::Relaxed);
            seen(acknowledged >= count, acknowledged)
        })
        .await;
    }
}

/// A key that was put once, and whether that began after [`Load::is_later`] was raised.
struct Put {
    key: String,
    later: bool,
}

/// Puts fresh keys, each its own value, until the load is over. Every put must be acknowledged.
async fn put_fresh_keys(kv: Client, writer: usize, load: Arc<Load>) -> Vec<Put> {
    let mut puts = Vec::new();
    while !load.is_over.load(Ordering::Relaxed) {
        let put = Put { key: format!("w{writer}-{}", puts.len()), later: load.is_later.load(Ordering::Relaxed) };
        let written = kv.put(&put.key, put.key.clone()).level(Level::Quorum).deadline(PATIENCE).await;
        written.unwrap_or_else(|error| panic!("the load stopped: {error}"));
        load.acknowledged.fetch_add(1, Ordering::Relaxed);
        puts.push(put);
    }
    puts
}

fn start_load(kv: &Client) -> (Arc<Load>, JoinSet<Vec<Put>>) {
    let load = Arc::new(Load::default());
    let writers = (0..WRITERS).map(|writer| put_fresh_keys(kv.clone(), writer, Arc::clone(&load))).collect();
    (load, writers)
}

async fn finish_load(load: &Load, writers: JoinSet<Vec<Put>>) -> Vec<Put> {
    load.is_over.store(true, Ordering::Relaxed);
    writers.join_all().await.into_iter().flatten().collect()
}

async fn assert_all_there(kv: &Client, puts: &[Put], level: Level) {
    for put in puts {
        let read = kv.get(&put.key).level(level).await.unwrap_or_else(|error| panic!("{error}"));
        let value = read.single().unwrap_or_else(|conflict| panic!("{conflict}"));
        assert_eq!(value.as_deref(), Some(put.key.as_bytes()), "{} was acknowledged at quorum; {:?}", put.key, read.receipt());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_during_a_load_costs_no_acknowledged_write_and_the_load_goes_on() {
    let mut cluster = TestCluster::start(spec(3)).await;
    let kv = cluster.client().await;
    let (load, writers) = start_load(&kv);
    load.until_acknowledged(300).await;
    cluster.kill(N2).expect("n2 runs");
    load.is_later.store(true, Ordering::Relaxed);
    let at_kill = load.acknowledged.load(Ordering::Relaxed);
    load.until_acknowledged(at_kill + 600).await;
    let puts = finish_load(&load, writers).await;
    assert_all_there(&kv, &puts, Level::Quorum).await;

    cluster.restart(N2).await.unwrap_or_else(|error| panic!("{error}"));
    cluster.until_no_hints(&[N1, N3], N2).await;
    let later: Vec<&Put> = puts.iter().filter(|put| put.later).collect();
    assert!(later.len() >= 500, "the kill fell into the load: {} of {} puts began after it", later.len(), puts.len());
    let mut replayed = 0.0;
    for node in [N1, N3] {
        replayed += cluster.metrics(node).await.sum("quorate_hints_replayed_total");
    }
    assert!(replayed >= later.len() as f64, "{replayed} hints were delivered for {} writes", later.len());
    // What began after the kill never went through n2, so nothing but hints has brought it there.
    for put in later {
        let read = kv.get(&put.key).level(Level::All).await.unwrap_or_else(|error| panic!("{error}"));
        let stale: Vec<_> = read.receipt().replicas.iter().filter(|report| report.stale).collect();
        assert!(stale.is_empty() && read.receipt().versions == 1, "{} was not brought to {stale:?}", put.key);
    }
    assert_all_there(&kv, &puts, Level::All).await;
}

/// How far a writer came with its one key.
struct Progress {
    key: String,
    /// The last value that was acknowledged.
    acknowledged: usize,
    /// The value of the put that failed.
    tried: usize,
}

/// Puts ever higher numbers under one key until a put fails.
async fn count_up(kv: Client, writer: usize, load: Arc<Load>) -> Progress {
    let key = format!("counter-{writer}");
    for number in 1.. {
        let put = kv.put(&key, number.to_string()).level(Level::Quorum).deadline(Duration::from_secs(3));
        if put.await.is_err() {
            return Progress { key, acknowledged: number - 1, tried: number };
        }
        load.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    unreachable!("the cluster is killed long before")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_right_before_all_nodes_were_killed_is_there_after_the_restart() {
    let mut cluster = TestCluster::start(spec(3)).await;
    let kv = cluster.client().await;
    let (load, fresh) = (Arc::new(Load::default()), Arc::new(Load::default()));
    let counting: JoinSet<_> = (0..WRITERS).map(|writer| count_up(kv.clone(), writer, Arc::clone(&load))).collect();
    let known = put_fresh_keys(kv.clone(), 0, Arc::clone(&fresh));
    let known = tokio::spawn(known);
    load.until_acknowledged(400).await;
    fresh.is_over.store(true, Ordering::Relaxed);
    let known = known.await.expect("no put fails before the kill");
    for node in [N1, N2, N3] {
        cluster.kill(node).unwrap_or_else(|error| panic!("{error}"));
    }
    let counters = counting.join_all().await;
    for node in [N1, N2, N3] {
        cluster.restart(node).await.unwrap_or_else(|error| panic!("{error}"));
    }
    let kv = cluster.client().await;
    assert_all_there(&kv, &known, Level::Quorum).await;
    for Progress { key, acknowledged, tried } in counters {
        assert!(acknowledged > 0, "{key} was never put");
        let read = kv.get(&key).level(Level::Quorum).await.unwrap_or_else(|error| panic!("{error}"));
        let text = |value: &[u8]| String::from_utf8_lossy(value).parse::<usize>().expect("a number");
        let values: BTreeSet<usize> = read.values().map(|value| text(value)).collect();
        // The put that failed may have happened; then it has replaced the one before it, or stands beside it.
        let is_kept = values.contains(&acknowledged) || values.contains(&tried);
        assert!(is_kept && values.iter().all(|value| *value <= tried), "{key}: {acknowledged} was acknowledged, found {values:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_by_sigterm_is_clean_and_fails_no_operation() {
    let mut cluster = TestCluster::start(spec(3)).await;
    let kv = cluster.client().await;
    let (load, writers) = start_load(&kv);
    load.until_acknowledged(100).await;
    for node in [N1, N2, N3] {
        let boot = cluster.answering(node).await.boot;
        let status = cluster.terminate(node).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(status.success(), "{node} ended with {status}");
        assert!(cluster.log(node).contains("node has stopped"), "{node} did not close its store");
        cluster.restart(node).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(cluster.answering(node).await.boot, boot + 1);
        assert!(!cluster.log(node).contains("last stop was not clean"), "{node} took its clean stop for a crash");
    }
    let puts = finish_load(&load, writers).await;
    assert_all_there(&kv, &puts, Level::Quorum).await;
    cluster.kill(N1).expect("n1 runs");
    cluster.restart(N1).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(cluster.log(N1).contains("last stop was not clean"), "the log tells a crash from a clean stop");
}

#[tokio::test]
async fn hints_survive_the_death_of_the_node_that_keeps_them() {
    let mut cluster = TestCluster::start(spec(3)).await;
    cluster.kill(N3).expect("n3 runs");
    cluster.until_sees(N1, N3, false).await;
    let n1 = cluster.direct(N1).await;
    for index in 0..50 {
        let reply = n1.put(&format!("k{index}"), "kept", Level::Quorum).await.unwrap_or_else(|failure| panic!("{failure}"));
        let n3 = reply.receipt.replicas.iter().find(|report| report.node == N3).expect("n3 is a home replica");
        assert_eq!(n3.status, ReplicaStatus::Down, "{:?}", reply.receipt);
    }
    eventually("n1 keeps a hint for every write", async || {
        let view = cluster.view(N1, N3).await;
        seen(view.hints == 50, view)
    })
    .await;
    drop(n1);
    cluster.kill(N1).expect("n1 runs");
    cluster.restart(N1).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(cluster.view(N1, N3).await.hints, 50, "acknowledged hints are as durable as writes");
    cluster.restart(N3).await.unwrap_or_else(|error| panic!("{error}"));
    cluster.until_no_hints(&[N1], N3).await;
    // At `one` a home replica answers from what it holds itself.
    let n3 = cluster.direct(N3).await;
    for index in 0..50 {
        assert_eq!(n3.values(&format!("k{index}"), Level::One).await, Ok(vec!["kept".to_owned()]));
    }
}

/// A batch of hints once had a bound in pieces and none in bytes: sixty-four of these overflowed a message, which broke the
/// connection again and again, and nothing was ever delivered.
#[tokio::test]
async fn hints_of_the_largest_values_are_delivered() {
    const HINTS: usize = 70;
    let mut cluster = TestCluster::start(spec(3)).await;
    cluster.kill(N3).expect("n3 runs");
    cluster.until_sees(N1, N3, false).await;
    let n1 = cluster.direct(N1).await;
    for number in 0..HINTS {
        let value = vec![u8::try_from(number).expect("few"); VALUE_BYTES_MAX];
        let put = n1.write(format!("k{number}"), value, Some(Level::Quorum), WriteContext::Blind).await;
        put.unwrap_or_else(|failure| panic!("{failure}"));
    }
    cluster.restart(N3).await.unwrap_or_else(|error| panic!("{error}"));
    cluster.until_no_hints(&[N1], N3).await;
    let n3 = cluster.direct(N3).await;
    for number in 0..HINTS {
        let read = n3.get(&format!("k{number}"), Level::One).await.unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(read.siblings.len(), 1, "k{number}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_of_the_largest_values_at_a_time_break_no_connection() {
    let cluster = TestCluster::start(spec(3)).await;
    let kv = cluster.connect(Client::builder().deadline(Duration::from_secs(60))).await;
    let put = |number: usize| {
        let kv = kv.clone();
        let value = vec![u8::try_from(number).expect("few"); VALUE_BYTES_MAX];
        async move { kv.put(format!("k{number}"), value).level(Level::All).await.map(drop) }
    };
    let puts: JoinSet<_> = (0..64).map(put).collect();
    for done in puts.join_all().await {
        done.unwrap_or_else(|error| panic!("{error}"));
    }
    let get = |number: usize| {
        let kv = kv.clone();
        async move { kv.get(format!("k{number}")).level(Level::All).await.map(|read| read.siblings().len()) }
    };
    let gets: JoinSet<_> = (0..64).map(get).collect();
    for found in gets.join_all().await {
        assert_eq!(found.unwrap_or_else(|error| panic!("{error}")), 1);
    }
    for node in [N1, N2, N3] {
        assert!(!cluster.log(node).contains("peer is down"), "{node} lost a connection:\n{}", cluster.log(node));
    }
}

#[tokio::test]
async fn a_write_that_failed_for_sure_never_appears() {
    let mut cluster = TestCluster::start(spec(3)).await;
    cluster.kill(N2).expect("n2 runs");
    cluster.kill(N3).expect("n3 runs");
    cluster.until_sees(N1, N2, false).await;
    cluster.until_sees(N1, N3, false).await;
    let n1 = cluster.direct(N1).await;
    let failure = n1.put("k", "never", Level::Quorum).await.expect_err("two of three nodes are dead");
    assert_eq!(failure.outcome, Outcome::NotApplied, "{failure}");
    cluster.restart(N2).await.unwrap_or_else(|error| panic!("{error}"));
    cluster.restart(N3).await.unwrap_or_else(|error| panic!("{error}"));
    for node in [N1, N2, N3] {
        assert_eq!(cluster.direct(node).await.values("k", Level::All).await, Ok(Vec::new()), "{node}");
    }
}
