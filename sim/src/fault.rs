//! What goes wrong: kinds of fault, and the schedule of those that come and go.
//!
//! A seed draws a random *subset* of kinds (swarm testing, Groce et al. 2012): a run with everything at once mostly shows that
//! nothing works, and hides what needs one fault to be absent.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use quorate_ring::NodeId;

use crate::random::Random;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultKind {
    /// Messages are lost.
    Loss,
    /// Some messages take very long, and so overtake each other.
    Delay,
    /// Messages arrive twice.
    Duplicate,
    /// Two groups of nodes do not hear each other.
    Partition,
    /// One node is not heard by another, but hears it.
    OneWay,
    /// Two groups of nodes that only one node reaches both of.
    Bridge,
    /// A process dies and is started again; what was not synced may be lost.
    Crash,
    /// All connections of a living process break; what it was sent before still arrives.
    Reset,
    /// All processes but one die at about the same time.
    Blackout,
    /// A process is stopped in an orderly way and started again.
    Restart,
    /// A process stands still for a while.
    Pause,
    /// All messages of a node take long.
    Slow,
    /// A node's wall clock is off.
    Skew,
    /// A node's wall clock jumps.
    ClockJump,
    /// A disk takes no writes for a while.
    DiskFull,
    /// A crash leaves a damaged log.
    FlippedBits,
    /// A disk is lost and the node comes back with an empty one.
    DiskLoss,
    /// A node has not yet heard of the current ring epoch.
    EpochLag,
    /// A node refuses requests as if it were overloaded.
    Overload,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: &[Self] = &[
        Self::Loss,
        Self::Delay,
        Self::Duplicate,
        Self::Partition,
        Self::OneWay,
        Self::Bridge,
        Self::Crash,
        Self::Reset,
        Self::Blackout,
        Self::Restart,
        Self::Pause,
        Self::Slow,
        Self::Skew,
        Self::ClockJump,
        Self::DiskFull,
        Self::FlippedBits,
        Self::DiskLoss,
        Self::EpochLag,
        Self::Overload,
    ];

    /// Its name, as the command line spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Delay => "delay",
            Self::Duplicate => "duplicate",
            Self::Partition => "partition",
            Self::OneWay => "one-way",
            Self::Bridge => "bridge",
            Self::Crash => "crash",
            Self::Reset => "reset",
            Self::Blackout => "blackout",
            Self::Restart => "restart",
            Self::Pause => "pause",
            Self::Slow => "slow",
            Self::Skew => "skew",
            Self::ClockJump => "clock-jump",
            Self::DiskFull => "disk-full",
            Self::FlippedBits => "flipped-bits",
            Self::DiskLoss => "disk-loss",
            Self::EpochLag => "epoch-lag",
            Self::Overload => "overload",
        }
    }

    /// True for kinds that act on single messages by chance, and have no begin or end.
    #[must_use]
    pub fn is_per_message(self) -> bool {
        matches!(self, Self::Loss | Self::Delay | Self::Duplicate)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no kind of fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a kind of fault")]
pub struct UnknownFault {
    /// What was written.
    pub text: String,
}

impl FromStr for FaultKind {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        let kind = Self::ALL.iter().find(|kind| kind.name() == text);
        kind.copied().ok_or_else(|| UnknownFault { text: text.to_owned() })
    }
}

/// Something that is done to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Messages from one node to another are lost.
    Cut {
        /// The sender.
        from: NodeId,
        /// The receiver.
        to: NodeId,
    },
    /// Nobody hears anybody of another group; a node in several groups is heard by all of them.
    Partition(Vec<BTreeSet<NodeId>>),
    /// All cuts and partitions end.
    Mend,
    /// A process dies.
    Crash(NodeId),
    /// A process dies right after the next thing it writes, before that is synced.
    CrashOnWrite(NodeId),
    /// All connections of a process break, and the process lives on.
    Reset(NodeId),
    /// A process is stopped in an orderly way.
    Stop(NodeId),
    /// A dead process is started.
    Start(NodeId),
    /// A process stands still.
    Pause(NodeId),
    /// A process goes on.
    Resume(NodeId),
    /// All messages from and to a node take so much longer.
    Slow {
        /// The node.
        node: NodeId,
        /// By how much, in microseconds; 0 ends it.
        micros: u64,
    },
    /// A node's wall clock is off by so much.
    Skew {
        /// The node.
        node: NodeId,
        /// By how much, in milliseconds.
        ms: i64,
    },
    /// A disk takes no writes (`true`), or takes them again.
    DiskFull(NodeId, bool),
    /// A process dies and its log has a damaged entry.
    FlipBits(NodeId),
    /// A process dies, its disk is replaced by an empty one.
    LoseDisk(NodeId),
    /// A node acts under the epoch before the current one (`true`), or under the current one.
    EpochLag(NodeId, bool),
    /// A node refuses requests as overloaded (`true`), or takes them again.
    Overload(NodeId, bool),
}

