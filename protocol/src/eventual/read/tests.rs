//! Stories of coordinated reads, and random ones held against what strict levels promise.

use std::collections::BTreeSet;

use proptest::prelude::*;
use quorate_ring::NodeId;

use super::*;
use crate::eventual::testing::{EPOCH, Replicas, Waiting, values};
use crate::eventual::write::{Write, WriteFailure, Written};
use crate::options::Awkward;
use crate::replica::Seen;

/// One write that reached only `at`.
fn partly_written(at: u64) -> Replicas {
    let mut replicas = Replicas::new(3);
    replicas.down = replicas.homes().iter().filter(|node| node.0 != at).collect();
    let plan = replicas.put(at, Level::One, "new", Seen::Blind);
    replicas.write(plan).expect("one replica stored it");
    replicas.down.clear();
    replicas
}

#[test]
fn a_quorum_read_repairs_before_it_answers() {
    let mut replicas = partly_written(1);
    let plan = replicas.get(1, Level::Quorum);
    let answer = replicas.read(plan).expect("a majority answered");
    assert_eq!(values(&answer.siblings), ["new"]);
    assert_eq!(values(&replicas.records[&NodeId(2)].eventual), ["new"], "the second replica holds it before the answer");
    assert!(answer.receipt.replicas[1].stale && answer.receipt.replicas[1].repaired);
    assert_eq!(answer.receipt.versions, 2);
}

#[test]
fn a_plain_read_answers_first_and_repairs_behind() {
    let mut replicas = partly_written(1);
    let mut machine = Read::new(replicas.get(2, Level::Counts { r: 2, w: 1 }), Tick(0));
    let mut out = Outbox::default();
    machine.step(Tick(0), Input::Start, &mut out);
    let mut answer = None;
    for waiting in replicas.carry_out(NodeId(2), out.drain(), &mut answer) {
        let Waiting::Request { to, request } = waiting else { continue };
        for input in replicas.deliver(to, &request) {
            machine.step(Tick(1), input, &mut out);
        }
    }
    let effects = out.drain();
    let finish = effects.iter().position(|effect| matches!(effect, Effect::Finish(Ok(_))));
    let repair = effects.iter().position(|effect| matches!(effect, Effect::Send { request: ReplicaRequest::Replicate { .. }, .. }));
    assert!(finish.expect("answered") < repair.expect("repaired"));
}

#[test]
fn a_read_at_one_shows_what_its_replica_has_and_no_more() {
    let mut replicas = partly_written(1);
    let plan = replicas.get(2, Level::One);
    assert!(replicas.read(plan).expect("answered").siblings.is_empty());
    let plan = replicas.get(1, Level::One);
    assert_eq!(values(&replicas.read(plan).expect("answered").siblings), ["new"]);
}

#[test]
fn a_session_is_never_shown_less_than_it_has_seen() {
    let mut replicas = partly_written(3);
    let mut plan = replicas.get(2, Level::One);
    plan.seen = replicas.records[&NodeId(3)].eventual.context().clone();
    let answer = replicas.read(plan.clone()).expect("the third replica has it");
    assert_eq!(values(&answer.siblings), ["new"]);
    assert!(replicas.marks.contains(&Mark::SessionBehind));
    let mut replicas = partly_written(3);
    replicas.down.insert(NodeId(3));
    assert_eq!(replicas.read(plan).expect_err("nobody else has it").reason, Reason::Behind);
}

#[test]
fn a_silent_replica_is_hedged_by_another() {
    let mut replicas = partly_written(1);
    replicas.silent.insert(NodeId(2));
    let plan = replicas.get(1, Level::Quorum);
    let answer = replicas.read(plan).expect("the third replica answered instead");
    assert_eq!(values(&answer.siblings), ["new"]);
    assert_eq!(values(&replicas.records[&NodeId(3)].eventual), ["new"]);
}

#[test]
fn another_ring_epoch_does_not_count_at_strict_levels() {
    let mut replicas = partly_written(1);
    let mut plan = replicas.get(1, Level::Quorum);
    let newer = quorate_ring::RingEpoch(EPOCH.0 + 1);
    plan.quorum = ReadQuorum::of(Level::Quorum, replicas.homes(), newer, Options::default()).expect("a read level");
    let failure = replicas.read(plan).expect_err("no replica acts at that epoch");
    assert_eq!(failure.reason, Reason::Unavailable { needed: 2, answered: 0 });
}

