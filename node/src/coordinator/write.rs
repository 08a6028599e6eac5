//! A client's put or delete, from its request to its reply.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use quorate_protocol::eventual::route::{Route, route};
use quorate_protocol::eventual::write::{Write, WriteFailure, WriteFailureCause, WritePlan, Written};
use quorate_protocol::limits::VALUE_BYTES_MAX;
use quorate_protocol::outcome::{Failure, Outcome, Reason, ReplicaReport, ReplicaStatus, Sized};
use quorate_protocol::quorum::WriteQuorum;
use quorate_protocol::record::{Role, WriteMode};
use quorate_protocol::replica::{Mint, Refusal, Seen};
use quorate_protocol::{Body, Context, Level, Tick};
use quorate_ring::NodeId;
use quorate_rpc::kv::{WriteContext, WriteReply, WriteRequest};
use quorate_rpc::tarpc::client::RpcError;

use super::chain::{self, Target};
use super::drive::{Drive, Subject};
use super::{check_key, deadline, micros, open, too_large};
use crate::metrics::{Ended, Op};
use crate::node::Node;
use crate::peers::context as call_context;
use crate::topology::Place;

/// Writes one key for a client.
pub(crate) async fn write(node: &Arc<Node>, request: WriteRequest) -> Result<WriteReply, Failure> {
    coordinate(node, request, false).await
}

/// Writes one key for a client of another node, which is no home replica of it.
pub(crate) async fn forwarded(node: &Arc<Node>, request: WriteRequest) -> Result<WriteReply, Failure> {
    coordinate(node, request, true).await
}

/// A request that has passed all checks.
struct Checked {
    subject: Subject,
    level: Level,
    seen: Seen,
    /// What the session had seen, if the request belongs to one.
    session: Option<Context>,
}

async fn coordinate(node: &Arc<Node>, request: WriteRequest, was_forwarded: bool) -> Result<WriteReply, Failure> {
    let begun = node.clock.tick();
    let retry = request.attempt.is_retry();
    // A retry that is refused here says nothing about the attempts before it.
    let mark = |mut failure: Failure| {
        if retry {
            failure.outcome = Outcome::Unknown;
        }
        failure
    };
    let _admitted = node.admit().map_err(mark)?;
    let checked = check(node, &request, begun).map_err(mark)?;
    if checked.level == Level::Linearizable {
        return linearizable(node, checked, request, begun).await;
    }
    let place = node.placement.place(&checked.subject.bucket, &checked.subject.key);
    let quorum = WriteQuorum::of(checked.level, place.homes.clone(), place.record.epoch, node.options)
        .map_err(|invalid| mark(Failure::refused(Reason::InvalidLevel(invalid))))?;
    let down = node.peers.down(&place.homes);
    let op = if matches!(request.body, Body::Tombstone) { Op::Delete } else { Op::Put };
    let level = checked.level;
    let result = match route(node.me(), &quorum, &down, was_forwarded) {
        Route::Here(role) => here(node, checked, request, &place, quorum, role, begun).await,
        Route::Forward(home) => match Box::pin(forward(node, home, &quorum, request, &checked.subject)).await {
            // The home replica has counted it.
            Ok(answer) => return answer,
            Err(no_answer) => Err(mark(no_answer)),
        },
        Route::Nowhere => Err(mark(nobody_there(&quorum, down))),
    };
    let ended = result.as_ref().map_or_else(|failure| failure.outcome.into(), |_| Ended::Ok);
    node.metrics.answered(op, level, ended, Duration::from_micros(node.clock.tick().since(begun)));
    result
}

/// By consensus: any node can see to it.
async fn linearizable(node: &Arc<Node>, checked: Checked, request: WriteRequest, begun: Tick) -> Result<WriteReply, Failure> {
    let Checked { subject, session, .. } = checked;
    let op = if matches!(request.body, Body::Tombstone) { Op::Delete } else { Op::Put };
    let target = Target { bucket: subject.bucket, key: subject.key, deadline: subject.deadline };
    let result = chain::write(node, &target, request.body, (request.op, request.attempt), session).await;
    let ended = result.as_ref().map_or_else(|failure| failure.outcome.into(), |_| Ended::Ok);
    node.metrics.answered(op, Level::Linearizable, ended, Duration::from_micros(node.clock.tick().since(begun)));
    result
}

fn check(node: &Node, request: &WriteRequest, begun: Tick) -> Result<Checked, Failure> {
    check_key(&request.key)?;
    if let Body::Value(value) = &request.body
        && value.len() > VALUE_BYTES_MAX
    {
        return Err(Failure::refused(too_large(Sized::Value, value.len(), VALUE_BYTES_MAX)));
    }
    let bucket = Arc::clone(node.bucket(request.bucket)?);
    let level = request.level.unwrap_or(bucket.level);
    if bucket.write_mode == WriteMode::LinOnly && level != Level::Linearizable {
        return Err(Failure::refused(Reason::LinOnlyBucket { bucket: bucket.name.to_string() }));
    }
    let seen = match &request.context {
        WriteContext::Seen(_) | WriteContext::Concurrent if level == Level::Linearizable => {
            return Err(Failure::refused(Reason::ContextAtLinearizable));
        }
        WriteContext::Seen(sealed) => Seen::Context(open(node, &bucket, &request.key, sealed)?),
        WriteContext::Blind if !bucket.blind_writes => {
            return Err(Failure::refused(Reason::BlindWriteRefused { bucket: bucket.name.to_string() }));
        }
        WriteContext::Blind => Seen::Blind,
        WriteContext::Concurrent => Seen::Nothing,
    };
    let session = request.session.as_ref().map(|sealed| open(node, &bucket, &request.key, sealed)).transpose()?;
    let deadline = deadline(node, begun, request.micros_left);
    let value_bytes = match &request.body {
        Body::Value(value) => value.len(),
        Body::Tombstone => 0,
    };
    // A retry finds what became of the first try, or writes as if it had seen nothing.
    let begin_by = request.begin_by.filter(|_| seen == Seen::Blind && !request.attempt.is_retry()).map(Tick);
    let subject = Subject { level, key: request.key.clone(), deadline, begin_by, bucket, value_bytes };
    Ok(Checked { subject, level, seen, session })
}

