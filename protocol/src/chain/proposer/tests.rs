//! One proposer at a time, driven by hand: what each rule of a round gives, and what it refuses.

use bytes::Bytes;

use super::*;
use crate::chain::state::{Change, Expect, Function};
use crate::chain::testing::{Cluster, change, identity, put, shown};
use crate::outcome::ReplicaStatus;
use crate::siblings::Body;

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn cas(client: u128, seq: u64, expect: &'static str, value: &'static str) -> Operation {
    change(client, seq, Change::Cas { expect: Expect::Value(bytes(expect)), body: Body::Value(bytes(value)) })
}

fn increment(client: u128) -> Operation {
    change(client, 1, Change::Modify(Function::Increment(1)))
}

fn retried(operation: Operation) -> Operation {
    Operation { tainted: true, ..operation }
}

fn is_applied(answer: &Result<Done, NotDone>) -> bool {
    matches!(answer, Ok(Done { decision: Decision::Applied { .. }, .. }))
}

#[test]
fn a_put_is_chosen_learnt_and_read_back_from_any_majority() {
    let mut cluster = Cluster::new();
    let done = cluster.run(1, put(1, 1, "a")).expect("a majority");
    assert_eq!((shown(&done.state), done.receipt.rounds), (vec!["a".to_owned()], 1));
    assert_eq!(done.decision, Decision::Applied { token: done.state.token(), result: None });
    for me in 1..=3 {
        assert_eq!(cluster.values(me), ["a"]);
        assert_eq!(cluster.record(me).eventual.live_count(), 1, "eventual reads see what was chosen");
    }
}

#[test]
fn one_replica_of_three_may_be_away_and_two_may_not() {
    let mut cluster = Cluster::new();
    cluster.down.insert(NodeId(3));
    assert!(is_applied(&cluster.run(1, put(1, 1, "a"))));
    cluster.down.insert(NodeId(2));
    let failure = cluster.run(1, put(1, 2, "b")).expect_err("no majority");
    assert_eq!((failure.outcome, &failure.reason), (Outcome::NotApplied, &Reason::Unavailable { needed: 2, answered: 1 }));
    assert!(failure.replicas.iter().any(|report| report.status == ReplicaStatus::Down));
    let failure = cluster.run(1, retried(put(1, 2, "b"))).expect_err("no majority");
    assert_eq!(failure.outcome, Outcome::Unknown, "an earlier sending may have been applied");
}

#[test]
fn an_operation_that_too_few_replicas_can_take_is_refused_at_once_and_says_by_whom() {
    let (mut proposer, mut out) = (Cluster::new().proposer(1), Outbox::default());
    proposer.submit(Tick(7), Ticket(0), put(1, 1, "a"), [NodeId(2), NodeId(3)].into(), &mut out);
    let effects = out.drain();
    let [Effect::SetTimer { .. }, Effect::Finish((Ticket(0), Err(failure)))] = &effects[..] else { panic!("nothing is sent: {effects:?}") };
    assert_eq!((failure.outcome, &failure.reason), (Outcome::NotApplied, &Reason::Unreachable { needed: 2, alive: 1 }));
    let told = failure.replicas.iter().map(|report| (report.node, report.status.clone())).collect::<Vec<_>>();
    let (down, alive) = (ReplicaStatus::Down, ReplicaStatus::NotAsked);
    assert_eq!(told, [(NodeId(1), alive), (NodeId(2), down.clone()), (NodeId(3), down)]);
}

