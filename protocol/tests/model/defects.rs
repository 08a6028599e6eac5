//! The models' own test: with a rule of the protocol broken, they find a run that shows it.

use quorate_protocol::Defect;

use crate::chain::shortest;
use crate::configurations::{
    AFTER_A_DEAD_BRANCH, AFTER_A_DEFEAT, AFTER_A_PUT, AFTER_AN_EARLIER_FAILURE, AFTER_HALF_A_PUT, AFTER_TWO_PREPARED,
};
use crate::history::Do::{Cas, CasAbsent, Delete, EventualGet, EventualPut, Get, Increment, Put};
use crate::ledger::Rule;
use crate::scenario::{Crash, Scenario};

/// Searches for the nearest run that breaks this rule, whatever other rules it breaks on the way, and finds it so many steps away.
#[track_caller]
fn breaks(rule: Rule, steps: usize, scenario: &Scenario) {
    let explored = shortest(&Scenario { rule: Some(rule), ..scenario.clone() });
    let found = explored.broken.map(|(rule, steps)| (rule, steps.len()));
    assert_eq!(found, Some((rule, steps)), "after {} states", explored.states);
}

fn with(defect: Defect, clients: &'static [&'static [crate::history::Do]]) -> Scenario {
    Scenario { defect: Some(defect), ..Scenario::new(clients) }
}

#[test]
fn a_read_without_repair_goes_back() {
    breaks(Rule::Linearizable, 10, &with(Defect::ChainReadUnrepaired, &[&[Put(10)], &[Get, Get]]));
}

#[test]
fn a_ballot_used_twice_carries_two_states() {
    breaks(Rule::OneStatePerBallot, 9, &Scenario { rounds_max: 2, ..with(Defect::BallotUsedTwice, &[&[Put(10)], &[Put(20)]]) });
}

#[test]
fn an_acceptor_that_does_not_compare_breaks_its_promise() {
    breaks(Rule::PromisesRise, 8, &with(Defect::AcceptWithoutPromiseCheck, &[&[Put(10)], &[Put(20)]]));
}

#[test]
fn a_proposer_that_extends_another_state_than_the_highest_loses_what_was_chosen() {
    let scenario = with(Defect::HighestAcceptedIgnored, &[&[Put(10)], &[Put(20), Put(30)]]);
    breaks(Rule::ChosenExtendsChosen, 10, &Scenario { prelude: AFTER_HALF_A_PUT, ..scenario });
}

#[test]
fn a_late_acknowledgement_that_counts_makes_an_answer_of_what_is_not_chosen() {
    let scenario = with(Defect::LateAcceptCounts, &[&[Put(10)], &[Put(20)]]);
    breaks(Rule::AnsweredIsChosen, 5, &Scenario { rounds_max: 2, prelude: AFTER_A_DEFEAT, ..scenario });
}

#[test]
fn a_failure_answered_from_an_undecided_state_may_never_have_been() {
    breaks(Rule::Linearizable, 10, &with(Defect::UndecidedLeft, &[&[Put(10)], &[CasAbsent(20), Get]]));
}

/// T35.
#[test]
fn an_undecided_version_that_is_shown_was_not_chosen() {
    breaks(Rule::ShownIsChosen, 7, &with(Defect::UndecidedShown, &[&[Put(10)], &[EventualGet]]));
}

#[test]
fn a_retry_that_is_not_looked_up_counts_twice() {
    breaks(Rule::Linearizable, 9, &Scenario { retries: true, ..with(Defect::RetryAppliedTwice, &[&[Increment]]) });
}

#[test]
fn what_was_called_not_applied_is_applied() {
    breaks(Rule::Linearizable, 9, &Scenario { deadlines: true, ..with(Defect::DefiniteFailureAfterAccept, &[&[Put(10)], &[Get]]) });
}

#[test]
fn a_put_that_was_acknowledged_before_a_delete_survives_it_if_absorbed_after() {
    breaks(Rule::Linearizable, 10, &with(Defect::AbsorbedAfterChange, &[&[EventualPut(10)], &[Delete, Get]]));
}

/// T14. Random schedules had missed this one.
#[test]
fn a_replica_that_judges_by_its_own_state_hides_an_acknowledged_put() {
    let scenario = with(Defect::CleanJudgedByReplier, &[&[EventualPut(10)], &[Put(20)], &[Put(30), Get]]);
    let scenario = Scenario { prelude: AFTER_A_DEAD_BRANCH, ..scenario };
    breaks(Rule::AcknowledgedIsSeen, 7, &scenario);
    breaks(Rule::Linearizable, 14, &Scenario { clients: &[&[EventualPut(10)], &[Put(20)], &[Put(30), Get, Get]], ..scenario });
}

/// T13.
#[test]
fn a_one_round_trip_delete_among_eventual_puts_is_survived_by_an_earlier_one() {
    let scenario = with(Defect::StickyInMixedBucket, &[&[Put(10), Delete, Get], &[EventualPut(20)]]);
    breaks(Rule::Linearizable, 14, &Scenario { rounds_max: 2, prelude: AFTER_A_PUT, ..scenario });
}

#[test]
fn a_client_that_trusts_an_unrecorded_failure_is_told_wrong() {
    let scenario = with(Defect::UnrecordedFailureTrusted, &[&[Cas(20, 10)], &[Put(20), Get]]);
    breaks(Rule::Linearizable, 7, &Scenario { retries: true, prelude: AFTER_AN_EARLIER_FAILURE, ..scenario });
}

/// M9, T17.
#[test]
fn a_promise_that_is_lost_in_a_crash_lets_two_states_be_chosen_side_by_side() {
    let scenario = Scenario::new(&[&[Put(10)], &[Put(20)]]);
    breaks(Rule::ChosenExtendsChosen, 5, &Scenario { crash: Some(Crash::PromiseLost), prelude: AFTER_TWO_PREPARED, ..scenario });
}

/// M9: promises in memory, without the floor that makes up for them.
#[test]
fn a_node_that_restarts_without_a_floor_lets_two_states_be_chosen_side_by_side() {
    let scenario = Scenario::new(&[&[Put(10)], &[Put(20)]]);
    breaks(Rule::ChosenExtendsChosen, 5, &Scenario { crash: Some(Crash::RestartWithoutFloor), prelude: AFTER_TWO_PREPARED, ..scenario });
}

/// M10, T16: without quarantine.
#[test]
fn a_replica_that_forgot_everything_and_votes_loses_what_was_chosen() {
    breaks(Rule::Linearizable, 9, &Scenario { crash: Some(Crash::RecordLost), ..Scenario::new(&[&[Put(10)], &[Get]]) });
}

#[test]
fn a_node_that_restarts_under_its_old_boot_uses_a_ballot_twice() {
    breaks(Rule::OneStatePerBallot, 7, &Scenario { crash: Some(Crash::RestartUnderOldBoot), ..Scenario::new(&[&[Put(10), Put(20)]]) });
}
