//! Random schedules: several proposers and readers on one key, over a network that loses, repeats and reorders, with replicas that crash.
//!
//! Every operation is an increment or a read, so that order shows in the answers: an increment's result is the number of increments up to
//! it, its token grows with it. The judge is a few lines long and knows nothing of ballots.

use std::collections::{BTreeMap, BTreeSet};

use super::backoff::mix;
use super::operation::{Answer, Decision, Operation, Ticket};
use super::proposer::Proposer;
use super::read::{ChainRead, Found};
use super::state::{Change, Function, Token};
use super::testing::{Cluster, op};
use crate::defect::Defect;
use crate::ids::Tick;
use crate::machine::{Effect, Input, Outbox, Timer};
use crate::notes::Mark;
use crate::outcome::Outcome;
use crate::record::WriteMode;
use crate::replica::ReplicaRequest;
use quorate_ring::NodeId;

const NODES: u64 = 3;
const STEPS: usize = 600;
const CLIENTS: u64 = 4;

/// Who waits for a message, a timer or a ballot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Machine {
    Proposer(u64),
    Reader(usize),
}

enum Event {
    Request { by: Machine, to: NodeId, request: ReplicaRequest },
    Input { of: Machine, input: Input },
}

/// What somebody was told, and when.
#[derive(Clone, Debug)]
struct Told {
    called: usize,
    returned: usize,
    token: Token,
    /// An increment's result; of a read, the value.
    count: i64,
    is_increment: bool,
}

/// A client's increment under way.
struct Pending {
    client: u128,
    seq: u64,
    called: usize,
    tainted: bool,
}

/// The schedule's dice.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = mix(self.0);
        self.0 % limit
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

struct World {
    random: Dice,
    cluster: Cluster,
    proposers: BTreeMap<u64, Proposer>,
    readers: Vec<(ChainRead, usize)>,
    events: Vec<Event>,
    tickets: BTreeMap<(u64, Ticket), Pending>,
    next_ticket: u64,
    seqs: BTreeMap<u128, u64>,
    told: Vec<Told>,
    unknown: usize,
    /// An answer that no increment can have.
    odd: Option<String>,
    step: usize,
}

impl World {
    fn new(seed: u64, write_mode: WriteMode, defect: Option<Defect>) -> Self {
        let mut cluster = Cluster::new();
        cluster.write_mode = write_mode;
        cluster.options.defect = defect;
        let proposers = (1..=NODES).map(|me| (me, cluster.proposer(me))).collect();
        Self {
            random: Dice(mix(seed)),
            cluster,
            proposers,
            readers: Vec::new(),
            events: Vec::new(),
            tickets: BTreeMap::new(),
            next_ticket: 0,
            seqs: BTreeMap::new(),
            told: Vec::new(),
            unknown: 0,
            odd: None,
            step: 0,
        }
    }

    fn run(&mut self) {
        for step in 0..STEPS {
            self.step = step;
            match self.random.below(20) {
                0 => self.increment(),
                1 => self.read(),
                2 if self.random.chance(10) => self.crash(),
                _ => self.deliver(),
            }
        }
        // Whatever is on its way arrives in some order; whoever still waits gives up.
        while !self.events.is_empty() {
            self.step += 1;
            self.deliver();
        }
        for me in 1..=NODES {
            self.step_proposer(me, Input::Timer(Timer::Deadline));
        }
    }

    fn increment(&mut self) {
        let client = u128::from(self.random.below(CLIENTS));
        if self.tickets.values().any(|pending| pending.client == client) {
            return;
        }
        let seq = *self.seqs.entry(client).and_modify(|seq| *seq += 1).or_insert(1);
        self.submit(Pending { client, seq, called: self.step, tainted: false });
    }

    fn submit(&mut self, pending: Pending) {
        let me = 1 + self.random.below(NODES);
        let operation = Operation {
            change: Change::Modify(Function::Increment(1)),
            op: Some(op(pending.client, pending.seq)),
            tainted: pending.tainted,
            deadline: Tick(0),
        };
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.tickets.insert((me, ticket), pending);
        let mut out = Outbox::default();
        self.proposers.get_mut(&me).expect("a node").submit(Tick(0), ticket, operation, BTreeSet::new(), &mut out);
        self.carry_out(me, &mut out);
    }

