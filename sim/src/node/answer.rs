//! What machines answer, as clients are told.

use quorate_protocol::chain::ChainState;
use quorate_protocol::chain::operation::{Decision, Done, NotDone};
use quorate_protocol::eventual::read::{ReadAnswer, ReadFailure};
use quorate_protocol::eventual::write::{WriteFailure, WriteFailureCause, Written};
use quorate_protocol::outcome::{Failure, Outcome, Reason};
use quorate_protocol::sealed::SealedContext;

use crate::message::{Changed, Good};

pub(super) fn read_answer(answer: Result<ReadAnswer, ReadFailure>) -> Result<Good, Failure> {
    match answer {
        Ok(ReadAnswer { siblings, .. }) => Ok(Good::Read { siblings, token: None }),
        Err(ReadFailure { reason, replicas }) => Err(Failure { reason, outcome: Outcome::NotApplied, replicas }),
    }
}

pub(super) fn write_answer(answer: Result<Written, WriteFailure>) -> Result<Good, Failure> {
    match answer {
        Ok(Written { context, .. }) => Ok(Good::Written { context }),
        Err(WriteFailure { cause, outcome, replicas }) => {
            let reason = match cause {
                WriteFailureCause::Reason(reason) => reason,
                WriteFailureCause::TooManySiblings(refused) => Reason::TooManySiblings {
                    siblings_max: u32::try_from(refused.siblings_max).unwrap_or(u32::MAX),
                    // Contexts travel unsealed here; whoever is refused reads again.
                    context: SealedContext::from_bytes(bytes::Bytes::new()),
                },
            };
            Err(Failure { reason, outcome, replicas })
        }
    }
}

/// What a linearizable read shows of a state.
pub(super) fn state_answer(state: &ChainState) -> Good {
    Good::Read { siblings: state.siblings.clone(), token: Some(state.token()) }
}

/// What became of a change.
pub(super) fn change_answer(answer: Result<Done, NotDone>) -> Result<Good, Failure> {
    let done = match answer {
        Ok(done) => done,
        Err(NotDone { reason, outcome, replicas }) => return Err(Failure { reason, outcome, replicas }),
    };
    let nothing = done.outcome_of_nothing();
    let Done { decision, state, context, receipt, .. } = done;
    let (reason, outcome) = match decision {
        Decision::Applied { .. } | Decision::Conflict { .. } => {
            return Ok(Good::Changed(Changed { decision, context, seen: state.siblings.context().clone() }));
        }
        Decision::Inapplicable { why, .. } => (Reason::Inapplicable { why }, Outcome::NotApplied),
        Decision::Fenced => (Reason::Fenced, Outcome::NotApplied),
        Decision::Superseded => (Reason::Superseded, nothing),
        Decision::TooOld => (Reason::OpIdTooOld, nothing),
        Decision::TooNew => (Reason::OpIdTooNew, nothing),
        Decision::Crowded => (Reason::Overloaded, nothing),
    };
    Err(Failure { reason, outcome, replicas: receipt.replicas })
}
