//! A client's linearizable change of one key, from its request to its reply.

use std::sync::Arc;
use std::time::Duration;

use quorate_protocol::chain::operation::{Done, Operation};
use quorate_protocol::chain::state::{Expect, Function};
use quorate_protocol::chain::{Change, Token};
use quorate_protocol::limits::VALUE_BYTES_MAX;
use quorate_protocol::outcome::{Failure, Outcome, Reason, Sized};
use quorate_protocol::replica::Refusal;
use quorate_protocol::{Attempt, Body, Context, Level, OpId, SealedContext};
use quorate_rpc::kv::{ChangeReply, ChangeRequest, Changed, WriteReply};

use super::super::{check_key, deadline, open, too_large};
use super::{Target, answer, propose};
use crate::metrics::{Ended, Op};
use crate::node::Node;

/// Changes one key for a client.
pub(crate) async fn change(node: &Arc<Node>, request: ChangeRequest) -> Result<ChangeReply, Failure> {
    let begun = node.clock.tick();
    let is_retry = request.attempt.is_retry();
    // A retry that is refused here says nothing about the attempts before it.
    let mark = |failure: Failure| if is_retry { Failure { outcome: Outcome::Unknown, ..failure } } else { failure };
    let _admitted = node.admit().map_err(mark)?;
    check_key(&request.key).map_err(mark)?;
    let op = check(&request.change).map_err(mark)?;
    let bucket = Arc::clone(node.bucket(request.bucket).map_err(mark)?);
    let session = request.session.as_ref().map(|sealed| open(node, &bucket, &request.key, sealed)).transpose().map_err(mark)?;
    let target = Target { bucket, key: request.key, deadline: deadline(node, begun, request.micros_left) };
    let decided = decide(node, &target, request.change, request.op, request.attempt).await;
    let ended = match &decided {
        Ok((Changed::Applied { .. }, ..)) => Ended::Ok,
        Ok((Changed::Conflict { .. }, ..)) => Ended::Conflict,
        Err(failure) => failure.outcome.into(),
    };
    node.metrics.answered(op, Level::Linearizable, ended, Duration::from_micros(node.clock.tick().since(begun)));
    let (changed, token, done) = decided?;
    let (context, session) = seal(node, &target, &done.context, session);
    Ok(ChangeReply { changed, token, context, session, receipt: done.receipt })
}

/// Puts or deletes a key whose request has passed all checks.
pub(in super::super) async fn write(
    node: &Arc<Node>,
    target: &Target,
    body: Body,
    (op, attempt): (OpId, Attempt),
    session: Option<Context>,
) -> Result<WriteReply, Failure> {
    let change = match body {
        Body::Value(value) => Change::Put(value),
        Body::Tombstone => Change::Delete,
    };
    match decide(node, target, change, op, attempt).await? {
        (Changed::Applied { .. }, token, done) => {
            let (context, session) = seal(node, target, &done.context, session);
            Ok(WriteReply { dot: None, context, session, token: Some(token), receipt: done.receipt })
        }
        // Its name was used before, for a compare-and-set.
        (Changed::Conflict { .. }, _, done) => Err(answer::failed(Reason::Superseded, Outcome::NotApplied, &done)),
    }
}

async fn decide(node: &Arc<Node>, target: &Target, change: Change, op: OpId, attempt: Attempt) -> Result<(Changed, Token, Done), Failure> {
    let tainted = attempt.is_retry();
    let done = propose(node, target, Operation { change, op: Some(op), tainted, deadline: target.deadline }).await?;
    let (changed, token) = answer::changed(&done)?;
    Ok((changed, token, done))
}

/// What the client may be told to have seen, and what its session has seen then.
fn seal(node: &Node, target: &Target, context: &Context, session: Option<Context>) -> (SealedContext, Option<SealedContext>) {
    let seal = |context: &Context| node.seal.seal(target.bucket.id, &target.key, context);
    let session = session.map(|mut seen| {
        seen.merge(context);
        seal(&seen)
    });
    (seal(context), session)
}

/// Refuses what clients may not ask for, and values that are too long.
fn check(change: &Change) -> Result<Op, Failure> {
    let value = |value: &bytes::Bytes| match value.len() {
        bytes if bytes > VALUE_BYTES_MAX => Err(Failure::refused(too_large(Sized::Value, bytes, VALUE_BYTES_MAX))),
        _ => Ok(()),
    };
    match change {
        Change::Put(put) => value(put).map(|()| Op::Put),
        Change::Delete => Ok(Op::Delete),
        Change::Cas { expect, body } => {
            if let Expect::Value(expected) = expect {
                value(expected)?;
            }
            if let Body::Value(put) = body {
                value(put)?;
            }
            Ok(Op::Cas)
        }
        Change::Modify(Function::Append(tail)) => value(tail).map(|()| Op::Modify),
        Change::Modify(Function::Increment(_) | Function::SetIfGreater(_)) => Ok(Op::Modify),
        Change::Identity | Change::Fence => Err(Failure::refused(Reason::Refused { refusal: Refusal::Malformed })),
    }
}
