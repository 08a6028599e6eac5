//! One operation of a client: which coordinator gets it, when it is sent again, and what its failure means.
//!
//! **Promise.** The operation ends once, by its deadline at the latest. It ends `NotApplied` only if no sending can have had
//! an effect; as long as one may have had or may yet have, it ends `Unknown`. A good answer ends it from whichever sending it
//! comes.
//!
//! **Rules.**
//! - *Upon start*: send to the first candidate.
//! - *Upon a failure that another coordinator or a little time may mend*: send to the next candidate; after the last one wait
//!   a while (doubling, jittered) and begin again. Failures that nothing mends end the operation.
//! - *Upon a whole round* in which coordinators only said that too few replicas can be reached, or were out of reach themselves: end
//!   at once. They know, and nothing was sent; whoever asks again decides when.
//! - *Upon silence* for the attempt time-out: send to the next candidate as well; the earlier sending stays valid. Nobody is sent the
//!   operation again while an earlier sending to the same node is unanswered: it would only compete with itself.
//! - *A sending's attempt number* grows exactly when some earlier sending of a mutation may have been applied. Such a retry makes its coordinator
//!   look for the operation before it writes; a sending after nothing but definite failures is as good as the first.
//! - *A blind write replaces what its coordinator has seen when it begins*, so a sending that began late, after a retry had been
//!   answered, would silently replace what others wrote since. Each sending of one that is no retry therefore says by when its
//!   coordinator must have begun, before the deadline in any case, and none is sent while an earlier one may still begin. A coordinator looks at
//!   its clock after it has loaded what the write will replace: a pause before that look refuses the sending, one after it changes nothing.
//! - *A failure is told* only when no sending can begin any more. Whoever retries the operation under its name, in this process or
//!   another, need not wait for it.
//! - *A coordinator that does not know what became of the operation* may have handed it on: what it handed on may still begin.
//! - *Upon a definite failure of an older sending while a newer one is out*: nothing; it says nothing about the newer one.
//! - *Upon an answer that no replica has recorded*, as a failed compare-and-set may be: it ends the operation only if no other sending
//!   can have had an effect or may have one yet. Otherwise that other one may still succeed, and the answer counts for nothing. The same
//!   goes for the failure that a function does not apply.
//! - *Upon a failure that is recorded under the operation's name*: end, whatever became of other sendings; all are answered so.
//! - *Upon the deadline*: end with the last failure heard of, if any.
//!
//! The rule on blind writes rests on clocks that run about equally fast, not on clocks that agree: nodes and clients compare their
//! monotonic clocks when they connect. With [`AttemptOptions::begin_micros`] well below [`AttemptOptions::silence_micros`] a difference in
//! rate of a third does no harm.
//!
//! Sources: Jepsen's Aerospike 3.99 analysis; JAVA-819 and CASSANDRA-9086 on retries that apply twice.

use quorate_ring::NodeId;

use crate::defect::Defect;
use crate::ids::{Attempt, Tick};
use crate::notes::{Mark, Notes};
use crate::options::Options;
use crate::outcome::{Failure, Outcome, Reason};
use crate::replica::Refusal;

/// How a client retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttemptOptions {
    /// Silence after which a further coordinator is asked, in microseconds. Choose above the slowest healthy answer: a retried
    /// write costs its coordinator a read.
    pub silence_micros: u64,
    /// Time from sending a blind write within which its coordinator must begin, in microseconds; the deadline ends it sooner. Choose above
    /// the usual way to a node, or every write is refused once first; and low, because so long a retry waits when a coordinator dies.
    pub begin_micros: u64,
    /// First wait after all candidates failed, in microseconds.
    pub backoff_micros_min: u64,
    /// Longest wait between rounds, in microseconds.
    pub backoff_micros_max: u64,
    /// Most sendings of one operation.
    pub sendings_max: u32,
    /// How to behave.
    pub options: Options,
}

impl Default for AttemptOptions {
    fn default() -> Self {
        Self {
            silence_micros: 700_000,
            begin_micros: 150_000,
            backoff_micros_min: 10_000,
            backoff_micros_max: 300_000,
            sendings_max: 32,
            options: Options::default(),
        }
    }
}

/// What an operation is to those who send it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nature {
    /// It has no effect.
    Read,
    /// It replaces what its client says, whenever it begins.
    Write,
    /// It replaces what its coordinator has seen when it begins.
    BlindWrite,
}

impl Nature {
    fn is_mutation(self) -> bool {
        matches!(self, Self::Write | Self::BlindWrite)
    }
}

/// Which sending of an operation, counted from 0. Unlike the attempt number it tells two sendings apart always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sending(pub u32);

