//! Driving one operation's machine: carrying out its effects, feeding it what comes back.
//!
//! **Promise.** The machine is driven until it is done, also when the caller goes away: a dropped [`Drive`] goes on in the
//! background. tarpc aborts a handler whose caller has given up; a write's hints must be kept all the same.
//!
//! What goes on in the background holds values, at most [`BACKGROUND_BYTES_MAX`] of them. Beyond it an operation ends at once, as at
//! its deadline: a write keeps its hints now rather than later, a read leaves the repair to the next one.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc;
use futures::stream::FuturesUnordered;
use quorate_anti_entropy::{Hint, HintLimits, HintLoad};
use quorate_config::BucketProperties;
use quorate_protocol::chain::ChainRequest;
use quorate_protocol::eventual::read::{Read, ReadAnswer, ReadFailure};
use quorate_protocol::eventual::write::{Write, WriteFailure, Written};
use quorate_protocol::machine::{Effect, Input, Outbox, Timer};
use quorate_protocol::record::Role;
use quorate_protocol::replica::{Mint, Refusal, ReplicaReply, ReplicaRequest};
use quorate_protocol::{Level, Siblings, Tick};
use quorate_ring::NodeId;
use quorate_rpc::peer::ReplicaCall;
use tokio::time::sleep_until;

use super::repairs::Repairs;
use crate::metrics::Dropped;
use crate::node::Node;
use crate::peers::{Inputs, Outgoing, ReplyTo};
use crate::replica::{self, Answer, mint_here, refusal};
use crate::store::Commit;

/// Most bytes that operations hold behind their answers, of a whole node: what a replica that is silent, but not yet known to be, keeps
/// from being done. Some seconds of a fast network.
pub(crate) const BACKGROUND_BYTES_MAX: usize = 256 << 20;

/// What an operation holds beside its values, roughly, in bytes.
const OPERATION_BYTES: usize = 4 << 10;

/// A machine of one coordinated operation.
pub(crate) trait Machine: Send + Unpin + 'static {
    type Answer: Send + Unpin;
    /// Whether what it replicates are repairs of what it read.
    const REPAIRS: bool;
    fn step(&mut self, now: Tick, input: Input, out: &mut Outbox<Self::Answer>);
    fn is_done(&self) -> bool;
}

impl Machine for Read {
    type Answer = Result<ReadAnswer, ReadFailure>;
    const REPAIRS: bool = true;
    fn step(&mut self, now: Tick, input: Input, out: &mut Outbox<Self::Answer>) {
        Self::step(self, now, input, out);
    }
    fn is_done(&self) -> bool {
        Self::is_done(self)
    }
}

impl Machine for Write {
    type Answer = Result<Written, WriteFailure>;
    const REPAIRS: bool = false;
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
    pub(crate) level: Level,
    pub(crate) deadline: Tick,
    /// Of a first attempt to write blindly: the last tick at which what it replaces may be looked at.
    pub(crate) begin_by: Option<Tick>,
    /// Bytes of the value that is written.
    pub(crate) value_bytes: usize,
}

/// Whether nobody waits for the answer: it says nothing that its sender does not know.
pub(super) fn is_told(request: &ReplicaRequest) -> bool {
    matches!(request, ReplicaRequest::Chain { request: ChainRequest::Learn { .. }, .. })
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
    repairs: Repairs,
    /// Bytes of what was written or received.
    held_bytes: usize,
    ready: VecDeque<Input>,
    settling: FuturesUnordered<Settling>,
    timers: Vec<(Tick, Timer)>,
    inputs: Inputs,
    received: mpsc::UnboundedReceiver<Input>,
}

/// A [`Driver`] that outlives whoever waits for its answer.
pub(crate) struct Drive<M: Machine>(Option<Box<Driver<M>>>);

