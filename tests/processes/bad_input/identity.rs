//! Nodes that are not who they were: their peers refuse them, and they serve nothing before their peers have met them.

use std::fs;
use std::path::Path;

use quorate_client::{Level, NodeId};
use quorate_protocol::outcome::{Failure, Reason};
use quorate_protocol::replica::Refusal;
use quorate_rpc::hello::HelloRefusal;
use quorate_rpc::kv::PeerTrouble;

use crate::cli::http;
use crate::support::cluster::{N1, N2, N3, TestCluster, spec};
use crate::support::server::Server;
use crate::support::wait::{eventually, seen};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// Starts a node behind the cluster's back.
fn start(cluster: &TestCluster, node: NodeId, arguments: &[&str]) -> Server {
    let config = cluster.node(node).expect("a member").config();
    let mut all = vec!["server", "--config", config.to_str().expect("a path in UTF-8")];
    all.extend(arguments);
    Server::spawn(&all, &cluster.dir().join(format!("{node}-alone.log")))
}

fn start_n3(cluster: &TestCluster, arguments: &[&str]) -> Server {
    start(cluster, N3, arguments)
}

fn wipe(cluster: &TestCluster, node: NodeId) {
    fs::remove_dir_all(cluster.node(node).expect("a member").data_dir()).expect("wiped");
}

/// Waits until n1 and n2 refuse n3 for this reason, and shows that n3 counts for nothing.
async fn assert_shut_out(cluster: &TestCluster, mut n3: Server, is_reason: impl Fn(&HelloRefusal) -> bool) {
    for observer in [N1, N2] {
        eventually(&format!("{observer} refuses n3 ({})", n3.log()), async || {
            let view = cluster.view(observer, N3).await;
            let refused = matches!(&view.trouble, Some(PeerTrouble::Refused(refusal)) if is_reason(refusal));
            seen(refused && !view.up, view)
        })
        .await;
    }
    let n1 = cluster.direct(N1).await;
    n1.put("k", "after", Level::Quorum).await.unwrap_or_else(|failure| panic!("{failure}"));
    let failure = n1.put("k", "never", Level::All).await.expect_err("n3 must not acknowledge");
    assert!(failure.to_string().contains("n3 is down"), "{failure}");
    assert_eq!(cluster.direct(N2).await.values("k", Level::Quorum).await, Ok(vec!["after".to_owned()]));
    for observer in [N1, N2] {
        let log = cluster.log(observer);
        assert!(log.contains("n3 came back"), "{observer} says why:\n{log}");
    }
    assert!(n3.runs(), "{}", n3.log());
}

#[tokio::test]
async fn a_node_that_lost_its_data_directory_cannot_come_back_under_its_name() {
    let mut cluster = TestCluster::start(spec(3)).await;
    cluster.direct(N1).await.put("k", "before", Level::All).await.unwrap_or_else(|failure| panic!("{failure}"));
    cluster.kill(N3).expect("n3 runs");
    wipe(&cluster, N3);
    cluster.refused_start(N3, &[]).await.exits(1).says("holds no data of a node");
    let n3 = start_n3(&cluster, &["--init"]);
    assert_shut_out(&cluster, n3, |refusal| *refusal == HelloRefusal::OtherNonce { node: N3 }).await;
}

#[tokio::test]
async fn a_node_started_from_an_old_copy_of_its_data_directory_is_refused() {
    let mut cluster = TestCluster::start(spec(3)).await;
    cluster.terminate(N3).await.unwrap_or_else(|error| panic!("{error}"));
    let data = cluster.node(N3).expect("n3").data_dir().to_owned();
    let old = cluster.dir().join("n3-old");
    copy(&data, &old);
    // What the node promises from here on the copy does not know.
    for _ in 0..2 {
        cluster.restart(N3).await.unwrap_or_else(|error| panic!("{error}"));
        cluster.direct(N3).await.put("k", "before", Level::All).await.unwrap_or_else(|failure| panic!("{failure}"));
        cluster.terminate(N3).await.unwrap_or_else(|error| panic!("{error}"));
    }
    fs::remove_dir_all(&data).expect("removed");
    copy(&old, &data);
    let n3 = start_n3(&cluster, &[]);
    assert_shut_out(&cluster, n3, |refusal| matches!(refusal, HelloRefusal::OldBoot { node: N3, .. })).await;
}

