//! What a fault is done to.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use quorate_ring::NodeId;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// A process dies without a word, and is started again on its data.
    Kill,
    /// A process stands still with its connections open, and goes on.
    Pause,
    /// Messages between sides are lost; clients are on the side of the node beside them.
    Partition,
    /// Messages from one node to another are lost, in this direction only.
    OneWay,
    /// What a node sends to other nodes arrives late.
    Slow,
    /// A node's wall clock is wrong.
    Skew,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Kill, Self::Pause, Self::Partition, Self::OneWay, Self::Slow, Self::Skew];

    /// Whether it is done to a process by a signal, which needs the process to be ours.
    #[must_use]
    pub fn needs_process(self) -> bool {
        matches!(self, Self::Kill | Self::Pause)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Partition => "partition",
            Self::OneWay => "one-way",
            Self::Slow => "slow",
            Self::Skew => "skew",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no fault of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no fault {text:?}; write kill, pause, partition, one-way, slow or skew")]
pub struct UnknownKind {
    /// What was written.
    pub text: String,
}

impl FromStr for FaultKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| UnknownKind { text: text.to_owned() })
    }
}

/// A fault and what it is done to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The node whose process dies.
    Kill(NodeId),
    /// The node whose process stands still.
    Pause(NodeId),
    /// The sides, none of which is empty. A node on none of them is with everybody.
    Partition(Vec<BTreeSet<NodeId>>),
    /// The lost direction.
    OneWay {
        /// Whose messages are lost.
        from: NodeId,
        /// Who does not hear them.
        to: NodeId,
    },
    /// A slow sender.
    Slow {
        /// The node.
        node: NodeId,
        /// How much later its messages arrive.
        delay: Duration,
    },
    /// A wrong clock.
    Skew {
        /// The node.
        node: NodeId,
        /// How far ahead its clock is, in milliseconds; behind if negative.
        skew_ms: i64,
    },
}

impl Target {
    /// The kind of fault.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Kill(_) => FaultKind::Kill,
            Self::Pause(_) => FaultKind::Pause,
            Self::Partition(_) => FaultKind::Partition,
            Self::OneWay { .. } => FaultKind::OneWay,
            Self::Slow { .. } => FaultKind::Slow,
            Self::Skew { .. } => FaultKind::Skew,
        }
    }

    /// The nodes that are named.
    #[must_use]
    pub fn nodes(&self) -> BTreeSet<NodeId> {
        match self {
            Self::Kill(node) | Self::Pause(node) | Self::Slow { node, .. } | Self::Skew { node, .. } => BTreeSet::from([*node]),
            Self::Partition(sides) => sides.iter().flatten().copied().collect(),
            Self::OneWay { from, to } => BTreeSet::from([*from, *to]),
        }
    }

    /// Whether both cannot last at the same time: they use one process, or both decide which links are cut.
    #[must_use]
    pub fn excludes(&self, other: &Self) -> bool {
        let cuts = |target: &Self| matches!(target, Self::Partition(_) | Self::OneWay { .. });
        match (cuts(self), cuts(other)) {
            (true, true) => true,
            (false, false) => self.nodes() == other.nodes(),
            (true, false) | (false, true) => false,
        }
    }

    /// As a request spells it: without commas and blanks.
    pub(super) fn spelling(&self) -> String {
        match self {
            Self::Kill(_) | Self::Pause(_) | Self::OneWay { .. } => self.to_string(),
            Self::Partition(_) => self.to_string().replace(',', "+"),
            Self::Slow { node, delay } => format!("{node}={}", short(*delay)),
            Self::Skew { node, skew_ms } => format!("{node}={}", Ahead(*skew_ms)),
        }
    }
}

impl fmt::Display for Target {
    /// `n2`, `n1|n2,n3`, `n1>n2`, `n3 200ms`, `n2 +3s`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(node) | Self::Pause(node) => node.fmt(f),
            Self::Partition(sides) => {
                let names = |side: &BTreeSet<NodeId>| side.iter().map(NodeId::to_string).collect::<Vec<_>>().join(",");
                f.write_str(&sides.iter().map(names).collect::<Vec<_>>().join("|"))
            }
            Self::OneWay { from, to } => write!(f, "{from}>{to}"),
            Self::Slow { node, delay } => write!(f, "{node} {}", short(*delay)),
            Self::Skew { node, skew_ms } => write!(f, "{node} {}", Ahead(*skew_ms)),
        }
    }
}

/// A clock's error with its sign.
struct Ahead(i64);

impl fmt::Display for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { '-' } else { '+' };
        write!(f, "{sign}{}", short(Duration::from_millis(self.0.unsigned_abs())))
    }
}

/// A time in one word: `1s500ms`.
pub(super) fn short(time: Duration) -> String {
    humantime::format_duration(time).to_string().replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    const N1: NodeId = NodeId(1);
    const N2: NodeId = NodeId(2);
    const N3: NodeId = NodeId(3);

    #[test]
    fn every_kind_has_one_spelling() {
        for kind in FaultKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let refused = "oneway".parse::<FaultKind>().expect_err("not its spelling");
        assert_eq!(refused.to_string(), r#"there is no fault "oneway"; write kill, pause, partition, one-way, slow or skew"#);
    }

    #[test]
    fn targets_are_written_for_people_and_for_requests() {
        let sides = Target::Partition(vec![BTreeSet::from([N1]), BTreeSet::from([N2, N3])]);
        let slow = Target::Slow { node: N3, delay: Duration::from_millis(1_200) };
        let behind = Target::Skew { node: N2, skew_ms: -3_000 };
        let shown = [&sides, &slow, &behind].map(|target| (target.to_string(), target.spelling()));
        let expected = [("n1|n2,n3", "n1|n2+n3"), ("n3 1s200ms", "n3=1s200ms"), ("n2 -3s", "n2=-3s")];
        assert_eq!(shown, expected.map(|(people, request)| (people.to_owned(), request.to_owned())));
    }

    #[test]
    fn faults_exclude_each_other_on_one_process_and_on_the_links() {
        let partition = Target::Partition(vec![BTreeSet::from([N1]), BTreeSet::from([N2, N3])]);
        let one_way = Target::OneWay { from: N2, to: N3 };
        let slow = Target::Slow { node: N2, delay: Duration::from_millis(200) };
        assert!(partition.excludes(&one_way) && one_way.excludes(&partition));
        assert!(Target::Kill(N2).excludes(&slow) && Target::Pause(N2).excludes(&Target::Kill(N2)));
        assert!(!Target::Kill(N1).excludes(&slow), "two processes");
        assert!(!Target::Kill(N1).excludes(&partition), "one can die in a partition");
    }
}
