//! Writing and deleting one key.

use std::future::IntoFuture;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use quorate_protocol::outcome::Receipt;
use quorate_protocol::{Access, Attempt, Body, Level, OpId};
use quorate_rpc::kv::{WriteContext, WriteRequest};

use crate::client::Lane;
use crate::context::Context;
use crate::error::{Error, Verb};
use crate::operation::{Target, check_value};
use crate::session::Session;

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

    /// Replaces what this context has seen, and nothing else.
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
        let turn = target.turn(verb, &info, budget).await?;
        let (op, attempt, _lane) = match retried {
            Some(op) => (op, Attempt(1), None),
            None => {
                let lane: Lane = target.inner.issue().map_err(|source| {
                    let operation = target.operation(verb, Some(&info), None);
                    Error::TooManyWrites { operation, source }
                })?;
                (lane.op, Attempt(0), Some(lane))
            }
        };
        let request = WriteRequest {
            bucket: info.id,
            key: target.key.clone(),
            body,
            context,
            level: target.settings.level,
            op,
            attempt,
            session: turn.as_ref().and_then(|turn| turn.seen()),
            micros_left: 0,
            begin_by: None,
        };
        let partition = snapshot.ring.partitions().of_key(&target.key);
        let result = target.inner.run(&request, (&snapshot, &info), partition, target.settings.via, budget).await;
        let reply = result.map_err(|ended| ended.into_error(target.operation(verb, Some(&info), Some(op)), budget))?;
        if let Some(turn) = turn {
            turn.remember(reply.session.unwrap_or_else(|| reply.context.clone()));
        }
        Ok(Written { op, context: reply.context.into(), receipt: reply.receipt })
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
    context: Context,
    receipt: Receipt,
}

impl Written {
    /// The name of the operation, the same in every sending of it.
    pub fn op(&self) -> OpId {
        self.op
    }

    /// What the write had seen, and itself: for the write that replaces it. A sibling that it had not seen is not in it.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// What was reached: level, replicas, hints, times.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }
}
