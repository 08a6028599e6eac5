//! One key's proposer on one node: the round by which linearizable operations change the key.
//!
//! **Promise.** An operation is answered once. It is answered with a decision only when a majority holds the state that contains the
//! decision, or when the decision changed nothing and the state it was read from is chosen. It fails as `NotApplied` only if no state
//! with it has left this node and nobody may have sent it before; otherwise as `Unknown`.
//!
//! **Rules.**
//! - Operations wait in one queue, so that they cannot compete with each other. A round takes all that wait when it begins. In buckets of
//!   linearizable writes only it takes those too that come before its second phase; elsewhere they wait for the next: the promises may
//!   be older than an eventual write that was acknowledged before such an operation was called.
//! - *First phase*: draw a ballot above all that was seen and ask every home replica to promise it. *Upon a majority of promises*: `S` is
//!   the highest state accepted among them, chosen or not. Take in the eventual versions that `S` has not seen, then apply the operations
//!   one after the other, each unless the state contains it already.
//! - *If nothing changed and `S` is known to be chosen*: answer. A single failed compare-and-set that nobody sent before needs no record.
//! - *Second phase*: ask every home replica to accept the new state. *Upon a majority*: it is chosen; answer, and tell the replicas.
//! - *Upon rejections that leave no majority*: wait, longer each time, and begin again at a new ballot. The operations may survive in
//!   somebody's hands; whether they did is read off the state of the next round, never guessed.
//! - *Upon an operation's deadline*: fail it. One that was in no second phase leaves the queue, and so is never applied.
//!
//! **One round trip.** In buckets of linearizable writes only, a second phase also asks for the promise of the proposer's next ballot; the
//! next operation then needs no first phase. Its replicas check that no eventual version came in between. With eventual writes
//! about, a write that was acknowledged before could survive the delete that came after it: there, the first phase comes first.
//!
//! **Invariants.** A ballot is used for one state and one sending of it, also when the answer never comes. The operations of dead
//! proposers are finished by whoever extends their state; nobody has to know.
//!
//! Sources: *CASPaxos* §2.2 and §3.1 (one-round-trip optimization); DDIA chapter 9; Jepsen's Aerospike 3.99 analysis.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quorate_ring::{NodeId, PreferenceList, RingEpoch};

use super::acceptor::{Accepted, Rejected};
use super::backoff::backoff_micros;
use super::ballot::Ballot;
use super::message::{ChainReply, ChainRequest, Promise};
use super::operation::{Answer, Decision, Done, NotDone, Operation, Step, Ticket};
use super::state::{Authorship, ChainState};
use super::timers::Timers;
use crate::defect::Defect;
use crate::eventual::report::Reports;
use crate::ids::{OpId, Tick};
use crate::level::{Level, majority};
use crate::machine::{Drawn, Effect, Input, Outbox, Timer};
use crate::notes::Mark;
use crate::options::Options;
use crate::outcome::{Outcome, Reason, Receipt};
use crate::record::WriteMode;
use crate::replica::{ReplicaReply, ReplicaRequest};
use crate::tally::{Tally, Verdict};

/// Everything that a proposer needs to know of its key and its node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProposerPlan {
    /// This node.
    pub me: NodeId,
    /// The ring epoch this node acts under.
    pub epoch: RingEpoch,
    /// The key's home replicas.
    pub homes: PreferenceList,
    /// Which writes the key's bucket takes.
    pub write_mode: WriteMode,
    /// What this node itself has accepted, if it is a home replica: need not be sent to it.
    pub local: Option<Accepted>,
    /// Where the key's proposer before this one, of the same start of the node, has left off.
    pub foothold: Option<Foothold>,
    /// About what a message to a home replica and its answer take, in microseconds.
    pub rtt_micros: u64,
    /// How long to wait for an answer before sending a message again, in microseconds.
    pub resend_micros: u64,
    /// How to behave.
    pub options: Options,
}

