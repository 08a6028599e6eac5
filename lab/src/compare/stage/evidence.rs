//! What shows that a fault took effect, from what the nodes say of each other.
//!
//! Nothing is taken for granted because a command succeeded. A change has to be seen: somebody saw a node up before the fault and counts
//! it as down now, or measured a short round trip before and a long one now. So what an earlier fault left behind proves nothing.
//!
//! | fault | shown by |
//! |---|---|
//! | kill, pause | another node counts it as down; the process was seen to be gone, or all its threads to stand still, by whoever did it |
//! | partition, one-way | all nodes that it parts, as far as they run, count each other as down |
//! | slow | the round trip of a heartbeat from or to the node takes as long as the delay; or it counts as down, if no heartbeat waits so long |
//! | skew | a write through the node bears a stamp that the time here does not explain ([`stamp`](super::stamp)) |

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_ring::NodeId;

use super::stamp::Offset;
use super::view::View;
use crate::compare::schedule::Target;

/// From this delay on, heartbeats may give up before they are answered.
const HEARTBEAT_MAX: Duration = Duration::from_secs(1);
/// How much further off a clock must be than time and its own past explain: half of the least skew.
const CHANGE_MS_MIN: i64 = 500;

/// The search for a sign of one fault.
#[derive(Debug)]
pub(super) struct Evidence {
    target: Target,
    before: View,
    /// The clock's error before the fault, if it is a fault of clocks.
    offset_before: Option<Offset>,
    found: Option<String>,
}

impl Evidence {
    /// Nothing is known but how it was before.
    pub(super) fn new(target: Target, before: View, offset_before: Option<Offset>) -> Self {
        Self { target, before, offset_before, found: None }
    }

    /// The sentence, if the fault has shown.
    pub(super) fn found(&self) -> Option<&str> {
        self.found.as_deref()
    }

    /// How often a node had been started before.
    pub(super) fn boot_before(&self, node: NodeId) -> Option<u32> {
        self.before.boot(node)
    }

    /// Looks at what the nodes said so long after the fault was made.
    pub(super) fn look(&mut self, view: &View, after: Duration) {
        if self.found.is_some() {
            return;
        }
        let after = told(after);
        self.found = match &self.target {
            Target::Kill(node) => {
                self.counted_as_down(view, *node).map(|by| format!("{node}'s process was gone; {by} counted it as down after {after}"))
            }
            Target::Pause(node) => {
                let by = self.counted_as_down(view, *node);
                by.map(|by| format!("all threads of {node} stood still; {by} counted it as down after {after}"))
            }
            Target::Partition(sides) => {
                let pairs = across(sides);
                let names = self.target.to_string();
                self.all_apart(view, &pairs).then(|| format!("{names} counted each other as down after {after}"))
            }
            Target::OneWay { from, to } => {
                let (from, to) = (*from, *to);
                let apart = self.all_apart(view, &[(from, to), (to, from)]);
                apart.then(|| format!("{from} and {to} counted each other as down after {after}"))
            }
            Target::Slow { node, delay } => self.slower(view, *node, *delay, &after),
            Target::Skew { .. } => None,
        };
    }

    /// Looks at how far off the node's clock is now.
    pub(super) fn look_at_clock(&mut self, now: Offset) {
        let (Target::Skew { node, skew_ms }, Some(before)) = (&self.target, self.offset_before) else { return };
        let shown = if *skew_ms > 0 {
            (now.least_ms >= before.most_ms.max(0) + CHANGE_MS_MIN).then_some((now.least_ms, "ahead of"))
        } else {
            (now.most_ms <= before.least_ms.min(0) - CHANGE_MS_MIN).then_some((now.most_ms, "behind"))
        };
        if let Some((off_ms, side)) = shown {
            let off = told(Duration::from_millis(off_ms.unsigned_abs()));
            self.found.get_or_insert(format!("{node} stamped a write {off} {side} the time"));
        }
    }

    /// Somebody who saw the node up before and does not now.
    fn counted_as_down(&self, view: &View, node: NodeId) -> Option<NodeId> {
        view.observers(node).find(|observer| self.before.up(*observer, node) && view.down(*observer, node))
    }

