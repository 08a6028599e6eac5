//! Retries, deadlines, and what a failed operation says of its outcome.

use std::future::IntoFuture;
use std::time::{Duration, Instant};

use quorate_client::{AttemptOptions, Client, ClientBuilder, Error, NodeId, OpId, Outcome, Reason};
use quorate_protocol::Attempt;
use quorate_protocol::outcome::Failure;
use quorate_protocol::replica::Refusal;
use tokio::sync::oneshot;

use crate::fake::{Cluster, SINGLE, Script, Seen};

/// A key of the bucket [`SINGLE`] whose only home replica is `home`.
fn key_of(client: &Client, home: NodeId) -> String {
    let ring = client.ring();
    let is_home = |key: &String| ring.preference_list(1, key.as_bytes()).expect("made for one").first() == home;
    (0..).map(|index| format!("key{index}")).find(is_home).expect("every node is home to some key")
}

fn refused(reason: Reason) -> Script {
    Script::Fail(Failure::refused(reason))
}

#[tokio::test]
async fn a_write_whose_connection_breaks_is_retried_under_its_name_as_a_second_attempt() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    cluster.script([Script::Break]);
    let written = client.put("k", "v").await.expect("the second node does it");
    let (first_node, first) = cluster.next_write().await;
    let (second_node, second) = cluster.next_write().await;
    assert_ne!(first_node, second_node);
    assert_eq!((first.attempt, second.attempt), (Attempt(0), Attempt(1)));
    assert_eq!((first.op, second.op), (written.op(), written.op()));
    assert_eq!(first.context, second.context);
}

/// The nodes' clock is an hour ahead of the client's. Too early a time is harmless, but for the time that it takes from the node.
#[tokio::test]
async fn a_blind_write_that_is_no_retry_says_by_when_it_must_begin_by_the_nodes_clock() {
    let mut cluster = Cluster::start(3).await;
    let within = 20_000_000;
    let attempts = AttemptOptions { begin_micros: within, ..AttemptOptions::default() };
    let deadline = Duration::from_micros(3 * within);
    let client = cluster.client_with(|builder| builder.attempts(attempts).deadline(deadline)).await;
    let earliest = cluster.tick();
    client.put("k", "v").await.expect("up");
    let latest = cluster.tick();
    let begin_by = cluster.next_write().await.1.begin_by.expect("it is blind");
    // A hundredth of the time is held back, for clocks of different rates.
    assert!((earliest + within * 98 / 100..=latest + within).contains(&begin_by), "{earliest} {begin_by} {latest}");

    let context = client.get("k").await.expect("up").context().clone();
    client.put("k", "v").context(&context).await.expect("up");
    client.put("k", "v").concurrent().await.expect("up");
    for _ in 0..2 {
        assert_eq!(cluster.next_write().await.1.begin_by, None, "it replaces what it says, whenever it begins");
    }
}

#[tokio::test]
async fn a_blind_write_whose_answer_is_lost_is_sent_again_when_it_can_begin_no_more() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    cluster.script([Script::Break]);
    client.put("k", "v").await.expect("the second node does it");
    let begin_by = cluster.next_write().await.1.begin_by.expect("it is blind");
    assert!(cluster.tick() > begin_by, "it was sent again too early");
    let retry = cluster.next_write().await.1;
    assert_eq!((retry.attempt, retry.begin_by), (Attempt(1), None));
}

/// The welcome took ten seconds, which are held back of every time that rests on it alone.
#[tokio::test]
async fn a_blind_write_that_came_too_late_compares_clocks_before_it_is_sent_again() {
    let late = 10_000_000;
    let mut cluster = Cluster::start(1).await;
    cluster.welcome_late(late);
    let client = cluster.client().await;
    cluster.script([refused(Reason::Refused { refusal: Refusal::Expired })]);
    client.put("k", "v").await.expect("the second sending is in time");
    let [first, second] = [cluster.next_write().await, cluster.next_write().await].map(|(_, write)| write.begin_by.expect("blind"));
    assert!(first < cluster.tick() - late / 2 && second > first + late / 2, "{first} {second}");
}

#[tokio::test]
async fn a_blind_write_with_little_time_to_begin_compares_clocks_first() {
    let late = 10_000_000;
    let mut cluster = Cluster::start(1).await;
    cluster.welcome_late(late);
    let attempts = AttemptOptions { begin_micros: 1, ..AttemptOptions::default() };
    let client = cluster.client_with(|builder| builder.attempts(attempts)).await;
    let earliest = cluster.tick();
    client.put("k", "v").await.expect("up");
    let begin_by = cluster.next_write().await.1.begin_by.expect("blind");
    assert!(begin_by > earliest - late / 2, "{begin_by} {earliest}");
}

