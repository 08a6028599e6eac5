//! One operation's sendings, driven by hand: what each answer lets its client conclude.

use super::*;
use crate::outcome::Reason;

const DEADLINE: Tick = Tick(2_000_000);

struct Story {
    machine: Attempts,
    out: Vec<ClientEffect<&'static str>>,
}

impl Story {
    fn begin(nature: Nature) -> Self {
        Self::of(AttemptOptions::default(), nature)
    }

    fn of(options: AttemptOptions, nature: Nature) -> Self {
        let candidates = vec![NodeId(1), NodeId(2), NodeId(3)];
        let mut story = Self { machine: Attempts::new(options, candidates, nature, Attempt(0), DEADLINE, 7), out: Vec::new() };
        story.step(ClientInput::Start);
        story
    }

    fn step(&mut self, input: ClientInput<&'static str>) -> Vec<ClientEffect<&'static str>> {
        self.machine.step(Tick(1), input, &mut self.out, &mut Notes::default());
        std::mem::take(&mut self.out)
    }

    fn fails(&mut self, sending: u32, trouble: Trouble) -> Vec<ClientEffect<&'static str>> {
        self.step(ClientInput::Troubled(Sending(sending), trouble))
    }
}

fn failed(reason: Reason, outcome: Outcome) -> Trouble {
    Trouble::Failed(Failure { reason, outcome, replicas: Vec::new() })
}

