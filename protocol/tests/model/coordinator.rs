//! What a node does for its clients: carries the effects of its machines out, and tells clients what they came to.

use quorate_protocol::chain::operation::{Answer as Sent, Decision, Done, NotDone, Operation};
use quorate_protocol::chain::proposer::{Proposer, ProposerPlan};
use quorate_protocol::chain::read::{ChainRead, Found};
use quorate_protocol::chain::{ChainRequest, ChainState};
use quorate_protocol::context::Context;
use quorate_protocol::eventual::read::{Read, ReadAnswer, ReadPlan};
use quorate_protocol::eventual::write::{Write, WritePlan};
use quorate_protocol::hlc::Hlc;
use quorate_protocol::ids::{Attempt, KeyEpoch, Tick};
use quorate_protocol::level::Level;
use quorate_protocol::machine::{Drawn, Effect, Input, Outbox, Timer};
use quorate_protocol::notes::{Mark, Notes};
use quorate_protocol::quorum::{ReadQuorum, WriteQuorum};
use quorate_protocol::record::Role;
use quorate_protocol::replica::{Mint, Minted, ReplicaReply, Seen, mint, needs_fresh_epoch};
use quorate_protocol::siblings::Siblings;
use quorate_protocol::{Defect, Outcome};
use quorate_ring::PreferenceList;

use crate::history::{Answer, Do, Event, Values};
use crate::scenario::{Scenario, body, change, op_id};
use crate::shared::Shared;
use crate::world::{DEADLINE, EPOCH, Envelope, Machine, Origin, Running, Stage, Step, World, ballot_of, nobody, node, preferred, ticket};

/// One step of a run: the world, what it is a run of, and the marks that were made.
pub(crate) struct Move<'a> {
    pub(crate) world: World,
    pub(crate) scenario: &'a Scenario,
    pub(crate) marks: Vec<Mark>,
}

