//! Where the answer to a replica request goes.

use futures::channel::mpsc;
use quorate_protocol::machine::Input;
use quorate_protocol::replica::{Refusal, ReplicaReply};
use quorate_ring::NodeId;

/// The inputs of one operation's machine. Every request is answered once, so no more of them wait than requests were sent.
pub(crate) type Inputs = mpsc::UnboundedSender<Input>;

/// Answers one request of one operation, exactly once: dropping it unanswered says that the peer is down.
pub(crate) struct ReplyTo {
    from: NodeId,
    inputs: Option<Inputs>,
}

impl ReplyTo {
    pub(crate) fn new(from: NodeId, inputs: Inputs) -> Self {
        Self { from, inputs: Some(inputs) }
    }

    /// The answer to a request that nobody waits for.
    pub(crate) fn nobody(from: NodeId) -> Self {
        Self { from, inputs: None }
    }

    /// Whether somebody waits for the answer.
    pub(crate) fn is_awaited(&self) -> bool {
        self.inputs.is_some()
    }

    /// Passes on the peer's answer.
    pub(crate) fn answer(mut self, reply: ReplicaReply) {
        let from = self.from;
        self.give(Input::Reply { from, reply });
    }

    /// The peer does not answer.
    pub(crate) fn down(self) {
        drop(self);
    }

    /// The queue to the peer is full.
    pub(crate) fn overloaded(self) {
        self.answer(ReplicaReply::Refused(Refusal::Overloaded));
    }

    fn give(&mut self, input: Input) {
        if let Some(inputs) = self.inputs.take() {
            // Closed: the operation is over.
            let _ = inputs.unbounded_send(input);
        }
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        let from = self.from;
        self.give(Input::PeerDown(from));
    }
}