#[test]
fn background_repair_reaches_replicas_that_the_level_does_not_need() {
    let mut replicas = partly_written(1);
    let mut plan = replicas.get(1, Level::One);
    plan.repair_behind = true;
    replicas.read(plan).expect("answered");
    for record in replicas.records.values() {
        assert_eq!(values(&record.eventual), ["new"]);
    }
    assert!(replicas.marks.contains(&Mark::BackgroundRepair));
}

fn broken(defect: Defect) -> Options {
    Options { defect: Some(defect), ..Options::default() }
}

/// Steps a machine through some answers; what it asks for in the end is returned.
fn answered(machine: &mut Read, inputs: impl IntoIterator<Item = Input>) -> Vec<Effect<Result<ReadAnswer, ReadFailure>>> {
    let mut out = Outbox::default();
    let mut last = Vec::new();
    for input in inputs {
        machine.step(Tick(1), input, &mut out);
        last = out.drain();
    }
    last
}

fn reply_of(replicas: &mut Replicas, node: u64) -> Input {
    let mut replies = replicas.deliver(NodeId(node), &ReplicaRequest::Read { strict: None });
    replies.pop().expect("it is up")
}

fn answer(effects: &[Effect<Result<ReadAnswer, ReadFailure>>]) -> Option<&ReadAnswer> {
    effects.iter().find_map(|effect| if let Effect::Finish(Ok(answer)) = effect { Some(answer) } else { None })
}

#[test]
fn a_value_that_one_replica_holds_is_shown_with_the_bugs_that_do_not_wait_for_repairs() {
    let stories =
        [(Options::default(), false), (broken(Defect::NoSynchronousRepair), true), (broken(Defect::AnswerBeforeRepairQuorum), true)];
    for (options, shown) in stories {
        let mut replicas = partly_written(1);
        replicas.options = options;
        let mut machine = Read::new(replicas.get(1, Level::Quorum), Tick(0));
        let inputs = [Input::Start, reply_of(&mut replicas, 1), reply_of(&mut replicas, 2)];
        assert_eq!(answer(&answered(&mut machine, inputs)).is_some(), shown, "{:?}", options.defect);
    }
}

/// While the second replica is being repaired, a hedged reply of the third shows a further value that nobody else has.
#[test]
fn a_value_that_one_replica_holds_is_shown_with_the_bug_repair_enlarged_midway() {
    for (options, shown) in [(Options::default(), vec!["new"]), (broken(Defect::RepairEnlargedMidway), vec!["late", "new"])] {
        let mut replicas = partly_written(1);
        replicas.down = BTreeSet::from([NodeId(1), NodeId(2)]);
        let plan = replicas.put(3, Level::One, "late", Seen::Nothing);
        replicas.write(plan).expect("one replica stored it");
        replicas.down.clear();
        replicas.options = options;
        let mut machine = Read::new(replicas.get(1, Level::Quorum), Tick(0));
        let stored = Input::Reply { from: NodeId(2), reply: ReplicaReply::Stored };
        let (first, second, third) = (reply_of(&mut replicas, 1), reply_of(&mut replicas, 2), reply_of(&mut replicas, 3));
        let effects = answered(&mut machine, [Input::Start, first, second, Input::Timer(Timer::Hedge), third, stored]);
        assert_eq!(values(&answer(&effects).expect("two replicas acknowledged something").siblings), shown);
    }
}

/// The third replica answers behind when the second is being repaired already: its repair is one before the answer, too.
#[test]
fn a_repair_of_a_further_reply_is_marked_like_those_before_it() {
    let mut replicas = partly_written(1);
    let mut machine = Read::new(replicas.get(1, Level::Quorum), Tick(0));
    let mut out = Outbox::default();
    for input in [Input::Start, reply_of(&mut replicas, 1), reply_of(&mut replicas, 2), reply_of(&mut replicas, 3)] {
        machine.step(Tick(1), input, &mut out);
    }
    let repairs = out.marks().into_iter().filter(|mark| *mark == Mark::BlockingRepair);
    assert_eq!(repairs.count(), 2);
}

#[test]
fn a_session_is_shown_less_than_it_has_seen_with_the_bug_session_not_awaited() {
    for (options, shown) in [(Options::default(), vec!["new"]), (broken(Defect::SessionNotAwaited), vec![])] {
        let mut replicas = partly_written(3);
        replicas.options = options;
        let mut plan = replicas.get(2, Level::One);
        plan.seen = replicas.records[&NodeId(3)].eventual.context().clone();
        assert_eq!(values(&replicas.read(plan).expect("answered").siblings), shown);
    }
}

