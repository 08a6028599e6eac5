//! What the keys of a run are for: who writes them how, at which levels.

use std::fmt;
use std::str::FromStr;

use quorate_protocol::record::WriteMode;
use quorate_protocol::{Defect, Level};

use crate::random::Random;

/// Which kinds of key a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Traffic {
    /// Keys without linearizable operations.
    Eventual,
    /// Registers with linearizable operations only.
    Linearizable,
    /// Keys with operations of both kinds; few operations each, so that a search can judge them.
    Mixed,
    /// Counters, which show what was applied twice.
    Once,
}

impl Traffic {
    /// All kinds.
    pub const ALL: &[Self] = &[Self::Eventual, Self::Linearizable, Self::Mixed, Self::Once];

    /// Its name, as the command line spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Eventual => "eventual",
            Self::Linearizable => "linearizable",
            Self::Mixed => "mixed",
            Self::Once => "once",
        }
    }

    /// Draws the traffic of a run.
    pub(super) fn draw(seed: u64) -> Self {
        Random::of(seed, "traffic").pick(&[Self::Eventual, Self::Eventual, Self::Linearizable, Self::Mixed, Self::Once])
    }

    /// Under which traffic a planted bug shows; `None` if none is better than all in turn.
    #[must_use]
    pub fn showing(bug: Defect) -> Option<Self> {
        let is_of_consensus = (Defect::CleanJudgedByReplier..=Defect::PromiseNotSynced).contains(&bug);
        (!is_of_consensus).then_some(Self::Eventual)
    }

    /// Length of the chaos, in microseconds: about as long as the operations take.
    pub(super) fn chaos_micros(self) -> u64 {
        match self {
            Self::Eventual => 40_000_000,
            Self::Linearizable | Self::Once => 24_000_000,
            Self::Mixed => 12_000_000,
        }
    }

    /// Operations of a run with so many keys, unless limits say less.
    pub(super) fn operations(self, keys: usize) -> u32 {
        match self {
            Self::Eventual | Self::Linearizable | Self::Once => super::OPERATIONS,
            Self::Mixed => MIXED_OPERATIONS * u32::try_from(keys).expect("few keys"),
        }
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no traffic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a workload")]
pub struct UnknownTraffic {
    /// What was written.
    pub text: String,
}

impl FromStr for Traffic {
    type Err = UnknownTraffic;

    fn from_str(text: &str) -> Result<Self, UnknownTraffic> {
        Self::ALL.iter().copied().find(|traffic| traffic.name() == text).ok_or_else(|| UnknownTraffic { text: text.to_owned() })
    }
}

/// Operations on a key that takes both kinds: the search that judges it takes longer with each.
pub(crate) const MIXED_OPERATIONS: u32 = 12;

/// What clients do with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Workload {
    /// Reads, blind puts, puts with the context last read, deletes of either kind.
    Register,
    /// Reads, and puts and deletes with the context of a read just before.
    Resolved,
    /// Reads, and puts that keep every other version beside them.
    Siblings,
    /// A set of elements: read, merge the siblings, add one, write with the context.
    Set,
    /// A counter per client, read and written like the set.
    Counter,
    /// Linearizable reads, puts, deletes and compare-and-sets of every kind, and some weaker reads.
    Chain,
    /// The same, with eventual writes between them.
    Mixed,
    /// Linearizable increments, by function and by compare-and-set, and reads.
    Increment,
}

impl Workload {
    /// Whether operations at `linearizable` are part of it.
    #[must_use]
    pub fn is_linearizable(self) -> bool {
        matches!(self, Self::Chain | Self::Mixed | Self::Increment)
    }
}

/// The levels at which a key is read and written below `linearizable`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelMix {
    /// Levels of reads.
    pub reads: Vec<Level>,
    /// Levels of writes.
    pub writes: Vec<Level>,
}

/// One key of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyOptions {
    /// What is done with it.
    pub workload: Workload,
    /// At which levels.
    pub levels: LevelMix,
    /// Which writes its bucket takes.
    pub write_mode: WriteMode,
}

