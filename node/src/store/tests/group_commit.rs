//! Many writers, few syncs, and nothing shown or acknowledged before its sync.

use std::thread;

use super::*;
use crate::store::Pending;

#[test]
fn waiting_writers_share_syncs() {
    let place = Place::new();
    let store = stalled(&place, &small());
    let commits: Vec<Commit> = (0..500).map(|index| queue_bump(&store, &format!("k{index}")).expect("the store takes writes").1).collect();
    store.begin().expect("a thread can be started");
    commits.into_iter().for_each(|commit| commit.wait().expect("the disk has space"));
    let counters = store.counters();
    assert_eq!((counters.writes, counters.batches, counters.fsyncs), (500, 1, 1));
    assert!((0..500).all(|index| durable_count(&store, &format!("k{index}")) == 1));
}

#[test]
fn a_batch_ends_at_its_limits() {
    let place = Place::new();
    let store = stalled(&place, &StoreOptions { batch_writes_max: 10, ..small() });
    let commits: Vec<Commit> = (0..35).map(|index| queue_bump(&store, &format!("k{index}")).expect("the store takes writes").1).collect();
    store.begin().expect("a thread can be started");
    commits.into_iter().for_each(|commit| commit.wait().expect("the disk has space"));
    assert_eq!(store.counters().batches, 4);

    let place = Place::new();
    let store = stalled(&place, &StoreOptions { batch_bytes_max: 1, ..small() });
    let commits = ["a", "b", "c"].map(|name| queue_bump(&store, name).expect("the store takes writes").1);
    store.begin().expect("a thread can be started");
    commits.into_iter().for_each(|commit| commit.wait().expect("the disk has space"));
    assert_eq!(store.counters().batches, 3, "a write larger than a batch still goes, alone");
}

#[test]
fn nothing_is_shown_or_acknowledged_before_its_sync() {
    let place = Place::new();
    let store = stalled(&place, &small());
    let (first, commit) = queue_bump(&store, "a").expect("the store takes writes");
    assert!(!commit.is_durable());
    assert_eq!(durable_count(&store, "a"), 0, "a read does not see it");
    let (second, later) = queue_bump(&store, "a").expect("the store takes writes");
    assert_eq!((first, second), (1, 2), "the next transition does");
    assert_eq!(store.pending().writes, 2);
    store.begin().expect("a thread can be started");
    commit.wait().expect("the disk has space");
    later.wait().expect("the disk has space");
    assert_eq!(durable_count(&store, "a"), 2);
    assert_eq!(store.pending(), Pending::default());
}

#[test]
fn an_unchanged_record_is_acknowledged_with_its_last_write() {
    let place = Place::new();
    let store = stalled(&place, &small());
    let unchanged = |store: &Store| store.update(&key("a"), Durability::Synced, |record| counted(Some(record)));
    let (seen, commit) = unchanged(&store).expect("the store takes updates");
    assert_eq!((seen, commit.is_durable()), (0, true), "nothing was ever written");
    let (_, write) = queue_bump(&store, "a").expect("the store takes writes");
    let (seen, commit) = unchanged(&store).expect("the store takes updates");
    assert_eq!((seen, commit.is_durable()), (1, false), "it saw a write that is not durable");
    assert_eq!(store.pending().writes, 1, "and queued none");
    store.begin().expect("a thread can be started");
    commit.wait().expect("the disk has space");
    assert_eq!(durable_count(&store, "a"), 1);
    write.wait().expect("the disk has space");
    assert!(unchanged(&store).expect("the store takes updates").1.is_durable());
}

