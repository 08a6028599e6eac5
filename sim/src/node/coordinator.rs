//! Coordinating client operations: the driver of the read and write machines.

use quorate_protocol::chain::ChainState;
use quorate_protocol::chain::read::Found;
use quorate_protocol::eventual::read::{Read, ReadPlan};
use quorate_protocol::eventual::route::{Route, route};
use quorate_protocol::eventual::write::{Write, WritePlan};
use quorate_protocol::machine::{Effect, Input, MintRefusal, Outbox};
use quorate_protocol::notes::Mark;
use quorate_protocol::outcome::{Failure, Outcome, Reason};
use quorate_protocol::quorum::{ReadQuorum, WriteQuorum};
use quorate_protocol::record::{Role, WriteMode};
use quorate_protocol::replica::{Mint, Refusal, ReplicaRequest};
use quorate_protocol::{Context, Defect, Level};
use quorate_ring::{NodeId, PreferenceList};

use super::answer::{change_answer, read_answer, state_answer, write_answer};
use super::operation::{Asker, Machine, Operation, Subject};
use super::{Action, Alarm, Env, Node};
use crate::message::{Address, Call, Good, Payload, Request, Ticket, What};

/// What one step of an operation asks for.
struct Stepped {
    wanted: Vec<Wanted>,
    subject: Subject,
}

/// What an effect of a machine asks for.
enum Wanted {
    Effect(Effect<()>),
    Answer(Call, Result<Good, Failure>),
    /// A look at a key needs a round of consensus.
    Round(Asker),
}

impl Node {
    /// A client's operation, or one that another node forwards.
    pub(super) fn call(&mut self, env: &mut Env<'_>, call: Call, request: Request, was_forwarded: bool) {
        if let Err(mut failure) = self.coordinate(env, call, &request, was_forwarded) {
            // A retry that is refused here says nothing about the attempts before it.
            if request.what.is_retry() {
                failure.outcome = Outcome::Unknown;
            }
            self.send(env, call.issuer, Payload::Answer { call, answer: Err(failure) });
        }
    }

    fn coordinate(&mut self, env: &mut Env<'_>, call: Call, request: &Request, was_forwarded: bool) -> Result<(), Failure> {
        if self.is_quarantined() {
            return Err(Failure::refused(Reason::Refused { refusal: Refusal::Quarantined }));
        }
        if self.is_overloaded {
            return Err(Failure::refused(Reason::Overloaded));
        }
        let homes = env.homes[usize::from(request.key.0)].clone();
        let invalid = |invalid| Failure::refused(Reason::InvalidLevel(invalid));
        let machine = match &request.what {
            What::Change { op, attempt, change } => {
                let asker = Asker::Change(call, attempt.is_retry());
                self.propose(env, request.key, request.deadline, asker, change.clone(), Some(*op));
                return Ok(());
            }
            What::Read { seen } if request.level == Level::Linearizable => {
                self.look(env, request.key, request.deadline, Asker::Look(call, seen.clone()), seen.clone());
                return Ok(());
            }
            What::Read { seen } => {
                let quorum = ReadQuorum::of(request.level, homes.clone(), self.epoch(), env.options.core).map_err(invalid)?;
                let plan = self.read_plan(env, request, quorum, seen.clone(), &homes);
                Machine::Read(Box::new(Read::new(plan, env.now)), Outbox::default())
            }
            What::Write { .. } if env.options.keys[usize::from(request.key.0)].write_mode == WriteMode::LinOnly => {
                return Err(Failure::refused(Reason::LinOnlyBucket { bucket: "lin".to_owned() }));
            }
            What::Write { .. } => {
                let quorum = WriteQuorum::of(request.level, homes.clone(), self.epoch(), env.options.core).map_err(invalid)?;
                match route(self.id, &quorum, &self.down(&homes), was_forwarded) {
                    Route::Here(role) => {
                        let plan = self.write_plan(env, request, quorum, role);
                        Machine::Write(Box::new(Write::new(plan, env.now)), Outbox::default())
                    }
                    Route::Forward(home) => {
                        self.forward(env, call, request.clone(), home, quorum.needed());
                        return Ok(());
                    }
                    Route::Nowhere => return Err(Failure::refused(Reason::Unreachable { needed: quorum.needed(), alive: 0 })),
                }
            }
        };
        let begin_by = match &request.what {
            What::Write { begin_by, .. } => *begin_by,
            What::Read { .. } | What::Change { .. } => None,
        };
        let subject = Subject { key: request.key, deadline: request.deadline, epoch: self.epoch(), begin_by };
        self.start_operation(env, Operation::new(machine, subject, Asker::Look(call, Context::empty())));
        Ok(())
    }

    pub(super) fn start_operation(&mut self, env: &mut Env<'_>, operation: Operation) {
        let number = self.number();
        self.process.operations.insert(number, operation);
        self.feed(env, number, Input::Start);
    }

    pub(super) fn number(&mut self) -> u64 {
        self.process.next_number += 1;
        self.process.next_number
    }

