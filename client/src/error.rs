//! What a failed operation tells: what was asked, why it failed, and above all what became of it.
//!
//! Every error answers three questions by method: [`Error::outcome`], did it happen; [`Error::is_retryable`], is it worth
//! another try; [`Error::replicas`], who answered and who did not. The text says the same.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_protocol::outcome::{Failure, Micros, Outcome, Reason, ReplicaReport};
use quorate_protocol::session::lanes::LanesExhausted;
use quorate_protocol::{Level, OpId};
use quorate_ring::{NodeId, PartitionId};

use crate::clock::micros;
use crate::context::Context;
use crate::key_text::KeyText;
use crate::link::LinkError;
use crate::session::SESSION_KEYS_MAX;

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Reads a key.
    Get,
    /// Writes a key.
    Put,
    /// Deletes a key.
    Delete,
    /// Sets or deletes a key if it is as expected.
    Cas,
    /// Adds to the number that a key holds.
    Increment,
    /// Appends to the value of a key.
    Append,
    /// Puts a number unless the key holds one that is as great.
    SetIfGreater,
    /// Asks what became of an operation.
    Outcome,
    /// The same, and makes sure that it is not applied later.
    Settle,
    /// Lists keys.
    List,
    /// Asks a node how it is.
    Status,
    /// Asks a node for its metrics.
    Metrics,
}

impl Verb {
    /// True for verbs that change something.
    pub fn is_mutation(self) -> bool {
        match self {
            Self::Put | Self::Delete | Self::Cas | Self::Increment | Self::Append | Self::SetIfGreater | Self::Settle => true,
            Self::Get | Self::Outcome | Self::List | Self::Status | Self::Metrics => false,
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Cas => "cas",
            Self::Increment => "incr",
            Self::Append => "append",
            Self::SetIfGreater => "set-if-greater",
            Self::Outcome => "outcome",
            Self::Settle => "settle",
            Self::List => "list",
            Self::Status => "status",
            Self::Metrics => "metrics",
        })
    }
}

/// What an operation is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A key.
    Key(Bytes),
    /// A partition.
    Partition(PartitionId),
    /// A node.
    Node(NodeId),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => KeyText(key).fmt(f),
            Self::Partition(partition) => partition.fmt(f),
            Self::Node(node) => node.fmt(f),
        }
    }
}

/// An operation as it was asked for. Written `put "cart:7" in bucket carts at quorum`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operation {
    /// What it does.
    pub verb: Verb,
    /// What it is about.
    pub subject: Subject,
    /// Its bucket, if it has one and that is not the bucket `default`.
    pub bucket: Option<String>,
    /// Its level, as far as it was known: the one asked for, else the bucket's.
    pub level: Option<Level>,
    /// Its name, once it has one.
    pub op: Option<OpId>,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.subject)?;
        if let Some(bucket) = &self.bucket {
            write!(f, " in bucket {bucket}")?;
        }
        if let Some(level) = self.level {
            write!(f, " at {level}")?;
        }
        Ok(())
    }
}

/// A failed operation.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What was asked is impossible: an empty or too long key, a level the bucket cannot give, an unknown bucket. The client
    /// itself refused; nothing was sent.
    #[error("{operation}: {reason}{}", Conclusion::plain(operation, Outcome::NotApplied))]
    Invalid {
        /// What was asked.
        operation: Box<Operation>,
        /// What is wrong with it.
        reason: Box<Reason>,
    },
    /// A coordinator said what failed, and no other did better before the deadline.
    #[error("{operation}: {failure}{}", Conclusion::of_failure(operation, *outcome, failure))]
    Failed {
        /// What was asked.
        operation: Box<Operation>,
        /// Who says so.
        coordinator: NodeId,
        /// What it says, of its own part.
        failure: Box<Failure>,
        /// What is known of the whole operation, earlier sendings included.
        outcome: Outcome,
    },
    /// No node could be reached; nothing was sent.
    #[error("{operation}: no node could be reached; {}{}", List(nodes), Conclusion::plain(operation, Outcome::NotApplied))]
    Unreachable {
        /// What was asked.
        operation: Box<Operation>,
        /// The nodes tried, with the reason.
        nodes: Vec<Unreached>,
    },
    /// The deadline passed without an answer.
    #[error(
        "{operation}: no answer within {}{}{}",
        Micros(*micros),
        Asked(asked),
        Conclusion { asked, ..Conclusion::plain(operation, *outcome) }
    )]
    TimedOut {
        /// What was asked.
        operation: Box<Operation>,
        /// Nodes it was sent to; none if it waited until then for its turn or for a connection.
        asked: Vec<NodeId>,
        /// How long it took, in microseconds.
        micros: u64,
        /// What is known of its effect.
        outcome: Outcome,
    },
    /// It was sent as often as it may be, and each time the connection broke before the answer.
    #[error(
        "{operation}: the connection broke before the answer{}{}",
        Asked(asked),
        Conclusion { asked, ..Conclusion::plain(operation, *outcome) }
    )]
    Lost {
        /// What was asked.
        operation: Box<Operation>,
        /// Nodes it was sent to.
        asked: Vec<NodeId>,
        /// What is known of its effect.
        outcome: Outcome,
    },
    /// The session remembers as many keys as it may; nothing was sent.
    #[error(
        "{operation}: the session remembers {SESSION_KEYS_MAX} keys, the most it may; begin another one{}",
        Conclusion::plain(operation, Outcome::NotApplied)
    )]
    SessionFull {
        /// What was asked.
        operation: Box<Operation>,
    },
    /// The client has as many writes in flight as it may; nothing was sent.
    #[error("{operation}: {source}{}", Conclusion::plain(operation, Outcome::NotApplied))]
    TooManyWrites {
        /// What was asked.
        operation: Box<Operation>,
        /// The limit.
        source: LanesExhausted,
    },
    /// A node answered a change with something that it cannot have returned. It was applied, and what it returned is not known.
    #[error(
        "{operation}: {coordinator} answered with something that it cannot have returned{}",
        Conclusion::plain(operation, Outcome::Unknown)
    )]
    Unreadable {
        /// What was asked.
        operation: Box<Operation>,
        /// Who answered.
        coordinator: NodeId,
    },
    /// The cluster has no such node; nothing was sent.
    #[error("{operation}: the cluster has no such node")]
    UnknownNode {
        /// What was asked.
        operation: Box<Operation>,
    },
}