fn sent(effects: &[ClientEffect<&'static str>]) -> Option<(NodeId, Attempt)> {
    effects.iter().find_map(|effect| match effect {
        ClientEffect::Send { to, attempt, .. } => Some((*to, *attempt)),
        ClientEffect::SetTimer(..) | ClientEffect::Finish(_) => None,
    })
}

fn begin_by(effects: &[ClientEffect<&'static str>]) -> Option<Tick> {
    effects.iter().find_map(|effect| match effect {
        ClientEffect::Send { begin_by, .. } => *begin_by,
        ClientEffect::SetTimer(..) | ClientEffect::Finish(_) => None,
    })
}

fn ended(effects: &[ClientEffect<&'static str>]) -> Option<Outcome> {
    effects.iter().find_map(|effect| match effect {
        ClientEffect::Finish(Err(gave_up)) => Some(gave_up.outcome),
        ClientEffect::Finish(Ok(_)) | ClientEffect::Send { .. } | ClientEffect::SetTimer(..) => None,
    })
}

#[test]
fn a_lost_write_is_sent_again_as_a_retry_and_a_refused_one_as_if_new() {
    let mut story = Story::begin(Nature::Write);
    let effects = story.fails(0, Trouble::NotSent);
    assert_eq!(sent(&effects), Some((NodeId(2), Attempt(0))));
    let effects = story.fails(1, Trouble::Lost);
    assert_eq!(sent(&effects), Some((NodeId(3), Attempt(1))));
}

#[test]
fn a_lost_read_has_no_effect_to_be_unsure_of() {
    let mut story = Story::begin(Nature::Read);
    let effects = story.fails(0, Trouble::Lost);
    assert_eq!(sent(&effects), Some((NodeId(2), Attempt(0))));
    let effects = story.step(ClientInput::Timer(ClientTimer::Deadline));
    assert_eq!(ended(&effects), Some(Outcome::NotApplied));
}

#[test]
fn a_definite_failure_after_a_lost_sending_stays_unknown() {
    let mut story = Story::begin(Nature::Write);
    story.fails(0, Trouble::Lost);
    let effects = story.fails(1, failed(Reason::InvalidContext, Outcome::NotApplied));
    assert_eq!(ended(&effects), Some(Outcome::Unknown));
}

#[test]
fn a_definite_failure_of_the_only_sending_is_definite() {
    let mut story = Story::begin(Nature::Write);
    let effects = story.fails(0, failed(Reason::InvalidContext, Outcome::NotApplied));
    assert_eq!(ended(&effects), Some(Outcome::NotApplied));
}

#[test]
fn an_operation_that_was_sent_before_is_never_known_not_to_be_applied() {
    let mut machine = Attempts::new(AttemptOptions::default(), vec![NodeId(1)], Nature::Write, Attempt(1), DEADLINE, 7);
    let mut out: Vec<ClientEffect<&'static str>> = Vec::new();
    machine.step(Tick(1), ClientInput::Start, &mut out, &mut Notes::default());
    assert_eq!(sent(&out), Some((NodeId(1), Attempt(1))));
    out.clear();
    let refused = ClientInput::Troubled(Sending(0), failed(Reason::InvalidContext, Outcome::NotApplied));
    machine.step(Tick(1), refused, &mut out, &mut Notes::default());
    assert_eq!(ended(&out), Some(Outcome::Unknown));
}

/// The first coordinator is slow, the second takes over; then the first says "not applied", which is true of itself alone.
#[test]
fn an_older_sendings_failure_says_nothing_about_the_newer_one() {
    let mut story = Story::begin(Nature::Write);
    let effects = story.step(ClientInput::Timer(ClientTimer::Silence(Sending(0))));
    assert_eq!(sent(&effects), Some((NodeId(2), Attempt(1))));
    assert!(story.fails(0, failed(Reason::Overloaded, Outcome::NotApplied)).is_empty());
    let effects = story.step(ClientInput::Answered("stored"));
    assert_eq!(effects, vec![ClientEffect::Finish(Ok("stored"))]);
}

#[test]
fn nobody_is_sent_the_operation_again_while_it_has_not_answered() {
    let mut story = Story::begin(Nature::Write);
    story.step(ClientInput::Timer(ClientTimer::Silence(Sending(0))));
    story.fails(1, Trouble::NotSent);
    story.fails(2, Trouble::NotSent);
    let effects = story.step(ClientInput::Timer(ClientTimer::Backoff));
    assert_eq!(sent(&effects), Some((NodeId(2), Attempt(3))), "n1 is still out, n2 is next");
}

#[test]
fn a_silent_write_is_unknown_at_the_deadline() {
    let mut story = Story::begin(Nature::Write);
    let effects = story.step(ClientInput::Timer(ClientTimer::Deadline));
    assert_eq!(ended(&effects), Some(Outcome::Unknown));
}

#[test]
fn after_all_candidates_failed_the_next_round_waits_longer_each_time() {
    let mut story = Story::begin(Nature::Write);
    let mut waits = Vec::new();
    let mut sending = 0;
    for _ in 0..4 {
        for _ in 0..2 {
            assert!(sent(&story.fails(sending, Trouble::NotSent)).is_some());
            sending += 1;
        }
        let effects = story.fails(sending, Trouble::NotSent);
        let [ClientEffect::SetTimer(ClientTimer::Backoff, at)] = effects[..] else { panic!("a wait, not {effects:?}") };
        waits.push(at.since(Tick(1)));
        sending += 1;
        assert_eq!(sent(&story.step(ClientInput::Timer(ClientTimer::Backoff))), Some((NodeId(1), Attempt(0))));
    }
    assert!((5_000..=10_000).contains(&waits[0]) && (40_000..=80_000).contains(&waits[3]), "{waits:?}");
}

#[test]
fn a_level_that_every_coordinator_calls_unreachable_fails_at_once() {
    let mut story = Story::begin(Nature::Write);
    let unreachable = || failed(Reason::Unreachable { needed: 2, alive: 1 }, Outcome::NotApplied);
    assert!(sent(&story.fails(0, Trouble::NotSent)).is_some());
    assert!(sent(&story.fails(1, unreachable())).is_some(), "another coordinator may see more");
    assert_eq!(ended(&story.fails(2, Trouble::NotSent)), Some(Outcome::NotApplied));
}

#[test]
fn an_overloaded_coordinator_among_unreachable_ones_is_worth_another_round() {
    let mut story = Story::begin(Nature::Write);
    story.fails(0, failed(Reason::Unreachable { needed: 2, alive: 1 }, Outcome::NotApplied));
    story.fails(1, failed(Reason::Overloaded, Outcome::NotApplied));
    let effects = story.fails(2, Trouble::NotSent);
    assert!(matches!(effects[..], [ClientEffect::SetTimer(ClientTimer::Backoff, _)]), "{effects:?}");
}

/// Found by simulation: a first sending that began late replaced what another client had written after the retry was answered.
#[test]
fn a_blind_write_is_sent_again_only_when_its_first_sending_can_begin_no_more() {
    let mut story = Story::begin(Nature::BlindWrite);
    let effects = story.fails(0, Trouble::Lost);
    let [ClientEffect::SetTimer(ClientTimer::Backoff, at)] = effects[..] else { panic!("a wait, not {effects:?}") };
    assert_eq!(at, Tick(1 + AttemptOptions::default().begin_micros + 1));
    story.machine.step(at, ClientInput::Timer(ClientTimer::Backoff), &mut story.out, &mut Notes::default());
    assert_eq!(sent(&story.out), Some((NodeId(2), Attempt(1))));
}

/// A coordinator that is no home replica hands the write on, and may lose the way to who has it.
#[test]
fn what_a_coordinator_may_have_handed_on_may_still_begin() {
    let mut story = Story::begin(Nature::BlindWrite);
    let effects = story.fails(0, failed(Reason::TimedOut { needed: 2, answered: 0 }, Outcome::Unknown));
    let [ClientEffect::SetTimer(ClientTimer::Backoff, at)] = effects[..] else { panic!("a wait, not {effects:?}") };
    assert_eq!(at, Tick(1 + AttemptOptions::default().begin_micros + 1));
}

#[test]
fn a_blind_write_can_begin_no_more_when_its_deadline_has_come() {
    let options = AttemptOptions::default();
    let deadline = Tick(options.begin_micros / 3);
    let mut machine = Attempts::new(options, vec![NodeId(1)], Nature::BlindWrite, Attempt(0), deadline, 7);
    let mut out: Vec<ClientEffect<&'static str>> = Vec::new();
    machine.step(Tick(1), ClientInput::Start, &mut out, &mut Notes::default());
    assert_eq!(begin_by(&out), Some(Tick(deadline.0 - 1)));
}

/// Its name is known only once it has failed.
#[test]
fn a_blind_write_under_a_known_name_waits_for_nobody() {
    let mut machine = Attempts::new(AttemptOptions::default(), vec![NodeId(1)], Nature::BlindWrite, Attempt(1), DEADLINE, 7);
    let mut out: Vec<ClientEffect<&'static str>> = Vec::new();
    machine.step(Tick(1), ClientInput::Start, &mut out, &mut Notes::default());
    assert_eq!((sent(&out), begin_by(&out)), (Some((NodeId(1), Attempt(1))), None));
}

#[test]
fn a_failure_is_told_only_when_no_sending_can_begin_any_more() {
    let last = AttemptOptions { sendings_max: 1, ..AttemptOptions::default() };
    for (nature, trouble, outcome, waits) in [
        (Nature::BlindWrite, Trouble::Lost, Outcome::Unknown, true),
        (Nature::BlindWrite, failed(Reason::InvalidContext, Outcome::Unknown), Outcome::Unknown, true),
        (Nature::BlindWrite, failed(Reason::InvalidContext, Outcome::NotApplied), Outcome::NotApplied, false),
        (Nature::Write, Trouble::Lost, Outcome::Unknown, false),
        (Nature::Read, Trouble::Lost, Outcome::NotApplied, false),
    ] {
        let mut story = Story::of(last, nature);
        let mut effects = story.fails(0, trouble.clone());
        if waits {
            let [ClientEffect::SetTimer(ClientTimer::Backoff, at)] = effects[..] else { panic!("a wait, not {effects:?}") };
            assert_eq!(at, Tick(1 + last.begin_micros + 1), "{nature:?} {trouble:?}");
            story.machine.step(at, ClientInput::Timer(ClientTimer::Backoff), &mut story.out, &mut Notes::default());
            effects = std::mem::take(&mut story.out);
        }
        assert_eq!(ended(&effects), Some(outcome), "{nature:?} {trouble:?}");
    }
}

/// On a way longer than the time to begin, every sending would come too late.
#[test]
fn a_blind_write_that_came_too_late_is_given_more_time() {
    let mut story = Story::begin(Nature::BlindWrite);
    let effects = story.fails(0, failed(Reason::Refused { refusal: Refusal::Expired }, Outcome::NotApplied));
    assert_eq!(begin_by(&effects), Some(Tick(1 + 2 * AttemptOptions::default().begin_micros)));
}

fn answered(effects: &[ClientEffect<&'static str>]) -> Option<&'static str> {
    effects.iter().find_map(|effect| match effect {
        ClientEffect::Finish(Ok(answer)) => Some(*answer),
        ClientEffect::Finish(Err(_)) | ClientEffect::Send { .. } | ClientEffect::SetTimer(..) => None,
    })
}

#[test]
fn an_unrecorded_answer_to_the_only_sending_is_final() {
    let mut story = Story::begin(Nature::Write);
    assert_eq!(answered(&story.step(ClientInput::Provisional(Sending(0), "conflict"))), Some("conflict"));
}

/// T5: the second sending is under way when the first says that the expectation did not hold; the second then applies the operation.
#[test]
fn an_unrecorded_answer_to_an_older_sending_is_ignored() {
    let mut story = Story::begin(Nature::Write);
    assert_eq!(sent(&story.step(ClientInput::Timer(ClientTimer::Silence(Sending(0))))), Some((NodeId(2), Attempt(1))));
    assert_eq!(story.step(ClientInput::Provisional(Sending(0), "conflict")), []);
    assert_eq!(answered(&story.step(ClientInput::Answered("applied"))), Some("applied"));
}

#[test]
fn an_unrecorded_answer_counts_once_no_other_sending_can_have_an_effect() {
    let mut story = Story::begin(Nature::Write);
    story.step(ClientInput::Timer(ClientTimer::Silence(Sending(0))));
    let next = sent(&story.fails(1, Trouble::NotSent));
    assert_eq!(next, Some((NodeId(3), Attempt(2))));
    assert_eq!(sent(&story.fails(2, Trouble::NotSent)), None, "all have been asked, and the first is still out");
    assert_eq!(answered(&story.step(ClientInput::Provisional(Sending(0), "conflict"))), Some("conflict"));
}

/// An earlier sending was lost and may have been applied, so the operation goes on until something is recorded.
#[test]
fn an_unrecorded_answer_after_a_lost_sending_makes_the_operation_go_on() {
    let mut story = Story::begin(Nature::Write);
    assert_eq!(sent(&story.fails(0, Trouble::Lost)), Some((NodeId(2), Attempt(1))));
    assert_eq!(sent(&story.step(ClientInput::Provisional(Sending(1), "conflict"))), Some((NodeId(3), Attempt(2))));
}

#[test]
fn the_planted_bug_trusts_the_unrecorded_answer_to_an_older_sending() {
    let mut story = Story::begin(Nature::Write);
    story.machine.options.options.defect = Some(Defect::UnrecordedFailureTrusted);
    story.step(ClientInput::Timer(ClientTimer::Silence(Sending(0))));
    assert_eq!(answered(&story.step(ClientInput::Provisional(Sending(0), "conflict"))), Some("conflict"));
}

#[test]
fn an_operation_that_was_settled_is_not_applied_whatever_became_of_its_sendings() {
    let mut story = Story::begin(Nature::Write);
    story.fails(0, Trouble::Lost);
    assert_eq!(ended(&story.fails(1, failed(Reason::Fenced, Outcome::NotApplied))), Some(Outcome::NotApplied));
}

#[test]
fn a_function_that_does_not_apply_is_final_when_it_is_recorded() {
    let why = crate::chain::state::Inapplicable::NotANumber;
    let mut story = Story::begin(Nature::Write);
    story.fails(0, Trouble::Lost);
    let recorded = failed(Reason::Inapplicable { why }, Outcome::NotApplied);
    assert_eq!(ended(&story.fails(1, recorded)), Some(Outcome::NotApplied));
    let mut story = Story::begin(Nature::Write);
    story.step(ClientInput::Timer(ClientTimer::Silence(Sending(0))));
    assert_eq!(
        story.fails(0, failed(Reason::Inapplicable { why }, Outcome::NotApplied)),
        [],
        "the newer sending may be answered otherwise"
    );
}

/// The second sending may have been applied, or may be yet: what the first one says counts for nothing, and ends nothing.
#[test]
fn an_unrecorded_function_that_does_not_apply_makes_the_operation_go_on() {
    let why = crate::chain::state::Inapplicable::NotANumber;
    let inapplicable = || failed(Reason::Inapplicable { why }, Outcome::NotApplied);
    let mut story = Story::begin(Nature::Write);
    story.step(ClientInput::Timer(ClientTimer::Silence(Sending(0))));
    assert_eq!(sent(&story.fails(1, Trouble::Lost)), Some((NodeId(3), Attempt(2))));
    assert_eq!(sent(&story.fails(2, Trouble::Lost)), None, "all have been asked, and the first is still out");
    assert_eq!(ended(&story.fails(0, inapplicable())), None);
    let effects = story.step(ClientInput::Timer(ClientTimer::Backoff));
    assert_eq!(sent(&effects), Some((NodeId(1), Attempt(3))));
    assert_eq!(ended(&story.fails(3, inapplicable())), Some(Outcome::NotApplied), "what a retry is answered is recorded");
    let mut story = Story::begin(Nature::Write);
    assert_eq!(ended(&story.fails(0, inapplicable())), Some(Outcome::NotApplied), "nobody else can be answered otherwise");
}

/// Whether an earlier sending was applied before a later operation of the lane nobody can say.
#[test]
fn a_superseded_retry_leaves_the_outcome_open() {
    let mut story = Story::begin(Nature::Write);
    story.fails(0, Trouble::Lost);
    assert_eq!(ended(&story.fails(1, failed(Reason::Superseded, Outcome::Unknown))), Some(Outcome::Unknown));
}

#[test]
fn sendings_are_bounded() {
    let mut story = Story::begin(Nature::Write);
    for sending in 0..200 {
        let effects = story.fails(sending, Trouble::NotSent);
        if let Some(outcome) = ended(&effects) {
            assert_eq!((outcome, sending + 1), (Outcome::NotApplied, AttemptOptions::default().sendings_max));
            return;
        }
        story.step(ClientInput::Timer(ClientTimer::Backoff));
    }
    panic!("never gave up");
}
