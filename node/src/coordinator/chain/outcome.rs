//! What became of an operation whose client does not know.
//!
//! **Promise.** Asking changes nothing about the operation. Settling it makes *not applied* true for good, unless it was applied.

use std::sync::Arc;

use quorate_protocol::chain::once::{Recorded, Verdict};
use quorate_protocol::chain::operation::{Decision, Operation};
use quorate_protocol::chain::{ChainState, Change};
use quorate_protocol::outcome::{Failure, Outcome, Reason};
use quorate_protocol::{Context, OpId};
use quorate_rpc::kv::{NotAppliedWhy, OutcomeReply, OutcomeRequest, UnknownWhy};

use super::super::{check_key, deadline};
use super::{Target, answer, propose, state};
use crate::node::Node;

const APPLIED_BENEATH: OutcomeReply = OutcomeReply::Applied { token: None, result: None };

/// Says what became of an operation, and settles it if it is told to.
pub(crate) async fn outcome(node: &Arc<Node>, request: OutcomeRequest) -> Result<OutcomeReply, Failure> {
    let begun = node.clock.tick();
    let _admitted = node.admit()?;
    check_key(&request.key)?;
    let bucket = Arc::clone(node.bucket(request.bucket)?);
    let target = Target { bucket, key: request.key, deadline: deadline(node, begun, request.micros_left) };
    let (state, _) = state(node, target.clone(), Context::empty()).await?;
    let found = look(&state, &request.op);
    match found {
        OutcomeReply::Unknown(_) if request.settle => settle(node, &target, request.op).await,
        OutcomeReply::Applied { .. } | OutcomeReply::NotApplied(_) | OutcomeReply::Unknown(_) => Ok(found),
    }
}

/// What a chosen state says about an operation. An eventual write is known by the version that bears its name, while that lives.
fn look(state: &ChainState, op: &OpId) -> OutcomeReply {
    match state.once.look(op) {
        Verdict::Known(recorded) => recorded_as(recorded),
        _ if state.siblings.dot_of(op).is_some() => APPLIED_BENEATH,
        Verdict::New => OutcomeReply::Unknown(UnknownWhy::NotContained),
        Verdict::Superseded => OutcomeReply::Unknown(UnknownWhy::Superseded),
        Verdict::TooOld => OutcomeReply::Unknown(UnknownWhy::Forgotten),
    }
}

fn recorded_as(recorded: Recorded) -> OutcomeReply {
    match recorded {
        Recorded::Applied { token, result } => OutcomeReply::Applied { token: Some(token), result },
        Recorded::CasFailed { .. } => OutcomeReply::NotApplied(NotAppliedWhy::Conflict),
        Recorded::Inapplicable(why) => OutcomeReply::NotApplied(NotAppliedWhy::Inapplicable(why)),
        Recorded::Fenced => OutcomeReply::NotApplied(NotAppliedWhy::Settled),
    }
}

async fn settle(node: &Arc<Node>, target: &Target, op: OpId) -> Result<OutcomeReply, Failure> {
    let fence = Operation { change: Change::Fence, op: Some(op), tainted: true, deadline: target.deadline };
    // Settling can fail without harm to anybody, and be asked for again.
    let done = propose(node, target, fence).await.map_err(|failure| Failure { outcome: Outcome::NotApplied, ..failure })?;
    let failed = |reason| Err(answer::failed(reason, Outcome::NotApplied, &done));
    Ok(match &done.decision {
        Decision::Applied { token, result } => OutcomeReply::Applied { token: Some(*token), result: result.clone() },
        Decision::Conflict { .. } => OutcomeReply::NotApplied(NotAppliedWhy::Conflict),
        Decision::Inapplicable { why, .. } => OutcomeReply::NotApplied(NotAppliedWhy::Inapplicable(*why)),
        // An eventual write that came in with the very round that was to forbid it.
        _ if done.state.siblings.dot_of(&op).is_some() => APPLIED_BENEATH,
        Decision::Fenced => OutcomeReply::NotApplied(NotAppliedWhy::Settled),
        Decision::Superseded => OutcomeReply::Unknown(UnknownWhy::Superseded),
        Decision::TooOld => OutcomeReply::Unknown(UnknownWhy::Forgotten),
        Decision::TooNew => return failed(Reason::OpIdTooNew),
        Decision::Crowded => return failed(Reason::Overloaded),
    })
}
