//! The configurations, and how many states each has.
//!
//! A number that changes is no failure of the protocol: it says that the protocol is another one, and that its author may look again at
//! what that allows. The small ones are a part of every test run, the large ones of `make model`.
//!
//! Where nothing else is said, a proposer has one round, a beaten one rests, and nobody is told what was chosen.

use std::collections::BTreeSet;

use quorate_protocol::notes::Mark;
use quorate_protocol::record::WriteMode;

use crate::chain::explore;
use crate::history::Do::{self, Cas, CasAbsent, CasUnchanged, Delete, EventualGet, EventualPut, Get, Increment, Put};
use crate::scenario::{Crash, Cue, Scenario};

/// The put of the first client was answered; the third node has not heard of it.
pub(crate) const AFTER_A_PUT: &[Cue] = &[Cue::Begin(0), Cue::Prepare(0, 0), Cue::Prepare(0, 1), Cue::Accept(0, 0), Cue::Accept(0, 1)];

/// T1: the put of the first client was accepted by its own node alone.
pub(crate) const AFTER_HALF_A_PUT: &[Cue] = &[Cue::Begin(0), Cue::Prepare(0, 0), Cue::Prepare(0, 1), Cue::Accept(0, 0)];

/// Both proposers have their promises, the second one from the second node, too.
pub(crate) const AFTER_TWO_PREPARED: &[Cue] =
    &[Cue::Begin(0), Cue::Prepare(0, 0), Cue::Prepare(0, 1), Cue::Begin(1), Cue::Prepare(1, 1), Cue::Prepare(1, 2)];

/// The put of the first client was accepted by its own node alone, and its proposer is beaten by the second one, whose state was accepted
/// by its own node alone.
pub(crate) const AFTER_A_DEFEAT: &[Cue] = &[
    Cue::Begin(0),
    Cue::Prepare(0, 0),
    Cue::Prepare(0, 1),
    Cue::Accept(0, 0),
    Cue::Begin(1),
    Cue::Prepare(1, 1),
    Cue::Prepare(1, 2),
    Cue::Accept(0, 1),
    Cue::Accept(0, 2),
    Cue::Accept(1, 1),
];

/// T14: the third node prepared before the eventual put came to the second one, the second node prepared lower and took the put in.
pub(crate) const AFTER_A_DEAD_BRANCH: &[Cue] = &[
    Cue::Begin(1),
    Cue::Prepare(1, 2),
    Cue::Begin(2),
    Cue::Prepare(2, 1),
    Cue::Prepare(2, 2),
    Cue::Begin(0),
    Cue::Ask(0, 1),
    Cue::Prepare(1, 0),
];

/// The compare-and-set of the first client was sent twice; the first sending failed without a record. Then the second client put what it
/// had expected.
pub(crate) const AFTER_AN_EARLIER_FAILURE: &[Cue] = &[
    Cue::Begin(0),
    Cue::Prepare(0, 0),
    Cue::SendAgain(0),
    Cue::Prepare(0, 1),
    Cue::Begin(1),
    Cue::Prepare(1, 0),
    Cue::Prepare(1, 1),
    Cue::Accept(1, 0),
    Cue::Accept(1, 1),
];

/// Visits every state; `marks` are branches that must have been taken on the way. Every operation is answered in some run.
#[track_caller]
fn holds(scenario: &Scenario, states: usize, marks: &[Mark]) {
    holds_without(scenario, None, states, marks);
}

/// Likewise, but for one operation that never can be answered.
#[track_caller]
fn holds_without(scenario: &Scenario, beaten: Option<usize>, states: usize, marks: &[Mark]) {
    let explored = explore(scenario);
    if let Some((rule, steps)) = explored.broken {
        let steps: Vec<String> = steps.iter().map(|step| format!("  {step:?}")).collect();
        panic!("{rule:?} is broken by\n{}", steps.join("\n"));
    }
    let expected: BTreeSet<usize> = (0..scenario.operations().count()).filter(|at| Some(*at) != beaten).collect();
    assert_eq!(explored.answered, expected, "operations that are answered in some run");
    assert!(marks.iter().all(|mark| explored.marks.contains(mark)), "not all of {marks:?} in {:?}", explored.marks);
    assert_eq!(explored.states, states, "states, the farthest {} steps away", explored.depth);
}

fn last_waits(clients: &'static [&'static [Do]]) -> Scenario {
    Scenario { last_waits: true, ..Scenario::new(clients) }
}

fn learns(clients: &'static [&'static [Do]]) -> Scenario {
    Scenario { learns: true, ..Scenario::new(clients) }
}

fn retries(clients: &'static [&'static [Do]]) -> Scenario {
    Scenario { retries: true, ..Scenario::new(clients) }
}

