//! Data directories that a node must not use: it says which and what to do, ends with 1, and never starts empty.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use quorate_client::Level;

use crate::support::cluster::{N1, N2, TestCluster, spec};

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn data_dir(cluster: &TestCluster) -> PathBuf {
    cluster.node(N1).expect("n1").data_dir().to_owned()
}

/// A setting that makes a node listen elsewhere than the node that has its address.
fn elsewhere() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    format!("node.listen={free}")
}

/// A cluster of one node that has stored something and was stopped.
async fn stopped() -> TestCluster {
    let mut cluster = TestCluster::start(spec(1)).await;
    cluster.direct(N1).await.put("k", "v", Level::One).await.unwrap_or_else(|failure| panic!("{failure}"));
    cluster.terminate(N1).await.unwrap_or_else(|error| panic!("{error}"));
    cluster
}

/// The node starts again with what it had: the refusals before changed nothing.
async fn assert_whole(mut cluster: TestCluster) {
    cluster.restart(N1).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(cluster.direct(N1).await.values("k", Level::One).await, Ok(vec!["v".to_owned()]));
}

#[tokio::test]
async fn the_directory_of_another_node_or_cluster_is_refused() {
    let cluster = stopped().await;
    let directory = data_dir(&cluster);
    let other_node = "cluster.node=[{id = \"n1\", address = \"127.0.0.1:1\"}, {id = \"n9\", address = \"127.0.0.1:2\"}]";
    let ran = cluster.refused_start(N1, &["--set", other_node, "--set", "node.id=n9", "--set", &elsewhere()]).await.exits(1);
    ran.says(path(&directory)).says("belongs to n1 and this node is n9").says("correct the node's id or its data directory");
    let ran = cluster.refused_start(N1, &["--set", "cluster.id=another"]).await.exits(1);
    ran.says(&format!("belongs to cluster {:?} and this node to \"another\"", cluster.id())).says("correct cluster.id");
    assert_whole(cluster).await;
}

#[tokio::test]
async fn facts_that_are_fixed_cannot_be_changed_by_configuration() {
    let cluster = stopped().await;
    let ran = cluster.refused_start(N1, &["--set", "cluster.partitions=64"]).await.exits(1);
    ran.says("was made with 256 as number of partitions and the configuration says 64").says("write 256 again");
    assert_whole(cluster).await;

    let mut cluster = TestCluster::start(spec(3)).await;
    cluster.terminate(N2).await.unwrap_or_else(|error| panic!("{error}"));
    let ran = cluster.refused_start(N2, &["--set", "cluster.replicas=2"]).await.exits(1);
    ran.says("was made with 3 as default number of replicas and the configuration says 2");
}

#[tokio::test]
async fn a_directory_in_use_is_refused_and_its_user_goes_on() {
    let cluster = TestCluster::start(spec(1)).await;
    let pid = cluster.node(N1).expect("n1").pid().expect("n1 runs");
    let ran = cluster.refused_start(N1, &["--set", &elsewhere()]).await.exits(1);
    ran.says(path(&data_dir(&cluster))).says(&format!("is in use by process {pid}; stop it, or choose another data directory"));
    let ran = cluster.refused_start(N1, &[]).await.exits(1);
    // The laboratory reads this too, to find out that it must take other ports.
    ran.says(&format!("cannot listen on {}; is another process using it?", cluster.address(N1)));
    cluster.direct(N1).await.put("k", "v", Level::One).await.unwrap_or_else(|failure| panic!("{failure}"));
}

#[tokio::test]
async fn an_empty_directory_needs_init_and_a_full_one_refuses_it() {
    let cluster = stopped().await;
    let empty = cluster.dir().join("empty");
    let setting = format!("node.data_dir={:?}", path(&empty));
    for make in [false, true] {
        if make {
            fs::create_dir(&empty).expect("made");
        }
        let ran = cluster.refused_start(N1, &["--set", &setting]).await.exits(1);
        ran.says(path(&empty)).says("holds no data of a node").says("--init").says("give it a new one");
        assert!(!make || fs::read_dir(&empty).expect("readable").next().is_none(), "nothing was made there");
    }
    fs::write(empty.join("notes.txt"), "milk").expect("written");
    let ran = cluster.refused_start(N1, &["--set", &setting, "--init"]).await.exits(1);
    ran.says("holds \"notes.txt\" and no data of a node; choose an empty directory");

    let ran = cluster.refused_start(N1, &["--init"]).await.exits(1);
    ran.says("already holds the data of n1").says("start it without --init");
    assert_whole(cluster).await;
}

