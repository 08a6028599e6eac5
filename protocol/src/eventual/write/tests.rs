//! Stories of coordinated writes, each named by what it claims.

use std::collections::BTreeSet;

use quorate_ring::NodeId;

use super::*;
use crate::eventual::testing::{Replicas, op, values};
use crate::options::Awkward;
use crate::replica::Seen;

#[test]
fn a_quorum_write_is_answered_by_two_of_three_and_keeps_a_hint_for_the_third() {
    let mut replicas = Replicas::new(3);
    replicas.down.insert(NodeId(3));
    let plan = replicas.put(1, Level::Quorum, "a", Seen::Blind);
    let written = replicas.write(plan).expect("a majority stored it");
    assert_eq!(written.receipt.answered(), 2);
    assert_eq!(replicas.hints.iter().map(|(target, _)| *target).collect::<Vec<_>>(), vec![NodeId(3)]);
}

#[test]
fn too_few_reachable_replicas_refuse_the_write_before_anything_is_sent() {
    let mut replicas = Replicas::new(3);
    let mut plan = replicas.put(1, Level::Quorum, "a", Seen::Blind);
    plan.down = BTreeSet::from([NodeId(2), NodeId(3)]);
    let failure = replicas.write(plan).expect_err("one of two is not enough");
    assert_eq!(failure.outcome, Outcome::NotApplied);
    assert_eq!(failure.cause, WriteFailureCause::Reason(Reason::Unreachable { needed: 2, alive: 1 }));
    assert!(replicas.records.values().all(|record| record.eventual.is_empty()));
}

#[test]
fn a_write_that_one_replica_holds_and_nobody_else_answered_is_unknown() {
    let mut replicas = Replicas::new(3);
    replicas.silent = BTreeSet::from([NodeId(2), NodeId(3)]);
    let plan = replicas.put(1, Level::Quorum, "a", Seen::Blind);
    let failure = replicas.write(plan).expect_err("no majority");
    assert_eq!(failure.outcome, Outcome::Unknown);
    assert_eq!(failure.replicas[0].status, ReplicaStatus::Answered);
    assert_eq!(failure.replicas[1].status, ReplicaStatus::TimedOut);
    assert_eq!(replicas.hints.len(), 2, "both silent replicas get a hint");
}

#[test]
fn a_hint_never_counts_toward_one_quorum_or_all() {
    for level in [Level::One, Level::Quorum, Level::All, Level::Counts { r: 1, w: 1 }] {
        let mut replicas = Replicas::new(3);
        replicas.down = replicas.homes().iter().collect();
        let mut plan = replicas.put(9, level, "a", Seen::Blind);
        plan.role = Role::Stranger;
        let failure = replicas.write(plan).expect_err("no home replica stored it");
        assert_eq!(failure.outcome, Outcome::Unknown, "{level}");
    }
}

#[test]
fn any_is_answered_by_a_hint_alone_and_says_so() {
    let mut replicas = Replicas::new(3);
    let mut plan = replicas.put(9, Level::Any, "a", Seen::Blind);
    plan.down = replicas.homes().iter().collect();
    let written = replicas.write(plan).expect("the hint counts");
    assert!(written.receipt.hint_only);
    assert_eq!(replicas.hints.len(), 3);
}

/// The home replica whose hint is durable first may lose its disk before it gets it: the others' hints must be durable, too.
#[test]
fn any_is_not_answered_before_every_hint_that_was_asked_for_is_kept() {
    let mut replicas = Replicas::new(3);
    let mut plan = replicas.put(9, Level::Any, "a", Seen::Blind);
    plan.down = replicas.homes().iter().collect();
    let mut machine = Write::new(plan.clone(), Tick(0));
    let mut out = Outbox::default();
    machine.step(Tick(0), Input::Start, &mut out);
    for input in replicas.mint(NodeId(9), &plan.mint, Role::Stranger) {
        machine.step(Tick(0), input, &mut out);
    }
    let mut is_answered_by = |input| {
        machine.step(Tick(1), input, &mut out);
        out.drain().iter().any(|effect| matches!(effect, Effect::Finish(Ok(_))))
    };
    assert!(!is_answered_by(Input::HintKept(NodeId(1))));
    assert!(!is_answered_by(Input::HintRefused(NodeId(2))));
    assert!(is_answered_by(Input::HintKept(NodeId(3))));
}

/// A fallback that hands its hint over and then coordinates again must give another dot, or the second write is discarded as seen.
#[test]
fn two_writes_of_one_fallback_both_survive() {
    let mut replicas = Replicas::new(3);
    for value in ["first", "second"] {
        let mut plan = replicas.put(9, Level::Any, value, Seen::Nothing);
        plan.down = replicas.homes().iter().collect();
        replicas.write(plan).expect("the hint counts");
    }
    for (target, delta) in std::mem::take(&mut replicas.hints) {
        replicas.deliver(target, &ReplicaRequest::Replicate { strict: None, delta });
    }
    assert_eq!(values(&replicas.records[&NodeId(2)].eventual), ["first", "second"]);
}