fn deadlines(clients: &'static [&'static [Do]]) -> Scenario {
    Scenario { deadlines: true, ..Scenario::new(clients) }
}

fn restarts(clients: &'static [&'static [Do]]) -> Scenario {
    Scenario { crash: Some(Crash::Restart), ..Scenario::new(clients) }
}

fn lin_only(scenario: Scenario) -> Scenario {
    Scenario { write_mode: WriteMode::LinOnly, ..scenario }
}

fn two_rounds(scenario: Scenario) -> Scenario {
    Scenario { rounds_max: 2, ..scenario }
}

/// T1.
#[test]
fn m1_a_put_and_a_compare_and_set_then_a_read() {
    let marks =
        [Mark::ChainReadRepaired, Mark::UndecidedAdopted, Mark::RoundContended, Mark::CasFailureRecorded, Mark::CasFailureUnrecorded];
    holds(&last_waits(&[&[Put(10)], &[CasAbsent(20)], &[Get]]), 33_608, &marks);
}

#[test]
fn m2_two_compare_and_sets_with_one_token_then_a_read() {
    let marks = [Mark::ChainReadRepaired, Mark::UndecidedAdopted, Mark::RoundContended, Mark::CasFailureRecorded];
    holds(&last_waits(&[&[CasUnchanged(10)], &[CasUnchanged(20)], &[Get]]), 30_032, &marks);
}

/// T2: the promises of the second proposer reject the read's repair.
#[test]
fn m1_a_read_whose_repair_is_rejected_begins_again() {
    let scenario = Scenario { reads_try_again: true, ..Scenario::new(&[&[Put(10)], &[CasAbsent(20)], &[Get]]) };
    holds_without(&Scenario { prelude: AFTER_A_DEFEAT, ..scenario }, Some(0), 3_986, &[Mark::ChainReadRepaired, Mark::ChainReadContended]);
}

/// T9: it finds what it had sent, or does not.
#[test]
fn a_beaten_proposer_tries_again_at_another_ballot() {
    let scenario = two_rounds(Scenario::new(&[&[Put(10)], &[CasAbsent(20)]]));
    holds(&Scenario { prelude: AFTER_A_DEFEAT, ..scenario }, 60_936, &[Mark::UndecidedAdopted, Mark::OnceFound, Mark::CasFailureRecorded]);
}

#[test]
fn m3_a_put_and_one_reader_twice() {
    holds(&Scenario::new(&[&[Put(10)], &[Get, Get]]), 7_470, &[Mark::ChainReadFast, Mark::ChainReadRepaired]);
}

#[test]
fn m4_a_retried_increment_counts_once() {
    holds(&retries(&[&[Increment]]), 18_976, &[Mark::OnceFound, Mark::UndecidedAdopted, Mark::RoundContended]);
}

/// T5.
#[test]
fn m5_a_compare_and_set_whose_first_sending_failed_then_a_read() {
    let scenario = Scenario { prelude: AFTER_AN_EARLIER_FAILURE, ..retries(&[&[Cas(20, 10)], &[Put(20), Get]]) };
    holds(&scenario, 14_194, &[Mark::ChainReadRepaired]);
}

#[test]
fn m6_an_eventual_put_and_one_reader_twice() {
    holds(&Scenario::new(&[&[EventualPut(10)], &[Get, Get]]), 6_165, &[Mark::ChainReadDirty, Mark::Absorbed]);
}

/// T12.
#[test]
fn m7_an_eventual_put_and_a_delete_then_a_read() {
    let marks = [Mark::ChainReadDirty, Mark::ChainReadRepaired, Mark::Absorbed, Mark::UndecidedAdopted];
    holds(&Scenario::new(&[&[EventualPut(10)], &[Delete, Get]]), 16_425, &marks);
}

/// T36.
#[test]
fn m8_an_eventual_put_and_a_compare_and_set_then_a_read() {
    let marks = [Mark::ChainReadDirty, Mark::ChainReadRepaired, Mark::Absorbed, Mark::CasFailureRecorded];
    holds(&Scenario::new(&[&[EventualPut(10)], &[CasAbsent(20), Get]]), 16_425, &marks);
}

/// T14.
#[test]
fn m8_an_eventual_put_that_only_a_losing_state_has_seen() {
    let scenario = Scenario::new(&[&[EventualPut(10)], &[Put(20)], &[Put(30), Get]]);
    holds_without(&Scenario { prelude: AFTER_A_DEAD_BRANCH, ..scenario }, Some(1), 20_874, &[Mark::ChainReadDirty, Mark::Absorbed]);
}

#[test]
fn m9_a_node_restarts_between_two_puts_and_reads() {
    holds(&restarts(&[&[Put(10), Put(20), Get]]), 27_783, &[Mark::ChainReadRepaired]);
}

