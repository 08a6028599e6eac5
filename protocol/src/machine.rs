//! The one shape of an operation machine: inputs in, effects out.
//!
//! A machine is stepped with the current tick and one [`Input`]; it puts [`Effect`]s into an [`Outbox`], which the driver
//! drains and carries out. The machine never waits: whatever it waits for comes back as an input. Extra, late and repeated
//! inputs are harmless.

use std::fmt;

use quorate_ring::NodeId;

use crate::chain::Ballot;
use crate::hlc::Hlc;
use crate::ids::Tick;
use crate::notes::{Mark, Notes};
use crate::record::Role;
use crate::replica::{Mint, Minted, Refusal, ReplicaReply, ReplicaRequest, TooManySiblings};
use crate::siblings::Siblings;

/// Which of a machine's timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Timer {
    /// The operation's deadline: answer now, with what there is.
    Deadline,
    /// A replica is slow: ask further ones.
    Hedge,
    /// A replica has not acknowledged for long: keep a hint for it.
    Hint,
    /// A message may have been lost: send it again.
    Resend,
    /// Another proposer was in the way: try again.
    Retry,
}

/// What a driver tells a machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// Begin. Given once, first.
    Start,
    /// To `Mint`: the write has its dot. Its durability follows as a `Reply` from this node.
    Minted(Minted),
    /// To `Mint`: the write got no dot and changed nothing.
    MintRefused(MintRefusal),
    /// A replica answered; from this node itself, the local store did.
    Reply {
        /// The replica.
        from: NodeId,
        /// Its answer.
        reply: ReplicaReply,
    },
    /// A request to this replica will not be answered: it is known to be unreachable.
    PeerDown(NodeId),
    /// A hint for this replica is durable here.
    HintKept(NodeId),
    /// No hint could be kept for this replica.
    HintRefused(NodeId),
    /// To `DrawBallot`.
    Drawn(Drawn),
    /// To `DrawBallot`: what was seen is too far ahead to be followed.
    BallotRefused,
    /// A timer that the machine had set went off.
    Timer(Timer),
}

/// What a proposer needs for one round, none of it ever given out before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Drawn {
    /// A ballot above what the machine had seen.
    pub ballot: Ballot,
    /// A higher one.
    pub next: Ballot,
    /// The node's clock.
    pub hlc: Hlc,
}

/// Why the coordinator's own replica gave a write no dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MintRefusal {
    /// The key has too many live versions.
    TooManySiblings(TooManySiblings),
    /// The write's context would have more than [`CONTEXT_LEN_MAX`](crate::limits::CONTEXT_LEN_MAX) entries.
    ContextTooLong,
    /// The local store cannot take the write.
    Store(Refusal),
}

/// What a machine asks of its driver; `A` is its answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect<A> {
    /// Send a request to a home replica, this node included; answer with `Reply` or `PeerDown`.
    Send {
        /// The replica.
        to: NodeId,
        /// What to ask.
        request: ReplicaRequest,
    },
    /// Give the write a dot: as a home replica in this node's record, as a stranger without keeping any record.
    Mint {
        /// The write.
        mint: Mint,
        /// What this node is to the key.
        role: Role,
    },
    /// Keep a durable hint here for a replica that may lack `delta`; answer with `HintKept` or `HintRefused`.
    KeepHint {
        /// Whom it is for.
        target: NodeId,
        /// What the replica may lack.
        delta: Siblings,
    },
    /// Draw ballots for a round, above `seen`; answer with `Drawn` or `BallotRefused`.
    DrawBallot {
        /// The highest ballot that the machine has seen.
        seen: Ballot,
    },
    /// Give a `Timer` input at a tick. Timers do not replace each other; one that is no longer wanted is ignored.
    SetTimer {
        /// Which.
        timer: Timer,
        /// When.
        at: Tick,
    },
    /// An operation's answer, given exactly once for each operation. The machine may have work left.
    Finish(A),
}

impl<A> fmt::Display for Effect<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send { to, request } => write!(f, "-> {to} {request}"),
            Self::Mint { role, .. } => write!(f, "mint as {role:?}"),
            Self::KeepHint { target, .. } => write!(f, "keep hint for {target}"),
            Self::DrawBallot { seen } => write!(f, "draw a ballot above {seen}"),
            Self::SetTimer { timer, at } => write!(f, "timer {timer:?} at {}us", at.0),
            Self::Finish(_) => f.write_str("finish"),
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Minted(minted) => write!(f, "minted {}", minted.dot),
            Self::MintRefused(_) => f.write_str("mint refused"),
            Self::Reply { from, reply } => match reply {
                ReplicaReply::State { siblings } => write!(f, "<- {from} State {}", siblings.context()),
                ReplicaReply::Stored => write!(f, "<- {from} Stored"),
                ReplicaReply::Chain(reply) => write!(f, "<- {from} {reply}"),
                ReplicaReply::Refused(refusal) => write!(f, "<- {from} {refusal}"),
            },
            Self::PeerDown(node) => write!(f, "{node} down"),
            Self::HintKept(node) => write!(f, "hint for {node} kept"),
            Self::HintRefused(node) => write!(f, "hint for {node} refused"),
            Self::Drawn(drawn) => write!(f, "ballot {}", drawn.ballot),
            Self::BallotRefused => f.write_str("ballot refused"),
            Self::Timer(timer) => write!(f, "timer {timer:?}"),
        }
    }
}

/// Where a machine puts its effects and marks; the driver drains it after every step.
#[derive(Clone, Debug)]
pub struct Outbox<A> {
    effects: Vec<Effect<A>>,
    notes: Notes,
}

impl<A> Default for Outbox<A> {
    fn default() -> Self {
        Self { effects: Vec::new(), notes: Notes::default() }
    }
}

impl<A> Outbox<A> {
    /// Adds an effect.
    pub fn push(&mut self, effect: Effect<A>) {
        self.effects.push(effect);
    }

    /// Records that a branch was taken.
    pub fn sometimes(&mut self, mark: Mark) {
        self.notes.sometimes(mark);
    }

    /// Takes the effects in the order they were put in.
    pub fn drain(&mut self) -> Vec<Effect<A>> {
        std::mem::take(&mut self.effects)
    }

    /// Takes the marks.
    pub fn marks(&mut self) -> Vec<Mark> {
        self.notes.take()
    }
}
