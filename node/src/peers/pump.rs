//! Moving requests from a peer's queue onto its connection, several in one message, and answers back.
//!
//! A message costs both sides more than what is in it. So before one goes its task yields to the scheduler, which as a rule runs what else is
//! ready, and does so up to [`TURNS_MAX`] times, as long as each turn brings more requests. On an idle node nothing else is ready, and a
//! request goes at once; the busier the node, the longer a turn, and the more requests share a message. Answers and heartbeats that come
//! meanwhile end a turn early and are handled after it.
//!
//! What is only told, and nobody waits for, goes with the next message for the peer, or after [`TOLD_WITHIN`] alone. Requests whose
//! answers wait for the disk go in other messages than those whose answers do not.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use quorate_protocol::Tick;
use quorate_protocol::replica::{Refusal, ReplicaReply};
use quorate_rpc::delay::Ways;
use quorate_rpc::kv::PeerTrouble;
use quorate_rpc::peer::{CALLS_MAX, Calls, PeerChannel, PeerRequest, PeerResponse, ReplicaCall};
use quorate_rpc::tarpc::client::RpcError;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::connection::context;
use super::heartbeat::{Beat, Heartbeat, beat};
use super::{Connection, Outgoing, Peer, ReplyTo};
use crate::node::Node;

/// How much longer a message may take than the operations in it: their own deadlines come first, and say that a silent peer timed
/// out rather than that it is down.
const MESSAGE_SLACK: Duration = Duration::from_millis(200);

/// Most bytes of keys and values in one message; a single request may be larger. Far below the frame limit, so that no message is
/// refused for its length, and small enough that a heartbeat behind it is not late.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Most messages under way to one peer. Beyond, requests wait in the queue, whose end says `Overloaded`.
const MESSAGES_MAX: usize = 256;

/// Turns of others that a message waits for at most.
const TURNS_MAX: usize = 3;

/// How long it may take until something is sent that is only told: that a state was chosen, which eventual reads then show.
const TOLD_WITHIN: Duration = Duration::from_millis(2);

/// What became of one message.
enum Sent {
    /// It was answered.
    Answered,
    /// It ran out of time, or could not be sent, alone.
    Settled,
    /// The connection is gone.
    Broken,
}

/// Serves a connection until it breaks; returns why. Requests in flight then are answered with `PeerDown`.
pub(super) async fn run(node: &Node, peer: &Peer, connection: &Connection, queue: &mut mpsc::Receiver<Outgoing>) -> PeerTrouble {
    let config = &node.config.peer;
    let mut heartbeat = Heartbeat::new(config.heartbeat_interval, config.heartbeat_timeout);
    let mut beats = FuturesUnordered::new();
    let mut ways = Ways::new(Instant::now());
    let mut messages = FuturesUnordered::new();
    let mut waiting = Vec::with_capacity(config.batch_max);
    let mut told = Told::default();
    let begin = |batch: Vec<Outgoing>| {
        node.metrics.messages.inc();
        node.metrics.replica_requests.inc_by(batch.len() as u64);
        send(connection.channel.clone(), batch, node.clock.tick())
    };
    loop {
        let has_room = messages.len() < MESSAGES_MAX;
        tokio::select! {
            received = queue.recv_many(&mut waiting, config.batch_max), if has_room => {
                if received == 0 {
                    return PeerTrouble::Broken;
                }
                gather(queue, &mut waiting, config.batch_max).await;
                if !peer.is_up() {
                    // Sent by somebody who saw it up a moment ago. Dropped, they are answered with `PeerDown`.
                    waiting.clear();
                }
                told.set_aside(&mut waiting, config.batch_max);
                messages.extend(batches(waiting.drain(..)).into_iter().map(begin));
            }
            () = sleep_until(told.due), if has_room && !told.requests.is_empty() => {
                messages.extend(batches(told.requests.drain(..)).into_iter().map(begin));
            }
            Some(sent) = messages.next() => match sent {
                Sent::Answered => heartbeat.heard(),
                Sent::Settled => {}
                Sent::Broken => return PeerTrouble::Broken,
            },
            () = heartbeat.due() => {
                if heartbeat.is_silent() {
                    peer.went_down(PeerTrouble::Silent);
                    messages.clear();
                }
                if heartbeat.is_in_vain() {
                    return PeerTrouble::Silent;
                }
                if beats.is_empty() {
                    beats.push(beat(connection.calls.clone(), heartbeat.timeout()));
                }
            }
            Some(outcome) = beats.next() => match outcome {
                Beat::Heard(pong, exchange) => {
                    heartbeat.heard();
                    peer.rtt_micros.store(exchange.round_trip_micros(), std::sync::atomic::Ordering::Relaxed);
                    node.metrics.peer_delays(peer.node, ways.measure(&exchange));
                    connection.clock.lock().hear(pong.tick, exchange.heard);
                    follow(node, peer, pong.hlc);
                    peer.came_up();
                }
                Beat::Missed => {}
                Beat::Broken => return PeerTrouble::Broken,
            },
        }
    }
}