    /// Whether two of these count each other as down of which one saw the other before, and all do that run.
    fn all_apart(&self, view: &View, pairs: &[(NodeId, NodeId)]) -> bool {
        let before = &self.before;
        let are_apart = |a, b| view.down(a, b) && view.down(b, a);
        let have_parted = pairs.iter().any(|(a, b)| are_apart(*a, *b) && (before.up(*a, *b) || before.up(*b, *a)));
        have_parted && pairs.iter().all(|(observer, peer)| !view.has(*observer) || view.down(*observer, *peer))
    }

    fn slower(&self, view: &View, node: NodeId, delay: Duration, after: &str) -> Option<String> {
        let both_ways = view.observers(node).flat_map(|other| [(other, node), (node, other)]);
        let grown = both_ways.filter(|(observer, peer)| self.before.up(*observer, *peer)).find_map(|(observer, peer)| {
            let before = self.before.sight(observer, peer)?.round_trip.filter(|before| *before < delay)?;
            let now = view.sight(observer, peer)?.round_trip.filter(|now| *now >= delay)?;
            Some(format!("a round trip from {observer} to {peer} took {}, {} before", told(now), told(before)))
        });
        grown.or_else(|| {
            let by = (delay >= HEARTBEAT_MAX).then(|| self.counted_as_down(view, node)).flatten()?;
            Some(format!("{by} counted {node} as down after {after}"))
        })
    }
}

/// All links between nodes of different sides, in both directions.
fn across(sides: &[BTreeSet<NodeId>]) -> Vec<(NodeId, NodeId)> {
    let placed = || sides.iter().enumerate().flat_map(|(number, side)| side.iter().map(move |node| (number, *node)));
    placed().flat_map(|(side, a)| placed().filter(move |(other, _)| *other != side).map(move |(_, b)| (a, b))).collect()
}

