//! Coordinating client operations: the driver of the read and write machines.

use std::collections::{BTreeMap, VecDeque};

use quorate_protocol::eventual::read::{Read, ReadAnswer, ReadFailure, ReadPlan};
use quorate_protocol::eventual::route::{Route, route};
use quorate_protocol::eventual::write::{Write, WriteFailure, WriteFailureCause, WritePlan, Written};
use quorate_protocol::machine::{Effect, Input, MintRefusal, Outbox};
use quorate_protocol::notes::Mark;
use quorate_protocol::outcome::{Failure, Outcome, Reason};
use quorate_protocol::quorum::{ReadQuorum, WriteQuorum};
use quorate_protocol::record::Role;
use quorate_protocol::replica::{Mint, Refusal};
use quorate_protocol::sealed::SealedContext;
use quorate_protocol::session::attempts::Sending;
use quorate_protocol::{Context, Defect, Tick};
use quorate_ring::{NodeId, PreferenceList};

use super::{Action, Alarm, Env, Node};
use crate::message::{Address, Call, Good, Key, Payload, Request, Ticket, What};

/// The machine of one operation.
#[derive(Debug)]
enum Machine {
    Read(Box<Read>, Outbox<Result<ReadAnswer, ReadFailure>>),
    Write(Box<Write>, Outbox<Result<Written, WriteFailure>>),
}

/// What an operation is about.
#[derive(Clone, Copy, Debug)]
struct Subject {
    key: Key,
    deadline: Tick,
    /// When a blind write must have begun.
    begin_by: Option<Tick>,
}

/// One operation under way at its coordinator.
#[derive(Debug)]
pub(super) struct Operation {
    machine: Machine,
    subject: Subject,
    call: Call,
    /// Requests that are out, by replica.
    out: BTreeMap<NodeId, u32>,
    /// Inputs that are there already.
    ready: VecDeque<Input>,
}

impl Operation {
    pub(super) fn waits_for(&self, node: NodeId) -> bool {
        self.out.contains_key(&node)
    }

    fn is_done(&self) -> bool {
        self.ready.is_empty()
            && match &self.machine {
                Machine::Read(read, _) => read.is_done(),
                Machine::Write(write, _) => write.is_done(),
            }
    }
}

/// A write that a home replica coordinates for this node.
#[derive(Debug)]
pub(super) struct Forwarded {
    call: Call,
    pub(super) to: NodeId,
    needed: u8,
    is_retry: bool,
}

/// Why a forwarded write got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// Nobody listens there: nothing was sent.
    NobodyThere,
    /// The connection broke, or its other end is silent.
    Broken,
    /// Its time is up.
    TimedOut,
}

/// What one step of an operation asks for.
struct Stepped {
    wanted: Vec<Wanted>,
    subject: Subject,
    call: Call,
}

/// What an effect of either machine asks for.
enum Wanted {
    Effect(Effect<()>),
    Answer(Result<Good, Failure>),
}

