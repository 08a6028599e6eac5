//! Writing and deleting one key.

use std::future::IntoFuture;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use quorate_protocol::outcome::{Reason, Receipt};
use quorate_protocol::record::WriteMode;
use quorate_protocol::{Access, Body, Dot, Level, OpId};
use quorate_rpc::kv::{BucketInfo, WriteContext, WriteReply, WriteRequest};

use crate::change::Changed;
use crate::context::Context;
use crate::error::{Error, Verb};
use crate::operation::{Target, check_value};
use crate::session::Session;
use crate::token::Token;

/// A put or delete to be sent by `.await`. A delete is a write too: it replaces values with the fact that there is none.
#[derive(Clone, Debug)]
#[must_use = "a write is sent by `.await`"]
pub struct Write {
    target: Target,
    verb: Verb,
    body: Body,
    context: WriteContext,
    retried: Option<OpId>,
}

impl Write {
    pub(crate) fn put(target: Target, value: Bytes) -> Self {
        Self { target, verb: Verb::Put, body: Body::Value(value), context: WriteContext::Blind, retried: None }
    }

    pub(crate) fn delete(target: Target) -> Self {
        Self { target, verb: Verb::Delete, body: Body::Tombstone, context: WriteContext::Blind, retried: None }
    }

    /// The level, instead of the client's or the bucket's.
    pub fn level(mut self, level: Level) -> Self {
        self.target.settings.level = Some(level);
        self
    }

    /// The total deadline, instead of the client's.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.target.settings.deadline = deadline;
        self
    }

    /// Replaces what this context has seen, and nothing else. Not at `linearizable`, where a write replaces all that was ordered before it:
    /// [`crate::Bucket::cas`] with a token compares.
    pub fn context(mut self, context: &Context) -> Self {
        self.context = WriteContext::Seen(context.sealed().clone());
        self
    }

    /// Replaces nothing: every other value stays as a sibling. The raw behaviour of Dynamo, up to the bucket's limit.
    pub fn concurrent(mut self) -> Self {
        self.context = WriteContext::Concurrent;
        self
    }

    /// Makes the session see this write.
    pub fn session(mut self, session: &Session) -> Self {
        self.target.settings.session = Some(session.clone());
        self
    }

    /// Sends the write under the name that an earlier call gave it ([`Error::op`]), with the same value and context, to find out
    /// whether that took effect and to make it so if not.
    ///
    /// It counts as a retry from its first sending: the coordinator looks for the operation before it writes. It goes out at once: a
    /// failure is told only when nothing that was sent before can begin any more.
    pub fn op_id(mut self, op: OpId) -> Self {
        self.retried = Some(op);
        self
    }

    async fn run(self) -> Result<Written, Error> {
        let Self { target, verb, body, context, retried } = self;
        let budget = target.inner.clock.budget(target.settings.deadline);
        if let Body::Value(value) = &body {
            check_value(value).map_err(|reason| {
                let operation = target.operation(verb, None, retried);
                Error::Invalid { operation, reason: Box::new(reason) }
            })?;
        }
        let (snapshot, info) = target.prepare(verb, Access::Write, budget).await?;
        check_mode(target.level(&info), &context, &info).map_err(|reason| {
            let operation = target.operation(verb, Some(&info), retried);
            Error::Invalid { operation, reason: Box::new(reason) }
        })?;
        let turn = target.turn(verb, &info, budget).await?;
        let (op, attempt, _lane) = target.name(verb, &info, retried)?;
        let request = WriteRequest {
            bucket: info.id,
            key: target.key.clone(),
            body,
            context,
            level: target.level_sent(&info),
            op,
            attempt,
            session: turn.as_ref().and_then(|turn| turn.seen()),
            micros_left: 0,
            begin_by: None,
        };
        let partition = snapshot.ring.partitions().of_key(&target.key);
        let driven = target.inner.send(&request, (&snapshot, &info), partition, target.settings.via, budget).await;
        let reply = driven.result.map_err(|ended| ended.into_error(target.operation(verb, Some(&info), Some(op)), budget))?;
        if let Some(turn) = turn {
            turn.remember(reply.session.clone().unwrap_or_else(|| reply.context.clone()));
        }
        Ok(Written::new(op, reply, driven.sendings))
    }
}

/// Refuses what a linearizable write, or the bucket, does not take.
fn check_mode(level: Level, context: &WriteContext, info: &BucketInfo) -> Result<(), Reason> {
    match (level, context) {
        (Level::Linearizable, WriteContext::Blind) => Ok(()),
        (Level::Linearizable, WriteContext::Seen(_) | WriteContext::Concurrent) => Err(Reason::ContextAtLinearizable),
        _ if info.write_mode == WriteMode::LinOnly => Err(Reason::LinOnlyBucket { bucket: info.name.clone() }),
        _ => Ok(()),
    }
}

impl IntoFuture for Write {
    type Output = Result<Written, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.run().boxed()
    }
}

/// What a write left behind.
#[derive(Clone, Debug)]
pub struct Written {
    op: OpId,
    dot: Option<Dot>,
    context: Context,
    token: Option<Token>,
    receipt: Receipt,
    sendings: u32,
}

impl Written {
    fn new(op: OpId, reply: WriteReply, sendings: u32) -> Self {
        let token = reply.token.map(Token::from);
        Self { op, dot: reply.dot, context: reply.context.into(), token, receipt: reply.receipt, sendings }
    }

    /// What a change left behind that set a value.
    pub(crate) fn by_change<T>(changed: &Changed<T>) -> Self {
        let (context, receipt) = (changed.context().clone(), changed.receipt().clone());
        Self { op: changed.op(), dot: None, context, token: Some(changed.token()), receipt, sendings: 1 }
    }

    /// The name of the operation, the same in every sending of it.
    pub fn op(&self) -> OpId {
        self.op
    }

    /// The version that it became, as [`Sibling::dot`](crate::Sibling::dot) names it to whoever reads it. Absent at `linearizable`, which
    /// has a token instead.
    pub fn dot(&self) -> Option<Dot> {
        self.dot
    }

    /// What the write had seen, and itself: for the write that replaces it. A sibling that it had not seen is not in it.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// At `linearizable`, the key's version since: a fencing token. Other levels have none.
    pub fn token(&self) -> Option<Token> {
        self.token
    }

    /// What was reached: level, replicas, hints, times.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// How often this call sent it, to whichever node, until it was answered. More than one sending of an eventual write may have been
    /// applied: each is a version then, with the same value.
    pub fn sendings(&self) -> u32 {
        self.sendings
    }
}
