//! Answers that have not been written to their connection yet, bounded in bytes.
//!
//! **Promise.** However many requests a caller sends and however slowly it reads, the node holds at most [`UNSENT_BYTES_MAX`] of large
//! answers for its connection. Beyond it, an answer is replaced by `Overloaded`, which is small.
//!
//! **How.** An answer takes its bytes from the connection's budget when it is made, and carries them with it until it is written to
//! the socket's buffer or dropped on the way, because its caller gave up or left. The number of answers, small ones included, is
//! bounded by the requests of a connection (`IN_FLIGHT_MAX` of `quorate_rpc`).

use std::sync::Arc;

use bytes::Bytes;
use prometheus_client::metrics::gauge::Gauge;
use quorate_protocol::limits::FRAME_BYTES_MAX;
use quorate_protocol::outcome::{Failure, Reason};
use quorate_protocol::replica::{Refusal, ReplicaReply};
use quorate_rpc::kv::{ChangeReply, Changed, KeyValueResponse};
use quorate_rpc::peer::PeerResponse;
use quorate_rpc::tarpc::ServerError;
use quorate_rpc::tarpc::context::Context;
use quorate_rpc::tarpc::server::Serve;
use serde::{Serialize, Serializer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::Metrics;

/// Most bytes of large answers that wait for one connection: a few of the longest, so that a quick reader never meets the limit.
pub(crate) const UNSENT_BYTES_MAX: usize = 4 * FRAME_BYTES_MAX;

/// Answers up to this size are not counted: writes, statuses, refusals. Their number is bounded, and so are they.
const SMALL_BYTES: usize = 1 << 10;

/// An answer that knows how large it is.
pub(crate) trait Weighed {
    /// Roughly how many bytes of it another answer could do without.
    fn bytes(&self) -> usize;
    /// Replaces what is large by a refusal. The answers to mutations stay: what they say is true.
    fn refuse(&mut self);
}

impl Weighed for KeyValueResponse {
    fn bytes(&self) -> usize {
        match self {
            Self::Read(Ok(reply)) => reply.siblings.iter().map(|sibling| sibling.value.len()).sum(),
            Self::Change(Ok(ChangeReply { changed: Changed::Conflict { current: Some(values), .. }, .. })) => {
                values.iter().map(Bytes::len).sum()
            }
            Self::List(Ok(page)) => page.keys.iter().map(Bytes::len).sum(),
            Self::Metrics(text) => text.len(),
            Self::Read(Err(_))
            | Self::List(Err(_))
            | Self::Write(_)
            | Self::Change(_)
            | Self::Outcome(_)
            | Self::Topology(_)
            | Self::Status(_)
            | Self::Tick(_) => 0,
        }
    }

    fn refuse(&mut self) {
        match self {
            Self::Read(answer) => *answer = Err(Failure::refused(Reason::Overloaded)),
            Self::List(answer) => *answer = Err(Failure::refused(Reason::Overloaded)),
            Self::Metrics(text) => text.clear(),
            // What a conflict found need not be said.
            Self::Change(Ok(ChangeReply { changed: Changed::Conflict { current, .. }, .. })) => *current = None,
            Self::Write(_) | Self::Change(_) | Self::Outcome(_) | Self::Topology(_) | Self::Status(_) | Self::Tick(_) => {}
        }
    }
}

impl Weighed for PeerResponse {
    fn bytes(&self) -> usize {
        match self {
            Self::Replica(replies) => replies.iter().map(ReplicaReply::bytes).sum(),
            Self::Keys(Ok(page)) => page.keys.iter().map(Bytes::len).sum(),
            Self::Keys(Err(_)) | Self::Forward(_) | Self::Ping(_) => 0,
        }
    }

    fn refuse(&mut self) {
        match self {
            Self::Replica(replies) => {
                for state in replies.iter_mut().filter(|reply| reply.bytes() > 0) {
                    *state = ReplicaReply::Refused(Refusal::Overloaded);
                }
            }
            Self::Keys(answer) => *answer = Err(Refusal::Overloaded),
            Self::Forward(_) | Self::Ping(_) => {}
        }
    }
}

/// An answer on its way, with its share of the budget. On the wire it is the answer.
pub(crate) struct Unsent<A> {
    answer: A,
    _share: Option<Share>,
}

impl<A> Unsent<A> {
    /// What is answered.
    pub(crate) fn answer(&self) -> &A {
        &self.answer
    }
}

/// Bytes of the budget, given back when dropped.
struct Share {
    _permit: OwnedSemaphorePermit,
    bytes: i64,
    held: Gauge,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.held.dec_by(self.bytes);
    }
}