impl Fault {
    /// The nodes it names.
    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        match self {
            Self::Cut { from, to } => vec![*from, *to],
            Self::Partition(groups) => groups.iter().flatten().copied().collect(),
            Self::Mend => Vec::new(),
            Self::Crash(node)
            | Self::CrashOnWrite(node)
            | Self::Reset(node)
            | Self::Stop(node)
            | Self::Start(node)
            | Self::Pause(node)
            | Self::Resume(node)
            | Self::Slow { node, .. }
            | Self::Skew { node, .. }
            | Self::DiskFull(node, _)
            | Self::FlipBits(node)
            | Self::LoseDisk(node)
            | Self::EpochLag(node, _)
            | Self::Overload(node, _) => vec![*node],
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { from, to } => write!(f, "cut {from} -> {to}"),
            Self::Partition(groups) => {
                f.write_str("partition")?;
                for (number, group) in groups.iter().enumerate() {
                    let names: Vec<String> = group.iter().map(NodeId::to_string).collect();
                    write!(f, "{} {}", if number == 0 { "" } else { " |" }, names.join(" "))?;
                }
                Ok(())
            }
            Self::Mend => f.write_str("mend all cuts"),
            Self::Crash(node) => write!(f, "crash {node}"),
            Self::CrashOnWrite(node) => write!(f, "crash {node} on its next write"),
            Self::Reset(node) => write!(f, "reset the connections of {node}"),
            Self::Stop(node) => write!(f, "stop {node}"),
            Self::Start(node) => write!(f, "start {node}"),
            Self::Pause(node) => write!(f, "pause {node}"),
            Self::Resume(node) => write!(f, "resume {node}"),
            Self::Slow { node, micros } => write!(f, "slow {node} by {micros}us"),
            Self::Skew { node, ms } => write!(f, "skew {node} by {ms}ms"),
            Self::DiskFull(node, true) => write!(f, "disk of {node} full"),
            Self::DiskFull(node, false) => write!(f, "disk of {node} has space"),
            Self::FlipBits(node) => write!(f, "flip bits in the log of {node}"),
            Self::LoseDisk(node) => write!(f, "lose the disk of {node}"),
            Self::EpochLag(node, true) => write!(f, "{node} falls behind the ring epoch"),
            Self::EpochLag(node, false) => write!(f, "{node} reaches the ring epoch"),
            Self::Overload(node, true) => write!(f, "{node} overloaded"),
            Self::Overload(node, false) => write!(f, "{node} not overloaded"),
        }
    }
}

/// A fault and when it comes.
pub(crate) type Scheduled = (u64, FaultKind, Fault);

/// Longest that a fault stays, in microseconds.
const STAY_MICROS_MAX: u64 = 9_000_000;

/// Draws when which faults come and go during the chaos. Every kind draws from a stream of its own.
pub(crate) fn schedule(seed: u64, nodes: &[NodeId], kinds: &BTreeSet<FaultKind>, chaos_micros: u64) -> Vec<Scheduled> {
    let mut faults = Vec::new();
    for kind in kinds.iter().copied().filter(|kind| !kind.is_per_message()) {
        let mut random = Random::of(seed, kind.name());
        let times = times(kind, &mut random);
        for _ in 0..times {
            let begin = random.below(chaos_micros);
            let end = begin + random.between(1_000, STAY_MICROS_MAX.min(chaos_micros));
            faults.extend(episode(kind, nodes, &mut random, begin, end));
        }
    }
    faults.sort_by_key(|(at, ..)| *at);
    faults
}

fn times(kind: FaultKind, random: &mut Random) -> u64 {
    match kind {
        // What is lost for good is lost once: more than a minority of a key's homes must never be.
        FaultKind::FlippedBits | FaultKind::DiskLoss => 1,
        FaultKind::Crash => random.between(2, 10),
        FaultKind::Reset => random.between(5, 40),
        FaultKind::Restart | FaultKind::Skew | FaultKind::DiskFull | FaultKind::EpochLag | FaultKind::Overload => random.between(1, 3),
        FaultKind::Loss
        | FaultKind::Delay
        | FaultKind::Duplicate
        | FaultKind::Partition
        | FaultKind::OneWay
        | FaultKind::Bridge
        | FaultKind::Blackout
        | FaultKind::Pause
        | FaultKind::Slow
        | FaultKind::ClockJump => random.between(1, 5),
    }
}

