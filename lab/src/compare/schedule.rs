//! Which faults are made when: the same for every level that is compared.
//!
//! **Promise.** A schedule is a function of what was asked for, the nodes, the window and a seed. Nothing reads a clock or draws
//! randomness of its own. Whatever is in a schedule can be made, and lasts within the window.
//!
//! | idea | file |
//! |---|---|
//! | what a fault is done to | `target.rs` |
//! | what people write | `request.rs` |
//! | filling a window with faults | `steady.rs` |
//!
//! **Rules**
//! - *Upon faults without times*: they follow each other, on and off, never two at once, with calm at the begin and at the end. A window
//!   that cannot hold each of them once, long enough to be noticed, is refused.
//! - *Upon stated times*: they are taken as they are, however short. Several faults may last at the same time, also so many that no
//!   majority is left, but not two that use one process or that both cut links.

mod request;
mod steady;
mod target;

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use quorate_ring::NodeId;
use rand::SeedableRng;
use rand::rngs::StdRng;

pub use request::{DELAY_USUAL, FaultRequest, Faults, InvalidRequest, SKEW_USUAL_MS, Wish};
pub use target::{FaultKind, Target, UnknownKind};

use steady::Turns;
use target::short;

/// A fault with its times, which count from the window's begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The fault, and what it is done to.
    pub target: Target,
    /// When it is made.
    pub from: Duration,
    /// When it is mended.
    pub until: Duration,
}

impl Planned {
    /// The kind of fault.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        self.target.kind()
    }

    /// Whether there is a moment at which both would last and cannot.
    fn prevents(&self, other: &Self) -> bool {
        self.from < other.until && other.from < self.until && self.target.excludes(&other.target)
    }
}

impl fmt::Display for Planned {
    /// `partition n1|n2,n3 from 1s until 3s500ms`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} from {} until {}", self.kind(), self.target, short(self.from), short(self.until))
    }
}

/// A schedule that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// A fault names a node that does not exist.
    #[error("{kind} names {node}, which is none of the {nodes} nodes")]
    UnknownNode {
        /// The fault.
        kind: FaultKind,
        /// The node.
        node: NodeId,
        /// How many nodes there are.
        nodes: usize,
    },
    /// Nobody is there who could notice.
    #[error("faults need two nodes or more: another one has to notice; ask for more nodes, or for no faults")]
    TooFewNodes,
    /// The window does not hold each fault once.
    #[error("{} cannot hold each of these faults once for long enough to be noticed; measure for at least {}, or ask for fewer faults", short(*window), short(*window_min))]
    TooShort {
        /// The window's length.
        window: Duration,
        /// The least that would do.
        window_min: Duration,
    },
    /// A fault ends after the window.
    #[error("{planned} ends after the measurement, which lasts {}; end it earlier, or measure for longer", short(*window))]
    Beyond {
        /// The fault.
        planned: Planned,
        /// The window's length.
        window: Duration,
    },
    /// Two faults want the same at the same time.
    #[error("{} and {} cannot last at the same time: they {}; give one of them other times", pair[0], pair[1], shared(&pair[0].target))]
    AtOnce {
        /// Both, the one that begins earlier first.
        pair: Box<[Planned; 2]>,
    },
}

/// What a fault uses that another one cannot use, too.
fn shared(target: &Target) -> &'static str {
    match target {
        Target::Kill(_) | Target::Pause(_) | Target::Slow { .. } | Target::Skew { .. } => "use the same process",
        Target::Partition(_) | Target::OneWay { .. } => "both decide which links are cut",
    }
}

