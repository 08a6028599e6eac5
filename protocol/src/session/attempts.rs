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
mod tests {
    use super::*;
    use crate::outcome::Reason;

    const DEADLINE: Tick = Tick(2_000_000);

    struct Story {
        machine: Attempts,
        out: Vec<ClientEffect<&'static str>>,
    }

    impl Story {
        fn begin(nature: Nature) -> Self {
            Self::of(AttemptOptions::default(), nature)
        }

        fn of(options: AttemptOptions, nature: Nature) -> Self {
            let candidates = vec![NodeId(1), NodeId(2), NodeId(3)];
            let mut story = Self { machine: Attempts::new(options, candidates, nature, Attempt(0), DEADLINE, 7), out: Vec::new() };
            story.step(ClientInput::Start);
            story
        }

        fn step(&mut self, input: ClientInput<&'static str>) -> Vec<ClientEffect<&'static str>> {
            self.machine.step(Tick(1), input, &mut self.out, &mut Notes::default());
            std::mem::take(&mut self.out)
        }

        fn fails(&mut self, sending: u32, trouble: Trouble) -> Vec<ClientEffect<&'static str>> {
            self.step(ClientInput::Troubled(Sending(sending), trouble))
        }
    }

    fn failed(reason: Reason, outcome: Outcome) -> Trouble {
        Trouble::Failed(Failure { reason, outcome, replicas: Vec::new() })
    }