/// Its name is told when nothing can begin any more that was sent before, so the next try need not wait, however little time it has.
#[tokio::test]
async fn a_blind_write_that_failed_is_retried_under_its_name_without_a_wait() {
    let mut cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    client.put("other", "v").await.expect("up");
    cluster.next_write().await;
    cluster.script([Script::Ignore]);
    let deadline = Duration::from_millis(AttemptOptions::default().begin_micros / 1_000 / 3);
    let lost = client.put("k", "v").deadline(deadline).await.expect_err("no answer");
    let begin_by = cluster.next_write().await.1.begin_by.expect("it is blind");
    assert!(cluster.tick() > begin_by, "it may still begin");
    client.put("k", "v").op_id(lost.op().expect("a write has a name")).deadline(deadline).await.expect("it is sent at once");
    assert_eq!(cluster.next_write().await.1.begin_by, None);
}

#[tokio::test]
async fn a_write_that_could_not_be_sent_goes_elsewhere_as_a_first_attempt() {
    let mut cluster = Cluster::start(2).await;
    let client = cluster.client().await;
    let key = key_of(&client, NodeId(2));
    cluster.down(NodeId(2)).await;
    client.bucket(SINGLE).put(&key, "v").await.expect("the other node does it");
    let (node, request) = cluster.next_write().await;
    assert_eq!((node, request.attempt), (NodeId(1), Attempt(0)));
}

#[tokio::test]
async fn a_definite_failure_goes_elsewhere_as_a_first_attempt() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    cluster.script([refused(Reason::Overloaded)]);
    client.put("k", "v").await.expect("the second node does it");
    let (_, first) = cluster.next_write().await;
    let (_, second) = cluster.next_write().await;
    assert_eq!((first.attempt, second.attempt), (Attempt(0), Attempt(0)));
}

/// The first coordinator is slow, so a second one is asked. Then the first says that it did nothing, which is true of itself alone.
#[tokio::test]
async fn not_applied_of_an_older_sending_is_ignored() {
    let mut cluster = Cluster::start(2).await;
    let attempts = AttemptOptions { silence_micros: 30_000, ..AttemptOptions::default() };
    let client = cluster.client_with(|builder| builder.attempts(attempts).deadline(Duration::from_secs(20))).await;
    let (older, first) = oneshot::channel();
    let (newer, second) = oneshot::channel();
    cluster.script([Script::Wait(first), Script::Wait(second)]);
    let put = tokio::spawn(client.put("k", "v").into_future());
    cluster.next_write().await;
    let (_, retry) = cluster.next_write().await;
    assert_eq!(retry.attempt, Attempt(1));
    older.send(refused(Reason::InvalidContext)).expect("waiting");
    // An answer to a later question on the same connection shows that the older failure has arrived.
    for node in client.nodes() {
        client.status_of(node).await.expect("answered");
    }
    assert!(!put.is_finished());
    newer.send(Script::Do).expect("waiting");
    put.await.expect("no panic").expect("the newer sending's answer counts");
}

