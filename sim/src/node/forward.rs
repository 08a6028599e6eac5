//! Writes that a home replica coordinates for this node.

use quorate_protocol::Defect;
use quorate_protocol::notes::Mark;
use quorate_protocol::outcome::{Failure, Outcome, Reason};
use quorate_protocol::session::attempts::Sending;
use quorate_ring::NodeId;

use super::{Action, Alarm, Env, Node};
use crate::message::{Address, Call, Good, Payload, Request};

/// A write that a home replica coordinates for this node.
#[derive(Debug)]
pub(super) struct Forwarded {
    call: Call,
    pub(super) to: NodeId,
    needed: u8,
    is_retry: bool,
}

/// Why a forwarded write got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// Nobody listens there: nothing was sent.
    NobodyThere,
    /// The connection broke, or its other end is silent.
    Broken,
    /// Its time is up.
    TimedOut,
}

impl Node {
    /// Hands a write to a home replica. Once it has left, only that replica's answer says what became of it.
    pub(super) fn forward(&mut self, env: &mut Env<'_>, call: Call, request: Request, home: NodeId, needed: u8) {
        env.actions.push(Action::Mark(Mark::Forwarded));
        let number = self.number();
        let is_retry = request.what.is_retry();
        self.process.forwarded.insert(number, Forwarded { call, to: home, needed, is_retry });
        env.actions.push(Action::Alarm(request.deadline, Alarm::Forwarded(number)));
        let onward =
            Call { issuer: Address::Node(self.id), boot: self.identity().boot, operation: number, sending: Sending(call.sending.0) };
        self.send(env, Address::Node(home), Payload::Call { call: onward, request });
    }

    pub(super) fn forward_answered(&mut self, env: &mut Env<'_>, call: Call, answer: Result<Result<Good, Failure>, NoAnswer>) {
        if call.boot == self.identity().boot {
            self.forward_ended(env, call.operation, answer);
        }
    }

    pub(super) fn forward_ended(&mut self, env: &mut Env<'_>, number: u64, answer: Result<Result<Good, Failure>, NoAnswer>) {
        let Some(Forwarded { call, needed, is_retry, .. }) = self.process.forwarded.remove(&number) else { return };
        let failed = |no_answer| {
            let (reason, outcome) = match no_answer {
                NoAnswer::NobodyThere => (Reason::Unreachable { needed, alive: 0 }, Outcome::NotApplied),
                NoAnswer::Broken => (Reason::Unavailable { needed, answered: 0 }, Outcome::Unknown),
                NoAnswer::TimedOut => (Reason::TimedOut { needed, answered: 0 }, Outcome::Unknown),
            };
            // A retry that was not sent on says nothing about the attempts before it.
            let outcome = if is_retry { Outcome::Unknown } else { outcome };
            let outcome = if env.options.has(Defect::DefiniteFailureAfterForward) { Outcome::NotApplied } else { outcome };
            Err(Failure { reason, outcome, replicas: Vec::new() })
        };
        let answer = answer.unwrap_or_else(failed);
        self.send(env, call.issuer, Payload::Answer { call, answer });
    }
}
