//! Planted bugs: rules of the protocol, each of which a core can be told to break.
//!
//! A checker that never found a bug proves nothing. Every defect here is one that a store of this kind has had, or that the
//! rule it breaks exists to prevent; a simulation with it must fail, and the catalogue says how soon it does.
//!
//! Most are acted on in this crate and in anti-entropy, at the rule they break (`options.has(..)`); what they do there in
//! more than a line is in `misdeeds`. Those that concern a disk, a clock or the memory of a process are marked below:
//! the simulator's own node and disk act on them, because no core knows of such things. [`Defect::culprit`] says which are whose.

use std::fmt;
use std::str::FromStr;

pub(crate) mod misdeeds;

macro_rules! defects {
    ($($variant:ident $name:literal $summary:literal)*) => {
        /// A rule to break. The text of each says what is done wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Defect {
            $(#[doc = $summary] $variant,)*
        }

        impl Defect {
            /// Every defect, in the order of the catalogue.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in kebab case, as the command line and the catalogue spell it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// One sentence on what is done wrong.
            #[must_use]
            pub fn summary(self) -> &'static str {
                match self {
                    $(Self::$variant => $summary,)*
                }
            }
        }
    };
}

defects! {
    // Reads.
    NoSynchronousRepair "no-synchronous-repair"
        "A strict read answers without repairing and sends its repairs behind the answer."
    AnswerBeforeRepairQuorum "answer-before-repair-quorum"
        "A strict read starts its repairs and answers before enough replicas have acknowledged them."
    RepairEnlargedMidway "repair-enlarged-midway"
        "A late reply enlarges the merge that a strict read is repairing, and acknowledgements of the smaller one keep counting."
    SessionNotAwaited "session-not-awaited"
        "A read answers with less than its session has seen already."
    // Quorums.
    QuorumCountedByMessages "quorum-counted-by-messages"
        "A replica that answers twice counts twice toward the quorum."
    NodeTwiceOnPreferenceList "node-twice-on-preference-list"
        "The first home replica counts as two."
    MajorityRoundedDown "majority-rounded-down"
        "Half of the home replicas, rounded down, is taken for a majority."
    // Hints.
    HintCountsTowardQuorum "hint-counts-toward-quorum"
        "A hint counts as an acknowledgement at every level."
    HintDeletedBeforeAck "hint-deleted-before-ack"
        "A hint is removed when it is sent, not when it is acknowledged."
    OnlyCopyExpires "only-copy-expires"
        "A hint that may be the only copy of a write expires like any other."
    OnlyCopyGivenUp "only-copy-given-up"
        "A hint that its replica does not take is given up, be it the only copy of a write."
    // Versions.
    RepairOverwrites "repair-overwrites"
        "A replica stores what it is sent in place of what it holds instead of merging the two."
    DotReusedAfterCrash "dot-reused-after-crash"
        "A node that stopped uncleanly counts on in its old run of dots, of which it may have lost the last."
    DotFromContext "dot-from-context"
        "A dot's number is derived from the context of the coordinator's record instead of its own count."
    MergeDropsActor "merge-drops-actor"
        "Merging forgets an actor that only the other side's context knows."
    BlindPutCoversUnseen "blind-put-covers-unseen"
        "A blind put replaces one more write of every other actor than its coordinator has seen."
    WriteContextCoversUnseen "write-context-covers-unseen"
        "A put hands back its coordinator's whole context, concurrent siblings that its client was never shown included."
    TombstoneDroppedEarly "tombstone-dropped-early"
        "A replica drops a tombstone and its context as soon as nothing else is live beside it."
    // Retries and outcomes.
    RetryOverwrites "retry-overwrites"
        "A retried blind put that finds no trace of the first try replaces whatever its new coordinator has seen."
    RetryAnsweredWithoutResend "retry-answered-without-resend"
        "A retry that finds its write on some replica is answered at once, as if the level were met."
    DefiniteFailureAfterSpread "definite-failure-after-spread"
        "A write that was sent to replicas and missed its level is reported as not applied."
    RetryOvertakesBlindWrite "retry-overtakes-blind-write"
        "A client sends a blind write again while an earlier sending of it may still begin."
    BlindWriteBeginsLate "blind-write-begins-late"
        "A coordinator begins a blind write after the time by which its client wanted it begun."
    DefiniteFailureAfterForward "definite-failure-after-forward"
        "A node that hears no more of a write it handed on reports it as not applied."
    // Consensus.
    CleanJudgedByReplier "clean-judged-by-replier"
        "A replica leaves out of its answer the eventual versions that its own accepted state has seen, whether or not that state is chosen."
    ChainReadUnrepaired "chain-read-unrepaired"
        "A linearizable read returns the newest accepted state of a majority without bringing a majority to it."
    BallotUsedTwice "ballot-used-twice"
        "A proposer that was beaten tries again at the same ballot."
    AcceptWithoutPromiseCheck "accept-without-promise-check"
        "A replica accepts a state without comparing its ballot with what it has promised."
    HighestAcceptedIgnored "highest-accepted-ignored"
        "A proposer extends the state of the first replica that answered, not the highest one."
    LateAcceptCounts "late-accept-counts"
        "An acknowledgement of an earlier round counts for the present one."
    UndecidedLeft "undecided-left"
        "A failed compare-and-set is answered from a state that may not be chosen, and nothing is done to decide it."
    UndecidedShown "undecided-shown"
        "A replica shows the versions of an accepted state to eventual reads before it is chosen."
    RetryAppliedTwice "retry-applied-twice"
        "A proposer does not look whether the operation is contained in the state already."
    DefiniteFailureAfterAccept "definite-failure-after-accept"
        "A linearizable operation that was sent to replicas and missed its majority is reported as not applied."
    AbsorbedAfterChange "absorbed-after-change"
        "A proposer applies its operation first and takes in the eventual versions after it."
    StickyInMixedBucket "sticky-in-mixed-bucket"
        "One-round-trip writes are used in a bucket that takes eventual writes, too."
    UnrecordedFailureTrusted "unrecorded-failure-trusted"
        "A client takes the failure of an older sending for final, though no replica has recorded it."
    BallotReusedAfterRestart "ballot-reused-after-restart"
        "A restarted node proposes under its old boot, and counts ballots from the start."
    PromiseNotSynced "promise-not-synced"
        "A replica promises from memory, and begins anew after a crash as if it had promised nothing."
    // Disk, clock and memory of a node: acted on by the simulator's node and disk.
    DotReusedAfterDiskLoss "dot-reused-after-disk-loss"
        "A node that lost its disk comes back under its old name and gives out its dots from the start again."
    UnsyncedWriteAcknowledged "unsynced-write-acknowledged"
        "A write is acknowledged before it is durable."
    UnsyncedStateShown "unsynced-state-shown"
        "A read shows a state that its replica can still lose."
    TruncatedLogAccepted "truncated-log-accepted"
        "A node whose log lost synced entries starts as if the log were whole."
    FullDiskAcknowledged "full-disk-acknowledged"
        "A replica whose disk is full acknowledges a write that it could not store."
    CleanStopAfterFullDisk "clean-stop-after-full-disk"
        "A node that gave up writes because its disk was full stops as if it had stored them."
    KeyEpochFromClock "key-epoch-from-clock"
        "A fresh run of dots is numbered by the wall clock, which may step back."
    FallbackRepeatsDots "fallback-repeats-dots"
        "A fallback that forgot a key begins its run of dots for it again."
}

