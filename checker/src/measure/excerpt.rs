//! The counter-example as something to look at: the operations that prove it, what happened on the key at the same time, and arrows.
//!
//! **Who is listed**, at most [`LISTED_MAX`] operations of the key:
//! 1. those that prove the violation (of very many, the last 24);
//! 2. the writes of the values that those met, and the writes that they missed;
//! 3. those that overlap the time of the others, the closest to the violation first. The rest is counted.
//!
//! The order and the number are the same for the same history: nothing depends on who asks.

use std::collections::{BTreeMap, BTreeSet};

use super::outcomes::kind;
use super::promise::{Judgement, Proof};
use super::report::{Arrow, ArrowKind, Breaks, CounterExample, Ending, Kind, Lane, Operation, Role};
use super::{COUNTER_EXAMPLES_MAX, LISTED_MAX, Stale};
use crate::by_key::{ByKey, KeyHistory};
use crate::history::{self, Action, History, KeyId, Nanos, Outcome, Seen, ValueId};
use crate::lineage::{Lineage, Writer};

/// So many operations of one proof are listed. A proof is small, unless the search could not make it so.
const PROOF_MAX: usize = 24;

/// The most telling counter-examples: what breaks the promise comes first, and few operations before many.
pub(super) fn counter_examples(history: &History, slug: &str, judgement: &Judgement, stale: &Stale) -> Vec<CounterExample> {
    let mut proofs: Vec<(Breaks, Proof<'_>)> = Vec::new();
    let mut told: BTreeSet<(&'static str, KeyId)> = BTreeSet::new();
    let against_promise = judgement.against_promise().map(|proof| (Breaks::Promise, proof));
    let against_order = judgement.against_linearizability().map(|proof| (Breaks::Linearizability, proof));
    for (breaks, proof) in against_promise.chain(against_order) {
        if !proof.operations().is_empty() && told.insert((proof.rule(), proof.key())) {
            proofs.push((breaks, proof));
        }
    }
    proofs.sort_by_cached_key(|(breaks, proof)| (*breaks == Breaks::Linearizability, proof.rank(history)));
    proofs.truncate(COUNTER_EXAMPLES_MAX);
    let keys: BTreeSet<KeyId> = proofs.iter().map(|(_, proof)| proof.key()).collect();
    let mut lineages: BTreeMap<KeyId, (Lineage, Vec<usize>)> = BTreeMap::new();
    ByKey::new(history).for_each(|key| {
        if keys.contains(&key.key) {
            lineages.insert(key.key, (Lineage::new(key), key.operations().map(|(index, _)| index).collect()));
        }
    });
    let example = |(number, (breaks, proof)): (usize, &(Breaks, Proof<'_>))| {
        let (lineage, on_key) = &lineages[&proof.key()];
        let excerpt = Excerpt::of(Ground { history, lineage, on_key, stale }, *proof);
        excerpt.counter_example(format!("{slug}-{}", number + 1), *breaks, *proof)
    };
    proofs.iter().enumerate().map(example).collect()
}

/// What is known of a key.
#[derive(Clone, Copy)]
struct Ground<'a> {
    history: &'a History,
    lineage: &'a Lineage,
    /// All operations on the key, in order of call.
    on_key: &'a [usize],
    stale: &'a Stale,
}

struct Excerpt<'a> {
    ground: Ground<'a>,
    proof: Vec<usize>,
    listed: BTreeSet<usize>,
    missed: BTreeSet<(usize, usize)>,
    left_out: usize,
}

impl<'a> Ground<'a> {
    fn operation(self, at: usize) -> &'a history::Operation {
        &self.history.operations[at]
    }

    /// What an operation met.
    fn met(self, at: usize) -> &'a [ValueId] {
        match &self.operation(at).action {
            Action::Read { .. } => KeyHistory::seen(self.operation(at)).map_or(&[], Seen::values),
            Action::Cas { observed: Some(Some(value)), .. } => std::slice::from_ref(value),
            Action::Cas { expect: Some(value), .. } if self.operation(at).outcome == Outcome::Ok => std::slice::from_ref(value),
            Action::CasSiblings(cas) => match &cas.observed {
                Some(observed) => observed.values(),
                None if self.operation(at).outcome == Outcome::Ok => cas.expect.values(),
                None => &[],
            },
            Action::Cas { .. } | Action::Write { .. } | Action::Delete => &[],
        }
    }

    /// The operations that put these values, where they are known.
    fn writers(self, values: &'a [ValueId]) -> impl Iterator<Item = usize> + 'a {
        values.iter().filter_map(move |value| match self.lineage.writer(*value) {
            Writer::Node(node) => Some(self.lineage.node(node).op),
            Writer::Failed(write) => Some(write),
            Writer::Many | Writer::Nobody => None,
        })
    }

    fn missed(self, at: usize) -> Option<usize> {
        self.stale.get(&at)?.first_missed
    }

    /// First call and last moment of some operations.
    fn span(self, operations: impl Iterator<Item = usize> + Clone) -> (Nanos, Nanos) {
        let calls = operations.clone().map(|at| self.operation(at).call);
        let ends = operations.map(|at| self.operation(at).end.unwrap_or(self.operation(at).call));
        (calls.min().unwrap_or(0), ends.max().unwrap_or(0))
    }
}