/// What lets a later proposer of the same node begin with one round trip. Used once: whoever takes it forgets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Foothold {
    /// The ballot of the state that was chosen last.
    pub chosen: Ballot,
    /// What those who accepted that state have promised with it.
    pub next: Ballot,
}

/// An operation that waits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Waiting {
    ticket: Ticket,
    operation: Operation,
    /// A state with it was sent to some replica.
    sent: bool,
    since: Tick,
    rounds: u16,
}

/// Where the round stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// Nobody waits.
    Idle,
    /// A ballot is asked for.
    Drawing,
    /// Promises are asked for.
    Preparing { drawn: Drawn, promises: BTreeMap<NodeId, Promise>, tally: Tally },
    /// A state is to be accepted.
    Accepting(Box<Accepting>),
    /// Beaten; waits for the next try.
    BackingOff,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Accepting {
    proposal: Accepted,
    next: Option<Ballot>,
    /// One-round-trip write: nothing was prepared.
    sticky: bool,
    tally: Tally,
    rejected: BTreeSet<NodeId>,
    steps: Vec<(Ticket, Step)>,
}

/// The machine of one key's linearizable changes on one node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proposer {
    plan: ProposerPlan,
    queue: VecDeque<Waiting>,
    phase: Phase,
    /// Highest ballot heard of.
    seen: Ballot,
    /// The latest state this node holds whole.
    known: Option<Accepted>,
    /// The ballot of the latest state that this proposer itself knows to be chosen.
    decided: Ballot,
    /// A ballot that a majority promised together with `known`, which they accepted.
    promised_next: Option<Ballot>,
    reports: Reports,
    down: BTreeSet<NodeId>,
    /// Some replica of this round has promised or accepted something higher.
    beaten: bool,
    defeats: u32,
    resends: u32,
    timers: Timers,
    /// Distinct states among the promises of the round.
    versions: usize,
}

type Out = Outbox<Answer>;

/// A proposer that waits asks again ever more seldom, up to this many doublings.
const RESEND_DOUBLINGS_MAX: u32 = 6;

impl Proposer {
    /// A proposer with an empty queue.
    #[must_use]
    pub fn new(plan: ProposerPlan, now: Tick) -> Self {
        let local = plan.local.as_ref().map_or(Ballot::ZERO, |local| local.ballot);
        // Somebody else's state may have come since, or another epoch.
        let foothold = plan.foothold.filter(|foothold| foothold.chosen == local && foothold.next.epoch == plan.epoch);
        Self {
            queue: VecDeque::new(),
            phase: Phase::Idle,
            seen: foothold.map_or(local, |foothold| foothold.next),
            known: plan.local.clone(),
            decided: foothold.map_or(Ballot::ZERO, |foothold| foothold.chosen),
            promised_next: foothold.map(|foothold| foothold.next),
            reports: Reports::new(plan.homes.clone(), now),
            down: BTreeSet::new(),
            beaten: false,
            defeats: 0,
            resends: 0,
            timers: Timers::default(),
            versions: 0,
            plan,
        }
    }

    /// True when nobody waits for anything.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// True when the next operation can do with one round trip.
    #[must_use]
    pub fn is_sticky(&self) -> bool {
        self.promised_next.is_some()
    }

    /// The highest ballot heard of: whoever proposes next is to draw above it.
    #[must_use]
    pub fn seen(&self) -> Ballot {
        self.seen
    }

    /// What to remember when this proposer has nothing left to do and is dropped.
    #[must_use]
    pub fn foothold(&self) -> Option<Foothold> {
        let next = self.promised_next.filter(|_| self.is_idle())?;
        self.known.as_ref().map(|known| Foothold { chosen: known.ballot, next })
    }

    /// The named operations of the state that is to be accepted now, and what became of each: for those who watch how a chain grows.
    pub fn underway(&self) -> impl Iterator<Item = (OpId, &Decision)> {
        let steps = if let Phase::Accepting(accepting) = &self.phase { accepting.steps.as_slice() } else { &[] };
        steps.iter().filter_map(|(ticket, step)| {
            let waiting = self.queue.iter().find(|waiting| waiting.ticket == *ticket)?;
            Some((waiting.operation.op?, &step.decision))
        })
    }