/// A node that could not be reached, and why.
#[derive(Clone, Debug)]
pub struct Unreached {
    /// The node.
    pub node: NodeId,
    /// Why.
    pub error: Arc<LinkError>,
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.node, self.error)
    }
}

impl Error {
    /// What was asked.
    pub fn operation(&self) -> &Operation {
        match self {
            Self::Invalid { operation, .. }
            | Self::Failed { operation, .. }
            | Self::Unreachable { operation, .. }
            | Self::TimedOut { operation, .. }
            | Self::Lost { operation, .. }
            | Self::SessionFull { operation }
            | Self::TooManyWrites { operation, .. }
            | Self::Unreadable { operation, .. }
            | Self::UnknownNode { operation } => operation,
        }
    }

    /// Did it happen? A read has no effect: always `NotApplied`.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Failed { outcome, .. } | Self::TimedOut { outcome, .. } | Self::Lost { outcome, .. } => *outcome,
            Self::Unreadable { .. } => Outcome::Unknown,
            Self::Invalid { .. }
            | Self::Unreachable { .. }
            | Self::SessionFull { .. }
            | Self::TooManyWrites { .. }
            | Self::UnknownNode { .. } => Outcome::NotApplied,
        }
    }

    /// True when the same request may succeed a little later. A write whose outcome is unknown is retried safely only under its own
    /// name: give [`crate::Write::op_id`] what [`Error::op`] says.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Failed { failure, .. } => failure.reason.is_retryable(),
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Lost { .. } | Self::TooManyWrites { .. } => true,
            Self::Invalid { .. } | Self::SessionFull { .. } | Self::Unreadable { .. } | Self::UnknownNode { .. } => false,
        }
    }

    /// What became of each home replica, in ring order; empty when no coordinator could tell.
    pub fn replicas(&self) -> &[ReplicaReport] {
        match self {
            Self::Failed { failure, .. } => &failure.replicas,
            Self::Invalid { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Lost { .. }
            | Self::SessionFull { .. }
            | Self::TooManyWrites { .. }
            | Self::Unreadable { .. }
            | Self::UnknownNode { .. } => &[],
        }
    }

    /// Why, in the words that coordinators use, whether a coordinator or the client itself refused.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Invalid { reason, .. } => Some(reason),
            Self::Failed { failure, .. } => Some(&failure.reason),
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Lost { .. }
            | Self::SessionFull { .. }
            | Self::TooManyWrites { .. }
            | Self::Unreadable { .. }
            | Self::UnknownNode { .. } => None,
        }
    }

    /// The name of the operation, if it is a write that got one.
    pub fn op(&self) -> Option<OpId> {
        self.operation().op
    }

    /// After `TooManySiblings`: a context that covers all of them. A write that gives it replaces them, so read and merge them
    /// first.
    pub fn context(&self) -> Option<Context> {
        match self.reason() {
            Some(Reason::TooManySiblings { context, .. }) => Some(Context::from(context.clone())),
            _ => None,
        }
    }

    /// What can be done about it, where that follows from the error.
    pub fn advice(&self) -> Option<&'static str> {
        match (self.reason(), self.outcome()) {
            (Some(Reason::Fenced), _) | (Some(Reason::Superseded | Reason::OpIdTooOld), Outcome::NotApplied) => {
                Some("if it is still wanted, ask for it again as a new operation")
            }
            (Some(Reason::Superseded | Reason::OpIdTooOld), Outcome::Unknown) => {
                Some("read the key: what became of this operation is not remembered, and it will not be applied from now on")
            }
            (Some(Reason::OpIdTooNew), _) => Some("set the clock of the machine that this client runs on"),
            (Some(Reason::LinOnlyBucket { .. }), _) => Some("write at linearizable"),
            (_, Outcome::Unknown) if self.op().is_some() => {
                Some("retry it under its operation id, which applies it once at most, or settle it, after which it is known")
            }
            _ => None,
        }
    }

    /// True when no replica that could be reached has seen all that the session has.
    pub fn is_session_behind(&self) -> bool {
        self.reason() == Some(&Reason::Behind)
    }
}

