//! A client's read, from its request to its reply.

use std::sync::Arc;
use std::time::Duration;

use quorate_protocol::eventual::read::{Read, ReadFailure, ReadPlan};
use quorate_protocol::limits::FRAME_BYTES_MAX;
use quorate_protocol::outcome::{Failure, Outcome, Reason};
use quorate_protocol::quorum::ReadQuorum;
use quorate_protocol::replica::Refusal;
use quorate_protocol::{Context, Level, Siblings, Tick};
use quorate_rpc::kv::{ReadReply, ReadRequest, Sibling};

use super::chain::{self, Target};
use super::drive::{Drive, Subject};
use super::{check_key, deadline, micros, open};
use crate::metrics::{Ended, Op};
use crate::node::Node;

/// Most bytes of one answer, with room to the frame limit for what is not counted exactly.
const ANSWER_BYTES_MAX: usize = FRAME_BYTES_MAX - FRAME_BYTES_MAX / 4;

/// Reads one key for a client.
pub(crate) async fn read(node: &Arc<Node>, request: ReadRequest) -> Result<ReadReply, Failure> {
    let _admitted = node.admit()?;
    check_key(&request.key)?;
    let bucket = Arc::clone(node.bucket(request.bucket)?);
    let level = request.level.unwrap_or(bucket.level);
    let seen = request.seen.as_ref().map(|sealed| open(node, &bucket, &request.key, sealed)).transpose()?;
    let begun = node.clock.tick();
    let deadline = deadline(node, begun, request.micros_left);
    if level == Level::Linearizable {
        let target = Target { bucket, key: request.key, deadline };
        return linearizable(node, target, seen.unwrap_or_default(), begun).await;
    }
    let subject = Subject { level, key: request.key, deadline, begin_by: None, bucket, value_bytes: 0 };
    let plan = plan(node, &subject, level, seen.unwrap_or_default())?;
    let seal = (subject.bucket.id, subject.key.clone());
    let result = Drive::new(node, subject, Read::new(plan, begun)).answer().await;
    let took = Duration::from_micros(node.clock.tick().since(begun));
    node.metrics.answered(Op::Get, level, if result.is_ok() { Ended::Ok } else { Ended::NotApplied }, took);
    match result {
        Ok(answer) if answer.siblings.bytes() > ANSWER_BYTES_MAX => Err(Failure {
            reason: Reason::Refused { refusal: Refusal::TooLarge },
            outcome: Outcome::NotApplied,
            replicas: answer.receipt.replicas,
        }),
        Ok(answer) => {
            let context = node.seal.seal(seal.0, &seal.1, answer.siblings.context());
            let siblings = shown(node, level, &answer.siblings);
            Ok(ReadReply { siblings, context, token: None, receipt: answer.receipt })
        }
        Err(ReadFailure { reason, replicas }) => Err(Failure { reason, outcome: Outcome::NotApplied, replicas }),
    }
}

async fn linearizable(node: &Arc<Node>, target: Target, seen: Context, begun: Tick) -> Result<ReadReply, Failure> {
    let result = chain::state(node, target.clone(), seen).await;
    let took = Duration::from_micros(node.clock.tick().since(begun));
    let ended = if result.is_ok() { Ended::Ok } else { Ended::NotApplied };
    node.metrics.answered(Op::Get, Level::Linearizable, ended, took);
    let (state, receipt) = result?;
    if state.siblings.bytes() > ANSWER_BYTES_MAX {
        let reason = Reason::Refused { refusal: Refusal::TooLarge };
        return Err(Failure { reason, outcome: Outcome::NotApplied, replicas: receipt.replicas });
    }
    let context = node.seal.seal(target.bucket.id, &target.key, state.siblings.context());
    let siblings = shown(node, Level::Linearizable, &state.siblings);
    Ok(ReadReply { siblings, context, token: Some(state.token()), receipt })
}

fn plan(node: &Node, subject: &Subject, level: Level, seen: Context) -> Result<ReadPlan, Failure> {
    let place = node.placement.place(&subject.bucket, &subject.key);
    let quorum = ReadQuorum::of(level, place.homes.clone(), place.record.epoch, node.options)
        .map_err(|invalid| Failure::refused(Reason::InvalidLevel(invalid)))?;
    let coordination = &node.config.coordination;
    let repair_behind =
        !level.is_strict() && usize::from(quorum.needed()) < place.homes.len() && draw(coordination.background_repair_chance);
    Ok(ReadPlan {
        me: node.me(),
        level,
        epoch: place.record.epoch,
        preferred: node.peers.preferred(node.me(), &place.homes),
        down: node.peers.down(&place.homes),
        quorum,
        seen,
        repair_behind,
        hedge_after_micros: micros(coordination.hedge_after),
        deadline: subject.deadline,
        options: node.options,
    })
}

fn draw(chance: f64) -> bool {
    chance > 0.0 && rand::random::<f64>() < chance
}

/// The values that a client is shown, oldest first.
fn shown(node: &Node, level: Level, siblings: &Siblings) -> Vec<Sibling> {
    let versions = siblings.visible().into_iter();
    let shown: Vec<Sibling> = versions
        .filter_map(|(dot, version)| {
            let value = version.value()?.clone();
            Some(Sibling { value, dot, hlc: version.hlc, op: version.op })
        })
        .collect();
    if shown.len() > 1 {
        node.metrics.conflict(level);
    }
    shown
}
