//! Runs one operation: the machine [`Attempts`] decides, this file sends, waits and keeps time for it.
//!
//! **Promise.** The operation ends by its deadline. It is sent only as the machine says, with the attempt number the machine
//! says; what went wrong is told to the machine as exactly as it is known: *not sent*, *lost*, or the coordinator's own words.
//!
//! **Rules.**
//! - *Upon `Send`*: connect if need be and call; too little time left to get an answer is told as *not sent*. The time by which a blind
//!   write must begin travels as the node's clock shows it.
//! - *Upon an answer*: measure its node. *Upon silence, a broken connection or a failed connect*: suspect its node.
//! - *Upon the end*: drop the calls that are still out, which cancels them as far as that is possible.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use quorate_protocol::notes::Notes;
use quorate_protocol::outcome::{Failure, Outcome, Reason, Receipt};
use quorate_protocol::replica::Refusal;
use quorate_protocol::session::attempts::{
    AttemptOptions, Attempts, ClientEffect, ClientInput, ClientTimer, GaveUp, Nature, Sending, Trouble,
};
use quorate_protocol::{Attempt, Level, Tick};
use quorate_ring::NodeId;
use quorate_rpc::kv::{
    ChangeReply, ChangeRequest, Changed, ListRequest, OutcomeReply, OutcomeRequest, ReadReply, ReadRequest, WriteContext, WriteReply,
    WriteRequest,
};
use quorate_rpc::peer::KeysPage;
use tarpc::client::RpcError;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::clock::{Budget, micros};
use crate::error::Unreached;
use crate::link::{Channel, Link, LinkError, call_context};

/// A request as it travels.
pub(crate) trait Request: Clone + Send + Sync {
    type Reply: Send;
    /// What the operation is to whoever sends it again.
    fn nature(&self) -> Nature;

    /// The number of its first sending.
    fn first_attempt(&self) -> Attempt {
        Attempt(0)
    }

    /// The request with what differs from sending to sending; `begin_by` is in the ticks of the node it goes to.
    fn sent_as(&self, attempt: Attempt, begin_by: Option<u64>, micros_left: u64) -> Self;

    fn call(self, channel: &Channel, left: Duration) -> impl Future<Output = Result<Result<Self::Reply, Failure>, RpcError>> + Send;

    fn receipt(reply: &Self::Reply) -> Option<&Receipt>;

    /// Whether all clients should ask the same coordinator first.
    fn wants_ring_order(&self) -> bool {
        false
    }

    /// Whether the answer holds only if no other sending is answered otherwise.
    fn is_provisional(_: &Self::Reply) -> bool {
        false
    }
}

impl Request for ReadRequest {
    type Reply = ReadReply;

    fn nature(&self) -> Nature {
        Nature::Read
    }

    fn sent_as(&self, _: Attempt, _: Option<u64>, micros_left: u64) -> Self {
        Self { micros_left, ..self.clone() }
    }

    fn call(self, channel: &Channel, left: Duration) -> impl Future<Output = Result<Result<ReadReply, Failure>, RpcError>> + Send {
        channel.calls.read(call_context(left), self)
    }

    fn receipt(reply: &ReadReply) -> Option<&Receipt> {
        Some(&reply.receipt)
    }

    fn wants_ring_order(&self) -> bool {
        self.level == Some(Level::Linearizable)
    }
}

impl Request for WriteRequest {
    type Reply = WriteReply;

    /// A linearizable write is applied once, in its place in the order, whenever a sending of it begins.
    fn nature(&self) -> Nature {
        match self.context {
            _ if self.level == Some(Level::Linearizable) => Nature::Write,
            WriteContext::Blind => Nature::BlindWrite,
            WriteContext::Seen(_) | WriteContext::Concurrent => Nature::Write,
        }
    }

    /// A write under a name that was sent before begins as a retry.
    fn first_attempt(&self) -> Attempt {
        self.attempt
    }