#[tokio::test]
async fn a_node_that_never_answers_does_not_outlast_the_deadline() {
    let mut cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    for is_write in [true, false] {
        cluster.script([Script::Ignore]);
        let started = Instant::now();
        let deadline = Duration::from_millis(150);
        let error = match is_write {
            true => client.put("k", "v").deadline(deadline).await.expect_err("no answer"),
            false => client.get("k").deadline(deadline).await.expect_err("no answer"),
        };
        assert!(started.elapsed() >= deadline && started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        let expected = if is_write { Outcome::Unknown } else { Outcome::NotApplied };
        assert_eq!(error.outcome(), expected);
        assert!(matches!(&error, Error::TimedOut { asked, .. } if asked == &[NodeId(1)]), "{error}");
    }
    let Seen::Write(_, request) = cluster.next().await else { panic!("the write first") };
    assert!(request.micros_left < 150_000, "the coordinator's account of a failure must still arrive in time");
}

#[tokio::test]
async fn a_node_that_accepts_and_says_nothing_leaves_a_write_not_applied() {
    let mut cluster = Cluster::start(2).await;
    let client = cluster.client().await;
    let key = key_of(&client, NodeId(2));
    cluster.deafen(NodeId(2)).await;
    cluster.down(NodeId(1)).await;
    let error = client.bucket(SINGLE).put(&key, "v").deadline(Duration::from_millis(200)).await.expect_err("nobody there");
    assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
    assert!(cluster.rest().is_empty(), "nothing was sent");
}

#[tokio::test]
async fn a_cluster_that_is_gone_is_unreachable_by_name() {
    let mut cluster = Cluster::start(2).await;
    let client = cluster.client().await;
    client.put("k", "v").await.expect("up");
    cluster.down(NodeId(1)).await;
    cluster.down(NodeId(2)).await;
    let attempts = |error: &Error| match error {
        Error::Unreachable { nodes, .. } => nodes.iter().map(|unreached| unreached.node).collect(),
        _ => Vec::new(),
    };
    // The first one may still find the connection open and be lost with it.
    let _ = client.put("k", "w").deadline(Duration::from_millis(100)).await;
    let error = client.put("k", "w").deadline(Duration::from_millis(100)).await.expect_err("nobody there");
    let mut nodes: Vec<NodeId> = attempts(&error);
    nodes.sort();
    assert_eq!((nodes, error.outcome()), (vec![NodeId(1), NodeId(2)], Outcome::NotApplied), "{error}");
    assert!(error.is_retryable());
}

/// What a coordinator said explains more than that the others could not be reached afterwards.
#[tokio::test]
async fn the_last_word_of_a_coordinator_outlives_later_trouble() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client_with(|builder| builder.deadline(Duration::from_millis(200))).await;
    cluster.down(NodeId(2)).await;
    cluster.down(NodeId(3)).await;
    cluster.script((0..32).map(|_| refused(Reason::Unreachable { needed: 2, alive: 1 })));
    let error = client.put("k", "v").await.expect_err("no quorum");
    assert_eq!(error.reason(), Some(&Reason::Unreachable { needed: 2, alive: 1 }));
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert!(matches!(error, Error::Failed { coordinator: NodeId(1), .. }), "{error}");
}

#[tokio::test]
async fn failures_that_nothing_mends_are_not_retried() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let of_other_key = client.get("other").await.expect("answered").context().clone();
    cluster.rest();
    let error = client.put("k", "v").context(&of_other_key).await.expect_err("of another key");
    assert_eq!((error.reason(), error.outcome()), (Some(&Reason::InvalidContext), Outcome::NotApplied));
    assert!(!error.is_retryable());
    assert_eq!(cluster.rest().len(), 1);
}

#[tokio::test]
async fn a_write_under_a_given_name_is_a_retry_from_its_first_sending() {
    let mut cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    cluster.script([Script::Ignore]);
    let lost = client.put("k", "v").deadline(Duration::from_millis(50)).await.expect_err("no answer");
    let op: OpId = lost.op().expect("a write has a name");
    client.put("k", "v").op_id(op).await.expect("answered");
    cluster.next_write().await;
    let (_, request) = cluster.next_write().await;
    assert_eq!((request.op, request.attempt), (op, Attempt(1)));
}

#[tokio::test]
async fn writes_in_flight_have_lanes_of_their_own_and_give_them_back() {
    let mut cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    let (decide, decision) = oneshot::channel();
    cluster.script([Script::Wait(decision)]);
    let waiting = tokio::spawn(client.put("a", "v").into_future());
    let (_, first) = cluster.next_write().await;
    client.put("a", "v").await.expect("answered");
    let (_, second) = cluster.next_write().await;
    decide.send(Script::Do).expect("waiting");
    waiting.await.expect("no panic").expect("answered");
    client.put("a", "v").await.expect("answered");
    let (_, third) = cluster.next_write().await;
    assert!(second.op.lane != first.op.lane && third.op.lane == first.op.lane);
    assert!(third.op.seq > first.op.seq && third.op.client == first.op.client);
}

/// Connecting may take five seconds here. The first write finds that out, the others do not even begin.
#[tokio::test]
async fn nobody_waits_for_a_node_that_has_just_failed() {
    let mut cluster = Cluster::start(2).await;
    let connect_timeout = Duration::from_secs(5);
    let attempts = AttemptOptions { silence_micros: 50_000, ..AttemptOptions::default() };
    let settings = |builder: ClientBuilder| builder.connect_timeout(connect_timeout).attempts(attempts).deadline(connect_timeout * 4);
    let client = cluster.client_with(settings).await;
    let key = key_of(&client, NodeId(2));
    cluster.deafen(NodeId(2)).await;
    let started = Instant::now();
    for _ in 0..20 {
        client.bucket(SINGLE).put(&key, "v").await.expect("the other node does it");
    }
    assert!(started.elapsed() < connect_timeout, "{:?}", started.elapsed());
}