/// Takes along what is asked for while others have their turns.
async fn gather<T>(queue: &mut mpsc::Receiver<T>, waiting: &mut Vec<T>, count_max: usize) {
    for _ in 0..TURNS_MAX {
        let before = waiting.len();
        if before >= count_max {
            return;
        }
        yield_now().await;
        while waiting.len() < count_max
            && let Ok(more) = queue.try_recv()
        {
            waiting.push(more);
        }
        if waiting.len() == before {
            return;
        }
    }
}

/// Follows a peer's clock, and says so when it is too far ahead to be followed.
fn follow(node: &Node, peer: &Peer, hlc: quorate_protocol::hlc::Hlc) {
    if let Err(too_far) = node.clock.observe(hlc) {
        tracing::warn!(peer = %peer.node, ahead_ms = too_far.ahead_ms, "clock of peer is ahead and is not followed");
    }
}

/// What is told and waits for company.
struct Told {
    requests: Vec<Outgoing>,
    /// When the first of them must go.
    due: Instant,
}

impl Default for Told {
    fn default() -> Self {
        Self { requests: Vec::new(), due: Instant::now() }
    }
}

impl Told {
    /// Takes out of `waiting` what is only told, or puts back into it what was set aside, if there is something that is not or there are
    /// `count_max` of them.
    fn set_aside(&mut self, waiting: &mut Vec<Outgoing>, count_max: usize) {
        let has_company = waiting.iter().any(|outgoing| outgoing.reply.is_awaited());
        if has_company || waiting.len() + self.requests.len() >= count_max {
            waiting.append(&mut self.requests);
        } else if !waiting.is_empty() {
            if self.requests.is_empty() {
                self.due = Instant::now() + TOLD_WITHIN;
            }
            self.requests.append(waiting);
        }
    }
}

/// Splits what waits into messages of requests whose answers wait for the disk and messages of others, none above [`MESSAGE_BYTES_MAX`] unless it holds one request.
fn batches(waiting: impl Iterator<Item = Outgoing>) -> Vec<Vec<Outgoing>> {
    let (slow, quick): (Vec<_>, Vec<_>) = waiting.partition(|outgoing| outgoing.call.request.waits_for_disk());
    let mut batches = Vec::new();
    for kind in [quick, slow] {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for outgoing in kind {
            let more = outgoing.call.bytes();
            if !batch.is_empty() && (bytes + more > MESSAGE_BYTES_MAX || batch.len() == CALLS_MAX) {
                batches.push(std::mem::take(&mut batch));
                bytes = 0;
            }
            bytes += more;
            batch.push(outgoing);
        }
        if !batch.is_empty() {
            batches.push(batch);
        }
    }
    batches
}

async fn send(channel: PeerChannel, batch: Vec<Outgoing>, now: Tick) -> Sent {
    let latest = batch.iter().map(|outgoing| outgoing.deadline).max().unwrap_or(now);
    let (calls, replies): (Vec<ReplicaCall>, Vec<ReplyTo>) = batch
        .into_iter()
        .map(|outgoing| {
            let micros_left = outgoing.deadline.since(now);
            (ReplicaCall { micros_left, ..outgoing.call }, outgoing.reply)
        })
        .unzip();
    let within = Duration::from_micros(latest.since(now)) + MESSAGE_SLACK;
    match channel.call(context(within), PeerRequest::Replica { calls: Calls(calls) }).await {
        Ok(PeerResponse::Replica(answers)) => {
            for (reply, answer) in replies.into_iter().zip(answers) {
                reply.answer(answer);
            }
            Sent::Answered
        }
        // No answer to what was asked.
        Ok(PeerResponse::Forward(_) | PeerResponse::Keys(_) | PeerResponse::Ping(_)) => Sent::Broken,
        // Their operations are over: nobody waits for these answers any more.
        Err(RpcError::DeadlineExceeded) => Sent::Settled,
        // The peer has too many calls of this connection: this message's trouble, not the connection's.
        Err(RpcError::Server(_)) => {
            replies.into_iter().for_each(ReplyTo::overloaded);
            Sent::Settled
        }
        // Too long for a frame.
        Err(RpcError::Send(_)) => {
            for reply in replies {
                reply.answer(ReplicaReply::Refused(Refusal::TooLarge));
            }
            Sent::Settled
        }
        Err(RpcError::Shutdown | RpcError::Channel(_)) => Sent::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_waits_for_company_a_few_turns_and_takes_no_more_than_fits() {
        let (sender, mut queue) = mpsc::channel(64);
        let mut waiting = vec![0];
        gather(&mut queue, &mut waiting, 64).await;
        assert_eq!(waiting, [0], "nobody else is ready");

        let producer = sender.clone();
        tokio::spawn(async move {
            for n in 1..=10 {
                producer.try_send(n).expect("room");
                yield_now().await;
            }
        });
        gather(&mut queue, &mut waiting, 64).await;
        assert_eq!(waiting.len(), 1 + TURNS_MAX, "one a turn");

        while queue.recv().await != Some(10) {}
        (1..=3).for_each(|n| sender.try_send(n).expect("room"));
        let mut waiting = vec![0];
        gather(&mut queue, &mut waiting, 2).await;
        assert_eq!((waiting, queue.len()), (vec![0, 1], 2));
    }
}
