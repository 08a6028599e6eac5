//! Driving the proposer of one key.
//!
//! **Promise.** Every operation that was handed over is answered, whether or not somebody still waits: who has given up waiting must
//! find his operation decided when he asks what became of it. This node's own replica speaks only once what it says is durable.
//!
//! **Rules.**
//! - *Upon an operation*: give it to the machine, which takes all that wait into one round.
//! - *Upon nothing left to do*: leave, with what lets the next proposer of the key begin in one round trip.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use futures::StreamExt;
use futures::channel::mpsc;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use quorate_protocol::Tick;
use quorate_protocol::chain::Ballot;
use quorate_protocol::chain::operation::{Answer as Answered, Done, NotDone, Ticket};
use quorate_protocol::chain::proposer::{Foothold, Proposer, ProposerPlan};
use quorate_protocol::machine::{Effect, Input, Outbox, Timer};
use quorate_protocol::notes::Mark;
use quorate_protocol::record::Role;
use quorate_protocol::replica::ReplicaRequest;
use quorate_ring::{NodeId, PreferenceList, RingEpoch};
use quorate_rpc::peer::ReplicaCall;
use tokio::sync::oneshot;
use tokio::time::sleep_until;

use super::Target;
use super::proposers::{Key, Submission, WAITING_MAX};
use crate::coordinator::drive::is_told;
use crate::node::Node;
use crate::peers::{Inputs, Outgoing, ReplyTo};
use crate::replica::{self, Answer};
use crate::store::StorageKey;
use crate::topology::Place;

/// How long the message may take that tells replicas what was chosen, in microseconds.
const TELL_MICROS: u64 = 1_000_000;

/// How long to wait for an answer before a message is sent again, in microseconds. Messages are lost with their connection only, which
/// is noticed; this is for what is lost otherwise.
const RESEND_MICROS: u64 = 250_000;

/// What a message and its answer take at least, in microseconds: the measure of how long beaten proposers wait.
const RTT_MICROS_MIN: u64 = 500;
const RTT_MICROS_MAX: u64 = 50_000;

/// Begins to serve a key. Ends by itself when there is nothing to do.
pub(super) fn start(node: &Arc<Node>, target: &Target, foothold: Option<Foothold>, submitted: mpsc::Receiver<Submission>) {
    let (at, target) = (Arc::clone(node), target.clone());
    node.background.spawn(async move { Box::new(Driver::new(&at, &target, foothold, submitted)).run().await });
}

/// Somebody who waits for an operation.
struct Waiter {
    deadline: Tick,
    answer: oneshot::Sender<Result<Done, NotDone>>,
}

/// The proposer of one key, at work.
struct Driver {
    node: Arc<Node>,
    key: Key,
    epoch: RingEpoch,
    homes: PreferenceList,
    machine: Proposer,
    outbox: Outbox<Answered>,
    waiting: BTreeMap<Ticket, Waiter>,
    deadlines: BTreeSet<(Tick, Ticket)>,
    /// The latest deadline of an operation taken in so far.
    until: Tick,
    tickets: u64,
    ready: VecDeque<Input>,
    /// Answers of this node's replica that are not durable yet.
    settling: FuturesUnordered<BoxFuture<'static, Input>>,
    /// The one timer of each kind; a newer one takes its place.
    timers: BTreeMap<Timer, Tick>,
    inputs: Inputs,
    received: mpsc::UnboundedReceiver<Input>,
    submitted: mpsc::Receiver<Submission>,
}

impl Driver {
    fn new(node: &Arc<Node>, target: &Target, foothold: Option<Foothold>, submitted: mpsc::Receiver<Submission>) -> Self {
        let Place { homes, partition, record } = node.placement.place(&target.bucket, &target.key);
        let accepted = || node.store.accepted(&StorageKey::new(partition, target.bucket.id, &target.key)).ok();
        let plan = ProposerPlan {
            me: node.me(),
            epoch: record.epoch,
            homes: homes.clone(),
            write_mode: record.write_mode,
            local: if record.role == Role::Home { accepted().flatten() } else { None },
            foothold,
            rtt_micros: node.peers.rtt_micros(&homes).clamp(RTT_MICROS_MIN, RTT_MICROS_MAX),
            resend_micros: RESEND_MICROS,
            options: node.options,
        };
        let now = node.clock.tick();
        let (inputs, received) = mpsc::unbounded();
        Self {
            node: Arc::clone(node),
            key: (target.bucket.id, target.key.clone()),
            epoch: record.epoch,
            homes,
            machine: Proposer::new(plan, now),
            outbox: Outbox::default(),
            waiting: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            until: now,
            tickets: 0,
            ready: VecDeque::new(),
            settling: FuturesUnordered::new(),
            timers: BTreeMap::new(),
            inputs,
            received,
            submitted,
        }
    }