/// Decides when which fault is made, in order of their begin.
///
/// # Errors
/// [`ScheduleError`] if the faults cannot be made to these nodes within the window.
pub fn plan(faults: &Faults, nodes: &[NodeId], window: Duration, seed: u64) -> Result<Vec<Planned>, ScheduleError> {
    if faults.is_none() {
        return Ok(Vec::new());
    }
    if nodes.len() < 2 {
        return Err(ScheduleError::TooFewNodes);
    }
    for request in faults.iter() {
        if let Wish::To(target) = &request.wish
            && let Some(node) = target.nodes().into_iter().find(|node| !nodes.contains(node))
        {
            return Err(ScheduleError::UnknownNode { kind: target.kind(), node, nodes: nodes.len() });
        }
    }
    let (timed, steady): (Vec<_>, Vec<_>) = faults.iter().partition(|request| request.times.is_some());
    if timed.is_empty() { steady::fill(&steady, nodes, window, seed) } else { stated(&timed, nodes, window, seed) }
}

/// Takes the times as they are.
fn stated(requests: &[&FaultRequest], nodes: &[NodeId], window: Duration, seed: u64) -> Result<Vec<Planned>, ScheduleError> {
    let mut random = StdRng::seed_from_u64(seed);
    let (named, open): (Vec<&FaultRequest>, Vec<&FaultRequest>) =
        requests.iter().copied().partition(|request| matches!(request.wish, Wish::To(_)));
    let mut planned: Vec<Planned> = Vec::new();
    // Those that say whom they mean come first: the others find somebody else.
    for request in named.into_iter().chain(open) {
        let Some(Range { start: from, end: until }) = request.times.clone() else { continue };
        let mut turns = Turns::new(nodes, &mut random);
        let mut next = || Planned { target: turns.target(&request.wish, &mut random), from, until };
        let mut drawn = next();
        for _ in 1..nodes.len() {
            if planned.iter().any(|other| other.prevents(&drawn)) {
                drawn = next();
            }
        }
        planned.push(drawn);
    }
    planned.sort_by_key(|planned| (planned.from, planned.until));
    if let Some(beyond) = planned.iter().find(|planned| planned.until > window) {
        return Err(ScheduleError::Beyond { planned: beyond.clone(), window });
    }
    for (index, first) in planned.iter().enumerate() {
        if let Some(second) = planned[index + 1..].iter().find(|second| first.prevents(second)) {
            return Err(ScheduleError::AtOnce { pair: Box::new([first.clone(), second.clone()]) });
        }
    }
    Ok(planned)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn nodes(count: u64) -> Vec<NodeId> {
        (1..=count).map(NodeId).collect()
    }

    fn faults(text: &str) -> Faults {
        text.parse().expect(text)
    }

    fn planned(text: &str, seconds: u32, seed: u64) -> Vec<Planned> {
        plan(&faults(text), &nodes(3), SECOND * seconds, seed).expect("it fits")
    }

    fn refused(text: &str, count: u64, seconds: u32) -> String {
        plan(&faults(text), &nodes(count), SECOND * seconds, 7).expect_err(text).to_string()
    }

    /// Frozen: a changed schedule silently makes old seeds mean something else.
    #[test]
    fn the_schedule_of_a_seed_is_frozen() {
        let shown: Vec<String> = planned("partition,kill,slow", 20, 7).iter().map(Planned::to_string).collect();
        insta::assert_snapshot!(shown.join("\n"), @"
        partition n2|n1,n3 from 500ms until 3s300ms
        slow n3 200ms from 5s400ms until 6s650ms
        kill n3 from 7s400ms until 8s650ms
        slow n2 200ms from 10s200ms until 11s500ms
        kill n1 from 12s200ms until 13s500ms
        partition n3|n1,n2 from 15s until 17s800ms
        ");
        assert_eq!(planned("partition,kill,slow", 20, 7), planned("partition,kill,slow", 20, 7));
        assert_ne!(planned("partition,kill,slow", 20, 7), planned("partition,kill,slow", 20, 8));
    }

    #[test]
    fn a_steady_schedule_is_calm_at_both_ends_and_has_one_fault_at_a_time() {
        for (text, seconds) in [("kill", 4), ("partition,kill,slow", 20), ("kill,pause,partition,one-way,slow,skew", 25), ("pause", 90)] {
            for seed in 0..50 {
                let schedule = planned(text, seconds, seed);
                let kinds: BTreeSet<FaultKind> = schedule.iter().map(Planned::kind).collect();
                assert_eq!(kinds, faults(text).iter().map(|request| request.wish.kind()).collect(), "each kind occurs");
                let (first, last) = (&schedule[0], &schedule[schedule.len() - 1]);
                assert!(first.from >= SECOND / 2 && last.until + Duration::from_millis(700) <= SECOND * seconds, "{schedule:?}");
                for pair in schedule.windows(2) {
                    let calm_ms = match pair[0].kind() {
                        FaultKind::Pause | FaultKind::Partition | FaultKind::OneWay => 2_000,
                        FaultKind::Kill => 1_500,
                        FaultKind::Slow | FaultKind::Skew => 700,
                    };
                    assert!(pair[0].until + Duration::from_millis(calm_ms) <= pair[1].from, "{} then {}", pair[0], pair[1]);
                }
            }
        }
        let twice = planned("partition,kill,slow", 20, 7);
        assert!(FaultKind::ALL.iter().all(|kind| [0, 2].contains(&twice.iter().filter(|planned| planned.kind() == *kind).count())));
    }

    #[test]
    fn nodes_take_turns_and_a_partition_leaves_a_majority() {
        for seed in 0..50 {
            let killed: BTreeSet<NodeId> = planned("kill", 10, seed).iter().flat_map(|planned| planned.target.nodes()).collect();
            assert_eq!(killed.len(), 3, "three kills, three nodes");
            for planned in plan(&faults("partition"), &nodes(5), SECOND * 60, seed).expect("it fits") {
                let Target::Partition(sides) = &planned.target else { panic!("{planned}") };
                assert!(matches!((sides[0].len(), sides[1].len()), (1, 4) | (2, 3)), "{planned}");
            }
        }
    }

    #[test]
    fn stated_times_are_taken_as_they_are() {
        let schedule = planned("slow:n3=50ms@9s-10s,kill:n1@1s-4s,kill:n2@2s-3s,partition@2s-2s50ms", 10, 7);
        let shown: Vec<String> = schedule.iter().map(Planned::to_string).collect();
        assert_eq!((&shown[0], &shown[3]), (&"kill n1 from 1s until 4s".to_owned(), &"slow n3 50ms from 9s until 10s".to_owned()));
        assert!(shown[1].ends_with("from 2s until 2s50ms") && shown[2] == "kill n2 from 2s until 3s", "{shown:?}");
        assert_eq!(planned("none", 1, 7), []);
    }

    #[test]
    fn whoever_is_not_named_is_somebody_else_than_those_who_are() {
        for seed in 0..50 {
            let schedule = planned("kill@1s-4s,pause@2s-3s,kill:n2@2s-3s", 10, seed);
            let hit: BTreeSet<NodeId> = schedule.iter().flat_map(|planned| planned.target.nodes()).collect();
            assert_eq!(hit.len(), 3, "{schedule:?}");
        }
    }

    #[test]
    fn impossible_schedules_are_refused_in_a_sentence() {
        let shown = [
            refused("kill", 1, 20),
            refused("kill:n4", 3, 20),
            refused("partition:n1|n9", 3, 20),
            refused("partition,kill,slow", 3, 9),
            refused("kill@5s-21s", 3, 20),
            refused("kill:n2@5s-9s,pause:n2@8s-12s", 3, 20),
            refused("partition@5s-9s,one-way@8s-12s", 3, 20),
        ];
        insta::assert_snapshot!(shown.join("\n"), @"
        faults need two nodes or more: another one has to notice; ask for more nodes, or for no faults
        kill names n4, which is none of the 3 nodes
        partition names n9, which is none of the 3 nodes
        9s cannot hold each of these faults once for long enough to be noticed; measure for at least 9s900ms, or ask for fewer faults
        kill n2 from 5s until 21s ends after the measurement, which lasts 20s; end it earlier, or measure for longer
        kill n2 from 5s until 9s and pause n2 from 8s until 12s cannot last at the same time: they use the same process; give one of them other times
        partition n2|n1,n3 from 5s until 9s and one-way n2>n1 from 8s until 12s cannot last at the same time: they both decide which links are cut; give one of them other times
        ");
    }
}
