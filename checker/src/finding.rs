//! The common shape of what the checkers find: evidence as data, and in words.
//!
//! Every checker has its own type of violation, because each promise is broken in its own ways. All of them implement [`Evidence`],
//! and [`Finding`] holds any of them for a report that lists everything.
//!
//! A checker answers with a [`Judgement`]: what it found and how much it judged. A run that judged nothing proves nothing, so look
//! at both numbers.

use std::fmt;

use crate::history::{Action, History, KeyId, Outcome, Seen, ValueId, WordId};
use crate::{causality, convergence, dots, durability, once, overlap, sessions, siblings, tokens};

/// What one checker says about a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement<V> {
    /// How many cases were judged; the checker says what a case is.
    pub judged: u64,
    /// The cases that broke the promise, in order of key.
    pub violations: Vec<V>,
}

impl<V> Judgement<V> {
    /// Whether nothing was found; see [`Judgement::judged`] for how much that says.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }
}

impl<V> Default for Judgement<V> {
    fn default() -> Self {
        Judgement { judged: 0, violations: Vec::new() }
    }
}

/// A broken promise, with what proves it.
pub trait Evidence {
    /// What kind of violation it is, in words joined by hyphens; constant, for reports and metrics.
    fn kind(&self) -> &'static str;

    /// The key it concerns.
    fn key(&self) -> KeyId;

    /// The operations that prove it, as indices into [`History::operations`]; empty when final states prove it alone.
    fn operations(&self) -> Vec<usize>;

    /// Tells it in one sentence.
    ///
    /// # Errors
    /// Those of the formatter.
    ///
    /// # Panics
    /// If the violation is of another history.
    fn tell(&self, history: &History, f: &mut fmt::Formatter<'_>) -> fmt::Result;

    /// The sentence, to be printed.
    fn in_words<'a>(&'a self, history: &'a History) -> InWords<'a>
    where
        Self: Sized,
    {
        InWords { evidence: self, history }
    }
}

/// One sentence about a violation: its kind, its key, and what happened.
pub struct InWords<'a> {
    evidence: &'a dyn Evidence,
    history: &'a History,
}

impl fmt::Display for InWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: key {}: ", self.evidence.kind(), self.history.names.key_text(self.evidence.key()))?;
        self.evidence.tell(self.history, f)
    }
}

/// A violation found by any of the checkers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Of [`siblings`].
    Siblings(siblings::Violation),
    /// Of [`overlap`].
    Overlap(overlap::Violation),
    /// Of [`sessions`].
    Sessions(sessions::Violation),
    /// Of [`durability`].
    Durability(durability::Violation),
    /// Of [`convergence`].
    Convergence(convergence::Violation),
    /// Of [`dots`].
    Dots(dots::Violation),
    /// Of [`once`].
    Once(once::Violation),
    /// Of [`causality`].
    Causality(causality::Violation),
    /// Of [`tokens`].
    Tokens(tokens::Violation),
}

impl Finding {
    fn evidence(&self) -> &dyn Evidence {
        match self {
            Finding::Siblings(violation) => violation,
            Finding::Overlap(violation) => violation,
            Finding::Sessions(violation) => violation,
            Finding::Durability(violation) => violation,
            Finding::Convergence(violation) => violation,
            Finding::Dots(violation) => violation,
            Finding::Once(violation) => violation,
            Finding::Causality(violation) => violation,
            Finding::Tokens(violation) => violation,
        }
    }
}

impl Evidence for Finding {
    fn kind(&self) -> &'static str {
        self.evidence().kind()
    }

    fn key(&self) -> KeyId {
        self.evidence().key()
    }

    fn operations(&self) -> Vec<usize> {
        self.evidence().operations()
    }

    fn tell(&self, history: &History, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.evidence().tell(history, f)
    }
}

macro_rules! finding_from {
    ($($variant:ident, $module:ident;)*) => {
        $(impl From<$module::Violation> for Finding {
            fn from(violation: $module::Violation) -> Self {
                Finding::$variant(violation)
            }
        })*
    };
}