/// Why a sending brought no good answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// No connection: the request did not leave the client.
    NotSent,
    /// The connection broke, or the request was lost, after it had been sent.
    Lost,
    /// The coordinator says what failed.
    Failed(Failure),
}

/// What happens to an operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClientInput<A> {
    /// Begin. Given once, first.
    Start,
    /// A coordinator gave a good answer.
    Answered(A),
    /// A coordinator answered that this sending did nothing, without having recorded that: another sending may be answered otherwise.
    Provisional(Sending, A),
    /// A sending failed.
    Troubled(Sending, Trouble),
    /// A timer went off.
    Timer(ClientTimer),
}

/// The timers of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClientTimer {
    /// This sending has been silent for long.
    Silence(Sending),
    /// Begin another round.
    Backoff,
    /// The total deadline.
    Deadline,
}

/// What the machine asks of its driver.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClientEffect<A> {
    /// Send the operation to a coordinator.
    Send {
        /// Which sending this is.
        sending: Sending,
        /// The coordinator.
        to: NodeId,
        /// What to write into the request.
        attempt: Attempt,
        /// Of a blind write that is no retry: when its coordinator must have begun it, in this client's ticks.
        begin_by: Option<Tick>,
    },
    /// Give this timer at this tick.
    SetTimer(ClientTimer, Tick),
    /// The operation ended.
    Finish(Result<A, GaveUp>),
}

/// How an operation ended without a good answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GaveUp {
    /// What is known of its effect.
    pub outcome: Outcome,
    /// The last thing that went wrong, if anything did before the deadline.
    pub last: Option<(NodeId, Trouble)>,
    /// How many times it was sent.
    pub sendings: u32,
    /// True when the deadline ended it.
    pub timed_out: bool,
}

/// One sending's fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fate {
    Out,
    NotApplied,
    /// Nobody has answered, or not the one who may have begun it.
    Unknown,
}

/// One sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Sent {
    to: NodeId,
    attempt: Attempt,
    fate: Fate,
    begin_by: Option<Tick>,
}

/// What the sendings of one round through the candidates brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Round {
    /// Some coordinator said that too few replicas can be reached for the level.
    unreachable: bool,
    /// Something went wrong that a little time may mend.
    hopeful: bool,
}

impl Round {
    fn note(&mut self, trouble: &Trouble) {
        match trouble {
            Trouble::NotSent => {}
            Trouble::Failed(Failure { reason: Reason::Unreachable { .. }, .. }) => self.unreachable = true,
            Trouble::Lost | Trouble::Failed(_) => self.hopeful = true,
        }
    }

    fn is_settled(self) -> bool {
        self.unreachable && !self.hopeful
    }
}

/// The machine of one client operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempts {
    options: AttemptOptions,
    candidates: Vec<NodeId>,
    nature: Nature,
    first: Attempt,
    deadline: Tick,
    seed: u64,
    sent: Vec<Sent>,
    attempt: Attempt,
    /// Time within which a coordinator must begin a blind write; longer after one was refused for it.
    begin_micros: u64,
    next_candidate: usize,
    rounds: u32,
    /// What the current round has brought.
    round: Round,
    waiting: bool,
    /// Where to go on after the wait; nowhere if it has failed, and waits only until no sending can begin.
    resume_at: Option<usize>,
    last: Option<(NodeId, Trouble)>,
    over: bool,
}

impl Attempts {
    /// Prepares an operation. `candidates` are the coordinators in order of preference; `first` is the number of its first sending,
    /// above 0 when somebody has sent it before; `seed` spreads the back-off.
    ///
    /// # Panics
    /// If there is no candidate.
    #[must_use]
    pub fn new(options: AttemptOptions, candidates: Vec<NodeId>, nature: Nature, first: Attempt, deadline: Tick, seed: u64) -> Self {
        assert!(!candidates.is_empty(), "an operation has somebody to go to");
        Self {
            options,
            candidates,
            nature,
            first,
            deadline,
            seed,
            sent: Vec::new(),
            attempt: first,
            begin_micros: options.begin_micros,
            next_candidate: 0,
            rounds: 0,
            round: Round::default(),
            waiting: false,
            resume_at: None,
            last: None,
            over: false,
        }
    }