/// A time as people say it: `640ms`, `1.6s`, `0.2ms`.
pub(super) fn told(time: Duration) -> String {
    match time.as_millis() {
        0..10 => format!("{:.1}ms", time.as_secs_f64() * 1_000.0),
        10..1_000 => format!("{}ms", time.as_millis()),
        1_000.. => format!("{:.1}s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const N1: NodeId = NodeId(1);
    const N2: NodeId = NodeId(2);
    const N3: NodeId = NodeId(3);
    const AFTER: Duration = Duration::from_millis(1_640);

    /// Three nodes, in their first boot, which see each other as `up` says, with a round trip of 1 ms, or `slow` to and from n3.
    fn view(up: impl Fn(NodeId, NodeId) -> bool, slow_ms: u64) -> View {
        let all = [N1, N2, N3];
        all.into_iter().fold(View::at(Instant::now()), |view, node| {
            let others = all.into_iter().filter(|other| *other != node);
            let rtt = |other| if node == N3 || other == N3 { slow_ms } else { 1 };
            let peers: Vec<_> = others.map(|other| (other, up(node, other), rtt(other))).collect();
            view.with(node, 1, &peers)
        })
    }

    fn well() -> View {
        view(|_, _| true, 1)
    }

    fn searching(target: Target) -> Evidence {
        Evidence::new(target, well(), None)
    }

    fn partition() -> Target {
        Target::Partition(vec![BTreeSet::from([N1]), BTreeSet::from([N2, N3])])
    }

    #[test]
    fn a_dead_or_silent_node_is_one_that_another_counts_as_down() {
        for target in [Target::Kill(N2), Target::Pause(N2)] {
            let mut evidence = searching(target);
            evidence.look(&well(), AFTER);
            evidence.look(&view(|_, peer| peer != N1, 1), AFTER);
            assert_eq!(evidence.found(), None, "nobody missed n2");
            evidence.look(&View::at(Instant::now()).with(N3, 1, &[(N1, true, 1), (N2, false, 1)]), AFTER);
            assert!(evidence.found().expect("seen").ends_with("n3 counted it as down after 1.6s"), "{evidence:?}");
        }
    }

    #[test]
    fn what_was_so_before_proves_nothing() {
        let lonely = view(|_, _| false, 300);
        let slow = Target::Slow { node: N3, delay: Duration::from_millis(200) };
        for target in [Target::Kill(N2), partition(), Target::OneWay { from: N1, to: N2 }, slow] {
            let mut evidence = Evidence::new(target, lonely.clone(), None);
            evidence.look(&lonely, AFTER);
            assert_eq!(evidence.found(), None);
        }
    }

    #[test]
    fn a_partition_parts_all_that_run() {
        let mut evidence = searching(partition());
        evidence.look(&view(|observer, _| observer != N1, 1), AFTER);
        assert_eq!(evidence.found(), None, "n2 and n3 do not know yet");
        evidence.look(&view(|observer, peer| observer == N3 || (observer != N1 && peer != N1), 1), AFTER);
        assert_eq!(evidence.found(), None, "n3 does not know yet");
        evidence.look(&view(|observer, peer| observer != N1 && peer != N1, 1), AFTER);
        assert_eq!(evidence.found(), Some("n1|n2,n3 counted each other as down after 1.6s"));
    }

    #[test]
    fn who_is_dead_cannot_show_a_partition() {
        let seen = |by: &[NodeId]| {
            let apart =
                |node: &NodeId| [N1, N2, N3].into_iter().filter(|peer| peer != node).map(|peer| (peer, false, 1)).collect::<Vec<_>>();
            let view = by.iter().fold(View::at(Instant::now()), |view, node| view.with(*node, 1, &apart(node)));
            let mut evidence = searching(partition());
            evidence.look(&view, AFTER);
            evidence.found().is_some()
        };
        assert!(seen(&[N1, N2]), "n3 is dead, the others have parted");
        assert!(!seen(&[N1]), "n2 and n3 may both be dead");
    }

    #[test]
    fn one_lost_direction_parts_both() {
        let mut evidence = searching(Target::OneWay { from: N1, to: N2 });
        evidence.look(&view(|observer, _| observer != N1, 1), AFTER);
        assert_eq!(evidence.found(), None);
        evidence.look(&view(|observer, peer| observer == N3 || peer == N3, 1), AFTER);
        assert_eq!(evidence.found(), Some("n1 and n2 counted each other as down after 1.6s"));
    }

    #[test]
    fn a_slow_node_has_long_round_trips_in_either_direction() {
        let slow = |ms| Target::Slow { node: N3, delay: Duration::from_millis(ms) };
        let mut evidence = searching(slow(200));
        evidence.look(&view(|_, _| true, 199), AFTER);
        evidence.look(&view(|_, peer| peer != N3, 1), AFTER);
        assert_eq!(evidence.found(), None, "a cut is no delay");
        evidence.look(&view(|_, _| true, 201), AFTER);
        assert_eq!(evidence.found(), Some("a round trip from n1 to n3 took 201ms, 1.0ms before"));
        let mut slower = searching(slow(5_000));
        slower.look(&view(|_, peer| peer != N3, 1), AFTER);
        assert_eq!(slower.found(), Some("n1 counted n3 as down after 1.6s"), "no heartbeat waits for five seconds");
    }

    #[test]
    fn a_clock_is_wrong_by_more_than_its_past_and_the_question_explain() {
        let offset = |least_ms, most_ms| Offset { least_ms, most_ms };
        let after = |skew_ms, before: Offset, now: Offset| {
            let mut evidence = Evidence::new(Target::Skew { node: N2, skew_ms }, well(), Some(before));
            evidence.look_at_clock(now);
            evidence.found().map(str::to_owned)
        };
        let right = offset(-2, 3);
        assert_eq!(after(3_000, right, offset(2_995, 3_000)), Some("n2 stamped a write 3.0s ahead of the time".to_owned()));
        assert_eq!(after(-3_000, right, offset(-610, -605)), Some("n2 stamped a write 605ms behind the time".to_owned()));
        assert_eq!(after(3_000, right, offset(100, 900)), None, "the answer took so long that it may be right");
        assert_eq!(after(3_000, right, offset(-700, -690)), None, "wrong in the other direction");
        // A clock never goes back: what was ahead stays so until time has caught up.
        assert_eq!(after(3_000, offset(2_700, 2_710), offset(2_600, 2_610)), None);
        assert_eq!(after(-3_000, offset(2_700, 2_710), offset(10, 20)), None);
    }
}
