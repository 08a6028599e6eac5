//! Short guided runs on a real cluster, each of which shows one thing that a level gives or does not give.
//!
//! **Promise.** A story is a schedule, not a matter of luck: which replica a client asks, which messages are lost or late and when, is
//! all laid down. What comes out is recorded as the clients were told it ([`record`]), together with what the story says must come out
//! ([`record::Claim`]). Whether it did is not for this crate to judge.
//!
//! | idea | file |
//! |---|---|
//! | what is left of a run | `record.rs` |
//! | clients with names, whose operations are written down | `actor.rs` |
//! | the cluster, its faults, and who looks at each copy | `stage.rs` |
//! | the stories | a file each |
//!
//! - *Upon a schedule that the machine was too slow for*: the record shows what was; whoever judges it may play it again.
//! - *Upon a further run*: another key on the same cluster, which is whole when the run begins.
//!
//! Nothing here prints.

pub mod record;

mod actor;
mod lost_update;
mod partition;
mod paused_client;
mod quorum_is_not_enough;
mod siblings;
mod stage;
mod stale_read;
mod unknown_outcome;

use std::path::Path;
use std::time::Duration;

use quorate_client::{ConnectError, Level};

use crate::cluster::ClusterError;
use record::Run;
use stage::{Notice, Stage};

/// The stories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Story {
    /// A read elsewhere, right after an acknowledgement.
    StaleRead,
    /// A slow write, two readers: the first sees it, the second does not.
    QuorumIsNotEnough,
    /// Two clients read, compute and write back.
    LostUpdate,
    /// Two carts, merged.
    Siblings,
    /// A reply that is lost, and a retry.
    UnknownOutcome,
    /// A lock holder that stops and goes on.
    PausedClient,
    /// What each level serves on both sides.
    Partition,
}

/// A story could not be played to its end.
#[derive(Debug, thiserror::Error)]
pub enum StoryError {
    /// A node could not be started, stopped or told a fault.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// No node took a client.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The replicas did not come to hold what the scene needs.
    #[error("not all replicas came to hold {value:?}, which the story begins with")]
    NotPrepared {
        /// What they should hold.
        value: String,
    },
    /// The nodes went on taking each other for reachable.
    #[error("the nodes did not notice within {} who is out of their reach", humantime::format_duration(*within))]
    NotNoticed {
        /// How long they were given.
        within: Duration,
    },
}

impl Story {
    /// All of them, in the order in which they are best read.
    pub const ALL: [Self; 7] = [
        Self::StaleRead,
        Self::QuorumIsNotEnough,
        Self::LostUpdate,
        Self::Siblings,
        Self::UnknownOutcome,
        Self::PausedClient,
        Self::Partition,
    ];

    /// The name that the command line takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::StaleRead => "stale-read",
            Self::QuorumIsNotEnough => "quorum-is-not-enough",
            Self::LostUpdate => "lost-update",
            Self::Siblings => "siblings",
            Self::UnknownOutcome => "unknown-outcome",
            Self::PausedClient => "paused-client",
            Self::Partition => "partition",
        }
    }

    /// What it shows, in a sentence.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::StaleRead => "a write is acknowledged, and a read elsewhere still shows the old value",
            Self::QuorumIsNotEnough => "every read asks a majority, and still the later one shows the older value",
            Self::LostUpdate => "two clients read a number, change it and write it back; one change is lost",
            Self::Siblings => "two carts that grew from one are kept side by side until somebody merges them",
            Self::UnknownOutcome => "a coordinator dies before it answers; the retry is applied once",
            Self::PausedClient => "who held the lock too long ago is turned away by his fencing token",
            Self::Partition => "what each level still serves on both sides of a partition",
        }
    }

    /// The levels that its schedule is played at, in order.
    #[must_use]
    pub fn levels(self) -> Vec<Level> {
        match self {
            Self::StaleRead => vec![Level::One, Level::Quorum, Level::Linearizable],
            Self::QuorumIsNotEnough => vec![Level::Counts { r: 2, w: 2 }, Level::Quorum, Level::Linearizable],
            Self::LostUpdate | Self::PausedClient => vec![Level::Quorum, Level::Linearizable],
            Self::Siblings => vec![Level::Quorum],
            Self::UnknownOutcome => vec![Level::Linearizable],
            Self::Partition => vec![Level::One, Level::Counts { r: 2, w: 2 }, Level::Quorum, Level::All, Level::Linearizable],
        }
    }

    fn notice(self) -> Notice {
        match self {
            Self::Partition => Notice::Soon,
            Self::StaleRead | Self::QuorumIsNotEnough | Self::LostUpdate | Self::Siblings | Self::UnknownOutcome | Self::PausedClient => {
                Notice::Never
            }
        }
    }
}

/// A cluster of three processes on which one story is played.
#[derive(Debug)]
pub struct Theatre {
    story: Story,
    stage: Stage,
}

impl Theatre {
    /// Starts the cluster. `binary` is that of `quorate`.
    ///
    /// # Errors
    /// [`StoryError`] when it does not come up. No process remains then.
    pub async fn open(story: Story, binary: &Path) -> Result<Self, StoryError> {
        Ok(Self { story, stage: Stage::build(binary, story.notice()).await? })
    }

    /// Plays the story's schedule at one of its levels.
    ///
    /// # Errors
    /// [`StoryError`] when it could not be played to its end. That operations of clients fail is no error: it is on the record.
    pub async fn play(&mut self, level: Level) -> Result<Run, StoryError> {
        let stage = &mut self.stage;
        match self.story {
            Story::StaleRead => stale_read::play(stage, level).await,
            Story::LostUpdate => lost_update::play(stage, level).await,
            Story::Siblings => siblings::play(stage, level).await,
            Story::UnknownOutcome => unknown_outcome::play(stage, level).await,
            Story::PausedClient => paused_client::play(stage, level).await,
            Story::Partition => partition::play(stage, level).await,
            Story::QuorumIsNotEnough => quorum_is_not_enough::play(stage, level).await,
        }
    }

    /// Stops the cluster.
    ///
    /// # Errors
    /// [`StoryError::Cluster`] if its directory cannot be removed. No process remains in any case.
    pub async fn close(self) -> Result<(), StoryError> {
        self.stage.strike().await
    }
}
