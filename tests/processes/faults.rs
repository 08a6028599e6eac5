//! Faults of a comparison on real clusters: each is made at its time, shows, and is mended; and nobody claims what nobody noticed.

use std::time::{Duration, Instant};

use quorate_client::Client;
use quorate_lab::cluster::{Cluster, ClusterSpec, Life};
use quorate_lab::compare::schedule::{FaultKind, Planned, plan};
use quorate_lab::compare::sides::Sides;
use quorate_lab::compare::stage::{Made, Running, Stage, StageError};
use tokio::time::timeout;

use crate::support::cluster::{N1, N2, N3, TestCluster, faulty, spec};
use crate::support::wait::{BUSY, PATIENCE};

const NODES: [quorate_client::NodeId; 3] = [N1, N2, N3];

/// A schedule whose last fault ends within a minute.
fn schedule(faults: &str) -> Vec<Planned> {
    let faults = faults.parse().unwrap_or_else(|error| panic!("{error}"));
    plan(&faults, &NODES, Duration::from_secs(60), 7).unwrap_or_else(|error| panic!("{error}"))
}

fn addresses(cluster: &Cluster) -> Vec<(quorate_client::NodeId, String)> {
    cluster.nodes().map(|node| (node.id(), node.address().to_owned())).collect()
}

async fn mended(stage: &mut Stage<'_>) {
    stage.mend().await.unwrap_or_else(|error| panic!("not mended: {error}: {error:?}"));
}

/// Sees to it that a fault was made no sooner and not much later than planned, and was mended.
fn assert_on_time(planned: &Planned, made: &Made, begin: Instant) {
    let (from, until) = (made.begin.expect("made"), made.end.expect("mended"));
    assert!(from >= begin + planned.from && from < begin + planned.from + BUSY, "{planned}: {made:?}");
    assert!(until >= begin + planned.until && until < begin + planned.until + PATIENCE, "{planned}: {made:?}");
}

#[tokio::test]
async fn every_kind_of_fault_shows_and_is_mended() {
    let mut cluster = TestCluster::start(faulty(3)).await;
    let sides = Sides::new(addresses(&cluster));
    let schedule = schedule(
        "slow:n3=200ms@0s-2s,kill:n2@3s-6s,partition:n1|n2+n3@8s-12s,pause:n3@15s-19s,skew:n2=+4s@22s-24s,one-way:n1>n2@25s-29s,skew:n1=-5s@32s-34s",
    );
    let mut stage = Stage::own(&mut cluster);
    stage.permits(FaultKind::ALL).expect("its own processes, with faults");
    let begin = Instant::now();
    let made = stage.play(&schedule, begin, &sides).await;
    mended(&mut stage).await;
    for (planned, made) in schedule.iter().zip(&made) {
        assert!(made.took_effect && made.trouble.is_none(), "{planned}: {made:?}");
        assert_on_time(planned, made, begin);
    }
    let effects: Vec<&str> = made.iter().map(|made| made.effect.as_deref().expect("a sentence")).collect();
    let expected = [
        "a round trip from ",
        "n2's process was gone; ",
        "n1|n2,n3 counted each other as down after ",
        "all threads of n3 stood still; ",
        "n2 stamped a write ",
        "n1 and n2 counted each other as down after ",
        "n1 stamped a write ",
    ];
    for (effect, expected) in effects.iter().zip(expected) {
        assert!(effect.starts_with(expected), "{effect}");
    }
    assert!(effects[1].contains("it served again") && effects[4].ends_with("ahead of the time") && effects[6].ends_with("behind the time"));
    assert!(cluster.faults().is_healed() && cluster.nodes().all(|node| node.life() == Life::Running));
    assert!(!sides.parts(N1, N2));
}

#[tokio::test]
async fn a_fault_that_was_mended_before_anybody_noticed_is_not_claimed() {
    let mut cluster = TestCluster::start(faulty(3)).await;
    let sides = Sides::new(addresses(&cluster));
    let schedule = schedule("partition:n1|n2+n3@0s-50ms,pause:n2@500ms-550ms");
    let mut stage = Stage::own(&mut cluster);
    let made = stage.play(&schedule, Instant::now(), &sides).await;
    mended(&mut stage).await;
    for made in &made {
        assert!(made.begin.is_some() && made.end.is_some() && made.trouble.is_none(), "it was made and mended: {made:?}");
        assert!(!made.took_effect && made.effect.is_none(), "{made:?}");
    }
}