#[test]
fn m9_a_node_restarts_while_another_reads() {
    holds(&restarts(&[&[Put(10)], &[Get]]), 13_343, &[Mark::ChainReadRepaired]);
}

/// What it had learnt was in memory, too.
#[test]
fn m9_a_node_restarts_while_replicas_learn() {
    holds(&Scenario { learns: true, ..restarts(&[&[Put(10), Get]]) }, 9_721, &[Mark::ChainReadFast]);
}

#[test]
fn m11_two_puts_in_one_round_trip_each_and_a_compare_and_set() {
    let marks = [Mark::StickyRound, Mark::AcceptRejected, Mark::UndecidedAdopted, Mark::CasFailureRecorded];
    holds(&lin_only(Scenario::new(&[&[Put(10), Put(20)], &[CasAbsent(30)]])), 92_333, &marks);
}

#[test]
fn m17_replicas_learn_what_was_chosen_while_others_read() {
    holds(&learns(&[&[Put(10)], &[Get]]), 5_160, &[Mark::ChainReadFast, Mark::ChainReadRepaired]);
}

/// T9, X6.
#[test]
fn a_put_that_runs_out_of_time_and_a_read() {
    holds(&deadlines(&[&[Put(10)], &[Get]]), 2_621, &[Mark::OutcomeUnknown, Mark::ChainReadRepaired]);
}

#[test]
#[ignore = "takes long: make model"]
fn large_two_proposers_that_are_prepared_have_two_rounds() {
    let scenario = two_rounds(Scenario::new(&[&[Put(10)], &[CasAbsent(20)]]));
    holds(&Scenario { prelude: AFTER_TWO_PREPARED, ..scenario }, 279_084, &[Mark::RoundContended, Mark::OnceFound]);
}

#[test]
#[ignore = "takes long: make model"]
fn large_m3_two_readers() {
    holds(&Scenario::new(&[&[Put(10)], &[Get], &[Get]]), 94_250, &[Mark::ChainReadRepaired]);
}

#[test]
#[ignore = "takes long: make model"]
fn large_m4_a_retried_increment_then_a_read() {
    let scenario = Scenario { last_waits: true, ..retries(&[&[Increment], &[Get]]) };
    holds(&scenario, 176_748, &[Mark::OnceFound, Mark::ChainReadRepaired]);
}

#[test]
#[ignore = "takes long: make model"]
fn large_m6_two_readers() {
    holds(&Scenario::new(&[&[EventualPut(10)], &[Get], &[Get]]), 522_516, &[Mark::Absorbed, Mark::RoundContended]);
}

#[test]
#[ignore = "takes long: make model"]
fn large_m7_replicas_learn() {
    holds(&learns(&[&[EventualPut(10)], &[Delete, Get]]), 121_877, &[Mark::Absorbed]);
}

#[test]
#[ignore = "takes long: make model"]
fn large_m8_an_eventual_read_beside_a_put_and_a_compare_and_set() {
    holds(&learns(&[&[Put(10)], &[EventualPut(20)], &[EventualGet]]), 119_534, &[Mark::Absorbed]);
}

#[test]
#[ignore = "takes long: make model"]
fn large_m8_in_two_rounds_beside_another_proposer() {
    let scenario = two_rounds(Scenario::new(&[&[Put(10)], &[CasAbsent(20)], &[EventualPut(30)]]));
    holds(&Scenario { prelude: AFTER_A_DEFEAT, ..scenario }, 1_546_855, &[Mark::Absorbed, Mark::CasFailureRecorded, Mark::RoundContended]);
}

#[test]
#[ignore = "takes long: make model"]
fn large_m9_a_node_restarts_and_its_client_sends_again() {
    holds(&Scenario { retries: true, ..restarts(&[&[Put(10)]]) }, 142_128, &[Mark::OnceFound]);
}

#[test]
#[ignore = "takes long: make model"]
fn large_m9_a_node_restarts_while_another_proposes() {
    holds(&restarts(&[&[Put(10)], &[CasAbsent(20)]]), 214_052, &[Mark::UndecidedAdopted, Mark::RoundContended]);
}

#[test]
#[ignore = "takes long: make model"]
fn large_m11_then_a_read() {
    let scenario = lin_only(last_waits(&[&[Put(10), Put(20)], &[CasAbsent(30)], &[Get]]));
    holds(&scenario, 159_574, &[Mark::StickyRound, Mark::ChainReadRepaired]);
}

#[test]
#[ignore = "takes long: make model"]
fn large_two_puts_that_run_out_of_time_and_a_read() {
    holds(&deadlines(&[&[Put(10), Put(20)], &[Get]]), 432_258, &[Mark::OutcomeUnknown]);
}