#[test]
fn the_context_of_a_put_does_not_cover_a_concurrent_sibling() {
    let mut replicas = Replicas::new(3);
    let plan = replicas.put(1, Level::All, "base", Seen::Blind);
    let base = replicas.write(plan).expect("stored").context;
    let plan = replicas.put(1, Level::All, "other", Seen::Context(base.clone()));
    replicas.write(plan).expect("stored");
    let plan = replicas.put(1, Level::All, "mine", Seen::Context(base));
    let mine = replicas.write(plan).expect("stored").context;
    let plan = replicas.put(1, Level::All, "mine again", Seen::Context(mine));
    replicas.write(plan).expect("stored");
    assert_eq!(values(&replicas.records[&NodeId(1)].eventual), ["mine again", "other"]);
}

/// The story of a lost reply: the first try reached one replica only, and the client sends the operation again elsewhere.
#[test]
fn a_retry_that_finds_its_write_sends_it_again_until_the_level_is_met() {
    let mut replicas = Replicas::new(3);
    replicas.silent = BTreeSet::from([NodeId(2), NodeId(3)]);
    let mut plan = replicas.put(1, Level::Quorum, "a", Seen::Blind);
    plan.mint.op = op(1);
    replicas.write(plan.clone()).expect_err("nobody else answered");
    replicas.silent = BTreeSet::from([NodeId(3)]);
    replicas.hints.clear();
    plan.me = NodeId(2);
    plan.attempt = Attempt(1);
    replicas.write(plan).expect("two replicas hold it now");
    assert!(replicas.marks.contains(&Mark::RetryFound));
    assert_eq!(replicas.records[&NodeId(1)].eventual, replicas.records[&NodeId(2)].eventual, "same dot, no second version");
}

/// Another client's write is on all replicas when this client's retry finds no trace of its first try.
fn retry_over_what_others_wrote(replicas: &mut Replicas) {
    let plan = replicas.put(1, Level::All, "theirs", Seen::Blind);
    replicas.write(plan).expect("stored");
    let mut plan = replicas.put(2, Level::Quorum, "mine", Seen::Blind);
    plan.mint.op = op(1);
    plan.attempt = Attempt(1);
    replicas.write(plan).expect("stored");
}

#[test]
fn a_retry_that_finds_nothing_writes_beside_what_it_has_not_seen() {
    let mut replicas = Replicas::new(3);
    retry_over_what_others_wrote(&mut replicas);
    assert!(replicas.marks.contains(&Mark::RetryReapplied));
    assert_eq!(values(&replicas.records[&NodeId(2)].eventual), ["mine", "theirs"]);
}

#[test]
fn a_retry_without_a_majority_to_ask_stays_unknown() {
    let mut replicas = Replicas::new(3);
    replicas.down = BTreeSet::from([NodeId(2), NodeId(3)]);
    let mut plan = replicas.put(1, Level::One, "a", Seen::Blind);
    plan.mint.op = op(1);
    plan.attempt = Attempt(1);
    let failure = replicas.write(plan).expect_err("one replica is no majority");
    assert_eq!(failure.outcome, Outcome::Unknown);
}

#[test]
fn an_acknowledgement_repeated_counts_once() {
    let mut replicas = Replicas::new(3);
    let plan = replicas.put(1, Level::All, "a", Seen::Blind);
    let mut machine = Write::new(plan.clone(), Tick(0));
    let mut out = Outbox::default();
    machine.step(Tick(0), Input::Start, &mut out);
    for input in replicas.mint(NodeId(1), &plan.mint, Role::Home) {
        machine.step(Tick(1), input, &mut out);
    }
    for _ in 0..3 {
        machine.step(Tick(2), Input::Reply { from: NodeId(2), reply: ReplicaReply::Stored }, &mut out);
    }
    assert!(!out.drain().iter().any(|effect| matches!(effect, Effect::Finish(_))), "two of three is not all");
    machine.step(Tick(3), Input::Reply { from: NodeId(3), reply: ReplicaReply::Stored }, &mut out);
    assert!(out.drain().iter().any(|effect| matches!(effect, Effect::Finish(Ok(_)))));
    assert!(machine.is_done());
}

fn broken(defect: Defect) -> Options {
    Options { defect: Some(defect), ..Options::default() }
}

fn three_with(options: Options) -> Replicas {
    let mut replicas = Replicas::new(3);
    replicas.options = options;
    replicas
}