    async fn run(mut self: Box<Self>) {
        loop {
            while let Some(input) = self.ready.pop_front() {
                self.step(input);
            }
            if !self.machine.is_idle() {
                self.advance().await;
            } else if let Some(submission) = self.node.proposers.leave(&self.key, &mut self.submitted, &self.machine) {
                self.submit(submission);
            } else {
                return;
            }
        }
    }

    /// Waits for the next thing to happen while operations are under way.
    async fn advance(&mut self) {
        let timer = self.timers.iter().map(|(timer, at)| (*at, *timer)).min();
        let deadline = self.deadlines.first().map(|(at, _)| (*at, Timer::Deadline));
        let due = timer.into_iter().chain(deadline).min();
        let (at, timer) = due.unwrap_or((self.until, Timer::Deadline));
        tokio::select! {
            biased;
            Some(submission) = self.submitted.next(), if self.waiting.len() < WAITING_MAX => self.submit(submission),
            Some(input) = self.received.next() => self.step(input),
            Some(input) = self.settling.next() => self.step(input),
            () = sleep_until(self.node.clock.instant(at)) => {
                self.timers.remove(&timer);
                self.step(Input::Timer(timer));
            }
        }
    }

    fn submit(&mut self, submission: Submission) {
        let Submission { operation, answer } = submission;
        self.tickets += 1;
        let (ticket, deadline) = (Ticket(self.tickets), operation.deadline);
        self.waiting.insert(ticket, Waiter { deadline, answer });
        self.deadlines.insert((deadline, ticket));
        self.until = self.until.max(deadline);
        let down = self.node.peers.down(&self.homes);
        self.machine.submit(self.node.clock.tick(), ticket, operation, down, &mut self.outbox);
        self.carry_out();
    }

    fn step(&mut self, input: Input) {
        self.machine.step(self.node.clock.tick(), input, &mut self.outbox);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        for mark in self.outbox.marks() {
            match mark {
                Mark::RoundContended => self.node.metrics.lin_contention.inc(),
                Mark::Absorbed => self.node.metrics.lin_absorptions.inc(),
                Mark::StickyRound => self.node.metrics.lin_sticky.inc(),
                _ => 0,
            };
        }
        for effect in self.outbox.drain() {
            match effect {
                Effect::Send { to, request } if to == self.node.me() => self.send_here(request),
                Effect::Send { to, request } => self.send(to, request),
                Effect::DrawBallot { seen } => self.draw(seen),
                // Deadlines go with those who wait.
                Effect::SetTimer { timer: Timer::Deadline, .. } => {}
                Effect::SetTimer { timer, at } => {
                    self.timers.insert(timer, at);
                }
                Effect::Finish((ticket, answer)) => self.answer(ticket, answer),
                Effect::Mint { .. } | Effect::KeepHint { .. } => unreachable!("a proposer neither mints nor keeps hints"),
            }
        }
    }

    fn draw(&mut self, seen: Ballot) {
        let drawn = self.node.proposers.draw(&self.node, self.epoch, seen);
        self.ready.push_back(drawn.map_or_else(
            |error| {
                tracing::error!(%error, "ballot cannot be followed: a proposer is broken");
                Input::BallotRefused
            },
            Input::Drawn,
        ));
    }

    fn answer(&mut self, ticket: Ticket, answer: Result<Done, NotDone>) {
        if let Ok(done) = &answer {
            self.node.metrics.lin_rounds.observe(f64::from(done.receipt.rounds));
        }
        if let Some(waiter) = self.waiting.remove(&ticket) {
            self.deadlines.remove(&(waiter.deadline, ticket));
            // Whoever has given up waiting may still ask what became of it.
            let _ = waiter.answer.send(answer);
        }
    }

    fn call(&self, request: ReplicaRequest) -> ReplicaCall {
        ReplicaCall { bucket: self.key.0, key: self.key.1.clone(), micros_left: 0, request }
    }

    fn send_here(&mut self, request: ReplicaRequest) {
        let (from, is_told) = (self.node.me(), is_told(&request));
        match replica::serve(&self.node, &self.call(request), false) {
            _ if is_told => {}
            Answer::Now(reply) => self.ready.push_back(Input::Reply { from, reply }),
            answer @ Answer::After(..) => {
                self.settling.push(Box::pin(async move { Input::Reply { from, reply: answer.settled().await } }));
            }
        }
    }

    fn send(&self, to: NodeId, request: ReplicaRequest) {
        let reply = if is_told(&request) { ReplyTo::nobody(to) } else { ReplyTo::new(to, self.inputs.clone()) };
        let deadline = self.until.max(self.node.clock.tick().after(TELL_MICROS));
        match self.node.peers.peer(to) {
            Some(peer) => peer.send(Outgoing { call: self.call(request), deadline, reply }),
            None => reply.down(),
        }
    }
}