#[test]
fn a_write_beyond_the_limit_is_refused_without_effect() {
    let place = Place::new();
    let store = stalled(&place, &StoreOptions { pending_writes_max: 3, ..small() });
    let commits = ["a", "b", "a"].map(|name| queue_bump(&store, name).expect("below the limit").1);
    let refused = queue_bump(&store, "a").expect_err("above the limit");
    assert!(matches!(refused, StoreError::Overloaded { pending: 3 }));
    store.begin().expect("a thread can be started");
    commits.into_iter().for_each(|commit| commit.wait().expect("the disk has space"));
    assert_eq!((durable_count(&store, "a"), durable_count(&store, "b")), (2, 1));
    assert_eq!(bump(&store, "a"), 3, "it recovers");

    let place = Place::new();
    let store = stalled(&place, &StoreOptions { pending_bytes_max: 1, ..small() });
    let (_, _commit) = queue_bump(&store, "a").expect("one write always fits");
    assert!(matches!(queue_bump(&store, "b"), Err(StoreError::Overloaded { .. })));
}

#[test]
fn a_buffered_write_is_ready_at_once_and_shown_only_when_synced() {
    let place = Place::new();
    let store = stalled(&place, &small());
    let (_, commit) = store.update(&key("a"), Durability::Buffered, count_up).expect("the store takes writes");
    assert!(commit.is_durable(), "its caller waits for nothing");
    assert_eq!(durable_count(&store, "a"), 0);
    let (_, strict) = store.update(&key("a"), Durability::Synced, |_record| ()).expect("the store takes updates");
    assert!(!strict.is_durable(), "a strict caller waits for what it saw");
    store.begin().expect("a thread can be started");
    strict.wait().expect("the disk has space");
    assert_eq!(durable_count(&store, "a"), 1);
}

#[test]
fn concurrent_transitions_of_a_key_are_applied_one_by_one_and_stay_in_order() {
    const THREADS: u64 = 8;
    const ROUNDS: u64 = 200;
    let place = Place::new();
    let store = place.init();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let name = ["a", "b", "c"][(thread + round) as usize % 3];
                    let n = bump(store, name);
                    assert!(durable_count(store, name) >= n, "what was acknowledged is shown");
                }
            });
        }
    });
    let counts = || ["a", "b", "c"].map(|name| durable_count(&store, name));
    assert_eq!(counts().iter().sum::<u64>(), THREADS * ROUNDS);
    let counters = store.counters();
    assert_eq!(counters.writes, THREADS * ROUNDS);
    assert!(counters.fsyncs < counters.writes, "{} syncs for {} writes", counters.fsyncs, counters.writes);
    let before = counts();
    store.close().expect("the disk has space");
    drop(store);
    let (store, _) = place.reopen();
    assert_eq!(["a", "b", "c"].map(|name| durable_count(&store, name)), before, "the log has the same order");
}

#[test]
fn a_commit_can_be_awaited_and_dropped() {
    let place = Place::new();
    let store = place.init();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let (_, dropped) = queue_bump(&store, "a").expect("the store takes writes");
        drop(dropped);
        let (n, commit) = queue_bump(&store, "a").expect("the store takes writes");
        commit.await.expect("the disk has space");
        assert_eq!((n, durable_count(&store, "a")), (2, 2));
    });
}

#[test]
fn a_record_that_becomes_the_default_is_removed() {
    let place = Place::new();
    let store = place.init();
    bump(&store, "a");
    let (_, commit) = store.update(&key("a"), Durability::Synced, |record| *record = KeyRecord::default()).expect("the store takes writes");
    commit.wait().expect("the disk has space");
    assert_eq!(store.read(&key("a")).expect("the store is readable"), None);
    assert_eq!(store.partition_count(PartitionId(7)).expect("the store is readable"), 0);
}

#[test]
fn a_closed_store_refuses_writes_and_still_reads() {
    let place = Place::new();
    let store = place.init();
    bump(&store, "a");
    store.close().expect("the disk has space");
    assert!(!store.is_writable());
    assert!(matches!(queue_bump(&store, "a"), Err(StoreError::Closed)));
    assert!(matches!(store.next_key_epoch(), Err(StoreError::Closed)));
    assert_eq!(durable_count(&store, "a"), 1);
    store.close().expect("a second call does nothing");
}
