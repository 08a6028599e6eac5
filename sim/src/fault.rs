//! What goes wrong: kinds of fault, and the schedule of those that come and go.
//!
//! A seed draws a random *subset* of kinds (swarm testing, Groce et al. 2012): a run with everything at once mostly shows that
//! nothing works, and hides what needs one fault to be absent.
//!
//! What comes and goes does so in *episodes*. The end of one ends what began in it and nothing else: where several keep a process down,
//! it stays down until the last of them ends. So leaving a kind of fault out leaves the others as they were.

mod schedule;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use quorate_ring::NodeId;

pub(crate) use self::schedule::{off_ms, schedule};

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
    /// One client and one node reach nobody else.
    Isolation,
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
    /// The nodes' wall clocks are off, each by another time, from the beginning to the end.
    Skew,
    /// A node's wall clock jumps, ahead or back, and stays there.
    ClockJump,
    /// A disk has no room for a while; its node takes no writes until it is started again.
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
        Self::Isolation,
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
            Self::Isolation => "isolation",
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

/// A time during which something is wrong. No two of a run have the same number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Episode(pub(crate) u32);

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
    /// A node and a client reach nobody but each other.
    Isolate {
        /// The node.
        node: NodeId,
        /// The client.
        client: u8,
    },
    /// The cuts, partitions and isolation of the episode end.
    Mend,
    /// A process dies.
    Crash(NodeId),
    /// A process dies right after the next thing it writes, before that is synced.
    CrashOnWrite(NodeId),
    /// A process dies while it sends the next state that it wants accepted: some get it, others do not.
    CrashOnProposal(NodeId),
    /// All connections of a process break, and the process lives on.
    Reset(NodeId),
    /// The same when a client's blind write has just come, and the process stands still for a moment before it looks at it.
    ResetOnWrite(NodeId),
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
    /// A node's wall clock jumps.
    Jump {
        /// The node.
        node: NodeId,
        /// How far, in milliseconds; back if negative.
        ms: i64,
    },
    /// A disk has no room (`true`), or has some again.
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
            Self::Isolate { node, .. }
            | Self::Crash(node)
            | Self::CrashOnWrite(node)
            | Self::CrashOnProposal(node)
            | Self::Reset(node)
            | Self::ResetOnWrite(node)
            | Self::Stop(node)
            | Self::Start(node)
            | Self::Pause(node)
            | Self::Resume(node)
            | Self::Slow { node, .. }
            | Self::Jump { node, .. }
            | Self::DiskFull(node, _)
            | Self::FlipBits(node)
            | Self::LoseDisk(node)
            | Self::EpochLag(node, _)
            | Self::Overload(node, _) => vec![*node],
        }
    }
}

/// A state of a node in which an episode keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Plight {
    Down(NodeId),
    Paused(NodeId),
    Slow(NodeId),
    Full(NodeId),
    Behind(NodeId),
    Overloaded(NodeId),
}

impl Fault {
    /// The plight that it begins (`true`) or ends, if it does either.
    pub(crate) fn plight(&self) -> Option<(Plight, bool)> {
        match self {
            Self::Crash(node)
            | Self::CrashOnWrite(node)
            | Self::CrashOnProposal(node)
            | Self::Stop(node)
            | Self::FlipBits(node)
            | Self::LoseDisk(node) => Some((Plight::Down(*node), true)),
            Self::Start(node) => Some((Plight::Down(*node), false)),
            Self::Pause(node) => Some((Plight::Paused(*node), true)),
            Self::Resume(node) => Some((Plight::Paused(*node), false)),
            Self::Slow { node, micros } => Some((Plight::Slow(*node), *micros > 0)),
            Self::DiskFull(node, begins) => Some((Plight::Full(*node), *begins)),
            Self::EpochLag(node, begins) => Some((Plight::Behind(*node), *begins)),
            Self::Overload(node, begins) => Some((Plight::Overloaded(*node), *begins)),
            Self::Cut { .. }
            | Self::Partition(_)
            | Self::Isolate { .. }
            | Self::Mend
            | Self::Reset(_)
            | Self::ResetOnWrite(_)
            | Self::Jump { .. } => None,
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
            Self::Isolate { node, client } => write!(f, "isolate {node} with c{client}"),
            Self::Mend => f.write_str("mend"),
            Self::Crash(node) => write!(f, "crash {node}"),
            Self::CrashOnWrite(node) => write!(f, "crash {node} on its next write"),
            Self::CrashOnProposal(node) => write!(f, "crash {node} on its next proposal"),
            Self::Reset(node) => write!(f, "reset the connections of {node}"),
            Self::ResetOnWrite(node) => write!(f, "reset the connections of {node} on its next blind write"),
            Self::Stop(node) => write!(f, "stop {node}"),
            Self::Start(node) => write!(f, "start {node}"),
            Self::Pause(node) => write!(f, "pause {node}"),
            Self::Resume(node) => write!(f, "resume {node}"),
            Self::Slow { node, micros } => write!(f, "slow {node} by {micros}us"),
            Self::Jump { node, ms } => write!(f, "clock of {node} jumps by {ms}ms"),
            Self::DiskFull(node, true) => write!(f, "disk of {node} full"),
            Self::DiskFull(node, false) => write!(f, "disk of {node} has room"),
            Self::FlipBits(node) => write!(f, "flip bits in the log of {node}"),
            Self::LoseDisk(node) => write!(f, "lose the disk of {node}"),
            Self::EpochLag(node, true) => write!(f, "{node} falls behind the ring epoch"),
            Self::EpochLag(node, false) => write!(f, "{node} reaches the ring epoch"),
            Self::Overload(node, true) => write!(f, "{node} overloaded"),
            Self::Overload(node, false) => write!(f, "{node} not overloaded"),
        }
    }
}

/// A fault, and the episode in which it comes or with which it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Strike {
    pub(crate) episode: Episode,
    pub(crate) fault: Fault,
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
}
