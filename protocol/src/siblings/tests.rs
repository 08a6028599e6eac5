//! Merge laws, checked against a twin that keeps the whole history: every write ever seen, with all it had seen.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use quorate_ring::NodeId;

use super::{Body, Siblings, Version};
use crate::context::{Actor, Context, Dot};
use crate::hlc::Hlc;
use crate::ids::{ClientId, KeyEpoch, OpId};

fn dot(node: u64, n: u64) -> Dot {
    Dot { actor: Actor::Node { node: NodeId(node), epoch: KeyEpoch(1) }, n }
}

fn version(label: u64) -> Version {
    Version { body: Body::Value(Bytes::from(label.to_string())), hlc: Hlc(label), op: None }
}

/// The dumb twin: which writes a replica knows of, each with the writes that it had seen. Live is what no known write had seen.
#[derive(Clone, Debug, Default, PartialEq)]
struct History(BTreeMap<Dot, BTreeSet<Dot>>);

impl History {
    fn live(&self) -> BTreeSet<Dot> {
        let replaced: BTreeSet<Dot> = self.0.values().flatten().copied().collect();
        self.0.keys().filter(|dot| !replaced.contains(dot)).copied().collect()
    }

    fn knows(&self) -> BTreeSet<Dot> {
        self.0.keys().copied().collect()
    }
}

/// One step of a random run on three replicas.
#[derive(Clone, Debug)]
enum Step {
    /// A write at a replica with what another replica has seen, or with nothing.
    Write { at: usize, seen_at: Option<usize> },
    /// One replica sends its whole state to another.
    Sync { from: usize, to: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let write = (0..3usize, prop::option::of(0..3usize)).prop_map(|(at, seen_at)| Step::Write { at, seen_at });
    let sync = (0..3usize, 0..3usize).prop_map(|(from, to)| Step::Sync { from, to });
    prop::collection::vec(prop_oneof![write, sync], 0..24)
}

/// Runs `steps` on three replicas and their twins; a write that has seen a replica's state knows all that the twin knows.
fn run(steps: &[Step]) -> (Vec<Siblings>, Vec<History>) {
    let mut replicas = vec![Siblings::empty(); 3];
    let mut twins = vec![History::default(); 3];
    let mut given = [0u64; 3];
    for step in steps {
        match *step {
            Step::Write { at, seen_at } => {
                given[at] += 1;
                let dot = dot(at as u64 + 1, given[at]);
                let context = seen_at.map_or_else(Context::empty, |other| replicas[other].context().clone());
                let seen = seen_at.map(|other| twins[other].clone()).unwrap_or_default();
                replicas[at].merge(&Siblings::delta(context, dot, version(given[at])));
                let knows = seen.knows();
                twins[at].0.extend(seen.0);
                twins[at].0.insert(dot, knows);
            }
            Step::Sync { from, to } => {
                let (state, twin) = (replicas[from].clone(), twins[from].clone());
                replicas[to].merge(&state);
                twins[to].0.extend(twin.0);
            }
        }
    }
    (replicas, twins)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn merge_is_idempotent_commutative_and_associative(steps in steps()) {
        let (replicas, _) = run(&steps);
        for a in &replicas {
            prop_assert_eq!(&a.clone().merged(a), a);
            for b in &replicas {
                let ab = a.clone().merged(b);
                prop_assert_eq!(&ab, &b.clone().merged(a));
                for c in &replicas {
                    prop_assert_eq!(ab.clone().merged(c), a.clone().merged(&b.clone().merged(c)));
                }
            }
        }
    }

    /// A live version is one that no write known here had seen; nothing else is lost and nothing comes back.
    #[test]
    fn live_versions_are_the_maximal_elements_of_the_history(steps in steps()) {
        let (replicas, twins) = run(&steps);
        for (state, twin) in replicas.iter().zip(&twins) {
            prop_assert_eq!(state.live().map(|(dot, _)| dot).collect::<BTreeSet<_>>(), twin.live());
            for dot in twin.knows() {
                prop_assert!(state.context().covers(dot));
            }
        }
    }

    #[test]
    fn merge_reports_change_exactly_when_it_changes(steps in steps()) {
        let (replicas, _) = run(&steps);
        for a in &replicas {
            for b in &replicas {
                let mut merged = a.clone();
                let changed = merged.merge(b);
                prop_assert_eq!(changed, &merged != a);
            }
        }
    }

    /// What a write may tell its client to have seen replaces that write and nothing that lives beside it.
    #[test]
    fn context_of_a_dot_covers_it_and_no_other_live_version(steps in steps()) {
        let (replicas, _) = run(&steps);
        for state in &replicas {
            for (dot, _) in state.live() {
                let context = state.context_of(dot);
                prop_assert!(context.covers(dot));
                for (other, _) in state.live().filter(|(other, _)| *other != dot) {
                    prop_assert!(!context.covers(other));
                }
            }
        }
    }
}

#[test]
fn two_writes_with_the_same_context_are_siblings_and_a_third_resolves_them() {
    let first = Siblings::delta(Context::empty(), dot(1, 1), version(1));
    let left = first.clone().merged(&Siblings::delta(first.context().clone(), dot(1, 2), version(2)));
    let right = first.clone().merged(&Siblings::delta(first.context().clone(), dot(2, 1), version(3)));
    let both = left.merged(&right);
    assert_eq!(both.visible().len(), 2);
    let resolved = both.clone().merged(&Siblings::delta(both.context().clone(), dot(3, 1), version(4)));
    assert_eq!(resolved.visible().len(), 1);
    assert_eq!(resolved.merged(&both).visible().len(), 1, "the resolved siblings do not come back");
}

#[test]
fn a_tombstone_hides_the_key_but_not_a_concurrent_value() {
    let first = Siblings::delta(Context::empty(), dot(1, 1), version(1));
    let tombstone = Version { body: Body::Tombstone, hlc: Hlc(2), op: None };
    let deleted = first.clone().merged(&Siblings::delta(first.context().clone(), dot(1, 2), tombstone));
    assert!(deleted.visible().is_empty());
    let concurrent = Siblings::delta(Context::empty(), dot(2, 1), version(3));
    assert_eq!(deleted.merged(&concurrent).visible().len(), 1);
}

#[test]
fn two_live_versions_of_one_operation_are_shown_as_one() {
    let op = Some(OpId { client: ClientId(7), lane: 0, seq: 1, issued_ms: 1 });
    let retried = |node| Siblings::delta(Context::empty(), dot(node, 1), Version { op, ..version(1) });
    let both = retried(1).merged(&retried(2));
    assert_eq!(both.live_count(), 2);
    let shown = both.visible();
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].0, dot(1, 1));
}