    /// Advances the operation by one input; effects are appended to `out`.
    pub fn step<A>(&mut self, now: Tick, input: ClientInput<A>, out: &mut Vec<ClientEffect<A>>, notes: &mut Notes) {
        if self.over {
            return;
        }
        match input {
            ClientInput::Start => {
                out.push(ClientEffect::SetTimer(ClientTimer::Deadline, self.deadline));
                self.send_from(0, now, out);
            }
            ClientInput::Answered(answer) => {
                self.over = true;
                out.push(ClientEffect::Finish(Ok(answer)));
            }
            ClientInput::Provisional(sending, answer) => self.provisional(now, sending, answer, out, notes),
            ClientInput::Troubled(sending, trouble) => self.troubled(now, sending, trouble, out, notes),
            ClientInput::Timer(ClientTimer::Silence(sending)) => {
                let is_latest = sending.0 + 1 == self.sendings();
                if is_latest && self.fate(sending) == Some(Fate::Out) && !self.waiting && self.candidates.len() > 1 {
                    notes.sometimes(Mark::CoordinatorChanged);
                    self.send_next(now, out);
                }
            }
            ClientInput::Timer(ClientTimer::Backoff) if self.waiting => {
                self.waiting = false;
                match self.resume_at {
                    Some(first) => self.send_from(first, now, out),
                    None => self.fail(now, out),
                }
            }
            ClientInput::Timer(ClientTimer::Backoff) => {}
            ClientInput::Timer(ClientTimer::Deadline) => self.end(true, out),
        }
    }

    fn provisional<A>(&mut self, now: Tick, sending: Sending, answer: A, out: &mut Vec<ClientEffect<A>>, notes: &mut Notes) {
        if self.fate(sending) != Some(Fate::Out) {
            return;
        }
        self.sent[sending.0 as usize].fate = Fate::NotApplied;
        let is_final = !self.may_be_applied() || self.options.options.has(Defect::UnrecordedFailureTrusted);
        if is_final {
            self.over = true;
            out.push(ClientEffect::Finish(Ok(answer)));
        } else if !self.any_out() && !self.waiting {
            notes.sometimes(Mark::CoordinatorChanged);
            self.send_next(now, out);
        }
    }

    fn troubled<A>(&mut self, now: Tick, sending: Sending, trouble: Trouble, out: &mut Vec<ClientEffect<A>>, notes: &mut Notes) {
        if self.fate(sending) != Some(Fate::Out) {
            return;
        }
        let index = sending.0 as usize;
        let node = self.sent[index].to;
        let (fate, mendable) = match &trouble {
            Trouble::NotSent => (Fate::NotApplied, true),
            Trouble::Lost => (Fate::Unknown, true),
            Trouble::Failed(failure) => {
                if failure.reason == (Reason::Refused { refusal: Refusal::Expired }) {
                    self.begin_micros = self.begin_micros.saturating_mul(2);
                }
                let fate = if failure.outcome == Outcome::Unknown { Fate::Unknown } else { Fate::NotApplied };
                (fate, failure.reason.is_retryable())
            }
        };
        self.sent[index].fate = if self.nature.is_mutation() { fate } else { Fate::NotApplied };
        if let Trouble::Failed(failure) = &trouble
            && is_recorded(failure, self.sent[index].attempt)
        {
            self.over = true;
            let gave_up = GaveUp { outcome: Outcome::NotApplied, last: Some((node, trouble)), sendings: self.sendings(), timed_out: false };
            return out.push(ClientEffect::Finish(Err(gave_up)));
        }
        let newer_is_out = self.sent[index + 1..].iter().any(|sent| sent.fate == Fate::Out);
        if newer_is_out {
            return;
        }
        self.round.note(&trouble);
        self.last = Some((node, trouble));
        if !mendable && !self.wants_record() {
            return self.fail(now, out);
        }
        if !self.waiting {
            notes.sometimes(Mark::CoordinatorChanged);
            self.send_next(now, out);
        }
    }

    /// Whether the last trouble says that the operation does nothing, which another sending may be answered otherwise: a further one gets an
    /// answer that is recorded.
    fn wants_record(&self) -> bool {
        let unrecorded = matches!(&self.last, Some((_, Trouble::Failed(Failure { reason: Reason::Inapplicable { .. }, .. }))));
        unrecorded && self.may_be_applied()
    }

    /// Goes to the next candidate, or waits when all have been asked in this round.
    fn send_next<A>(&mut self, now: Tick, out: &mut Vec<ClientEffect<A>>) {
        if self.sendings() >= self.options.sendings_max {
            if !self.any_out() {
                self.fail(now, out);
            }
            return;
        }
        self.send_from(self.next_candidate + 1, now, out);
    }

