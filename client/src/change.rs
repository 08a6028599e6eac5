//! Compare-and-set and the functions that every node knows: changes of one key that depend on what is there.
//!
//! All of them are linearizable and take no other level. **Promise.** Each is applied at most once, however often it is sent and
//! whatever breaks: nodes remember what they have applied under the operation's name, and what they answered.

use std::future::IntoFuture;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use quorate_protocol::chain::{self, Function};
use quorate_protocol::outcome::{Reason, Receipt};
use quorate_protocol::{Access, Attempt, Body, Level, OpId};
use quorate_rpc::kv::{ChangeReply, ChangeRequest, Changed as Became};

use crate::context::Context;
use crate::error::{Error, Verb};
use crate::operation::{Target, check_value};
use crate::session::Session;
use crate::token::Token;

/// What a compare-and-set expects of the key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expect {
    /// Nothing has changed since the answer that told this token.
    Token(Token),
    /// The key is absent or deleted.
    Absent,
    /// The key has exactly one value, and it is this.
    Value(Bytes),
}

impl Expect {
    /// That the key has exactly one value, and it is this.
    pub fn value(value: impl Into<Bytes>) -> Self {
        Self::Value(value.into())
    }
}

impl From<Token> for Expect {
    fn from(token: Token) -> Self {
        Self::Token(token)
    }
}

impl From<Expect> for chain::Expect {
    fn from(expect: Expect) -> Self {
        match expect {
            Expect::Token(token) => Self::Token(token.into()),
            Expect::Absent => Self::Absent,
            Expect::Value(value) => Self::Value(value),
        }
    }
}

/// What became of a compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Cas<V = Bytes> {
    /// What was expected held, and the value was set.
    Applied {
        /// The key's version since: a fencing token for what the value stands for, such as a lock.
        token: Token,
    },
    /// Something else was there. Nothing was changed, and nothing will be.
    Conflict {
        /// What was there.
        current: Current<V>,
    },
}

/// What a compare-and-set found instead of what it expected.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Current<V = Bytes> {
    /// The values; none if the key is absent. Not told if the conflict was remembered from an earlier sending of the operation: what was
    /// there then is not what is there now.
    pub values: Option<Vec<V>>,
    /// The version that was compared with. A further compare-and-set may expect it.
    pub token: Token,
}

impl<V> Cas<V> {
    /// True when the value was set.
    pub fn is_applied(&self) -> bool {
        matches!(self, Self::Applied { .. })
    }
}

impl<V> Current<V> {
    /// The only value, if it is told and there is exactly one.
    pub fn single(&self) -> Option<&V> {
        match self.values.as_deref() {
            Some([only]) => Some(only),
            _ => None,
        }
    }
}

/// A compare-and-set that does not say yet what it expects.
#[derive(Clone, Debug)]
#[must_use = "say what it expects"]
pub struct Compare {
    target: Target,
}

impl Compare {
    pub(crate) fn new(target: Target) -> Self {
        Self { target }
    }

    /// What must hold for the value to be set.
    pub fn expect(self, expect: impl Into<Expect>) -> Expecting {
        Expecting { target: self.target, expect: expect.into() }
    }
}

/// A compare-and-set that does not say yet what it sets.
#[derive(Clone, Debug)]
#[must_use = "say what is set"]
pub struct Expecting {
    target: Target,
    expect: Expect,
}

impl Expecting {
    /// Sets this value, in place of all that is there.
    pub fn set(self, value: impl Into<Bytes>) -> Change<Cas> {
        self.with(Body::Value(value.into()))
    }

    /// Deletes all that is there.
    pub fn delete(self) -> Change<Cas> {
        self.with(Body::Tombstone)
    }

    fn with(self, body: Body) -> Change<Cas> {
        let change = chain::Change::Cas { expect: self.expect.into(), body };
        Change::new(self.target, Verb::Cas, change, |reply| {
            let token = reply.token.into();
            Some(match &reply.changed {
                Became::Applied { .. } => Cas::Applied { token },
                Became::Conflict { current, .. } => Cas::Conflict { current: Current { values: current.clone(), token } },
            })
        })
    }
}

/// A change to be sent by `.await`, which gives what the change returns; by [`Change::in_full`] also how it came about.
#[derive(Clone, Debug)]
#[must_use = "a change is sent by `.await`"]
pub struct Change<T> {
    target: Target,
    verb: Verb,
    change: chain::Change,
    retried: Option<OpId>,
    read: fn(&ChangeReply) -> Option<T>,
}

impl<T> Change<T> {
    fn new(mut target: Target, verb: Verb, change: chain::Change, read: fn(&ChangeReply) -> Option<T>) -> Self {
        target.settings.level = Some(Level::Linearizable);
        Self { target, verb, change, retried: None, read }
    }