impl Move<'_> {
    /// Takes the step; false if it changes nothing that the world before it could not do as well.
    pub(crate) fn take(&mut self, step: Step) -> bool {
        match step {
            Step::Begin(at) => self.begin(at),
            Step::SendAgain(at) => self.submit(at, 2, 1),
            Step::Arrive { message, answered } => return self.arrive(&message, answered),
            Step::Retry(at) => self.step_proposer(at, Tick(0), Input::Timer(Timer::Retry)),
            Step::Deadline(at) => self.step_proposer(at, DEADLINE, Input::Timer(Timer::Deadline)),
            Step::ReadAgain(at) => {
                self.world.operations[at].must_wait = false;
                self.step_operation(at, Input::Timer(Timer::Retry));
            }
            Step::Crash(at) => {
                let crash = self.scenario.crash.expect("a scenario with a crash");
                self.world.crash(self.scenario, at, crash);
            }
        }
        true
    }

    fn begin(&mut self, at: usize) {
        let (client, what) = self.scenario.operations().nth(at).expect("an operation of the scenario");
        let after = self.world.answered_so_far();
        let client_number = u8::try_from(client).expect("few clients");
        self.world.history[at] = Some(Event { what, client: client_number, after, replaced: 0, answer: Answer::None });
        self.world.operations[at].stage = Stage::Begun;
        match what {
            Do::Get => {
                self.world.operations[at].machine =
                    Machine::ChainRead(Shared::new(ChainRead::new(self.read_plan(client, Level::Linearizable), Tick(0))));
            }
            Do::EventualGet => {
                self.world.operations[at].machine = Machine::Read(Shared::new(Read::new(self.read_plan(client, Level::Quorum), Tick(0))));
            }
            Do::EventualPut(value) => {
                let plan = self.write_plan(client, value);
                self.world.operations[at].machine = Machine::Write(Shared::new(Write::new(plan, Tick(0))));
            }
            Do::Put(_) | Do::Delete | Do::CasAbsent(_) | Do::Cas(..) | Do::CasUnchanged(_) | Do::Increment => {
                return self.submit(at, client, 0);
            }
        }
        self.step_operation(at, Input::Start);
    }

    fn homes() -> PreferenceList {
        PreferenceList::new(preferred(0)).expect("distinct nodes")
    }

    fn read_plan(&self, me: usize, level: Level) -> ReadPlan {
        let mut options = self.scenario.options();
        // Nobody has to wait for a timer then before the third replica is asked.
        options.awkward.ask_all_at_once = true;
        ReadPlan {
            me: node(me),
            level,
            epoch: EPOCH,
            quorum: ReadQuorum::of(level, Self::homes(), EPOCH, options).expect("a level of reads"),
            preferred: preferred(me),
            down: nobody(),
            seen: Context::empty(),
            repair_behind: false,
            hedge_after_micros: 10_000,
            deadline: DEADLINE,
            options,
        }
    }

    fn write_plan(&self, me: usize, value: u8) -> WritePlan {
        let options = self.scenario.options();
        WritePlan {
            me: node(me),
            role: Role::Home,
            level: Level::Quorum,
            epoch: EPOCH,
            quorum: WriteQuorum::of(Level::Quorum, Self::homes(), EPOCH, options).expect("a level of writes"),
            down: nobody(),
            mint: Mint { seen: Seen::Blind, body: body(value), op: None, hlc: Hlc::at_ms(1), siblings_max: 8 },
            attempt: Attempt(0),
            deadline: DEADLINE,
            hint_after_micros: 500_000,
            options,
        }
    }

    /// Gives an operation to the proposer of a node.
    fn submit(&mut self, at: usize, me: usize, sending: u8) {
        let event = self.world.history[at].expect("it has begun");
        self.world.operations[at].sendings = sending + 1;
        let op = event.what.is_change().then(|| op_id(event.client.into(), at));
        let operation = Operation { change: change(event.what), op, tainted: sending > 0, deadline: DEADLINE };
        let mut proposer = self.world.nodes[me].proposer.as_deref().cloned().unwrap_or_else(|| self.proposer(me));
        if proposer.is_idle() {
            self.world.nodes[me].rounds = 0;
        }
        let mut out = Outbox::default();
        proposer.submit(Tick(0), ticket(at, sending), operation, nobody(), &mut out);
        self.carry_out(me, proposer, out);
    }

    fn proposer(&self, me: usize) -> Proposer {
        let plan = ProposerPlan {
            me: node(me),
            epoch: EPOCH,
            homes: Self::homes(),
            write_mode: self.scenario.write_mode,
            local: self.world.records[me].chain.accepted.clone(),
            foothold: None,
            rtt_micros: 1_000,
            resend_micros: 20_000,
            options: self.scenario.options(),
        };
        Proposer::new(plan, Tick(0))
    }

    fn arrive(&mut self, message: &Envelope, answered: bool) -> bool {
        let waits = self.world.waits_for_answer(self.scenario, message);
        let mut notes = Notes::default();
        let before = self.world.records[message.to].clone();
        let reply = self.world.arrive(self.scenario, message, &mut notes);
        self.marks.extend(notes.take());
        let changed = before != self.world.records[message.to];
        if answered {
            self.reply(message, reply);
            return true;
        }
        changed && (!waits || self.loss_matters(message, reply))
    }

    /// Whether whoever lacks this answer can do something that one who has it cannot.
    fn loss_matters(&self, message: &Envelope, reply: ReplicaReply) -> bool {
        let counts = match &reply {
            ReplicaReply::Stored => true,
            ReplicaReply::Chain(reply) => matches!(**reply, quorate_protocol::chain::ChainReply::Accepted { .. }),
            ReplicaReply::State { .. } | ReplicaReply::Refused(_) => false,
        };
        if !counts {
            return true;
        }
        let mut with = Move { world: self.world.clone(), scenario: self.scenario, marks: Vec::new() };
        with.reply(message, reply);
        let (with, without) = (&with.world, &self.world);
        with.network != without.network || with.history != without.history || with.busy() != without.busy()
    }

    fn reply(&mut self, message: &Envelope, reply: ReplicaReply) {
        let input = Input::Reply { from: node(message.to), reply };
        match message.from {
            Origin::Proposer(at) => self.step_proposer(at, Tick(0), input),
            Origin::Operation(at) => self.step_operation(at, input),
        }
    }

    fn step_proposer(&mut self, me: usize, now: Tick, input: Input) {
        if input == Input::Timer(Timer::Retry) {
            self.world.nodes[me].must_wait = false;
        }
        let mut proposer = self.world.nodes[me].proposer.as_deref().expect("it asked").clone();
        let mut out = Outbox::default();
        proposer.step(now, input, &mut out);
        self.carry_out(me, proposer, out);
    }

    /// Carries out what a proposer asks for, and keeps it while it has something to do or to remember.
    fn carry_out(&mut self, me: usize, mut proposer: Proposer, mut out: Outbox<Sent>) {
        let mut answers = Vec::new();
        loop {
            let effects = out.drain();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                match effect {
                    Effect::Send { to, request } => {
                        self.world.nodes[me].current = ballot_of(&request).or(self.world.nodes[me].current);
                        self.send(Origin::Proposer(me), to, request);
                    }
                    Effect::DrawBallot { seen } => {
                        self.world.nodes[me].rounds += 1;
                        let drawn = self.draw(me, seen);
                        proposer.step(Tick(0), Input::Drawn(drawn), &mut out);
                    }
                    Effect::SetTimer { timer: Timer::Retry, .. } => self.world.nodes[me].must_wait = true,
                    Effect::SetTimer { .. } => {}
                    Effect::Finish(answer) => answers.push(answer),
                    Effect::Mint { .. } | Effect::KeepHint { .. } => panic!("a proposer does not ask for {effect}"),
                }
            }
        }
        self.marks.extend(out.marks());
        let slot = &mut self.world.nodes[me];
        if proposer.is_idle() {
            slot.current = None;
            slot.must_wait = false;
        }
        if slot.must_wait {
            slot.current = None;
        }
        slot.proposer = (!proposer.is_idle() || proposer.is_sticky()).then(|| Shared::new(proposer));
        for (ticket, answer) in answers {
            let (at, sending) = (usize::try_from(ticket.0 / 2).expect("few operations"), ticket.0 % 2 == 1);
            self.proposed(at, sending, answer);
        }
    }

    fn draw(&mut self, me: usize, seen: quorate_protocol::chain::Ballot) -> Drawn {
        let ballots = &mut self.world.nodes[me].ballots;
        let ballot = ballots.fresh(EPOCH, seen).expect("few ballots");
        Drawn { ballot, next: ballots.fresh(EPOCH, ballot).expect("few ballots"), hlc: Hlc::at_ms(ballot.counter) }
    }

    fn send(&mut self, from: Origin, to: quorate_ring::NodeId, request: quorate_protocol::replica::ReplicaRequest) {
        if let quorate_protocol::replica::ReplicaRequest::Chain { request, .. } = &request {
            match request {
                ChainRequest::Accept { proposal, .. } => {
                    let verdict = self.world.ledger.proposed(proposal.ballot, &proposal.state);
                    self.world.judge(self.scenario, verdict);
                }
                ChainRequest::Learn { .. } if !self.scenario.learns => return,
                ChainRequest::Learn { .. } | ChainRequest::Read { .. } | ChainRequest::Prepare { .. } => {}
            }
        }
        self.world.send(from, to, request);
    }

    /// Upon a proposer's answer to one sending of an operation, `again` being the later one.
    fn proposed(&mut self, at: usize, again: bool, answer: Result<Done, NotDone>) {
        let running = &self.world.operations[at];
        if running.stage == Stage::Over {
            return;
        }
        let is_latest = running.sendings < 2 || again;
        match answer {
            Ok(done) => {
                self.world.rests_on(self.scenario, at, &done.state);
                self.decided(at, is_latest, &done);
            }
            Err(NotDone { outcome: Outcome::NotApplied, .. }) if is_latest => self.world.answered(self.scenario, at, Answer::Never),
            Err(NotDone { outcome: Outcome::NotApplied, .. }) => {}
            Err(NotDone { outcome: Outcome::Unknown, .. }) => {
                self.world.operations[at].failed += 1;
                if self.world.operations[at].failed == self.world.operations[at].sendings {
                    self.world.answered(self.scenario, at, Answer::None);
                }
            }
        }
    }

    fn decided(&mut self, at: usize, is_latest: bool, done: &Done) {
        let what = self.world.history[at].expect("it has begun").what;
        let answer = match &done.decision {
            _ if what == Do::Get => Answer::Read(values_of(&done.state)),
            Decision::Applied { result, .. } => Answer::Applied(result.as_ref().map(|result| number(result))),
            // The client may have an answer to come that says otherwise.
            Decision::Conflict { recorded: false, .. } if !is_latest && self.scenario.defect != Some(Defect::UnrecordedFailureTrusted) => {
                return;
            }
            Decision::Conflict { current, .. } => Answer::Failed(current.as_ref().map(|values| set(values.iter()))),
            other => panic!("{other:?} is no answer to {what:?}"),
        };
        self.world.answered(self.scenario, at, answer);
    }

    /// Steps the machine of a read, or of an eventual operation.
    fn step_operation(&mut self, at: usize, input: Input) {
        match self.world.operations[at].machine.clone() {
            Machine::ChainRead(read) => {
                let mut read = (*read).clone();
                let mut out = Outbox::default();
                read.step(Tick(0), input, &mut out);
                self.world.operations[at].machine = Machine::ChainRead(Shared::new(read));
                let found = self.carry_out_operation(at, out);
                self.found(at, found);
            }
            Machine::Read(read) => {
                let mut read = (*read).clone();
                let mut out = Outbox::default();
                read.step(Tick(0), input, &mut out);
                self.world.operations[at].machine = Machine::Read(Shared::new(read));
                if let Some(Ok(ReadAnswer { siblings, .. })) = self.carry_out_operation(at, out) {
                    let verdict = self.world.ledger.shown(&siblings);
                    self.world.judge(self.scenario, verdict);
                    let values = set(siblings.live().filter_map(|(_, version)| version.value()));
                    self.world.answered(self.scenario, at, Answer::Read(values));
                }
            }
            Machine::Write(write) => self.step_write(at, (*write).clone(), input),
            Machine::None => {}
        }
    }

    fn found(&mut self, at: usize, found: Option<Result<Found, quorate_protocol::eventual::read::ReadFailure>>) {
        match found {
            None => {}
            Some(Ok(Found::State { state, .. })) => {
                self.world.rests_on(self.scenario, at, &state);
                self.world.answered(self.scenario, at, Answer::Read(values_of(&state)));
            }
            Some(Ok(Found::Round)) => {
                let running = &mut self.world.operations[at];
                *running = Running { machine: Machine::None, must_wait: false, ..*running };
                let client = self.world.history[at].expect("it has begun").client;
                self.submit(at, client.into(), 0);
            }
            Some(Err(_)) => self.world.answered(self.scenario, at, Answer::Never),
        }
    }

    fn step_write(&mut self, at: usize, mut write: Write, input: Input) {
        let mut out = Outbox::default();
        write.step(Tick(0), input, &mut out);
        let mut written = None;
        loop {
            let effects = out.drain();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                match effect {
                    Effect::Mint { mint, .. } => {
                        let minted = self.mint(at, &mint);
                        write.step(Tick(0), Input::Minted(minted), &mut out);
                        let me = self.world.history[at].expect("it has begun").client;
                        write.step(Tick(0), Input::Reply { from: node(me.into()), reply: ReplicaReply::Stored }, &mut out);
                    }
                    Effect::Send { to, request } => self.send(Origin::Operation(at), to, request),
                    Effect::Finish(answer) => written = Some(answer),
                    Effect::SetTimer { .. } | Effect::KeepHint { .. } => {}
                    Effect::DrawBallot { .. } => panic!("an eventual write draws no ballot"),
                }
            }
        }
        self.marks.extend(out.marks());
        self.world.operations[at].machine = Machine::Write(Shared::new(write));
        if let Some(answer) = written {
            let answer = if answer.is_ok() { Answer::Applied(None) } else { Answer::None };
            self.world.answered(self.scenario, at, answer);
        }
    }

    fn mint(&mut self, at: usize, write: &Mint) -> Minted {
        let event = self.world.history[at].as_mut().expect("it has begun");
        let me = usize::from(event.client);
        let mut record = (*self.world.records[me]).clone();
        event.replaced = values_in(&record.eventual);
        let options = self.scenario.options();
        let fresh = needs_fresh_epoch(&record, KeyEpoch(0), options).then_some(KeyEpoch(1));
        let mut notes = Notes::default();
        let minted = mint(&mut record, node(me), fresh, write, options, &mut notes).expect("few siblings");
        self.marks.extend(notes.take());
        self.world.changed(self.scenario, me, record);
        self.world.operations[at].dot = Some(minted.dot);
        minted
    }

    fn carry_out_operation<A>(&mut self, at: usize, mut out: Outbox<A>) -> Option<A> {
        let mut finished = None;
        for effect in out.drain() {
            match effect {
                Effect::Send { to, request } => self.send(Origin::Operation(at), to, request),
                Effect::SetTimer { timer: Timer::Retry, .. } => self.world.operations[at].must_wait = true,
                Effect::SetTimer { .. } => {}
                Effect::Finish(answer) => finished = Some(answer),
                Effect::Mint { .. } | Effect::KeepHint { .. } | Effect::DrawBallot { .. } => panic!("a read does not ask for {effect}"),
            }
        }
        self.marks.extend(out.marks());
        finished
    }
}

fn values_of(state: &ChainState) -> Values {
    set(state.values())
}

fn values_in(siblings: &Siblings) -> Values {
    set(siblings.live().filter_map(|(_, version)| version.value()))
}

fn set<'a>(values: impl Iterator<Item = &'a bytes::Bytes>) -> Values {
    values.fold(0, |set, value| set | 1 << number(value))
}

fn number(value: &[u8]) -> u8 {
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).expect("values are small numbers")
}
