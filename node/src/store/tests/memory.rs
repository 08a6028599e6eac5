//! Disks in memory.

use quorate_protocol::chain::Ballot;
use quorate_protocol::{BootId, KeyRecord};
use quorate_ring::{NodeId, RingEpoch};

use super::{bump, durable_count, key, queue_bump, small};
use crate::store::{Durability, MemoryDisk, Store};

#[test]
fn a_disk_in_memory_keeps_what_was_written_from_one_store_to_the_next() {
    let disk = MemoryDisk::new();
    let (store, first) = Store::open_in_memory(&disk, &small()).expect("an empty disk becomes a node's");
    assert_eq!((bump(&store, "k"), bump(&store, "k")), (1, 2));
    store.put_hint(NodeId(9), "hint".into()).expect("taken").wait().expect("in memory");
    drop(store);
    let (store, second) = Store::open_in_memory(&disk.clone(), &small()).expect("nobody has it open");
    assert_eq!((first.boot, second.boot), (BootId(1), BootId(2)));
    assert_eq!((first.nonce, second.clean), (second.nonce, false), "it was dropped, not closed");
    assert_eq!((durable_count(&store, "k"), store.hint_stats(NodeId(9)).count), (2, 1));
    store.close().expect("in memory");
    drop(store);
    assert!(Store::open_in_memory(&disk, &small()).expect("nobody has it open").1.clean);
}

/// Whoever closes commits in place, and what only memory holds is written then.
#[test]
fn a_clean_stop_writes_what_memory_holds_alone() {
    let ballot = |counter| Ballot { epoch: RingEpoch(1), counter, node: NodeId(1), boot: BootId(1) };
    let promise = |store: &Store, counter| {
        let act = |record: &mut KeyRecord| record.chain.prepare(ballot(counter), Ballot::ZERO).expect("higher");
        let ((), commit) = store.update_lightly(&key("k"), Durability::Synced, act).expect("open");
        commit.wait().expect("in memory");
    };
    let promised = |store: &Store| store.read(&key("k")).expect("readable").expect("written").chain.promised;
    let disk = MemoryDisk::new();
    let (store, _) = Store::open_in_memory(&disk, &small()).expect("an empty disk");
    promise(&store, 5);
    promise(&store, 7);
    assert_eq!(promised(&store), ballot(5));
    store.close().expect("in memory");
    drop(store);
    let (store, opened) = Store::open_in_memory(&disk, &small()).expect("nobody has it open");
    assert_eq!((promised(&store), opened.promise_floor), (ballot(7), Ballot::ZERO));
}

#[test]
fn writes_are_durable_when_their_call_returns() {
    let (store, _) = Store::open_in_memory(&MemoryDisk::new(), &small()).expect("an empty disk");
    let (_, commit) = queue_bump(&store, "k").expect("taken");
    assert_eq!((durable_count(&store, "k"), store.pending().writes), (1, 0));
    commit.wait().expect("it is there");
}
