//! When which faults come and go during the chaos.

use std::collections::BTreeSet;

use quorate_ring::NodeId;

use super::{Episode, Fault, FaultKind, Strike};
use crate::random::Random;

/// A fault and when it comes.
pub(crate) type Scheduled = (u64, FaultKind, Strike);

/// Longest that a fault stays, in microseconds.
const STAY_MICROS_MAX: u64 = 9_000_000;

/// Most episodes of a kind.
const EPISODES_MAX: u32 = 1_000;

/// Farthest that a wall clock is off, or jumps, in milliseconds.
const OFF_MS_MAX: i64 = 10_000;

/// How far a wall clock is off, or jumps, in milliseconds.
pub(crate) fn off_ms(random: &mut Random) -> i64 {
    let span = u64::try_from(2 * OFF_MS_MAX).expect("a positive number");
    i64::try_from(random.below(span)).expect("a small number") - OFF_MS_MAX
}

/// Draws when which faults come and go during the chaos. Every kind draws from a stream of its own.
pub(crate) fn schedule(seed: u64, nodes: &[NodeId], kinds: &BTreeSet<FaultKind>, chaos_micros: u64) -> Vec<Scheduled> {
    let mut faults = Vec::new();
    let first = (0..).step_by(EPISODES_MAX as usize);
    for (kind, first) in FaultKind::ALL.iter().zip(first).filter(|(kind, _)| kinds.contains(kind)) {
        let mut random = Random::of(seed, kind.name());
        for number in 0..times(*kind, &mut random) {
            // Most workloads are done before the chaos is over.
            let span = random.pick(&[chaos_micros / 4, chaos_micros / 2, chaos_micros]);
            let begin = random.below(span);
            let end = begin + random.between(1_000, STAY_MICROS_MAX.min(chaos_micros));
            let strike = |(at, fault)| (at, *kind, Strike { episode: Episode(first + number), fault });
            faults.extend(episode(*kind, nodes, &mut random, begin, end).into_iter().map(strike));
        }
    }
    faults.sort_by_key(|(at, ..)| *at);
    faults
}

/// How many episodes of a kind there are.
fn times(kind: FaultKind, random: &mut Random) -> u32 {
    let times = match kind {
        // They are there all the time.
        FaultKind::Loss | FaultKind::Delay | FaultKind::Duplicate | FaultKind::Skew => 0,
        // What is lost for good is lost once, so that a majority of a key's homes never is. Whether a run of three replicas has both of
        // these is decided where its kinds are drawn.
        FaultKind::FlippedBits | FaultKind::DiskLoss => 1,
        FaultKind::Crash => random.between(2, 10),
        FaultKind::Reset => random.between(5, 40),
        FaultKind::Restart | FaultKind::DiskFull | FaultKind::EpochLag | FaultKind::Overload => random.between(1, 3),
        FaultKind::Partition
        | FaultKind::OneWay
        | FaultKind::Bridge
        | FaultKind::Isolation
        | FaultKind::Blackout
        | FaultKind::Pause
        | FaultKind::Slow
        | FaultKind::ClockJump => random.between(1, 5),
    };
    u32::try_from(times).expect("a small number")
}

/// What happens in one episode, and when.
fn episode(kind: FaultKind, nodes: &[NodeId], random: &mut Random, begin: u64, end: u64) -> Vec<(u64, Fault)> {
    let node = random.pick(nodes);
    let pair = |come: Fault, go: Fault| vec![(begin, come), (end, go)];
    match kind {
        FaultKind::Loss | FaultKind::Delay | FaultKind::Duplicate | FaultKind::Skew => Vec::new(),
        FaultKind::Partition => pair(Fault::Partition(halves(nodes, random, None)), Fault::Mend),
        FaultKind::Bridge => pair(Fault::Partition(halves(nodes, random, Some(node))), Fault::Mend),
        FaultKind::Isolation => pair(Fault::Isolate { node, client: 1 + random.pick(&[0, 1, 2]) }, Fault::Mend),
        FaultKind::OneWay => {
            let others: Vec<NodeId> = nodes.iter().copied().filter(|other| *other != node).collect();
            pair(Fault::Cut { from: node, to: random.pick(&others) }, Fault::Mend)
        }
        FaultKind::Crash if random.chance(300) => pair(Fault::Crash(node), Fault::Start(node)),
        FaultKind::Crash if random.chance(300) => pair(Fault::CrashOnProposal(node), Fault::Start(node)),
        FaultKind::Crash if random.chance(500) => pair(Fault::CrashOnWrite(node), Fault::Start(node)),
        // What it writes last, nobody else has heard of.
        FaultKind::Crash => {
            let (alone, others) = nodes.iter().copied().partition(|other| *other == node);
            let begins = [(begin, Fault::Partition(vec![alone, others])), (begin, Fault::CrashOnWrite(node))];
            begins.into_iter().chain([(end, Fault::Mend), (end, Fault::Start(node))]).collect()
        }
        FaultKind::Reset if random.chance(500) => vec![(begin, Fault::ResetOnWrite(node))],
        FaultKind::Reset => vec![(begin, Fault::Reset(node))],
        FaultKind::Blackout => {
            let others = nodes.iter().copied().filter(|other| *other != node);
            let one = |node| {
                let fails = begin + random.below(300_000);
                [(fails, Fault::Crash(node)), (end.max(fails) + random.below(2_000_000), Fault::Start(node))]
            };
            others.flat_map(one).collect()
        }
        FaultKind::Restart => pair(Fault::Stop(node), Fault::Start(node)),
        FaultKind::Pause => pair(Fault::Pause(node), Fault::Resume(node)),
        FaultKind::Slow => pair(Fault::Slow { node, micros: random.between(20_000, 900_000) }, Fault::Slow { node, micros: 0 }),
        FaultKind::ClockJump => vec![(begin, Fault::Jump { node, ms: off_ms(random) })],
        FaultKind::DiskFull => {
            let stops = end + random.below(2_000_000);
            let restarted = [(stops, Fault::Stop(node)), (stops + random.below(500_000), Fault::Start(node))];
            pair(Fault::DiskFull(node, true), Fault::DiskFull(node, false)).into_iter().chain(restarted).collect()
        }
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
    fn leaving_one_kind_out_leaves_the_others_as_they_were() {
        let nodes: Vec<NodeId> = (1..=5).map(NodeId).collect();
        let all: BTreeSet<FaultKind> = FaultKind::ALL.iter().copied().collect();
        let fewer: BTreeSet<FaultKind> = all.iter().copied().filter(|kind| *kind != FaultKind::Crash).collect();
        let without = |faults: Vec<Scheduled>| faults.into_iter().filter(|(_, kind, _)| *kind != FaultKind::Crash).collect::<Vec<_>>();
        assert_eq!(without(schedule(3, &nodes, &all, 1_000_000)), schedule(3, &nodes, &fewer, 1_000_000));
    }
}
