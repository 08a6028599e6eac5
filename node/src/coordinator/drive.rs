//! Driving one operation's machine: carrying out its effects, feeding it what comes back.
//!
//! **Promise.** The machine is driven until it is done, also when the caller goes away: a dropped [`Drive`] goes on in the
//! background. tarpc aborts a handler whose caller has given up; a write's hints must be kept all the same.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use quorate_anti_entropy::{Hint, HintLimits, HintLoad};
use quorate_config::BucketProperties;
use quorate_protocol::eventual::read::{Read, ReadAnswer, ReadFailure};
use quorate_protocol::eventual::write::{Write, WriteFailure, Written};
use quorate_protocol::machine::{Effect, Input, Outbox, Timer};
use quorate_protocol::record::Role;
use quorate_protocol::replica::{Mint, Refusal, ReplicaReply, ReplicaRequest};
use quorate_protocol::{Siblings, Tick};
use quorate_ring::NodeId;
use quorate_rpc::peer::ReplicaCall;
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use crate::node::Node;
use crate::peers::{INPUTS_MAX, Inputs, Outgoing, ReplyTo};
use crate::replica::{self, Answer, mint_here, refusal};
use crate::store::Commit;

/// A machine of one coordinated operation.
pub(crate) trait Machine: Send + Unpin + 'static {
    type Answer: Send + Unpin;
    fn step(&mut self, now: Tick, input: Input, out: &mut Outbox<Self::Answer>);
    fn is_done(&self) -> bool;
}

impl Machine for Read {
    type Answer = Result<ReadAnswer, ReadFailure>;
    fn step(&mut self, now: Tick, input: Input, out: &mut Outbox<Self::Answer>) {
        Self::step(self, now, input, out);
    }
    fn is_done(&self) -> bool {
        Self::is_done(self)
    }
}

impl Machine for Write {
    type Answer = Result<Written, WriteFailure>;
    fn step(&mut self, now: Tick, input: Input, out: &mut Outbox<Self::Answer>) {
        Self::step(self, now, input, out);
    }
    fn is_done(&self) -> bool {
        Self::is_done(self)
    }
}

/// What the operation is about.
#[derive(Clone)]
pub(crate) struct Subject {
    pub(crate) bucket: Arc<BucketProperties>,
    pub(crate) key: Bytes,
    pub(crate) strict: bool,
    pub(crate) deadline: Tick,
}

/// Something local that becomes an input once it is durable.
struct Settling {
    commit: Commit,
    durable: Option<Input>,
    failed: fn(NodeId, Refusal) -> Input,
    about: NodeId,
}

impl Future for Settling {
    type Output = Input;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Input> {
        let settled = std::task::ready!(Pin::new(&mut self.commit).poll(cx));
        Poll::Ready(match settled {
            Ok(()) => self.durable.take().expect("a settled future is not polled again"),
            Err(error) => (self.failed)(self.about, refusal(&error)),
        })
    }
}

/// One operation under way.
struct Driver<M: Machine> {
    node: Arc<Node>,
    subject: Subject,
    machine: M,
    outbox: Outbox<M::Answer>,
    answer: Option<M::Answer>,
    ready: VecDeque<Input>,
    settling: FuturesUnordered<Settling>,
    timers: Vec<(Tick, Timer)>,
    inputs: Inputs,
    received: mpsc::Receiver<Input>,
}

/// A [`Driver`] that outlives whoever waits for its answer.
pub(crate) struct Drive<M: Machine>(Option<Box<Driver<M>>>);

impl<M: Machine> Drive<M> {
    pub(crate) fn new(node: &Arc<Node>, subject: Subject, machine: M) -> Self {
        let (inputs, received) = mpsc::channel(INPUTS_MAX);
        Self(Some(Box::new(Driver {
            node: Arc::clone(node),
            subject,
            machine,
            outbox: Outbox::default(),
            answer: None,
            ready: VecDeque::from([Input::Start]),
            settling: FuturesUnordered::new(),
            timers: Vec::new(),
            inputs,
            received,
        })))
    }

    /// Runs until the machine has answered. What is left to do then goes on in the background.
    pub(crate) async fn answer(mut self) -> M::Answer {
        let driver = self.0.as_mut().expect("a drive is run once");
        loop {
            if let Some(answer) = driver.answer.take() {
                return answer;
            }
            driver.advance().await;
        }
    }
}

impl<M: Machine> Drop for Drive<M> {
    fn drop(&mut self) {
        let Some(mut driver) = self.0.take() else { return };
        if driver.is_over() || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let background = driver.node.background.clone();
        background.spawn(async move {
            while !driver.is_over() {
                driver.advance().await;
            }
        });
    }
}

impl<M: Machine> Driver<M> {
    fn is_over(&self) -> bool {
        self.machine.is_done() && self.ready.is_empty()
    }

