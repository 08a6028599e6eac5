//! What was done and what was seen: the operations of a run, on one clock.
//!
//! **Shape.** Names (keys, values, nodes, levels) are interned: an [`Operation`] holds small numbers, and [`Names`] gives the text
//! back. A million operations then take tens of megabytes, and comparing two values is comparing two integers. Equal numbers of
//! one kind mean equal names, within one history.
//!
//! **Time.** Every `call` and `end` is a nanosecond of the recorder's one monotonic clock. Two operations whose ends touch
//! (`a.end == b.call`) are concurrent: only `a.end < b.call` orders them.
//!
//! **Outcome.** `Ok`: it took effect. `Fail`: it certainly did not and never will. `Unknown`: it may have, may yet, or never will;
//! such an operation has no `end`. A failed cas that says what it observed is a successful read of that.

mod table;

use std::collections::BTreeMap;

use self::table::Table;

/// Nanoseconds on the recorder's clock.
pub type Nanos = u64;

macro_rules! name {
    ($(#[$doc:meta])* $id:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $id(pub u32);
    };
}

name!(
    /// A key, as its bucket and key (`bucket/key`, or the key alone in the default bucket).
    KeyId
);
name!(
    /// A value that was written or read.
    ValueId
);
name!(
    /// Any other name: a node, a level, an operation id, a token, a dot, a digest.
    WordId
);

/// What a read returned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Seen {
    /// No value.
    Absent,
    /// One value.
    One(ValueId),
    /// Siblings, two or more, ascending and distinct.
    Many(Box<[ValueId]>),
}

impl Seen {
    /// A result of these values, in any order.
    #[must_use]
    pub fn of(mut values: Vec<ValueId>) -> Self {
        values.sort_unstable();
        values.dedup();
        match values.as_slice() {
            [] => Self::Absent,
            [one] => Self::One(*one),
            _ => Self::Many(values.into()),
        }
    }

    /// The values, ascending and distinct.
    #[must_use]
    pub fn values(&self) -> &[ValueId] {
        match self {
            Self::Absent => &[],
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

impl From<Option<ValueId>> for Seen {
    fn from(value: Option<ValueId>) -> Self {
        value.map_or(Self::Absent, Self::One)
    }
}

/// What an operation did.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Returned `seen`; `None` when it returned nothing (outcome `Fail` or `Unknown`).
    Read {
        /// What it returned.
        seen: Option<Seen>,
    },
    /// Put a value.
    Write {
        /// The value.
        value: ValueId,
    },
    /// Made the key absent.
    Delete,
    /// Put a value if the key held another.
    Cas {
        /// What the key had to hold; `None` is absence.
        expect: Option<ValueId>,
        /// The value.
        value: ValueId,
        /// What a cas found, if it says so: inner `None` is absence.
        observed: Option<Option<ValueId>>,
    },
    /// The same where siblings come in: it replaced, or would have, all that was live.
    CasSiblings(Box<CasSiblings>),
}

/// A cas that expected or found siblings.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CasSiblings {
    /// All that had to be live.
    pub expect: Seen,
    /// The value.
    pub value: ValueId,
    /// All that it found, if it says so.
    pub observed: Option<Seen>,
}

impl Action {
    /// What it put, or would have.
    #[must_use]
    pub fn written(&self) -> Option<ValueId> {
        match self {
            Self::Write { value } | Self::Cas { value, .. } => Some(*value),
            Self::CasSiblings(cas) => Some(cas.value),
            Self::Read { .. } | Self::Delete => None,
        }
    }
}

/// Whether an operation took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// It did.
    Ok,
    /// It did not and never will.
    Fail,
    /// It may have, may yet, or never will.
    Unknown,
}

