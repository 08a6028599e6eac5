//! What a client does next: the workloads of the keys.

use std::fmt;

use bytes::Bytes;
use quorate_protocol::chain::state::{Expect, Function};
use quorate_protocol::chain::{Change, Token};
use quorate_protocol::replica::Seen;
use quorate_protocol::{Body, Context, Level, OpId};

use super::Client;
use crate::collection::Collection;
use crate::message::Key;
use crate::options::{KeyOptions, MIXED_OPERATIONS, Options, Traffic, Workload};
use crate::recorder::Index;

/// Reads of 1000 of a key without eventual writes that are at a weaker level all the same.
const WEAK_READS_PERMILLE: u32 = 150;

/// Operations of 1000 that go to the key whose turn it is.
const IN_TURN_PERMILLE: u32 = 800;

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
    Write {
        body: Body,
        seen: Seen,
    },
    /// A linearizable change; `expected` are the values that a compare-and-set's expectation stands for.
    Change {
        change: Change,
        expected: Vec<Bytes>,
    },
    /// See to it that an operation of unknown outcome is never applied, unless it was.
    Settle(Unsettled),
}

/// A change whose outcome is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsettled {
    pub(super) key: Key,
    pub(super) op: OpId,
    pub(super) index: Index,
}

/// What a client knows of a key: what it read or wrote last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(super) context: Context,
    pub(super) values: Vec<Bytes>,
    /// The version, if the level had versions.
    pub(super) token: Option<Token>,
}

impl Client {
    /// Draws the next operation of the workload.
    pub(crate) fn draw(&mut self, options: &Options, done: u32) -> Intent {
        if let (true, Some(unsettled)) = (std::mem::take(&mut self.settles), self.unknown) {
            return Intent { key: unsettled.key, level: Level::Linearizable, what: Doing::Settle(unsettled) };
        }
        let key = match self.update {
            Some(key) => key,
            None => self.some_key(options, done),
        };
        let of_key = &options.keys[usize::from(key.0)];
        let updates = self.update.take().is_some();
        let what = self.doing(key, of_key, updates);
        let weak = match of_key.workload {
            Workload::Chain | Workload::Increment => WEAK_READS_PERMILLE,
            Workload::Mixed => 400,
            Workload::Register | Workload::Resolved | Workload::Siblings | Workload::Set | Workload::Counter => 1_000,
        };
        let level = match what {
            Doing::Change { .. } | Doing::Settle(_) => Level::Linearizable,
            Doing::Read if !updates && !self.random.chance(weak) => Level::Linearizable,
            Doing::Read => self.random.pick(&of_key.levels.reads),
            Doing::Write { .. } => self.random.pick(&of_key.levels.writes),
        };
        Intent { key, level, what }
    }

    /// Any key. Of those whose operations a search is to judge, the one that it is the turn of: few operations on a key show little
    /// unless they meet.
    fn some_key(&mut self, options: &Options, done: u32) -> Key {
        let (count, any) = (options.keys.len(), self.random.index(options.keys.len()));
        let in_turn = usize::try_from(done / MIXED_OPERATIONS).map_or(any, |turn| turn.min(count - 1));
        let number = if options.traffic == Traffic::Mixed && self.random.chance(IN_TURN_PERMILLE) { in_turn } else { any };
        Key(u8::try_from(number).expect("few keys"))
    }

    fn doing(&mut self, key: Key, options: &KeyOptions, updates: bool) -> Doing {
        match options.workload {
            Workload::Register => match self.random.below(10) {
                0..=3 => Doing::Read,
                4..=6 => self.put(Seen::Blind),
                7..=8 => {
                    let seen = self.last_seen(key);
                    self.put(seen)
                }
                _ => self.delete(key),
            },
            Workload::Resolved if updates => {
                let seen = self.last_seen(key);
                if self.random.chance(150) { Doing::Write { body: Body::Tombstone, seen } } else { self.put(seen) }
            }
            Workload::Siblings => match self.random.below(10) {
                0..=3 => Doing::Read,
                4..=7 => self.put(Seen::Nothing),
                _ => {
                    let seen = self.last_seen(key);
                    self.put(seen)
                }
            },
            Workload::Set | Workload::Counter if updates => self.add(key, options.workload),
            Workload::Resolved | Workload::Set | Workload::Counter => {
                self.update = self.random.chance(600).then_some(key);
                Doing::Read
            }
            Workload::Chain => self.chain(key),
            Workload::Mixed => match self.random.below(10) {
                0 => self.put(Seen::Blind),
                1 => self.put(Seen::Nothing),
                2 => {
                    let seen = self.last_seen(key);
                    self.put(seen)
                }
                3 if self.random.chance(300) => self.delete(key),
                _ => self.chain(key),
            },
            Workload::Increment => match self.random.below(10) {
                0..=2 => Doing::Read,
                3..=7 => change(Change::Modify(Function::Increment(1)), Vec::new()),
                _ => self.count_on(key),
            },
        }
    }