#[test]
fn operations_that_wait_together_share_a_round_and_see_each_other() {
    let mut cluster = Cluster::new();
    let mut proposer = cluster.proposer(1);
    let answers = cluster.run_all(&mut proposer, 1, (1..=5).map(increment).collect());
    let results: Vec<_> = answers.values().map(|answer| answer.as_ref().expect("applied").decision.clone()).collect();
    let counts: BTreeSet<_> = results
        .iter()
        .map(|decision| match decision {
            Decision::Applied { result: Some(result), .. } => result.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(counts, ["1", "2", "3", "4", "5"].map(bytes).into());
    assert_eq!(cluster.values(2), ["5"]);
    assert!(cluster.marks.contains(&Mark::RoundShared));
}

#[test]
fn a_failed_compare_and_set_shows_what_is_there_and_leaves_no_record() {
    let mut cluster = Cluster::new();
    cluster.run(1, put(1, 1, "a")).expect("a majority");
    let before = cluster.record(1).chain.accepted.clone();
    let done = cluster.run(1, cas(2, 1, "x", "b")).expect("answered");
    let token = before.as_ref().expect("accepted").state.token();
    assert_eq!(done.decision, Decision::Conflict { token, current: Some(vec![bytes("a")]), recorded: false });
    assert_eq!(cluster.record(1).chain.accepted, before);
}

/// X5: a retry's failure is for good, and so is recorded.
#[test]
fn a_retried_compare_and_set_that_fails_is_recorded_and_answered_the_same_ever_after() {
    let mut cluster = Cluster::new();
    cluster.run(1, put(1, 1, "a")).expect("a majority");
    let done = cluster.run(1, retried(cas(2, 1, "x", "b"))).expect("answered");
    assert!(matches!(done.decision, Decision::Conflict { recorded: true, .. }));
    cluster.run(1, put(1, 2, "x")).expect("a majority");
    let again = cluster.run(2, retried(cas(2, 1, "x", "b"))).expect("answered");
    assert!(matches!(again.decision, Decision::Conflict { recorded: true, current: None, .. }), "{:?}", again.decision);
    assert_eq!(cluster.values(3), ["x"]);
}

/// T3: the reply was lost, somebody else went on; the retry gets the first answer and changes nothing.
#[test]
fn a_retry_is_applied_once_and_answered_with_its_own_token() {
    let mut cluster = Cluster::new();
    cluster.run(1, put(1, 1, "1")).expect("a majority");
    let first = cluster.run(1, cas(2, 1, "1", "4")).expect("applied");
    cluster.run(2, cas(3, 1, "4", "2")).expect("applied");
    let retry = cluster.run(3, retried(cas(2, 1, "1", "4"))).expect("found");
    assert_eq!(retry.decision, first.decision);
    assert!(retry.context.is_empty(), "a later state's context would cover what this client never saw");
    assert_eq!(cluster.values(1), ["2"]);
    assert!(cluster.marks.contains(&Mark::OnceFound));
}

/// T21: a zombie's sending, after its client went on along the lane.
#[test]
fn an_operation_behind_its_lane_is_superseded() {
    let mut cluster = Cluster::new();
    cluster.run(1, put(1, 2, "later")).expect("a majority");
    let zombie = cluster.run(2, put(1, 1, "earlier")).expect("answered");
    assert_eq!(zombie.decision, Decision::Superseded);
    assert_eq!(zombie.outcome_of_nothing(), Outcome::NotApplied, "it was never sent before, and did nothing now");
    let retry = cluster.run(2, retried(put(1, 1, "earlier"))).expect("answered");
    assert_eq!((&retry.decision, retry.outcome_of_nothing()), (&Decision::Superseded, Outcome::Unknown));
    assert_eq!(cluster.values(3), ["later"]);
}

/// X10: settling says "never" only because it makes it so.
#[test]
fn a_settled_operation_is_never_applied() {
    let mut cluster = Cluster::new();
    let fenced = cluster.run(1, change(1, 1, Change::Fence)).expect("a majority");
    assert_eq!(fenced.decision, Decision::Fenced);
    assert_eq!(cluster.run(2, retried(put(1, 1, "late"))).expect("answered").decision, Decision::Fenced);
    assert_eq!(cluster.values(3), Vec::<String>::new());
    cluster.run(1, put(2, 1, "a")).expect("a majority");
    let known = cluster.run(3, change(2, 1, Change::Fence)).expect("a majority");
    assert!(matches!(known.decision, Decision::Applied { .. }), "it had happened already");
}

#[test]
fn an_operation_from_the_far_future_is_refused() {
    let mut cluster = Cluster::new();
    let mut early = put(1, 1, "a");
    early.op = early.op.map(|op| crate::ids::OpId { issued_ms: u64::MAX, ..op });
    assert_eq!(cluster.run(1, early).expect("answered").decision, Decision::TooNew);
}

/// A proposer died after one replica had accepted. Whoever comes next finishes it, whether or not it knows.
#[test]
fn an_undecided_state_is_extended_if_the_majority_shows_it() {
    let mut cluster = Cluster::new();
    let chosen = cluster.run(1, put(1, 1, "a")).expect("a majority").state;
    let drawn = cluster.draw(NodeId(2), cluster.records[&NodeId(1)].chain.promised);
    let author = Authorship { ballot: drawn.ballot, hlc: drawn.hlc, op: None };
    let (state, _) = chosen.apply(&Change::Put(bytes("half")), author);
    let proposal = Accepted { ballot: drawn.ballot, state };
    cluster.record(1).chain.accept(&proposal, None, Ballot::ZERO, Options::default()).expect("one state").expect("nothing higher");
    let done = cluster.run(1, identity()).expect("a majority");
    assert_eq!(shown(&done.state), ["half"]);
    assert!(cluster.marks.contains(&Mark::UndecidedAdopted));
    assert_eq!(cluster.values(3), ["half"]);
}

/// T12, T36: an acknowledged eventual write is ordered before what comes after it, and is not lost silently.
#[test]
fn eventual_versions_enter_the_chain_before_the_operation() {
    let mut cluster = Cluster::new();
    let first = cluster.run(1, put(1, 1, "a")).expect("a majority");
    cluster.write_eventually(2, 1, "e");
    let both = cluster.run(1, identity()).expect("a majority");
    assert_eq!(shown(&both.state).len(), 2);
    let token = |state: &ChainState| Expect::Token(state.token());
    let stale = change(2, 1, Change::Cas { expect: token(&first.state), body: Body::Value(bytes("x")) });
    assert!(matches!(cluster.run(1, stale).expect("answered").decision, Decision::Conflict { .. }));
    let merged = change(2, 2, Change::Cas { expect: token(&both.state), body: Body::Value(bytes("m")) });
    assert!(is_applied(&cluster.run(1, merged)));
    assert_eq!(cluster.values(2), ["m"]);
    cluster.write_eventually(3, 1, "late copy of another");
    cluster.run(2, change(3, 1, Change::Delete)).expect("a majority");
    assert_eq!(cluster.run(3, identity()).map(|done| shown(&done.state)).expect("a majority"), Vec::<String>::new());
}

#[test]
fn a_steady_writer_of_a_linearizable_only_bucket_needs_one_round_trip() {
    let mut cluster = Cluster::new();
    cluster.write_mode = WriteMode::LinOnly;
    let mut proposer = cluster.proposer(1);
    cluster.run_at(&mut proposer, 1, put(1, 1, "a")).expect("a majority");
    assert!(proposer.is_sticky());
    cluster.sent.clear();
    cluster.run_at(&mut proposer, 1, put(1, 2, "b")).expect("a majority");
    assert!(cluster.sent.iter().all(|(_, request)| !matches!(request, ChainRequest::Prepare { .. })));
    assert_eq!(cluster.values(2), ["b"]);
    // Somebody else comes in between: the promise is gone, and the full round follows.
    cluster.run(2, put(2, 1, "c")).expect("a majority");
    cluster.run_at(&mut proposer, 1, put(1, 3, "d")).expect("a majority");
    assert_eq!(cluster.values(3), ["d"]);
}

/// A proposer is dropped when nothing is left to do; the one after it goes on from where it stood, unless somebody came in between.
#[test]
fn a_later_proposer_goes_on_in_one_round_trip() {
    let mut cluster = Cluster::new();
    cluster.write_mode = WriteMode::LinOnly;
    let mut first = cluster.proposer(1);
    cluster.run_at(&mut first, 1, put(1, 1, "a")).expect("a majority");
    let foothold = first.foothold();
    let later = |cluster: &Cluster| Proposer::new(ProposerPlan { foothold, ..cluster.plan(1) }, Tick(0));
    let mut second = later(&cluster);
    assert!(foothold.is_some() && second.is_sticky());
    cluster.sent.clear();
    cluster.run_at(&mut second, 1, put(1, 2, "b")).expect("a majority");
    assert!(cluster.sent.iter().all(|(_, request)| !matches!(request, ChainRequest::Prepare { .. })));
    assert_eq!(cluster.values(2), ["b"]);
    assert!(!later(&cluster).is_sticky(), "it was used");
}

/// T13: without this refusal a delete that one replica accepts could be followed by a version it never saw.
#[test]
fn a_one_round_trip_write_is_refused_where_an_eventual_version_came_in_between() {
    let mut cluster = Cluster::new();
    cluster.write_mode = WriteMode::LinOnly;
    let mut proposer = cluster.proposer(1);
    cluster.run_at(&mut proposer, 1, put(1, 1, "a")).expect("a majority");
    for node in [1, 2] {
        let dot = crate::context::Dot { actor: crate::context::Actor::Node { node: NodeId(9), epoch: crate::ids::KeyEpoch(1) }, n: 1 };
        let version = crate::siblings::Version { body: Body::Value(bytes("e")), hlc: crate::hlc::Hlc(1), op: None };
        let delta = crate::siblings::Siblings::delta(crate::context::Context::empty(), dot, version);
        cluster.record(node).eventual.merge(&delta);
    }
    let done = cluster.run_at(&mut proposer, 1, change(1, 2, Change::Delete)).expect("a majority");
    assert!(cluster.marks.contains(&Mark::AcceptDirty));
    assert_eq!(shown(&done.state), Vec::<String>::new());
    assert!(!done.state.lacks(&cluster.records[&NodeId(1)].eventual), "it was taken in before the delete");
}

/// Two proposers duel; both end, and nothing is lost.
#[test]
fn a_beaten_proposer_waits_and_draws_a_higher_ballot() {
    let mut cluster = Cluster::new();
    let high =
        cluster.draw(NodeId(3), Ballot { epoch: crate::chain::testing::EPOCH, counter: 100, node: NodeId(3), boot: crate::ids::BootId(1) });
    for node in 1..=3 {
        cluster.record(node).chain.prepare(high.ballot, Ballot::ZERO).expect("higher");
    }
    let done = cluster.run(1, put(1, 1, "a")).expect("a majority");
    assert_eq!(done.receipt.rounds, 2);
    assert!(cluster.marks.contains(&Mark::RoundContended) && cluster.record(1).chain.promised > high.ballot);
}

/// X6: whether a state with the operation left this node decides between "not applied" and "unknown".
#[test]
fn what_is_given_up_before_the_second_phase_is_not_applied_and_never_will_be() {
    let mut cluster = Cluster::new();
    let mut proposer = cluster.proposer(1);
    let mut out = Outbox::default();
    proposer.submit(Tick(0), Ticket(0), put(1, 1, "a"), BTreeSet::new(), &mut out);
    let drawn = cluster.draw(NodeId(1), Ballot::ZERO);
    proposer.step(Tick(0), Input::Drawn(drawn), &mut out);
    let prepares: Vec<_> = out.drain();
    proposer.step(crate::chain::testing::DEADLINE, Input::Timer(Timer::Deadline), &mut out);
    let given_up = out.drain();
    assert!(matches!(&given_up[..], [Effect::Finish((Ticket(0), Err(NotDone { outcome: Outcome::NotApplied, .. })))]), "{given_up:?}");
    for effect in prepares {
        if let Effect::Send { to, request } = effect {
            let late = cluster.ask(to, &request);
            proposer.step(crate::chain::testing::DEADLINE, late, &mut out);
        }
    }
    assert!(out.drain().is_empty() && cluster.values(1).is_empty());
}
