//! What other nodes may ask.
//!
//! Mutations go on when the caller gives up: only the wait for their sync is aborted, never the store's commit.

use std::sync::Arc;

use futures::future::join_all;
use quorate_protocol::outcome::Failure;
use quorate_protocol::replica::{Refusal, ReplicaReply};
use quorate_rpc::kv::{WriteReply, WriteRequest};
use quorate_rpc::peer::{KeysPage, KeysRequest, Peer, Pong, ReplicaCall};
use quorate_rpc::tarpc::context::Context;

use crate::coordinator;
use crate::node::Node;
use crate::replica::{self, Answer};

/// One other node's connection.
#[derive(Clone)]
pub(crate) struct PeerService(pub(crate) Arc<Node>);

impl Peer for PeerService {
    async fn replica(self, _: Context, calls: Vec<ReplicaCall>) -> Vec<ReplicaReply> {
        let node = &self.0;
        let begun = node.clock.tick();
        let mut answers = Vec::with_capacity(calls.len());
        for call in calls {
            let late = node.clock.tick().since(begun) >= call.micros_left;
            answers.push(if late { Answer::Now(ReplicaReply::Refused(Refusal::Expired)) } else { replica::serve(node, &call) });
        }
        join_all(answers.into_iter().map(Answer::settled)).await
    }

    async fn forward(self, _: Context, request: WriteRequest) -> Result<WriteReply, Failure> {
        coordinator::forwarded(&self.0, request).await
    }

    async fn keys(self, _: Context, request: KeysRequest) -> Result<KeysPage, Refusal> {
        coordinator::keys_here(&self.0, &request).await
    }

    async fn ping(self, _: Context) -> Pong {
        Pong { epoch: self.0.placement.epoch(), hlc: self.0.clock.stamp() }
    }
}