    /// Feeds the machine the next input there is, waiting for one if need be.
    async fn advance(&mut self) {
        let input = match self.ready.pop_front() {
            Some(input) => input,
            None => self.next_input().await,
        };
        self.machine.step(self.node.clock.tick(), input, &mut self.outbox);
        for effect in self.outbox.drain() {
            self.carry_out(effect);
        }
    }

    async fn next_input(&mut self) -> Input {
        let due = self.timers.iter().copied().min();
        let timer = async {
            match due {
                Some((at, timer)) => {
                    sleep_until(self.node.clock.instant(at).into()).await;
                    timer
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(input) = self.received.recv() => input,
            Some(input) = self.settling.next() => input,
            timer = timer => {
                self.timers.retain(|armed| Some(*armed) != due);
                Input::Timer(timer)
            }
        }
    }

    fn carry_out(&mut self, effect: Effect<M::Answer>) {
        match effect {
            Effect::Send { to, request } if to == self.node.me() => self.send_here(request),
            Effect::Send { to, request } => self.send(to, request),
            Effect::Mint { mint, role } => self.mint(&mint, role),
            Effect::KeepHint { target, delta } => self.keep_hint(target, delta),
            Effect::SetTimer { timer, at } => self.timers.push((at, timer)),
            Effect::Finish(answer) => self.answer = Some(answer),
        }
    }

    fn call(&self, request: ReplicaRequest) -> ReplicaCall {
        ReplicaCall { bucket: self.subject.bucket.id, key: self.subject.key.clone(), micros_left: 0, request }
    }

    fn send_here(&mut self, request: ReplicaRequest) {
        let from = self.node.me();
        match replica::serve(&self.node, &self.call(request), false) {
            Answer::Now(reply) => self.ready.push_back(Input::Reply { from, reply }),
            Answer::After(commit, reply) => self.settle(commit, from, Input::Reply { from, reply }, refused),
        }
    }

    fn send(&self, to: NodeId, request: ReplicaRequest) {
        let reply = ReplyTo::new(to, self.inputs.clone());
        match self.node.peers.peer(to) {
            Some(peer) => peer.send(Outgoing { call: self.call(request), deadline: self.subject.deadline, reply }),
            None => reply.down(),
        }
    }

    fn mint(&mut self, mint: &Mint, role: Role) {
        let from = self.node.me();
        let Subject { bucket, key, strict, .. } = &self.subject;
        match mint_here(&self.node, bucket, key, mint, role, *strict) {
            Err(refusal) => self.ready.push_back(Input::MintRefused(refusal)),
            Ok((minted, commit)) => {
                self.ready.push_back(Input::Minted(minted));
                if let Some(commit) = commit {
                    self.settle(commit, from, Input::Reply { from, reply: ReplicaReply::Stored }, refused);
                }
            }
        }
    }

    fn keep_hint(&mut self, target: NodeId, delta: Siblings) {
        match self.put_hint(target, delta) {
            Some(commit) => {
                self.node.metrics.hints_stored.inc();
                self.settle(commit, target, Input::HintKept(target), |target, _| Input::HintRefused(target));
            }
            None => {
                self.node.metrics.hints_dropped.inc();
                self.ready.push_back(Input::HintRefused(target));
            }
        }
    }

    fn put_hint(&self, target: NodeId, delta: Siblings) -> Option<Commit> {
        let place = self.node.placement.place(self.subject.bucket.replicas, &self.subject.key);
        let hint = Hint {
            bucket: self.subject.bucket.id,
            key: self.subject.key.clone(),
            delta,
            epoch: place.record.epoch,
            kept_ms: self.node.clock.wall_ms(),
            only_copy: place.record.role == Role::Stranger,
        };
        let bytes = Bytes::from(postcard::to_stdvec(&hint).expect("a hint always encodes"));
        let limits = &self.node.config.hints;
        let limits = HintLimits { count_max: limits.per_peer_max as u64, bytes_max: limits.per_peer_bytes_max.as_u64() };
        let stats = self.node.store.hint_stats(target);
        if !limits.admit(HintLoad { count: stats.count as u64, bytes: stats.bytes }, bytes.len() as u64) {
            return None;
        }
        self.node.store.put_hint(target, bytes).ok()
    }

    fn settle(&mut self, commit: Commit, about: NodeId, durable: Input, failed: fn(NodeId, Refusal) -> Input) {
        if commit.is_durable() {
            self.ready.push_back(durable);
        } else {
            self.settling.push(Settling { commit, durable: Some(durable), failed, about });
        }
    }
}

fn refused(from: NodeId, refusal: Refusal) -> Input {
    Input::Reply { from, reply: ReplicaReply::Refused(refusal) }
}
