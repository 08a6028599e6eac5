//! What a decision means to the client that asked for it.

use quorate_protocol::chain::Token;
use quorate_protocol::chain::operation::{Decision, Done};
use quorate_protocol::chain::state::Inapplicable;
use quorate_protocol::outcome::{Failure, Outcome, Reason};
use quorate_rpc::kv::Changed;

/// What became of a change, and at which version; or why nothing can be said to have become of it.
pub(super) fn changed(done: &Done) -> Result<(Changed, Token), Failure> {
    let reason = match &done.decision {
        Decision::Applied { token, result } => return Ok((Changed::Applied { result: result.clone() }, *token)),
        Decision::Conflict { token, current, recorded } => {
            return Ok((Changed::Conflict { current: current.clone(), recorded: *recorded }, *token));
        }
        Decision::Inapplicable { why, .. } => return Err(inapplicable(*why, done)),
        Decision::Fenced => return Err(failed(Reason::Fenced, Outcome::NotApplied, done)),
        Decision::Superseded => Reason::Superseded,
        Decision::TooOld => Reason::OpIdTooOld,
        Decision::TooNew => Reason::OpIdTooNew,
        Decision::Crowded => Reason::Overloaded,
    };
    Err(failed(reason, done.outcome_of_nothing(), done))
}

/// Of a retry it was recorded, so that it speaks for every sending.
fn inapplicable(why: Inapplicable, done: &Done) -> Failure {
    failed(Reason::Inapplicable { why }, Outcome::NotApplied, done)
}

pub(super) fn failed(reason: Reason, outcome: Outcome, done: &Done) -> Failure {
    Failure { reason, outcome, replicas: done.receipt.replicas.clone() }
}