#[tokio::test]
async fn half_a_directory_is_refused() {
    let cluster = stopped().await;
    let directory = data_dir(&cluster);
    let away = cluster.dir().join("away");
    fs::rename(directory.join("db"), &away).expect("moved");
    for arguments in [&[][..], &["--init"]] {
        let ran = cluster.refused_start(N1, arguments).await.exits(1);
        let ran = ran.says(path(&directory));
        assert!(!directory.join("db").exists(), "a lost database is not replaced by an empty one: {ran}");
    }
    cluster.refused_start(N1, &[]).await.exits(1).says("its database is gone").says("give it a new id and an empty directory");
    fs::rename(&away, directory.join("db")).expect("moved back");

    fs::rename(directory.join("identity"), &away).expect("moved");
    for arguments in [&[][..], &["--init"]] {
        let ran = cluster.refused_start(N1, arguments).await.exits(1);
        ran.says(path(&directory)).says("holds a database but no identity file").says("restore the file");
    }
    fs::write(directory.join("identity"), "n1").expect("written");
    cluster.refused_start(N1, &[]).await.exits(1).says("identity file").says("cannot be trusted");
    fs::rename(&away, directory.join("identity")).expect("moved back");
    assert_whole(cluster).await;
}

/// The write-ahead log that holds most, and its length.
fn longest_log(directory: &Path) -> (PathBuf, u64) {
    let entries = fs::read_dir(directory.join("db")).expect("a database").map(|entry| entry.expect("an entry"));
    let logs = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "log"));
    let sized = logs.map(|entry| (entry.path(), entry.metadata().expect("its length").len()));
    sized.max_by_key(|(_, length)| *length).expect("a write-ahead log")
}

#[tokio::test]
async fn a_log_that_was_damaged_after_a_crash_is_refused_and_the_node_never_starts_empty() {
    let mut cluster = TestCluster::start(spec(1)).await;
    let n1 = cluster.direct(N1).await;
    for number in 0..200 {
        n1.put(&format!("k{number}"), &"v".repeat(1000), Level::One).await.unwrap_or_else(|failure| panic!("{failure}"));
    }
    drop(n1);
    let directory = data_dir(&cluster);
    cluster.kill(N1).expect("n1 runs");
    let (log, length) = longest_log(&directory);
    assert!(length > 200_000, "the writes are in the log: {length} bytes");
    let whole = fs::read(&log).expect("readable");
    let file = fs::File::options().write(true).open(&log).expect("writable");
    let middle = length / 2;
    let there = &whole[usize::try_from(middle).expect("a short log")..][..8];
    file.write_all_at(&there.iter().map(|byte| !byte).collect::<Vec<_>>(), middle).expect("damaged");
    for _ in 0..2 {
        let ran = cluster.refused_start(N1, &[]).await.exits(1);
        let ran = ran.says(path(&log)).says("is damaged at byte").says("give the node a new id and an empty directory");
        assert!(fs::metadata(&log).is_ok_and(|file| file.len() == length), "the log is kept as it is: {ran}");
    }
    let ran = cluster.refused_start(N1, &["--init"]).await.exits(1);
    ran.says("already holds the data of n1");

    // Undamaged, the same log is accepted, and nothing is missing.
    fs::write(&log, whole).expect("restored");
    cluster.restart(N1).await.unwrap_or_else(|error| panic!("{error}"));
    let n1 = cluster.direct(N1).await;
    for number in 0..200 {
        let found = n1.values(&format!("k{number}"), Level::One).await.unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(found, ["v".repeat(1000)], "k{number}");
    }
}

#[tokio::test]
async fn a_lost_log_is_refused() {
    let mut cluster = TestCluster::start(spec(1)).await;
    cluster.direct(N1).await.put("k", "v", Level::One).await.unwrap_or_else(|failure| panic!("{failure}"));
    let directory = data_dir(&cluster);
    cluster.kill(N1).expect("n1 runs");
    let (log, _) = longest_log(&directory);
    let away = cluster.dir().join("away");
    fs::rename(&log, &away).expect("moved");
    cluster.refused_start(N1, &[]).await.exits(1).says("is damaged").says("give the node a new id");
    fs::rename(&away, &log).expect("moved back");
    assert_whole(cluster).await;
}
