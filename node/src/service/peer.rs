//! What other nodes may ask.
//!
//! Mutations go on when the caller gives up: only the wait for their sync is aborted, never the store's commit.

use std::sync::Arc;

use futures::future::join_all;
use quorate_protocol::limits::FRAME_BYTES_MAX;
use quorate_protocol::outcome::Failure;
use quorate_protocol::replica::{Refusal, ReplicaReply};
use quorate_rpc::kv::{WriteReply, WriteRequest};
use quorate_rpc::peer::{Calls, KeysPage, KeysRequest, Peer, Pong};
use quorate_rpc::tarpc::context::Context;
use tokio::task::coop::consume_budget;

use crate::coordinator;
use crate::node::Node;
use crate::replica::{self, Answer};

/// Most bytes of one answer, with room to the frame limit for what is not counted exactly.
const ANSWER_BYTES_MAX: usize = FRAME_BYTES_MAX - FRAME_BYTES_MAX / 4;

/// One other node's connection.
#[derive(Clone)]
pub(crate) struct PeerService {
    pub(crate) node: Arc<Node>,
    /// The connection carries hints.
    pub(crate) carries_hints: bool,
}

impl Peer for PeerService {
    async fn replica(self, _: Context, Calls(calls): Calls) -> Vec<ReplicaReply> {
        let node = &self.node;
        let begun = node.clock.tick();
        let mut answers = Vec::with_capacity(calls.len());
        for call in calls {
            // Many reads of the store in a row would hold up the thread for everybody else.
            consume_budget().await;
            let late = node.clock.tick().since(begun) >= call.micros_left;
            answers.push(if late {
                Answer::Now(ReplicaReply::Refused(Refusal::Expired))
            } else {
                replica::serve(node, &call, self.carries_hints)
            });
        }
        let mut answers = join_all(answers.into_iter().map(Answer::settled)).await;
        keep_within(&mut answers, ANSWER_BYTES_MAX);
        answers
    }

    async fn forward(self, _: Context, request: WriteRequest) -> Result<WriteReply, Failure> {
        Box::pin(coordinator::forwarded(&self.node, request)).await
    }

    async fn keys(self, _: Context, request: KeysRequest) -> Result<KeysPage, Refusal> {
        Box::pin(coordinator::keys_here(&self.node, &request)).await
    }

    async fn ping(self, _: Context) -> Pong {
        Pong { epoch: self.node.placement.epoch(), hlc: self.node.clock.stamp(), tick: self.node.clock.tick().0 }
    }
}

/// Refuses the states that would make the answer too long: those that come after others may be asked for again, one that is too long
/// alone cannot be sent at all.
fn keep_within(answers: &mut [ReplicaReply], bytes_max: usize) {
    let mut bytes = 0;
    for answer in answers {
        let more = answer.bytes();
        if more == 0 {
            continue;
        }
        if bytes + more <= bytes_max {
            bytes += more;
        } else {
            let refusal = if more > bytes_max { Refusal::TooLarge } else { Refusal::Overloaded };
            *answer = ReplicaReply::Refused(refusal);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quorate_protocol::hlc::Hlc;
    use quorate_protocol::{Actor, Body, Context, Dot, KeyEpoch, Siblings, Version};
    use quorate_ring::NodeId;

    use super::*;

    fn state(bytes: usize) -> ReplicaReply {
        let dot = Dot { actor: Actor::Node { node: NodeId(1), epoch: KeyEpoch(1) }, n: 1 };
        let version = Version { body: Body::Value(Bytes::from(vec![0; bytes])), hlc: Hlc(1), op: None };
        ReplicaReply::State { siblings: Siblings::delta(Context::empty(), dot, version) }
    }

    #[test]
    fn an_answer_that_would_be_too_long_is_cut_and_says_which_kind_of_too_long() {
        let mut answers = vec![state(600), state(600), ReplicaReply::Stored, state(5_000), state(10)];
        keep_within(&mut answers, 1_000);
        let refused = |refusal| ReplicaReply::Refused(refusal);
        assert_eq!(answers, [state(600), refused(Refusal::Overloaded), ReplicaReply::Stored, refused(Refusal::TooLarge), state(10)]);
    }
}
