//! What travels between clients and nodes, and how a trace shows it.

use std::fmt;

use quorate_protocol::chain::operation::Decision;
use quorate_protocol::chain::state::{Expect, Function};
use quorate_protocol::chain::{self, Token};
use quorate_protocol::outcome::Failure;
use quorate_protocol::replica::{ReplicaReply, ReplicaRequest, Seen};
use quorate_protocol::session::attempts::Sending;
use quorate_protocol::{Attempt, Body, Context, Level, OpId, Siblings, Tick};
use quorate_ring::NodeId;

/// Who sends or receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Address {
    Node(NodeId),
    Client(u8),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => node.fmt(f),
            Self::Client(client) => write!(f, "c{client}"),
        }
    }
}

/// A key of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(pub(crate) u8);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "k{}", self.0)
    }
}

/// Who a node says it is: what its peers remember of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) node: NodeId,
    pub(crate) boot: u32,
    pub(crate) nonce: u64,
}

/// Which request an answer belongs to, as its issuer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Call {
    pub(crate) issuer: Address,
    /// The issuer's boot, if it is a node: answers to a dead process are nobody's.
    pub(crate) boot: u32,
    pub(crate) operation: u64,
    pub(crate) sending: Sending,
}

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) key: Key,
    pub(crate) level: Level,
    pub(crate) deadline: Tick,
    pub(crate) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Read; the answer covers `seen`.
    Read { seen: Context },
    /// Put or delete; `begin_by` is the tick by which a blind one must have begun.
    Write { op: OpId, attempt: Attempt, begin_by: Option<Tick>, seen: Seen, body: Body },
    /// Change the key by consensus.
    Change { op: OpId, attempt: Attempt, change: chain::Change },
}

impl What {
    /// Whether an earlier sending of it may have had an effect.
    pub(crate) fn is_retry(&self) -> bool {
        matches!(self, Self::Write { attempt, .. } | Self::Change { attempt, .. } if attempt.is_retry())
    }
}

/// A coordinator's good answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Good {
    /// `token` is the version, if the level has versions.
    Read {
        siblings: Siblings,
        token: Option<Token>,
    },
    Written {
        context: Context,
    },
    Changed(Changed),
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) decision: Decision,
    /// What the change had seen, and itself; nothing if it was found to have been decided earlier.
    pub(crate) context: Context,
    /// What its client has seen now.
    pub(crate) seen: Context,
}

/// Whom a replica's answer is for, at the node that asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Ticket {
    Operation { boot: u32, number: u64 },
    Hint { boot: u32, seq: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// From a client, or from a node that forwards.
    Call {
        call: Call,
        request: Request,
    },
    /// To whoever called.
    Answer {
        call: Call,
        answer: Result<Good, Failure>,
    },
    /// The call found nobody listening.
    NobodyThere {
        call: Call,
    },
    /// The connection broke after the call had been sent.
    CallLost {
        call: Call,
    },
    Replica {
        ticket: Ticket,
        key: Key,
        deadline: Tick,
        request: ReplicaRequest,
    },
    Reply {
        ticket: Ticket,
        reply: ReplicaReply,
    },
    /// The connection to the sender broke.
    Broken,
    /// I live; `hears_you`: and I have heard you lately.
    Beat {
        hears_you: bool,
    },
    /// Your identity is not the one I remember.
    NotYou {
        yours: Identity,
    },
}