async fn here(
    node: &Arc<Node>,
    checked: Checked,
    request: WriteRequest,
    place: &Place,
    quorum: WriteQuorum,
    role: Role,
    begun: Tick,
) -> Result<WriteReply, Failure> {
    let Checked { subject, level, seen, session } = checked;
    let plan = WritePlan {
        me: node.me(),
        role,
        level,
        epoch: place.record.epoch,
        down: node.peers.down(quorum.homes()),
        quorum,
        mint: Mint { seen, body: request.body, op: Some(request.op), hlc: node.clock.stamp(), siblings_max: subject.bucket.siblings_max },
        attempt: request.attempt,
        deadline: subject.deadline,
        hint_after_micros: micros(node.config.coordination.hint_after),
        options: node.options,
    };
    let (bucket, key) = (subject.bucket.id, subject.key.clone());
    let result = Drive::new(node, subject, Write::new(plan, begun)).answer().await;
    match result {
        Ok(Written { dot, context, receipt }) => {
            let session = session.map(|mut seen| {
                seen.merge(&context);
                node.seal.seal(bucket, &key, &seen)
            });
            Ok(WriteReply { dot: Some(dot), context: node.seal.seal(bucket, &key, &context), session, token: None, receipt })
        }
        Err(WriteFailure { cause, outcome, replicas }) => {
            let reason = match cause {
                WriteFailureCause::Reason(reason) => reason,
                WriteFailureCause::TooManySiblings(refused) => Reason::TooManySiblings {
                    siblings_max: u32::try_from(refused.siblings_max).unwrap_or(u32::MAX),
                    context: node.seal.seal(bucket, &key, &refused.context),
                },
            };
            Err(Failure { reason, outcome, replicas })
        }
    }
}

/// Hands a write to a home replica. Once it has left, only that replica's answer says what became of it: the inner result. The outer
/// one is an error when there is no answer.
async fn forward(
    node: &Node,
    home: NodeId,
    quorum: &WriteQuorum,
    mut request: WriteRequest,
    subject: &Subject,
) -> Result<Result<WriteReply, Failure>, Failure> {
    let begun = node.clock.tick();
    let connection = node.peers.peer(home).and_then(|peer| peer.connection());
    let connection = connection.ok_or_else(|| nobody_there(quorum, BTreeSet::from([home])))?;
    request.micros_left = subject.deadline.since(begun);
    // In the home replica's ticks. If it has passed meanwhile, it has passed there too.
    request.begin_by = subject.begin_by.map(|begin_by| connection.tick_at(node.clock.instant(begin_by)));
    let context = call_context(Duration::from_micros(request.micros_left));
    connection.calls.forward(context, request).await.map_err(|error| {
        tracing::debug!(peer = %home, %error, "forwarded write got no answer");
        let (needed, answered) = (quorum.needed(), 0);
        let (status, reason, outcome) = match error {
            // Refused for the number of calls, before it was looked at.
            RpcError::Server(_) => (ReplicaStatus::Refused(Refusal::Overloaded), Reason::Overloaded, Outcome::NotApplied),
            RpcError::Send(_) => (ReplicaStatus::NotAsked, Reason::Overloaded, Outcome::NotApplied),
            RpcError::DeadlineExceeded => (ReplicaStatus::TimedOut, Reason::TimedOut { needed, answered }, Outcome::Unknown),
            RpcError::Shutdown | RpcError::Channel(_) => (ReplicaStatus::Down, Reason::Unavailable { needed, answered }, Outcome::Unknown),
        };
        let micros = node.clock.tick().since(begun);
        let report = |node| ReplicaReport { micros, status: status.clone(), ..ReplicaReport::not_asked(node) };
        let replicas = quorum.homes().iter().map(|node| if node == home { report(node) } else { ReplicaReport::not_asked(node) });
        Failure { reason, outcome, replicas: replicas.collect() }
    })
}

/// A write that no home replica can be reached for; nothing was sent. Names those that are away.
fn nobody_there(quorum: &WriteQuorum, away: BTreeSet<NodeId>) -> Failure {
    let status = |home| if away.contains(&home) { ReplicaStatus::Down } else { ReplicaStatus::NotAsked };
    let replicas = quorum.homes().iter().map(|home| ReplicaReport { status: status(home), ..ReplicaReport::not_asked(home) });
    Failure {
        reason: Reason::Unreachable { needed: quorum.needed(), alive: 0 },
        outcome: Outcome::NotApplied,
        replicas: replicas.collect(),
    }
}