    /// Adds an operation to the queue. `down` are the home replicas known to be unreachable. Its answer comes as an [`Effect::Finish`] with
    /// its ticket, which must not be in use.
    pub fn submit(&mut self, now: Tick, ticket: Ticket, operation: Operation, down: BTreeSet<NodeId>, out: &mut Out) {
        self.down = down;
        self.timers.deadline_at(operation.deadline, out);
        self.queue.push_back(Waiting { ticket, operation, sent: false, since: now, rounds: 0 });
        if self.phase == Phase::Idle {
            self.begin(now, out);
        }
    }

    /// Advances the round by one input.
    pub fn step(&mut self, now: Tick, input: Input, out: &mut Out) {
        match input {
            Input::Drawn(drawn) => self.drawn(now, drawn, out),
            Input::BallotRefused if self.phase == Phase::Drawing => self.give_up_all(&Reason::Overloaded, out),
            Input::Reply { from, reply: ReplicaReply::Chain(reply) } => self.replied(now, from, *reply, out),
            Input::Reply { from, reply: ReplicaReply::Refused(refusal) } => {
                self.reports.refused(from, refusal, now);
                self.no(now, from, out);
            }
            Input::PeerDown(node) => {
                self.reports.down(node, now);
                self.no(now, node, out);
            }
            Input::Timer(Timer::Deadline) => self.deadline(now, out),
            Input::Timer(Timer::Resend) => self.resend(now, out),
            Input::Timer(Timer::Retry) if self.phase == Phase::BackingOff => self.begin(now, out),
            _ => {}
        }
    }

    /// Begins a round for those that wait.
    fn begin(&mut self, now: Tick, out: &mut Out) {
        if self.queue.is_empty() {
            self.phase = Phase::Idle;
            return;
        }
        self.reports = Reports::new(self.plan.homes.clone(), now);
        self.beaten = false;
        self.resends = 0;
        let alive = self.plan.homes.iter().filter(|node| !self.down.contains(node)).count();
        if alive < usize::from(self.needed()) {
            out.sometimes(Mark::Unreachable);
            self.down.iter().for_each(|node| self.reports.down(*node, now));
            return self.give_up_all(&Reason::Unreachable { needed: self.needed(), alive: small(alive) }, out);
        }
        self.phase = Phase::Drawing;
        out.push(Effect::DrawBallot { seen: self.seen });
    }

    fn needed(&self) -> u8 {
        let replicas = u8::try_from(self.plan.homes.len()).expect("a preference list holds at most REPLICAS_MAX nodes");
        majority(replicas)
    }

    fn tally(&mut self, now: Tick) -> Tally {
        let mut tally = Tally::new(self.plan.homes.clone(), self.needed(), self.plan.options);
        for node in &self.down {
            tally.no(*node);
            self.reports.down(*node, now);
        }
        tally
    }

    fn drawn(&mut self, now: Tick, drawn: Drawn, out: &mut Out) {
        if self.phase != Phase::Drawing {
            return;
        }
        self.queue.iter_mut().for_each(|waiting| waiting.rounds = waiting.rounds.saturating_add(1));
        let tally = self.tally(now);
        self.seen = self.seen.max(drawn.next);
        self.timers.resend_at(now.after(self.plan.resend_micros), out);
        if let Some((ballot, known)) = self.promised_next.take().zip(self.known.clone()) {
            // The promise is used up before the state leaves, whatever becomes of it.
            out.sometimes(Mark::StickyRound);
            let author = Authorship { ballot, hlc: drawn.hlc, op: None };
            let (state, steps) = self.evaluate(&known.state.clone(), author);
            let proposal = Accepted { ballot, state };
            let accepting = Accepting { proposal, next: Some(drawn.ballot), sticky: true, tally, rejected: BTreeSet::new(), steps };
            return self.accept(accepting, out);
        }
        self.phase = Phase::Preparing { drawn, promises: BTreeMap::new(), tally };
        let request = self.prepare(drawn.ballot);
        self.send_to_all(&request, out);
    }