    fn sent_as(&self, attempt: Attempt, begin_by: Option<u64>, micros_left: u64) -> Self {
        Self { attempt, begin_by, micros_left, ..self.clone() }
    }

    fn call(self, channel: &Channel, left: Duration) -> impl Future<Output = Result<Result<WriteReply, Failure>, RpcError>> + Send {
        channel.calls.write(call_context(left), self)
    }

    fn receipt(reply: &WriteReply) -> Option<&Receipt> {
        Some(&reply.receipt)
    }

    fn wants_ring_order(&self) -> bool {
        self.level == Some(Level::Linearizable)
    }
}

impl Request for ChangeRequest {
    type Reply = ChangeReply;

    fn nature(&self) -> Nature {
        Nature::Write
    }

    fn first_attempt(&self) -> Attempt {
        self.attempt
    }

    fn sent_as(&self, attempt: Attempt, _: Option<u64>, micros_left: u64) -> Self {
        Self { attempt, micros_left, ..self.clone() }
    }

    fn call(self, channel: &Channel, left: Duration) -> impl Future<Output = Result<Result<ChangeReply, Failure>, RpcError>> + Send {
        channel.calls.change(call_context(left), self)
    }

    fn receipt(reply: &ChangeReply) -> Option<&Receipt> {
        Some(&reply.receipt)
    }

    fn wants_ring_order(&self) -> bool {
        true
    }

    fn is_provisional(reply: &ChangeReply) -> bool {
        matches!(reply.changed, Changed::Conflict { recorded: false, .. })
    }
}

impl Request for OutcomeRequest {
    type Reply = OutcomeReply;

    fn nature(&self) -> Nature {
        if self.settle { Nature::Write } else { Nature::Read }
    }

    fn sent_as(&self, _: Attempt, _: Option<u64>, micros_left: u64) -> Self {
        Self { micros_left, ..self.clone() }
    }

    fn call(self, channel: &Channel, left: Duration) -> impl Future<Output = Result<Result<OutcomeReply, Failure>, RpcError>> + Send {
        channel.calls.outcome(call_context(left), self)
    }

    fn receipt(_: &OutcomeReply) -> Option<&Receipt> {
        None
    }

    fn wants_ring_order(&self) -> bool {
        true
    }
}

impl Request for ListRequest {
    type Reply = KeysPage;

    fn nature(&self) -> Nature {
        Nature::Read
    }

    fn sent_as(&self, _: Attempt, _: Option<u64>, micros_left: u64) -> Self {
        Self { micros_left, ..self.clone() }
    }

    fn call(self, channel: &Channel, left: Duration) -> impl Future<Output = Result<Result<KeysPage, Failure>, RpcError>> + Send {
        channel.calls.list(call_context(left), self)
    }

    fn receipt(_: &KeysPage) -> Option<&Receipt> {
        None
    }
}

/// How an operation failed, with all that its sendings brought to light.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    /// What a coordinator said last, even if other trouble came after it, or earlier if that told who holds the write.
    pub(crate) failure: Option<(NodeId, Failure)>,
    pub(crate) unreached: Vec<Unreached>,
    /// Nodes that it was sent to and that did not answer.
    pub(crate) silent: Vec<NodeId>,
    pub(crate) timed_out: bool,
}

/// What one sending brought.
enum Brought<R> {
    Answer(R),
    Failure(Failure),
    Unreached(Arc<LinkError>),
    TooLate,
    Lost,
}

/// What came of an operation.
pub(crate) struct Driven<R> {
    pub(crate) result: Result<R, Ended>,
    /// Whether some node could not be reached or broke off, even if another one answered.
    pub(crate) had_link_trouble: bool,
    /// How often it was sent to a node, connected or not.
    pub(crate) sendings: u32,
}

