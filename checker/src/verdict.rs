//! What the linearizability check says: a verdict for every key, and for every violation the few operations that prove it.
//!
//! [`check`] takes a history and answers with a [`Report`]. Keys are independent of one another: a history is linearizable if
//! every key's part of it is.
//!
//! - A key is judged as a register, exactly. What that leaves open, the search decides
//!   ([`crate::search`]), within [`Limits`].
//! - A key on which a read returned siblings is judged as a multi-value register, by search. A write then is eventual if its
//!   level is below `linearizable`, or if it has none but says what it covered. An eventual write that does not say what
//!   it covered leaves the key undecided.
//! - [`Undecided`] is never a pass: [`Report::overall`] says so, and so must whoever shows it.
//!
//! A report holds positions and numbers. [`Report::explain`] puts the history's texts to them: in words and drawings
//! (`Display`), or as data (`Serialize`).

mod decide;
mod explain;
mod words;

use crate::history::KeyId;

pub use self::decide::{check, check_promises, check_with};
pub use self::explain::Explained;

/// How much is tried, for a key that needs the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Configurations visited before a key is undecided, on top of one for each of its operations. Each takes about 150 bytes while its key is searched, more with many operations in
    /// flight at once.
    pub states: u64,
    /// Configurations visited on top to find few operations that prove a violation. Less only makes the proof longer.
    pub evidence_states: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { states: 1_000_000, evidence_states: 200_000 }
    }
}

/// Which operations are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All, as if each had promised linearizability: shows what a level does *not* give.
    Everything,
    /// What was promised. Keys on which nothing promised linearizability are left out, and so are reads below `linearizable`. A key
    /// with writes below `linearizable` is a multi-value register, whether siblings were seen or not.
    Promises,
}

/// How a key was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// By clusters and zones.
    Exact,
    /// By search, as a register.
    RegisterSearch,
    /// By search, as a multi-value register.
    MultiValueSearch,
}

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Some order explains every answer.
    Linearizable,
    /// None does.
    Violation(Box<Violation>),
    /// Nobody knows; not a pass.
    Undecided(Undecided),
}

/// Why a key is undecided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecided {
    /// The search visited as many configurations as [`Limits::states`] allows.
    StatesExhausted,
    /// `keep_going` said no.
    Stopped,
    /// An eventual write does not say what it covered.
    CoversUnknown {
        /// Its position in the history.
        write: usize,
    },
    /// A context covered a value that several operations wrote: nobody knows which of them it covered.
    CoversAmbiguous {
        /// The position in the history of the one with that context.
        write: usize,
    },
}

/// Why a key is not linearizable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The key.
    pub key: KeyId,
    /// What was broken, and by whom.
    pub rule: Rule,
    /// Puts that ended before somebody met an absence: it was not that of the beginning. Only where the rule's own operations do not
    /// show it.
    pub since: Vec<usize>,
}

impl Violation {
    /// The operations that prove it, as positions in the history, ascending. Not all need have taken effect for certain: an unknown write
    /// takes part because somebody met its value.
    #[must_use]
    pub fn operations(&self) -> Vec<usize> {
        let mut all = self.rule.operations();
        all.extend(&self.since);
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// The rule that was broken, and by whom. Operations are positions in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// What was met, nobody wrote.
    NeverWritten {
        /// Who met it.
        seen_by: usize,
    },
    /// What was met had a write, but that certainly did not take effect.
    WriteFailed {
        /// The write that failed.
        write: usize,
        /// Who met its value.
        seen_by: usize,
    },
    /// Somebody was done with a value before its write began.
    SeenBeforeWritten {
        /// The write.
        write: usize,
        /// Who met its value.
        seen_by: usize,
    },
    /// Nothing was met, but something had been put and no delete can have come between.
    NothingThere {
        /// The put.
        write: usize,
        /// Who met nothing.
        seen_by: usize,
    },
    /// Two cas replaced the same version: one update is lost.
    CasTwice {
        /// What put it; `None` is the absence at the beginning.
        source: Option<usize>,
        /// One cas.
        first: usize,
        /// The other.
        second: usize,
    },
    /// Every one of these cas needs what the one before put, the first what the last put.
    CasRing {
        /// The ring.
        cas: Vec<usize>,
        /// A read that shows that they took effect, if their outcome is not known.
        seen_by: Option<usize>,
    },
    /// A cas succeeded although it observed something else than it expected.
    CasAgainstObservation {
        /// The cas.
        cas: usize,
    },
    /// A cas failed although it observed what it expected, and that was written only once.
    CasFailedInVain {
        /// The cas.
        cas: usize,
    },
    /// An operation met an older value after another had already met what was made from it by cas.
    Backwards {
        /// Who met the newer value.
        newer: usize,
        /// Who met the older one, afterwards.
        older: usize,
        /// How the one became the other.
        links: Link,
    },
    /// Two values (or chains of values linked by cas) each have to precede the other.
    TwoOrders {
        /// The one that somebody met too late.
        stale: Box<Order>,
        /// The one that had to come before that, and after the first's beginning.
        other: Box<Order>,
    },
    /// The search found no order.
    NoOrder {
        /// Operations that have no order by themselves.
        operations: Vec<usize>,
        /// None of them can be left out. Otherwise these are all up to where the search got stuck.
        least: bool,
    },
}

/// Cas, each from what the one before put.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// In order.
    pub cas: Vec<usize>,
    /// So many more are left out, in the middle.
    pub left_out: usize,
}