impl Payload {
    /// Whether it asks for a blind write that is no retry.
    pub(crate) fn is_blind_write(&self) -> bool {
        matches!(self, Self::Call { request: Request { what: What::Write { begin_by: Some(_), .. }, .. }, .. })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) from: Address,
    pub(crate) to: Address,
    /// Of the sender, if it is a node.
    pub(crate) identity: Option<Identity>,
    pub(crate) payload: Payload,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {} {}", self.from, self.to, self.payload)
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call { call, request } => write!(f, "{request} {call}"),
            Self::Answer { call, answer: Ok(good) } => write!(f, "{good} {call}"),
            Self::Answer { call, answer: Err(failure) } => write!(f, "failed: {}, {} {call}", failure.reason, failure.outcome),
            Self::NobodyThere { call } => write!(f, "nobody there {call}"),
            Self::CallLost { call } => write!(f, "connection lost {call}"),
            Self::Replica { ticket, key, request, .. } => write!(f, "{key} {request} {ticket}"),
            Self::Reply { ticket, reply: ReplicaReply::State { siblings } } => write!(f, "State {} {ticket}", siblings.context()),
            Self::Reply { ticket, reply: ReplicaReply::Stored } => write!(f, "Stored {ticket}"),
            Self::Reply { ticket, reply: ReplicaReply::Chain(reply) } => write!(f, "{reply} {ticket}"),
            Self::Reply { ticket, reply: ReplicaReply::Refused(refusal) } => write!(f, "{refusal} {ticket}"),
            Self::Broken => f.write_str("connection broke"),
            Self::Beat { hears_you } => write!(f, "beat{}", if *hears_you { "" } else { ", not hearing you" }),
            Self::NotYou { yours } => write!(f, "you are not the {} I know", yours.node),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}#{}.{})", self.issuer, self.operation, self.sending.0)
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operation { number, .. } => write!(f, "op={number}"),
            Self::Hint { seq, .. } => write!(f, "hint={seq}"),
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, level, what, .. } = self;
        match what {
            What::Read { .. } => write!(f, "get {key} at {level}"),
            What::Write { body: Body::Tombstone, attempt, seen, .. } => {
                write!(f, "delete {key} at {level}{}{}", Retry(*attempt), Saw(seen))
            }
            What::Write { body: Body::Value(value), attempt, seen, .. } => {
                write!(f, "put {key} {} at {level}{}{}", value.escape_ascii(), Retry(*attempt), Saw(seen))
            }
            What::Change { attempt, change, .. } => write!(f, "{} {key} at {level}{}", Doing(change), Retry(*attempt)),
        }
    }
}

struct Doing<'a>(&'a chain::Change);

impl fmt::Display for Doing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            chain::Change::Identity => f.write_str("settle what there is of"),
            chain::Change::Fence => f.write_str("fence"),
            chain::Change::Put(value) => write!(f, "put {}", value.escape_ascii()),
            chain::Change::Delete => f.write_str("delete"),
            chain::Change::Cas { expect, body } => {
                match expect {
                    Expect::Token(token) => write!(f, "cas {token}")?,
                    Expect::Absent => f.write_str("cas absent")?,
                    Expect::Value(value) => write!(f, "cas {}", value.escape_ascii())?,
                }
                match body {
                    Body::Value(value) => write!(f, " to {}", value.escape_ascii()),
                    Body::Tombstone => f.write_str(" to absent"),
                }
            }
            chain::Change::Modify(Function::Increment(by)) => write!(f, "increment by {by}"),
            chain::Change::Modify(Function::Append(tail)) => write!(f, "append {}", tail.escape_ascii()),
            chain::Change::Modify(Function::SetIfGreater(than)) => write!(f, "set if greater {than}"),
        }
    }
}

struct Retry(Attempt);

impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_retry() { write!(f, ", attempt {}", self.0.0) } else { Ok(()) }
    }
}

struct Saw<'a>(&'a Seen);

impl fmt::Display for Saw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Seen::Context(context) => write!(f, " having seen {context}"),
            Seen::Blind => f.write_str(" blindly"),
            Seen::Nothing => f.write_str(" beside all others"),
        }
    }
}

impl fmt::Display for Good {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { siblings, token } => {
                let visible = siblings.visible();
                f.write_str(if visible.is_empty() { "holds nothing" } else { "holds" })?;
                for (dot, version) in visible {
                    let value = version.value().map(|value| value.escape_ascii().to_string()).unwrap_or_default();
                    write!(f, " {value} ({dot})")?;
                }
                write!(f, " {}", siblings.context())?;
                token.map_or(Ok(()), |token| write!(f, " version {token}"))
            }
            Self::Written { context } => write!(f, "written {context}"),
            Self::Changed(changed) => changed.fmt(f),
        }
    }
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.decision {
            Decision::Applied { token, result } => {
                write!(f, "applied, version {token}")?;
                result.as_ref().map_or(Ok(()), |result| write!(f, ", result {}", result.escape_ascii()))
            }
            Decision::Conflict { token, current, recorded } => {
                write!(f, "conflict{} at version {token}", if *recorded { "" } else { ", unrecorded," })?;
                let current = current.as_deref().unwrap_or_default();
                current.iter().try_for_each(|value| write!(f, " {}", value.escape_ascii()))
            }
            Decision::Inapplicable { why, .. } => why.fmt(f),
            Decision::Fenced => f.write_str("fenced"),
            Decision::Superseded => f.write_str("superseded"),
            Decision::TooOld => f.write_str("too old"),
            Decision::TooNew => f.write_str("too new"),
            Decision::Crowded => f.write_str("crowded"),
        }
    }
}
