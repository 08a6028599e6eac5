//! The history of a run, as its clients see it, with the little more that only a simulator knows: what each write covered.

mod chain;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_checker::dots::Sighting;
use quorate_checker::history::{Action, Detail, FinalState, FinalVersion, History, KeyId, Operation, Outcome, Seen, ValueId, WordId};
use quorate_protocol::chain::Change;
use quorate_protocol::{Attempt, Body, Context, Dot, Level, OpId, Siblings, Tick};

use crate::message::Key;
use crate::node::MintRecord;

/// Index of an operation in the history.
pub(crate) type Index = usize;

/// A dot that was given out.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) dot: Dot,
    /// What it stands for; `None` is a tombstone.
    value: Option<ValueId>,
    /// The operation it was given to.
    pub(crate) index: Option<Index>,
    /// The values that it replaces, if an eventual write made it.
    pub(crate) covers: Option<Box<[ValueId]>>,
}

/// Records operations and dots.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    /// When the history's clock stood at 0.
    pub(crate) origin: Tick,
    pub(crate) history: History,
    by_op: BTreeMap<OpId, Index>,
    /// Every dot given out, by key.
    pub(crate) dots: BTreeMap<Key, Vec<Given>>,
    levels: BTreeMap<(Level, bool), WordId>,
    /// Operations whose every copy went with a lost disk.
    pub(crate) lost: BTreeSet<Index>,
    /// Disks that were lost or damaged.
    pub(crate) disks_lost: u32,
    /// Operations that were given more than one dot: a retry found no trace of its first try.
    pub(crate) repeated: BTreeSet<Index>,
    /// Increments, which amount to a compare-and-set that is known only when they are answered.
    increments: BTreeMap<Index, (Key, OpId)>,
    /// Compare-and-sets by version.
    by_version: BTreeSet<Index>,
    /// What the answers of linearizable operations had seen.
    pub(crate) answered: Vec<(Index, Context)>,
}

/// What an operation is, when it begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun<'a> {
    pub(crate) client: u8,
    pub(crate) key: Key,
    pub(crate) level: Level,
    pub(crate) session: bool,
    /// The operation's name and what it writes, unless it reads.
    pub(crate) put: Option<(OpId, Put<'a>)>,
    /// For a write with a context: the values that the answer had shown which it came with.
    pub(crate) shown: Option<&'a [Bytes]>,
}

/// What an operation writes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Put<'a> {
    Eventual(&'a Body),
    /// A linearizable change, and the values that a compare-and-set's expectation stands for.
    Chain(&'a Change, &'a [Bytes]),
}

impl Recorder {
    pub(crate) fn key(&mut self, key: Key) -> KeyId {
        self.history.names.key(&key.to_string())
    }

    fn value(&mut self, value: &Bytes) -> ValueId {
        let text = std::str::from_utf8(value).expect("clients write text");
        self.history.names.value(text)
    }

    fn level(&mut self, level: Level, session: bool) -> WordId {
        if let Some(word) = self.levels.get(&(level, session)) {
            return *word;
        }
        let word = self.history.names.word(&format!("{level}{}", if session { "+session" } else { "" }));
        self.levels.insert((level, session), word);
        word
    }

    /// An operation is called. Until it ends, its outcome is unknown.
    pub(crate) fn begin(&mut self, now: Tick, begun: Begun<'_>) -> Index {
        let index = self.history.operations.len();
        let key = self.key(begun.key);
        let level = self.level(begun.level, begun.session);
        let action = match begun.put {
            None => Action::Read { seen: None },
            Some((_, Put::Eventual(Body::Tombstone))) => Action::Delete,
            Some((_, Put::Eventual(Body::Value(value)))) => Action::Write { value: self.value(value) },
            Some((op, Put::Chain(change, expected))) => self.action(index, begun.key, op, change, expected),
        };
        let shown = begun.shown.map(|shown| {
            let mut shown: Vec<ValueId> = shown.iter().map(|value| self.value(value)).collect();
            shown.sort_unstable();
            shown.into()
        });
        let detail = begun.put.map(|(op, put)| {
            self.by_op.insert(op, index);
            let op_id = Some(self.history.names.word(&op.to_string()));
            let covers = matches!(put, Put::Eventual(_)).then(Box::default);
            Box::new(Detail { op_id, covers, shown, attempts: Some(0), ..Detail::default() })
        });
        self.history.operations.push(Operation {
            process: u64::from(begun.client),
            key,
            action,
            call: self.nanos(now),
            end: None,
            outcome: Outcome::Unknown,
            level: Some(level),
            detail,
        });
        index
    }