/// Why a value has to precede another: somebody was done with it (`ended`) before somebody began with the other (the other's
/// `began`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The first that was done with it; `None` is the beginning, before everything.
    pub ended: Option<usize>,
    /// What put what that one met; `None` is the beginning.
    pub ended_put: Option<usize>,
    /// The last that began with it.
    pub began: usize,
    /// What put what that one met; `None` is the beginning.
    pub began_put: Option<usize>,
    /// How the one became the other, if they met different values.
    pub links: Link,
}

impl Rule {
    /// Its name, in words joined by hyphens: stable, for reports.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::NeverWritten { .. } => "never-written",
            Self::WriteFailed { .. } => "write-failed",
            Self::SeenBeforeWritten { .. } => "seen-before-written",
            Self::NothingThere { .. } => "nothing-there",
            Self::CasTwice { .. } => "cas-twice",
            Self::CasRing { .. } => "cas-ring",
            Self::CasAgainstObservation { .. } => "cas-against-observation",
            Self::CasFailedInVain { .. } => "cas-failed-in-vain",
            Self::Backwards { .. } => "backwards",
            Self::TwoOrders { .. } => "two-orders",
            Self::NoOrder { .. } => "no-order",
        }
    }

    /// The operations it names, ascending.
    #[must_use]
    pub fn operations(&self) -> Vec<usize> {
        let mut all = match self {
            Self::NeverWritten { seen_by } => vec![*seen_by],
            Self::WriteFailed { write, seen_by } | Self::SeenBeforeWritten { write, seen_by } | Self::NothingThere { write, seen_by } => {
                vec![*write, *seen_by]
            }
            Self::CasTwice { source, first, second } => source.iter().chain([first, second]).copied().collect(),
            Self::CasRing { cas, seen_by } => cas.iter().chain(seen_by).copied().collect(),
            Self::CasAgainstObservation { cas } | Self::CasFailedInVain { cas } => vec![*cas],
            Self::Backwards { newer, older, links } => [newer, older].into_iter().chain(&links.cas).copied().collect(),
            Self::TwoOrders { stale, other } => stale.operations().chain(other.operations()).collect(),
            Self::NoOrder { operations, .. } => operations.clone(),
        };
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl Order {
    fn operations(&self) -> impl Iterator<Item = usize> {
        let ends = [self.ended, self.ended_put, Some(self.began), self.began_put];
        ends.into_iter().flatten().chain(self.links.cas.iter().copied())
    }
}

/// What is known of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyVerdict {
    /// The key.
    pub key: KeyId,
    /// How many operations were judged.
    pub operations: usize,
    /// How.
    pub method: Method,
    /// What came out.
    pub verdict: Verdict,
}

/// What is known of a history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Every key of the history that has operations, ascending.
    pub keys: Vec<KeyVerdict>,
}

/// A report in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overall {
    /// Every key is linearizable.
    Linearizable,
    /// At least one is not.
    Violation,
    /// None is known not to be, but at least one is undecided.
    Undecided,
}

impl Report {
    /// The report in one word. A history without operations is linearizable: look at [`Report::operations`] too.
    #[must_use]
    pub fn overall(&self) -> Overall {
        if self.violations().next().is_some() {
            Overall::Violation
        } else if self.undecided().next().is_some() {
            Overall::Undecided
        } else {
            Overall::Linearizable
        }
    }

    /// Why keys are not linearizable, one for each.
    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        self.keys.iter().filter_map(|key| match &key.verdict {
            Verdict::Violation(violation) => Some(&**violation),
            Verdict::Linearizable | Verdict::Undecided(_) => None,
        })
    }

    /// The keys of which nobody knows, each with the reason.
    pub fn undecided(&self) -> impl Iterator<Item = (KeyId, Undecided)> {
        self.keys.iter().filter_map(|key| match key.verdict {
            Verdict::Undecided(why) => Some((key.key, why)),
            Verdict::Linearizable | Verdict::Violation(_) => None,
        })
    }

    /// How many operations were judged.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.keys.iter().map(|key| key.operations).sum()
    }
}