    /// The total deadline, instead of the client's.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.target.settings.deadline = deadline;
        self
    }

    /// Makes the session see this change.
    pub fn session(mut self, session: &Session) -> Self {
        self.target.settings.session = Some(session.clone());
        self
    }

    /// Sends the change under the name that an earlier call gave it ([`Error::op`]): it is applied now unless it had been, and answered
    /// as it was then.
    pub fn op_id(mut self, op: OpId) -> Self {
        self.retried = Some(op);
        self
    }

    /// Gives the receipt, the operation's name, the token and a context too.
    pub fn in_full(self) -> InFull<T> {
        InFull { change: self }
    }

    async fn run(self) -> Result<Changed<T>, Error> {
        let Self { target, verb, change, retried, read } = self;
        let budget = target.inner.clock.budget(target.settings.deadline);
        check(&change).map_err(|reason| {
            let operation = target.operation(verb, None, retried);
            Error::Invalid { operation, reason: Box::new(reason) }
        })?;
        let (snapshot, info) = target.prepare(verb, Access::Write, budget).await?;
        let turn = target.turn(verb, &info, budget).await?;
        let (op, attempt, _lane) = target.name(verb, &info, retried)?;
        let request = ChangeRequest {
            bucket: info.id,
            key: target.key.clone(),
            change,
            op,
            attempt,
            session: turn.as_ref().and_then(|turn| turn.seen()),
            micros_left: 0,
        };
        let partition = snapshot.ring.partitions().of_key(&target.key);
        let result = target.inner.run(&request, (&snapshot, &info), partition, target.settings.via, budget).await;
        let operation = || target.operation(verb, Some(&info), Some(op));
        let reply = result.map_err(|ended| ended.into_error(operation(), budget))?;
        let value = read(&reply).ok_or_else(|| Error::Unreadable { operation: operation(), coordinator: reply.receipt.coordinator })?;
        if let Some(turn) = turn {
            turn.remember(reply.session.unwrap_or_else(|| reply.context.clone()));
        }
        Ok(Changed { value, op, token: reply.token.into(), context: reply.context.into(), receipt: reply.receipt })
    }
}

impl Change<i64> {
    /// Adds to a decimal number; no value counts as 0.
    pub(crate) fn increment(target: Target, by: i64) -> Self {
        Self::new(target, Verb::Increment, chain::Change::Modify(Function::Increment(by)), number)
    }

    /// Puts a decimal number if it is greater than the value.
    pub(crate) fn set_if_greater(target: Target, than: i64) -> Self {
        Self::new(target, Verb::SetIfGreater, chain::Change::Modify(Function::SetIfGreater(than)), number)
    }
}

impl Change<u64> {
    /// Appends bytes; no value counts as empty.
    pub(crate) fn append(target: Target, tail: Bytes) -> Self {
        Self::new(target, Verb::Append, chain::Change::Modify(Function::Append(tail)), number)
    }
}

/// The number that a function returned.
fn number<N: std::str::FromStr>(reply: &ChangeReply) -> Option<N> {
    let Became::Applied { result: Some(result) } = &reply.changed else { return None };
    std::str::from_utf8(result).ok()?.parse().ok()
}

/// Refuses values that no node would take.
fn check(change: &chain::Change) -> Result<(), Reason> {
    if let chain::Change::Cas { expect: chain::Expect::Value(value), .. } | chain::Change::Modify(Function::Append(value)) = change {
        check_value(value)?;
    }
    match change {
        chain::Change::Cas { body: Body::Value(value), .. } => check_value(value),
        _ => Ok(()),
    }
}

impl<T: Send + 'static> IntoFuture for Change<T> {
    type Output = Result<T, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.run().map(|changed| changed.map(|changed| changed.value)).boxed()
    }
}

/// A change to be sent by `.await`, which gives all that is known of how it came about.
#[derive(Clone, Debug)]
#[must_use = "a change is sent by `.await`"]
pub struct InFull<T> {
    change: Change<T>,
}

impl<T: Send + 'static> IntoFuture for InFull<T> {
    type Output = Result<Changed<T>, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.change.run().boxed()
    }
}

/// What a change returned and left behind.
#[derive(Clone, Debug)]
pub struct Changed<T> {
    /// What it returned.
    pub value: T,
    op: OpId,
    token: Token,
    context: Context,
    receipt: Receipt,
}

impl<T> Changed<T> {
    /// The name of the operation, the same in every sending of it.
    pub fn op(&self) -> OpId {
        self.op
    }

    /// The key's version right after it; of a conflict, the version that was compared with.
    pub fn token(&self) -> Token {
        self.token
    }

    /// What the change had seen, and itself. It covers nothing if the change was found to have been applied by an earlier sending.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// What was reached: replicas, rounds, times.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }
}

impl Target {
    /// Names a mutation, or goes on under the name that it has; a lane stays occupied while the guard lives.
    pub(crate) fn name(
        &self,
        verb: Verb,
        info: &quorate_rpc::kv::BucketInfo,
        retried: Option<OpId>,
    ) -> Result<(OpId, Attempt, Option<crate::client::Lane>), Error> {
        match retried {
            Some(op) => Ok((op, Attempt(1), None)),
            None => match self.inner.issue(&self.key) {
                Ok(lane) => Ok((lane.op, Attempt(0), Some(lane))),
                Err(source) => Err(Error::TooManyWrites { operation: self.operation(verb, Some(info), None), source }),
            },
        }
    }
}
