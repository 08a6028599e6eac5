//! One linearizable read at a time: when one round trip is enough, and what it does when it is not.

use bytes::Bytes;

use super::*;
use crate::chain::state::{Authorship, Change};
use crate::chain::testing::{Cluster, change, put, shown};
use crate::options::Options;

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// Lets only `node` accept a further put, as if its proposer had died then.
fn accept_at(cluster: &mut Cluster, node: u64, value: &'static str) -> Accepted {
    let base = cluster.records[&NodeId(node)].chain.accepted.clone().map(|accepted| accepted.state).unwrap_or_default();
    let drawn = cluster.draw(NodeId(3), cluster.records[&NodeId(node)].chain.promised);
    let author = Authorship { ballot: drawn.ballot, hlc: drawn.hlc, op: None };
    let proposal = Accepted { ballot: drawn.ballot, state: base.apply(&Change::Put(bytes(value)), author).0 };
    cluster.record(node).chain.accept(&proposal, None, Ballot::ZERO, Options::default()).expect("one state").expect("nothing higher");
    proposal
}

#[test]
fn a_missing_key_is_read_in_one_round_trip_and_nothing_is_written() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.values(1), Vec::<String>::new());
    assert!(cluster.records.values().all(|record| *record == crate::record::KeyRecord::default()));
    assert_eq!(cluster.sent.len(), 2, "a majority was asked, and told nothing");
}

#[test]
fn only_one_replica_sends_its_state() {
    let mut cluster = Cluster::new();
    cluster.run(1, put(1, 1, "a")).expect("a majority");
    cluster.sent.clear();
    assert_eq!(cluster.values(2), ["a"]);
    let full: Vec<_> = cluster.sent.iter().filter(|(_, request)| matches!(request, ChainRequest::Read { full: true })).collect();
    assert_eq!((full.len(), cluster.sent.len()), (1, 2));
}

/// T1: the first read that meets the undecided state decides it; from then on every read returns it.
#[test]
fn an_undecided_state_is_brought_to_a_majority_before_it_is_returned() {
    let mut cluster = Cluster::new();
    cluster.run(1, put(1, 1, "old")).expect("a majority");
    accept_at(&mut cluster, 1, "new");
    assert_eq!(cluster.values(2), ["old"], "a majority without it");
    assert_eq!(cluster.values(1), ["new"]);
    assert!(cluster.marks.contains(&Mark::ChainReadRepaired));
    assert_eq!(cluster.values(2), ["new"]);
    assert_eq!(cluster.values(3), ["new"]);
}

#[test]
fn without_the_repair_two_readers_disagree_in_order() {
    let mut cluster = Cluster::new();
    cluster.options.defect = Some(Defect::ChainReadUnrepaired);
    cluster.run(1, put(1, 1, "old")).expect("a majority");
    accept_at(&mut cluster, 1, "new");
    assert_eq!((cluster.values(1), cluster.values(2)), (vec!["new".to_owned()], vec!["old".to_owned()]));
}

/// T2: the repair is too late; the read takes part in deciding instead.
#[test]
fn a_read_whose_repair_is_rejected_gives_way_to_a_round() {
    let mut cluster = Cluster::new();
    cluster.run(1, put(1, 1, "old")).expect("a majority");
    let half = accept_at(&mut cluster, 1, "new");
    let higher = cluster.draw(NodeId(3), half.ballot);
    for node in [2, 3] {
        cluster.record(node).chain.prepare(higher.ballot, Ballot::ZERO).expect("higher");
    }
    assert_eq!(cluster.read(1), Ok(Found::Round));
    assert!(cluster.marks.contains(&Mark::ChainReadContended));
}

#[test]
fn one_replica_that_knows_it_is_chosen_is_enough() {
    let mut cluster = Cluster::new();
    let half = accept_at(&mut cluster, 1, "a");
    let record = cluster.record(1);
    record.chain.learn(&half, &mut record.eventual).expect("one state");
    cluster.sent.clear();
    assert_eq!(cluster.values(1), ["a"]);
    assert!(cluster.sent.iter().all(|(_, request)| !matches!(request, ChainRequest::Accept { .. })));
    assert_eq!(cluster.record(2).chain.decided, half.ballot, "and the other is told");
}

/// T14: the replica's own accepted state has seen the version, but that state lost.
#[test]
fn what_is_missing_is_judged_against_the_newest_state_not_the_repliers_own() {
    let judge = |defect| {
        let mut cluster = Cluster::new();
        cluster.options.defect = defect;
        cluster.write_eventually(1, 1, "e");
        // A proposer whose state took the version in got it accepted here only.
        let drawn = cluster.draw(NodeId(2), Ballot::ZERO);
        let author = Authorship { ballot: drawn.ballot, hlc: drawn.hlc, op: None };
        let absorbed = ChainState::default().absorb(&cluster.records[&NodeId(1)].eventual, drawn.ballot);
        let lost = Accepted { ballot: drawn.ballot, state: absorbed.apply(&Change::Put(bytes("lost")), author).0 };
        cluster.record(1).chain.accept(&lost, None, Ballot::ZERO, Options::default()).expect("one state").expect("nothing higher");
        // Another state won elsewhere, without it.
        cluster.down.insert(NodeId(1));
        cluster.run(3, put(1, 1, "won")).expect("a majority");
        cluster.down.clear();
        cluster.read(1)
    };
    assert_eq!(judge(None), Ok(Found::Round));
    assert!(matches!(judge(Some(Defect::CleanJudgedByReplier)), Ok(Found::State { .. })), "the planted bug is one");
}

#[test]
fn a_session_is_answered_only_with_what_it_has_seen() {
    let mut cluster = Cluster::new();
    cluster.run(1, put(1, 1, "a")).expect("a majority");
    cluster.write_eventually(3, 1, "mine");
    let seen = cluster.records[&NodeId(3)].eventual.context().clone();
    let mut reader =
        ChainRead { plan: ReadPlan { seen, ..cluster.reader(1, Options::default()).plan }, ..cluster.reader(1, Options::default()) };
    let mut out = Outbox::default();
    reader.step(Tick(0), Input::Start, &mut out);
    let mut found = None;
    let mut queue: std::collections::VecDeque<_> = out.drain().into();
    while let Some(effect) = queue.pop_front() {
        match effect {
            Effect::Send { to, request } => {
                let input = cluster.ask(to, &request);
                reader.step(Tick(0), input, &mut out);
                queue.extend(out.drain());
            }
            Effect::Finish(answer) => found = Some(answer),
            _ => {}
        }
    }
    assert_eq!(found, Some(Ok(Found::Round)), "the third replica has it, and it must enter the chain");
}

#[test]
fn a_minority_answers_nothing() {
    let mut cluster = Cluster::new();
    cluster.run(1, put(1, 1, "a")).expect("a majority");
    cluster.down.extend([NodeId(2), NodeId(3)]);
    let failure = cluster.read(1).expect_err("no majority");
    assert_eq!(failure.reason, Reason::Unavailable { needed: 2, answered: 1 });
}

#[test]
fn a_deleted_key_is_absent_and_its_token_grows() {
    let mut cluster = Cluster::new();
    let before = cluster.run(1, put(1, 1, "a")).expect("a majority").state.token();
    cluster.run(2, change(1, 2, Change::Delete)).expect("a majority");
    let Ok(Found::State { state, .. }) = cluster.read(3) else { panic!("no round is needed") };
    assert!(shown(&state).is_empty() && state.token() > before);
}