/// Why a client did not come to be. Nothing was asked of the cluster but where things are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No seed was given.
    #[error("no address to connect to; give one or more, as in 127.0.0.1:7400,127.0.0.1:7401")]
    NoSeeds,
    /// A seed is no address.
    #[error("{text:?} is no address; write host:port, as in 127.0.0.1:7400")]
    InvalidSeed {
        /// What was written.
        text: String,
    },
    /// None of the seeds could be reached.
    #[error("no node could be reached; {}", List(seeds))]
    NoSeedAnswered {
        /// The seeds, each with the reason.
        seeds: Vec<FailedSeed>,
    },
}

/// A seed that was of no use, and why.
#[derive(Debug)]
pub struct FailedSeed {
    /// The address.
    pub address: String,
    /// Why.
    pub error: SeedError,
}

impl fmt::Display for FailedSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address, self.error)
    }
}

/// Why a seed was of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeedError {
    /// No connection.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The connection broke before the node had told where things are.
    #[error("its connection broke")]
    Broken,
    /// It did not tell where things are in time.
    #[error("it was silent for {}", Micros(micros(*after)))]
    Silent {
        /// How long was waited.
        after: Duration,
    },
    /// It told something impossible.
    #[error(transparent)]
    Topology(#[from] crate::topology::InvalidTopology),
}

/// The end of an error's text: what became of a write. Reads have no effect and need none.
struct Conclusion<'a> {
    operation: &'a Operation,
    outcome: Outcome,
    holders: Vec<NodeId>,
    asked: &'a [NodeId],
    /// The failure told is a definite one; an earlier sending, which nobody answered, makes the outcome unknown.
    was_sent_before: bool,
}

impl<'a> Conclusion<'a> {
    fn plain(operation: &'a Operation, outcome: Outcome) -> Self {
        Self { operation, outcome, holders: Vec::new(), asked: &[], was_sent_before: false }
    }

    fn of_failure(operation: &'a Operation, outcome: Outcome, failure: &Failure) -> Self {
        let was_sent_before = failure.outcome == Outcome::NotApplied;
        Self { holders: failure.answered().collect(), was_sent_before, ..Self::plain(operation, outcome) }
    }
}

impl fmt::Display for Conclusion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.operation.verb.is_mutation() {
            return Ok(());
        }
        write!(f, ". {}", self.outcome)?;
        if self.outcome == Outcome::NotApplied {
            return Ok(());
        }
        let written = match self.operation.verb {
            Verb::Delete => "delete",
            Verb::Cas | Verb::Increment | Verb::Append | Verb::SetIfGreater | Verb::Settle => "change",
            _ => "value",
        };
        match (&self.holders[..], self.asked) {
            ([], _) if self.was_sent_before => f.write_str(": it was sent before that too, without an answer, and may have been applied"),
            ([], [] | [_]) => f.write_str(": it was sent and may have been applied"),
            ([], [_, _, ..]) => f.write_str(": any of them may have applied it"),
            ([one], _) => write!(f, ": {one} has the {written} and it may spread"),
            (many, _) => write!(f, ": {} have the {written} and it may spread", And(many)),
        }
    }
}

/// Who was asked, after "no answer".
struct Asked<'a>(&'a [NodeId]);

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("; nothing was sent"),
            nodes => write!(f, " from {}", And(nodes)),
        }
    }
}

struct List<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for item in self.0 {
            write!(f, "{separator}{item}")?;
            separator = ", ";
        }
        Ok(())
    }
}

struct And<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for And<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => Ok(()),
            [one] => one.fmt(f),
            [start @ .., last] => write!(f, "{} and {last}", List(start)),
        }
    }
}

#[cfg(test)]
mod tests;