    fn prepare(&self, ballot: Ballot) -> ChainRequest {
        ChainRequest::Prepare { ballot, known: self.known.as_ref().map_or(Ballot::ZERO, |known| known.ballot) }
    }

    fn send_to_all(&mut self, request: &ChainRequest, out: &mut Out) {
        let homes: Vec<NodeId> = self.plan.homes.iter().filter(|node| !self.down.contains(node)).collect();
        for node in homes {
            self.reports.asked(node);
            self.send(node, request.clone(), out);
        }
    }

    fn send(&self, to: NodeId, request: ChainRequest, out: &mut Out) {
        out.push(Effect::Send { to, request: ReplicaRequest::Chain { epoch: self.plan.epoch, request } });
    }

    fn replied(&mut self, now: Tick, from: NodeId, reply: ChainReply, out: &mut Out) {
        match reply {
            ChainReply::Promised { ballot, promise } => self.promised(now, from, ballot, promise, out),
            ChainReply::Accepted { ballot } => self.accepted(now, from, ballot, out),
            ChainReply::Dirty { ballot } if self.is_accepting(ballot) => {
                self.beaten = true;
                self.refused(from);
                self.no(now, from, out);
            }
            ChainReply::Dirty { ballot } => self.teach(from, ballot, out),
            ChainReply::Rejected(Rejected { ballot, limit }) => {
                self.seen = self.seen.max(limit);
                // A replica that has accepted at this ballot rejects the late copy of its `Prepare`: nobody was faster.
                let is_late = limit <= ballot;
                if (self.is_accepting(ballot) || self.is_preparing(ballot)) && !is_late {
                    self.beaten = true;
                    self.reports.answered(from, now);
                    self.refused(from);
                    self.no(now, from, out);
                } else {
                    self.teach(from, ballot, out);
                }
            }
            ChainReply::View(_) | ChainReply::Learned => {}
        }
    }

    /// A replica does not hold the state that is to be accepted.
    fn refused(&mut self, node: NodeId) {
        if let Phase::Accepting(accepting) = &mut self.phase {
            accepting.rejected.insert(node);
        }
    }

    /// A replica has rejected what was chosen without it, and so could make nothing of the news that it was.
    fn teach(&self, node: NodeId, ballot: Ballot, out: &mut Out) {
        // What this node had accepted before the proposer was made need not be chosen.
        if let Some(known) = self.known.as_ref().filter(|known| known.ballot == ballot && ballot == self.decided) {
            self.send(node, ChainRequest::Learn { ballot, state: Some(known.state.clone()) }, out);
        }
    }

    fn is_preparing(&self, at: Ballot) -> bool {
        matches!(&self.phase, Phase::Preparing { drawn, .. } if drawn.ballot == at)
    }

    fn is_accepting(&self, at: Ballot) -> bool {
        matches!(&self.phase, Phase::Accepting(accepting) if accepting.proposal.ballot == at)
    }

    fn promised(&mut self, now: Tick, from: NodeId, ballot: Ballot, promise: Promise, out: &mut Out) {
        let Phase::Preparing { drawn, promises, tally } = &mut self.phase else { return };
        if drawn.ballot != ballot {
            return;
        }
        self.reports.answered(from, now);
        promises.insert(from, promise);
        tally.yes(from);
        if tally.verdict() == Verdict::Met {
            let (drawn, promises) = (*drawn, std::mem::take(promises));
            self.propose(now, drawn, promises, out);
        }
    }