    /// Sends to the first candidate from `first` on that has no sending out, or waits for another round.
    fn send_from<A>(&mut self, first: usize, now: Tick, out: &mut Vec<ClientEffect<A>>) {
        let is_out = |node: &NodeId| self.sent.iter().any(|sent| sent.to == *node && sent.fate == Fate::Out);
        let free = self.candidates.iter().skip(first).position(|node| !is_out(node));
        if let Some(position) = free {
            if let Some(begin_by) = self.may_begin_until().filter(|begin_by| now <= *begin_by) {
                return self.wait_until(begin_by.after(1), Some(first), out);
            }
            self.next_candidate = first + position;
            return self.send(now, out);
        }
        if self.round.is_settled() && !self.any_out() {
            return self.fail(now, out);
        }
        self.round = Round::default();
        let wait = self.backoff();
        self.rounds += 1;
        self.wait_until(now.after(wait), Some(0), out);
    }

    fn wait_until<A>(&mut self, at: Tick, resume_at: Option<usize>, out: &mut Vec<ClientEffect<A>>) {
        self.waiting = true;
        self.resume_at = resume_at;
        out.push(ClientEffect::SetTimer(ClientTimer::Backoff, at));
    }

    /// The last tick at which some earlier sending may still begin.
    fn may_begin_until(&self) -> Option<Tick> {
        if self.options.options.has(Defect::RetryOvertakesBlindWrite) {
            return None;
        }
        self.sent.iter().filter(|sent| sent.fate != Fate::NotApplied).filter_map(|sent| sent.begin_by).max()
    }

    fn send<A>(&mut self, now: Tick, out: &mut Vec<ClientEffect<A>>) {
        let may_have_been_applied = self.sent.iter().any(|sent| sent.fate != Fate::NotApplied);
        if self.nature.is_mutation() && may_have_been_applied {
            self.attempt = self.attempt.next();
        }
        let sending = Sending(self.sendings());
        let to = self.candidates[self.next_candidate];
        // A retry finds what became of the first try, or writes as if it had seen nothing: it may begin whenever it likes.
        let is_blind = self.nature == Nature::BlindWrite && !self.attempt.is_retry();
        let before_deadline = Tick(self.deadline.0.saturating_sub(1));
        let begin_by = is_blind.then(|| now.after(self.begin_micros).min(before_deadline));
        self.sent.push(Sent { to, attempt: self.attempt, fate: Fate::Out, begin_by });
        out.push(ClientEffect::Send { sending, to, attempt: self.attempt, begin_by });
        let silence = now.after(self.options.silence_micros);
        if silence < self.deadline {
            out.push(ClientEffect::SetTimer(ClientTimer::Silence(sending), silence));
        }
    }

    /// Ends without a good answer, as soon as no sending can begin any more.
    fn fail<A>(&mut self, now: Tick, out: &mut Vec<ClientEffect<A>>) {
        match self.may_begin_until().filter(|begin_by| now <= *begin_by) {
            Some(begin_by) => self.wait_until(begin_by.after(1), None, out),
            None => self.end(false, out),
        }
    }

    fn end<A>(&mut self, timed_out: bool, out: &mut Vec<ClientEffect<A>>) {
        self.over = true;
        let outcome = if self.nature.is_mutation() && self.may_be_applied() { Outcome::Unknown } else { Outcome::NotApplied };
        out.push(ClientEffect::Finish(Err(GaveUp { outcome, last: self.last.take(), sendings: self.sendings(), timed_out })));
    }

    /// Doubles with every round, and lies between half and the whole of it, by the seed.
    fn backoff(&self) -> u64 {
        let doubled = self.options.backoff_micros_min.saturating_mul(1 << self.rounds.min(16));
        let whole = doubled.min(self.options.backoff_micros_max).max(1);
        let mixed = self.seed.wrapping_add(u64::from(self.rounds)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        whole / 2 + (mixed >> 32) % (whole / 2 + 1)
    }

    fn sendings(&self) -> u32 {
        u32::try_from(self.sent.len()).expect("sendings are bounded by sendings_max")
    }

    fn fate(&self, sending: Sending) -> Option<Fate> {
        self.sent.get(sending.0 as usize).map(|sent| sent.fate)
    }

    /// Whether some sending, of whoever sent the operation, may have had an effect or may have one yet.
    fn may_be_applied(&self) -> bool {
        self.first.is_retry() || self.sent.iter().any(|sent| sent.fate != Fate::NotApplied)
    }

    fn any_out(&self) -> bool {
        self.sent.iter().any(|sent| sent.fate == Fate::Out)
    }
}

/// Whether every sending of the operation is answered so. A function that does not apply is recorded only if the coordinator had to
/// reckon with other sendings.
fn is_recorded(failure: &Failure, attempt: Attempt) -> bool {
    match failure.reason {
        Reason::Fenced => true,
        Reason::Inapplicable { .. } => attempt.is_retry() && failure.outcome == Outcome::NotApplied,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
