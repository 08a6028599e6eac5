//! One linearizable operation at its proposer: what was asked, and what it came to.

use bytes::Bytes;

use super::once::{OnceTable, Recorded, Verdict};
use super::state::{Authorship, ChainState, Change, Effect, Inapplicable, Token};
use crate::context::Context;
use crate::defect::Defect;
use crate::ids::{OpId, Tick};
use crate::options::Options;
use crate::outcome::{Outcome, Reason, Receipt, ReplicaReport};

/// How far ahead of a node's clock an operation may have been issued, in milliseconds. A later one would raise the horizon of the tables
/// that forget it, and have honest operations refused.
pub const ISSUED_AHEAD_MS_MAX: u64 = 60_000;

/// Which operation of a proposer, as its driver numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What a client asks of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operation {
    /// What is to happen to the key.
    pub change: Change,
    /// The client's name for it; absent for what has no effect of its own.
    pub op: Option<OpId>,
    /// Somebody may have sent it before.
    pub tainted: bool,
    /// When to answer at the latest.
    pub deadline: Tick,
}

/// What became of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// It changed the state, or had nothing to change.
    Applied {
        /// The state's version right after it.
        token: Token,
        /// What its function returned.
        result: Option<Bytes>,
    },
    /// Its expectation did not hold.
    Conflict {
        /// The version that was compared with.
        token: Token,
        /// The values at that version. Absent when the failure was recorded earlier: the values of now could equal what was expected.
        current: Option<Vec<Bytes>>,
        /// True if every later attempt is answered the same. An unrecorded failure says nothing about later attempts.
        recorded: bool,
    },
    /// Its function did not apply to what is there.
    Inapplicable {
        /// Why.
        why: Inapplicable,
        /// As for a conflict.
        recorded: bool,
    },
    /// It was settled as never to be applied.
    Fenced,
    /// A later operation of its lane is contained: this attempt did nothing.
    Superseded,
    /// It is older than what the key remembers: this attempt did nothing.
    TooOld,
    /// It was issued too far in the future: this attempt did nothing.
    TooNew,
    /// Too many clients change the key at once for it to be remembered: this attempt did nothing.
    Crowded,
}

/// A good answer: a majority holds the state that it speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Done {
    /// What became of the operation.
    pub decision: Decision,
    /// The state right after it; of one that was found in the state already, the state it was found in.
    pub state: ChainState,
    /// What its client may be told to have seen. Empty when the state is a later one than the operation's own.
    pub context: Context,
    /// A state that contains the operation may have been sent to a replica, by this sending of it or by an earlier one. A decision that says
    /// only that this attempt did nothing then leaves its effect unknown.
    pub sent: bool,
    /// What was reached.
    pub receipt: Receipt,
}

/// A bad answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NotDone {
    /// Why.
    pub reason: Reason,
    /// What is known of its effect.
    pub outcome: Outcome,
    /// Every home replica, in ring order.
    pub replicas: Vec<ReplicaReport>,
}

/// One operation's answer.
pub type Answer = (Ticket, Result<Done, NotDone>);

/// What an operation makes of a state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Step {
    pub(super) decision: Decision,
    pub(super) next: ChainState,
    pub(super) context: Context,
    /// A failure that nobody need remember if it is answered from a chosen state, first and alone.
    pub(super) is_failure: bool,
    /// The state contained it before.
    pub(super) is_found: bool,
}

impl Done {
    /// What is known of the effect if the decision is that this attempt did nothing.
    #[must_use]
    pub fn outcome_of_nothing(&self) -> Outcome {
        if self.sent { Outcome::Unknown } else { Outcome::NotApplied }
    }
}

