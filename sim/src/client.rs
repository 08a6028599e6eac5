//! A simulated client: its workload, and the driver of the attempts machine.
//!
//! A client does one operation at a time. What it writes is unique: its own name and a count, or a set or counter that differs from
//! every other by what this client added last.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use quorate_checker::history::Outcome as Ending;
use quorate_protocol::notes::Notes;
use quorate_protocol::outcome::Outcome;
use quorate_protocol::replica::Seen;
use quorate_protocol::session::attempts::{AttemptOptions, Attempts, ClientEffect, ClientInput, ClientTimer, Nature, Sending, Trouble};
use quorate_protocol::session::lanes::Lanes;
use quorate_protocol::{Attempt, Body, ClientId, Context, Level, OpId, Tick};
use quorate_ring::NodeId;

use crate::collection::Collection;
use crate::message::{Address, Call, Good, Key, Request, What};
use crate::node::WALL_BEGIN_MS;
use crate::options::{KeyOptions, Options, Workload};
use crate::random::Random;
use crate::recorder::{Begun, Index, Recorder};

/// Longest pause between two operations, in microseconds.
const THINK_MICROS_MAX: u64 = 1_000_000;

/// Nodes beside the home replicas that an operation may go to.
const OTHERS_MAX: usize = 4;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Intent {
    pub(crate) key: Key,
    pub(crate) level: Level,
    pub(crate) what: Doing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    Read,
    Write { body: Body, seen: Seen },
}

/// What a client wants from the world.
#[derive(Debug)]
pub(crate) enum ClientAction {
    Send(NodeId, Call, Request),
    Alarm(Tick, ClientAlarm),
    /// The operation ended.
    Done(Ended),
}

/// How an operation ended, as its client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Succeeded,
    /// A read brought nothing.
    Unanswered,
    /// A write failed.
    Failed(Outcome),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded => f.write_str("is answered"),
            Self::Unanswered => f.write_str("gives up"),
            Self::Failed(outcome) => write!(f, "gives up: {outcome}"),
        }
    }
}

/// What a client wants to be woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientAlarm {
    /// Do the next operation.
    Next,
    /// A timer of this operation.
    Timer { operation: u64, timer: ClientTimer },
}

/// What a client acts with at one moment.
pub(crate) struct ClientEnv<'a> {
    pub(crate) now: Tick,
    pub(crate) options: &'a Options,
    pub(crate) homes: &'a [quorate_ring::PreferenceList],
    pub(crate) recorder: &'a mut Recorder,
    pub(crate) notes: &'a mut Notes,
    pub(crate) actions: &'a mut Vec<ClientAction>,
    /// Where to send, first to last; drawn if empty.
    pub(crate) via: Vec<NodeId>,
}

#[derive(Debug)]
struct Underway {
    number: u64,
    machine: Attempts,
    intent: Intent,
    op: Option<OpId>,
    deadline: Tick,
    index: Index,
}

/// A client.
#[derive(Debug)]
pub(crate) struct Client {
    id: u8,
    lanes: Lanes,
    random: Random,
    /// The context seen per key, if this client keeps a session.
    session: Option<BTreeMap<Key, Context>>,
    /// What it read or wrote last of each key, with the context.
    read: BTreeMap<Key, (Context, Vec<Bytes>)>,
    underway: Option<Underway>,
    count: u64,
    written: u64,
    /// The key that was read in order to be written.
    update: Option<Key>,
}

impl Client {
    pub(crate) fn new(id: u8, options: &Options) -> Self {
        let mut random = options.random_of("client", u64::from(id));
        // The last client only looks after the run itself: what a session has seen may be lost with a disk.
        let keeps_session = random.chance(options.client.session_permille) && id <= options.clients;
        Self {
            id,
            lanes: Lanes::new(ClientId(u128::from(id))),
            random,
            session: keeps_session.then(BTreeMap::new),
            read: BTreeMap::new(),
            underway: None,
            count: 0,
            written: 0,
            update: None,
        }
    }

    /// From now on it keeps a session.
    pub(crate) fn keep_session(&mut self) {
        self.session.get_or_insert_default();
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.underway.is_none()
    }

    /// Whether this operation has not ended.
    pub(crate) fn is_waiting(&self, operation: u64) -> bool {
        self.underway.as_ref().is_some_and(|underway| underway.number == operation)
    }

    /// Waits a little, or not at all, before the next operation.
    pub(crate) fn think(&mut self, env: &mut ClientEnv<'_>) {
        let wait = if self.random.chance(env.options.client.burst_permille) { 0 } else { self.random.below(THINK_MICROS_MAX) };
        env.actions.push(ClientAction::Alarm(env.now.after(wait), ClientAlarm::Next));
    }

    /// Draws the next operation of the workload.
    pub(crate) fn draw(&mut self, options: &Options) -> Intent {
        let key = match self.update {
            Some(key) => key,
            None => Key(u8::try_from(self.random.index(options.keys.len())).expect("few keys")),
        };
        let of_key = &options.keys[usize::from(key.0)];
        let updates = self.update.take().is_some();
        let what = self.doing(key, of_key, updates);
        let levels = if what == Doing::Read { &of_key.levels.reads } else { &of_key.levels.writes };
        Intent { key, level: self.random.pick(levels), what }
    }

