//! What is left of a story once it was played: operations, faults and copies, all on one clock.
//!
//! Nothing here is a judgement. An [`Operation`] says what its client was told; whether a read was stale is found out by whoever reads
//! the record as a history.

use std::time::Duration;

use quorate_client::{Level, NodeId, OpId, Outcome, Receipt};

/// One schedule, played once at one level.
#[derive(Clone, Debug)]
pub struct Run {
    /// The level that the schedule was played at.
    pub level: Level,
    /// The clients, in the order in which they are drawn. An operation names its client by the position here.
    pub clients: Vec<String>,
    /// What they did, by call. Those that ended before [`Run::begin`] prepared the scene.
    pub operations: Vec<Operation>,
    /// When clients did nothing, and why.
    pub pauses: Vec<Pause>,
    /// What was broken meanwhile.
    pub faults: Vec<Fault>,
    /// What each replica held, as far as somebody looked.
    pub copies: Vec<Copies>,
    /// When the scene was set, on the clock of all moments here.
    pub begin: Duration,
    /// When it was over.
    pub end: Duration,
    /// What the story says of the run.
    pub claims: Vec<Claim>,
}

/// What one client asked, and what it was told.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Position of the client in [`Run::clients`].
    pub client: usize,
    /// As histories name it: `bucket/key`, or the key alone in the default bucket.
    pub key: String,
    /// The level that was asked for.
    pub level: Level,
    /// The only node that was asked, if one was named.
    pub via: Option<NodeId>,
    /// What it was to do.
    pub act: Act,
    /// When it was called.
    pub call: Duration,
    /// When its client was told how it ended, be it that nobody knows.
    pub end: Duration,
    /// What its client was told.
    pub ending: Ending,
    /// The values that were read, found by a compare-and-set that failed, or returned by an increment.
    pub values: Vec<String>,
    /// The version that was read or made.
    pub token: Option<String>,
    /// Its name.
    pub op: Option<OpId>,
    /// Who took part.
    pub receipt: Option<Receipt>,
    /// What its client was told if it failed.
    pub error: Option<String>,
}

/// What an operation was to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Read a key.
    Read,
    /// Put a value.
    Write {
        /// The value.
        value: String,
        /// What the read had shown whose context went along; a blind write has none.
        shown: Option<Vec<String>>,
    },
    /// Put a value if the key held another.
    Cas {
        /// What it had to hold; none is absence.
        expect: Option<String>,
        /// The value.
        value: String,
    },
    /// Add to a number.
    Increment {
        /// How much.
        by: i64,
    },
    /// Ask what became of an operation. No history has it.
    Ask,
}

/// How an operation ended, as its client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was done.
    Ok,
    /// A compare-and-set found something else; nothing was changed.
    Conflict,
    /// It was not applied and never will be.
    Refused,
    /// Nobody knows.
    Unknown,
}

impl From<Outcome> for Ending {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::NotApplied => Self::Refused,
            Outcome::Unknown => Self::Unknown,
        }
    }
}

/// A time in which a client did nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Position of the client.
    pub client: usize,
    /// From then on.
    pub begin: Duration,
    /// Until then.
    pub end: Duration,
    /// Why, in a word or two.
    pub why: String,
}

/// A fault while it lasted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// `kill`, `partition`, `one-way`, `slow`: as reports call it.
    pub kind: &'static str,
    /// Whom it hits, for people: `n1>n2`, `n1 +700ms`.
    pub target: String,
    /// When it was made.
    pub begin: Duration,
    /// When it was mended; `None` if the run ended before.
    pub end: Option<Duration>,
}

/// What one replica held over time, by reads at `one` that asked it alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copies {
    /// The replica.
    pub node: NodeId,
    /// Since when it was seen to hold which values; ascending, neighbours differ.
    pub seen: Vec<(Duration, Vec<String>)>,
}

impl Copies {
    /// What it was last seen to hold.
    #[must_use]
    pub fn last(&self) -> Option<&[String]> {
        self.seen.last().map(|(_, values)| values.as_slice())
    }
}

/// What a story says of a run. Whether it is so is for a checker to find out; only of single operations the record itself tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// All operations together are linearizable, or are not.
    Linearizable(bool),
    /// Some read misses an acknowledged write, or none does.
    Stale(bool),
    /// Some acknowledged update was replaced by a client that had not seen it, or none was.
    LostUpdate(bool),
    /// Some read shows siblings, or none does.
    Siblings(bool),
    /// An operation ends so.
    Ends {
        /// Its position.
        at: usize,
        /// How.
        ending: Ending,
    },
    /// An operation is answered with these values.
    Shows {
        /// Its position.
        at: usize,
        /// The values, sorted.
        values: Vec<String>,
    },
}

impl Run {
    /// Whether the record itself bears a claim out; `None` if only a checker can tell.
    #[must_use]
    pub fn tells(&self, claim: &Claim) -> Option<bool> {
        match claim {
            Claim::Ends { at, ending } => Some(self.operations.get(*at).is_some_and(|operation| operation.ending == *ending)),
            Claim::Shows { at, values } => Some(self.operations.get(*at).is_some_and(|operation| {
                let mut shown = operation.values.clone();
                shown.sort_unstable();
                operation.ending == Ending::Ok && shown == *values
            })),
            Claim::Linearizable(_) | Claim::Stale(_) | Claim::LostUpdate(_) | Claim::Siblings(_) => None,
        }
    }
}