    fn read(&mut self) {
        let me = 1 + self.random.below(NODES);
        let mut reader = self.cluster.reader(me, self.cluster.options);
        let mut out = Outbox::default();
        reader.step(Tick(0), Input::Start, &mut out);
        self.readers.push((reader, self.step));
        self.take(self.readers.len() - 1, &mut out);
    }

    /// A replica's proposer forgets everything; its record, which is durable, stays.
    fn crash(&mut self) {
        let me = 1 + self.random.below(NODES);
        self.proposers.insert(me, self.cluster.proposer(me));
        let lost: Vec<_> = self.tickets.keys().filter(|(node, _)| *node == me).copied().collect();
        for key in lost {
            let pending = self.tickets.remove(&key).expect("it was just there");
            self.not_answered(pending, Outcome::Unknown);
        }
    }

    fn deliver(&mut self) {
        if self.events.is_empty() {
            return;
        }
        let at = self.random.below(self.events.len() as u64) as usize;
        let event = self.events.swap_remove(at);
        match event {
            Event::Request { by, to, request } => {
                if self.random.chance(10) {
                    return;
                }
                if self.random.chance(10) {
                    self.events.push(Event::Request { by, to, request: request.clone() });
                }
                let input = self.cluster.ask(to, &request);
                if self.random.chance(90) {
                    self.events.push(Event::Input { of: by, input });
                }
            }
            Event::Input { of: Machine::Proposer(me), input } => self.step_proposer(me, input),
            Event::Input { of: Machine::Reader(index), input } => {
                let mut out = Outbox::default();
                self.readers[index].0.step(Tick(0), input, &mut out);
                self.take(index, &mut out);
            }
        }
    }

    fn step_proposer(&mut self, me: u64, input: Input) {
        let mut out = Outbox::default();
        self.proposers.get_mut(&me).expect("a node").step(Tick(0), input, &mut out);
        self.carry_out(me, &mut out);
    }

    fn carry_out(&mut self, me: u64, out: &mut Outbox<Answer>) {
        let of = Machine::Proposer(me);
        for effect in out.drain() {
            match effect {
                Effect::Send { to, request } => self.events.push(Event::Request { by: of, to, request }),
                Effect::DrawBallot { seen } => {
                    let drawn = self.cluster.draw(NodeId(me), seen);
                    self.events.push(Event::Input { of, input: Input::Drawn(drawn) });
                }
                // Time-outs come at any time, and give up now and then.
                Effect::SetTimer { timer: Timer::Deadline, .. } if self.random.chance(80) => {}
                Effect::SetTimer { timer: Timer::Resend, .. } if self.step > STEPS + 400 => {}
                Effect::SetTimer { timer, .. } => self.events.push(Event::Input { of, input: Input::Timer(timer) }),
                Effect::Finish((ticket, answer)) => self.answered(me, ticket, answer),
                Effect::Mint { .. } | Effect::KeepHint { .. } => panic!("not for a proposer"),
            }
        }
        self.cluster.marks.extend(out.marks());
    }

    fn answered(&mut self, me: u64, ticket: Ticket, answer: Result<super::operation::Done, super::operation::NotDone>) {
        let Some(pending) = self.tickets.remove(&(me, ticket)) else { return };
        match answer {
            Ok(done) => match done.decision {
                Decision::Applied { token, result: Some(result) } => {
                    let count = std::str::from_utf8(&result).expect("digits").parse().expect("a number");
                    self.told.push(Told { called: pending.called, returned: self.step, token, count, is_increment: true });
                }
                other => self.odd = Some(format!("an increment came to {other:?}")),
            },
            Err(failure) => self.not_answered(pending, failure.outcome),
        }
    }

    /// The client tries again where it may, or gives up.
    fn not_answered(&mut self, pending: Pending, outcome: Outcome) {
        if self.step < STEPS && self.random.chance(80) {
            let tainted = pending.tainted || outcome == Outcome::Unknown;
            self.submit(Pending { tainted, ..pending });
        } else if outcome == Outcome::Unknown {
            self.unknown += 1;
        }
    }

