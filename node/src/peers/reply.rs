//! Where the answer to a replica request goes.

use quorate_protocol::machine::Input;
use quorate_protocol::replica::{Refusal, ReplicaReply};
use quorate_ring::NodeId;
use tokio::sync::mpsc;

/// Most answers that wait for one operation: a few for each of its home replicas.
pub(crate) const INPUTS_MAX: usize = 64;

/// The inputs of one operation's machine.
pub(crate) type Inputs = mpsc::Sender<Input>;

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
            // Full or closed: the operation is over, or will end by its deadline.
            let _ = inputs.try_send(input);
        }
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        let from = self.from;
        self.give(Input::PeerDown(from));
    }
}
