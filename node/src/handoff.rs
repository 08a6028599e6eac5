//! Delivering hints: the driver of `quorate_anti_entropy::handoff`, one task per peer.
//!
//! Hints travel over a connection of their own, so that a peer that comes back to many of them serves requests meanwhile.

mod departed;

pub(crate) use departed::departed;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_anti_entropy::{Handoff, HandoffEffect, HandoffInput, HandoffOptions, Hint};
use quorate_protocol::Tick;
use quorate_protocol::notes::Notes;
use quorate_protocol::replica::{ReplicaReply, ReplicaRequest};
use quorate_rpc::hello::Class;
use quorate_rpc::peer::{Calls, PeerClient, ReplicaCall};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use crate::metrics::Dropped;
use crate::node::Node;
use crate::peers::{Peer, context, dial};

/// How often a peer that is up is looked at for hints kept meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Longest wait for a batch of hints to be acknowledged.
const DELIVERY_DEADLINE: Duration = Duration::from_secs(10);

/// Delivers hints to every peer, as long as the node runs.
pub(crate) fn start(node: &Arc<Node>) {
    for peer in node.peers.all() {
        tokio::spawn(deliver(Arc::clone(node), Arc::clone(peer)));
    }
    tokio::spawn(departed::watch(Arc::clone(node)));
}

fn age_ms_max(node: &Node) -> u64 {
    u64::try_from(node.config.hints.age_max.as_millis()).unwrap_or(u64::MAX)
}

/// Bytes after which a message of hints is closed; the hint that reaches it still belongs to it.
const MESSAGE_BYTES_MAX: usize = 2 << 20;

struct Delivery {
    node: Arc<Node>,
    peer: Arc<Peer>,
    machine: Handoff,
    client: Option<PeerClient>,
    timer: Option<Tick>,
    /// No hint up to this number is kept any more.
    gone_to: u64,
    /// Hints above it whose removal may not have reached the store yet.
    gone: BTreeSet<u64>,
    /// Those of them whose removal the store has not taken yet.
    forgotten: Vec<u64>,
    /// Those that are about to be removed undelivered: nobody will ever take them.
    given_up: BTreeSet<u64>,
}

async fn deliver(node: Arc<Node>, peer: Arc<Peer>) {
    let hints = &node.config.hints;
    let options = HandoffOptions {
        batch_max: hints.replay_batch,
        backoff_micros_min: micros(hints.replay_backoff_min),
        backoff_micros_max: micros(hints.replay_backoff_max),
        age_ms_max: age_ms_max(&node),
        options: node.options,
    };
    let mut up = peer.watch();
    let stopping = node.stopping.clone();
    let mut delivery = Delivery {
        node,
        peer,
        machine: Handoff::new(options),
        client: None,
        timer: None,
        gone_to: 0,
        gone: BTreeSet::new(),
        forgotten: Vec::new(),
        given_up: BTreeSet::new(),
    };
    if *up.borrow_and_update() {
        delivery.input(HandoffInput::PeerUp).await;
    }
    // It goes on from round to round: whatever else happens more often must not put it off.
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let timer = delivery.timer;
        tokio::select! {
            changed = up.changed() => {
                if changed.is_err() {
                    return;
                }
                let input = if *up.borrow_and_update() { HandoffInput::PeerUp } else { HandoffInput::PeerDown };
                delivery.input(input).await;
            }
            () = wait_for(&delivery.node, timer) => {
                delivery.timer = None;
                delivery.input(HandoffInput::Timer).await;
            }
            _ = look.tick() => if delivery.has_kept() {
                delivery.input(HandoffInput::Kept).await;
            },
            () = stopping.cancelled() => return,
        }
    }
}

async fn wait_for(node: &Node, timer: Option<Tick>) {
    match timer {
        Some(at) => sleep_until(node.clock.instant(at)).await,
        None => std::future::pending().await,
    }
}

impl Delivery {
    fn has_kept(&self) -> bool {
        self.node.store.hint_stats(self.peer.node).count > 0
    }