fn episode(kind: FaultKind, nodes: &[NodeId], random: &mut Random, begin: u64, end: u64) -> Vec<Scheduled> {
    let node = random.pick(nodes);
    let pair = |come: Fault, go: Fault| vec![(begin, kind, come), (end, kind, go)];
    match kind {
        FaultKind::Loss | FaultKind::Delay | FaultKind::Duplicate => Vec::new(),
        FaultKind::Partition => pair(Fault::Partition(halves(nodes, random, None)), Fault::Mend),
        FaultKind::Bridge => pair(Fault::Partition(halves(nodes, random, Some(node))), Fault::Mend),
        FaultKind::OneWay => {
            let others: Vec<NodeId> = nodes.iter().copied().filter(|other| *other != node).collect();
            pair(Fault::Cut { from: node, to: random.pick(&others) }, Fault::Mend)
        }
        FaultKind::Crash if random.chance(500) => pair(Fault::CrashOnWrite(node), Fault::Start(node)),
        // What it writes last, nobody else has heard of.
        FaultKind::Crash if random.chance(400) => {
            let (alone, others) = nodes.iter().copied().partition(|other| *other == node);
            let cut = (begin, kind, Fault::Partition(vec![alone, others]));
            let ends = [(end, kind, Fault::Mend), (end, kind, Fault::Start(node))];
            [cut, (begin, kind, Fault::CrashOnWrite(node))].into_iter().chain(ends).collect()
        }
        FaultKind::Crash => pair(Fault::Crash(node), Fault::Start(node)),
        FaultKind::Reset => vec![(begin, kind, Fault::Reset(node))],
        FaultKind::Blackout => {
            let others = nodes.iter().copied().filter(|other| *other != node);
            let one = |node| {
                let fails = begin + random.below(300_000);
                [(fails, kind, Fault::Crash(node)), (end.max(fails) + random.below(2_000_000), kind, Fault::Start(node))]
            };
            others.flat_map(one).collect()
        }
        FaultKind::Restart => pair(Fault::Stop(node), Fault::Start(node)),
        FaultKind::Pause => pair(Fault::Pause(node), Fault::Resume(node)),
        FaultKind::Slow => pair(Fault::Slow { node, micros: random.between(20_000, 900_000) }, Fault::Slow { node, micros: 0 }),
        FaultKind::Skew | FaultKind::ClockJump => {
            let ms = i64::try_from(random.below(20_000)).expect("a small number") - 10_000;
            vec![(begin, kind, Fault::Skew { node, ms })]
        }
        FaultKind::DiskFull => pair(Fault::DiskFull(node, true), Fault::DiskFull(node, false)),
        FaultKind::FlippedBits => pair(Fault::FlipBits(node), Fault::Start(node)),
        FaultKind::DiskLoss => pair(Fault::LoseDisk(node), Fault::Start(node)),
        FaultKind::EpochLag => pair(Fault::EpochLag(node, true), Fault::EpochLag(node, false)),
        FaultKind::Overload => pair(Fault::Overload(node, true), Fault::Overload(node, false)),
    }
}

/// Two groups, overlapping in `bridge` if there is one.
fn halves(nodes: &[NodeId], random: &mut Random, bridge: Option<NodeId>) -> Vec<BTreeSet<NodeId>> {
    let mut shuffled = nodes.to_vec();
    random.shuffle(&mut shuffled);
    let cut = 1 + random.index(nodes.len() - 1);
    let (left, right) = shuffled.split_at(cut);
    [left, right].into_iter().map(|half| half.iter().copied().chain(bridge).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for kind in FaultKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(*kind));
        }
        assert!("unheard-of".parse::<FaultKind>().is_err());
    }

    #[test]
    fn leaving_one_kind_out_leaves_the_others_as_they_were() {
        let nodes: Vec<NodeId> = (1..=5).map(NodeId).collect();
        let all: BTreeSet<FaultKind> = FaultKind::ALL.iter().copied().collect();
        let fewer: BTreeSet<FaultKind> = all.iter().copied().filter(|kind| *kind != FaultKind::Crash).collect();
        let without = |faults: Vec<Scheduled>| faults.into_iter().filter(|(_, kind, _)| *kind != FaultKind::Crash).collect::<Vec<_>>();
        assert_eq!(without(schedule(3, &nodes, &all, 1_000_000)), schedule(3, &nodes, &fewer, 1_000_000));
    }
}