    /// A majority promised: makes the next state of what they hold.
    fn propose(&mut self, now: Tick, drawn: Drawn, mut promises: BTreeMap<NodeId, Promise>, out: &mut Out) {
        let highest = promises.values().map(|promise| promise.accepted).max().unwrap_or_default();
        let holders = promises.values().filter(|promise| promise.accepted == highest).count();
        let decided = promises.values().any(|promise| promise.decided == highest);
        let chosen = highest.is_zero() || decided || holders >= usize::from(self.needed());
        self.versions = promises.values().map(|promise| promise.accepted).collect::<BTreeSet<_>>().len();
        let eventual: Vec<_> = promises.values_mut().map(|promise| self.eventual_of(promise)).collect();
        let Some(base) = self.base(&promises, highest) else { return self.back_off(now, out) };
        if !chosen {
            out.sometimes(Mark::UndecidedAdopted);
        }
        let author = Authorship { ballot: drawn.ballot, hlc: drawn.hlc, op: None };
        let absorb = |state: &ChainState| eventual.iter().flatten().fold(state.clone(), |state, seen| state.absorb(seen, drawn.ballot));
        let late = self.plan.options.has(Defect::AbsorbedAfterChange);
        let absorbed = if late { base.clone() } else { absorb(&base) };
        if absorbed != base {
            out.sometimes(Mark::Absorbed);
        }
        let (mut state, steps) = self.evaluate(&absorbed, author);
        if late {
            state = absorb(&state);
        }
        if steps.len() > 1 {
            out.sometimes(Mark::RoundShared);
        }
        if chosen && state == base {
            out.sometimes(Mark::RoundSkippedAccept);
            self.remember(Accepted { ballot: highest, state: base });
            return self.conclude(now, steps, out);
        }
        if let [(ticket, step)] = steps.as_slice()
            && step.is_failure
            && (chosen || self.plan.options.has(Defect::UndecidedLeft))
            && absorbed == base
            && self.queue.iter().any(|waiting| waiting.ticket == *ticket && !waiting.operation.tainted && !waiting.sent)
        {
            out.sometimes(Mark::CasFailureUnrecorded);
            let decision = step.decision.clone().unrecorded().at(base.token());
            let context = base.siblings.context().clone();
            let step = Step { decision, next: base, context, is_failure: true, is_found: false };
            let ticket = *ticket;
            return self.conclude(now, vec![(ticket, step)], out);
        }
        let is_lin_only = self.plan.write_mode == WriteMode::LinOnly || self.plan.options.has(Defect::StickyInMixedBucket);
        let proposal = Accepted { ballot: drawn.ballot, state };
        let tally = self.tally(now);
        let next = is_lin_only.then_some(drawn.next);
        self.accept(Accepting { proposal, next, sticky: false, tally, rejected: BTreeSet::new(), steps }, out);
    }

    /// The eventual view behind a promise; `None` if it holds nothing beyond the accepted state, which is taken in by other means: as the
    /// state that is extended, or as one that lost and whose eventual versions this replica then holds in its own view.
    fn eventual_of(&self, promise: &mut Promise) -> Option<crate::siblings::Siblings> {
        let same = || {
            let state =
                promise.state.as_ref().or(self.known.as_ref().filter(|known| known.ballot == promise.accepted).map(|known| &known.state));
            state.map(|state| state.siblings.clone())
        };
        promise.eventual.clone().or_else(same)
    }

    /// The state to extend; `None` if a replica left out one that this node does not have.
    fn base(&self, promises: &BTreeMap<NodeId, Promise>, highest: Ballot) -> Option<ChainState> {
        if highest.is_zero() {
            return Some(ChainState::default());
        }
        if self.plan.options.has(Defect::HighestAcceptedIgnored)
            && let Some(state) = promises.values().find_map(|promise| promise.state.clone())
        {
            return Some(state);
        }
        let known = self.known.as_ref().filter(|known| known.ballot == highest).map(|known| &known.state);
        let sent = || promises.values().filter(|promise| promise.accepted == highest).find_map(|promise| promise.state.as_ref());
        known.or_else(sent).cloned()
    }

    /// Whether an operation takes part in the present round: promises that are older than it may not have seen what it must.
    fn takes(&self, waiting: &Waiting) -> bool {
        waiting.rounds > 0 || self.plan.write_mode == WriteMode::LinOnly
    }