/// What a history may say beyond the bare operation. All of it is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Detail {
    /// The values that the context of this write covered, a blind one's effective context included; `None` when not said.
    pub covers: Option<Box<[ValueId]>>,
    /// The values that the answer had shown whose context this write was made with, ascending; empty if it was to replace nothing;
    /// `None` for a blind write, and when not said.
    pub shown: Option<Box<[ValueId]>>,
    /// The versions that this write became: several if more than one try was applied. Empty when not said.
    pub dots: Box<[WordId]>,
    /// Its client decided on this write by its last read of the key: it read, changed and wrote.
    pub update: bool,
    /// How often it was sent again when an earlier sending might have taken effect; `None` when not said. Above 0 it may have taken
    /// effect twice.
    pub attempts: Option<u32>,
    /// When it was to begin, if its sender may have been late: at or before its call.
    pub due: Option<Nanos>,
    /// The client's name for the operation.
    pub op_id: Option<WordId>,
    /// The coordinator.
    pub node: Option<WordId>,
    /// The replicas asked.
    pub asked: Box<[WordId]>,
    /// The replicas that were stale.
    pub stale: Box<[WordId]>,
    /// The version that resulted, or that was read.
    pub token: Option<WordId>,
    /// A failed cas says nothing about the value: it was refused before anybody looked (unavailable, overloaded), or it was by token and
    /// only the version had changed.
    pub refused: bool,
}

/// One operation of one process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operation {
    /// Who did it. A process does one operation at a time.
    pub process: u64,
    /// On which key.
    pub key: KeyId,
    /// What.
    pub action: Action,
    /// When it was called.
    pub call: Nanos,
    /// When it returned; `None` exactly when the outcome is unknown.
    pub end: Option<Nanos>,
    /// Whether it took effect.
    pub outcome: Outcome,
    /// At which level, if said.
    pub level: Option<WordId>,
    /// What else is known.
    pub detail: Option<Box<Detail>>,
}

/// One live version in a replica's final state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FinalVersion {
    /// The version's unique name.
    pub dot: WordId,
    /// Its value; `None` is a tombstone.
    pub value: Option<ValueId>,
}

/// What one replica held for one key when all was over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FinalState {
    /// The replica.
    pub replica: WordId,
    /// The key.
    pub key: KeyId,
    /// The live versions.
    pub versions: Vec<FinalVersion>,
    /// A digest of the whole record, causal context included.
    pub digest: Option<WordId>,
}

/// A whole run.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What was said about the run (seed, levels, faults, cluster), as JSON text of each member.
    pub header: BTreeMap<String, serde_json::Value>,
    /// The operations, in no particular order.
    pub operations: Vec<Operation>,
    /// The final states, if recorded.
    pub finals: Vec<FinalState>,
    /// The text of all names.
    pub names: Names,
}

/// The text behind the numbers.
#[derive(Clone, Debug, Default)]
pub struct Names {
    keys: Table,
    values: Table,
    words: Table,
}

impl Names {
    /// The number of a key.
    pub fn key(&mut self, text: &str) -> KeyId {
        KeyId(self.keys.intern(text))
    }

    /// The number of a value.
    pub fn value(&mut self, text: &str) -> ValueId {
        ValueId(self.values.intern(text))
    }

    /// The number of any other name.
    pub fn word(&mut self, text: &str) -> WordId {
        WordId(self.words.intern(text))
    }

    /// A key's text.
    ///
    /// # Panics
    /// If the number is of another history.
    #[must_use]
    pub fn key_text(&self, key: KeyId) -> &str {
        self.keys.text(key.0)
    }

    /// A value's text.
    ///
    /// # Panics
    /// If the number is of another history.
    #[must_use]
    pub fn value_text(&self, value: ValueId) -> &str {
        self.values.text(value.0)
    }

    /// Another name's text.
    ///
    /// # Panics
    /// If the number is of another history.
    #[must_use]
    pub fn word_text(&self, word: WordId) -> &str {
        self.words.text(word.0)
    }

    /// How many keys have been named; key numbers are below it.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// How many values have been named; value numbers are below it.
    #[must_use]
    pub fn value_count(&self) -> usize {
        self.values.len()
    }

    /// How many other names there are; their numbers are below it.
    #[must_use]
    pub fn word_count(&self) -> usize {
        self.words.len()
    }
}