    /// A linearizable operation on a register.
    fn chain(&mut self, key: Key) -> Doing {
        match self.random.below(12) {
            0..=3 => Doing::Read,
            4..=5 => {
                let value = self.value();
                change(Change::Put(value), Vec::new())
            }
            6 => change(Change::Delete, Vec::new()),
            _ => self.cas(key),
        }
    }

    /// A compare-and-set by version, by value or by absence, of what this client knows. That may be old.
    fn cas(&mut self, key: Key) -> Doing {
        let body = Body::Value(self.value());
        let known = self.read.get(&key).cloned().unwrap_or_default();
        let (expect, expected) = match (self.random.below(10), known.token, known.values.as_slice()) {
            (0..=5, Some(token), _) => (Expect::Token(token), known.values),
            (0..=7, _, [value]) => (Expect::Value(value.clone()), known.values),
            _ => (Expect::Absent, Vec::new()),
        };
        change(Change::Cas { expect, body }, expected)
    }

    /// An increment by compare-and-set.
    fn count_on(&mut self, key: Key) -> Doing {
        let known = self.read.get(&key).cloned().unwrap_or_default();
        let number = |value: &Bytes| std::str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok());
        let next = |count: i64| Body::Value(Bytes::from((count + 1).to_string()));
        let (expect, body) = match (known.token, known.values.as_slice()) {
            (_, []) => (Expect::Absent, next(0)),
            (Some(token), [value]) if self.random.chance(500) => (Expect::Token(token), next(number(value).unwrap_or(0))),
            (_, [value, ..]) => (Expect::Value(value.clone()), next(number(value).unwrap_or(0))),
        };
        change(Change::Cas { expect, body }, known.values)
    }

    /// The context of what it read or wrote last of a key; nothing if it did neither.
    pub(crate) fn last_seen(&self, key: Key) -> Seen {
        self.read.get(&key).map_or(Seen::Nothing, |known| Seen::Context(known.context.clone()))
    }

    /// The version that it read or wrote last of a key, with the values of that version.
    pub(crate) fn last_version(&self, key: Key) -> Option<(Token, Vec<Bytes>)> {
        let known = self.read.get(&key)?;
        Some((known.token?, known.values.clone()))
    }

    /// The last change whose outcome it does not know.
    pub(crate) fn last_unknown(&self) -> Option<Unsettled> {
        self.unknown
    }

    fn put(&mut self, seen: Seen) -> Doing {
        let body = Body::Value(self.value());
        Doing::Write { body, seen }
    }

    fn delete(&mut self, key: Key) -> Doing {
        Doing::Write { body: Body::Tombstone, seen: if self.random.chance(500) { Seen::Blind } else { self.last_seen(key) } }
    }

    /// A value that nobody writes again.
    pub(crate) fn value(&mut self) -> Bytes {
        self.written += 1;
        Bytes::from(format!("c{}.{}", self.id, self.written))
    }

    /// Merges what was read, adds one, and writes it in place of what was read.
    fn add(&mut self, key: Key, workload: Workload) -> Doing {
        let known = self.read.get(&key).cloned().unwrap_or_default();
        let mut merged = Collection::merged(&known.values);
        self.written += 1;
        if workload == Workload::Counter {
            merged.count(self.id, self.written);
        } else {
            merged.add(self.id, self.written);
        }
        let seen = Seen::Context(known.context);
        Doing::Write { body: Body::Value(merged.to_value()), seen }
    }

    /// A write of a key that was just read: it replaces what was read and, in a set or counter, loses nothing of it.
    pub(crate) fn update(&mut self, key: Key, workload: Workload) -> Intent {
        let what = match workload {
            Workload::Set | Workload::Counter => self.add(key, workload),
            Workload::Register | Workload::Resolved | Workload::Siblings => {
                let seen = self.last_seen(key);
                self.put(seen)
            }
            Workload::Increment => change(Change::Modify(Function::Increment(1)), Vec::new()),
            Workload::Chain | Workload::Mixed => {
                let body = Body::Value(self.value());
                let (token, expected) = self.last_version(key).unwrap_or_default();
                change(Change::Cas { expect: Expect::Token(token), body }, expected)
            }
        };
        let level = if workload.is_linearizable() { Level::Linearizable } else { Level::Quorum };
        Intent { key, level, what }
    }
}

fn change(change: Change, expected: Vec<Bytes>) -> Doing {
    Doing::Change { change, expected }
}

/// How an operation ended, as its client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Succeeded,
    /// A compare-and-set's expectation did not hold.
    Conflicted,
    /// A read brought nothing.
    Unanswered,
    /// A write failed.
    Failed(quorate_protocol::Outcome),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded => f.write_str("is answered"),
            Self::Conflicted => f.write_str("is answered: conflict"),
            Self::Unanswered => f.write_str("gives up"),
            Self::Failed(outcome) => write!(f, "gives up: {outcome}"),
        }
    }
}
