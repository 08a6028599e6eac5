//! What a core tells its driver beside its effects: marks for the simulator, alarms for the operator.

use std::fmt;

macro_rules! marks {
    ($($(#[$doc:meta])* $mark:ident,)*) => {
        /// An interesting branch that a run took. A test campaign in which one never fires has not tested that branch.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Mark {
            $($(#[$doc])* $mark,)*
        }

        impl Mark {
            /// Every mark.
            pub const ALL: &[Self] = &[$(Self::$mark,)*];
        }
    };
}

marks! {
    /// A write left a concurrent version beside it.
    SiblingCreated,
    /// A write was refused because the key has too many live versions.
    SiblingLimitReached,
    /// A replica was asked to store what it already held.
    RedundantReplicate,
    /// A replica refused a message of another ring epoch.
    EpochRefused,
    /// A strict read repaired a replica before it answered.
    BlockingRepair,
    /// A read repaired a replica behind its answer.
    BackgroundRepair,
    /// A read asked a further replica because one was slow or failed.
    Hedged,
    /// A read asked further replicas because the session had seen more.
    SessionBehind,
    /// A write kept a hint for a replica that did not acknowledge.
    HintKept,
    /// A write at `any` was acknowledged by a hint alone.
    HintCounted,
    /// A retried write was found on a replica and sent again as it was.
    RetryFound,
    /// A retried write was found nowhere and applied.
    RetryReapplied,
    /// A write was answered as unknown.
    OutcomeUnknown,
    /// A level was refused because too few replicas were reachable.
    Unreachable,
    /// A client's operation went to another coordinator after a failure.
    CoordinatorChanged,
    /// A hint was delivered.
    HintReplayed,
    /// A hint replay backed off because the peer did not take it.
    HintBackedOff,
    /// A hint was refused because the queue for its peer is full.
    HintRefused,
    /// A hint was dropped for its age.
    HintExpired,
    /// A write was handed on to a home replica.
    Forwarded,
    /// A fallback gave a write its dot.
    FallbackMinted,
    /// A blind write was refused because it came too late to begin.
    BeganTooLate,
    /// A full disk gave up writes that were under way.
    WritesGivenUp,
    /// A replica had promised something higher than a proposer prepared.
    PrepareRejected,
    /// A replica had promised something higher than what it was to accept.
    AcceptRejected,
    /// A replica did not accept a state that had not seen all it holds.
    AcceptDirty,
    /// A linearizable read was answered in one round trip.
    ChainReadFast,
    /// A linearizable read brought a majority to the state it returned before it answered.
    ChainReadRepaired,
    /// A linearizable read found eventual versions that the chain had not seen.
    ChainReadDirty,
    /// A linearizable read gave way to a proposer and went through consensus.
    ChainReadContended,
    /// A proposer extended a state that was not known to be chosen.
    UndecidedAdopted,
    /// A round took eventual versions into the chain.
    Absorbed,
    /// A round was beaten by another proposer and waits for its next try.
    RoundContended,
    /// Several operations shared a round.
    RoundShared,
    /// A round needed no second phase.
    RoundSkippedAccept,
    /// A write took one round trip.
    StickyRound,
    /// A retried linearizable operation was found in the chain.
    OnceFound,
    /// A linearizable operation came after its lane had gone on.
    OnceSuperseded,
    /// A compare-and-set failed and was recorded.
    CasFailureRecorded,
    /// A compare-and-set failed without a trace.
    CasFailureUnrecorded,
    /// A message of a round was sent again.
    RoundResent,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Marks collected while a core ran. Drivers that do not look at them drop them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Notes {
    marks: Vec<Mark>,
}

impl Notes {
    /// Records that a branch was taken.
    pub fn sometimes(&mut self, mark: Mark) {
        self.marks.push(mark);
    }

    /// Takes the marks recorded so far.
    pub fn take(&mut self) -> Vec<Mark> {
        std::mem::take(&mut self.marks)
    }
}