impl<'a> Excerpt<'a> {
    fn of(ground: Ground<'a>, proof: Proof<'_>) -> Self {
        let mut operations = proof.operations();
        operations.sort_by_key(|at| (ground.operation(*at).call, *at));
        let mut operations = operations.split_off(operations.len().saturating_sub(PROOF_MAX));
        if let Proof::Stale(staleness) = proof {
            // That what was read is older needs its writes.
            operations.extend(ground.writers(ground.met(staleness.read)));
            operations.sort_by_key(|at| (ground.operation(*at).call, *at));
            operations.dedup();
        }
        let mut excerpt = Self {
            ground,
            listed: operations.iter().copied().collect(),
            missed: proof.missed().into_iter().collect(),
            proof: operations,
            left_out: 0,
        };
        excerpt.missed.extend(excerpt.proof.iter().filter_map(|at| Some((*at, ground.missed(*at)?))));
        excerpt.add_causes();
        excerpt.add_context();
        excerpt
    }

    /// The writes of what was met, and those that were missed.
    fn add_causes(&mut self) {
        let met = self.proof.iter().flat_map(|at| self.ground.writers(self.ground.met(*at)));
        let missed = self.missed.iter().map(|(_, write)| *write);
        let causes: Vec<usize> = missed.chain(met).collect();
        for cause in causes {
            if self.listed.len() < LISTED_MAX {
                self.listed.insert(cause);
            }
        }
    }

    /// What happened at the same time.
    fn add_context(&mut self) {
        let ground = self.ground;
        let (begin, end) = ground.span(self.listed.iter().copied());
        let at_that_time = |at: &usize| {
            let operation = ground.operation(*at);
            operation.call <= end && operation.end.is_none_or(|end| end >= begin)
        };
        let shown_at = self.shown_at();
        let distance = |at: &usize| {
            let operation = ground.operation(*at);
            let after = operation.call.saturating_sub(shown_at);
            let before = operation.end.map_or(0, |end| shown_at.saturating_sub(end));
            (after.max(before), operation.call, *at)
        };
        let mut others: Vec<usize> = ground.on_key.iter().copied().filter(|at| !self.listed.contains(at) && at_that_time(at)).collect();
        others.sort_by_key(distance);
        let room = LISTED_MAX.saturating_sub(self.listed.len()).min(others.len());
        self.left_out = others.len() - room;
        self.listed.extend(&others[..room]);
    }

    /// The call of the operation that shows the violation: of the last that missed something, or else the last read, or the last of all.
    fn shown_at(&self) -> Nanos {
        let last = |shows: &dyn Fn(usize) -> bool| {
            let proof = self.proof.iter().copied().filter(|at| shows(*at));
            proof.map(|at| self.ground.operation(at).call).max()
        };
        let missed = |at: usize| self.missed.iter().any(|(from, _)| *from == at);
        let reads = |at: usize| kind(self.ground.operation(at)) == Kind::Read;
        last(&missed).or_else(|| last(&reads)).or_else(|| last(&|_| true)).unwrap_or(0)
    }

