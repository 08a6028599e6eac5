//! A client's read, from its request to its reply.

use std::sync::Arc;
use std::time::Duration;

use quorate_protocol::eventual::read::{Read, ReadAnswer, ReadFailure, ReadPlan};
use quorate_protocol::limits::FRAME_BYTES_MAX;
use quorate_protocol::outcome::{Failure, Outcome, Reason};
use quorate_protocol::quorum::ReadQuorum;
use quorate_protocol::replica::Refusal;
use quorate_protocol::{Context, Level, Options};
use quorate_rpc::kv::{ReadReply, ReadRequest, Sibling};

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
            Ok(reply(node, level, answer, context))
        }
        Err(ReadFailure { reason, replicas }) => Err(Failure { reason, outcome: Outcome::NotApplied, replicas }),
    }
}

fn plan(node: &Node, subject: &Subject, level: Level, seen: Context) -> Result<ReadPlan, Failure> {
    let place = node.placement.place(&subject.bucket, &subject.key);
    let quorum = ReadQuorum::of(level, place.homes.clone(), place.record.epoch, Options::default())
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
        options: Options::default(),
    })
}

fn draw(chance: f64) -> bool {
    chance > 0.0 && rand::random::<f64>() < chance
}

fn reply(node: &Node, level: Level, answer: ReadAnswer, context: quorate_protocol::SealedContext) -> ReadReply {
    let shown = answer.siblings.visible();
    let siblings: Vec<Sibling> = shown
        .into_iter()
        .filter_map(|(dot, version)| {
            let value = version.value()?.clone();
            Some(Sibling { value, dot, hlc: version.hlc, op: version.op })
        })
        .collect();
    if siblings.len() > 1 {
        node.metrics.conflict(level);
    }
    ReadReply { siblings, context, receipt: answer.receipt }
}