#[test]
fn a_read_that_waits_for_all_its_repairs_answers_at_the_deadline_with_what_a_majority_holds() {
    let mut replicas = partly_written(1);
    replicas.options.awkward.repair_all_first = true;
    let mut machine = Read::new(replicas.get(1, Level::Quorum), Tick(0));
    assert_eq!(answered(&mut machine, [Input::Start]).iter().filter(|effect| matches!(effect, Effect::Send { .. })).count(), 3);
    let stored = Input::Reply { from: NodeId(2), reply: ReplicaReply::Stored };
    let (first, second, third) = (reply_of(&mut replicas, 1), reply_of(&mut replicas, 2), reply_of(&mut replicas, 3));
    assert!(answer(&answered(&mut machine, [first, second, third, stored])).is_none(), "the third is being repaired");
    let effects = answered(&mut machine, [Input::Timer(Timer::Deadline)]);
    assert_eq!(values(&answer(&effects).expect("a majority holds it").siblings), ["new"]);
    assert!(machine.is_done());
}

/// An operation in a random schedule.
enum Running {
    Write { machine: Write, out: Outbox<Result<Written, WriteFailure>> },
    Read { machine: Read, out: Outbox<Result<ReadAnswer, ReadFailure>>, must_show: BTreeSet<crate::Dot>, floor: Context },
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    /// Reads and writes at `quorum`, with requests delivered in random order, some lost and every operation started at a random
    /// moment, whatever awkward choices they make: a read shows every write acknowledged before it began, or what replaced it,
    /// and never goes back behind a read that was answered before it began.
    #[test]
    fn strict_reads_see_acknowledged_writes_and_never_go_backwards(
        choices in prop::collection::vec((any::<u16>(), 0..100u8), 20..160),
        (spread_minimal, ask_all_at_once, repair_all_first) in any::<(bool, bool, bool)>(),
    ) {
        let mut replicas = Replicas::new(3);
        replicas.options.awkward = Awkward { spread_minimal, ask_all_at_once, repair_all_first };
        let mut operations: Vec<Running> = Vec::new();
        let mut in_flight: Vec<(usize, Waiting)> = Vec::new();
        let mut acked: BTreeSet<crate::Dot> = BTreeSet::new();
        let mut shown = Context::empty();
        for (choice, kind) in choices {
            let me = u64::from(choice % 3) + 1;
            let started = match kind {
                0..=14 => {
                    let seen = if kind < 7 { Seen::Blind } else { Seen::Nothing };
                    let machine = Write::new(replicas.put(me, Level::Quorum, "v", seen), Tick(0));
                    operations.push(Running::Write { machine, out: Outbox::default() });
                    Some(Input::Start)
                }
                15..=29 => {
                    let machine = Read::new(replicas.get(me, Level::Quorum), Tick(0));
                    operations.push(Running::Read { machine, out: Outbox::default(), must_show: acked.clone(), floor: shown.clone() });
                    Some(Input::Start)
                }
                _ => None,
            };
            let (index, inputs) = if let Some(start) = started {
                (operations.len() - 1, vec![start])
            } else if in_flight.is_empty() {
                continue;
            } else {
                let (index, waiting) = in_flight.swap_remove(usize::from(choice) % in_flight.len());
                match waiting {
                    Waiting::Request { to, request } if kind < 92 => {
                        // The answer travels on its own, so that it can be late or lost too.
                        in_flight.extend(replicas.deliver(to, &request).into_iter().map(|input| (index, Waiting::Input(input))));
                        (index, Vec::new())
                    }
                    Waiting::Request { to, .. } => (index, vec![Input::PeerDown(to)]),
                    Waiting::Input(input) => (index, vec![input]),
                }
            };
            for input in inputs {
                match &mut operations[index] {
                    Running::Write { machine, out } => {
                        let me = machine.coordinator();
                        machine.step(Tick(1), input, out);
                        let mut answer = None;
                        let waiting = replicas.carry_out(me, out.drain(), &mut answer);
                        in_flight.extend(waiting.into_iter().map(|waiting| (index, waiting)));
                        if let Some(Ok(_)) = answer {
                            acked.extend(machine.dot());
                        }
                    }
                    Running::Read { machine, out, must_show, floor } => {
                        machine.step(Tick(1), input, out);
                        let mut answer = None;
                        let waiting = replicas.carry_out(NodeId(1), out.drain(), &mut answer);
                        in_flight.extend(waiting.into_iter().map(|waiting| (index, waiting)));
                        if let Some(Ok(read)) = answer {
                            for dot in must_show.iter() {
                                prop_assert!(read.siblings.context().covers(*dot), "an acknowledged write is missing");
                            }
                            prop_assert!(read.siblings.context().includes(floor), "a later read shows less");
                            shown.merge(read.siblings.context());
                        }
                    }
                }
            }
        }
    }
}