impl<A: Serialize> Serialize for Unsent<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.answer.serialize(serializer)
    }
}

/// A service of one connection whose unsent answers are bounded.
#[derive(Clone)]
pub(crate) struct Bounded<S> {
    service: S,
    budget: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl<S> Bounded<S> {
    /// Bounds the answers of a connection's service.
    pub(crate) fn new(service: S, metrics: Arc<Metrics>) -> Self {
        Self { service, budget: Arc::new(Semaphore::new(UNSENT_BYTES_MAX)), metrics }
    }

    /// Takes an answer's bytes from the budget, or makes it a refusal.
    fn weigh<A: Weighed>(&self, mut answer: A) -> Unsent<A> {
        let bytes = answer.bytes();
        if bytes <= SMALL_BYTES {
            return Unsent { answer, _share: None };
        }
        let permits = u32::try_from(bytes.min(UNSENT_BYTES_MAX)).expect("the budget has 32 bits");
        let Ok(permit) = Arc::clone(&self.budget).try_acquire_many_owned(permits) else {
            self.metrics.answers_refused.inc();
            answer.refuse();
            return Unsent { answer, _share: None };
        };
        let held = self.metrics.unsent_bytes.clone();
        held.inc_by(i64::from(permits));
        Unsent { answer, _share: Some(Share { _permit: permit, bytes: i64::from(permits), held }) }
    }
}

impl<S: Serve<Resp: Weighed> + Clone> Serve for Bounded<S> {
    type Req = S::Req;
    type Resp = Unsent<S::Resp>;

    async fn serve(self, context: Context, request: Self::Req) -> Result<Self::Resp, ServerError> {
        let answer = self.service.clone().serve(context, request).await?;
        Ok(self.weigh(answer))
    }
}

#[cfg(test)]
mod tests {
    use quorate_protocol::hlc::Hlc;
    use quorate_protocol::{Actor, Body, Context as Seen, Dot, KeyEpoch, Siblings, Version};
    use quorate_ring::NodeId;

    use super::*;
    use crate::times;

    fn state(bytes: usize) -> ReplicaReply {
        let dot = Dot { actor: Actor::Node { node: NodeId(1), epoch: KeyEpoch(1) }, n: 1 };
        let version = Version { body: Body::Value(Bytes::from(vec![0; bytes])), hlc: Hlc(1), op: None };
        ReplicaReply::State { siblings: Siblings::delta(Seen::empty(), dot, version) }
    }

    fn bounded() -> Bounded<()> {
        Bounded::new((), Arc::new(Metrics::new(std::iter::empty(), times::histogram())))
    }

    #[test]
    fn answers_beyond_the_budget_become_refusals_until_one_was_written() {
        let connection = bounded();
        let answer = || PeerResponse::Replica(vec![ReplicaReply::Stored, state(UNSENT_BYTES_MAX / 3)]);
        let refused = PeerResponse::Replica(vec![ReplicaReply::Stored, ReplicaReply::Refused(Refusal::Overloaded)]);
        let mut waiting: Vec<_> = (0..4).map(|_| connection.weigh(answer())).collect();
        let is_refused = |unsent: &Unsent<PeerResponse>| format!("{:?}", unsent.answer) == format!("{refused:?}");
        assert_eq!(waiting.iter().map(is_refused).collect::<Vec<_>>(), [false, false, true, true]);
        assert!(connection.metrics.unsent_bytes.get() <= i64::try_from(UNSENT_BYTES_MAX).expect("small"));
        waiting.remove(0);
        assert!(!is_refused(&connection.weigh(answer())), "what was written makes room");
        drop(waiting);
        assert_eq!(connection.metrics.unsent_bytes.get(), 0);
        assert_eq!(connection.metrics.answers_refused.get(), 2);
    }
}
