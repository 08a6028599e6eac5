//! A simulated client: its workload, and the driver of the attempts machine.
//!
//! A client does one operation at a time. What it writes is unique: its own name and a count, or a set or counter that differs from
//! every other by what this client added last.

mod workload;

use std::collections::{BTreeMap, BTreeSet};

use quorate_checker::history::Outcome as Ending;
use quorate_protocol::chain::operation::Decision;
use quorate_protocol::chain::{Change, Token};
use quorate_protocol::notes::Notes;
use quorate_protocol::outcome::{Failure, Outcome, Reason};
use quorate_protocol::replica::Seen;
use quorate_protocol::session::attempts::{
    AttemptOptions, Attempts, ClientEffect, ClientInput, ClientTimer, GaveUp, Nature, Sending, Trouble,
};
use quorate_protocol::session::lanes::Lanes;
use quorate_protocol::{Attempt, Body, ClientId, Context, Level, OpId, Siblings, Tick};
use quorate_ring::NodeId;

use self::workload::Known;
pub(crate) use self::workload::{Doing, Ended, Intent, Unsettled};
use crate::message::{Address, Call, Changed, Good, Key, Request, What};
use crate::node::WALL_BEGIN_MS;
use crate::options::Options;
use crate::random::Random;
use crate::recorder::{Begun, Index, Put, Recorder};

/// Longest pause between two operations, in microseconds.
const THINK_MICROS_MAX: u64 = 1_000_000;

/// Nodes beside the home replicas that an operation may go to.
const OTHERS_MAX: usize = 4;

/// What a client wants from the world.
#[derive(Debug)]
pub(crate) enum ClientAction {
    Send(NodeId, Call, Request),
    Alarm(Tick, ClientAlarm),
    /// The operation ended.
    Done(Ended),
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
    /// What it read or wrote last of each key.
    read: BTreeMap<Key, Known>,
    underway: Option<Underway>,
    count: u64,
    written: u64,
    /// The key that was read in order to be written.
    update: Option<Key>,
    /// The last change of unknown outcome.
    unknown: Option<Unsettled>,
    /// That is to be settled next.
    settles: bool,
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
            unknown: None,
            settles: false,
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

    /// Begins an operation.
    pub(crate) fn begin(&mut self, env: &mut ClientEnv<'_>, intent: Intent) {
        assert!(self.underway.is_none(), "a client does one operation at a time");
        self.count += 1;
        let number = self.count;
        let wall = WALL_BEGIN_MS + env.now.0 / 1_000;
        let op = match &intent.what {
            Doing::Read => None,
            Doing::Write { .. } | Doing::Change { .. } => {
                Some(self.lanes.issue(&[intent.key.0], wall).expect("few operations at a time take few lanes"))
            }
            Doing::Settle(unsettled) => Some(unsettled.op),
        };
        let deadline = env.now.after(env.options.client.deadline_micros);
        // Who looks after the run itself is patient: a round has the time it takes in a healthy cluster.
        let patience = if self.id > env.options.clients { env.options.client.deadline_micros / 2 } else { 0 };
        let silence_micros = env.options.client.silence_micros.max(patience);
        let attempts =
            AttemptOptions { silence_micros, begin_micros: silence_micros * 2 / 3, options: env.options.core, ..AttemptOptions::default() };
        let (nature, first) = match &intent.what {
            Doing::Read => (Nature::Read, Attempt(0)),
            Doing::Write { seen: Seen::Blind, .. } => (Nature::BlindWrite, Attempt(0)),
            Doing::Write { .. } | Doing::Change { .. } => (Nature::Write, Attempt(0)),
            Doing::Settle(_) => (Nature::Write, Attempt(1)),
        };
        let candidates = if env.via.is_empty() { self.candidates(env, &intent) } else { env.via.clone() };
        let machine = Attempts::new(attempts, candidates, nature, first, deadline, self.random.next());
        let index = match &intent.what {
            Doing::Settle(unsettled) => unsettled.index,
            Doing::Read | Doing::Write { .. } | Doing::Change { .. } => self.record(env, &intent, op),
        };
        self.underway = Some(Underway { number, machine, intent, op, deadline, index });
        self.step(env, ClientInput::Start);
    }

    fn record(&self, env: &mut ClientEnv<'_>, intent: &Intent, op: Option<OpId>) -> Index {
        // What a version had replaced that a consensus made, no history says: nobody can judge what its context covers.
        let shows_all = !env.options.keys[usize::from(intent.key.0)].workload.is_linearizable();
        let put = match (&intent.what, op) {
            (Doing::Write { body, .. }, Some(op)) => Some((op, Put::Eventual(body))),
            (Doing::Change { change, expected }, Some(op)) => Some((op, Put::Chain(change, expected))),
            _ => None,
        };
        let shown = match &intent.what {
            Doing::Write { seen: Seen::Context(_), .. } if shows_all => self.read.get(&intent.key).map(|known| known.values.as_slice()),
            Doing::Write { seen: Seen::Nothing, .. } => Some(&[][..]),
            Doing::Write { .. } | Doing::Read | Doing::Change { .. } | Doing::Settle(_) => None,
        };
        let begun = Begun { client: self.id, key: intent.key, level: intent.level, session: self.session.is_some(), put, shown };
        env.recorder.begin(env.now, begun)
    }