    /// An operation was sent once more as a retry.
    pub(crate) fn retried(&mut self, index: Index, attempt: Attempt) {
        if let Some(detail) = &mut self.history.operations[index].detail {
            detail.attempts = detail.attempts.max(Some(attempt.0));
        }
    }

    /// An operation ended.
    pub(crate) fn end(&mut self, now: Tick, index: Index, outcome: Outcome) {
        let end = (outcome != Outcome::Unknown).then(|| self.nanos(now));
        let operation = &mut self.history.operations[index];
        operation.outcome = outcome;
        operation.end = end;
        let is_cas = matches!(operation.action, Action::Cas { .. } | Action::CasSiblings(_));
        if let (true, Some(detail)) = (is_cas && outcome == Outcome::Fail, &mut operation.detail) {
            detail.refused = true;
        }
    }

    pub(super) fn seen(&mut self, siblings: &Siblings) -> Seen {
        let mut values: Vec<ValueId> =
            siblings.visible().iter().filter_map(|(_, version)| version.value()).map(|value| self.value(value)).collect();
        values.sort_unstable();
        values.dedup();
        match values.as_slice() {
            [] => Seen::Absent,
            [one] => Seen::One(*one),
            _ => Seen::Many(values.into()),
        }
    }

    /// A write got a dot: what its context covers, it replaces.
    pub(crate) fn minted(&mut self, minted: &MintRecord) {
        let value = match &minted.body {
            Body::Tombstone => None,
            Body::Value(value) => Some(self.value(value)),
        };
        let index = minted.op.and_then(|op| self.by_op.get(&op).copied());
        let dots = self.dots.entry(minted.key).or_default();
        let replaced = dots.iter().filter(|given| given.dot != minted.dot && minted.covers.covers(given.dot));
        let mut covered: Vec<ValueId> = replaced.filter_map(|given| given.value).collect();
        covered.sort_unstable();
        covered.dedup();
        // A write that found its own first try covers nothing by it.
        covered.retain(|covered| Some(*covered) != value);
        dots.push(Given { dot: minted.dot, value, index, covers: Some(covered.clone().into()) });
        let Some(detail) = index.and_then(|index| self.history.operations[index].detail.as_mut()) else { return };
        let mut all = detail.covers.take().unwrap_or_default().into_vec();
        all.extend(covered);
        all.sort_unstable();
        all.dedup();
        detail.covers = Some(all.into());
        let dot = self.history.names.word(&minted.dot.to_string());
        if !detail.dots.contains(&dot) {
            detail.dots = detail.dots.iter().copied().chain([dot]).collect();
        }
    }

    /// Finds the operations that were given more than one dot.
    pub(crate) fn find_repeated(&mut self) {
        let dots = |operation: &Operation| operation.detail.as_ref().map_or(0, |detail| detail.dots.len());
        let operations = self.history.operations.iter().enumerate();
        self.repeated = operations.filter(|(_, operation)| dots(operation) > 1).map(|(index, _)| index).collect();
    }

    /// The dots that were given to no operation of the history, with what they stand for.
    pub(crate) fn sightings(&mut self) -> Vec<Sighting> {
        let mut sightings = Vec::new();
        for (key, dots) in &self.dots {
            let key = self.history.names.key(&key.to_string());
            for given in dots.iter().filter(|given| given.index.is_none()) {
                let dot = self.history.names.word(&given.dot.to_string());
                sightings.push(Sighting { key, dot, value: given.value, operation: None });
            }
        }
        sightings
    }

    /// What a replica holds at the end.
    pub(crate) fn hold(&mut self, replica: &str, key: Key, siblings: &Siblings) {
        let versions = siblings
            .live()
            .map(|(dot, version)| {
                let value = version.value().map(|value| self.value(value));
                FinalVersion { dot: self.history.names.word(&dot.to_string()), value }
            })
            .collect();
        let digest = self.history.names.word(&format!("{}", siblings.context()));
        let state = FinalState { replica: self.history.names.word(replica), key: self.key(key), versions, digest: Some(digest) };
        self.history.finals.push(state);
    }

    fn nanos(&self, now: Tick) -> u64 {
        now.since(self.origin) * 1_000
    }
}