/// Draws the keys of a run.
pub(super) fn draw(seed: u64, traffic: Traffic, replicas: u8) -> Vec<KeyOptions> {
    let mut random = Random::of(seed, "keys");
    let counts: &[u64] = match traffic {
        Traffic::Eventual => &[1, 1, 2, 3, 5],
        Traffic::Linearizable | Traffic::Once => &[1, 1, 2, 3],
        Traffic::Mixed => &[4, 6, 8, 10],
    };
    let count = random.pick(counts);
    (0..count).map(|_| key(&mut random, traffic, replicas)).collect()
}

fn key(random: &mut Random, traffic: Traffic, replicas: u8) -> KeyOptions {
    const EVENTUAL: [Workload; 6] =
        [Workload::Register, Workload::Register, Workload::Resolved, Workload::Siblings, Workload::Set, Workload::Counter];
    let workload = match traffic {
        Traffic::Eventual => random.pick(&EVENTUAL),
        Traffic::Linearizable => Workload::Chain,
        Traffic::Mixed => random.pick(&[Workload::Mixed, Workload::Mixed, Workload::Mixed, Workload::Chain]),
        Traffic::Once => random.pick(&[Workload::Increment, Workload::Increment, Workload::Chain]),
    };
    let levels = match workload {
        Workload::Counter => overlapping(random, replicas),
        Workload::Chain | Workload::Mixed | Workload::Increment => beside(random),
        Workload::Register | Workload::Resolved | Workload::Siblings | Workload::Set => levels(random, replicas),
    };
    let lin_only = matches!(workload, Workload::Chain | Workload::Increment) && random.chance(400);
    KeyOptions { workload, levels, write_mode: if lin_only { WriteMode::LinOnly } else { WriteMode::Mixed } }
}

/// Levels beside `linearizable`.
fn beside(random: &mut Random) -> LevelMix {
    let of = |reads: &[Level], writes: &[Level]| LevelMix { reads: reads.to_vec(), writes: writes.to_vec() };
    match random.below(3) {
        0 => of(&[Level::Quorum], &[Level::Quorum]),
        1 => of(&[Level::One, Level::Quorum], &[Level::One, Level::Quorum]),
        _ => of(&[Level::One, Level::All], &[Level::Any, Level::Quorum]),
    }
}

/// Levels of which every read meets every write.
fn overlapping(random: &mut Random, replicas: u8) -> LevelMix {
    let of = |reads: &[Level], writes: &[Level]| LevelMix { reads: reads.to_vec(), writes: writes.to_vec() };
    match random.below(4) {
        0 => {
            let r = u8::try_from(random.between(1, u64::from(replicas))).expect("at most 5");
            let level = Level::Counts { r, w: replicas + 1 - r };
            of(&[level], &[level])
        }
        1 => of(&[Level::Quorum, Level::All], &[Level::Quorum]),
        _ => of(&[Level::Quorum], &[Level::Quorum]),
    }
}

fn levels(random: &mut Random, replicas: u8) -> LevelMix {
    let of = |reads: &[Level], writes: &[Level]| LevelMix { reads: reads.to_vec(), writes: writes.to_vec() };
    match random.below(8) {
        0 => of(&[Level::One], &[Level::One]),
        1 => of(&[Level::One], &[Level::Any, Level::One]),
        2 => of(&[Level::One, Level::Quorum], &[Level::Any, Level::Quorum]),
        3 => of(&[Level::One, Level::Quorum, Level::All], &[Level::Any, Level::One, Level::Quorum, Level::All]),
        4 => of(&[Level::Counts { r: 1, w: 1 }, Level::Counts { r: 2, w: 1 }], &[Level::Counts { r: 1, w: 2 }]),
        _ => overlapping(random, replicas),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for traffic in Traffic::ALL {
            assert_eq!(traffic.to_string().parse(), Ok(*traffic));
        }
        assert!("unheard-of".parse::<Traffic>().is_err());
    }

    #[test]
    fn only_keys_without_eventual_writes_lie_in_buckets_that_refuse_them() {
        let keys = |traffic| (0..200).flat_map(move |seed| draw(seed, traffic, 3));
        for traffic in Traffic::ALL {
            let modes = keys(*traffic).filter(|key| key.write_mode == WriteMode::LinOnly);
            assert!(modes.clone().all(|key| matches!(key.workload, Workload::Chain | Workload::Increment)));
            assert_eq!(modes.count() > 0, *traffic != Traffic::Eventual);
        }
    }
}