    /// The home replicas, those that can be reached first.
    pub(super) fn preferred(&self, env: &mut Env<'_>, homes: &PreferenceList) -> Vec<NodeId> {
        let mut preferred: Vec<NodeId> = homes.iter().collect();
        env.random.shuffle(&mut preferred);
        preferred.sort_by_key(|node| (!self.is_up(*node), *node != self.id));
        preferred
    }

    fn read_plan(&self, env: &mut Env<'_>, request: &Request, quorum: ReadQuorum, seen: Context, homes: &PreferenceList) -> ReadPlan {
        let preferred = self.preferred(env, homes);
        let not_all = usize::from(quorum.needed()) < homes.len();
        ReadPlan {
            me: self.id,
            level: request.level,
            epoch: self.epoch(),
            quorum,
            preferred,
            down: self.down(homes),
            seen,
            repair_behind: !request.level.is_strict() && not_all && env.random.chance(env.options.node.background_repair_permille),
            hedge_after_micros: env.options.node.hedge_after_micros,
            deadline: request.deadline,
            options: env.options.core,
        }
    }

    fn write_plan(&mut self, env: &Env<'_>, request: &Request, quorum: WriteQuorum, role: Role) -> WritePlan {
        let What::Write { op, attempt, seen, body, .. } = &request.what else { unreachable!("only writes have a write plan") };
        let hlc = self.process.clock.tick(self.wall_ms(env.now));
        let siblings_max = env.options.node.siblings_max;
        WritePlan {
            me: self.id,
            role,
            level: request.level,
            epoch: self.epoch(),
            down: self.down(quorum.homes()),
            quorum,
            mint: Mint { seen: seen.clone(), body: body.clone(), op: Some(*op), hlc, siblings_max },
            attempt: *attempt,
            deadline: request.deadline,
            hint_after_micros: env.options.node.hint_after_micros,
            options: env.options.core,
        }
    }

    /// An answer of a replica, or the news that there will be none.
    pub(super) fn answered(&mut self, env: &mut Env<'_>, number: u64, input: Input) {
        if let Some(operation) = self.process.operations.get_mut(&number) {
            match &input {
                Input::Reply { from, .. } => {
                    if let Some(out) = operation.out.get_mut(from) {
                        *out = out.saturating_sub(1);
                    }
                    operation.out.retain(|_, out| *out > 0);
                }
                Input::PeerDown(node) => {
                    operation.out.remove(node);
                }
                Input::Start
                | Input::Minted(_)
                | Input::MintRefused(_)
                | Input::HintKept(_)
                | Input::HintRefused(_)
                | Input::Drawn(_)
                | Input::BallotRefused
                | Input::Timer(_) => {}
            }
        }
        self.feed(env, number, input);
    }

    /// Gives an operation an input, and carries out all that follows from it.
    pub(super) fn feed(&mut self, env: &mut Env<'_>, number: u64, input: Input) {
        self.soon(number, input);
        self.run(env, number);
    }

    /// Gives an operation an input that it comes to when it has done with those before.
    pub(super) fn soon(&mut self, number: u64, input: Input) {
        if let Some(operation) = self.process.operations.get_mut(&number) {
            operation.ready.push_back(input);
        }
    }

    pub(super) fn run(&mut self, env: &mut Env<'_>, number: u64) {
        while let Some(Stepped { wanted, subject }) = self.step(env, number) {
            for wanted in wanted {
                self.want(env, number, subject, wanted);
            }
        }
        if self.process.operations.get(&number).is_some_and(Operation::is_done)
            && let Some(done) = self.process.operations.remove(&number)
        {
            self.leave(number, &done);
        }
    }

    fn want(&mut self, env: &mut Env<'_>, number: u64, subject: Subject, wanted: Wanted) {
        match wanted {
            Wanted::Effect(effect) => self.carry_out(env, number, subject, effect),
            Wanted::Answer(call, answer) => self.send(env, call.issuer, Payload::Answer { call, answer }),
            Wanted::Round(asker) => {
                self.propose(env, subject.key, subject.deadline, asker, quorate_protocol::chain::Change::Identity, None);
            }
        }
    }