    /// Applies all that take part, one after the other.
    fn evaluate(&self, base: &ChainState, author: Authorship) -> (ChainState, Vec<(Ticket, Step)>) {
        let mut state = base.clone();
        let mut steps = Vec::with_capacity(self.queue.len());
        for waiting in self.queue.iter().filter(|waiting| self.takes(waiting)) {
            let step = waiting.operation.evaluate(&state, author, self.plan.options);
            state = step.next.clone();
            steps.push((waiting.ticket, step));
        }
        (state, steps)
    }

    fn accept(&mut self, accepting: Accepting, out: &mut Out) {
        for waiting in &mut self.queue {
            waiting.sent |= accepting.steps.iter().any(|(ticket, step)| *ticket == waiting.ticket && step.decision.is_contained());
        }
        let request = accepting.request();
        self.phase = Phase::Accepting(Box::new(accepting));
        self.send_to_all(&request, out);
    }

    fn accepted(&mut self, now: Tick, from: NodeId, ballot: Ballot, out: &mut Out) {
        let late = self.plan.options.has(Defect::LateAcceptCounts);
        let Phase::Accepting(accepting) = &mut self.phase else { return };
        if accepting.proposal.ballot != ballot && !late {
            return;
        }
        self.reports.answered(from, now);
        accepting.tally.yes(from);
        if accepting.tally.verdict() != Verdict::Met {
            return;
        }
        let Phase::Accepting(accepting) = std::mem::replace(&mut self.phase, Phase::Idle) else { return };
        let Accepting { proposal, next, rejected, steps, .. } = *accepting;
        for node in self.plan.homes.iter() {
            // Who has not answered yet will have the state when this reaches him.
            let state = rejected.contains(&node).then(|| proposal.state.clone());
            self.send(node, ChainRequest::Learn { ballot: proposal.ballot, state }, out);
        }
        if steps.iter().any(|(_, step)| step.is_failure) {
            out.sometimes(Mark::CasFailureRecorded);
        }
        self.promised_next = next;
        self.remember(proposal);
        self.conclude(now, steps, out);
    }

    /// Keeps a state that is chosen.
    fn remember(&mut self, state: Accepted) {
        if !state.ballot.is_zero() {
            self.decided = self.decided.max(state.ballot);
            self.known = Some(state);
        }
    }

    /// Answers the operations of a round that is over, and goes on with those that came meanwhile.
    fn conclude(&mut self, now: Tick, steps: Vec<(Ticket, Step)>, out: &mut Out) {
        self.defeats = 0;
        for (ticket, step) in steps {
            let Some(at) = self.queue.iter().position(|waiting| waiting.ticket == ticket) else { continue };
            let waiting = self.queue.remove(at).expect("it was just found");
            match step.decision {
                Decision::Superseded => out.sometimes(Mark::OnceSuperseded),
                _ if step.is_found => out.sometimes(Mark::OnceFound),
                _ => {}
            }
            let (receipt, sent) = (self.receipt(now, &waiting), waiting.sent || waiting.operation.tainted);
            let Step { decision, next: state, context, .. } = step;
            out.push(Effect::Finish((ticket, Ok(Done { decision, state, context, sent, receipt }))));
        }
        self.begin(now, out);
    }

    fn receipt(&self, now: Tick, waiting: &Waiting) -> Receipt {
        Receipt {
            level: Level::Linearizable,
            coordinator: self.plan.me,
            epoch: self.plan.epoch,
            needed: self.needed(),
            replicas: self.reports.list(),
            versions: small(self.versions),
            micros: now.since(waiting.since),
            hint_only: false,
            // One that joined a round under way has taken part in it.
            rounds: waiting.rounds.max(1),
        }
    }

    /// A replica will not take part in the present phase.
    fn no(&mut self, now: Tick, node: NodeId, out: &mut Out) {
        let tally = match &mut self.phase {
            Phase::Preparing { tally, .. } => tally,
            Phase::Accepting(accepting) => &mut accepting.tally,
            Phase::Idle | Phase::Drawing | Phase::BackingOff => return,
        };
        tally.no(node);
        let (verdict, answered) = (tally.verdict(), small(tally.count()));
        if verdict != Verdict::Lost {
            return;
        }
        if self.beaten {
            self.back_off(now, out);
        } else {
            self.give_up_all(&Reason::Unavailable { needed: self.needed(), answered }, out);
        }
    }

