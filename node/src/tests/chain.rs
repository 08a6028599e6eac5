//! The linearizable mode, across nodes: every node may coordinate, and all agree.

use std::sync::Arc;

use bytes::Bytes;
use quorate_protocol::chain::state::{Authorship, Expect, Function};
use quorate_protocol::chain::{Accepted, Ballot, ChainRequest, ChainState, Change};
use quorate_protocol::hlc::Hlc;
use quorate_protocol::outcome::{Failure, Outcome, Reason};
use quorate_protocol::replica::{Refusal, ReplicaReply, ReplicaRequest};
use quorate_protocol::{Attempt, Body, BootId, BucketId, ClientId, Level, OpId};
use quorate_ring::RingEpoch;
use quorate_rpc::kv::{ChangeRequest, Changed, NotAppliedWhy, OutcomeReply, OutcomeRequest, UnknownWhy, WriteContext, WriteRequest};
use quorate_rpc::peer::ReplicaCall;

use super::{N1, N2, N3, TestCluster, TestNode, put, read};
use crate::node::Node;
use crate::store::StorageKey;
use crate::{coordinator, finisher, replica};

/// Three nodes that see each other.
async fn three(settings: &[&str]) -> [TestNode; 3] {
    let mut cluster = TestCluster::of(3, settings).await;
    let nodes = [N1, N2, N3].map(|node| cluster.start(node));
    nodes.iter().for_each(TestNode::connect);
    for node in &nodes {
        for peer in [N1, N2, N3].into_iter().filter(|peer| *peer != node.node.me()) {
            node.until_up(peer).await;
        }
    }
    nodes
}

/// Two of three nodes; the third never answers.
async fn two() -> [TestNode; 2] {
    let mut cluster = TestCluster::of(3, &[]).await;
    let nodes = [N1, N2].map(|node| cluster.start(node));
    nodes.iter().for_each(TestNode::connect);
    nodes[0].until_up(N2).await;
    nodes[1].until_up(N1).await;
    nodes
}

fn op(seq: u64) -> OpId {
    OpId { client: ClientId(7), lane: 0, seq, issued_ms: seq }
}

async fn lin_put(node: &TestNode, key: &'static str, value: &str, seq: u64) -> quorate_rpc::kv::WriteReply {
    let request = WriteRequest { op: op(seq), ..put(key, value, Level::Linearizable) };
    coordinator::write(&node.node, request).await.expect("a majority is there")
}

/// The values and the token that a linearizable read shows.
async fn lin_get(node: &TestNode, key: &'static str) -> (Vec<Bytes>, quorate_protocol::chain::Token) {
    let reply = coordinator::read(&node.node, read(key, Level::Linearizable)).await.expect("a majority is there");
    (reply.siblings.into_iter().map(|sibling| sibling.value).collect(), reply.token.expect("linearizable"))
}

fn change(key: &'static str, change: Change, op: OpId, attempt: u32) -> ChangeRequest {
    let attempt = Attempt(attempt);
    ChangeRequest { bucket: BucketId(0), key: key.into(), change, op, attempt, session: None, micros_left: 20_000_000 }
}

fn cas(expect: Expect, value: &'static str) -> Change {
    Change::Cas { expect, body: Body::Value(Bytes::from_static(value.as_bytes())) }
}

fn bytes(value: &'static str) -> Bytes {
    Bytes::from_static(value.as_bytes())
}

