//! Which coordinators an operation goes to, in which order.
//!
//! **Promise.** Every home replica of the key is a candidate, and a few other nodes are, because any node can coordinate.
//! A node that failed lately comes last, it is never left out.
//!
//! **Rules.**
//! - *Among home replicas that answer*: draw two, ask the one that is clearly faster first. Two that are about equally fast
//!   share the load by the draw. Once in a while the draw alone decides, or a node that was slow once would never be
//!   measured again.
//! - *For linearizable operations* instead: the home replicas that answer, in ring order. All clients then go to the same coordinator,
//!   which batches what it gets for a key; two of them would only stand in each other's way. Any other one does as well, only slower.
//! - *Then* other nodes that answer, in ring order.
//! - *Then* home replicas that failed lately, then other nodes that did.
//!
//! Sources: Mitzenmacher, *The Power of Two Choices in Randomized Load Balancing* (2001).

/// Nodes beside the home replicas that an operation may go to. They only forward, so more than a few help nobody.
const OTHERS_MAX: usize = 4;

/// How many times slower a node must be to be passed over.
const CLEARLY_SLOWER: u64 = 2;

/// One operation in so many ignores what is known of latencies.
const EXPLORE_ONE_IN: u64 = 64;

/// What is known of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It answers; its usual latency in microseconds, zero while unknown.
    Answers { micros: u64 },
    /// It failed lately.
    Failing,
}

impl Standing {
    fn answers(self) -> bool {
        matches!(self, Self::Answers { .. })
    }

    fn is_clearly_slower_than(self, other: Self) -> bool {
        match (self, other) {
            (Self::Answers { micros }, Self::Answers { micros: others }) => micros > others.saturating_mul(CLEARLY_SLOWER),
            (Self::Failing, _) | (_, Self::Failing) => false,
        }
    }
}

/// A home replica, and how it stood when it was looked at: other operations may change that at any time, so each is looked at once.
type Seen<T> = (T, Standing);

/// Orders the candidates of one operation; `draw` is a fresh random number.
pub(crate) fn order<T: Copy>(homes: &[T], others: impl IntoIterator<Item = T>, standing: impl Fn(T) -> Standing, draw: u64) -> Vec<T> {
    let (spread, explore) = (draw >> 32, draw & 0xffff_ffff);
    let start = usize::try_from(spread % homes.len().max(1) as u64).expect("less than the number of homes");
    let (mut answering, failing) = homes_from(start, homes, &standing);
    if let [(_, first), (_, second), ..] = answering[..]
        && first.is_clearly_slower_than(second)
        && !explore.is_multiple_of(EXPLORE_ONE_IN)
    {
        answering.swap(0, 1);
    }
    ranked(answering, failing, others, standing)
}

/// Orders the candidates of one linearizable operation.
pub(crate) fn in_ring_order<T: Copy>(homes: &[T], others: impl IntoIterator<Item = T>, standing: impl Fn(T) -> Standing) -> Vec<T> {
    let (answering, failing) = homes_from(0, homes, &standing);
    ranked(answering, failing, others, standing)
}

/// The home replicas from `start` on: those that answer, and those that failed lately.
fn homes_from<T: Copy>(start: usize, homes: &[T], standing: impl Fn(T) -> Standing) -> (Vec<Seen<T>>, Vec<Seen<T>>) {
    let drawn = homes[start..].iter().chain(&homes[..start]);
    drawn.map(|node| (*node, standing(*node))).partition(|(_, standing)| standing.answers())
}

