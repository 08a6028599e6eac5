//! Linearizability of read, write, delete and cas on one key: exact, in O(n log n), when values are unique.
//!
//! **Promise.** Where every value is written once and every absence can be attributed, the answer is exact, in both
//! directions. Where not, [`Exact::Search`] says so and nothing is guessed: a violation is only reported if it holds whatever the
//! open question's answer, a pass only with an explanation in hand.
//!
//! **How.** A value names its write, so every read and every cas says what it follows. All operations of a value form a
//! *cluster*, all clusters linked by cas form a *chain*, and in every order that explains the answers a chain stands in one piece.
//!
//! 1. Unknown outcomes end at infinity. An unknown write, delete or cas takes part only if what it put is needed by an operation
//!    that did answer, directly or through the expectations of other cas ([`facts`]).
//! 2. An absence is the beginning's or a delete's ([`absence`]). Every delete is a cluster of its own, the beginning is one that ended
//!    before everything.
//! 3. Two cas from one cluster, or a ring of cas, cannot be. Within a chain no operation may begin after one of a later
//!    cluster has ended.
//! 4. Of a chain, let `f` be the least end and `s` the greatest call. Chain `A` has to precede chain `B` if and only if
//!    `f(A) < s(B)`. If no two chains have to precede each other, there is an order of them all: a longer ring of such constraints
//!    contains a ring of two ([`zones`]).
//!
//! ```text
//!  f < s: forward zone                 s <= f: backward zone
//!    |--write v--|                        |----write v----|
//!                f.........s                 |--read v-------|
//!                          |--read v--|      s............f
//!  broken:  two forward zones overlap, or a backward zone lies inside a forward one
//! ```
//!
//! **Failed cas.** One that says what it observed is a read of that; and if nobody can have written its expectation
//! a second time, it must not have observed just that. One that does not say is no constraint for
//! steps 1 to 4, and if it might be one after all ([`facts`]) the search decides. One that was *refused* says nothing.
//!
//! **Fall back to the search:** a value is written twice; an absence could be one of several and the attribution tried does not
//! explain everything; a failed cas without observation matters. A read of siblings makes the key no register at all.
//!
//! Sources: Gibbons & Korach, *Testing Shared Memories* (1997) for zones; chains and unknown outcomes follow from their lemma.

mod absence;
mod evidence;
mod facts;
mod zones;

use self::absence::Absence;
use self::facts::{Facts, Writers};
use crate::history::History;
use crate::verdict::Rule;

/// A broken rule, with the puts that show whose an absence was not.
type Broken = (Rule, Vec<usize>);

/// What the exact check says of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Exact {
    Linearizable,
    Violation {
        rule: Rule,
        since: Vec<usize>,
    },
    /// Undecided here; the search decides.
    Search,
    /// A read returned siblings.
    NotARegister,
}

/// Checks one key after the other, with the same memory.
#[derive(Debug)]
pub(crate) struct Checker<'a> {
    history: &'a History,
    writers: Writers,
    facts: Facts,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(history: &'a History) -> Self {
        Self { history, writers: Writers::new(history.names.value_count()), facts: Facts::default() }
    }

    /// Judges one key's operations, given by their positions in the history.
    pub(crate) fn judge(&mut self, operations: &[u32]) -> Exact {
        if !self.facts.collect(self.history, operations) {
            return Exact::NotARegister;
        }
        self.writers.note(&self.facts.puts);
        let exact = self.decide(operations).unwrap_or_else(|(rule, since)| Exact::Violation { rule, since });
        self.writers.forget(&self.facts.puts);
        exact
    }

    fn decide(&mut self, operations: &[u32]) -> Result<Exact, Broken> {
        let (facts, writers) = (&mut self.facts, &self.writers);
        let alone = |rule| (rule, Vec::new());
        let unwritten = |(seen_by, value)| alone(evidence::unwritten(self.history, operations, seen_by, value));
        facts.contradictions(writers).map_err(alone)?;
        facts.written(writers).map_err(unwritten)?;
        if writers.ambiguous {
            return Ok(Exact::Search);
        }
        facts.keep_needed(writers).map_err(unwritten)?;
        let absence = Absence::attribute(facts).map_err(alone)?;
        if absence.guessed {
            zones::check(facts, writers, &absence.certain()).map_err(|rule| absence.since(facts, rule))?;
        }
        match zones::check(facts, writers, &absence) {
            Err(_) if absence.guessed => return Ok(Exact::Search),
            outcome => outcome.map_err(|rule| absence.since(facts, rule))?,
        }
        Ok(if facts.others_are_sure(writers) { Exact::Linearizable } else { Exact::Search })
    }
}