/// Nobody is there to refuse it. It would give out dots that it has given out, acknowledge what nobody will get, and find nothing.
#[tokio::test]
async fn a_node_that_lost_its_data_directory_serves_nothing_while_nobody_can_tell_it_so() {
    let mut cluster = TestCluster::start(spec(3)).await;
    cluster.direct(N1).await.put("k", "before", Level::All).await.unwrap_or_else(|failure| panic!("{failure}"));
    for node in [N1, N2, N3] {
        cluster.kill(node).expect("it runs");
    }
    wipe(&cluster, N3);
    // A listener that was bound and dropped leaves a port that nobody else is given for a while.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").to_string();
    let n3 = start_n3(&cluster, &["--init", "--set", &format!("node.metrics_address={free}")]);
    let new = Failure::refused(Reason::Refused { refusal: Refusal::NotVouched });
    eventually(&format!("n3 answers ({})", n3.log()), async || {
        let status = cluster.status(N3).await.map_err(|error| error.to_string())?;
        assert_eq!(status.refusal, Some(Refusal::NotVouched), "from the first moment");
        Ok(())
    })
    .await;
    let direct = cluster.direct(N3).await;
    for level in [Level::Any, Level::One, Level::Quorum] {
        assert_eq!(direct.put("k", "after", level).await.err(), Some(new.clone()), "{level}");
    }
    assert_eq!(direct.get("k", Level::One).await.err(), Some(new));
    let ready = http(&free, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("not yet vouched for by its peers"), "{ready}");
    let only_n3 = ["get", "k", "--level", "one", "--cluster", cluster.address(N3), "--timeout", "1s"];
    cluster.cli(&only_n3).await.exits(6).says("is new and not yet vouched for");
    assert!(cluster.cli(&["status"]).await.exits(0).says("n3 is new and not yet vouched for").text().contains("serves nothing"));

    // Now there is.
    cluster.restart(N1).await.unwrap_or_else(|error| panic!("{error}"));
    eventually("n1 refuses n3", async || {
        let refusal = cluster.answering(N3).await.refusal;
        seen(refusal == Some(Refusal::Quarantined), refusal)
    })
    .await;
}

/// Four nodes of five: each has met three of its four others, a majority.
#[tokio::test]
async fn a_new_cluster_of_five_serves_though_one_node_never_came_up() {
    let mut cluster = TestCluster::start(spec(5)).await;
    let all: Vec<NodeId> = (1..=5).map(NodeId).collect();
    for node in &all {
        cluster.kill(*node).expect("it runs");
        wipe(&cluster, *node);
    }
    let mut nodes: Vec<Server> = all[..3].iter().map(|node| start(&cluster, *node, &["--init"])).collect();
    eventually("three nodes have met", async || {
        let views = cluster.status(N1).await.map_err(|error| error.to_string())?.peers;
        seen(views.iter().filter(|view| view.up).count() == 2, views)
    })
    .await;
    let refusal = cluster.answering(N1).await.refusal;
    assert_eq!(refusal, Some(Refusal::NotVouched), "two of four others are no majority");
    nodes.push(start(&cluster, all[3], &["--init"]));
    for node in &all[..4] {
        eventually(&format!("{node} serves"), async || {
            let refusal = cluster.status(*node).await.map_err(|error| error.to_string())?.refusal;
            seen(refusal.is_none(), refusal)
        })
        .await;
    }
    let n1 = cluster.direct(N1).await;
    for key in 0..20 {
        n1.put(&format!("k{key}"), "v", Level::Quorum).await.unwrap_or_else(|failure| panic!("{failure}"));
    }
}