    fn counter_example(self, id: String, breaks: Breaks, proof: Proof<'_>) -> CounterExample {
        let ground = self.ground;
        let mut operations: Vec<Operation> = self.listed.iter().map(|at| self.operation(*at)).collect();
        operations.sort_by_key(|operation| (operation.begin_ns, operation.at));
        let processes: BTreeSet<u64> = operations.iter().map(|operation| operation.process).collect();
        let (begin_ns, end_ns) = ground.span(self.listed.iter().copied());
        CounterExample {
            id,
            breaks,
            rule: proof.rule().to_owned(),
            key: ground.history.names.key_text(proof.key()).to_owned(),
            words: proof.words(ground.history),
            begin_ns,
            end_ns,
            first_at_ns: self.shown_at(),
            lanes: processes.into_iter().map(|process| Lane { process, label: format!("process {process}") }).collect(),
            operations,
            arrows: self.arrows(),
            left_out: self.left_out as u64,
        }
    }

    /// By the operation that they come from, and where they go.
    fn arrows(&self) -> Vec<Arrow> {
        let mut arrows: BTreeSet<(usize, usize, u8)> = BTreeSet::new();
        let listed = |from: usize, to: usize| from != to && self.listed.contains(&from) && self.listed.contains(&to);
        for (from, to) in self.missed.iter().copied().filter(|(from, to)| listed(*from, *to)) {
            arrows.insert((from, to, 0));
        }
        for from in self.listed.iter().copied() {
            for to in self.ground.writers(self.ground.met(from)).filter(|to| listed(from, *to)) {
                arrows.insert((from, to, 1));
            }
        }
        let lineage = self.ground.lineage;
        for node in lineage.nodes().filter(|node| self.proof.contains(&lineage.node(*node).op)) {
            let from = lineage.node(node).op;
            for to in lineage.covers(node).iter().map(|below| lineage.node(*below).op).filter(|to| listed(from, *to)) {
                arrows.insert((from, to, 2));
            }
        }
        const KINDS: [ArrowKind; 3] = [ArrowKind::Missed, ArrowKind::Saw, ArrowKind::Replaced];
        arrows.into_iter().map(|(from, to, kind)| Arrow { from, to, kind: KINDS[usize::from(kind)] }).collect()
    }

    fn operation(&self, at: usize) -> Operation {
        let (operation, names) = (self.ground.operation(at), &self.ground.history.names);
        let texts = |values: &[ValueId]| values.iter().map(|value| names.value_text(*value).to_owned()).collect::<Vec<_>>();
        let one = |value: &Option<ValueId>| texts(value.as_slice());
        let (value, expect, observed) = match &operation.action {
            Action::Read { seen } => (seen.as_ref().map(|seen| texts(seen.values())), None, None),
            Action::Write { value } => (Some(texts(&[*value])), None, None),
            Action::Delete => (None, None, None),
            Action::Cas { expect, value, observed } => (Some(texts(&[*value])), Some(one(expect)), observed.as_ref().map(one)),
            Action::CasSiblings(cas) => {
                let observed = cas.observed.as_ref().map(|observed| texts(observed.values()));
                (Some(texts(&[cas.value])), Some(texts(cas.expect.values())), observed)
            }
        };
        let node = operation.detail.as_deref().and_then(|detail| detail.node);
        Operation {
            at,
            process: operation.process,
            kind: kind(operation),
            key: names.key_text(operation.key).to_owned(),
            level: operation.level.map(|level| names.word_text(level).to_owned()),
            node: node.map(|node| names.word_text(node).to_owned()),
            value,
            expect,
            observed,
            begin_ns: operation.call,
            end_ns: operation.end,
            outcome: match operation.outcome {
                Outcome::Ok => Ending::Ok,
                Outcome::Fail => Ending::Fail,
                Outcome::Unknown => Ending::Unknown,
            },
            role: if self.proof.contains(&at) { Role::Proof } else { Role::Context },
        }
    }
}