fn ask(key: &'static str, op: OpId, settle: bool) -> OutcomeRequest {
    OutcomeRequest { bucket: BucketId(0), key: key.into(), op, settle, micros_left: 20_000_000 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_writes_every_node_reads_and_compares_with() {
    let [n1, n2, n3] = three(&[]).await;
    assert_eq!(lin_get(&n1, "k").await.0, Vec::<Bytes>::new());
    let written = lin_put(&n1, "k", "a", 1).await;
    let (values, token) = lin_get(&n2, "k").await;
    assert_eq!((values, Some(token)), (vec![bytes("a")], written.token));
    let request = change("k", cas(Expect::Token(token), "b"), op(2), 0);
    let reply = coordinator::change(&n3.node, request.clone()).await.expect("a majority is there");
    assert_eq!(reply.changed, Changed::Applied { result: None });
    assert!(reply.token > token, "tokens grow");
    let beaten = coordinator::change(&n1.node, ChangeRequest { op: op(3), ..request }).await.expect("a majority is there");
    let found = Changed::Conflict { current: Some(vec![bytes("b")]), recorded: false };
    assert_eq!((beaten.changed, beaten.token), (found, reply.token));
    for (node, sum) in [(&n1, "5"), (&n2, "10"), (&n3, "15")] {
        let op = OpId { client: ClientId(8), ..op(sum.parse().expect("a number")) };
        let reply = coordinator::change(&node.node, change("n", Change::Modify(Function::Increment(5)), op, 0)).await.expect("there");
        assert_eq!(reply.changed, Changed::Applied { result: Some(bytes(sum)) });
    }
    let deleted = WriteRequest { op: op(4), body: Body::Tombstone, ..put("k", "", Level::Linearizable) };
    let deleted = coordinator::write(&n2.node, deleted).await.expect("a majority is there");
    assert_eq!(lin_get(&n3, "k").await, (vec![], deleted.token.expect("linearizable")));
    assert!(deleted.token > Some(reply.token));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_a_missing_key_writes_nothing() {
    let [n1, n2, n3] = three(&[]).await;
    lin_get(&n1, "k").await;
    for node in [&n1, &n2, &n3] {
        assert_eq!(record(&node.node, "k"), None);
    }
}

fn storage_key(node: &Node, key: &str) -> StorageKey {
    let place = node.placement.place(&node.config.buckets[0], key.as_bytes());
    StorageKey::new(place.partition, BucketId(0), key.as_bytes())
}

fn record(node: &Node, key: &str) -> Option<quorate_protocol::KeyRecord> {
    Some(node.store.view(&storage_key(node, key)).expect("readable")).filter(|record| *record != quorate_protocol::KeyRecord::default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_through_another_node_gets_the_first_answer_and_is_applied_once() {
    let [n1, n2, n3] = three(&[]).await;
    lin_put(&n1, "k", "1", 1).await;
    let own = OpId { client: ClientId(9), ..op(1) };
    let request = |attempt| change("k", cas(Expect::Value(bytes("1")), "4"), own, attempt);
    let first = coordinator::change(&n1.node, request(0)).await.expect("a majority is there");
    let other = change("k", cas(Expect::Value(bytes("4")), "2"), op(2), 0);
    assert_eq!(coordinator::change(&n2.node, other).await.expect("there").changed, Changed::Applied { result: None });
    let again = coordinator::change(&n3.node, request(1)).await.expect("a majority is there");
    assert_eq!((again.changed, again.token), (first.changed, first.token));
    assert_eq!(lin_get(&n1, "k").await.0, [bytes("2")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eventual_writes_of_the_same_key_enter_the_chain_once_and_lose_nothing() {
    let [n1, n2, n3] = three(&[]).await;
    let chained = lin_put(&n1, "k", "chain", 1).await;
    let beside = WriteRequest { context: WriteContext::Concurrent, op: op(2), ..put("k", "beside", Level::Quorum) };
    coordinator::write(&n2.node, beside).await.expect("a majority is there");
    let (values, token) = lin_get(&n3, "k").await;
    assert_eq!(values.len(), 2);
    assert!(Some(token) > chained.token, "the eventual write was ordered after it");
    assert_eq!(n3.node.metrics.lin_absorptions.get(), 1);
    assert_eq!(lin_get(&n1, "k").await, (values, token), "once");
    let merged = change("k", cas(Expect::Token(token), "both"), op(3), 0);
    assert_eq!(coordinator::change(&n1.node, merged).await.expect("there").changed, Changed::Applied { result: None });
    super::eventually("every replica has learned what was chosen", || {
        [&n1, &n2, &n3].iter().all(|node| record(&node.node, "k").is_some_and(|record| record.eventual.live_count() == 1))
    })
    .await;
    let strict = coordinator::read(&n2.node, read("k", Level::All)).await.expect("all are there");
    let shown: Vec<Bytes> = strict.siblings.into_iter().map(|sibling| sibling.value).collect();
    assert_eq!((shown, strict.token), (vec![bytes("both")], None), "eventual reads see it then");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_three_nodes_are_enough_and_one_is_not() {
    let [n1, n2] = two().await;
    lin_put(&n1, "k", "a", 1).await;
    assert_eq!(lin_get(&n2, "k").await.0, [bytes("a")]);
    let mut cluster = TestCluster::of(3, &[]).await;
    let alone = cluster.start(N1);
    let refused = coordinator::write(&alone.node, put("k", "v", Level::Linearizable)).await.expect_err("one of three");
    assert_eq!((refused.reason, refused.outcome), (Reason::Unreachable { needed: 2, alive: 1 }, Outcome::NotApplied));
    let retry = WriteRequest { attempt: Attempt(1), ..put("k", "v", Level::Linearizable) };
    assert_eq!(coordinator::write(&alone.node, retry).await.expect_err("one of three").outcome, Outcome::Unknown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_of_linearizable_writes_refuses_all_others_everywhere() {
    let [n1, n2, n3] = three(&["bucket=[{name='locks', write_mode='lin_only'}]"]).await;
    let locks = n1.node.config.bucket("locks").expect("declared").id;
    let eventual = WriteRequest { bucket: locks, ..put("k", "v", Level::One) };
    let refused = coordinator::write(&n1.node, eventual).await.err();
    assert_eq!(refused, Some(Failure::refused(Reason::LinOnlyBucket { bucket: "locks".to_owned() })));
    let delta = quorate_protocol::Siblings::delta(
        quorate_protocol::Context::empty(),
        quorate_protocol::Dot { actor: quorate_protocol::Actor::Node { node: N2, epoch: quorate_protocol::KeyEpoch(1) }, n: 1 },
        quorate_protocol::Version { body: Body::Value(bytes("v")), hlc: Hlc(1), op: None },
    );
    for is_hint in [false, true] {
        let request = ReplicaRequest::Replicate { strict: None, delta: delta.clone() };
        let call = ReplicaCall { bucket: locks, key: bytes("k"), micros_left: 0, request };
        let reply = replica::serve(&n3.node, &call, is_hint).settled().await;
        assert_eq!(reply, ReplicaReply::Refused(Refusal::LinOnly));
    }
    for seq in 1..=5 {
        // At the bucket's own level.
        let request = WriteRequest { bucket: locks, level: None, op: op(seq), ..put("k", "v", Level::One) };
        coordinator::write(&n2.node, request).await.expect("a majority is there");
    }
    assert_eq!(n2.node.metrics.lin_sticky.get(), 4, "all but the first took one round trip");
    let eventual = quorate_rpc::kv::ReadRequest { bucket: locks, ..read("k", Level::All) };
    assert_eq!(coordinator::read(&n1.node, eventual).await.expect("reads may be eventual").siblings.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_linearizable_write_takes_no_context() {
    let [n1, _n2, _n3] = three(&[]).await;
    let seen = lin_put(&n1, "k", "a", 1).await.context;
    for context in [WriteContext::Seen(seen), WriteContext::Concurrent] {
        let request = WriteRequest { context, op: op(2), ..put("k", "b", Level::Linearizable) };
        let refused = coordinator::write(&n1.node, request).await.err();
        assert_eq!(refused, Some(Failure::refused(Reason::ContextAtLinearizable)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_outcome_of_an_operation_can_be_asked_for_and_settled() {
    let [n1, n2, n3] = three(&[]).await;
    let written = lin_put(&n1, "k", "a", 1).await;
    let told = coordinator::outcome(&n2.node, ask("k", op(1), false)).await;
    assert_eq!(told, Ok(OutcomeReply::Applied { token: written.token, result: None }));
    let lost = OpId { client: ClientId(9), ..op(5) };
    let told = coordinator::outcome(&n2.node, ask("k", lost, false)).await;
    assert_eq!(told, Ok(OutcomeReply::Unknown(UnknownWhy::NotContained)));
    let told = coordinator::outcome(&n3.node, ask("k", lost, true)).await;
    assert_eq!(told, Ok(OutcomeReply::NotApplied(NotAppliedWhy::Settled)));
    let late = WriteRequest { op: lost, attempt: Attempt(1), ..put("k", "late", Level::Linearizable) };
    let refused = coordinator::write(&n1.node, late).await.expect_err("it was settled");
    assert_eq!((refused.reason, refused.outcome), (Reason::Fenced, Outcome::NotApplied));
    let eventual = OpId { client: ClientId(10), ..op(1) };
    let beside = WriteRequest { op: eventual, context: WriteContext::Concurrent, ..put("k", "e", Level::Quorum) };
    coordinator::write(&n1.node, beside).await.expect("a majority is there");
    let told = coordinator::outcome(&n2.node, ask("k", eventual, true)).await;
    assert_eq!(told, Ok(OutcomeReply::Applied { token: None, result: None }));
}

/// A state at a ballot of a node that is no longer there, accepted by `nodes`.
pub(super) async fn left_behind(nodes: &[&TestNode], key: &'static str, value: &'static str) -> Accepted {
    let ballot = Ballot { epoch: RingEpoch(1), counter: 1_000, node: N3, boot: BootId(9) };
    let author = Authorship { ballot, hlc: Hlc(1), op: None };
    let (state, _) = ChainState::default().apply(&Change::Put(bytes(value)), author);
    let proposal = Accepted { ballot, state };
    for node in nodes {
        let request = ChainRequest::Accept { proposal: proposal.clone(), next: None, clean: false };
        let request = ReplicaRequest::Chain { epoch: node.node.placement.epoch(), request };
        let call = ReplicaCall { bucket: BucketId(0), key: key.into(), micros_left: 0, request };
        let reply = replica::serve(&node.node, &call, false).settled().await;
        assert!(matches!(reply, ReplicaReply::Chain(_)), "{reply:?}");
    }
    proposal
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_dies_after_accept_leaves_nothing_undecided_for_long() {
    let [n1, n2] = two().await;
    let left = left_behind(&[&n1], "k", "orphan").await;
    assert_eq!(n1.node.undecided.len(), 1);
    finisher::finish_due(&n1.node, n1.node.clock.tick()).await;
    assert_eq!(n1.node.undecided.len(), 1, "its coordinator still has time");
    finisher::finish_due(&n1.node, n1.node.clock.tick().after(10_000_000)).await;
    assert_eq!((n1.node.undecided.len(), n1.node.metrics.lin_finished.get()), (0, 1));
    super::eventually("both replicas know that it is chosen", || {
        [&n1, &n2].iter().all(|node| record(&node.node, "k").is_some_and(|record| record.chain.decided == left.ballot))
    })
    .await;
    let shown = coordinator::read(&n2.node, read("k", Level::One)).await.expect("n2 answers");
    assert_eq!(shown.siblings.len(), 1, "eventual reads see it now");
}

/// After a restart nobody remembers which keys are undecided.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undecided_keys_are_found_again_by_walking() {
    let mut cluster = TestCluster::of(1, &[]).await;
    let n1 = cluster.start(N1);
    let left = left_behind(&[&n1], "k", "orphan").await;
    left_behind(&[&n1], "other", "orphan").await;
    for key in ["k", "other"] {
        n1.node.undecided.note(&storage_key(&n1.node, key), false, n1.node.clock.tick());
    }
    let decide = |record: &mut quorate_protocol::KeyRecord| record.chain.decided = left.ballot;
    let ((), commit) = n1.node.store.update(&storage_key(&n1.node, "other"), crate::store::Durability::Synced, decide).expect("open");
    commit.await.expect("synced");
    assert!(finisher::walk(&n1.node).await);
    assert_eq!(n1.node.undecided.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promise_is_kept_and_an_acceptance_is_on_disk() {
    let mut cluster = TestCluster::of(1, &[]).await;
    let n1 = cluster.start(N1);
    let left = left_behind(&[&n1], "k", "orphan").await;
    let ballot = Ballot { counter: 2_000, ..left.ballot };
    let request = ChainRequest::Prepare { ballot, known: Ballot::ZERO };
    let request = ReplicaRequest::Chain { epoch: n1.node.placement.epoch(), request };
    let call = ReplicaCall { bucket: BucketId(0), key: bytes("k"), micros_left: 0, request };
    let reply = replica::serve(&n1.node, &call, false).settled().await;
    assert!(matches!(reply, ReplicaReply::Chain(_)), "{reply:?}");
    let held = record(&n1.node, "k").expect("there");
    assert_eq!((held.chain.promised, held.chain.accepted), (ballot, Some(left)));
    let commits = n1.node.store.counters().writes;
    assert_eq!(replica::serve(&n1.node, &call, false).settled().await, reply, "said again");
    let lower = ChainRequest::Prepare { ballot: Ballot { counter: 1_500, ..ballot }, known: Ballot::ZERO };
    let request = ReplicaRequest::Chain { epoch: n1.node.placement.epoch(), request: lower };
    replica::serve(&n1.node, &ReplicaCall { request, ..call }, false).settled().await;
    assert_eq!(n1.node.store.counters().writes, commits, "neither changes anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_is_decided_although_nobody_waits_for_it_any_more() {
    let [n1, _n2, _n3] = three(&[]).await;
    let node = Arc::clone(&n1.node);
    let request = put("k", "dropped", Level::Linearizable);
    let dropped = tokio::time::timeout(std::time::Duration::ZERO, async { coordinator::write(&node, request).await }).await;
    assert!(dropped.is_err(), "it takes longer than nothing");
    super::eventually("its proposer has left", || n1.node.proposers.len() == 0).await;
    assert_eq!(lin_get(&n1, "k").await.0, [bytes("dropped")]);
}

/// 64 writers of one key, on all nodes: all are served, each increment once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_of_one_key_are_all_served() {
    let nodes = three(&[]).await;
    let tasks = (0..63_u64).map(|client| {
        let node = Arc::clone(&nodes[usize::try_from(client % 3).expect("small")].node);
        tokio::spawn(async move {
            let op = OpId { client: ClientId(100 + u128::from(client)), ..op(1) };
            coordinator::change(&node, change("n", Change::Modify(Function::Increment(1)), op, 0)).await
        })
    });
    for reply in futures::future::join_all(tasks).await {
        reply.expect("no panic").expect("a majority is there");
    }
    assert_eq!(lin_get(&nodes[0], "n").await.0, [bytes("63")]);
}

/// A proposer leaves when it has nothing to do, and the next one goes on from where it stood.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_proposer_of_the_same_key_needs_one_round_trip() {
    let mut cluster = TestCluster::of(1, &["bucket=[{name='default', write_mode='lin_only'}]"]).await;
    let n1 = cluster.start(N1);
    n1.node.vouching.done();
    for seq in 1..=3 {
        lin_put(&n1, "k", "v", seq).await;
        super::eventually("its proposer has left", || n1.node.proposers.len() == 0).await;
    }
    assert_eq!(n1.node.metrics.lin_sticky.get(), 2);
}