/// Home replicas and other nodes, those that failed lately behind those that answer.
fn ranked<T: Copy>(
    answering: Vec<Seen<T>>,
    failing: Vec<Seen<T>>,
    others: impl IntoIterator<Item = T>,
    standing: impl Fn(T) -> Standing,
) -> Vec<T> {
    let (others_answering, others_failing): (Vec<T>, Vec<T>) = others.into_iter().partition(|node| standing(*node).answers());
    let others_left = OTHERS_MAX - others_answering.len().min(OTHERS_MAX);
    let nodes = |seen: Vec<Seen<T>>| seen.into_iter().map(|(node, _)| node);
    let first = nodes(answering).chain(others_answering.into_iter().take(OTHERS_MAX));
    first.chain(nodes(failing)).chain(others_failing.into_iter().take(others_left)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOMES: [u8; 3] = [1, 2, 3];

    fn even(_: u8) -> Standing {
        Standing::Answers { micros: 500 }
    }

    /// How often each of the homes comes first, over draws that visit every start and explore or not.
    fn firsts(standing: impl Fn(u8) -> Standing) -> [usize; 4] {
        let mut counts = [0; 4];
        for spread in 0..30u64 {
            for explore in 0..EXPLORE_ONE_IN {
                counts[usize::from(order(&HOMES, [], &standing, spread << 32 | explore)[0])] += 1;
            }
        }
        counts
    }

    #[test]
    fn equals_share_the_load() {
        let [_, a, b, c] = firsts(even);
        assert!(a == b && b == c, "{a} {b} {c}");
    }

    /// What other operations find out changes how a node stands while it is being looked at. That once ended the program.
    #[test]
    fn every_home_is_a_candidate_once_however_nodes_stand_from_look_to_look() {
        for pattern in 0..1_u32 << 12 {
            let looks = std::cell::Cell::new(0);
            let flickering = |_: u8| {
                let look = looks.replace(looks.get() + 1);
                if pattern >> (look % 12) & 1 == 0 { Standing::Failing } else { Standing::Answers { micros: 1 << look } }
            };
            for draw in [1, 1 << 32 | 1, 2 << 32 | 1] {
                let mut ordered = order(&HOMES, [], flickering, draw);
                ordered.sort_unstable();
                assert_eq!(ordered, HOMES, "pattern {pattern:b}, draw {draw:x}");
            }
            let mut ordered = in_ring_order(&HOMES, [], flickering);
            ordered.sort_unstable();
            assert_eq!(ordered, HOMES, "pattern {pattern:b}");
        }
    }

    #[test]
    fn linearizable_operations_go_to_the_first_home_that_answers() {
        assert_eq!(in_ring_order(&HOMES, [7], even), [1, 2, 3, 7]);
        let slow = |node| Standing::Answers { micros: if node == 1 { 5_000 } else { 500 } };
        assert_eq!(in_ring_order(&HOMES, [7], slow)[0], 1, "clients that disagree on who is fast would compete");
        assert_eq!(in_ring_order(&HOMES, [7], |node| if node == 1 { Standing::Failing } else { even(node) }), [2, 3, 7, 1]);
    }

    #[test]
    fn a_slow_home_is_passed_over_but_not_forgotten() {
        let [_, _, slow, _] = firsts(|node| Standing::Answers { micros: if node == 2 { 5_000 } else { 500 } });
        assert_eq!(slow, 30 / 3, "only when exploring");
    }

    #[test]
    fn a_node_that_was_never_measured_counts_as_fast() {
        let [_, _, unknown, _] = firsts(|node| Standing::Answers { micros: if node == 2 { 0 } else { 500 } });
        assert!(unknown > 30 * 64 / 2);
    }

    #[test]
    fn a_failing_home_comes_after_other_nodes_and_is_still_tried() {
        let failing = |node| if node == 2 { Standing::Failing } else { even(node) };
        for spread in 0..6u64 {
            let ordered = order(&HOMES, [7, 8], failing, spread << 32 | 1);
            assert_eq!(ordered.len(), 5);
            assert_eq!(ordered[2..], [7, 8, 2]);
        }
    }

    #[test]
    fn other_nodes_are_few() {
        assert_eq!(order(&HOMES, [10, 11, 12, 13, 14, 15, 16], even, 1).len(), HOMES.len() + OTHERS_MAX);
    }

    #[test]
    fn somebody_is_asked_even_if_everybody_fails() {
        assert_eq!(order(&HOMES, [7], |_| Standing::Failing, 1 << 32), [2, 3, 1, 7]);
    }
}
