//! Asking what became of an operation whose outcome its client does not know.
//!
//! To ask changes nothing. To *settle* makes sure: if the operation was not applied so far, it never will be, under its own name, so that
//! a sending of it which is still under way comes too late for good.
//!
//! That binds linearizable sendings, which all have to get past the same place. An eventual write does not: a replica or a hint that has
//! it brings it in whatever was settled, and the answer to it says only that it had not arrived.

use std::future::IntoFuture;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use quorate_protocol::{Access, Level, OpId};
use quorate_rpc::kv::{NotAppliedWhy, OutcomeReply, OutcomeRequest, UnknownWhy};

use crate::error::{Error, Verb};
use crate::operation::Target;
use crate::token::Token;

/// A question about an operation on a key, to be sent by `.await`.
#[derive(Clone, Debug)]
#[must_use = "a question is sent by `.await`"]
pub struct AskFate {
    target: Target,
    op: OpId,
    settle: bool,
}

/// What became of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It was applied.
    Applied {
        /// The key's version right after it, if it was linearizable.
        token: Option<Token>,
        /// What its function returned, if it was one.
        result: Option<Bytes>,
    },
    /// It had no effect and never will.
    NotApplied(NotAppliedWhy),
    /// Nobody can say yet, or any more.
    Unknown(UnknownWhy),
}

impl From<OutcomeReply> for Fate {
    fn from(reply: OutcomeReply) -> Self {
        match reply {
            OutcomeReply::Applied { token, result } => Self::Applied { token: token.map(Token::from), result },
            OutcomeReply::NotApplied(why) => Self::NotApplied(why),
            OutcomeReply::Unknown(why) => Self::Unknown(why),
        }
    }
}

impl AskFate {
    pub(crate) fn new(mut target: Target, op: OpId) -> Self {
        target.settings.level = Some(Level::Linearizable);
        Self { target, op, settle: false }
    }

    /// If the operation was not applied so far, sees to it that it never is. An eventual write may arrive all the same.
    pub fn settle(mut self) -> Self {
        self.settle = true;
        self
    }

    /// The total deadline, instead of the client's.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.target.settings.deadline = deadline;
        self
    }

    async fn run(self) -> Result<Fate, Error> {
        let Self { target, op, settle } = self;
        let verb = if settle { Verb::Settle } else { Verb::Outcome };
        let budget = target.inner.clock.budget(target.settings.deadline);
        let (snapshot, info) = target.prepare(verb, Access::Read, budget).await?;
        let request = OutcomeRequest { bucket: info.id, key: target.key.clone(), op, settle, micros_left: 0 };
        let partition = snapshot.ring.partitions().of_key(&target.key);
        let result = target.inner.run(&request, (&snapshot, &info), partition, target.settings.via, budget).await;
        result.map(Fate::from).map_err(|ended| ended.into_error(target.operation(verb, Some(&info), Some(op)), budget))
    }
}

impl IntoFuture for AskFate {
    type Output = Result<Fate, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.run().boxed()
    }
}