    /// Feeds the machine, and everything that follows at once from it.
    async fn input(&mut self, input: HandoffInput) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut effects = Vec::new();
            self.machine.step(self.node.clock.tick(), input, &mut effects, &mut Notes::default());
            let mut batch = Vec::new();
            for effect in effects {
                match effect {
                    HandoffEffect::Load { count_max } => inputs.push_back(self.load(count_max)),
                    HandoffEffect::Send { seq, hint } => batch.push((seq, hint)),
                    HandoffEffect::Remove { seqs, expired } => self.remove(seqs, expired),
                    HandoffEffect::SetTimer(at) => self.timer = Some(at),
                }
            }
            if !batch.is_empty() {
                inputs.extend(self.send(batch).await);
            }
        }
    }

    fn load(&mut self, count_max: usize) -> HandoffInput {
        self.forget();
        let mut hints = Vec::new();
        while hints.is_empty() {
            let page = self.page(count_max);
            // Whatever lies before the page has left the store.
            self.gone = page.first().map_or_else(BTreeSet::new, |(first, _)| self.gone.split_off(first));
            let Some((last, _)) = page.last() else { break };
            let last = *last;
            for (seq, bytes) in page {
                if !self.gone.contains(&seq) {
                    hints.extend(self.decode(seq, &bytes).map(|hint| (seq, hint)));
                }
            }
            if hints.is_empty() {
                self.gone_to = last;
            }
        }
        HandoffInput::Loaded { hints, now_ms: self.node.clock.wall_ms() }
    }

    fn page(&self, count_max: usize) -> Vec<(u64, Bytes)> {
        self.node.store.hints(self.peer.node, self.gone_to, count_max).unwrap_or_else(|error| {
            tracing::error!(peer = %self.peer.node, %error, "hints could not be loaded");
            Vec::new()
        })
    }

    /// A hint that cannot be read is dropped: it is one of several ways for the replica to catch up.
    fn decode(&mut self, seq: u64, bytes: &Bytes) -> Option<Hint> {
        let decoded = postcard::from_bytes(bytes);
        if let Err(error) = &decoded {
            tracing::error!(peer = %self.peer.node, %error, "hint is damaged and dropped");
            self.given_up.insert(seq);
            self.remove(vec![seq], 0);
        }
        decoded.ok()
    }

    fn remove(&mut self, seqs: Vec<u64>, expired: usize) {
        self.gone.extend(&seqs);
        self.forgotten.extend(&seqs);
        let refused = seqs.iter().filter(|seq| self.given_up.remove(*seq)).count();
        let delivered = seqs.len() - expired - refused;
        self.node.metrics.hints_dropped(Dropped::Expired, expired as u64);
        self.node.metrics.hints_dropped(Dropped::Refused, refused as u64);
        self.node.metrics.hints_replayed.inc_by(delivered as u64);
        self.forget();
    }

    /// Removes what was delivered or dropped from the store; what the store does not take now, at the next look.
    fn forget(&mut self) {
        while let Some(seq) = self.forgotten.last().copied() {
            if let Err(error) = self.node.store.remove_hints(self.peer.node, [seq]) {
                tracing::debug!(peer = %self.peer.node, %error, "delivered hints are not removed yet");
                return;
            }
            self.forgotten.pop();
        }
    }

    /// Sends a batch, in messages that are not too long.
    async fn send(&mut self, batch: Vec<(u64, Hint)>) -> Vec<HandoffInput> {
        let mut inputs = Vec::with_capacity(batch.len());
        let mut hints = batch.into_iter().peekable();
        while hints.peek().is_some() {
            let (mut meta, mut calls, mut bytes) = (Vec::new(), Vec::new(), 0);
            while let Some((seq, hint)) = hints.next_if(|_| bytes < MESSAGE_BYTES_MAX) {
                meta.push((seq, hint.only_copy));
                let call = call(hint);
                bytes += call.bytes();
                calls.push(call);
            }
            let answers = self.call(calls).await.unwrap_or_default();
            let answers = answers.into_iter().map(Some).chain(std::iter::repeat(None));
            for ((seq, only_copy), answer) in meta.into_iter().zip(answers) {
                inputs.push(self.outcome(seq, only_copy, answer.as_ref()));
            }
        }
        inputs
    }

    /// What an answer means for a hint.
    fn outcome(&mut self, seq: u64, only_copy: bool, answer: Option<&ReplicaReply>) -> HandoffInput {
        let input = HandoffInput::answered(seq, only_copy, answer);
        if let (HandoffInput::Delivered(_), Some(ReplicaReply::Refused(refusal))) = (&input, answer) {
            tracing::warn!(peer = %self.peer.node, %refusal, "hint is given up");
            self.given_up.insert(seq);
        }
        input
    }

    async fn call(&mut self, calls: Vec<ReplicaCall>) -> Option<Vec<ReplicaReply>> {
        if self.client.is_none() {
            self.client = dial(&self.node, self.peer.node, &self.peer.address, Class::Bulk).await.ok().map(|connection| connection.calls);
        }
        let answers = self.client.as_ref()?.replica(context(DELIVERY_DEADLINE), Calls(calls)).await;
        if answers.is_err() {
            self.client = None;
        }
        answers.ok()
    }
}

fn call(hint: Hint) -> ReplicaCall {
    ReplicaCall {
        bucket: hint.bucket,
        key: hint.key,
        micros_left: micros(DELIVERY_DEADLINE),
        request: ReplicaRequest::Replicate { strict: None, delta: hint.delta },
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