impl Operation {
    /// Evaluates the operation on a state that has absorbed what there was to absorb.
    pub(super) fn evaluate(&self, state: &ChainState, author: Authorship, options: Options) -> Step {
        let Some(op) = &self.op else { return self.anonymous(state, author) };
        let nothing = |decision| Step { decision, next: state.clone(), context: Context::empty(), is_failure: false, is_found: false };
        match look(&state.once, op, options) {
            Verdict::Known(recorded) => return Step { is_found: true, ..nothing(decision_of(recorded)) },
            Verdict::Superseded => return nothing(Decision::Superseded),
            Verdict::TooOld => return nothing(Decision::TooOld),
            Verdict::New if op.issued_ms > author.hlc.ms().saturating_add(ISSUED_AHEAD_MS_MAX) => return nothing(Decision::TooNew),
            Verdict::New => {}
        }
        let author = Authorship { op: Some(*op), ..author };
        // An operation that is remembered begins the chain if nothing did, whether or not it changes anything.
        let (next, effect) = state.begun(author.ballot).apply(&self.change, author);
        let current = || Some(next.values().cloned().collect());
        let (recorded, decision) = match effect {
            _ if self.change == Change::Fence => (Recorded::Fenced, Decision::Fenced),
            Effect::Applied(result) => {
                let token = next.token();
                (Recorded::Applied { token, result: result.clone() }, Decision::Applied { token, result })
            }
            Effect::CasFailed => {
                let token = next.token();
                (Recorded::CasFailed { token }, Decision::Conflict { token, current: current(), recorded: true })
            }
            Effect::Inapplicable(why) => (Recorded::Inapplicable(why), Decision::Inapplicable { why, recorded: true }),
        };
        let is_failure = matches!(decision, Decision::Conflict { .. } | Decision::Inapplicable { .. });
        let context = next.siblings.context().clone();
        match next.record(op, recorded, author) {
            Ok(next) => Step { decision, next, context, is_failure, is_found: false },
            Err(_full) => nothing(Decision::Crowded),
        }
    }

    fn anonymous(&self, state: &ChainState, author: Authorship) -> Step {
        let (next, effect) = state.apply(&self.change, author);
        debug_assert_eq!((&next, &effect), (state, &Effect::Applied(None)), "what has an effect has a name");
        let decision = Decision::Applied { token: next.token(), result: None };
        Step { decision, context: next.siblings.context().clone(), next, is_failure: false, is_found: false }
    }

    /// What is known of the operation's effect when it is given up. `sent` says that a state with it was sent to a replica.
    pub(super) fn outcome(&self, sent: bool, options: Options) -> Outcome {
        let may_have_effect = self.op.is_some() && (self.tainted || sent);
        if may_have_effect && !options.has(Defect::DefiniteFailureAfterAccept) { Outcome::Unknown } else { Outcome::NotApplied }
    }
}

fn look(once: &OnceTable, op: &OpId, options: Options) -> Verdict {
    if options.has(Defect::RetryAppliedTwice) { Verdict::New } else { once.look(op) }
}

fn decision_of(recorded: Recorded) -> Decision {
    match recorded {
        Recorded::Applied { token, result } => Decision::Applied { token, result },
        Recorded::CasFailed { token } => Decision::Conflict { token, current: None, recorded: true },
        Recorded::Inapplicable(why) => Decision::Inapplicable { why, recorded: true },
        Recorded::Fenced => Decision::Fenced,
    }
}

impl Decision {
    /// True if the state it was made of contains the operation, so that others may yet find it there.
    pub(super) fn is_contained(&self) -> bool {
        !matches!(self, Self::Superseded | Self::TooOld | Self::TooNew | Self::Crowded)
    }

    /// The same answer without the claim that it was recorded.
    #[must_use]
    pub(super) fn unrecorded(self) -> Self {
        match self {
            Self::Conflict { token, current, .. } => Self::Conflict { token, current, recorded: false },
            Self::Inapplicable { why, .. } => Self::Inapplicable { why, recorded: false },
            other => other,
        }
    }

    /// The same answer about another version.
    #[must_use]
    pub(super) fn at(self, token: Token) -> Self {
        match self {
            Self::Conflict { current, recorded, .. } => Self::Conflict { token, current, recorded },
            other => other,
        }
    }
}