impl Node {
    /// A client's operation, or one that another node forwards.
    pub(super) fn call(&mut self, env: &mut Env<'_>, call: Call, request: Request, was_forwarded: bool) {
        if let Err(mut failure) = self.coordinate(env, call, &request, was_forwarded) {
            // A retry that is refused here says nothing about the attempts before it.
            if matches!(&request.what, What::Write { attempt, .. } if attempt.is_retry()) {
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
            What::Read { seen } => {
                let quorum = ReadQuorum::of(request.level, homes.clone(), self.epoch(), env.options.core).map_err(invalid)?;
                let plan = self.read_plan(env, request, quorum, seen.clone(), &homes);
                Machine::Read(Box::new(Read::new(plan, env.now)), Outbox::default())
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
        let number = self.number();
        let ready = VecDeque::from([Input::Start]);
        let begin_by = match &request.what {
            What::Write { begin_by, .. } => *begin_by,
            What::Read { .. } => None,
        };
        let subject = Subject { key: request.key, deadline: request.deadline, begin_by };
        let operation = Operation { machine, subject, call, out: BTreeMap::new(), ready };
        self.process.operations.insert(number, operation);
        self.run(env, number);
        Ok(())
    }

    fn number(&mut self) -> u64 {
        self.process.next_number += 1;
        self.process.next_number
    }

    fn read_plan(&self, env: &mut Env<'_>, request: &Request, quorum: ReadQuorum, seen: Context, homes: &PreferenceList) -> ReadPlan {
        let mut preferred: Vec<NodeId> = homes.iter().collect();
        env.random.shuffle(&mut preferred);
        preferred.sort_by_key(|node| (!self.is_up(*node), *node != self.id));
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
        let hlc = self.process.clock.tick((super::WALL_BEGIN_MS + env.now.0 / 1_000).saturating_add_signed(self.skew_ms));
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

    /// Hands a write to a home replica. Once it has left, only that replica's answer says what became of it.
    fn forward(&mut self, env: &mut Env<'_>, call: Call, request: Request, home: NodeId, needed: u8) {
        env.actions.push(Action::Mark(Mark::Forwarded));
        let number = self.number();
        let is_retry = matches!(&request.what, What::Write { attempt, .. } if attempt.is_retry());
        self.process.forwarded.insert(number, Forwarded { call, to: home, needed, is_retry });
        env.actions.push(Action::Alarm(request.deadline, Alarm::Forwarded(number)));
        let onward =
            Call { issuer: Address::Node(self.id), boot: self.identity().boot, operation: number, sending: Sending(call.sending.0) };
        self.send(env, Address::Node(home), Payload::Call { call: onward, request });
    }

    pub(super) fn forward_answered(&mut self, env: &mut Env<'_>, call: Call, answer: Result<Result<Good, Failure>, NoAnswer>) {
        if call.boot == self.identity().boot {
            self.forward_ended(env, call.operation, answer);
        }
    }

    pub(super) fn forward_ended(&mut self, env: &mut Env<'_>, number: u64, answer: Result<Result<Good, Failure>, NoAnswer>) {
        let Some(Forwarded { call, needed, is_retry, .. }) = self.process.forwarded.remove(&number) else { return };
        let failed = |no_answer| {
            let (reason, outcome) = match no_answer {
                NoAnswer::NobodyThere => (Reason::Unreachable { needed, alive: 0 }, Outcome::NotApplied),
                NoAnswer::Broken => (Reason::Unavailable { needed, answered: 0 }, Outcome::Unknown),
                NoAnswer::TimedOut => (Reason::TimedOut { needed, answered: 0 }, Outcome::Unknown),
            };
            // A retry that was not sent on says nothing about the attempts before it.
            let outcome = if is_retry { Outcome::Unknown } else { outcome };
            let outcome = if env.options.has(Defect::DefiniteFailureAfterForward) { Outcome::NotApplied } else { outcome };
            Err(Failure { reason, outcome, replicas: Vec::new() })
        };
        let answer = answer.unwrap_or_else(failed);
        self.send(env, call.issuer, Payload::Answer { call, answer });
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
                Input::Start | Input::Minted(_) | Input::MintRefused(_) | Input::HintKept(_) | Input::HintRefused(_) | Input::Timer(_) => {}
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

    fn run(&mut self, env: &mut Env<'_>, number: u64) {
        while let Some(Stepped { wanted, subject, call }) = self.step(env, number) {
            for wanted in wanted {
                match wanted {
                    Wanted::Effect(effect) => self.carry_out(env, number, subject, effect),
                    Wanted::Answer(answer) => self.send(env, call.issuer, Payload::Answer { call, answer }),
                }
            }
        }
        if self.process.operations.get(&number).is_some_and(Operation::is_done) {
            self.process.operations.remove(&number);
        }
    }

    /// Steps the machine with its next input, if there is one.
    fn step(&mut self, env: &mut Env<'_>, number: u64) -> Option<Stepped> {
        let operation = self.process.operations.get_mut(&number)?;
        let input = operation.ready.pop_front()?;
        let wanted: Vec<Wanted> = match &mut operation.machine {
            Machine::Read(read, out) => {
                read.step(env.now, input, out);
                env.actions.extend(out.marks().into_iter().map(Action::Mark));
                out.drain().into_iter().map(|effect| wanted(effect, read_answer)).collect()
            }
            Machine::Write(write, out) => {
                write.step(env.now, input, out);
                env.actions.extend(out.marks().into_iter().map(Action::Mark));
                out.drain().into_iter().map(|effect| wanted(effect, write_answer)).collect()
            }
        };
        Some(Stepped { wanted, subject: operation.subject, call: operation.call })
    }

    fn carry_out(&mut self, env: &mut Env<'_>, number: u64, subject: Subject, effect: Effect<()>) {
        let Subject { key, deadline, begin_by } = subject;
        let input = match effect {
            Effect::Send { to, request } if to == self.id => self.replica_here(env, number, key, &request),
            Effect::Send { to, request } if self.is_up(to) => {
                if let Some(operation) = self.process.operations.get_mut(&number) {
                    *operation.out.entry(to).or_default() += 1;
                }
                let ticket = Ticket::Operation { boot: self.identity().boot, number };
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
            Effect::Finish(()) => None,
        };
        if let Some(input) = input {
            self.soon(number, input);
        }
    }
}

fn wanted<A>(effect: Effect<A>, answer: impl Fn(A) -> Result<Good, Failure>) -> Wanted {
    Wanted::Effect(match effect {
        Effect::Finish(finished) => return Wanted::Answer(answer(finished)),
        Effect::Send { to, request } => Effect::Send { to, request },
        Effect::Mint { mint, role } => Effect::Mint { mint, role },
        Effect::KeepHint { target, delta } => Effect::KeepHint { target, delta },
        Effect::SetTimer { timer, at } => Effect::SetTimer { timer, at },
    })
}

fn read_answer(answer: Result<ReadAnswer, ReadFailure>) -> Result<Good, Failure> {
    match answer {
        Ok(ReadAnswer { siblings, .. }) => Ok(Good::Read { siblings }),
        Err(ReadFailure { reason, replicas }) => Err(Failure { reason, outcome: Outcome::NotApplied, replicas }),
    }
}

fn write_answer(answer: Result<Written, WriteFailure>) -> Result<Good, Failure> {
    match answer {
        Ok(Written { context, .. }) => Ok(Good::Written { context }),
        Err(WriteFailure { cause, outcome, replicas }) => {
            let reason = match cause {
                WriteFailureCause::Reason(reason) => reason,
                WriteFailureCause::TooManySiblings(refused) => Reason::TooManySiblings {
                    siblings_max: u32::try_from(refused.siblings_max).unwrap_or(u32::MAX),
                    // Contexts travel unsealed here; whoever is refused reads again.
                    context: SealedContext::from_bytes(bytes::Bytes::new()),
                },
            };
            Err(Failure { reason, outcome, replicas })
        }
    }
}
