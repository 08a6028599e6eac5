//! Nodes that are not who they were: their peers refuse them.

use std::fs;
use std::path::Path;

use quorate_client::Level;
use quorate_rpc::hello::HelloRefusal;
use quorate_rpc::kv::PeerTrouble;

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

/// Starts n3 behind the cluster's back.
fn start_n3(cluster: &TestCluster, arguments: &[&str]) -> Server {
    let node = cluster.node(N3).expect("n3");
    let mut all = vec!["server", "--config", node.config().to_str().expect("a path in UTF-8")];
    all.extend(arguments);
    Server::spawn(&all, &cluster.dir().join("n3-alone.log"))
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
    fs::remove_dir_all(cluster.node(N3).expect("n3").data_dir()).expect("wiped");
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