    /// Home replicas first, in any order, then some others. At `linearizable` mostly the first home replica comes first, so that
    /// operations meet at one proposer.
    fn candidates(&mut self, env: &ClientEnv<'_>, intent: &Intent) -> Vec<NodeId> {
        let in_order = &env.homes[usize::from(intent.key.0)];
        let homes: BTreeSet<NodeId> = in_order.iter().collect();
        let mut first: Vec<NodeId> = homes.iter().copied().collect();
        self.random.shuffle(&mut first);
        if intent.level == Level::Linearizable && !self.random.chance(env.options.client.wander_permille) {
            let preferred = in_order.iter().next();
            first.sort_by_key(|node| Some(*node) != preferred);
        }
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
            Ok(Good::Changed(changed)) if matches!(changed.decision, Decision::Conflict { recorded: false, .. }) => {
                ClientInput::Provisional(call.sending, Good::Changed(changed))
            }
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
                ClientEffect::Finish(Err(gave_up)) => self.fail(env, &gave_up),
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
            (Doing::Change { change, .. }, Some(op)) => {
                env.recorder.retried(underway.index, attempt);
                What::Change { op, attempt, change }
            }
            (Doing::Settle(_), Some(op)) => What::Change { op, attempt, change: Change::Fence },
            (Doing::Read | Doing::Write { .. } | Doing::Change { .. } | Doing::Settle(_), _) => {
                What::Read { seen: self.session_context(key) }
            }
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
        let seen = match &good {
            Good::Read { siblings, .. } => siblings.context(),
            Good::Written { context } => context,
            Good::Changed(changed) => &changed.seen,
        };
        if let Some(session) = &mut self.session {
            session.entry(key).or_default().merge(seen);
        }
        let mut ended = Ended::Succeeded;
        match good {
            Good::Read { siblings, token } => self.has_read(env, &underway, &siblings, token),
            Good::Written { context } => {
                env.recorder.end(env.now, underway.index, Ending::Ok);
                if let Doing::Write { body, .. } = &underway.intent.what {
                    self.has_written(key, body, context, None);
                }
            }
            Good::Changed(changed) => {
                env.recorder.changed(env.now, underway.index, &changed);
                if matches!(changed.decision, Decision::Conflict { .. }) {
                    ended = Ended::Conflicted;
                }
                self.has_changed(key, &underway.intent.what, changed);
            }
        }
        self.release(underway.op);
        env.actions.push(ClientAction::Done(ended));
    }

    fn has_read(&mut self, env: &mut ClientEnv<'_>, underway: &Underway, siblings: &Siblings, token: Option<Token>) {
        env.recorder.read(env.now, underway.index, siblings, token);
        let values = siblings.visible().iter().filter_map(|(_, version)| version.value().cloned()).collect();
        self.read.insert(underway.intent.key, Known { context: siblings.context().clone(), values, token });
    }

    /// The context of a write can be used for the next one, as that of a read can.
    fn has_written(&mut self, key: Key, body: &Body, context: Context, token: Option<Token>) {
        if self.random.chance(800) {
            let values = match body {
                Body::Value(value) => vec![value.clone()],
                Body::Tombstone => Vec::new(),
            };
            self.read.insert(key, Known { context, values, token });
        }
    }

    fn has_changed(&mut self, key: Key, what: &Doing, Changed { decision, context, .. }: Changed) {
        // What was decided earlier may have been replaced.
        let (Doing::Change { change, .. }, false) = (what, context.is_empty()) else { return };
        match (decision, change) {
            (Decision::Applied { token, result: Some(result) }, _) => {
                self.has_written(key, &Body::Value(result), context, Some(token));
            }
            (Decision::Applied { token, .. }, Change::Put(value)) => {
                self.has_written(key, &Body::Value(value.clone()), context, Some(token));
            }
            (Decision::Applied { token, .. }, Change::Delete) => self.has_written(key, &Body::Tombstone, context, Some(token)),
            (Decision::Applied { token, .. }, Change::Cas { body, .. }) => self.has_written(key, body, context, Some(token)),
            (Decision::Conflict { token, current: Some(values), .. }, _) => {
                self.read.insert(key, Known { context, values, token: Some(token) });
            }
            _ => {}
        }
    }

    fn fail(&mut self, env: &mut ClientEnv<'_>, gave_up: &GaveUp) {
        let Some(underway) = self.underway.take() else { return };
        let outcome = gave_up.outcome;
        self.update = None;
        let is_fenced = matches!(&gave_up.last, Some((_, Trouble::Failed(Failure { reason: Reason::Fenced, .. }))));
        let ended = match underway.intent.what {
            Doing::Read => {
                env.recorder.end(env.now, underway.index, Ending::Fail);
                Ended::Unanswered
            }
            // A coordinator that only could not settle it says nothing of the change.
            Doing::Settle(_) if !is_fenced => Ended::Failed(Outcome::Unknown),
            Doing::Write { .. } | Doing::Change { .. } | Doing::Settle(_) => {
                let ending = if outcome == Outcome::NotApplied { Ending::Fail } else { Ending::Unknown };
                env.recorder.end(env.now, underway.index, ending);
                Ended::Failed(outcome)
            }
        };
        self.settles = false;
        if let (Doing::Change { .. }, Outcome::Unknown, Some(op)) = (&underway.intent.what, outcome, underway.op) {
            self.unknown = Some(Unsettled { key: underway.intent.key, op, index: underway.index });
            self.settles = self.random.chance(env.options.client.settle_permille);
        }
        // A later operation of its lane would settle it, too.
        if !self.settles {
            self.release(underway.op);
        }
        env.actions.push(ClientAction::Done(ended));
    }

    fn release(&mut self, op: Option<OpId>) {
        if let Some(op) = op {
            self.lanes.release(&op);
        }
    }
}