/// At `any` a hint may be all that answers, so it must be asked for while its answer can still come in time.
#[test]
fn where_a_hint_counts_it_is_asked_for_well_before_the_deadline() {
    let replicas = Replicas::new(3);
    for (level, latest) in [(Level::Any, 100_000), (Level::One, 400_000)] {
        let mut plan = replicas.put(1, level, "a", Seen::Blind);
        plan.deadline = Tick(400_000);
        let mut out = Outbox::default();
        Write::new(plan, Tick(0)).step(Tick(0), Input::Start, &mut out);
        let hint_at = Effect::SetTimer { timer: Timer::Hint, at: Tick(latest) };
        assert!(out.drain().contains(&hint_at), "{level}");
    }
}

#[test]
fn a_minimal_spread_tries_the_next_replica_after_a_failure_and_hints_the_rest() {
    let mut replicas = three_with(Options { awkward: Awkward { spread_minimal: true, ..Awkward::default() }, ..Options::default() });
    replicas.records.insert(NodeId(4), crate::KeyRecord::default());
    let plan = replicas.put(1, Level::Counts { r: 1, w: 2 }, "a", Seen::Blind);
    let mut machine = Write::new(plan.clone(), Tick(0));
    let mut out = Outbox::default();
    machine.step(Tick(0), Input::Start, &mut out);
    for input in replicas.mint(NodeId(1), &plan.mint, Role::Home) {
        machine.step(Tick(1), input, &mut out);
    }
    let sent_to = |out: &mut Out| -> Vec<u64> {
        let node = |effect| if let Effect::Send { to, .. } = effect { Some(to.0) } else { None };
        out.drain().into_iter().filter_map(node).collect()
    };
    assert_eq!(sent_to(&mut out), [2]);
    machine.step(Tick(2), Input::PeerDown(NodeId(2)), &mut out);
    assert_eq!(sent_to(&mut out), [3]);
    machine.step(Tick(3), Input::HintKept(NodeId(2)), &mut out);
    machine.step(Tick(3), Input::Reply { from: NodeId(3), reply: ReplicaReply::Stored }, &mut out);
    assert!(out.drain().iter().any(|effect| matches!(effect, Effect::Finish(Ok(_)))));
    assert!(!machine.is_done(), "the fourth has neither the write nor a hint");
    machine.step(Tick(4), Input::Timer(Timer::Hint), &mut out);
    assert!(matches!(out.drain().as_slice(), [Effect::KeepHint { target: NodeId(4), .. }]));
    machine.step(Tick(5), Input::HintKept(NodeId(4)), &mut out);
    assert!(machine.is_done());
}

#[test]
fn one_copy_and_a_hint_are_called_a_quorum_with_the_bug_hint_counts_toward_quorum() {
    for (options, acknowledged) in [(Options::default(), false), (broken(Defect::HintCountsTowardQuorum), true)] {
        let mut replicas = three_with(options);
        replicas.down = BTreeSet::from([NodeId(2), NodeId(3)]);
        let plan = replicas.put(1, Level::Quorum, "a", Seen::Blind);
        assert_eq!(replicas.write(plan).is_ok(), acknowledged);
    }
}

#[test]
fn a_retry_hides_what_its_client_has_not_seen_with_the_bug_retry_overwrites() {
    let stories = [(Options::default(), vec!["mine", "theirs"]), (broken(Defect::RetryOverwrites), vec!["mine"])];
    for (options, kept) in stories {
        let mut replicas = three_with(options);
        retry_over_what_others_wrote(&mut replicas);
        assert_eq!(values(&replicas.records[&NodeId(2)].eventual), kept);
    }
}

#[test]
fn one_copy_is_called_a_quorum_with_the_bug_retry_answered_without_resend() {
    for (options, copies) in [(Options::default(), 3), (broken(Defect::RetryAnsweredWithoutResend), 1)] {
        let mut replicas = three_with(options);
        replicas.silent = BTreeSet::from([NodeId(2), NodeId(3)]);
        let mut plan = replicas.put(1, Level::Quorum, "a", Seen::Blind);
        plan.mint.op = op(1);
        replicas.write(plan.clone()).expect_err("nobody else answered");
        replicas.silent.clear();
        plan.me = NodeId(2);
        plan.attempt = Attempt(1);
        replicas.write(plan).expect("answered");
        assert_eq!(replicas.records.values().filter(|record| !record.eventual.is_empty()).count(), copies);
    }
}

#[test]
fn a_write_that_a_replica_holds_is_called_not_applied_with_the_bug_definite_failure_after_spread() {
    let stories = [(Options::default(), Outcome::Unknown), (broken(Defect::DefiniteFailureAfterSpread), Outcome::NotApplied)];
    for (options, outcome) in stories {
        let mut replicas = three_with(options);
        replicas.silent = BTreeSet::from([NodeId(2), NodeId(3)]);
        let plan = replicas.put(1, Level::Quorum, "a", Seen::Blind);
        assert_eq!(replicas.write(plan).expect_err("no majority").outcome, outcome);
        assert_eq!(values(&replicas.records[&NodeId(1)].eventual), ["a"]);
    }
}