    fn doing(&mut self, key: Key, options: &KeyOptions, updates: bool) -> Doing {
        let read = |client: &mut Self, then_write: bool| {
            client.update = then_write.then_some(key);
            Doing::Read
        };
        match options.workload {
            Workload::Register => match self.random.below(10) {
                0..=3 => read(self, false),
                4..=6 => self.put(Seen::Blind),
                7..=8 => {
                    let seen = self.last_seen(key);
                    self.put(seen)
                }
                _ => Doing::Write { body: Body::Tombstone, seen: if self.random.chance(500) { Seen::Blind } else { self.last_seen(key) } },
            },
            Workload::Resolved if updates => {
                let seen = self.last_seen(key);
                if self.random.chance(150) { Doing::Write { body: Body::Tombstone, seen } } else { self.put(seen) }
            }
            Workload::Siblings => match self.random.below(10) {
                0..=3 => read(self, false),
                4..=7 => self.put(Seen::Nothing),
                _ => {
                    let seen = self.last_seen(key);
                    self.put(seen)
                }
            },
            Workload::Set | Workload::Counter if updates => self.add(key, options.workload),
            Workload::Resolved | Workload::Set | Workload::Counter => {
                let then_write = self.random.chance(600);
                read(self, then_write)
            }
        }
    }

    /// The context of what it read or wrote last of a key; nothing if it did neither.
    pub(crate) fn last_seen(&self, key: Key) -> Seen {
        self.read.get(&key).map_or(Seen::Nothing, |(context, _)| Seen::Context(context.clone()))
    }

    fn put(&mut self, seen: Seen) -> Doing {
        let body = Body::Value(self.value());
        Doing::Write { body, seen }
    }

    /// A value that nobody writes again.
    pub(crate) fn value(&mut self) -> Bytes {
        self.written += 1;
        Bytes::from(format!("c{}.{}", self.id, self.written))
    }

    /// Merges what was read, adds one, and writes it in place of what was read.
    fn add(&mut self, key: Key, workload: Workload) -> Doing {
        let (context, values) = self.read.get(&key).cloned().unwrap_or_default();
        let mut merged = Collection::merged(&values);
        self.written += 1;
        match workload {
            Workload::Counter => merged.count(self.id, self.written),
            Workload::Set | Workload::Register | Workload::Resolved | Workload::Siblings => merged.add(self.id, self.written),
        }
        let seen = Seen::Context(context);
        Doing::Write { body: Body::Value(merged.to_value()), seen }
    }

    /// A write of a key that was just read: it replaces what was read and, in a set or counter, loses nothing of it.
    pub(crate) fn update(&mut self, key: Key, level: Level, workload: Workload) -> Intent {
        let what = match workload {
            Workload::Set | Workload::Counter => self.add(key, workload),
            Workload::Register | Workload::Resolved | Workload::Siblings => {
                let seen = self.last_seen(key);
                self.put(seen)
            }
        };
        Intent { key, level, what }
    }

    /// Begins an operation.
    pub(crate) fn begin(&mut self, env: &mut ClientEnv<'_>, intent: Intent) {
        assert!(self.underway.is_none(), "a client does one operation at a time");
        self.count += 1;
        let number = self.count;
        let wall = WALL_BEGIN_MS + env.now.0 / 1_000;
        let op = match &intent.what {
            Doing::Read => None,
            Doing::Write { .. } => Some(self.lanes.issue(wall).expect("one operation at a time takes one lane")),
        };
        let deadline = env.now.after(env.options.client.deadline_micros);
        let silence_micros = env.options.client.silence_micros;
        let attempts =
            AttemptOptions { silence_micros, begin_micros: silence_micros * 2 / 3, options: env.options.core, ..AttemptOptions::default() };
        let nature = match &intent.what {
            Doing::Read => Nature::Read,
            Doing::Write { seen: Seen::Blind, .. } => Nature::BlindWrite,
            Doing::Write { .. } => Nature::Write,
        };
        let candidates = if env.via.is_empty() { self.candidates(env, intent.key) } else { env.via.clone() };
        let machine = Attempts::new(attempts, candidates, nature, Attempt(0), deadline, self.random.next());
        let write = match &intent.what {
            Doing::Read => None,
            Doing::Write { body, .. } => op.map(|op| (op, body)),
        };
        let shown = match &intent.what {
            Doing::Write { seen: Seen::Context(_), .. } => self.read.get(&intent.key).map(|(_, values)| values.as_slice()),
            Doing::Write { seen: Seen::Nothing, .. } => Some(&[][..]),
            Doing::Write { seen: Seen::Blind, .. } | Doing::Read => None,
        };
        let begun = Begun { client: self.id, key: intent.key, level: intent.level, session: self.session.is_some(), write, shown };
        let index = env.recorder.begin(env.now, begun);
        self.underway = Some(Underway { number, machine, intent, op, deadline, index });
        self.step(env, ClientInput::Start);
    }