    /// Steps the machine with its next input, if there is one.
    fn step(&mut self, env: &mut Env<'_>, number: u64) -> Option<Stepped> {
        let operation = self.process.operations.get_mut(&number)?;
        let input = operation.ready.pop_front()?;
        let asker = operation.asker.clone();
        let wanted = match &mut operation.machine {
            Machine::Read(read, out) => {
                read.step(env.now, input, out);
                drain(env, out, |answer| asker.told(read_answer(answer)))
            }
            Machine::Write(write, out) => {
                write.step(env.now, input, out);
                drain(env, out, |answer| asker.told(write_answer(answer)))
            }
            Machine::ChainRead(read, out) => {
                read.step(env.now, input, out);
                drain(env, out, |found| match found {
                    Ok(Found::Round) => Some(Wanted::Round(asker.clone())),
                    Ok(Found::State { state, .. }) => asker.told(Ok(state_answer(&state))),
                    Err(failure) => asker.told(read_answer(Err(failure))),
                })
            }
            Machine::Propose(proposer, out, askers, basis) => {
                basis.hear(&input);
                // What was submitted has left its effects behind.
                if input != Input::Start {
                    proposer.step(env.now, input, out);
                }
                drain(env, out, |(place, answer)| match askers.remove(&place)? {
                    Asker::Change(call, _) => Some(Wanted::Answer(call, change_answer(answer))),
                    asker => asker.told(match answer {
                        // A round takes in what a majority holds. What only a weaker level has acknowledged may lie elsewhere.
                        Ok(done) if asker.has_seen_more(&done.state) && !env.options.has(Defect::SessionNotAwaited) => {
                            Err(Failure { reason: Reason::Behind, outcome: Outcome::NotApplied, replicas: done.receipt.replicas })
                        }
                        Ok(done) => Ok(state_answer(&done.state)),
                        Err(failed) => Err(Failure { reason: failed.reason, outcome: Outcome::NotApplied, replicas: failed.replicas }),
                    }),
                })
            }
        };
        Some(Stepped { wanted, subject: operation.subject })
    }

    fn carry_out(&mut self, env: &mut Env<'_>, number: u64, subject: Subject, effect: Effect<()>) {
        let Subject { key, deadline, epoch, begin_by } = subject;
        if let Effect::Send { request: ReplicaRequest::Chain { request, .. }, .. } = &effect {
            self.note_proposal(env, number, key, request);
        }
        let input = match effect {
            Effect::Send { to, request } if to == self.id => self.replica_here(env, number, key, &request),
            Effect::Send { to, request } if self.is_up(to) => {
                if let Some(operation) = self.process.operations.get_mut(&number) {
                    *operation.out.entry(to).or_default() += 1;
                }
                let ticket = Ticket::Operation { boot: self.identity().boot, number };
                let is_chain = matches!(request, ReplicaRequest::Chain { .. });
                let deadline = if is_chain { deadline.after(env.options.node.late_micros) } else { deadline };
                self.send(env, Address::Node(to), Payload::Replica { ticket, key, deadline, request });
                None
            }
            Effect::Send { to, .. } => Some(Input::PeerDown(to)),
            Effect::Mint { .. }
                if begin_by.is_some_and(|begin_by| begin_by < env.now) && !env.options.has(Defect::BlindWriteBeginsLate) =>
            {
                env.actions.push(Action::Mark(Mark::BeganTooLate));
                Some(Input::MintRefused(MintRefusal::Store(Refusal::Expired)))
            }
            Effect::Mint { mint, role } => match self.mint(env, number, key, &mint, role) {
                Ok(minted) => {
                    // Whatever the store answers comes after the dot.
                    if let Some(operation) = self.process.operations.get_mut(&number) {
                        operation.ready.push_front(Input::Minted(minted));
                    }
                    None
                }
                Err(refusal) => Some(Input::MintRefused(refusal)),
            },
            Effect::KeepHint { target, delta } => self.keep_hint(env, number, key, target, delta),
            Effect::SetTimer { timer, at } => {
                env.actions.push(Action::Alarm(at, Alarm::Operation { number, timer }));
                None
            }
            Effect::DrawBallot { seen } => Some(self.draw(env, epoch, seen)),
            Effect::Finish(()) => None,
        };
        if let Some(input) = input {
            self.soon(number, input);
        }
    }
}

impl Asker {
    /// What to send to whoever waits outside this node.
    fn told(&self, answer: Result<Good, Failure>) -> Option<Wanted> {
        match self {
            Self::Change(call, _) | Self::Look(call, _) => Some(Wanted::Answer(*call, answer)),
            Self::Finisher => None,
        }
    }

    /// Whether its session has seen something that the state has not.
    fn has_seen_more(&self, state: &ChainState) -> bool {
        matches!(self, Self::Look(_, seen) if !state.siblings.context().includes(seen))
    }
}

/// Takes a machine's effects and marks.
fn drain<A>(env: &mut Env<'_>, out: &mut Outbox<A>, mut finished: impl FnMut(A) -> Option<Wanted>) -> Vec<Wanted> {
    env.actions.extend(out.marks().into_iter().map(Action::Mark));
    let wanted = |effect| {
        Some(Wanted::Effect(match effect {
            Effect::Finish(answer) => return finished(answer),
            Effect::Send { to, request } => Effect::Send { to, request },
            Effect::Mint { mint, role } => Effect::Mint { mint, role },
            Effect::KeepHint { target, delta } => Effect::KeepHint { target, delta },
            Effect::DrawBallot { seen } => Effect::DrawBallot { seen },
            Effect::SetTimer { timer, at } => Effect::SetTimer { timer, at },
        }))
    };
    out.drain().into_iter().filter_map(wanted).collect()
}