/// Sends `request` to the candidates, in order and as often as it takes. Ends by the budget's deadline.
///
/// # Panics
/// If there is no candidate.
pub(crate) async fn drive<R: Request>(
    request: &R,
    candidates: &[&Arc<Link>],
    options: AttemptOptions,
    budget: Budget,
    seed: u64,
) -> Driven<R::Reply> {
    let nodes = candidates.iter().map(|link| link.node).collect();
    let mut machine = Attempts::new(options, nodes, request.nature(), request.first_attempt(), budget.deadline, seed);
    let (mut notes, mut effects) = (Notes::default(), Vec::with_capacity(4));
    let mut timers = Timers::new(budget);
    let mut out = FuturesUnordered::new();
    let mut story = Story::default();
    let sleep = sleep_until(budget.end());
    tokio::pin!(sleep);
    machine.step(budget.started, ClientInput::Start, &mut effects, &mut notes);
    loop {
        for effect in effects.drain(..) {
            match effect {
                ClientEffect::Send { sending, to, attempt, begin_by } => {
                    let link = *candidates.iter().find(|link| link.node == to).expect("the machine sends to candidates");
                    story.sent.push(Sent { link, is_out: true });
                    out.push(async move { (sending, send(link, request, attempt, begin_by, budget).await) });
                }
                ClientEffect::SetTimer(timer, at) => timers.set(timer, at),
                ClientEffect::Finish(end) => {
                    let had_link_trouble = story.had_link_trouble();
                    let sendings = u32::try_from(story.sent.len()).unwrap_or(u32::MAX);
                    return Driven { result: end.map_err(|gave_up| story.ended(gave_up)), had_link_trouble, sendings };
                }
            }
        }
        timers.arm(sleep.as_mut());
        let input = tokio::select! {
            biased;
            Some((sending, brought)) = out.next(), if !out.is_empty() => story.input::<R>(sending, brought, budget),
            () = sleep.as_mut() => ClientInput::Timer(timers.due()),
        };
        if let ClientInput::Timer(ClientTimer::Silence(sending)) = &input {
            story.silence(*sending);
        }
        machine.step(budget.clock.now(), input, &mut effects, &mut notes);
    }
}

/// One sending to one node, connecting if need be.
async fn send<R: Request>(link: &Arc<Link>, request: &R, attempt: Attempt, begin_by: Option<Tick>, budget: Budget) -> Brought<R::Reply> {
    let channel = match link.live() {
        Some(channel) => channel,
        None if budget.micros_left() == 0 => return Brought::TooLate,
        None => match timeout(budget.time_left(), link.channel()).await {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return Brought::Unreached(error),
            Err(_elapsed) => return Brought::TooLate,
        },
    };
    let begin_by = match begin_by {
        Some(tick) => match channel.tick_at(budget.clock.instant(tick), budget.time_left()).await {
            Ok(tick) => Some(tick),
            // Only the time was asked for so far.
            Err(RpcError::Server(_)) => return Brought::Failure(Failure::refused(Reason::Overloaded)),
            Err(RpcError::Send(_) | RpcError::Shutdown | RpcError::Channel(_) | RpcError::DeadlineExceeded) => {
                return Brought::Unreached(Arc::new(LinkError::Broken));
            }
        },
        None => None,
    };
    let micros_left = budget.micros_left();
    if micros_left == 0 {
        return Brought::TooLate;
    }
    let started = Instant::now();
    match request.sent_as(attempt, begin_by, micros_left).call(&channel, budget.time_left()).await {
        Ok(Ok(reply)) => {
            link.health.succeeded(micros(started.elapsed()));
            Brought::Answer(reply)
        }
        Ok(Err(failure)) => {
            if failure.reason == (Reason::Refused { refusal: Refusal::Expired }) {
                channel.came_late();
            }
            Brought::Failure(failure)
        }
        // So the node refuses requests above the number that one connection may have under way, before it looks at them.
        Err(RpcError::Server(_)) => Brought::Failure(Failure::refused(Reason::Overloaded)),
        // The frame was never begun.
        Err(RpcError::Send(_)) => Brought::Unreached(Arc::new(LinkError::Broken)),
        Err(RpcError::Shutdown | RpcError::Channel(_) | RpcError::DeadlineExceeded) => Brought::Lost,
    }
}