/// Who must be told to break a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Culprit {
    /// A core that nodes drive: a real node can be told too.
    Node,
    /// A core that clients drive.
    Client,
    /// The simulator's own node, disk or clock.
    Simulator,
}

impl Defect {
    /// Who breaks the rule.
    #[must_use]
    pub fn culprit(self) -> Culprit {
        match self {
            Self::RetryOvertakesBlindWrite | Self::UnrecordedFailureTrusted => Culprit::Client,
            Self::BlindWriteBeginsLate
            | Self::DefiniteFailureAfterForward
            | Self::BallotReusedAfterRestart
            | Self::PromiseNotSynced
            | Self::DotReusedAfterDiskLoss
            | Self::UnsyncedWriteAcknowledged
            | Self::UnsyncedStateShown
            | Self::TruncatedLogAccepted
            | Self::FullDiskAcknowledged
            | Self::CleanStopAfterFullDisk
            | Self::KeyEpochFromClock
            | Self::FallbackRepeatsDots => Culprit::Simulator,
            Self::NoSynchronousRepair
            | Self::AnswerBeforeRepairQuorum
            | Self::RepairEnlargedMidway
            | Self::SessionNotAwaited
            | Self::QuorumCountedByMessages
            | Self::NodeTwiceOnPreferenceList
            | Self::MajorityRoundedDown
            | Self::HintCountsTowardQuorum
            | Self::HintDeletedBeforeAck
            | Self::OnlyCopyExpires
            | Self::OnlyCopyGivenUp
            | Self::RepairOverwrites
            | Self::DotReusedAfterCrash
            | Self::DotFromContext
            | Self::MergeDropsActor
            | Self::BlindPutCoversUnseen
            | Self::WriteContextCoversUnseen
            | Self::TombstoneDroppedEarly
            | Self::RetryOverwrites
            | Self::RetryAnsweredWithoutResend
            | Self::DefiniteFailureAfterSpread
            | Self::CleanJudgedByReplier
            | Self::ChainReadUnrepaired
            | Self::BallotUsedTwice
            | Self::AcceptWithoutPromiseCheck
            | Self::HighestAcceptedIgnored
            | Self::LateAcceptCounts
            | Self::UndecidedLeft
            | Self::UndecidedShown
            | Self::RetryAppliedTwice
            | Self::DefiniteFailureAfterAccept
            | Self::AbsorbedAfterChange
            | Self::StickyInMixedBucket => Culprit::Node,
        }
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text names no defect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no planted bug; the first of the catalogue is {}", Defect::ALL[0])]
pub struct UnknownDefect {
    /// What was written.
    pub text: String,
}

impl FromStr for Defect {
    type Err = UnknownDefect;

    fn from_str(text: &str) -> Result<Self, UnknownDefect> {
        Self::ALL.iter().copied().find(|defect| defect.name() == text).ok_or_else(|| UnknownDefect { text: text.to_owned() })
    }
}

/// A text names no defect that a real node can be told to have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOfNodes {
    /// It names none at all.
    #[error(transparent)]
    Unknown(#[from] UnknownDefect),
    /// Clients have it.
    #[error("{defect} is a bug of clients, which no node can have; `quorate sim --bug {defect}` shows it")]
    OfClients {
        /// The defect.
        defect: Defect,
    },
    /// Only the simulator acts on it.
    #[error("{defect} is acted on by the simulator's own node, disk or clock only; `quorate sim --bug {defect}` shows it")]
    OfSimulator {
        /// The defect.
        defect: Defect,
    },
}

impl Defect {
    /// The defect of this name, if a real node can have it.
    ///
    /// # Errors
    /// [`NotOfNodes`] if there is none, or nodes do not act on it.
    pub fn of_nodes(name: &str) -> Result<Self, NotOfNodes> {
        let defect: Self = name.parse()?;
        match defect.culprit() {
            Culprit::Node => Ok(defect),
            Culprit::Client => Err(NotOfNodes::OfClients { defect }),
            Culprit::Simulator => Err(NotOfNodes::OfSimulator { defect }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The name is the variant's own, so that code, command line and catalogue speak of the same thing.
    #[test]
    fn a_name_is_its_variant_in_kebab_case() {
        for defect in Defect::ALL {
            let mut kebab = String::new();
            for letter in format!("{defect:?}").chars() {
                if letter.is_uppercase() && !kebab.is_empty() {
                    kebab.push('-');
                }
                kebab.extend(letter.to_lowercase());
            }
            assert_eq!(defect.to_string(), kebab);
            assert_eq!(kebab.parse(), Ok(*defect));
        }
        assert!("No-Synchronous-Repair".parse::<Defect>().is_err());
    }

    #[test]
    fn a_node_has_no_bug_that_it_would_not_act_on() {
        assert_eq!(Defect::of_nodes("chain-read-unrepaired"), Ok(Defect::ChainReadUnrepaired));
        let says = |name| Defect::of_nodes(name).expect_err("no node acts on it").to_string();
        assert!(says("promise-not-synced").starts_with("promise-not-synced is acted on by the simulator's own node"));
        assert!(says("unrecorded-failure-trusted").starts_with("unrecorded-failure-trusted is a bug of clients"));
        assert!(says("chain-read").contains("no planted bug"));
    }

    #[test]
    fn every_summary_is_one_sentence_of_its_own() {
        let summaries: BTreeSet<&str> = Defect::ALL.iter().map(|defect| defect.summary()).collect();
        assert_eq!(summaries.len(), Defect::ALL.len());
        assert!(summaries.iter().all(|summary| summary.ends_with('.') && summary.starts_with(char::is_uppercase)));
    }
}