    /// Home replicas first, in any order, then some others.
    fn candidates(&mut self, env: &ClientEnv<'_>, key: Key) -> Vec<NodeId> {
        let homes: BTreeSet<NodeId> = env.homes[usize::from(key.0)].iter().collect();
        let mut first: Vec<NodeId> = homes.iter().copied().collect();
        self.random.shuffle(&mut first);
        let mut others: Vec<NodeId> = (1..=u64::from(env.options.nodes)).map(NodeId).filter(|node| !homes.contains(node)).collect();
        self.random.shuffle(&mut others);
        others.truncate(OTHERS_MAX);
        // Any node takes any request; now and then a client does not know better.
        if self.random.chance(env.options.client.stranger_permille) {
            others.into_iter().chain(first).collect()
        } else {
            first.into_iter().chain(others).collect()
        }
    }

    /// A coordinator has answered, or the way to it has failed.
    pub(crate) fn answered(&mut self, env: &mut ClientEnv<'_>, call: Call, brought: Result<Good, Trouble>) {
        if !self.is_waiting(call.operation) {
            return;
        }
        let input = match brought {
            Ok(good) => ClientInput::Answered(good),
            Err(trouble) => ClientInput::Troubled(call.sending, trouble),
        };
        self.step(env, input);
    }

    pub(crate) fn timer(&mut self, env: &mut ClientEnv<'_>, operation: u64, timer: ClientTimer) {
        if self.is_waiting(operation) {
            self.step(env, ClientInput::Timer(timer));
        }
    }

    fn step(&mut self, env: &mut ClientEnv<'_>, input: ClientInput<Good>) {
        let Some(underway) = &mut self.underway else { return };
        let mut effects = Vec::new();
        underway.machine.step(env.now, input, &mut effects, env.notes);
        let operation = underway.number;
        for effect in effects {
            match effect {
                ClientEffect::Send { sending, to, attempt, begin_by } => self.send(env, sending, to, attempt, begin_by),
                ClientEffect::SetTimer(timer, at) => {
                    env.actions.push(ClientAction::Alarm(at, ClientAlarm::Timer { operation, timer }));
                }
                ClientEffect::Finish(Ok(good)) => self.succeed(env, good),
                ClientEffect::Finish(Err(gave_up)) => self.fail(env, gave_up.outcome),
            }
        }
    }

    fn send(&self, env: &mut ClientEnv<'_>, sending: Sending, to: NodeId, attempt: Attempt, begin_by: Option<Tick>) {
        let Some(underway) = &self.underway else { return };
        let Intent { key, level, what } = underway.intent.clone();
        let what = match (what, underway.op) {
            (Doing::Write { body, seen }, Some(op)) => {
                env.recorder.retried(underway.index, attempt);
                What::Write { op, attempt, begin_by, seen, body }
            }
            (Doing::Read | Doing::Write { .. }, _) => What::Read { seen: self.session_context(key) },
        };
        let call = Call { issuer: Address::Client(self.id), boot: 0, operation: underway.number, sending };
        env.actions.push(ClientAction::Send(to, call, Request { key, level, deadline: underway.deadline, what }));
    }

    fn session_context(&self, key: Key) -> Context {
        self.session.as_ref().and_then(|seen| seen.get(&key)).cloned().unwrap_or_default()
    }

    fn succeed(&mut self, env: &mut ClientEnv<'_>, good: Good) {
        let Some(underway) = self.underway.take() else { return };
        let key = underway.intent.key;
        let (context, siblings) = match &good {
            Good::Read { siblings } => (siblings.context().clone(), Some(siblings)),
            Good::Written { context } => (context.clone(), None),
        };
        if let Some(seen) = &mut self.session {
            seen.entry(key).or_default().merge(&context);
        }
        env.recorder.end(env.now, underway.index, Ending::Ok, siblings);
        match (&good, &underway.intent.what) {
            (Good::Read { siblings }, _) => {
                let values = siblings.visible().iter().filter_map(|(_, version)| version.value().cloned()).collect();
                self.read.insert(key, (context, values));
            }
            // The context of a write can be used for the next one, as that of a read can.
            (Good::Written { .. }, Doing::Write { body, .. }) if self.random.chance(800) => {
                let values = match body {
                    Body::Value(value) => vec![value.clone()],
                    Body::Tombstone => Vec::new(),
                };
                self.read.insert(key, (context, values));
            }
            (Good::Written { .. }, _) => {}
        }
        self.release(underway.op);
        env.actions.push(ClientAction::Done(Ended::Succeeded));
    }

    fn fail(&mut self, env: &mut ClientEnv<'_>, outcome: Outcome) {
        let Some(underway) = self.underway.take() else { return };
        let reads = underway.intent.what == Doing::Read;
        let ending = if reads || outcome == Outcome::NotApplied { Ending::Fail } else { Ending::Unknown };
        env.recorder.end(env.now, underway.index, ending, None);
        self.update = None;
        self.release(underway.op);
        env.actions.push(ClientAction::Done(if reads { Ended::Unanswered } else { Ended::Failed(outcome) }));
    }

    fn release(&mut self, op: Option<OpId>) {
        if let Some(op) = op {
            self.lanes.release(&op);
        }
    }
}