    fn take(&mut self, index: usize, out: &mut Outbox<Result<Found, crate::eventual::read::ReadFailure>>) {
        let of = Machine::Reader(index);
        for effect in out.drain() {
            match effect {
                Effect::Send { to, request } => self.events.push(Event::Request { by: of, to, request }),
                Effect::SetTimer { timer: Timer::Deadline, .. } => {}
                Effect::SetTimer { timer: Timer::Hedge, .. } if self.step > STEPS || self.random.chance(50) => {}
                Effect::SetTimer { timer, .. } => self.events.push(Event::Input { of, input: Input::Timer(timer) }),
                Effect::Finish(Ok(Found::State { state, .. })) => {
                    let count =
                        state.values().next().map_or(0, |value| std::str::from_utf8(value).expect("digits").parse().expect("a number"));
                    let called = self.readers[index].1;
                    self.told.push(Told { called, returned: self.step, token: state.token(), count, is_increment: false });
                }
                Effect::Finish(_) => {}
                Effect::Mint { .. } | Effect::KeepHint { .. } | Effect::DrawBallot { .. } => panic!("not for a reader"),
            }
        }
        self.cluster.marks.extend(out.marks());
    }

    /// What is wrong with what clients were told.
    fn verdict(&self) -> Result<(), String> {
        if let Some(odd) = &self.odd {
            return Err(odd.clone());
        }
        let increments: Vec<&Told> = self.told.iter().filter(|told| told.is_increment).collect();
        let counts: BTreeSet<i64> = increments.iter().map(|told| told.count).collect();
        if counts.len() < increments.len() {
            return Err("two increments were given one result".to_owned());
        }
        let most = i64::try_from(increments.len() + self.unknown).expect("few");
        let last = self.told.iter().map(|told| told.count).max().unwrap_or(0);
        if last > most {
            return Err(format!("{last} increments were applied, at most {most} were asked for"));
        }
        for (one, other) in self.told.iter().flat_map(|one| self.told.iter().map(move |other| (one, other))) {
            if one.returned < other.called {
                let enough = if other.is_increment { one.count < other.count } else { one.count <= other.count };
                let grows = if other.is_increment { one.token < other.token } else { one.token <= other.token };
                if !enough || !grows {
                    return Err(format!("{other:?} came after {one:?}"));
                }
            }
        }
        Ok(())
    }
}

fn failures(seeds: u64, write_mode: WriteMode, defect: Option<Defect>) -> (Vec<(u64, String)>, BTreeSet<Mark>, usize) {
    let (mut failed, mut marks, mut told) = (Vec::new(), BTreeSet::new(), 0);
    for seed in 0..seeds {
        let mut world = World::new(seed, write_mode, defect);
        world.run();
        told += world.told.len();
        marks.extend(world.cluster.marks.iter().copied());
        if let Err(reason) = world.verdict() {
            failed.push((seed, reason));
        }
    }
    (failed, marks, told)
}

#[test]
fn whatever_the_schedule_increments_and_reads_are_linearizable() {
    for write_mode in [WriteMode::Mixed, WriteMode::LinOnly] {
        let (failed, marks, told) = failures(1_000, write_mode, None);
        assert_eq!(failed, []);
        assert!(told > 10_000, "only {told} answers");
        let wanted = [
            Mark::ChainReadFast,
            Mark::ChainReadRepaired,
            Mark::UndecidedAdopted,
            Mark::RoundContended,
            Mark::RoundShared,
            Mark::OnceFound,
            Mark::PrepareRejected,
            Mark::AcceptRejected,
        ];
        let missing: Vec<_> = wanted.iter().filter(|mark| !marks.contains(mark)).collect();
        assert!(missing.is_empty(), "never seen: {missing:?}");
        assert_eq!(marks.contains(&Mark::StickyRound), write_mode == WriteMode::LinOnly);
    }
}

#[test]
fn planted_bugs_are_found() {
    let bugs = [
        Defect::ChainReadUnrepaired,
        Defect::AcceptWithoutPromiseCheck,
        Defect::HighestAcceptedIgnored,
        Defect::LateAcceptCounts,
        Defect::RetryAppliedTwice,
        Defect::DefiniteFailureAfterAccept,
        Defect::QuorumCountedByMessages,
        Defect::MajorityRoundedDown,
    ];
    for bug in bugs {
        let (failed, ..) = failures(1_000, WriteMode::Mixed, Some(bug));
        assert!(!failed.is_empty(), "{bug} was not found");
    }
}
