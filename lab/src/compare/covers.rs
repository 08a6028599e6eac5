//! Which values a put replaced, found out from contexts.
//!
//! A put's context says which versions it had seen, a number for each; the answers to reads and puts say which value has which number.
//! What is listed is the least that says it all: the values that none of the others had replaced already.

use std::collections::BTreeMap;

use quorate_protocol::{Context, Dot};

/// The version that a put became.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) dot: Dot,
    /// What it had seen, and itself.
    pub(super) seen: Context,
    /// How often it was sent.
    pub(super) sendings: u32,
}

/// The values that `put` replaced. `named` are all versions whose value is known, `contexts` what puts had seen.
pub(super) fn covers<'a>(put: &Version, named: &BTreeMap<Dot, &'a str>, contexts: &BTreeMap<Dot, &Context>) -> Vec<&'a str> {
    let mut maximal: Vec<Dot> = Vec::new();
    let replaces = |newer: Dot, older: Dot| newer != older && contexts.get(&newer).is_some_and(|seen| seen.covers(older));
    for dot in named.keys().copied().filter(|dot| *dot != put.dot && put.seen.covers(*dot)) {
        if maximal.iter().any(|newer| replaces(*newer, dot)) {
            continue;
        }
        maximal.retain(|older| !replaces(dot, *older));
        maximal.push(dot);
    }
    maximal.into_iter().map(|dot| named[&dot]).collect()
}

#[cfg(test)]
mod tests {
    use quorate_protocol::{Actor, KeyEpoch};
    use quorate_ring::NodeId;

    use super::*;

    fn dot(node: u64, n: u64) -> Dot {
        Dot { actor: Actor::Node { node: NodeId(node), epoch: KeyEpoch(1) }, n }
    }

    fn seen(dots: &[Dot]) -> Context {
        dots.iter().fold(Context::empty(), |context, dot| context.with(*dot))
    }

    #[test]
    fn only_values_that_nothing_else_replaced_already_are_listed() {
        let [a, b, c, other, late] = [dot(1, 1), dot(1, 2), dot(2, 1), dot(3, 1), dot(3, 2)];
        let named = BTreeMap::from([(a, "a"), (b, "b"), (c, "c"), (other, "other"), (late, "late")]);
        let contexts = [(a, seen(&[a])), (b, seen(&[a, b])), (c, seen(&[a, b, c])), (other, seen(&[other]))];
        let contexts: BTreeMap<Dot, &Context> = contexts.iter().map(|(dot, seen)| (*dot, seen)).collect();
        let covered = |dot: Dot, of: &[Dot]| covers(&Version { dot, seen: seen(of), sendings: 1 }, &named, &contexts);
        assert_eq!(covered(a, &[a]), Vec::<&str>::new(), "a put does not replace itself");
        assert_eq!(covered(b, &[a, b]), ["a"]);
        assert_eq!(covered(c, &[a, b, c]), ["b"], "a was replaced by b");
        assert_eq!(covered(late, &[a, b, c, other, late]), ["c", "other"]);
    }
}