#[tokio::test]
async fn a_fault_that_cannot_be_made_is_told_and_the_others_are_made() {
    let mut cluster = TestCluster::start(spec(3)).await;
    let sides = Sides::new(addresses(&cluster));
    let mut stage = Stage::own(&mut cluster);
    assert!(stage.permits([FaultKind::Kill]).is_ok() && stage.permits([FaultKind::Slow]).is_err());
    let made = stage.play(&schedule("partition:n1|n2+n3@0s-100ms,kill:n2@1s-3s"), Instant::now(), &sides).await;
    mended(&mut stage).await;
    assert!(matches!(made[0], Made { begin: None, end: None, took_effect: false, effect: None, trouble: Some(StageError::Cluster(_)) }));
    assert!(made[1].took_effect, "{:?}", made[1]);
    assert!(!sides.parts(N1, N2), "clients are not parted for good");
}

#[tokio::test]
async fn what_is_dead_or_stands_still_is_mended_and_a_node_that_ended_by_itself_is_told() {
    let mut cluster = TestCluster::start(faulty(3)).await;
    cluster.stop(N1).await;
    cluster.kill(N2).expect("it ran");
    cluster.slow(N3, Duration::from_millis(50)).await.expect("told");
    mended(&mut Stage::own(&mut cluster)).await;
    assert!(cluster.faults().is_healed() && cluster.nodes().all(|node| node.life() == Life::Running));

    let pid = cluster.node(N2).expect("a node").pid().expect("a process");
    let killed = tokio::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().await.expect("kill is there");
    assert!(killed.success());
    cluster.until_sees(N1, N2, false).await;
    let mut stage = Stage::own(&mut cluster);
    let lost = stage.mend().await.expect_err("nobody here ended n2");
    assert!(lost.to_string().starts_with("n2 ended by itself"), "{lost}");
    mended(&mut stage).await;
}

#[tokio::test]
async fn the_links_of_a_running_cluster_are_broken_and_mended_but_not_its_processes() {
    let mut cluster = TestCluster::start(faulty(3)).await;
    cluster.slow(N3, Duration::from_millis(20)).await.expect("told");
    let found = Running::find(cluster.id(), addresses(&cluster)).await.unwrap_or_else(|error| panic!("{error}"));
    let sides = Sides::new(addresses(&cluster));
    let mut stage = Stage::running(found);
    stage.permits([FaultKind::Partition, FaultKind::Slow]).expect("its nodes take faults");
    assert!(matches!(stage.permits([FaultKind::Pause]), Err(StageError::NotOurProcess { kind: FaultKind::Pause })));
    let made = stage.play(&schedule("slow:n2=200ms@0s-2s,partition:n1|n2+n3@3s-8s"), Instant::now(), &sides).await;
    mended(&mut stage).await;
    assert!(made.iter().all(|made| made.took_effect), "{made:?}");
    let round_trip = cluster.view(N1, N3).await.rtt_micros.expect("measured");
    assert!(round_trip >= 20_000, "n3 is as far away as before: {round_trip}");
}

#[tokio::test]
async fn a_running_cluster_without_faults_says_so() {
    let cluster = TestCluster::start(ClusterSpec { enable_faults: false, ..spec(3) }).await;
    let found = Running::find(cluster.id(), addresses(&cluster)).await.unwrap_or_else(|error| panic!("{error}"));
    let refused = Stage::running(found).permits([FaultKind::Partition]).expect_err("no node takes faults");
    let text = refused.to_string();
    assert!(text.starts_with("n1 was not started with --enable-faults"), "{text}");
}

/// A client beside n1 reaches n1 alone during a partition, one beside n3 is on the other side, and both go on afterwards.
#[tokio::test]
async fn clients_are_on_the_side_of_the_node_they_live_beside() {
    let mut cluster = TestCluster::start(faulty(3)).await;
    let sides = Sides::new(addresses(&cluster));
    let beside = async |node| cluster.connect(Client::builder().deadline(PATIENCE).network(sides.network(node))).await;
    let (lonely, many) = (beside(N1).await, beside(N3).await);
    let groups = [[N1].into(), [N2, N3].into()];
    sides.separate(&groups);
    cluster.partition(&groups).await.unwrap_or_else(|error| panic!("{error}"));
    cluster.until_apart(N1, N2).await;
    cluster.until_apart(N1, N3).await;
    many.put("k", "v").await.unwrap_or_else(|error| panic!("{error}"));
    let alone = lonely.get("k").level(quorate_client::Level::One).deadline(BUSY).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((alone.receipt().coordinator, alone.siblings().len()), (N1, 0), "n1 cannot know");
    let unread = timeout(PATIENCE, lonely.get("k").deadline(BUSY)).await.expect("within its deadline").expect_err("n1 is alone");
    assert!(!unread.to_string().is_empty());
    cluster.heal().await.unwrap_or_else(|error| panic!("{error}"));
    sides.join();
    cluster.wait_until_connected().await.unwrap_or_else(|error| panic!("{error}"));
    let read = lonely.get("k").await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(read.single().expect("one value").as_deref(), Some(&b"v"[..]));
}
