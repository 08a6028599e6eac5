//! Hints: kept in order, found after a crash, counted, removed.

use bytes::Bytes;

use super::*;
use crate::store::HintStats;

const TARGET: NodeId = NodeId(5);

fn put(store: &Store, target: NodeId, hint: &'static str) {
    let commit = store.put_hint(target, Bytes::from_static(hint.as_bytes())).expect("the store takes writes");
    commit.wait().expect("the disk has space");
}

fn held(store: &Store, target: NodeId) -> Vec<Bytes> {
    store.hints(target, 0, 100).expect("the store is readable").into_iter().map(|(_, hint)| hint).collect()
}

#[test]
fn hints_are_paged_in_the_order_they_came_and_by_target() {
    let place = Place::new();
    let store = place.init();
    for hint in ["one", "two", "three"] {
        put(&store, TARGET, hint);
        put(&store, NodeId(u64::MAX), "other");
    }
    let first = store.hints(TARGET, 0, 2).expect("the store is readable");
    assert_eq!(first.iter().map(|(_, hint)| &hint[..]).collect::<Vec<_>>(), [b"one".as_slice(), b"two"]);
    let rest = store.hints(TARGET, first[1].0, 2).expect("the store is readable");
    assert_eq!(rest.iter().map(|(_, hint)| &hint[..]).collect::<Vec<_>>(), [b"three"]);
    assert_eq!(held(&store, NodeId(u64::MAX)).len(), 3);
    assert!(held(&store, NodeId(4)).is_empty());
    assert!(store.hints(TARGET, u64::MAX, 2).expect("the store is readable").is_empty());
}

#[test]
fn a_hint_is_shown_once_durable_and_counted_at_once() {
    let place = Place::new();
    let store = stalled(&place, &small());
    let commit = store.put_hint(TARGET, Bytes::from_static(b"hint")).expect("the store takes writes");
    assert!(held(&store, TARGET).is_empty());
    assert_eq!(store.hint_stats(TARGET), HintStats { count: 1, bytes: 4 });
    store.begin().expect("a thread can be started");
    commit.wait().expect("the disk has space");
    assert_eq!(held(&store, TARGET), ["hint"]);
}

#[test]
fn hints_and_their_counts_survive_a_kill_and_numbers_are_not_reused() {
    let place = Place::new();
    let store = place.init();
    put(&store, TARGET, "one");
    put(&store, TARGET, "three");
    let killed = place.as_killed();
    let (after, _) = killed.reopen();
    assert_eq!(held(&after, TARGET), ["one", "three"]);
    assert_eq!(after.hint_stats(TARGET), HintStats { count: 2, bytes: 8 });
    put(&after, TARGET, "four");
    assert_eq!(held(&after, TARGET), ["one", "three", "four"]);
}

#[test]
fn removed_hints_are_gone_and_removing_twice_counts_once() {
    let place = Place::new();
    let store = place.init();
    for hint in ["one", "two", "three"] {
        put(&store, TARGET, hint);
    }
    let seqs: Vec<u64> = store.hints(TARGET, 0, 2).expect("the store is readable").into_iter().map(|(seq, _)| seq).collect();
    let fsyncs = store.counters().fsyncs;
    store.remove_hints(TARGET, seqs.iter().copied().chain(seqs.iter().copied())).expect("the store takes writes");
    bump(&store, "the write behind them");
    assert_eq!(held(&store, TARGET), ["three"]);
    assert_eq!(store.hint_stats(TARGET), HintStats { count: 1, bytes: 5 });
    assert_eq!(store.all_hint_stats().into_iter().collect::<Vec<_>>(), [(TARGET, HintStats { count: 1, bytes: 5 })]);
    assert_eq!(store.counters().fsyncs, fsyncs + 1, "removal costs no sync of its own");
    store.close().expect("the disk has space");
    drop(store);
    assert_eq!(held(&place.reopen().0, TARGET), ["three"]);
}