finding_from! {
    Siblings, siblings;
    Overlap, overlap;
    Sessions, sessions;
    Durability, durability;
    Convergence, convergence;
    Dots, dots;
    Once, once;
    Causality, causality;
    Tokens, tokens;
}

/// Where a value was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the final state of this replica.
    Replica(WordId),
    /// In the result of this operation.
    Read(usize),
}

impl Place {
    pub(crate) fn operation(self) -> Option<usize> {
        match self {
            Place::Replica(_) => None,
            Place::Read(index) => Some(index),
        }
    }
}

/// What the caller knows of operations that the history does not say.
#[derive(Clone, Copy)]
pub struct Allowances<'a> {
    /// Whether the write with this index may have vanished although it was acknowledged or shown: say yes for `any` and `one` writes
    /// whose only copy's disk was lost. It is then neither missed nor relied on.
    pub vanished: &'a dyn Fn(usize) -> bool,
    /// Whether more than one try of the write with this index may have been applied, each as a version of its own. It may then be
    /// seen again after it was replaced, and what its `covers` says is what it *may* have replaced.
    pub repeated: &'a dyn Fn(usize) -> bool,
}

impl Allowances<'static> {
    /// No write vanished and none was tried twice.
    pub const NONE: Allowances<'static> = Allowances { vanished: &|_| false, repeated: &|_| false };
}

impl fmt::Debug for Allowances<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Allowances").finish_non_exhaustive()
    }
}

/// One operation in words: who, what, when.
pub(crate) struct Telling<'a> {
    pub(crate) history: &'a History,
    pub(crate) index: usize,
}

pub(crate) fn op(history: &History, index: usize) -> Telling<'_> {
    Telling { history, index }
}

impl fmt::Display for Telling<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = &self.history.operations[self.index];
        let text = |value: ValueId| self.history.names.value_text(value);
        write!(f, "process {} ", operation.process)?;
        match &operation.action {
            Action::Read { seen } => write!(f, "read {}", Showing { history: self.history, seen: seen.as_ref() })?,
            Action::Write { value } => write!(f, "wrote {}", text(*value))?,
            Action::Delete => write!(f, "deleted")?,
            Action::Cas { expect, value, .. } => write!(f, "cas {} to {}", expect.map_or("absent", text), text(*value))?,
            Action::CasSiblings(cas) => {
                write!(f, "cas {} to {}", Showing { history: self.history, seen: Some(&cas.expect) }, text(cas.value))?;
            }
        }
        write!(f, " (#{}", self.index)?;
        if let Some(level) = operation.level {
            write!(f, ", {}", self.history.names.word_text(level))?;
        }
        match operation.outcome {
            Outcome::Ok => {}
            Outcome::Fail => write!(f, ", failed")?,
            Outcome::Unknown => write!(f, ", outcome unknown")?,
        }
        match operation.end {
            Some(end) => write!(f, ", {}..{end} ns)", operation.call),
            None => write!(f, ", {}.. ns)", operation.call),
        }
    }
}

/// A result in words.
pub(crate) struct Showing<'a> {
    pub(crate) history: &'a History,
    pub(crate) seen: Option<&'a Seen>,
}

impl fmt::Display for Showing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seen {
            None => write!(f, "nothing"),
            Some(Seen::Absent) => write!(f, "absent"),
            Some(Seen::One(value)) => write!(f, "{}", self.history.names.value_text(*value)),
            Some(Seen::Many(values)) => {
                for (i, value) in values.iter().enumerate() {
                    write!(f, "{}{}", if i == 0 { "[" } else { ", " }, self.history.names.value_text(*value))?;
                }
                write!(f, "]")
            }
        }
    }
}

/// A place in words.
pub(crate) struct At<'a> {
    pub(crate) history: &'a History,
    pub(crate) place: Place,
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Replica(replica) => write!(f, "at the end, {} holds", self.history.names.word_text(replica)),
            Place::Read(index) => write!(f, "{} has", op(self.history, index)),
        }
    }
}
