//! Which values a put replaced, found out from contexts.
//!
//! A put's context says which versions it had seen, a number for each; the answers to reads and puts say which value has which number.
//! What is listed is the least that says it all: the values that none of the others had replaced already.
//!
//! A put that was sent again may have become two versions. Its value counts as replaced once all versions of it that anybody saw are.

use std::collections::{BTreeMap, BTreeSet};

use quorate_protocol::{Context, Dot};

/// What is known of the puts of one key.
#[derive(Debug, Default)]
pub(super) struct Versions<'a> {
    /// The versions that anybody saw, by their values.
    dots: BTreeMap<&'a str, BTreeSet<Dot>>,
    /// What the puts of these values had seen.
    seen: BTreeMap<&'a str, &'a Context>,
}

impl<'a> Versions<'a> {
    /// Somebody saw a value as this version.
    pub(super) fn is(&mut self, value: &'a str, dot: Dot) {
        self.dots.entry(value).or_default().insert(dot);
    }

    /// The put of a value had seen this.
    pub(super) fn had_seen(&mut self, value: &'a str, context: &'a Context) {
        self.seen.insert(value, context);
    }

    /// The values that the put of `value` replaced; `None` if it is not known what it had seen.
    pub(super) fn covers(&self, value: &str) -> Option<Vec<&'a str>> {
        let seen = self.seen.get(value)?;
        let mut maximal: Vec<&'a str> = Vec::new();
        for older in self.dots.keys().copied().filter(|other| *other != value && self.is_covered(seen, other)) {
            if maximal.iter().any(|newer| self.replaced(newer, older)) {
                continue;
            }
            maximal.retain(|kept| !self.replaced(older, kept));
            maximal.push(older);
        }
        Some(maximal)
    }

    fn replaced(&self, newer: &str, older: &str) -> bool {
        self.seen.get(newer).is_some_and(|seen| self.is_covered(seen, older))
    }

    fn is_covered(&self, seen: &Context, value: &str) -> bool {
        self.dots.get(value).is_some_and(|dots| dots.iter().all(|dot| seen.covers(*dot)))
    }
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
        // What became of `c` nobody told its writer; a read showed it.
        let contexts = [seen(&[a]), seen(&[a, b]), seen(&[a, b]), seen(&[other]), seen(&[a, b, c, other, late])];
        let mut versions = Versions::default();
        for ((value, dot), context) in [("a", a), ("b", b), ("c", c), ("other", other), ("late", late)].into_iter().zip(&contexts) {
            versions.is(value, dot);
            versions.had_seen(value, context);
        }
        let covers = |value| versions.covers(value).expect("it is known what it had seen");
        assert_eq!(covers("a"), Vec::<&str>::new(), "a put does not replace itself");
        assert_eq!(covers("b"), ["a"]);
        assert_eq!(covers("c"), ["b"], "a was replaced by b");
        assert_eq!(covers("late"), ["c", "other"]);
        assert_eq!(versions.covers("unknown"), None);
    }

    #[test]
    fn a_value_that_was_written_twice_is_replaced_when_both_are() {
        let [first, again, next] = [dot(1, 1), dot(2, 1), dot(3, 1)];
        for (context, covered) in [(seen(&[first, next]), vec![]), (seen(&[first, again, next]), vec!["a"])] {
            let mut versions = Versions::default();
            versions.is("a", first);
            versions.is("a", again);
            versions.is("next", next);
            versions.had_seen("next", &context);
            assert_eq!(versions.covers("next"), Some(covered));
        }
    }
}
