//! A disk without space: the node refuses to write, says so, and keeps what it acknowledged.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use quorate_client::{Client, Level, Outcome};
use quorate_lab::cluster::{ClusterSpec, Dir};
use quorate_protocol::outcome::{Reason, Receipt, ReplicaReport, ReplicaStatus};
use quorate_protocol::replica::Refusal;
use quorate_rpc::kv::WriteContext;
use tempfile::TempDir;

use crate::support::cluster::{N1, N2, N3, TestCluster, spec};
use crate::support::direct::Direct;
use crate::support::wait::{eventually, seen};

/// A directory for a cluster, in which n1 has a small file system of its own. Unmounted when dropped.
struct SmallDisk {
    home: TempDir,
}

impl SmallDisk {
    /// `None`, with the reason printed, where this process may not mount.
    fn mount() -> Option<Self> {
        let home = tempfile::tempdir().expect("a temporary directory");
        let disk = home.path().join("n1");
        std::fs::create_dir(&disk).expect("made");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(&disk).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { home }),
            Ok(output) => {
                println!("skipped: mounting needs root: {}", String::from_utf8_lossy(&output.stderr));
                None
            }
            Err(error) => {
                println!("skipped: there is no mount command: {error}");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.home.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.home.path().join("n1")).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "what was mounted can be unmounted");
    }
}

/// Bytes that do not compress.
fn value(number: u64) -> Vec<u8> {
    let next = |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    let states = std::iter::successors(Some(number + 1), next);
    states.skip(8).map(|state| (state >> 40) as u8).take(100 << 10).collect()
}

/// Puts through n1 until its disk is full; returns who had each write when it was acknowledged.
async fn fill(n1: &Direct) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    for number in 0..1000 {
        match put_unless_full(n1, number).await {
            Some(receipt) => receipts.push(receipt),
            None => return receipts,
        }
    }
    panic!("100 MB fitted onto 24")
}

/// Puts one value; `None` when n1 refuses because its disk is full.
async fn put_unless_full(n1: &Direct, number: u64) -> Option<Receipt> {
    // At `one` the other replicas acknowledge while n1 still works off what it was given before: it may have too much of that.
    eventually(&format!("n1 takes or refuses k{number}"), async || {
        match n1.write(format!("k{number}"), value(number), Some(Level::One), WriteContext::Blind).await {
            Ok(reply) => Ok(Some(reply.receipt)),
            Err(failure) if failure.reason == Reason::Overloaded => Err(failure.to_string()),
            Err(failure) => {
                let reason = Reason::Refused { refusal: Refusal::DiskFull };
                assert_eq!((&failure.reason, failure.outcome), (&reason, Outcome::NotApplied), "{failure}");
                assert!(failure.reason.is_retryable(), "another node may do it: {failure}");
                Ok(None)
            }
        }
    })
    .await
}

/// Asserts that every replica that acknowledged a write holds it.
async fn assert_kept(cluster: &TestCluster, receipts: &[Receipt]) {
    for node in [N1, N2, N3] {
        let direct = cluster.direct(node).await;
        for (number, receipt) in (0..).zip(receipts) {
            let has_acknowledged = |report: &ReplicaReport| report.node == node && report.status == ReplicaStatus::Answered;
            if receipt.replicas.iter().any(has_acknowledged) {
                let read = direct.get(&format!("k{number}"), Level::One).await.unwrap_or_else(|failure| panic!("{failure}"));
                assert!(read.siblings.len() == 1 && read.siblings[0].value == value(number), "{node} acknowledged k{number}");
            }
        }
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_serves_reads_and_costs_the_cluster_nothing() {
    let Some(disk) = SmallDisk::mount() else { return };
    let settings = vec!["store.write_buffer=1 MiB".to_owned()];
    let mut cluster = TestCluster::start(ClusterSpec { dir: Dir::Kept(disk.path().to_owned()), settings, ..spec(3) }).await;
    let ballast = disk.path().join("n1/ballast");
    std::fs::write(&ballast, vec![0; 12 << 20]).expect("there is space");
    let n1 = cluster.direct(N1).await;
    let receipts = fill(&n1).await;
    assert!(receipts.len() > 3, "{} writes fitted", receipts.len());
    assert!(!cluster.answering(N1).await.writable, "status tells it");
    assert_kept(&cluster, &receipts).await;
    // Others do what n1 cannot.
    let kv = cluster.connect(Client::builder().deadline(Duration::from_secs(10))).await;
    let written = kv.put("after", "v").level(Level::Quorum).await.unwrap_or_else(|error| panic!("{error}"));
    let report = written.receipt().replicas.iter().find(|report| report.node == N1).expect("n1 is a home replica");
    assert!(report.status != ReplicaStatus::Answered, "{:?}", written.receipt());
    let refused = cluster.direct(N2).await.put("all", "v", Level::All).await.expect_err("n1 cannot");
    assert!(refused.to_string().contains("n1 has no disk space left"), "{refused}");

    std::fs::remove_file(&ballast).expect("removed");
    cluster.restart(N1).await.unwrap_or_else(|error| panic!("{error}"));
    assert_kept(&cluster, &receipts).await;
    let n1 = cluster.direct(N1).await;
    n1.put("again", "v", Level::All).await.unwrap_or_else(|failure| panic!("{failure}"));
    cluster.until_no_hints(&[N2, N3], N1).await;
    eventually("n1 has what it missed", async || {
        let found = n1.values("after", Level::One).await.map_err(|failure| failure.to_string())?;
        seen(found == ["v"], found)
    })
    .await;
}
