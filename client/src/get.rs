//! Reading one key.

use std::future::IntoFuture;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use quorate_protocol::outcome::Receipt;
use quorate_protocol::{Access, Level};
use quorate_rpc::kv::{ReadReply, ReadRequest, Sibling};

use crate::context::Context;
use crate::error::{Error, Verb};
use crate::key_text::KeyText;
use crate::operation::Target;
use crate::session::Session;
use crate::token::Token;

/// A read to be sent by `.await`.
#[derive(Clone, Debug)]
#[must_use = "a read is sent by `.await`"]
pub struct Get {
    target: Target,
}

impl Get {
    pub(crate) fn new(target: Target) -> Self {
        Self { target }
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

    /// Covers what the session has seen, and adds to it.
    pub fn session(mut self, session: &Session) -> Self {
        self.target.settings.session = Some(session.clone());
        self
    }

    async fn run(self) -> Result<Read, Error> {
        let target = self.target;
        let budget = target.inner.clock.budget(target.settings.deadline);
        let (snapshot, info) = target.prepare(Verb::Get, Access::Read, budget).await?;
        let turn = target.turn(Verb::Get, &info, budget).await?;
        let request = ReadRequest {
            bucket: info.id,
            key: target.key.clone(),
            level: target.level_sent(&info),
            seen: turn.as_ref().and_then(|turn| turn.seen()),
            micros_left: 0,
        };
        let partition = snapshot.ring.partitions().of_key(&target.key);
        let result = target.inner.run(&request, (&snapshot, &info), partition, target.settings.via, budget).await;
        let reply = result.map_err(|ended| ended.into_error(target.operation(Verb::Get, Some(&info), None), budget))?;
        if let Some(turn) = turn {
            turn.remember(reply.context.clone());
        }
        for sibling in &reply.siblings {
            target.inner.observe_ms(sibling.hlc.ms());
        }
        Ok(Read::new(target.key, reply))
    }
}

impl IntoFuture for Get {
    type Output = Result<Read, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.run().boxed()
    }
}

/// What a read found.
#[derive(Clone, Debug)]
pub struct Read {
    key: Bytes,
    siblings: Vec<Sibling>,
    context: Context,
    token: Option<Token>,
    receipt: Receipt,
}

impl Read {
    fn new(key: Bytes, reply: ReadReply) -> Self {
        let token = reply.token.map(Token::from);
        Self { key, siblings: reply.siblings, context: reply.context.into(), token, receipt: reply.receipt }
    }

    /// The value, or `None` if the key is absent or deleted.
    ///
    /// # Errors
    /// [`Conflict`] when concurrent writes left several values: merge them, and put the result with this read's context.
    pub fn single(&self) -> Result<Option<Bytes>, Conflict> {
        match self.siblings.as_slice() {
            [] => Ok(None),
            [only] => Ok(Some(only.value.clone())),
            siblings => Err(Conflict { key: self.key.clone(), siblings: siblings.to_vec(), context: self.context.clone() }),
        }
    }

    /// The current values with their origin, oldest first: none if the key is absent or deleted, several after concurrent writes.
    pub fn siblings(&self) -> &[Sibling] {
        &self.siblings
    }

    /// The current values, oldest first.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &Bytes> {
        self.siblings.iter().map(|sibling| &sibling.value)
    }

    /// What this read has seen, for the write that replaces it. There is one even if the key is absent.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// At `linearizable`, the version that was read: what a compare-and-set may expect, and a fencing token. Other levels have none.
    pub fn token(&self) -> Option<Token> {
        self.token
    }

    /// What was reached: level, replicas, repairs, times.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// The key that was read.
    pub fn key(&self) -> &Bytes {
        &self.key
    }
}

/// A key has several values, because writes that had not seen each other left them. None is better than the others; the program
/// decides.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{} has {} siblings; merge them and put the result with the context of this read", KeyText(key), siblings.len())]
pub struct Conflict {
    key: Bytes,
    siblings: Vec<Sibling>,
    context: Context,
}

impl Conflict {
    /// The key.
    pub fn key(&self) -> &Bytes {
        &self.key
    }

    /// The values with their origin, oldest first; at least two.
    pub fn siblings(&self) -> &[Sibling] {
        &self.siblings
    }

    /// What a write must have seen to replace them all.
    pub fn context(&self) -> &Context {
        &self.context
    }
}