    fn back_off(&mut self, now: Tick, out: &mut Out) {
        out.sometimes(Mark::RoundContended);
        self.defeats += 1;
        if self.plan.options.has(Defect::BallotUsedTwice)
            && let Phase::Accepting(accepting) = &self.phase
        {
            self.promised_next = Some(accepting.proposal.ballot);
            self.known.get_or_insert_with(|| Accepted { ballot: Ballot::ZERO, state: ChainState::default() });
        }
        let left = self.queue.iter().map(|waiting| waiting.operation.deadline.since(now)).max().unwrap_or(0);
        let seed = self.seen.counter ^ (self.plan.me.0 << 32) ^ now.0;
        let wait = backoff_micros(self.defeats - 1, self.plan.rtt_micros, left, seed);
        self.phase = Phase::BackingOff;
        out.push(Effect::SetTimer { timer: Timer::Retry, at: now.after(wait) });
    }

    /// Sends the present phase's message again to everybody who has not answered it.
    fn resend(&mut self, now: Tick, out: &mut Out) {
        if !self.timers.resend_fired(now, out) {
            return;
        }
        let (request, open): (_, Vec<NodeId>) = match &self.phase {
            Phase::Preparing { drawn, tally, .. } => (self.prepare(drawn.ballot), tally.open().collect()),
            Phase::Accepting(accepting) => (accepting.request(), accepting.tally.open().collect()),
            Phase::Idle | Phase::Drawing | Phase::BackingOff => return,
        };
        if !open.is_empty() {
            out.sometimes(Mark::RoundResent);
        }
        open.into_iter().for_each(|node| self.send(node, request.clone(), out));
        self.resends += 1;
        let wait = self.plan.resend_micros << self.resends.min(RESEND_DOUBLINGS_MAX);
        self.timers.resend_at(now.after(wait), out);
    }

    /// Fails the operations whose time is over.
    fn deadline(&mut self, now: Tick, out: &mut Out) {
        let (over, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.queue).into_iter().partition(|waiting| waiting.operation.deadline <= now);
        self.queue = waiting.into();
        self.timers.deadline_fired(now);
        if let Some(next) = self.queue.iter().map(|waiting| waiting.operation.deadline).min() {
            self.timers.deadline_at(next, out);
        }
        if over.is_empty() {
            return;
        }
        let answered = match &self.phase {
            Phase::Preparing { tally, .. } => tally.count(),
            Phase::Accepting(accepting) => accepting.tally.count(),
            Phase::Idle | Phase::Drawing | Phase::BackingOff => 0,
        };
        let mut reports = self.reports.clone();
        reports.deadline(now);
        let reason = Reason::TimedOut { needed: self.needed(), answered: small(answered) };
        for waiting in over {
            self.give_up(waiting, &reason, &reports, out);
        }
        if self.queue.is_empty() {
            self.phase = Phase::Idle;
        }
    }

    fn give_up_all(&mut self, reason: &Reason, out: &mut Out) {
        self.phase = Phase::Idle;
        let reports = self.reports.clone();
        for waiting in std::mem::take(&mut self.queue) {
            self.give_up(waiting, reason, &reports, out);
        }
    }

    fn give_up(&self, waiting: Waiting, reason: &Reason, reports: &Reports, out: &mut Out) {
        let outcome = waiting.operation.outcome(waiting.sent, self.plan.options);
        if outcome == Outcome::Unknown {
            out.sometimes(Mark::OutcomeUnknown);
        }
        let failure = NotDone { reason: reason.clone(), outcome, replicas: reports.list() };
        out.push(Effect::Finish((waiting.ticket, Err(failure))));
    }
}

impl Accepting {
    fn request(&self) -> ChainRequest {
        ChainRequest::Accept { proposal: self.proposal.clone(), next: self.next, clean: self.sticky }
    }
}

fn small(count: usize) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests;