    fn sent(effects: &[ClientEffect<&'static str>]) -> Option<(NodeId, Attempt)> {
        effects.iter().find_map(|effect| match effect {
            ClientEffect::Send { to, attempt, .. } => Some((*to, *attempt)),
            ClientEffect::SetTimer(..) | ClientEffect::Finish(_) => None,
        })
    }

    fn begin_by(effects: &[ClientEffect<&'static str>]) -> Option<Tick> {
        effects.iter().find_map(|effect| match effect {
            ClientEffect::Send { begin_by, .. } => *begin_by,
            ClientEffect::SetTimer(..) | ClientEffect::Finish(_) => None,
        })
    }

    fn ended(effects: &[ClientEffect<&'static str>]) -> Option<Outcome> {
        effects.iter().find_map(|effect| match effect {
            ClientEffect::Finish(Err(gave_up)) => Some(gave_up.outcome),
            ClientEffect::Finish(Ok(_)) | ClientEffect::Send { .. } | ClientEffect::SetTimer(..) => None,
        })
    }

    #[test]
    fn a_lost_write_is_sent_again_as_a_retry_and_a_refused_one_as_if_new() {
        let mut story = Story::begin(Nature::Write);
        let effects = story.fails(0, Trouble::NotSent);
        assert_eq!(sent(&effects), Some((NodeId(2), Attempt(0))));
        let effects = story.fails(1, Trouble::Lost);
        assert_eq!(sent(&effects), Some((NodeId(3), Attempt(1))));
    }

    #[test]
    fn a_lost_read_has_no_effect_to_be_unsure_of() {
        let mut story = Story::begin(Nature::Read);
        let effects = story.fails(0, Trouble::Lost);
        assert_eq!(sent(&effects), Some((NodeId(2), Attempt(0))));
        let effects = story.step(ClientInput::Timer(ClientTimer::Deadline));
        assert_eq!(ended(&effects), Some(Outcome::NotApplied));
    }

    #[test]
    fn a_definite_failure_after_a_lost_sending_stays_unknown() {
        let mut story = Story::begin(Nature::Write);
        story.fails(0, Trouble::Lost);
        let effects = story.fails(1, failed(Reason::InvalidContext, Outcome::NotApplied));
        assert_eq!(ended(&effects), Some(Outcome::Unknown));
    }

    #[test]
    fn a_definite_failure_of_the_only_sending_is_definite() {
        let mut story = Story::begin(Nature::Write);
        let effects = story.fails(0, failed(Reason::InvalidContext, Outcome::NotApplied));
        assert_eq!(ended(&effects), Some(Outcome::NotApplied));
    }

    #[test]
    fn an_operation_that_was_sent_before_is_never_known_not_to_be_applied() {
        let mut machine = Attempts::new(AttemptOptions::default(), vec![NodeId(1)], Nature::Write, Attempt(1), DEADLINE, 7);
        let mut out: Vec<ClientEffect<&'static str>> = Vec::new();
        machine.step(Tick(1), ClientInput::Start, &mut out, &mut Notes::default());
        assert_eq!(sent(&out), Some((NodeId(1), Attempt(1))));
        out.clear();
        let refused = ClientInput::Troubled(Sending(0), failed(Reason::InvalidContext, Outcome::NotApplied));
        machine.step(Tick(1), refused, &mut out, &mut Notes::default());
        assert_eq!(ended(&out), Some(Outcome::Unknown));
    }

    /// The first coordinator is slow, the second takes over; then the first says "not applied", which is true of itself alone.
    #[test]
    fn an_older_sendings_failure_says_nothing_about_the_newer_one() {
        let mut story = Story::begin(Nature::Write);
        let effects = story.step(ClientInput::Timer(ClientTimer::Silence(Sending(0))));
        assert_eq!(sent(&effects), Some((NodeId(2), Attempt(1))));
        assert!(story.fails(0, failed(Reason::Overloaded, Outcome::NotApplied)).is_empty());
        let effects = story.step(ClientInput::Answered("stored"));
        assert_eq!(effects, vec![ClientEffect::Finish(Ok("stored"))]);
    }

    #[test]
    fn nobody_is_sent_the_operation_again_while_it_has_not_answered() {
        let mut story = Story::begin(Nature::Write);
        story.step(ClientInput::Timer(ClientTimer::Silence(Sending(0))));
        story.fails(1, Trouble::NotSent);
        story.fails(2, Trouble::NotSent);
        let effects = story.step(ClientInput::Timer(ClientTimer::Backoff));
        assert_eq!(sent(&effects), Some((NodeId(2), Attempt(3))), "n1 is still out, n2 is next");
    }

    #[test]
    fn a_silent_write_is_unknown_at_the_deadline() {
        let mut story = Story::begin(Nature::Write);
        let effects = story.step(ClientInput::Timer(ClientTimer::Deadline));
        assert_eq!(ended(&effects), Some(Outcome::Unknown));
    }

    #[test]
    fn after_all_candidates_failed_the_next_round_waits_longer_each_time() {
        let mut story = Story::begin(Nature::Write);
        let mut waits = Vec::new();
        let mut sending = 0;
        for _ in 0..4 {
            for _ in 0..2 {
                assert!(sent(&story.fails(sending, Trouble::NotSent)).is_some());
                sending += 1;
            }
            let effects = story.fails(sending, Trouble::NotSent);
            let [ClientEffect::SetTimer(ClientTimer::Backoff, at)] = effects[..] else { panic!("a wait, not {effects:?}") };
            waits.push(at.since(Tick(1)));
            sending += 1;
            assert_eq!(sent(&story.step(ClientInput::Timer(ClientTimer::Backoff))), Some((NodeId(1), Attempt(0))));
        }
        assert!((5_000..=10_000).contains(&waits[0]) && (40_000..=80_000).contains(&waits[3]), "{waits:?}");
    }

    #[test]
    fn a_level_that_every_coordinator_calls_unreachable_fails_at_once() {
        let mut story = Story::begin(Nature::Write);
        let unreachable = || failed(Reason::Unreachable { needed: 2, alive: 1 }, Outcome::NotApplied);
        assert!(sent(&story.fails(0, Trouble::NotSent)).is_some());
        assert!(sent(&story.fails(1, unreachable())).is_some(), "another coordinator may see more");
        assert_eq!(ended(&story.fails(2, Trouble::NotSent)), Some(Outcome::NotApplied));
    }

    #[test]
    fn an_overloaded_coordinator_among_unreachable_ones_is_worth_another_round() {
        let mut story = Story::begin(Nature::Write);
        story.fails(0, failed(Reason::Unreachable { needed: 2, alive: 1 }, Outcome::NotApplied));
        story.fails(1, failed(Reason::Overloaded, Outcome::NotApplied));
        let effects = story.fails(2, Trouble::NotSent);
        assert!(matches!(effects[..], [ClientEffect::SetTimer(ClientTimer::Backoff, _)]), "{effects:?}");
    }

    /// Found by simulation: a first sending that began late replaced what another client had written after the retry was answered.
    #[test]
    fn a_blind_write_is_sent_again_only_when_its_first_sending_can_begin_no_more() {
        let mut story = Story::begin(Nature::BlindWrite);
        let effects = story.fails(0, Trouble::Lost);
        let [ClientEffect::SetTimer(ClientTimer::Backoff, at)] = effects[..] else { panic!("a wait, not {effects:?}") };
        assert_eq!(at, Tick(1 + AttemptOptions::default().begin_micros + 1));
        story.machine.step(at, ClientInput::Timer(ClientTimer::Backoff), &mut story.out, &mut Notes::default());
        assert_eq!(sent(&story.out), Some((NodeId(2), Attempt(1))));
    }

    /// A coordinator that is no home replica hands the write on, and may lose the way to who has it.
    #[test]
    fn what_a_coordinator_may_have_handed_on_may_still_begin() {
        let mut story = Story::begin(Nature::BlindWrite);
        let effects = story.fails(0, failed(Reason::TimedOut { needed: 2, answered: 0 }, Outcome::Unknown));
        let [ClientEffect::SetTimer(ClientTimer::Backoff, at)] = effects[..] else { panic!("a wait, not {effects:?}") };
        assert_eq!(at, Tick(1 + AttemptOptions::default().begin_micros + 1));
    }

    #[test]
    fn a_blind_write_can_begin_no_more_when_its_deadline_has_come() {
        let options = AttemptOptions::default();
        let deadline = Tick(options.begin_micros / 3);
        let mut machine = Attempts::new(options, vec![NodeId(1)], Nature::BlindWrite, Attempt(0), deadline, 7);
        let mut out: Vec<ClientEffect<&'static str>> = Vec::new();
        machine.step(Tick(1), ClientInput::Start, &mut out, &mut Notes::default());
        assert_eq!(begin_by(&out), Some(Tick(deadline.0 - 1)));
    }

    /// Its name is known only once it has failed.
    #[test]
    fn a_blind_write_under_a_known_name_waits_for_nobody() {
        let mut machine = Attempts::new(AttemptOptions::default(), vec![NodeId(1)], Nature::BlindWrite, Attempt(1), DEADLINE, 7);
        let mut out: Vec<ClientEffect<&'static str>> = Vec::new();
        machine.step(Tick(1), ClientInput::Start, &mut out, &mut Notes::default());
        assert_eq!((sent(&out), begin_by(&out)), (Some((NodeId(1), Attempt(1))), None));
    }

    #[test]
    fn a_failure_is_told_only_when_no_sending_can_begin_any_more() {
        let last = AttemptOptions { sendings_max: 1, ..AttemptOptions::default() };
        for (nature, trouble, outcome, waits) in [
            (Nature::BlindWrite, Trouble::Lost, Outcome::Unknown, true),
            (Nature::BlindWrite, failed(Reason::InvalidContext, Outcome::Unknown), Outcome::Unknown, true),
            (Nature::BlindWrite, failed(Reason::InvalidContext, Outcome::NotApplied), Outcome::NotApplied, false),
            (Nature::Write, Trouble::Lost, Outcome::Unknown, false),
            (Nature::Read, Trouble::Lost, Outcome::NotApplied, false),
        ] {
            let mut story = Story::of(last, nature);
            let mut effects = story.fails(0, trouble.clone());
            if waits {
                let [ClientEffect::SetTimer(ClientTimer::Backoff, at)] = effects[..] else { panic!("a wait, not {effects:?}") };
                assert_eq!(at, Tick(1 + last.begin_micros + 1), "{nature:?} {trouble:?}");
                story.machine.step(at, ClientInput::Timer(ClientTimer::Backoff), &mut story.out, &mut Notes::default());
                effects = std::mem::take(&mut story.out);
            }
            assert_eq!(ended(&effects), Some(outcome), "{nature:?} {trouble:?}");
        }
    }

    /// On a way longer than the time to begin, every sending would come too late.
    #[test]
    fn a_blind_write_that_came_too_late_is_given_more_time() {
        let mut story = Story::begin(Nature::BlindWrite);
        let effects = story.fails(0, failed(Reason::Refused { refusal: Refusal::Expired }, Outcome::NotApplied));
        assert_eq!(begin_by(&effects), Some(Tick(1 + 2 * AttemptOptions::default().begin_micros)));
    }

    fn answered(effects: &[ClientEffect<&'static str>]) -> Option<&'static str> {
        effects.iter().find_map(|effect| match effect {
            ClientEffect::Finish(Ok(answer)) => Some(*answer),
            ClientEffect::Finish(Err(_)) | ClientEffect::Send { .. } | ClientEffect::SetTimer(..) => None,
        })
    }

    #[test]
    fn an_unrecorded_answer_to_the_only_sending_is_final() {
        let mut story = Story::begin(Nature::Write);
        assert_eq!(answered(&story.step(ClientInput::Provisional(Sending(0), "conflict"))), Some("conflict"));
    }

    /// T5: the second sending is under way when the first says that the expectation did not hold; the second then applies the operation.
    #[test]
    fn an_unrecorded_answer_to_an_older_sending_is_ignored() {
        let mut story = Story::begin(Nature::Write);
        assert_eq!(sent(&story.step(ClientInput::Timer(ClientTimer::Silence(Sending(0))))), Some((NodeId(2), Attempt(1))));
        assert_eq!(story.step(ClientInput::Provisional(Sending(0), "conflict")), []);
        assert_eq!(answered(&story.step(ClientInput::Answered("applied"))), Some("applied"));
    }

    #[test]
    fn an_unrecorded_answer_counts_once_no_other_sending_can_have_an_effect() {
        let mut story = Story::begin(Nature::Write);
        story.step(ClientInput::Timer(ClientTimer::Silence(Sending(0))));
        let next = sent(&story.fails(1, Trouble::NotSent));
        assert_eq!(next, Some((NodeId(3), Attempt(2))));
        assert_eq!(sent(&story.fails(2, Trouble::NotSent)), None, "all have been asked, and the first is still out");
        assert_eq!(answered(&story.step(ClientInput::Provisional(Sending(0), "conflict"))), Some("conflict"));
    }

    /// An earlier sending was lost and may have been applied, so the operation goes on until something is recorded.
    #[test]
    fn an_unrecorded_answer_after_a_lost_sending_makes_the_operation_go_on() {
        let mut story = Story::begin(Nature::Write);
        assert_eq!(sent(&story.fails(0, Trouble::Lost)), Some((NodeId(2), Attempt(1))));
        assert_eq!(sent(&story.step(ClientInput::Provisional(Sending(1), "conflict"))), Some((NodeId(3), Attempt(2))));
    }

    #[test]
    fn the_planted_bug_trusts_the_unrecorded_answer_to_an_older_sending() {
        let mut story = Story::begin(Nature::Write);
        story.machine.options.options.defect = Some(Defect::UnrecordedFailureTrusted);
        story.step(ClientInput::Timer(ClientTimer::Silence(Sending(0))));
        assert_eq!(answered(&story.step(ClientInput::Provisional(Sending(0), "conflict"))), Some("conflict"));
    }

    #[test]
    fn an_operation_that_was_settled_is_not_applied_whatever_became_of_its_sendings() {
        let mut story = Story::begin(Nature::Write);
        story.fails(0, Trouble::Lost);
        assert_eq!(ended(&story.fails(1, failed(Reason::Fenced, Outcome::NotApplied))), Some(Outcome::NotApplied));
    }

    #[test]
    fn a_function_that_does_not_apply_is_final_when_it_is_recorded() {
        let why = crate::chain::state::Inapplicable::NotANumber;
        let mut story = Story::begin(Nature::Write);
        story.fails(0, Trouble::Lost);
        let recorded = failed(Reason::Inapplicable { why }, Outcome::NotApplied);
        assert_eq!(ended(&story.fails(1, recorded)), Some(Outcome::NotApplied));
        let mut story = Story::begin(Nature::Write);
        story.step(ClientInput::Timer(ClientTimer::Silence(Sending(0))));
        assert_eq!(
            story.fails(0, failed(Reason::Inapplicable { why }, Outcome::NotApplied)),
            [],
            "the newer sending may be answered otherwise"
        );
    }

    /// The second sending may have been applied, or may be yet: what the first one says counts for nothing, and ends nothing.
    #[test]
    fn an_unrecorded_function_that_does_not_apply_makes_the_operation_go_on() {
        let why = crate::chain::state::Inapplicable::NotANumber;
        let inapplicable = || failed(Reason::Inapplicable { why }, Outcome::NotApplied);
        let mut story = Story::begin(Nature::Write);
        story.step(ClientInput::Timer(ClientTimer::Silence(Sending(0))));
        assert_eq!(sent(&story.fails(1, Trouble::Lost)), Some((NodeId(3), Attempt(2))));
        assert_eq!(sent(&story.fails(2, Trouble::Lost)), None, "all have been asked, and the first is still out");
        assert_eq!(ended(&story.fails(0, inapplicable())), None);
        let effects = story.step(ClientInput::Timer(ClientTimer::Backoff));
        assert_eq!(sent(&effects), Some((NodeId(1), Attempt(3))));
        assert_eq!(ended(&story.fails(3, inapplicable())), Some(Outcome::NotApplied), "what a retry is answered is recorded");
        let mut story = Story::begin(Nature::Write);
        assert_eq!(ended(&story.fails(0, inapplicable())), Some(Outcome::NotApplied), "nobody else can be answered otherwise");
    }

    /// Whether an earlier sending was applied before a later operation of the lane nobody can say.
    #[test]
    fn a_superseded_retry_leaves_the_outcome_open() {
        let mut story = Story::begin(Nature::Write);
        story.fails(0, Trouble::Lost);
        assert_eq!(ended(&story.fails(1, failed(Reason::Superseded, Outcome::Unknown))), Some(Outcome::Unknown));
    }

    #[test]
    fn sendings_are_bounded() {
        let mut story = Story::begin(Nature::Write);
        for sending in 0..200 {
            let effects = story.fails(sending, Trouble::NotSent);
            if let Some(outcome) = ended(&effects) {
                assert_eq!((outcome, sending + 1), (Outcome::NotApplied, AttemptOptions::default().sendings_max));
                return;
            }
            story.step(ClientInput::Timer(ClientTimer::Backoff));
        }
        panic!("never gave up");
    }
}