impl<M: Machine> Drive<M> {
    pub(crate) fn new(node: &Arc<Node>, subject: Subject, machine: M) -> Self {
        let (inputs, received) = mpsc::unbounded();
        Self(Some(Box::new(Driver {
            node: Arc::clone(node),
            repairs: Repairs::new(subject.level),
            held_bytes: OPERATION_BYTES + subject.key.len() + subject.value_bytes,
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
        if driver.is_over() || driver.has_not_begun() || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let held = u32::try_from(driver.held_bytes.min(BACKGROUND_BYTES_MAX)).expect("the limit has 32 bits");
        let Ok(room) = Arc::clone(&driver.node.background_room).try_acquire_many_owned(held) else {
            driver.node.metrics.cut_short.inc();
            return driver.cut_short();
        };
        let background = driver.node.background.clone();
        background.spawn(async move {
            let _room = room;
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

    fn has_not_begun(&self) -> bool {
        self.ready.front() == Some(&Input::Start)
    }

    /// Feeds the machine the next input there is, waiting for one if need be.
    async fn advance(&mut self) {
        let input = match self.ready.pop_front() {
            Some(input) => input,
            None => self.next_input().await,
        };
        self.step(input);
    }

    /// Ends the operation as its deadline would.
    fn cut_short(&mut self) {
        while let Some(input) = self.ready.pop_front() {
            self.step(input);
        }
        self.step(Input::Timer(Timer::Deadline));
    }

    fn step(&mut self, input: Input) {
        if let Input::Reply { from, reply } = &input {
            self.repairs.replied(*from, reply, &self.node.metrics);
            self.held_bytes += reply.bytes();
        }
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
                    sleep_until(self.node.clock.instant(at)).await;
                    timer
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(input) = self.received.next() => input,
            Some(input) = self.settling.next() => input,
            timer = timer => {
                self.timers.retain(|armed| Some(*armed) != due);
                Input::Timer(timer)
            }
        }
    }

    fn carry_out(&mut self, effect: Effect<M::Answer>) {
        if M::REPAIRS
            && let Effect::Send { to, request } = &effect
        {
            self.repairs.sent(*to, request, &self.node.metrics);
        }
        match effect {
            Effect::Send { to, request } if to == self.node.me() => self.send_here(request),
            Effect::Send { to, request } => self.send(to, request),
            Effect::Mint { mint, role } => self.mint(&mint, role),
            Effect::KeepHint { target, delta } => self.keep_hint(target, delta),
            Effect::SetTimer { timer, at } => self.timers.push((at, timer)),
            Effect::DrawBallot { .. } => unreachable!("neither reads nor eventual writes propose"),
            Effect::Finish(answer) => {
                self.repairs.answered();
                self.answer = Some(answer);
            }
        }
    }

    fn call(&self, request: ReplicaRequest) -> ReplicaCall {
        ReplicaCall { bucket: self.subject.bucket.id, key: self.subject.key.clone(), micros_left: 0, request }
    }

    fn send_here(&mut self, request: ReplicaRequest) {
        let from = self.node.me();
        let is_told = is_told(&request);
        match replica::serve(&self.node, &self.call(request), false) {
            _ if is_told => {}
            Answer::Now(reply) => self.ready.push_back(Input::Reply { from, reply }),
            Answer::After(commit, reply) => self.settle(commit, from, Input::Reply { from, reply }, refused),
        }
    }

    fn send(&self, to: NodeId, request: ReplicaRequest) {
        let reply = if is_told(&request) { ReplyTo::nobody(to) } else { ReplyTo::new(to, self.inputs.clone()) };
        match self.node.peers.peer(to) {
            Some(peer) => peer.send(Outgoing { call: self.call(request), deadline: self.subject.deadline, reply }),
            None => reply.down(),
        }
    }

    fn mint(&mut self, mint: &Mint, role: Role) {
        let from = self.node.me();
        match mint_here(&self.node, &self.subject, mint, role) {
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
                self.node.metrics.hint_stored(self.subject.level);
                self.settle(commit, target, Input::HintKept(target), |target, _| Input::HintRefused(target));
            }
            None => {
                self.node.metrics.hints_dropped(Dropped::Full, 1);
                self.ready.push_back(Input::HintRefused(target));
            }
        }
    }

    fn put_hint(&self, target: NodeId, delta: Siblings) -> Option<Commit> {
        let place = self.node.placement.place(&self.subject.bucket, &self.subject.key);
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