struct Sent<'a> {
    link: &'a Arc<Link>,
    is_out: bool,
}

/// What the sendings brought so far, for the error's text and the nodes' standing; the machine decides without it.
#[derive(Default)]
struct Story<'a> {
    sent: Vec<Sent<'a>>,
    failure: Option<(NodeId, Failure)>,
    unreached: Vec<Unreached>,
    silent: Vec<NodeId>,
}

impl Story<'_> {
    fn input<R: Request>(&mut self, sending: Sending, brought: Brought<R::Reply>, budget: Budget) -> ClientInput<R::Reply> {
        let sent = &mut self.sent[sending.0 as usize];
        sent.is_out = false;
        let (link, node) = (sent.link, sent.link.node);
        let trouble = match brought {
            Brought::Answer(reply) if R::is_provisional(&reply) => return ClientInput::Provisional(sending, reply),
            Brought::Answer(reply) => return ClientInput::Answered(reply),
            Brought::Failure(failure) => {
                link.health.trust();
                if failure.reason.is_retryable() && !matches!(failure.reason, Reason::Behind) {
                    link.health.avoid(budget.clock.now());
                }
                if self.failure.as_ref().is_none_or(|(_, told)| !tells_more(told, &failure)) {
                    self.failure = Some((node, failure.clone()));
                }
                Trouble::Failed(failure)
            }
            Brought::Unreached(error) => {
                self.unreached.retain(|unreached| unreached.node != node);
                self.unreached.push(Unreached { node, error });
                Trouble::NotSent
            }
            Brought::TooLate => Trouble::NotSent,
            Brought::Lost => {
                link.suspect(Arc::new(LinkError::Broken));
                self.silence_of(node);
                Trouble::Lost
            }
        };
        ClientInput::Troubled(sending, trouble)
    }

    /// A sending has been silent for long.
    fn silence(&mut self, sending: Sending) {
        let sent = &self.sent[sending.0 as usize];
        if sent.is_out {
            sent.link.suspect(Arc::new(LinkError::Silent));
        }
    }

    fn had_link_trouble(&self) -> bool {
        !self.unreached.is_empty() || !self.silent.is_empty()
    }

    fn silence_of(&mut self, node: NodeId) {
        if !self.silent.contains(&node) {
            self.silent.push(node);
        }
    }

    fn ended(mut self, gave_up: GaveUp) -> Ended {
        let out: Vec<NodeId> = self.sent.iter().filter(|sent| sent.is_out).map(|sent| sent.link.node).collect();
        for node in out {
            self.silence_of(node);
        }
        let Self { failure, unreached, silent, .. } = self;
        Ended { outcome: gave_up.outcome, failure, unreached, silent, timed_out: gave_up.timed_out }
    }
}

/// Whether an earlier failure says who holds the write and a later one does not, as a retry that could not even look does not.
fn tells_more(earlier: &Failure, later: &Failure) -> bool {
    earlier.outcome == Outcome::Unknown && earlier.answered().next().is_some() && later.answered().next().is_none()
}

/// The operation's timers, behind one sleeper.
struct Timers {
    budget: Budget,
    set: Vec<(Tick, ClientTimer)>,
}

impl Timers {
    fn new(budget: Budget) -> Self {
        Self { budget, set: Vec::with_capacity(2) }
    }

    fn set(&mut self, timer: ClientTimer, at: Tick) {
        self.set.push((at, timer));
    }

    fn arm(&self, mut sleep: std::pin::Pin<&mut Sleep>) {
        let next = self.set.iter().map(|(at, _)| *at).min().unwrap_or(self.budget.deadline);
        let at = self.budget.clock.instant(next);
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
    }

    /// Takes the timer that has gone off.
    fn due(&mut self) -> ClientTimer {
        let first = (0..self.set.len()).min_by_key(|index| self.set[*index].0);
        first.map_or(ClientTimer::Deadline, |index| self.set.swap_remove(index).1)
    }
}
